"""From key press to changed picture, in a real browser: every widget, beside ipywidgets' interact.

    python tests/benchmarks/widget_latency.py

Prints median and worst of 20 key presses in milliseconds, and writes them to widget_latency.csv beside this
file. The clock starts at the key's own time stamp and stops in the first frame whose picture is another; a
frame lasts 16.7 ms. A blank frame is one without a picture. A jump is a frame in which the notebook is
scrolled elsewhere, or the cell below stands elsewhere, than before the key.
"""

import argparse
import datetime
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path

import nbformat

sys.path.append(str(Path(__file__).parents[1] / "browser"))
import lab_driver

from vit_steps.files.writing import write_table

COMMAND = "python tests/benchmarks/widget_latency.py"
TABLE = Path(__file__).with_suffix(".csv")
PRESSES = 20
CELLS = [
    """%matplotlib inline
import ipywidgets
import torch
from matplotlib import pyplot as plt
from vit_steps import position_similarity, sincos_position
from vit_steps.looking.attention_maps import cls_attention
from vit_steps.data import load_digits_images, load_photo
from vit_steps.training import load_checkpoint
from vit_steps.looking.widgets import *
from vit_steps.looking.widgets.slider import _cut, _draw_cost, _draw_grid, _draw_sequence

model, (images, _) = load_checkpoint(), load_digits_images("test")
SIZES = (112, 56, 32, 28, 16, 14, 8, 7)
photo = load_photo("chelsea", size=224)


def answer(image):
    trace = model.trace(image)
    return trace.logits.softmax(dim=1)[0], cls_attention(trace.attention, model.grid)[0]


def figure_of(patch_size):
    with plt.style.context("vit_steps.looking.lesson"):
        ratios = {"height_ratios": (1, 2), "width_ratios": (3, 4)}
        figure, axes = plt.subplot_mosaic("ps;pc", figsize=(9, 3.8), **ratios)
        _draw_grid(photo[0], patch_size, axes["p"])
        _draw_sequence(_cut(photo[0], patch_size), axes["s"])
        _draw_cost(patch_size, SIZES, 224, axes["c"])
    plt.show()""",
    "patch_size_slider(photo, SIZES)",
    """position_picker(position_similarity(sincos_position((14, 14), 64)), (14, 14))""",
    "attention_explorer(images[:20], model.trace(images[:20]).attention, model.grid)",
    "digit_pad(answer)",
    "_ = ipywidgets.interact(figure_of, patch_size=ipywidgets.SelectionSlider(options=SIZES))",
    "'the cell below, which must not jump'",
]
# The pen goes where no ink is yet, or nothing would change.
SNAKE = ["ArrowRight"] * 4 + ["ArrowDown"] + ["ArrowLeft"] * 7 + ["ArrowDown"] + ["ArrowRight"] * 7
ROUND = ["ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"]
# name: (cell, what takes the key, what is looked at, keys in turn, goal for the median in ms or None)
WIDGETS = {
    "interact, the same figure": (
        *(5, ".noUi-handle", "img", ["ArrowRight"] * 7 + ["ArrowLeft"] * 7),
        None,
    ),
    "patch_size_slider": (
        *(1, "input", "img", ["ArrowLeft"] * 4 + ["ArrowRight"] * 7 + ["ArrowLeft"] * 7),
        100,
    ),
    "position_picker": (2, "[role=application]", "canvas", ROUND, 100),
    "attention_explorer": (3, "[role=application]", "canvas", ["ArrowDown", *ROUND[::2], "ArrowUp"], 16),
    "digit_pad: the ink": (4, "[role=application]", "canvas", SNAKE, 100),
    "digit_pad: the kernel's answer": (4, "[role=application]", "meter", SNAKE, 100),
}
COLUMNS = ["widget", "median_ms", "worst_ms", "goal_ms", "goal", "blank_frames", "jumps", "presses"]
COLUMNS += ["date", "machine", "command"]
# Frames are watched from the key on until ten after the picture changed: a flicker may come late.
STOPWATCH = """
([root, below, watched]) => {
  const look = () => [...root.querySelectorAll(watched)].map((seen) =>
    seen.tagName === "CANVAS" ? seen.toDataURL() : seen.tagName === "METER" ? seen.value
      : seen.complete && seen.naturalWidth ? seen.src : "blank").join();
  const panel = document.querySelector(".jp-WindowedPanel-outer");
  const stands = () => [panel.scrollTop, below.getBoundingClientRect().top].map(Math.round).join();
  window.stopwatch = new Promise((done) => {
    root.addEventListener("keydown", (event) => {
      const [before, stood] = [look(), stands()];
      let [taken, blanks, jumps, left] = [NaN, 0, 0, 10];
      const wait = (frame) => {
        const now = look();
        const isBlank = now === "" || now.includes("blank");
        blanks += isBlank;
        jumps += stands() !== stood;
        if (isNaN(taken) && !isBlank && now !== before) taken = performance.now() - event.timeStamp;
        if (!isNaN(taken)) left--;
        if (left === 0 || frame - event.timeStamp > 5000) return done([taken, blanks, jumps]);
        requestAnimationFrame(wait);
      };
      requestAnimationFrame(wait);
    }, { capture: true, once: true });
  });
}
"""


