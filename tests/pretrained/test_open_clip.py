"""A timm model inside open_clip, and open_clip's own config: against timm's model of the same weights."""

import json
import warnings
from collections import OrderedDict

import pytest
import timm
import torch
from PIL import Image
from pretrained_cases import refusal
from references import perturb
from safetensors.torch import save_file
from skimage import data
from torch import nn

from vit_steps.pretrained import load_pretrained

EXACT, FLOAT32 = 1e-12, 1e-6  # timm computes rotary angles in float32
OPENAI = {"mean": [0.48145466, 0.4578275, 0.40821073], "std": [0.26862954, 0.26130258, 0.27577711]}
HALF = {"mean": [0.5] * 3, "std": [0.5] * 3}
PREPROCESS = HALF | {"interpolation": "bicubic", "resize_mode": "squash"}


class ImageTower(nn.Module):
    """What open_clip's TimmModel is: a model without its head, and a matrix behind it, or nothing."""

    def __init__(self, name: str, pool: str, out: int, **options: object):
        super().__init__()
        self.trunk = timm.create_model(name, **options)
        self.trunk.reset_classifier(0, **({"global_pool": pool} if pool else {}))
        layers = {"drop": nn.Dropout(0.1), "proj": nn.Linear(self.trunk.num_features, out, bias=False)}
        self.head = nn.Sequential(OrderedDict(layers if out else {}))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.head(self.trunk(image))


def save(folder, tower, vision, model=None, prepared=PREPROCESS, name="open_clip_model.safetensors"):
    """A model of images and texts, whose other half nobody reads."""
    text = {"text.positional_embedding": torch.ones(7, 8), "text.text_projection.weight": torch.ones(8, 8)}
    text |= {"text.transformer.resblocks.0.ln_1.weight": torch.ones(8), "text.ln_final.bias": torch.ones(8)}
    weights = {f"visual.{key}": weight for key, weight in tower.state_dict().items()} | text
    weights |= {"logit_scale": torch.ones(()), "logit_bias": torch.ones(())}
    (save_file if name.endswith("safetensors") else torch.save)(weights, folder / name)
    config = {"model_cfg": {"embed_dim": 8, "vision_cfg": vision, "text_cfg": {"width": 8}, **(model or {})}}
    (folder / "open_clip_config.json").write_text(json.dumps(config | {"preprocess_cfg": prepared}))
    return folder


def read(source, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)  # a config says all
        return load_pretrained(source, **options)


# The name of a trunk, how open_clip pools it, how wide its projection is, the sizes of images.
TRUNKS = {
    "SigLIP": ("vit_base_patch16_siglip_224", "map", 0, (48, 64)),
    "SigLIP 2, GELU by tanh": ("vit_base_patch32_siglip_256", "map", 0, (64, 96)),
    "SigLIP, a mean": ("vit_base_patch16_siglip_gap_224", "", 5, (48,)),
    "as BiomedCLIP is": ("vit_base_patch16_224", "", 5, (32, 80)),
    "a mean with a CLS token": ("vit_small_patch16_224", "avg", 7, (48,)),
    "layer scale, no place for CLS": ("deit3_small_patch16_224", "token", 5, (64,)),
    "rotary positions": ("eva02_tiny_patch14_336", "", 5, (56,)),
    "registers": ("vit_medium_patch16_reg4_gap_256", "", 5, (64,)),
}


@pytest.mark.parametrize(("trunk", "side"), [(name, side) for name, row in TRUNKS.items() for side in row[3]])
@torch.no_grad()
def test_it_answers_as_timms_model_and_the_projection_do(tmp_path, trunk, side):
    name, pool, out, _ = TRUNKS[trunk]
    tower = perturb(ImageTower(name, pool, out, img_size=side, depth=2).double())
    vision = {"image_size": side, "timm_model_name": name, "timm_pool": pool}
    vision["timm_proj"] = "linear" if out else "none"
    loaded = read(save(tmp_path, tower, vision))
    image = torch.rand(3, 3, side, side, dtype=torch.float64) * 2 - 1
    expected = tower(image)
    assert loaded.assumed == ()
    assert loaded.labels == []
    assert loaded.model.image_size == (side, side)
    allowed = FLOAT32 if trunk == "rotary positions" else EXACT
    for ours in (loaded.model(image), loaded.model.trace(image).logits):
        torch.testing.assert_close(ours, expected, atol=allowed, rtol=allowed)


