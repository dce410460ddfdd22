"""One notebook is run, and its answers are graded: what happens inside, in a process that is shut in.

It tells what it does, a line of JSON each: ``ready``, ``cell``, ``ran``, ``asks`` (for an answer), ``done``,
``graded``. A verdict is believed only with a word that comes when the answer has returned, and is another
each time: what a notebook writes into the same pipe is none. ``judge`` listens, and ends what takes too long.
"""

import json
import os
import sys
import traceback
import types
from collections.abc import Callable
from typing import Any, NamedTuple

from vit_steps.lessons._verdict import Grade
from vit_steps.lessons.exercises import Exercise
from vit_steps.lessons.grading.notebook import Program, read_program
from vit_steps.lessons.grading.seal import Seal

LONGEST = 600  # letters of a line


class Job(NamedTuple):
    """What is to be done: a notebook, and what is left out of it because it did not end the last time."""

    path: str
    lesson: str | None = None
    whole: bool = False
    skip: tuple[str, ...] = ()


class Pipes(NamedTuple):
    """Where a trial says what it does, and whence it hears the word that makes a verdict believed."""

    say: int
    hear: int


def run(text: bytes, job: Job, seal: Seal, pipes: Pipes) -> None:
    """Run a notebook and grade its answers, and say so."""
    tell, hear = _teller(pipes.say), _hearer(pipes.hear)
    try:
        program = read_program(text, job.lesson)
    except ValueError as error:
        tell({"refused": str(error)})
        return
    tell({"ready": program.lesson, "unreadable": program.unreadable, "hides": program.hides_names})
    namespace, errors = _namespace(), {}
    _run_cells(program, job, namespace, errors, tell)
    tell({"ran": seal.mend(), "errors": errors})
    for exercise in program.exercises:
        if exercise.id not in job.skip:
            tell({"asks": exercise.id})
            found = _grade(exercise, namespace, seal)
            tell({"done": exercise.id})
            tell({"graded": exercise.id, "word": hear(), **_written(found, exercise, program, errors)})
    tell({"end": True})


def _teller(descriptor: int, write: Callable = os.write, dumps: Callable = json.dumps) -> Callable:
    def tell(message: dict) -> None:
        write(descriptor, (dumps(message) + "\n").encode())

    return tell


def _hearer(descriptor: int, read: Callable = os.read) -> Callable:
    return lambda: read(descriptor, 32).decode("ascii")


def _namespace() -> dict[str, Any]:
    """Where the cells run: a fresh ``__main__``, with what Jupyter puts there."""
    main = types.ModuleType("__main__")
    sys.modules["__main__"] = main
    vars(main).update(display=lambda *_, **__: None, In=[], Out={})
    return vars(main)


def _run_cells(program: Program, job: Job, namespace: dict, errors: dict, tell: Callable) -> None:
    """Run statement by statement; one that fails is noted, and the next one runs."""
    last = None
    for statement in program.statements if job.whole else program.needed():
        if statement.cell in job.skip:
            continue
        if statement.cell != last:
            tell({"cell": statement.cell})
            last = statement.cell
        try:
            exec(statement.code, namespace)
        except BaseException as error:
            errors.setdefault(statement.cell, _short(error))


def _short(error: BaseException) -> str:
    try:
        return traceback.format_exception_only(error)[-1].strip()[:LONGEST]
    except BaseException:  # an exception of the notebook's own, whose words raise one
        return type(error).__name__


def _grade(exercise: Exercise, namespace: dict, seal: Seal) -> Grade:
    seal.mend()
    try:
        found = exercise.grade(dict(namespace))
    except BaseException as error:  # SystemExit, and what a class of one's own does when it is asked
        found = Grade(
            False,
            f"wrong: your answer ends in {_short(error)}",
            f"your answer ends in {type(error).__name__}",
        )
    if changed := seal.mend():
        words = "your function replaces parts of torch, Python or this package while it is graded"
        return Grade(False, f"wrong: {words}: {', '.join(changed[:5])}", words)
    return found


def _written(found: Grade, exercise: Exercise, program: Program, errors: dict) -> dict[str, Any]:
    """Write a verdict down; where there is no answer, say what became of its cell."""
    line, mistake = str(found.message), None if found.mistake is None else str(found.mistake)
    cell = f"{exercise.cell}-stub"
    if line.startswith("not yet: there is no ") and line.split()[-1] in exercise.names:
        if cell in program.unreadable:
            line = f"wrong: the cell {cell} is no Python: {program.unreadable[cell]}"
            mistake = "the cell is no Python"
        elif cell in errors:
            line, mistake = (
                f"wrong: the cell {cell} fails: {errors[cell]}",
                "the cell fails before there is an answer",
            )
    return {"right": found.right is True, "line": line[:LONGEST], "mistake": mistake and mistake[:LONGEST]}
