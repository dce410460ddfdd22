"""Step 2: prepend the CLS token, and registers where a model has them, and take it off again."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from vit_steps.doors import door


@door("cls_token copies is 1: one vector serves all images")
def prepend_cls(
    tokens: Float[Tensor, "batch patches dim"], cls_token: Float[Tensor, "copies 1 dim"]
) -> Float[Tensor, "batch tokens dim"]:
    """Put the class token in front of every sequence (ViT paper, equation 1; from BERT's [CLS]).

    Args:
        tokens: patch embeddings.
        cls_token: one learned vector for all images of the batch; it is expanded, never copied.

    Returns:
        ``tokens = 1 + patches``, the CLS token first.

    Raises:
        ValueError: "cls_token copies 4 is not 1: one vector serves all images".
        TypeError: an argument is not a tensor, or the two have different dtypes.
    """
    return torch.cat([cls_token.expand(tokens.shape[0], -1, -1), tokens], dim=1)


@door("registers copies is 1: the same serve all images")
def prepend_registers(
    tokens: Float[Tensor, "batch patches dim"], registers: Float[Tensor, "copies num_registers dim"]
) -> Float[Tensor, "batch tokens dim"]:
    """Put learned tokens in front that no picture gave and no answer is read from (arXiv 2309.16588).

    Blocks use them as a notepad; without them large ViTs write on patches of the background. The CLS token
    goes in front of them, by :func:`prepend_cls`.

    Args:
        tokens: patch embeddings.
        registers: the same for all images of the batch.

    Returns:
        ``tokens = num_registers + patches``, the registers first.

    Raises:
        ValueError: "registers copies 4 is not 1: the same serve all images".
        TypeError: an argument is not a tensor, or the two have different dtypes.
    """
    return torch.cat([registers.expand(tokens.shape[0], -1, -1), tokens], dim=1)


@door("number of tokens is at least 1: the CLS token comes first")
def split_cls(
    tokens: Shaped[Tensor, "batch tokens dim"],
) -> tuple[Shaped[Tensor, "batch dim"], Shaped[Tensor, "batch patches dim"]]:
    """Separate the CLS token from the patches: the inverse of :func:`prepend_cls`.

    Raises:
        ValueError: "number of tokens must be at least 1, got 0: the CLS token comes first".
        TypeError: ``tokens`` is not a tensor.
    """
    return tokens[:, 0], tokens[:, 1:]
