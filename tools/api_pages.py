"""The pages of the API, one for each room: signatures as they are written, docstrings as pages.

griffe (ISC), with which mkdocstrings reads Python, gives both without running anything: an annotation stays
``Float[Tensor, "batch channels height width"]``, and ``@door(...)`` says what is refused.
"""

import ast
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path

import griffe
from house import STEPS, STEPS_ROOM, WORDS, room_of
from lesson_html import printed, slug
from markupsafe import Markup

ROOT = Path(__file__).resolve().parent.parent
# As a reader meets them; a room that is not named here comes last.
ORDER = (
    STEPS_ROOM,
    "vit",
    "layers",
    "data",
    "looking",
    "training",
    "pretrained",
    "lessons",
    "doors",
    "files",
)
GOOGLE = {"returns_multiple_items": False, "returns_named_value": False, "warnings": False}
TITLES = {"parameters": "Takes", "attributes": "Holds", "raises": "Raises"}
GIVES = re.compile(r"^(?:Returns|Yields):\n((?:    .*(?:\n|$)|\n)+)", flags=re.M)
ROLE = re.compile(r":(?:func|class|mod|meth|attr):`~?([^`]*)`")
LITERAL = re.compile(r"``(.*?)``", flags=re.S)
CODE = re.compile(r"<code>([\w.]+)</code>")


@dataclass
class Part:
    """A piece of a docstring: words, or a table of names and what each is."""

    title: str
    words: str = ""
    rows: list[tuple[str, Markup]] = field(default_factory=list)


@dataclass
class Entry:
    """A function, a class, a method or a value that a module hands out."""

    thing: griffe.Object
    anchor: str

    @property
    def name(self) -> str:
        """As it is called."""
        return self.thing.name

    @property
    def import_line(self) -> str:
        """The line that brings it in: from who hands it out, or else from its module."""
        home = self.thing.parent.path
        return imports().get(self.thing.path, f"from {home} import {self.name}")

    @property
    def head(self) -> str:
        """Its first lines, as they are written: what it takes, and what it gives."""
        return head_of(self.thing)

    @property
    def parts(self) -> list[Part]:
        """Its docstring."""
        return parts_of(self.thing)

    @property
    def methods(self) -> list["Entry"]:
        """What a class can be asked; what it has inherited stands where it comes from."""
        if not self.thing.is_class:
            return []
        return [
            Entry(each, f"{self.anchor}.{each.name}")
            for each in own(self.thing)
            if each.is_function or is_property(each)
        ]


@dataclass
class Module:
    """A module of a room, with all that can be imported from it."""

    thing: griffe.Module
    name: str

    @property
    def path(self) -> str:
        """As it is imported."""
        return self.thing.path

    @property
    def parts(self) -> list[Part]:
        """What it says of itself."""
        return parts_of(self.thing)

    @cached_property
    def entries(self) -> list[Entry]:
        """Functions, classes and values that are handed out, in the order in which they stand there."""
        found = [
            each for each in own(self.thing) if each.is_function or each.is_class or each.path in imports()
        ]
        if self.thing.is_init_module:
            found += [each.final_target for each in self.thing.members.values() if comes_from_within(each)]
        return [Entry(each, f"{self.name}.{each.name}") for each in found]


@dataclass
class Room:
    """One page."""

    name: str
    things: list[griffe.Module]

    @property
    def file(self) -> str:
        """In the folder of all pages."""
        return f"api_{self.name.replace(' ', '_')}.html"

    @property
    def id(self) -> str:
        """Of its heading."""
        return f"room-{slug(self.name)}"

    @property
    def path(self) -> str:
        """As it is imported, if it is one thing."""
        return self.things[0].path if self.is_folder else ""

    @property
    def says(self) -> Markup:
        """What lives there, in one paragraph."""
        docstring = WORDS[self.name] if self.name in WORDS else self.things[0].docstring.value
        return words(docstring.partition("\n\n")[0])

    @property
    def parts(self) -> list[Part]:
        """What the room says of itself; the five steps speak for themselves, each on its own."""
        return parts_of(self.things[0]) if self.is_folder else []

    @property
    def is_folder(self) -> bool:
        """Whether it holds modules, or is one."""
        return self.things[0].is_init_module

    @cached_property
    def modules(self) -> list[Module]:
        """Those in which something can be imported."""
        prefix = f"{self.things[0].path}." if self.is_folder else "vit_steps."
        found = [
            Module(each, each.path.removeprefix(prefix)) for thing in self.things for each in below(thing)
        ]
        return [module for module in found if module.entries]


