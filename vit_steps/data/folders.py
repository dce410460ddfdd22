"""Images of one's own: a folder that holds one folder for each class."""

import os
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from PIL import Image
from torch import Tensor

from vit_steps.doors import door, values
from vit_steps.files.pictures import BadPicture, TooLarge, open_picture, printable

MODES = {1: "L", 3: "RGB"}  # Pillow's names for grey and colour
PARTS = {"train", "training", "val", "valid", "validation", "dev", "test", "testing"}
SUFFIXES = {".jpg", ".jpeg", ".png", ".gif", ".webp", ".avif", ".tif", ".tiff", ".bmp", ".pgm", ".ppm"}


class ImageFolder(NamedTuple):
    """What :func:`load_image_folder` found: images in [0, 1], their labels, and the name of each label."""

    images: Float[Tensor, "images channels size size"]
    labels: Int[Tensor, " images"]
    classes: tuple[str, ...]


def _size_or_prepare(size: object, prepare: object) -> None:
    if prepare is None:
        values.integer("size", size)
    elif size is not None:
        raise ValueError(f"size {size} and prepare are given: prepare has a size of its own")


@door(_size_or_prepare)
def load_image_folder(
    path: str | os.PathLike,
    *,
    size: int | None = None,
    channels: Literal[1, 3] = 3,
    broken: Literal["refuse", "skip"] = "refuse",
    least_classes: int = 1,
    prepare: Callable[[Path], Tensor] | None = None,
    progress: bool = False,
) -> ImageFolder:
    """Load a folder that holds one subfolder of images for each class.

    Each image is turned the way its camera says (EXIF), cropped to its middle square and resized. Classes are
    numbered in the order of their names; names that begin with a dot are left out. Links to folders are
    followed, and no folder is read twice for one class.

    Args:
        path: of the folder. Images may lie at any depth below their class.
        size: side of the square that is wanted, in pixels; asked for unless ``prepare`` says it.
        channels: 3 for colour, 1 for grey; images of the other kind are converted.
        broken: what to do with a file that cannot be read as an image: "refuse", or "skip" with a warning
            that names it. An image of more than ``PIL.Image.MAX_IMAGE_PIXELS`` is refused either way.
        least_classes: how many classes there must be; what trains on them needs 2.
        prepare: makes pixels of the path of an image, (1, channels, height, width), in place of crop and
            resize: the ``preprocess`` that ``load_pretrained`` gives with its weights.
        progress: whether to show a bar (on stderr, or as a widget).

    Returns:
        Images with values in [0, 1], or as ``prepare`` gives them, labels, and the names of the classes.

    Raises:
        FileNotFoundError: "there is no folder cats-and-dogs".
        ValueError: "cats-and-dogs has no subfolder, one for each class is wanted", "class cats has no image:
            cats-and-dogs/cats", "cannot read cats-and-dogs/cats/1.png: ...", "cats-and-dogs/cats/2.png is
            refused as a decompression bomb: ...", "data has one class alone, pets: was data/pets meant, with
            cat, dog?", "data holds the parts train, test, and no classes: give one of them, such as
            data/train", "size 64 and prepare are given: prepare has a size of its own".
        TypeError: ``path`` is no path, or ``size`` is not an integer.
    """
    folders, skipped = _class_folders(Path(path), least_classes), []
    make = prepare or partial(_crop_and_resize, size=size, channels=channels)
    read = _read_all(folders, make, skipped if broken == "skip" else None, progress)
    for line in skipped:
        warnings.warn(f"skipped {line}", stacklevel=2)
    labels = torch.tensor([label for label, images in enumerate(read) for _ in images])
    images = _joined([image for images in read for image in images])
    return ImageFolder(images, labels, tuple(folder.name for folder in folders))


# Which folders


def _class_folders(path: Path, least: int) -> list[Path]:
    name = printable(path)
    if not os.path.isdir(path):  # of a path with a NUL in it, pathlib raises
        raise FileNotFoundError(f"there is no folder {name}")
    folders = _subfolders(path)
    if not folders:
        raise ValueError(f"{name} has no subfolder, one for each class is wanted")
    _check_parts(name, folders)
    _check_not_too_high(name, folders, least)
    return folders


def _subfolders(path: Path) -> list[Path]:
    return sorted(folder for folder in path.iterdir() if folder.is_dir() and not folder.name.startswith("."))


