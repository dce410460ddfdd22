"""Images that need no network: handwritten digits, photographs, and folders of one's own."""

import csv
import os
import warnings
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

if TYPE_CHECKING:
    from PIL import Image

TABLES = ("ablation", "choice", "results")
PHOTOS = ("astronaut", "chelsea", "coffee")
SPLITS = ("train", "valid", "test")
MODES = {1: "L", 3: "RGB"}  # Pillow's names for grey and colour


class ImageFolder(NamedTuple):
    """What :func:`load_image_folder` found: images in [0, 1], their labels, and the name of each label."""

    images: Float[Tensor, "images channels size size"]
    labels: Int[Tensor, " images"]
    classes: tuple[str, ...]


def load_digits_images(
    split: str, *, seed: int = 0
) -> tuple[Float[Tensor, "images 1 8 8"], Int[Tensor, " images"]]:
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

    if split not in SPLITS:
        raise ValueError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    images, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    chosen = split_in_three(labels, seed=seed)[split]
    return images[chosen].reshape(-1, 1, 8, 8).float() / 16, labels[chosen]


def split_in_three(labels: Int[Tensor, " images"], *, seed: int = 0) -> dict[str, Tensor]:
    """Deal out images: a fifth for test, an eighth of the rest for validation, classes shared evenly.

    Args:
        labels: of all images.
        seed: which of the many possible splits.

    Returns:
        The places of the images in "train", "valid" and "test"; no place is in two of them.

    Raises:
        ValueError: "6 images of 3 classes are too few to split in three: ...", "seed must lie between 0 and
            4294967295, got -1".
        TypeError: ``labels`` is not a tensor of integers, or ``seed`` is not an integer.
    """
    from sklearn.model_selection import train_test_split

    _check_labels(labels)
    _check_seed(seed)
    places = torch.arange(len(labels)).numpy()
    try:
        rest, test = train_test_split(places, test_size=0.2, stratify=labels, random_state=seed)
        train, valid = train_test_split(rest, test_size=0.125, stratify=labels[rest], random_state=seed)
    except ValueError as error:
        counts = f"{len(labels)} images of {len(labels.unique())} classes"
        raise ValueError(f"{counts} are too few to split in three: {error}") from None
    return {
        "train": torch.from_numpy(train),
        "valid": torch.from_numpy(valid),
        "test": torch.from_numpy(test),
    }


