# ruff: noqa: E501 (one line for each wrong input)
import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from vit_steps.pretrained.configs import PROCESSOR_OF, _hugging_face_preprocess, _timm_preprocess
from vit_steps.pretrained.configs import PROCESSORS as CLASSES
from vit_steps.pretrained.dialects import GOOGLE, TORCHVISION
from vit_steps.pretrained.preprocess import Preprocess
from vit_steps.pretrained.unsaid import unsaid_preparation

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


def _processor_of(folder: Path, processor: dict, model_type: str) -> tuple[object, Preprocess]:
    """transformers' own, and ours."""
    from transformers import AutoImageProcessor

    config = {"model_type": model_type}
    (folder / "preprocessor_config.json").write_text(json.dumps(processor))
    (folder / "config.json").write_text(json.dumps(config))
    theirs = AutoImageProcessor.from_pretrained(folder, backend="pil")
    return theirs, Preprocess(**_hugging_face_preprocess(processor, config))


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda photo: f"{photo.height}x{photo.width}")
@pytest.mark.parametrize("name", PROCESSORS)
def test_the_same_pixels_as_hugging_faces_own_processor(tmp_path, name, photo):
    theirs, ours = _processor_of(tmp_path, PROCESSORS[name], "vit")
    assert _gap(ours(photo), theirs(photo, return_tensors="pt").pixel_values) < ROUNDING


# DINOv3's processor resizes floating-point pixels, and all others rounded ones.
ONE_GREY_LEVEL = 1.001 / 255 / 0.224
# Processors that say no more than these: the rest is what the class does.
SILENT = [
    *({"image_processor_type": f"{kind}ImageProcessor"} for kind in CLASSES),
    {"image_processor_type": "CLIPImageProcessorFast", "do_convert_rgb": None},
    {"image_processor_type": "BitImageProcessor", "default_to_square": True},
    {"image_processor_type": "ViTImageProcessor", "default_to_square": False},
    {"image_processor_type": "BitImageProcessorPil", "image_mean": None, "do_normalize": None},
    {"image_processor_type": "DeiTImageProcessor", "crop_size": None, "do_center_crop": None},
    {"feature_extractor_type": "CLIPFeatureExtractor", "size": 60, "crop_size": 48},
    {"feature_extractor_type": "DeiTFeatureExtractor", "size": 60, "crop_size": 48},
    {"feature_extractor_type": "DeiTFeatureExtractor", "do_center_crop": False},
    {"image_processor_type": "ViTImageProcessor", "size": [48, 96]},
    {"image_processor_type": "ViTImageProcessor", "size": {"shortest_edge": 60}, "do_center_crop": True, "crop_size": 48},
    {"image_processor_type": "BitImageProcessor", "size": {"height": 60, "width": 80}, "crop_size": {"height": 48, "width": 64}},
    {"image_processor_type": "BlipImageProcessor", "size": 48, "resample": 2},
    {"image_processor_type": "SiglipImageProcessor", "size": {"height": 60, "width": 48}},
    {"image_processor_type": "BeitImageProcessor", "do_center_crop": True, "size": 256, "do_reduce_labels": True},
    {"image_processor_type": "FlavaImageProcessor", "size": 48, "crop_size": 32},
    {"image_processor_type": "DPTImageProcessor", "size": 48, "ensure_multiple_of": 1, "keep_aspect_ratio": False},
]  # fmt: skip


@pytest.mark.parametrize("processor", SILENT, ids=str)
def test_what_a_processor_does_not_say_is_what_its_class_does(tmp_path, processor):
    theirs, ours = _processor_of(tmp_path, processor, "vit")
    allowed = ONE_GREY_LEVEL if "DINOv3" in str(processor) else ROUNDING
    for photo in (_photo(), _photo(97, 97)):
        assert _gap(ours(photo), theirs(photo, return_tensors="pt").pixel_values) < allowed


@pytest.mark.parametrize("model_type", PROCESSOR_OF)
def test_a_processor_without_a_name_is_that_of_the_model(tmp_path, model_type):
    theirs, ours = _processor_of(tmp_path, {"do_normalize": True}, model_type)
    allowed = ONE_GREY_LEVEL if model_type == "dinov3_vit" else ROUNDING
    assert _gap(ours(_photo()), theirs(_photo(), return_tensors="pt").pixel_values) < allowed


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


