"""What a page is made of: Markdown with formulas, Python in colour, the pictures that a notebook stores.

What is given back as ``Markup`` is HTML and goes into a page as it is. Everything else is text: the templates
escape it.
"""

import re
from functools import cache

from latex2mathml.converter import convert
from markupsafe import Markup
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

WIDGET = "application/vnd.jupyter.widget-view+json"
BARE_FUNCTION = re.compile(r"<mi>(log|ln|sin|cos)</mi>(?!<mo[^>]*>&#x00028;)")
PRIME = re.compile(r"<msup>(<mi>[^<]*</mi>)<mi>(&#x02032;|&#x02033;)</mi></msup>")
# A full stop behind a formula never begins a line.
STOP_BEHIND_FORMULA = re.compile(r"(<math [^>]*inline[^>]*>(?:(?!</math>).)*</math>[),.;:?!]+)")
FORMULA_IN_PARAGRAPH = re.compile(r'<p>(<div class="formula.*?</div>)\s*</p>')
TO_A_LESSON = re.compile(r"^(?:\.\./|beyond/)?(\w+)\.ipynb")
LONG_FORMULA = 140  # letters of TeX
PROGRESS_BAR = re.compile(r"\s*\d+%\|")


class LessonRenderer(IPythonRenderer):
    """Formulas become MathML, which browsers draw without a script; links lead from page to page."""

    def __init__(self, *, escape: bool):
        super().__init__(escape=escape, exclude_anchor_links=True)

    def inline_math(self, body: str) -> str:
        """A formula among words."""
        return formula(body, "inline")

    def block_math(self, body: str) -> str:
        """A formula on a line of its own; a reader without a mouse can scroll it where it is too wide."""
        size = " long" if len(body) > LONG_FORMULA else ""
        drawn = formula(body, "block")
        return f'<div class="formula{size}" role="group" aria-label="formula" tabindex="0">{drawn}</div>\n'

    def heading(self, text: str, level: int, **attrs) -> str:
        """A heading that can be linked to."""
        return f'<h{level} id="{slug(text)}">{text}</h{level}>\n'

    def link(self, text: str, url: str, title: str | None = None) -> str:
        """From lesson to lesson, as pages, which lie in one folder, excursions among them."""
        return super().link(text, TO_A_LESSON.sub(r"\1.html", url), title)


def words(source: str) -> Markup:
    """Markdown that the author of a lesson wrote, HTML such as ``<details>`` included."""
    return _markdown(source, escape=False)


def printed(source: str) -> Markup:
    """Markdown that a cell printed: names of files and classes may be in it, so HTML is only shown."""
    return _markdown(source, escape=True)


def inline(source: str) -> Markup:
    """One line of Markdown within a paragraph."""
    return Markup(str(words(source)).strip().removeprefix("<p>").removesuffix("</p>"))


def without_ids(html: Markup) -> Markup:
    """The same headings on several slides of one page: none can be the target of a link."""
    return Markup(re.sub(r'(<h\d) id="[^"]*"', r"\1", str(html)))  # a Markup would escape what is put in


@cache  # a cell is read on its page, on its slide, and by the search
def _markdown(source: str, *, escape: bool) -> Markup:
    html = MarkdownWithMath(renderer=LessonRenderer(escape=escape)).render(source)
    html = STOP_BEHIND_FORMULA.sub(r'<span class="whole">\1</span>', html)
    return Markup(FORMULA_IN_PARAGRAPH.sub(r"\1", html))


def python(source: str) -> Markup:
    return Markup(highlight(source, PythonLexer(), HtmlFormatter()))


def formula(tex: str, display: str) -> str:
    """MathML of a formula, with the two spacings that TeX has and browsers lack."""
    mathml = BARE_FUNCTION.sub(r'<mi>\1</mi><mspace width="0.167em" />', convert(tex, display=display))
    return PRIME.sub(r"<mrow>\1<mo lspace='0' rspace='0'>\2</mo></mrow>", mathml)


def slug(text: str) -> str:
    bare = re.sub(r"<annotation.*?</annotation>|<[^>]+>|&[^;]+;", "", text)
    return re.sub(r"[^a-z0-9]+", "-", bare.lower()).strip("-")


def sections(notebook) -> list[tuple[str, Markup]]:
    """Anchor and title of each section, in order."""
    headings = [
        re.findall(r"<h2 id=\"(.*?)\">(.*?)</h2>", words(cell.source))
        for cell in notebook.cells
        if cell.cell_type == "markdown"
    ]
    return [(anchor, Markup(title)) for of_one_cell in headings for anchor, title in of_one_cell]


def picture(output) -> Markup:
    """A stored picture as an HTML image, with its alternative text.

    Raises:
        ValueError: the notebook stores a picture without words.
    """
    said = output.metadata.get("image/png", {})
    if not said.get("alt", "").strip():
        raise ValueError("a picture has no alternative text: show it with show_figure(figure, alt=...)")
    data = output.data["image/png"].replace("\n", "")
    image = Markup('<img src="data:image/png;base64,{}" alt="{}" width="{}">')
    return image.format(data, said["alt"], said["width"])


def is_folded(cell) -> bool:
    """Whether JupyterLab shows the code of a cell only when it is asked to."""
    return cell.metadata.get("jupyter", {}).get("source_hidden", False)


def hides_outputs(cell) -> bool:
    """Whether JupyterLab shows what a cell gave only when it is asked to: it answers a question."""
    return cell.metadata.get("jupyter", {}).get("outputs_hidden", False)


def kind(output) -> str:
    """What a page makes of an output: text, picture, widget, markdown, or nothing."""
    if output.output_type == "stream":
        return "text"
    if WIDGET in output.data:
        return "nothing" if PROGRESS_BAR.match(output.data["text/plain"]) else "widget"
    if "image/png" in output.data:
        return "picture"
    return "markdown" if "text/markdown" in output.data else "text"


def text(output) -> str:
    return output.text if output.output_type == "stream" else output.data["text/plain"]
