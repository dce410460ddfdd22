"""Files and folders are written at once and whole: by one, by two at once, by one that is killed."""

import multiprocessing
import os
import random
import signal
import stat
import subprocess
import sys
import threading
import time

import pytest

from vit_steps.files import writing
from vit_steps.files.writing import writable, write_folder, write_whole

SIZE = 2_000_000
FORK = multiprocessing.get_context("fork")


def content(byte):
    return bytes([byte]) * SIZE


def fill(byte):
    return lambda draft: draft.write_bytes(content(byte))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def is_whole(read):
    return len(read) == SIZE and read == read[:1] * SIZE


# ---- a file ----


def test_a_file_is_written_with_the_permissions_that_open_gives(tmp_path):
    write_whole(tmp_path / "model.bin", fill(1))
    assert (tmp_path / "model.bin").read_bytes() == content(1)
    (tmp_path / "plain").write_bytes(b"")
    assert (tmp_path / "model.bin").stat().st_mode == (tmp_path / "plain").stat().st_mode
    assert names(tmp_path) == ["model.bin", "plain"]


def test_a_file_that_is_replaced_hands_on_its_permissions(tmp_path):
    path = tmp_path / "model.bin"
    path.write_bytes(b"private")
    path.chmod(0o600)
    write_whole(path, fill(2))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_draft_ends_like_the_file(tmp_path):
    drafts = []
    write_whole(tmp_path / "many.npz", lambda draft: (drafts.append(draft), draft.write_bytes(b"")))
    assert drafts[0].suffix == ".npz"
    assert drafts[0].parent == tmp_path


def test_a_link_is_followed_even_one_into_nothing(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "latest").symlink_to(tmp_path / "disk" / "model.bin")
    write_whole(tmp_path / "latest", fill(3))
    assert (tmp_path / "latest").is_symlink()
    assert names(tmp_path / "disk") == ["model.bin"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(1)])
def test_what_fails_leaves_the_old_file_and_no_draft(error, tmp_path):
    def fail(draft):
        draft.write_bytes(b"half")
        raise error

    write_whole(tmp_path / "model.bin", fill(1))
    with pytest.raises(type(error)):
        write_whole(tmp_path / "model.bin", fail)
    assert (tmp_path / "model.bin").read_bytes() == content(1)
    assert names(tmp_path) == ["model.bin"]


def test_what_a_writer_wrote_without_opening_the_draft_is_taken(tmp_path):
    def replace(draft):  # as safetensors' save_file does
        (tmp_path / "own").write_bytes(b"whole")
        os.replace(tmp_path / "own", draft)

    write_whole(tmp_path / "model.bin", replace)
    assert (tmp_path / "model.bin").read_bytes() == b"whole"
    assert names(tmp_path) == ["model.bin"]


def test_an_error_names_the_file_and_not_the_draft(tmp_path):
    def fail(draft):
        (draft / "below").write_bytes(b"")

    with pytest.raises(OSError, match=r"model\.bin cannot be written: ") as caught:
        write_whole(tmp_path / "model.bin", fail)
    assert ".draft-" not in str(caught.value)
    with pytest.raises(FileNotFoundError, match="photo"):  # what fails elsewhere names itself
        write_whole(tmp_path / "model.bin", lambda draft: (tmp_path / "photo").read_bytes())


# ---- found before the work ----


def test_a_place_where_a_file_can_be_written_is_left_as_it_was(tmp_path):
    (tmp_path / "old.bin").write_bytes(b"old")
    writable(tmp_path / "new.bin", size=10_000)
    writable(tmp_path / "old.bin")
    assert names(tmp_path) == ["old.bin"]
    assert (tmp_path / "old.bin").read_bytes() == b"old"


@pytest.mark.parametrize("ask", [writable, lambda path: write_whole(path, fill(1))])
def test_a_place_that_takes_no_file_is_refused(ask, tmp_path, monkeypatch):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "guarded").write_bytes(b"guarded")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*runs to write model\.bin into"):
        ask(tmp_path / "runs" / "model.bin")
    with pytest.raises(IsADirectoryError, match="is a folder, a file was wanted"):
        ask(tmp_path)
    for device in (tmp_path / "pipe", "/dev/null"):
        with pytest.raises(OSError, match="is a device or a pipe, a file was wanted"):
            ask(device)
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(PermissionError, match="guarded cannot be written: it is read-only"):
        ask(tmp_path / "guarded")
    with pytest.raises(OSError, match="cannot be written: File name too long"):
        ask(tmp_path / ("long" * 70))
    assert (tmp_path / "guarded").read_bytes() == b"guarded"
    assert names(tmp_path) == ["guarded", "pipe"]


