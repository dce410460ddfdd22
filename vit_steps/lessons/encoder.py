"""What the exercises of lesson 4 are held against: there the answers are tests, and have to catch bugs."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vit_steps.classification import pool_cls, pool_mean
from vit_steps.encoder import attention_weights, fused_attention, merge_heads, self_attention, split_heads
from vit_steps.lessons._verdict import (
    Grade,
    check,
    find_gap,
    verdict,
)


@check
def check_pool_zoo(answer: Any) -> Grade:
    """Check a test of mean pooling.

    Args:
        answer: function (pool) -> whether ``pool`` is the mean of the patches, B T D -> B D.
    """
    right = {"pool_mean": pool_mean, "a pool_mean that adds up in another order": _mean_backwards}
    fault = find_gap(answer, right, POOL_ZOO, yourself=[pool_mean])
    return verdict(fault, "pool_mean passes, and", caught=POOL_ZOO)


def _mean_backwards(tokens: Tensor) -> Tensor:
    return sum(tokens[:, 1:].flip(1).unbind(1)) / (tokens.shape[1] - 1)


POOL_ZOO = {
    "the mean over all tokens, the CLS token among them": lambda tokens: tokens.mean(dim=1),
    "a mean that leaves out the last token in place of the first": lambda tokens: tokens[:, :-1].mean(dim=1),
    "a mean that leaves out two tokens": lambda tokens: tokens[:, 2:].mean(dim=1),
    "the CLS token in place of the mean": pool_cls,
}


@check
def check_weights_zoo(answer: Any) -> Grade:
    """Check a test of attention weights.

    Args:
        answer: function (weights_of) -> whether ``weights_of(query, key)`` gives the attention weights,
            B H T d, B H T d -> B H T T.
    """
    right = {"attention_weights": attention_weights, "an attention_weights that scales first": _scale_first}
    fault = find_gap(answer, right, WEIGHTS_ZOO, yourself=[attention_weights, self_attention])
    return verdict(fault, "attention_weights passes, and", caught=WEIGHTS_ZOO)


def _scores(query: Tensor, key: Tensor, width: int) -> Tensor:
    return query @ key.transpose(2, 3) / math.sqrt(width)


def _scale_first(query: Tensor, key: Tensor) -> Tensor:
    return ((query / math.sqrt(query.shape[3])) @ key.transpose(2, 3)).softmax(dim=-1)


WEIGHTS_ZOO = {
    "softmax over the wrong axis (its weights sum to 1 over queries, not over keys)": (
        lambda query, key: _scores(query, key, query.shape[3]).softmax(dim=-2)
    ),
    "scaling after the softmax (its weights sum to 1 / √head_dim)": (
        lambda query, key: _scores(query, key, 1).softmax(dim=-1) / math.sqrt(query.shape[3])
    ),
    "√dim in place of √head_dim (with one head they are the same)": (
        lambda query, key: _scores(query, key, query.shape[1] * query.shape[3]).softmax(dim=-1)
    ),
    "no scaling at all": lambda query, key: _scores(query, key, 1).softmax(dim=-1),
}


@check
def check_attention_zoo(answer: Any) -> Grade:
    """Check a test of self-attention.

    Args:
        answer: function (attention) -> whether ``attention(tokens, qkv, proj, num_heads)`` gives what
            ``self_attention`` gives, (tokens, weights).
    """
    right = {"self_attention": self_attention, "a self_attention that scales first": _attend(_scale_first)}
    fault = find_gap(answer, right, ATTENTION_ZOO, yourself=READY_MADE)
    return verdict(fault, "self_attention passes, and", caught=ATTENTION_ZOO)


# The answer is to be found by experiments, and not by holding one attention against another.
READY_MADE = [
    *(self_attention, fused_attention, attention_weights),
    *(F.scaled_dot_product_attention, nn.MultiheadAttention.forward),
]


def _attend(
    weigh: Callable = attention_weights, split: Callable = split_heads, merge: Callable = merge_heads
) -> Callable:
    """Put a self-attention together of parts that may have bugs."""

    def attention(tokens: Tensor, qkv: Callable, proj: Callable, num_heads: int) -> tuple[Tensor, Tensor]:
        query, key, value = (split(part, num_heads) for part in qkv(tokens).chunk(3, dim=-1))
        weights = weigh(query, key)
        return proj(merge(weights @ value)), weights

    return attention


def _attend_over_batch(
    tokens: Tensor, qkv: Callable, proj: Callable, num_heads: int
) -> tuple[Tensor, Tensor]:
    attended, weights = self_attention(tokens.transpose(0, 1), qkv, proj, num_heads)
    return attended.transpose(0, 1), weights


def _attend_over_all_images(
    tokens: Tensor, qkv: Callable, proj: Callable, num_heads: int
) -> tuple[Tensor, Tensor]:
    batch, length, _ = tokens.shape
    attended, weights = self_attention(tokens.flatten(0, 1)[None], qkv, proj, num_heads)
    by_image = weights[0].unflatten(2, (batch, length)).unflatten(1, (batch, length))
    return attended.reshape(tokens.shape), by_image.diagonal(dim1=1, dim2=3).permute(3, 0, 1, 2)


def _merge_without_transpose(heads: Tensor) -> Tensor:
    batch, num_heads, tokens, head_dim = heads.shape
    return heads.reshape(batch, tokens, num_heads * head_dim)


def _split_without_transpose(tokens: Tensor, num_heads: int) -> Tensor:
    batch, length, dim = tokens.shape
    return tokens.reshape(batch, num_heads, length, dim // num_heads)


ATTENTION_ZOO = {
    "heads merged without the transpose (with one head it does no harm)": (
        _attend(merge=_merge_without_transpose)
    ),
    "heads split without the transpose (with one head it does no harm)": (
        _attend(split=_split_without_transpose)
    ),
    "heads split and merged without the transpose": (
        _attend(split=_split_without_transpose, merge=_merge_without_transpose)
    ),
    "attention over the batch (with one image no token hears of another)": _attend_over_batch,
    "attention over the tokens of all images (with one image it does no harm)": _attend_over_all_images,
    "no attention at all, every token is given back as it came": (
        lambda tokens, qkv, proj, num_heads: (
            tokens,
            torch.eye(tokens.shape[1]).expand(len(tokens), num_heads, -1, -1),
        )
    ),
}
