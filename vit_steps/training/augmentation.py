"""Images moved a little, each in its own way, so that none is seen twice."""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vit_steps.doors import door


def _some_pixels(images: Tensor) -> None:
    if 0 in images.shape:
        raise ValueError(f"images have no pixels, their shape is {tuple(images.shape)}")


@door("strength is at least 0", _some_pixels)
def random_affine(
    images: Float[Tensor, "batch channels height width"],
    strength: int | float,
    *,
    generator: torch.Generator,
    interpolation: Literal["bicubic", "bilinear", "nearest"] = "bicubic",
) -> Float[Tensor, "batch channels height width"]:
    """Turn, stretch, shear and shift each image a little, each in its own way.

    The six numbers of the affine map are those of doing nothing plus uniform noise in
    [-strength, strength]. At 0.1 that is a turn of up to 6 degrees, a tenth of the size, and a shift of a
    twentieth of the side. What comes in from outside is black.

    Args:
        images: on any device.
        strength: 0 gives the images back as they are.
        generator: of the noise, on the CPU.
        interpolation: "bicubic" keeps the images sharp, which matters: images that are tested are sharp too.
            "bilinear" blurs them, and "nearest" moves whole pixels.

    Raises:
        ValueError: "strength must be at least 0, got -1", images without pixels, or another
            interpolation.
        TypeError: an argument of the wrong kind.
    """
    if not strength:
        return images
    if images.device.type == "mps":  # has no bicubic sampling
        return random_affine(images.cpu(), strength, generator=generator, interpolation=interpolation).to(
            "mps"
        )
    noise = 2 * torch.rand(len(images), 2, 3, generator=generator) - 1
    maps = (torch.eye(2, 3) + strength * noise).to(images)
    places = F.affine_grid(maps, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, places, mode=interpolation, align_corners=False)
    return moved.clamp(images.min(), images.max())  # bicubic sampling overshoots at edges
