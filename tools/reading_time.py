"""How long a lesson takes to read, without its exercises: `python tools/reading_time.py [NOTEBOOK ...]`.

Counted are the words of the text, the lines of Python, the sources that a cell shows among them, and the
figures: 180 words and 20 lines a minute, half a minute for each figure. A formula is one word. What is
folded, be it code or text, is not counted.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

import nbformat
from lesson_html import is_folded

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
LESSONS = sorted(NOTEBOOKS.glob("*.ipynb")) + sorted(NOTEBOOKS.glob("beyond/*.ipynb"))
WORDS_A_MINUTE, LINES_A_MINUTE, MINUTES_A_FIGURE = 180, 20, 0.5
FOLDED = re.compile(r"<details.*?</details>", flags=re.S)
FENCED = re.compile(r"```(\w*)\n(.*?)```", flags=re.S)
FORMULA = re.compile(r"\$\$.*?\$\$|\$[^$\n]+\$", flags=re.S)
MARKUP = re.compile(r"<[^>]+>|https?://\S+|\]\([^)]*\)|^[|: -]+$", flags=re.M)


@dataclass
class Reading:
    """What there is to read in a lesson."""

    words: int = 0
    lines: int = 0
    figures: int = 0

    @property
    def minutes(self) -> float:
        """How long it takes."""
        return self.words / WORDS_A_MINUTE + self.lines / LINES_A_MINUTE + self.figures * MINUTES_A_FIGURE

    @property
    def ratio(self) -> float:
        """Words to a line of code."""
        return self.words / self.lines if self.lines else float("inf")

    def __add__(self, other: "Reading") -> "Reading":
        """Both, one after the other."""
        return Reading(self.words + other.words, self.lines + other.lines, self.figures + other.figures)


def read(path: Path) -> Reading:
    """Count a lesson, but for the cells whose ids begin with `exercise`."""
    cells = nbformat.read(path, as_version=4).cells
    return sum((count(cell) for cell in cells if not cell.id.startswith("exercise")), Reading())


def count(cell) -> Reading:
    if cell.cell_type == "markdown":
        return of_text(cell.source)
    own = Reading(lines=0 if is_folded(cell) else num_lines(cell.source))
    return sum((of_output(output) for output in cell.outputs), own)


def of_text(text: str) -> Reading:
    text = FOLDED.sub(" ", text)
    lines = sum(num_lines(block) for language, block in FENCED.findall(text) if language == "python")
    bare = MARKUP.sub(" ", FORMULA.sub(" formula ", FENCED.sub(" ", text)))
    return Reading(words=len(re.findall(r"[^\W_][\w'’.,-]*", bare)), lines=lines)


def of_output(output) -> Reading:
    data = output.get("data", {})
    if "image/png" in data:
        return Reading(figures=1)
    return of_text(data.get("text/markdown", ""))


def num_lines(source: str) -> int:
    return sum(bool(line.strip()) for line in source.splitlines())


def main(names: list[str]) -> None:
    paths = [Path(name) for name in names] or LESSONS
    print(f"{'':28}{'words':>6}{'code lines':>12}{'figures':>9}{'minutes':>9}{'words : code line':>19}")
    for path in paths:
        found = read(path)
        numbers = f"{found.words:6}{found.lines:12}{found.figures:9}{found.minutes:9.1f}{found.ratio:19.1f}"
        print(f"{path.stem:28}{numbers}")


if __name__ == "__main__":
    main(sys.argv[1:])
