"""Weights by whatever names, and in whatever layout -> by timm's, and back; every key is accounted for."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from math import isqrt
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vit_steps.pretrained.dialects import (
    BLOCK,
    DIALECTS,
    FLAX,
    GOOGLE,
    HUGGING_FACE,
    UNUSED,
    WRAPPINGS,
    Dialect,
    Wrapping,
)
from vit_steps.pretrained.obstacles import BY_KEY, BY_LACK, FOREIGN, by_keys
from vit_steps.pretrained.rewriting import (
    TOKENS,
    as_they_are_here,
    from_google,
    shape_tokens,
    split_qkv,
    with_biases,
)
from vit_steps.pretrained.shapes import check_shapes

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MOST_WRAPPINGS = 9  # one around the other; "teacher.module._orig_mod.backbone." has four
# A layer that has no bias in any block adds zeros. A norm without one may be another norm.
MAY_LACK_BIAS = r"attn\.(qkv|q|k|v|proj)|mlp\.(gate|fc[12])|patch_embed\.proj|head"
PROBE = ("proj", "norm", "mlp.fc1", "mlp.fc2")


def to_timm(state_dict: Mapping[str, Tensor | np.ndarray]) -> dict[str, Tensor]:
    """Spell the weights of a ViT as timm does, whichever library they come from; every key is accounted for.

    Understood are timm (with DeiT, DINO, iBOT, MoCo v3 and MAE), Hugging Face (in memory and on disk),
    torchvision, the ``.npz`` of Google and of big_vision, DINOv2 and DINOv3, CLIP and SigLIP, and a model of
    timm inside open_clip. What changes besides the names stands in :mod:`vit_steps.pretrained.rewriting`:
    Google's matrices are transposed, query, key and value become one ``qkv``, a gate and what it lets through
    one ``fc1``, the two heads of a distilled DeiT one, layer scale is multiplied into the two matrices before
    it, and a bias that no block has becomes zeros, which is the same function. What training puts before
    every key ("module.", "backbone.") goes. Left out is what no class score ever reads: a pooler, a mask
    token, MAE's decoder, CLIP's text half, the student beside a teacher, and the heads that they were trained
    by.

    Args:
        state_dict: name -> tensor or array, as ``model.state_dict()`` or a file has it.

    Returns:
        What ``ViT.load_state_dict`` and timm's ``load_state_dict`` take with ``strict=True``. A tensor that
        needed no change is the same one, not a copy. A position table without a row for the CLS token (DeiT
        III, FlexiViT) or for registers (DINOv2) stays so: :func:`load_pretrained` knows the sizes, and gives
        it rows of zeros; rotary angles (DINOv3) it computes.

    Raises:
        KeyError: "state_dict looks like timm, but these keys have no place here: 'dist_token'", "state_dict
            looks like Hugging Face, but these keys are missing: 'vit.layernorm.bias'", or no dialect fits.
        ValueError: "blocks.0.norm1.weight has shape (5,), the other weights need (8,)".
        TypeError: ``state_dict`` is not a mapping of names to tensors.
    """
    return spell_as_timm(state_dict, {})


def spell_as_timm(state_dict: Mapping, told: dict[str, Any]) -> dict[str, Tensor]:
    """Do what :func:`to_timm` does, for whoever knows from a config of what kind the model is.

    Args:
        state_dict: as :func:`to_timm` takes it.
        told: arguments of :class:`ViT`: with "position" as "rotary" a model may have no table, with "pool" as
            "cls+mean" its head is twice as wide.

    Raises: as :func:`to_timm`.
    """
    _check_state_dict(state_dict)
    dialect, state_dict = recognise(state_dict), _without_wrapping(state_dict)
    if "rotary" in told.get("position", ""):
        dialect = dialect._replace(may_lack=(*dialect.may_lack, "pos_embed"))
    weights, lacking = _rename(state_dict, dialect)
    weights = with_biases(weights, lacking)
    weights = shape_tokens(weights) if dialect.bare_tokens else weights
    if dialect.separator == GOOGLE.separator:
        weights = {name: from_google(name, weight) for name, weight in weights.items()}
    weights = as_they_are_here(weights)
    check_shapes(weights, wide_head=dialect.wide_head or told.get("pool") == "cls+mean")
    return weights


def to_hugging_face(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Spell the weights of a ViT as Hugging Face saves them: the way back from :func:`to_timm`.

    Args:
        state_dict: of a :class:`ViT`, or in any dialect that :func:`to_timm` knows. With a head the names
            are those of ViTForImageClassification, without one those of ViTModel without its pooler.

    Raises: as :func:`to_timm`, and
        ValueError: "state_dict has 'reg_token', which Hugging Face's ViT has not".
    """
    weights = split_qkv(to_timm(state_dict))
    known = {*HUGGING_FACE.stem.values(), *HUGGING_FACE.block.values()}
    foreign = [name for name in weights if not _is_of(name, known)]
    if foreign:
        raise ValueError(f"state_dict has {_list(foreign)}, which Hugging Face's ViT has not")
    vit = "vit." if "head.weight" in weights else ""
    spelled = {name: _spell(name, HUGGING_FACE, [vit]) for name in weights}
    return {spelled[name]: weight.contiguous() for name, weight in weights.items()}


