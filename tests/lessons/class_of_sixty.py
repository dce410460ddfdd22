"""Grade sixty notebooks of each lesson: `python tests/lessons/class_of_sixty.py [LESSON ...]`.

Among them are all named mistakes, and those that do harm. Prints how long it took, and what was not as it
was expected.
"""

import csv
import os
import socket
import sys
import tempfile
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from handed_in import (
    Submission,
    hand_in,
    harmful,
    making_mistakes,
    no_notebooks,
    not_as_expected,
    peaceful,
    solutions,
    with_stubs,
    written,
)

import vit_steps
from vit_steps.lessons.exercises import LESSONS
from vit_steps.lessons.grading import command

SIZE, MEMORY = 60, 2**30
PACKAGE = Path(vit_steps.__file__).parent


class Listener:
    """A door on this machine, at which nobody may knock."""

    def __init__(self):
        self.door, self.knocks = socket.create_server(("127.0.0.1", 0)), 0
        self.port = self.door.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self):
        while True:
            self.door.accept()[0].close()
            self.knocks += 1


def class_of(lesson: str, folder: Path, port: int) -> list[Submission]:
    found = [
        *peaceful(lesson),
        *harmful(lesson, folder, port, MEMORY),
        *no_notebooks(lesson),
        *making_mistakes(lesson),
    ]
    right = solutions(lesson)
    more = [
        Submission(f"right {n:02}", written(with_stubs(lesson, right)), dict.fromkeys(right))
        for n in range(SIZE)
    ]
    return found + more[: max(0, SIZE - len(found))]


def grade(lesson: str, listener: Listener) -> tuple[int, float, list[str]]:
    with tempfile.TemporaryDirectory(prefix="class-") as top:
        folder, out = Path(top) / "class", Path(top) / "class.csv"
        os.environ["TMPDIR"] = tempfile.tempdir = top
        submissions = class_of(lesson, folder, listener.port)
        hand_in(folder, submissions)
        before, state = time.monotonic(), state_of(folder)
        options = ["--workers", "2", "--seconds", "10", "--memory", "1"]
        command.main([str(folder), "--out", str(out), *options])
        seconds = time.monotonic() - before
        with open(out, encoding="utf-8", newline="") as file:
            wrong = not_as_expected(list(csv.DictReader(file)), submissions)
        wrong += [f"changed or left: {each}" for each in state ^ state_of(folder)]
        tempfile.tempdir = None
        del os.environ["TMPDIR"]
        return len(submissions), seconds, wrong + ["knocked at the door"] * listener.knocks


def state_of(folder: Path) -> set:
    """What may not be another afterwards: the hand-ins, the package, and the folder of temporary files."""
    files = [
        path for root in (folder, PACKAGE) for path in root.rglob("*") if "__pycache__" not in path.parts
    ]
    stats = {(str(path), path.lstat().st_size, path.lstat().st_mtime_ns) for path in files}
    left = {name for name in os.listdir(tempfile.gettempdir()) if name.startswith("vit-steps-")}
    return (
        stats
        | left
        | {
            str(place)
            for place in map(Path, ("/var/let_out", "/etc/let_out", "/root/let_out"))
            if place.exists()
        }
    )


def main(lessons: list[str]) -> int:
    listener, failed = Listener(), 0
    for lesson in lessons or LESSONS:
        count, seconds, wrong = grade(lesson, listener)
        print(f"{lesson}: {count} notebooks in {seconds:.0f} s; not as expected: {len(wrong)}", flush=True)
        print(*(f"    {words}" for words in wrong), sep="\n", flush=True)
        failed += bool(wrong)
    return int(failed > 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
