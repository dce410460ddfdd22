"""Weights by whatever names, and in whatever layout -> by timm's, and back; every key is accounted for."""

import re
from collections import Counter
from collections.abc import Callable, Collection, Mapping

import numpy as np
import torch
from torch import Tensor

from vit_steps.pretrained.dialects import (
    BLOCK,
    DIALECTS,
    FLAX,
    HUGGING_FACE,
    UNUSED,
    WRAPPINGS,
    Dialect,
    Wrapping,
)
from vit_steps.pretrained.obstacles import BY_KEY, BY_LACK, FOREIGN, by_keys
from vit_steps.pretrained.shapes import check_shapes

FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
MOST_WRAPPINGS = 9  # one around the other; "teacher.module._orig_mod.backbone." has four
# A layer that has no bias in any block adds zeros. A norm without one may be another norm.
MAY_LACK_BIAS = r"attn\.(qkv|q|k|v|proj)|mlp\.fc[12]|patch_embed\.proj|head"


def to_timm(state_dict: Mapping[str, Tensor | np.ndarray]) -> dict[str, Tensor]:
    """Spell the weights of a ViT as timm does, whichever library they come from; every key is accounted for.

    Understood are timm (with DeiT, DINO, iBOT, MoCo v3 and MAE), Hugging Face (in memory and on disk),
    torchvision, the ``.npz`` of Google and of big_vision, and DINOv2. What changes besides the names:
    Google's matrices are transposed, separate query, key and value become one ``qkv``, layer scale is
    multiplied into the two matrices before it, and a bias that no block has becomes zeros, which is the same
    function. What training puts before every key ("module.", "backbone.") goes. Left out is what no class
    score ever reads: a pooler, a mask token, MAE's decoder, the student beside a teacher, and the heads that
    they were trained by.

    Args:
        state_dict: name -> tensor or array, as ``model.state_dict()`` or a file has it.

    Returns:
        What ``ViT.load_state_dict`` and timm's ``load_state_dict`` take with ``strict=True``. A tensor that
        needed no change is the same one, not a copy. A position table without a row for the CLS token (DeiT
        III, FlexiViT) stays so: :func:`load_pretrained` knows the sizes, and gives it a row of zeros.

    Raises:
        KeyError: "state_dict looks like timm, but these keys have no place here: 'dist_token'", "state_dict
            looks like Hugging Face, but these keys are missing: 'vit.layernorm.bias'", or no dialect fits.
        ValueError: "blocks.0.norm1.weight has shape (5,), the other weights need (8,)".
        TypeError: ``state_dict`` is not a mapping of names to tensors.
    """
    _check_state_dict(state_dict)
    dialect, state_dict = recognise(state_dict), _without_wrapping(state_dict)
    weights = _rename(state_dict, dialect)
    if dialect in FLAX:
        weights = {name: _from_google(name, weight) for name, weight in weights.items()}
    weights = _scale_layers(_join_qkv(_with_biases(weights, dialect)))
    check_shapes(weights)
    return weights