def _is_of(name: str, parts: Collection[str]) -> bool:
    part = re.fullmatch(r"(?:blocks\.\d+\.)?(.+?)(?:\.(?:weight|bias))?", name).group(1)
    return part in parts and part not in ("dist_token", "head_dist")


def _pattern(dialect: Dialect) -> re.Pattern:
    prefixes, blocks = ("|".join(map(re.escape, words)) for words in (dialect.prefixes, dialect.blocks))
    dot = re.escape(dialect.separator)
    leaves = "kernel|scale|bias" if dialect in FLAX else "weight|bias"
    number = "0|[1-9][0-9]{0,3}"  # as each library writes it, and no ViT has ten thousand blocks
    return re.compile(rf"(?:{prefixes})(?:(?:{blocks})({number}){dot})?(.+?)(?:{dot}({leaves}))?")


PATTERNS = {dialect.name: _pattern(dialect) for dialect in DIALECTS}


def _translate(key: str, dialect: Dialect) -> str | None:
    """timm's name of a key, ``UNUSED``, or None when the dialect does not know it."""
    if re.fullmatch(dialect.unused, key) and key:
        return UNUSED
    found = PATTERNS[dialect.name].fullmatch(key)
    number, part, leaf = found.groups() if found else (None, key, None)
    name = (dialect.stem if number is None else dialect.block).get(part)
    if not name:
        return name
    leaf = "weight" if leaf in ("kernel", "scale") else None if name in TOKENS else leaf
    return ".".join(word for word in ("blocks" if number else None, number, name, leaf) if word)


def _spell(name: str, dialect: Dialect, keys: Collection[str]) -> str:
    """How the dialect calls timm's name, in the manner of the keys that are there: _translate backwards."""
    number, part, leaf = re.fullmatch(r"(?:blocks\.(\d+)\.)?(.+?)(?:\.(weight|bias))?", name).groups()
    table = dialect.stem if number is None else dialect.block
    spellings = [spelled for spelled, timm in table.items() if timm in (part, f"{part}.{leaf}")]
    spelled = next((s for s in spellings if any(s in key for key in keys)), spellings[0])
    if leaf and table[spelled] == part:
        google = {"bias": "bias", "weight": "scale" if "norm" in part else "kernel"}
        spelled += dialect.separator + (google[leaf] if dialect in FLAX else leaf)
    if spelled.endswith("position_embedding"):  # a layer of its own there, and no bare table
        spelled += ".weight"
    if number:
        block = next((b for b in dialect.blocks if any(b in key for key in keys)), dialect.blocks[0])
        spelled = f"{block}{number}{dialect.separator}{spelled}"
    prefix = next((p for p in dialect.prefixes if p and any(key.startswith(p) for key in keys)), "")
    return spelled if part == "head" else prefix + spelled


def recognise(keys: Collection[str]) -> Dialect:
    """Find the dialect that knows the most of these keys, and at least half.

    Raises:
        KeyError: "state_dict has 'conv1.weight', ...: no ViT in a dialect known here (timm, ...)".
        ValueError: "state_dict says the same twice: 'module.norm.bias', 'norm.bias'".
        TypeError: ``keys`` holds something else than names.
    """
    _check_keys(keys)
    keys = unwrap(keys)[0].values()
    known = {d.name: sum(_translate(key, d) is not None for key in keys) for d in DIALECTS}
    best = max(DIALECTS, key=lambda dialect: known[dialect.name])
    if 2 * known[best.name] < len(keys) or not known[best.name]:
        has, names = _list(list(keys)) or "no keys", ", ".join(known)
        raise KeyError(
            f"state_dict has {has}: no ViT in a dialect known here ({names}){by_keys(FOREIGN, keys)}"
        )
    return best


