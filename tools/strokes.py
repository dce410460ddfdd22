"""Digits written by nobody: skeletons of pen strokes, varied, and drawn as the pad draws them.

The shipped model is tested on them and never trained on them. Each digit has several ways of being written,
such as a 7 with and without a bar through its stem; a way is bent, slanted, turned, stretched and moved at
random, then inked with the pad's pen (``ink.js``: full ink up to the pen's radius, none half a pixel on).
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

SIDE = 8  # of the pad, in pixels
PAD_RADIUS = 0.7  # of the pad's pen, in pixels
RADII = (0.5, PAD_RADIUS, 0.9)
POINTS = 24  # of a curve
MIDDLES = torch.cartesian_prod(torch.arange(SIDE), torch.arange(SIDE)).flip(1) + 0.5  # of pixels: right, down

Stroke = Tensor  # (points, 2): x to the right and y down; a digit is 1 high


def line(*points: Sequence[float]) -> Stroke:
    """Straight pieces from point to point."""
    return torch.tensor(points, dtype=torch.float32)


def arc(x: float, y: float, wide: float, high: float, start: float, end: float) -> Stroke:
    """Part of an ellipse around (x, y); angles in degrees, 0 to the right, 90 down."""
    angle = torch.linspace(math.radians(start), math.radians(end), POINTS)
    return torch.stack([x + wide * angle.cos(), y + high * angle.sin()], dim=1)


def joined(*strokes: Stroke) -> Stroke:
    """Strokes without lifting the pen."""
    return torch.cat(strokes)


WAYS: dict[int, dict[str, list[Stroke]]] = {
    0: {
        "round": [arc(0.35, 0.5, 0.35, 0.5, -90, 270)],
        "narrow": [arc(0.25, 0.5, 0.25, 0.5, -90, 270)],
        "open": [arc(0.32, 0.5, 0.32, 0.5, -60, 285)],
    },
    1: {
        "bar": [line((0, 0), (0, 1))],
        "flag": [line((0, 0.25), (0.22, 0), (0.22, 1))],
        "flag and foot": [line((0.08, 0.22), (0.3, 0), (0.3, 1)), line((0.05, 1), (0.55, 1))],
    },
    2: {
        "round": [joined(arc(0.3, 0.28, 0.3, 0.28, -170, 30), line((0, 1), (0.62, 1)))],
        "swan": [
            joined(arc(0.3, 0.3, 0.28, 0.3, -150, 60), line((0.05, 0.95)), line((0.3, 0.88), (0.65, 0.97)))
        ],
        "flat": [line((0, 0.08), (0.3, 0), (0.55, 0.12), (0.55, 0.35), (0, 1), (0.6, 1))],
    },
    3: {
        "round": [joined(arc(0.25, 0.24, 0.27, 0.24, -160, 90), arc(0.25, 0.73, 0.32, 0.27, -90, 155))],
        "flat": [joined(line((0.03, 0), (0.55, 0), (0.25, 0.38)), arc(0.25, 0.69, 0.32, 0.31, -90, 150))],
    },
    4: {
        "open": [line((0.1, 0), (0, 0.55), (0.6, 0.55)), line((0.45, 0.12), (0.42, 1))],
        "closed": [line((0.45, 1), (0.45, 0), (0, 0.68), (0.65, 0.68))],
        "steep": [line((0.3, 0), (0, 0.6), (0.6, 0.6)), line((0.45, 0.3), (0.4, 1))],
    },
    5: {
        "square": [
            joined(line((0.08, 0), (0.04, 0.42)), arc(0.23, 0.68, 0.34, 0.32, -120, 145)),
            line((0.08, 0), (0.55, 0)),
        ],
        "snake": [
            joined(line((0.55, 0.02), (0.12, 0.05), (0.05, 0.42)), arc(0.22, 0.7, 0.33, 0.3, -80, 150))
        ],
    },
    6: {
        "curved": [joined(arc(0.5, 0.62, 0.5, 0.62, -95, -180), arc(0.29, 0.71, 0.29, 0.29, 180, -180))],
        "straight": [joined(line((0.42, 0), (0.03, 0.62)), arc(0.29, 0.72, 0.28, 0.28, 190, -170))],
    },
    7: {
        "bare": [line((0, 0), (0.6, 0), (0.22, 1))],
        "bare, bent": [joined(line((0, 0.05), (0.58, 0)), arc(0.85, 1.0, 0.58, 0.75, -125, -180))],
        "barred": [line((0, 0), (0.6, 0), (0.22, 1)), line((0.15, 0.5), (0.58, 0.5))],
        "hooked": [line((0, 0.18), (0.02, 0), (0.58, 0), (0.25, 1))],
    },
    8: {
        "two rings": [arc(0.3, 0.24, 0.24, 0.24, 90, 450), arc(0.3, 0.74, 0.3, 0.26, -90, 270)],
        "one stroke": [
            joined(
                arc(0.3, 0.25, 0.25, 0.25, -30, -230),
                arc(0.3, 0.74, 0.3, 0.26, -50, 220),
                line((0.53, 0.18)),
            )
        ],
    },
    9: {
        "stem": [joined(arc(0.28, 0.27, 0.27, 0.27, 0, -360), line((0.54, 1)))],
        "hook": [joined(arc(0.28, 0.27, 0.28, 0.27, 0, -360), arc(0.2, 0.62, 0.36, 0.38, 0, 140))],
        "slanted stem": [joined(arc(0.3, 0.27, 0.27, 0.27, -20, -340), line((0.57, 0.1), (0.35, 1)))],
    },
}


def draw_digits(count: int, radius: float, *, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Draw every way of every digit ``count`` times, each time otherwise.

    Returns:
        Images (drawn, 1, 8, 8) with values in [0, 1], and their labels.
    """
    generator = torch.Generator().manual_seed(seed)
    images, labels = [], []
    for digit, ways in WAYS.items():
        share = round(count * MOST_WAYS / len(ways))  # as many of each digit
        for way in ways.values():
            images += [ink(place(vary(way, generator), generator), radius) for _ in range(share)]
            labels += [digit] * share
    return torch.stack(images)[:, None], torch.tensor(labels)


