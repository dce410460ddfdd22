# ruff: noqa: E501 (one line for each harm)
"""Notebooks as a class hands them in: right ones, every named mistake, and those that do harm; and what is expected."""

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from vit_steps.lessons.exercises import EXERCISES, Exercise

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
SOLUTION = re.compile(r"```python\n(.*?)```", flags=re.S)
NOT_YET = "no answer yet"
RIGHT = None
ANY = "anything but right"


class Submission(NamedTuple):
    """A file of one student; ``expected`` says the mistake of each exercise, or RIGHT; None: nothing is graded."""

    student: str
    write: Callable[[Path], object]
    expected: dict[str, str | None] | None
    name: str = "answers.ipynb"


def notebook_of(lesson: str) -> dict:
    return json.loads((NOTEBOOKS / f"{lesson}.ipynb").read_text(encoding="utf-8"))


def exercises_of(lesson: str) -> list[Exercise]:
    return [each for each in EXERCISES if each.lesson == lesson]


def solutions(lesson: str) -> dict[str, str]:
    cells = {cell["id"]: "".join(cell["source"]) for cell in notebook_of(lesson)["cells"]}
    return {each.id: SOLUTION.search(cells[f"{each.cell}-solution"])[1] for each in exercises_of(lesson)}


def with_stubs(lesson: str, sources: dict[str, str], *, outputs: bool = True) -> bytes:
    """Put answers into the stubs of a lesson; the check is called behind each, as in the lesson."""
    notebook, stubs = notebook_of(lesson), {f"{each.cell}-stub": each for each in exercises_of(lesson)}
    for cell in notebook["cells"]:
        exercise = stubs.get(cell["id"])
        if exercise and exercise.id in sources:
            check = f"_ = {exercise.check.__name__}({', '.join(exercise.names)})"
            cell["source"] = f"{sources[exercise.id]}\n\n{check}"
        if not outputs and cell["cell_type"] == "code":
            cell["outputs"] = []
    return json.dumps(notebook).encode()


def written(text: bytes) -> Callable[[Path], object]:
    return lambda path: path.write_bytes(text)


def as_source(exercise: Exercise, kind: str) -> str:
    """Take answers out of the table of exercises: a mistake, or what is borrowed."""
    names = ", ".join(exercise.names)
    table = f'find_exercise("{exercise.id}")'
    return f"from vit_steps.lessons.exercises import find_exercise\n{names}{',' * (len(exercise.names) == 1)} = {table}.{kind}"


def making_mistakes(lesson: str) -> Iterator[Submission]:
    """Students of whom the first makes the first mistake of each exercise, and so on."""
    exercises, right = exercises_of(lesson), solutions(lesson)
    for number in range(max(len(each.mistakes) for each in exercises)):
        sources, expected = dict(right), dict.fromkeys(right)
        for each in exercises:
            if number < len(each.mistakes):
                expected[each.id] = [*each.mistakes][number]
                sources[each.id] = as_source(each, f"mistakes[{expected[each.id]!r}]")
        yield Submission(f"mistake {number:02}", written(with_stubs(lesson, sources)), expected)


def peaceful(lesson: str) -> Iterator[Submission]:
    """Right ones, stubs, and answers that borrow."""
    exercises, right = exercises_of(lesson), solutions(lesson)
    yield Submission("right", written(with_stubs(lesson, right)), dict.fromkeys(right))
    yield Submission("stubs", written(with_stubs(lesson, {})), dict.fromkeys(right, NOT_YET))
    yield Submission("no outputs", written(with_stubs(lesson, right, outputs=False)), dict.fromkeys(right))
    borrowed = {each.id: as_source(each, "borrowed") for each in exercises if each.borrowed}
    heard = dict.fromkeys(right) | dict.fromkeys(borrowed, "write it yourself")
    yield Submission("borrowed", written(with_stubs(lesson, right | borrowed)), heard)


