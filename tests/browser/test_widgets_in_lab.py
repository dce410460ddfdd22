"""The widgets in JupyterLab with a real kernel: run, worked by key and mouse, saved, and opened untrusted."""

import json

import lab_driver
import nbformat
import pytest

if lab_driver.missing():
    pytest.skip(lab_driver.missing(), allow_module_level=True)

CELLS = [
    """import torch
from vit_steps import ViT, position_similarity
from vit_steps.attention_maps import cls_attention
from vit_steps.widgets import attention_explorer, digit_pad, patch_size_slider, position_picker

_ = torch.manual_seed(0)
model = ViT(
    image_size=8, patch_size=2, channels=1, dim=16, depth=2, num_heads=2, mlp_dim=32, num_classes=10
)
images = torch.rand(2, 1, 8, 8)


def answer(image):
    trace = model.trace(image)
    return trace.logits.softmax(dim=1)[0], cls_attention(trace.attention, model.grid)[0]""",
    "patch_size_slider(torch.rand(1, 3, 24, 24), (12, 8, 6, 4))",
    "position_picker(position_similarity(torch.randn(6, 8)), (2, 3))",
    "attention_explorer(images, model.trace(images).attention, model.grid)",
    "digit_pad(answer)",
]
SHOWN = "[...document.querySelectorAll('.jp-OutputArea-output')].map((output) => output.dataset.mimeType)"
PICTURES = (
    """(widget) => [...widget.querySelectorAll("img, canvas")].map((p) => p.src ?? p.toDataURL()).join()"""
)
# What JupyterLab itself writes to the console when a page closes or a debugger is not asked in time.
LAB_COMPLAINS = ("WebSocket", "debugger state")
SCROLLED = "document.querySelector('.jp-WindowedPanel-outer').scrollTop"


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lab")
    cells = [nbformat.v4.new_code_cell(cell) for cell in CELLS]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata=kernel), folder / "widgets.ipynb")
    return folder / "widgets.ipynb"


@pytest.fixture(scope="module")
def lab(browser, notebook):
    with lab_driver.lab(notebook.parent) as address:
        yield address


def changes(page, widget, act):
    """Whether the pictures of a widget are others after an act, and wait until they are."""
    before = widget.evaluate(PICTURES)
    scrolled = page.evaluate(SCROLLED)
    act()
    page.wait_for_function(
        f"([widget, before]) => ({PICTURES})(widget) !== before",
        arg=[widget.element_handle(), before],
        timeout=5_000,
    )
    assert page.evaluate(SCROLLED) == scrolled, "the page jumped"
    return True


def test_run_touched_saved_and_opened_by_somebody_else(page, lab, notebook):
    lab_driver.open_notebook(page, lab, notebook.name)
    lab_driver.run_all(page)
    page.wait_for_function("document.querySelectorAll('.vit-steps').length === 4")
    page.wait_for_selector(".vit-steps img")
    assert page.locator('[data-mime-type="application/vnd.jupyter.stderr"]').count() == 0
    slider, picker, explorer, pad = (page.locator(".vit-steps").nth(number) for number in range(4))

    slider.scroll_into_view_if_needed()
    slider.locator("input").focus()
    assert changes(page, slider, lambda: page.keyboard.press("ArrowLeft"))
    for widget, first_key in ((picker, "ArrowUp"), (explorer, "ArrowDown")):
        widget.scroll_into_view_if_needed()
        widget.get_by_role("application").focus()
        for key in (first_key, "ArrowRight"):
            assert changes(page, widget, lambda key=key: page.keyboard.press(key))
        view = widget.locator("canvas").last
        assert changes(page, widget, lambda view=view: view.hover(position={"x": 20, "y": 60}))
        view.click(position={"x": 20, "y": 60})  # which must bring the keys here, too
        assert changes(page, widget, lambda: page.keyboard.press("ArrowRight"))
    assert changes(page, explorer, lambda: explorer.get_by_label("layer").select_option("0"))
    explorer.get_by_role("application").focus()
    page.keyboard.press("c")  # JupyterLab's key to copy the cell

    pad.scroll_into_view_if_needed()
    pad.get_by_role("application").focus()
    scores = pad.locator(".vit-steps-scores")
    before = scores.evaluate("(scores) => [...scores.querySelectorAll('meter')].map((meter) => meter.value)")
    assert changes(page, pad, lambda: page.keyboard.press(" "))
    page.wait_for_function(
        "([scores, before]) => [...scores.querySelectorAll('meter')].some((m, n) => m.value !== before[n])",
        arg=[scores.element_handle(), before],
    )
    assert changes(page, pad, lambda: pad.locator("canvas").first.click(position={"x": 150, "y": 30}))
    assert changes(page, pad, lambda: page.keyboard.press("ArrowDown"))
    assert page.evaluate("document.querySelectorAll('.jp-CodeCell').length") == len(CELLS)
    ours = [words for words in page.complaints if not any(theirs in words for theirs in LAB_COMPLAINS)]
    assert not ours

    saved = _save(page, notebook)
    copy = notebook.with_name("from-a-clone.ipynb")
    saved["metadata"]["title"] = "not what was signed"
    copy.write_text(json.dumps(saved))
    lab_driver.open_notebook(page, lab, copy.name)
    page.wait_for_function(f"{SHOWN}.length === 4")
    assert page.evaluate(SHOWN) == ["image/png"] * 4
    assert page.locator(".vit-steps").count() == 0


def _save(page, notebook):
    before = notebook.stat().st_mtime_ns
    page.click('.lm-MenuBar-item:has-text("File")')
    page.click('.lm-Menu-item[data-command="docmanager:save"]')
    for _ in range(100):
        page.wait_for_timeout(100)
        if notebook.stat().st_mtime_ns != before:
            break
    saved = json.loads(notebook.read_text())
    outputs = [cell["outputs"][0]["data"] for cell in saved["cells"][1:]]
    for output in outputs:
        assert {"text/plain", "image/png", "application/vnd.jupyter.widget-view+json"} <= set(output)
    return saved
