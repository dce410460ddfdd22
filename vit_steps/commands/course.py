"""``vit-steps course FOLDER``: the lessons, laid where somebody works on them.

What somebody changed is never overwritten. In the folder a small file, ``.vit-steps.json``, notes what was
laid there: a lesson that is still as it was laid is replaced by a newer one; beside any other the newer one
is laid under a name of its own.
"""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import vit_steps
from vit_steps.commands.where import find_lessons
from vit_steps.doors import door
from vit_steps.files.reading import open_file, read_json, shown
from vit_steps.files.writing import write_whole

NOTES = ".vit-steps.json"
EXAMPLES = """examples:
  the lessons, in a folder that is made where there is none
    vit-steps course ~/vit
  the same again, after an update of the package: what you changed stays, the new one is laid beside it
    vit-steps course ~/vit

vit-steps lab FOLDER does this, too, and opens them.
"""


class Laid(NamedTuple):
    """What became of one lesson.

    Attributes:
        name: of the lesson, with slashes, such as ``beyond/real_vits.ipynb``.
        became: "new", "the same", "replaced", "kept", or "beside".
        place: where the lesson of this version lies.
    """

    name: str
    became: str
    place: Path


def main(arguments: list[str] | None = None) -> int:
    """Run ``vit-steps course``.

    Returns:
        0 when all went well. What is refused leaves with 2, and says why.
    """
    parser = argparse.ArgumentParser(
        prog="vit-steps course",
        description="Lay the lessons into a folder. What you changed is never overwritten.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="FOLDER", help="where to; made where there is none")
    lay_or_refuse(parser, parser.parse_args(arguments).folder)
    return 0


def lay_or_refuse(parser: argparse.ArgumentParser, folder: str) -> None:
    """Lay the lessons and say in plain lines what became of them; what is refused, the parser says."""
    try:
        for line in tell(folder, lay(folder)):
            print(line, file=sys.stderr, flush=True)
    except (OSError, ValueError) as error:
        parser.error(str(error))


def tell(folder: str | os.PathLike, laid: list[Laid]) -> Iterator[str]:
    """What a reader wants to know of it, line by line."""
    fresh = sum(each.became in ("new", "replaced") for each in laid)
    yield f"{len(laid)} lessons in {shown(folder)}: {fresh} laid there, {len(laid) - fresh} left as they were"
    for each in laid:
        if each.became == "beside":
            yield f"  {each.name} is yours and stays; the new one is {shown(each.place.name)} beside it"


@door()
def lay(folder: str | os.PathLike) -> list[Laid]:
    """Lay the lessons of this version into a folder, each at once and whole.

    Ctrl-C, or a kill, at any moment leaves whole files, and the same call goes on from there.

    Args:
        folder: where to; it is made where there is none.

    Returns:
        One :class:`Laid` for each lesson, by name.

    Raises:
        NotADirectoryError: "notes.txt is a file, a folder was wanted".
        FileNotFoundError: "the lessons are not in this installation: install vit-steps again".
        OSError, ValueError: what is there cannot be read, or what is new not be written.
    """
    root, lessons = Path(folder).expanduser(), find_lessons()
    if root.exists() and not root.is_dir():
        raise NotADirectoryError(f"{shown(folder)} is a file, a folder was wanted")
    root.mkdir(parents=True, exist_ok=True)
    notes = read_notes(root / NOTES)
    laid = []
    for source in sorted(lessons.rglob("[!.]*.ipynb")):
        name = source.relative_to(lessons).as_posix()
        if not any(part.startswith(".") for part in name.split("/")):
            laid.append(_lay_one(root, name, source.read_bytes(), notes))
            _write_notes(root / NOTES, notes)
    return laid


def read_notes(path: Path) -> dict[str, list[str]]:
    """Read what was laid before, name -> digests; where it cannot be understood, nothing is known."""
    try:
        notes = read_json(path)
    except (OSError, ValueError):
        return {}
    return {
        name: digests
        for name, digests in notes.items()
        if isinstance(digests, list) and all(isinstance(digest, str) for digest in digests)
    }


def _write_notes(path: Path, notes: dict[str, list[str]]) -> None:
    text = json.dumps(notes, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    write_whole(path, lambda draft: draft.write_text(text, encoding="utf-8"))


def _lay_one(root: Path, name: str, content: bytes, notes: dict[str, list[str]]) -> Laid:
    place, new, known = root / name, _digest(content), notes.setdefault(name, [])
    there = _digest_of(place)
    was_offered = new in known
    if not was_offered:
        known.append(new)
    if there == new:
        return Laid(name, "the same", place)
    if there is None or there in known:
        _write(place, content)
        return Laid(name, "new" if there is None else "replaced", place)
    if was_offered:  # made of the lesson of this version, or it lies beside already, or was thrown away
        return Laid(name, "kept", place)
    beside = _beside(place, new)
    if _digest_of(beside) is None:
        _write(beside, content)
    return Laid(name, "beside", beside)


def _beside(place: Path, new: str) -> Path:
    """A name that says the version, and that nothing else has."""
    stem, number = f"{place.stem}_v{vit_steps.__version__}", 1
    while True:
        beside = place.with_name(f"{stem}{'' if number == 1 else f'_{number}'}{place.suffix}")
        if _digest_of(beside) in (None, new):
            return beside
        number += 1


def _write(place: Path, content: bytes) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    write_whole(place, lambda draft: draft.write_bytes(content))


def _digest_of(place: Path) -> str | None:
    if not place.exists():
        return None
    with open_file(place) as file:
        return _digest(file.read())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
