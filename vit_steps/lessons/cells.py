"""What a notebook needs around a cell: show the source of a function, show a figure with its words."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path

from matplotlib.figure import Figure

from vit_steps.doors import door
from vit_steps.looking.png import pack, render, screen_width

DOCUMENTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def show_source(*functions: Callable) -> None:
    """Display functions as they stand in their module, each with the file it comes from.

    Of a docstring only the first line is shown; ``help(function)`` has the rest.

    Example:
        >>> show_source(image2patches)  # doctest: +SKIP

    Raises:
        TypeError: something that has no Python source, such as a function written in C.
    """
    from IPython.display import Markdown, display

    _ask_functions(functions)
    for function in map(inspect.unwrap, functions):
        source = _without_long_docstring(textwrap.dedent(inspect.getsource(function)))
        display(Markdown(f"```python\n# {_file_of(function)}\n{source.rstrip()}\n```"))


def _says_something(alt: str) -> None:
    if not alt.strip():
        raise ValueError("alt is empty: say what the figure shows")


@door(_says_something)
def show_figure(figure: Figure, alt: str) -> None:
    """Display a matplotlib figure as a picture with an alternative text, and close it.

    Args:
        figure: the figure; closing it keeps it from being shown twice.
        alt: what the picture shows, for a reader who cannot see it.

    Raises:
        ValueError: "alt is empty: say what the figure shows".
        TypeError: "figure must be a Figure, not Axes", or ``alt`` no text.
    """
    from IPython.display import display
    from matplotlib import pyplot as plt

    picture = pack(render(figure))
    shown = {"alt": alt, "width": screen_width(picture)}
    plt.close(figure)
    display({"image/png": picture, "text/plain": alt}, raw=True, metadata={"image/png": shown})


def _file_of(function: Callable) -> str:
    """The file of a function, from its package on: ``vit_steps/looking/plots.py``."""
    parts = Path(inspect.getfile(function)).parts
    package = function.__module__.partition(".")[0]
    first = max((place for place, part in enumerate(parts) if part == package), default=-2)
    return "/".join(parts[first:])


def _ask_functions(functions: tuple) -> None:
    for function in map(inspect.unwrap, functions):
        if not (inspect.isroutine(function) or inspect.isclass(function)) or inspect.isbuiltin(function):
            raise TypeError(f"functions must be written in Python, got {function!r:.80}")


def _without_long_docstring(source: str) -> str:
    shown = ast.parse(source).body[0]
    if not isinstance(shown, DOCUMENTED) or ast.get_docstring(shown) is None:
        return source
    if shown.body[0].end_lineno == shown.body[0].lineno:
        return source
    docstring = shown.body[0]
    lines = source.splitlines()
    lines[docstring.lineno - 1 : docstring.end_lineno] = [lines[docstring.lineno - 1] + '"""']
    return "\n".join(lines)
