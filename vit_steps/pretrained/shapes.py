"""What the shapes of weights tell about the ViT that they belong to, and whether they fit together."""

import inspect
from collections.abc import Mapping

import torch
from torch import Tensor

from vit_steps.pretrained.obstacles import NAFLEX, SWIGLU, VIDEO, WIDE_HEAD
from vit_steps.vit import ViT

# Where a matrix is so many times as wide as the other weights need, it is of another function.
AXES_OF_OTHERS = {
    ("patch_embed.proj.weight", 5): VIDEO,
    ("patch_embed.proj.weight", 2): NAFLEX,
    ("pos_embed", 4): NAFLEX,
}
SHAPES_OF_OTHERS = (("mlp.fc2.weight", 0.5, SWIGLU), ("head.weight", 2, WIDE_HEAD))


def read_sizes(weights: dict[str, Tensor]) -> dict[str, int]:
    """Read off the shapes what a ViT's constructor wants to know, as far as they tell it.

    Args:
        weights: in timm's spelling, as :func:`to_timm` gives them.

    Raises:
        KeyError: "weights has no 'cls_token'".
        ValueError: "cls_token has shape (8,), a ViT's has 3 axes, none of them empty".
        TypeError: ``weights`` is not a mapping of names to tensors.
    """
    _check_weights(weights)
    axes = {"cls_token": 3, "pos_embed": 3, "patch_embed.proj.weight": 4, "blocks.0.mlp.fc1.weight": 2}
    axes |= {"head.weight": 2} if "head.weight" in weights else {}
    for name, number in axes.items():
        if weights[name].ndim != number or 0 in weights[name].shape:
            shape = tuple(weights[name].shape)
            why = f" ({AXES_OF_OTHERS[name, len(shape)]})" if (name, len(shape)) in AXES_OF_OTHERS else ""
            raise ValueError(f"{name} has shape {shape}, a ViT's has {number} axes, none of them empty{why}")
    dim, channels, patch_size, width = weights["patch_embed.proj.weight"].shape
    if patch_size != width:
        raise ValueError(f"patch_embed.proj.weight cuts patches of {patch_size} x {width}, not squares")
    depth = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
    sizes = {"patch_size": patch_size, "channels": channels, "dim": dim, "depth": depth}
    sizes["mlp_dim"] = weights["blocks.0.mlp.fc1.weight"].shape[0]
    sizes["num_classes"] = weights["head.weight"].shape[0] if "head.weight" in weights else 0
    return sizes


def check_shapes(weights: dict[str, Tensor]) -> None:
    """Hold every shape against that of a ViT of these sizes.

    Raises:
        ValueError: "blocks.0.norm1.weight has shape (5,), the other weights need (8,)", or as read_sizes.
    """
    sizes = read_sizes(weights)
    patches = max(1, weights["pos_embed"].shape[1] - 1)
    # Neither the grid nor the heads can be seen in the shapes: one column of patches and one head will do.
    image_size = (patches * sizes["patch_size"], sizes["patch_size"])
    frame = on_meta(sizes | {"image_size": image_size, "num_heads": 1})
    for name, expected in frame.state_dict().items():
        if weights[name].shape != expected.shape:
            got, wanted = tuple(weights[name].shape), tuple(expected.shape)
            why = _other_function(name, got, wanted)
            raise ValueError(f"{name} has shape {got}, the other weights need {wanted}{why}")


def _other_function(name: str, got: tuple[int, ...], wanted: tuple[int, ...]) -> str:
    """Say which other function has a matrix of twice the width, or half of it, at this place."""
    for place, factor, why in SHAPES_OF_OTHERS:
        if name.endswith(place) and got == (wanted[0], factor * wanted[-1]):
            return f" ({why})"
    return ""


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
    for name in ("cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.mlp.fc1.weight"):
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
