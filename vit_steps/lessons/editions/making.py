"""Make an edition of some lessons, and lay it into a folder."""

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from vit_steps.doors import door, values
from vit_steps.lessons.editions._laying import lay
from vit_steps.lessons.editions._lessons import Cell, Lesson, as_notebook, choose, new_cell, without_outputs
from vit_steps.lessons.editions._nbgrader import CONFIG, nbgrader
from vit_steps.lessons.editions._otter import assign, need_otter, otter
from vit_steps.lessons.editions._reading import student, teacher
from vit_steps.lessons.editions._words import relinked
from vit_steps.lessons.launch import _hub, _repository, _word, first_cell, launch_links

Kind = Literal["student", "teacher", "nbgrader", "otter"]
Outputs = Literal["as usual", "keep", "clear"]


def _install(name: str, value: Any) -> str:
    return value if value == "" and isinstance(value, str) else _word(name, value)


def _perhaps_repository(name: str, value: Any) -> str:
    return value if value == "" and isinstance(value, str) else _repository(name, value)


def _some(lessons: Sequence[str]) -> None:
    if not lessons:
        raise ValueError("lessons is empty: name one, or all")


class Way(NamedTuple):
    """How an edition is made: what becomes of the cells, where a lesson lies, and where a reader opens it."""

    arrange: Callable[[Lesson], list[Cell]]
    place: str
    opened: str
    keeps: bool


WAYS = {
    "student": Way(student, "{place}", "{place}", keeps=True),
    "teacher": Way(teacher, "{place}", "{place}", keeps=True),
    "nbgrader": Way(nbgrader, "source/{stem}/{stem}.ipynb", "{stem}/{stem}.ipynb", keeps=False),
    "otter": Way(otter, "master/{stem}.ipynb", "student/{stem}.ipynb", keeps=False),
}
GRADERS = ("nbgrader", "otter")


class Wishes(NamedTuple):
    """What else is asked of an edition."""

    outputs: str
    install: str
    repository: str
    branch: str
    hub: str


@door(_some, lessons=values.names, install=_install, repository=_perhaps_repository, branch=_word, hub=_hub)
def make_edition(
    kind: Kind,
    lessons: Sequence[str],
    folder: str | os.PathLike,
    *,
    outputs: Outputs = "as usual",
    install: str = "",
    repository: str = "",
    branch: str = "main",
    hub: str = "",
    force: bool = False,
) -> list[Path]:
    """Make an edition of some lessons from the lessons themselves.

    Args:
        kind: "student" has no solution and no word of one, "teacher" its stubs filled and the mistakes that
            each check names beside them, "nbgrader" is a course folder for it, "otter" holds a master, the
            students' notebook and the zip for its autograder.
        lessons: numbers, names such as ``2_cls_token``, or ``all``.
        folder: where to; it is made where there is none.
        outputs: "keep" what the lessons print and draw, or "clear" it. As usual it is kept where somebody
            reads, and cleared where a grader runs.
        install: what pip installs in a first cell, where the package is missing as on Colab.
        repository: the address that this folder will be published at; each lesson then begins with links
            that open it in Colab and on Binder, from this ``branch``, and on the JupyterHub at ``hub``.
        force: write over files that were changed since they were laid.

    Returns:
        Where the files lie.

    Raises:
        ValueError: "lessons must be numbers from 1 to 5, names such as 2_cls_token, or all, got 'six'", or
            an address that is none, or "a_looking_inside has no exercise for nbgrader to grade".
        FileExistsError: "made/2_cls_token.ipynb is not as it was laid there: force writes over it".
        ModuleNotFoundError: otter-grader is not installed, and which extra installs it.
        RuntimeError: otter refuses a lesson, in its own words.
        OSError: it cannot be written.
    """
    if kind == "otter":
        need_otter()
    chosen = _gradable(choose(lessons), kind, lessons) if kind in GRADERS else choose(lessons)
    made = _arranged(kind, chosen, Wishes(outputs, install, repository, branch, hub))
    return lay(Path(folder).expanduser(), _files(kind, made), force=force)


def _gradable(chosen: list[Lesson], kind: str, words: Sequence[str]) -> list[Lesson]:
    """Those with exercises; one without is refused where it was asked for by name."""
    for lesson in chosen:
        if not lesson.exercises and lesson.stem in words:
            raise ValueError(f"{lesson.stem} has no exercise for {kind} to grade")
    return [lesson for lesson in chosen if lesson.exercises]


def _arranged(kind: str, chosen: list[Lesson], wishes: Wishes) -> list[Lesson]:
    way = WAYS[kind]
    places = {lesson.place: way.place.format(place=lesson.place, stem=lesson.stem) for lesson in chosen}
    made = []
    for lesson in chosen:
        cells = otter(lesson, wishes.install) if kind == "otter" else way.arrange(lesson)
        cells = [relinked(cell, lesson.place, places) for cell in cells]
        opened = way.opened.format(place=lesson.place, stem=lesson.stem)
        cells = _with_doors(cells, opened, wishes)
        if wishes.outputs == "clear" or (wishes.outputs == "as usual" and not way.keeps):
            cells = [without_outputs(cell) for cell in cells]
        made.append(lesson._replace(place=places[lesson.place], cells=cells))
    return made


def _with_doors(cells: list[Cell], opened: str, wishes: Wishes) -> list[Cell]:
    """Behind the title: links that open the lesson elsewhere, and what installs the package there."""
    doors = []
    if wishes.repository:
        links = launch_links(wishes.repository, wishes.branch, opened, hub=wishes.hub)
        shown = " · ".join(f"[{name}]({address})" for name, address in links.items())
        doors.append(new_cell("markdown", "open-elsewhere", f"Open this lesson in {shown}."))
    if wishes.install:
        doors.append(new_cell("code", "install", first_cell(wishes.install).rstrip()))
    behind = 1 + next(number for number, cell in enumerate(cells) if cell["cell_type"] == "markdown")
    return [*cells[:behind], *doors, *cells[behind:]]


def _files(kind: str, made: list[Lesson]) -> dict[str, bytes]:
    files = {lesson.place: _written(lesson) for lesson in made}
    if kind == "nbgrader":
        files["nbgrader_config.py"] = CONFIG.encode()
    if kind == "otter":
        for lesson in made:
            files |= assign(lesson)
    return files


def _written(lesson: Lesson) -> bytes:
    return (json.dumps(as_notebook(lesson), indent=1, ensure_ascii=False, sort_keys=True) + "\n").encode()