# What does harm. Each is the stub of the exercise a; {name} is the name of the answer.
ENDS = "your function ends Python, or takes more memory than there is"
NOT_BACK = "your function does not come back"
HARM = {
    "endless loop": ("def {name}(*_):\n    while True:\n        pass", NOT_BACK),
    "sleeps": ("import time\ndef {name}(*_):\n    time.sleep(1e6)", NOT_BACK),
    "endless in its cell": ("for number in iter(int, 1):\n    {name} = number", NOT_YET),
    "fork bomb": (
        "import os\ndef {name}(*_):\n    while True:\n        try:\n            os.fork()\n        except OSError:\n            pass",
        NOT_BACK,
    ),
    "daemon": (
        "import os, time\ndef {name}(*_):\n    if os.fork() == 0:\n        os.setsid()\n        if os.fork() == 0:\n"
        "            time.sleep(1e6)\n        os._exit(0)",
        NOT_YET,
    ),
    "deletes its folder": (
        "import os, shutil\ndef {name}(*_):\n    for place in ('.', '..', '/', {folder!r}):\n"
        "        shutil.rmtree(place, ignore_errors=True)",
        ANY,
    ),
    "writes into the package": (
        "import vit_steps\nfrom pathlib import Path\ndef {name}(*_):\n"
        "    (Path(vit_steps.__file__).parent / 'let_out.py').write_text('1')",
        "your function raises OSError",
    ),
    "writes beside": (
        "from pathlib import Path\ndef {name}(*_):\n    for place in ({folder!r}, '/var', '/etc', '/usr', '/root'):\n"
        "        try:\n            (Path(place) / 'let_out').write_text('1')\n        except OSError:\n            pass",
        NOT_YET,
    ),
    "opens a socket": (
        "import socket\ndef {name}(*_):\n    socket.create_connection(('127.0.0.1', {port}), timeout=2).send(b'let out')",
        "your function raises OSError",
    ),
    "eats memory": (
        "def {name}(*_):\n    eaten = []\n    while True:\n        eaten.append(bytearray(2**24))",
        ANY,
    ),
    "eats memory with many": (
        "import os, time\ndef {name}(*_):\n    for _ in range(8):\n        if os.fork() == 0:\n"
        "            eaten = b'1' * (3 * {memory} // 4)\n            time.sleep(1e6)\n    time.sleep(1e6)",
        ENDS,
    ),
    "fills the disk": (
        "def {name}(*_):\n    for number in range(100):\n        with open(f'/tmp/full{{number}}', 'wb') as file:\n"
        "            for _ in range(1024):\n                file.write(bytes(2**20))",
        "your function raises OSError",
    ),
    "prints a gigabyte": ("def {name}(*_):\n    for _ in range(1024):\n        print('a' * 2**20)", NOT_YET),
    "leaves": ("import os\ndef {name}(*_):\n    os._exit(0)", ENDS),
    "exits": ("def {name}(*_):\n    raise SystemExit(0)", "your answer ends in SystemExit"),
    "crashes": ("import ctypes\ndef {name}(*_):\n    ctypes.string_at(0)", ENDS),
    "recurses": ("def {name}(*_):\n    return {name}()", "your function raises RecursionError"),
    "kills all": ("import os\ndef {name}(*_):\n    os.kill(-1, 9)", ANY),
    "replaces grade": (
        "import vit_steps.lessons as lessons\nfrom vit_steps.lessons import _verdict, exercises\n"
        "for module in (lessons, _verdict, exercises):\n"
        "    module.grade = lambda *_: _verdict.Grade(True, 'right: of course')\n"
        "_verdict.find_fault = _verdict.find_gap = lambda *_, **__: None\n"
        "exercises.Exercise.grade = lambda *_: _verdict.Grade(True, 'right: of course')\n"
        "_verdict._alike.__code__ = (lambda *_: True).__code__\ndef {name}(*_):\n    return None",
        NOT_YET,
    ),
    "replaces torch": (
        "import torch\nfrom vit_steps.lessons.exercises import find_exercise\n"
        "torch.isclose = torch.Tensor.isclose = lambda ours, other, **_: torch.ones_like(other, dtype=torch.bool)\n"
        "torch.equal = torch.allclose = lambda *_, **__: True\n"
        '{name} = [*find_exercise("{id}").mistakes.values()][-1][0]',
        ANY,
    ),
    "replaces torch late": (
        "import torch\ndef {name}(*_):\n    torch.isclose = lambda ours, other, **_: torch.ones_like(other, dtype=torch.bool)\n"
        "    return None",
        "your function replaces parts of torch, Python or this package while it is graded",
    ),
    "writes a verdict": (
        "import json, os\ndef {name}(*_):\n    for descriptor in range(3, 64):\n        try:\n"
        "            for name in ('done', 'graded'):\n"
        "                line = json.dumps({{name: '{id}', 'right': True, 'line': 'right', 'word': ''}})\n"
        "                os.write(descriptor, (line + '\\n').encode())\n        except OSError:\n            pass",
        NOT_YET,
    ),
    "floods": (
        "import os\ndef {name}(*_):\n    for descriptor in range(3, 64):\n        try:\n            while True:\n"
        "                os.write(descriptor, b'a' * 2**16)\n        except OSError:\n            pass",
        ANY,
    ),
    "raises html": (
        "def {name}(*_):\n    raise ValueError('<script>alert(1)</script>\\x1b[2J')",
        "your function raises ValueError",
    ),
    "no python": ("def {name}(patches:\n    return", "the cell is no Python"),
    "fails": ("1 / 0\ndef {name}(*_):\n    return None", NOT_YET),
    "a name is missing": ("def {name}(*_):\n    return np.zeros(3)", "your function raises NameError"),
}  # fmt: skip
KINDLY = {"5_classification": {"raises html": ANY, "exits": ANY}}


