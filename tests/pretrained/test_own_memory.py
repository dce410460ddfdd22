"""What a loaded model holds is its own: nothing that happens to the file reaches it."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from pretrained_cases import SQUARE, image_of
from references import google_arrays, perturb, timm_vit
from safetensors.torch import save_file

from vit_steps.pretrained import load_pretrained, save_hugging_face
from vit_steps.training import save_checkpoint
from vit_steps.vit import ViT

SAVERS = {
    "model.safetensors": lambda model, path: save_file(model.state_dict(), path),
    "odd places": lambda model, path: save_file(model.state_dict(), path, metadata={"odd": "a" * 13}),
    "vit.pth": lambda model, path: torch.save(model.state_dict(), path),
    "old.pth": lambda model, path: torch.save(model.state_dict(), path, _use_new_zipfile_serialization=False),
    "own": save_checkpoint,
}
SUFFIX = {"odd places": "odd.safetensors", "own": "own.safetensors"}

# Each in a process of its own, which may die; all of them have imported torch once.
HELD = """
import json, os, sys, torch
from vit_steps.pretrained import load_pretrained

def hold(path, harm):
    model = load_pretrained(path).model
    image = torch.full((1, 3, *model.image_size), 0.3)
    before = model(image)
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        file.truncate(0) if harm == "cut" else file.write(os.urandom(size))
    is_mapped = os.path.basename(path) in open("/proc/self/maps").read()
    print(torch.equal(model(image), before), is_mapped, end=" ", flush=True)

for path, harm in json.loads(sys.argv[1]):
    if not (child := os.fork()):
        hold(path, harm)
        os._exit(0)
    print(os.waitpid(child, 0)[1], flush=True)
"""
HARMS = ("cut", "overwritten")


def _saved(tmp_path: Path, name: str) -> tuple[ViT, Path]:
    model, path = perturb(ViT(**SQUARE._asdict())), tmp_path / SUFFIX.get(name, name)
    SAVERS[name](model, path)
    return model.eval(), path


@pytest.fixture(scope="module")
def held(tmp_path_factory):
    """What became of a model whose file was harmed: (name, harm) -> same answers, file in memory, exit."""
    cases = {(name, harm): tmp_path_factory.mktemp("held") for name in SAVERS for harm in HARMS}
    asked = [(str(_saved(folder, name)[1]), harm) for (name, harm), folder in cases.items()]
    command = [sys.executable, "-c", HELD, json.dumps(asked)]
    ran = subprocess.run(command, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return dict(zip(cases, ran.stdout.splitlines(), strict=True))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("name", SAVERS)
def test_a_file_that_is_cut_or_overwritten_changes_nothing_and_kills_nobody(held, name, harm):
    assert held[name, harm] == "True False 0"


@pytest.mark.parametrize("name", SAVERS)
def test_what_is_saved_and_loaded_gives_the_same_bits(tmp_path, name):
    model, path = _saved(tmp_path, name)
    loaded = load_pretrained(path).model
    image = image_of(SQUARE).float()
    assert torch.equal(loaded(image), model(image))
    assert all(weight.data_ptr() % 64 == 0 for weight in loaded.parameters())


def test_googles_arrays_in_either_order_of_bytes_and_axes_are_the_same_numbers(tmp_path):
    arrays = google_arrays(timm_vit(SQUARE, torch.float32).module)
    np.savez(tmp_path / "plain.npz", **arrays)
    np.savez_compressed(tmp_path / "packed.npz", **arrays)
    swapped = {
        name: np.asfortranarray(array.astype(array.dtype.newbyteorder(">"))) for name, array in arrays.items()
    }
    np.savez(tmp_path / "swapped.npz", **swapped)
    plain, *others = (
        load_pretrained(tmp_path / f"{name}.npz").model for name in ("plain", "packed", "swapped")
    )
    for other in others:
        same = zip(plain.parameters(), other.parameters(), strict=True)
        assert all(torch.equal(mine, theirs) and theirs.data_ptr() % 64 == 0 for mine, theirs in same)


def test_a_model_can_be_saved_to_where_it_was_loaded_from(tmp_path):
    model = perturb(ViT(**SQUARE._asdict())).eval()
    save_hugging_face(model, tmp_path)
    for _ in range(2):
        save_hugging_face(load_pretrained(tmp_path).model, tmp_path)
    image = image_of(SQUARE).float()
    assert torch.equal(load_pretrained(tmp_path).model(image), model(image))
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}


def test_tensors_that_shared_their_memory_do_so_no_more(tmp_path):
    weights = ViT(**SQUARE._asdict()).state_dict()
    weights["blocks.0.norm1.weight"] = weights["blocks.0.norm2.weight"]
    torch.save(weights, tmp_path / "vit.pth")
    block = load_pretrained(tmp_path).model.blocks[0]
    assert torch.equal(block.norm1.weight, block.norm2.weight)
    assert block.norm1.weight.data_ptr() != block.norm2.weight.data_ptr()


# A save that is killed between its files.

# For each line that comes, a process that saves until it is killed; all of them have imported torch once.
KILLED = """
import itertools, os, sys, torch
from vit_steps.pretrained import Preprocess, save_hugging_face
from vit_steps.vit import ViT

