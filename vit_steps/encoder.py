"""Step 4: the transformer encoder. Heads, attention weights, self-attention, one block."""

import math
from collections.abc import Callable
from numbers import Integral

import torch.nn.functional as F
from jaxtyping import Float, Shaped
from torch import Tensor


def split_heads(
    tokens: Shaped[Tensor, "batch tokens dim"], num_heads: int
) -> Shaped[Tensor, "batch heads tokens head_dim"]:
    """Cut every token into ``num_heads`` pieces, so that each head sees its own part of it.

    Raises:
        ValueError: "dim 10 of tokens is not a multiple of num_heads 4".
        TypeError: ``tokens`` is not a tensor, or ``num_heads`` is not an integer.
    """
    _check_axes("tokens", tokens, "batch tokens dim")
    _check_heads(tokens.shape[2], num_heads)
    return tokens.unflatten(2, (num_heads, -1)).transpose(1, 2)  # B T H d -> B H T d


def merge_heads(heads: Shaped[Tensor, "batch heads tokens head_dim"]) -> Shaped[Tensor, "batch tokens dim"]:
    """Lay the heads of each token side by side again: the inverse of :func:`split_heads`.

    Raises:
        ValueError: ``heads`` does not have four axes.
        TypeError: ``heads`` is not a tensor.
    """
    _check_axes("heads", heads, "batch heads tokens head_dim")
    return heads.transpose(1, 2).flatten(2)  # B T H d -> B T D


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
    _check_query_key(query, key)
    scores = query @ key.transpose(2, 3) / math.sqrt(query.shape[3])
    return scores.softmax(dim=-1)


def self_attention(
    tokens: Float[Tensor, "batch tokens dim"], qkv: Callable, proj: Callable, num_heads: int
) -> tuple[Float[Tensor, "batch tokens dim"], Float[Tensor, "batch heads tokens tokens"]]:
    """Multi-head self-attention that hands back its weights (ViT paper, equations 5 to 8).

    Args:
        tokens: what the block's first norm gave.
        qkv: callable such as ``nn.Linear(dim, 3 * dim)``: query, key and value side by side.
        proj: callable such as ``nn.Linear(dim, dim)``: mixes the heads.
        num_heads: how many heads share the width of a token.

    Returns:
        The new tokens, and the attention weights.

    Raises:
        ValueError: "qkv gave width 20 for tokens of dim 8, 24 is needed", or heads that do not divide dim.
        TypeError: ``tokens`` is not a floating-point tensor, ``num_heads`` is not an integer, or
            "proj must be callable, not NoneType".
    """
    query, key, value = _project_heads(tokens, qkv, num_heads)
    proj = _checked("proj", proj)
    weights = attention_weights(query, key)
    return proj(merge_heads(weights @ value)), weights


def fused_attention(
    tokens: Float[Tensor, "batch tokens dim"],
    qkv: Callable,
    proj: Callable,
    num_heads: int,
    *,
    num_queries: int | None = None,
) -> tuple[Float[Tensor, "batch queries dim"], None]:
    """Compute what :func:`self_attention` does in one fused kernel that never writes the weights down.

    Args, Raises: as :func:`self_attention`, and
        num_queries: only so many tokens ask, the first ones; all of them are asked. All ask by default.

    Returns:
        The new tokens, and ``None`` where the weights would be, as ``nn.MultiheadAttention`` does.
    """
    query, key, value = _project_heads(tokens, qkv, num_heads)
    proj = _checked("proj", proj)
    if num_queries is not None:
        query = query[:, :, : _check_queries(num_queries, query.shape[2])]
    return proj(merge_heads(F.scaled_dot_product_attention(query, key, value))), None


def encoder_block(
    tokens: Float[Tensor, "batch tokens dim"],
    norm1: Callable,
    attn: Callable,
    norm2: Callable,
    mlp: Callable,
) -> tuple[Float[Tensor, "batch tokens dim"], Float[Tensor, "batch heads tokens tokens"] | None]:
    """One pre-norm encoder block: look at each other, then think alone (ViT paper, equations 2 and 3).

    Args:
        tokens: the residual stream; each half of the block adds to it.
        norm1, attn, norm2, mlp: callables in the order they run; ``attn`` returns (tokens, weights), as
            :func:`self_attention` does.

    Returns:
        The new tokens, and the weights that ``attn`` gave.

    Raises:
        ValueError: "mlp gave shape (2, 5, 1) for tokens of shape (2, 5, 8)", and the same for ``attn``.
        TypeError: "attn must return (tokens, weights), got Tensor", or ``tokens`` is not floating point.
    """
    _check_axes("tokens", tokens, "batch tokens dim")
    _check_floating("tokens", tokens)
    norm1, norm2, mlp = _keep_shape(norm1=norm1, norm2=norm2, mlp=mlp)
    attn = _checked_attention(attn, expected=tokens)
    attended, weights = attn(norm1(tokens))
    tokens = tokens + attended
    return tokens + mlp(norm2(tokens)), weights


