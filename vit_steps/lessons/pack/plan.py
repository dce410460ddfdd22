"""The plan of a lesson for 90 minutes, and the rubric: made from notebook, exercises and questions."""

import json
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from vit_steps.commands.where import find_lessons
from vit_steps.lessons.exercises import EXERCISES, Exercise
from vit_steps.lessons.pack.questions import Exam, sentence

SLIDES, EXERCISING = 45, 45  # minutes
WORDS_A_MINUTE, LINES_A_MINUTE, MINUTES_A_FIGURE = 180, 20, 0.5  # as tools/reading_time.py counts
FOLDED = re.compile(r"<details.*?</details>", flags=re.S)
FENCED = re.compile(r"```\w*\n(.*?)```", flags=re.S)
HEADING = re.compile(r"^##? (.+)$", flags=re.M)
SLIP = "this slipped through your test: "


class Section(NamedTuple):
    """A part of the slides: its heading, and how long it takes."""

    title: str
    minutes: int


def sections(notebook: dict[str, Any], minutes: int = SLIDES) -> list[Section]:
    """Share the time of the slides among their sections, by how much there is to read and to look at."""
    titles, weights = [], []
    for cell in _on_slides(notebook["cells"]):
        heading = HEADING.search(_source(cell)) if cell["cell_type"] == "markdown" else None
        if heading:
            titles.append(heading[1])
            weights.append(0.0)
        weights[-1] += _weight(cell)
    return [Section(*pair) for pair in zip(titles, share(weights, minutes), strict=True)]


def _on_slides(cells: list[dict]) -> Iterator[dict]:
    """What is on the slides, without the exercises: a cell that says nothing joins the one before it."""
    kind = "slide"
    for cell in cells:
        kind = cell["metadata"].get("slideshow", {}).get("slide_type", kind)
        if kind not in ("skip", "notes") and not cell["id"].startswith("exercise"):
            yield cell


def _source(cell: dict) -> str:
    return "".join(cell["source"])


def _weight(cell: dict) -> float:
    text = FOLDED.sub(" ", _source(cell))
    if cell["cell_type"] == "markdown":
        return len(re.findall(r"\w+", FENCED.sub(" ", text))) / WORDS_A_MINUTE
    hidden = cell["metadata"].get("jupyter", {}).get("source_hidden") or "hide-input" in cell["metadata"].get(
        "tags", ()
    )
    figures = sum("image/png" in output.get("data", {}) for output in cell["outputs"])
    lines = 0 if hidden or figures else sum(bool(line.strip()) for line in text.splitlines())
    return lines / LINES_A_MINUTE + figures * MINUTES_A_FIGURE


def share(weights: Sequence[int | float], whole: int) -> list[int]:
    """Share whole minutes by weight: each gets one at least, and they sum to all.

    >>> share([1, 1, 2], 8)
    [2, 2, 4]
    >>> share([0, 9, 1], 5)
    [1, 3, 1]
    """
    rest, total = whole - len(weights), sum(weights)
    exact = [rest * weight / total for weight in weights]
    minutes = [int(part) for part in exact]
    by_remainder = sorted(range(len(weights)), key=lambda place: minutes[place] - exact[place])
    for place in by_remainder[: rest - sum(minutes)]:
        minutes[place] += 1
    return [1 + each for each in minutes]


def exercises_of(lesson: str) -> list[Exercise]:
    """The exercises of a lesson, in its order."""
    return [each for each in EXERCISES if each.lesson == lesson]


def write_plan(exam: Exam) -> str:
    """Write the plan, the misconceptions and the rubric of a lesson as Markdown."""
    notebook = json.loads((find_lessons() / f"{exam.lesson}.ipynb").read_text(encoding="utf-8"))
    parts = (_time(exam.lesson, notebook), _needs(exam), _misconceptions(exam.lesson), _rubric(exam))
    return "\n".join(line for part in parts for line in part)


def _time(lesson: str, notebook: dict) -> Iterator[str]:
    title = HEADING.search(_source(notebook["cells"][0]))[1]
    yield f"# {title}: a plan for {SLIDES + EXERCISING} minutes"
    yield from ("", f"## {SLIDES} minutes of slides", "", "| minutes | from | section |", "|---:|---:|---|")
    yield from _rows(sections(notebook), 0)
    yield from (
        "",
        f"## {EXERCISING} minutes of exercises",
        "",
        "| minutes | from | exercise |",
        "|---:|---:|---|",
    )
    asked = exercises_of(lesson)
    minutes = share([each.points for each in asked], EXERCISING)
    named = [f"{_called(each)} ({each.points} points)" for each in asked]
    yield from _rows([Section(*pair) for pair in zip(named, minutes, strict=True)], SLIDES)


def _called(exercise: Exercise) -> str:
    """As the lesson calls it: the ViT of lesson 5 has no letter."""
    return exercise.title if len(exercise.letter) > 1 else f"{exercise.letter}) {exercise.title}"


def _rows(parts: list[Section], begin: int) -> Iterator[str]:
    for part in parts:
        yield f"| {part.minutes} | {begin} | {part.title} |"
        begin += part.minutes


def _needs(exam: Exam) -> Iterator[str]:
    yield from ("", "## What must be known before", "")
    yield from (f"- {need}" for need in exam.needs)


def _misconceptions(lesson: str) -> Iterator[str]:
    yield from ("", "## What is often misunderstood", "")
    yield "These are the mistakes that the checks know by name; the words are what a student hears."
    for exercise in exercises_of(lesson):
        yield from ("", f"**{_called(exercise)}**", "")
        yield from (f"- {line}" for line in misconceptions(exercise))


def misconceptions(exercise: Exercise) -> list[str]:
    """The mistakes of an exercise as sentences; where a test is asked for, the bugs that one can overlook."""
    single = [words for words in exercise.mistakes if not (words.startswith(SLIP) and "; " in words)]
    overlooked = {words: f"a test overlooks: {words.removeprefix(SLIP)}" for words in single if SLIP in words}
    return [sentence(overlooked.get(words, words)) for words in single]


def _rubric(exam: Exam) -> Iterator[str]:
    asked = exercises_of(exam.lesson)
    yield from ("", "## Rubric", "", "| what | points | all of them | half of them, by hand | none |")
    yield "|---|---:|---|---|---|"
    for each in asked:
        yield (
            f'| exercise {_called(each)} | {each.points} | its check says "right" | '
            "the check names a mistake, and the student explains it | "
            "no answer, or a function of the package under another name |"
        )
    number = len(exam.questions)
    yield f"| {number} questions | {number} | a point for each right choice | | a wrong choice |"
    yield f"| together | {number + sum(each.points for each in asked)} | | | |"
    yield from (
        "",
        "`vit-steps grade` gives the points of the exercises, all or none, and names the mistake.",
        "",
    )


def write_questions(exam: Exam) -> str:
    """Write the questions as Markdown, the answers behind them."""
    lines = [f"# Ten questions on lesson {exam.lesson[0]}", ""]
    answers = ["", "## Answers", ""]
    for number, question in enumerate(exam.questions, start=1):
        lines += [f"**{number}.** {question.text}", ""]
        for letter, (text, said) in zip("abcd", question.choices, strict=True):
            lines.append(f"- {letter}) {_literal(text)}")
            if text == question.right:
                answers.append(f"{number}. **{letter})** {question.why}")
            else:
                answers.append(f"   - {letter}) {said}")
        lines.append("")
    return "\n".join(lines + answers) + "\n"


def _literal(text: str) -> str:
    """What Markdown would take for markup stands as code."""
    return f"`{text}`" if re.search(r"[\[_*]", text) and "`" not in text else text
