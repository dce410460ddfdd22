"""What `make execute` keeps of a lesson besides what its cells print."""

import base64
import importlib
from io import BytesIO

import nbformat
import pytest
from PIL import Image

VIEW, STATE = "application/vnd.jupyter.widget-view+json", "application/vnd.jupyter.widget-state+json"


@pytest.fixture(scope="module")
def execute():
    return importlib.import_module("execute")


def png(colour):
    drawn = BytesIO()
    Image.new("RGB", (40, 20), colour).save(drawn, format="png")
    return base64.b64encode(drawn.getvalue()).decode()


def shown(model):
    return nbformat.v4.new_output("display_data", {VIEW: {"model_id": model}, "text/plain": "a curve, drawn"})


def test_a_widget_that_draws_while_cells_run_keeps_its_last_picture(execute):
    outputs = [shown("curve"), shown("a bar"), nbformat.v4.new_output("stream", text="done")]
    cells = [nbformat.v4.new_code_cell("1", outputs=outputs), nbformat.v4.new_markdown_cell("words")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    buffers = [{"path": ["value"], "data": png("red"), "encoding": "base64"}]
    state = {"curve": {"state": {"words": "loss 0.52"}, "buffers": buffers}, "a bar": {"state": {}}}
    notebook.metadata["widgets"] = {STATE: {"state": state}}
    execute.keep_last_pictures(notebook)
    curve, bar, _ = notebook.cells[0].outputs
    kept = Image.open(BytesIO(base64.b64decode(curve.data["image/png"]))).convert("RGB")
    assert (kept.size, kept.getpixel((3, 3))) == ((40, 20), (255, 0, 0))
    assert curve.metadata["image/png"] == {"alt": "a curve, drawn", "width": 40}
    assert "image/png" not in bar.data


def test_a_lesson_without_widgets_stays_as_it_is(execute):
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")])
    execute.keep_last_pictures(notebook)
    assert notebook.cells[0].outputs == []
