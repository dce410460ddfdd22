"""Colours that survive, words for those who do not see: read from the code, the style, the plots, the texts.

What needs a browser (names of controls, the Tab key, axe-core) is tested in ``browser/``.
"""

import ast
import re
from itertools import combinations, pairwise
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib import pyplot as plt
from matplotlib.colors import CSS4_COLORS, to_rgb
from skimage.color import deltaE_ciede2000, rgb2lab

from vit_steps import ViT
from vit_steps.looking import plots
from vit_steps.looking.the_way import plot_the_way
from vit_steps.training import History

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "vit_steps"
LESSONS = [
    *sorted((ROOT / "notebooks").glob("*.ipynb")),
    *sorted((ROOT / "notebooks").glob("beyond/*.ipynb")),
]
PAGES = [*sorted(ROOT.glob("*.md")), *LESSONS]
TEXT, GRAPHICS = 4.5, 3.0  # the least contrasts of WCAG 2.2, criteria 1.4.3 and 1.4.11
# CIEDE2000; 1 is just noticed in large fields side by side, and lines are thin and far apart. 10 parts what
# red and green of matplotlib's own cycle do not: a deuteranope sees 4.6 between them.
APART = 10
LUMINANCE = np.array([0.2126, 0.7152, 0.0722])
# Machado, Oliveira and Fernandes, "A physiologically-based model for simulation of color vision deficiency",
# IEEE TVCG 15(6), 2009: the matrices of severity 1.0, on linear RGB.
EYES = {
    "all cones": np.eye(3),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
    "a grey printer": np.tile(LUMINANCE, (3, 1)),
}
every_eye = pytest.mark.parametrize("eye", EYES)


def linear(colour) -> np.ndarray:
    colour = np.asarray(colour)
    return np.where(colour <= 0.04045, colour / 12.92, ((colour + 0.055) / 1.055) ** 2.4)


def seen(colours, eye: str) -> np.ndarray:
    """Colours as an eye sees them, in CIELAB."""
    light = (linear([to_rgb(colour) for colour in colours]) @ EYES[eye].T).clip(0, 1)
    return rgb2lab(np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055))


def nearest(colours, eye: str) -> float:
    return min(deltaE_ciede2000(a, b) for a, b in combinations(seen(colours, eye), 2))


