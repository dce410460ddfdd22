"""Write a file or a folder at once and whole: a reader meets the old one or the new one, and nothing between.

Everything is first written to a draft beside its place, ``.draft-0123456789abcdef-new-NAME``, and put into
its place by one rename. Each draft has a name of its own, so that two writers never share one. Beside it a
writer keeps a file (``-lock-`` in its name) and holds its lock for as long as it lives; the system drops the
lock with the process, however that ends. Where the lock is free, the writer is dead, and the next one that
writes into that folder removes what it left. Where a disk knows no locks, nothing can be proved: all stays.
"""

import csv
import ctypes
import errno
import os
import re
import secrets
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from vit_steps.files.reading import shown

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None
    import msvcrt

LOCK = re.compile(r"\.draft-(?P<token>[0-9a-f]{16})-lock-(?P<name>.+)", re.DOTALL)
PROBE = 4096  # bytes that are written to see whether there is room at all
EXCHANGE = 2  # the flag of Linux's renameat2 and of macOS's renamex_np
FROM_HERE = -100  # AT_FDCWD
PATIENCE = 50  # tries of 20 ms: Windows replaces no file that somebody is just reading


class Draft(NamedTuple):
    """What a writer has beside the place that it writes to."""

    lock: Path
    new: Path
    old: Path


