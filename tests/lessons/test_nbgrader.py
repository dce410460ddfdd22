"""The edition for nbgrader, graded by nbgrader: who is right gets all points, and nobody else gets any."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from filled_in import class_of, cut_lessons, exercises_of, hand_in, needs, says, solution  # noqa: F401

from vit_steps.lessons.editions import make_edition
from vit_steps.lessons.exercises import LESSONS

pytestmark = needs("nbgrader")
FAKE = """
from types import SimpleNamespace
grade = lambda *anything: SimpleNamespace(right=True)
def __getattr__(name): return grade
"""


def run(course, *words):
    done = subprocess.run(
        [sys.executable, "-m", "nbgrader", *words], cwd=course, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]


@pytest.fixture(scope="module", autouse=True)
def _commands_of_this_environment():
    """Let nbgrader find alembic, which it calls by its bare name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
        yield


@pytest.fixture(scope="module", params=LESSONS)
def graded(request, cut_lessons, tmp_path_factory):  # noqa: F811
    """The course folder, when one lesson was handed out, handed in by a class, and graded."""
    lesson, course = request.param, tmp_path_factory.mktemp("course")
    make_edition("nbgrader", [lesson], course)
    run(course, "generate_assignment", lesson)
    for student, answer in class_of(lesson).items():
        place = course / "submitted" / student / lesson / f"{lesson}.ipynb"
        hand_in(course / "release" / lesson / place.name, lesson, answer, place)
    if "cheat" in class_of(lesson):  # a package beside the notebook that goes by the same name
        fake = course / "submitted" / "cheat" / lesson / "vit_steps"
        fake.mkdir()
        (fake / "__init__.py").write_text("")
        (fake / "lessons.py").write_text(FAKE)
    run(course, "autograde", lesson)
    return lesson, course


def marks(graded, student):
    """Exercise -> (points, points that there are, what the cell said)."""
    from nbgrader.api import Gradebook
    from nbgrader.utils import determine_grade

    lesson, course = graded
    notebook = nbformat.read(course / "autograded" / student / lesson / f"{lesson}.ipynb", as_version=4)
    cells = {cell.id: cell for cell in notebook.cells if cell.id.endswith("-grade")}
    with Gradebook(f"sqlite:///{course / 'gradebook.db'}") as book:
        total = book.find_submission(lesson, student).score
    found = {}
    for id, cell in cells.items():
        said = " ".join(output.get("evalue", "") for output in cell.outputs)
        found[id.removesuffix("-grade")] = (*determine_grade(cell), said)
    assert sum(points for points, _, _ in found.values()) == total
    assert {*found} == {*exercises_of(lesson)}
    return found


def test_what_is_released_holds_no_solution_and_locks_what_grades(graded):
    lesson, course = graded
    text = (course / "release" / lesson / f"{lesson}.ipynb").read_text(encoding="utf-8")
    released = nbformat.reads(text, as_version=4)
    for exercise in exercises_of(lesson).values():
        longest = max(solution(exercise).splitlines(), key=len).strip()
        assert longest not in text
    for cell in released.cells:
        if cell.id.endswith("-grade"):
            assert cell.metadata.nbgrader.locked
            assert "grade(" not in cell.source
        assert "SOLUTION" not in cell.source


def test_the_solutions_get_full_marks(graded):
    for id, (points, possible, _) in marks(graded, "right").items():
        assert points == possible == exercises_of(graded[0])[id].points


@pytest.mark.parametrize("student", ["untouched", "cheat", "stopping", "broken"])
def test_what_is_no_answer_gets_nothing(graded, student):
    if student in class_of(graded[0]):
        assert all(points == 0 for points, _, _ in marks(graded, student).values())


@pytest.mark.parametrize("student", ["first_mistake", "last_mistake"])
def test_a_named_mistake_gets_nothing_and_hears_its_name(graded, student):
    if student in class_of(graded[0]):
        for id, (points, _, said) in marks(graded, student).items():
            assert points == 0
            assert says(exercises_of(graded[0])[id], student) in said


def test_who_borrows_from_the_package_gets_nothing(graded):
    for id, (points, _, said) in marks(graded, "borrowed").items():
        assert points == 0
        if exercises_of(graded[0])[id].borrowed:
            assert "write it yourself" in said
