"""What `make site` and `make slides` make of cells; the pages themselves are opened in tests/browser."""

import importlib
import sys
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).parent.parent
PICTURE = {"image/png": "iVBORw0KGgo=", "text/plain": "two squares"}
WORDS = {"image/png": {"alt": 'two "squares" & more', "width": 300}}


@pytest.fixture(scope="module", autouse=True)
def _tools():
    sys.path.insert(0, str(ROOT / "tools"))
    yield
    sys.path.remove(str(ROOT / "tools"))


@pytest.fixture(scope="module")
def html():
    return importlib.import_module("lesson_html")


@pytest.fixture(scope="module")
def deck():
    return importlib.import_module("deck")


@pytest.fixture(scope="module")
def export():
    return importlib.import_module("export")


@pytest.fixture(scope="module")
def widgets():
    return importlib.import_module("live_widgets")


def code(source="1", *outputs, **metadata):
    return nbformat.v4.new_code_cell(source, outputs=list(outputs), metadata=metadata)


def words(source, role=None):
    return nbformat.v4.new_markdown_cell(source, metadata={"slideshow": {"slide_type": role}} if role else {})


def shown(data, **metadata):
    return nbformat.v4.new_output("display_data", data, metadata=metadata)


def printed(text):
    return nbformat.v4.new_output("stream", text=text)


def lesson(*cells):
    return nbformat.v4.new_notebook(cells=list(cells))


# ---- a page ----


def test_formulas_become_mathml(html):
    page = html.markdown("With $\\mathbf{z}'$, so\n\n$$p = \\frac{1}{2}$$\n\nand `a $ b`.")
    assert (
        "<mrow><mi>&#x1D433;</mi><mo lspace='0' rspace='0'>&#x02032;</mo></mrow></mrow></math>,</span>"
        in page
    )
    assert '</p>\n<div class="formula" role="group"' in page, "a paragraph cannot hold it"
    assert "<mfrac>" in page
    assert "<code>a $ b</code>" in page


def test_ln_keeps_its_distance_from_a_number_and_not_from_a_bracket(html):
    assert "<mi>ln</mi><mspace" in html.formula("\\ln 10", "inline")
    assert "<mspace" not in html.formula("\\sin(p)", "inline")


def test_links_between_lessons_lead_to_pages_and_headings_can_be_linked_to(html):
    page = html.markdown(
        "## Why divide by √d?\n\n[next](2_cls_token.ipynb), [paper](https://arxiv.org/abs/1)"
    )
    assert '<h2 id="why-divide-by-d">Why divide by √d?</h2>' in page
    assert 'href="2_cls_token.html"' in page
    assert 'href="https://arxiv.org/abs/1"' in page


def test_the_contents_are_the_second_level_headings(html):
    cells = [words("# One\n\n## Two"), words("### Three"), code(), words("## Four $T^2$")]
    (first, second) = html.sections(lesson(*cells))
    assert first == ("two", "Two")
    assert second[1].startswith("Four <math")


def test_a_picture_brings_its_words_along(html):
    image = html.picture(shown(PICTURE, **WORDS))
    assert 'alt="two &quot;squares&quot; &amp; more"' in image
    assert 'width="300"' in image


@pytest.mark.parametrize("metadata", [{}, {"image/png": {"alt": " ", "width": 300}}])
def test_a_picture_without_words_is_refused(html, metadata):
    with pytest.raises(ValueError, match="has no alternative text"):
        html.picture(shown(PICTURE, **metadata))


def test_a_progress_bar_is_left_out(html):
    bar = {html.WIDGET: {}, "text/plain": "  0%|          | 0/1140"}
    assert html.kind(shown(bar)) == "nothing"
    assert html.kind(shown(bar | {"text/plain": "a curve"})) == "widget"


# ---- a deck ----


def test_cells_are_laid_out_as_their_metadata_say(deck):
    roles = ["slide", None, "subslide", "notes", "skip", "slide"]
    cells = [words(f"## {number}\n\ntext", role) for number, role in enumerate(roles)]
    first, second = deck.stacks(lesson(*cells))
    assert [[part[3] for part in slide.parts] for slide in first] == [["0", "1"], ["2"]]
    assert first[1].notes == ["## 3\n\ntext"]
    assert [slide.section for slide in first + second] == ["0", "2", "5"]
    assert not first[0].needs_section


