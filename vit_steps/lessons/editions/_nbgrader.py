"""The edition for nbgrader: a course folder, ready for ``nbgrader generate_assignment LESSON``."""

from vit_steps.lessons.editions._graded import grading_function
from vit_steps.lessons.editions._lessons import (
    Cell,
    Lesson,
    new_cell,
    program_of,
    stub_of,
    tags,
    without_outputs,
)
from vit_steps.lessons.editions._reading import without_solution
from vit_steps.lessons.editions._words import OF_SOLUTIONS, reworded

SCHEMA = 3
LOCKED = "What is graded is the locked cell below each stub."
SHOWN = "# {points} points. This cell grades your answer when it is handed in; leave it as it is."
CONFIG = '''\
"""Made by vit_steps.lessons: what nbgrader needs to know of these lessons."""

c = get_config()
c.CourseDirectory.course_id = "vit_steps"
# Each stub stands whole before its solution: where that is taken out, nothing has to be put.
c.ClearSolutions.code_stub = {"python": ""}
# Lesson 5 trains for a minute; whoever hands in an endless loop is waited for no longer than this.
c.ExecutePreprocessor.timeout = 300
# A grading cell that was deleted comes back, and grades.
c.OverwriteCells.add_missing_cells = True
'''


def nbgrader(lesson: Lesson) -> list[Cell]:
    """The lesson as nbgrader's source: solutions inside the stubs' cells, a locked cell below each."""
    return [changed for cell in lesson.cells for changed in _for_nbgrader(cell, lesson)]


def _for_nbgrader(cell: Cell, lesson: Lesson) -> list[Cell]:
    if "exercise" in tags(cell):
        return [_marked(cell, locked=True)]
    if "stub" in tags(cell):
        return [_marked(_with_solution(cell, lesson), solution=True), _grading_cell(cell, lesson)]
    if "tells-solution" in tags(cell):
        return [reworded(cell, LOCKED, OF_SOLUTIONS)]
    return without_solution(cell, lesson)


def _with_solution(stub: Cell, lesson: Lesson) -> Cell:
    solution = program_of(lesson.cell(f"{lesson.exercise_of(stub).cell}-solution"))
    given, call = stub_of(stub)
    region = f"### BEGIN SOLUTION\n{solution}\n### END SOLUTION"
    return without_outputs(stub) | {"source": f"{given}\n\n{region}\n{call}"}


def _grading_cell(stub: Cell, lesson: Lesson) -> Cell:
    exercise = lesson.exercise_of(stub)
    name = f"_grade_{exercise.cell.replace('-', '_')}"
    given = ", ".join(f'globals().get("{each}")' for each in exercise.names)
    hidden = f"{grading_function(exercise, name)}\n\n{name}([{given}])"
    shown = SHOWN.format(points=exercise.points)
    source = f"{shown}\n### BEGIN HIDDEN TESTS\n{hidden}\n### END HIDDEN TESTS"
    cell = new_cell("code", f"{exercise.cell}-grade", source)
    return _marked(cell, grade=True, locked=True, points=exercise.points)


def _marked(cell: Cell, **said: bool | int) -> Cell:
    marks = {"schema_version": SCHEMA, "grade_id": cell["id"], "cell_type": cell["cell_type"]}
    marks |= {"grade": False, "solution": False, "locked": False, "task": False} | said
    return cell | {"metadata": cell["metadata"] | {"nbgrader": marks}}