def save_for_ever(folder):
    for number in itertools.count(1):
        size = dict(image_size=8, patch_size=4, dim=8, depth=1, num_heads=2, mlp_dim=8, num_classes=2)
        model = ViT(**size)
        torch.nn.init.constant_(model.head.bias, number)
        preprocess = Preprocess((8, 8), (number / 1e6,) * 3, (0.5,) * 3) if number % 3 else None
        save_hugging_face(model, folder, labels=[f"{number}", f"{number} too"], preprocess=preprocess)
        if number == 1:
            print(os.getpid(), flush=True)  # there is a folder from now on

for _ in sys.stdin:
    if not (child := os.fork()):
        save_for_ever(sys.argv[1])
    print("ended by signal", os.waitpid(child, 0)[1], flush=True)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs a process that can be doubled")
def test_a_save_that_is_killed_leaves_one_model_or_is_refused(tmp_path):
    kills = int(os.environ.get("VIT_STEPS_KILLS", "16"))
    found, command = {"whole": 0, "refused": 0}, [sys.executable, "-c", KILLED, tmp_path / "vit"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as nursery:
        for each in range(kills):
            print(file=nursery.stdin, flush=True)
            child = int(nursery.stdout.readline())
            time.sleep(0.05 + 0.4 * (each * 0.618 % 1))
            os.kill(child, signal.SIGKILL)
            assert nursery.stdout.readline() == f"ended by signal {signal.SIGKILL.value}\n"
            found[_state(tmp_path / "vit")] += 1
    print(found)
    assert sum(found.values()) == kills


def _state(folder: Path) -> str:
    try:
        model, preprocess, labels = load_pretrained(folder)
    except ValueError as error:
        assert "was saved with: a save was cut off" in str(error)  # noqa: PT017
        return "refused"
    number = int(model.head.bias[0].item())
    assert labels == [f"{number}", f"{number} too"]
    assert preprocess.mean == ((number / 1e6,) * 3 if number % 3 else None)
    return "whole"


def test_a_config_of_another_save_is_refused_whatever_its_indentation(tmp_path):
    model = ViT(**SQUARE._asdict())
    save_hugging_face(model, tmp_path, labels=list("abcde"))
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace("\n", "\r\n   "))
    assert load_pretrained(tmp_path).labels == list("abcde")
    (tmp_path / "config.json").write_text(config.replace('"a"', '"A"'))
    with pytest.raises(ValueError, match=r"config\.json is not what model\.safetensors was saved with"):
        load_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(ValueError, match=r"config\.json is not what model\.safetensors was saved with"):
        load_pretrained(tmp_path)
