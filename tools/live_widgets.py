"""Make the lessons' widgets afresh and hand out what their scripts need, for pages without a kernel.

A notebook stores a widget's picture and no data. So the cells up to the last widget are run here, in this
process, and each widget is asked for its script and its traits. A pad to draw on brings its model along; one
that asks a function stays a picture, since its answers come from a kernel.
"""

import ast
import base64
import io
from contextlib import chdir, redirect_stdout
from pathlib import Path

import matplotlib
from matplotlib import pyplot

from vit_steps.looking.png import pack
from vit_steps.looking.widgets import DigitPad, LessonWidget

KERNEL_FREE = {
    *("attention_explorer", "likeness_picker", "position_picker"),
    *("patch_size_slider", "digit_pad"),
}


def live_widgets(notebook, folder: Path) -> dict[str, dict]:
    """Script and state of each widget that needs no kernel, by the id of its cell.

    Args:
        notebook: a lesson as nbformat reads it.
        folder: where its cells run.

    Raises:
        ValueError: a widget says something else than what the notebook stores of it.
    """
    matplotlib.use("Agg")
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    last = max((number for number, cell in enumerate(cells) if makes_widget(cell)), default=-1)
    namespace, found = {}, {}
    with chdir(folder), redirect_stdout(io.StringIO()):
        for cell in cells[: last + 1]:
            shown = run(cell, namespace)
            if "show_figure" in namespace:
                namespace["show_figure"] = close  # nobody looks: drawing them takes most of the time
            if makes_widget(cell) and not asks_kernel(shown):
                found[cell.id] = describe(shown, cell)
    return found


def asks_kernel(widget: LessonWidget) -> bool:
    return isinstance(widget, DigitPad) and not widget.weights


def makes_widget(cell) -> bool:
    match ast.parse(cell.source).body:
        case [*_, ast.Expr(ast.Call(ast.Name(name)))]:
            return name in KERNEL_FREE
    return False


def run(cell, namespace: dict):
    """Run a cell as a kernel would, and give the value of its last line when that is an expression."""
    tree = ast.parse(cell.source)
    last = tree.body.pop() if tree.body and isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, cell.id, "exec"), namespace)
    return eval(compile(ast.Expression(last.value), cell.id, "eval"), namespace) if last else None


def close(figure, alt: str) -> None:
    pyplot.close(figure)


def describe(widget: LessonWidget, cell) -> dict:
    stored = cell.outputs[-1].data["text/plain"]  # behind what the cell printed
    if widget.alt != stored:
        raise ValueError(f"{cell.id} stores {stored!r}, now it says {widget.alt!r}: make execute")
    own = set(widget.class_trait_names(sync=True)) - set(LessonWidget.class_trait_names(sync=True))
    names = own - {"_esm", "_css", "_anywidget_id"}
    return {
        "script": str(widget._esm),
        "state": {name: encode(getattr(widget, name)) for name in sorted(names)},
    }


def encode(value):
    """What JSON can hold; bytes become base64, and pictures are packed first."""
    if isinstance(value, bytes):
        return {"base64": base64.b64encode(pack(value) if value.startswith(b"\x89PNG") else value).decode()}
    return [encode(part) for part in value] if isinstance(value, list) else value