def test_a_deck_must_begin_with_a_slide(deck):
    with pytest.raises(ValueError, match="the first cell that is shown must be a slide"):
        deck.stacks(lesson(words("text", "skip"), words("text", "subslide")))


def test_a_long_text_runs_on_with_its_heading(deck):
    paragraphs = [letter * 400 for letter in "abc"]
    pages = deck.pages(words("\n\n".join(["## Long", *paragraphs])))
    assert pages == [f"## Long\n\n{paragraph}" for paragraph in paragraphs]


def test_a_formula_takes_the_sentence_before_it_along(deck):
    pages = deck.pages(words(f"{'a' * 400}\n\n{'b' * 300}\n\n$$c$$"))
    assert pages == ["a" * 400, f"{'b' * 300}\n\n$$c$$"]


def test_code_is_shown_when_it_prints(deck):
    picture = shown(PICTURE, **WORDS)
    assert deck.shows_code(code("print(1)", printed("1")))
    assert not deck.shows_code(code("plot()", picture))
    assert not deck.shows_code(code("print(1)", printed("1"), tags=["hide-input"]))


def test_the_more_lines_the_smaller_the_code(deck):
    sizes = [
        deck.Slide("", [code("\n".join(["line"] * lines), printed("done"))]).size for lines in (3, 12, 16, 20)
    ]
    assert sizes == ["huge", "large", "medium", "small"]


def test_a_line_that_is_too_long_for_large_code_is_broken_only_when_nothing_else_helps(deck):
    sizes = [deck.Slide("", [code("w" * width, printed("done"))]).size for width in (77, 94, 104, 130)]
    assert sizes == ["huge", "large", "medium", "large"]
    many = "\n".join(["w" * 130] * 8)
    assert deck.Slide("", [code(many, printed("done"))]).size == "small"


# ---- live widgets ----

SLIDER = """
import torch
from vit_steps.widgets import patch_size_slider
patch_size_slider(torch.zeros(1, 3, 8, 8), (4, 2))
"""


@pytest.fixture(scope="module")
def said():
    namespace = {}
    exec(SLIDER.replace("patch_size_slider(torch", "made = patch_size_slider(torch"), namespace)
    return namespace["made"].alt


def test_a_widget_s_data_are_taken_from_its_cell(widgets, said, tmp_path):
    cell = code(SLIDER, shown({"text/plain": said}))
    found = widgets.live_widgets(lesson(code("side = 8"), cell, code("1 / 0")), tmp_path)
    assert list(found) == [cell.id]
    state = found[cell.id]["state"]
    assert state["names"] == ["4 pixels", "2 pixels"]
    assert all(set(picture) == {"base64"} for picture in state["pictures"])
    assert "render" in found[cell.id]["script"]


def test_a_widget_that_says_something_else_than_is_stored_is_refused(widgets, tmp_path):
    with pytest.raises(ValueError, match="stores 'yesterday', now it says 'patch_size 2"):
        widgets.live_widgets(lesson(code(SLIDER, shown({"text/plain": "yesterday"}))), tmp_path)


@pytest.mark.parametrize("source", ["digit_pad(answer)", "made = position_picker(table, grid)", "1", ""])
def test_what_needs_a_kernel_or_shows_nothing_is_not_made(widgets, source, tmp_path):
    assert widgets.live_widgets(lesson(code("1 / 0"), code(source)), tmp_path) == {}


# ---- the folder ----


@pytest.fixture
def small_site(export, monkeypatch):
    monkeypatch.setattr(
        export, "build_site", lambda folder, lessons: export.write(folder / "index.html", "new")
    )


def test_a_site_is_replaced_with_all_that_is_in_it(export, small_site, tmp_path, capsys):
    export.main(["site", "--out", str(tmp_path / "site")])
    (tmp_path / "site" / "a lesson that is gone.html").write_text("old")
    export.main(["site", "--out", str(tmp_path / "site")])
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["index.html"]
    assert [path.name for path in tmp_path.iterdir()] == ["site"]
    assert capsys.readouterr().out.endswith("index.html\n")


def test_a_folder_of_other_things_is_not_replaced(export, small_site, tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(SystemExit):
        export.main(["site", "--out", str(tmp_path)])
    assert "holds other things than pages; name a new folder, or an empty one" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").read_text() == "precious"


def test_data_cannot_end_the_script_that_holds_them(export):
    said = export.environment().from_string("{{ value | json }}").render(value={"script": "'</script>'"})
    assert "</" not in said
    assert said == '{"script": "\'<\\/script>\'"}'
