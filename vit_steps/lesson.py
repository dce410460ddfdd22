"""What a notebook needs around a cell: show the source of a function, show a figure with its words."""

import ast
import inspect
import textwrap
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

DOCUMENTED = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
PICTURE_DPI, SCREEN_DPI = 150, 100  # half as fine again as a screen needs, for a projector


def show_source(*functions: Callable) -> None:
    """Display functions as they stand in their module, each with the file it comes from.

    Of a docstring only the first line is shown; ``help(function)`` has the rest.

    Example:
        >>> show_source(image2patches)  # doctest: +SKIP

    Raises:
        TypeError: something that has no Python source, such as a function written in C.
    """
    from IPython.display import Markdown, display

    _check_functions(functions)
    for function in map(inspect.unwrap, functions):
        source = _without_long_docstring(textwrap.dedent(inspect.getsource(function)))
        file = Path(*Path(inspect.getfile(function)).parts[-2:]).as_posix()
        display(Markdown(f"```python\n# {file}\n{source.rstrip()}\n```"))


def show_figure(figure, alt: str) -> None:
    """Display a matplotlib figure as a picture with an alternative text, and close it.

    Args:
        figure: the figure; closing it keeps it from being shown twice.
        alt: what the picture shows, for a reader who cannot see it.

    Raises:
        ValueError: ``alt`` is empty.
        TypeError: ``figure`` is no matplotlib figure, or ``alt`` no text.
    """
    from IPython.display import display
    from matplotlib import pyplot as plt

    _check_shown(figure, alt)
    picture = _to_png(figure)
    width = int.from_bytes(picture[16:20], "big")  # a PNG's header holds its width there
    shown = {"alt": alt, "width": round(width * SCREEN_DPI / PICTURE_DPI)}
    plt.close(figure)
    display({"image/png": picture, "text/plain": alt}, raw=True, metadata={"image/png": shown})


def _to_png(figure) -> bytes:
    """Render with 255 colours: no figure needs more, and the notebook stays small enough for git."""
    from PIL import Image

    rendered, packed = BytesIO(), BytesIO()
    figure.draw_without_rendering()  # else the first layout leaves no room for some titles
    figure.savefig(rendered, format="png", dpi=PICTURE_DPI)
    Image.open(rendered).convert("RGB").quantize(255).save(packed, format="png", optimize=True)
    return packed.getvalue()


def _check_functions(functions: tuple) -> None:
    for function in map(inspect.unwrap, functions):
        if not (inspect.isroutine(function) or inspect.isclass(function)) or inspect.isbuiltin(function):
            raise TypeError(f"functions must be written in Python, got {function!r:.80}")


def _check_shown(figure: object, alt: object) -> None:
    from matplotlib.figure import Figure

    if not isinstance(figure, Figure):
        raise TypeError(f"figure must be a matplotlib Figure, not {type(figure).__name__}")
    if not isinstance(alt, str):
        raise TypeError(f"alt must be a text, not {type(alt).__name__}")
    if not alt.strip():
        raise ValueError("alt is empty: say what the figure shows")


def _without_long_docstring(source: str) -> str:
    shown = ast.parse(source).body[0]
    documented = isinstance(shown, DOCUMENTED) and ast.get_docstring(shown) is not None
    if not documented or shown.body[0].end_lineno == shown.body[0].lineno:
        return source
    docstring = shown.body[0]
    lines = source.splitlines()
    lines[docstring.lineno - 1 : docstring.end_lineno] = [lines[docstring.lineno - 1] + '"""']
    return "\n".join(lines)