def unwrap(keys: Collection[str]) -> tuple[dict[str, str], list[Wrapping]]:
    """Take off what training puts before the keys of a model, and leave out what was trained beside it.

    Returns:
        Each key that is left -> what it is without that, and what was taken off.

    Raises:
        ValueError: "state_dict says the same twice: 'module.norm.bias', 'norm.bias'".
    """
    names, found = {key: key for key in keys}, []
    for _ in range(MOST_WRAPPINGS):
        row = next((row for row in WRAPPINGS if any(map(row.wraps, names.values()))), None)
        if row is None:
            break
        names = {key: name.removeprefix(row.prefix) for key, name in names.items() if not row.is_beside(name)}
        found.append(row)
    counts = Counter(names.values())
    if twice := [key for key, name in names.items() if counts[name] > 1]:
        raise ValueError(f"state_dict says the same twice: {_list(twice)}")
    return names, found


def _without_wrapping(state_dict: Mapping) -> dict:
    return {name: state_dict[key] for key, name in unwrap(state_dict)[0].items()}


def _rename(state_dict: Mapping, dialect: Dialect) -> tuple[dict[str, Tensor], list[str]]:
    """Each tensor under timm's name, and the biases that no block has."""
    names = {key: _translate(key, dialect) for key in state_dict}
    unknown = [key for key, name in names.items() if name is None]
    if unknown:
        looks = f"state_dict looks like {dialect.name}, but these keys have no place here"
        why = by_keys(BY_KEY, unknown) or by_keys(BY_LACK, {"cls_token"} - {*names.values()})
        raise KeyError(f"{looks}: {_list(unknown)}{why}")
    used = {key: name for key, name in names.items() if name != UNUSED}
    _check_once(used, dialect)
    weights = {name: _to_tensor(key, state_dict[key]) for key, name in used.items()}
    return weights, _check_complete(weights, used, dialect)


def _check_once(names: dict[str, str], dialect: Dialect) -> None:
    counts = Counter(names.values())
    if len(counts) < len(names):
        twice = [key for key, name in names.items() if counts[name] > 1]
        raise ValueError(f"state_dict looks like {dialect.name}, but says the same twice: {_list(twice)}")


def _check_complete(weights: dict[str, Tensor], names: dict[str, str], dialect: Dialect) -> list[str]:
    """Refuse what is missing and what is too much, and tell which biases are nowhere."""
    looks = f"state_dict looks like {dialect.name}, but"
    wanted = _wanted(weights, dialect)
    without = _biases_that_are_nowhere(weights, wanted)
    missing = [name for name in wanted if name not in weights and name not in without]
    if missing:
        spelled = _list(missing, lambda name: _spell(name, dialect, names))
        raise KeyError(f"{looks} these keys are missing: {spelled}{by_keys(BY_LACK, missing)}")
    surplus = sorted(weights.keys() - set(wanted))
    if surplus:
        raise KeyError(f"{looks} has {_list(surplus)}, which no ViT has")
    return [name for name in wanted if name in without]


def _wanted(there: dict[str, Tensor], dialect: Dialect) -> list[str]:
    """All that a ViT of this depth and of these parts must have, named as in _translate."""
    depth = max(1, len({name.split(".")[1] for name in there if name.startswith("blocks.")}))
    blocks, parts = [f"blocks.{number}." for number in range(depth)], _block_parts(there, dialect)
    alone = [name for name in ALONE if any(name in each for each in there)]
    wanted = [*_wanted_tokens(there, dialect), *(block + name for block in blocks for name in alone)]
    tensors = [*(block + part for block in blocks for part in parts), *_stem_parts(there)]
    wanted += [f"{name}.{leaf}" for name in tensors for leaf in ("weight", "bias")]
    wanted += ["head.transposed"] if "head.transposed" in there else []
    return _with_bias_in_parts(wanted) if _has_fused(there, "attn.q.bias") else wanted


# Of a block, what has neither a weight nor a bias.
ALONE = ("ls1.gamma", "ls2.gamma", "attn.angles", "attn.qkv.bias_mask")


def _has_fused(there: Collection[str], name: str) -> bool:
    """Whether one matrix for query, key and value has a bias for each."""
    return any(each.endswith(name) for each in there) and any(".attn.qkv.weight" in each for each in there)


def _wanted_tokens(there: dict[str, Tensor], dialect: Dialect) -> list[str]:
    """The tokens and tables that must be there, or are."""
    optional = {"reg_token", "dist_token", *dialect.may_lack} - {"cls_token"}
    optional |= set() if any(name.startswith("attn_pool.") for name in there) else {"attn_pool.latent"}
    if not dialect.cls_row or "cls_token" in dialect.may_lack:
        optional |= {"cls_token"} if "attn_pool.latent" in there or _fits_without_cls(there) else set()
    return [name for name in TOKENS if name in there or name not in optional]


