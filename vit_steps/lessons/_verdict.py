"""What all checks share: an answer is run, held against the right one and the usual mistakes, and graded.

Every check takes the reader's function, prints one line and returns whether the answer is right; ``grade``
gives the same in silence, with the mistake's name. No answer makes a check raise. A mistake is recognised by
what it gives: the answer is held against the right one and against those that come of the usual mistakes, on
inputs that are random, not square and more than one image. What the reader is to write may not be called,
under whatever name: an answer is watched while it runs.
"""

import inspect
import io
import sys
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import contextmanager, nullcontext, redirect_stdout
from functools import wraps
from types import CodeType
from typing import Any, NamedTuple

import torch
from torch import Tensor

TOLERANCE = 1e-5  # float32 rounds below it, and no mistake hides below it
LONGEST_MESSAGE = 120
WRITE_IT = "write it yourself"


class Grade(NamedTuple):
    """What a check found: whether the answer is right, the line that says so, and the mistake's name."""

    right: bool
    message: str
    mistake: str | None = None


class Fault(str):
    """The line on a wrong answer, and the name that it shares with the same mistake of other readers."""

    name: str

    def __new__(cls, line: str, name: str | None = None):
        """Name the mistake by its line, or shorter where the line quotes numbers of this one answer."""
        fault = super().__new__(cls, line)
        fault.name = name or line.removeprefix("wrong: ")
        return fault


class Outcome(NamedTuple):
    """What an answer gave: a tensor, or the words for why there is none."""

    tensor: Tensor | None
    problem: Fault | None = None
    changed: bool = False


class _UnfitError(Exception):
    """Something came back, and not what was asked for."""


NOT_YET = "no answer yet"


def unfit(result: Any, wanted: str) -> _UnfitError:
    """What to raise when an answer gave something that is no answer."""
    if result is None or result is ...:
        return _UnfitError(Fault(f"not yet: your function returns {result}", NOT_YET))
    return _UnfitError(Fault(f"wrong: your function returns {type(result).__name__}, wanted {wanted}"))


def check(judge: Callable[..., Grade]) -> Callable[..., bool]:
    """Make a check of a function that grades: it prints the line, and returns whether the answer is right."""

    @wraps(judge)
    def tell(*answers: Any, **named: Any) -> bool:
        found = judge(*answers, **named)
        print(found.message)
        return found.right

    signature = inspect.signature(judge).replace(return_annotation=bool)
    tell.__signature__ = signature  # type: ignore[attr-defined]
    return tell


def grade(check: Callable[..., bool], *answers: Any) -> Grade:
    """Hold an answer against a check in silence: the same verdict as a value, with the mistake's name.

    Args:
        check: one of the ``check_…`` functions.
        *answers: what the check takes, nearly always one function.

    Returns:
        ``(right, message, mistake)``: the line that the check would print, and what kind of mistake it is, in
        words that are the same for everybody who makes it; None for a right answer.

    Raises:
        TypeError: "check must be one of the check_ functions of vit_steps.lessons, got 'sum'", or another
            number of answers than the check takes.

    Example:
        >>> grade(check_pool_patches, lambda tokens, num_prefix: tokens.mean(1)).mistake
        'CLS and registers are in your mean: it runs over all tokens'
    """
    judge = getattr(check, "__wrapped__", None)
    if not getattr(check, "__name__", "").startswith("check_") or judge is None:
        raise TypeError(f"check must be one of the check_ functions of vit_steps.lessons, got {check!r:.80}")
    inspect.signature(judge).bind(*answers)
    with redirect_stdout(_Nowhere()):
        return judge(*answers)


class _Nowhere(io.TextIOBase):
    """Takes whatever is printed, and keeps nothing of it."""

    def write(self, text: str, /) -> int:
        return len(text)


def verdict(fault: str | None, held_against: str, caught: Iterable[str] = ()) -> Grade:
    """Put a check's one line together: the fault, or what the answer was held against."""
    names = "; ".join(words.partition(" (")[0] for words in caught)
    line = fault or f"right: {held_against}" + (f" these are caught: {names}" if names else "")
    return Grade(fault is None, " ".join(line.split()), fault and Fault(getattr(fault, "name", fault)).name)


