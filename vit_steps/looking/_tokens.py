"""Tokens on their way through a model: entering, picked, run to the end."""

from torch import Tensor

from vit_steps.classification import classify
from vit_steps.vit import ViT

AT_ONCE = 100  # images; with all of them, their tokens or gradients would fill the memory of a small machine


def reads_cls(model: ViT) -> None:
    """Refuse a model that answers by its patches."""
    if model.pool != "cls":
        raise ValueError("model pools the mean of the patches, not its CLS token")


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
    return classify(tokens, model.norm, model.head)


def by_block(model: ViT, images: Tensor) -> list[Tensor]:
    """The tokens as they enter the first block, and as they leave each."""
    tokens = [enter(model, images)]
    for block in model.blocks:
        tokens.append(block(tokens[-1]))
    return tokens
