"""From an annotation to a reader, which refuses what does not fit and notes the sizes of what does."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from inspect import Parameter
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from jaxtyping import AbstractArray, Float, Int, Integer
from torch import Tensor

from vit_steps.doors import values


@dataclass
class Call:
    """What is known of one call's arguments so far.

    Attributes:
        sizes: "patch_size", "image height" or "number of tokens" -> how many.
        axes: axis -> how long it is, and which argument said so first.
        tensors: the first tensor, and the first of floating point, by name: all others have to fit them.
    """

    sizes: dict[str, Any] = field(default_factory=dict)
    axes: dict[str, tuple[int, str]] = field(default_factory=dict)
    tensors: dict[str, tuple[str, Tensor]] = field(default_factory=dict)


Reader = Callable[[Any, Call], None]
# What judges the numbers of a tensor.
NUMBERS: dict[Any, Callable] = {Float: values.floating, Int: values.integers, Integer: values.integers}
HELD = {str: "names", int: "integers"}


def anything(value: Any, call: Call) -> None:
    """Read an argument that its own function, or nobody, has to judge."""


def reader_of(name: str, annotation: Any, least: int | None = 1) -> Reader:
    """What reads a value of this annotation; ``least`` is where its integers begin, None for no bound."""
    options = _options(annotation)
    if type(None) in options:
        inner = reader_of(name, Union[tuple(each for each in options if each is not type(None))], least)  # noqa: UP007
        return lambda value, call: None if value is None else inner(value, call)
    if all(_is_tensor(option) for option in options):
        return _tensor(name, options)
    if annotation is int:
        return _integer(name, least)
    if set(options) == {int, float} or annotation is float:
        return lambda value, call: call.sizes.update({name: values.number(name, value, positive=least == 1)})
    if annotation == tuple[int, int] or set(options) == {int, tuple[int, int]}:
        return _pair(name, one_for_both=len(options) == 2)
    if get_origin(annotation) in (list, Sequence):
        return _sequence(name, HELD.get(get_args(annotation)[0], "values"))
    simple = _simple(annotation, options)
    return (lambda value, call: simple(name, value)) if simple else anything


def judge(name: str, value: Any, annotation: Any) -> None:
    """Judge a value that is no argument, such as what a callable gave, by an annotation of its own."""
    reader_of(name, annotation)(value, Call())


def _options(annotation: Any) -> tuple:
    return get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)


def _is_tensor(annotation: Any) -> bool:
    return annotation is Tensor or (isinstance(annotation, type) and issubclass(annotation, AbstractArray))


def _simple(annotation: Any, options: tuple) -> Callable[[str, Any], Any] | None:
    """What judges a value that has no sizes."""
    if get_origin(annotation) is Literal:
        return lambda name, value: values.one_of(name, value, get_args(annotation))
    if os.PathLike in options:
        return values.path
    if get_origin(annotation) is Callable or annotation is Callable:
        return values.function
    if isinstance(annotation, type) and annotation not in (Any, object, Parameter.empty):
        return lambda name, value: values.instance(name, value, annotation)
    return None


def _integer(name: str, least: int | None) -> Reader:
    def read(value: Any, call: Call) -> None:
        call.sizes[name] = values.integer(name, value, least)

    return read


def _pair(name: str, *, one_for_both: bool) -> Reader:
    axes = ("rows", "cols") if "grid" in name else ("height", "width")

    def read(value: Any, call: Call) -> None:
        if one_for_both and not isinstance(value, (tuple, list)):
            value = (values.integer(name, value),) * 2
        for axis, size in zip(axes, values.pair(name, value, axes), strict=True):
            call.sizes[f"{name} {axis}"] = size

    return read


def _sequence(name: str, held: str) -> Reader:
    def read(value: Any, call: Call) -> None:
        call.sizes[f"number of {name}"] = len(values.sequence(name, value, held))

    return read


def _tensor(name: str, options: tuple) -> Reader:
    """Read a tensor of one shape, or of the one that has as many axes as it."""
    shapes = [str(getattr(option, "dim_str", "...")) for option in options]
    by_rank = {len(shape.split()): shape.split() for shape in shapes}
    dtypes = {getattr(option, "dtype", None) for option in options}
    judge_numbers = NUMBERS.get(dtypes.pop()) if len(dtypes) == 1 else None
    is_floating = judge_numbers is values.floating

    def read(value: Any, call: Call) -> None:
        values.tensor(name, value)
        if "..." not in by_rank.get(1, ()):
            wanted = " or ".join(f"({shape})" for shape in shapes)
            _read_axes(name, value, by_rank.get(value.ndim), wanted, call)
        if judge_numbers:
            judge_numbers(name, value)
        _fit_together(name, value, is_floating, call)

    return read


def _read_axes(name: str, tensor: Tensor, axes: list[str] | None, wanted: str, call: Call) -> None:
    fits = axes is not None and all(
        not axis.isdigit() or int(axis) == size for axis, size in zip(axes, tensor.shape, strict=True)
    )
    if not fits:
        raise ValueError(f"{name} must have the axes {wanted}, got shape {tuple(tensor.shape)}")
    for axis, size in zip(axes, tensor.shape, strict=True):
        if axis.isidentifier():
            _agree(name, axis, size, call)


def _agree(name: str, axis: str, size: int, call: Call) -> None:
    known, first = call.axes.setdefault(axis, (size, name))
    if known != size and first == name:
        raise ValueError(f"{name} has {axis} {known} and {axis} {size}: they must be the same")
    if known != size:
        raise ValueError(f"{first} has {axis} {known}, {name} has {axis} {size}")
    call.sizes[f"{name} {axis}"] = call.sizes[f"number of {axis}"] = size


def _fit_together(name: str, tensor: Tensor, is_floating: bool, call: Call) -> None:
    first, other = call.tensors.setdefault("any", (name, tensor))
    if other.device != tensor.device:
        raise ValueError(
            f"{first} is on {other.device}, {name} is on {tensor.device}: they must be on the same"
        )
    if is_floating:
        first, other = call.tensors.setdefault("floating", (name, tensor))
        if other.dtype != tensor.dtype:
            raise TypeError(f"{first} is {other.dtype}, {name} is {tensor.dtype}: they must be the same")


def asker_of(name: str, annotation: Any) -> Callable[[Call], Callable] | None:
    """Of ``Callable[[...], result]``: call -> function -> the same, but its result has to fit; else None.

    The result is a tensor, or a tuple that begins with one.
    """
    arguments = get_args(annotation) if get_origin(annotation) is Callable else ()
    if not arguments or arguments[-1] is Any:
        return None
    length = len(get_args(arguments[-1])) if get_origin(arguments[-1]) is tuple else None
    text = getattr(get_args(arguments[-1])[0] if length else arguments[-1], "dim_str", None)

    def asker(call: Call) -> Callable[[Callable], Callable]:
        shape = None if text is None else tuple(_length(axis, call) for axis in text.split())
        return lambda function: _asked(name, function, length, text, shape)

    return asker


def _asked(
    name: str, function: Callable, length: int | None, text: str | None, shape: tuple | None
) -> Callable:
    def ask(*given: Any) -> Any:
        answer = function(*given)
        if length is not None and not (type(answer) is tuple and len(answer) == length):
            _refuse_tuple(name, answer, length)
        first = answer if length is None else answer[0]
        if not isinstance(first, Tensor) or (shape is not None and first.shape != shape):
            _refuse_answer(name, first, text, shape)
        return answer

    return ask


def _refuse_tuple(name: str, answer: Any, length: int) -> None:
    # A bare tensor of two images would unpack unnoticed, one image as tokens and one as weights.
    if not isinstance(answer, tuple) or len(answer) != length:
        got = f"a tuple of {len(answer)}" if isinstance(answer, tuple) else type(answer).__name__
        raise TypeError(f"{name} must return a tuple of {length}, got {got}")


def _refuse_answer(name: str, answer: Any, text: str | None, shape: tuple | None) -> None:
    if not isinstance(answer, Tensor):
        raise TypeError(f"{name} must give a torch.Tensor, not {type(answer).__name__}")
    # A sum would broadcast a wrong shape without a complaint.
    raise ValueError(f"{name} gave shape {tuple(answer.shape)}, ({text}) is {shape} here")


def _length(axis: str, call: Call) -> int:
    """How long an axis is, such as "tokens", "1" or "3*dim"."""
    times, _, known = axis.rpartition("*")
    return int(times or 1) * (int(known) if known.isdigit() else call.axes[known][0])


def _look_of_pair(value: Any) -> tuple:
    sizes = value if isinstance(value, (tuple, list)) else (value,)
    return (type(value), *sizes, *map(type, sizes))  # (True, 3) equals (1, 3)


def look_of(annotation: Any) -> Callable[[Any], Any]:
    """What a door has to remember of a value to know another one like it."""
    options = tuple(option for option in _options(annotation) if option is not type(None))
    annotation = options[0] if len(options) == 1 else annotation
    if any(_is_tensor(option) for option in options):
        return lambda value: None if value is None else (value.shape, value.dtype, value.device)
    if get_origin(annotation) in (list, Sequence):
        return len
    if _simple(options[0], options) is values.function:
        return callable
    if tuple[int, int] in options:
        return _look_of_pair
    if options[0] in (int, float, str) or get_origin(options[0]) is Literal:
        return lambda value: (type(value), value)
    return type  # never the value itself: what is remembered is kept alive
