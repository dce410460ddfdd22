"""What a file that torch.save wrote asks for, read off its steps before torch takes any of them.

``torch.load(weights_only=True)`` runs no foreign code, but it takes as many steps as a file says, and among
what it allows are three million lists in one another and ``bytearray(80_000_000_000)``. Not here.
"""

import pickletools
from collections.abc import Iterator
from io import BufferedIOBase

import torch

MOST_STEPS = 300_000  # a tensor takes about 30, a DINO with both its networks 50,000
MOST_BYTES = 8 * 2**20
MOST_NESTING = 12
NEEDED = {
    *(
        "collections OrderedDict",
        "torch Size",
        "torch Tensor",
        "torch device",
        "torch.nn.parameter Parameter",
    ),
    *("torch.serialization _get_layout", "torch._tensor _rebuild_from_type_v2"),
    *(f"torch.storage {name}" for name in ("UntypedStorage", "TypedStorage", "_LegacyStorage")),
    *(f"torch {kind.__name__}" for kind in torch._storage_classes),
}


class Limited:
    """A file that gives so many bytes and then says that it is too long."""

    def __init__(self, file: BufferedIOBase, most: int):
        self.file, self.left = file, most

    def read(self, count: int = -1) -> bytes:
        """Read as a file does."""
        return self._count(self.file.read(count if 0 <= count <= self.left else self.left + 1))

    def readline(self) -> bytes:
        """Read as a file does."""
        return self._count(self.file.readline(self.left + 1))

    def _count(self, content: bytes) -> bytes:
        self.left -= len(content)
        if self.left < 0:
            raise ValueError(f"it has more than {MOST_BYTES:,} bytes")
        return content


def steps_of(file: BufferedIOBase, pickles: int = 1) -> Iterator[tuple[str, object]]:
    """Give the steps of so many pickles, one after another, each with its argument.

    Raises:
        ValueError: "it describes its tensors in more than 300,000 steps", "it has more than 8,388,608 bytes",
            or it is no pickle.
    """
    for number, step in enumerate(_steps(Limited(file, MOST_BYTES), pickles)):
        if number == MOST_STEPS:
            raise ValueError(f"it describes its tensors in more than {MOST_STEPS:,} steps")
        yield step


def check_steps(file: BufferedIOBase, pickles: int = 1) -> None:
    """Read through so many pickles, one after another, and take none of their steps.

    Raises:
        ValueError: "it asks for GLOBAL os mkdir, ...", or it is longer than any file of weights, or is none.
    """
    nesting = _Nesting()
    for name, argument in steps_of(file, pickles):
        nesting.look_at(name, argument)
        if name in ("GLOBAL", "INST", "STACK_GLOBAL") and not _is_needed(argument):
            raise ValueError(f"Unsupported global: GLOBAL {str(argument).replace(' ', '.'):.80}")


class _Nesting:
    """Counts how deep tuples lie in tuples: forty pairs, each of the last one twice, take a year to hash."""

    def __init__(self):
        self.depths, self.deepest, self.tuple_on_top = {}, 0, False

    def look_at(self, name: str, argument: object) -> None:
        """Follow one step.

        Raises:
            ValueError: "it nests tuples too deeply", or it takes a step that torch.save never does.
        """
        if name in ("DUP", "POP", "POP_MARK"):
            raise ValueError(f"it takes a step that torch.save never does, {name}")
        if name.endswith("PUT"):
            if self.tuple_on_top:
                self.depths[argument] = self.deepest + 1
            return
        if name.endswith("GET"):
            self.deepest = max(self.deepest, self.depths.get(argument, 0))
        self.tuple_on_top = "TUPLE" in name or (name.endswith("GET") and argument in self.depths)
        if self.deepest > MOST_NESTING:
            raise ValueError("it nests tuples too deeply")


def _steps(file: Limited, pickles: int) -> Iterator[tuple[str, object]]:
    for _ in range(pickles):
        try:
            for step, argument, _ in pickletools.genops(file):
                yield step.name, argument
        except ValueError as error:
            said = str(error).replace("pickle exhausted", "it ends")
            raise ValueError(f"what it says of its tensors cannot be read, {said}") from None


def _is_needed(name: object) -> bool:
    if not isinstance(name, str):
        return False
    module, _, word = name.partition(" ")
    return (
        name in NEEDED
        or (module == "torch._utils" and word.startswith("_rebuild_"))
        or (module == "torch" and isinstance(getattr(torch, word, None), (torch.dtype, torch.qscheme)))
    )
