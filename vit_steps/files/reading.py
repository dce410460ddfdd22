"""Files read within limits: what is no file, too large, cut short or forged is refused soon, and by name.

Tensors come in memory of their own, aligned as torch aligns its own, and not mapped on the file: whoever
overwrites or cuts the file afterwards changes nothing, and on every machine the same numbers give the same
bits. The safetensors library maps, or (from 0.8, with its backend "pread") reads into memory at odd places.
"""

import hashlib
import json
import math
import os
import stat
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from typing import Any, NamedTuple, NoReturn

import torch
from torch import Tensor

MOST_JSON = (
    4 * 2**20
)  # bytes; the largest config known here, with the names of 21,843 classes, has half of that
MOST_TENSORS = 10_000  # a run of a ViT-g, with its optimizer, has a third of that
MOST_DIGITS = 19
MOST_AXES, LONGEST_AXIS = 8, 2**40
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "F8_E4M3": torch.float8_e4m3fn,
    "F8_E5M2": torch.float8_e5m2,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
    "C64": torch.complex64,
}


class Entry(NamedTuple):
    """Where a tensor lies in a file, counted in bytes from the end of the header."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    begin: int
    end: int


class Header(NamedTuple):
    """What a safetensors file says before its numbers; ``start`` is the byte where they begin."""

    entries: dict[str, Entry]
    metadata: dict[str, str]
    start: int


def shown(path: str | bytes | os.PathLike) -> str:
    r"""Write a path for a message: what a terminal would obey, such as colours, becomes ``\x1b``."""
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii")
        for each in os.fsdecode(path)
    )


@contextmanager
def naming(path: str | os.PathLike) -> Iterator[None]:
    """Put the name of the file before what is said of what stands in it.

    Raises:
        KeyError, TypeError: "model.safetensors: ..." in place of the same without the file.
        ValueError: in place of all others that a wrong number, or too large a one, leads to.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError, ArithmeticError, RuntimeError) as error:
        kind = next((kind for kind in (KeyError, TypeError) if isinstance(error, kind)), ValueError)
        said = str(error.args[0] if error.args else type(error).__name__).split("\n")[0]
        raise kind(f"{shown(path)}: {said}") from error


def open_file(path: str | os.PathLike) -> BufferedReader:
    """Open a file to read its bytes. A FIFO would wait for ever and a device never ends: both are refused.

    Raises:
        FileNotFoundError: "there is no file model.safetensors".
        IsADirectoryError: "model.safetensors is a folder, a file was wanted".
        PermissionError: "model.safetensors may not be read".
        ValueError: "model.safetensors is a FIFO, a device or a socket, a file was wanted", or it cannot be
            opened for another reason, such as links that run in a circle.
    """
    try:
        kind = os.stat(path).st_mode
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(f"{shown(path)} is a folder, a file was wanted")
        if not stat.S_ISREG(kind):
            raise ValueError(f"{shown(path)} is a FIFO, a device or a socket, a file was wanted")
        return open(path, "rb", opener=_without_waiting)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {shown(path)}") from None
    except PermissionError:
        raise PermissionError(f"{shown(path)} may not be read") from None
    except IsADirectoryError:
        raise
    except OSError as error:
        raise ValueError(f"{shown(path)} cannot be opened: {error.strerror or error}") from None


