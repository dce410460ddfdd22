"""Which part of a photograph becomes the model's input, measured by ramps that say where each pixel was."""

import json
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image

from vit_steps.pretrained.configs import _hugging_face_preprocess, _timm_preprocess
from vit_steps.pretrained.preprocess import Preprocess

HALF = (0.5, 0.5, 0.5)
SHAPES = [(451, 300), (101, 250), (120, 31), (97, 97), (5, 7), (223, 224)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: f"{shape[0]}x{shape[1]}")
DARK, LIGHT = 20, 235  # filters overshoot, and what is cut off at 0 or 255 is no ramp any more
NOISE = 4  # levels: a smooth ramp meets each rounding to 8 bits in step, and all of them err the same way
NEAR = 0.25  # of a pixel


def ramps(width: int, height: int, axis: int) -> Iterator[Image.Image]:
    """Pictures whose brightness says where along one axis it is, under noise that evens out."""
    size = (width, height)[axis]
    exact = DARK + (LIGHT - DARK) * (np.arange(size) + 0.5) / size
    random = np.random.default_rng(0)
    for _ in range(max(4, 800 // (height, width)[axis])):  # few rows even out little
        noise = random.uniform(-NOISE, NOISE, (height, width))
        levels = np.round((exact if axis == 0 else exact[:, None]) + noise)
        yield Image.fromarray(np.stack([levels.astype(np.uint8)] * 3, axis=2))


def measured(prepare, width: int, height: int) -> tuple[float, ...]:
    """The edges of what ``prepare`` (picture -> levels in [0, 1], (height, width)) keeps of a picture."""
    edges = []
    for axis in (0, 1):
        tries = [255 * np.asarray(prepare(picture)) for picture in ramps(width, height, axis)]
        profile = np.mean(tries, axis=(0, 1 + axis))
        places = (profile - DARK) / (LIGHT - DARK) * (width, height)[axis]
        inner = slice(len(places) // 5, -(len(places) // 5))  # at the edges, filters have no neighbours
        slope, start = np.polyfit((np.arange(len(places)) + 0.5)[inner], places[inner], 1)
        edges.append((start, start + slope * len(places)))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom


def of_ours(preprocess: Preprocess):
    return lambda picture: preprocess.undo(preprocess(picture))[0].mean(dim=0)


def of_theirs(transform, mean, std):
    column = [torch.tensor(each).reshape(3, 1, 1) for each in (mean, std)]
    return lambda picture: (transform(picture) * column[1] + column[0]).mean(dim=0)


PREPARATIONS = {
    "crop": Preprocess(size=(64, 64), mean=HALF, std=HALF),
    "a share": Preprocess(size=(64, 64), mean=HALF, std=HALF, crop_pct=0.875, interpolation="bilinear"),
    "odd margins": Preprocess(size=(97, 97), mean=HALF, std=HALF, crop_pct=Fraction(97, 100)),
    "odd margins, the lower half": Preprocess(
        size=(97, 97), mean=HALF, std=HALF, crop_pct=Fraction(97, 100), floor=True
    ),
    "not square": Preprocess(size=(48, 80), mean=HALF, std=HALF, crop_pct=0.9),
    "squash": Preprocess(size=(60, 44), mean=HALF, std=HALF, squash=True),
    "squash and share": Preprocess(size=(60, 44), mean=HALF, std=HALF, squash=True, crop_pct=0.8),
    "unread": Preprocess(size=(42, 56), mean=HALF, std=HALF, squash=True, unread=(6, 4)),
    "unread and a share": Preprocess(size=(42, 42), mean=HALF, std=HALF, crop_pct=0.8, unread=(5, 9)),
}


@every_shape
@pytest.mark.parametrize("name", PREPARATIONS)
def test_the_box_is_where_the_pixels_come_from(name, shape):
    preprocess = PREPARATIONS[name]
    box = preprocess.box(*shape)
    assert box == pytest.approx(measured(of_ours(preprocess), *shape), abs=NEAR)
    assert 0 <= box[0] < box[2] <= shape[0]
    assert 0 <= box[1] < box[3] <= shape[1]


TIMM = {
    "crop": {"input_size": (3, 224, 224), "crop_pct": 0.9, "crop_mode": "center"},
    "squash": {"crop_mode": "squash", "crop_pct": 0.95, "input_size": (3, 70, 70)},
    "not square": {"input_size": (3, 64, 112), "crop_pct": 0.9, "crop_mode": "center"},
    "tall": {"input_size": (3, 111, 48), "crop_pct": 0.87},
}


@every_shape
@pytest.mark.parametrize("name", TIMM)
def test_the_box_is_where_timms_own_transform_takes_its_pixels_from(name, shape):
    from timm.data import create_transform, resolve_data_config

    config = resolve_data_config({}, pretrained_cfg={"mean": HALF, "std": HALF, **TIMM[name]})
    theirs = of_theirs(create_transform(**config, is_training=False), HALF, HALF)
    ours = Preprocess(
        size=tuple(config["input_size"][1:]), **_timm_preprocess({"mean": HALF, "std": HALF, **TIMM[name]})
    )
    assert ours.box(*shape) == pytest.approx(measured(theirs, *shape), abs=NEAR)


HUGGING_FACE = {
    "DINOv2": {
        "image_processor_type": "BitImageProcessor",
        "crop_size": {"height": 224, "width": 224},
        "size": {"shortest_edge": 256},
        "resample": 3,
    },
    "odd margins": {
        "image_processor_type": "BitImageProcessor",
        "crop_size": {"height": 97, "width": 97},
        "size": {"shortest_edge": 100},
        "resample": 2,
    },
    "ViT, squashed": {"image_processor_type": "ViTImageProcessor", "size": {"height": 96, "width": 160}},
}


@every_shape
@pytest.mark.parametrize("name", HUGGING_FACE)
def test_the_box_is_where_hugging_faces_processor_takes_its_pixels_from(tmp_path, name, shape):
    from transformers import AutoImageProcessor

    processor = {"do_normalize": True, "image_mean": HALF, "image_std": HALF, **HUGGING_FACE[name]}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(processor))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "vit"}))
    theirs = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    prepare = of_theirs(lambda picture: theirs(picture, return_tensors="pt").pixel_values[0], HALF, HALF)
    ours = Preprocess(**_hugging_face_preprocess(processor, {"model_type": "vit"}))
    assert ours.box(*shape) == pytest.approx(measured(prepare, *shape), abs=NEAR)


