"""What a browser is sent, whether by a widget or in a page: pictures, colours, tokens that it compares."""

from io import BytesIO

import numpy as np
import torch
import torch.nn.functional as F
from matplotlib import colormaps
from torch import Tensor

CIVIDIS = colormaps["cividis"](range(256), bytes=True).tobytes()
FEW_PIXELS = 64**2
STEPS = 2**15 - 1  # what a number of a vector of length 1 is rounded to, in 16 bits


def picture_file(pixels: np.ndarray) -> bytes:
    """Pack 8-bit pixels (height, width, 3) as a file: exact where they are few, a photograph as a JPEG."""
    from PIL import Image

    is_small = pixels.shape[0] * pixels.shape[1] <= FEW_PIXELS
    kind = {"format": "png", "optimize": True} if is_small else {"format": "jpeg", "quality": 90}
    packed = BytesIO()
    Image.fromarray(pixels).save(packed, **kind)
    return packed.getvalue()


def pixels_of(image: Tensor) -> np.ndarray:
    """An image (channels, height, width) with values in [0, 1] as 8-bit pixels, red, green and blue."""
    return (image.clamp(0, 1) * 255).round().byte().expand(3, -1, -1).permute(1, 2, 0).numpy()


def rounded(tokens: Tensor) -> Tensor:
    """Directions as the browser gets them: whole numbers, 16 bits each."""
    return (STEPS * F.normalize(tokens.double(), dim=-1)).round()


def cosines(vectors: Tensor) -> Tensor:
    """Of each with each, as the browser computes them of what it gets."""
    directions = F.normalize(vectors.double(), dim=-1)
    return directions @ directions.transpose(-2, -1)


def as_bytes(several: list[Tensor]) -> bytes:
    """One table of them all; zeros behind the shorter vectors change no cosine."""
    longest = max(vectors.shape[-1] for vectors in several)
    filled = [F.pad(vectors, (0, longest - vectors.shape[-1])) for vectors in several]
    return torch.stack(filled).numpy().astype("<i2").tobytes()


def few_components(tokens: Tensor, tolerance: float, most: int) -> tuple[Tensor, float]:
    """As few principal components as tell the cosines of tokens (tokens, dim) within a tolerance.

    Returns:
        The rounded components, and by how much a cosine of them is off at most: more than the tolerance
        where ``most`` components are too few for it.
    """
    directions = F.normalize(tokens.double(), dim=-1)
    left, stretch, _ = torch.linalg.svd(directions, full_matrices=False)
    true, most = directions @ directions.T, max(1, min(most, len(stretch)))
    number = min(8, most)
    while True:
        kept = rounded(left[:, :number] * stretch[:number])
        off = (cosines(kept) - true).abs().max().item()
        if off <= tolerance or number == most:
            return kept, off
        number = min(2 * number, most)
