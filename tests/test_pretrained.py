# ruff: noqa: E501 (one line for each wrong input)
import http.server
import json
import os
import pickle
import shutil
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from references import (
    Size,
    deit,
    difference,
    dinov2,
    google_arrays,
    hugging_face,
    hugging_face_config,
    hugging_face_dinov2,
    perturb,
    timm_vit,
    torchvision_vit,
)
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from skimage import data

from vit_steps.pretrained import (
    Preprocess,
    Pretrained,
    _damaged,
    _hugging_face_preprocess,
    _timm_preprocess,
    load_pretrained,
    save_hugging_face,
    to_timm,
)
from vit_steps.pretrained import _read as _read_weights
from vit_steps.vit import ViT

SIZE = Size((32, 48), 8, 128, 2, 2, 192, 5)
SQUARE = SIZE._replace(image_size=(40, 40))
NAMES = ["tench", "goldfish", "great white shark", "crane", "crane"]


def _image(size: Size = SIZE, batch: int = 3) -> torch.Tensor:
    return torch.rand(batch, size.channels, *size.image_size, dtype=torch.float64)


@torch.no_grad()
def _gap(loaded: Pretrained, reference: torch.nn.Module, size: Size = SIZE) -> float:
    image = _image(size).to(loaded.model.head.weight.dtype)
    theirs = reference(image)
    return difference(loaded.model(image), getattr(theirs, "logits", theirs))


def _save_timm(folder: Path, model: torch.nn.Module, **config: object) -> Path:
    from timm.models._hub import save_for_hf

    save_for_hf(model, folder, model_config=config, safe_serialization=True)
    return folder


# A folder as transformers writes it.


def test_a_folder_of_hugging_face_gives_the_same_logits(tmp_path):
    reference = hugging_face(SIZE, torch.float64, "sdpa").module
    reference.save_pretrained(tmp_path)
    loaded = load_pretrained(tmp_path)
    assert _gap(loaded, reference) < 1e-12
    assert not loaded.model.training
    assert loaded.model.config["eps"] == 1e-12
    assert loaded.model.config["num_heads"] == 2


def test_hugging_faces_sizes_heads_and_epsilon_come_from_its_config(tmp_path):
    from transformers import ViTForImageClassification

    config = hugging_face_config(SIZE._replace(num_heads=16))
    config.layer_norm_eps = 0.02
    reference = perturb(ViTForImageClassification(config).double())
    reference.save_pretrained(tmp_path)
    loaded = load_pretrained(tmp_path / "model.safetensors")
    assert loaded.model.image_size == (32, 48)
    assert _gap(loaded, reference) < 1e-6


def test_hugging_faces_names_and_preparation_come_along(tmp_path):
    from transformers import AutoImageProcessor, ViTForImageClassification
    from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

    config = hugging_face_config(SQUARE)
    config.id2label = dict(enumerate(NAMES))
    ViTForImageClassification(config).save_pretrained(tmp_path)
    size = {"height": 40, "width": 40}
    ViTImageProcessorPil(size=size, image_mean=[0.1, 0.2, 0.3], image_std=[0.4, 0.5, 0.6]).save_pretrained(
        tmp_path
    )
    loaded = load_pretrained(tmp_path)
    assert loaded.labels == NAMES
    photo = Image.fromarray(data.coffee())
    theirs = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")(
        photo, return_tensors="pt"
    ).pixel_values
    assert difference(loaded.preprocess(photo), theirs) < 1e-5


def test_a_vit_model_without_a_head_gives_its_class_token(tmp_path):
    from transformers import ViTModel

    reference = perturb(ViTModel(hugging_face_config(SIZE)).double())
    reference.save_pretrained(tmp_path)
    loaded = load_pretrained(tmp_path)
    image = _image()
    with torch.no_grad():
        theirs = reference(image).last_hidden_state
        ours = loaded.model.norm(loaded.model.trace(image).encoded)
        assert difference(loaded.model(image), theirs[:, 0]) < 1e-12
    assert difference(ours, theirs) < 1e-12
    assert loaded.labels == []


def test_hugging_faces_dinov2_is_the_same_function(tmp_path):
    size = SQUARE._replace(mlp_dim=256)
    reference = hugging_face_dinov2(size, torch.float64)
    reference.module.save_pretrained(tmp_path)
    loaded = load_pretrained(tmp_path)
    with torch.no_grad():
        image = _image(size)
        assert difference(loaded.model(image), reference.stages(reference.module).logits(image)) < 1e-12


# A folder as timm writes it for the Hub.


@pytest.mark.parametrize("build", [timm_vit, deit, dinov2])
def test_a_folder_of_timm_gives_the_same_logits_and_pixels(tmp_path, build):
    from timm.data import create_transform, resolve_data_config

    reference = build(SQUARE, torch.float32).module
    loaded = load_pretrained(_save_timm(tmp_path, reference))
    assert _gap(loaded, reference, SQUARE) < 1e-5
    config = json.loads((tmp_path / "config.json").read_text())["pretrained_cfg"]
    photo = Image.fromarray(data.chelsea())
    theirs = create_transform(**resolve_data_config({}, pretrained_cfg=config))(photo)[None]
    assert difference(loaded.preprocess(photo), theirs) < 1e-5
    assert loaded.labels == ["0", "1", "2", "3", "4"]


def test_the_config_of_the_weights_that_timm_keeps_on_the_hub(tmp_path):
    published = {
        "input_size": [3, 40, 40],
        "interpolation": "bicubic",
        "crop_pct": 0.9,
        "crop_mode": "center",
    }
    published |= {
        "mean": [0.5] * 3,
        "std": [0.4] * 3,
        "num_classes": 5,
        "pool_size": None,
        "classifier": "head",
    }
    config = {
        "architecture": "vit_tiny_patch16_224",
        "num_classes": 5,
        "num_features": 128,
        "global_pool": "token",
    }
    (tmp_path / "config.json").write_text(json.dumps(config | {"pretrained_cfg": published}))
    reference = timm_vit(SQUARE, torch.float32)
    save_file(reference.weights, tmp_path / "model.safetensors")
    loaded = load_pretrained(tmp_path)
    assert _gap(loaded, reference.module, SQUARE) < 1e-5
    assert loaded.preprocess == Preprocess((40, 40), (0.5,) * 3, (0.4,) * 3, crop_pct=0.9)


