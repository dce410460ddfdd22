"""Editions that are read and worked in: for students, without an answer in it, and for their teacher."""

from vit_steps.lessons.editions._lessons import (
    Cell,
    Lesson,
    names_in,
    new_cell,
    program_of,
    remark_of,
    stub_of,
    tags,
    without_outputs,
)
from vit_steps.lessons.editions._words import OF_EMPTY_STUBS, OF_SOLUTIONS, reworded
from vit_steps.lessons.exercises import Exercise

FILLED = "Here each stub is filled with its solution. Below stand its points, and what its check can say."
FIRST_SOLVE = '{name} = globals().get("{name}")  # None: first solve the exercise “{title}”'


def student(lesson: Lesson) -> list[Cell]:
    """The lesson without its solutions, and without a word of them."""
    return [changed for cell in lesson.cells for changed in without_solution(cell, lesson)]


def without_solution(cell: Cell, lesson: Lesson) -> list[Cell]:
    """What of a cell a student is given."""
    if "solution" in tags(cell):
        return []
    if "tells-solution" in tags(cell):
        return [reworded(cell, "", OF_SOLUTIONS)]
    return [guarded(cell, lesson)] if "needs-solution" in tags(cell) else [cell]


def guarded(cell: Cell, lesson: Lesson) -> Cell:
    """Let a cell that uses an answer find None where there is no answer, and not stop."""
    used = names_in(cell["source"])
    lines = [
        FIRST_SOLVE.format(name=name, title=exercise.title)
        for exercise in lesson.exercises
        for name in exercise.names
        if name in used
    ]
    return cell | {"source": "\n".join([*lines, cell["source"]])}


def teacher(lesson: Lesson) -> list[Cell]:
    """The lesson with its stubs filled, and with what their checks know."""
    return [changed for cell in lesson.cells for changed in _for_the_teacher(cell, lesson)]


def _for_the_teacher(cell: Cell, lesson: Lesson) -> list[Cell]:
    if "stub" in tags(cell):
        return [_filled(cell, lesson)]
    if "solution" in tags(cell):
        return [_known(lesson.exercise_of(cell), remark_of(cell))]
    if "tells-solution" in tags(cell):
        return [reworded(cell, FILLED, OF_SOLUTIONS, OF_EMPTY_STUBS)]
    return [without_outputs(cell)] if "needs-solution" in tags(cell) else [cell]


def _filled(stub: Cell, lesson: Lesson) -> Cell:
    solution = lesson.cell(f"{lesson.exercise_of(stub).cell}-solution")
    return without_outputs(stub) | {"source": f"{program_of(solution)}\n\n\n{stub_of(stub).call}"}


def _known(exercise: Exercise, remark: str) -> Cell:
    """Points, remarks, and the mistakes that a check knows by name."""
    mistakes = "\n".join(f"- {words}" for words in exercise.mistakes)
    fold = f"<details><summary>{len(exercise.mistakes)} mistakes that the check names</summary>"
    parts = [f"**{exercise.points} points.**", remark, f"{fold}\n\n{mistakes}\n\n</details>"]
    return new_cell("markdown", f"{exercise.cell}-known", "\n\n".join(filter(None, parts)))
