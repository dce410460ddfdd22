"""The drawing in CONTRIBUTING.md is the house as the imports say it is; the tool, on a house made for it."""

import importlib.util
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
spec = importlib.util.spec_from_file_location("house", ROOT / "tools" / "house.py")
house = importlib.util.module_from_spec(spec)
spec.loader.exec_module(house)


def test_the_drawing_in_contributing_is_the_house_as_it_is():
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert house.put(page, house.draw(ROOT)) == page, "the rooms changed: python tools/house.py --write"


@pytest.fixture
def small(tmp_path):
    """A house of a few rooms; gives a function that adds a file to it."""

    def add(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return tmp_path

    add(
        "vit_steps/__init__.py", "from vit_steps.encoder import encode\nfrom .looking.maps import draw as d\n"
    )
    add("vit_steps/encoder.py", '"""Step 4."""\nfrom vit_steps.doors import door\n')
    add("vit_steps/doors.py", '"""What is refused.\n\nMore."""\n')
    add("vit_steps/looking/__init__.py", '"""To look."""\nfrom .maps import draw\n')
    add(
        "vit_steps/looking/maps.py",
        "def draw():\n    from ..vit import ViT\n    import vit_steps.doors as at\n",
    )
    add("vit_steps/vit.py", '"""The model."""\nfrom vit_steps import encode\n')
    cells = [{"cell_type": "code", "source": ["from vit_steps import d\n", "import torch"]}]
    add(
        "notebooks/beyond/a.ipynb",
        json.dumps({"cells": [*cells, {"cell_type": "markdown", "source": "import"}]}),
    )
    add("tools/__init__.py", "")
    return add


def test_imports_are_found_wherever_and_however_they_are_written(small):
    assert house.read_house(small("README.md", "")) == {
        "doors": set(),
        "the five steps": {"doors"},
        "vit": {"the five steps"},
        "looking": {"vit", "doors"},
        "notebooks": {"looking"},
        "tools": set(),
    }


def test_a_room_stands_above_all_that_it_knows(small):
    floors = house.floors(house.read_house(small("README.md", "")))
    assert [sorted(floor) for floor in floors] == [
        ["doors", "tools"],
        ["the five steps"],
        ["vit"],
        ["looking"],
        ["notebooks"],
    ]


def test_the_drawing_says_name_words_and_arrows_and_no_line_sticks_out(small):
    lines = house.draw(small("README.md", "")).splitlines()
    start = next(number for number, line in enumerate(lines) if "looking/" in line)
    told = [line[:14].split() for line in lines[start : start + 3]]
    assert told == [["│", "looking/"], ["│", "To", "look."], ["│", "→", "doors,", "vit"]]
    assert {len(line) for line in lines} <= {0, house.WIDTH, house.WIDTH - 1}
    assert "More." not in "".join(lines)


def test_rooms_that_know_each_other_are_refused(small):
    root = small("vit_steps/doors.py", '"""D."""\ndef late():\n    import vit_steps.looking\n')
    with pytest.raises(ValueError, match=r"rooms know each other: doors -> looking -> .*doors"):
        house.draw(root)


def test_an_import_of_a_room_that_is_not_there_is_refused(small):
    root = small("vit_steps/vit.py", '"""V."""\nfrom vit_steps.gone import away\n')
    with pytest.raises(ValueError, match="vit imports gone, and no such room is there"):
        house.draw(root)


def test_a_room_has_to_say_what_lives_there(small):
    root = small("vit_steps/vit.py", "")
    with pytest.raises(
        ValueError, match=r"vit\.py: the first line of its docstring has to say what lives there"
    ):
        house.draw(root)


def test_a_page_without_marks_is_refused():
    with pytest.raises(ValueError, match="the page has to hold the two lines"):
        house.put(f"a {house.BEGIN} b", "drawn")


def test_what_stands_around_the_drawing_stays():
    page = f"before\n{house.BEGIN}\nold\n{house.END}\nafter"
    assert house.put(page, "new") == f"before\n{house.BEGIN}\n```text\nnew\n```\n{house.END}\nafter"