def _fits_without_cls(there: dict[str, Tensor]) -> bool:
    """Whether the table has a row for each patch of a square image, and for each register, and no other."""
    shapes = {name: there[name].shape for name in ("pos_embed", "reg_token") if name in there}
    rows, registers = (
        shapes[name][-2] if len(shapes.get(name, ())) > 1 else 0 for name in ("pos_embed", "reg_token")
    )
    return any(isqrt(patches) ** 2 == patches for patches in (rows, rows - registers) if patches > 0)


def _block_parts(there: Collection[str], dialect: Dialect) -> list[str]:
    targets = {name.removesuffix(".weight") for name in dialect.block.values()}
    apart = ["attn.q", "attn.k", "attn.v"]
    is_apart = "attn.qkv" not in targets or any(".attn.q.weight" in each for each in there)
    gate = ["mlp.gate"] if any(".mlp.gate." in each for each in there) else []
    return [*BLOCK, *gate, *(apart if is_apart else ["attn.qkv"])]


def _stem_parts(there: Collection[str]) -> list[str]:
    """What stands outside the blocks and has a weight and a bias."""

    def has(part: str) -> bool:
        return any(name.startswith(f"{part}.") for name in there)

    parts = ["patch_embed.proj", "fc_norm" if has("fc_norm") and not has("norm") else "norm"]
    parts += [part for part in ("norm_pre", "head_dist") if has(part)]
    parts += ["head"] if (has("head") and "head.transposed" not in there) or has("head_dist") else []
    if any(name.startswith("attn_pool.") for name in there):
        asking = ("qkv",) if has("attn_pool.qkv") else ("q", "kv")
        parts += [f"attn_pool.{name}" for name in (*asking, *PROBE)]
    return parts


def _with_bias_in_parts(wanted: list[str]) -> list[str]:
    """EVA and BEiT have one weight for query, key and value, and a bias for query and value alone."""
    fused = [name.removesuffix("qkv.bias") for name in wanted if name.endswith("attn.qkv.bias")]
    parts = [f"{attention}{which}.bias" for attention in fused for which in "qv"]
    return [name for name in wanted if not name.endswith("attn.qkv.bias")] + parts


def _biases_that_are_nowhere(there: Collection[str], wanted: list[str]) -> set[str]:
    """The biases that are missing in every block: the layer was made without one."""
    kinds = {name: re.sub(r"^blocks\.\d+\.", "", name) for name in wanted if name.endswith(".bias")}
    have = {kind for name, kind in kinds.items() if name in there}
    lacking = {name: kind for name, kind in kinds.items() if kind not in have}
    return {name for name, kind in lacking.items() if re.fullmatch(rf"(?:{MAY_LACK_BIAS})\.bias", kind)}


def _check_keys(keys: object) -> None:
    if isinstance(keys, str) or not isinstance(keys, Collection):
        raise TypeError(f"keys must be a collection of names, not {type(keys).__name__}")
    for key in keys:
        if not isinstance(key, str):
            raise TypeError(f"keys must hold names, got {key!r}")


def _check_state_dict(state_dict: object) -> None:
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"state_dict must map names to tensors, not {type(state_dict).__name__}")
    for key in state_dict:
        if not isinstance(key, str):
            raise TypeError(f"state_dict must map names to tensors, got the name {key!r}")


def _to_tensor(key: str, weight: object) -> Tensor:
    if isinstance(weight, np.ndarray):
        return _from_numpy(key, weight)
    if not isinstance(weight, Tensor):
        raise TypeError(f"state_dict[{key!r}] must be a tensor, not {type(weight).__name__}")
    if not weight.is_floating_point():
        raise TypeError(f"state_dict[{key!r}] must hold floating-point numbers, got {weight.dtype}")
    if weight.dtype not in FLOATS:
        raise TypeError(f"state_dict[{key!r}] must hold numbers of 16 bits or more, got {weight.dtype}")
    if weight.layout != torch.strided or weight.is_nested:
        raise TypeError(f"state_dict[{key!r}] must be an ordinary tensor, not a sparse or nested one")
    return weight


def _from_numpy(key: str, array: np.ndarray) -> Tensor:
    if array.dtype == np.dtype("V2"):  # bfloat16, for which numpy has no name
        return torch.from_numpy(array.view(np.int16).copy()).view(torch.bfloat16)
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        raise TypeError(f"state_dict[{key!r}] must hold floating-point numbers, got {array.dtype}")
    return torch.as_tensor(array.astype(array.dtype.newbyteorder("="), copy=False))


def _list(names: list[str], spell: Callable[[str], str] = str, most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(f"{spell(name)!r:.80}" for name in names[:most]) + more
