"""Lessons and excursions in JupyterLab, as from a fresh clone: read, run, trusted, worked, saved, reopened.

Every cell is run by nbval, which holds what it prints against what is stored. Here a lesson runs as far as
its last widget, and one of them to its end: what only JupyterLab can show. Each lesson is a class, so that
xdist's loadscope shares them out among its workers. What was seen is kept in ``screenshots/`` beside this
file, to be looked at.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import hands
import lab_driver
import nbformat
import pytest
import torch
from nbclient import NotebookClient

from vit_steps.files.writing import write_whole
from vit_steps.training import load_checkpoint

if lab_driver.missing():
    pytest.skip(lab_driver.missing(), allow_module_level=True)

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SCREENSHOTS = Path(__file__).parent / "screenshots"
PATHS = [*NOTEBOOKS.glob("*.ipynb"), *NOTEBOOKS.glob("beyond/*.ipynb")]
TO_THE_END = "2_cls_token"  # the shortest lesson
CURVE, ALL_EPOCHS, FEW_EPOCHS = "on_epoch=curve.draw", "epochs=30", "epochs=3"
VIEW, PICTURE = "application/vnd.jupyter.widget-view+json", "image/png"
TRACEBACK = "application/vnd.jupyter.stderr"
HANDS = {
    "patch_size_slider": hands.slider,
    "position_picker": hands.picker,
    "attention_explorer": hands.explorer,
    "likeness_picker": hands.likeness,
    "digit_pad": hands.pad,
}
# For each cell, the pictures that are really painted: decoded, and not of no width.
PAINTED = """
[...document.querySelectorAll(".jp-Notebook .jp-Cell")].map((cell) =>
  [...cell.querySelectorAll(".jp-OutputArea-output img, .jp-OutputArea-output canvas")]
    .filter((picture) => (picture.naturalWidth ?? picture.width) > 0 && picture.offsetWidth > 0).length)
