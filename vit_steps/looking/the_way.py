"""The growing drawing: one image on its way through a ViT, as far as a lesson has come.

It is figure 1 of the ViT paper read from top to bottom, with a real model's numbers in it. The patches lie in
a row, and below each one stands its token, a column of numbers, all the way down.
"""

from math import isqrt
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.patches import FancyArrowPatch, Rectangle

from vit_steps.doors import door
from vit_steps.looking._drawable import channels_last, read_numbers, read_picture
from vit_steps.looking.plots import INK
from vit_steps.patch_embedding import image2patches
from vit_steps.vit import Trace

STEPS = ("patch\nembedding", "CLS token", "position\nembedding", "encoder", "classification")
LIT, UNLIT = "#FFD75E", "#E8E8EC"
# Inches, as in figsize: (left, right) of all columns, and (top, bottom) of what is drawn, y running down.
SIZE, COLUMNS = (9, 5.4), (2.15, 7.0)
BANDS = ((0.7, 1.72), (1.79, 2.35), (2.42, 2.98), (3.05, 4.53), (4.6, 5.4))
PATCHES, TOKENS, WITH_CLS, PLACED = (0.78, 1.06), (1.24, 1.64), (1.87, 2.27), (2.5, 2.9)
IMAGE, FANS, ENCODED, POOLED, BARS = (0.02, 0.62), (3.14, 4.02), (4.05, 4.45), (4.7, 5.1), (4.7, 5.16)
SMALL, GAP = 9, 0.02
MOST_NUMBERED, MOST_BLOCKS = 24, 6  # with more there is no room for a number at each


class _Way(NamedTuple):
    """What is drawn: arrays of one image."""

    picture: np.ndarray  # channels height width
    tiles: np.ndarray  # patches channels row col
    tokens: np.ndarray  # patches dim
    with_cls: np.ndarray  # tokens dim
    placed: np.ndarray  # tokens dim
    attention: np.ndarray  # depth tokens tokens, the mean of the heads
    encoded: np.ndarray  # tokens dim
    scores: np.ndarray  # classes

    @property
    def lefts(self) -> np.ndarray:
        """Where the column of each token begins, and where the last one ends."""
        return np.linspace(*COLUMNS, len(self.placed) + 1)


@door(f"lit is at most {len(STEPS)}")
def plot_the_way(image, trace: Trace, ax: Axes, *, lit: int) -> list[Artist]:
    """Draw one image's way through a ViT up to step ``lit`` (1 to 5); the steps to come are empty bands.

    What goes into each step and what comes out is drawn from the trace, with its shape. A token is a column.
    The lines in the encoder are the attention of each block, its heads averaged: the darker, the more.

    Args:
        image: (channels, height, width), values in [0, 1].
        trace: what ``model.trace(image[None])`` gave, of a model that has no registers and reads its CLS
            token.
        ax: is filled; a figure of 9 × 5.4 inches is just large enough.
        lit: the step that the lesson is about; it lies on a ground of its own.

    Returns:
        The five bands, and behind them what was drawn, from the image on.

    Raises:
        ValueError: "lit must be at most 5, got 6", "trace is of 2 images: the drawing is of one", "trace has
            16 patches and 20 tokens: the drawing has one more, the CLS token", "trace pools by attention: the
            drawing reads the CLS token", "image has 8 × 8 pixels: they cannot be cut
            into the 15 square patches of trace".
        TypeError: "trace must be a Trace, not dict".
    """
    way = _read(image, trace)
    artists: list[Artist] = [_band(step, lit, ax) for step in range(1, len(STEPS) + 1)]
    artists.append(_draw_image(way, ax))
    for draw in (_embed, _prepend, _place, _encode, _classify)[:lit]:
        artists += draw(way, ax)
    ax.set(xlim=(0, SIZE[0]), ylim=(SIZE[1], 0), aspect="equal")
    ax.axis("off")
    return artists


def _read(image, trace: Trace) -> _Way:
    picture = read_picture("image", image)
    drawn = {name: numbers for name, numbers in trace._asdict().items() if name != "pooling"}
    one = {name: _read_field(name, numbers) for name, numbers in drawn.items()}
    if len(one["with_cls"]) != len(one["patches"]) + 1:
        counts = f"trace has {len(one['patches'])} patches and {len(one['with_cls'])} tokens"
        raise ValueError(f"{counts}: the drawing has one more, the CLS token")
    if trace.pooling is not None:
        raise ValueError("trace pools by attention: the drawing reads the CLS token")
    picture = np.atleast_3d(picture).transpose(2, 0, 1)
    return _Way(
        picture=picture,
        tiles=_cut(picture, len(one["patches"])),
        tokens=one["patches"],
        with_cls=one["with_cls"],
        placed=one["with_position"],
        attention=one["attention"].mean(axis=1),
        encoded=one["encoded"],
        scores=one["logits"],
    )