def test_a_terminal_is_not_told_what_a_name_says(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        writable(tmp_path / "\x1b[31m" / "model\n.bin")
    assert caught.value.args[0].isprintable()


def test_a_disk_too_small_is_refused(tmp_path):
    with pytest.raises(OSError, match=r"it takes 1,000,000,000,000,000 bytes, [\d,]+ are free"):
        writable(tmp_path / "model.bin", size=10**15)
    assert names(tmp_path) == []


@pytest.fixture
def disk(tmp_path):
    """A disk of 64 KiB."""
    (tmp_path / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path / "disk")]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root on Linux may make a disk")
    yield tmp_path / "disk"
    subprocess.run(["umount", str(tmp_path / "disk")], check=True)


def test_a_full_disk_is_found_before_and_leaves_the_old_file(disk):
    (disk / "model.bin").write_bytes(b"old")
    writable(disk / "model.bin", size=50_000)
    with pytest.raises(OSError, match=r"it takes 70,000 bytes, \d\d,\d\d\d are free"):
        writable(disk / "model.bin", size=70_000)
    with pytest.raises(OSError, match=r"model\.bin cannot be written: No space left on device"):
        write_whole(disk / "model.bin", fill(1))
    assert (disk / "model.bin").read_bytes() == b"old"
    (disk / "rest").write_bytes(bytes(60_000))
    with pytest.raises(OSError, match=r"model\.bin cannot be written: No space left on device"):
        writable(disk / "model.bin")
    assert names(disk) == ["model.bin", "rest"]


def test_a_disk_that_may_only_be_read_is_found_before(disk):
    subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
    with pytest.raises(OSError, match=r"model\.bin cannot be written: Read-only file system"):
        writable(disk / "model.bin")


# ---- several writers, and dead ones ----


def write_again_and_again(path, byte, count):
    for _ in range(count):
        write_whole(path, fill(byte))


def test_two_writers_and_a_reader_of_one_path_never_fail(tmp_path):
    path = tmp_path / "model.bin"
    write_whole(path, fill(0))
    writers = [FORK.Process(target=write_again_and_again, args=(path, byte, 40)) for byte in (1, 2)]
    for writer in writers:
        writer.start()
    torn, reads = 0, 0
    while any(writer.is_alive() for writer in writers):
        torn, reads = torn + (not is_whole(path.read_bytes())), reads + 1
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert torn == 0
    assert reads > 20
    assert names(tmp_path) == ["model.bin"]


def test_a_living_writers_draft_is_left_alone_and_the_last_writer_wins(tmp_path):
    begun, go_on = threading.Event(), threading.Event()

    def slowly(draft):
        draft.write_bytes(b"slow")
        begun.set()
        assert go_on.wait(20)

    slow = threading.Thread(target=write_whole, args=(tmp_path / "model.bin", slowly))
    slow.start()
    assert begun.wait(20)
    write_whole(tmp_path / "model.bin", fill(1))
    writable(tmp_path / "other.bin")
    go_on.set()
    slow.join()
    assert (tmp_path / "model.bin").read_bytes() == b"slow"
    assert names(tmp_path) == ["model.bin"]


MOST_KILLS = 200  # on a busy machine a process may be killed before it wrote anything: then another


def killed(work, seconds):
    """Run in a process of its own, and kill it some time after it has begun."""
    begun = FORK.Event()
    process = FORK.Process(target=lambda: (begun.set(), work()))
    process.start()
    begun.wait()
    time.sleep(seconds)
    os.kill(process.pid, signal.SIGKILL)
    process.join()


def test_twelve_kills_leave_a_whole_file_and_the_next_writer_clears_up(tmp_path):
    path, dice = tmp_path / "model.bin", random.Random(0)
    write_whole(path, fill(0))
    littered = 0
    for kills in range(1, MOST_KILLS):
        killed(lambda: write_again_and_again(path, 1, 10_000), dice.uniform(0.01, 0.05))
        littered += len(names(tmp_path)) > 1
        assert is_whole(path.read_bytes())
        if kills >= 12 and littered:
            break
    assert littered  # or nothing was tried
    write_whole(tmp_path / "another.bin", fill(1))
    assert names(tmp_path) == ["another.bin", "model.bin"]


