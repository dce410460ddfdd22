"""Which images are for training, which choose the epoch, and which are kept for the end."""

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from vit_steps.doors import door, values

Split = Literal["train", "valid", "test"]
SPLITS = get_args(Split)
TEST, VALID = 0.2, 0.125  # shares: of all images, and of those that are left
LEAST = 3  # images of a class: one for each part
SEED = ("seed is at least 0", "seed is below 4294967296")  # what numpy takes


def _enough_of_each(labels: Tensor, classes: Sequence[str] | None) -> None:
    values.filled("labels", labels)
    found, counts = labels.unique(return_counts=True)
    of_all = f"{len(labels)} images of {len(found)} classes are too few to split in three"
    if not len(found):
        raise ValueError(of_all)
    rarest = counts.argmin()
    if counts[rarest] < LEAST:
        label = found[rarest].item()
        name = classes[label] if classes is not None and 0 <= label < len(classes) else label
        said = f"class {name} has {counts[rarest]}, and {LEAST} are the least, one for each part"
        raise ValueError(f"{of_all}: {said}")


@door(*SEED, _enough_of_each)
def split_in_three(
    labels: Int[Tensor, " images"], *, seed: int = 0, classes: Sequence[str] | None = None
) -> dict[str, Tensor]:
    """Deal out images: a fifth for test, an eighth of the rest for validation, classes shared evenly.

    Every part has an image of every class. Where a class is so rare that an even share would be none, each
    class is dealt out by itself, with at least one image for each part.

    Args:
        labels: of all images.
        seed: which of the many possible splits.
        classes: names of the labels 0, 1, …, to say which class is too small.

    Returns:
        The places of the images in "train", "valid" and "test"; no place is in two of them.

    Raises:
        ValueError: "66 images of 3 classes are too few to split in three: class pug has 2, and 3 are the
            least, one for each part", "seed must be at least 0, got -1".
        TypeError: ``labels`` is not a tensor of integers, or ``seed`` is not an integer.
    """
    numbers = labels.numpy()
    parts = _even_parts(numbers, seed)
    if parts is None or any(len(np.unique(numbers[part])) < len(np.unique(numbers)) for part in parts):
        parts = _parts_by_class(numbers, seed)
    return {name: torch.from_numpy(part) for name, part in zip(SPLITS, parts, strict=True)}


def _even_parts(labels: np.ndarray, seed: int) -> tuple[np.ndarray, ...] | None:
    from sklearn.model_selection import train_test_split

    places = np.arange(len(labels))
    try:
        rest, test = train_test_split(places, test_size=TEST, stratify=labels, random_state=seed)
        train, valid = train_test_split(rest, test_size=VALID, stratify=labels[rest], random_state=seed)
    except ValueError:  # a part has fewer places than there are classes
        return None
    return train, valid, test


def _parts_by_class(labels: np.ndarray, seed: int) -> tuple[np.ndarray, ...]:
    random = np.random.RandomState(seed)  # its numbers are the same in every version of numpy
    train, valid, test = [], [], []
    for label in np.unique(labels):
        places = random.permutation(np.flatnonzero(labels == label))
        tested = max(1, round(TEST * len(places)))
        validated = tested + max(1, round(VALID * (len(places) - tested)))
        test.append(places[:tested])
        valid.append(places[tested:validated])
        train.append(places[validated:])
    return tuple(np.sort(np.concatenate(part)) for part in (train, valid, test))
