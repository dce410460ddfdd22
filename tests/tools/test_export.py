"""What `make site` and `make slides` make of cells; the pages themselves are opened in tests/browser."""

import importlib
import json
import re
from html.parser import HTMLParser

import nbformat
import pytest

PICTURE = {"image/png": "iVBORw0KGgo=", "text/plain": "two squares"}
WORDS = {"image/png": {"alt": 'two "squares" & more', "width": 300}}


@pytest.fixture(scope="module")
def html():
    return importlib.import_module("lesson_html")


@pytest.fixture(scope="module")
def deck():
    return importlib.import_module("deck")


@pytest.fixture(scope="module")
def export():
    return importlib.import_module("export")


@pytest.fixture
def no_api(export, monkeypatch):
    """The pages of the API are made in ``test_api_pages``, and need half a second."""
    monkeypatch.setattr(export.api_pages, "rooms", list)


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
    page = html.words("With $\\mathbf{z}'$, so\n\n$$p = \\frac{1}{2}$$\n\nand `a $ b`.")
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
    ways = "[next](2_cls_token.ipynb), [far](beyond/a_look.ipynb), [home](../4_encoder.ipynb#the-block)"
    page = html.words(f"## Why divide by √d?\n\n{ways}, [paper](https://arxiv.org/abs/1)")
    assert '<h2 id="why-divide-by-d">Why divide by √d?</h2>' in page
    for file in ("2_cls_token.html", "a_look.html", "4_encoder.html#the-block"):
        assert f'href="{file}"' in page
    assert 'href="https://arxiv.org/abs/1"' in page


def test_the_contents_are_the_second_level_headings(html):
    cells = [words("# One\n\n## Two"), words("### Three"), code(), words("## Four $T^2$")]
    (first, second) = html.sections(lesson(*cells))
    assert first == ("two", "Two")
    assert second[1].startswith("Four <math")


def test_a_picture_brings_its_words_along(html):
    image = html.picture(shown(PICTURE, **WORDS))
    assert 'alt="two &#34;squares&#34; &amp; more"' in image
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


def test_the_answer_to_a_guess_is_a_slide_of_its_own(deck):
    guess = "## Guess\n\nHow many?\n\n<details><summary>Open me</summary>\n\nFour.\n\nOr so.\n\n</details>"
    assert deck.pages(words(guess)) == ["## Guess\n\nHow many?", "## Guess\n\nFour.\n\nOr so."]


def test_code_is_shown_when_it_prints(deck):
    picture = shown(PICTURE, **WORDS)
    assert deck.shows_code(code("print(1)", printed("1")))
    assert not deck.shows_code(code("plot()", picture))
    assert not deck.shows_code(code("print(1)", printed("1"), tags=["hide-input"]))
    assert not deck.shows_code(code("print(1)", printed("1"), jupyter={"source_hidden": True}))


def test_the_more_lines_the_smaller_the_code(deck):
    sizes = [
        deck.Slide("", [code("\n".join(["line"] * lines), printed("done"))]).size for lines in (3, 17, 20, 24)
    ]
    assert sizes == ["huge", "large", "medium", "small"]


def test_a_line_that_is_too_long_for_large_code_is_broken_only_when_nothing_else_helps(deck):
    sizes = [deck.Slide("", [code("w" * width, printed("done"))]).size for width in (77, 94, 104, 130)]
    assert sizes == ["huge", "large", "medium", "large"]
    many = "\n".join(["w" * 130] * 11)
    assert deck.Slide("", [code(many, printed("done"))]).size == "small"


def test_code_leaves_room_for_the_words_and_the_picture_on_its_slide(deck):
    cell = code("\n".join(["line"] * 11), printed("done"))
    assert deck.Slide("", [cell]).size == "huge"
    assert deck.Slide("", ["## Title\n\n" + "word " * 40, cell]).size == "large"
    assert deck.Slide("", ["## Title\n\n" + "word " * 40 + "\n\n$$a$$", cell]).size == "small"
    assert deck.Slide("", [cell, code("draw()", shown(PICTURE, **WORDS))]).size == "medium"
    assert deck.Slide("", ["```python\n" + "line\n" * 22 + "```"]).size == "medium"


EXERCISE = (
    "### a) Ask\n\nWhat?\n\n<details><summary>Hint</summary>\n\nThink.\n\n</details>\n\n"
    "<details><summary>More</summary>\n\nAgain.\n\n</details>"
)


