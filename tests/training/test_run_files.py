"""A run that was killed goes on as if it had not been, and only with its own file."""

import signal
import subprocess
import sys
import time

import pytest
import torch
from training_helpers import QUIET, digits, same_weights, unkind_images, unkind_model, with_signals

from vit_steps.training import (
    digits_model,
    fit,
    load_checkpoint,
    save_checkpoint,
)
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
