"""axe-core looks for what shuts people out: in widgets, light and dark, and in the pages of `make site`."""

import importlib.resources
import importlib.util

import lab_driver
import offline_pages
import pytest
from test_widgets_alone import MAKERS, show

from vit_steps.looking.widgets import live_curve
from vit_steps.training import History

if lab_driver.missing():
    pytest.skip(lab_driver.missing(), allow_module_level=True)
if importlib.util.find_spec("axe_playwright_python") is None:
    missing = "no axe-core, so nobody looks for what shuts people out: pip install axe-playwright-python"
    pytest.skip(missing, allow_module_level=True)

AXE = importlib.resources.files("axe_playwright_python").joinpath("axe.min.js").read_text(encoding="utf-8")
SERIOUS = {"serious", "critical"}
# What JupyterLab's dark theme gives to whatever stands in a notebook.
DARK = """
:root { --jp-content-font-color1: #fff; --jp-content-font-color2: rgba(255, 255, 255, 0.7); }
body { background: #111; }
"""
LIGHT = "body { background: white; }"


def violations(page, where: str = "html", **options) -> list[str]:
    """What axe-core calls serious, each with its place."""
    page.evaluate(AXE)
    # It would fetch styles again, and of what is right it tells one example for each rule.
    how = "([where, how]) => axe.run(where, { preload: false, resultTypes: ['violations'], ...how })"
    report = page.evaluate(how, [where, options])
    assert report["passes"], f"axe found nothing to look at in {where}"
    return [
        f"{found['id']}: {node['html'][:160]}"
        for found in report["violations"]
        if found["impact"] in SERIOUS
        for node in found["nodes"]
    ]


def test_axe_finds_what_is_wrong(page):
    page.set_content(
        '<html lang="en"><title>t</title><img src="data:,"><p style="color: #ccc">pale</p><input></html>'
    )
    assert {found.partition(":")[0] for found in violations(page)} >= {"image-alt", "color-contrast", "label"}


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("name", MAKERS)
def test_a_widget_shuts_nobody_out(page, name, theme):
    show(page, MAKERS[name]())
    page.add_style_tag(content=theme)
    page.wait_for_selector(".vit-steps img, .vit-steps canvas")
    assert violations(page, ".vit-steps") == []


def test_the_live_curve_says_what_it_shows(page):
    curve = live_curve()
    curve.draw(History([2.0, 1.0], [0.5, 0.9]))
    show(page, curve)
    shown = page.get_by_role("img")
    shown.wait_for()
    assert "the loss is 1.00, the validation accuracy 0.90" in shown.get_attribute("alt")
    assert violations(page, "img") == []


# All pages have one style sheet, whose colours test_accessibility.py reads; on these is all that wears them.
IN_THE_DARK = ("index", "2_cls_token", "api_vit", "404")


@pytest.mark.parametrize("name", ["index", *offline_pages.LESSONS, "api", "api_vit", "404"])
def test_an_exported_page_shuts_nobody_out_in_the_light_and_in_the_dark(visit, name):
    page = visit(name)
    page.evaluate("document.querySelectorAll('details').forEach((folded) => { folded.open = true; })")
    assert violations(page) == []
    if name in IN_THE_DARK:
        page.locator("#theme").click()
        assert violations(page, runOnly=["color-contrast"]) == []  # nothing else has changed


@pytest.mark.parametrize("asked", ["attention", "xylophone"])
def test_what_a_search_finds_shuts_nobody_out(visit, asked):
    page = visit("index")
    page.locator("#find").fill(asked)
    page.locator("#found [role=status]", has_text=asked).wait_for()
    for _ in ("light", "dark"):
        assert violations(page, ".top") == []
        page.locator("#theme").click()
        page.locator("#find").fill(asked)