def test_an_exercise_says_so_on_its_slide_and_its_hints_are_the_speaker_s(deck):
    cells = words(EXERCISE, "slide"), code("def f(): ...", printed("not yet")), words(SOLUTION, "skip")
    for cell, name in zip(cells, ("exercise-a", "exercise-a-stub", "exercise-a-solution"), strict=True):
        cell.id = name
    ((slide,),) = deck.stacks(lesson(*cells))
    assert slide.parts == ["### Exercise a) Ask\n\nWhat?", cells[1]]
    assert slide.section == "Exercise a) Ask"
    assert [note.split() for note in slide.notes] == [["**Hint**", "Think."], ["**More**", "Again."]]
    assert deck.shows_code(cells[1])
    assert deck.outputs(cells[1]) == []


def test_what_is_folded_in_a_note_is_open(deck):
    fold = words("<details><summary>Guess</summary>\n\nFour.\n\n</details>", "notes")
    ((slide,),) = deck.stacks(lesson(words("## Ask", "slide"), fold))
    assert "<" not in slide.notes[0]
    assert "Four." in slide.notes[0]


def test_beside_a_widget_a_cell_prints_nothing(deck):
    widget = shown({"application/vnd.jupyter.widget-view+json": {}, "text/plain": "a pad"})
    cell = code("pad()", printed("ready"))
    cell.outputs.append(widget)
    assert deck.outputs(cell) == [widget]


# ---- live widgets ----

SLIDER = """
import torch
from vit_steps.looking.widgets import patch_size_slider
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


PAD = """
import torch
from vit_steps.looking.widgets import digit_pad
from vit_steps.training import load_checkpoint

def answer(image):
    return torch.full((10,), 0.1), image[0, 0]