"""

# JupyterLab fills a window in the frames after it was scrolled.
SCROLL = """
async (panel, top) => {
  panel.scrollTop = top;
  for (let frame = 0; frame < 10; frame++) await new Promise(requestAnimationFrame);
}
"""


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clone")
    for path in PATHS:
        # Not the mode: in a read-only checkout the copy can be saved all the same.
        shutil.copyfile(path, folder / path.name)
    return folder


def train_for_less(path: Path) -> None:
    """The curve is drawn after every epoch; nbval trains for all of them."""
    text = path.read_text(encoding="utf-8")
    if CURVE in text:
        assert text.count(ALL_EPOCHS) == 1
        path.write_text(text.replace(ALL_EPOCHS, FEW_EPOCHS), encoding="utf-8")


@pytest.fixture(scope="module")
def lab(browser, clone):
    with lab_driver.lab(clone) as address:
        yield address


@pytest.fixture
def keep(page, request, tmp_path):
    """Keep what the page shows, as a picture named after the lesson."""
    folder = SCREENSHOTS if _can_write(SCREENSHOTS) else tmp_path
    lesson = getattr(request.cls, "lesson", "")

    def shoot(what: str) -> None:
        write_whole(folder / f"{lesson}-{what}.png", lambda draft: page.screenshot(path=draft))

    return shoot


def _can_write(folder: Path) -> bool:
    try:
        folder.mkdir(exist_ok=True)
    except OSError:
        return False
    return os.access(folder, os.W_OK)


def read(path: Path) -> list[SimpleNamespace]:
    """The cells of a notebook, with the types of what each shows."""
    cells = []
    for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
        shown = [set(output.get("data", {})) for output in cell.get("outputs", [])]
        kinds = [(output["output_type"], output.get("name")) for output in cell.get("outputs", [])]
        tags, source = cell["metadata"].get("tags", []), "".join(cell["source"])
        told = dict(id=cell["id"], source=source, tags=tags, is_code=cell["cell_type"] == "code")
        cells.append(SimpleNamespace(**told, shown=shown, kinds=kinds))
    return cells


def hand_of(cell):
    """Who works the widget of a cell; nobody where there is none of ours."""
    return next((hand for name, hand in HANDS.items() if f"{name}(" in cell.source), None)


def run(page, cells: list, lesson: str) -> bool:
    """Run a lesson as far as something lives in it; whether there was anything to run."""
    if lesson == TO_THE_END:
        lab_driver.run_all(page)
        return True
    live = [number for number, cell in enumerate(cells) if hand_of(cell) or CURVE in cell.source]
    if live:
        words = next(number for number in range(live[-1] + 1, len(cells)) if not cells[number].is_code)
        lab_driver.run_above(page, in_page(page, words))
    return bool(live)


def in_page(page, number: int):
    return page.locator(".jp-Notebook .jp-Cell").nth(number)


def open_lesson(page, lab, name: str, cells: list) -> None:
    lab_driver.open_notebook(page, lab, name)
    count = "document.querySelectorAll('.jp-Notebook .jp-Cell').length"
    page.wait_for_function(f"{count} === {len(cells)}", timeout=180_000)


def see_every_picture(page, cells: list) -> None:
    """Every cell shows as many pictures as it stores; where a widget lives, it has one at least."""
    stored = [sum(PICTURE in shown for shown in cell.shown) for cell in cells]
    page.wait_for_function(
        f"(stored) => stored.every((n, cell) => ({PAINTED})[cell] >= n)", arg=stored, timeout=180_000
    )


def see_stored_widgets(page, cells: list, keep) -> None:
    """As long as nobody trusts the notebook, widgets are a picture, or words, and a sentence below."""
    assert page.locator(".vit-steps, .jupyter-widgets").count() == 0
    for number, cell in enumerate(cells):
        if hand_of(cell):
            assert page.evaluate(PAINTED)[number] == 1, cell.id
            read_a_sentence(page, number + 1)
            keep("untrusted")
        elif any(VIEW in shown and PICTURE not in shown for shown in cell.shown):
            assert in_page(page, number).locator(".jp-OutputArea-output").first.text_content().strip(), (
                cell.id
            )


def read_a_sentence(page, number: int) -> None:
    place = in_page(page, number)
    place.scroll_into_view_if_needed()
    sentence = "(cell) => cell.innerText.trim().split(/\\s+/).length >= 8"
    page.wait_for_function(sentence, arg=place.element_handle(), timeout=90_000)


def work_every_widget(page, cells: list, keep) -> None:
    for number, cell in enumerate(cells):
        if work := hand_of(cell):
            work(page, in_page(page, number).locator(".vit-steps"))
            keep("worked")


def no_traceback(page, path: Path) -> None:
    meant = 0
    for cell in read(path):
        kinds = {kind for kind, _ in cell.kinds}
        assert "error" not in kinds or "raises-exception" in cell.tags, f"{cell.id} stopped"
        assert "stderr" not in {name for _, name in cell.kinds}, f"{cell.id} warned"
        meant += "error" in kinds
    assert page.locator(f'[data-mime-type="{TRACEBACK}"]').count() == meant


def look_through(page, keep) -> None:
    """Keep the lesson as a reader scrolls through it, in a window as high as three screens."""
    page.set_viewport_size({"width": 1280, "height": 2700})
    panel = page.locator(".jp-WindowedPanel-outer")
    height, step = panel.evaluate("(panel) => [panel.scrollHeight, panel.clientHeight]")
    for number in range(-(-height // step)):
        panel.evaluate(SCROLL, number * step)
        keep(f"{number + 1:02}")
    page.set_viewport_size({"width": 1280, "height": 900})


class Lesson:
    """What is tried with each; those that take long come first."""

    lesson = ""

    def test_it_is_read_run_worked_saved_and_opened_again(self, page, lab, clone, keep):
        path = clone / f"{self.lesson}.ipynb"
        train_for_less(path)
        cells = read(path)
        open_lesson(page, lab, path.name, cells)
        see_stored_widgets(page, cells, keep)
        see_every_picture(page, cells)
        ran = run(page, cells, self.lesson)
        see_every_picture(page, cells)
        look_through(page, keep)
        if not ran:
            return  # nothing lives in it
        lab_driver.trust(page, path)
        no_traceback(page, path)
        work_every_widget(page, cells, keep)
        assert page.locator(".jp-Notebook .jp-Cell").count() == len(cells), "a key reached JupyterLab"
        assert not lab_driver.ours(page.complaints)
        see_it_again(page, lab, path, cells, keep)


class TestLesson5(Lesson):
    lesson = "5_classification"


class TestLesson4(Lesson):
    lesson = "4_encoder"


class TestLesson3(Lesson):
    lesson = "3_position_embedding"


class TestLesson1(Lesson):
    lesson = "1_patch_embedding"


class TestLesson2(Lesson):
    lesson = "2_cls_token"


class TestLookingInside(Lesson):
    lesson = "a_looking_inside"


class TestRealViTs(Lesson):
    lesson = "real_vits"


def test_none_is_left_out():
    assert {each.lesson for each in Lesson.__subclasses__()} == {path.stem for path in PATHS}


def see_it_again(page, lab, path: Path, cells: list, keep) -> None:
    """Save it, and open two copies: one that is still trusted, one that is not."""
    lab_driver.save(page, path)
    # The last picture of a curve is kept by `make execute` alone: JupyterLab stores what was shown at first.
    cells = [
        now if "live_curve()" in then.source else then for then, now in zip(cells, read(path), strict=True)
    ]
    for name, change in (("my-own-copy", {}), ("somebody-elses-copy", {"title": "not what was signed"})):
        copy = path.with_name(f"{name}.ipynb")
        saved = json.loads(path.read_text(encoding="utf-8"))
        saved["metadata"] |= change
        copy.write_text(json.dumps(saved), encoding="utf-8")
        open_lesson(page, lab, copy.name, cells)
        see_every_picture(page, cells)
    see_stored_widgets(page, cells, lambda what: None)
    keep("reopened")
    assert not lab_driver.ours(page.complaints)


PAD = """from vit_steps.looking.widgets import digit_pad
from vit_steps.training import load_checkpoint

