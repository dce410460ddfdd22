"""Reading what is to be drawn: numbers from wherever they come, and what cannot be drawn refused by name."""

from collections.abc import Mapping, Sequence
from numbers import Integral, Real

import numpy as np
import torch
from matplotlib.axes import Axes


def read_numbers(name: str, values, axes: str | None = None) -> np.ndarray:
    """Real, finite numbers with these axes, and at least one of them."""
    array = to_array(name, values)
    if axes and array.ndim != len(axes.split()):
        raise ValueError(f"{name} must have the axes ({axes}), got shape {array.shape}")
    if not array.size:
        raise ValueError(f"{name} is empty: its shape is {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return array


def to_array(name: str, values) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        if values.is_meta:
            raise ValueError(f"{name} is on the meta device: it holds no numbers")
        values = values.detach().cpu()
        # Neither numpy nor matplotlib draws every half precision.
        values = values.float() if values.is_floating_point() and values.element_size() < 4 else values
    try:
        array = np.asarray(values)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} cannot be read as an array: {error}") from None
    if array.dtype.kind not in "biuf":
        kind = array.dtype if array.dtype.kind in "c" else type(values).__name__
        raise TypeError(f"{name} must hold real numbers, got {kind}")
    narrow = {"b": np.uint8, "f": np.float32} if array.dtype.itemsize < 4 else {}
    return array.astype(narrow.get(array.dtype.kind, array.dtype), copy=False)


def read_picture(name: str, image) -> np.ndarray:
    picture = read_numbers(name, image, "channels height width")
    if picture.shape[0] not in (1, 3):
        raise ValueError(f"{name} must have 1 or 3 channels, got shape {picture.shape}")
    low, high = picture.min(), picture.max()
    if low < 0 or high > 1:
        raise ValueError(f"{name} must hold values in [0, 1], got {low:.3g} to {high:.3g}")
    return channels_last(picture.astype(float) if picture.dtype.kind != "f" else picture)


def read_tiles(name: str, tiles) -> np.ndarray:
    tiles = read_numbers(name, tiles, "tiles channels height width")
    if tiles.shape[1] not in (1, 3):
        raise ValueError(f"{name} must have 1 or 3 channels, got shape {tiles.shape}")
    return tiles


def read_curves(name: str, curves: Mapping) -> dict[str, np.ndarray]:
    """Curves by name, all of one length."""
    if not isinstance(curves, Mapping):
        raise TypeError(f"{name} must map names to numbers, not {type(curves).__name__}")
    read = {key: read_numbers(f"{name}[{key!r}]", curve, "numbers") for key, curve in curves.items()}
    lengths = sorted({len(curve) for curve in read.values()})
    if len(lengths) != 1:
        raise ValueError(f"{name} must hold curves of one length, got {lengths or 'no curve'}")
    return read


def read_sizes(patch_sizes: Sequence[int], image_size: int) -> list[int]:
    ask_integer("image_size", image_size)
    if isinstance(patch_sizes, str) or not np.iterable(patch_sizes) or not len(patch_sizes):
        raise TypeError(f"patch_sizes must be a list of integers, got {patch_sizes!r}")
    sizes = patch_sizes.tolist() if hasattr(patch_sizes, "tolist") else list(patch_sizes)
    for size in sizes:
        ask_integer("each of patch_sizes", size)
        if size > image_size:
            raise ValueError(f"patch_sizes holds {size}, which is larger than image_size {image_size}")
    return sizes


def read_scores(answers: Sequence[tuple[str, float]]) -> tuple[list[str], list[float]]:
    pairs = list(answers) if np.iterable(answers) else []
    if not pairs or not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
        raise TypeError(f"answers must be pairs (label, probability), got {answers!r:.80}")
    probabilities = [read_numbers("a probability of answers", pair[1], "").item() for pair in pairs]
    if min(probabilities) < 0 or max(probabilities) > 1:
        low, high = min(probabilities), max(probabilities)
        raise ValueError(f"answers must hold probabilities in [0, 1], got {low:.3g} to {high:.3g}")
    return [str(pair[0]) for pair in pairs], probabilities


def read_classes(labels) -> np.ndarray:
    """Numbers or names of classes."""
    if isinstance(labels, torch.Tensor):
        return read_numbers("labels", labels, "points")
    array = np.asarray(labels)
    return array if array.dtype.kind == "U" else read_numbers("labels", labels, "points")


