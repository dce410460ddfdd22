"""A run that was killed goes on as if it had not been, and only with its own file."""

import errno
import multiprocessing
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from training_helpers import QUIET, digits, same_weights, unkind_images, unkind_model, with_signals

from vit_steps.training import digits_model, fit, load_checkpoint, loop, random_affine, save_checkpoint
from vit_steps.training._own_files import read_own, write_own
from vit_steps.training.command import main


class Killed(Exception):
    """Stands in for a power cut after an epoch."""


@pytest.mark.parametrize("epochs_done", [1, 2, 4])
def test_resume_equals_no_interruption(tmp_path, epochs_done):
    train, valid, path = digits(100), digits(40, "valid"), tmp_path / "run.safetensors"
    options = {"epochs": 4, "batch_size": 32, "seed": 5, **QUIET}
    whole = digits_model()
    expected = fit(whole, train, valid, **options)

    def die(history):
        if len(history.loss) == epochs_done:
            raise Killed

    with pytest.raises(Killed):
        fit(digits_model(), train, valid, checkpoint=path, on_epoch=die, **options)
    resumed, epochs = digits_model(), []
    history = fit(
        resumed, train, valid, checkpoint=path, on_epoch=lambda h: epochs.append(len(h.loss)), **options
    )
    assert epochs == list(range(epochs_done + 1, 5))
    assert history == expected
    assert same_weights(resumed, whole)
    assert [file.name for file in tmp_path.iterdir()] == ["run.safetensors"]


@with_signals
def test_a_killed_run_started_again_ends_as_if_it_had_never_been_killed(tmp_path):
    """SIGKILL from outside, in the middle of things, by the command line."""
    recipe = ["--dim", "16", "--depth", "1", "--epochs", "12", "--batch-size", "128"]
    words = [*recipe, "--checkpoint", "run.safetensors", "--out", "model.safetensors"]
    command = [sys.executable, "-m", "vit_steps.training", *words]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoint, limit = tmp_path / "run.safetensors", time.time() + 60
    while not checkpoint.exists() and time.time() < limit:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "model.safetensors").exists()
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    other = tmp_path / "other.safetensors"
    assert main([*recipe, "--out", str(other)]) == 0
    assert same_weights(load_checkpoint(tmp_path / "model.safetensors"), load_checkpoint(other))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.01}, "lr was 0.003, is 0.01"),
        ({"epochs": 3}, "epochs was 2, is 3"),
        ({"seed": 1}, "seed was 0, is 1"),
        ({"model": unkind_model(depth=3)}, "depth was 2, is 3"),
        ({"train": (torch.zeros(8, 2, 6, 10), torch.zeros(8).long())}, "train has other images or labels"),
        ({"valid": (torch.zeros(8, 2, 6, 10), torch.zeros(8).long())}, "valid had 0 images, has 8"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, changes, message):
    arguments = {
        "train": unkind_images(8),
        "valid": None,
        "epochs": 2,
        "checkpoint": tmp_path / "run.safetensors",
    }
    fit(unkind_model(), **arguments, **QUIET)
    with pytest.raises(ValueError, match=f"checkpoint .* belongs to another run: {message}"):
        fit(**{"model": unkind_model(), **arguments, **changes}, **QUIET)


def test_a_damaged_checkpoint_and_a_model_in_its_place_are_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    arguments = {"train": unkind_images(8), "valid": None, "epochs": 1, "checkpoint": path, **QUIET}
    fit(unkind_model(), **arguments)
    with pytest.raises(ValueError, match="holds a run, a model was wanted"):
        load_checkpoint(path)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        fit(unkind_model(), **arguments)
    save_checkpoint(unkind_model(), path)
    with pytest.raises(ValueError, match="holds a model, a run was wanted"):
        fit(unkind_model(), **arguments)


# The file and the run live apart


@pytest.mark.skipif(not os.path.exists("/proc/self/maps"), reason="only Linux lists what is mapped")
def test_a_run_goes_on_whatever_happens_to_the_file_that_it_went_on_from(tmp_path, monkeypatch):
    path, train = tmp_path / "run.safetensors", unkind_images(8)
    options = {"epochs": 4, "batch_size": 4, **QUIET}
    start, mapped = unkind_model().state_dict(), []

    def fresh():
        model = unkind_model()
        model.load_state_dict(start)
        return model

    def stop_after_two(history):
        if len(history.loss) == 2:
            raise Killed

    def spoil_and_move(images, strength, **options):
        with open("/proc/self/maps") as maps:
            mapped.append(str(path) in maps.read())
        with open(path, "r+b") as file:
            file.write(b"\xff" * path.stat().st_size)
        os.truncate(path, 100)
        return random_affine(images, strength, **options)

    whole, resumed = fresh(), fresh()
    expected = fit(whole, train, None, **options)
    with pytest.raises(Killed):
        fit(fresh(), train, None, checkpoint=path, on_epoch=stop_after_two, **options)
    monkeypatch.setattr(loop, "random_affine", spoil_and_move)
    assert fit(resumed, train, None, checkpoint=path, **options) == expected
    assert same_weights(resumed, whole)
    assert mapped == [False] * 4


