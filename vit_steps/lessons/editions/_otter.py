"""The edition for otter: a master notebook, and what ``otter assign`` makes of it."""

import json
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from vit_steps.lessons.editions._graded import grading_test
from vit_steps.lessons.editions._lessons import (
    Cell,
    Lesson,
    as_notebook,
    new_cell,
    program_of,
    stub_of,
    tags,
    without_outputs,
)
from vit_steps.lessons.editions._reading import without_solution
from vit_steps.lessons.editions._words import OF_SOLUTIONS, reworded

SAME = "The same check grades your answer when it is handed in."
HIDDEN = '""" # BEGIN TEST CONFIG\nhidden: true\n""" # END TEST CONFIG\n'
LONGEST_TAIL = 1500  # letters of what otter says when it gives up


def otter(lesson: Lesson, install: str = "") -> list[Cell]:
    """The lesson as otter's master notebook.

    Args:
        lesson: with exercises.
        install: what pip installs where otter builds a machine of its own to grade on.
    """
    cells = [changed for cell in lesson.cells for changed in _for_otter(cell, lesson)]
    return [_raw("assignment-config", _config(lesson, install)), *cells]


def _config(lesson: Lesson, install: str) -> str:
    # JSON is YAML. No PDF, and no cell that exports: there is nothing that a person has to read.
    options = {"name": lesson.stem, "export_cell": False, "check_all_cell": False, "init_cell": False}
    options |= {"show_question_points": True, "tests": {"ok_format": False}}
    options |= {"generate": {"pdf": False, "show_hidden": True}}
    options |= {"requirements": [install]} if install else {}
    return "# ASSIGNMENT CONFIG\n" + "\n".join(
        f"{name}: {json.dumps(each)}" for name, each in options.items()
    )


def _for_otter(cell: Cell, lesson: Lesson) -> list[Cell]:
    if "exercise" in tags(cell):
        exercise = lesson.exercise_of(cell)
        config = f"name: {exercise.cell}\npoints: {exercise.points}\ncheck_cell: false"
        return [_raw(f"{cell['id']}-begin", f"# BEGIN QUESTION\n{config}"), cell]
    if "stub" in tags(cell):
        return _answer_and_tests(cell, lesson)
    if "tells-solution" in tags(cell):
        return [reworded(cell, SAME, OF_SOLUTIONS)]
    return without_solution(cell, lesson)


def _answer_and_tests(stub: Cell, lesson: Lesson) -> list[Cell]:
    exercise = lesson.exercise_of(stub)
    test = HIDDEN + grading_test(exercise, f"test_{exercise.cell.replace('-', '_')}")
    return [
        _raw(f"{stub['id']}-begin", "# BEGIN SOLUTION"),
        _with_solution(stub, lesson),
        _raw(f"{stub['id']}-end", "# END SOLUTION"),
        _raw(f"{exercise.cell}-tests-begin", "# BEGIN TESTS"),
        new_cell("code", f"{exercise.cell}-tests", test),
        _raw(f"{exercise.cell}-tests-end", "# END TESTS"),
        _raw(f"{exercise.cell}-end", "# END QUESTION"),
    ]


def _with_solution(stub: Cell, lesson: Lesson) -> Cell:
    """The solution, which otter takes out for the students, and the stub, which it takes out for itself."""
    solution = program_of(lesson.cell(f"{lesson.exercise_of(stub).cell}-solution"))
    given, call = stub_of(stub)
    region = f"# BEGIN SOLUTION NO PROMPT\n{solution}\n# END SOLUTION"
    prompt = f'""" # BEGIN PROMPT\n{given}\n""" # END PROMPT'
    return without_outputs(stub) | {"source": f"{region}\n{prompt}\n\n\n{call}"}


def _raw(id: str, source: str) -> Cell:
    return new_cell("raw", id, source)


def need_otter() -> None:
    """Say what is missing before any work is done.

    Raises:
        ModuleNotFoundError: otter-grader is not installed, and which extra installs it.
    """
    if find_spec("otter") is None:
        words = 'otter needs otter-grader, which is not installed: pip install "vit-steps[grading]"'
        raise ModuleNotFoundError(words, name="otter")


def assign(master: Lesson) -> dict[str, bytes]:
    """Let otter make the students' notebook and the zip for its autograder, which must give full marks.

    Returns:
        Place in the edition -> content.

    Raises:
        RuntimeError: otter gives up, in its own words.
    """
    name = f"{master.stem}.ipynb"
    with tempfile.TemporaryDirectory(prefix="vit-steps-otter-") as folder:
        source, made = Path(folder, "master", name), Path(folder, "made")
        source.parent.mkdir()
        source.write_text(json.dumps(as_notebook(master)), encoding="utf-8")
        command = [sys.executable, "-m", "otter", "assign", str(source), str(made), "--no-pdfs"]
        run = subprocess.run(command, capture_output=True, text=True, cwd=source.parent)
        zips = [*made.glob("autograder/*.zip")]
        if run.returncode or not zips:
            said = (run.stdout + run.stderr).strip()[-LONGEST_TAIL:]
            raise RuntimeError(f"otter assign refuses {name}: {said}")
        student = (made / "student" / name).read_bytes()
        return {f"student/{name}": student, f"autograder/{master.stem}.zip": zips[0].read_bytes()}
