"""Step 2: prepend the CLS token, and take it off again."""

import torch
from jaxtyping import Float
from torch import Tensor


def prepend_cls(
    tokens: Float[Tensor, "batch patches dim"], cls_token: Float[Tensor, "1 1 dim"]
) -> Float[Tensor, "batch tokens dim"]:
    """Put the class token in front of every sequence (ViT paper, equation 1; from BERT's [CLS]).

    Args:
        tokens: patch embeddings.
        cls_token: one learned vector for all images of the batch; it is expanded, never copied.

    Returns:
        ``tokens = 1 + patches``, the CLS token first.

    Raises:
        ValueError: "cls_token has shape (4, 1, 8), one vector for all images is (1, 1, 8)".
        TypeError: an argument is not a tensor, or the two have different dtypes.
    """
    _check_tokens(tokens)
    _check_cls_token(cls_token, tokens)
    return torch.cat([cls_token.expand(len(tokens), -1, -1), tokens], dim=1)


def split_cls(
    tokens: Float[Tensor, "batch tokens dim"],
) -> tuple[Float[Tensor, "batch dim"], Float[Tensor, "batch patches dim"]]:
    """Separate the CLS token from the patches: the inverse of :func:`prepend_cls`.

    Raises:
        ValueError: "tokens has 0 tokens, the CLS token needs 1".
        TypeError: ``tokens`` is not a tensor.
    """
    _check_tokens(tokens)
    if tokens.shape[1] < 1:
        raise ValueError(f"tokens has {tokens.shape[1]} tokens, the CLS token needs 1")
    return tokens[:, 0], tokens[:, 1:]


def _check_tokens(tokens: Tensor) -> None:
    if not isinstance(tokens, Tensor):
        raise TypeError(f"tokens must be a torch.Tensor, not {type(tokens).__name__}")
    if tokens.ndim != 3:
        raise ValueError(f"tokens must have the axes (batch tokens dim), got shape {tuple(tokens.shape)}")


def _check_cls_token(cls_token: Tensor, tokens: Tensor) -> None:
    if not isinstance(cls_token, Tensor):
        raise TypeError(f"cls_token must be a torch.Tensor, not {type(cls_token).__name__}")
    expected = (1, 1, tokens.shape[2])
    if cls_token.shape != expected:
        raise ValueError(
            f"cls_token has shape {tuple(cls_token.shape)}, one vector for all images is {expected}"
        )
    if cls_token.dtype != tokens.dtype:
        raise TypeError(f"cls_token is {cls_token.dtype}, tokens is {tokens.dtype}: they must be the same")
    if cls_token.device != tokens.device:
        raise ValueError(
            f"cls_token is on {cls_token.device}, tokens is on {tokens.device}: they must be on the same"
        )
