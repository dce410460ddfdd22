"""Lay the cells of a lesson out on slides, as their metadata `slideshow` says.

As in JupyterLab a cell is a slide (the next column), a subslide (below it), a note for the speaker, skipped,
or, without a word, more of the slide before it. A long text runs on over as many slides as it needs. Of an
exercise the hints are the speaker's, and so is what stands in a cell's metadata under `slideshow.notes`.
"""

import math
import re
from dataclasses import dataclass, field

from lesson_html import is_folded, kind, text

MOST_LETTERS = 720  # of text on one slide
FEW_LETTERS = 200  # beside code or a figure: they say too little of it for who stands in front of it
LETTERS_OF_A_FORMULA, LETTERS_OF_AN_ITEM = 140, 75
FIGURES = {"picture", "widget"}
# Where a fold begins or ends, a slide does: there is nothing to click at the wall.
FOLD = re.compile(r"<details[^>]*>\s*<summary>.*?</summary>|</details>", flags=re.S)
TURN = "---"
FOLDED = re.compile(r"<details[^>]*>\s*<summary>(.*?)</summary>(.*?)</details>", flags=re.S)
FENCED = re.compile(r"^```\w*\n(.*?)^```", flags=re.S | re.M)
LETTER_OF_EXERCISE = re.compile(r"^### (?=\w\) )")
HEIGHT = 664  # of a slide within its margins, and of what stands on it, in pixels as in deck.css
TITLE, LETTERS_OF_A_TITLE, LINE_OF_WORDS, LETTERS_OF_A_LINE, FORMULA, PICTURE = 66, 52, 35, 84, 80, 250
GAP, FRAME = 14, 22
# CSS class, letters in a line of code, height of that line
SIZES = (("huge", 77, 33.6), ("large", 94, 28.0), ("medium", 104, 25.2))


@dataclass
class Slide:
    """What is seen at one time: words and cells, and what is said to them."""

    section: str
    parts: list = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    is_exercise: bool = False
    seconds: int = 0

    @property
    def is_figure(self) -> bool:
        """Whether something on it takes the room that words leave."""
        return any(kind(output) in FIGURES for part in self.parts for output in outputs(part))

    @property
    def needs_section(self) -> bool:
        """Whether no heading says where in the lesson we are."""
        return not (self.parts and is_headed(self.parts[0]))

    @property
    def needs_note(self) -> bool:
        """Whether it shows code, what code gave or a figure, and hardly says what to see there."""
        said = [split(part)[1] for part in self.parts if isinstance(part, str)]
        shows = len(said) < len(self.parts)
        return shows and sum(len(block) for blocks in said for block in blocks) < FEW_LETTERS

    @property
    def size(self) -> str:
        """How large code can be printed, all of it in its own lines, or else in broken ones: a CSS class."""
        texts = [text for part in self.parts for text in printed(part)]
        longest = max((len(line) for text in texts for line in text), default=0)
        for name, width, line in SIZES:
            if longest <= width and self.height(texts, width, line) <= HEIGHT:
                return name
        name, width, line = SIZES[1]
        return name if self.height(texts, width, line) <= HEIGHT else "small"

    def height(self, texts: list[list[str]], width: int, line: float) -> float:
        """What words, pictures and such lines of code take."""
        words = [part for part in self.parts if isinstance(part, str)]
        lines = sum(math.ceil(len(each) / width) or 1 for text in texts for each in text)
        rest = sum(map(height_of_words, words)) + PICTURE * self.is_figure + GAP * len(self.parts)
        return rest + lines * line + (FRAME + GAP) * len(texts)


def stacks(notebook) -> list[list[Slide]]:
    """The slides of a lesson, in columns; each column is a section.

    Raises:
        ValueError: the first cell that is shown does not begin a slide.
    """
    found: list[list[Slide]] = []
    section, asked = "", []
    for cell in notebook.cells:
        role = cell.metadata.get("slideshow", {}).get("slide_type", "-")
        if role != "skip" and role != "slide" and not found:
            raise ValueError(f"{cell.id} is on no slide: the first cell that is shown must be a slide")
        if role == "notes":
            found[-1][-1].notes.append(unfolded(cell.source))
        elif role != "skip":
            section = heading(cell) or section
            lay_out(cell, role, section, found)
            asked = hints(cell) or asked
            given = asked if is_stub(cell) and not found[-1][-1].notes else hints(cell)
            found[-1][-1].notes += given + own_notes(cell)
    return found


