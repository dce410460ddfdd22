"""What of a notebook has to run so that its answers exist: its imports, the answers, and what they use.

A lesson has a hundred cells, and most of them look: they print, draw, train. The names that an answer uses
are found as the compiler finds them; a statement that sets none of them is left out. Names that only come
into being while a cell runs are not seen: then all cells run (``whole``).
"""

import ast
import dis
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from types import CodeType
from typing import NamedTuple

from vit_steps.lessons.exercises import EXERCISES, LESSONS, Exercise

HARMLESS = re.compile(r"^%%(time|timeit|capture|prun)\b.*")
MAGIC = re.compile(r"^(\s*)([%!?].*|.*\w\?{1,2}\s*)$")
LONGEST_SOURCE = 2**20
HIDING = {"exec", "eval", "globals", "locals", "vars", "setattr"}


class Cell(NamedTuple):
    """A code cell: its id, and its source."""

    id: str
    source: str


class Statement(NamedTuple):
    """One statement at the top of a cell, and the names that it needs and sets."""

    cell: str
    code: CodeType
    needs: frozenset[str]
    sets: frozenset[str]
    always: bool


@dataclass
class Program:
    """What a notebook says: its lesson, its statements, and the cells that are no Python."""

    lesson: str | None
    statements: list[Statement] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)

    @property
    def exercises(self) -> list[Exercise]:
        """Those of its lesson."""
        return [each for each in EXERCISES if each.lesson == self.lesson]

    @property
    def hides_names(self) -> bool:
        """Whether names may be set by other means than a statement that sets them."""
        return any(statement.needs & HIDING for statement in self.statements)

    def needed(self) -> list[Statement]:
        """Leave out what only looks."""
        names = {name for exercise in self.exercises for name in exercise.names}
        kept = []
        for statement in reversed(self.statements):
            if statement.always or statement.sets & names:
                kept.append(statement)
                names |= statement.needs
        return kept[::-1]


def read_program(text: bytes, lesson: str | None = None) -> Program:
    """Read the code of a notebook.

    Args:
        text: the file.
        lesson: which one it is, where its name says it; otherwise its exercises tell.

    Raises:
        ValueError: "it is no notebook: no JSON", "it is no notebook: it has no cells",
            "no lesson can be told from it: none of the exercises is in it".
    """
    cells = _cells(text)
    program = Program(lesson or _lesson_of(cells))
    for cell in cells:
        try:
            program.statements.extend(_statements(cell))
        except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
            place = f", line {error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
            program.unreadable[cell.id] = f"{type(error).__name__}{place}"
    return program


def _cells(text: bytes) -> list[Cell]:
    try:
        notebook = json.loads(text.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError):
        raise ValueError("it is no notebook: no JSON") from None
    cells = notebook.get("cells") if isinstance(notebook, dict) else None
    if not isinstance(cells, list):
        raise ValueError("it is no notebook: it has no cells")
    code = [each for each in cells if isinstance(each, dict) and each.get("cell_type") == "code"]
    return [Cell(_id(cell, number), _source(cell)) for number, cell in enumerate(code, start=1)]


def _id(cell: dict, number: int) -> str:
    found = cell.get("id")
    return found[:80] if isinstance(found, str) and found else f"code cell {number}"


def _source(cell: dict) -> str:
    source = cell.get("source", "")
    parts = source if isinstance(source, list) else [source]
    return "".join(part for part in parts if isinstance(part, str))


def _lesson_of(cells: Iterable[Cell]) -> str:
    words = Counter(word for cell in cells for word in set(re.findall(r"\w+", cell.source[:LONGEST_SOURCE])))
    votes = {
        lesson: sum(
            words[name]
            for each in EXERCISES
            if each.lesson == lesson
            for name in (*each.names, each.check.__name__)
        )
        for lesson in LESSONS
    }
    lesson = max(votes, key=votes.__getitem__)
    if not votes[lesson]:
        raise ValueError("no lesson can be told from it: none of the exercises is in it")
    return lesson


def _statements(cell: Cell) -> Iterator[Statement]:
    if len(cell.source) > LONGEST_SOURCE:
        raise ValueError("too long")
    tree = _WithoutChecks().visit(ast.parse(_without_magic(cell.source)))
    for node in tree.body:
        code = compile(ast.fix_missing_locations(ast.Module([node], [])), f"<{cell.id}>", "exec")
        needs, sets = _names(code)
        always = isinstance(node, (ast.Import, ast.ImportFrom))
        yield Statement(cell.id, code, frozenset(needs), frozenset(sets | _changed(node)), always)


def _without_magic(source: str) -> str:
    """Take out what is IPython's and not Python's; a cell in another language is left out."""
    lines = HARMLESS.sub("", source, count=1).splitlines()
    if lines and lines[0].startswith("%%"):
        return ""
    return "\n".join(MAGIC.sub(_pass_for, line) for line in lines)


def _pass_for(line: re.Match) -> str:
    text = line[0].strip()
    is_help = text.endswith("?") and re.fullmatch(r"[\w.]+\?{1,2}", text)
    return f"{line[1]}pass" if is_help or text[0] in "%!?" else line[0]


class _WithoutChecks(ast.NodeTransformer):
    """Nobody asks a check while the cells run: that comes afterwards, and in silence."""

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = getattr(node.func, "id", getattr(node.func, "attr", ""))
        if name.startswith("check_"):
            return ast.copy_location(ast.Constant(False), node)
        return self.generic_visit(node)


def _names(code: CodeType) -> tuple[set[str], set[str]]:
    """Which global names a piece of code reads and sets, in its functions and classes, too."""
    needs, sets = set(), set()
    for instruction in dis.get_instructions(code):
        if instruction.opname in ("LOAD_NAME", "LOAD_GLOBAL") and instruction.argval not in sets:
            needs.add(instruction.argval)  # what it has just set itself, as a loop does, it needs of nobody
        elif instruction.opname in ("STORE_NAME", "STORE_GLOBAL"):
            sets.add(instruction.argval)
    for inner in filter(lambda each: isinstance(each, CodeType), code.co_consts):
        inner_needs, _ = _names(inner)
        needs |= inner_needs
    return needs, sets


def _changed(node: ast.AST) -> set[str]:
    """Whose insides a statement may change: ``table[0] = 1``, ``layers.append(3)``, ``fill(table)``."""
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    bases: list[ast.expr] = [
        target for target in targets if isinstance(target, (ast.Subscript, ast.Attribute))
    ]
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        bases += [node.value.func, *node.value.args]
    return {name for base in bases if (name := _base(base))}


def _base(node: ast.AST) -> str | None:
    while isinstance(node, (ast.Subscript, ast.Attribute)):
        node = node.value
    return node.id if isinstance(node, ast.Name) else None