def load_table(name: str) -> list[dict[str, str]]:
    """Load a table of results that ships with the package, as ``python -m vit_steps.experiments`` wrote it.

    Args:
        name: "results", "ablation" or "choice".

    Returns:
        A dictionary for each row, from the column's name to what stands there.

    Raises:
        ValueError: "name must be one of ablation, choice, results, got 'digits'".
    """
    if name not in TABLES:
        raise ValueError(f"name must be one of {', '.join(TABLES)}, got {name!r}")
    with (Path(__file__).parent / "tables" / f"{name}.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


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


def load_image_folder(
    path: str | os.PathLike, *, size: int, channels: int = 3, broken: str = "refuse"
) -> ImageFolder:
    """Load a folder that holds one subfolder of images for each class.

    Each image is turned the way its camera says (EXIF), cropped to its middle square and resized. Classes are
    numbered in the order of their names; names that begin with a dot are left out.

    Args:
        path: of the folder. Images may lie at any depth below their class.
        size: side of the square that is wanted, in pixels.
        channels: 3 for colour, 1 for grey; images of the other kind are converted.
        broken: what to do with a file that cannot be read as an image: "refuse", or "skip" with a warning
            that names it. An image of more than ``PIL.Image.MAX_IMAGE_PIXELS`` is refused either way.

    Returns:
        Images with values in [0, 1], labels, and the names of the classes.

    Raises:
        FileNotFoundError: "there is no folder cats-and-dogs".
        ValueError: "cats-and-dogs has no subfolder, one for each class is wanted", "class cats has no image:
            cats-and-dogs/cats", "cannot read cats-and-dogs/cats/1.png: ...", "cats-and-dogs/cats/2.png is
            refused as a decompression bomb: ...".
        TypeError: ``path`` is no path, or ``size`` is not an integer.
    """
    _check_path(path)
    _check_size(size)
    _check_choices(channels, broken)
    folders, skipped = _class_folders(Path(path)), []
    read = [_read_class(folder, size, channels, skipped if broken == "skip" else None) for folder in folders]
    for line in skipped:
        warnings.warn(f"skipped {line}", stacklevel=2)
    labels = torch.tensor([label for label, images in enumerate(read) for _ in images])
    images = torch.stack([image for images in read for image in images])
    return ImageFolder(images, labels, tuple(folder.name for folder in folders))


def _class_folders(path: Path) -> list[Path]:
    if not path.is_dir():
        raise FileNotFoundError(f"there is no folder {path}")
    folders = sorted(
        folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith(".")
    )
    if not folders:
        raise ValueError(f"{path} has no subfolder, one for each class is wanted")
    return folders


def _read_class(folder: Path, size: int, channels: int, skipped: list[str] | None) -> list[Tensor]:
    files = [file for file in sorted(folder.rglob("*")) if file.is_file() and not _is_hidden(file, folder)]
    images = [_read_or_skip(file, size, channels, skipped) for file in files]
    images = [image for image in images if image is not None]
    if not images:
        raise ValueError(f"class {folder.name} has no image: {folder}")
    return images


def _is_hidden(file: Path, folder: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(folder).parts)


def _read_or_skip(file: Path, size: int, channels: int, skipped: list[str] | None) -> Tensor | None:
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            return _read_image(file, size, channels)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise ValueError(f"{file} is refused as a decompression bomb: {error}") from None
    except Exception as error:  # decoders of damaged files raise whatever they meet
        if skipped is None:
            raise ValueError(f"cannot read {file}: {error}") from error
        skipped.append(f"{file}: {error}")
        return None


def _read_image(file: Path, size: int, channels: int) -> Float[Tensor, "channels size size"]:
    import numpy as np
    from PIL import Image, ImageOps

    with Image.open(file) as image:
        upright = _eight_bits(ImageOps.exif_transpose(image)).convert(MODES[channels])
        side = min(upright.size)
        left, top = (upright.width - side) // 2, (upright.height - side) // 2
        square = upright.crop((left, top, left + side, top + side))
        square = square.resize((size, size), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(square)).reshape(size, size, channels)
    return pixels.permute(2, 0, 1).contiguous() / 255  # H W C -> C H W


def _eight_bits(image: "Image.Image") -> "Image.Image":
    """Scale 16-bit grey down; Pillow's convert would cut everything off at 255, and give white."""
    from PIL import Image

    if not image.mode.startswith("I;16"):
        return image
    import numpy as np

    return Image.fromarray((np.array(image).astype(np.uint16) >> 8).astype(np.uint8))


def _middle_square(image: Tensor) -> Tensor:
    height, width = image.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[:, :, top : top + side, left : left + side]


def _check_path(path: object) -> None:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"path must be that of a folder, not {type(path).__name__}")


def _check_labels(labels: object) -> None:
    if not isinstance(labels, Tensor):
        raise TypeError(f"labels must be a torch.Tensor, not {type(labels).__name__}")
    if labels.ndim != 1:
        raise ValueError(f"labels must have the axes (images), got shape {tuple(labels.shape)}")
    if labels.is_floating_point() or labels.is_complex() or labels.dtype == torch.bool:
        raise TypeError(f"labels must hold integers, got {labels.dtype}")
    if labels.is_meta:
        raise ValueError("labels is on the meta device: it holds no numbers")


def _check_seed(seed: object) -> None:
    if isinstance(seed, bool) or not isinstance(seed, Integral):
        raise TypeError(f"seed must be an integer, got {seed!r}")
    if not 0 <= seed < 2**32:
        raise ValueError(f"seed must lie between 0 and {2**32 - 1}, got {seed}")


def _check_choices(channels: object, broken: object) -> None:
    if isinstance(channels, bool) or channels not in list(MODES):
        raise ValueError(f"channels must be 1 (grey) or 3 (colour), got {channels!r}")
    if broken not in ("refuse", "skip"):
        raise ValueError(f"broken must be 'refuse' or 'skip', got {broken!r}")


def _check_size(size: object) -> None:
    # To Python, True is an integer; here it never is what the caller meant.
    if isinstance(size, bool) or not isinstance(size, Integral):
        raise TypeError(f"size must be an integer, got {size!r}")
    if size < 1:
        raise ValueError(f"size must be at least 1, got {size}")
