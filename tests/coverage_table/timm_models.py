"""timm's architectures: two blocks of each, and what makes it another function, read off the model itself."""

import csv
import json
import os
import struct
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from unittest.mock import patch

import torch
from safetensors.torch import save_file
from torch import nn

from .verdict import MISLEADING, TOLERANCE, TRUE, Saved, Verdict, judge_each, perturb

TABLE = Path(__file__).with_name("timm_tags.tsv")
MODULES = ("vision_transformer", "deit", "eva", "beit", "vision_transformer_hybrid", "naflexvit")
NUM_CLASSES = 5
INITIALISERS = ("trunc_normal_", "normal_", "xavier_uniform_", "kaiming_uniform_", "uniform_")


def _is(part: object, *kinds: str) -> bool:
    return type(part).__name__ in kinds


def _stands(part: object) -> bool:
    """Whether there is a layer: timm puts an Identity, or None, where there is none."""
    return part is not None and not isinstance(part, nn.Identity)


def _part(model: nn.Module, path: str) -> object:
    for name in path.split("."):
        model = getattr(model, name, None)
    return model


# Of the model in memory: is it there? The words are those of verdict.OBSTACLES.
OBSTACLES: dict[str, Callable[[nn.Module, nn.Module], bool]] = {
    "no norm after the last block": lambda model, block: (
        not _stands(model.norm) and not _stands(_part(model, "fc_norm"))
    ),
    "no class token": lambda model, block: (
        _part(model, "cls_token") is None and _part(model, "embeds.cls_token") is None
    ),
    "rotary positions": lambda model, block: _part(model, "rope") is not None,
    "rotary positions that were learned": lambda model, block: _is(
        _part(model, "rope"), "RotaryEmbeddingMixed"
    ),
    "pooling by attention": lambda model, block: (
        _stands(_part(model, "attn_pool"))
        and (
            model.attn_pool.num_heads != block.attn.num_heads
            or model.attn_pool.mlp.fc1.out_features != block.mlp.fc1.out_features
            or bool(_part(model, "pool_include_prefix"))
        )
    ),
    "relative positions": lambda model, block: (
        _part(model, "rel_pos_bias") is not None
        or _part(block, "attn.relative_position_bias_table") is not None
    ),
    "RMSNorm": lambda model, block: any(_is(each, "RmsNorm") for each in model.modules()),
    "norms of query and key": lambda model, block: _stands(_part(block, "attn.q_norm")),
    "norm inside the attention or the MLP": lambda model, block: any(
        _stands(_part(block, path)) for path in ("attn.norm", "attn.sub_norm", "mlp.norm")
    ),
    "norms after attention and MLP": lambda model, block: _is(block, "ResPostBlock", "EvaBlockPostNorm"),
    "side by side": lambda model, block: "Parallel" in type(block).__name__,
    "differential attention": lambda model, block: any(
        "Diff" in type(each).__name__ for each in model.modules()
    ),
    "convolutional stem": lambda model, block: _part(model, "patch_embed.backbone") is not None,
    "no table of positions": lambda model, block: _part(model, "pos_embed") is None,
    "NaFlex": lambda model, block: _is(model, "NaFlexVit"),
}


# What of a model leaves no key, so that its weights alone cannot tell it.
UNSEEN: dict[str, Callable[[nn.Module, nn.Module], bool]] = {
    "QuickGELU": lambda model, block: _is(_part(block, "mlp.act"), "QuickGELU"),
    "GELU by tanh": lambda model, block: _is(_part(block, "mlp.act"), "GELUTanh"),
    "epsilon": lambda model, block: getattr(_part(block, "norm1"), "eps", 1e-6) != 1e-6,
    "rotary positions": lambda model, block: _part(model, "rope") is not None,
    "what else is pooled": lambda model, block: bool(_part(model, "pool_include_prefix")),
    "the mean of the patches": lambda model, block: _part(model, "global_pool") == "avg",
    **{word: OBSTACLES[word] for word in ("norms after attention and MLP", "side by side")},
}
# These alone do not make another function of a model.
MET_HERE = {"no class token", "rotary positions", "no table of positions"}


