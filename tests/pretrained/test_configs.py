# ruff: noqa: E501 (one line for each wrong input)
import json

import numpy as np
import pytest
import torch
from pretrained_cases import SIZE, SQUARE, refusal, save_as_transformers
from references import google_arrays, hugging_face, timm_vit
from safetensors.torch import save_file

from vit_steps.pretrained import load_pretrained
from vit_steps.pretrained.configs import _hugging_face_preprocess, _timm_preprocess
from vit_steps.vit import ViT

HUGGING_FACE_WRONG = {
    "num_attention_heads": (3, "dim 128 is not a multiple of num_heads 3"),
    "hidden_act": (
        "relu",
        "the config says hidden_act 'relu', only 'gelu' or 'gelu_new' or 'gelu_pytorch_tanh' or 'quick_gelu' will do",
    ),
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
    save_as_transformers(ViT(**SQUARE._asdict()), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {key: value}))
    assert refusal(tmp_path) == message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "FOLDER/config.json is no JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ("[]", "FOLDER/config.json must hold a JSON object, not list"),
        ('{"name": "bert"}', "FOLDER/config.json is neither timm's nor that of a Hugging Face ViT"),
        ('{"model_type": "bert"}', "the model_type 'bert' is none that is known here to be a ViT such as this"),
        ('{"model_type": ["vit"]}', "the model_type ['vit'] is none that is known here to be a ViT such as this"),
        ('{"architecture": "resnet50"}', "the architecture 'resnet50' is none that is known here to be a ViT such as this"),
        ('{"architecture": []}', "the architecture [] is none that is known here to be a ViT such as this"),
        ('{"hidden_size": 128, "id2label": {"0": "cat"}}', "the config names 1 classes, the head has 5"),
        ('{"architecture": "vit_base_patch16_224", "global_pool": "max"}', "the config says global_pool 'max', only 'token' or 'avg' or 'map' will do"),
        ('{"architecture": "vit_base_patch16_224", "model_args": {"act_layer": "silu"}}', "the config says act_layer 'silu', only 'gelu' or 'gelu_tanh' or 'quick_gelu' will do"),
        ('{"architecture": "vit_base_patch16_224", "pretrained_cfg": {"crop_mode": "border"}}', "the config says crop_mode 'border', only 'center' or 'squash' will do"),
        ('{"architecture": "vit_base_patch16_224", "num_features": 96}', "the config says dim 96, the weights have 128"),
        ('{"architecture": "vit_base_patch16_224", "input_size": [1, 40, 40]}', "the config says channels 1, the weights have 3"),
        ('{"pretrained_cfg": {"input_size": [3, 64, 40]}}', "the config says image_size (64, 40), the position table has 25 patches"),
        ('{"architecture": "vit_base_patch16_224", "model_args": {"img_size": "big"}}', "image_size must be one number or (height, width), got 'big'"),
        ('{"architecture": "vit_base_patch16_224", "label_names": {"0": "cat", "2": "dog"}}', "label_names must name the classes 0 to 1, '1' is missing"),
        ('{"architecture": "vit_base_patch16_224", "pretrained_cfg": 3}', "FOLDER/config.json is not built as configs are: AttributeError(\"'int' object has no attribute 'get'\")"),
        ('{"architecture": "vit_base_patch16_224", "model_args": [1]}', "FOLDER/config.json is not built as configs are: TypeError(\"'list' object is not a mapping\")"),
        ('{"hidden_size": 128, "id2label": 7}', "FOLDER/config.json is not built as configs are: AttributeError(\"'int' object has no attribute 'items'\")"),
        ('{"pretrained_cfg": {"interpolation": [1]}}', "interpolation must be one of nearest, lanczos, bilinear, bicubic, box, hamming, got '[1]'"),
        ('{"hidden_size": 128, "image_size": "big"}', "image_size must be one number or (height, width), got 'big'"),
        ('{"hidden_size": 128, "image_size": [40]}', "image_size must be one number or (height, width), got [40]"),
        ('{"model_type": "clip", "vision_config": 3}', "FOLDER/config.json is not built as configs are: TypeError(\"unsupported operand type(s) for |: 'int' and 'dict'\")"),
        ('{"hidden_size": 128, "image_size": [40, 40.0]}', "image_size must be one number or (height, width), got [40, 40.0]"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("doors_only")
def test_a_config_that_cannot_be_read_is_refused(tmp_path, text, message):
    save_file(timm_vit(SQUARE, torch.float32).weights, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(text)
    assert refusal(tmp_path) == message


PROCESSOR = "preprocessor_config.json"
NEITHER = "neither height and width nor shortest_edge"
UNKNOWN = "and how that prepares images is not known here (ViT, DeiT, Bit, CLIP, Siglip, Blip, Beit, Flava, DPT, DINOv3ViT are)"
# These crop or resize in ways of their own.
OTHER_PROCESSORS = [
    "ConvNext",
    "PoolFormer",
    "Levit",
    "EfficientNet",
    "Perceiver",
    "MobileViT",
    "Siglip2",
    "VideoMAE",
    "My",
]


@pytest.mark.parametrize(
    ("processor", "message"),
    [
        ({"do_resize": None}, "the config says do_resize False, only True will do"),
        ({"do_resize": False}, "the config says do_resize False, only True will do"),
        ({"do_rescale": False}, "the config says do_rescale False, only True will do"),
        ({"rescale_factor": 1.0}, "the config says rescale_factor 1.0, only 0.00392156862745098 will do"),
        ({"size": {"shortest_edge": 40}}, f"{PROCESSOR} resizes the shorter side and crops nothing: no fixed size"),
        ({"size": {"longest_edge": 40}}, f"{PROCESSOR} says size {{'longest_edge': 40}}: {NEITHER}"),
        ({"size": {"shortest_edge": 40, "longest_edge": 50}}, f"{PROCESSOR} says size {{'shortest_edge': 40, 'longest_edge': 50}}: {NEITHER}"),
        ({"size": 0}, f"{PROCESSOR} says size {{'height': 0, 'width': 0}}: {NEITHER}"),
        ({"size": 40.0}, f"{PROCESSOR} says size 40.0: {NEITHER}"),
        ({"size": 20_000}, f"{PROCESSOR} says size {{'height': 20000, 'width': 20000}}: more than 10,000 pixels"),
        ({"size": 40, "do_center_crop": True}, f"{PROCESSOR} says crop_size None: {NEITHER}"),
        ({"size": 40, "do_center_crop": True, "crop_size": {"shortest_edge": 40}}, f"{PROCESSOR} resizes the shorter side and crops nothing: no fixed size"),
        ({"size": 50, "crop_size": {"height": 40, "width": 30}, "do_center_crop": True}, f"{PROCESSOR} crops size {{'height': 50, 'width': 50}} to {{'height': 40, 'width': 30}}, which is another shape"),
        ({"size": 40, "crop_size": 50, "do_center_crop": True}, f"{PROCESSOR} crops size {{'height': 40, 'width': 40}} to {{'height': 50, 'width': 50}}, which is more than there is"),
        ({"size": 40, "do_pad": True}, "the config says do_pad True, only False will do"),
        ({"image_processor_type": "DPTImageProcessor", "size": 40, "keep_aspect_ratio": True}, "the config says keep_aspect_ratio True, only False will do"),
        ({"image_processor_type": "DPTImageProcessor", "size": 40, "ensure_multiple_of": 8}, "the config says ensure_multiple_of 8, only 1 will do"),
        ({"size": 36}, "image_size height 36 is not a multiple of patch_size 8"),
        *(({"image_processor_type": f"{kind}ImageProcessor"}, f"{PROCESSOR} is for '{kind}ImageProcessor', {UNKNOWN}") for kind in OTHER_PROCESSORS),
        ({"feature_extractor_type": "ConvNextFeatureExtractor"}, f"{PROCESSOR} is for 'ConvNextFeatureExtractor', {UNKNOWN}"),
        ({"size": None}, f"{PROCESSOR} says size None: {NEITHER}"),
        ({"size": 40, "resample": None}, "interpolation must be one of nearest, lanczos, bilinear, bicubic, box, hamming, got 'resample None'"),
        ({"size": 40, "resample": 9}, "interpolation must be one of nearest, lanczos, bilinear, bicubic, box, hamming, got 'resample 9'"),
    ],
)  # fmt: skip
def test_a_preparation_that_we_do_not_have_is_refused(tmp_path, processor, message):
    save_as_transformers(ViT(**SQUARE._asdict()), tmp_path)
    (tmp_path / PROCESSOR).write_text(json.dumps(processor))
    assert refusal(tmp_path) == message


def test_without_normalisation_nothing_is_subtracted():
    processor = {"do_normalize": False, "image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    known = _hugging_face_preprocess(processor, {"model_type": "vit"})
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
    (tmp_path / "config.json").write_text(json.dumps({"architecture": "vit_base_patch16_224"} | beside))
    model = load_pretrained(tmp_path).model
    assert (model.image_size, model.config["num_heads"]) == (image_size, num_heads)


@pytest.mark.parametrize(
    "names",
    [["n0", "n1", "n2", "n3", "n4"], {"1": "n1", "0": "n0", "3": "n3", "4": "n4", "2": "n2"}],
    ids=["list", "mapping"],
)
def test_timms_names_stand_where_a_description_is_missing(tmp_path, names):
    save_file(timm_vit(SQUARE, torch.float32).weights, tmp_path / "model.safetensors")
    config = {
        "architecture": "vit_base_patch16_224",
        "label_names": names,
        "label_descriptions": {"n1": "goldfish"},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load_pretrained(tmp_path).labels == ["n0", "goldfish", "n2", "n3", "n4"]


def test_a_config_may_give_a_size_for_each_side(tmp_path):
    model = ViT(**SQUARE._asdict())
    save_as_transformers(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"patch_size": [8, 8]}))
    assert load_pretrained(tmp_path).model.config["patch_size"] == 8
    (tmp_path / "config.json").write_text(json.dumps(config | {"patch_size": [8, 8, 8]}))
    assert refusal(tmp_path) == "the config says patch_size [8, 8, 8], the weights have 8"


@pytest.mark.usefixtures("doors_only")
def test_an_image_size_that_is_none_is_refused(tmp_path):
    save_file(timm_vit(SQUARE, torch.float32).weights, tmp_path / "vit.safetensors")
    message = "image_size must be one number or (height, width), got 'big'"
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole message is compared)
        load_pretrained(tmp_path, image_size="big")
    assert str(caught.value) == message


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