def _without_waiting(path: str, flags: int) -> int:
    """Should a FIFO have taken the file's place since it was looked at, nobody waits for its writer."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def read_json(path: str | os.PathLike, what: str = "JSON") -> dict[str, Any]:
    """Read a JSON object from a file.

    Args:
        path: of the file.
        what: what it is to the reader, for the messages.

    Raises:
        ValueError: "config.json is no JSON: ...", "config.json must hold a JSON object, not list", or it is
            larger than ``MOST_JSON``.
        FileNotFoundError, IsADirectoryError, PermissionError: as :func:`open_file`.
    """
    with open_file(path) as file:
        content = _read_at_most(file, path, what)
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{shown(path)} is no {what}: {error}") from None
    return parse_json(text, path, what)


def _read_at_most(file: BufferedReader, path: str | os.PathLike, what: str) -> bytes:
    try:
        content = file.read(MOST_JSON + 1)
    except OSError as error:
        _fail_to_read(path, error)
    if len(content) > MOST_JSON:
        size = os.fstat(file.fileno()).st_size
        raise ValueError(f"{shown(path)} has {size:,} bytes, {what} has at most {MOST_JSON:,} here")
    return content


def parse_json(text: str, path: str | os.PathLike, what: str = "JSON") -> dict[str, Any]:
    """Make an object of JSON that stands in a file; numbers that are none and names given twice are refused.

    Raises:
        ValueError: "model.safetensors is no JSON: ...", "config.json must hold a JSON object, not list".
    """
    if len(text) > MOST_JSON:
        raise ValueError(f"{shown(path)} has {len(text):,} letters, {what} has at most {MOST_JSON:,} here")
    try:
        content = _parse(text)
    except ValueError as error:
        raise ValueError(f"{shown(path)} is no {what}: {error}") from None
    if not isinstance(content, dict):
        raise ValueError(f"{shown(path)} must hold a JSON object, not {type(content).__name__}")
    return content


def _parse(text: str) -> object:
    numbers = {"parse_float": _finite, "parse_constant": _finite, "parse_int": _whole}
    try:
        return json.loads(text, object_pairs_hook=_names_once, **numbers)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def _finite(number: str) -> float:
    if not math.isfinite(float(number)):
        raise ValueError(f"{number:.20} is no number that JSON can hold")
    return float(number)


def _whole(number: str) -> int:
    if len(number) > MOST_DIGITS:
        raise ValueError(f"it has a number of {len(number):,} digits")
    return int(number)


def _names_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise ValueError(f"it says {max(counts, key=counts.get)!r:.80} twice")
    return content


# Safetensors: eight bytes with the size of the header, the header as JSON, and the numbers one after another.


def read_safetensors(path: str | os.PathLike) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read all tensors of a file, and the metadata that stands in its header.

    Raises:
        ValueError: "model.safetensors is damaged, or no safetensors file: its header has 9,999,999,999 bytes,
            at most 4,194,304 are read here", or what else its header says that cannot be.
        FileNotFoundError, IsADirectoryError, PermissionError: as :func:`open_file`.
        MemoryError: it is whole, and larger than this machine.
    """
    with open_file(path) as file:
        header, read = open_safetensors(file, path)
        return read(), header.metadata


def open_safetensors(
    file: BufferedReader, path: str | os.PathLike
) -> tuple[Header, Callable[[], dict[str, Tensor]]]:
    """Read the header of an open file, and give with it what reads the numbers, for whoever still wants them.

    Raises: as :func:`read_safetensors`.
    """
    header = _read_header(file, path)

    def read() -> dict[str, Tensor]:
        file.seek(header.start)
        tensors = {name: _read_tensor(file, entry, path, name) for name, entry in _by_place(header)}
        return {name: tensors[name] for name in header.entries}

    return header, read


def read_metadata(path: str | os.PathLike) -> dict[str, str]:
    """Read the words that stand beside the tensors of a safetensors file.

    Raises: as :func:`read_safetensors`.
    """
    with open_file(path) as file:
        return _read_header(file, path).metadata


