"""From a photograph to the pixels that a model was trained on, as each library does it."""

import math
import os
from dataclasses import dataclass
from fractions import Fraction
from numbers import Real
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from vit_steps.doors import door, values
from vit_steps.files.pictures import convert_picture, open_picture

INTERPOLATIONS = {
    "nearest": Image.Resampling.NEAREST,
    "lanczos": Image.Resampling.LANCZOS,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "box": Image.Resampling.BOX,
    "hamming": Image.Resampling.HAMMING,
}
MODES = {1: "L", 3: "RGB"}
LARGEST = 4096  # pixels on a side, after the resize; ViTs that people use take 224 to 1536
AT_ONCE = 2**25  # pixels; what Pillow may make on its way before only what the crop keeps is resized
REACH = 3  # pixels that Pillow's widest filter looks away: of the source, or of a result that is coarser


@dataclass(frozen=True)
class Preprocess:
    """Turn an image into pixels for a model: resize with Pillow, crop the middle, subtract, divide.

    Weights that do not say their mean and deviation are given them by ``dataclasses.replace``.

    Attributes:
        size: (height, width) that the model takes, in pixels.
        mean: of each channel, subtracted from values in [0, 1]; None where the source does not say it.
        std: of each channel, a deviation to divide by.
        crop_pct: side of the crop over side of the resized image, timm's word; 1.0 crops as little as it can.
            Neither the crop nor the resized image may have a side above 4096 pixels (the longer side of a
            long picture may: of that, only what the crop keeps is ever made).
        squash: resize each side on its own, instead of keeping the shape and cutting off the longer one.
        interpolation: "bilinear", "bicubic" or another of Pillow's filters.
        floor: where the crop leaves an odd margin, start at the lower half of it (Hugging Face), and not at
            the even one (torchvision, timm).
        unread: (rows, columns) at the bottom and at the right that are prepared and then cut off: what no
            whole patch covers, where a model was made for sides that its patch does not divide (SigLIP
            So400m: 384 pixels, patches of 14).

    Raises:
        ValueError: "crop_pct must lie in [0, 1], got 1.5", "size (224, 224) with
            crop_pct 0.0056 is resized to 40000 pixels a side, and at most 4096 are", or another field amiss.
    """

    size: tuple[int, int]
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    crop_pct: Real = 1.0
    squash: bool = False
    interpolation: str = "bicubic"
    floor: bool = False
    unread: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        _check_size(self.size)
        _check_unread(self.unread)
        values.number("crop_pct", self.crop_pct, positive=True)
        values.between("crop_pct", self.crop_pct, 0, 1)
        _check_largest(self._prepared(), self.crop_pct)
        values.one_of("interpolation", self.interpolation, INTERPOLATIONS)
        _check_statistics(self.mean, self.std)

    def __call__(
        self, image: Image.Image | str | os.PathLike | Float[Tensor, "*batch channels height width"]
    ) -> Float[Tensor, "batch channels {self.size[0]} {self.size[1]}"]:
        """Prepare one image, or a batch of tensors.

        Args:
            image: a PIL image, the path of a picture (read by ``files.pictures.open_picture``, and turned
                upright as its camera noted), or a tensor with values in [0, 1], which is rounded to 8 bits
                first: libraries resize pictures, not tensors.

        Raises:
            ValueError: "image must hold values in [0, 1], got -2.1 to 2.6", "cat.png is no picture that can
                be read: ...", or weights that do not say how their images were normalised.
            FileNotFoundError: "there is no picture cat.png".
            TypeError: ``image`` is none of the three.
        """
        self._check_known()
        pictures = [self._resize(picture) for picture in _pictures(image, MODES[len(self.mean)])]
        pixels = torch.stack([torch.from_numpy(np.array(picture)) for picture in pictures])
        # A grey picture has no axis of channels.
        pixels = pixels.reshape(len(pictures), *self.size, len(self.mean))
        # In place, or a large batch would lie in memory four times.
        colours = pixels.permute(0, 3, 1, 2).float().div_(255)
        return colours.sub_(_column(self.mean)).div_(_column(self.std))

    def undo(
        self, pixels: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Bring prepared pixels back to colours in [0, 1], to show what the model sees.

        Raises:
            ValueError: "pixels must have the axes (batch 3 height width), got shape (3, 8, 8)".
            TypeError: ``pixels`` is not a floating-point tensor.
        """
        self._check_known()
        _check_pixels(pixels, len(self.mean))
        return (pixels * _column(self.std).to(pixels) + _column(self.mean).to(pixels)).clamp(0, 1)

    @door()
    def box(self, width: int, height: int) -> tuple[float, float, float, float]:
        """Say which part of a picture becomes the model's input, in the pixels of the picture as it was.

        What is cropped away lies outside, and so does what is ``unread``. The order is Pillow's, so that
        ``preprocess.box(*picture.size)`` fits; a pixel has its edges at whole numbers, the first at 0.

        Args:
            width: of the picture before it is prepared, upright.
            height: of the same.

        Returns:
            Left, top, right, bottom: within the picture, and in general between its pixels.

        Raises:
            ValueError: "width must be at least 1, got 0".
            TypeError: a number is not an integer.
        """
        (new_width, new_height), (left, top, right, bottom) = self._plan(width, height)
        across, down = Fraction(width, new_width), Fraction(height, new_height)
        return float(left * across), float(top * down), float(right * across), float(bottom * down)

    def _resize(self, picture: Image.Image) -> Image.Image:
        return _resize_and_crop(picture, *self._plan(*picture.size), INTERPOLATIONS[self.interpolation])

    def _plan(self, width: int, height: int) -> tuple[tuple[int, int], tuple[int, int, int, int]]:
        """To which (width, height) a picture is resized, and what is cut out of that."""
        new_height, new_width = self._resized(height, width)
        prepared = self._prepared()
        margins = (new_height - prepared[0], new_width - prepared[1])
        top, left = (margin // 2 if self.floor else round(margin / 2) for margin in margins)
        return (new_width, new_height), (left, top, left + self.size[1], top + self.size[0])

    def _resized(self, height: int, width: int) -> tuple[int, int]:
        """Height and width before the crop, rounded as torchvision (squares) and timm (the rest) do."""
        target = tuple(math.floor(side / self.crop_pct) for side in self._prepared())
        if self.squash:
            return target
        if target[0] == target[1]:
            short = min(height, width)
            return int(target[0] * height / short), int(target[0] * width / short)
        ratio = min(height / target[0], width / target[1])
        return max(target[0], round(height / ratio)), max(target[1], round(width / ratio))

    def _prepared(self) -> tuple[int, int]:
        return self.size[0] + self.unread[0], self.size[1] + self.unread[1]

    def _check_known(self) -> None:
        if self.mean is None or self.std is None:
            raise ValueError(
                "these weights do not say how their images were normalised; give it with dataclasses.replace("
                "preprocess, mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5)), which is right for most ViTs, "
                "or mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), which is for DeiT and DINO"
            )


def _resize_and_crop(
    picture: Image.Image, size: tuple[int, int], crop: tuple[int, int, int, int], filter_: Image.Resampling
) -> Image.Image:
    """Resize to (width, height) and crop, as libraries do; of a long picture, only what the crop keeps.

    A picture of 1 x 60000 pixels would become 224 x 13 million, to lose all but 224 of them.
    """
    if size[0] * size[1] > AT_ONCE:
        return _resize_what_stays(picture, size, crop, filter_)
    if size[0] * picture.height > max(AT_ONCE, picture.width * picture.height):
        # Pillow may make the columns first, which here are many more pixels than it starts or ends with.
        picture = picture.resize((picture.width, size[1]), filter_)
    return picture.resize(size, filter_).crop(crop)


def _resize_what_stays(
    picture: Image.Image, size: tuple[int, int], crop: tuple[int, int, int, int], filter_: Image.Resampling
) -> Image.Image:
    """Cut out the part of the source that the crop will show, and what the filter sees around it."""
    spans = [_span(picture.size[axis], size[axis], crop[axis], crop[axis + 2]) for axis in (0, 1)]
    (left, right), (top, bottom) = (around for around, _ in spans)
    (start, end), (above, below) = (within for _, within in spans)
    part = picture.crop((left, top, right, bottom))
    wanted = (crop[2] - crop[0], crop[3] - crop[1])
    return part.resize(wanted, filter_, box=(start, above, end, below))


def _span(old: int, new: int, first: int, last: int) -> tuple[tuple[int, int], tuple[float, float]]:
    """Where places first to last, of new, lie among the old: whole pixels around them, and where in those.

    Pillow keeps a box in float32, so it is measured from nearby and not from the start of a long picture.
    """
    step = Fraction(old, new)
    reach = math.ceil(REACH * max(1, step))
    start = max(0, math.floor(first * step) - reach)
    end = min(old, math.ceil(last * step) + reach)
    return (start, end), (float(first * step - start), float(last * step - start))


def _column(numbers: tuple[float, ...]) -> Tensor:
    most = 10**39  # more than float32 holds: it becomes infinity, where Python would raise
    return torch.tensor([float(max(-most, min(number, most))) for number in numbers]).reshape(-1, 1, 1)


def _pictures(image: object, mode: str) -> list[Image.Image]:
    if isinstance(image, Image.Image):
        if 0 in image.size:
            raise ValueError(f"image has no pixels: it is {image.height} x {image.width}")
        return [convert_picture(image, mode)]
    if isinstance(image, Tensor):
        return _from_tensor(image, len(mode))
    if isinstance(image, (str, os.PathLike)):
        return [open_picture(image, mode)]
    raise TypeError(f"image must be a PIL image, a path or a tensor, not {type(image).__name__}")


def _from_tensor(image: Tensor, channels: int) -> list[Image.Image]:
    if not image.is_floating_point():
        raise TypeError(f"image must hold floating-point numbers in [0, 1], got {image.dtype}")
    if image.ndim not in (3, 4) or image.shape[-3] != channels or 0 in image.shape:
        axes = f"({channels} height width) or (batch {channels} height width)"
        raise ValueError(f"image must have the axes {axes}, got shape {tuple(image.shape)}")
    values.filled("image", image)
    low, high = image.min().item(), image.max().item()
    if not 0 <= low <= high <= 1:
        raise ValueError(f"image must hold values in [0, 1], got {low:.3g} to {high:.3g}")
    # Half precision cannot hold 255 steps, or does not round them on the CPU.
    wide = image.detach().cpu().to(torch.promote_types(image.dtype, torch.float32))
    eight_bits = (wide * 255).round().to(torch.uint8).reshape(-1, *image.shape[-3:])
    arrays = eight_bits.permute(0, 2, 3, 1).numpy()
    return [Image.fromarray(array[:, :, 0] if channels == 1 else array) for array in arrays]


def _check_pixels(pixels: Any, channels: int) -> None:
    values.tensor("pixels", pixels)
    if pixels.ndim != 4 or pixels.shape[1] != channels:
        axes = f"(batch {channels} height width)"
        raise ValueError(f"pixels must have the axes {axes}, got shape {tuple(pixels.shape)}")
    values.finite("pixels", values.floating("pixels", pixels), "that is no colour")


def _check_size(size: object) -> None:
    values.pair("size", values.instance("size", size, tuple), ("height", "width"))


def _check_unread(unread: object) -> None:
    if not isinstance(unread, tuple) or [type(side) for side in unread] != [int, int]:
        raise TypeError(f"unread must be two numbers of pixels, (rows, columns), got {unread!r:.80}")
    if min(unread) < 0:
        raise ValueError(f"unread must be at least 0, got {unread}")


def _check_largest(size: tuple[int, int], crop_pct: Real) -> None:
    for side in size:
        if side > LARGEST:
            raise ValueError(f"size must have at most {LARGEST} pixels on a side, got {size}")
        resized = side / crop_pct
        if resized >= LARGEST + 1:
            asked = f"size {size} with crop_pct {float(crop_pct):.6g}"
            pixels = math.floor(min(resized, 10**12))  # a share can be too small to divide by
            raise ValueError(f"{asked} is resized to {pixels} pixels a side, and at most {LARGEST} are")


def _check_statistics(mean: tuple | None, std: tuple | None) -> None:
    if mean is None and std is None:
        return
    for name, numbers in (("mean", mean), ("std", std)):
        several = isinstance(numbers, (tuple, list)) and all(isinstance(each, Real) for each in numbers)
        if numbers is not None and not several:
            raise TypeError(f"{name} must be numbers, one for each channel, got {numbers!r}")
    if mean is None or std is None or len(mean) != len(std) or len(mean) not in MODES:
        raise ValueError(
            f"mean and std must have one number for each of 1 or 3 channels, got {mean} and {std}"
        )
    means, stds = _column(mean), _column(std)
    if not means.isfinite().all() or not stds.isfinite().all() or not (stds > 0).all():
        raise ValueError(f"mean must be finite and std above 0, got {mean} and {std}")