@torch.no_grad()
def test_the_probes_map_is_there(tmp_path):
    name = "vit_base_patch16_siglip_224"
    tower = perturb(ImageTower(name, "map", 0, img_size=48, depth=1).double())
    loaded = read(save(tmp_path, tower, {"image_size": 48, "timm_model_name": name, "timm_pool": "map"}))
    image = torch.rand(2, 3, 48, 48, dtype=torch.float64)
    pool, tokens = tower.trunk.attn_pool, tower.trunk.forward_features(image)
    query = pool.q(pool.latent.expand(2, -1, -1)).reshape(2, 1, 12, 64).transpose(1, 2)
    key = pool.kv(tokens).reshape(2, 9, 2, 12, 64).permute(2, 0, 3, 1, 4)[0]
    expected = (query @ key.mT / 8).softmax(dim=-1)
    torch.testing.assert_close(loaded.model.trace(image).pooling, expected, atol=EXACT, rtol=0)


@torch.no_grad()
def test_at_another_size_its_positions_are_resized_as_timm_does(tmp_path):
    name = "vit_small_patch16_224"
    tower, twin = (
        perturb(ImageTower(name, "token", 5, img_size=side, depth=1).double()) for side in (48, 80)
    )
    twin.head.load_state_dict(tower.head.state_dict())
    weights = timm.models.vision_transformer.checkpoint_filter_fn(tower.trunk.state_dict(), twin.trunk)
    twin.trunk.load_state_dict(weights)
    save(tmp_path, tower, {"image_size": 48, "timm_model_name": name, "timm_pool": "token"})
    image = torch.rand(2, 3, 80, 80, dtype=torch.float64)
    ours = read(tmp_path, image_size=80).model(image)
    torch.testing.assert_close(ours, twin(image), atol=1e-5, rtol=0)  # timm resizes in float32


@torch.no_grad()
def test_a_file_alone_is_read_and_says_what_it_assumes(tmp_path):
    tower = perturb(ImageTower("vit_small_patch16_224", "token", 5, img_size=48, depth=1).double())
    save(tmp_path, tower, {}, name="open_clip_pytorch_model.bin")
    (tmp_path / "open_clip_config.json").unlink()
    with pytest.warns(UserWarning, match="timm inside open_clip's"):
        loaded = load_pretrained(tmp_path)
    image = torch.rand(2, 3, 48, 48, dtype=torch.float64)
    torch.testing.assert_close(loaded.model(image), tower(image), atol=EXACT, rtol=EXACT)
    assert loaded.labels == []
    with pytest.raises(ValueError, match="do not say how their images were normalised"):
        loaded.preprocess(Image.fromarray(data.chelsea()))


