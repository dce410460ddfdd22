"""Step 4: the transformer encoder. Heads, attention weights, self-attention, one block."""

import math
from collections.abc import Callable
from typing import Any

import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor

from vit_steps.doors import door

Tokens = Float[Tensor, "batch tokens dim"]
Cls = Float[Tensor, "batch 1 dim"]
Qkv = Callable[[Tokens], Float[Tensor, "batch tokens 3*dim"]]


@door("tokens dim is a multiple of num_heads")
def split_heads(
    tokens: Shaped[Tensor, "batch tokens dim"], num_heads: int
) -> Shaped[Tensor, "batch heads tokens head_dim"]:
    """Cut every token into ``num_heads`` pieces, so that each head sees its own part of it.

    Raises:
        ValueError: "tokens dim 10 is not a multiple of num_heads 4".
        TypeError: ``tokens`` is not a tensor, or ``num_heads`` is not an integer.
    """
    return tokens.unflatten(2, (num_heads, -1)).transpose(1, 2)  # B T H d -> B H T d


@door()
def merge_heads(heads: Shaped[Tensor, "batch heads tokens head_dim"]) -> Shaped[Tensor, "batch tokens dim"]:
    """Lay the heads of each token side by side again: the inverse of :func:`split_heads`.

    Raises:
        ValueError: ``heads`` does not have four axes.
        TypeError: ``heads`` is not a tensor.
    """
    return heads.transpose(1, 2).flatten(2)  # B T H d -> B T D


@door("query head_dim is at least 1")
def attention_weights(
    query: Float[Tensor, "batch heads queries head_dim"], key: Float[Tensor, "batch heads keys head_dim"]
) -> Float[Tensor, "batch heads queries keys"]:
    """How much each token looks at each other: softmax(q k^T / sqrt(head_dim)) (ViT paper, equation 6).

    Returns:
        Weights between 0 and 1; each row (one query) sums to 1 over the keys.

    Raises:
        ValueError: "query has head_dim 8, key has head_dim 4".
        TypeError: an argument is not a floating-point tensor.
    """
    scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[3])
    return scores.softmax(dim=-1)


@door("tokens dim is a multiple of num_heads")
def self_attention(
    tokens: Tokens, qkv: Qkv, proj: Callable[[Tokens], Tensor], num_heads: int
) -> tuple[Tensor, Float[Tensor, "batch heads tokens tokens"]]:
    """Multi-head self-attention that hands back its weights (ViT paper, equations 5 to 8).

    Args:
        tokens: what the block's first norm gave.
        qkv: callable such as ``nn.Linear(dim, 3 * dim)``: query, key and value side by side.
        proj: callable such as ``nn.Linear(dim, dim)``: mixes the heads.
        num_heads: how many heads share the width of a token.

    Returns:
        The new tokens, and the attention weights.

    Raises:
        ValueError: "qkv gave shape (2, 5, 20), (batch tokens 3*dim) is (2, 5, 24) here", or heads that do not
            divide dim.
        TypeError: ``tokens`` is not a floating-point tensor, ``num_heads`` is not an integer, or
            "proj must be callable, not NoneType".
    """
    query, key, value = split_heads(qkv(tokens), 3 * num_heads).chunk(3, dim=1)
    weights = attention_weights(query, key)
    return proj(merge_heads(weights @ value)), weights


@door("tokens dim is a multiple of num_heads")
def cross_attention(
    queries: Float[Tensor, "batch queries dim"],
    tokens: Tokens,
    q: Callable[[Tensor], Float[Tensor, "batch queries dim"]],
    kv: Callable[[Tokens], Float[Tensor, "batch tokens 2*dim"]],
    proj: Callable[[Tensor], Tensor],
    num_heads: int,
) -> tuple[Tensor, Float[Tensor, "batch heads queries tokens"]]:
    """Multi-head attention in which others ask than are asked, and that hands back its weights.

    A learned probe that asks the patches is pooling by attention (arXiv 2106.04560, "MAP"; SigLIP).

    Args:
        queries: who asks, such as one probe for each image.
        tokens: who is asked.
        q: callable such as ``nn.Linear(dim, dim)``.
        kv: callable such as ``nn.Linear(dim, 2 * dim)``: key and value side by side.
        proj, num_heads: as in :func:`self_attention`.

    Returns:
        A new token for each query, and the attention weights.

    Raises: as :func:`self_attention`.
    """
    query = split_heads(q(queries), num_heads)
    key, value = split_heads(kv(tokens), 2 * num_heads).chunk(2, dim=1)
    weights = attention_weights(query, key)
    return proj(merge_heads(weights @ value)), weights


@door("tokens dim is a multiple of num_heads", "num_queries is at most number of tokens")
def fused_attention(
    tokens: Tokens,
    qkv: Qkv,
    proj: Callable[[Tokens], Tensor],
    num_heads: int,
    *,
    num_queries: int | None = None,
) -> tuple[Tensor, None]:
    """Compute what :func:`self_attention` does in one fused kernel that never writes the weights down.

    Args, Raises: as :func:`self_attention`, and
        num_queries: only so many tokens ask, the first ones; all of them are asked. All ask by default.

    Returns:
        The new tokens, and ``None`` where the weights would be, as ``nn.MultiheadAttention`` does.
    """
    query, key, value = split_heads(qkv(tokens), 3 * num_heads).chunk(3, dim=1)
    attended = F.scaled_dot_product_attention(query[:, :, :num_queries], key, value)
    return proj(merge_heads(attended)), None


@door()
def encoder_block(
    tokens: Tokens,
    norm1: Callable[[Tokens], Tokens],
    attn: Callable[[Tokens], tuple[Tokens, Any]],
    norm2: Callable[[Tokens], Tokens],
    mlp: Callable[[Tokens], Tokens],
) -> tuple[Tokens, Float[Tensor, "batch heads tokens tokens"] | None]:
    """One pre-norm encoder block: look at each other, then think alone (ViT paper, equations 2 and 3).

    Args:
        tokens: the residual stream; each half of the block adds to it.
        norm1, attn, norm2, mlp: callables in the order they run; ``attn`` returns (tokens, weights), as
            :func:`self_attention` does.

    Returns:
        The new tokens, and the weights that ``attn`` gave.

    Raises:
        ValueError: "mlp gave shape (2, 5, 1), (batch tokens dim) is (2, 5, 8) here", and so for the others.
        TypeError: "attn must return a tuple of 2, got Tensor", or ``tokens`` is not floating point.
    """
    attended, weights = attn(norm1(tokens))
    tokens = tokens + attended
    return tokens + mlp(norm2(tokens)), weights


@door("number of tokens is at least 1: the CLS token comes first")
def cls_block(
    tokens: Tokens,
    norm1: Callable[[Tokens], Tokens],
    attn: Callable[[Tokens], tuple[Cls, Any]],
    norm2: Callable[[Cls], Cls],
    mlp: Callable[[Cls], Cls],
) -> tuple[Cls, Float[Tensor, "batch heads 1 tokens"] | None]:
    """Compute the CLS row of :func:`encoder_block` alone: after the last block nothing else is read.

    The CLS token still asks all tokens; but it alone asks, is mixed, and is thought about.

    Args, Raises: as :func:`encoder_block`, except
        attn: gives one new token, as :func:`fused_attention` does with ``num_queries=1``.

    Returns:
        The new CLS token, and the weights that ``attn`` gave.
    """
    attended, weights = attn(norm1(tokens))
    cls_token = tokens[:, :1] + attended
    return cls_token + mlp(norm2(cls_token)), weights
