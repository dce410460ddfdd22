"""The way of one class, from the wheel to its marks: `python tests/lessons/one_class.py`.

Builds the wheel, installs it into an empty environment, and does what a teacher does: looks whether the
machine fits, lays the lessons, makes each edition and the pack of lesson 2, grades sixty notebooks of
it, some of which do harm, and has nbgrader and otter mark a right answer and an untouched stub.
"""

import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import class_of_sixty
import filled_in
from handed_in import hand_in

ROOT = Path(__file__).resolve().parents[2]
LESSON = "2_cls_token"
MARKED = ("right", "untouched")


class Class:
    """A folder outside the checkout, and an environment of its own in it."""

    def __init__(self, folder: Path):
        self.folder, self.bin = folder, folder / "env" / "bin"
        path = os.pathsep.join([str(self.bin), os.environ["PATH"]])
        self.environment = {**os.environ, "PATH": path, "PYTHONNOUSERSITE": "1"}
        self.environment.pop("PYTHONPATH", None)

    def do(self, *words: object, cwd: str = ".") -> str:
        """Run a command as a teacher would, and say how long it took."""
        start, shown = time.monotonic(), " ".join(map(str, words)).replace(str(self.folder), "~")
        done = subprocess.run(
            [*map(str, words)], cwd=self.folder / cwd, env=self.environment, capture_output=True, text=True
        )
        print(f"{time.monotonic() - start:6.1f} s  {shown.replace(str(ROOT), 'CHECKOUT')}", flush=True)
        if done.returncode:
            raise SystemExit(f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
        return done.stdout


def install(group: Class) -> None:
    group.do(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", "dist", ROOT)
    (wheel,) = (group.folder / "dist").glob("*.whl")
    print(f"          {wheel.name}: {wheel.stat().st_size / 1e6:.1f} MB")
    group.do(sys.executable, "-m", "venv", "env")
    group.do(group.bin / "pip", "install", "-q", "-c", ROOT / "constraints.txt", f"{wheel}[lab,grading]")


def prepare(group: Class) -> None:
    print(group.do("vit-steps", "doctor"), end="")
    group.do("vit-steps", "course", "course")
    for edition in ("student", "teacher", "nbgrader", "otter"):
        group.do("vit-steps", "lessons", edition, LESSON, "--out", edition)
    group.do("vit-steps", "pack", LESSON, "--out", "pack")


def grade_all(group: Class) -> None:
    listener = class_of_sixty.Listener()
    submissions = class_of_sixty.class_of(LESSON, group.folder / "handed_in", listener.port)
    hand_in(group.folder / "handed_in", submissions)
    options = ("--seconds", 10, "--memory", 1, "--workers", 2)
    group.do("vit-steps", "grade", "handed_in", "--out", "class.csv", *options)
    with open(group.folder / "class.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    wrong = class_of_sixty.not_as_expected(rows, submissions) + ["knocked at the door"] * listener.knocks
    print(f"          {len(submissions)} notebooks, {len(rows)} rows, not as expected: {wrong}")
    for mistake, count in Counter(row["mistake"] for row in rows if row["mistake"]).most_common(5):
        print(f"          {count:3} times: {mistake}")


def mark_by_nbgrader(group: Class) -> None:
    group.do("nbgrader", "generate_assignment", LESSON, cwd="nbgrader")
    given = group.folder / "nbgrader" / "release" / LESSON / f"{LESSON}.ipynb"
    for student in MARKED:
        place = group.folder / "nbgrader" / "submitted" / student / LESSON / given.name
        filled_in.hand_in(given, LESSON, filled_in.class_of(LESSON)[student], place)
    group.do("nbgrader", "autograde", LESSON, cwd="nbgrader")
    group.do("nbgrader", "export", "--to", "marks.csv", cwd="nbgrader")
    with open(group.folder / "nbgrader" / "marks.csv", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            print(f"          nbgrader, {row['student_id']}: {row['score']} of {row['max_score']}")


def mark_by_otter(group: Class) -> None:
    given = group.folder / "otter" / "student" / f"{LESSON}.ipynb"
    for student in MARKED:
        place = group.folder / "otter" / student / given.name
        filled_in.hand_in(given, LESSON, filled_in.class_of(LESSON)[student], place)
        archive = group.folder / "otter" / "autograder" / f"{LESSON}.zip"
        group.do(
            "otter", "run", place, "-a", archive, "-o", place.parent, "--no-logo", cwd=f"otter/{student}"
        )
        tests = json.loads((place.parent / "results.json").read_text())["tests"]
        points, possible = (sum(each.get(name, 0) for each in tests) for name in ("score", "max_score"))
        print(f"          otter, {student}: {points:g} of {possible:g}")


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="one-class-") as folder:
        group = Class(Path(folder))
        for part in (install, prepare, grade_all, mark_by_nbgrader, mark_by_otter):
            part(group)


if __name__ == "__main__":
    main()
