"""A map laid on the photograph that it is about: in the photograph's own pixels, at its own shape.

A pixel has its edges at whole numbers, the first at 0, so that a box between pixels lies where it is. What
the model did not get is faded. A map has its own colours: no picture shines through, and none is laid over.
"""

from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import PatchCollection
from matplotlib.image import AxesImage
from matplotlib.patches import PathPatch, Rectangle
from matplotlib.path import Path
from matplotlib.patheffects import withStroke
from PIL import Image

Box = tuple[float, float, float, float]  # left, top, right, bottom
MOST_DRAWN = 1600  # pixels on a side; a figure shows no more, and a camera makes a hundred times as many
FADED = 0.7  # how much white lies over what the model did not get
HALO = [withStroke(linewidth=3.5, foreground="black")]  # of a white line one of the two is seen on any colour


class Drawn(NamedTuple):
    """What :func:`draw_photograph` and :func:`draw_map` put into an axes, as far as it was asked for."""

    photograph: AxesImage
    faded: PatchCollection
    map: AxesImage | None = None
    outline: PathPatch | None = None


def draw_photograph(
    photograph: np.ndarray, box: Box, ax: Axes, *, outlined: np.ndarray | None = None
) -> Drawn:
    """Draw a photograph (height, width, 3), faded outside the box; a white line around some of its patches.

    Args:
        photograph: of 8 bits, upright.
        box: what the model got.
        ax: gets the photograph's pixels as its coordinates.
        outlined: which patches are inside the line, (rows, cols).
    """
    height, width = photograph.shape[:2]
    drawn = ax.imshow(_shrunk(photograph), extent=(0, width, height, 0), interpolation="auto")
    faded = PatchCollection(_margins(box, width, height), facecolor="white", alpha=FADED)
    ax.add_collection(faded, autolim=False)
    ax.set(xlim=(0, width), ylim=(height, 0), aspect="equal")
    ax.axis("off")
    return Drawn(drawn, faded, outline=None if outlined is None else _outline(outlined, box, ax))


def draw_map(
    numbers: np.ndarray,
    photograph: np.ndarray,
    box: Box,
    ax: Axes,
    *,
    limits: tuple[float, float],
    outlined: np.ndarray | None = None,
) -> Drawn:
    """Draw a map (rows, cols) in the place of what it is about, and around it the photograph, faded."""
    drawn = draw_photograph(photograph, box, ax, outlined=outlined)
    seen = ax.get_xlim(), ax.get_ylim()
    left, top, right, bottom = box
    style = {"cmap": "cividis", "interpolation": "nearest", "vmin": limits[0], "vmax": limits[1]}
    laid = ax.imshow(numbers, extent=(left, right, bottom, top), **style)
    ax.set(xlim=seen[0], ylim=seen[1])  # imshow shows its own picture and no more
    return drawn._replace(map=laid)


def half(numbers: np.ndarray) -> np.ndarray:
    """Which patches hold half of a map: the largest, as many as it takes, and all that are as large."""
    falling = np.sort(numbers, axis=None)[::-1]
    enough = np.searchsorted(falling.cumsum(), falling.sum() / 2)
    return numbers >= falling[min(enough, falling.size - 1)]


def _shrunk(photograph: np.ndarray) -> np.ndarray:
    picture = Image.fromarray(photograph)
    if max(picture.size) > MOST_DRAWN:
        share = MOST_DRAWN / max(picture.size)
        picture = picture.resize([max(1, round(side * share)) for side in picture.size], Image.Resampling.BOX)
    return np.asarray(picture)


def _margins(box: Box, width: int, height: int) -> list[Rectangle]:
    left, top, right, bottom = box
    return [
        Rectangle((0, 0), width, top),
        Rectangle((0, bottom), width, height - bottom),
        Rectangle((0, top), left, bottom - top),
        Rectangle((right, top), width - right, bottom - top),
    ]


def _outline(outlined: np.ndarray, box: Box, ax: Axes) -> PathPatch:
    """A line wherever one of two neighbours is inside and the other is not."""
    left, top, right, bottom = box
    rows = np.linspace(top, bottom, outlined.shape[0] + 1)
    cols = np.linspace(left, right, outlined.shape[1] + 1)
    inside = np.pad(outlined, 1)
    flat = [((cols[at], rows[edge]), (cols[at + 1], rows[edge])) for edge, at in _changes(inside[:, 1:-1])]
    steep = [((cols[edge], rows[at]), (cols[edge], rows[at + 1])) for edge, at in _changes(inside[1:-1].T)]
    corners = [corner for line in flat + steep for corner in line]
    path = Path(np.reshape(corners, (-1, 2)), [Path.MOVETO, Path.LINETO] * (len(corners) // 2))
    style = {"fill": False, "edgecolor": "white", "linewidth": 1.5, "capstyle": "round"}
    return ax.add_artist(PathPatch(path, clip_on=False, path_effects=HALO, **style))


def _changes(inside: np.ndarray) -> np.ndarray:
    """Pairs (edge, place along it) where a patch and the one before it differ."""
    return np.argwhere(inside[1:] != inside[:-1])
