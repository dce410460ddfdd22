"""The command: what it says, what it refuses, what it leaves."""

import os
import shlex
import signal
import threading
import time

import pytest
from training_helpers import with_signals

from vit_steps.data import load_digits_images
from vit_steps.training import (
    accuracy,
    command,
    load_checkpoint,
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
    assert len(commands) == 5
    for words in commands:
        command._parser().parse_args(shlex.split(words))


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
    assert lines[-1].startswith(f"accuracy in test {notes['test_accuracy']:.2%}")
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
        ("--pool max", "pool must be one of cls, mean, got 'max'"),
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
