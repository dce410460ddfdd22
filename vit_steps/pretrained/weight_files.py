"""What is in a file of weights: the shapes first, and the numbers when somebody who saw them asks again."""

import math
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from vit_steps.files.reading import (
    MOST_JSON,
    open_file,
    open_safetensors,
    parse_json,
    shown,
)
from vit_steps.pretrained.archives import check_unpacked, fill, members_of, size_of
from vit_steps.pretrained.dialects import SETS
from vit_steps.pretrained.pickles import check_steps
from vit_steps.pretrained.scripted import folder_of_module, open_scripted

MOST_UNPACKING = 8  # trained weights hardly shrink at all
SMALL = 16 * 2**20  # bytes that may come of nothing, such as a table of zeros
MOST_SHARDS = 1000
MOST_SETS = 4  # one in the other; timm's files of 2020 have "model" in "state_dict"
INDEX = ".index.json"
BFLOAT16 = np.dtype("V2")  # numpy has no such numbers, and calls them two bytes
NPY_HEADER = (1, 0)  # its version; later ones are for what no weights have


class WeightFile(NamedTuple):
    """A file of weights that is open.

    Attributes:
        shapes: name -> tensor without numbers, on the meta device.
        metadata: what a safetensors file says beside its tensors.
        read: name -> tensor in memory of its own; to be called before the file is closed.
        assumed: what was chosen where the file holds several things, a sentence for each.
    """

    shapes: dict[str, Tensor]
    metadata: dict[str, str]
    read: Callable[[], dict[str, Tensor]]
    assumed: tuple[str, ...] = ()


def opener_of(path: Path) -> Callable[[Path, BufferedReader], WeightFile] | None:
    """Give what opens a file of this name, or None where its ending is none of ``OPENERS``."""
    return next((opener for ending, opener in OPENERS.items() if path.name.endswith(ending)), None)


@contextmanager
def open_weights(path: Path) -> Iterator[WeightFile]:
    """Open a file of weights, of whichever kind its name says.

    Raises:
        ValueError: "vit.pth is damaged or cut short: ...", "vit.pth holds more than numbers, and nothing in
            it was run: ...".
        FileNotFoundError, IsADirectoryError, PermissionError: as open_file.
    """
    with open_file(path) as file:
        with _refusing(path):
            weights = _opener(path)(path, file)
        yield weights._replace(read=lambda: _read(path, weights))


def _opener(path: Path) -> Callable[[Path, BufferedReader], WeightFile]:
    opener = opener_of(path)
    if opener is None:
        raise ValueError(f"it is none of the files that are read here ({', '.join(OPENERS)})")
    return opener


def _read(path: Path, weights: WeightFile) -> dict[str, Tensor]:
    with _refusing(path):
        return weights.read()


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    try:
        yield
    except (FileNotFoundError, PermissionError, MemoryError):
        raise
    except Exception as error:  # a file that is cut short or forged can fail anywhere in its reader
        raise ValueError(damaged(path, error)) from error


def damaged(path: Path, error: Exception) -> str:
    """Say in one line, which names the file, what its reader complains of."""
    text, name = str(error) or type(error).__name__, shown(path)
    if text.startswith(name):
        return text
    forbidden = re.search(r"Unsupported (?:global|class|operand)[^.\n]*\S*|GLOBAL \S+", text)
    if forbidden or "weights_only" in text or "pickle" in text.lower():
        what = forbidden[0] if forbidden else text.split("\n")[0]
        return f"{name} holds more than numbers, and nothing in it was run: {shown(what):.200}"
    return f"{name} is damaged or cut short: {shown(text.strip().split(chr(10))[0]):.200}"


def _open_safetensors(path: Path, file: BufferedReader) -> WeightFile:
    header, read = open_safetensors(file, path)
    return WeightFile(
        {name: _shape(each.shape, each.dtype) for name, each in header.entries.items()}, header.metadata, read
    )


