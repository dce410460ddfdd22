"""What the shapes of weights tell about the ViT that they belong to, and whether they fit together."""

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vit_steps.pretrained.obstacles import NAFLEX, PROBE_HEADS, VIDEO
from vit_steps.vit import ViT

# Where a tensor has so many axes, it is of another function.
AXES_OF_OTHERS = {
    ("patch_embed.proj.weight", 5): VIDEO,
    ("patch_embed.proj.weight", 2): NAFLEX,
    ("pos_embed", 4): NAFLEX,
}
# How many axes those have that the sizes are read from.
AXES = {"cls_token": 3, "reg_token": 3, "pos_embed": 3, "attn_pool.latent": 3, "patch_embed.proj.weight": 4}
AXES |= {"blocks.0.mlp.fc1.weight": 2, "blocks.0.mlp.fc2.weight": 2, "head.weight": 2}


def read_sizes(weights: dict[str, Tensor]) -> dict[str, int]:
    """Read off the shapes what a ViT's constructor wants to know, as far as they tell it.

    Args:
        weights: in timm's spelling, as :func:`to_timm` gives them.

    Raises:
        KeyError: "weights has no 'patch_embed.proj.weight'".
        ValueError: "cls_token has shape (8,), a ViT's has 3 axes, none of them empty".
        TypeError: ``weights`` is not a mapping of names to tensors.
    """
    _check_weights(weights)
    for name, number in AXES.items():
        if name in weights and (weights[name].ndim != number or 0 in weights[name].shape):
            shape = tuple(weights[name].shape)
            why = f" ({AXES_OF_OTHERS[name, len(shape)]})" if (name, len(shape)) in AXES_OF_OTHERS else ""
            raise ValueError(f"{name} has shape {shape}, a ViT's has {number} axes, none of them empty{why}")
    dim, channels, patch_size, width = weights["patch_embed.proj.weight"].shape
    if patch_size != width:
        raise ValueError(f"patch_embed.proj.weight cuts patches of {patch_size} x {width}, not squares")
    depth = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
    sizes = {"patch_size": patch_size, "channels": channels, "dim": dim, "depth": depth}
    sizes["mlp_dim"] = weights["blocks.0.mlp.fc2.weight"].shape[1]
    sizes["num_classes"] = weights["head.weight"].shape[0] if "head.weight" in weights else 0
    return sizes


def read_kind(weights: dict[str, Tensor]) -> dict[str, Any]:
    """Read off the names and shapes of what kind a ViT is, as far as they tell it.

    What leaves no key is as in a plain ViT: the GELU is the exact one, and nothing turns.

    Args:
        weights: as :func:`read_sizes` takes them.

    Raises: as :func:`read_sizes`.
    """
    dim, mlp_dim = (read_sizes(weights)[name] for name in ("dim", "mlp_dim"))
    registers = weights["reg_token"].shape[1] if "reg_token" in weights else 0
    gated = weights["blocks.0.mlp.fc1.weight"].shape[0] == 2 * mlp_dim
    norms = (
        name
        for name, part in {"tokens": "norm.weight", "pooled": "fc_norm.weight"}.items()
        if part in weights
    )
    table, angles = "pos_embed" in weights, "blocks.0.attn.angles" in weights
    return {
        "pool": _read_pool(weights, dim, registers),
        "num_registers": registers,
        "class_token": "cls_token" in weights,
        "position": "table" if not angles and table else "table+rotary" if table else "rotary",
        "act": "swiglu" if gated else "gelu",
        "pre_norm": "norm_pre.weight" in weights,
        "final_norm": next(norms, "nothing"),
    }


def _read_pool(weights: dict[str, Tensor], dim: int, registers: int) -> str:
    if "attn_pool.latent" in weights:
        return "attention"
    if "cls_token" not in weights or "fc_norm.weight" in weights:
        return "mean"
    if "head.weight" in weights and weights["head.weight"].shape[1] == 2 * dim:
        return "cls+register" if registers == 1 else "cls+mean"
    return "cls"


def check_shapes(weights: dict[str, Tensor], *, wide_head: bool = False) -> None:
    """Hold every shape against that of a ViT of these sizes.

    Args:
        weights: as :func:`read_sizes` takes them.
        wide_head: whether a head may read the CLS token and the mean of the patches side by side.

    Raises:
        ValueError: "blocks.0.norm1.weight has shape (5,), the other weights need (8,)", or as read_sizes.
    """
    sizes, kind = read_sizes(weights), read_kind(weights)
    kind |= {"pool": "cls"} if kind["pool"] == "cls+mean" and not wide_head else {}
    prefix = kind["class_token"] + kind["num_registers"]
    rows = weights["pos_embed"].shape[1] if "pos_embed" in weights else 0
    patches = max(1, rows - prefix)
    # Neither the grid nor the heads can be seen in the shapes: one column of patches and one head will do.
    image_size = (patches * sizes["patch_size"], sizes["patch_size"])
    # Nor can where a table is fitted to: it is held to its width alone.
    frame = on_meta(
        sizes | kind | {"image_size": image_size, "num_heads": 1, "position": "table"}
    ).state_dict()
    frame["pos_embed"] = torch.empty(1, max(1, rows), sizes["dim"], device="meta")
    for name, expected in frame.items():
        if name in weights and weights[name].shape != expected.shape:
            got, wanted = tuple(weights[name].shape), tuple(expected.shape)
            why = f" ({PROBE_HEADS})" if name.startswith("attn_pool.") else ""
            raise ValueError(f"{name} has shape {got}, the other weights need {wanted}{why}")


def on_meta(config: dict) -> ViT:
    """Make a ViT of shapes alone: neither memory nor random numbers are used.

    Raises:
        TypeError: "config must map the names of ViT's arguments to numbers, not list", "config does not
            describe a ViT: ...".
        ValueError: as :class:`ViT`.
    """
    _check_config(config)
    with torch.device("meta"):
        return ViT(**config)


def _check_weights(weights: object) -> None:
    if not isinstance(weights, Mapping):
        raise TypeError(f"weights must map names to tensors, not {type(weights).__name__}")
    for name in ("patch_embed.proj.weight", "blocks.0.mlp.fc1.weight", "blocks.0.mlp.fc2.weight"):
        if name not in weights:
            raise KeyError(f"weights has no {name!r:.80}")
    for name, weight in weights.items():
        if not isinstance(weight, Tensor):
            raise TypeError(f"weights[{name!r:.80}] must be a tensor, not {type(weight).__name__}")


def _check_config(config: object) -> None:
    if not isinstance(config, Mapping):
        raise TypeError(
            f"config must map the names of ViT's arguments to numbers, not {type(config).__name__}"
        )
    try:
        inspect.signature(ViT).bind(**config)
    except TypeError as error:
        # "a required argument" or "a required keyword-only argument", as the Python at hand puts it.
        said = str(error).replace("keyword-only ", "")
        raise TypeError(f"config does not describe a ViT: {said}") from None
