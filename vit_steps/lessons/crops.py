"""Small pieces of eight pictures, to be told apart: from the left halves to learn, from the right to be tested.

A trained ViT's CLS tokens of them ship in ``data/traces/crops.safetensors``, and its untrained twin's beside
them; the pictures come with scikit-image.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from vit_steps.files.reading import read_safetensors
from vit_steps.lessons.sights import TRACES

PICTURES = ("astronaut", "brick", "camera", "chelsea", "coffee", "grass", "gravel", "rocket")
HALVES = ("left", "right")
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


def load_crops(half: str, *, grey: bool = False) -> Crops:
    """The crops of the left halves or of the right ones, and what two models' CLS tokens make of them.

    Args:
        half: "left" or "right".
        grey: in grey, all with the same mean and deviation, so that neither colour nor light gives them away.
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


def draw_boxes(half: str, number: int, seed: int) -> list[list[int]]:
    """Random squares, ``number`` in that half of each picture: (top, left, side), 35 to 70 % of what fits."""
    random = torch.Generator().manual_seed(seed)
    boxes = []
    for name in PICTURES:
        height, width = _picture(name).shape[1:]
        middle = width // 2
        for _ in range(number):
            share = 0.35 + 0.35 * torch.rand((), generator=random).item()
            side = int(share * min(height, middle))
            top = torch.randint(height - side + 1, (), generator=random).item()
            left = torch.randint(middle - side + 1, (), generator=random).item()
            boxes.append([top, left + (width - middle) * (half == "right"), side])
    return boxes


def cut(boxes: list[list[int]], *, grey: bool) -> Float[Tensor, "crops 3 side side"]:
    """Cut the boxes out of their pictures, as many out of each, and bring them to one size."""
    number = len(boxes) // len(PICTURES)
    pieces = [
        _resized(picture[:, top : top + side, left : left + side])
        for picture, start in zip(map(_picture, PICTURES), range(0, len(boxes), number), strict=True)
        for top, left, side in boxes[start : start + number]
    ]
    return _without_colour(torch.stack(pieces)) if grey else torch.stack(pieces)


def _picture(name: str) -> Float[Tensor, "3 height width"]:
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
