"""What torch.jit.save wrote, as OpenAI published CLIP: a tree of modules, read as data and never run.

Such an archive holds a pickle of its modules, the numbers of each tensor, and code, which nobody opens here
(pytorch's ``torch/csrc/jit/docs/serialization.md``; the layout is that of 2021 and of today). The steps of
the pickle are taken below and not by pickle: they make modules, dictionaries and notes of where a tensor
lies, and can call nothing.
"""

import re
import zipfile
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from vit_steps.files.reading import LONGEST_AXIS, MOST_AXES, MOST_TENSORS, shown
from vit_steps.pretrained.archives import check_unpacked, fill, members_of, size_of
from vit_steps.pretrained.pickles import MOST_NESTING, MOST_STEPS, steps_of

OF_CLIP = "visual.conv1.weight"
LONGEST_NAME = 200  # letters of an attribute
LOOKED_AT = r"data\.pkl|data/.+|byteorder"
KINDS = {"Half": torch.float16, "BFloat16": torch.bfloat16, "Float": torch.float32, "Double": torch.float64}
KINDS |= {"Long": torch.int64, "Int": torch.int32, "Short": torch.int16, "Char": torch.int8}
KINDS |= {"Byte": torch.uint8, "Bool": torch.bool}
# What is no tensor and no module, and so no weight: lists of numbers, a device.
NO_WEIGHTS = {f"torch.jit._pickle build_{kind}list" for kind in ("int", "double", "bool", "tensor")}
NO_WEIGHTS |= {"torch.jit._pickle restore_type_tag", "torch device"}
VALUES = {"BINUNICODE", "BININT", "BININT1", "BININT2", "LONG1", "BINFLOAT"}
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Global(NamedTuple):
    """A name that the pickle would have imported."""

    name: str


class Module:
    """A module of the archive: the name of its class, and its attributes."""

    def __init__(self, kind: str):
        self.kind, self.attributes = kind, {}


class Storage(NamedTuple):
    """Numbers side by side, in a file of the archive."""

    key: str
    dtype: torch.dtype
    count: int


class Stored(NamedTuple):
    """A tensor, and where in a storage it lies."""

    storage: Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def on_meta(self) -> Tensor:
        """Give the tensor without its numbers."""
        return torch.empty_strided(self.shape, self.strides, dtype=self.storage.dtype, device="meta")

    def within(self, memory: Tensor) -> Tensor:
        """Give the tensor as a view of its storage's bytes."""
        return memory.view(self.storage.dtype).as_strided(self.shape, self.strides, self.offset)


class Scripted(NamedTuple):
    """What the archive says of its weights.

    Attributes:
        shapes: name -> tensor without numbers, on the meta device.
        read: name -> tensor in memory of the archive's own making.
    """

    shapes: dict[str, Tensor]
    read: Callable[[], dict[str, Tensor]]


def folder_of_module(file: BufferedReader) -> str | None:
    """Name the folder in which a zip archive of torch.jit's lies; None for the archives of others.

    It is known by the constants of its code, which torch.save keeps nowhere.
    """
    folders = [each.filename.partition("/") for each in members_of(file)]
    return next((folder for folder, _, name in folders if name == "constants.pkl"), None)


def open_scripted(path: Path, file: BufferedReader, folder: str) -> Scripted:
    """Read which weights OpenAI's archive of a CLIP holds, of which only data and data.pkl are looked at.

    Raises:
        ValueError: "vit.pt holds the module __torch__.ResNet with its code, ...", "Unsupported global:
            GLOBAL os.mkdir", or it is built as no such archive is.
    """
    members = {each.filename.removeprefix(f"{folder}/"): each for each in members_of(file)}
    members = {name: each for name, each in members.items() if re.fullmatch(LOOKED_AT, name)}
    check_unpacked([*members.values()], size_of(file))
    archive = zipfile.ZipFile(file)
    _check_layout(archive, members)
    with archive.open(members["data.pkl"]) as steps:
        module = _module_of(steps)
    found = _flat(module)
    if OF_CLIP not in found:
        raise ValueError(_why_no_clip(path, module))
    for name, each in found.items():
        _check_inside(name, each, members)
    shapes = {name: each.on_meta() for name, each in found.items()}
    return Scripted(shapes, lambda: _read(archive, found, members))


