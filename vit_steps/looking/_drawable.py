"""Reading what is to be drawn: numbers from wherever they come, and what cannot be drawn refused by name."""

from collections.abc import Iterable, Mapping, Sequence
from math import isnan
from numbers import Real

import numpy as np
import torch

from vit_steps.doors import values

GREY_OR_COLOUR = (1, 3)  # channels of a picture


def read_numbers(name: str, numbers, axes: str | None = None) -> np.ndarray:
    """Real, finite numbers with these axes, and at least one of them."""
    array = to_array(name, numbers)
    if axes and array.ndim != len(axes.split()):
        raise ValueError(f"{name} must have the axes ({axes}), got shape {array.shape}")
    if not array.size:
        raise ValueError(f"{name} is empty: its shape is {array.shape}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds NaN or infinity")
    return array


def to_array(name: str, numbers) -> np.ndarray:
    if isinstance(numbers, torch.Tensor):
        numbers = values.filled(name, numbers).detach().cpu()
        # Neither numpy nor matplotlib draws every half precision.
        numbers = numbers.float() if numbers.is_floating_point() and numbers.element_size() < 4 else numbers
    try:
        array = np.asarray(numbers)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"{name} cannot be read as an array: {error}") from None
    if array.dtype.kind not in "biuf":
        kind = array.dtype if array.dtype.kind in "c" else type(numbers).__name__
        raise TypeError(f"{name} must hold real numbers, got {kind}")
    narrow = {"b": np.uint8, "f": np.float32} if array.dtype.itemsize < 4 else {}
    return array.astype(narrow.get(array.dtype.kind, array.dtype), copy=False)


def read_picture(name: str, image) -> np.ndarray:
    picture = read_numbers(name, image, "channels height width")
    values.one_of(f"{name} channels", picture.shape[0], GREY_OR_COLOUR)
    values.between(name, picture, 0, 1)
    return channels_last(picture.astype(float) if picture.dtype.kind != "f" else picture)


def read_tiles(name: str, tiles) -> np.ndarray:
    tiles = read_numbers(name, tiles, "tiles channels height width")
    values.one_of(f"{name} channels", tiles.shape[1], GREY_OR_COLOUR)
    return tiles


def read_curves(name: str, curves: Mapping, *, shares: bool = False) -> dict[str, np.ndarray]:
    """Curves by name, all of one length, and of shares of a whole where that is asked."""
    read = {key: read_numbers(f"{name}[{key!r}]", curve, "numbers") for key, curve in curves.items()}
    for key, curve in read.items() if shares else ():
        values.between(f"{name}[{key!r}]", curve, 0, 1)
    lengths = sorted({len(curve) for curve in read.values()})
    if len(lengths) != 1:
        raise ValueError(f"{name} must hold curves of one length, got {lengths or 'no curve'}")
    return read


def read_list(sequence: Sequence) -> list:
    """The numbers of a sequence, as Python writes them, where it may be an array or a tensor."""
    return sequence.tolist() if hasattr(sequence, "tolist") else list(sequence)


def read_scores(answers: Iterable[tuple[str, float]]) -> tuple[list[str], list[float]]:
    pairs = list(answers) if np.iterable(answers) else []
    if not pairs or not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
        raise TypeError(f"answers must be pairs (label, probability), got {answers!r:.80}")
    probabilities = [read_numbers("a probability of answers", pair[1], "").item() for pair in pairs]
    values.between("probabilities of answers", np.array(probabilities), 0, 1)
    return [str(pair[0]) for pair in pairs], probabilities


def read_similarity(similarity, grid: tuple[int, int]) -> np.ndarray:
    """A number for each pair of places of a grid."""
    similarity, patches = read_numbers("similarity", similarity, "patches patches"), grid[0] * grid[1]
    if similarity.shape != (patches, patches):
        needed = (patches, patches)
        raise ValueError(f"similarity has shape {similarity.shape}, grid {tuple(grid)} needs {needed}")
    return similarity


def read_points(points, labels) -> tuple[np.ndarray, np.ndarray]:
    """Points in the plane, and the class of each."""
    points, labels = read_numbers("points", points, "points 2"), read_classes(labels)
    if points.shape[1] != 2:
        raise ValueError(f"points must lie in a plane, (points, 2), got shape {points.shape}")
    if labels.shape != points.shape[:1]:
        raise ValueError(f"labels has shape {labels.shape}, there are {len(points)} points")
    return points, labels


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


def ask_shade(name: str, value: object) -> None:
    """A shade of grey, or NaN where the page is to show."""
    if not (isinstance(value, Real) and isnan(value)):
        values.between(name, value, 0, 1)


def ask_highlight(highlight: tuple[slice, slice] | None, shape: tuple[int, ...]) -> None:
    if highlight is None:
        return
    pair = highlight if isinstance(highlight, tuple) and len(highlight) == 2 else (None, None)
    if not all(isinstance(part, slice) for part in pair):
        raise TypeError(f"highlight must be two slices (rows, cols), got {highlight!r}")
    for part, size in zip(pair, shape, strict=True):
        if None in (part.start, part.stop) or not 0 <= part.start < part.stop <= size:
            raise ValueError(f"highlight must have a start and an end within 0 to {size}, got {part}")


def ask_names(names: Sequence[str], shape: tuple[int, ...]) -> None:
    if isinstance(names, str) or not isinstance(names, Sequence):
        raise TypeError(f"names must be a list of names, not {type(names).__name__}")
    if len(names) and set(shape) != {len(names)}:
        raise ValueError(f"names holds {len(names)} names, weights has shape {shape}")


def channels_last(picture: np.ndarray) -> np.ndarray:
    """C H W with one or three channels -> what imshow takes."""
    return picture[0] if picture.shape[0] == 1 else picture.transpose(1, 2, 0)
