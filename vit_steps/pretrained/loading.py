"""A file, a folder or a name on the Hugging Face Hub -> a ViT that is ready to use."""

import math
import os
import warnings
from dataclasses import replace
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from vit_steps.files.reading import naming, shown
from vit_steps.position_embedding import Library, resize_position
from vit_steps.pretrained.configs import LARGEST, Facts, pair_of, read_facts
from vit_steps.pretrained.dialects import Dialect
from vit_steps.pretrained.finding import find
from vit_steps.pretrained.preprocess import Preprocess
from vit_steps.pretrained.seals import check_digest
from vit_steps.pretrained.shapes import on_meta, read_sizes
from vit_steps.pretrained.spelling import recognise, to_timm
from vit_steps.pretrained.unsaid import Unsaid, unsaid_preparation
from vit_steps.pretrained.weight_files import open_weights
from vit_steps.vit import ViT

# How wide a head is in nearly every published ViT. The others: timm's smallest, and by dim ViT-H, -g and -G.
HEAD_DIM = 64
HEADS_OF_OTHER_WIDTH = {"test_vit": 2, 1280: 16, 1408: 16, 1664: 16}
ALIGNMENT = 64  # bytes; torch's own, and at other places processors add up in another order


class Pretrained(NamedTuple):
    """A model with all that is needed to use it.

    Attributes:
        model: in eval mode, on the CPU, float32 (float64 where the file is).
        preprocess: image -> (1, channels, height, width), as the model's makers did it.
        labels: a name for every class, its number where the source has no names; empty without a head.
    """

    model: ViT
    preprocess: Preprocess
    labels: list[str]


def load_pretrained(
    source: str | os.PathLike,
    *,
    num_heads: int | None = None,
    image_size: int | tuple[int, int] | None = None,
) -> Pretrained:
    """Load a Vision Transformer that somebody trained: weights, preparation of images, and class names.

    What the weights do not show is read from the ``config.json`` beside them (timm's or Hugging Face's).
    Without one, heads are taken to be 64 wide, the image to be square, and epsilon to be the library's own.
    Images are as large as the processor beside the weights makes them, as in transformers' pipeline, even if
    ``config.json`` names another size.

    Args:
        source: a ``.safetensors``, ``.npz``, ``.pth``, ``.pt`` or ``.bin`` file, a folder with one, or
            "owner/name" on the Hugging Face Hub, which is downloaded once and then read from its cache.
        num_heads: for weights that do not tell.
        image_size: in pixels, when another one is wanted. Where it is not what the weights were made for, the
            position table is resized as the library does it that the weights come from.

    Warns:
        UserWarning: "vit.pth does not say all of its model, and this is assumed: images are prepared as ...".

    Raises:
        FileNotFoundError: no such file or folder, or no such model on the Hub.
        ConnectionError: "google/vit-base-patch16-224 is not in the cache, and the Hugging Face Hub cannot be
            reached".
        KeyError: keys that are left over or missing, as in :func:`to_timm`.
        ValueError: a file that is cut short or wants to run code, shapes or a config that do not fit, or
            "dim 100 is not a multiple of 64: give num_heads".
    """
    wanted = pair_of("image_size", image_size)
    path = find(source)
    with open_weights(path) as weights:
        facts = read_facts(path, weights.metadata)
        with naming(path):
            plan = _plan(weights.shapes, facts, num_heads, wanted, path.name)
        state_dict = weights.read()
    check_digest(path, weights.metadata, state_dict)
    with naming(path):
        _give(plan.loaded.model, to_timm(state_dict), plan.grid, plan.resized_like)
    if plan.assumed:
        said = f"{shown(path)} does not say all of its model, and this is assumed: {plan.assumed}"
        warnings.warn(said, stacklevel=2)
    return plan.loaded


class Plan(NamedTuple):
    """A model without numbers yet, and the grid that the position table to come was learned for."""

    loaded: Pretrained
    grid: tuple[int, int]
    resized_like: Library
    assumed: str | None


def _plan(
    shapes: dict[str, Tensor], facts: Facts, num_heads: int | None, wanted: tuple | None, file: str
) -> Plan:
    """All that can be refused before the numbers are read is refused here."""
    weights, dialect = to_timm(shapes), recognise(shapes)
    heads = _num_heads(shapes, facts, weights["cls_token"].shape[2], num_heads)
    eps = dialect.eps if facts.eps is None else facts.eps
    config, grid = _describe(weights, facts, heads, eps, wanted or facts.preprocess.get("size"))
    model = on_meta(config).eval()
    labels = _labels(facts, config["num_classes"])
    known = _preparation(facts, dialect, config, grid, file)
    loaded = Pretrained(model, _preprocess(known.preparation, model), labels)
    return Plan(loaded, grid, facts.resized_like or dialect.resized_like, known.assumed)


