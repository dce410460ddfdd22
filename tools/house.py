"""Draw the house: which rooms the package has, and who knows whom, read from the imports themselves.

    python tools/house.py            prints the drawing
    python tools/house.py --write    puts it into CONTRIBUTING.md, between the two marks

A room is a folder or a module of ``vit_steps``; the five steps are one. A room stands one floor above the
highest room that it knows. Imports inside functions count too. Neither torch nor the package is loaded.
"""

import argparse
import ast
import json
import sys
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STEPS = ("patch_embedding", "cls_token", "position_embedding", "encoder", "classification")
STEPS_ROOM = "the five steps"
WORDS = {  # who lives outside the package, and so has no docstring
    STEPS_ROOM: f"{', '.join(STEPS[:-1])} and {STEPS[-1]}: one step each, on tensors; maths and nothing else",
    "notebooks": "the lessons",
    "tools": "what makes pages, slides, tables and the environment out of all that",
}
BEGIN, END = "<!-- the house: python tools/house.py --write -->", "<!-- the house ends -->"
WIDTH, MOST_ON_A_FLOOR = 100, 3

Knows = dict[str, set[str]]


def draw(root: Path) -> str:
    """The house as text, floor on floor."""
    knows = read_house(root)
    return "\n\n".join("\n".join(draw_floor(root, floor, knows)) for floor in reversed(floors(knows)))


def read_house(root: Path) -> Knows:
    """Each room, and the rooms that it imports from."""
    package = root / "vit_steps"
    knows: Knows = {}
    for path in sorted(package.rglob("*.py")):
        if path not in (package / "__init__.py", package / "__main__.py"):
            room = room_of(path.relative_to(package).with_suffix("").parts)
            tree = ast.parse(path.read_text(encoding="utf-8"))
            knows.setdefault(room, set()).update(rooms_in(tree, path, package))
    knows["notebooks"] = rooms_of_notebooks(root)
    knows["tools"] = {
        room
        for path in sorted((root / "tools").rglob("*.py"))
        for room in rooms_in(ast.parse(path.read_text(encoding="utf-8")), path, package)
    }
    return {room: known - {room} for room, known in knows.items()}


def rooms_of_notebooks(root: Path) -> set[str]:
    """The rooms that the code cells of the lessons import from."""
    found = set()
    for path in sorted((root / "notebooks").rglob("*.ipynb")):
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                found |= {*rooms_in(ast.parse("".join(cell["source"])), path, root / "vit_steps")}
    return found


def rooms_in(tree: ast.AST, path: Path, package: Path) -> Iterator[str]:
    """The rooms that a file imports from, wherever in it the import stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [f"{origin(node, path, package)}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            head, *parts = name.split(".")
            if head == package.name and parts and not parts[0].startswith("__"):
                yield room_of(home(package, parts))


def origin(node: ast.ImportFrom, path: Path, package: Path) -> str:
    """What an ``import`` counts from, with its dots resolved."""
    if not node.level:
        return node.module or ""
    here = path.relative_to(package.parent).parts[: -node.level]
    return ".".join([*here, *filter(None, [node.module])])


def home(package: Path, parts: list[str]) -> list[str]:
    """Where a name lives that the package itself hands out, as in ``from vit_steps import ViT``."""
    is_module = (package / parts[0]).is_dir() or (package / f"{parts[0]}.py").exists()
    return parts if is_module else handed_out(package).get(parts[0], parts)


@cache
def handed_out(package: Path) -> dict[str, list[str]]:
    """The names in the package's own ``__init__``, and where each comes from."""
    path = package / "__init__.py"
    return {
        alias.asname or alias.name: origin(node, path, package).split(".")[1:] or [alias.name]
        for node in ast.parse(path.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom) and origin(node, path, package).startswith(f"{package.name}.")
        for alias in node.names
    }


def room_of(parts) -> str:
    """The room of a dotted name, given in parts behind ``vit_steps``."""
    return STEPS_ROOM if parts[0] in STEPS else parts[0]


def floors(knows: Knows) -> list[list[str]]:
    """The rooms by height, the ground floor first.

    Raises:
        ValueError: "rooms know each other: data -> files -> data", or an import of a room that is not there.
    """
    for room, known in knows.items():
        if missing := sorted(known - knows.keys()):
            raise ValueError(f"{room} imports {', '.join(missing)}, and no such room is there")
    heights = {room: height(room, knows, ()) for room in knows}
    return [[room for room in knows if heights[room] == level] for level in range(max(heights.values()) + 1)]


def height(room: str, knows: Knows, way: tuple[str, ...]) -> int:
    """How many floors stand below a room; ``way`` is who asked."""
    if room in way:
        raise ValueError(f"rooms know each other: {' -> '.join([*way[way.index(room) :], room])}")
    return max((1 + height(known, knows, (*way, room)) for known in knows[room]), default=0)


def draw_floor(root: Path, rooms: list[str], knows: Knows) -> list[str]:
    """One floor: its rooms side by side, and below one another when there are many."""
    drawn = []
    for start in range(0, len(rooms), MOST_ON_A_FLOOR):
        some = rooms[start : start + MOST_ON_A_FLOOR]
        width = (WIDTH - len(some) + 1) // len(some)
        texts = [tell(root, room, knows[room], width - 4) for room in some]
        tallest = max(map(len, texts))
        boxes = [box(text + [""] * (tallest - len(text)), width - 4) for text in texts]
        drawn += [" ".join(lines) for lines in zip(*boxes, strict=True)]
    return drawn


def tell(root: Path, room: str, known: set[str], width: int) -> list[str]:
    """What stands in the box of a room: its name, what lives there, whom it knows."""
    arrow = f"→ {', '.join(sorted(known))}" if known else "→ nobody"
    words = WORDS.get(room) or first_line(root / "vit_steps", room)
    lines = [*textwrap.wrap(words, width), *textwrap.wrap(arrow, width, subsequent_indent="  ")]
    return [room if room == STEPS_ROOM else f"{room}/" if is_folder(root, room) else room, *lines]


def is_folder(root: Path, room: str) -> bool:
    """Whether a room is a folder, of the package or of the checkout."""
    return (root / "vit_steps" / room).is_dir() or room in ("notebooks", "tools")


def first_line(package: Path, room: str) -> str:
    """The first line of a room's docstring."""
    path = package / room / "__init__.py" if (package / room).is_dir() else package / f"{room}.py"
    words = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) if path.exists() else None
    if not words:
        raise ValueError(f"{path}: the first line of its docstring has to say what lives there")
    return words.partition("\n\n")[0].replace("\n", " ").replace("``", "")


def box(lines: list[str], width: int) -> list[str]:
    """Lines with a frame around them."""
    inside = [f"│ {line:{width}} │" for line in lines]
    return [f"┌{'─' * (width + 2)}┐", *inside, f"└{'─' * (width + 2)}┘"]


def put(page: str, drawing: str) -> str:
    """The page with the drawing between its two marks.

    Raises:
        ValueError: a mark is missing.
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"the page has to hold the two lines {BEGIN} and {END}")
    return f"{before}{BEGIN}\n```text\n{drawing}\n```\n{END}{after}"


def main(arguments: list[str]) -> None:
    """Print the drawing, or write it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="put it into CONTRIBUTING.md")
    drawing = draw(ROOT)
    if not parser.parse_args(arguments).write:
        print(drawing)
        return
    page = ROOT / "CONTRIBUTING.md"
    new = put(page.read_text(encoding="utf-8"), drawing)
    page.write_text(new, encoding="utf-8", newline="\n")


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except ValueError as fault:
        sys.exit(f"house: {fault}")
