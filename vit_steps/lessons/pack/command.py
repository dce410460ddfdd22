"""The command ``python -m vit_steps.lessons.pack``: a plan, questions and a rubric for each lesson."""

import argparse
from collections.abc import Callable
from pathlib import Path

from vit_steps.files.reading import shown
from vit_steps.files.writing import write_whole
from vit_steps.lessons.exercises import LESSONS
from vit_steps.lessons.pack.moodle import to_moodle
from vit_steps.lessons.pack.plan import write_plan, write_questions
from vit_steps.lessons.pack.qti import write_package
from vit_steps.lessons.pack.questions import Exam, read_exam

EXAMPLES = """examples:
  for all five lessons
    python -m vit_steps.lessons.pack --out pack
  for two of them, by number or by name
    python -m vit_steps.lessons.pack 1 2_cls_token --out pack

For each lesson there is a folder with plan.md (90 minutes, what must be known, what is often misunderstood, a
rubric), questions.md (ten, with answers), moodle.xml and qti.zip (the same ten, for a learning platform).
"""


def main(arguments: list[str] | None = None) -> int:
    """Run ``python -m vit_steps.lessons.pack``.

    Returns:
        0 when all is written. What is refused leaves with 2, and says why.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        for lesson in [_named(name) for name in options.lessons] or LESSONS:
            write_pack(options.out / lesson, read_exam(lesson))
            print(shown(options.out / lesson))
    except (ValueError, OSError) as error:
        parser.error(str(error))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vit_steps.lessons.pack",
        description="Write what a teacher needs around each lesson.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "lessons", metavar="LESSON", nargs="*", help="1 to 5, or the name of a notebook (all)"
    )
    parser.add_argument(
        "--out", metavar="FOLDER", type=Path, required=True, help="where a folder for each goes"
    )
    return parser


def _named(name: str) -> str:
    return next((lesson for lesson in LESSONS if name == lesson[0]), name)


def write_pack(folder: Path, exam: Exam) -> None:
    """Write the pack of one lesson; files of these names are replaced, others stay."""
    folder.mkdir(parents=True, exist_ok=True)
    write_whole(folder / "plan.md", _text(write_plan(exam)))
    write_whole(folder / "questions.md", _text(write_questions(exam)))
    write_whole(folder / "moodle.xml", lambda draft: draft.write_bytes(to_moodle(exam)))
    write_package(folder / "qti.zip", exam)


def _text(text: str) -> Callable[[Path], object]:
    return lambda draft: draft.write_text(text, encoding="utf-8")
