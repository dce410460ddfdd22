"""What is hostile about a tensor, a size, a number, a pair, a word, a path, a function, a list of names.

A kind makes a bad value of a good one. Its claim says what it would mean that a function takes it after all:
NOTHING, it should not; or what its result then has to be.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

NOTHING = "it is to be refused"
SAME = "the same as for the good value, and never refused"
SAME_IF_TAKEN = "the same as for the good value"
PRECISE = "the same as for the same numbers in float32"
FINITE = "finite"
NOT_FINITE = "not finite"
NO_NUMBERS = "on the meta device"
REFUSED_IN_WORDS = "False, and one line that says why"


class Kind(NamedTuple):
    """How a bad value is made of a good one, what it may mean, and a harmless twin to compare with."""

    make: Callable[[Any], Any]
    claim: str = NOTHING
    twin: Callable[[Any], Any] = lambda value: value


def constant(value: Any, claim: str = NOTHING) -> Kind:
    return Kind(lambda _: value, claim)


def constants(*values: Any) -> dict[str, Kind]:
    return {repr(value): constant(value) for value in values}


def converted(dtype: torch.dtype, claim: str = PRECISE) -> Kind:
    return Kind(lambda tensor: tensor.to(dtype), claim, lambda tensor: tensor.to(dtype).to(tensor.dtype))


def filled(number: float) -> Kind:
    return Kind(lambda tensor: torch.full_like(tensor, number), NOT_FINITE)


def one_nan(tensor: Tensor) -> Tensor:
    spoilt = tensor.clone()
    spoilt.view(-1)[-1] = float("nan")
    return spoilt


def expanded(tensor: Tensor) -> Tensor:
    return tensor[:1].expand_as(tensor)


WRONG_TYPE = constants(None, 1.0, "text") | {"an object": constant(object())}
SHAPES = {
    "an axis too few": Kind(lambda tensor: tensor[0]),
    "an axis too many": Kind(lambda tensor: tensor[None]),
    "a scalar": Kind(lambda tensor: tensor.flatten()[0]),
    "empty": Kind(lambda tensor: tensor[:0], FINITE),
}
VIEWS = {
    "not contiguous": Kind(lambda tensor: tensor.transpose(0, -1).contiguous().transpose(0, -1), SAME),
    "a slice": Kind(lambda tensor: torch.stack([tensor, tensor + 1], dim=-1)[..., 0], SAME),
    "expanded": Kind(expanded, SAME, lambda tensor: expanded(tensor).clone()),
}
HOLDERS = {
    "a list": Kind(lambda tensor: tensor.tolist(), SAME_IF_TAKEN),
    "a numpy array": Kind(lambda tensor: tensor.numpy(), SAME_IF_TAKEN),
    "on meta": Kind(lambda tensor: tensor.to("meta"), NO_NUMBERS),
}
FLOATS = {
    "requires grad": Kind(lambda tensor: tensor.clone().requires_grad_(), SAME),
    **{str(dtype): converted(dtype) for dtype in (torch.float16, torch.bfloat16, torch.float64)},
    **{str(dtype): converted(dtype) for dtype in (torch.int64, torch.uint8, torch.bool, torch.complex64)},
    "NaN": filled(float("nan")),
    "infinity": filled(float("inf")),
    "minus infinity": filled(-float("inf")),
    "one NaN": Kind(one_nan, NOT_FINITE),
}
INTEGERS = {
    **{str(dtype): converted(dtype, SAME_IF_TAKEN) for dtype in (torch.int32, torch.uint8)},
    **{str(dtype): converted(dtype, NOTHING) for dtype in (torch.float32, torch.bool, torch.complex64)},
    "negative": Kind(lambda tensor: -1 - tensor),
    "too large": Kind(lambda tensor: tensor + 1000),
}


def zeros_on_axes(tensor: Tensor) -> dict[str, Kind]:
    """Zero channels, zero tokens, zero pixels: every axis but the first, one after the other."""
    return {
        f"axis {axis} of size 0": Kind(lambda good, axis=axis: good.narrow(axis, 0, 0), FINITE)
        for axis in range(1, tensor.ndim)
    }


def of_tensor(tensor: Tensor) -> dict[str, Kind]:
    numbers = FLOATS if tensor.is_floating_point() else INTEGERS
    return WRONG_TYPE | SHAPES | zeros_on_axes(tensor) | VIEWS | HOLDERS | numbers


SIZES = constants(0, -1, 2.5, "2", None, True, [2], float("nan"), float("inf"))
SIZES |= {"numpy integer": Kind(np.int64, SAME)}
NUMBERS = constants(-1.0, float("nan"), float("inf"), None, "1", True, [1.0], 1j)
PAIRS = constants(None, 5, "23", (2,), (2, 3, 4), (0, 3), (2, -3), (2.0, 3), ("2", 3), (True, 3), (None, 3))
PAIRS |= {"a set": constant({2, 3}), "(5, 7)": constant((5, 7)), "a list": Kind(list, SAME)}
WORDS = constants("", "nonsense", None, 1, ["text"])
PATHS = constants(None, 1, 2.5, ["text"]) | {
    "not there": Kind(lambda path: Path(path).parent / "not" / "there.safetensors"),
    "a NUL in it": constant("a\0b"),
}
CALLABLES = constants(None, 1, "text") | {"gives None": constant(lambda *_, **__: None)}
NAMES = constants(None, 1, 2.5) | {
    "none of them": Kind(lambda names: names[:0]),
    "one too few": Kind(lambda names: names[:-1]),
    "one too many": Kind(lambda names: [*names, "more"]),
    "numbers": Kind(lambda names: list(range(len(names)))),
}


def kinds_of(value: Any) -> dict[str, Kind]:
    """What to try in place of this value; a value of another type has kinds of its own in its row."""
    if isinstance(value, Tensor):
        return of_tensor(value)
    for types, kinds in BY_TYPE.items():
        if isinstance(value, types):
            return kinds
    if isinstance(value, tuple) and [type(side) for side in value] == [int, int]:
        return PAIRS
    if isinstance(value, (list, tuple)) and all(isinstance(name, str) for name in value):
        return NAMES
    return CALLABLES if callable(value) else {}


BY_TYPE = {bool: {}, int: SIZES, float: NUMBERS, str: WORDS, Path: PATHS}