def cls_block(
    tokens: Float[Tensor, "batch tokens dim"],
    norm1: Callable,
    attn: Callable,
    norm2: Callable,
    mlp: Callable,
) -> tuple[Float[Tensor, "batch 1 dim"], Float[Tensor, "batch heads 1 tokens"] | None]:
    """Compute the CLS row of :func:`encoder_block` alone: after the last block nothing else is read.

    The CLS token still asks all tokens; but it alone asks, is mixed, and is thought about.

    Args, Raises: as :func:`encoder_block`, except
        attn: gives one new token, as :func:`fused_attention` does with ``num_queries=1``.

    Returns:
        The new CLS token, and the weights that ``attn`` gave.
    """
    _check_axes("tokens", tokens, "batch tokens dim")
    _check_floating("tokens", tokens)
    norm1, norm2, mlp = _keep_shape(norm1=norm1, norm2=norm2, mlp=mlp)
    attn = _checked_attention(attn, expected=tokens[:, :1])
    attended, weights = attn(norm1(tokens))
    cls_token = tokens[:, :1] + attended
    return cls_token + mlp(norm2(cls_token)), weights


def _project_heads(tokens: Tensor, qkv: Callable, num_heads: int) -> tuple[Tensor, ...]:
    _check_axes("tokens", tokens, "batch tokens dim")
    _check_floating("tokens", tokens)
    _check_heads(tokens.shape[2], num_heads)
    _check_callable("qkv", qkv)
    projected = qkv(tokens)
    _check_axes("what qkv gave", projected, "batch tokens 3*dim")
    if projected.shape[-1] != 3 * tokens.shape[2]:
        raise ValueError(
            f"qkv gave width {projected.shape[-1]} for tokens of dim {tokens.shape[2]}, "
            f"{3 * tokens.shape[2]} is needed"
        )
    # Side by side in the width lie the heads of all queries, then of all keys, then of all values.
    return split_heads(projected, 3 * num_heads).chunk(3, dim=1)


def _check_axes(name: str, tensor: Tensor, axes: str) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, not {type(tensor).__name__}")
    if tensor.ndim != len(axes.split()):
        raise ValueError(f"{name} must have the axes ({axes}), got shape {tuple(tensor.shape)}")


def _check_floating(name: str, tensor: Tensor) -> None:
    if not tensor.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {tensor.dtype}")


def _check_count(name: str, count: int) -> None:
    # To Python, True is an integer; here it never is what the caller meant.
    if isinstance(count, bool) or not isinstance(count, Integral):
        raise TypeError(f"{name} must be an integer, got {count!r}")
    if count < 1:
        raise ValueError(f"{name} must be at least 1, got {count}")


def _check_queries(num_queries: int, tokens: int) -> int:
    _check_count("num_queries", num_queries)
    if num_queries > tokens:
        raise ValueError(f"num_queries {num_queries} is more than the {tokens} tokens")
    return num_queries


def _check_heads(dim: int, num_heads: int) -> None:
    _check_count("num_heads", num_heads)
    if dim % num_heads:
        raise ValueError(f"dim {dim} of tokens is not a multiple of num_heads {num_heads}")


def _check_query_key(query: Tensor, key: Tensor) -> None:
    for name, tensor in (("query", query), ("key", key)):
        _check_axes(name, tensor, "batch heads tokens head_dim")
        _check_floating(name, tensor)
    for axis, name in ((0, "batch"), (1, "heads"), (3, "head_dim")):
        if query.shape[axis] != key.shape[axis]:
            raise ValueError(f"query has {name} {query.shape[axis]}, key has {name} {key.shape[axis]}")
    if query.shape[3] < 1:
        raise ValueError(f"head_dim must be at least 1, got {query.shape[3]}")
    if query.dtype != key.dtype:
        raise TypeError(f"query is {query.dtype}, key is {key.dtype}: they must be the same")
    if query.device != key.device:
        raise ValueError(f"query is on {query.device}, key is on {key.device}: they must be on the same")


def _checked(name: str, function: Callable, *, keep_shape: bool = False) -> Callable:
    """Make a callable say its own name where it gives no tensor, or one of another shape."""
    _check_callable(name, function)

    def call(tokens: Tensor) -> Tensor:
        given = function(tokens)
        return _check_shape(name, given, tokens if keep_shape else given)

    return call


def _keep_shape(**functions: Callable) -> list[Callable]:
    return [_checked(name, function, keep_shape=True) for name, function in functions.items()]


def _check_callable(name: str, function: Callable) -> None:
    if not callable(function):
        raise TypeError(f"{name} must be callable, not {type(function).__name__}")


def _checked_attention(attn: Callable, expected: Tensor) -> Callable:
    _check_callable("attn", attn)

    def call(tokens: Tensor) -> tuple[Tensor, Tensor | None]:
        given = attn(tokens)
        # A bare tensor of two images would unpack unnoticed, one image as tokens and one as weights.
        if not isinstance(given, tuple) or len(given) != 2:
            raise TypeError(f"attn must return (tokens, weights), got {type(given).__name__}")
        return _check_shape("attn", given[0], expected), given[1]

    return call


def _check_shape(name: str, given: Tensor, tokens: Tensor) -> Tensor:
    # A sum would broadcast a wrong shape without a complaint.
    if not isinstance(given, Tensor):
        raise TypeError(f"{name} must give a torch.Tensor, not {type(given).__name__}")
    if given.shape != tokens.shape:
        raise ValueError(f"{name} gave shape {tuple(given.shape)} for tokens of shape {tuple(tokens.shape)}")
    return given