@cache
def tags() -> dict[str, list[str]]:
    """Architecture -> its pretrained tags, in the order of the table."""
    architectures: dict[str, list[str]] = {}
    with TABLE.open(encoding="utf-8") as file:
        for row in csv.DictReader(file, delimiter="\t"):
            architectures.setdefault(row["tag"].partition(".")[0], []).append(row["tag"])
    return architectures


def architectures() -> dict[str, list[str]]:
    """As :func:`tags`, and every other entry point of the same modules, which has no tag."""
    import timm

    others = [name for module in MODULES for name in timm.list_models(module=module)]
    return tags() | {name: [] for name in others if name not in tags()}


@contextmanager
def without_drawing() -> Iterator[None]:
    """Every parameter is drawn afresh anyway; timm's own way of it takes most of the time."""
    with patch.multiple(nn.init, **{name: lambda tensor, *_, **__: tensor for name in INITIALISERS}):
        yield


def build(name: str, **options: object) -> nn.Module:
    """Two blocks of an architecture, every parameter drawn afresh."""
    with without_drawing():
        return perturb(create(name, **options))


def create(name: str, **options: object) -> nn.Module:
    import timm

    options = {"num_classes": NUM_CLASSES, "depth": 2, **options}
    if "_18x2_" in name:
        del options["depth"]  # its blocks are made two at a time
    if name.endswith("_sapiens2"):
        options["num_kv_heads"] = 1  # the usual number is said block by block, for all blocks
    return timm.create_model(name, **options)


def tolerance_of(model: nn.Module) -> float:
    """timm computes sine and cosine of its angles in float32, whatever the model is."""
    return TOLERANCE if _part(model, "rope") is None else 1e-6


def obstacles_of(model: nn.Module) -> frozenset[str]:
    return frozenset(word for word, has in OBSTACLES.items() if has(model, model.blocks[0]))


def judge(name: str, folder: Path, **options: object) -> dict[str, Verdict]:
    """Save an architecture as timm does for the Hub, and its weights alone, and read both.

    Another function is refused before any number is read, so its file may be hollow: some of these models
    have gigabytes. One that is not refused is built again, with its numbers.
    """
    with torch.device("meta"):
        hollow = create(name, **options)
    obstacles = obstacles_of(hollow)
    if obstacles - MET_HERE:
        verdicts = judge_each(save(hollow, folder / "hollow", write_hollow, obstacles))
        if all(verdict.kind in (TRUE, MISLEADING) for verdict in verdicts.values()):
            return verdicts
    return judge_each(save(build(name, **options).double(), folder, write_whole, obstacles))


def save(
    model: nn.Module, folder: Path, write: Callable[[nn.Module, Path], None], obstacles: frozenset[str]
) -> dict[str, Saved]:
    from timm.models._hub import save_config_for_hf

    with_config, bare = folder / "timm", folder / "bare"
    for each in (with_config, bare):
        each.mkdir(parents=True)
    write(model, bare / "vit.safetensors")
    os.link(bare / "vit.safetensors", with_config / "model.safetensors")
    save_config_for_hf(model, with_config / "config.json")
    size = getattr(model.patch_embed, "img_size", None) if hasattr(model, "patch_embed") else None
    shape = (3, *(size or model.pretrained_cfg["input_size"][1:]))
    unseen = ", ".join(word for word, has in UNSEEN.items() if has(model, model.blocks[0]))
    answers = None if write is write_hollow else model
    saved = Saved(with_config, answers, shape, obstacles, unseen, tolerance=tolerance_of(model))
    # As the refusal asks, where a head is of a width that nobody publishes.
    options = {"num_heads": model.blocks[0].attn.num_heads} if model.embed_dim % 64 else {}
    return {"config": saved, "bare": saved._replace(source=bare / "vit.safetensors", options=options)}


def write_whole(model: nn.Module, path: Path) -> None:
    save_file({name: weight.contiguous() for name, weight in model.state_dict().items()}, path)


def write_hollow(model: nn.Module, path: Path) -> None:
    """A safetensors file whose numbers are one hole, which takes no room on the disk."""
    header, end = {}, 0
    for name, weight in model.state_dict().items():
        start, end = end, end + 2 * weight.numel()
        header[name] = {"dtype": "F16", "shape": list(weight.shape), "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        file.truncate(8 + len(text) + end)