def test_timms_names_are_its_descriptions_where_it_has_them(tmp_path):
    model = timm_vit(SIZE, torch.float32).module
    names = [f"n{number}" for number in range(5)]
    _save_timm(tmp_path, model, label_names=names, label_descriptions=dict(zip(names, NAMES, strict=True)))
    assert load_pretrained(tmp_path).labels == NAMES


def test_timms_average_pooling_is_read_from_its_config(tmp_path):
    reference = timm_vit(SQUARE, torch.float32, global_pool="avg", fc_norm=False).module
    loaded = load_pretrained(_save_timm(tmp_path, reference))
    assert loaded.model.pool == "mean"
    assert _gap(loaded, reference, SQUARE) < 1e-5


def test_timms_smallest_model_has_heads_of_another_width(tmp_path):
    import timm

    reference = perturb(timm.create_model("test_vit", num_classes=5))
    loaded = load_pretrained(_save_timm(tmp_path, reference))
    size = Size((160, 160), 16, 64, 6, 2, 192, 5)
    assert _gap(loaded, reference, size) < 1e-4


@pytest.mark.parametrize(("dim", "num_heads"), [(1280, 16), (192, 3), (1408, 16), (384, 6)])
def test_heads_are_as_wide_as_in_the_published_models(tmp_path, dim, num_heads):
    model = ViT(**SQUARE._replace(dim=dim, mlp_dim=8, depth=1, num_heads=1)._asdict())
    save_file(model.state_dict(), tmp_path / "vit.safetensors")
    assert load_pretrained(tmp_path).model.config["num_heads"] == num_heads


# Files with nothing beside them.


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".bin", ".safetensors"])
@pytest.mark.parametrize("build", [timm_vit, torchvision_vit])
def test_a_file_alone_tells_its_shapes(tmp_path, build, suffix):
    reference = build(SQUARE, torch.float32)
    path = tmp_path / f"vit{suffix}"
    if suffix == ".safetensors":
        save_file(reference.weights, path)
    else:
        torch.save(reference.weights, path)
    loaded = load_pretrained(str(path))
    assert loaded.model.config == {**SQUARE._asdict(), "pool": "cls", "eps": 1e-6}
    assert _gap(loaded, reference.module, SQUARE) < 1e-5


@pytest.mark.parametrize("wrapper", ["model", "state_dict"])
def test_weights_that_are_wrapped_with_other_things_are_found(tmp_path, wrapper):
    reference = deit(SQUARE, torch.float32)
    torch.save({wrapper: reference.weights, "epoch": 3, "args": {"lr": 0.1}}, tmp_path / "deit.pth")
    assert _gap(load_pretrained(tmp_path), reference.module, SQUARE) < 1e-5


def test_googles_file_tells_its_heads_and_its_preparation(tmp_path):
    size = SQUARE._replace(num_heads=8)
    reference = timm_vit(size, torch.float32).module
    np.savez(tmp_path / "vit.npz", **google_arrays(reference))
    loaded = load_pretrained(tmp_path / "vit.npz")
    assert loaded.model.config["num_heads"] == 8
    assert _gap(loaded, reference, size) < 1e-5
    assert loaded.preprocess.mean == (0.5, 0.5, 0.5)


def test_torchvisions_file_gets_torchvisions_preparation(tmp_path):
    from torchvision.transforms._presets import ImageClassification

    size = SQUARE._replace(image_size=(224, 224), patch_size=32)
    torch.save(torchvision_vit(size, torch.float32).weights, tmp_path / "vit_b_16.pth")
    photo = Image.fromarray(data.chelsea())
    ours = load_pretrained(tmp_path).preprocess(photo)
    assert difference(ours, ImageClassification(crop_size=224)(photo)[None]) < 1e-5


def test_a_dialects_preparation_of_colours_says_nothing_about_grey_images(tmp_path):
    weights = torchvision_vit(SQUARE, torch.float32).weights
    weights["conv_proj.weight"] = weights["conv_proj.weight"][:, :1].clone()
    torch.save(weights, tmp_path / "vit.pth")
    preprocess = load_pretrained(tmp_path).preprocess
    assert (preprocess.mean, preprocess.std) == (None, None)


def test_weights_that_do_not_say_how_images_were_normalised_ask_for_it(tmp_path):
    save_file(timm_vit(SQUARE, torch.float32).weights, tmp_path / "vit.safetensors")
    preprocess = load_pretrained(tmp_path).preprocess
    with pytest.raises(ValueError, match="do not say how their images were normalised"):
        preprocess(Image.fromarray(data.chelsea()))
    given = replace(preprocess, mean=(0.5,) * 3, std=(0.5,) * 3)
    assert given(Image.fromarray(data.chelsea())).shape == (1, 3, 40, 40)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_halves_are_widened_and_the_rest_is_kept(tmp_path, dtype):
    weights = {name: weight.to(dtype) for name, weight in timm_vit(SQUARE, torch.float64).weights.items()}
    save_file(weights, tmp_path / "vit.safetensors")
    loaded = load_pretrained(tmp_path).model.state_dict()
    expected = torch.float64 if dtype == torch.float64 else torch.float32
    assert all(torch.equal(loaded[name], weight.to(expected)) for name, weight in weights.items())
    assert {weight.dtype for weight in loaded.values()} == {expected}


@pytest.mark.parametrize(("pool", "eps"), [("cls", 1e-6), ("mean", 1e-3)])
def test_our_own_checkpoints_tell_what_they_are(tmp_path, pool, eps):
    from vit_steps.training import save_checkpoint

    sizes = {"image_size": (8, 12), "patch_size": 2, "channels": 1, "dim": 24, "depth": 2, "num_heads": 4}
    model = ViT(**sizes, mlp_dim=20, num_classes=3, pool=pool, eps=eps)
    save_checkpoint(perturb(model), tmp_path / "digits.safetensors")
    assert load_pretrained(tmp_path / "digits.safetensors").model.config == model.config


