"""Two processes do together what one does alone."""

import subprocess
import sys

import pytest
import torch
from training_helpers import QUIET, same_weights, unkind_images, unkind_model

from vit_steps.data import load_digits_images
from vit_steps.training import (
    accuracy,
    fit,
    load_checkpoint,
    read_notes,
    save_checkpoint,
)


def test_two_processes_by_the_command_of_the_readme(tmp_path):
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]  # torchrun, written out
    command = [*launch, "-m", "vit_steps.training", "--data", "digits", "--epochs", "6"]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert "2 processes on cpu" in shown.stdout
    assert shown.stdout.count("accuracy in test") == 1
    model, notes = load_checkpoint(tmp_path / "model.safetensors"), read_notes(tmp_path / "model.safetensors")
    assert accuracy(model, load_digits_images("test")) == notes["test_accuracy"] > 0.9
    assert accuracy(model, load_digits_images("valid")) == notes["valid_accuracy"] > 0.9


SHARED_WORK = """
import pathlib, sys, torch
from vit_steps import training
from vit_steps.training import _processes, _run_files
folder = pathlib.Path(sys.argv[1])
model = training.load_checkpoint(folder / "start.safetensors")
train, valid, test = torch.load(folder / "data.pt", weights_only=True)
wrote, seen, real = [], [], _run_files.write_own
_run_files.write_own = lambda path, *rest: wrote.append(str(path)) or real(path, *rest)
options = {"epochs": 3, "batch_size": 6, "augment": 0.0, "progress": False}
options["on_epoch"] = lambda history: seen.append(len(history.loss))
history = training.fit(model, train, valid, checkpoint=folder / "run.safetensors", **options)
notes = {"loss": history.loss, "valid": history.valid_accuracy, "wrote": len(wrote), "seen": seen}
notes["found"] = training.accuracy(model, test, batch_size=3)
try:
    training.fit(model, train, valid, **options | {"batch_size": 5})
except ValueError as error:
    notes["refusal"] = str(error)
place = _processes.make_accelerator().process_index
try:
    training.fit(model, train, valid, checkpoint=folder / ("run.safetensors", "none")[place], **options)
except ValueError as error:
    notes["apart"] = str(error)
training.save_checkpoint(model, folder / f"end{place}.safetensors", notes=notes)
_processes.leave(0)  # as the command does it
"""


def test_two_processes_do_together_what_one_does_alone(tmp_path):
    """In float64 and without affine maps the weights are equal to rounding, and the counts exactly."""
    model, train, valid, test = (
        unkind_model().double(),
        *(unkind_images(n, torch.float64) for n in (20, 13, 17)),
    )
    save_checkpoint(model, tmp_path / "start.safetensors")
    torch.save((train, valid, test), tmp_path / "data.pt")
    (tmp_path / "work.py").write_text(SHARED_WORK)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    shown = subprocess.run([*launch, tmp_path / "work.py", tmp_path], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr

    history = fit(model, train, valid, epochs=3, batch_size=6, augment=0.0, **QUIET)
    notes = [read_notes(tmp_path / f"end{rank}.safetensors") for rank in range(2)]
    ends = [load_checkpoint(tmp_path / f"end{rank}.safetensors") for rank in range(2)]
    assert same_weights(*ends)
    for name, expected in model.state_dict().items():
        torch.testing.assert_close(ends[0].state_dict()[name], expected, rtol=1e-8, atol=1e-10)
    assert [note["found"] for note in notes] == [accuracy(model, test)] * 2
    assert [note["valid"] for note in notes] == [history.valid_accuracy] * 2
    assert notes[0]["loss"] == pytest.approx(history.loss)
    assert [note["wrote"] for note in notes] == [3, 0]
    assert [note["seen"] for note in notes] == [[1, 2, 3], []]
    assert all("is at epoch [3, 0] for the 2 processes" in note["apart"] for note in notes)
    assert {note["refusal"] for note in notes} == {"batch_size 5 is not a multiple of the 2 processes"}
