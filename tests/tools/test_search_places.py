"""What the search of the site can find is made from the pages: headings, and sentences below them."""

import importlib
import json
import re

import pytest

PAGE = """
<p>Above all headings.</p>
<h1 id="title">A <em>title</em></h1><p>First &lt;b&gt;. Second (e.g. this)? <code>Third</code>: and so on.</p>
<ul><li>An item</li><li>another</li></ul>
<pre class="printed">not this</pre>
<h2 id="why">Why <math><msqrt><mi>d</mi></msqrt></math>?</h2>
<details><summary>Hint</summary><p>Think.</p></details>
<details class="solution"><summary>Solution</summary><p>The answer.</p></details>
<script>alert("nor this")</script>
"""


@pytest.fixture(scope="module")
def search():
    return importlib.import_module("search_places")


@pytest.fixture(scope="module")
def lessons():
    export = importlib.import_module("export")
    paths = [*export.NOTEBOOKS.glob("*.ipynb"), *export.NOTEBOOKS.glob("beyond/*.ipynb")]
    return [export.Lesson(path) for path in paths]


def test_places_are_headings_with_the_sentences_below_them(search):
    first, second = search.places("a.html", "A title", PAGE)
    assert (first.section, first.anchor) == ("A title", "title")
    assert first.sentences == ["First <b>.", "Second (e.g. this)?", "Third: and so on.", "An item", "another"]
    assert (second.section, second.anchor) == ("Why √d?", "why")


def test_neither_code_nor_a_solution_is_found(search):
    _, second = search.places("a.html", "A title", PAGE)
    assert second.sentences == ["Hint", "Think."]


def test_the_script_holds_all_pages_and_numbers_their_places(search):
    script = search.script([("a.html", "A", PAGE), ("b.html", "B", PAGE)])
    data = json.loads(re.fullmatch(r"window\.searchPlaces = (.*);\n", script, flags=re.S)[1])
    assert [place["id"] for place in data] == [0, 1, 2, 3]
    assert [place["page"] for place in data] == ["a.html", "a.html", "b.html", "b.html"]


def test_every_section_of_every_lesson_can_be_found_and_no_solution_of_it(search, lessons):
    assert len(lessons) == 7
    for lesson in lessons:
        found = [*search.places(f"{lesson.name}.html", lesson.title, lesson.text)]
        anchors = [place.anchor for place in found]
        assert {anchor for anchor, _ in lesson.sections} <= {*anchors}
        assert len(anchors) == len({*anchors}), "two headings of one name"
        words = " ".join(sentence for place in found for sentence in place.sentences)
        assert len(words) > 5000
        assert "Solution" not in words
        assert "$" not in words
