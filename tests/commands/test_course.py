"""The lessons are laid whole; what somebody changed stays, and the new one is laid beside it."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import vit_steps
from vit_steps.__main__ import main
from vit_steps.commands import course
from vit_steps.commands.course import NOTES, lay

ROOT = Path(__file__).parents[2]
NAMES = ["1_one.ipynb", "2_two.ipynb", "beyond/far.ipynb"]


@pytest.fixture
def version(tmp_path, monkeypatch):
    """Makes a version of the lessons, and takes it for the one that is installed."""

    def make(number, **lessons):
        folder = tmp_path / f"installed-{number}"
        for name in NAMES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(lessons.get(name[0], f"{name} of version {number}"))
        (folder / ".ipynb_checkpoints").mkdir()
        (folder / ".ipynb_checkpoints" / "1_one-checkpoint.ipynb").write_text("left by Jupyter")
        monkeypatch.setattr(course, "find_lessons", lambda: folder)
        monkeypatch.setattr(vit_steps, "__version__", f"{number}.0")

    make(1)
    return make


@pytest.fixture
def there(tmp_path):
    return tmp_path / "mine" / "vit"


def became(laid):
    return [each.became for each in laid]


def contents(folder):
    paths = [path for path in folder.rglob("*") if path.is_file() and path.name != NOTES]
    return {path.relative_to(folder).as_posix(): path.read_text() for path in paths}


def of_version(number):
    return {name: f"{name} of version {number}" for name in NAMES}


def test_what_ships_is_laid_byte_by_byte(there):
    laid = lay(there)
    lessons = {
        path.relative_to(ROOT / "notebooks").as_posix(): path for path in ROOT.rglob("notebooks/*.ipynb")
    }
    assert len(lessons) >= 5
    assert {*lessons} <= {each.name for each in laid}
    for name, path in lessons.items():
        assert (there / name).read_bytes() == path.read_bytes()


@pytest.mark.usefixtures("version")
def test_a_folder_is_made_and_filled(there):
    assert became(lay(there)) == ["new"] * 3
    assert contents(there) == of_version(1)
    assert became(lay(there)) == ["the same"] * 3
    assert contents(there) == of_version(1)


def test_what_is_as_it_was_laid_is_replaced(version, there):
    lay(there)
    version(2)
    assert became(lay(there)) == ["replaced"] * 3
    assert contents(there) == of_version(2)


def test_what_was_changed_stays_and_the_new_one_lies_beside_it_once(version, there):
    lay(there)
    (there / "1_one.ipynb").write_text("mine")
    version(2)
    assert became(lay(there)) == ["beside", "replaced", "replaced"]
    wanted = {**of_version(2), "1_one.ipynb": "mine", "1_one_v2.0.ipynb": "1_one.ipynb of version 2"}
    assert contents(there) == wanted
    assert became(lay(there)) == ["kept", "the same", "the same"]
    (there / "1_one_v2.0.ipynb").unlink()  # not wanted: it does not come back
    lay(there)
    assert "1_one_v2.0.ipynb" not in contents(there)


@pytest.mark.usefixtures("version")
def test_what_was_changed_and_is_not_new_lies_beside_nothing(there):
    lay(there)
    (there / "1_one.ipynb").write_text("mine")
    assert became(lay(there)) == ["kept", "the same", "the same"]
    assert contents(there) == {**of_version(1), "1_one.ipynb": "mine"}


@pytest.mark.usefixtures("version")
def test_what_was_thrown_away_is_laid_again(there):
    lay(there)
    (there / "2_two.ipynb").unlink()
    assert became(lay(there)) == ["the same", "new", "the same"]
    assert contents(there) == of_version(1)


@pytest.mark.parametrize("notes", [None, "no JSON", "[1]", '{"1_one.ipynb": 3}', '{"1_one.ipynb": [3]}'])
def test_where_nothing_is_known_nothing_is_overwritten(version, there, notes):
    lay(there)
    (there / NOTES).write_text(notes) if notes else (there / NOTES).unlink()
    version(2)
    laid = lay(there)
    assert set(became(laid)) == {"beside"}
    assert contents(there).items() >= of_version(1).items()
    assert {each.place.read_text() for each in laid} == {*of_version(2).values()}


def test_what_lies_beside_is_never_overwritten_either(version, there):
    lay(there)
    for number, name in enumerate(["1_one.ipynb", "1_one_v2.0.ipynb", "1_one_v2.0_2.ipynb"]):
        (there / name).write_text(f"mine {number}")
    version(2)
    assert lay(there)[0].place.name == "1_one_v2.0_3.ipynb"
    assert [contents(there)[f"1_one{end}.ipynb"] for end in ("", "_v2.0", "_v2.0_2")] == [
        "mine 0",
        "mine 1",
        "mine 2",
    ]


def test_a_way_back_is_a_version_like_any_other(version, there):
    lay(there)
    version(2)
    lay(there)
    version(1.5, **{"1": "1_one.ipynb of version 1"})  # what version 1 had
    assert became(lay(there)) == ["replaced"] * 3


def test_a_file_in_place_of_the_folder_is_refused(tmp_path, capsys):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(SystemExit) as left:
        main(["course", str(tmp_path / "notes.txt")])
    assert left.value.code == 2
    assert "notes.txt is a file, a folder was wanted" in capsys.readouterr().err
    assert (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.usefixtures("version")
def test_a_folder_in_place_of_a_lesson_is_refused_by_name(there, capsys):
    (there / "1_one.ipynb").mkdir(parents=True)
    with pytest.raises(SystemExit):
        main(["course", str(there)])
    assert "1_one.ipynb is a folder, a file was wanted" in capsys.readouterr().err


def test_the_command_says_what_became_of_them(version, there, capsys):
    assert main(["course", str(there)]) == 0
    assert capsys.readouterr().err == f"3 lessons in {there}: 3 laid there, 0 left as they were\n"
    (there / "beyond" / "far.ipynb").write_text("mine")
    version(2)
    assert main(["course", str(there)]) == 0
    _, beside = capsys.readouterr().err.splitlines()
    assert beside == "  beyond/far.ipynb is yours and stays; the new one is far_v2.0.ipynb beside it"


def test_an_installation_without_lessons_says_so(tmp_path, monkeypatch, there, capsys):
    from vit_steps.commands import where

    monkeypatch.setattr(where, "PACKAGE", tmp_path / "site-packages" / "vit_steps")
    (tmp_path / "site-packages" / "notebooks").mkdir(parents=True)  # somebody else's
    with pytest.raises(SystemExit):
        main(["course", str(there)])
    assert "the lessons are not in this installation: install vit-steps again" in capsys.readouterr().err
    assert not there.exists()


SLOW = """
import time
from pathlib import Path
import vit_steps.commands.course as course
from vit_steps.__main__ import main
write = Path.write_bytes
def slowly(path, content):
    for part in range(0, len(content), 10**5):
        with open(path, "ab") as file:
            file.write(content[part : part + 10**5])
        print("written", flush=True)
        time.sleep(0.05)
Path.write_bytes = slowly
raise SystemExit(main(["course", {folder!r}]))
"""


@pytest.mark.skipif(os.name == "nt", reason="Windows sends Ctrl-C to a whole console")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGKILL, -signal.SIGKILL)])
def test_an_interruption_leaves_whole_files_and_the_next_call_goes_on(there, number, code):
    command = [sys.executable, "-c", SLOW.format(folder=str(there))]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as slow:
        for _ in range(9):  # in the middle of the second lesson
            assert slow.stdout.readline() == "written\n"
        slow.send_signal(number)
        said = slow.communicate(timeout=60)[1]
    assert slow.returncode == code
    assert said == ("vit-steps: stopped by Ctrl-C\n" if code == 130 else "")
    lessons = course.find_lessons()
    whole = [name for name in contents(there) if ".draft-" not in name]
    assert whole == ["1_patch_embedding.ipynb"]
    assert all((there / name).read_bytes() == (lessons / name).read_bytes() for name in whole)
    lay(there)
    assert not [name for name in os.listdir(there) if name.startswith(".draft-")]
    assert len(contents(there)) == len(list(lessons.rglob("*.ipynb")))
    assert json.loads((there / NOTES).read_text()).keys() == contents(there).keys()
