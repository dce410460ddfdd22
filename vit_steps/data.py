"""Images that need no network: handwritten digits, photographs, and folders of one's own."""

from operator import index

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

PHOTOS = ("astronaut", "chelsea", "coffee")
SPLITS = ("train", "valid", "test")


def load_digits_images(
    split: str, *, seed: int = 0
) -> tuple[Float[Tensor, "images 1 8 8"], Int[Tensor, "images"]]:
    """Load scikit-learn's 1,797 scans of handwritten digits (UCI, Alpaydin and Kaynak 1998), split in three.

    A fifth is held out for test and an eighth of the rest for validation, each with the same share of
    every digit: 1,257 to train, 180 to validate, 360 to test.

    Args:
        split: "train", "valid" or "test".
        seed: which of the many possible splits; the three parts of one seed never overlap.

    Returns:
        Grey images with values in [0, 1], and their labels 0 to 9.

    Raises:
        ValueError: "split must be one of train, valid, test, got 'dev'".
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    images, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    places = torch.arange(len(labels)).numpy()
    rest, test = train_test_split(places, test_size=0.2, stratify=labels, random_state=seed)
    train, valid = train_test_split(rest, test_size=0.125, stratify=labels[rest], random_state=seed)
    chosen = {"train": train, "valid": valid, "test": test}[split]
    return images[chosen].reshape(-1, 1, 8, 8).float() / 16, labels[chosen]


def load_photo(name: str, *, size: int) -> Float[Tensor, "1 3 {size} {size}"]:
    """Load a photograph that ships inside scikit-image, cropped to its middle square and resized.

    Args:
        name: "astronaut", "chelsea" (a cat) or "coffee"; all three are free to use.
        size: side of the square that is wanted, in pixels.

    Returns:
        One RGB image with values in [0, 1].

    Raises:
        ValueError: "name must be one of astronaut, chelsea, coffee, got 'lena'", or a size below 1.
        TypeError: ``size`` is not an integer.
    """
    from skimage import data

    if name not in PHOTOS:
        raise ValueError(f"name must be one of {', '.join(PHOTOS)}, got {name!r}")
    _check_size(size)
    photo = torch.from_numpy(getattr(data, name)().copy()).permute(2, 0, 1)[None] / 255  # H W C -> 1 C H W
    square = _middle_square(photo)
    resized = F.interpolate(square, size=(size, size), mode="bilinear", antialias=True)
    return resized.clamp(0, 1)  # interpolation rounds white to a hair above 1


def _middle_square(image: Tensor) -> Tensor:
    height, width = image.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[:, :, top : top + side, left : left + side]


def _check_size(size: int) -> None:
    try:
        index(size)
    except TypeError:
        raise TypeError(f"size must be an integer, got {size!r}") from None
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