def lay_out(cell, role: str, section: str, found: list[list[Slide]]) -> None:
    first, *more = pages(cell)
    if role == "slide":
        found.append([])
    if role in ("slide", "subslide"):
        found[-1].append(Slide(section, is_exercise=cell.id.startswith("exercise")))
    found[-1][-1].parts.append(first)
    found[-1] += [Slide(section, [page], is_exercise=found[-1][-1].is_exercise) for page in more]


def heading(cell) -> str | None:
    is_heading = cell.cell_type == "markdown" and is_headed(cell.source)
    return on_the_wall(cell).partition("\n")[0].lstrip("# ") if is_heading else None


def is_exercise(cell) -> bool:
    return cell.cell_type == "markdown" and cell.id.startswith("exercise")


def is_stub(cell) -> bool:
    return cell.id.startswith("exercise") and cell.id.endswith("-stub")


def on_the_wall(cell) -> str:
    """The words of a cell; an exercise says that it is one, and gives no hints away."""
    if not is_exercise(cell):
        return cell.source
    return FOLDED.sub("", LETTER_OF_EXERCISE.sub("### Exercise ", cell.source)).strip()


def hints(cell) -> list[str]:
    return [unfolded(fold[0]) for fold in FOLDED.finditer(cell.source)] if is_exercise(cell) else []


def own_notes(cell) -> list[str]:
    """What a speaker is told of a cell that readers of the lesson are not."""
    note = cell.metadata.get("slideshow", {}).get("notes")
    return [note] if note else []


def unfolded(source: str) -> str:
    """The speaker has nothing to click."""
    return FOLDED.sub(r"**\1**\n\2", source)


def is_headed(part) -> bool:
    return isinstance(part, str) and part.startswith("#")


def pages(cell) -> list:
    """The cell, or for a long text several with its heading on each; what is folded comes one slide later."""
    if cell.cell_type == "code":
        return [cell]
    title, blocks = split(FOLD.sub(f"\n\n{TURN}\n\n", on_the_wall(cell)))
    filled: list[list[str]] = [[]]
    for block in blocks:
        if block == TURN:
            filled.append([])
        elif filled[-1] and sum(map(letters, [*filled[-1], block])) > MOST_LETTERS:
            leads_in = is_formula(block) and len(filled[-1]) > 1
            filled.append([filled[-1].pop(), block] if leads_in else [block])
        else:
            filled[-1].append(block)
    return ["\n\n".join([*title, *page]) for page in filled if page] or title


def split(source: str) -> tuple[list[str], list[str]]:
    blocks = re.split(r"\n\s*\n", source.strip())
    title = blocks[: is_headed(blocks[0])]
    return title, blocks[len(title) :]


def is_formula(block: str) -> bool:
    return block.startswith("$$")


def letters(block: str) -> int:
    if is_formula(block):
        return LETTERS_OF_A_FORMULA
    items = re.findall(r"^(?:- |\d+\. )", block, flags=re.M)
    return max(len(block), LETTERS_OF_AN_ITEM * len(items))


def height_of_words(source: str) -> float:
    title, blocks = split(FENCED.sub("", source))
    height = sum(TITLE + 48 * (len(each) > LETTERS_OF_A_TITLE) for each in title)
    for block in filter(None, blocks):
        lines = sum(math.ceil(len(line) / LETTERS_OF_A_LINE) for line in block.splitlines())
        height += FORMULA if is_formula(block) else GAP + LINE_OF_WORDS * lines
    return height


def outputs(part) -> list:
    """What is seen of what a cell gave: no words beside a widget, nor below a stub."""
    if isinstance(part, str):
        return []
    found = [output for output in part.outputs if kind(output) != "nothing"]
    has_widget = any(kind(output) == "widget" for output in found)
    return [output for output in found if not ((has_widget or is_stub(part)) and kind(output) == "text")]


def shows_code(cell) -> bool:
    """Code is shown when it prints; code that draws, is folded or tagged hide-input would be in the way."""
    is_hidden = is_folded(cell) or "hide-input" in cell.metadata.get("tags", [])
    return not is_hidden and all(kind(output) == "text" for output in outputs(cell))


def printed(part) -> list[list[str]]:
    """The lines of each piece of code and of each output that is text."""
    if isinstance(part, str):
        return [block.strip().splitlines() for block in FENCED.findall(part)]
    shown = [part.source] if shows_code(part) else []
    shown += [text(output) for output in outputs(part) if kind(output) == "text"]
    shown += [
        unfenced(output.data["text/markdown"]) for output in outputs(part) if kind(output) == "markdown"
    ]
    return [each.strip().splitlines() for each in shown]


def unfenced(source: str) -> str:
    return "\n".join(FENCED.findall(source)) or source