def _why_no_clip(path: Path, module: Module) -> str:
    return (
        f"{shown(path)} holds the module {shown(module.kind):.80} with its code, as torch.jit.save does; "
        "of such files only OpenAI's CLIP is read here: save the module's state_dict() instead"
    )


def _check_layout(archive: zipfile.ZipFile, members: dict[str, zipfile.ZipInfo]) -> None:
    if "data.pkl" not in members:
        raise ValueError("it has the constants of a module and no module")
    if any(each.compress_type != zipfile.ZIP_STORED for each in members.values()):
        raise ValueError("it is packed, and torch.jit packs nothing but code")
    if "byteorder" in members:
        with archive.open(members["byteorder"]) as file:
            if file.read(9) != b"little":
                raise ValueError("its numbers do not have their smallest byte first")


# The pickle: one method for each kind of step.


class _Machine:
    """Takes the steps that torch.jit writes; any other is refused."""

    def __init__(self):
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[Any, Any] = {}

    def take(self, name: str, argument: Any) -> None:
        if name in VALUES:
            self.stack.append(argument)
        elif name in CONSTANTS:
            self.stack.append(CONSTANTS[name])
        elif name == "GLOBAL":
            self.stack.append(Global(argument))
        elif name in TUPLES:
            self.stack[-TUPLES[name] :] = [tuple(self.stack[-TUPLES[name] :])]
        elif step := getattr(self, f"_{name.lower()}", None):
            step(argument)
        elif name not in ("PROTO", "STOP"):
            raise ValueError(f"it takes a step that torch.jit.save never does, {name}")

    def _empty_dict(self, _: None) -> None:
        self.stack.append({})

    def _empty_list(self, _: None) -> None:
        self.stack.append([])

    def _mark(self, _: None) -> None:
        self.marks.append(len(self.stack))

    def _since_mark(self) -> list[Any]:
        place = self.marks.pop()
        items = self.stack[place:]
        del self.stack[place:]
        return items

    def _tuple(self, _: None) -> None:
        self.stack.append(tuple(self._since_mark()))

    def _binput(self, place: int) -> None:
        self.memo[place] = self.stack[-1]

    _long_binput = _binput

    def _binget(self, place: int) -> None:
        self.stack.append(self.memo[place])

    _long_binget = _binget

    def _appends(self, _: None) -> None:
        items = self._since_mark()
        _as(list, self.stack[-1]).extend(items)

    def _setitems(self, _: None) -> None:
        items = self._since_mark()
        _as(dict, self.stack[-1]).update(zip(map(_key, items[::2]), items[1::2], strict=True))

    def _newobj(self, _: None) -> None:
        arguments, kind = self.stack.pop(), _as(Global, self.stack.pop()).name
        if not kind.startswith("__torch__") or arguments != ():
            raise ValueError(_unsupported(kind))
        self.stack.append(Module(kind.replace(" ", ".")))

    def _build(self, _: None) -> None:
        state, module = self.stack.pop(), _as(Module, self.stack[-1])
        if not isinstance(state, dict):
            raise ValueError(f"its module {module.kind:.80} keeps its state in a way of its own")
        module.attributes = state

    def _binpersid(self, _: None) -> None:
        said, kind, key, _, count, *view = self.stack.pop()
        dtype = KINDS.get(_as(Global, kind).name.removeprefix("torch ").removesuffix("Storage"))
        if said != "storage" or dtype is None or view not in ([], [None]):
            raise ValueError(_unsupported(kind.name))
        self.stack.append(Storage(_as(str, key), dtype, _as(int, count)))

    def _reduce(self, _: None) -> None:
        arguments, name = _as(tuple, self.stack.pop()), _as(Global, self.stack.pop()).name
        if name == "torch._utils _rebuild_tensor_v2":
            storage, offset, shape, strides, *_ = arguments
            self.stack.append(Stored(_as(Storage, storage), offset, shape, strides))
        elif name in NO_WEIGHTS or (name == "collections OrderedDict" and arguments == ()):
            self.stack.append(None)
        else:
            raise ValueError(_unsupported(name))


