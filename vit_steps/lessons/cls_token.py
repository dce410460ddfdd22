"""What the exercises of lesson 2 are held against: registers, pooling, and whom a loss reaches."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vit_steps.classification import pool_mean
from vit_steps.cls_token import prepend_registers
from vit_steps.lessons._verdict import (
    TOLERANCE,
    Grade,
    check,
    find_fault,
    random_tensor,
    verdict,
)


@check
def check_registers(answer: Any) -> Grade:
    """Check a sequence with registers (Darcet et al., arXiv 2309.16588).

    Args:
        answer: function (patches, cls_token, registers) -> tokens: CLS, then the registers, then the patches.
    """
    cases = {
        f"a batch of {batch}": (
            random_tensor(batch, 6, 8),
            random_tensor(1, 1, 8, seed=1),
            random_tensor(1, 4, 8, seed=2),
        )
        for batch in (1, 3)
    }
    right, yourself = _sequence("cls", "registers", "patches"), [prepend_registers]
    fault = find_fault(answer, right, cases, REGISTERS_MISTAKES, yourself=yourself)
    return verdict(fault, "CLS, four registers, six patches, for one image and for three")


def _sequence(*order: str, expand: bool = True) -> Callable:
    def add_registers(patches: Tensor, cls_token: Tensor, registers: Tensor) -> Tensor:
        parts = {"patches": patches, "cls": cls_token, "registers": registers}
        parts |= {"one register": registers[:, :1].expand(-1, 4, -1)}
        batch = len(patches) if expand else -1
        return torch.cat([parts[name].expand(batch, -1, -1) for name in order], dim=1)

    return add_registers


REGISTERS_MISTAKES = {
    "cls_token and registers hold one image's worth, and the batch has more: expand them": (
        _sequence("cls", "registers", "patches", expand=False)
    ),
    "the registers stand before the CLS token, and tokens[:, 0] reads a register": (
        _sequence("registers", "cls", "patches")
    ),
    "the registers stand behind the patches; they belong right behind the CLS token": (
        _sequence("cls", "patches", "registers")
    ),
    "the registers are missing": _sequence("cls", "patches"),
    "the CLS token is missing": _sequence("registers", "patches"),
    "the patches are missing": _sequence("cls", "registers"),
    "your four registers are one and the same; each has a vector of its own": (
        _sequence("cls", "one register", "patches")
    ),
}


@check
def check_pool_patches(answer: Any) -> Grade:
    """Check the mean of the patches behind a prefix of tokens that have no patch.

    Args:
        answer: function (tokens, num_prefix) -> B D; the first ``num_prefix`` tokens are CLS and registers.
    """
    cases = {f"num_prefix {prefix}": (random_tensor(2, prefix + 6, 8), prefix) for prefix in (1, 5, 0)}
    fault = find_fault(answer, _pool_patches, cases, POOL_PATCHES_MISTAKES, yourself=[pool_mean])
    return verdict(fault, "the mean of six patches, behind CLS and four registers, CLS alone, and nothing")


def _pool_patches(tokens: Tensor, num_prefix: int) -> Tensor:
    return pool_mean(tokens, num_prefix=num_prefix)


POOL_PATCHES_MISTAKES = {
    "CLS and registers are in your mean: it runs over all tokens": lambda tokens, prefix: tokens.mean(1),
    "the registers are in your mean: only the CLS token is left out": (
        lambda tokens, prefix: tokens[:, 1:].mean(1)
    ),
    "the last token of the prefix is in your mean": (
        lambda tokens, prefix: tokens[:, max(prefix - 1, 0) :].mean(1)
    ),
    "you leave out the first patch: num_prefix counts the CLS token already": (
        lambda tokens, prefix: tokens[:, prefix + 1 :].mean(1)
    ),
    "you leave tokens out at the end of the sequence; CLS and registers are at its front": (
        lambda tokens, prefix: tokens[:, : tokens.shape[1] - prefix].mean(1)
    ),
    "you leave tokens out at the end of the sequence, and all of them for num_prefix 0, where -0 is 0": (
        lambda tokens, prefix: tokens[:, :-prefix].mean(1)
    ),
    "you average CLS and registers, not the patches": lambda tokens, prefix: tokens[:, :prefix].mean(1),
    "this is the sum; divide by the number of patches": lambda tokens, prefix: tokens[:, prefix:].sum(1),
    "you divide by the number of tokens; only the patches are in the sum": (
        lambda tokens, prefix: tokens[:, prefix:].sum(1) / tokens.shape[1]
    ),
    "your mean runs over the width of a token; it must run over the tokens": (
        lambda tokens, prefix: tokens[:, prefix:].mean(2)
    ),
    "your mean runs over the images of the batch as well": (
        lambda tokens, prefix: tokens[:, prefix:].mean((0, 1))
    ),
}


@check
def check_reached(answer: Any) -> Grade:
    """Check which tokens a loss reaches that reads the CLS token alone.

    Args:
        answer: function (encoder, tokens) -> mask of shape (tokens,), true where a gradient arrives.
    """
    tokens = random_tensor(2, 5, 8)
    cases = {label: (encoder, tokens) for label, encoder in _encoders().items()}
    fault = find_fault(answer, _reach("weighted", "cls"), cases, REACHED_MISTAKES)
    return verdict(fault, f"the tokens that a gradient reaches through {len(cases)} encoders")


def _encoders() -> dict[str, Callable]:
    alone, everyone, over_batch = torch.eye(5), random_tensor(5, 5).abs(), random_tensor(2, 2).abs()
    next_one = alone + alone.roll(1, dims=1).triu()  # token t sees t and t + 1
    return {
        "no encoder": lambda tokens: tokens,
        "a block in which every token sees itself alone": _mix(alone),
        "a block in which every token sees itself and the next one": _mix(next_one),
        "two blocks in which every token sees itself and the next one": _mix(next_one, next_one),
        "a block in which every token sees every other": _mix(everyone),
        "a block that ends, as LayerNorm does, by subtracting each token's mean": (
            lambda tokens: _subtract_mean(_mix(everyone)(tokens))
        ),
        "a block that mixes the images, not the tokens": (
            lambda tokens: _mix(over_batch)(tokens.transpose(0, 1)).transpose(0, 1)
        ),
    }


def _mix(*blocks: Tensor) -> Callable:
    def encoder(tokens: Tensor) -> Tensor:
        for block in blocks:
            tokens = tokens + (block @ tokens / 4).tanh()
        return tokens

    return encoder


def _subtract_mean(tokens: Tensor) -> Tensor:
    # Of a width of 8 the mean is exact, and so is the 0 that a plain sum of the CLS token sends back.
    return tokens - tokens.mean(dim=2, keepdim=True)


@torch.enable_grad()
def _gradient(loss: str, read: str, encoder: Callable, tokens: Tensor) -> Tensor:
    tokens = tokens.clone().requires_grad_()
    encoded = encoder(tokens)
    seen = encoded[:, 0] if read == "cls" else encoded[:, -1] if read == "last" else encoded
    weights = random_tensor(*seen.shape, seed=3) if loss == "weighted" else torch.ones_like(seen)
    return torch.autograd.grad((seen * weights).sum(), tokens)[0]


def _reach(loss: str, read: str) -> Callable:
    return lambda encoder, tokens: _gradient(loss, read, encoder, tokens).abs().amax((0, 2)) > TOLERANCE


REACHED_MISTAKES = {
    "you reach every token, whatever the encoder: let the loss read the CLS token alone": (
        _reach("weighted", "all")
    ),
    "your loss reads the last token; the CLS token is the first": _reach("weighted", "last"),
    "your loss is the plain sum of the CLS token, and behind a norm that sum is constant: weigh its numbers "
    "with random ones first": _reach("sum", "cls"),
    "this is one mask per image; say it once for the token, true where it is true in any image": (
        lambda encoder, tokens: _gradient("weighted", "cls", encoder, tokens).abs().amax(2) > TOLERANCE
    ),
    "this is one mask per number; say it once for the whole token": (
        lambda encoder, tokens: _gradient("weighted", "cls", encoder, tokens).abs() > TOLERANCE
    ),
    "true and false are swapped": lambda encoder, tokens: ~_reach("weighted", "cls")(encoder, tokens),
    "you reach the CLS token alone, whatever the encoder: the gradient must flow through it": (
        lambda encoder, tokens: torch.arange(tokens.shape[1]) == 0
    ),
}