# By torchvision's name of a model: our sizes, and the name of its weights that a file of that name has, or None.
TORCHVISION_WEIGHTS = {
    ("vit_b_16", "IMAGENET1K_V1"): (768, 16, 224, "vit_b_16-c867db91.pth"),
    ("vit_b_16", "IMAGENET1K_SWAG_E2E_V1"): (768, 16, 384, "mine.pth"),
    ("vit_b_16", "IMAGENET1K_SWAG_LINEAR_V1"): (768, 16, 224, "vit_b_16_lc_swag-4e70ced5.pth"),
    ("vit_b_32", "IMAGENET1K_V1"): (768, 32, 224, "mine.pth"),
    ("vit_l_16", "IMAGENET1K_V1"): (1024, 16, 224, "vit_l_16-852ce7e3.pth"),
    ("vit_l_16", "IMAGENET1K_SWAG_E2E_V1"): (1024, 16, 512, "mine.pth"),
    ("vit_l_16", "IMAGENET1K_SWAG_LINEAR_V1"): (1024, 16, 224, "vit_l_16_lc_swag-4d563306.pth"),
    ("vit_l_32", "IMAGENET1K_V1"): (1024, 32, 224, "mine.pth"),
    ("vit_h_14", "IMAGENET1K_SWAG_E2E_V1"): (1280, 14, 518, "mine.pth"),
    ("vit_h_14", "IMAGENET1K_SWAG_LINEAR_V1"): (1280, 14, 224, "mine.pth"),
}


@pytest.mark.parametrize(("model", "weights"), TORCHVISION_WEIGHTS)
def test_the_same_pixels_as_torchvisions_own_transforms(model, weights):
    from torchvision.models import get_model_weights

    dim, patch_size, side, file = TORCHVISION_WEIGHTS[model, weights]
    published = get_model_weights(model)[weights]
    assert file in ("mine.pth", published.url.rsplit("/", 1)[1])
    sizes = {"dim": dim, "patch_size": patch_size}
    known, assumed = unsaid_preparation(TORCHVISION, sizes, (side, side), file)
    assert assumed is None
    for photo in (_photo(), _photo(250, 101)):
        ours = Preprocess(size=(side, side), **known)(photo)
        assert _gap(ours, published.transforms()(photo)[None]) < ROUNDING


def test_all_of_torchvisions_weights_are_known():
    from torchvision.models import get_model_weights, list_models

    names = [name for name in list_models() if name.startswith("vit_")]
    assert {(name, each.name) for name in names for each in get_model_weights(name)} == {*TORCHVISION_WEIGHTS}


@pytest.mark.parametrize(
    ("sizes", "side", "file", "has"),
    [
        ({"dim": 768, "patch_size": 16}, 224, "mine.pth", "IMAGENET1K_V1 and IMAGENET1K_SWAG_LINEAR_V1 have"),
        ({"dim": 1024, "patch_size": 16}, 224, "vit.pth", "IMAGENET1K_V1 and IMAGENET1K_SWAG_LINEAR_V1 have"),
        ({"dim": 768, "patch_size": 16}, 240, "vit_b_16-c867db91.pth", "no weights of its own has"),
        ({"dim": 128, "patch_size": 8}, 40, "mine.pth", "no weights of its own has"),
    ],
)
def test_what_torchvisions_shapes_do_not_tell_is_said_to_be_assumed(sizes, side, file, has):
    from torchvision.models import ViT_B_16_Weights, ViT_L_16_Weights

    known, assumed = unsaid_preparation(TORCHVISION, sizes, (side, side), file)
    assert has in assumed
    assert "IMAGENET1K_V1, resized bilinearly with a margin" in assumed
    if side == 224:
        weights = (ViT_L_16_Weights if sizes["dim"] == 1024 else ViT_B_16_Weights).IMAGENET1K_V1
        ours = Preprocess(size=(224, 224), **known)(_photo())
        assert _gap(ours, weights.transforms()(_photo())[None]) < ROUNDING


