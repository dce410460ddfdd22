"""What all widgets share: the picture and the words that a notebook stores, the style, the colours."""

import re
from collections.abc import Callable
from functools import wraps
from inspect import signature
from itertools import zip_longest
from pathlib import Path
from typing import Any

import anywidget
from matplotlib.figure import Figure
from torch import Tensor

from vit_steps.looking.png import pack, render, screen_width

HERE = Path(__file__).parent
VIT = HERE.parents[1] / "vit.js"
STYLE = "vit_steps.looking.lesson"


def script_of(*paths: Path, exports: bool = False) -> str:
    """The five steps in JavaScript (``vit.js``) and the scripts that use them, as one script."""
    steps, *others = (path.read_text(encoding="utf-8") for path in (VIT, *paths))
    return "\n".join([steps if exports else re.sub("^export ", "", steps, flags=re.MULTILINE), *others])


class LessonWidget(anywidget.AnyWidget):
    """A widget that leaves a picture and its alternative text in the notebook."""

    _css = HERE / "widgets.css"

    def __init__(self, picture: bytes, alt: str, **traits):
        super().__init__(**traits)
        self.picture, self.alt = picture, alt

    def _repr_mimebundle_(self, **kwargs) -> tuple[dict, dict]:
        data, metadata = super()._repr_mimebundle_(**kwargs)
        stored = {"text/plain": self.alt, "image/png": self.picture}
        return data | stored, metadata | {"image/png": {"alt": self.alt, "width": screen_width(self.picture)}}


def as_drawn(value: Any) -> Any:
    """A tensor in single precision, on the CPU and without a gradient; anything else as it is."""
    if not isinstance(value, Tensor) or value.is_meta or value.is_complex():
        return value  # a door has words for it
    return value.detach().cpu().float()


def drawing(*names: str) -> Callable[[Callable], Callable]:
    """Give a function these arguments :func:`as_drawn`, whatever precision and device each comes in."""

    def give(function: Callable) -> Callable:
        named = [name in names for name in signature(function).parameters]

        @wraps(function)
        def draw(*args: Any, **kwargs: Any) -> Any:
            found = [
                as_drawn(value) if drawn else value for value, drawn in zip_longest(args, named[: len(args)])
            ]
            kwargs |= {name: as_drawn(kwargs[name]) for name in names if name in kwargs}
            return function(*found, **kwargs)

        return draw

    return give


def picture_of(figure: Figure) -> bytes:
    """The picture that a notebook stores of a widget, on white whatever the colour of the page."""
    return pack(render(figure, facecolor="white"))
