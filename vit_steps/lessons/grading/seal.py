"""What the checks stand on, noted before a notebook runs and put back after it: torch, Python, this package.

A notebook that replaces ``torch.allclose`` or a check, by mistake or on purpose, is graded by what was there
before, and the change is named.
"""

import sys
from collections.abc import Iterator
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import torch
from torch import nn

PLACES = (
    *("builtins", "contextlib", "functools", "inspect", "io", "json", "math", "os", "sys", "time", "typing"),
    *("torch", "torch.autograd", "torch.nn", "torch.nn.functional", "torch.random", "torch.linalg"),
    *("torch._C._nn", "torch._C", "torch._tensor", "torch.nn.modules.module", "torch.overrides"),
)
KINDS = (torch.Tensor, nn.Module, nn.Linear, nn.LayerNorm, nn.MultiheadAttention, torch.Generator)
PARTS = ("__code__", "__defaults__", "__kwdefaults__")
FREE = {"sys.stdout", "sys.stderr", "sys.stdin", "sys.displayhook", "sys.excepthook", "sys.last_value"}


class _Noted(NamedTuple):
    owner: Any
    name: str
    value: Any
    words: str


class Seal:
    """Note what stands now; ``mend`` puts back what has changed and names it."""

    def __init__(self):
        _reset_modes()  # which loads what torch loads late
        self.noted = [*_attributes(), *_parts()]
        self.tables = [(table, dict(table), words) for table, words in _tables()]

    def mend(self) -> list[str]:
        """Put everything back.

        Returns:
            What had changed, as "torch.allclose".
        """
        _reset_modes()
        changed = []
        for owner, name, value, words in self.noted:
            if getattr(owner, name, None) is not value:
                changed.append(words)
                setattr(owner, name, value)
        for table, items, words in self.tables:
            if table.keys() != items.keys() or any(table[key] is not items[key] for key in items):
                changed.append(words)
                table.clear()
                table.update(items)
        return changed


def _modules() -> Iterator[ModuleType]:
    for name, module in list(sys.modules.items()):
        ours = name.split(".")[0] == "vit_steps" and ".grading" not in name
        if isinstance(module, ModuleType) and (ours or name in PLACES):
            yield module


def _attributes() -> Iterator[_Noted]:
    for module in _modules():
        for name, value in list(vars(module).items()):
            words = f"{module.__name__}.{name}"
            if callable(value) and not isinstance(value, torch.Tensor) and words not in FREE:
                yield _Noted(module, name, value, words)
    for kind in {*KINDS, *_classes()}:
        for name, value in list(vars(kind).items()):
            if isinstance(value, FunctionType):
                yield _Noted(kind, name, value, f"{kind.__name__}.{name}")
    for name in (
        "isclose",
        "allclose",
        "equal",
        "eq",
        "__eq__",
        "sum",
        "numel",
        "to",
        "detach",
        "any",
        "all",
    ):
        yield _Noted(torch.Tensor, name, getattr(torch.Tensor, name), f"Tensor.{name}")


def _classes() -> Iterator[type]:
    for module in _modules():
        if module.__name__.startswith("vit_steps"):
            yield from (each for each in vars(module).values() if isinstance(each, type))


def _parts() -> Iterator[_Noted]:
    """A function can be another one inside, and keep its place."""
    for module in _modules():
        for name, value in list(vars(module).items()):
            while isinstance(value, FunctionType) and module.__name__.startswith(("vit_steps", "torch")):
                for part in PARTS:
                    yield _Noted(value, part, getattr(value, part), f"{module.__name__}.{name}")
                value = getattr(value, "__wrapped__", None)


def _tables() -> Iterator[tuple[dict, str]]:
    for module in _modules():
        if module.__name__.startswith("vit_steps"):
            for name, value in vars(module).items():
                if type(value) is dict and name.isupper():
                    yield value, f"{module.__name__}.{name}"


def _reset_modes() -> None:
    """Let torch compute as it does by itself: float32, with gradients, and nobody between."""
    sys.settrace(None)
    sys.setprofile(None)
    while torch._C._len_torch_function_stack():
        torch._C._pop_torch_function_stack()
    torch.set_default_device("cpu")
    while torch._C._len_torch_function_stack():  # which is such a mode itself
        torch._C._pop_torch_function_stack()
    torch.set_default_dtype(torch.float32)
    torch.set_grad_enabled(True)