def _read_field(name: str, numbers) -> np.ndarray:
    read = read_numbers(f"trace.{name}", numbers, Trace.__annotations__[name].dim_str)
    if len(read) != 1:
        raise ValueError(f"trace is of {len(read)} images: the drawing is of one")
    return read[0]


def _cut(picture: np.ndarray, num_patches: int) -> np.ndarray:
    """The patches of a picture as small pictures; their number tells how large they are."""
    height, width = picture.shape[1:]
    side = isqrt(height * width // num_patches)
    if not side or side * side * num_patches != height * width or height % side or width % side:
        pixels = f"image has {height} × {width} pixels"
        raise ValueError(f"{pixels}: they cannot be cut into the {num_patches} square patches of trace")
    patches = image2patches(torch.from_numpy(picture.copy())[None], side)
    return patches[0].unflatten(1, (-1, side, side)).numpy()


# The five steps


def _draw_image(way: _Way, ax: Axes) -> Artist:
    """Draw the image above its patches, and lines to the first and the last of them."""
    height, width = way.picture.shape[1:]
    left, right = way.lefts[1], way.lefts[-1]
    half = (IMAGE[1] - IMAGE[0]) * width / height / 2
    inner = ((left + right) / 2 - half, (left + right) / 2 + half)
    for ends in zip(inner, (left, right), strict=True):
        ax.plot(ends, (IMAGE[1], PATCHES[0]), ":", color=INK, linewidth=1.5)
    ax.text(inner[0] - 0.1, sum(IMAGE) / 2, "image", ha="right", va="center")
    return _picture(way.picture, (*inner, *IMAGE), ax)


def _embed(way: _Way, ax: Axes) -> list[Artist]:
    num_patches, lefts = len(way.tiles), way.lefts[1:]
    patches = f"{num_patches} patches × {way.tiles[0].size}"
    _say(1, [_shape("in", way.picture), patches, _shape("out", way.tokens)], ax)
    if num_patches <= MOST_NUMBERED:
        _write_below(range(1, num_patches + 1), lefts, PATCHES[1] + 0.02, ax)
    places = zip(lefts[:-1] + GAP, lefts[1:] - GAP, way.tiles, strict=True)
    tiles = [_picture(tile, (left, right, *PATCHES), ax) for left, right, tile in places]
    return [*tiles, _columns(way.tokens, lefts, TOKENS, ax)]


def _prepend(way: _Way, ax: Axes) -> list[Artist]:
    _say(2, [_shape("in", way.tokens), _shape("out", way.with_cls)], ax)
    return [_columns(way.with_cls, way.lefts, WITH_CLS, ax), *_mark_cls(way, WITH_CLS, ax)]


def _place(way: _Way, ax: Axes) -> list[Artist]:
    _say(3, [_shape("in", way.with_cls), _shape("out", way.placed)], ax)
    return [_columns(way.placed, way.lefts, PLACED, ax), *_mark_cls(way, PLACED, ax)]


def _encode(way: _Way, ax: Axes) -> list[Artist]:
    depth, centres = len(way.attention), (way.lefts[1:] + way.lefts[:-1]) / 2
    _say(4, [_shape("in", way.placed), f"{depth} blocks", _shape("out", way.encoded)], ax)
    edges = np.linspace(*FANS, depth + 1)
    for number, middle in enumerate((edges[1:] + edges[:-1]) / 2, start=1):
        _write_left(f"block {number}" if depth <= MOST_BLOCKS else "", centres[0], middle, ax)
    fans = [_fan(*each, centres, ax) for each in zip(way.attention, edges[:-1], edges[1:], strict=True)]
    return [*fans, _columns(way.encoded, way.lefts, ENCODED, ax), *_mark_cls(way, ENCODED, ax)]


def _classify(way: _Way, ax: Axes) -> list[Artist]:
    _say(5, [_shape("in", way.encoded[:1]), _shape("out", way.scores), f"answer {way.scores.argmax()}"], ax)
    right = way.lefts[1]
    slots = np.linspace(right + 0.5, COLUMNS[1], len(way.scores) + 1)
    if len(way.scores) <= MOST_NUMBERED:
        _write_below(range(len(way.scores)), slots, BARS[1] + 0.02, ax)
    column = _columns(way.encoded[:1], way.lefts[:2], POOLED, ax)
    arrow = {"arrowstyle": "->", "mutation_scale": 14, "color": INK}
    ends = [(place, sum(POOLED) / 2) for place in (right + 0.05, slots[0])]
    ax.add_patch(FancyArrowPatch(*ends, **arrow))
    return [column, *_mark_cls(way, POOLED, ax), *_bars(way.scores, slots, ax)]


# What they are drawn with


def _band(step: int, lit: int, ax: Axes) -> Rectangle:
    top, bottom = BANDS[step - 1]
    is_lit = step == lit
    weight = "bold" if is_lit else "normal"
    for left, words in ((0.1, str(step)), (0.35, STEPS[step - 1])):
        ax.text(left, (top + bottom) / 2, words, va="center", weight=weight)
    style = {"facecolor": LIT, "edgecolor": INK, "linewidth": 2} if is_lit else {"facecolor": UNLIT}
    return ax.add_patch(Rectangle((0, top), SIZE[0], bottom - top, clip_on=False, **style))


def _say(step: int, lines: list[str], ax: Axes) -> None:
    ax.text(COLUMNS[1] + 0.12, sum(BANDS[step - 1]) / 2, "\n".join(lines), va="center")


def _shape(name: str, array: np.ndarray) -> str:
    return f"{name} {' × '.join(map(str, array.shape))}"


def _write_below(names, lefts: np.ndarray, top: float, ax: Axes) -> None:
    for name, centre in zip(names, (lefts[1:] + lefts[:-1]) / 2, strict=True):
        ax.text(centre, top, str(name), ha="center", va="top", size=SMALL)


def _write_left(name: str, left: float, middle: float, ax: Axes) -> None:
    ax.text(left - 0.07, middle, name, ha="right", va="center", size=SMALL)


def _picture(picture: np.ndarray, place: tuple, ax: Axes) -> Artist:
    left, right, top, bottom = place
    style = {"cmap": "gray", "vmin": 0, "vmax": 1, "aspect": "auto", "zorder": 2}
    return ax.imshow(channels_last(picture), extent=(left, right, bottom, top), **style)


def _columns(tokens: np.ndarray, lefts: np.ndarray, rows: tuple[float, float], ax: Axes) -> Artist:
    """Draw each token as a column, its first number on top."""
    limit = np.abs(tokens).max()
    extent = (lefts[0], lefts[-1], rows[1], rows[0])
    ax.vlines(lefts, *rows, colors="white", linewidths=1.5, zorder=3)
    return ax.imshow(tokens.T, vmin=-limit, vmax=limit, extent=extent, aspect="auto", zorder=2)


def _mark_cls(way: _Way, rows: tuple[float, float], ax: Axes) -> list[Artist]:
    left, right = way.lefts[:2]
    style = {"fill": False, "edgecolor": INK, "linewidth": 2, "zorder": 4}
    _write_left("CLS", left, sum(rows) / 2, ax)
    return [ax.add_patch(Rectangle((left, rows[0]), right - left, rows[1] - rows[0], **style))]


def _bars(scores: np.ndarray, slots: np.ndarray, ax: Axes) -> list[Artist]:
    """Draw scores as bars up and down from 0, within the height that is there."""
    scale = (BARS[1] - BARS[0]) / (max(scores.max(), 0) - min(scores.min(), 0) or 1)
    zero = BARS[0] + scale * max(scores.max(), 0)
    ax.hlines(zero, slots[0], slots[-1], colors=INK, linewidths=1, zorder=2)
    centres, width = (slots[1:] + slots[:-1]) / 2, 0.8 * (slots[1] - slots[0])
    return list(ax.bar(centres, -scale * scores, width, zero, color=INK, zorder=2))


def _fan(weights: np.ndarray, top: float, bottom: float, centres: np.ndarray, ax: Axes) -> LineCollection:
    """Draw a line from each token that is looked at, above, to each token that looks, below."""
    query, key = np.indices(weights.shape).reshape(2, -1)
    ends = [[(centres[up], top), (centres[down], bottom)] for up, down in zip(key, query, strict=True)]
    shades = np.tile(to_rgba(INK), (key.size, 1))
    shades[:, 3] = (weights / (weights.max() or 1)).clip(0).ravel()
    return ax.add_collection(LineCollection(ends, colors=shades, linewidths=1, zorder=2))