def _open_shards(path: Path, file: BufferedReader) -> WeightFile:
    """The index of weights that lie in several files, as transformers writes it."""
    places = _places(file, path)
    shards = [path.with_name(name) for name in sorted(set(places.values()))]
    shapes: dict[str, Tensor] = {}
    for shard in shards:
        with open_weights(shard) as weights:
            _check_shard(shard.name, weights.shapes, places)
            shapes |= weights.shapes
    return WeightFile(shapes, {}, lambda: _read_shards(shards))


def shards_of(path: Path) -> list[str]:
    """Name the files that an index sends to, each of which lies beside it.

    Raises:
        ValueError: "model.safetensors.index.json is damaged or cut short: it sends to '../other', which ...".
    """
    with open_file(path) as file, _refusing(path):
        return sorted(set(_places(file, path).values()))


def _read_shards(shards: list[Path]) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = {}
    for shard in shards:
        with open_weights(shard) as weights:
            tensors |= weights.read()
    return tensors


def _places(file: BufferedReader, path: Path) -> dict[str, str]:
    """Tensor -> the file that it lies in; the file lies beside the index, and is no index itself."""
    index = parse_json(file.read(MOST_JSON + 1).decode(), path, "index of weights")
    places = index.get("weight_map")
    if not isinstance(places, dict) or not places:
        raise ValueError("its 'weight_map' does not say which tensor lies in which file")
    for name in set(map(str, places.values())):
        if Path(name).name != name or name.endswith(INDEX) or opener_of(Path(name)) is None:
            raise ValueError(f"it sends to {name!r:.80}, which is no file of weights beside it")
    if len(set(places.values())) > MOST_SHARDS:
        raise ValueError(f"it sends to more than {MOST_SHARDS:,} files")
    return places


def _check_shard(name: str, shapes: dict[str, Tensor], places: dict[str, str]) -> None:
    said = {key for key, place in places.items() if place == name}
    if other := sorted(said ^ set(shapes)):
        raise ValueError(f"it and {name!r:.80} do not agree where {other[0]!r:.80} is")


