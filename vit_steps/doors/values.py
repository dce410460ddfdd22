"""One value at a time: refused by the argument's name where it is not what it should be, or given back."""

import os
from collections.abc import Callable, Collection, Sequence
from math import isfinite
from numbers import Integral, Real
from typing import Any

import torch
from torch import Tensor


def integer(name: str, value: Any, least: int | None = 1) -> int:
    """Refuse what is no whole number, or less than ``least``."""
    # To Python, True is an integer; here it never is what the caller meant.
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if least is not None and value < least:
        raise ValueError(f"{name} must be at least {least}, got {value}")
    return value


def number(name: str, value: Any, *, positive: bool = False) -> Real:
    """Refuse what is no finite number, or, where it has to be positive, not above zero."""
    _real(name, value)
    if positive and not 0 < value < float("inf"):
        raise ValueError(f"{name} must be positive and finite, got {value}")
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{name} must be finite, got {value}")
    return value


def _real(name: str, value: Any) -> Real:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")
    return value


def between(name: str, value: Any, low: int | float, high: int | float) -> Any:
    """Refuse a number below ``low`` or above ``high``, or a tensor or an array that holds one, and NaN."""
    several = hasattr(value, "shape") and value.shape
    found = (value.min(), value.max()) if several else (_real(name, value),)
    if not all(low <= number <= high for number in found):
        got = " to ".join(f"{float(number):.3g}" for number in found)
        asked = "hold values in" if several else "lie in"
        raise ValueError(f"{name} must {asked} [{low}, {high}], got {got}")
    return value


def pair(name: str, value: Any, axes: tuple[str, str]) -> tuple[int, int]:
    """Refuse what is no pair of whole numbers from 1."""
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise TypeError(f"{name} must be ({', '.join(axes)}), got {value!r}")
    for axis, size in zip(axes, value, strict=True):
        integer(f"{name} {axis}", size)
    return value


def one_of(name: str, value: Any, options: Collection) -> Any:
    """Refuse what is none of a few words or numbers."""
    # To Python, True is 1; and what cannot be hashed cannot be looked up.
    is_one = isinstance(value, (str, Integral)) and not isinstance(value, bool)
    if not (is_one and value in list(options)):
        raise ValueError(f"{name} must be one of {', '.join(map(str, options))}, got {value!r}")
    return value


def path(name: str, value: Any) -> str | os.PathLike:
    """Refuse what is no path, or holds the NUL that no file system takes."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, not {type(value).__name__}")
    if "\0" in os.fsdecode(value):
        raise ValueError(f"{name} has a NUL in it, got {value!r}")
    return value


def sequence(name: str, value: Any, of: str = "names") -> Sequence:
    """Refuse what is no sequence; a string is one of letters. ``of`` says what it holds, and is not asked."""
    is_scalar = getattr(value, "shape", None) == ()  # it has a length, which raises
    if is_scalar or not hasattr(value, "__len__") or not hasattr(value, "__getitem__"):
        raise TypeError(f"{name} must be a sequence of {of}, not {type(value).__name__}")
    return value


def names(name: str, value: Any) -> Sequence[str]:
    """Refuse what is no sequence of texts; a string is one of letters."""
    if not all(isinstance(each, str) for each in sequence(name, value)):
        raise TypeError(f"{name} must be a sequence of names, got {value!r:.80}")
    return value


def function(name: str, value: Any) -> Callable:
    """Refuse what cannot be called."""
    if not callable(value):
        raise TypeError(f"{name} must be callable, not {type(value).__name__}")
    return value


def instance(name: str, value: Any, kind: type) -> Any:
    """Refuse what is not of this class."""
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOUaeiou" else "a"
        raise TypeError(f"{name} must be {article} {kind.__name__}, not {type(value).__name__}")
    return value


def tensor(name: str, value: Any) -> Tensor:
    """Refuse what is no tensor."""
    if not isinstance(value, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, not {type(value).__name__}")
    return value


def floating(name: str, value: Tensor) -> Tensor:
    """Refuse a tensor of integers, booleans or complex numbers."""
    if not value.is_floating_point():
        raise TypeError(f"{name} must be floating point, got {value.dtype}")
    return value


def integers(name: str, value: Tensor) -> Tensor:
    """Refuse a tensor of anything but integers, signed or not."""
    if value.is_floating_point() or value.is_complex() or value.dtype == torch.bool:
        raise TypeError(f"{name} must hold integers, got {value.dtype}")
    return value


def filled(name: str, value: Tensor) -> Tensor:
    """Refuse a tensor that is only a plan."""
    if value.is_meta:
        raise ValueError(f"{name} is on the meta device: it holds no numbers")
    return value


def finite(name: str, value: Tensor, why: str = "") -> Tensor:
    """Refuse a tensor without numbers, or with NaN or infinity; ``why`` says what cannot be had then."""
    if not filled(name, value).isfinite().all():
        raise ValueError(f"{name} holds NaN or infinity" + (f": {why}" if why else ""))
    return value
