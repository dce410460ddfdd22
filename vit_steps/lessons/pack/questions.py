"""The exam questions of a lesson, and what must be known before it: read from the file of its name.

A file holds paragraphs. ``needs:`` says what must be known; a question is a line ``? name: text``, the right
answer after ``=``, wrong ones after ``-``, and why after ``#``. Behind a wrong answer stands, after ``|``,
the mistake that leads to it: with the id of an exercise in front it is one that this exercise's check names.
"""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from vit_steps.doors import door
from vit_steps.lessons.exercises import LESSONS, find_exercise

FOLDER = Path(__file__).parent / "questions"
OF_EXERCISE = re.compile(r"(\d[a-z]+) (.+)")


@dataclass(frozen=True)
class Choice:
    """A wrong answer: the mistake that leads to it, and the id of the exercise whose check names it."""

    text: str
    mistake: str
    exercise: str | None = None


@dataclass(frozen=True)
class Question:
    """A question with one right answer.

    Attributes:
        name: unique within its lesson, "overlap".
        why: what is said to everybody afterwards.
    """

    name: str
    text: str
    right: str
    wrong: tuple[Choice, ...]
    why: str

    @property
    def choices(self) -> list[tuple[str, str]]:
        """All answers with what is said to them, in an order that tells nothing and is always the same."""
        said = [(self.right, self.why), *((choice.text, sentence(choice.mistake)) for choice in self.wrong)]
        return sorted(said, key=lambda pair: hashlib.sha256(f"{self.name} {pair[0]}".encode()).digest())


@dataclass(frozen=True)
class Exam:
    """What a lesson's file says."""

    lesson: str
    needs: tuple[str, ...]
    questions: tuple[Question, ...]


@door()
def read_exam(lesson: str) -> Exam:
    """Read the questions of a lesson.

    Args:
        lesson: stem of its notebook, "1_patch_embedding".

    Raises:
        ValueError: "lesson must be one of 1_patch_embedding, ..., got '6'".
    """
    if lesson not in LESSONS:
        raise ValueError(f"lesson must be one of {', '.join(LESSONS)}, got {lesson!r}")
    return parse_exam(lesson, (FOLDER / f"{lesson}.txt").read_text(encoding="utf-8"))


def parse_exam(lesson: str, text: str) -> Exam:
    """Read the text of such a file.

    Raises:
        ValueError: "question overlap needs one right answer, three wrong ones, and why",
            "exercise 1c names no mistake 'you forget ...'".
    """
    first, *paragraphs = [part.splitlines() for part in re.split(r"\n\s*\n", text.strip())]
    needs = tuple(line.removeprefix("needs: ") for line in first)
    return Exam(lesson, needs, tuple(_question(lines) for lines in paragraphs))


def _question(lines: list[str]) -> Question:
    name, _, text = lines[0].removeprefix("? ").partition(": ")
    parts = {sign: [line[2:] for line in lines[1:] if line.startswith(f"{sign} ")] for sign in "=-#"}
    if [len(parts[sign]) for sign in "=-#"] != [1, 3, 1] or len(lines) != 6 or not lines[0].startswith("? "):
        raise ValueError(f"question {name} needs one right answer, three wrong ones, and why")
    return Question(name, text, parts["="][0], tuple(map(_choice, parts["-"])), parts["#"][0])


def _choice(line: str) -> Choice:
    text, _, mistake = line.partition(" | ")
    found = OF_EXERCISE.fullmatch(mistake)
    if not mistake:
        raise ValueError(f"the wrong answer {text!r} says no mistake")
    if not found:
        return Choice(text, mistake)
    exercise = find_exercise(found[1])
    if not any(found[2] in words for words in exercise.mistakes):
        raise ValueError(f"exercise {exercise.id} names no mistake {found[2]!r}")
    return Choice(text, found[2], exercise.id)


def sentence(words: str) -> str:
    """Make a sentence of the words of a mistake: a capital in front and a full stop behind."""
    begins_with_code = re.match(r"[\w.]*[_.(]|exp |log_", words)
    start = words if begins_with_code else words[:1].upper() + words[1:]
    return start if start.endswith((".", "?")) else f"{start}."
