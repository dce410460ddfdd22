import inspect
import json
from fractions import Fraction

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from vit_steps.preprocess import Preprocess
from vit_steps.pretrained import _hugging_face_preprocess, _timm_preprocess

# Rounding of the float32 arithmetic after the resize: no pixel may be off by one of 255 levels.
ROUNDING = 1e-5


def _photo(height: int | None = None, width: int | None = None) -> Image.Image:
    photo = Image.fromarray(data.chelsea())  # 300 x 451
    return photo if height is None else photo.crop((20, 10, 20 + width, 10 + height))


PHOTOS = [_photo(), _photo(250, 101), _photo(37, 293), _photo(97, 97), Image.fromarray(data.astronaut())]


def _gap(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert ours.shape == theirs.shape
    return (ours - theirs).abs().max().item()


PROCESSORS = {
    "the first published ViTs": {
        "do_normalize": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "size": 224,
    },
    "ViT": {
        "do_normalize": True,
        "do_resize": True,
        "feature_extractor_type": "ViTFeatureExtractor",
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 2,
        "size": 224,
    },
    "ViT, not square": {
        "image_processor_type": "ViTImageProcessor",
        "image_mean": [0.5, 0.4, 0.3],
        "image_std": [0.2, 0.3, 0.4],
        "rescale_factor": 0.00392156862745098,
        "resample": 3,
        "size": {"height": 96, "width": 160},
    },
    "DeiT": {
        "crop_size": 224,
        "do_center_crop": True,
        "feature_extractor_type": "DeiTFeatureExtractor",
        "image_mean": [0.485, 0.456, 0.406],
        "image_std": [0.229, 0.224, 0.225],
        "resample": 3,
        "size": 256,
    },
    "DINOv2": {
        "crop_size": {"height": 224, "width": 224},
        "do_center_crop": True,
        "do_convert_rgb": True,
        "image_mean": [0.485, 0.456, 0.406],
        "image_processor_type": "BitImageProcessor",
        "image_std": [0.229, 0.224, 0.225],
        "resample": 3,
        "rescale_factor": 0.00392156862745098,
        "size": {"shortest_edge": 256},
    },
    "odd margins": {
        "crop_size": {"height": 97, "width": 97},
        "image_processor_type": "BitImageProcessor",
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "resample": 2,
        "size": {"shortest_edge": 100},
    },
    "no normalisation": {
        "do_normalize": False,
        "image_processor_type": "ViTImageProcessor",
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "size": {"height": 64, "width": 64},
    },
}


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda photo: f"{photo.height}x{photo.width}")
@pytest.mark.parametrize("name", PROCESSORS)
def test_the_same_pixels_as_hugging_faces_own_processor(tmp_path, name, photo):
    from transformers import AutoImageProcessor

    (tmp_path / "preprocessor_config.json").write_text(json.dumps(PROCESSORS[name]))
    (tmp_path / "config.json").write_text('{"model_type": "vit"}')
    processor = AutoImageProcessor.from_pretrained(tmp_path, backend="pil")
    theirs = processor(photo, return_tensors="pt").pixel_values
    ours = Preprocess(size=tuple(theirs.shape[2:]), **_hugging_face_preprocess(PROCESSORS[name]))(photo)
    assert _gap(ours, theirs) < ROUNDING


TIMM = {
    "vit_tiny_patch16_224.augreg_in21k_ft_in1k": None,
    "vit_base_patch16_384.augreg_in21k_ft_in1k": None,
    "deit_tiny_patch16_224.fb_in1k": None,
    "vit_base_patch16_224.dino": None,
    "squash": {
        "crop_mode": "squash",
        "crop_pct": 0.95,
        "interpolation": "bilinear",
        "input_size": (3, 70, 70),
    },
    "not square": {"input_size": (3, 64, 112), "crop_pct": 0.9, "crop_mode": "center"},
    "tall": {"input_size": (3, 111, 48), "crop_pct": 0.87, "mean": (0.1, 0.2, 0.3), "std": (0.5, 0.6, 0.7)},
    "odd margins": {"input_size": (3, 97, 97), "crop_pct": 0.97},
}


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda photo: f"{photo.height}x{photo.width}")
@pytest.mark.parametrize("name", TIMM)
def test_the_same_pixels_as_timms_own_transform(name, photo):
    import timm
    from timm.data import create_transform, resolve_data_config

    published = TIMM[name] or timm.models.get_pretrained_cfg(name).to_dict()
    config = resolve_data_config({}, pretrained_cfg=published)
    theirs = create_transform(**config, is_training=False)(photo)[None]
    known = {"mean": config["mean"], "std": config["std"], **published}
    ours = Preprocess(size=tuple(config["input_size"][1:]), **_timm_preprocess(known))(photo)
    assert _gap(ours, theirs) < ROUNDING


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda photo: f"{photo.height}x{photo.width}")
def test_the_same_pixels_as_torchvisions_preset(photo):
    from torchvision.transforms._presets import ImageClassification

    from vit_steps.dialects import TORCHVISION

    theirs = ImageClassification(crop_size=224)(photo)[None]
    assert _gap(Preprocess(size=(224, 224), **TORCHVISION.preprocess)(photo), theirs) < ROUNDING


def _squash(**options: object) -> Preprocess:
    return Preprocess(
        **{"size": (40, 56), "mean": (0.5, 0.4, 0.3), "std": (0.5, 0.6, 0.7), "squash": True} | options
    )


