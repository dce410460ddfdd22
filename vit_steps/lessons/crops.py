"""Small pieces of eight pictures, to be told apart: left halves to learn from, right ones to be tested on.

A trained ViT's CLS tokens of them ship in ``data/traces/crops.safetensors``, and its untrained twin's beside
them; the pictures come with scikit-image.
"""

from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from vit_steps.doors import door
from vit_steps.files.reading import read_safetensors
from vit_steps.lessons.sights import TRACES

PICTURES = ("astronaut", "brick", "camera", "chelsea", "coffee", "grass", "gravel", "rocket")
Half = Literal["left", "right"]
HALVES = get_args(Half)
SIDE = 112  # pixels of a crop, 8 x 8 patches of 14
GREY_MEAN, GREY_STD = 0.5, 0.2


class Crops(NamedTuple):
    """One half's crops, all of the first picture first.

    Attributes:
        images: colours in [0, 1].
        labels: which of ``PICTURES`` each was cut from.
        features: CLS tokens by name: "trained" and "untrained".
    """

    images: Float[Tensor, "crops 3 side side"]
    labels: Int[Tensor, " crops"]
    features: dict[str, Float[Tensor, "crops dim"]]


@door()
def load_crops(half: Half, *, grey: bool = False) -> Crops:
    """The crops of the left halves or of the right ones, and what two models' CLS tokens make of them.

    Args:
        half: "left" or "right".
        grey: in grey, all with nearly the same mean and deviation: what is lighter or darker than the
            scale is cut off.

    Raises:
        ValueError: "half must be one of left, right, got 'top'".
    """
    packed, _ = read_safetensors(TRACES / "crops.safetensors")
    boxes = packed[f"{half}.boxes"].tolist()
    kind = "grey" if grey else "colour"
    features = {
        name: (packed[f"{half}.{kind}.{name}"] * packed[f"{half}.{kind}.{name}_step"])
        for name in ("trained", "untrained")
    }
    labels = torch.arange(len(PICTURES)).repeat_interleave(len(boxes) // len(PICTURES))
    return Crops(cut(boxes, grey=grey), labels, features)


def cut(boxes: list[list[int]], *, grey: bool) -> Float[Tensor, "crops 3 side side"]:
    """Cut the boxes out of their pictures, as many out of each, and bring them to one size."""
    number = len(boxes) // len(PICTURES)
    pieces = [
        _resized(picture[:, top : top + side, left : left + side])
        for picture, start in zip(map(picture_of, PICTURES), range(0, len(boxes), number), strict=True)
        for top, left, side in boxes[start : start + number]
    ]
    return _without_colour(torch.stack(pieces)) if grey else torch.stack(pieces)


def picture_of(name: str) -> Float[Tensor, "3 height width"]:
    """One of ``PICTURES``, in colour, values in [0, 1]."""
    from skimage import color, data

    picture = getattr(data, name)()
    colours = color.gray2rgb(picture) if picture.ndim == 2 else picture
    return torch.from_numpy(colours.copy()).permute(2, 0, 1) / 255


def _resized(piece: Tensor) -> Tensor:
    resized = F.interpolate(piece[None], size=(SIDE, SIDE), mode="bilinear", antialias=True)
    return resized[0].clamp(0, 1)


def _without_colour(images: Tensor) -> Tensor:
    light = images.mean(dim=1, keepdim=True)
    mean, std = light.mean(dim=(2, 3), keepdim=True), light.std(dim=(2, 3), keepdim=True)
    return (GREY_MEAN + GREY_STD * (light - mean) / std).clamp(0, 1).expand_as(images)
