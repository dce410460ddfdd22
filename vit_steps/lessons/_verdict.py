"""What all checks share: an answer is run, held against the right one and the usual mistakes, and told.

Every check takes the reader's function, prints one line and returns whether the answer is right. No answer
makes a check raise. A mistake is recognised by what it gives: the answer is held against the right one and
against those that come of the usual mistakes, on inputs that are random, not square and more than one image.
What the reader is to write may not be called, under whatever name: an answer is watched while it runs.
"""

import inspect
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor

TOLERANCE = 1e-5  # float32 rounds below it, and no mistake hides below it
LONGEST_MESSAGE = 120
WRITE_IT = "write it yourself"


class Outcome(NamedTuple):
    """What an answer gave: a tensor, or the words for why there is none."""

    tensor: Tensor | None
    problem: str | None = None
    changed: bool = False


class _UnfitError(Exception):
    """Something came back, and not what was asked for."""


def unfit(result: Any, wanted: str) -> _UnfitError:
    """What to raise when an answer gave something that is no answer."""
    if result is None or result is ...:
        return _UnfitError(f"not yet: your function returns {result}")
    return _UnfitError(f"wrong: your function returns {type(result).__name__}, wanted {wanted}")


def tell(fault: str | None, held_against: str, caught: Iterable[str] = ()) -> bool:
    """Print the one line of a check, and say whether there was no fault."""
    names = "; ".join(words.partition(" (")[0] for words in caught)
    line = fault or f"right: {held_against}" + (f" these are caught: {names}" if names else "")
    print(" ".join(line.split()))
    return fault is None


def find_fault(
    answer: Any,
    reference: Callable,
    cases: dict[str, tuple],
    mistakes: dict[str, Callable],
    *,
    yourself: Iterable[Callable] = (),
) -> str | None:
    """Say what is wrong with an answer, or None: in the words of ``mistakes`` where one gives the same.

    ``yourself`` are functions that the reader is to do without, because one of them is the answer.
    """
    if not callable(answer):
        return not_a_function(answer)
    outcomes = [call(answer, arguments, yourself) for arguments in cases.values()]
    wanted = [call(reference, arguments) for arguments in cases.values()]
    if not _same(outcomes, wanted):
        for words, mistake in mistakes.items():
            if _same(outcomes, [call(mistake, arguments) for arguments in cases.values()]):
                return f"wrong: {words}"
    return next(_differences(cases, outcomes, wanted), None)


def not_a_function(answer: Any) -> str:
    """Say that something else stands where a function is asked for."""
    if answer is None:
        return "not yet: there is no function, only None"
    return f"wrong: give the function itself, without calling it; this is of type {type(answer).__name__}"


def call(function: Callable, arguments: tuple, yourself: Iterable[Callable] = ()) -> Outcome:
    """Run an answer on copies of the arguments, and see which functions it calls."""
    given = [value.clone() if isinstance(value, Tensor) else value for value in arguments]
    try:
        with own_random_numbers(), watched(yourself) as called:
            result = function(*given)
        tensor, problem = _to_tensor(result), None
        if called:
            problem = f"wrong: your function calls {called[0]}: {WRITE_IT}"
    except _UnfitError as error:
        tensor, problem = None, str(error)
    except Exception as error:
        tensor, problem = None, f"wrong: your function raises {quote(error)}"
    return Outcome(tensor, problem, any(map(_is_changed, given, arguments)))


@contextmanager
def watched(functions: Iterable[Callable]) -> Iterator[list[str]]:
    """Note which of these functions are called meanwhile, from wherever and by whatever name."""
    names = {_identity(inspect.unwrap(function)): function.__name__ for function in functions}
    called: list[str] = []

    def note(frame: Any, event: str, function: Any) -> None:
        # Python's functions are known by their code, those written in C by themselves.
        seen = {"call": frame.f_code, "c_call": function}.get(event)
        if event in ("call", "c_call") and id(seen) in names:
            called.append(names[id(seen)])

    with _profiled(note) if names else nullcontext():
        yield called


@contextmanager
def _profiled(note: Callable | None) -> Iterator[None]:
    before = sys.getprofile()
    sys.setprofile(note)
    try:
        yield
    finally:
        sys.setprofile(before)


def _identity(function: Callable) -> int:
    return id(getattr(function, "__code__", function))


def count_calls(function: Callable, arguments: tuple) -> int:
    """Count the calls of functions written in C, as torch's are: more of them for more is a loop."""
    count = 0

    def note(frame: Any, event: str, function: Any) -> None:
        nonlocal count
        count += event == "c_call"

    with _profiled(note):
        call(function, arguments)
    return count


