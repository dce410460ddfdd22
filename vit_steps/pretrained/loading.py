"""A file, a folder or a name on the Hugging Face Hub -> a ViT that is ready to use."""

import os
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import reduce
from typing import NamedTuple

import torch
from torch import Tensor

from vit_steps.files.reading import naming, shown
from vit_steps.position_embedding import Library
from vit_steps.pretrained.configs import LARGEST, Facts, pair_of, read_facts
from vit_steps.pretrained.dialects import Dialect
from vit_steps.pretrained.finding import find
from vit_steps.pretrained.positions import Table, check_angles_fit, fit, read_positions, turning
from vit_steps.pretrained.preprocess import Preprocess
from vit_steps.pretrained.rotary import Rotary
from vit_steps.pretrained.seals import check_digest
from vit_steps.pretrained.shapes import on_meta, read_kind, read_sizes
from vit_steps.pretrained.spelling import recognise, spell_as_timm, unwrap
from vit_steps.pretrained.unsaid import Unsaid, unsaid_preparation
from vit_steps.pretrained.weight_files import open_weights
from vit_steps.vit import ViT

# How wide a head is in nearly every published ViT. The others, by dim: timm's smallest, So400m,
# and ViT-H, -g and -G.
HEAD_DIM = 64
HEADS_OF_OTHER_WIDTH = {64: 2, 1152: 16, 1280: 16, 1408: 16, 1664: 16}
# How what leaves no key is told to the reader.
ACTS = {"gelu": "the exact GELU", "gelu_tanh": "GELU by tanh", "quick_gelu": "QuickGELU", "swiglu": "SwiGLU"}
ACTS |= {"geglu": "GEGLU"}
ANSWERS = {"cls": "its CLS token", "mean": "the mean of its patches", "mean_all": "the mean of its tokens"}
ANSWERS |= {"attention": "a probe that asks the patches", "cls+register": "its first two tokens"}
ANSWERS |= {"cls+mean": "its CLS token and the mean of its patches"}
ALIGNMENT = 64  # bytes; torch's own, and at other places processors add up in another order


class _Loaded(NamedTuple):
    model: ViT
    preprocess: Preprocess
    labels: list[str]


class Pretrained(_Loaded):
    """A model with all that is needed to use it: ``model, preprocess, labels = load_pretrained(...)``.

    Attributes:
        model: in eval mode, on the CPU, float32 (float64 where the file is).
        preprocess: image -> (1, channels, height, width), as the model's makers did it.
        labels: a name for every class, its number where the source has no names; empty without a head.
        assumed: what nothing in the source told, a sentence for each; it is warned of, too.
    """

    assumed: tuple[str, ...] = ()