@pytest.mark.parametrize(
    ("prepared", "squash", "resample"),
    [
        (PREPROCESS, True, Image.Resampling.BICUBIC),
        (HALF | {"resize_mode": "shortest", "interpolation": "bilinear"}, False, Image.Resampling.BILINEAR),
        ({"interpolation": "random"}, False, Image.Resampling.BICUBIC),
        ({}, False, Image.Resampling.BICUBIC),
    ],
    ids=["squash", "shortest, bilinear", "random", "silent"],
)
@pytest.mark.parametrize("photo", [data.chelsea(), data.coffee()[:, :301]], ids=["wide", "high"])
def test_its_pictures_are_prepared_as_open_clip_evaluates_them(tmp_path, prepared, squash, resample, photo):
    tower = ImageTower("vit_tiny_patch16_224", "token", 0, img_size=48, depth=1)
    vision = {"image_size": 48, "timm_model_name": "vit_tiny_patch16_224", "timm_pool": "token"}
    ours = read(save(tmp_path, tower, vision, prepared=prepared)).preprocess(Image.fromarray(photo))
    height, width = photo.shape[:2]
    sides = [48 * side // min(height, width) for side in (width, height)]
    top, left = (round((side - 48) / 2) for side in sides[::-1])
    resized = Image.fromarray(photo).resize([48, 48] if squash else sides, resample)
    kept = resized if squash else resized.crop((left, top, left + 48, top + 48))
    pixels = torch.frombuffer(bytearray(kept.tobytes()), dtype=torch.uint8).reshape(48, 48, 3) / 255
    mean, std = (torch.tensor((OPENAI | prepared)[name]) for name in ("mean", "std"))
    expected = ((pixels - mean) / std).permute(2, 0, 1)[None]
    torch.testing.assert_close(ours, expected, atol=1e-6, rtol=0)


# What is no plain ViT.


@pytest.mark.parametrize(
    ("name", "options", "why"),
    [
        ("convnext_atto", {}, "stages of several resolutions"),
        ("vit_tiny_r_s16_p8_224", {"depth": 1}, "a convolutional stem"),
        ("vit_relpos_small_patch16_224", {"depth": 1}, "relative positions"),
        ("eva02_base_patch16_clip_224", {"depth": 1}, "a norm inside the attention or the MLP"),
    ],
)
@pytest.mark.parametrize("with_config", [True, False], ids=["config", "bare"])
def test_a_trunk_of_another_function_is_refused_for_what_it_is(tmp_path, name, options, why, with_config):
    tower = ImageTower(name, "", 5, **options)
    save(tmp_path, tower, {"image_size": 224, "timm_model_name": name, "timm_pool": ""})
    if not with_config:
        (tmp_path / "open_clip_config.json").unlink()
    said = refusal(tmp_path, ValueError if with_config else KeyError)
    assert why in said or (with_config and f"the architecture {name!r} is none that is known here" in said)


@pytest.mark.parametrize(
    ("vision", "prepared", "said"),
    [
        ({"timm_proj": "mlp"}, {}, "timm_proj 'mlp', only 'linear' or 'none'"),
        ({"timm_pool": "abs_attn"}, {}, "global_pool 'abs_attn', only 'token' or 'avg' or 'map'"),
        ({"timm_model_name": "vit_base_patch16_224"}, {}, "the config says dim 768, the weights have 192"),
        ({"image_size": "large"}, {}, "image_size must be one number or"),
        ({}, {"resize_mode": "longest"}, "resize_mode 'longest', only 'shortest' or 'squash'"),
        ({}, {"interpolation": "nearest"}, "interpolation 'nearest', only"),
        ({}, {"mean": 7}, "is not built as configs are"),
    ],
)
def test_a_config_that_says_another_function_is_refused(tmp_path, vision, prepared, said):
    tower = ImageTower("vit_tiny_patch16_224", "token", 0, img_size=48, depth=1)
    known = {"image_size": 48, "timm_model_name": "vit_tiny_patch16_224", "timm_pool": "token"}
    assert said in refusal(save(tmp_path, tower, known | vision, prepared=prepared))


def test_a_projection_of_several_layers_is_refused_by_name(tmp_path):
    tower = ImageTower("vit_tiny_patch16_224", "token", 0, img_size=48, depth=1)
    tower.head.add_module("mlp", timm.layers.Mlp(192, 16, 5))
    save(tmp_path, tower, {"image_size": 48, "timm_model_name": "vit_tiny_patch16_224", "timm_pool": "token"})
    assert "a projection of several layers" in refusal(tmp_path, KeyError)


# open_clip's own ViT, whose config says what its keys do not.

OWN = {"image_size": 48, "layers": 2, "width": 128, "patch_size": 16, "head_width": 32, "mlp_ratio": 2.0}


class OwnTower(nn.Module):
    """A ViT of timm with CLIP's norms, under open_clip's names."""

    def __init__(self, act: str):
        super().__init__()
        options = dict(img_size=48, patch_size=16, embed_dim=128, depth=2, num_heads=4, mlp_ratio=2.0)
        options |= dict(num_classes=5, act_layer=act, pre_norm=True)
        self.model = perturb(timm.create_model("vit_base_patch16_clip_224", **options).double())
        self.model.head.bias.data.zero_()

    def state_dict(self):
        from coverage_table.publishers import CLIP_NAMES, rename

        weights = self.model.state_dict()
        projection = weights.pop("head.weight").T.contiguous()
        del weights["head.bias"]
        weights = rename(weights, *CLIP_NAMES) | {"proj": projection}
        tokens = ("class_embedding", "positional_embedding")
        return {key: each.squeeze() if key in tokens else each for key, each in weights.items()}


@pytest.mark.parametrize("quick", [True, False])
@torch.no_grad()
def test_of_open_clips_own_vit_the_gelu_and_the_heads_are_as_its_config_says(tmp_path, quick):
    tower = OwnTower("quick_gelu" if quick else "gelu")
    loaded = read(save(tmp_path, tower, OWN, {"quick_gelu": quick}))
    image = torch.rand(2, 3, 48, 48, dtype=torch.float64)
    torch.testing.assert_close(loaded.model(image), tower.model(image), atol=EXACT, rtol=EXACT)
    assert loaded.labels == []


@pytest.mark.parametrize(
    ("vision", "said"),
    [
        ({"pool_type": "avg"}, "pool_type 'avg', only 'tok' will do"),
        ({"no_ln_pre": True}, "no_ln_pre True, only False will do"),
        ({"norm_kwargs": {"eps": 1e-6}}, "norm_kwargs {'eps': 1e-06}, only None will do"),
        ({"block_type": "parallel"}, "block_type 'parallel', which is not known here"),
        ({"layers": [3, 4, 6, 3]}, "layers 'list', only 'int' will do"),
        ({"width": 256}, "the config says dim 256, the weights have 128"),
    ],
)
def test_another_vit_of_open_clips_is_refused(tmp_path, vision, said):
    assert said in refusal(save(tmp_path, OwnTower("gelu"), OWN | vision))


def test_beside_transformers_files_each_file_is_read_by_its_own_config(tmp_path):
    save(tmp_path, OwnTower("gelu"), OWN, {"quick_gelu": True})
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert read(tmp_path / "open_clip_model.safetensors").model.config["act"] == "quick_gelu"
    (tmp_path / "open_clip_model.safetensors").rename(tmp_path / "model.safetensors")
    assert "'bert' is none that is known here" in refusal(tmp_path)