digit_pad(load_checkpoint())"""
# Grey of each pixel of the pad, read in its corner, where the pen's ring does not lie.
INK = """
(canvas) => Array.from({ length: 64 }, (_, pixel) => {
  const at = (place) => Math.floor((place + 0.1) * canvas.width / 8);
  return canvas.getContext("2d").getImageData(at(pixel % 8), at(Math.floor(pixel / 8)), 1, 1).data[0];
})
"""


def test_a_pad_that_is_stored_and_trusted_answers_while_no_kernel_knows_of_it(page, lab, clone):
    path = clone / "stored_pad.ipynb"
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(PAD)])
    NotebookClient(notebook, kernel_name="python3", timeout=120).execute()  # it keeps what widgets hold
    nbformat.write(notebook, path)
    command = [sys.executable, "-m", "jupyter", "trust", str(path)]
    subprocess.run(command, check=True, env=os.environ | lab_driver.places_of(clone))
    lab_driver.open_notebook(page, lab, path.name)
    pad = page.locator(".vit-steps")
    pad.wait_for(timeout=60_000)
    assert page.locator(".jp-InputPrompt").first.inner_text() == "[1]:", "nothing ran since it was stored"
    hands.bring(page, pad, pad.get_by_role("application"))
    for key in ["ArrowUp"] * 3 + ["ArrowRight", " ", "ArrowLeft", "ArrowLeft", *["ArrowDown"] * 6]:
        page.keyboard.press(key)
    ink = torch.tensor(pad.locator("canvas").first.evaluate(INK)).reshape(1, 1, 8, 8) / 255
    assert ink.any()
    wanted = load_checkpoint()(ink).softmax(dim=1)[0]
    assert f"The model says {wanted.argmax().item()}" in pad.locator(".vit-steps-sentence").inner_text()
    meters = pad.locator("meter").evaluate_all("(all) => all.map((meter) => meter.value)")
    torch.testing.assert_close(torch.tensor(meters), wanted, atol=0.02, rtol=0)  # ink was read in whole greys