MOST_WAYS = max(map(len, WAYS.values()))


def draw_plainly(digit: int, way: str, radius: float = PAD_RADIUS) -> Tensor:
    """One digit as its skeleton is, upright in the middle of the pad: (1, 1, 8, 8)."""
    return ink(_fit(WAYS[digit][way], high=6.0, middle=torch.full((2,), SIDE / 2)), radius)[None, None]


def vary(strokes: list[Stroke], generator: torch.Generator) -> list[Stroke]:
    """Bend, slant, stretch and turn the strokes of a digit together."""

    def noise(*shape: int) -> Tensor:
        return 2 * torch.rand(shape, generator=generator) - 1

    turn, slant, stretch = (noise(3) * torch.tensor([0.15, 0.2, 0.2])).tolist()
    turning = torch.tensor([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]])
    leaning = torch.tensor([[1 + stretch, 0.0], [-slant, 1.0]])  # the top goes to the right
    bend, phase = 0.04 * noise(2, 2), 3 * noise(2, 2)
    return [(stroke + _wave(stroke, bend, phase)) @ leaning @ turning for stroke in map(_dense, strokes)]


def _dense(stroke: Stroke) -> Stroke:
    """Straight pieces with points between, so that they bend too."""
    steps = torch.linspace(0, 1, 5)[:-1, None]
    between = stroke[:-1, None] + (stroke[1:] - stroke[:-1])[:, None] * steps
    return torch.cat([between.flatten(0, 1), stroke[-1:]])


def _wave(stroke: Stroke, bend: Tensor, phase: Tensor) -> Tensor:
    return torch.stack(
        [(bend[axis] * torch.sin(4 * stroke + phase[axis])).sum(dim=1) for axis in range(2)], dim=1
    )


def place(strokes: list[Stroke], generator: torch.Generator) -> list[Stroke]:
    """Set a digit on the pad: 5 to 6.5 pixels from end to end, up to half a pixel from the middle."""
    high, right, down = torch.rand(3, generator=generator).tolist()
    return _fit(
        strokes, high=5 + 1.5 * high, middle=torch.tensor([SIDE / 2 + right - 0.5, SIDE / 2 + down - 0.5])
    )


def _fit(strokes: list[Stroke], *, high: float, middle: Tensor) -> list[Stroke]:
    points = torch.cat(strokes)
    low, far = points.amin(dim=0), points.amax(dim=0)
    scale = high / (far - low).max()
    return [(stroke - (low + far) / 2) * scale + middle for stroke in strokes]


def ink(strokes: list[Stroke], radius: float) -> Tensor:
    """What the pad's pen leaves: (8, 8) with values in [0, 1]; a place is in pixels from the corner."""
    far = torch.stack([_distance(stroke) for stroke in strokes]).amin(dim=0)
    return cover(far, radius).reshape(SIDE, SIDE)


def cover(far: Tensor, radius: float | Tensor) -> Tensor:
    """Share of a pixel that is inked when a pen's way is so far from its middle."""
    return (radius + 0.5 - far).clamp(0, 1)


def _distance(stroke: Stroke) -> Tensor:
    """From each pixel's middle to the stroke, in pixels: (64,)."""
    start, way = stroke[:-1], stroke[1:] - stroke[:-1]
    from_start = MIDDLES[:, None] - start
    along = (from_start * way).sum(dim=2) / way.square().sum(dim=1).clamp(min=1e-9)
    return (from_start - along.clamp(0, 1)[..., None] * way).norm(dim=2).amin(dim=1)