def apart(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Copy what shares its memory with another tensor, as two blocks that are one: a file holds each."""
    places = Counter(tensor.untyped_storage().data_ptr() for tensor in tensors.values())
    return {
        name: tensor.clone() if places[tensor.untyped_storage().data_ptr()] > 1 else tensor
        for name, tensor in tensors.items()
    }


def write_whole(path: str | os.PathLike, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a draft beside ``path``, and put it in the place of ``path`` when it is whole.

    Whatever happens, an error, Ctrl-C or a kill, ``path`` is the old file or the new one. Of two writers to
    one path the last one wins. A link is followed, and a file that is replaced hands on its permissions.

    Args:
        path: of the file; one that is there is replaced.
        write: is given the path of the draft, which ends like ``path``, and writes it.

    Raises:
        FileNotFoundError: "there is no folder runs to write model.safetensors into".
        IsADirectoryError: "model.safetensors is a folder, a file was wanted".
        PermissionError: "model.safetensors cannot be written: it is read-only".
        OSError: "model.safetensors cannot be written: No space left on device". What else ``write`` raises
            passes.
    """
    place = _place(path)
    with _named(path, place):
        _check_place(path, place)
        with _draft(place) as draft:
            write(draft.new)
            _flush(draft.new)
            with suppress(OSError):  # a disk that knows no permissions
                shutil.copymode(place if place.exists() else draft.lock, draft.new)
            _replace(draft.new, place)


def writable(path: str | os.PathLike, *, size: int = 0) -> None:
    """Find out before the work whether a file can be written there, by trying a small draft.

    Args:
        path: of the file to come.
        size: how many bytes it will have, as far as is known; so many must be free.

    Raises: as :func:`write_whole`, and OSError: "model.safetensors cannot be written: it takes 343,219,400
        bytes, 65,536 are free".
    """
    place = _place(path)
    with _named(path, place):
        _check_place(path, place)
        with _draft(place) as draft:
            draft.new.write_bytes(bytes(PROBE))
            _flush(draft.new)
            free = shutil.disk_usage(place.parent).free + PROBE
    if free < size:
        raise OSError(f"{shown(path)} cannot be written: it takes {size:,} bytes, {free:,} are free")


def write_table(path: str | os.PathLike, columns: Sequence[str], rows: Iterable[dict]) -> None:
    """Write a table as CSV, the names of the columns in its first line.

    Args:
        path: of the file; one that is there is replaced.
        columns: names, in their order.
        rows: one dict for each line; a column that a row does not have stays empty.

    Raises: as :func:`write_whole`, and ValueError where a row has other columns.
    """

    def write(draft: Path) -> None:
        with open(draft, "w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, columns, lineterminator="\n")
            table.writeheader()
            table.writerows(rows)

    write_whole(path, write)


def write_folder(folder: str | os.PathLike, build: Callable[[Path], object]) -> None:
    """Let ``build`` make a folder beside ``folder``, and put it in the place of ``folder`` when it is whole.

    Linux and macOS exchange the two at one stroke: at each moment there is the old folder or the new one.
    Elsewhere the old one steps aside first. A kill in just this moment leaves none in place; the next writer
    beside it puts the old one back.

    Args:
        folder: one that is there is replaced, with all that is in it; missing parents are made.
        build: is given the path of a folder that is not there yet, and makes it.

    Raises: as :func:`write_whole`, and NotADirectoryError: "site is a file, a folder was wanted".
    """
    place = _place(folder)
    with _named(folder, place):
        if place.exists() and not place.is_dir():
            raise NotADirectoryError(f"{shown(folder)} is a file, a folder was wanted")
        place.parent.mkdir(parents=True, exist_ok=True)
        with _draft(place) as draft:
            build(draft.new)
            _put_in_place(draft, place)


def _place(path: str | os.PathLike) -> Path:
    """Where the file really lies: who writes to a link means what it points to."""
    return Path(os.path.realpath(path) if os.path.islink(path) else path)


def _check_place(path: str | os.PathLike, place: Path) -> None:
    if not place.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {shown(place.parent)} to write {shown(place.name)} into")
    if place.is_dir():
        raise IsADirectoryError(f"{shown(path)} is a folder, a file was wanted")
    if place.exists() and not place.is_file():
        raise OSError(f"{shown(path)} is a device or a pipe, a file was wanted")
    if place.exists() and not os.access(place, os.W_OK):
        raise PermissionError(f"{shown(path)} cannot be written: it is read-only")


@contextmanager
def _named(path: str | os.PathLike, place: Path) -> Iterator[None]:
    """Say which file could not be written, and not which draft; what fails elsewhere names itself."""
    try:
        yield
    except OSError as error:
        where = str(error.filename or place)
        ours = ".draft-" in where or str(place).startswith(where)
        if not ours or error.errno is None or type(error).__module__ != "builtins":
            raise
        raise type(error)(f"{shown(path)} cannot be written: {error.strerror}") from error


@contextmanager
def _draft(place: Path) -> Iterator[Draft]:
    """Give a draft of which the lock is held; what is left of it is removed afterwards."""
    _clear(place.parent)
    while True:
        draft, held = _parts(place, secrets.token_hex(8)), None
        try:
            held = os.open(draft.lock, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
            with suppress(OSError):  # the disk knows no locks
                _lock(held, wait=True)
            if draft.lock.exists():  # or another writer found the lock before it was taken, and removed it
                yield draft
                return
        finally:
            _remove(draft, place, held)


def _parts(place: Path, token: str) -> Draft:
    return Draft(*(place.with_name(f".draft-{token}-{part}-{place.name}") for part in Draft._fields))


def _lock(held: int, *, wait: bool) -> None:
    if fcntl is not None:
        fcntl.flock(held, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    else:
        msvcrt.locking(held, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)


def _clear(folder: Path) -> None:
    """Remove what dead writers left; what a living one holds raises an OSError, and stays."""
    with suppress(OSError):  # a folder may let its files be written and not be listed
        for found in filter(None, map(LOCK.fullmatch, os.listdir(folder))):
            place = folder / found["name"]
            with suppress(OSError):
                _clear_away(_parts(place, found["token"]), place)


def _clear_away(draft: Draft, place: Path) -> None:
    held = os.open(draft.lock, os.O_RDWR)
    try:
        _lock(held, wait=False)
    except OSError:
        os.close(held)
        raise
    _remove(draft, place, held)


def _remove(draft: Draft, place: Path, held: int | None) -> None:
    """Remove a draft, its lock last; a folder that had stepped aside for it, and for nothing, goes back."""
    with suppress(OSError):
        if draft.old.exists() and not place.exists():
            draft.old.rename(place)
        for part in (draft.new, draft.old):
            shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)
        draft.lock.unlink()
    if held is not None:
        os.close(held)
        with suppress(OSError):  # on Windows, only now
            draft.lock.unlink()


def _flush(draft: Path) -> None:
    """Wait until the disk has it: only then does a full one say so everywhere."""
    with open(draft, "rb+") as file:
        os.fsync(file.fileno())


def _replace(draft: Path, place: Path) -> None:
    for _ in range(PATIENCE if fcntl is None else 0):
        with suppress(PermissionError):
            os.replace(draft, place)
            return
        time.sleep(0.02)
    os.replace(draft, place)


def _put_in_place(draft: Draft, place: Path) -> None:
    while True:
        if place.exists() and _exchange(draft.new, place):
            return
        if draft.old.exists():
            shutil.rmtree(draft.old)
        with suppress(FileNotFoundError):
            place.rename(draft.old)
        try:
            draft.new.rename(place)
            return
        except OSError as error:  # another writer was quicker: take its folder away and try again
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders at one stroke; False where the system, or the disk, does not know how."""
    one, other = os.fsencode(one), os.fsencode(other)
    try:
        if sys.platform == "linux":
            return ctypes.CDLL(None).renameat2(FROM_HERE, one, FROM_HERE, other, EXCHANGE) == 0
        if sys.platform == "darwin":
            return ctypes.CDLL(None).renamex_np(one, other, EXCHANGE) == 0
    except AttributeError:
        pass
    return False