def test_a_model_of_the_training_command_names_its_classes_and_takes_values_as_they_are():
    from vit_steps.data import load_digits_images
    from vit_steps.training import SHIPPED

    images, labels = load_digits_images("test")
    model, preprocess, names = load_pretrained(SHIPPED)
    torch.testing.assert_close(preprocess(images), images, atol=1 / 255, rtol=0)
    with torch.no_grad():
        answers = [names[number] for number in model(preprocess(images)).argmax(dim=1)]
    right = sum(answer == str(label) for answer, label in zip(answers, labels.tolist(), strict=True))
    assert right / len(labels) > 0.99


def test_of_a_model_saved_by_hand_only_what_its_notes_say_is_known(tmp_path):
    from vit_steps.training import digits_model, save_checkpoint

    save_checkpoint(digits_model(), tmp_path / "own.safetensors", notes={"classes": list("abcdefghij")})
    _, preprocess, names = load_pretrained(tmp_path / "own.safetensors")
    assert names == list("abcdefghij")
    assert preprocess.mean is None  # whether it was trained on normalised images nobody says


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_a_model_of_the_training_command_takes_as_many_channels_as_it_has(tmp_path, channels):
    from vit_steps.training import save_checkpoint

    model = ViT(
        image_size=8, patch_size=4, channels=channels, dim=8, depth=1, num_heads=2, mlp_dim=8, num_classes=2
    )
    save_checkpoint(model, tmp_path / "own.safetensors", notes={"command": "python -m vit_steps.training"})
    preprocess = load_pretrained(tmp_path / "own.safetensors").preprocess
    # A picture of two channels has no file format, so nobody can say how it is prepared.
    known = (None, None) if channels == 2 else ((0.0,) * channels, (1.0,) * channels)
    assert (preprocess.mean, preprocess.std) == known


@pytest.mark.parametrize("classes", [10, "abcdefghij", list("abc"), list(range(10)), None])
def test_notes_that_are_no_names_are_not_taken_for_names(tmp_path, classes):
    from vit_steps.training import digits_model, save_checkpoint

    save_checkpoint(digits_model(), tmp_path / "own.safetensors", notes={"classes": classes})
    assert load_pretrained(tmp_path / "own.safetensors").labels == list("0123456789")


@pytest.mark.parametrize(
    ("header", "num_heads"),
    [
        ({"kind": "model", "config": {"num_heads": 4}}, 4),
        ({"kind": "model"}, 2),
        ({"kind": "run", "config": {"num_heads": 4}}, 2),
    ],
)
def test_of_our_own_headers_only_that_of_a_model_counts(tmp_path, header, num_heads):
    weights = timm_vit(SQUARE, torch.float32).weights
    save_file(weights, tmp_path / "vit.safetensors", metadata={"vit_steps": json.dumps(header)})
    config = load_pretrained(tmp_path).model.config
    assert (config["num_heads"], config["pool"]) == (num_heads, "cls")
    header = {"kind": "model", "config": {"image_size": "big"}}
    save_file(weights, tmp_path / "vit.safetensors", metadata={"vit_steps": json.dumps(header)})
    assert _refusal(tmp_path) == "image_size must be one number or (height, width), got 'big'"


def test_loading_leaves_the_random_numbers_alone_and_the_model_can_be_trained(tmp_path):
    save_file(timm_vit(SQUARE, torch.float32).weights, tmp_path / "vit.safetensors")
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    loaded = load_pretrained(tmp_path)
    assert torch.equal(torch.rand(4), expected)
    loaded.model(_image(SQUARE).float()).sum().backward()
    assert all(parameter.grad is not None for parameter in loaded.model.parameters())


# Other image sizes.


