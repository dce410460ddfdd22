"""Lay files into a folder, each at once and whole, and never over one that somebody has changed."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from vit_steps.commands.course import read_notes
from vit_steps.files.reading import open_file, shown
from vit_steps.files.writing import write_whole

NOTES = ".vit-steps-editions.json"


def lay(folder: Path, files: Mapping[str, bytes], *, force: bool = False) -> list[Path]:
    """Write all files, or none where one of them was changed since it was laid.

    Args:
        folder: made where there is none. A small file in it notes what was laid.
        files: place, with slashes -> content.
        force: write over what was changed.

    Raises:
        FileExistsError: "made/2_cls_token.ipynb is not as it was laid there: force writes over it".
        OSError: it cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{shown(folder)} is a file, a folder was wanted")
    notes = read_notes(folder / NOTES)
    changed = [
        place for place, new in files.items() if _is_changed(folder / place, new, notes.get(place, []))
    ]
    if changed and not force:
        more = f", and {len(changed) - 1} more" if len(changed) > 1 else ""
        place = shown(folder / changed[0])
        raise FileExistsError(f"{place} is not as it was laid there{more}: force writes over it")
    for place, content in files.items():
        _write(folder, place, content, notes)
    return [folder / place for place in files]


def _is_changed(place: Path, new: bytes, known: list[str]) -> bool:
    if not place.exists():
        return False
    with open_file(place) as file:
        there = _digest(file.read())
    return there != _digest(new) and there not in known


def _write(folder: Path, place: str, content: bytes, notes: dict[str, list[str]]) -> None:
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    # Noted before it is laid: a kill between the two leaves nothing that would look changed.
    notes[place] = [*notes.get(place, [])[-1:], _digest(content)]
    text = json.dumps(notes, indent=1, ensure_ascii=False, sort_keys=True) + "\n"
    write_whole(folder / NOTES, lambda draft: draft.write_text(text, encoding="utf-8"))
    write_whole(folder / place, lambda draft: draft.write_bytes(content))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