# ---- a folder ----


def pages(byte):
    def build(folder):
        for number in range(20):
            (folder / "pages").mkdir(parents=True, exist_ok=True)
            (folder / "pages" / str(number)).write_bytes(bytes([byte]))

    return build


def bytes_of(folder):
    return [(folder / "pages" / str(number)).read_bytes()[0] for number in range(20)]


def exchanges_at_one_stroke(monkeypatch):
    if sys.platform not in ("linux", "darwin"):
        pytest.skip("this system exchanges nothing at one stroke")


def steps_aside(monkeypatch):
    monkeypatch.setattr(writing, "_exchange", lambda one, other: False)


both_ways = pytest.mark.parametrize("way", [exchanges_at_one_stroke, steps_aside])


@both_ways
def test_a_folder_is_replaced_with_all_that_is_in_it(way, tmp_path, monkeypatch):
    way(monkeypatch)
    write_folder(tmp_path / "new" / "site", pages(1))
    (tmp_path / "new" / "site" / "old").write_text("old")
    write_folder(tmp_path / "new" / "site", pages(2))
    assert names(tmp_path / "new" / "site") == ["pages"]
    assert bytes_of(tmp_path / "new" / "site") == [2] * 20
    assert names(tmp_path / "new") == ["site"]


@both_ways
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_a_folder_stays_when_the_new_one_fails(way, error, tmp_path, monkeypatch):
    def fail(folder):
        pages(2)(folder)
        raise error

    way(monkeypatch)
    write_folder(tmp_path / "site", pages(1))
    with pytest.raises(error):
        write_folder(tmp_path / "site", fail)
    assert bytes_of(tmp_path / "site") == [1] * 20
    assert names(tmp_path) == ["site"]


def test_a_file_is_not_taken_for_a_folder(tmp_path):
    (tmp_path / "site").write_text("precious")
    with pytest.raises(NotADirectoryError, match="site is a file, a folder was wanted"):
        write_folder(tmp_path / "site", pages(1))
    assert (tmp_path / "site").read_text() == "precious"


def build_again_and_again(folder, byte):
    while True:
        write_folder(folder, pages(byte))


def test_twelve_kills_leave_the_old_folder_or_the_new_one(tmp_path, monkeypatch):
    exchanges_at_one_stroke(monkeypatch)
    dice, found = random.Random(0), set()
    write_folder(tmp_path / "site", pages(0))
    for byte in range(1, MOST_KILLS):
        killed(lambda byte=byte: build_again_and_again(tmp_path / "site", byte), dice.uniform(0.005, 0.03))
        (one,) = set(bytes_of(tmp_path / "site"))
        found.add(one)
        if byte >= 12 and len(found) > 1:
            break
    assert len(found) > 1
    write_folder(tmp_path / "site", pages(0))
    assert names(tmp_path) == ["site"]


def test_killed_between_two_renames_the_next_writer_puts_the_old_folder_back(tmp_path, monkeypatch):
    steps_aside(monkeypatch)
    write_folder(tmp_path / "site", pages(1))
    real = writing._put_in_place

    def killed_in_between(draft, place):
        place.rename(draft.old)
        os.kill(os.getpid(), signal.SIGKILL)

    monkeypatch.setattr(writing, "_put_in_place", killed_in_between)
    process = FORK.Process(target=write_folder, args=(tmp_path / "site", pages(2)))
    process.start()
    process.join()
    monkeypatch.setattr(writing, "_put_in_place", real)
    assert not (tmp_path / "site").exists()
    writable(tmp_path / "another")
    assert bytes_of(tmp_path / "site") == [1] * 20
    assert names(tmp_path) == ["site"]


@both_ways
def test_two_writers_of_one_folder_never_fail(way, tmp_path, monkeypatch):
    def build(byte):
        for _ in range(30):
            write_folder(tmp_path / "site", pages(byte))

    way(monkeypatch)
    writers = [FORK.Process(target=build, args=(byte,)) for byte in (1, 2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert [writer.exitcode for writer in writers] == [0, 0]
    assert len(set(bytes_of(tmp_path / "site"))) == 1
    assert names(tmp_path) == ["site"]