def test_a_checkpoint_that_cannot_be_written_warns_and_the_training_goes_on(tmp_path, monkeypatch):
    path, train, real, turns = tmp_path / "run.safetensors", unkind_images(8), os.replace, []

    def full_in_the_middle(draft, place):
        turns.append(place)
        if len(turns) in (2, 3):
            raise OSError(errno.ENOSPC, "No space left on device", str(draft))
        real(draft, place)

    monkeypatch.setattr(os, "replace", full_in_the_middle)
    with pytest.warns(RuntimeWarning, match=r"run\.safetensors cannot be written: No space .*; the training"):
        history = fit(unkind_model(), train, None, epochs=4, checkpoint=path, **QUIET)
    assert len(history.loss) == 4
    assert [file.name for file in tmp_path.iterdir()] == ["run.safetensors"]
    assert len(read_own(path, "run")[1]["history"]["loss"]) == 4


def test_a_checkpoint_that_cannot_be_is_found_before_the_first_step(tmp_path, monkeypatch):
    monkeypatch.setattr(loop._Run, "_train_epoch", lambda *_: pytest.fail("it trained"))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=10_000))
    with pytest.raises(OSError, match=r"run\.safetensors cannot be written: it takes \d\d,\d\d\d bytes"):
        fit(
            unkind_model(), unkind_images(8), None, epochs=1, checkpoint=tmp_path / "run.safetensors", **QUIET
        )
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OSError, match="pipe is a device or a pipe, a file was wanted"):
        fit(unkind_model(), unkind_images(8), None, epochs=1, checkpoint=tmp_path / "pipe", **QUIET)


@pytest.mark.parametrize(
    ("changes", "message"),
    [({"history": {"lost": []}}, "lost"), ({"history": None}, "does not describe a run")],
)
def test_a_forged_run_is_refused(changes, message, tmp_path):
    path = tmp_path / "run.safetensors"
    arguments = {"train": unkind_images(8), "valid": None, "epochs": 1, "checkpoint": path, **QUIET}
    fit(unkind_model(), **arguments)
    tensors, header = read_own(path, "run")
    write_own(path, tensors, header | changes)
    with pytest.raises(ValueError, match=message) as caught:
        fit(unkind_model(), **arguments)
    assert str(path) in str(caught.value)


def test_one_image_more_is_said_in_images(tmp_path):
    path, (images, labels) = tmp_path / "run.safetensors", unkind_images(9)
    fit(unkind_model(), (images[:8], labels[:8]), None, epochs=1, checkpoint=path, **QUIET)
    with pytest.raises(ValueError, match=r"belongs to another run: train had 8 images, has 9$"):
        fit(unkind_model(), (images, labels), None, epochs=1, checkpoint=path, **QUIET)
    with pytest.raises(ValueError, match=r"belongs to another run: train has other images or labels$"):
        fit(unkind_model(), (images[1:], labels[1:]), None, epochs=1, checkpoint=path, **QUIET)


def write_again_and_again(path, tensors, header, begun):
    begun.set()
    for _ in range(10_000):
        write_own(path, tensors, header)


def test_kills_leave_a_whole_run(tmp_path):
    path, dice, fork = tmp_path / "run.safetensors", random.Random(0), multiprocessing.get_context("fork")
    begun = fork.Event()
    arguments = {"train": digits(64), "valid": None, "epochs": 1, "checkpoint": path, **QUIET}
    history = fit(digits_model(), **arguments)
    tensors, header = read_own(path, "run")
    littered = 0
    for kills in range(1, 101):
        begun.clear()
        process = fork.Process(target=write_again_and_again, args=(path, tensors, header, begun))
        process.start()
        assert begun.wait(timeout=60)
        time.sleep(dice.uniform(0.0, 0.1))
        process.kill()
        process.join()
        littered += len(list(tmp_path.iterdir())) > 1
        assert read_own(path, "run")[1] == header
        if littered and kills >= 12:  # on a busy machine a kill may come before the first byte
            break
    assert littered  # or nothing was tried
    assert fit(digits_model(), **arguments) == history
    assert [file.name for file in tmp_path.iterdir()] == ["run.safetensors"]