def _shape(shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
    return torch.empty(shape, dtype=dtype, device="meta")


# Archives of numpy and of torch: both are zip files.


def _open_npz(path: Path, file: BufferedReader) -> WeightFile:
    if not zipfile.is_zipfile(file):
        raise ValueError("it is no whole zip archive")
    members = members_of(file)
    check_unpacked(members, MOST_UNPACKING * size_of(file) + SMALL)
    archive = zipfile.ZipFile(file)
    arrays = {each.filename.removesuffix(".npy"): _Array.of(archive, each) for each in members}
    shapes = {name: _shape(each.shape, _dtype(each.dtype)) for name, each in arrays.items()}
    return WeightFile(shapes, {}, lambda: {name: each.read(archive) for name, each in arrays.items()})


class _Array(NamedTuple):
    """An array in an npz archive, of which only the header was read."""

    member: zipfile.ZipInfo
    start: int
    shape: tuple[int, ...]
    columns_first: bool
    dtype: np.dtype

    @classmethod
    def of(cls, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> "_Array":
        """Read its header."""
        with archive.open(member) as file:
            if np.lib.format.read_magic(file) != NPY_HEADER:
                raise ValueError(f"{member.filename!r:.80} has a header that no array of numbers needs")
            shape, columns_first, dtype = np.lib.format.read_array_header_1_0(file)
            start = file.tell()
        if dtype.hasobject:
            raise ValueError("Object arrays hold a pickle")
        if any(side < 0 for side in shape) or math.prod(shape) * dtype.itemsize != member.file_size - start:
            raise ValueError(f"{member.filename!r:.80} of shape {shape!r:.80} has not the bytes for it")
        return cls(member, start, shape, columns_first, dtype)

    def read(self, archive: zipfile.ZipFile) -> Tensor:
        """Unpack it into memory of its own."""
        dtype = _dtype(self.dtype)
        if dtype.itemsize != self.dtype.itemsize:
            raise ValueError(f"{self.member.filename!r:.80} holds {self.dtype}, and no numbers")
        tensor = torch.empty(self.shape[::-1] if self.columns_first else self.shape, dtype=dtype)
        array = (tensor.view(torch.int16) if dtype == torch.bfloat16 else tensor).numpy()
        with archive.open(self.member) as file:
            file.read(self.start)
            fill(file, memoryview(array.reshape(-1).view(np.uint8)))
        if not self.dtype.isnative:
            array.byteswap(inplace=True)
        return tensor.permute(*range(tensor.ndim)[::-1]) if self.columns_first else tensor


def _dtype(dtype: np.dtype) -> torch.dtype:
    if dtype == BFLOAT16:
        return torch.bfloat16
    try:
        return torch.from_numpy(np.empty(0, dtype.newbyteorder("="))).dtype
    except TypeError:
        return torch.bool  # no number that a weight could be; refused by name where all names are known


def _open_torch(path: Path, file: BufferedReader) -> WeightFile:
    is_zip = _starts(file, b"PK\x03\x04")
    if is_zip and (folder := folder_of_module(file)) is not None:
        return _open_scripted(path, file, folder)
    size = _check_zip(file) if is_zip else _check_old(file)
    shapes, assumed = _choose(_load(file, "meta"))
    if isinstance(shapes, dict):
        _check_extent(shapes, size)
    return WeightFile(shapes, {}, lambda: _choose(_load(file, "cpu"))[0], assumed)


def _open_scripted(path: Path, file: BufferedReader, folder: str) -> WeightFile:
    scripted = open_scripted(path, file, folder)
    _check_extent(scripted.shapes, size_of(file))
    return WeightFile(scripted.shapes, {}, scripted.read)


def _starts(file: BufferedReader, magic: bytes) -> bool:
    file.seek(0)
    return file.read(len(magic)) == magic


def _check_zip(file: BufferedReader) -> int:
    members = members_of(file)
    if any(each.compress_type != zipfile.ZIP_STORED for each in members):
        raise ValueError("it is packed, and torch.save packs nothing")
    size = size_of(file)
    check_unpacked(members, size)
    with zipfile.ZipFile(file) as archive:
        for member in members:
            if member.filename.endswith("data.pkl"):
                with archive.open(member) as steps:
                    check_steps(steps)
    return size


def _check_old(file: BufferedReader) -> int:
    """Before torch 1.6: a magic number, a version, a machine, the content, the names of its storages."""
    file.seek(0)
    check_steps(file, pickles=5)
    return size_of(file)


def _load(file: BufferedReader, device: str) -> object:
    file.seek(0)
    return torch.load(file, map_location=device, weights_only=True)


def _choose(content: Any) -> tuple[Any, tuple[str, ...]]:
    """The set of weights that is read of those that a file holds, and what to say where there are several."""
    assumed: list[str] = []
    for _ in range(MOST_SETS):
        sets = [key for key in SETS if isinstance(content, dict) and isinstance(content.get(key), dict)]
        if not sets:
            break
        content = content[sets[0]]
        if len(sets) > 1:
            others = " and ".join(map(repr, sets[1:]))
            assumed.append(f"of the sets of weights in it, {sets[0]!r} is taken and not {others}")
    return content, tuple(assumed)


def _check_extent(content: dict, size: int) -> None:
    """Refuse tensors of more numbers than the file has: rows that are one and the same row."""
    tensors = [each for each in content.values() if isinstance(each, Tensor)]
    for name, each in content.items():
        if isinstance(each, Tensor) and each.layout != torch.strided:
            raise ValueError(f"{name!r:.80} is {each.layout}, not written out")
    wanted = sum(each.numel() * each.itemsize for each in tensors)
    if wanted > size:
        raise ValueError(f"its tensors take {wanted:,} bytes, the file has {size:,}")


OPENERS = {
    ".safetensors": _open_safetensors,
    ".npz": _open_npz,
    ".pth": _open_torch,
    ".pt": _open_torch,
    ".bin": _open_torch,
    ".ckpt": _open_torch,
    ".pth.tar": _open_torch,
    INDEX: _open_shards,
}
