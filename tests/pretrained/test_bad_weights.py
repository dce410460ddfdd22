# ruff: noqa: E501 (one line for each wrong input)
import os
import pickle
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from pretrained_cases import SQUARE, refusal
from references import google_arrays, timm_vit
from safetensors.torch import save_file

from vit_steps.pretrained import load_pretrained
from vit_steps.pretrained.weight_files import damaged, open_weights

# Bad input.


class _Bomb:
    """A pickle that would leave a file behind if it were allowed to run."""

    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return (os.mkdir, (str(self.path),))


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("protocol", [None, 2, 4], ids=["torch.save", "protocol 2", "protocol 4"])
@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin"])
def test_a_pickle_that_wants_to_run_code_is_refused_and_runs_nothing(tmp_path, protocol, suffix):
    path = tmp_path / f"vit{suffix}"
    bomb = {"cls_token": _Bomb(tmp_path / "ran")}
    if protocol is None:
        torch.save(bomb, path)
    else:
        path.write_bytes(pickle.dumps(bomb, protocol=protocol))
    with pytest.raises(ValueError, match="holds more than numbers, and nothing in it was run") as error:
        load_pretrained(path)
    assert protocol == 4 or "mkdir" in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_an_npz_that_wants_to_run_code_is_refused_and_runs_nothing(tmp_path):
    np.savez(tmp_path / "vit.npz", cls=np.array([_Bomb(tmp_path / "ran")], dtype=object))
    with pytest.raises(ValueError, match="holds more than numbers, and nothing in it was run"):
        load_pretrained(tmp_path / "vit.npz")
    assert not (tmp_path / "ran").exists()


def test_a_whole_pickled_module_is_refused(tmp_path):
    torch.save(torch.nn.Linear(2, 2), tmp_path / "vit.pth")
    with pytest.raises(ValueError, match="holds more than numbers"):
        load_pretrained(tmp_path)


def test_a_file_that_only_bears_the_name_is_refused(tmp_path):
    (tmp_path / "vit.npz").write_bytes(b"PK, but no zip")
    assert refusal(tmp_path / "vit.npz") == "FOLDER is damaged or cut short: it is no whole zip archive"


@pytest.mark.usefixtures("doors_only")
def test_a_pickle_of_something_else_is_told_what_it_is(tmp_path):
    torch.save([1.0], tmp_path / "vit.pth")
    assert refusal(tmp_path, TypeError) == "state_dict must map names to tensors, not list"


def test_a_file_that_is_gone_by_the_time_it_is_read_is_not_called_damaged(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.pth"), open_weights(tmp_path / "gone.pth"):
        pass


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            "Weights only load failed.\nUnsupported global: GLOBAL os.mkdir was not allowed.\nMore.",
            "holds more than numbers, and nothing in it was run: Unsupported global: GLOBAL os.mkdir",
        ),
        ("see: Unsupported operand 149", "holds more than numbers, and nothing in it was run: Unsupported operand 149"),
        ("a GLOBAL os.mkdir here", "holds more than numbers, and nothing in it was run: GLOBAL os.mkdir"),
        ("only with weights_only\nor not", "holds more than numbers, and nothing in it was run: only with weights_only"),
        ("Object arrays: allow_PICKLE no\n!", "holds more than numbers, and nothing in it was run: Object arrays: allow_PICKLE no"),
        ("\n header too small\nso", "is damaged or cut short: header too small"),
    ],
)  # fmt: skip
def test_what_a_reader_complains_of_is_told_in_one_line(error, said):
    assert damaged(Path("vit.pth"), ValueError(error)) == f"vit.pth {said}"


@pytest.mark.parametrize("share", [0.0, 0.001, 0.3, 0.9, 0.999])
@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pth"])
def test_a_file_that_is_cut_short_is_refused_at_once(tmp_path, suffix, share):
    reference = timm_vit(SQUARE, torch.float32)
    path = tmp_path / f"vit{suffix}"
    if suffix == ".npz":
        np.savez(path, **google_arrays(reference.module))
    else:
        (save_file if suffix == ".safetensors" else torch.save)(reference.weights, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    began = time.monotonic()
    with pytest.raises(ValueError, match=f"vit{suffix} is damaged"):
        load_pretrained(path)
    assert time.monotonic() - began < 2


def test_a_cnn_is_refused(tmp_path):
    import timm

    save_file(timm.create_model("resnet10t").state_dict(), tmp_path / "model.safetensors")
    assert "no ViT in a dialect known here" in refusal(tmp_path, KeyError)


def test_half_of_a_distilled_deit_is_refused(tmp_path):
    import timm

    model = timm.create_model("deit_tiny_distilled_patch16_224", depth=1, img_size=32)
    weights = {name: weight for name, weight in model.state_dict().items() if name != "head.weight"}
    save_file(weights, tmp_path / "vit.safetensors")
    with pytest.raises(KeyError, match=r"looks like timm, but these keys are missing: 'head\.weight'"):
        load_pretrained(tmp_path)


def test_wrong_shapes_are_named(tmp_path):
    weights = timm_vit(SQUARE, torch.float32).weights
    weights["blocks.1.norm2.bias"] = torch.zeros(127)
    save_file(weights, tmp_path / "vit.safetensors")
    with pytest.raises(
        ValueError, match=r"blocks\.1\.norm2\.bias has shape \(127,\), the other weights need \(128,\)"
    ):
        load_pretrained(tmp_path)


NO_SOURCE = "and it is no Hub name such as 'owner/name'"


@pytest.mark.parametrize(
    ("source", "error", "message"),
    [
        ("no/such/model.pth", FileNotFoundError, f"there is no file or folder no/such/model.pth, {NO_SOURCE}"),
        ("weights/vit.pth", FileNotFoundError, f"there is no file or folder weights/vit.pth, {NO_SOURCE}"),
        ("../weights", FileNotFoundError, f"there is no file or folder ../weights, {NO_SOURCE}"),
        ("a/b/c", FileNotFoundError, f"there is no file or folder a/b/c, {NO_SOURCE}"),
        ("vit_base", FileNotFoundError, f"there is no file or folder vit_base, {NO_SOURCE}"),
        (Path("google/vit"), FileNotFoundError, f"there is no file or folder google/vit, {NO_SOURCE}"),
        (__file__, ValueError, f"{__file__} is none of the files that are read here (.safetensors, .npz, .pth, .pt, .bin, .ckpt, .pth.tar, .index.json)"),
        (3, TypeError, "source must be a path or a Hub name, not int"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("doors_only")
def test_a_source_that_is_not_there_is_named(source, error, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error) as caught:
        load_pretrained(source)
    assert str(caught.value) == message


def test_a_folder_without_weights_or_with_too_many_is_refused(tmp_path):
    files = ".safetensors, .npz, .pth, .pt, .bin, .ckpt, .pth.tar, .index.json"
    assert refusal(tmp_path, FileNotFoundError) == f"FOLDER holds no file with weights ({files})"
    for name in ("b.npz", "a.pth"):
        (tmp_path / name).touch()
    assert refusal(tmp_path) == "FOLDER holds several files with weights, name one: a.pth, b.npz"


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_of_several_files_the_one_that_libraries_write_is_taken(tmp_path, name):
    weights = timm_vit(SQUARE, torch.float32).weights
    (save_file if name.endswith("safetensors") else torch.save)(weights, tmp_path / name)
    (tmp_path / "another.pth").write_bytes(b"not read")
    assert load_pretrained(tmp_path).model.config["dim"] == 128
