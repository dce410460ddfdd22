"""The command: what it says, what it refuses, what it leaves."""

import errno
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time

import pytest
from training_helpers import with_signals

from vit_steps.data import load_digits_images
from vit_steps.training import (
    accuracy,
    command,
    load_checkpoint,
    loop,
    read_notes,
)
from vit_steps.training.command import main


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for words in ("examples:", "--data digits", "--data pets", "accelerate launch", "--mixed-precision bf16"):
        assert words in shown


def test_the_examples_of_the_help_are_read_by_its_parser():
    lines = command.EXAMPLES.replace("\\\n", " ").splitlines()
    commands = [line.split("vit_steps.training")[1] for line in lines if "vit_steps.training" in line]
    assert len(commands) == 7
    for words in commands:
        command._parse(command._parser(), shlex.split(words))


def test_the_command_says_what_it_will_do_trains_tests_and_writes(tmp_path, capsys):
    out = tmp_path / "model.safetensors"
    words = ["--data", "digits", "--patch-size", "2", "--dim", "32", "--depth", "1", "--epochs", "2", "--out"]
    assert main([*words, str(out)]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0].startswith("data ")
    assert lines[0].endswith("digits: 1257 train, 180 valid, 360 test images of 1 x 8 x 8, 10 classes")
    assert [line.split()[0] for line in lines[1:6]] == ["patches", "model", "recipe", "machine", "writes"]
    model, notes = load_checkpoint(out), read_notes(out)
    assert f"{sum(p.numel() for p in model.parameters()):,} parameters" in lines[2]
    assert "images per second" in lines[6]
    assert lines[-3].startswith(f"accuracy in test {notes['test_accuracy']:.2%}")
    assert lines[-2].startswith("by class, the worst first: ")
    assert lines[-2].count(" of ") == 10
    assert lines[-1] == (
        "to see where it looks, on a picture of one digit, light on dark: "
        f"python -m vit_steps.looking {out} PHOTO --out map.png"
    )
    assert "epoch 2/2" in shown.err
    assert accuracy(model, load_digits_images("test")) == notes["test_accuracy"]
    assert accuracy(model, load_digits_images("valid")) == notes["valid_accuracy"]
    assert notes["command"] == shlex.join(["python", "-m", "vit_steps.training", *words, str(out)])
    assert notes["split_seed"] == 0


def test_the_command_learns_a_folder_of_images(tmp_path, capsys):
    from PIL import Image

    for name, colour in (("blue", (0, 0, 200)), ("red", (200, 0, 0))):
        (tmp_path / "flags" / name).mkdir(parents=True)
        for number in range(12):
            picture = Image.new("RGB", (20 + number, 31), tuple(c + number for c in colour))
            picture.save(tmp_path / "flags" / name / f"{number}.png")
    out = tmp_path / "model.safetensors"
    words = (
        f"--data {tmp_path}/flags --image-size 8 --patch-size 4 --dim 16 --depth 1 --epochs 25 --batch-size 8"
    )
    assert main([*words.split(), "--average", "0.5", "--out", str(out)]) == 0
    assert "accuracy in test 100.00% (5 of 5 images)" in capsys.readouterr().out
    assert read_notes(out)["classes"] == ["blue", "red"]
    assert load_checkpoint(out).config["num_classes"] == 2


def paint(folder, **counts):
    """Plain pictures, as many as said of each class, all of one grey."""
    from PIL import Image

    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for number in range(count):
            Image.new("L", (9, 8), 100).save(folder / name / f"{number}.png")


def test_the_report_names_the_worst_class_and_says_when_nothing_was_learned(tmp_path, capsys):
    paint(tmp_path / "pets", cat=60, pug=4, dog=10)
    words = f"--data {tmp_path}/pets --image-size 8 --dim 16 --depth 1 --epochs 1 --channels 1"
    assert main([*words.split(), "--out", str(tmp_path / "model.safetensors")]) == 0
    lines = capsys.readouterr().out.splitlines()
    # One grey for all: whatever the model answers, it answers for all of them.
    assert (
        lines[-3]
        == "by class, the worst first: dog: 0.00% (0 of 2), pug: 0.00% (0 of 1), cat: 100.00% (12 of 12)"
    )
    assert lines[-2] == "this is no better than always answering the commonest class, cat: 80.00% (12 of 15)"
    assert lines[-4] == "accuracy in test 80.00% (12 of 15 images)"