def test_a_path_is_the_picture_that_it_holds_turned_upright(tmp_path):
    photo = _photo(64, 96)
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was held on its side
    photo.rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    assert torch.equal(_squash()(tmp_path / "turned.png"), _squash()(photo))
    assert torch.equal(_squash()(str(tmp_path / "turned.png")), _squash()(photo))


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "CMYK"])
def test_pictures_of_other_modes_become_colour(mode):
    photo = _photo().convert(mode)
    assert torch.equal(_squash()(photo), _squash()(photo.convert("RGB")))


def test_a_tensor_is_the_picture_with_the_same_colours():
    photo = _photo(64, 96)
    colours = torch.from_numpy(np.array(photo)).permute(2, 0, 1) / 255
    expected = _squash()(photo)
    assert torch.equal(_squash()(colours), expected)
    assert torch.equal(_squash()(torch.stack([colours, colours.flip(2)]))[:1], expected)
    assert _squash()(torch.stack([colours, colours.flip(2)])).shape == (2, 3, 40, 56)
    assert torch.equal(_squash()(colours.double()), expected)
    assert torch.equal(_squash()((colours + 0.4 / 255).clamp(0, 1)), expected)
    assert torch.equal(_squash()((colours - 0.4 / 255).clamp(0, 1)), expected)


def test_a_model_for_grey_images_gets_one_channel():
    preprocess = _squash(mean=(0.5,), std=(0.25,))
    grey = np.array(_photo().convert("L").resize((56, 40), Image.Resampling.BICUBIC))
    expected = (torch.from_numpy(grey)[None, None] / 255 - 0.5) / 0.25
    assert _gap(preprocess(_photo()), expected) < ROUNDING
    assert preprocess(torch.rand(2, 1, 50, 50)).shape == (2, 1, 40, 56)


def test_undo_shows_the_colours_that_the_model_sees():
    photo = _photo(40, 56)
    colours = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None] / 255
    assert _gap(_squash().undo(_squash()(photo)), colours) < 1e-6
    crop = Preprocess(size=(20, 20), mean=(0.5,) * 3, std=(0.5,) * 3, crop_pct=0.5, interpolation="nearest")
    assert _gap(crop.undo(crop(photo)), colours[:, :, 10:30, 18:38]) < 1e-6


def test_another_size_keeps_the_share_of_the_crop():
    known = _hugging_face_preprocess(PROCESSORS["DINOv2"])
    assert known["crop_pct"] == Fraction(224, 256)
    assert Preprocess(size=(518, 518), **known)._resized(300, 400) == (592, 789)


def test_weights_that_do_not_say_their_mean_ask_for_it():
    with pytest.raises(ValueError, match=r"do not say how .* mean=\(0.5, 0.5, 0.5\)"):
        Preprocess(size=(8, 8))(_photo())


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"size": 224}, TypeError, r"size must be \(height, width\), got 224"),
        ({"size": (0, 4)}, ValueError, r"size must be .* got \(0, 4\)"),
        ({"crop_pct": 0}, ValueError, "crop_pct must be a number above 0 and not above 1, got 0"),
        ({"crop_pct": Fraction(8, 7)}, ValueError, r"crop_pct .* got Fraction\(8, 7\)"),
        ({"crop_pct": "0.9"}, ValueError, "crop_pct .* got '0.9'"),
        ({"interpolation": "cubic"}, ValueError, "interpolation must be one of .*bicubic.* got 'cubic'"),
        ({"mean": None}, ValueError, "one number for each of 1 or 3 channels"),
        ({"mean": (0.5, 0.5), "std": (0.5, 0.5)}, ValueError, "one number for each of 1 or 3 channels"),
        ({"std": (0.5, 0.0, 0.5)}, ValueError, "std above 0"),
        ({"mean": (0.5, float("nan"), 0.5)}, ValueError, "mean must be finite"),
    ],
)
def test_a_preparation_that_cannot_be_is_refused(options, error, message):
    preprocess = object.__new__(Preprocess)  # past the hook, which would answer before the door
    for name, value in (vars(_squash()) | options).items():
        object.__setattr__(preprocess, name, value)
    with pytest.raises(error, match=message):
        inspect.unwrap(Preprocess.__post_init__)(preprocess)


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (3, TypeError, "image must be a PIL image, a path or a tensor, not int"),
        (np.zeros((3, 8, 8)), TypeError, "not ndarray"),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), TypeError, "floating-point numbers in .* got torch.uint8"),
        (torch.zeros(8, 8), ValueError, r"image must have the axes .* got shape \(8, 8\)"),
        (torch.zeros(8, 8, 3), ValueError, r"got shape \(8, 8, 3\)"),
        (torch.zeros(1, 4, 8, 8), ValueError, r"got shape \(1, 4, 8, 8\)"),
        (torch.zeros(0, 3, 8, 8), ValueError, r"got shape \(0, 3, 8, 8\)"),
        (torch.full((3, 8, 8), 255.0), ValueError, r"values in \[0, 1\], got 255 to 255"),
        (torch.full((3, 8, 8), float("nan")), ValueError, r"values in \[0, 1\], got nan"),
        ("no/such/photo.jpg", FileNotFoundError, "there is no picture no/such/photo.jpg"),
        (__file__, ValueError, "is no picture that can be read"),
    ],
)
def test_what_is_no_image_is_refused(image, error, message):
    with pytest.raises(error, match=message):
        inspect.unwrap(Preprocess.__call__)(_squash(), image)


def test_half_a_picture_is_refused(tmp_path):
    _photo().save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"half\.jpg is no picture that can be read"):
        _squash()(tmp_path / "half.jpg")
