"""Photographs that ship inside scikit-image."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vit_steps.doors import door

Photo = Literal["astronaut", "chelsea", "coffee"]
PHOTOS = get_args(Photo)


@door()
def load_photo(name: Photo, *, size: int) -> Float[Tensor, "1 3 {size} {size}"]:
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

    photo = torch.from_numpy(getattr(data, name)().copy()).permute(2, 0, 1)[None] / 255  # H W C -> 1 C H W
    square = _middle_square(photo)
    resized = F.interpolate(square, size=(size, size), mode="bilinear", antialias=True)
    return resized.clamp(0, 1)  # interpolation rounds white to a hair above 1


def _middle_square(image: Tensor) -> Tensor:
    height, width = image.shape[2:]
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return image[:, :, top : top + side, left : left + side]