def load_pretrained(
    source: str | os.PathLike,
    *,
    num_heads: int | None = None,
    image_size: int | tuple[int, int] | None = None,
) -> Pretrained:
    """Load a Vision Transformer that somebody trained: weights, preparation of images, and class names.

    What the weights do not show is read from the ``config.json`` beside them (timm's or Hugging Face's), or
    from open_clip's ``open_clip_config.json``. A model of another function is refused by its name, for some
    of what makes it so leaves no key. Without a config, heads are taken to be 64 wide, the image to be
    square, and epsilon to be the library's own: what is assumed is warned of, and stands in the result's
    ``assumed``. Images are as large as the processor beside the weights makes them, as in transformers'
    pipeline, even if ``config.json`` names another size.

    Args:
        source: a ``.safetensors``, ``.npz``, ``.pth``, ``.pt`` (also OpenAI's CLIP, which torch.jit saved),
            ``.bin``, ``.ckpt`` or ``.pth.tar`` file, a folder with one, the index of several
            (``model.safetensors.index.json``), or "owner/name" on the Hugging Face Hub, which is downloaded
            once and then read from its cache.
        num_heads: for weights that do not tell.
        image_size: in pixels, when another one is wanted. Where it is not what the weights were made for, the
            position table is resized as the library does it that the weights come from.

    Warns:
        UserWarning: "vit.pth does not say all of its model, and this is assumed: ...".

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
        _give(plan.loaded.model, spell_as_timm(state_dict, _told(facts)), plan)
    plan.loaded.assumed = (*weights.assumed, *plan.assumed)
    if plan.loaded.assumed:
        said = "; ".join(plan.loaded.assumed)
        warnings.warn(
            f"{shown(path)} does not say all of its model, and this is assumed: {said}", stacklevel=2
        )
    return plan.loaded


class Plan(NamedTuple):
    """A model without numbers yet, its positions to come, and what is assumed of both."""

    loaded: Pretrained
    table: Table
    resized_like: Library
    rotary: Rotary | None
    assumed: tuple[str, ...]


def _told(facts: Facts) -> dict:
    """The kind of the model, as far as a config tells it."""
    return facts.kind | ({"position": "rotary"} if facts.rotary else {})


def _plan(
    shapes: dict[str, Tensor], facts: Facts, num_heads: int | None, wanted: tuple | None, file: str
) -> Plan:
    """All that can be refused before the numbers are read is refused here."""
    weights, dialect = spell_as_timm(shapes, _told(facts)), recognise(shapes)
    told = _told_heads(shapes, facts, read_sizes(weights)["dim"], num_heads)
    prepared = facts.preprocess.get("size")
    asked = wanted or _whole_patches(prepared, read_sizes(weights)["patch_size"], facts)
    config, table = _describe(weights, facts, dialect, asked)
    config["num_heads"] = _usual_heads(config["dim"]) if told is None else told
    model = on_meta(config).eval()
    known = _preparation(facts, dialect, config, table.grid, file)
    preprocess = _preprocess(known.preparation, model, wanted or prepared or facts.image_size)
    loaded = Pretrained(model, preprocess, _labels(facts, dialect, config))
    assumed = [*_assumed_of_function(facts, dialect, config), *_assumed_of_sizes(facts, told, config, table)]
    assumed += [known.assumed] if known.assumed else []
    resized_like = facts.resized_like or dialect.resized_like
    return Plan(loaded, table, resized_like, facts.rotary or dialect.rotary, tuple(assumed))


def _whole_patches(prepared: tuple | None, patch_size: int, facts: Facts) -> tuple | None:
    """What patches cover of images as a processor makes them, if the model was made for just those."""
    if prepared is None or prepared != facts.image_size:
        return prepared
    return prepared[0] // patch_size * patch_size, prepared[1] // patch_size * patch_size


def _describe(
    weights: dict[str, Tensor], facts: Facts, dialect: Dialect, wanted: tuple | None
) -> tuple[dict, Table]:
    """The constructor's arguments but for the heads, and what the positions were learned for."""
    sizes, kind = read_sizes(weights), _kind_of(weights, facts, dialect)
    for name, size in facts.sizes.items():
        if size is not None and size not in (sizes[name], 2 * [sizes[name]]):
            raise ValueError(f"the config says {name} {size}, the weights have {sizes[name]}")
    table = read_positions(weights, sizes | kind, dialect, facts.image_size, wanted)
    made_for = (table.grid[0] * sizes["patch_size"], table.grid[1] * sizes["patch_size"])
    check_angles_fit(weights, facts.rotary or dialect.rotary, made_for, wanted)
    eps = dialect.eps if facts.eps is None else facts.eps
    return {**sizes, **kind, "image_size": wanted or made_for, "eps": eps}, table


def _kind_of(weights: dict[str, Tensor], facts: Facts, dialect: Dialect) -> dict:
    """ViT's arguments besides the sizes: by the weights, and where they are silent by the config."""
    kind = read_kind(weights)
    said = facts.kind if facts.named else {"act": dialect.act} | facts.kind
    if kind["act"] == "swiglu" and said.get("act") != "geglu":
        said = said | {"act": "swiglu"}
    if (facts.rotary or dialect.rotary) and kind["position"] == "table":
        said = said | {"position": "table+rotary"}
    if kind["pool"] == "attention" or (
        not kind["class_token"] and not said.get("pool", "").startswith("mean")
    ):
        said = {name: how for name, how in said.items() if name != "pool"}
    return kind | said


