"""Write a file or a folder at once and whole: a reader meets the old one or the new one, and nothing between.

Everything is first written to a draft beside its place, ``.draft-0123456789abcdef-NAME``, and put into its
place by one rename. Each draft has a name of its own, so that two writers never share one. A writer keeps
its draft locked as long as it lives, and the system drops the lock with the process, however it ends: a
draft whose lock is free is a dead writer's, and the next writer to that folder removes it. Where a disk
knows no locks, nothing can be proved and the draft stays. (On Windows no file can be removed while somebody
has it open: the open draft is the lock.)
"""

import ctypes
import errno
import os
import re
import secrets
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

DRAFT = re.compile(r"\.draft-[0-9a-f]{16}-(?P<name>.+?)(?P<part>\.new|\.old)?", re.DOTALL)
PROBE = 4096  # bytes that are written to see whether there is room at all
RENAME_EXCHANGE = 2  # of Linux's renameat2 and of macOS's renamex_np
FROM_HERE = -100  # AT_FDCWD
PATIENCE = 50  # tries of 20 ms: Windows replaces no file that somebody is just reading


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
        OSError: "model.safetensors cannot be written: No space left on device", a PermissionError where
            permission is what lacks. What else ``write`` raises passes.
    """
    place = _place(path)
    _check_place(path, place)
    with _named(path), _draft(place) as (draft, lock):
        write(draft)
        with open(draft, "rb+") as file:
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            shutil.copymode(place, draft)
        _replace(draft, place, lock)


def writable(path: str | os.PathLike, *, size: int = 0) -> None:
    """Find out before the work whether a file can be written there, by trying a small draft.

    Args:
        path: of the file to come.
        size: how many bytes it will have, as far as is known; so many must be free.

    Raises: as :func:`write_whole`, and OSError: "model.safetensors cannot be written: it takes 343,219,400
        bytes, 65,536 are free".
    """
    place = _place(path)
    _check_place(path, place)
    with _named(path), _draft(place) as (draft, _):
        with open(draft, "wb") as file:
            file.write(bytes(PROBE))
            file.flush()
            os.fsync(file.fileno())
        free = shutil.disk_usage(place.parent).free + PROBE
    if free < size:
        raise OSError(f"{path} cannot be written: it takes {size:,} bytes, {free:,} are free")


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
    if place.exists() and not place.is_dir():
        raise NotADirectoryError(f"{folder} is a file, a folder was wanted")
    with _named(folder):
        place.parent.mkdir(parents=True, exist_ok=True)
        with _draft(place) as (draft, _):
            new = _part(draft, ".new")
            build(new)
            _put_in_place(new, place, _part(draft, ".old"))


def _place(path: str | os.PathLike) -> Path:
    """Where the file really lies: who writes to a link means what it points to."""
    return Path(os.path.realpath(path) if os.path.islink(path) else path)


def _check_place(path: str | os.PathLike, place: Path) -> None:
    if not place.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {place.parent} to write {place.name} into")
    if place.is_dir():
        raise IsADirectoryError(f"{path} is a folder, a file was wanted")
    if place.exists() and not place.is_file():
        raise OSError(f"{path} is a device or a pipe, a file was wanted")
    if place.exists() and not os.access(place, os.W_OK):
        raise PermissionError(f"{path} cannot be written: it is read-only")


@contextmanager
def _named(path: str | os.PathLike) -> Iterator[None]:
    """Say which file could not be written, and not which draft; what fails elsewhere names itself."""
    try:
        yield
    except OSError as error:
        elsewhere = error.filename is not None and ".draft-" not in str(error.filename)
        if elsewhere or type(error).__module__ != "builtins":
            raise
        raise type(error)(f"{path} cannot be written: {error.strerror or error}") from error


@contextmanager
def _draft(place: Path) -> Iterator[tuple[Path, int]]:
    """Give a draft and its lock; what is left of the draft is removed afterwards."""
    _clear(place.parent)
    while True:
        draft = place.with_name(f".draft-{secrets.token_hex(8)}-{place.name}")
        lock = None
        try:
            lock = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666)
            _lock(lock)
            if draft.exists():  # or another writer took it for a dead one's, before it was locked
                yield draft, lock
                return
        finally:
            if fcntl is None:
                _release(lock)
            _remove(draft, place)
            _release(lock)


def _lock(file: int, *, wait: bool = True) -> None:
    if fcntl is None:
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except OSError:
        if not wait:
            raise


def _release(lock: int | None) -> None:
    if lock is not None:
        with suppress(OSError):  # closed already
            os.close(lock)


def _clear(folder: Path) -> None:
    """Remove the drafts of dead writers."""
    try:
        entries = list(os.scandir(folder))
    except OSError:  # a folder may let its files be written and not be listed
        return
    for entry in entries:
        found = DRAFT.fullmatch(entry.name)
        if found and not found["part"]:
            with suppress(OSError):  # its writer lives, or nothing can be known
                _clear_away(Path(entry.path), folder / found["name"])


def _clear_away(draft: Path, place: Path) -> None:
    if fcntl is None:
        draft.unlink()
        _remove(draft, place)
        return
    with open(draft, "rb+") as left:
        _lock(left.fileno(), wait=False)
        _remove(draft, place)


def _remove(draft: Path, place: Path) -> None:
    """Remove a draft; a folder that had stepped aside for it, and for nothing, goes back."""
    new, old = _part(draft, ".new"), _part(draft, ".old")
    if old.exists() and not place.exists():
        old.rename(place)
    for folder in (new, old):
        shutil.rmtree(folder, ignore_errors=True)
    with suppress(OSError):
        draft.unlink()


def _part(draft: Path, ending: str) -> Path:
    return draft.with_name(draft.name + ending)


def _replace(draft: Path, place: Path, lock: int) -> None:
    if fcntl is not None:
        os.replace(draft, place)
        return
    _release(lock)
    for _ in range(PATIENCE):
        with suppress(PermissionError):
            os.replace(draft, place)
            return
        time.sleep(0.02)
    os.replace(draft, place)


def _put_in_place(new: Path, place: Path, old: Path) -> None:
    while True:
        if place.exists() and _exchange(new, place):
            return
        shutil.rmtree(old, ignore_errors=True)
        with suppress(FileNotFoundError):
            place.rename(old)
        try:
            new.rename(place)
            return
        except OSError as error:  # another writer was quicker: take its folder away and try again
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise


def _exchange(one: Path, other: Path) -> bool:
    """Exchange two folders at one stroke; False where the system, or the disk, does not know how."""
    one, other = os.fsencode(one), os.fsencode(other)
    try:
        if sys.platform == "linux":
            return ctypes.CDLL(None).renameat2(FROM_HERE, one, FROM_HERE, other, RENAME_EXCHANGE) == 0
        if sys.platform == "darwin":
            return ctypes.CDLL(None).renamex_np(one, other, RENAME_EXCHANGE) == 0
    except AttributeError:
        pass
    return False
