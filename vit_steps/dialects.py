"""The names and layouts of a ViT's weights in timm, Hugging Face, torchvision, Google's npz and DINOv2.

Every library spells the same parameters in its own way. A :class:`Dialect` is one such spelling, as a table;
:func:`to_timm` reads all of them and accounts for every key, :func:`to_hugging_face` writes one.
"""

import inspect
import re
from collections.abc import Collection, Mapping
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from vit_steps.vit import ViT

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

UNUSED = ""  # stands for parameters that classifying never reads, such as Hugging Face's pooler
BLOCK = ("norm1", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")


class Dialect(NamedTuple):
    """How one library spells a ViT. A part that stands in no table is unknown, and refused by name.

    Attributes:
        name: of the library.
        stem: its spelling -> timm's, for what stands outside the blocks.
        block: its spelling -> timm's, inside a block.
        prefixes: what may stand before every key, nothing last.
        blocks: what stands before the number of a block, the usual one first.
        separator: between the words of a key.
        eps: of the LayerNorms where no config says it.
        preprocess: how images are prepared where no config says it; empty where there is no one custom.
    """

    name: str
    stem: dict[str, str]
    block: dict[str, str]
    prefixes: tuple[str, ...] = ("",)
    blocks: tuple[str, ...] = ("blocks.",)
    separator: str = "."
    eps: float = 1e-6
    preprocess: dict = {}  # noqa: RUF012 (read, never written)


_TIMM_STEM = {name: name for name in ("cls_token", "pos_embed", "patch_embed.proj", "norm", "head")}
_TIMM_BLOCK = {name: name for name in ("attn.qkv", *BLOCK)}

TIMM = Dialect("timm", _TIMM_STEM, _TIMM_BLOCK)

DINOV2 = Dialect(
    "DINOv2",
    _TIMM_STEM | {"mask_token": UNUSED},
    _TIMM_BLOCK | {"ls1.gamma": "ls1.gamma", "ls2.gamma": "ls2.gamma"},
    preprocess=IMAGENET | {"crop_pct": Fraction(224, 256)},
)

HUGGING_FACE = Dialect(
    "Hugging Face",
    stem={
        "embeddings.cls_token": "cls_token",
        "embeddings.position_embeddings": "pos_embed",
        "embeddings.patch_embeddings.projection": "patch_embed.proj",
        "embeddings.mask_token": UNUSED,
        "layernorm": "norm",
        "pooler.dense": UNUSED,
        "classifier": "head",
    },
    block={
        # As they are saved.
        "layernorm_before": "norm1",
        "attention.attention.query": "attn.q",
        "attention.attention.key": "attn.k",
        "attention.attention.value": "attn.v",
        "attention.output.dense": "attn.proj",
        "layernorm_after": "norm2",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
        # As transformers 5 holds them in memory, and as its DINOv2 has always called them.
        "attention.q_proj": "attn.q",
        "attention.k_proj": "attn.k",
        "attention.v_proj": "attn.v",
        "attention.o_proj": "attn.proj",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
        "norm1": "norm1",
        "norm2": "norm2",
        "layer_scale1.lambda1": "ls1.gamma",
        "layer_scale2.lambda1": "ls2.gamma",
    },
    prefixes=("vit.", "deit.", "dinov2.", ""),
    blocks=("encoder.layer.", "layers."),
    eps=1e-12,
)

TORCHVISION = Dialect(
    "torchvision",
    stem={
        "class_token": "cls_token",
        "encoder.pos_embedding": "pos_embed",
        "conv_proj": "patch_embed.proj",
        "encoder.ln": "norm",
        "heads.head": "head",
    },
    block={
        "ln_1": "norm1",
        "self_attention.in_proj_weight": "attn.qkv.weight",
        "self_attention.in_proj_bias": "attn.qkv.bias",
        "self_attention.out_proj": "attn.proj",
        "ln_2": "norm2",
        "mlp.0": "mlp.fc1",
        "mlp.3": "mlp.fc2",
        # As the published files have it.
        "mlp.linear_1": "mlp.fc1",
        "mlp.linear_2": "mlp.fc2",
    },
    blocks=("encoder.layers.encoder_layer_",),
    preprocess=IMAGENET | {"crop_pct": Fraction(224, 256), "interpolation": "bilinear"},
)

GOOGLE = Dialect(
    "Google's npz",
    stem={
        "cls": "cls_token",
        "Transformer/posembed_input/pos_embedding": "pos_embed",
        "embedding": "patch_embed.proj",
        "Transformer/encoder_norm": "norm",
        "head": "head",
    },
    block={
        "LayerNorm_0": "norm1",
        "MultiHeadDotProductAttention_1/query": "attn.q",
        "MultiHeadDotProductAttention_1/key": "attn.k",
        "MultiHeadDotProductAttention_1/value": "attn.v",
        "MultiHeadDotProductAttention_1/out": "attn.proj",
        "LayerNorm_2": "norm2",
        "MlpBlock_3/Dense_0": "mlp.fc1",
        "MlpBlock_3/Dense_1": "mlp.fc2",
    },
    prefixes=("opt/target/", ""),
    blocks=("Transformer/encoderblock_",),
    separator="/",
    preprocess=HALF | {"crop_pct": 0.9},
)

DIALECTS = (TIMM, HUGGING_FACE, TORCHVISION, GOOGLE, DINOV2)

# Why a key has no place here, in the words of the paper that it comes from.
REASONS = {
    r"dist_token|head_dist|distillation": "a distilled DeiT reads two extra tokens, this ViT reads one",
    r"reg_token|register": "register tokens",
    r"w12|w3\.|weights_in|gate_proj": "an MLP with SwiGLU, where this ViT has GELU",
    r"pre_logits": "a layer between the class token and the head",
    r"fc_norm": "a norm after the pooling, where this ViT has it before",
    r"norm_pre|ln_pre": "a norm before the first block",
    r"[qk]_norm": "norms of query and key",
    r"relative_position|rope": "relative positions",
    r"gamma_|lambda_": "BEiT's layer scale",
    r"q_bias|v_bias": "a bias that only queries and values have",
}


def to_timm(state_dict: Mapping[str, Tensor | np.ndarray]) -> dict[str, Tensor]:
    """Spell the weights of a ViT as timm does, whichever library they come from; every key is accounted for.

    Understood are timm (with DeiT and DINO), Hugging Face (in memory and on disk), torchvision, Google's
    ``.npz``, and DINOv2. What changes besides the names: Google's matrices are transposed, separate query,
    key and value become one ``qkv``, and DINOv2's layer scale is multiplied into the two matrices before it,
    which is the same function. Left out are a pooler and a mask token: no class score ever reads them.

    Args:
        state_dict: name -> tensor or array, as ``model.state_dict()`` or a file has it.

    Returns:
        What ``ViT.load_state_dict`` and timm's ``load_state_dict`` take with ``strict=True``. A tensor that
        needed no change is the same one, not a copy.

    Raises:
        KeyError: "state_dict looks like timm, but these keys have no place here: 'dist_token'", "state_dict
            looks like Hugging Face, but these keys are missing: 'vit.layernorm.bias'", or no dialect fits.
        ValueError: "blocks.0.norm1.weight has shape (5,), the other weights need (8,)".
        TypeError: ``state_dict`` is not a mapping of names to tensors.
    """
    _check_state_dict(state_dict)
    dialect = recognise(state_dict)
    weights = _rename(state_dict, dialect)
    if dialect is GOOGLE:
        weights = {name: _from_google(name, weight) for name, weight in weights.items()}
    weights = _scale_layers(_join_qkv(weights))
    _check_shapes(weights)
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


def _translate(key: str, dialect: Dialect) -> str | None:
    """timm's name of a key, ``UNUSED``, or None when the dialect does not know it."""
    prefixes, blocks = ("|".join(map(re.escape, words)) for words in (dialect.prefixes, dialect.blocks))
    dot = re.escape(dialect.separator)
    leaves = "kernel|scale|bias" if dialect is GOOGLE else "weight|bias"
    found = re.fullmatch(rf"(?:{prefixes})(?:(?:{blocks})(\d+){dot})?(.+?)(?:{dot}({leaves}))?", key)
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
        spelled += dialect.separator + (google[leaf] if dialect is GOOGLE else leaf)
    if number:
        block = next((b for b in dialect.blocks if any(b in key for key in keys)), dialect.blocks[0])
        spelled = f"{block}{number}{dialect.separator}{spelled}"
    prefix = next((p for p in dialect.prefixes if p and any(key.startswith(p) for key in keys)), "")
    return spelled if part == "head" else prefix + spelled


def recognise(keys: Collection[str]) -> Dialect:
    """Find the dialect that knows the most of these keys, and at least half.

    Raises:
        KeyError: "state_dict has 'conv1.weight', ...: no ViT in a dialect known here (timm, ...)".
        TypeError: ``keys`` holds something else than names.
    """
    _check_keys(keys)
    known = {d.name: sum(_translate(key, d) is not None for key in keys) for d in DIALECTS}
    best = max(DIALECTS, key=lambda dialect: known[dialect.name])
    if 2 * known[best.name] < len(keys) or not known[best.name]:
        has, names = _list(list(keys)) or "no keys", ", ".join(known)
        raise KeyError(f"state_dict has {has}: no ViT in a dialect known here ({names})")
    return best


def _rename(state_dict: Mapping, dialect: Dialect) -> dict[str, Tensor]:
    names = {key: _translate(key, dialect) for key in state_dict}
    unknown = [key for key, name in names.items() if name is None]
    if unknown:
        reasons = [why for pattern, why in REASONS.items() if any(re.search(pattern, key) for key in unknown)]
        looks = f"state_dict looks like {dialect.name}, but these keys have no place here"
        raise KeyError(f"{looks}: {_list(unknown)}" + (f" ({'; '.join(reasons)})" if reasons else ""))
    used = {key: name for key, name in names.items() if name != UNUSED}
    _check_complete(used, dialect)
    return {name: _to_tensor(key, state_dict[key]) for key, name in used.items()}


def _check_complete(names: dict[str, str], dialect: Dialect) -> None:
    there = set(names.values())
    if len(there) < len(names):
        twice = [key for key, name in names.items() if list(names.values()).count(name) > 1]
        raise ValueError(f"state_dict looks like {dialect.name}, but says the same twice: {_list(twice)}")
    missing = [name for name in _wanted(there, dialect) if name not in there]
    if missing:
        spelled = [_spell(name, dialect, names) for name in missing]
        raise KeyError(f"state_dict looks like {dialect.name}, but these keys are missing: {_list(spelled)}")
    surplus = sorted(there - set(_wanted(there, dialect)))
    if surplus:
        raise KeyError(f"state_dict looks like {dialect.name}, but has {_list(surplus)}, which no ViT has")


def _wanted(there: set[str], dialect: Dialect) -> list[str]:
    """All that a ViT of this depth must have, named as in _translate."""
    depth = max(1, len({name.split(".")[1] for name in there if name.startswith("blocks.")}))
    blocks = [f"blocks.{number}." for number in range(depth)]
    attention = [part for part in ("attn.qkv", "attn.q", "attn.k", "attn.v") if part in _targets(dialect)]
    tensors = [block + part for block in blocks for part in (*BLOCK, *attention)]
    tensors += ["patch_embed.proj", "norm"]
    tensors += ["head"] if any(name.startswith("head.") for name in there) else []
    scales = ["ls1.gamma", "ls2.gamma"] if any(name.endswith(".gamma") for name in there) else []
    wanted = ["cls_token", "pos_embed", *(block + scale for block in blocks for scale in scales)]
    return wanted + [f"{name}.{leaf}" for name in tensors for leaf in ("weight", "bias")]


def _targets(dialect: Dialect) -> set[str]:
    return {name.removesuffix(".weight") for name in dialect.block.values()}


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
            parts = [weights[name.replace(".attn.q.", f".attn.{which}.")] for which in "qkv"]
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
            raise ValueError(f"{name} has shape {shape}, a ViT's has {number} axes, none of them empty")
    dim, channels, patch_size, width = weights["patch_embed.proj.weight"].shape
    if patch_size != width:
        raise ValueError(f"patch_embed.proj.weight cuts patches of {patch_size} x {width}, not squares")
    depth = 1 + max(int(name.split(".")[1]) for name in weights if name.startswith("blocks."))
    sizes = {"patch_size": patch_size, "channels": channels, "dim": dim, "depth": depth}
    sizes["mlp_dim"] = weights["blocks.0.mlp.fc1.weight"].shape[0]
    sizes["num_classes"] = weights["head.weight"].shape[0] if "head.weight" in weights else 0
    return sizes


def _check_shapes(weights: dict[str, Tensor]) -> None:
    sizes = read_sizes(weights)
    patches = max(1, weights["pos_embed"].shape[1] - 1)
    # Neither the grid nor the heads can be seen in the shapes: one column of patches and one head will do.
    image_size = (patches * sizes["patch_size"], sizes["patch_size"])
    frame = on_meta(sizes | {"image_size": image_size, "num_heads": 1})
    for name, expected in frame.state_dict().items():
        if weights[name].shape != expected.shape:
            got, wanted = tuple(weights[name].shape), tuple(expected.shape)
            raise ValueError(f"{name} has shape {got}, the other weights need {wanted}")


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


def _check_keys(keys: object) -> None:
    if isinstance(keys, str) or not isinstance(keys, Collection):
        raise TypeError(f"keys must be a collection of names, not {type(keys).__name__}")
    for key in keys:
        if not isinstance(key, str):
            raise TypeError(f"keys must hold names, got {key!r}")


def _check_weights(weights: object) -> None:
    if not isinstance(weights, Mapping):
        raise TypeError(f"weights must map names to tensors, not {type(weights).__name__}")
    for name in ("cls_token", "pos_embed", "patch_embed.proj.weight", "blocks.0.mlp.fc1.weight"):
        if name not in weights:
            raise KeyError(f"weights has no {name!r}")
    for name, weight in weights.items():
        if not isinstance(weight, Tensor):
            raise TypeError(f"weights[{name!r}] must be a tensor, not {type(weight).__name__}")


def _check_config(config: object) -> None:
    if not isinstance(config, Mapping):
        raise TypeError(
            f"config must map the names of ViT's arguments to numbers, not {type(config).__name__}"
        )
    try:
        inspect.signature(ViT).bind(**config)
    except TypeError as error:
        raise TypeError(f"config does not describe a ViT: {error}") from None


def _check_state_dict(state_dict: object) -> None:
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"state_dict must map names to tensors, not {type(state_dict).__name__}")
    for key in state_dict:
        if not isinstance(key, str):
            raise TypeError(f"state_dict must map names to tensors, got the name {key!r}")


def _to_tensor(key: str, weight: object) -> Tensor:
    if not isinstance(weight, (Tensor, np.ndarray)):
        raise TypeError(f"state_dict[{key!r}] must be a tensor, not {type(weight).__name__}")
    floating = weight.is_floating_point() if isinstance(weight, Tensor) else weight.dtype.kind == "f"
    if not floating:
        raise TypeError(f"state_dict[{key!r}] must hold floating-point numbers, got {weight.dtype}")
    return torch.as_tensor(weight)


def _list(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(repr, names[:most])) + more