digit_pad(ANSWER)
"""


def test_a_pad_brings_its_model_along(widgets, tmp_path):
    said = "A pad of 8 × 8 pixels, where the model looked on it, and its answer: 1."
    cell = code(PAD.replace("ANSWER", "load_checkpoint()"), printed("1"), shown({"text/plain": said}))
    state = widgets.live_widgets(lesson(cell), tmp_path)[cell.id]["state"]
    assert len(state["weights"]["base64"]) > 1_000_000
    assert state["size"] == [8, 8]


def test_a_pad_that_asks_a_function_needs_a_kernel(widgets, tmp_path):
    assert widgets.live_widgets(lesson(code(PAD.replace("ANSWER", "answer"))), tmp_path) == {}


@pytest.mark.parametrize("source", ["live_curve()", "made = position_picker(table, grid)", "1", ""])
def test_what_needs_a_kernel_or_shows_nothing_is_not_made(widgets, source, tmp_path):
    assert widgets.live_widgets(lesson(code("1 / 0"), code(source)), tmp_path) == {}


# ---- code that is folded ----

FOLDED = {"jupyter": {"source_hidden": True}}
ANSWERS = {"jupyter": {"outputs_hidden": True}}
SOLUTION = '<details class="solution"><summary>Solution</summary>\n\n```python\nsolve()\n```\n\n</details>'


def test_what_is_folded_in_a_notebook_is_folded_on_its_page_and_a_figure_is_seen(
    export, no_api, monkeypatch, tmp_path
):
    cells = {
        "title": words("# 1 · A lesson", "slide"),
        "question": words("## Why?", "slide"),
        "symbols": words("<details><summary>Symbols</summary>\n\n| symbol |\n|---|\n| $N$ |\n\n</details>"),
        "a-figure": code("draw()", shown(PICTURE, **WORDS), **FOLDED),
        "an-answer": code("ask()", printed("forty-two"), **ANSWERS),
        "exercise-a-solution": words(SOLUTION),
    }
    for name, cell in cells.items():
        cell.id = name
    path = tmp_path / "1_a.ipynb"
    nbformat.write(lesson(*cells.values()), path)
    monkeypatch.setattr(export, "ON_FRONT_PAGE", {path.stem: "a-figure"})
    export.build_site(tmp_path / "site", [export.Lesson(path)])
    page = (tmp_path / "site" / "1_a.html").read_text(encoding="utf-8")
    folded = dict(re.findall(r'<details class="(\w+)">(.*?)</details>', page, flags=re.S))
    assert "draw" in folded["drawing"]
    assert 'class="highlight"' in folded["solution"]
    assert "solve" in folded["solution"]
    assert "forty-two" in folded["answer"]
    assert (tmp_path / "site" / "notebooks" / path.name).read_bytes() == path.read_bytes()
    assert 'href="notebooks/1_a.ipynb" download' in page
    front = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    assert "<summary>Symbols</summary>" in front
    assert "<td><math" in front
    open_at_once = re.sub(r"<details.*?</details>", "", page, flags=re.S)
    assert open_at_once.count("<img ") == 1
    assert "solve" not in open_at_once
    assert "ask" in open_at_once
    assert "forty-two" not in open_at_once


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


def test_slides_alone_are_what_a_site_has_of_them(export, no_api, monkeypatch, tmp_path):
    """The tests in the browser look at the slides of a site; `make slides` calls the same function."""
    built = []

    def build_slides(folder, lessons):
        folder.mkdir(exist_ok=True)
        built.append((folder.name, len(lessons)))

    monkeypatch.setattr(export, "build_slides", build_slides)
    monkeypatch.setattr(export.at_work, "page", lambda env: "")
    monkeypatch.setattr(export.Lesson, "live", {})
    export.main(["slides", "--out", str(tmp_path / "slides")])
    export.main(["site", "--out", str(tmp_path / "site")])
    assert [number for _, number in built] == [7, 7]
    assert (tmp_path / "site" / "slides").is_dir()


def test_a_folder_of_other_things_is_not_replaced(export, small_site, tmp_path, capsys):
    (tmp_path / "thesis.tex").write_text("precious")
    with pytest.raises(SystemExit):
        export.main(["site", "--out", str(tmp_path)])
    assert "holds other things than pages; name a new folder, or an empty one" in capsys.readouterr().err
    assert (tmp_path / "thesis.tex").read_text() == "precious"


# ---- what is text stays text ----

HOSTILE = "</title></script>'\"><script>alert(1)</script><img src=x onerror=alert(2)>"
VIEW = {"application/vnd.jupyter.widget-view+json": {}}


@pytest.fixture
def hostile_pages(export, no_api, monkeypatch, tmp_path):
    """All pages of a lesson in which whatever a cell printed, drew or is called would like to be a script."""
    cells = {
        "title": words("# 1 · Is a < b & c?", "slide"),
        "question": words('## Is $a < b$ "so"?', "slide"),
        "text": code(HOSTILE, printed(HOSTILE)),
        "picture": code(
            "1", shown({"image/png": HOSTILE}, **{"image/png": {"alt": HOSTILE, "width": HOSTILE}})
        ),
        "markdown": code("2", shown({"text/markdown": f"{HOSTILE}\n\n```python\n{HOSTILE}\n```"})),
        "pad": code("3", shown({**VIEW, "text/plain": HOSTILE})),
        "alive": code("4", shown({**VIEW, **PICTURE}, **WORDS)),
    }
    for name, cell in cells.items():
        cell.id = name
    path = tmp_path / "1_a&b.ipynb"
    nbformat.write(lesson(*cells.values()), path)
    monkeypatch.setattr(export, "ON_FRONT_PAGE", {path.stem: "picture"})
    monkeypatch.setattr(export.Lesson, "live", {"alive": {"script": HOSTILE, "state": {"label": HOSTILE}}})
    export.build_site(tmp_path, [export.Lesson(path)])
    pages = ("index.html", "1_a&b.html", "slides/index.html", "slides/1_a&b.html")
    return {page: (tmp_path / page).read_text(encoding="utf-8") for page in pages}


class Seen(HTMLParser):
    """What a browser would make of a page: its words, its scripts, and the attributes that run something."""

    def __init__(self, page):
        super().__init__()
        self.words, self.scripts, self.handlers = "", [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        self.scripts += [dict(attrs)] if tag == "script" else []

    def handle_data(self, data):
        self.words += data


def test_no_name_becomes_a_script(hostile_pages):
    for page in hostile_pages.values():
        seen = Seen(page)
        assert seen.handlers == []
        assert all("src" in script or script == {"type": "application/json"} for script in seen.scripts)


def test_what_a_cell_printed_is_shown_as_it_is(hostile_pages):
    for page in ("1_a&b.html", "slides/1_a&b.html"):
        # printed, as Markdown, in its code, and instead of a widget
        assert Seen(hostile_pages[page]).words.count(HOSTILE) >= 4


def test_titles_are_escaped_and_formulas_in_them_are_not(hostile_pages):
    assert "<title>1 · Is a &lt; b &amp; c? · vit-steps</title>" in hostile_pages["1_a&b.html"]
    assert 'href="1_a&amp;b.html"' in hostile_pages["index.html"]
    assert "<p>Is <math" in hostile_pages["index.html"]
    (about,) = re.findall('<meta name="description" content="(.*?)">', hostile_pages["1_a&b.html"])
    assert about.startswith("Is a")
    assert "<math" not in about


def test_data_reach_the_script_as_they_were(hostile_pages):
    for page in ("1_a&b.html", "slides/1_a&b.html"):
        (data,) = re.findall(r'<script type="application/json">(.*?)</script>', hostile_pages[page])
        assert json.loads(data) == {"script": HOSTILE, "state": {"label": HOSTILE}}


def test_every_lesson_and_excursion_has_a_figure_for_the_front_page(export):
    folder = export.NOTEBOOKS
    paths = [*folder.glob("*.ipynb"), *folder.glob("beyond/*.ipynb")]
    assert {path.stem for path in paths} == {*export.ON_FRONT_PAGE}
    for path in paths:
        assert "image/png" in export.Lesson(path).picture.data
