"""Try one hostile value on one function, and judge what came of it."""

import io
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import asdict, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

import vit_steps
from hostile import kinds
from hostile.kinds import Kind, kinds_of

PACKAGE = Path(vit_steps.__file__).parent
WORKS = "works"


class Row(NamedTuple):
    """One public function.

    Attributes:
        call: the function.
        make: its arguments, right and fresh; a hostile value takes the place of one of them.
        own: argument -> kinds, for what is hostile to this function alone.
        fine: argument -> {kind: why it is no hostile value here}.
        skip: argument -> {kind: why it cannot be tried}.
        refusals: what it may raise besides TypeError and ValueError, as its docstring says.
        names: what else a refusal may call an argument.
        seen: what to compare, of the arguments and the result, where the result is not it.
        changes: arguments that it is there to change.
    """

    call: Callable
    make: Callable[[], dict[str, Any]]
    own: dict[str, dict[str, Kind]] = {}  # noqa: RUF012
    fine: dict[str, dict[str, str]] = {}  # noqa: RUF012
    skip: dict[str, dict[str, str]] = {}  # noqa: RUF012
    refusals: tuple[type[Exception], ...] = ()
    names: dict[str, str] = {}  # noqa: RUF012
    seen: Callable[[dict, Any], Any] = lambda arguments, result: result
    changes: tuple[str, ...] = ()


class Outcome(NamedTuple):
    """What came of it: "works" or an exception's name; a fault says what is wrong with that."""

    verdict: str
    fault: str | None = None


class Ran(NamedTuple):
    """A call, and what is left of it."""

    result: Any
    error: Exception | None
    printed: str
    changed: str | None


def tries(row: Row) -> Iterator[tuple[str, str, Kind]]:
    """Every (argument, name of the kind, kind) that this function is tried with."""
    for argument, value in row.make().items():
        skipped = row.skip.get(argument, {})
        for name, kind in (kinds_of(value) | row.own.get(argument, {})).items():
            if name not in skipped:
                yield argument, name, kind


def judge(row: Row, argument: str, name: str, kind: Kind) -> Outcome:
    """Run it; the fault is None where it worked and was right, or was refused as it should be."""
    torch.manual_seed(0)
    arguments = row.make()
    good = arguments[argument]
    arguments[argument] = kind.make(good)
    ran = run(row, arguments)
    verdict = type(ran.error).__name__ if ran.error else WORKS
    fine = name in row.fine.get(argument, {})
    claim = kinds.SAME_IF_TAKEN if fine else kind.claim
    fault = _refused_amiss(row, argument, claim, ran.error) if ran.error else None
    if ran.changed:
        fault = f"{ran.changed} was changed"
    if not ran.error and not fine and not fault:
        fault = _wrong(row, argument, kind, ran)
    return Outcome(verdict, fault)


def run(row: Row, arguments: dict[str, Any]) -> Ran:
    torch.manual_seed(0)
    before, printed, error, result = freeze(arguments), io.StringIO(), None, None
    try:
        with warnings.catch_warnings(), redirect_stdout(printed), redirect_stderr(io.StringIO()):
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", RuntimeWarning)
            result = row.seen(arguments, row.call(**arguments))
    except Exception as caught:
        error = caught
    after = freeze(arguments)
    changed = [name for name in before if name not in row.changes and not alike(before[name], after[name], 0)]
    return Ran(result, error, printed.getvalue(), changed[0] if changed else None)


def _refused_amiss(row: Row, argument: str, claim: str, error: Exception) -> str | None:
    said = f"{type(error).__name__}: {error}".split("\n")[0]
    if not isinstance(error, (TypeError, ValueError, *row.refusals)):
        return f"fails with {said}"
    if not is_ours(error):
        return f"fails behind the door with {said}"
    if claim == kinds.SAME:
        return f"refuses what is right with {said}"
    if not any(word in str(error) for word in (argument, row.names.get(argument, argument))):
        return f"does not name {argument}: {said}"
    return None


