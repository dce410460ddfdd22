"""What comes out of grading: a table of every answer, and a page that counts the mistakes.

What stands in them comes from notebooks: on the page it is escaped, and in the table nothing begins as a
formula would, which a spreadsheet would run.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

from vit_steps.files.reading import shown
from vit_steps.files.writing import write_table, write_whole
from vit_steps.lessons._verdict import NOT_YET
from vit_steps.lessons.exercises import EXERCISES, Exercise
from vit_steps.lessons.grading.hand_ins import HandIn

COLUMNS = ("student", "lesson", "exercise", "right", "points", "of", "mistake", "line", "note", "file")
FORMULA = ("=", "+", "-", "@", "\t", "\r")


class Row(NamedTuple):
    """One answer of one student; without an exercise, a notebook of which nothing could be graded."""

    student: str
    lesson: str
    exercise: str
    right: str
    points: int
    of: int
    mistake: str
    line: str
    note: str
    file: str


def rows_of(hand_in: HandIn, found: dict[str, Any]) -> list[Row]:
    """Write down what was found in a notebook: a row for each exercise of its lesson."""
    lesson, note = found["lesson"] or hand_in.lesson or "", "; ".join(found["notes"])
    asked = [each for each in EXERCISES if each.lesson == lesson]
    reason = found["refused"] or (None if found["verdicts"] else "its answers could not be reached")
    if reason and not found["verdicts"]:
        words = f"not graded: {reason}"
        return [_row(hand_in, lesson, each, None, words, note) for each in asked] or [
            _row(hand_in, lesson, None, None, words, note)
        ]
    return [
        _row(hand_in, lesson, each, found["verdicts"].get(each.id), "not graded: it was not reached", note)
        for each in asked
    ]


def _row(
    hand_in: HandIn, lesson: str, exercise: Exercise | None, verdict: dict | None, why: str, note: str
) -> Row:
    right, of = bool(verdict and verdict["right"]), exercise.points if exercise else 0
    return Row(
        student=shown(hand_in.student),
        lesson=lesson,
        exercise=exercise.id if exercise else "",
        right=("yes" if right else "no") if verdict else "",
        points=of if right else 0,
        of=of,
        mistake=shown((verdict and verdict["mistake"]) or ""),
        line=shown(verdict["line"] if verdict else why),
        note=shown(note),
        file=shown(hand_in.file),
    )


def write_csv(path: Path, rows: Iterable[Row]) -> None:
    """Write the table, at once and whole."""
    write_table(
        path, COLUMNS, [{name: _tamed(value) for name, value in row._asdict().items()} for row in rows]
    )


def _tamed(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value


class Count(NamedTuple):
    """How an exercise went; ``mistakes`` leads from a mistake to those who made it."""

    exercise: Exercise
    handed_in: int
    right: int
    missing: int
    ungraded: int
    mistakes: dict[str, list[str]]


def count(rows: Sequence[Row]) -> list[Count]:
    """Count answers and mistakes, an exercise at a time."""
    return [counted for each in EXERCISES if (counted := _count(each, rows)).handed_in]


def _count(exercise: Exercise, rows: Sequence[Row]) -> Count:
    own = [row for row in rows if row.exercise == exercise.id]
    made = defaultdict(list)
    for row in own:
        if row.right == "no" and row.mistake != NOT_YET:
            made[row.mistake].append(row.student)
    mistakes = dict(sorted(made.items(), key=lambda pair: (-len(pair[1]), pair[0])))
    kinds = Counter(row.right if row.mistake != NOT_YET else NOT_YET for row in own)
    return Count(exercise, len(own), kinds["yes"], kinds[NOT_YET], kinds[""], mistakes)


def sentence(counted: Count) -> str:
    """Say in one or two sentences how an exercise went."""
    of = f"{counted.right} of {counted.handed_in} are right"
    if counted.missing:
        of += f", {counted.missing} gave no answer"
    if not counted.mistakes:
        return of + "."
    words, students = next(iter(counted.mistakes.items()))
    most = f"{len(students)} of {counted.handed_in} heard"
    if len(counted.mistakes) == 1:
        return f"{of}. {most}: “{words}”."
    return f"{of}; {len(counted.mistakes)} different mistakes were made. Most often, {most}: “{words}”."


STYLE = """
:root { color-scheme: light dark; --ink: #1a1a2e; --paper: white; --soft: #55586a; --line: #d9d9e3;
  --bar: #0059a6; --good: #1b7346; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6ee; --paper: #15151f; --soft: #a9abbb; --line: #3a3a4a; --bar: #6fb1f0;
    --good: #6cc48d; }
}
body { background: var(--paper); color: var(--ink); margin: 2rem auto; max-width: 60rem; padding: 0 1rem;
  font: 17px/1.6 system-ui, -apple-system, "Segoe UI", "Liberation Sans", sans-serif; }