def test_the_box_by_hand():
    """Of 96 x 64 the short side becomes 32, so two pixels become one, and 16 are cut off at each side."""
    assert Preprocess(size=(32, 32)).box(96, 64) == (16, 0, 80, 64)
    assert Preprocess(size=(32, 32)).box(64, 96) == (0, 16, 64, 80)
    assert Preprocess(size=(32, 32), crop_pct=0.5).box(64, 64) == (16, 16, 48, 48)
    assert Preprocess(size=(32, 32), squash=True).box(96, 64) == (0, 0, 96, 64)
    assert Preprocess(size=(28, 24), squash=True, unread=(4, 8)).box(96, 64) == (0, 0, 72, 56)


def test_of_a_long_picture_the_box_is_the_part_that_is_ever_made():
    preprocess = Preprocess(size=(224, 224), mean=HALF, std=HALF)
    left, top, right, bottom = preprocess.box(3000, 4)
    assert (top, bottom) == (0, 4)
    assert right - left == pytest.approx(4)
    assert left + right == pytest.approx(3000, abs=0.02)
    spot = np.zeros((4, 3000, 3), np.uint8)
    spot[:, 1499] = 255  # the pixel left of the middle
    lit = of_ours(preprocess)(Image.fromarray(spot)).mean(dim=0)
    assert lit.argmax() * 4 / 224 + left == pytest.approx(1499.5, abs=0.5)


@pytest.mark.parametrize(
    ("width", "height", "error", "message"),
    [
        (0, 3, ValueError, "width must be at least 1, got 0"),
        (3, -2, ValueError, "height must be at least 1, got -2"),
        (2.5, 3, TypeError, "width must be an integer, got 2.5"),
    ],
)
@pytest.mark.usefixtures("doors_only")
def test_a_picture_without_pixels_has_no_box(width, height, error, message):
    with pytest.raises(error) as caught:
        Preprocess(size=(8, 8)).box(width, height)
    assert str(caught.value) == message