def find_fault(
    answer: Any,
    reference: Callable,
    cases: dict[str, tuple],
    mistakes: dict[str, Callable],
    *,
    yourself: Iterable[Callable] = (),
) -> Fault | None:
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
                return Fault(f"wrong: {words}")
    return next(_differences(cases, outcomes, wanted), None)


def not_a_function(answer: Any) -> Fault:
    """Say that something else stands where a function is asked for."""
    if answer is None:
        return Fault("not yet: there is no function, only None", NOT_YET)
    asked = "give the function itself, without calling it"
    return Fault(f"wrong: {asked}; this is of type {type(answer).__name__}", asked)


def call(function: Callable, arguments: tuple, yourself: Iterable[Callable] = ()) -> Outcome:
    """Run an answer on copies of the arguments, and see which functions it calls."""
    given = [value.clone() if isinstance(value, Tensor) else value for value in arguments]
    try:
        with own_random_numbers(), watched(yourself) as called:
            result = function(*given)
        tensor, problem = _to_tensor(result), None
        if called:
            problem = Fault(f"wrong: your function calls {called[0]}: {WRITE_IT}")
    except _UnfitError as error:
        tensor, problem = None, error.args[0]
    except Exception as error:
        tensor, problem = None, Fault(f"wrong: your function raises {quote(error)}", raised(error))
    return Outcome(tensor, problem, any(map(_is_changed, given, arguments)))


@contextmanager
def watched(functions: Iterable[Callable]) -> Iterator[list[str]]:
    """Note which of these functions are called meanwhile, from wherever and by whatever name."""
    names = {_identity(inspect.unwrap(function)): function.__name__ for function in functions}
    called: list[str] = []

    def note(frame: Any, event: str, function: Any) -> None:
        if event in ("call", "c_call"):
            seen = _place(frame.f_code) if event == "call" else id(function)
            if seen in names:
                called.append(names[seen])

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


def _identity(function: Callable) -> tuple | int:
    """What a function is known by: Python's by where they are written, those written in C by themselves."""
    code = getattr(function, "__code__", None)
    return _place(code) if code else id(function)


def _place(code: CodeType) -> tuple:
    # A module that is imported afresh has other functions, and the same lines.
    return code.co_filename, code.co_firstlineno, code.co_name


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
    if isinstance(result, Tensor) and type(result) not in (Tensor, torch.nn.Parameter):
        result = result.tolist()  # a kind of tensor of the answer's own may compare as it likes
    try:
        return torch.as_tensor(result).detach().to("cpu", torch.float64).to_dense()
    except (RuntimeError, TypeError, ValueError):
        raise unfit(result, "a tensor") from None


def raised(error: Exception) -> str:
    """The name of a mistake that ends in an error: its kind, without what it says of this one answer."""
    return f"your function raises {type(error).__name__}"


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


def _differences(cases: dict[str, tuple], outcomes: list[Outcome], wanted: list[Outcome]) -> Iterator[Fault]:
    for label, ours, right in zip(cases, outcomes, wanted, strict=True):
        if ours.problem:
            yield _locate(ours.problem, label)
        elif ours.tensor.shape != right.tensor.shape:
            shapes = f"{tuple(ours.tensor.shape)}, wanted {tuple(right.tensor.shape)}"
            yield Fault(f"wrong: for {label} your shape is {shapes}", "your shape is another one")
        elif not _alike(ours, right):
            numbers = _first_difference(ours.tensor, right.tensor)
            yield Fault(f"wrong: for {label} {numbers}", "your numbers are other ones")
        elif ours.changed:
            yield Fault(
                "wrong: right numbers, but your function changes the tensor it was given: take a copy"
            )


def _locate(problem: Fault, label: str) -> Fault:
    is_everywhere = problem.startswith("not yet") or problem.endswith(WRITE_IT)
    return problem if is_everywhere else Fault(f"{problem} ({label})", problem.name)


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
) -> Fault | None:
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
            return Fault(f"wrong: your test refuses the right one, {words}")
        if words in zoo and verdict.tensor:
            slipped.append(words)
    return Fault(f"wrong: this slipped through your test: {'; '.join(slipped)}") if slipped else None


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
