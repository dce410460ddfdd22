"""What who stands in front of a slide is given: notes where the slide says too little, and the time."""

import importlib
from pathlib import Path

import nbformat
import pytest


@pytest.fixture(scope="module")
def deck():
    return importlib.import_module("deck")


@pytest.fixture(scope="module")
def pacing():
    return importlib.import_module("pacing")


def words(source, role=None, name="words", **slideshow):
    role = {"slide_type": role} if role else {}
    return nbformat.v4.new_markdown_cell(source, id=name, metadata={"slideshow": role | slideshow})


def code(source="print(1)", name="run", **slideshow):
    output = nbformat.v4.new_output("stream", text="1")
    return nbformat.v4.new_code_cell(source, id=name, outputs=[output], metadata={"slideshow": slideshow})


def slides(deck, *cells):
    return [slide for stack in deck.stacks(nbformat.v4.new_notebook(cells=list(cells))) for slide in stack]


def lessons():
    folder = Path(__file__).parents[2] / "notebooks"
    return sorted([*folder.glob("*.ipynb"), *folder.glob("beyond/*.ipynb")])


every_lesson = pytest.mark.parametrize("path", lessons(), ids=lambda path: path.stem)


@every_lesson
def test_every_slide_that_needs_a_note_has_one(deck, path):
    found = [slide for stack in deck.stacks(nbformat.read(path, as_version=4)) for slide in stack]
    assert sum(slide.needs_note for slide in found) >= 9
    silent = [
        (number, slide.section)
        for number, slide in enumerate(found, 1)
        if slide.needs_note and not slide.notes
    ]
    assert silent == []


def test_code_with_hardly_a_word_needs_a_note_and_words_alone_need_none(deck):
    few, many = "word " * 39, "word " * 41
    found = slides(
        deck,
        words(f"## {many}\n\n{few}", "slide", "a"),
        code(name="b"),
        words(f"## Enough\n\n{many}", "slide", "c"),
        code(name="d"),
        words("## Words alone", "slide", "e"),
    )
    assert [slide.needs_note for slide in found] == [True, False, False], "a title says nothing of the code"


def test_a_cell_s_own_note_is_the_speaker_s_alone(deck):
    (slide,) = slides(deck, words("## Ask", "slide"), code(notes="Point at it."))
    assert slide.notes == ["Point at it."]
    assert slide.parts[0] == "## Ask"


def test_the_hints_of_an_exercise_stand_by_its_stub_too(deck):
    question = "### a) Ask\n\nWhat?\n\n<details><summary>Hint</summary>\n\nThink.\n\n</details>"
    asked = words(question, "slide", "exercise-a")
    alone, beside = code(name="exercise-a-stub", slide_type="subslide"), code(name="exercise-a-stub")
    assert [len(slide.notes) for slide in slides(deck, asked, alone)] == [1, 1]
    assert [len(slide.notes) for slide in slides(deck, asked, beside)] == [1]


@every_lesson
def test_a_lesson_has_45_minutes_of_slides_and_45_of_exercises(deck, pacing, path):
    stacks = deck.stacks(nbformat.read(path, as_version=4))
    pacing.pace(stacks)
    found = [slide for stack in stacks for slide in stack]
    assert sum(slide.seconds for slide in found if not slide.is_exercise) == 45 * 60
    exercises = [slide for slide in found if slide.is_exercise]
    assert sum(slide.seconds for slide in exercises) == (0 if path.parent.name == "beyond" else 45 * 60)
    assert min(slide.seconds for slide in found) >= 20
    assert max(slide.seconds for slide in found if not slide.is_exercise) <= 5 * 60, (
        "nobody looks at it so long"
    )


def test_the_more_there_is_to_read_the_longer_a_slide_stays(deck, pacing):
    short, long = words("## A\n\nword", "slide", "a"), words("## B\n\n" + "word " * 90, "slide", "b")
    stacks = deck.stacks(nbformat.v4.new_notebook(cells=[short, long]))
    pacing.pace(stacks)
    ((first,), (second,)) = stacks
    assert first.seconds + second.seconds == 45 * 60
    assert second.seconds - 20 == pytest.approx((first.seconds - 20) * 92 / 3, rel=0.02)


def test_exercises_share_their_time_evenly_on_the_slides_where_they_are_worked_at(deck, pacing):
    cells = [words("## A", "slide")]
    for letter in "abc":
        cells += [words(f"### {letter}) Ask", "slide", f"exercise-{letter}")]
        cells += [code(name=f"exercise-{letter}-stub", slide_type="subslide")]
    stacks = deck.stacks(nbformat.v4.new_notebook(cells=cells))
    pacing.pace(stacks)
    seconds = [[slide.seconds for slide in stack] for stack in stacks]
    assert seconds == [[45 * 60], *[[20, 880]] * 3]
