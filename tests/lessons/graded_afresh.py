"""Grade the solution, a mistake, a borrowed answer and none, of every exercise, as a grader's kernel does.

A process of its own: the package is imported afresh each time, and the tests have a slow type checker.
It prints what was said: {exercise: {"right": null, "mistake": ..., "borrowed": ..., "nothing": ...}}.
"""

import json

from filled_in import SOURCES, solution

from vit_steps.lessons.editions._graded import grading_function, grading_test
from vit_steps.lessons.exercises import EXERCISES


def said(exercise, namespace, *, as_otter):
    program = grading_test if as_otter else grading_function
    exec(program(exercise, "hold"), namespace)
    answers = [namespace.get(name) for name in exercise.names]
    try:
        namespace["hold"](namespace if as_otter else answers)
    except AssertionError as error:
        return str(error)


def namespaces(exercise):
    right = {}
    exec(SOURCES[exercise.lesson].cell("imports")["source"], right)
    exec(solution(exercise), right)
    yield "right", right
    mistake = next(iter(exercise.mistakes.values()))
    yield "mistake", dict(zip(exercise.names, mistake, strict=True))
    yield "nothing", {}
    if exercise.borrowed:
        yield "borrowed", dict(zip(exercise.names, exercise.borrowed, strict=True))


if __name__ == "__main__":
    found = {
        exercise.id: {
            name: said(exercise, names, as_otter=number % 2 == 1) for name, names in namespaces(exercise)
        }
        for number, exercise in enumerate(EXERCISES)
    }
    print(json.dumps(found))