def _told_heads(shapes: dict[str, Tensor], facts: Facts, dim: int, num_heads: int | None) -> int | None:
    kernels = [array.shape[-2] for key, array in shapes.items() if key.endswith("/query/kernel")]
    trained = [row.heads[dim] for row in unwrap(shapes)[1] if dim in row.heads]
    # DINOv3 turns pairs of components for two axes.
    turned = [dim // (4 * len(array)) for key, array in shapes.items() if key.endswith("rope_embed.periods")]
    known = next(iter(kernels + trained + turned), facts.num_heads)
    if known is not None and num_heads not in (None, known):
        raise ValueError(f"num_heads is {num_heads}, these weights say {known}")
    return known if num_heads is None else num_heads


def _usual_heads(dim: int) -> int:
    if dim % HEAD_DIM:
        raise ValueError(
            f"dim {dim} is not a multiple of {HEAD_DIM}, the usual width of a head: give num_heads"
        )
    return HEADS_OF_OTHER_WIDTH.get(dim, dim // HEAD_DIM)


def _assumed_of_function(facts: Facts, dialect: Dialect, config: dict) -> Iterator[str]:
    if not facts.named and not dialect.certain:
        yield (
            f"the model is a ViT with {ACTS[config['act']]}, no positions but the table's, norms before "
            f"attention and MLP, the answer of {ANSWERS[config['pool']]} and epsilon {config['eps']} "
            f"({dialect.name}'s), none of which leaves a key (a config.json beside it would name the model)"
        )


def _assumed_of_sizes(facts: Facts, told: int | None, config: dict, table: Table) -> Iterator[str]:
    if told is None:
        yield (
            f"it has {config['num_heads']} heads, the usual number at dim {config['dim']} (MoCo v3's ViT-S "
            "has 12 at 384); give num_heads if they are others"
        )
    if not table.prefix_rows and config["class_token"] and not facts.named and not config["num_registers"]:
        rows, cols = table.grid
        yield (
            f"its positions are {rows} x {cols} patches and none for the CLS token, as in DeiT III and "
            "FlexiViT"
        )


def _give(model: ViT, weights: dict[str, Tensor], plan: Plan) -> None:
    """Give a model its numbers, in memory that is nobody else's."""
    dtype = reduce(torch.promote_types, (weight.dtype for weight in weights.values()), torch.float32)
    weights = {name: weight.detach().to(dtype).contiguous() for name, weight in weights.items()}
    if plan.rotary:
        weights = turning(weights, model, plan.rotary)
    weights = _owned(_without_unread(weights, model))
    _check_numbers(weights)
    if "pos_embed" in weights:
        weights["pos_embed"] = fit(weights["pos_embed"][0], model, plan.table, plan.resized_like)[None]
    model.load_state_dict(weights, strict=True, assign=True)


def _without_unread(weights: dict[str, Tensor], model: ViT) -> dict[str, Tensor]:
    """CLIP's classifiers carry a last norm that they never ask."""
    unread = model.config["final_norm"] == "nothing"
    return {name: weight for name, weight in weights.items() if not (unread and name.startswith("norm."))}


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


def _preprocess(known: dict, model: ViT, prepared: tuple | None) -> Preprocess:
    over = [made - read for made, read in zip(prepared or model.image_size, model.image_size, strict=True)]
    unread = {"unread": tuple(over)} if all(0 <= each < model.patch_size for each in over) else {}
    preprocess = Preprocess(**{**known, **unread, "size": model.image_size})
    if max(preprocess.size) > LARGEST * preprocess.crop_pct:
        raise ValueError(
            f"images are resized to more than {LARGEST:,} pixels, crop_pct is {preprocess.crop_pct}"
        )
    fits = preprocess.mean is not None and len(preprocess.mean) == model.channels
    return preprocess if fits else replace(preprocess, mean=None, std=None)


def _labels(facts: Facts, dialect: Dialect, config: dict) -> list[str]:
    num_classes = config["num_classes"]
    if facts.labels == [] or (facts.labels is None and dialect.is_projection and not facts.named):
        return []
    if facts.labels is None or not num_classes:
        return [str(number) for number in range(num_classes)]
    if len(facts.labels) != num_classes:
        raise ValueError(f"the config names {len(facts.labels)} classes, the head has {num_classes}")
    return list(facts.labels)