h1, h2, h3 { line-height: 1.25; }
h2 { border-top: 1px solid var(--line); margin-top: 2.5rem; padding-top: 1.5rem; }
table { border-collapse: collapse; width: 100%; }
th, td { border-bottom: 1px solid var(--line); padding: 0.3rem 0.6rem; text-align: left;
  vertical-align: top; }
td, li { overflow-wrap: anywhere; }
td.n, th.n { text-align: right; white-space: nowrap; }
.soft { color: var(--soft); }
summary { cursor: pointer; }
.bar { background: var(--line); border-radius: 0.3rem; height: 0.6rem; min-width: 6rem; overflow: hidden; }
.bar i { background: var(--bar); display: block; height: 100%; }
.bar.good i { background: var(--good); }
"""


def write_page(path: Path, rows: Sequence[Row], title: str) -> None:
    """Write the page for the teacher, one file that needs nothing else."""
    html = "".join(_page(rows, title))
    write_whole(path, lambda draft: draft.write_text(html, encoding="utf-8"))


def _page(rows: Sequence[Row], title: str) -> Iterator[str]:
    yield '<!doctype html><html lang="en"><head><meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width,initial-scale=1">'
    policy = "default-src 'none'; style-src 'unsafe-inline'"
    yield f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
    yield f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main><h1>{escape(title)}</h1>"
    students, files = {row.student for row in rows}, {row.file for row in rows}
    yield f"<p>{_many(len(files), 'notebook')} of {_many(len(students), 'student')}.</p>"
    yield from _not_graded(rows)
    lesson = None
    for counted in count(rows):
        if counted.exercise.lesson != lesson:
            lesson = counted.exercise.lesson
            yield f"<h2>Lesson {lesson[0]}: {escape(lesson[2:].replace('_', ' '))}</h2>"
        yield from _exercise(counted)
    yield from _students(rows)
    yield "</main></body></html>\n"


def _many(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _not_graded(rows: Sequence[Row]) -> Iterator[str]:
    left = {(row.student, row.file): row.line for row in rows if not row.right}
    if left:
        yield f"<h2>{_many(len(left), 'notebook')} that could not be graded, or not wholly</h2><ul>"
        for (student, file), why in sorted(left.items()):
            yield f"<li><strong>{escape(student)}</strong> <span class=soft>{escape(file)}</span>: "
            yield f"{escape(why)}</li>"
        yield "</ul>"


def _exercise(counted: Count) -> Iterator[str]:
    exercise = counted.exercise
    yield f"<h3>{escape(exercise.id)} {escape(exercise.title)}</h3><p>{escape(sentence(counted))}</p>"
    yield _bar(counted.right, counted.handed_in, "good", "right answers")
    if counted.mistakes:
        yield _head("n:students", "what they heard", "share")
        for words, students in counted.mistakes.items():
            names = escape(", ".join(students))
            yield f"<tr><td class=n>{len(students)} of {counted.handed_in}</td><td>{escape(words)}"
            yield f"<details><summary class=soft>who</summary>{names}</details></td>"
            yield f"<td>{_bar(len(students), counted.handed_in, '', 'students')}</td></tr>"
        yield "</tbody></table>"


def _bar(part: int, whole: int, kind: str, what: str) -> str:
    label = f"{part} of {whole} {what}"
    filled = f'<i style="width:{100 * part / whole:.0f}%"></i>'
    return f'<div class="bar {kind}" role="img" aria-label="{label}">{filled}</div>'


def _head(*names: str) -> str:
    cells = (name.removeprefix("n:") for name in names)
    kinds = (" class=n" if name.startswith("n:") else "" for name in names)
    row = "".join(f"<th{kind}>{cell}</th>" for kind, cell in zip(kinds, cells, strict=True))
    return f"<table><thead><tr>{row}</tr></thead><tbody>"


def _students(rows: Sequence[Row]) -> Iterator[str]:
    points, of, notes = Counter(), Counter(), {}
    for row in rows:
        points[row.student, row.lesson] += row.points
        of[row.student, row.lesson] += row.of
        notes[row.student, row.lesson] = row.note
    yield "<h2>Points</h2>" + _head("student", "lesson", "n:points", "note")
    for student, lesson in sorted(of):
        key = student, lesson
        yield f"<tr><td>{escape(student)}</td><td>{escape(lesson)}</td>"
        yield f"<td class=n>{points[key]} of {of[key]}</td><td class=soft>{escape(notes[key])}</td></tr>"
    yield "</tbody></table>"
