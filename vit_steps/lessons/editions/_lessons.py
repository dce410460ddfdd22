"""The lessons as an edition reads them: cells with text for a source, and exercises with all their parts."""

import ast
import re
from collections.abc import Iterable
from copy import deepcopy
from pathlib import Path
from typing import Any, NamedTuple

from vit_steps.commands.where import find_lessons
from vit_steps.files.reading import read_json
from vit_steps.lessons.exercises import EXERCISES, Exercise

TAGS = ("exercise", "stub", "solution", "needs-solution", "tells-solution")
EVERYTHING = "all"
PROGRAM = re.compile(r"^```python\n(.*?)^```\s*$", flags=re.S | re.M)
FOLD = re.compile(r"</?details[^>]*>|<summary>.*?</summary>")
CALL = "_ = check_"

Cell = dict[str, Any]


class Lesson(NamedTuple):
    """A lesson, or what an edition made of it.

    Attributes:
        place: where it lies among the others, with slashes: ``beyond/real_vits.ipynb``.
        cells: their sources are text, whatever the file has.
        rest: what a notebook holds besides cells.
    """

    place: str
    cells: list[Cell]
    rest: dict[str, Any]

    @property
    def stem(self) -> str:
        """The name that a command and an exercise call it by: ``real_vits``."""
        return self.place.rpartition("/")[2].removesuffix(".ipynb")

    @property
    def exercises(self) -> list[Exercise]:
        """What is asked in it, in its order."""
        return [exercise for exercise in EXERCISES if exercise.lesson == self.stem]

    def exercise_of(self, cell: Cell) -> Exercise:
        """Which exercise a cell belongs to: its id begins with that of the question."""
        name = re.sub("-(stub|solution)$", "", cell["id"])
        return next(each for each in self.exercises if each.cell == name)

    def cell(self, id: str) -> Cell:
        """The cell of this id."""
        return next(each for each in self.cells if each["id"] == id)


def choose(words: Iterable[str]) -> list[Lesson]:
    """Read the lessons that are asked for, in the order of the course, each once.

    Raises:
        ValueError: "lessons must be numbers from 1 to 5, names such as 2_cls_token, or all, got 'six'", or
            a notebook that is none.
        FileNotFoundError: the lessons are not in this installation.
    """
    folder = find_lessons()
    known = sorted(folder.glob("*.ipynb")) + sorted(folder.glob("beyond/*.ipynb"))
    wanted = {path for word in words for path in _named(word, known)}
    return [_read(path, path.relative_to(folder).as_posix()) for path in known if path in wanted]


def _named(word: str, known: list[Path]) -> list[Path]:
    found = [path for path in known if word in (EVERYTHING, path.stem) or _is_number(word, path)]
    if not found:
        names = f"numbers from 1 to {len({each.lesson for each in EXERCISES})}, names such as 2_cls_token"
        raise ValueError(f"lessons must be {names}, or {EVERYTHING}, got {word!r:.80}")
    return found


def _is_number(word: str, path: Path) -> bool:
    return word.isdigit() and path.stem.startswith(f"{word}_")


def _read(path: Path, place: str) -> Lesson:
    notebook = read_json(path, "a notebook")
    cells = notebook.pop("cells")
    for cell in cells:
        cell["source"] = "".join(cell["source"])
    return Lesson(place, cells, notebook)


def as_notebook(lesson: Lesson) -> dict[str, Any]:
    """The notebook as a file holds it, a line of source a line."""
    cells = [cell | {"source": cell["source"].splitlines(keepends=True)} for cell in lesson.cells]
    return deepcopy(lesson.rest) | {"cells": cells}


def tags(cell: Cell) -> list[str]:
    """What a cell says that it is."""
    return cell["metadata"].get("tags", [])


def new_cell(kind: str, id: str, source: str, **metadata: Any) -> Cell:
    """A cell that the lesson has not; it is on no slide."""
    cell = {"cell_type": kind, "id": id, "source": source}
    cell["metadata"] = {"slideshow": {"slide_type": "skip"}} | metadata
    return without_outputs(cell) if kind == "code" else cell


def without_outputs(cell: Cell) -> Cell:
    """The same cell, as if it had never run."""
    return cell | {"outputs": [], "execution_count": None} if cell["cell_type"] == "code" else cell


class Stub(NamedTuple):
    """What is to be filled, and the line that calls the check."""

    given: str
    call: str


def stub_of(cell: Cell) -> Stub:
    """Part a stub's cell where its check is called."""
    given, _, call = cell["source"].rpartition(CALL)
    return Stub(given.rstrip(), CALL + call)


def program_of(solution: Cell) -> str:
    """The Python of a solution, which is text in a lesson."""
    return PROGRAM.search(solution["source"])[1].rstrip()


def remark_of(solution: Cell) -> str:
    """What a solution says besides its Python."""
    return FOLD.sub("", PROGRAM.sub("", solution["source"])).strip()


def names_in(source: str) -> set[str]:
    """The names that a piece of Python uses or gives."""
    tree = ast.walk(ast.parse(source))
    return {node.id for node in tree if isinstance(node, ast.Name)}