def test_the_last_line_is_the_look_that_fits_what_was_written(tmp_path, monkeypatch, capsys):
    from vit_steps.looking.command import main as look

    paint(tmp_path / "my pets", cat=6, dog=6)
    (tmp_path / "my pets" / "cat" / ".hidden.png").write_bytes(b"no picture")
    (tmp_path / "my pets" / "cat" / "0 \x1b[31m.png").write_bytes(
        (tmp_path / "my pets/cat/1.png").read_bytes()
    )
    monkeypatch.chdir(tmp_path)
    words = ["--image-size", "8", "--dim", "16", "--depth", "1", "--epochs", "1", "--channels", "1"]
    assert main(["--data", "my pets", "--out", "a pet.safetensors", *words]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    said, _, line = last.partition(": ")
    assert said == "to see where it looks"
    command_line = shlex.split(line)
    assert command_line[:4] == ["python", "-m", "vit_steps.looking", "a pet.safetensors"]
    assert command_line[4:] == [os.path.join("my pets", "cat", "0.png"), "--out", "map.png"]
    assert look(command_line[3:]) == 0
    assert (tmp_path / "map.png").read_bytes().startswith(b"\x89PNG")


def test_without_a_picture_or_a_name_that_is_read_no_file_is_made_up(tmp_path, monkeypatch, capsys):
    (tmp_path / "empty").mkdir()
    assert command._how_to_look(str(tmp_path / "empty"), "m.safetensors").endswith(
        ": python -m vit_steps.looking m.safetensors PHOTO --out map.png"
    )
    monkeypatch.chdir(tmp_path)
    assert main([*SHORT, "--out", "model"]) == 0
    assert "vit_steps.looking" not in capsys.readouterr().out


def test_the_report_of_many_classes_shows_the_worst_ten():
    counts = {label: (label, 12) for label in range(12)}
    lines = command._tested(counts, tuple("abcdefghijkl")).splitlines()
    assert lines[1].startswith("by class, the worst first: a: 0.00% (0 of 12), b: 8.33% (1 of 12), ")
    assert lines[1].endswith("j: 75.00% (9 of 12), and 2 more")
    assert len(lines) == 2
    assert len(command._tested({0: (5, 9), 1: (5, 9)}, ("a", "b")).splitlines()) == 2
    assert len(command._tested({0: (4, 9), 1: (5, 9)}, ("a", "b")).splitlines()) == 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--data nowhere", "there is no folder nowhere"),
        ("--out nowhere/model.safetensors", "there is no folder nowhere to write"),
        ("--checkpoint nowhere/run.safetensors", "there is no folder nowhere to write"),
        ("--checkpoint model.safetensors", "--out and --checkpoint must be two files"),
        ("--patch-size 3", "image_size height 8 is not a multiple of patch_size 3"),
        ("--epochs 0", "epochs must be at least 1, got 0"),
        ("--seed -1", "seed must be at least 0, got -1"),
        (
            "--pool max",
            "pool must be one of cls, mean, mean_all, attention, cls+register, cls+mean, got 'max'",
        ),
        ("--epochs many", "invalid int value: 'many'"),
        ("--mixed-precision fp8", "mixed_precision must be one of no, bf16, got 'fp8'"),
    ],
)
def test_the_command_refuses_before_it_trains(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(words.split())
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@with_signals
def test_ctrl_c_ends_the_command_with_a_model_written(tmp_path, capsys):
    out, run = tmp_path / "model.safetensors", tmp_path / "run.safetensors"

    def press_once_there_is_a_checkpoint():
        while not run.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press_once_there_is_a_checkpoint, daemon=True).start()
    assert main(["--epochs", "400", "--dim", "16", "--checkpoint", str(run), "--out", str(out)]) == 130
    assert "stopped by Ctrl-C" in capsys.readouterr().out
    assert accuracy(load_checkpoint(out), load_digits_images("valid")) == read_notes(out)["valid_accuracy"]


# Nothing is lost

SHORT = ["--dim", "16", "--depth", "1", "--epochs", "1", "--batch-size", "256"]


def fails_at_the_end(monkeypatch, place):
    """A disk that was fine before the training and is full after it."""
    real = os.replace

    def replace(draft, target):
        if target == place:
            raise OSError(errno.ENOSPC, "No space left on device", str(draft))
        real(draft, target)

    monkeypatch.setattr(os, "replace", replace)


def test_a_model_that_cannot_be_written_is_kept_elsewhere(tmp_path, monkeypatch, capsys):
    out, spare = tmp_path / "model.safetensors", tmp_path / "spare"
    spare.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(spare))
    fails_at_the_end(monkeypatch, out)
    assert main([*SHORT, "--out", str(out)]) == 1
    said = capsys.readouterr().err
    assert "model.safetensors cannot be written: No space left on device" in said
    (kept,) = spare.glob("*/model.safetensors")
    assert f"The model is kept in {kept}" in said
    assert accuracy(load_checkpoint(kept), load_digits_images("test")) == read_notes(kept)["test_accuracy"]
    assert not out.exists()


def test_where_no_folder_of_the_machine_takes_it_the_reason_is_said(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(command.tempfile, "mkdtemp", lambda **_: (_ for _ in ()).throw(OSError("full")))
    fails_at_the_end(monkeypatch, tmp_path / "model.safetensors")
    assert main([*SHORT, "--out", str(tmp_path / "model.safetensors")]) == 1
    assert "model.safetensors cannot be written: No space left on device" in capsys.readouterr().err


def test_who_cuts_the_test_short_keeps_the_model(tmp_path, monkeypatch):
    def press(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(command, "right_by_class", press)
    with pytest.raises(KeyboardInterrupt):
        main([*SHORT, "--out", str(tmp_path / "model.safetensors")])
    assert "test_accuracy" not in read_notes(tmp_path / "model.safetensors")
    assert load_checkpoint(tmp_path / "model.safetensors").config["dim"] == 16


@pytest.mark.parametrize("option", ["--out", "--checkpoint"])
def test_a_disk_that_takes_nothing_is_found_before_the_training(option, tmp_path, monkeypatch, capsys):
    (tmp_path / "disk").mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "none", str(tmp_path / "disk")]
    if sys.platform != "linux" or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root on Linux may make a disk")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loop._Run, "_train_epoch", lambda *_: pytest.fail("it trained"))
    try:
        with pytest.raises(SystemExit):
            main([option, "disk/a.safetensors"])  # 600 kB
        assert re.search(
            r"a\.safetensors cannot be written: it takes [\d,]+ bytes, ", capsys.readouterr().err
        )
        subprocess.run(["mount", "-o", "remount,ro", "disk"], check=True)
        with pytest.raises(SystemExit):
            main([option, "disk/a.safetensors"])
        assert "a.safetensors cannot be written: Read-only file system" in capsys.readouterr().err
    finally:
        subprocess.run(["umount", str(tmp_path / "disk")], check=True)