@pytest.mark.parametrize("name", ["vit_base_patch16_224.augreg_in21k_ft_in1k", "vit_base_patch16_384.augreg_in21k_ft_in1k", "vit_large_patch32_384.orig_in21k_ft_in1k", "vit_tiny_patch16_384.augreg_in21k_ft_in1k"])  # fmt: skip
def test_googles_arrays_are_prepared_as_timm_prepares_for_them(name):
    import timm
    from timm.data import create_transform, resolve_data_config

    config = resolve_data_config({}, pretrained_cfg=timm.models.get_pretrained_cfg(name).to_dict())
    size = tuple(config["input_size"][1:])
    known, assumed = unsaid_preparation(GOOGLE, {"dim": 768, "patch_size": 16}, size, "vit.npz")
    assert assumed is None
    for photo in (_photo(), _photo(250, 101)):
        theirs = create_transform(**config, is_training=False)(photo)[None]
        assert _gap(Preprocess(size=size, **known)(photo), theirs) < ROUNDING


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
    known = _hugging_face_preprocess(PROCESSORS["DINOv2"], {})
    assert known["crop_pct"] == Fraction(224, 256)
    assert Preprocess(**known | {"size": (518, 518)})._resized(300, 400) == (592, 789)


def test_weights_that_do_not_say_their_mean_ask_for_it():
    for use in (Preprocess.__call__, Preprocess.undo):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole message is compared)
            use(Preprocess(size=(8, 8)), PIXELS)
        assert str(caught.value) == (
            "these weights do not say how their images were normalised; give it with dataclasses.replace("
            "preprocess, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)), which is right for most ViTs, "
            "or mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), which is for DeiT and DINO"
        )