@cache
def package() -> griffe.Module:
    return griffe.load(
        "vit_steps",
        search_paths=[ROOT],
        docstring_parser="google",
        docstring_options=GOOGLE,
        allow_inspection=False,
    )


@cache
def rooms() -> list[Room]:
    """The pages, in the order of ``ORDER``."""
    found: dict[str, list[griffe.Module]] = {}
    for thing in own(package()):
        if thing.is_module:
            found.setdefault(room_of([thing.name]), []).append(thing)
    found[STEPS_ROOM].sort(key=lambda step: STEPS.index(step.name))
    place = lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name)  # noqa: E731
    return [Room(name, found[name]) for name in sorted(found, key=place)]


def own(thing) -> Iterator[griffe.Object]:
    """What is at home here and open to everybody."""
    return (each for name, each in thing.members.items() if not name.startswith("_") and not each.is_alias)


def comes_from_within(thing) -> bool:
    """Whether a room hands something out that lives in a private module of it, and so has no page."""
    return thing.is_alias and thing.target_path in imports() and "._" in thing.target_path


def is_property(thing) -> bool:
    return thing.is_attribute and "property" in thing.labels


def below(thing: griffe.Module) -> Iterator[griffe.Module]:
    """A module, or all modules of a folder."""
    yield thing
    for each in sorted((each for each in own(thing) if each.is_module), key=lambda each: each.name):
        yield from below(each)


# ---- signatures ----


def head_of(thing) -> str:
    """The lines above the docstring; of a class also its fields, or what its ``__init__`` takes."""
    lines = textwrap.dedent("\n".join(thing.lines)).splitlines()
    node = ast.parse("\n".join(lines)).body[0]
    if not isinstance(node, ast.FunctionDef | ast.ClassDef):
        return "\n".join(lines)
    return "\n".join(lines[: node.body[0].lineno - 1] + of_class(node, lines))


def of_class(node: ast.FunctionDef | ast.ClassDef, lines: list[str]) -> list[str]:
    for each in node.body if isinstance(node, ast.ClassDef) else []:
        if isinstance(each, ast.FunctionDef) and each.name == "__init__":
            return lines[each.lineno - 1 : each.body[0].lineno - 1]
    fields = [each for each in node.body if isinstance(each, ast.AnnAssign)]
    return [line for each in fields for line in lines[each.lineno - 1 : each.end_lineno]]


# ---- docstrings ----


def parts_of(thing) -> list[Part]:
    return (
        [part_of(section, thing.docstring.value) for section in thing.docstring.parsed]
        if thing.docstring
        else []
    )


def part_of(section, docstring: str) -> Part:
    """Words, or a row for each name; of an error the type is the name."""
    kind, value = section.kind.value, section.value
    if kind == "text":
        return Part("", words(value))
    if kind == "admonition":
        return Part(section.title, words(value.contents))
    if kind in ("returns", "yields"):  # griffe takes a first line that ends in a colon for a type
        return Part("Gives", words(textwrap.dedent(GIVES.search(docstring)[1])))
    rows = [(getattr(each, "name", None) or str(each.annotation), words(each.description)) for each in value]
    return Part(TITLES.get(kind, kind.capitalize()), rows=rows)


def words(docstring: str) -> Markup:
    """A docstring's words as HTML; names that this API has a place for lead there."""
    source = LITERAL.sub(r"`\1`", ROLE.sub(r"`\1`", docstring)).replace("::\n", ":\n")
    source = f"```python\n{source}\n```" if source.startswith(">>>") else source
    return Markup(CODE.sub(link, str(printed(source))))


def link(found: re.Match) -> str:
    place = places().get(found[1].rpartition(".")[2])
    return f'<a href="{place}">{found[0]}</a>' if place else found[0]


@cache
def places() -> dict[str, str]:
    """Where a name is found that only one module has; two of the same name would lead astray."""
    found: dict[str, list[str]] = {}
    for room in rooms():
        for module in room.modules:
            for entry in module.entries:
                found.setdefault(entry.name, []).append(f"{room.file}#{entry.anchor}")
    return {name: where[0] for name, where in found.items() if len(where) == 1}


# ---- where a name is handed out ----


@cache
def imports() -> dict[str, str]:
    """The line that brings a name in which the package or a room of it hands out; the package comes first."""
    doors = [package(), *(each for each in own(package()) if each.is_module and each.is_init_module)]
    found: dict[str, str] = {}
    for door in reversed(doors):
        for name, each in door.members.items():
            if each.is_alias and name in (door.exports or []) and not each.is_module:
                found[each.target_path] = f"from {door.path} import {name}"
    return found
