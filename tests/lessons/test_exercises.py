"""The table of exercises says what the notebooks say, and its wrong answers make their mistakes."""

import ast
import doctest
import json
import re
from pathlib import Path

import pytest
from right_answers import EVERY_CHECK, check_sincos_1d

from vit_steps import lessons
from vit_steps.lessons import exercises
from vit_steps.lessons.exercises import EXERCISES, LESSONS, find_exercise

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
each_exercise = pytest.mark.parametrize("exercise", EXERCISES, ids=lambda exercise: exercise.id)


def cells_of(lesson):
    notebook = json.loads((NOTEBOOKS / f"{lesson}.ipynb").read_text(encoding="utf-8"))
    return {cell["id"]: "".join(cell["source"]) for cell in notebook["cells"]}


def test_the_table_holds_every_lesson_every_exercise_and_every_check():
    stems = sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    assert [*LESSONS] == stems
    stubs = [
        (lesson, match[1])
        for lesson in stems
        for cell in cells_of(lesson)
        if (match := re.fullmatch(r"exercise-(\w+)-stub", cell))
    ]
    assert [(each.lesson, each.letter) for each in EXERCISES] == stubs
    wanted = {lessons.check_sincos_1d if check is check_sincos_1d else check for check in EVERY_CHECK}
    assert {each.check for each in EXERCISES} == wanted


@each_exercise
def test_the_notebook_says_the_same(exercise):
    cells = cells_of(exercise.lesson)
    heading = re.search(r"^#+ (.*)$", cells[exercise.cell], flags=re.M)[1]
    assert re.sub(r"^\w\) ", "", heading) == exercise.title
    stub = ast.parse(cells[f"{exercise.cell}-stub"])
    (call,) = (node for node in ast.walk(stub.body[-1]) if isinstance(node, ast.Call))
    assert call.func.id == exercise.check.__name__
    assert tuple(argument.id for argument in call.args) == exercise.names
    assert f"{exercise.cell}-solution" in cells


@each_exercise
def test_the_solution_gets_all_points_and_the_stub_none(exercise):
    cells, namespace = cells_of(exercise.lesson), {}
    exec(cells["imports"], namespace)
    exec(cells[f"{exercise.cell}-stub"], namespace)
    assert exercise.grade(namespace).mistake == "no answer yet"
    exec(re.search(r"```python\n(.*?)```", cells[f"{exercise.cell}-solution"], re.S)[1], namespace)
    assert exercise.grade(namespace).right
    del namespace[exercise.names[0]]
    missing = exercise.grade(namespace)
    assert (missing.message, missing.mistake) == (
        f"not yet: there is no {exercise.names[0]}",
        "no answer yet",
    )


# A whole ViT takes a second each time: every sixth mistake here, and all of them in class_of_sixty.py.
SOME = [
    (each, words) for each in EXERCISES for words in [*each.mistakes][:: 6 if each.letter == "vit" else 1]
]


@pytest.mark.parametrize(("exercise", "words"), SOME)
def test_each_wrong_answer_makes_the_mistake_that_it_stands_for(exercise, words):
    found = lessons.grade(exercise.check, *exercise.mistakes[words])
    assert (found.right, found.mistake) == (False, words)


@each_exercise
def test_what_is_borrowed_is_heard(exercise):
    if exercise.borrowed:
        found = lessons.grade(exercise.check, *exercise.borrowed)
        assert not found.right
        assert found.mistake.endswith("write it yourself")


def test_points_of_a_lesson_are_a_whole_mark():
    points = {lesson: sum(each.points for each in EXERCISES if each.lesson == lesson) for lesson in LESSONS}
    assert [*points.values()] == [10, 10, 10, 10, 20]
    assert len({name for each in EXERCISES for name in each.names}) == sum(
        len(each.names) for each in EXERCISES
    )


def test_an_exercise_is_found_by_its_id():
    assert find_exercise("5vit").names == ("MyViT",)
    with pytest.raises(ValueError, match=r"id must be one of 1a, 1b, 1c, 2a.*, got '6a'"):
        find_exercise("6a")
    assert doctest.testmod(exercises).failed == 0