def read_epochs(history) -> tuple[np.ndarray, np.ndarray]:
    """Losses, and accuracies where there are any."""
    if not hasattr(history, "loss") or not hasattr(history, "valid_accuracy"):
        raise TypeError(f"history must have loss and valid_accuracy, not {type(history).__name__}")
    loss = read_numbers("history.loss", history.loss, "epochs")
    if not len(history.valid_accuracy):
        return loss, loss[:0]
    accuracy = read_numbers("history.valid_accuracy", history.valid_accuracy, "epochs")
    if len(accuracy) != len(loss):
        raise ValueError(f"history has {len(loss)} losses and {len(accuracy)} accuracies")
    return loss, accuracy


def ask_ax(ax: Axes) -> None:
    if not isinstance(ax, Axes):
        raise TypeError(f"ax must be a matplotlib Axes, not {type(ax).__name__}")


def ask_integer(name: str, value: int, at_least: int = 1) -> None:
    # To Python, True is an integer; here it never is what the caller meant.
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < at_least:
        raise ValueError(f"{name} must be at least {at_least}, got {value}")


def ask_number(name: str, value: float) -> None:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}")


def ask_cut(height: int, width: int, patch_size: int) -> None:
    ask_integer("patch_size", patch_size)
    for side, size in (("height", height), ("width", width)):
        if size % patch_size:
            raise ValueError(f"image {side} {size} is not a multiple of patch_size {patch_size}")


def ask_layout(per_row: int, gap: int = 1, blank: float = 1.0) -> None:
    ask_integer("per_row", per_row)
    ask_integer("gap", gap, at_least=0)
    ask_number("blank", blank)
    if not (0 <= blank <= 1 or np.isnan(blank)):
        raise ValueError(f"blank must lie in [0, 1], or be NaN where the page is to show, got {blank}")


def ask_limit(limit: float | None) -> None:
    if limit is None:
        return
    ask_number("limit", limit)
    if not 0 < limit < float("inf"):
        raise ValueError(f"limit must be positive and finite, got {limit}")


def ask_highlight(highlight: tuple[slice, slice] | None, shape: tuple[int, ...]) -> None:
    if highlight is None:
        return
    pair = highlight if isinstance(highlight, tuple) and len(highlight) == 2 else (None, None)
    if not all(isinstance(part, slice) for part in pair):
        raise TypeError(f"highlight must be two slices (rows, cols), got {highlight!r}")
    for part, size in zip(pair, shape, strict=True):
        if None in (part.start, part.stop) or not 0 <= part.start < part.stop <= size:
            raise ValueError(f"highlight must have a start and an end within 0 to {size}, got {part}")


def ask_grid(grid: tuple[int, int], shape: tuple[int, ...]) -> None:
    if not isinstance(grid, (tuple, list)) or len(grid) != 2:
        raise TypeError(f"grid must be (rows, cols), got {grid!r}")
    for axis, size in zip(("rows", "cols"), grid, strict=True):
        ask_integer(f"grid {axis}", size)
    patches = grid[0] * grid[1]
    if shape != (patches, patches):
        raise ValueError(f"similarity has shape {shape}, grid {tuple(grid)} needs {(patches, patches)}")


def ask_names(names: Sequence[str], shape: tuple[int, ...]) -> None:
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise TypeError(f"names must be a list of names, not {type(names).__name__}")
    if len(names) and set(shape) != {len(names)}:
        raise ValueError(f"names holds {len(names)} names, weights has shape {shape}")


def ask_accuracies(name: str, curve: np.ndarray) -> None:
    if curve.min() < 0 or curve.max() > 1:
        low, high = curve.min(), curve.max()
        raise ValueError(f"curves[{name!r}] must lie in [0, 1], got {low:.3g} to {high:.3g}")


def ask_points(points: np.ndarray, labels: np.ndarray) -> None:
    if points.shape[1] != 2:
        raise ValueError(f"points must lie in a plane, (points, 2), got shape {points.shape}")
    if labels.shape != points.shape[:1]:
        raise ValueError(f"labels has shape {labels.shape}, there are {len(points)} points")


def channels_last(picture: np.ndarray) -> np.ndarray:
    """C H W with one or three channels -> what imshow takes."""
    return picture[0] if picture.shape[0] == 1 else picture.transpose(1, 2, 0)