def _describe(
    weights: dict[str, Tensor], facts: Facts, num_heads: int, eps: float, wanted: tuple | None
) -> tuple[dict, tuple[int, int]]:
    """The constructor's arguments, and the grid that the position table was learned for."""
    sizes = read_sizes(weights)
    for name, size in facts.sizes.items():
        if size is not None and size not in (sizes[name], 2 * [sizes[name]]):
            raise ValueError(f"the config says {name} {size}, the weights have {sizes[name]}")
    rows, cols = grid = _old_grid(weights["pos_embed"].shape[1] - 1, sizes["patch_size"], facts, wanted)
    made_for = (rows * sizes["patch_size"], cols * sizes["patch_size"])
    config = {**sizes, "image_size": wanted or made_for}
    return config | {"num_heads": num_heads, "eps": eps, "pool": facts.pool}, grid


def _old_grid(patches: int, patch_size: int, facts: Facts, wanted: tuple | None) -> tuple[int, int]:
    grids = [(size[0] // patch_size, size[1] // patch_size) for size in (facts.image_size, wanted) if size]
    if facts.image_size and math.prod(grids[0]) != patches:
        raise ValueError(
            f"the config says image_size {facts.image_size}, the position table has {patches} patches"
        )
    if not facts.image_size and math.isqrt(patches) ** 2 == patches:
        return math.isqrt(patches), math.isqrt(patches)
    if not grids or math.prod(grids[0]) != patches:
        raise ValueError(f"the position table has {patches} patches, which is no square: give image_size")
    return grids[0]


def _num_heads(state_dict: dict, facts: Facts, dim: int, num_heads: int | None) -> int:
    kernels = [array for key, array in state_dict.items() if key.endswith("/query/kernel")]
    known = kernels[0].shape[1] if kernels else facts.num_heads
    if known is not None and num_heads not in (None, known):
        raise ValueError(f"num_heads is {num_heads}, these weights say {known}")
    given = known if num_heads is None else num_heads
    if given is not None:
        return given
    if facts.architecture in HEADS_OF_OTHER_WIDTH or dim in HEADS_OF_OTHER_WIDTH:
        return HEADS_OF_OTHER_WIDTH.get(facts.architecture) or HEADS_OF_OTHER_WIDTH[dim]
    if dim % HEAD_DIM:
        raise ValueError(
            f"dim {dim} is not a multiple of {HEAD_DIM}, the usual width of a head: give num_heads"
        )
    return dim // HEAD_DIM


def _give(model: ViT, weights: dict[str, Tensor], old_grid: tuple[int, int], like: Library) -> None:
    """Give a model its numbers, in memory that is nobody else's."""
    dtype = reduce(torch.promote_types, (weight.dtype for weight in weights.values()), torch.float32)
    weights = _owned({name: weight.detach().to(dtype).contiguous() for name, weight in weights.items()})
    _check_numbers(weights)
    if model.grid != old_grid:
        table = weights["pos_embed"][0]
        weights["pos_embed"] = resize_position(table, old_grid, model.grid, like=like)[None]
    model.load_state_dict(weights, strict=True, assign=True)


def _owned(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy what lies at an odd place, or shares its memory with something else."""
    owned, taken = {}, set()
    for name, weight in weights.items():
        shared = weight.untyped_storage().nbytes() != weight.nbytes or weight.data_ptr() in taken
        owned[name] = weight.clone() if shared or weight.data_ptr() % ALIGNMENT else weight
        taken.add(owned[name].data_ptr())
    return owned


def _check_numbers(weights: dict[str, Tensor]) -> None:
    for name, weight in weights.items():
        if weight.is_meta:
            raise ValueError(f"{name} is on the meta device: it holds no numbers")
        if not weight.sum().isfinite() and not (finite := weight.isfinite()).all():
            count = weight.numel() - int(finite.sum())
            raise ValueError(f"{name} holds NaN or infinity, {count:,} of its {weight.numel():,} numbers")


def _preparation(facts: Facts, dialect: Dialect, sizes: dict, grid: tuple[int, int], file: str) -> Unsaid:
    if facts.preprocess:
        return Unsaid(facts.preprocess)
    made_for = (grid[0] * sizes["patch_size"], grid[1] * sizes["patch_size"])
    return unsaid_preparation(dialect, sizes, made_for, file)


def _preprocess(known: dict, model: ViT) -> Preprocess:
    preprocess = Preprocess(**known | {"size": model.image_size})
    if max(preprocess.size) > LARGEST * preprocess.crop_pct:
        raise ValueError(
            f"images are resized to more than {LARGEST:,} pixels, crop_pct is {preprocess.crop_pct}"
        )
    fits = preprocess.mean is not None and len(preprocess.mean) == model.channels
    return preprocess if fits else replace(preprocess, mean=None, std=None)


def _labels(facts: Facts, num_classes: int) -> list[str]:
    if facts.labels is None or not num_classes:
        return [str(number) for number in range(num_classes)]
    if len(facts.labels) != num_classes:
        raise ValueError(f"the config names {len(facts.labels)} classes, the head has {num_classes}")
    return list(facts.labels)
