"""Hold two results against each other, and say how close they are."""

from dataclasses import dataclass, field
from math import inf
from typing import Any

import torch
from torch import Tensor

from vit_steps.doors import door, values


@dataclass(frozen=True)
class Agreement:
    """How close two results came: true when their shapes are the same and no number differs by ``tol``.

    Attributes:
        max_abs_diff: the largest absolute difference; infinite when the shapes differ, NaN when a number is.
        shapes: of ours and of the reference.
        ok: whether the two agree.
    """

    max_abs_diff: float
    shapes: tuple[tuple[int, ...], tuple[int, ...]]
    ok: bool
    line: str = field(repr=False, compare=False)

    def __bool__(self) -> bool:
        return self.ok

    def __str__(self) -> str:
        return self.line

    def _ipython_display_(self) -> None:
        # compare has printed its line; as the last value of a cell it would stand there twice.
        pass


@door(tol=lambda name, tol: values.between(name, tol, 0, inf))
def compare(name: str, ours: Any, reference: Any, *, tol: int | float) -> Agreement:
    """Compare two tensors, print one line about it, and return what was found.

    A result that agrees is printed with the tolerance and not with its own last digits, which differ from one
    machine to the next: "naive vs conv: equal (max |Δ| < 1e-12)".

    Args:
        name: what is compared, the first words of the line.
        ours: a tensor, or anything ``torch.as_tensor`` takes.
        reference: what it is held against.
        tol: absolute differences below it count as equal; 0 asks for the same numbers exactly.

    Raises:
        ValueError: "tol must lie in [0, inf], got -1", or a tensor without numbers, on the meta device.
        TypeError: "ours cannot be read as a tensor, it is a NoneType".
    """
    ours, reference = _to_tensor("ours", ours), _to_tensor("reference", reference)
    shapes = (tuple(ours.shape), tuple(reference.shape))
    difference = _largest_difference(ours, reference) if shapes[0] == shapes[1] else inf
    ok = difference < tol or difference == 0
    line = f"{name}: {_verdict(shapes, difference, tol, ok)}"
    print(line)
    return Agreement(difference, shapes, ok, line)


def _to_tensor(name: str, numbers: Any) -> Tensor:
    try:
        tensor = torch.as_tensor(numbers).detach().to_dense()
    except (RuntimeError, TypeError, ValueError):
        raise TypeError(f"{name} cannot be read as a tensor, it is a {type(numbers).__name__}") from None
    return values.filled(name, tensor)


def _largest_difference(ours: Tensor, reference: Tensor) -> float:
    if not ours.numel():
        return 0.0
    ours, reference = (each.to("cpu", _wide_dtype(ours, reference)) for each in (ours, reference))
    # Two infinities of one sign agree, and their difference is NaN.
    return float(torch.where(ours == reference, 0, (ours - reference).abs()).max())


def _wide_dtype(ours: Tensor, reference: Tensor) -> torch.dtype:
    if ours.is_complex() or reference.is_complex():
        return torch.complex128
    # Above 2^53 float64 takes neighbouring integers for one.
    return torch.float64 if ours.is_floating_point() or reference.is_floating_point() else torch.int64


def _verdict(shapes: tuple, difference: float, tol: int | float, ok: bool) -> str:
    if shapes[0] != shapes[1]:
        return f"DIFFERENT shapes, {shapes[0]} and {shapes[1]}"
    if ok:
        return f"equal (max |Δ| < {tol:g})" if tol else "equal (max |Δ| = 0)"
    return f"DIFFERENT (max |Δ| = {difference:.2g}, allowed {tol:g})"
