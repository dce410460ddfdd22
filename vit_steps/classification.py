"""Step 5: from tokens to an answer. Pool, classify, name the most probable classes."""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from vit_steps.doors import door, values

Tokens = Float[Tensor, "batch tokens dim"]


@door("number of tokens is at least 1")
def pool_cls(tokens: Tokens) -> Float[Tensor, "batch dim"]:
    """Read the answer from the CLS token alone (ViT paper, equation 4).

    Raises:
        ValueError: "number of tokens must be at least 1, got 0".
        TypeError: ``tokens`` is not a tensor.
    """
    return tokens[:, 0]


@door("num_prefix is at least 0", "number of tokens is at least num_prefix + 1: the prefix does not count")
def pool_mean(tokens: Tokens, *, num_prefix: int = 1) -> Float[Tensor, "batch dim"]:
    """Average the patches; the prefix, which comes first, is left out (global average pooling).

    Args:
        tokens: the prefix and the patches.
        num_prefix: tokens that do not count: the CLS token and registers. 0 counts all.

    Raises:
        ValueError: "number of tokens 1 is less than num_prefix 1 + 1 = 2: the prefix does not count".
        TypeError: ``tokens`` is not a tensor, or ``num_prefix`` is not an integer.
    """
    return tokens[:, num_prefix:].mean(dim=1)


@door("number of tokens is at least num_tokens")
def pool_first(tokens: Tokens, num_tokens: int) -> Float[Tensor, "batch width"]:
    """Lay the first tokens side by side, for a head that reads them together.

    Two heads whose answers are averaged, as in a distilled DeiT (arXiv 2012.12877), are one such head.

    Raises:
        ValueError: "number of tokens 1 is less than num_tokens 2".
        TypeError: ``tokens`` is not a tensor, or ``num_tokens`` is not an integer.
    """
    return tokens[:, :num_tokens].flatten(1)


@door("num_prefix is at least 1: the CLS token comes first", "number of tokens is at least num_prefix + 1")
def pool_cls_and_mean(tokens: Tokens, *, num_prefix: int = 1) -> Float[Tensor, "batch width"]:
    """Lay the CLS token and the mean of the patches side by side (DINOv2's linear heads, arXiv 2304.07193).

    Raises: as :func:`pool_mean`.
    """
    return torch.cat([tokens[:, 0], tokens[:, num_prefix:].mean(dim=1)], dim=1)


@door("number of tokens is at least 1")
def classify(
    tokens: Tokens,
    norm: Callable[[Tokens], Tensor],
    head: Callable[[Tensor], Tensor],
    *,
    pool: Callable[[Tensor], Tensor] = pool_cls,
) -> Float[Tensor, "batch classes"]:
    """Turn the encoder's tokens into one score per class (ViT paper, equation 4 and section 3.1).

    Args:
        tokens: what the last encoder block gave, the CLS token first.
        norm: the final LayerNorm.
        head: callable such as ``nn.Linear(dim, num_classes)``.
        pool: :func:`pool_cls`, :func:`pool_mean` or another; it runs after the norm, as in big_vision.

    Returns:
        Logits: scores before the softmax, any real number.

    Raises:
        ValueError: too few tokens for ``pool``.
        TypeError: ``tokens`` is not a tensor, or "head must be callable, not NoneType".
    """
    return head(pool(norm(tokens)))


@door(
    "number of labels is logits classes",
    "k is at most logits classes",
    lambda logits: values.finite("logits", logits, "there is no most probable class"),
)
def top_k(
    logits: Float[Tensor, " classes"] | Float[Tensor, "1 classes"], labels: Sequence[str], k: int = 5
) -> list[tuple[str, float]]:
    """Name the ``k`` most probable classes of one image, the most probable first.

    Args:
        logits: scores of one image, shape (classes,) or (1, classes).
        labels: a name for every class.
        k: how many to name.

    Returns:
        Pairs of label and softmax probability; probabilities lie between 0 and 1.

    Raises:
        ValueError: "k 11 is more than logits classes 10", "number of labels 9 is not logits classes 10".
        TypeError: ``logits`` is not a tensor, or ``k`` is not an integer.
    """
    probabilities, classes = logits.flatten().softmax(dim=0).topk(k)
    return [(labels[i], p) for i, p in zip(classes.tolist(), probabilities.tolist(), strict=True)]
