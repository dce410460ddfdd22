"""What a page is made of: Markdown with formulas, Python in colour, the pictures that a notebook stores."""

import re
from html import escape

from latex2mathml.converter import convert
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
LONG_FORMULA = 140  # letters of TeX
PROGRESS_BAR = re.compile(r"\s*\d+%\|")


class LessonRenderer(IPythonRenderer):
    """Formulas become MathML, which browsers draw without a script; links lead from page to page."""

    def __init__(self):
        super().__init__(escape=False, exclude_anchor_links=True)

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
        """From lesson to lesson, as pages."""
        return super().link(text, url.replace(".ipynb", ".html"), title)


def markdown(source: str) -> str:
    html = MarkdownWithMath(renderer=LessonRenderer()).render(source)
    html = STOP_BEHIND_FORMULA.sub(r'<span class="whole">\1</span>', html)
    return FORMULA_IN_PARAGRAPH.sub(r"\1", html)


def python(source: str) -> str:
    return highlight(source, PythonLexer(), HtmlFormatter())


def formula(tex: str, display: str) -> str:
    """MathML of a formula, with the two spacings that TeX has and browsers lack."""
    mathml = BARE_FUNCTION.sub(r'<mi>\1</mi><mspace width="0.167em" />', convert(tex, display=display))
    return PRIME.sub(r"<mrow>\1<mo lspace='0' rspace='0'>\2</mo></mrow>", mathml)


def slug(text: str) -> str:
    bare = re.sub(r"<annotation.*?</annotation>|<[^>]+>|&[^;]+;", "", text)
    return re.sub(r"[^a-z0-9]+", "-", bare.lower()).strip("-")


def sections(notebook) -> list[tuple[str, str]]:
    """Anchor and title of each section, in order."""
    headings = [
        re.findall(r"<h2 id=\"(.*?)\">(.*?)</h2>", markdown(cell.source))
        for cell in notebook.cells
        if cell.cell_type == "markdown"
    ]
    return [found for of_one_cell in headings for found in of_one_cell]


def picture(output) -> str:
    """A stored picture as an HTML image, with its alternative text.

    Raises:
        ValueError: the notebook stores a picture without words.
    """
    said = output.metadata.get("image/png", {})
    if not said.get("alt", "").strip():
        raise ValueError("a picture has no alternative text: show it with show_figure(figure, alt=...)")
    data = output.data["image/png"].replace("\n", "")
    return f'<img src="data:image/png;base64,{data}" alt="{escape(said["alt"])}" width="{said["width"]}">'


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