def is_ours(error: BaseException) -> bool:
    """Whether one of our own lines raised it."""
    last = traceback.extract_tb(error.__traceback__)[-1]
    return PACKAGE in Path(last.filename).parents and last.line.startswith("raise")


def _wrong(row: Row, argument: str, kind: Kind, ran: Ran) -> str | None:
    """What is wrong with a result, in the light of what it should be."""
    ours = plain(ran.result)
    if kind.claim == kinds.NOTHING:
        return "passes silently"
    if kind.claim == kinds.REFUSED_IN_WORDS:
        lines = ran.printed.strip().split("\n")
        good = ran.result is False and len(lines) == 1 and lines[0].startswith(("wrong: ", "not yet: "))
        return None if good else f"gives {ran.result} and says {ran.printed!r}"
    numbers = list(leaves(ours))
    if kind.claim == kinds.NO_NUMBERS:
        on_meta = [number for number in numbers if isinstance(number, Tensor) and number.is_meta]
        return None if on_meta else "takes a tensor without numbers and gives numbers"
    finite = all(np.isfinite(number).all() for number in numbers if isinstance(number, np.ndarray))
    if kind.claim == kinds.FINITE:
        return None if finite else "gives NaN for nothing"
    if kind.claim == kinds.NOT_FINITE:
        return "passes silently" if finite else None
    torch.manual_seed(0)
    arguments = row.make()
    arguments[argument] = kind.twin(arguments[argument])
    theirs = run(row, arguments)
    if theirs.error:
        return f"takes this, and refuses the plain numbers: {theirs.error}"
    return None if alike(ours, plain(theirs.result), tolerance(kind)) else "gives something else"


def tolerance(kind: Kind) -> float:
    return 0.05 if kind.claim == kinds.PRECISE else 1e-5


# Results and arguments, taken apart into arrays and words


def freeze(arguments: dict[str, Any]) -> dict[str, Any]:
    """A copy that a change in place does not reach, with the versions that torch counts."""
    return {name: (plain(value), version(value)) for name, value in arguments.items()}


def version(value: Any) -> Any:
    if isinstance(value, Tensor):
        return (value._version, value.requires_grad, value.grad is None)
    if isinstance(value, (tuple, list)):
        return tuple(map(version, value))
    return tuple(map(version, value.values())) if isinstance(value, dict) else ()


def plain(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value if value.is_meta else of_tensor(value)
    if isinstance(value, (bool, int, float, complex, np.ndarray, np.generic)):
        return np.array(value)
    if isinstance(value, nn.Module):
        return plain(dict(value.state_dict()))
    if is_dataclass(value) and not isinstance(value, type):
        return plain(asdict(value))
    if isinstance(value, dict):
        return tuple((str(key), plain(value[key])) for key in value)
    if isinstance(value, (tuple, list)):
        return tuple(map(plain, value))
    return value if isinstance(value, (str, bytes)) else None


def of_tensor(tensor: Tensor) -> np.ndarray:
    wide = torch.complex128 if tensor.is_complex() else torch.float64
    return tensor.detach().cpu().to_dense().to(wide, copy=True).numpy()


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, tuple):
        for part in value:
            yield from leaves(part)
    elif value is not None:
        yield value


def alike(ours: Any, theirs: Any, tol: float) -> bool:
    if isinstance(ours, tuple) and isinstance(theirs, tuple):
        return len(ours) == len(theirs) and all(alike(*pair, tol) for pair in zip(ours, theirs, strict=True))
    if isinstance(ours, np.ndarray) and isinstance(theirs, np.ndarray):
        if ours.dtype.kind not in "biufc" or theirs.dtype.kind not in "biufc":
            return np.array_equal(ours, theirs)
        if ours.shape != theirs.shape:
            return False
        return np.allclose(ours.astype(complex), theirs.astype(complex), rtol=tol, atol=tol, equal_nan=True)
    if isinstance(ours, Tensor) and isinstance(theirs, Tensor):
        return ours.shape == theirs.shape
    return type(ours) is type(theirs) and ours == theirs