def _to_tensor(result: Any) -> Tensor:
    try:
        return torch.as_tensor(result).detach().to("cpu", torch.float64).to_dense()
    except (RuntimeError, TypeError, ValueError):
        raise unfit(result, "a tensor") from None


def quote(error: Exception) -> str:
    """What an error says, in one short line."""
    words = " ".join(f"{type(error).__name__}: {error}".split())
    return words if len(words) <= LONGEST_MESSAGE else words[: LONGEST_MESSAGE - 1] + "…"


def _is_changed(given: Any, argument: Any) -> bool:
    if not isinstance(argument, Tensor):
        return False
    return given.requires_grad != argument.requires_grad or not torch.equal(given, argument)


def _same(outcomes: list[Outcome], others: list[Outcome]) -> bool:
    return all(_alike(*pair) for pair in zip(outcomes, others, strict=True))


def _alike(ours: Outcome, other: Outcome) -> bool:
    if ours.tensor is None or other.tensor is None:
        return ours.tensor is other.tensor
    if ours.tensor.shape != other.tensor.shape:
        return False
    return not _far(ours.tensor, other.tensor).any()


def _far(ours: Tensor, other: Tensor) -> Tensor:
    return ~torch.isclose(ours, other, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)


def _differences(cases: dict[str, tuple], outcomes: list[Outcome], wanted: list[Outcome]) -> Iterator[str]:
    for label, ours, right in zip(cases, outcomes, wanted, strict=True):
        if ours.problem:
            yield _locate(ours.problem, label)
        elif ours.tensor.shape != right.tensor.shape:
            shapes = f"{tuple(ours.tensor.shape)}, wanted {tuple(right.tensor.shape)}"
            yield f"wrong: for {label} your shape is {shapes}"
        elif not _alike(ours, right):
            yield f"wrong: for {label} {_first_difference(ours.tensor, right.tensor)}"
        elif ours.changed:
            yield "wrong: right numbers, but your function changes the tensor it was given: take a copy"


def _locate(problem: str, label: str) -> str:
    is_everywhere = problem.startswith("not yet") or problem.endswith(WRITE_IT)
    return problem if is_everywhere else f"{problem} ({label})"


def _first_difference(ours: Tensor, right: Tensor) -> str:
    place = tuple(_far(ours, right).nonzero()[0].tolist())
    numbers = f"{show(ours[place])}, wanted {show(right[place])}"
    if not place:
        return f"you say {numbers}"
    return f"your shape {tuple(ours.shape)} is right; the first difference, at {list(place)}: {numbers}"


def show(number: Tensor) -> str:
    """Write a number, or a few of them, as a reader would."""
    return f"{number.item():.5g}" if number.ndim == 0 else str(number.tolist())


def find_gap(
    answer: Any, right: dict[str, Callable], zoo: dict[str, Callable], *, yourself: Iterable[Callable] = ()
) -> str | None:
    """Say which bug an answer lets through, or which right implementation it refuses.

    ``yourself`` are functions that the answer, a test, is not to hold the others against.
    """
    if not callable(answer):
        return not_a_function(answer)
    slipped = []
    for words, implementation in (right | zoo).items():
        verdict = _ask(answer, implementation, yourself)
        if verdict.problem:
            return _locate(verdict.problem, words)
        if words in right and not verdict.tensor:
            return f"wrong: your test refuses the right one, {words}"
        if words in zoo and verdict.tensor:
            slipped.append(words)
    return f"wrong: this slipped through your test: {'; '.join(slipped)}" if slipped else None


def _ask(answer: Callable, implementation: Callable, yourself: Iterable[Callable]) -> Outcome:
    def verdict(of: Callable) -> bool:
        said = answer(of)
        is_one = said.numel() == 1 if isinstance(said, Tensor) else not isinstance(said, Collection)
        if said is None or said is ... or not is_one:  # a word and a pair are true whatever they say
            raise unfit(said, "True or False")
        return bool(said)

    # Wrapped, so that nobody can tell the right one by what it is, only by what it does.
    def member(*arguments: Any, **named: Any) -> Any:
        with _profiled(None):  # what a member of the zoo calls, the answer did not
            return implementation(*arguments, **named)

    return call(verdict, (member,), yourself)


@contextmanager
def own_random_numbers() -> Iterator[None]:
    """Give the same random numbers to every answer, and leave the notebook's as they are."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(0)
        yield


def random_tensor(*shape: int, seed: int = 0) -> Tensor:
    """Draw an input, the same in each run."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))
