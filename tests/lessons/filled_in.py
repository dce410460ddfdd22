"""Notebooks as a class hands them in, cut down to what is graded so that many of them run in little time."""

import json
from importlib.util import find_spec
from pathlib import Path

import pytest

from vit_steps.lessons import grade
from vit_steps.lessons.editions import making
from vit_steps.lessons.editions._lessons import TAGS, choose, program_of, stub_of, tags
from vit_steps.lessons.exercises import find_exercise

SOURCES = {lesson.stem: lesson for lesson in choose(["all"])}
HOW = 'pip install "vit-steps[grading]", or `make graders`, which does it and runs these tests'


def needs(module):
    """Skip where a grader is not installed, and say how to get it."""
    return pytest.mark.skipif(find_spec(module) is None, reason=f"{module} is not installed: {HOW}")


def is_graded(cell):
    """Whether a cell is of an exercise, or stands around one."""
    return cell["id"] == "imports" or cell["id"].startswith("exercise") or bool({*TAGS} & {*tags(cell)})


def cut(lesson):
    # The probe of lesson 5 trains for seconds, and is no answer.
    cells = [cell for cell in lesson.cells if is_graded(cell) and "probe" not in cell["id"]]
    return lesson._replace(cells=[lesson.cells[0], *cells])


@pytest.fixture(scope="module")
def cut_lessons():
    """Let editions be made of lessons that are cut down."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(making, "choose", lambda words: [cut(lesson) for lesson in choose(words)])
        yield


# What students answer: from an exercise to what they define, as Python


def solution(exercise):
    lesson = SOURCES[exercise.lesson]
    return program_of(lesson.cell(f"{exercise.cell}-solution"))


def from_the_table(exercise, where):
    names = ", ".join(exercise.names)
    table = "from vit_steps.lessons.exercises import find_exercise"
    return f'{table}\n\n({names},) = find_exercise("{exercise.id}").{where}'


def first_mistake(exercise):
    return from_the_table(exercise, f"mistakes[{next(iter(exercise.mistakes))!r}]")


def last_mistake(exercise):
    return from_the_table(exercise, f"mistakes[{list(exercise.mistakes)[-1]!r}]")


def borrowed(exercise):
    return from_the_table(exercise, "borrowed") if exercise.borrowed else None


CHEAT = """\
import sys
import vit_steps
from vit_steps import lessons
from vit_steps.lessons import _verdict

def grade(*anything):
    return _verdict.Grade(True, "right: says who?")

{check} = check = lambda *anything: True
for module in [each for name, each in sys.modules.items() if name.startswith("vit_steps")]:
    for name in [name for name in vars(module) if name.startswith(("check_", "grade", "find_", "_find"))]:
        setattr(module, name, grade if name == "grade" else lambda *anything, **named: None)
{names} = [lambda *anything, **named: None] * {count}"""


def cheat(exercise):
    """Everything in the notebook says "right", and so does the copy of the package that it imported."""
    names, count = ", ".join(exercise.names), len(exercise.names)
    return CHEAT.format(check=exercise.check.__name__, names=f"[{names}]", count=count)


def stopping(exercise):
    names = ", ".join(exercise.names)
    return f"def answer(*anything):\n    raise SystemExit\n\n\n[{names}] = [answer] * {len(exercise.names)}"


def broken(exercise):
    return "def unfinished(:"


# In each lesson; and in one of them, all that is done to the notebook and not to the answers.
CLASS = {
    "right": solution,
    "untouched": lambda exercise: None,
    "first_mistake": first_mistake,
    "borrowed": borrowed,
}
WHOLE_CLASS = CLASS | {
    "last_mistake": last_mistake,
    "cheat": cheat,
    "stopping": stopping,
    "broken": broken,
}


def class_of(lesson: str) -> dict:
    return WHOLE_CLASS if lesson == "2_cls_token" else CLASS


def says(exercise, student: str) -> str:
    """What a student is to hear who made the first mistake of the table, or the last."""
    name = list(exercise.mistakes)[0 if student == "first_mistake" else -1]
    return grade(exercise.check, *exercise.mistakes[name]).message


def hand_in(given: Path, lesson: str, answer, place: Path) -> Path:
    """Fill the stubs of the notebook that a student was given."""
    notebook = json.loads(given.read_text(encoding="utf-8"))
    for cell in notebook["cells"]:
        if "stub" in tags(cell):
            exercise = find_exercise(lesson[0] + cell["id"].split("-")[1])
            cell["source"] = answered("".join(cell["source"]), answer(exercise))
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(json.dumps(notebook), encoding="utf-8")
    return place


def answered(stub: str, program: str | None) -> str:
    call = stub_of({"source": stub}).call
    return stub if program is None else f"{program}\n\n\n{call}"


def exercises_of(lesson: str):
    return {exercise.cell: exercise for exercise in SOURCES[lesson].exercises}
