"""The pages of the API hold what can be imported, as it is written, and nothing that is private."""

import ast
import importlib
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "vit_steps"


@pytest.fixture(scope="module")
def api():
    return importlib.import_module("api_pages")


@pytest.fixture(scope="module")
def entries(api):
    """All of them, by the name under which Python knows each."""
    return {
        entry.thing.path: entry for room in api.rooms() for module in room.modules for entry in module.entries
    }


def text_of(parts) -> str:
    return "".join(f"{part.title} {part.words} {part.rows}" for part in parts)


def public_names():
    """Of each module that is not private, what it defines: read by Python itself, and not by griffe."""
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        parts = parts[:-1] if parts[-1] == "__init__" else parts
        if not any(part.startswith("_") for part in parts):
            for node in ast.parse(path.read_text(encoding="utf-8")).body:
                is_thing = isinstance(node, ast.FunctionDef | ast.ClassDef)
                if is_thing and not node.name.startswith("_"):
                    yield ".".join([*parts, node.name])


def test_everything_public_stands_on_a_page_and_nothing_private(api, entries):
    shown = {path for path, entry in entries.items() if not entry.thing.is_attribute}
    handed_out = {path for path in shown if "._" in path}  # by a room, which keeps it in a private module
    assert shown - handed_out == {*public_names()}
    assert handed_out == {path for path in api.imports() if "._" in path}
    assert sum(len(module.entries) for room in api.rooms() for module in room.modules) == len(entries), "once"


def test_values_that_a_room_hands_out_are_shown(entries):
    values = [path for path, entry in entries.items() if entry.thing.is_attribute]
    assert "vit_steps.data.splits.SPLITS" in values
    assert entries["vit_steps.data.splits.SPLITS"].head.startswith("SPLITS")


def test_every_entry_says_what_it_is_and_how_it_is_called(entries):
    for path, entry in entries.items():
        if entry.thing.is_attribute:
            continue
        assert entry.parts, path
        assert f"{'class' if entry.thing.is_class else 'def'} {entry.name}" in entry.head, path
        assert entry.import_line.endswith(f"import {entry.name}"), path


def test_what_a_room_hands_out_is_imported_from_there(api, entries):
    assert len(api.imports()) > 60
    for path, line in api.imports().items():
        _, door, _, name = line.split()
        assert getattr(importlib.import_module(door), name) is not None
        assert path in entries, path
    assert entries["vit_steps.encoder.merge_heads"].import_line == "from vit_steps import merge_heads"
    line = entries["vit_steps.data.photos.load_photo"].import_line
    assert line == "from vit_steps.data import load_photo"
    assert entries["vit_steps.looking.png.pack"].import_line == "from vit_steps.looking.png import pack"


def test_shapes_and_doors_are_read_as_they_are_written(entries):
    head = entries["vit_steps.patch_embedding.image2patches"].head
    assert head.splitlines()[0].startswith('@door("image height is a multiple of patch_size"')
    assert 'image: Shaped[Tensor, "batch channels height width"], patch_size: int' in head
    assert head.endswith(') -> Shaped[Tensor, "batch patches patch_dim"]:')
    assert "jaxtyping" not in head


def test_a_class_shows_its_fields_or_what_makes_it_and_its_methods(entries):
    vit, trace = entries["vit_steps.vit.ViT"], entries["vit_steps.vit.Trace"]
    assert vit.head.startswith("class ViT(nn.Module):\n    def __init__(")
    assert vit.head.endswith("):")
    assert {"forward", "trace", "with_head"} <= {method.name for method in vit.methods}
    assert all(method.parts for method in vit.methods)
    assert 'patches: Float[Tensor, "batch patches dim"]' in trace.head
    assert '"""' not in trace.head


def test_what_is_given_back_is_told_whole(entries):
    gives = next(
        part for part in entries["vit_steps.patch_embedding.image2patches"].parts if part.title == "Gives"
    )
    assert "each flattened in the order (channel, row, col):" in gives.words
    assert "<code>patch_dim = channels * patch_size**2</code>" in gives.words


def test_names_in_a_docstring_lead_to_their_place(api, entries):
    said = text_of(entries["vit_steps.patch_embedding.patches2image"].parts)
    place = "api_the_five_steps.html#patch_embedding.image2patches"
    assert f'<a href="{place}"><code>image2patches</code></a>' in said
    assert ":func:" not in said
    assert "main" not in api.places(), "two modules have it: neither is meant"


def test_a_docstring_is_words_and_no_page(api):
    assert "&lt;b&gt;" in api.words("a ``<b>`` here, <b>there</b>")
    assert "<b>" not in api.words("a ``<b>`` here, <b>there</b>")
    shown = api.words(">>> ViT(image_size=8)\n8")
    assert "blockquote" not in shown
    assert "<pre" in shown


def test_no_docstring_is_mistaken_for_something_else(entries):
    """Two stars or a `$` in words would make them bold, or a formula."""
    for path, entry in entries.items():
        said = text_of(entry.parts)
        assert "<math" not in said, path
        assert "``" not in said, path


def test_every_room_of_the_house_has_a_page(api):
    house = importlib.import_module("house").read_house(PACKAGE.parent)
    assert api.rooms()[0].name == "the five steps"
    assert {room.name for room in api.rooms()} == {*house} - {"notebooks", "tools"}
    for room in api.rooms():
        assert len(room.says.split()) > 4
        anchors = [entry.anchor for module in room.modules for entry in module.entries]
        assert len(anchors) == len({*anchors}), room.name
