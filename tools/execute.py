"""Run the lessons on clean kernels and store what they print and draw: `make execute`.

Running it twice leaves no diff: nothing that changes from run to run (the ids of widgets, the version of
Python) is kept. A cell tagged nbval-ignore-output measures time or asks the network: it keeps what it stored
until its own source changes, or that of another such cell before it, whose times it may draw. A cell tagged
nbval-skip needs trained weights: it runs where VIT_STEPS_WEIGHTS names a folder of them (`tools/real_vit.py`
makes one), and keeps what it stored anywhere else. A widget that is drawn afresh while
cells run, as the training curve is, keeps its last picture. A notebook is replaced only when all its cells
have run.
"""

import base64
import hashlib
import json
import os
import re
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from vit_steps.files.writing import write_whole
from vit_steps.looking.png import pack

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
LESSONS = sorted(NOTEBOOKS.glob("*.ipynb")) + sorted(NOTEBOOKS.glob("beyond/*.ipynb"))
WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
WEIGHTS, NEEDS_WEIGHTS = "VIT_STEPS_WEIGHTS", "nbval-skip"
WIDGET_ID = re.compile(r"\b[0-9a-f]{32}\b")


def execute(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    measured = [cell for cell in notebook.cells if is_measured(cell)]
    digests = [digest(measured[: end + 1]) for end in range(len(measured))]
    kept = {
        cell.id: cell.outputs
        for cell, now in zip(measured, digests, strict=True)
        if cell.metadata.get("measured_from") == now
    }
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,
        extra_arguments=["--IPKernelApp.log_level=ERROR"],
        resources={"metadata": {"path": str(path.parent)}},
        skip_cells_with_tag="" if os.environ.get(WEIGHTS) else NEEDS_WEIGHTS,
    )
    client.execute()
    for number, cell in enumerate((cell for cell in notebook.cells if cell.cell_type == "code"), start=1):
        cell.execution_count = number  # as if none had been left out
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count = number
    for cell, now in zip(measured, digests, strict=True):
        cell.outputs = kept.get(cell.id, cell.outputs)
        cell.metadata["measured_from"] = now
    keep_last_pictures(notebook)
    write(normalise(notebook), path)


def keep_last_pictures(notebook) -> None:
    """Store beside a widget that draws while cells run what it showed at the end."""
    states = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    for output in (output for cell in notebook.cells for output in cell.get("outputs", [])):
        widget = output.get("data", {}).get(WIDGET_VIEW, {}).get("model_id")
        last = states.get(widget, {})
        if pictures := [each["data"] for each in last.get("buffers", []) if each["path"] == ["value"]]:
            png = pack(base64.b64decode(pictures[0]))
            output.data["image/png"] = base64.b64encode(png).decode()
            words = output.data["text/plain"]  # the same on every machine, as its own last words are not
            output.metadata["image/png"] = {"alt": words, "width": width_of(png)}


def width_of(png: bytes) -> int:
    return int.from_bytes(png[16:20], "big")  # drawn for a screen, it is as wide as it is shown


def is_measured(cell) -> bool:
    return "nbval-ignore-output" in cell.metadata.get("tags", [])


def digest(cells) -> str:
    return hashlib.sha256("\0".join(cell.source for cell in cells).encode()).hexdigest()[:16]


def normalise(notebook):
    """Drop what differs from run to run, and number the widgets in the order they appear."""
    notebook.metadata = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    text = json.dumps(notebook)
    for number, old in enumerate(dict.fromkeys(WIDGET_ID.findall(text))):
        text = text.replace(old, f"{number:032x}")
    return nbformat.from_dict(json.loads(text))


def write(notebook, path: Path) -> None:
    write_whole(path, lambda draft: nbformat.write(notebook, draft))


def main(names: list[str]) -> int:
    os.environ.setdefault("PYTHONHASHSEED", "0")
    failed = 0
    for path in [Path(name).resolve() for name in names] or LESSONS:
        start = time.perf_counter()
        print(f"{path.name} ... ", end="", flush=True)
        try:
            execute(path)
        except CellExecutionError as error:
            failed += 1
            print(f"stopped, and left as it was\n{error}", file=sys.stderr)
        else:
            print(f"{time.perf_counter() - start:.1f} s")
    return failed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