NAN = float("nan")
HALF = (0.5, 0.5, 0.5)
PIXELS = torch.zeros(2, 3, 8, 8)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"size": 224}, TypeError, "size must be a tuple, not int"),
        ({"size": (4, 4, 4)}, TypeError, "size must be (height, width), got (4, 4, 4)"),
        ({"size": (0, 4)}, ValueError, "size height must be at least 1, got 0"),
        ({"size": (4, 4.0)}, TypeError, "size width must be an integer, got 4.0"),
        ({"size": (4, True)}, TypeError, "size width must be an integer, got True"),
        ({"crop_pct": 0}, ValueError, "crop_pct must be positive and finite, got 0"),
        ({"crop_pct": Fraction(8, 7)}, ValueError, "crop_pct must lie in [0, 1], got 1.14"),
        ({"crop_pct": "0.9"}, TypeError, "crop_pct must be a number, got '0.9'"),
        ({"interpolation": "cubic"}, ValueError, "interpolation must be one of nearest, lanczos, bilinear, bicubic, box, hamming, got 'cubic'"),
        ({"mean": None}, ValueError, "mean and std must have one number for each of 1 or 3 channels, got None and (0.5, 0.6, 0.7)"),
        ({"std": None}, ValueError, "mean and std must have one number for each of 1 or 3 channels, got (0.5, 0.4, 0.3) and None"),
        ({"mean": (0.5, 0.5), "std": (0.5, 0.5)}, ValueError, "mean and std must have one number for each of 1 or 3 channels, got (0.5, 0.5) and (0.5, 0.5)"),
        ({"mean": (0.5,), "std": HALF}, ValueError, "mean and std must have one number for each of 1 or 3 channels, got (0.5,) and (0.5, 0.5, 0.5)"),
        ({"mean": 0.5}, TypeError, "mean must be numbers, one for each channel, got 0.5"),
        ({"std": "abc"}, TypeError, "std must be numbers, one for each channel, got 'abc'"),
        ({"std": (0.5, None, 0.5)}, TypeError, "std must be numbers, one for each channel, got (0.5, None, 0.5)"),
        ({"mean": HALF, "std": (0.5, 0.0, 0.5)}, ValueError, "mean must be finite and std above 0, got (0.5, 0.5, 0.5) and (0.5, 0.0, 0.5)"),
        ({"mean": HALF, "std": (0.5, math.inf, 0.5)}, ValueError, "mean must be finite and std above 0, got (0.5, 0.5, 0.5) and (0.5, inf, 0.5)"),
        ({"mean": (0.5, NAN, 0.5), "std": HALF}, ValueError, "mean must be finite and std above 0, got (0.5, nan, 0.5) and (0.5, 0.5, 0.5)"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("doors_only")
def test_a_preparation_that_cannot_be_is_refused(options, error, message):
    preprocess = object.__new__(Preprocess)  # past the hook, which would answer before the door
    for name, value in (vars(_squash()) | options).items():
        object.__setattr__(preprocess, name, value)
    with pytest.raises(error) as caught:
        preprocess.__post_init__()
    assert str(caught.value) == message


def test_sizes_shares_and_statistics_at_their_bounds_are_fine():
    smallest = Preprocess(size=(1, 1), mean=(-1.0,), std=(5.0,), crop_pct=1)
    assert smallest(_photo()).shape == (1, 1, 1, 1)
    assert Preprocess(size=(1, 1)).mean is None
    assert _squash()(_photo(1, 9)).shape == _squash()(_photo(9, 1)).shape == (1, 3, 40, 56)


AXES = "image must have the axes (3 height width) or (batch 3 height width), got shape"


@pytest.mark.parametrize(
    ("image", "error", "message"),
    [
        (3, TypeError, "image must be a PIL image, a path or a tensor, not int"),
        (np.zeros((3, 8, 8)), TypeError, "image must be a PIL image, a path or a tensor, not ndarray"),
        (PIXELS.byte(), TypeError, "image must hold floating-point numbers in [0, 1], got torch.uint8"),
        (torch.zeros(8, 8), ValueError, f"{AXES} (8, 8)"),
        (torch.zeros(1, 1, 3, 8, 8), ValueError, f"{AXES} (1, 1, 3, 8, 8)"),
        (torch.zeros(8, 8, 3), ValueError, f"{AXES} (8, 8, 3)"),
        (torch.zeros(1, 4, 8, 8), ValueError, f"{AXES} (1, 4, 8, 8)"),
        (torch.zeros(0, 3, 8, 8), ValueError, f"{AXES} (0, 3, 8, 8)"),
        (PIXELS.to("meta"), ValueError, "image is on the meta device: it holds no numbers"),
        (torch.full((3, 8, 8), 255.0), ValueError, "image must hold values in [0, 1], got 255 to 255"),
        (torch.full((3, 8, 8), 1.5), ValueError, "image must hold values in [0, 1], got 1.5 to 1.5"),
        (torch.full((3, 8, 8), -0.1), ValueError, "image must hold values in [0, 1], got -0.1 to -0.1"),
        (torch.full((3, 8, 8), NAN), ValueError, "image must hold values in [0, 1], got nan to nan"),
        (Image.new("RGB", (0, 5)), ValueError, "image has no pixels: it is 5 x 0"),
        ("no/such/photo.jpg", FileNotFoundError, "there is no picture no/such/photo.jpg"),
        (__file__, ValueError, f"{__file__} is no picture that can be read: cannot identify image file {__file__!r}"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("doors_only")
def test_what_is_no_image_is_refused(image, error, message):
    with pytest.raises(error) as caught:
        _squash()(image)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("pixels", "error", "message"),
    [
        (PIXELS.numpy(), TypeError, "pixels must be a torch.Tensor, not ndarray"),
        (PIXELS[0], ValueError, "pixels must have the axes (batch 3 height width), got shape (3, 8, 8)"),
        (PIXELS[:, 0], ValueError, "pixels must have the axes (batch 3 height width), got shape (2, 8, 8)"),
        (PIXELS[:, :1], ValueError, "pixels must have the axes (batch 3 height width), got shape (2, 1, 8, 8)"),
        (PIXELS.long(), TypeError, "pixels must be floating point, got torch.int64"),
        (PIXELS.to("meta"), ValueError, "pixels is on the meta device: it holds no numbers"),
        (PIXELS / 0, ValueError, "pixels holds NaN or infinity: that is no colour"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("doors_only")
def test_what_are_no_prepared_pixels_cannot_be_undone(pixels, error, message):
    with pytest.raises(error) as caught:
        _squash().undo(pixels)
    assert str(caught.value) == message


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32, torch.float64])
def test_undo_keeps_the_dtype_and_stays_among_the_colours(dtype):
    pixels = torch.tensor([-9.0, -1.0, 0.0, 0.6, 9.0], dtype=dtype).expand(1, 3, 1, 5)
    colours = _squash(mean=HALF, std=HALF).undo(pixels)
    assert colours.dtype == dtype
    expected = torch.tensor([0, 0, 0.5, 0.8, 1], dtype=dtype).expand(1, 3, 1, 5)
    torch.testing.assert_close(colours, expected, atol=1e-3, rtol=0)


def test_black_and_white_are_colours_too():
    for level in (0.0, 1.0):
        grey = torch.full((3, 8, 8), level)
        assert _squash(mean=HALF, std=HALF)(grey).unique().tolist() == [2 * level - 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_read_as_the_numbers_that_it_holds(dtype):
    colours = torch.rand(3, 8, 8).to(dtype)
    assert torch.equal(_squash()(colours), _squash()(colours.float()))


def test_half_a_picture_is_refused(tmp_path):
    _photo().save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "half.jpg").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"half\.jpg is no picture that can be read"):
        _squash()(tmp_path / "half.jpg")
