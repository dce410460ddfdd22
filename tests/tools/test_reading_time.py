"""How long a lesson takes to read is counted from what a reader sees."""

import importlib
import re
from pathlib import Path

import nbformat
import pytest

FOLDED = {"jupyter": {"source_hidden": True}}
PICTURE = nbformat.v4.new_output("display_data", {"image/png": "iVBORw0KGgo=", "text/plain": "two words"})


@pytest.fixture(scope="module")
def reading():
    return importlib.import_module("reading_time")


def words(source, name="words"):
    return nbformat.v4.new_markdown_cell(source, id=name)


def code(source, *outputs, name="code", **metadata):
    return nbformat.v4.new_code_cell(source, id=name, outputs=list(outputs), metadata=metadata)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("# Two words", 2),
        ("You'll read *five* of them.", 5),
        ("about 1,257 digits, 99.7 % right", 5),
        ("with $N = HW / P^2$ patches", 3),
        ("so\n\n$$a = b + c$$\n\nholds", 3),
        ("[a link](https://example.org/long/way) here", 3),
        ("```python\na = 1\n```\nfour words of text", 4),
        ("<details><summary>Hint</summary>\n\nNot counted\n\n</details> but this", 2),
        ("```text\n1.5  2.5\n```\nabove", 1),
        ("| word | meaning |\n|---|---|\n| dim | width |", 4),
        ("call `image2patches(photo, 32)` now", 5),
    ],
)
def test_words_are_counted_as_they_are_read(reading, text, number):
    assert reading.count(words(text)).words == number


def test_code_is_counted_unless_it_is_folded_or_blank(reading):
    assert reading.count(code("a = 1\n\nb = 2\n# why")).lines == 3
    assert reading.count(code("a = 1\nb = 2", **FOLDED)).lines == 0
    assert reading.count(words("```text\n1.5\n```")).lines == 0
    assert reading.count(words("```python\nfor n in range(3):\n    pass\n```")).lines == 2


def test_a_source_that_a_cell_shows_is_code_and_a_picture_is_a_figure(reading):
    source = nbformat.v4.new_output(
        "display_data", {"text/markdown": "```python\ndef f():\n    return 1\n```"}
    )
    assert reading.count(code("show_source(f)", source)) == reading.Reading(lines=3)
    assert reading.count(code("draw()", PICTURE, **FOLDED)) == reading.Reading(figures=1)


def test_minutes_and_ratio(reading):
    found = reading.Reading(words=360, lines=60, figures=3)
    assert found.minutes == pytest.approx(2 + 3 + 1.5)
    assert found.ratio == 6
    assert reading.Reading(words=5).ratio == float("inf")


def test_exercises_are_left_out_and_the_table_has_a_line_for_each_lesson(reading, tmp_path, capsys):
    cells = [
        words("one two three", "title"),
        code("print(1)", name="run"),
        words("## Exercises", "exercises"),
        words("a long question", "exercise-a"),
        code("def f(): ...", name="exercise-a-stub"),
    ]
    path = tmp_path / "a_lesson.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    assert reading.read(path) == reading.Reading(words=3, lines=1)
    reading.main([str(path)])
    head, line = capsys.readouterr().out.splitlines()
    assert head.split()[0] == "words"
    assert line.split() == ["a_lesson", "3", "1", "0", "0.1", "3.0"]


def test_without_a_name_all_lessons_are_counted(reading, capsys):
    reading.main([])
    printed = capsys.readouterr().out
    for name in ("1_patch_embedding", "5_classification"):
        assert name in printed


def test_the_lessons_fit_45_minutes_and_the_readme_says_how_long_they_take(reading):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    for path in reading.LESSONS:
        found = reading.read(path)
        assert found.minutes <= 45, path.stem
        assert 3 <= found.ratio <= 10, path.stem
        line = next(line for line in readme.splitlines() if f"{path.name})" in line)
        said = re.search(r"\b(\d+) min\b", line)
        assert said, f"the README does not say how long {path.stem} takes"
        assert abs(int(said[1]) - found.minutes) <= 0.5 + 1e-9, path.stem