def _as(kind: type, value: Any) -> Any:
    if not isinstance(value, kind):
        raise ValueError(f"its steps give {type(value).__name__} where {kind.__name__} is wanted")
    return value


def _key(name: Any) -> Any:
    return name if isinstance(name, (int, float)) else _as(str, name)  # a tuple may take a year to hash


def _unsupported(name: str) -> str:
    return f"Unsupported global: GLOBAL {name.replace(' ', '.'):.80}"


def _module_of(file: Any) -> Module:
    machine = _Machine()
    try:
        for name, argument in steps_of(file):
            machine.take(name, argument)
        if len(machine.stack) > 1:
            raise IndexError
    except (IndexError, KeyError, TypeError):
        raise ValueError("its steps do not follow from one another") from None
    return _as(Module, machine.stack[0])


# The tree of modules, as state_dict() would give it.


def _flat(root: Module) -> dict[str, Stored]:
    """Name each tensor by the modules around it, as many as a tree that bites its own tail may have."""
    found: dict[str, Stored] = {}
    waiting, seen = [("", root)], 0
    while waiting:
        prefix, module = waiting.pop()
        seen += len(module.attributes)
        if seen > MOST_STEPS or len(found) + len(waiting) > MOST_TENSORS or prefix.count(".") > MOST_NESTING:
            raise ValueError("its modules lie in one another too deeply, or are too many")
        for name, value in module.attributes.items():
            if isinstance(value, Module):
                waiting.append((f"{prefix}{_checked(name)}.", value))
            elif isinstance(value, Stored):
                found[prefix + _checked(name)] = value
    return found


def _checked(name: Any) -> str:
    if not isinstance(name, str) or "." in name or not 0 < len(name) <= LONGEST_NAME:
        raise ValueError(f"no attribute of a module can be called {name!r:.80}")
    return name


# The numbers.


def _check_inside(name: str, stored: Stored, members: dict[str, zipfile.ZipInfo]) -> None:
    storage, steps = stored.storage, (stored.shape, stored.strides, (stored.offset,))
    if not all(map(_are_steps, steps)) or len(stored.shape) != len(stored.strides):
        raise ValueError(f"{name!r:.80} has a shape that no tensor has")
    file = members.get(f"data/{storage.key}")
    if file is None or storage.count * storage.dtype.itemsize != file.file_size:
        raise ValueError(f"{name!r:.80} is of {storage.count} numbers, and its file is not")
    last = stored.offset + sum((side - 1) * step for side, step in zip(*steps[:2], strict=True))
    if 0 not in stored.shape and last >= storage.count:
        raise ValueError(f"{name!r:.80} of shape {stored.shape!r:.80} ends behind its numbers")


def _are_steps(numbers: Any) -> bool:
    if type(numbers) is not tuple or len(numbers) > MOST_AXES:
        return False
    return all(type(each) is int and 0 <= each <= LONGEST_AXIS for each in numbers)


def _read(
    archive: zipfile.ZipFile, found: dict[str, Stored], members: dict[str, zipfile.ZipInfo]
) -> dict[str, Tensor]:
    numbers = {
        key: _unpacked(archive, members[f"data/{key}"]) for key in {s.storage.key for s in found.values()}
    }
    return {name: each.within(numbers[each.storage.key]) for name, each in found.items()}


def _unpacked(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> Tensor:
    memory = torch.empty(member.file_size, dtype=torch.uint8)
    with archive.open(member) as file:
        fill(file, memoryview(memory.numpy()))
    return memory