@pytest.mark.parametrize("image_size", [(64, 64), (24, 32), (16, 80), (24, 64), 56], ids=str)
@pytest.mark.parametrize("made_for", [(40, 40), (32, 48)], ids=str)
def test_another_image_size_resizes_the_positions_as_timm_does(tmp_path, made_for, image_size):
    size = SIZE._replace(image_size=made_for)
    source = timm_vit(size, torch.float32).module
    _save_timm(tmp_path, source)
    pair = image_size if isinstance(image_size, tuple) else (image_size, image_size)
    import timm
    from timm.models.vision_transformer import resample_abs_pos_embed

    theirs = timm_vit(size._replace(image_size=pair), torch.float32).module
    grids = [tuple(side // 8 for side in each) for each in (made_for, pair)]
    weights = source.state_dict()
    weights["pos_embed"] = resample_abs_pos_embed(weights["pos_embed"], list(grids[1]), list(grids[0]))
    theirs.load_state_dict(weights)
    loaded = load_pretrained(tmp_path, image_size=image_size)
    assert timm is not None
    assert torch.equal(loaded.model.pos_embed, theirs.pos_embed)
    assert loaded.preprocess.size == pair == loaded.model.image_size
    assert _gap(loaded, theirs, size._replace(image_size=pair)) < 1e-5


def test_timms_own_loader_resizes_to_the_same_numbers(tmp_path):
    from timm.models import load_checkpoint

    torch.save(timm_vit(SQUARE, torch.float32).weights, tmp_path / "vit.pth")
    theirs = timm_vit(SQUARE._replace(image_size=(72, 48)), torch.float32).module
    from timm.models.vision_transformer import checkpoint_filter_fn

    load_checkpoint(theirs, str(tmp_path / "vit.pth"), filter_fn=checkpoint_filter_fn)
    ours = load_pretrained(tmp_path, image_size=(72, 48)).model
    assert torch.equal(ours.pos_embed, theirs.pos_embed)


def test_a_grid_that_is_no_square_is_asked_for(tmp_path):
    save_file(timm_vit(SIZE, torch.float32).weights, tmp_path / "vit.safetensors")
    with pytest.raises(ValueError, match="24 patches, which is no square: give image_size"):
        load_pretrained(tmp_path)
    with pytest.raises(ValueError, match="24 patches, which is no square: give image_size"):
        load_pretrained(tmp_path, image_size=(40, 40))
    assert load_pretrained(tmp_path, image_size=(32, 48)).model.grid == (4, 6)


# And back.


@pytest.mark.parametrize("num_classes", [0, 5])
@pytest.mark.parametrize("size", [SIZE, SQUARE], ids=["not square", "square"])
def test_hugging_face_loads_what_we_write(tmp_path, size, num_classes):
    from transformers import ViTForImageClassification, ViTModel

    size = size._replace(num_classes=num_classes)
    model = perturb(ViT(**size._asdict(), eps=1e-3).double())
    save_hugging_face(model, tmp_path / "new" / "folder", labels=NAMES[:num_classes])
    kind, extra = (ViTForImageClassification, {}) if num_classes else (ViTModel, {"add_pooling_layer": False})
    theirs, report = kind.from_pretrained(
        tmp_path / "new" / "folder", dtype=torch.float64, output_loading_info=True, **extra
    )
    assert not any(report[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    image = _image(size)
    with torch.no_grad():
        result = theirs.eval()(image)
        logits = result.logits if num_classes else result.last_hidden_state[:, 0]
        assert difference(model(image), logits) < 1e-12
    assert [theirs.config.id2label[number] for number in range(num_classes)] == NAMES[:num_classes]


PREPARATIONS = {
    "squash": Preprocess(
        size=(40, 40), mean=(0.5,) * 3, std=(0.4,) * 3, squash=True, interpolation="bilinear"
    ),
    "crop": Preprocess(size=(40, 40), mean=(0.5,) * 3, std=(0.4,) * 3, crop_pct=0.8, floor=True),
    "squash and crop": Preprocess(size=(40, 40), mean=(0.5,) * 3, std=(0.4,) * 3, crop_pct=0.8, squash=True),
}


@pytest.mark.parametrize("name", PREPARATIONS)
def test_what_we_write_comes_back_whole(tmp_path, name):
    from transformers import AutoImageProcessor

    model = perturb(ViT(**SQUARE._asdict()))
    save_hugging_face(model, tmp_path, labels=NAMES, preprocess=PREPARATIONS[name])
    loaded = load_pretrained(tmp_path)
    assert loaded.model.config == model.config
    assert loaded.labels == NAMES
    assert all(torch.equal(w, loaded.model.state_dict()[n]) for n, w in model.state_dict().items())
    photo = Image.fromarray(data.chelsea())
    expected = PREPARATIONS[name](photo)
    theirs = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")(
        photo, return_tensors="pt"
    ).pixel_values
    assert torch.equal(loaded.preprocess(photo), expected)
    assert difference(theirs, expected) < 1e-5


WRITTEN = {
    "squash": ("ViTImageProcessor", {"height": 40, "width": 40}, 2, False),
    "crop": ("BitImageProcessor", {"shortest_edge": 50}, 3, True),
    "squash and crop": ("BitImageProcessor", {"height": 50, "width": 50}, 3, True),
}


@pytest.mark.parametrize("name", PREPARATIONS)
def test_a_preparation_is_written_in_hugging_faces_words(tmp_path, name):
    save_hugging_face(ViT(**SQUARE._asdict()), tmp_path, preprocess=PREPARATIONS[name])
    kind, size, resample, crops = WRITTEN[name]
    assert json.loads((tmp_path / "preprocessor_config.json").read_text()) == {
        "image_processor_type": kind,
        "size": size,
        "resample": resample,
        "do_center_crop": crops,
        "crop_size": {"height": 40, "width": 40},
        "image_mean": [0.5] * 3,
        "image_std": [0.4] * 3,
        "do_resize": True,
        "do_rescale": True,
        "rescale_factor": 1 / 255,
    }


@pytest.mark.parametrize(
    ("size", "labels", "image_size", "names", "architecture"),
    [
        (SQUARE, None, 40, [f"LABEL_{number}" for number in range(5)], "ViTForImageClassification"),
        (SIZE, list("abcde"), [32, 48], list("abcde"), "ViTForImageClassification"),
        (SQUARE._replace(num_classes=0), None, 40, [], "ViTModel"),
    ],
)
def test_a_config_is_written_in_hugging_faces_words(tmp_path, size, labels, image_size, names, architecture):
    save_hugging_face(ViT(**size._asdict(), eps=1e-3), tmp_path, labels=labels)
    text = (tmp_path / "config.json").read_text()
    assert text.startswith('{\n  "architectures": [')
    assert json.loads(text) == {
        "architectures": [architecture],
        "model_type": "vit",
        "hidden_size": 128,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 192,
        "layer_norm_eps": 1e-3,
        "patch_size": 8,
        "num_channels": 3,
        "image_size": image_size,
        "hidden_act": "gelu",
        "qkv_bias": True,
        "id2label": {str(number): name for number, name in enumerate(names)},
        "label2id": {name: number for number, name in enumerate(names)},
    }
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    with safe_open(tmp_path / "model.safetensors", framework="pt") as file:
        assert file.metadata() == {"format": "pt"}  # older transformers ask for it


def test_what_we_write_is_whole_or_not_there(tmp_path, monkeypatch):
    import vit_steps.pretrained

    def fail(*_args, **_options):
        raise OSError("no space left on device")

    model = ViT(**SQUARE._asdict())
    save_hugging_face(model, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setattr(vit_steps.pretrained, "save_file", fail)
    with pytest.raises(OSError, match="no space left"):
        save_hugging_face(perturb(model), tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_whoever_still_reads_the_old_file_sees_no_change(tmp_path):
    model = ViT(**SQUARE._asdict())
    save_hugging_face(model, tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()
    os.link(tmp_path / "model.safetensors", tmp_path / "held")
    save_hugging_face(perturb(model), tmp_path)
    assert (tmp_path / "held").read_bytes() == before != (tmp_path / "model.safetensors").read_bytes()


ON_META = ViT(**SQUARE._replace(depth=1)._asdict()).to("meta")
NEITHER = "Hugging Face can say neither an unknown mean nor a crop that is not square"


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"model": torch.nn.Linear(2, 2)}, TypeError, "model must be a ViT, not Linear"),
        ({"model": ViT(**SQUARE._asdict(), pool="mean")}, ValueError, "model pools by 'mean', Hugging Face's ViT reads the CLS token"),
        ({"model": ON_META}, ValueError, "model is on the meta device: it holds no numbers"),
        ({"labels": NAMES[:3]}, ValueError, "labels has 3 names, model has 5 classes"),
        ({"labels": "tench"}, TypeError, "labels must be a list of names, got 'tench'"),
        ({"labels": [*NAMES[:4], 4]}, TypeError, f"labels must be a list of names, got {[*NAMES[:4], 4]}"),
        ({"labels": [list(range(50))]}, TypeError, f"labels must be a list of names, got {[list(range(50))]!r:.80}"),
        ({"preprocess": replace(PREPARATIONS["crop"], size=(40, 48))}, ValueError, NEITHER),
        ({"preprocess": Preprocess(size=(40, 40))}, ValueError, NEITHER),
        ({"preprocess": "squash"}, TypeError, "preprocess must be a Preprocess, not str"),
        ({"folder": 3}, TypeError, "folder must be a path, not int"),
        ({"folder": "a\0b"}, ValueError, "folder has a NUL in it, got 'a\\x00b'"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("doors_only")
def test_what_hugging_face_cannot_hold_is_refused_before_anything_is_written(tmp_path, wrong, error, message):
    good = {"model": ViT(**SQUARE._asdict()), "folder": tmp_path / "new"}
    with pytest.raises(error) as caught:
        save_hugging_face(**good | wrong)
    assert str(caught.value) == message
    assert not (tmp_path / "new").exists()


def test_a_picture_that_is_squashed_need_not_be_square(tmp_path):
    preprocess = replace(PREPARATIONS["squash"], size=(32, 48))
    save_hugging_face(ViT(**SIZE._asdict()), tmp_path, labels=NAMES, preprocess=preprocess)
    loaded = load_pretrained(tmp_path)
    assert (loaded.preprocess, loaded.labels) == (
        replace(preprocess, floor=True, crop_pct=Fraction(1)),
        NAMES,
    )


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
    assert _refusal(tmp_path / "vit.npz") == "FOLDER is damaged or cut short: it is no whole zip archive"


@pytest.mark.usefixtures("doors_only")
def test_a_pickle_of_something_else_is_told_what_it_is(tmp_path):
    torch.save([1.0], tmp_path / "vit.pth")
    with pytest.raises(TypeError) as caught:
        load_pretrained(tmp_path)
    assert str(caught.value) == "state_dict must map names to tensors, not list"


def test_a_file_that_is_gone_by_the_time_it_is_read_is_not_called_damaged(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"gone\.pth"):
        _read_weights(tmp_path / "gone.pth")


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
    assert _damaged(Path("vit.pth"), ValueError(error)) == f"vit.pth {said}"


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
    with pytest.raises(ValueError, match=f"vit{suffix} is damaged or cut short"):
        load_pretrained(path)
    assert time.monotonic() - began < 2


def test_a_cnn_is_refused(tmp_path):
    import timm

    save_file(timm.create_model("resnet10t").state_dict(), tmp_path / "model.safetensors")
    with pytest.raises(KeyError, match="no ViT in a dialect known here") as error:
        load_pretrained(tmp_path)
    assert error.value.__notes__ == [f"These are the weights in {tmp_path / 'model.safetensors'}."]


def test_a_distilled_deit_is_refused(tmp_path):
    import timm

    model = timm.create_model("deit_tiny_distilled_patch16_224", depth=1, img_size=32)
    with pytest.raises(KeyError, match=r"dist_token.* distilled DeiT reads two extra tokens"):
        load_pretrained(_save_timm(tmp_path, model))


def test_wrong_shapes_are_named(tmp_path):
    weights = timm_vit(SQUARE, torch.float32).weights
    weights["blocks.1.norm2.bias"] = torch.zeros(127)
    save_file(weights, tmp_path / "vit.safetensors")
    with pytest.raises(
        ValueError, match=r"blocks\.1\.norm2\.bias has shape \(127,\), the other weights need \(128,\)"
    ):
        load_pretrained(tmp_path)


HUGGING_FACE_WRONG = {
    "num_attention_heads": (3, "dim 128 is not a multiple of num_heads 3"),
    "hidden_act": ("quick_gelu", "the config says hidden_act 'quick_gelu', only 'gelu' will do"),
    "hidden_size": (96, "the config says dim 96, the weights have 128"),
    "patch_size": (16, "the config says patch_size 16, the weights have 8"),
    "num_channels": ([3, 1], "the config says channels [3, 1], the weights have 3"),
    "num_hidden_layers": (3, "the config says depth 3, the weights have 2"),
    "intermediate_size": (193, "the config says mlp_dim 193, the weights have 192"),
    "image_size": (64, "the config says image_size (64, 64), the position table has 25 patches"),
    "id2label": ({"0": "cat", "2": "dog"}, "id2label must name the classes 0 to 1, '1' is missing"),
}


@pytest.mark.parametrize("key", HUGGING_FACE_WRONG)
def test_a_config_that_does_not_fit_is_refused(tmp_path, key):
    value, message = HUGGING_FACE_WRONG[key]
    save_hugging_face(ViT(**SQUARE._asdict()), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {key: value}))
    assert _refusal(tmp_path) == message


def _refusal(source: object, error: type = ValueError, **options: object) -> str:
    """What load_pretrained says; a temporary folder is written as FOLDER."""
    with pytest.raises(error) as caught:
        load_pretrained(source, **options)
    return str(caught.value).replace(f"{source}{os.sep}", "FOLDER/").replace(str(source), "FOLDER")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "FOLDER/config.json is no JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[]", "FOLDER/config.json must hold a JSON object, not list"),
        ('{"model_type": "bert"}', "FOLDER/config.json is neither timm's nor that of a Hugging Face ViT"),
        ('{"hidden_size": 128, "id2label": {"0": "cat"}}', "the config names 1 classes, the head has 5"),
        ('{"architecture": "vit", "global_pool": "map"}', "the config says global_pool 'map', only 'token' or 'avg' will do"),
        ('{"architecture": "vit", "model_args": {"act_layer": "silu"}}', "the config says act_layer 'silu', only 'gelu' will do"),
        ('{"architecture": "vit", "pretrained_cfg": {"crop_mode": "border"}}', "the config says crop_mode 'border', only 'center' or 'squash' will do"),
        ('{"architecture": "vit", "num_features": 96}', "the config says dim 96, the weights have 128"),
        ('{"architecture": "vit", "input_size": [1, 40, 40]}', "the config says channels 1, the weights have 3"),
        ('{"pretrained_cfg": {"input_size": [3, 64, 40]}}', "the config says image_size (64, 40), the position table has 25 patches"),
        ('{"architecture": "vit", "model_args": {"img_size": "big"}}', "image_size must be one number or (height, width), got 'big'"),
        ('{"architecture": "vit", "label_names": {"0": "cat", "2": "dog"}}', "label_names must name the classes 0 to 1, '1' is missing"),
        ('{"architecture": "vit", "pretrained_cfg": 3}', "the config beside FOLDER/model.safetensors is not built as configs are: AttributeError(\"'int' object has no attribute 'get'\")"),
        ('{"architecture": "vit", "model_args": [1]}', "the config beside FOLDER/model.safetensors is not built as configs are: TypeError(\"'list' object is not a mapping\")"),
        ('{"hidden_size": 128, "id2label": 7}', "the config beside FOLDER/model.safetensors is not built as configs are: TypeError(\"object of type 'int' has no len()\")"),
        ('{"architecture": [], "pretrained_cfg": {"interpolation": [1]}}', "interpolation must be one of nearest, lanczos, bilinear, bicubic, box, hamming, got '[1]'"),
        ('{"hidden_size": 128, "image_size": "big"}', "image_size must be one number or (height, width), got 'big'"),
        ('{"hidden_size": 128, "image_size": [40]}', "image_size must be one number or (height, width), got [40]"),
        ('{"hidden_size": 128, "image_size": [40, 40.0]}', "image_size must be one number or (height, width), got [40, 40.0]"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("doors_only")
def test_a_config_that_cannot_be_read_is_refused(tmp_path, text, message):
    save_file(timm_vit(SQUARE, torch.float32).weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(text)
    assert _refusal(tmp_path) == message


PROCESSOR = "preprocessor_config.json"


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        ({"do_resize": False}, "the config says do_resize False, only True will do"),
        ({"do_rescale": False}, "the config says do_rescale False, only True will do"),
        ({"rescale_factor": 1.0}, "the config says rescale_factor 1.0, only 0.00392156862745098 will do"),
        ({"size": {"shortest_edge": 40}}, f"{PROCESSOR} resizes the shorter side and crops nothing: no fixed size"),
        ({"size": {"longest_edge": 40}}, f"{PROCESSOR} says size {{'longest_edge': 40}}, crop_size {{'longest_edge': 40}}: not in whole pixels"),
        ({"size": 0}, f"{PROCESSOR} says size {{'height': 0, 'width': 0}}, crop_size {{'height': 0, 'width': 0}}: not in whole pixels"),
        ({"size": 50, "crop_size": {"height": 40, "width": 30}, "do_center_crop": True}, f"{PROCESSOR} crops size {{'height': 50, 'width': 50}} to {{'height': 40, 'width': 30}}, which is another shape"),
        ({"size": 40, "crop_size": 50, "do_center_crop": True}, "crop_pct must be a number above 0 and not above 1, got Fraction(5, 4)"),
        ({"size": 40, "resample": 9}, "interpolation must be one of nearest, lanczos, bilinear, bicubic, box, hamming, got 'resample 9'"),
    ],
)  # fmt: skip
def test_a_preparation_that_we_do_not_have_is_refused(tmp_path, processor, message):
    save_hugging_face(ViT(**SQUARE._asdict()), tmp_path)
    (tmp_path / PROCESSOR).write_text(json.dumps(processor))
    assert _refusal(tmp_path) == message


VIT, BIT, DEIT = ({"image_processor_type": f"{kind}ImageProcessor"} for kind in ("ViT", "Bit", "DeiT"))


@pytest.mark.parametrize(
    ("processor", "crop_pct", "squash", "interpolation"),
    [
        ({}, 1, True, "bilinear"),
        ({"do_center_crop": True, "crop_size": 112}, Fraction(112, 224), True, "bilinear"),
        ({"do_center_crop": True, "size": 256}, Fraction(224, 256), True, "bilinear"),
        (VIT | {"size": 1}, 1, True, "bilinear"),
        (BIT | {"size": 256, "crop_size": 192}, Fraction(192, 256), False, "bicubic"),
        (BIT | {"size": 256}, Fraction(224, 256), False, "bicubic"),
        (DEIT | {"size": 256}, Fraction(224, 256), True, "bicubic"),
        (
            {"feature_extractor_type": "DeiTFeatureExtractor", "size": 256},
            Fraction(224, 256),
            True,
            "bicubic",
        ),
        (DEIT | {"size": 256, "do_center_crop": False}, 1, True, "bicubic"),
    ],
)
def test_what_a_preparation_does_not_say_is_what_its_class_does(processor, crop_pct, squash, interpolation):
    known = _hugging_face_preprocess(processor)
    assert known == {
        "mean": None,
        "std": None,
        "crop_pct": crop_pct,
        "squash": squash,
        "interpolation": interpolation,
        "floor": True,
    }


def test_without_normalisation_nothing_is_subtracted():
    known = _hugging_face_preprocess({"do_normalize": False, "image_mean": [0.5] * 3, "image_std": [0.5] * 3})
    assert (known["mean"], known["std"]) == ((0, 0, 0), (1, 1, 1))


def test_what_timm_does_not_say_is_what_it_does():
    assert _timm_preprocess({"mean": [0, 1, 0.5]}) == {
        "mean": (0.0, 1.0, 0.5),
        "std": None,
        "crop_pct": 0.875,
        "squash": False,
        "interpolation": "bicubic",
    }


@pytest.mark.parametrize(
    ("beside", "image_size", "num_heads"),
    [
        ({"model_args": {"img_size": [32, 48], "num_heads": 4}, "input_size": [3, 40, 40]}, (32, 48), 4),
        ({"pretrained_cfg": {"input_size": [3, 32, 48]}}, (32, 48), 2),
        ({"model_args": {"num_heads": 8}, "pretrained_cfg": {"input_size": [3, 48, 32]}}, (48, 32), 8),
    ],
)
def test_timms_config_tells_the_image_size_and_the_heads(tmp_path, beside, image_size, num_heads):
    save_file(timm_vit(SIZE, torch.float32).weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "vit"} | beside))
    model = load_pretrained(tmp_path).model
    assert (model.image_size, model.config["num_heads"]) == (image_size, num_heads)


@pytest.mark.parametrize(
    "names",
    [["n0", "n1", "n2", "n3", "n4"], {"1": "n1", "0": "n0", "3": "n3", "4": "n4", "2": "n2"}],
    ids=["list", "mapping"],
)
def test_timms_names_stand_where_a_description_is_missing(tmp_path, names):
    save_file(timm_vit(SQUARE, torch.float32).weights, tmp_path / "model.safetensors")
    config = {"architecture": "vit", "label_names": names, "label_descriptions": {"n1": "goldfish"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load_pretrained(tmp_path).labels == ["n0", "goldfish", "n2", "n3", "n4"]


def test_a_config_may_give_a_size_for_each_side(tmp_path):
    model = ViT(**SQUARE._asdict())
    save_hugging_face(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"patch_size": [8, 8]}))
    assert load_pretrained(tmp_path).model.config["patch_size"] == 8
    (tmp_path / "config.json").write_text(json.dumps(config | {"patch_size": [8, 8, 8]}))
    assert _refusal(tmp_path) == "the config says patch_size [8, 8, 8], the weights have 8"


@pytest.mark.usefixtures("doors_only")
def test_an_image_size_that_is_none_is_refused(tmp_path):
    save_file(timm_vit(SQUARE, torch.float32).weights, tmp_path / "vit.safetensors")
    message = "image_size must be one number or (height, width), got 'big'"
    assert _refusal(tmp_path, image_size="big") == message


def test_one_block_of_googles_tells_its_heads_too(tmp_path):
    reference = timm_vit(SQUARE._replace(depth=1, num_heads=8), torch.float32).module
    np.savez(tmp_path / "vit.npz", **google_arrays(reference))
    assert load_pretrained(tmp_path).model.config["num_heads"] == 8


def test_heads_that_cannot_be_known_are_asked_for(tmp_path):
    model = ViT(**SQUARE._replace(dim=100, num_heads=5)._asdict())
    save_file(model.state_dict(), tmp_path / "vit.safetensors")
    with pytest.raises(
        ValueError, match="dim 100 is not a multiple of 64, the usual width of a head: give num_heads"
    ):
        load_pretrained(tmp_path)
    assert load_pretrained(tmp_path, num_heads=5).model.config == model.config
    with pytest.raises(ValueError, match="dim 100 is not a multiple of num_heads 3"):
        load_pretrained(tmp_path, num_heads=3)
    with pytest.raises(ValueError, match="num_heads must be at least 1, got 0"):
        load_pretrained(tmp_path, num_heads=0)


def test_heads_that_contradict_the_source_are_refused(tmp_path):
    hugging_face(SIZE, torch.float32).module.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="num_heads is 4, these weights say 2"):
        load_pretrained(tmp_path, num_heads=4)


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
        (__file__, ValueError, f"{__file__} is none of the files that are read here (.safetensors, .npz, .pth, .pt, .bin)"),
        (3, TypeError, "source must be a path or a Hub name, not int"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("doors_only")
def test_a_source_that_is_not_there_is_named(source, error, message):
    with pytest.raises(error) as caught:
        load_pretrained(source)
    assert str(caught.value) == message


def test_a_folder_without_weights_or_with_too_many_is_refused(tmp_path):
    files = ".safetensors, .npz, .pth, .pt, .bin"
    assert _refusal(tmp_path, FileNotFoundError) == f"FOLDER holds no file with weights ({files})"
    for name in ("b.npz", "a.pth"):
        (tmp_path / name).touch()
    assert _refusal(tmp_path) == "FOLDER holds several files with weights, name one: a.pth, b.npz"


@pytest.mark.parametrize("name", ["model.safetensors", "pytorch_model.bin"])
def test_of_several_files_the_one_that_libraries_write_is_taken(tmp_path, name):
    weights = timm_vit(SQUARE, torch.float32).weights
    (save_file if name.endswith("safetensors") else torch.save)(weights, tmp_path / name)
    (tmp_path / "another.pth").write_bytes(b"not read")
    assert load_pretrained(tmp_path).model.config["dim"] == 128


# The Hub, played by a server on this machine.


class _Hub(http.server.BaseHTTPRequestHandler):
    """Answers as the Hub does for a few public models, and on request no more."""

    folder: Path
    commit = "0123456789abcdef0123456789abcdef01234567"

    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        owner, _, rest = self.path.lstrip("/").partition("/")
        name, file = rest.split("/")[0], self.path.rsplit("/", 1)[-1]
        if file == "quit":
            self.server.shutdown()
            self.server.server_close()
            self._send(b"", body)  # only now: the next question must find nobody
        elif owner != "somebody" or not (self.folder / name).is_dir():
            self._send(b"{}", body, 401, **{"X-Error-Code": "RepoNotFound"})
        elif (self.folder / name / file).is_file():
            self._send((self.folder / name / file).read_bytes(), body, ETag=f'"{file}"')
        else:
            self._send(b"{}", body, 404, **{"X-Error-Code": "EntryNotFound"})

    def _send(self, content: bytes, body: bool, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        headers = {"Content-Length": str(len(content)), "X-Repo-Commit": self.commit, **headers}
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_args):
        pass


READER = """
import sys, urllib.request, torch
from huggingface_hub import hf_hub_download
from vit_steps.pretrained import load_pretrained
endpoint = sys.argv[1]

def attempt(name):
    try:
        loaded = load_pretrained(name)
        said = f"{loaded.model(torch.full((1, 3, 40, 40), 0.3)).sum().item():.6f} {loaded.labels[0]}"
    except Exception as error:
        said = f"{type(error).__name__}: {error}"
    print(said)

attempt("somebody/vit")
attempt("somebody/else")
attempt("somebody/old")
urllib.request.urlopen(endpoint + "/quit").read()
attempt("somebody/vit")
attempt("somebody/else")
attempt("somebody/old")
"""


def _read(endpoint: str, cache: Path, **environment: str) -> list[str]:
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HUB_CACHE": str(cache), **environment}
    command = [sys.executable, "-c", READER, endpoint]
    ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100)
    assert ran.stdout, ran.stderr
    return ran.stdout.splitlines()


