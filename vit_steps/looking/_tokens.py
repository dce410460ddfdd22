"""Tokens on their way through a model: entering, picked, run to the end."""

import torch
from torch import Tensor

from vit_steps.classification import classify
from vit_steps.vit import POOLS, VECTORS, ViT

AT_ONCE = 100  # images; with all of them, their tokens or gradients would fill the memory of a small machine


# What a model reads, where it is not the CLS token alone.
READS = {
    "mean": "the mean of the patches",
    "mean_all": "the mean of all tokens",
    "attention": "the patches by attention",
    "cls+register": "its CLS token and a register",
    "cls+mean": "its CLS token and the mean of the patches",
}


def has_cls(model: ViT) -> None:
    """Refuse a model whose first token is a patch, or a register."""
    if model.cls_token is None:
        raise ValueError(f"model has no CLS token: it pools {READS[model.pool]}")


def reads_cls(model: ViT) -> None:
    """Refuse a model that answers by anything but its CLS token."""
    has_cls(model)
    if model.pool != "cls":
        raise ValueError(f"model pools {READS[model.pool]}, not its CLS token alone")


def asks_once(model: ViT) -> None:
    """Refuse a model in which no single token, nor a probe, looks for the answer."""
    if model.pool not in ("cls", "attention"):
        raise ValueError(f"model pools {READS[model.pool]}: no one token looks for its answer")


def reads_one_vector(model: ViT) -> None:
    """Refuse a model whose head reads two vectors, side by side."""
    if model.pool in VECTORS:
        raise ValueError(f"model pools {READS[model.pool]}: each was drawn from patches of its own")


def turns_no_token(model: ViT) -> None:
    """Refuse a model in which a token knows its place by its number, so that none can be left out."""
    if any(getattr(part, "angles", None) is not None for part in model.modules()):
        raise ValueError(
            "model turns queries and keys by their places: without one token, the next would be turned as it"
        )


def enter(model: ViT, images: Tensor) -> Tensor:
    """What the first block sees."""
    return model.trace(images, layers=[]).with_position  # whose door refuses what the model was not made for


def pick(tokens: Tensor, rows: Tensor) -> Tensor:
    """Of each image the tokens with these numbers."""
    return tokens.take_along_dim(rows[:, :, None], dim=1)


def finish(model: ViT, tokens: Tensor, start: int = 0) -> Tensor:
    """Logits of tokens that enter the block ``start``, counted from 0."""
    for block in model.blocks[start:]:
        tokens = block(tokens)
    return classify(tokens, model.norm, model.head, pool=model.read)


def read_rows(model: ViT, rows: Tensor, pooling: Tensor | None) -> Tensor:
    """Of rows (batch, tokens, keys), one for each token, the one that is read: pooled as the tokens are.

    A probe's ``pooling`` weighs the rows of the patches. Of two vectors side by side it is the first.
    """
    if pooling is not None:
        return (pooling.mean(dim=1) @ rows[:, model.num_prefix :])[:, 0]
    return POOLS["cls" if model.pool in VECTORS else model.pool](model)(rows)


def prefix_of(model: ViT, rows: Tensor) -> Tensor:
    """For each of these rows the numbers of the tokens that come before the patches."""
    return torch.arange(model.num_prefix, device=rows.device).expand(len(rows), -1)


def by_block(model: ViT, images: Tensor) -> list[Tensor]:
    """The tokens as they enter the first block, and as they leave each."""
    tokens = [enter(model, images)]
    for block in model.blocks:
        tokens.append(block(tokens[-1]))
    return tokens
