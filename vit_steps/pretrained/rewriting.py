"""The same function with fewer kinds of parts: what weights become besides their names.

Matrices turn round, parts that libraries keep apart are joined, what only scales is multiplied in, and what
is missing because it would be zero is put in. Every tensor has timm's name, or one that is gone afterwards.
"""

import re
from collections.abc import Sequence

import torch
from torch import Tensor

TOKENS = ("cls_token", "reg_token", "dist_token", "pos_embed", "attn_pool.latent")


def as_they_are_here(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Do all of it but what one publisher alone asks for, in an order in which each finds what it needs."""
    for rewrite in (
        _without_empty,
        _mask_biases,
        _turn_head,
        _split_probe,
        _join_gates,
        _join_qkv,
        _join_distilled,
    ):
        weights = rewrite(weights)
    return _scale_layers(weights)


def with_biases(weights: dict[str, Tensor], lacking: list[str]) -> dict[str, Tensor]:
    """Put zeros where a layer has no bias in any block."""
    kernels = {name: weights[name.removesuffix("bias") + "weight"] for name in lacking}
    for name, kernel in kernels.items():
        if not kernel.ndim:
            raise ValueError(f"{name.removesuffix('bias')}weight has shape (), a matrix has axes")
    return weights | {name: kernel.new_zeros(len(kernel)) for name, kernel in kernels.items()}


def from_google(name: str, weight: Tensor) -> Tensor:
    """Turn an array of Flax, which has the input's axes first, into torch's, which has them last."""
    if not name.endswith(".weight") or "norm" in name:
        return weight.flatten() if name.endswith(".bias") else weight
    axes = 4 if name.startswith("patch_embed") else 3 if ".attn." in name else 2
    if weight.ndim != axes:
        raise ValueError(f"{name} has shape {tuple(weight.shape)}, Google's has {axes} axes")
    if axes == 4:
        return weight.permute(3, 2, 0, 1)  # p p C D -> D C p p
    if ".proj." in name:
        return weight.flatten(0, 1).T  # H d D -> D H*d
    return weight.flatten(1).T  # query, key, value: D H d -> H*d D


def shape_tokens(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Give tokens and tables an axis for the batch, and a single token one for itself."""
    shaped = dict(weights)
    for name in weights.keys() & {*TOKENS}:
        weight = weights[name]
        if 0 < weight.ndim < 3:
            shaped[name] = weight[None] if weight.ndim == 2 else weight[None, None]
    return shaped


def _without_empty(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """No registers are none, and not registers of length 0."""
    empty = "reg_token" in weights and weights["reg_token"].shape[:2] == (1, 0)
    return {name: weight for name, weight in weights.items() if not (empty and name == "reg_token")}


def _mask_biases(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """DINOv3 keeps a mask beside the bias of query, key and value: zero for the key's."""
    masks = {name: weights[name] for name in weights if name.endswith("qkv.bias_mask")}
    masked = {name: weight for name, weight in weights.items() if name not in masks}
    for name, mask in masks.items():
        bias = name.removesuffix("_mask")
        if bias in masked:
            masked[bias] = masked[bias] * _fitting(name, mask, masked[bias])
    return masked


def _turn_head(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """OpenAI multiplies by its projection from the right."""
    if "head.transposed" not in weights:
        return weights
    rest = {name: weight for name, weight in weights.items() if name != "head.transposed"}
    if (projection := weights["head.transposed"]).ndim != 2:
        raise ValueError(f"head.transposed has shape {tuple(projection.shape)}, a matrix has 2 axes")
    return rest | {"head.weight": projection.T, "head.bias": projection.new_zeros(projection.shape[1])}


def _split_probe(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A probe that asks the patches needs its query apart from their keys and values."""
    split = {}
    for name, weight in weights.items():
        if name.startswith("attn_pool.qkv."):
            if not weight.ndim or len(weight) % 3:
                raise ValueError(f"{name} has shape {tuple(weight.shape)}, not three parts as long")
            third = len(weight) // 3
            query, rest = weight[:third], weight[third:]
            split |= {name.replace("qkv", "q"): query, name.replace("qkv", "kv"): rest}
        else:
            split[name] = weight
    return split


def _join_gates(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Lay a gate on top of what it lets through, as SwiGLU takes them."""
    joined = {name: weight for name, weight in weights.items() if ".mlp.gate." not in name}
    for name in weights.keys() - joined.keys():
        value = name.replace(".gate.", ".fc1.")
        joined[value] = join([weights[name], _fitting(name, weights[value], weights[name])])
    return joined


def _join_distilled(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """A distilled DeiT's second token is a register; the mean of its two heads is one that reads both."""
    names = {"dist_token", "head_dist.weight", "head_dist.bias"}
    joined = {name: weight for name, weight in weights.items() if name not in names}
    if "dist_token" in weights:
        joined["reg_token"] = weights["dist_token"]
    if "head_dist.weight" in weights:
        first, second = weights["head.weight"], weights["head_dist.weight"]
        both = join([first, _fitting("head_dist.weight", second, first)], dim=1)
        biases = [weights["head.bias"], weights["head_dist.bias"]]
        bias = join([biases[0][None], _fitting("head_dist.bias", biases[1], biases[0])[None]])
        joined |= {"head.weight": times(both, 0.5), "head.bias": times(bias, 0.5).sum(0)}
    return joined


def join(parts: Sequence[Tensor], dim: int = 0) -> Tensor:
    """Put tensors one behind the other, also where they are shapes alone.

    For shapes, ``torch.cat`` would first load torch's compiler, which takes longer than most models.
    """
    if not parts[0].is_meta:
        return torch.cat(list(parts), dim)
    size = list(parts[0].shape)
    size[dim] = sum(part.shape[dim] for part in parts)
    return parts[0].new_empty(size)


def times(weight: Tensor, factor: Tensor | float) -> Tensor:
    """Multiply; shapes alone stay as they are, for the reason that ``join`` has."""
    return weight if weight.is_meta else weight * factor


def _fitting(name: str, weight: Tensor, other: Tensor) -> Tensor:
    if weight.shape != other.shape or not weight.ndim:
        shapes = f"{tuple(weight.shape)}, what belongs to it {tuple(other.shape)}"
        raise ValueError(f"{name} has shape {shapes}")
    return weight


def _join_qkv(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    joined = {}
    for name, weight in weights.items():
        if ".attn.q." in name:
            names = [name.replace(".attn.q.", f".attn.{which}.") for which in "qkv"]
            parts = [weights[part] if part in weights else torch.zeros_like(weight) for part in names]
            shapes = {tuple(part.shape) for part in parts}
            if len(shapes) > 1:
                raise ValueError(f"{name} and its key and value have different shapes: {sorted(shapes)}")
            joined[name.replace(".attn.q.", ".attn.qkv.")] = join(parts)
        elif not re.search(r"\.attn\.[kv]\.", name):
            joined[name] = weight
    return joined


def split_qkv(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take query, key and value apart again, as Hugging Face has them."""
    split = {}
    for name, weight in weights.items():
        letters, parts = ("qkv", weight.chunk(3)) if ".attn.qkv." in name else (["qkv"], [weight])
        split |= {name.replace("qkv", letter): part for letter, part in zip(letters, parts, strict=True)}
    return split


def _scale_layers(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Multiply layer scale into the matrix before it: gamma * (W x + b) = (gamma W) x + gamma b."""
    scaled = {name: weight for name, weight in weights.items() if not name.endswith(".gamma")}
    for name in weights.keys() - scaled.keys():
        gamma, block = weights[name], name.rsplit(".ls", 1)[0]
        before = f"{block}.attn.proj" if name.endswith("ls1.gamma") else f"{block}.mlp.fc2"
        for leaf in ("weight", "bias"):
            weight = scaled[f"{before}.{leaf}"]
            if gamma.ndim != 1 or weight.shape[:1] != gamma.shape:
                shapes = f"{tuple(gamma.shape)}, {before}.{leaf} {tuple(weight.shape)}"
                raise ValueError(f"{name} has shape {shapes}")
            scaled[f"{before}.{leaf}"] = times(weight, gamma if leaf == "bias" else gamma[:, None])
    return scaled