@pytest.fixture
def hub(tmp_path):
    folder = tmp_path / "hub"
    model = perturb(ViT(**SQUARE._asdict()))
    save_hugging_face(model, folder / "vit", labels=NAMES, preprocess=PREPARATIONS["crop"])
    shutil.copytree(folder / "vit", folder / "old")
    (folder / "vit" / "pytorch_model.bin").write_bytes(b"never fetched")
    (folder / "old" / "model.safetensors").unlink()
    (folder / "old" / "preprocessor_config.json").unlink()
    torch.save(model.state_dict(), folder / "old" / "pytorch_model.bin")
    handler = type("Hub", (_Hub,), {"folder": folder})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    logits = model(torch.full((1, 3, 40, 40), 0.3)).sum().item()
    yield f"http://127.0.0.1:{server.server_port}", f"{logits:.6f} tench"
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_name_on_the_hub_is_fetched_once_and_then_read_from_the_cache(hub, tmp_path):
    endpoint, expected = hub
    missing = "FileNotFoundError: there is no folder somebody/else, and no such public model on the Hub"
    silent = "ConnectionError: somebody/else is not in the cache, and the Hugging Face Hub cannot be reached"
    said = _read(endpoint, tmp_path / "cache", HF_HUB_OFFLINE="0")
    assert said == [expected, missing, expected, expected, silent, expected]
    fetched = {path.name for path in (tmp_path / "cache").rglob("models--somebody--vit/snapshots/*/*")}
    assert fetched == {"config.json", "preprocessor_config.json", "model.safetensors"}