def measure(page, cell: int, control: str, watched: str, keys: list[str]) -> tuple[list[float], int, int]:
    """Times of the key presses in milliseconds, blank frames, and jumps."""
    output = page.locator(".jp-CodeCell").nth(cell).locator(".jp-Cell-outputWrapper")
    below = page.locator(".jp-CodeCell").nth(cell + 1)
    output.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)
    output.locator(control).first.focus()
    if keys is SNAKE:
        _put_the_pen_down(page, output)
    times, blanks, jumps = [], 0, 0
    for number in range(PRESSES):
        page.evaluate(STOPWATCH, [output.element_handle(), below.element_handle(), watched])
        page.keyboard.press(keys[number % len(keys)])
        taken, blank, jump = page.evaluate("window.stopwatch")
        times, blanks, jumps = [*times, taken], blanks + blank, jumps + jump
        page.wait_for_timeout(150)
    return times, blanks, jumps


def _put_the_pen_down(page, output) -> None:
    output.get_by_role("button", name="Clear the pad").click()
    output.locator("canvas").first.click(position={"x": 91, "y": 91})
    page.wait_for_timeout(500)
    output.get_by_role("button", name="Clear the pad").click()  # lifts the pen where it stands
    output.get_by_role("application").focus()
    page.keyboard.press(" ")
    page.wait_for_timeout(500)


def row_of(widget: str, times: list[float], goal: float | None, blanks: int, jumps: int) -> dict:
    median = statistics.median(times)
    met = "" if goal is None else "met" if median <= goal else "missed"
    return {
        **{"widget": widget, "median_ms": f"{median:.1f}", "worst_ms": f"{max(times):.1f}"},
        **{"goal_ms": goal or "", "goal": met, "blank_frames": blanks, "jumps": jumps},
        **{"presses": len(times), "date": datetime.date.today().isoformat()},
        **{
            "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores",
            "command": COMMAND,
        },
    }


def measure_all(folder: Path) -> list[dict]:
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "latency.ipynb")
    with lab_driver.lab(folder) as address, lab_driver.browser() as browser:
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        lab_driver.open_notebook(page, address, "latency.ipynb")
        lab_driver.run_all(page)
        rows = []
        for widget, (*how, goal) in WIDGETS.items():
            times, blanks, jumps = measure(page, *how)
            rows.append(row_of(widget, times, goal, blanks, jumps))
        return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=TABLE, help="the CSV to write")
    options = parser.parse_args()
    if lab_driver.missing():
        raise SystemExit(lab_driver.missing())
    with tempfile.TemporaryDirectory() as name:
        rows = measure_all(Path(name))
    print(f"{'ms':32}{'median':>8}{'worst':>8}{'goal':>6}{'':>8}{'blank frames':>14}{'jumps':>7}")
    for row in rows:
        shown = f"{row['median_ms']:>8}{row['worst_ms']:>8}{row['goal_ms']:>6}{row['goal']:>8}"
        print(f"{row['widget']:32}{shown}{row['blank_frames']:14}{row['jumps']:7}")
    write_table(options.out, COLUMNS, rows)


if __name__ == "__main__":
    main()
