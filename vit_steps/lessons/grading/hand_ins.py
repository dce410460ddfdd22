"""Which notebooks a folder holds, and whose each is: a notebook per student, or a folder per student."""

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from vit_steps.lessons.exercises import LESSONS

MOST = 10_000  # files that are looked at; a class has hundreds
DEEPEST = 6
LARGEST = 512 * 2**20  # bytes of a notebook; what somebody printed by mistake is in it
LESSON = re.compile("|".join(LESSONS))


class HandIn(NamedTuple):
    """A notebook that was handed in; ``refused`` says why it is not even opened."""

    student: str
    file: str
    path: Path
    lesson: str | None = None
    refused: str | None = None


def find_hand_ins(folder: Path) -> list[HandIn]:
    """Find all notebooks below a folder, in the order of their names; links are not followed.

    A notebook right in the folder belongs to the student whose name it has (``anna.ipynb``, and with the
    lesson's ``anna_1_patch_embedding.ipynb``); one in a folder to the student of that name. nbgrader's
    ``submitted/STUDENT/LESSON/LESSON.ipynb`` is found from the course's folder and from ``submitted``.

    Raises:
        NotADirectoryError: "there is no folder class".
        ValueError: "class has more than 10000 files; ..."
    """
    if not folder.is_dir():
        raise NotADirectoryError(f"there is no folder {folder}")
    if (folder / "submitted").is_dir() and not (folder / "submitted").is_symlink():
        folder = folder / "submitted"
    found = []
    for number, path in enumerate(_walk(folder, DEEPEST)):
        if number == MOST:
            raise ValueError(f"{folder} has more than {MOST} files; name the folder of one class")
        if path.suffix == ".ipynb":
            found.append(_hand_in(folder, path))
    return found


def _walk(folder: Path, depth: int) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.name.startswith((".", "__pycache__")):  # what Jupyter and systems keep beside a notebook
            continue
        if not entry.is_dir(follow_symlinks=False):
            yield Path(entry.path)
        elif depth:
            yield from _walk(Path(entry.path), depth - 1)


def _hand_in(folder: Path, path: Path) -> HandIn:
    parts = path.relative_to(folder).parts
    lesson = next((match[0] for part in reversed(parts) if (match := LESSON.search(part))), None)
    own = LESSON.sub("", path.stem).strip(" _-.") or path.stem
    student = parts[0] if len(parts) > 1 else own
    return HandIn(student, path.relative_to(folder).as_posix(), path, lesson, _refused(path))


def _refused(path: Path) -> str | None:
    kind = path.lstat()
    if stat.S_ISLNK(kind.st_mode):
        return "it is a link, and links are not followed"
    if not stat.S_ISREG(kind.st_mode):
        return "it is no file, but a folder, a pipe or a device"
    if kind.st_size > LARGEST:
        return f"it has {kind.st_size:,} bytes, and at most {LARGEST:,} are read"
    return None