def _read_header(file: BufferedReader, path: str | os.PathLike) -> Header:
    size = os.fstat(file.fileno()).st_size
    start, text = _header_text(file, path, size)
    try:
        content = _parse(text.decode("utf-8"))
    except ValueError as error:
        _damaged(path, f"its header is no JSON, {error}")
    if not isinstance(content, dict):
        _damaged(path, f"its header is a {type(content).__name__}")
    metadata = content.pop("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(word, str) for word in metadata.values()):
        _damaged(path, "its metadata are no words")
    if len(content) > MOST_TENSORS:
        _damaged(path, f"it has {len(content):,} tensors, at most {MOST_TENSORS:,} are read here")
    header = Header({name: _entry(path, name, said) for name, said in content.items()}, metadata, start)
    _check_places(path, header, size)
    return header


def _header_text(file: BufferedReader, path: str | os.PathLike, size: int) -> tuple[int, bytes]:
    if size < 8:
        _damaged(path, f"it has {size} bytes, not even those that say how long its header is")
    (length,) = struct.unpack("<Q", _read_exactly(file, path, 8))
    if length > MOST_JSON:
        _damaged(path, f"its header has {length:,} bytes, at most {MOST_JSON:,} are read here")
    if 8 + length > size:
        _damaged(path, f"its header has {length:,} bytes, the whole file has {size:,}")
    return 8 + length, _read_exactly(file, path, length)


def _entry(path: str | os.PathLike, name: str, said: object) -> Entry:
    if not isinstance(said, dict) or said.keys() != {"dtype", "shape", "data_offsets"}:
        _damaged(path, f"{name!r:.80} is not described by dtype, shape and data_offsets")
    shape, places = said["shape"], said["data_offsets"]
    if not _are_sizes(shape) or len(shape) > MOST_AXES or not _are_sizes(places) or len(places) != 2:
        _damaged(path, f"{name!r:.80} has shape {shape!r:.80} at {places!r:.80}")
    if not isinstance(said["dtype"], str) or said["dtype"] not in DTYPES:
        raise ValueError(f"{shown(path)}: {name!r:.80} holds {said['dtype']!r:.20}, which is not read here")
    entry = Entry(DTYPES[said["dtype"]], tuple(shape), *places)
    if math.prod(shape) * entry.dtype.itemsize != entry.end - entry.begin:
        _damaged(path, f"{name!r:.80} of shape {entry.shape} cannot have {entry.end - entry.begin} bytes")
    return entry


def _are_sizes(numbers: object) -> bool:
    return isinstance(numbers, list) and all(
        type(number) is int and 0 <= number <= LONGEST_AXIS for number in numbers
    )


def _check_places(path: str | os.PathLike, header: Header, size: int) -> None:
    """The tensors must lie one after another and fill the file: no two share a byte, none is left over."""
    place = 0
    for name, entry in _by_place(header):
        if entry.begin != place:
            _damaged(path, f"{name!r:.80} begins at {entry.begin}, where {place} was due")
        place = entry.end
    if header.start + place != size:
        _damaged(path, f"it should have {header.start + place:,} bytes, it has {size:,}")


def _by_place(header: Header) -> list[tuple[str, Entry]]:
    return sorted(header.entries.items(), key=lambda pair: (pair[1].begin, pair[1].end))


def _read_tensor(file: BufferedReader, entry: Entry, path: str | os.PathLike, name: str) -> Tensor:
    tensor = _empty(entry, path, name)
    if entry.end > entry.begin:
        _fill(file, path, memoryview(tensor.reshape(-1).view(torch.uint8).numpy()))
    return tensor


def _empty(entry: Entry, path: str | os.PathLike, name: str) -> Tensor:
    try:
        return torch.empty(entry.shape, dtype=entry.dtype)
    except RuntimeError as error:
        said = f"{shown(path)}: {name!r:.80} of shape {entry.shape} does not fit into memory"
        raise MemoryError(said) from error


def _read_exactly(file: BufferedReader, path: str | os.PathLike, count: int) -> bytes:
    content = bytearray(count)
    _fill(file, path, memoryview(content))
    return bytes(content)


def _fill(file: BufferedReader, path: str | os.PathLike, memory: memoryview) -> None:
    """Read until it is full: one call reads at most 2 GB on Linux."""
    done = 0
    while done < len(memory):
        try:
            count = file.readinto(memory[done:])
        except OSError as error:
            _fail_to_read(path, error)
        if not count:
            _damaged(path, f"it ends {len(memory) - done:,} bytes too soon")
        done += count


def _damaged(path: str | os.PathLike, why: str) -> NoReturn:
    raise ValueError(f"{shown(path)} is damaged, or no safetensors file: {why}")


def _fail_to_read(path: str | os.PathLike, error: OSError) -> NoReturn:
    raise ValueError(f"{shown(path)} cannot be read: {error.strerror or error}") from None


def digest(tensors: dict[str, Tensor], header: dict[str, Any] | None = None) -> str:
    """SHA-256 of a header and of all names, shapes and bytes of tensors."""
    total = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()
