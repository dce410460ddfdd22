"""From key press to changed picture, in a real browser: every widget, beside ipywidgets' interact.

    python tests/benchmarks/widget_latency.py

Prints median and worst of 20 key presses in milliseconds. The clock starts at the key's own time stamp and
stops in the first frame whose picture is another; a frame lasts 16.7 ms. A blank frame is one
without a picture.
"""

import statistics
import sys
import tempfile
from pathlib import Path

import nbformat

sys.path.append(str(Path(__file__).parents[1] / "browser"))
import lab_driver

PRESSES = 20
CELLS = [
    """%matplotlib inline
import ipywidgets
import torch
from matplotlib import pyplot as plt
from vit_steps import position_similarity, sincos_position
from vit_steps.attention_maps import cls_attention
from vit_steps.data import load_digits_images, load_photo
from vit_steps.training import load_checkpoint
from vit_steps.widgets import *
from vit_steps.widgets import _cut, _draw_cost, _draw_grid, _draw_sequence

model, (images, _) = load_checkpoint(), load_digits_images("test")
SIZES = (112, 56, 32, 28, 16, 14, 8, 7)
photo = load_photo("chelsea", size=224)


def answer(image):
    trace = model.trace(image)
    return trace.logits.softmax(dim=1)[0], cls_attention(trace.attention, model.grid)[0]


def figure_of(patch_size):
    with plt.style.context("vit_steps.lesson"):
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
]
# The pen goes where no ink is yet, or nothing would change.
SNAKE = ["ArrowRight"] * 4 + ["ArrowDown"] + ["ArrowLeft"] * 7 + ["ArrowDown"] + ["ArrowRight"] * 7
# name: (cell, what takes the key, what is looked at, keys in turn)
WIDGETS = {
    "interact, the same figure": (5, ".noUi-handle", "img", ["ArrowRight"] * 7 + ["ArrowLeft"] * 7),
    "patch_size_slider": (1, "input", "img", ["ArrowLeft"] * 4 + ["ArrowRight"] * 7 + ["ArrowLeft"] * 7),
    "position_picker": (
        2,
        "[role=application]",
        "canvas",
        ["ArrowRight", "ArrowDown", "ArrowLeft", "ArrowUp"],
    ),
    "attention_explorer": (
        3,
        "[role=application]",
        "canvas",
        ["ArrowDown", "ArrowRight", "ArrowLeft", "ArrowUp"],
    ),
    "digit_pad": (4, "[role=application]", "meter", SNAKE),
}
STOPWATCH = """
([root, watched]) => {
  const look = () => [...root.querySelectorAll(watched)].map((seen) =>
    seen.tagName === "CANVAS" ? seen.toDataURL() : seen.tagName === "METER" ? seen.value
      : seen.complete && seen.naturalWidth ? seen.src : "blank").join();
  window.stopwatch = new Promise((done) => {
    root.addEventListener("keydown", (event) => {
      const before = look();
      let blank = 0;
      const wait = (frame) => {
        const now = look();
        if (now === "" || now.includes("blank")) blank++;
        else if (now !== before) return done([performance.now() - event.timeStamp, blank]);
        if (frame - event.timeStamp > 5000) return done([NaN, blank]);
        requestAnimationFrame(wait);
      };
      requestAnimationFrame(wait);
    }, { capture: true, once: true });
  });
}
"""


def measure(page, cell: int, control: str, watched: str, keys: list[str]) -> tuple[list[float], int]:
    output = page.locator(".jp-CodeCell").nth(cell).locator(".jp-Cell-outputWrapper")
    output.scroll_into_view_if_needed()
    page.wait_for_timeout(1000)
    target = output.locator(control).first
    target.focus()
    if watched == "meter":
        page.keyboard.press(" ")
        page.wait_for_timeout(500)
    times, blanks = [], 0
    for number in range(PRESSES):
        page.evaluate(STOPWATCH, [output.element_handle(), watched])
        page.keyboard.press(keys[number % len(keys)])
        taken, blank = page.evaluate("window.stopwatch")
        times.append(taken)
        blanks += blank
        page.wait_for_timeout(150)
    return times, blanks


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
        kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
        nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "latency.ipynb")
        with lab_driver.lab(folder) as address, lab_driver.browser() as browser:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            lab_driver.open_notebook(page, address, "latency.ipynb")
            lab_driver.run_all(page)
            print(f"{'ms':28}{'median':>8}{'worst':>8}{'blank frames':>14}")
            for widget, how in WIDGETS.items():
                times, blanks = measure(page, *how)
                print(f"{widget:28}{statistics.median(times):8.1f}{max(times):8.1f}{blanks:14}")


if __name__ == "__main__":
    main()