def harmful(lesson: str, folder: Path, port: int, memory: int) -> Iterator[Submission]:
    """Students whose exercise a does harm, and whose others are right."""
    right = solutions(lesson)
    exercise = next(each for each in exercises_of(lesson) if each.letter == "a")
    for student, (source, mistake) in HARM.items():
        words = {
            "name": exercise.names[0],
            "id": exercise.id,
            "folder": str(folder),
            "port": port,
            "memory": memory,
        }
        source = source.format(**words)
        if len(exercise.names) > 1:
            source += f"\n{exercise.names[1]} = []"
        text = with_stubs(lesson, right | {exercise.id: source})
        yield Submission(student, written(text), dict.fromkeys(right) | {exercise.id: mistake})


def no_notebooks(lesson: str) -> Iterator[Submission]:
    """Files of which nothing can be graded, or nearly."""
    right = solutions(lesson)
    yield Submission("no json", written(b"{"), None)
    yield Submission("empty", written(b""), None)
    yield Submission("a list", written(b"[1, 2]"), None)
    yield Submission("deep", written(b"[" * 10**6), None)
    yield Submission("no text", written(bytes(range(256)) * 100), None)
    yield Submission("of something else", written(b'{"cells": [{"cell_type": "code", "source": "1"}]}'), None)
    yield Submission("a link", lambda path: path.symlink_to("/dev/zero"), None)
    yield Submission("a pipe", os.mkfifo, None)
    name = f"\x1b[2J=cmd\n{lesson}.ipynb"
    yield Submission("=1+1", written(with_stubs(lesson, right)), dict.fromkeys(right), name)
    yield Submission(
        "long output", lambda path: path.write_bytes(long_output(lesson, right)), dict.fromkeys(right)
    )


def long_output(lesson: str, sources: dict[str, str], size: int = 200 * 2**20) -> bytes:
    text = with_stubs(lesson, sources)
    output = b'"outputs": [{"output_type": "stream", "name": "stdout", "text": "' + b"a" * size + b'"}]'
    return text.replace(b'"outputs": []', output, 1)


def hand_in(folder: Path, submissions: list[Submission]) -> None:
    for submission in submissions:
        place = folder / submission.student
        place.mkdir(parents=True)
        submission.write(place / submission.name)


def not_as_expected(rows: list[dict], submissions: list[Submission]) -> list[str]:
    """Hold a table against what was expected of every submission."""
    found = {}
    for row in rows:
        found.setdefault(row["student"].removeprefix("'"), []).append(row)
    return [
        f"{each.student}: {why}"
        for each in submissions
        for why in _differs(found.get(each.student, []), each.expected)
    ]


def _differs(rows: list[dict], expected: dict[str, str | None] | None) -> Iterator[str]:
    if not rows:
        yield "lost"
    if expected is None:
        yield from (
            f"graded: {row}" for row in rows if row["right"] or not row["line"].startswith("not graded: ")
        )
        return
    by_exercise = {row["exercise"]: row for row in rows}
    for exercise, mistake in expected.items():
        row = by_exercise.get(exercise, {"right": "lost", "mistake": "", "line": ""})
        fits = row["right"] == "yes" if mistake is RIGHT else row["right"] == "no"
        heard = mistake in (RIGHT, ANY) or row["mistake"].endswith(mistake)
        if not (fits and heard):
            yield f"{exercise} is {row['right']}, {row['mistake'] or row['line']!r}; expected {mistake or 'right'!r}"