@pytest.fixture
def online(hub, monkeypatch, tmp_path):
    """The Hub on this machine, asked by this process, with an empty cache."""
    endpoint, expected = hub
    template = f"{endpoint}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
    monkeypatch.setattr("huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    for name, value in {
        "ENDPOINT": endpoint,
        "HUGGINGFACE_CO_URL_TEMPLATE": template,
        "HF_HUB_OFFLINE": False,
        "HF_HUB_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setattr(f"huggingface_hub.constants.{name}", value)
    return expected


@pytest.mark.parametrize("name", ["somebody/vit", "somebody/old"])
def test_a_name_is_fetched_with_what_stands_beside_it(online, name):
    loaded = load_pretrained(name)
    logits = loaded.model(torch.full((1, 3, 40, 40), 0.3)).sum().item()
    assert f"{logits:.6f} {loaded.labels[0]}" == online
    assert (loaded.preprocess.mean is None) == (name == "somebody/old")


def test_what_the_hub_does_not_have_is_named(online, hub, tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        load_pretrained("somebody/else")
    assert str(caught.value) == "there is no folder somebody/else, and no such public model on the Hub"
    (tmp_path / "hub" / "bare").mkdir()
    with pytest.raises(FileNotFoundError) as caught:
        load_pretrained("somebody/bare")
    files = "model.safetensors, pytorch_model.bin"
    assert str(caught.value) == f"somebody/bare has no file with weights on the Hub ({files})"


@pytest.mark.parametrize("name", ["google/vit-base-patch16-224", "WinKawaks/ViT_Ti.16", "0-0/0"])
def test_offline_a_name_that_is_not_in_the_cache_is_an_error_at_once(monkeypatch, tmp_path, name):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    began = time.monotonic()
    with pytest.raises(ConnectionError, match=f"{name} is not in the cache"):
        load_pretrained(name)
    assert time.monotonic() - began < 5


def test_a_network_that_swallows_everything_is_an_error_within_seconds(monkeypatch, tmp_path):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        template = f"http://127.0.0.1:{silent.getsockname()[1]}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(
            "huggingface_hub.file_download.HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False
        )
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr("vit_steps.pretrained.HUB_PATIENCE", 0.5)
        began = time.monotonic()
        with pytest.raises(ConnectionError, match="somebody/vit is not in the cache"):
            load_pretrained("somebody/vit")
        assert 0.4 < time.monotonic() - began < 5


def test_a_connection_that_breaks_is_an_error_and_a_model_without_weights_is_another(monkeypatch, tmp_path):
    def break_off(*_args, **_options):
        raise RuntimeError("peer closed the connection")

    (tmp_path / "config.json").write_text("{}")
    monkeypatch.setattr("vit_steps.pretrained._answers", lambda _name: True)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", break_off)
    with pytest.raises(
        ConnectionError, match="somebody/vit could not be fetched: peer closed the connection"
    ):
        load_pretrained("somebody/vit")
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_a, **_o: str(tmp_path / "config.json"))
    with pytest.raises(FileNotFoundError, match="somebody/vit has no file with weights on the Hub"):
        load_pretrained("somebody/vit")


def test_importing_the_package_or_this_module_reaches_for_no_network():
    heavy = "{'huggingface_hub', 'transformers', 'timm', 'torchvision'}"
    code = f"import sys, vit_steps.pretrained; print({heavy} & set(sys.modules))"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"


def test_the_exported_file_is_what_to_timm_reads(tmp_path):
    model = perturb(ViT(**SIZE._asdict()))
    save_hugging_face(model, tmp_path)
    weights = to_timm(load_file(tmp_path / "model.safetensors"))
    assert all(torch.equal(weights[name], weight) for name, weight in model.state_dict().items())