def contrast(one, other) -> float:
    bright, dark = sorted((linear(to_rgb(colour)) @ LUMINANCE for colour in (one, other)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


@pytest.fixture(autouse=True)
def _lesson_style():
    with plt.style.context("vit_steps.looking.lesson"):
        yield
    plt.close("all")


@pytest.fixture
def ax():
    return plt.figure().subplots()


def cycle() -> list[str]:
    return plt.rcParams["axes.prop_cycle"].by_key()["color"]


# ---- the measures themselves ----


def test_the_measures_know_what_is_known():
    assert contrast("black", "white") == pytest.approx(21)
    assert contrast("#767676", "white") == pytest.approx(
        4.54, abs=0.01
    )  # the lightest grey that text may have
    for eye in EYES:
        np.testing.assert_allclose(seen(["white"], eye), [[100, 0, 0]], atol=0.1)
    assert (
        nearest(["tab:red", "tab:green"], "deuteranopia")
        < APART
        < nearest(["tab:red", "tab:green"], "all cones")
    )


# ---- lines and bars ----


@every_eye
def test_the_colours_of_lines_are_told_apart(eye):
    colours = cycle()
    if (
        eye == "a grey printer"
    ):  # lines have markers and dashes besides; bars have the first two colours alone
        colours = colours[:2]
    assert nearest(colours, eye) >= APART


def test_every_line_is_seen_on_the_page():
    for colour in [*cycle(), "grey", plots.INK]:
        assert contrast(colour, "white") >= GRAPHICS, colour


LINES = {
    "cost": lambda ax: plots.plot_cost([8, 4, 2], 8, ax),
    "layers": lambda ax: plots.plot_by_layer({name: [0, 1] for name in "abcd"}, ax, ylabel="length"),
    "deletion": lambda ax: plots.plot_deletion({name: [1, 0.5] for name in "abcde"}, 9, ax),
    "history": lambda ax: plots.plot_history(History([2.0, 1.0], [0.5, 0.9]), ax),
}


@pytest.mark.parametrize("name", LINES)
def test_lines_of_one_plot_differ_in_more_than_colour(ax, name):
    artists = LINES[name](ax)
    assert len(artists) >= 2
    assert len({(line.get_marker(), line.get_linestyle()) for line in artists}) == len(artists)
    assert {to_rgb(line.get_color()) for line in artists} <= {to_rgb(colour) for colour in cycle()}


# ---- colour maps ----


@pytest.mark.parametrize("name", ["cividis", "gray"])
@every_eye
def test_a_colour_map_grows_lighter_for_every_eye(name, eye):
    lightness = seen(colormaps[name](np.linspace(0, 1, 16))[:, :3], eye)[:, 0]
    assert (np.diff(lightness) > 2).all()


def test_the_style_draws_in_cividis():
    assert plt.rcParams["image.cmap"] == "cividis"


# ---- words and frames on colours ----


def test_numbers_are_read_on_every_colour_of_the_map(ax):
    texts = plots.plot_numbers(np.arange(256).reshape(16, 16), ax)
    (heatmap,) = ax.images
    for text, value in zip(texts, range(256), strict=True):
        assert contrast(text.get_color(), heatmap.cmap(value)[:3]) >= TEXT, value


def test_the_names_of_the_steps_are_read(ax):
    image = torch.rand(1, 4, 6)
    model = ViT(
        image_size=(4, 6), patch_size=2, channels=1, dim=8, depth=1, num_heads=2, mlp_dim=8, num_classes=3
    )
    bands = plot_the_way(image, model.trace(image[None]), ax, lit=2)[:5]
    for band in bands:
        for text in ax.texts:
            assert contrast(text.get_color(), band.get_facecolor()[:3]) >= TEXT
    (lit,) = (band for band in bands if band.get_linewidth() > 1)  # lit by more than its colour
    assert contrast(lit.get_edgecolor()[:3], "white") >= GRAPHICS


def test_the_frame_is_seen_on_every_colour(ax):
    plots.plot_tokens(np.ones((3, 4)), ax)
    (frame,) = ax.patches
    (shadow,) = frame.get_path_effects()
    pens = [frame.get_edgecolor()[:3], shadow._gc["foreground"]]
    for colour in [*colormaps["cividis"](range(256))[:, :3], "white"]:
        assert max(contrast(pen, colour) for pen in pens) >= GRAPHICS


# ---- no colour that nobody has looked at ----

# Each of these is held by a test above, or is a ground: INK, UNLIT, LIT, and the page behind grey kernels.
LOOKED_AT = {"white", "black", "grey", "gray", "C0", "C1", "#1A1A2E", "#E8E8EC", "#FFD75E", "#6F8FAF"}
IN_CSS = {"#1a1a2e", "#0072b2", "#555", "white", "black", "#E8E8EC"}
IN_CSS |= {"#16161c", "#b6b6c4"}  # the explorer's page in the dark
HEX = r"#(?:[0-9a-fA-F]{3,4}){1,2}\b"


def colours_in(source: str) -> set[str]:
    """Every string of a program that is nothing but a colour or the name of a colour map."""
    tree = ast.parse(source)
    words = {
        node.value
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    named = {*CSS4_COLORS, *colormaps} | {word for word in words if word.startswith(("tab:", "xkcd:"))}
    return {word for word in words if word in named or re.fullmatch(rf"C\d|{HEX}", word)}


def test_colours_are_found_in_a_program():
    assert colours_in("f('red', c='C7', cmap='jet'); g(\"a red line\", '#12ab9F', 'tab:blue')") == {
        *("red", "C7", "jet", "#12ab9F", "tab:blue")
    }


def below_the_package(*suffixes: str) -> list[str]:
    paths = (path for path in PACKAGE.rglob("*") if path.suffix in suffixes)
    return sorted(path.relative_to(PACKAGE).as_posix() for path in paths)


@pytest.mark.parametrize("name", below_the_package(".py"))
def test_a_module_uses_only_colours_that_were_looked_at(name):
    used = colours_in((PACKAGE / name).read_text(encoding="utf-8"))
    assert used - {"cividis"} <= LOOKED_AT


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_uses_only_colours_that_were_looked_at(path):
    cells = nbformat.read(path, as_version=4).cells
    used = colours_in("\n".join(cell.source for cell in cells if cell.cell_type == "code"))
    assert used <= LOOKED_AT


@pytest.mark.parametrize("name", below_the_package(".css", ".js"))
def test_a_widget_uses_only_colours_that_were_looked_at(name):
    text = (PACKAGE / name).read_text(encoding="utf-8")
    in_scripts = {word for word in re.findall(r'"(\w+)"', text) if word in CSS4_COLORS}
    in_styles = {
        word for word in re.findall(r":[^;]*?\b([a-z]+)\b", text) if word in CSS4_COLORS and ".css" in name
    }
    assert {*re.findall(HEX, text), *in_scripts, *in_styles} <= IN_CSS


def test_the_ring_around_the_control_in_focus_is_seen_in_light_and_dark():
    dress = (PACKAGE / "looking" / "widgets" / "widgets.css").read_text(encoding="utf-8")
    (ring,) = re.findall(rf"outline: 3px solid ({HEX})", dress)
    for ground in ("white", "#111111"):  # JupyterLab's light theme and its dark one
        assert contrast(ring, ground) >= GRAPHICS


def test_the_explorers_page_is_read_in_light_and_dark():
    dress = (PACKAGE / "looking" / "explorer_page.css").read_text(encoding="utf-8")
    (ring,) = re.findall(
        rf"outline: 3px solid ({HEX})", (PACKAGE / "looking/widgets/widgets.css").read_text("utf-8")
    )
    of = lambda name: re.findall(rf"--{name}: (.*);", dress)  # noqa: E731
    grounds = of("paper")
    assert len(grounds) == 2
    for name in ("jp-content-font-color1", "jp-content-font-color2"):
        for ink, ground in zip(of(name), grounds, strict=True):
            assert contrast(ink, ground) >= TEXT, (name, ground)
    assert all(contrast(ring, ground) >= GRAPHICS for ground in grounds)


ASSETS = ROOT / "tools" / "pages" / "assets"
PAIR = re.compile(rf"light-dark\(({HEX}|white), ({HEX})\)")


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_the_pages_are_read_in_light_and_dark(mode):
    named = re.compile(rf"--(\w+): {PAIR.pattern};")
    which = ["light", "dark"].index(mode)
    sheet = (ASSETS / "site.css").read_text(encoding="utf-8")
    colours = {name: pair[which] for name, *pair in named.findall(sheet)}
    for ground in ("paper", "shade"):
        for ink in ("ink", "quiet", "soft", "blue"):
            assert contrast(colours[ink], colours[ground]) >= TEXT, (ink, ground)
    assert contrast(colours["ring"], colours["paper"]) >= GRAPHICS
    for ink in ("ink", "quiet", "blue"):
        assert contrast(colours[ink], colours["found"]) >= TEXT, ink
    code = (ASSETS / "code.css").read_text(encoding="utf-8")
    for pair in re.findall(rf"(?<!-)color: {PAIR.pattern}", code):
        assert contrast(pair[which], colours["shade"]) >= 6, pair
    told = re.sub(PAIR, "", sheet + code)
    assert {*re.findall(HEX, told)} <= {"#00000040"}, "a colour that knows only the light"


# ---- words instead of pictures ----

SAYS_NOTHING = {"figure", "image", "picture", "plot", "photo", "screenshot", "graph", "output"}


def texts_of_pictures(path: Path) -> list[str]:
    """The alternative texts of a page: those of stored pictures, and those written in Markdown."""
    if path.suffix == ".md":
        return re.findall(r"!\[([^]]*)\]\(", path.read_text(encoding="utf-8"))
    cells = nbformat.read(path, as_version=4).cells
    written = [text for cell in cells for text in re.findall(r"!\[([^]]*)\]\(", cell.source)]
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    stored = [
        output.metadata.get("image/png", {}) for output in outputs if "image/png" in output.get("data", {})
    ]
    return written + [about.get("alt", "") for about in stored]


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_every_picture_says_what_it_shows(path):
    texts = texts_of_pictures(path)
    assert len(texts) == len(set(texts)), "two pictures with the same words"
    for text in texts:
        words = re.findall(r"\w+", text.lower())
        assert len(set(words) - SAYS_NOTHING) >= 6, text
    assert texts or path.stem not in ("README", *(lesson.stem for lesson in LESSONS))


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.stem)
def test_no_picture_hides_from_these_tests_in_html(path):
    if path.suffix == ".md":
        text = path.read_text(encoding="utf-8")
    else:
        text = "\n".join(
            c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown"
        )
    assert not re.search(r"<(img|svg|canvas)\b", text), "write it in Markdown, or read its words here"


@pytest.mark.parametrize("path", sorted(ROOT.glob("*.md")), ids=lambda path: path.stem)
def test_headings_of_a_page_go_down_one_level_at_a_time(path):
    text = re.sub(r"```.*?```", "", path.read_text(encoding="utf-8"), flags=re.S)
    levels = [len(marks) for marks in re.findall(r"^(#+) ", text, flags=re.M)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(level <= before + 1 for before, level in pairwise(levels))
