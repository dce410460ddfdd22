"""What widgets refuse, and in which words."""

from collections.abc import Sequence
from numbers import Integral

from torch import Tensor


def ask_tensor(name: str, tensor: Tensor, axes: str) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, not {type(tensor).__name__}")
    if tensor.ndim != len(axes.split()):
        raise ValueError(f"{name} must have the axes ({axes}), got shape {tuple(tensor.shape)}")


def ask_real(name: str, tensor: Tensor) -> None:
    if tensor.is_meta:
        raise ValueError(f"{name} is on the meta device: it holds no numbers")
    if tensor.is_complex():
        raise TypeError(f"{name} must hold real numbers, got {tensor.dtype}")


def ask_finite(name: str, tensor: Tensor) -> None:
    ask_real(name, tensor)
    if not tensor.isfinite().all():
        raise ValueError(f"{name} holds NaN or infinity")


def ask_picture(name: str, pictures: Tensor) -> None:
    ask_finite(name, pictures)
    if not pictures.numel():
        raise ValueError(f"{name} holds no pixels: its shape is {tuple(pictures.shape)}")
    if pictures.min() < 0 or pictures.max() > 1:
        low, high = pictures.min().item(), pictures.max().item()
        raise ValueError(f"{name} must hold values in [0, 1], got {low:.3g} to {high:.3g}")


def ask_labels(labels: object) -> None:
    # A word is a list of names, too: one for each letter.
    if not isinstance(labels, Sequence) or not all(isinstance(name, str) for name in labels):
        raise TypeError(f"labels must be a list of names, got {labels!r:.80}")


def ask_integer(name: str, value: int) -> None:
    # To Python, True is an integer; here it never is what the caller meant.
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")


def ask_grid(grid: tuple[int, int]) -> int:
    if not isinstance(grid, (tuple, list)) or len(grid) != 2:
        raise TypeError(f"grid must be (rows, cols), got {grid!r}")
    for axis, size in zip(("rows", "cols"), grid, strict=True):
        ask_integer(f"grid {axis}", size)
    return grid[0] * grid[1]
