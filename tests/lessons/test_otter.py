"""The edition for otter, graded by otter: who is right gets all points, and nobody else gets any."""

import json
import subprocess
import sys

import pytest
from filled_in import class_of, cut_lessons, exercises_of, hand_in, needs, says, solution  # noqa: F401

from vit_steps.lessons.editions import make_edition
from vit_steps.lessons.exercises import LESSONS

pytestmark = needs("otter")


@pytest.fixture(scope="module", params=LESSONS)
def made(request, cut_lessons, tmp_path_factory):  # noqa: F811
    """A lesson, and the folder where its edition is; otter has found its solutions right, or it were not."""
    folder = tmp_path_factory.mktemp("otter")
    make_edition("otter", [request.param], folder)
    return request.param, folder


@pytest.fixture(scope="module")
def graded(made):
    """Student -> question -> (points, points that there are, what was said)."""
    lesson, folder = made
    return {student: marks(lesson, folder, student) for student in class_of(lesson)}


def marks(lesson, folder, student):
    given, archive = folder / "student" / f"{lesson}.ipynb", folder / "autograder" / f"{lesson}.zip"
    place = hand_in(given, lesson, class_of(lesson)[student], folder / student / given.name)
    command = [sys.executable, "-m", "otter", "run", str(place), "-a", str(archive), "-o", str(place.parent)]
    subprocess.run([*command, "--no-logo"], check=True, capture_output=True, cwd=place.parent)
    results = json.loads((place.parent / "results.json").read_text())["tests"]
    return {
        result["name"].split(" ")[0]: (result["score"], result["max_score"], result["output"])
        for result in results
        if "score" in result
    }


def test_what_students_are_given_holds_no_solution_and_no_test(made):
    lesson, folder = made
    text = (folder / "student" / f"{lesson}.ipynb").read_text(encoding="utf-8")
    for exercise in exercises_of(lesson).values():
        assert max(solution(exercise).splitlines(), key=len).strip() not in text
    assert "SOLUTION" not in text
    assert "laid_aside" not in text


def test_the_solutions_get_full_marks(made, graded):
    exercises = exercises_of(made[0])
    assert {*graded["right"]} == {*exercises}
    for id, (points, possible, _) in graded["right"].items():
        assert points == possible == exercises[id].points


@pytest.mark.parametrize("student", ["untouched", "cheat", "stopping", "broken"])
def test_what_is_no_answer_gets_nothing(graded, student):
    if student in graded:
        assert graded[student]
        assert all(points == 0 for points, _, _ in graded[student].values())


@pytest.mark.parametrize("student", ["first_mistake", "last_mistake"])
def test_a_named_mistake_gets_nothing_and_hears_its_name(made, graded, student):
    for id, (points, _, said) in graded.get(student, {}).items():
        assert points == 0
        assert says(exercises_of(made[0])[id], student) in said


def test_who_borrows_from_the_package_gets_nothing(made, graded):
    for id, (points, _, said) in graded["borrowed"].items():
        assert points == 0
        if exercises_of(made[0])[id].borrowed:
            assert "write it yourself" in said