def _check_parts(name: str, folders: list[Path]) -> None:
    """Refuse train/, val/ and test/, each with all the classes in it, which would be three classes here."""
    parts = _parts(folders)
    if parts:
        names = ", ".join(folder.name for folder in parts)
        meant, classes = _meant(parts[0])
        such = f": give one of them, such as {printable(meant if classes else parts[0])}"
        advice = such if _subfolders(parts[0]) else ", nor has one of them any"
        raise ValueError(f"{name} holds the parts {names}, and no classes{advice}")


def _parts(folders: list[Path]) -> list[Path]:
    """Of folders side by side, those that are parts of one data set, the one to train on first."""
    parts = [folder for folder in folders if folder.name.lower() in PARTS]
    divided = [folder for folder in parts if _subfolders(folder)]
    found = parts if len(parts) == len(folders) else divided
    return sorted(found, key=lambda folder: "train" not in folder.name.lower()) if len(found) > 1 else []


def _check_not_too_high(name: str, folders: list[Path], least: int) -> None:
    meant, classes = _meant(folders[0]) if len(folders) == 1 else (None, [])
    if len(folders) >= least and len(classes) < 2:
        return
    said = f"{name} has {len(folders)} classes"
    if len(folders) == 1:
        said = f"{name} has one class alone, {printable(folders[0].name)}"
    if len(classes) > 1:
        names = ", ".join(printable(folder.name) for folder in classes[:5])
        more = ", …" if len(classes) > 5 else ""
        raise ValueError(f"{said}: was {printable(meant)} meant, with {names}{more}?")
    raise ValueError(f"{said}, and at least {least} are wanted, a folder for each")


def _meant(folder: Path) -> tuple[Path, list[Path]]:
    """Where the classes probably begin, from one folder too high or more, and what they are."""
    below = _subfolders(folder)
    if any(entry.suffix.lower() in SUFFIXES for entry in folder.iterdir()):
        return folder, []
    parts = _parts(below)
    if parts or len(below) == 1:
        return _meant((parts or below)[0])
    return folder, below


def _files(folder: Path) -> list[Path]:
    """All files below a class, in the order of their paths; a link in a circle ends where it was before."""
    seen, found = set(), []
    for root, names, files in os.walk(folder, followlinks=True):
        where = os.path.realpath(root)
        if where in seen:
            names.clear()
            continue
        seen.add(where)
        names[:] = sorted(name for name in names if not name.startswith("."))
        found += [Path(root, name) for name in files if not name.startswith(".")]
    return sorted(found)


# Their images


def _read_all(
    folders: list[Path], make: Callable[[Path], Tensor], skipped: list[str] | None, progress: bool
) -> list[list[Tensor]]:
    """The images of each class."""
    from tqdm.auto import tqdm

    files = [_files(folder) for folder in folders]
    with tqdm(total=sum(map(len, files)), desc="images", unit="image", disable=not progress) as bar:
        return [
            _read_class(folder, own, make, skipped, bar) for folder, own in zip(folders, files, strict=True)
        ]


def _joined(images: list[Tensor]) -> Tensor:
    shapes = sorted({tuple(image.shape) for image in images})
    if len(shapes) > 1 or len(shapes[0]) != 4 or shapes[0][0] != 1:
        gave = " and ".join(map(str, shapes))
        raise ValueError(f"prepare gave shape {gave}: (1, channels, height, width) is wanted, one for all")
    return torch.cat(images)


def _read_class(
    folder: Path, files: list[Path], make: Callable[[Path], Tensor], skipped: list[str] | None, bar: Any
) -> list[Tensor]:
    images = []
    for file in files:
        images += _read_or_skip(file, make, skipped)
        bar.update()
    if not images:
        raise ValueError(f"class {printable(folder.name)} has no image: {printable(folder)}")
    return images


def _read_or_skip(file: Path, make: Callable[[Path], Tensor], skipped: list[str] | None) -> list[Tensor]:
    try:
        return [make(file)]
    except TooLarge:
        raise
    except (BadPicture, FileNotFoundError) as error:
        reason = f"{printable(file)}: {getattr(error, 'reason', 'it is a link to nothing')}"
    if skipped is None:
        raise ValueError(f"cannot read {reason}")
    skipped.append(reason)
    return []


def _crop_and_resize(file: Path, size: int, channels: int) -> Float[Tensor, "1 channels size size"]:
    upright = open_picture(file, MODES[channels])
    side = min(upright.size)
    left, top = (upright.width - side) // 2, (upright.height - side) // 2
    square = upright.crop((left, top, left + side, top + side))
    square = square.resize((size, size), Image.Resampling.BILINEAR)
    pixels = torch.from_numpy(np.array(square)).reshape(1, size, size, channels)
    return pixels.permute(0, 3, 1, 2).contiguous() / 255  # 1 H W C -> 1 C H W