def to_hugging_face(state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Spell the weights of a ViT as Hugging Face saves them: the way back from :func:`to_timm`.

    Args:
        state_dict: of a :class:`ViT`, or in any dialect that :func:`to_timm` knows. With a head the names
            are those of ViTForImageClassification, without one those of ViTModel without its pooler.

    Raises: as :func:`to_timm`.
    """
    weights = _split_qkv(to_timm(state_dict))
    vit = "vit." if "head.weight" in weights else ""
    spelled = {name: _spell(name, HUGGING_FACE, [vit]) for name in weights}
    return {spelled[name]: weight.contiguous() for name, weight in weights.items()}


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
    leaf = "weight" if leaf in ("kernel", "scale") else leaf
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


def _rename(state_dict: Mapping, dialect: Dialect) -> dict[str, Tensor]:
    names = {key: _translate(key, dialect) for key in state_dict}
    unknown = [key for key, name in names.items() if name is None]
    if unknown:
        looks = f"state_dict looks like {dialect.name}, but these keys have no place here"
        why = by_keys(BY_KEY, unknown) or by_keys(BY_LACK, {"cls_token"} - {*names.values()})
        raise KeyError(f"{looks}: {_list(unknown)}{why}")
    used = {key: name for key, name in names.items() if name != UNUSED}
    _check_complete(used, dialect)
    return {name: _to_tensor(key, state_dict[key]) for key, name in used.items()}


def _check_complete(names: dict[str, str], dialect: Dialect) -> None:
    looks, counts = f"state_dict looks like {dialect.name}, but", Counter(names.values())
    if len(counts) < len(names):
        twice = [key for key, name in names.items() if counts[name] > 1]
        raise ValueError(f"{looks} says the same twice: {_list(twice)}")
    wanted = _wanted(counts, dialect)
    without = _biases_that_are_nowhere(counts, wanted)
    missing = [name for name in wanted if name not in counts and name not in without]
    if missing:
        spelled = _list(missing, lambda name: _spell(name, dialect, names))
        raise KeyError(f"{looks} these keys are missing: {spelled}{by_keys(BY_LACK, missing)}")
    surplus = sorted(counts.keys() - set(wanted))
    if surplus:
        raise KeyError(f"{looks} has {_list(surplus)}, which no ViT has")


def _wanted(there: Collection[str], dialect: Dialect) -> list[str]:
    """All that a ViT of this depth must have, named as in _translate."""
    depth = max(1, len({name.split(".")[1] for name in there if name.startswith("blocks.")}))
    blocks = [f"blocks.{number}." for number in range(depth)]
    targets = {name.removesuffix(".weight") for name in dialect.block.values()}
    attention = [part for part in ("attn.qkv", "attn.q", "attn.k", "attn.v") if part in targets]
    tensors = [block + part for block in blocks for part in (*BLOCK, *attention)]
    tensors += ["patch_embed.proj", "norm"]
    tensors += ["head"] if any(name.startswith("head.") for name in there) else []
    scales = ["ls1.gamma", "ls2.gamma"] if any(name.endswith(".gamma") for name in there) else []
    wanted = ["cls_token", "pos_embed", *(block + scale for block in blocks for scale in scales)]
    wanted += [f"{name}.{leaf}" for name in tensors for leaf in ("weight", "bias")]
    return _with_bias_in_parts(wanted) if any(name.endswith("attn.q.bias") for name in there) else wanted


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


def _with_biases(weights: dict[str, Tensor], dialect: Dialect) -> dict[str, Tensor]:
    """Put zeros where a layer has no bias in any block."""
    lacking = [name for name in _wanted(weights, dialect) if name not in weights]
    kernels = {name: weights[name.removesuffix("bias") + "weight"] for name in lacking}
    for name, kernel in kernels.items():
        if not kernel.ndim:
            raise ValueError(f"{name.removesuffix('bias')}weight has shape (), a matrix has axes")
    return weights | {name: kernel.new_zeros(len(kernel)) for name, kernel in kernels.items()}


def _from_google(name: str, weight: Tensor) -> Tensor:
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


def _join_qkv(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    joined = {}
    for name, weight in weights.items():
        if ".attn.q." in name:
            names = [name.replace(".attn.q.", f".attn.{which}.") for which in "qkv"]
            parts = [weights[part] if part in weights else torch.zeros_like(weight) for part in names]
            shapes = {tuple(part.shape) for part in parts}
            if len(shapes) > 1:
                raise ValueError(f"{name} and its key and value have different shapes: {sorted(shapes)}")
            joined[name.replace(".attn.q.", ".attn.qkv.")] = torch.cat(parts)
        elif not re.search(r"\.attn\.[kv]\.", name):
            joined[name] = weight
    return joined


def _split_qkv(weights: dict[str, Tensor]) -> dict[str, Tensor]:
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
            scaled[f"{before}.{leaf}"] = weight * (gamma if leaf == "bias" else gamma[:, None])
    return scaled


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
