"""What stands beside weights of open_clip, said in the words of timm or of transformers, which are read here.

open_clip builds its image half itself, or takes one of timm's (``visual.trunk``) and puts at most one matrix
behind it (its ``TimmModel``); its images are prepared by ``image_transform``. Of those files this is written
after, none is part of this package.
"""

from collections.abc import Mapping
from typing import Any

from vit_steps.pretrained._dialect import CLIP_COLOURS
from vit_steps.pretrained.architectures import width_of

CONFIG = "open_clip_config.json"
# Of open_clip's own ViT, what makes another function of it, and what leaves it as it is.
PLAIN = {
    "attentional_pool": False,
    "no_ln_pre": False,
    "final_ln_after_pool": False,
    "global_average_pool": False,
    "input_patchnorm": False,
    "pos_embed_type": "learnable",
    "pool_type": "tok",
    "act_kwargs": None,
    "norm_kwargs": None,
}
HARMLESS = {"layers", "width", "head_width", "mlp_ratio", "patch_size", "image_size"}
HARMLESS |= {"ls_init_value", "patch_dropout", "output_tokens", "attn_pooler_queries", "attn_pooler_heads"}
HARMLESS |= {"drop_path_rate", "n_queries", "xattn"}


def in_other_words(config: Mapping[str, Any]) -> dict[str, Any]:
    """Say a config of open_clip as timm would (it names an architecture), or as transformers would.

    Raises:
        ValueError: "the config says timm_proj 'mlp', only 'linear' or 'none' will do", "the config says
            pool_type 'avg', only 'tok' will do", "the config says resize_mode 'longest', ...".
    """
    model, prepared = config["model_cfg"], _in_timms_words(config.get("preprocess_cfg") or {})
    vision = model["vision_cfg"]
    size = vision.get("image_size", 224)
    prepared["input_size"] = [3, *(size if isinstance(size, list) else (size, size))]
    told = _of_timm(vision) if vision.get("timm_model_name") else _of_its_own(vision, model)
    return told | {"pretrained_cfg": prepared, "image_size": size}


def _of_timm(vision: Mapping[str, Any]) -> dict[str, Any]:
    _check(vision, "timm_proj", "linear", "none", "")
    name = vision["timm_model_name"]
    return {
        "architecture": name,
        "num_features": width_of(name),
        "global_pool": vision.get("timm_pool", "avg"),
    }


def _of_its_own(vision: Mapping[str, Any], model: Mapping[str, Any]) -> dict[str, Any]:
    for key in vision:
        if key not in HARMLESS and not key.startswith("timm_"):
            _check(vision, key, *[PLAIN[key]] if key in PLAIN else [])
    _check({"layers": type(vision["layers"]).__name__}, "layers", "int")  # a ResNet has a list of them
    width = vision["width"]
    return {
        "model_type": "clip_vision_model",
        "architectures": ["CLIPVisionModelWithProjection"],
        "hidden_size": width,
        "num_hidden_layers": vision["layers"],
        "num_attention_heads": width // vision.get("head_width", 64),
        "intermediate_size": int(width * vision.get("mlp_ratio", 4)),
        "patch_size": vision["patch_size"],
        "layer_norm_eps": 1e-5,
        "hidden_act": "quick_gelu" if model.get("quick_gelu") else "gelu",
    }


def _in_timms_words(prepared: Mapping[str, Any]) -> dict[str, Any]:
    """A picture is resized as open_clip evaluates it: "random" is what it trains with."""
    _check(prepared, "resize_mode", "shortest", "squash")
    _check(prepared, "interpolation", "bicubic", "bilinear", "random")
    colours = {name: list(prepared.get(name) or CLIP_COLOURS[name]) for name in ("mean", "std")}
    way = prepared.get("interpolation") or "bicubic"
    return colours | {
        "crop_pct": 1.0,
        "crop_mode": "squash" if prepared.get("resize_mode") == "squash" else "center",
        "interpolation": "bicubic" if way == "random" else way,
    }


def _check(config: Mapping[str, Any], key: str, *values: Any) -> None:
    if config.get(key) is None or config[key] in values:
        return
    will_do = f"only {' or '.join(map(repr, values))} will do" if values else "which is not known here"
    raise ValueError(f"the config says {key:.80} {config[key]!r:.80}, {will_do}")
