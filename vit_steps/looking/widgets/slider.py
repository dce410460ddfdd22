"""A slider for the patch size: all its pictures are drawn here and turned over in the browser."""

from collections.abc import Sequence

import numpy as np
import traitlets
from jaxtyping import Float
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from vit_steps.doors import door, values
from vit_steps.looking._drawable import GREY_OR_COLOUR, read_list
from vit_steps.looking.plots import plot_cost, plot_grid, plot_tiles
from vit_steps.looking.png import pack, render, screen_width
from vit_steps.looking.widgets.base import HERE, STYLE, LessonWidget, drawing

LONGEST_LINE = 12  # patches of a sequence that are shown


class PictureSlider(LessonWidget):
    """A slider that turns from picture to picture; they are all in the browser."""

    _esm = HERE / "slider.js"
    label = traitlets.Unicode().tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    sentences = traitlets.List(traitlets.Unicode()).tag(sync=True)
    pictures = traitlets.List(traitlets.Bytes()).tag(sync=True)
    width = traitlets.Int().tag(sync=True)
    chosen = traitlets.Int().tag(sync=True)


@drawing("image")
@door(
    "image side is at least 1",
    "number of patch_sizes is at least 1",
    lambda image: values.one_of("image channels", image.shape[1], GREY_OR_COLOUR),
    lambda image: values.between("image", values.finite("image", image), 0, 1),
)
def patch_size_slider(
    image: Float[Tensor, "1 channels side side"],
    patch_sizes: Sequence[int] = (112, 56, 32, 28, 16, 14, 8, 7),
) -> PictureSlider:
    """A slider for the patch size: grid, sequence, number of tokens and cost of attention change with it.

    All pictures are drawn here, one for each patch size, and turned over in the browser.

    Args:
        image: one square picture with values in [0, 1].
        patch_sizes: in pixels, in the order of the slider; it starts in the middle.

    Raises:
        ValueError: "side 224 is not a multiple of patch_size 30", "image has side 224 and side 200: they must
            be the same", "image channels must be one of 1, 3, got 2", "image must hold values in [0, 1],
            got -2.1 to 2.6", "number of patch_sizes must be at least 1, got 0".
        TypeError: ``image`` is not a tensor, or a patch size not an integer.
    """
    patch_sizes = read_list(patch_sizes)
    sentences = [_tell_cost(patch_size, image.shape[-1]) for patch_size in patch_sizes]
    pictures = _draw_patch_sizes(image[0], patch_sizes)
    chosen = len(pictures) // 2
    return PictureSlider(
        picture=pack(pictures[chosen]),
        alt=sentences[chosen],
        label="patch_size",
        names=[f"{patch_size} pixels" for patch_size in patch_sizes],
        sentences=sentences,
        pictures=pictures,
        width=screen_width(pictures[chosen]),
        chosen=chosen,
    )


def _draw_patch_sizes(image: Tensor, patch_sizes: Sequence[int]) -> list[bytes]:
    """Draw one picture after the other into the same figure."""
    with style.context(STYLE):
        figure = Figure(figsize=(9, 3.8))
        axes = figure.subplot_mosaic("ps;pc", height_ratios=(1, 2), width_ratios=(3, 4))
        pictures = []
        for patch_size in patch_sizes:
            for ax in axes.values():
                ax.clear()
            _draw_grid(image, patch_size, axes["p"])
            _draw_sequence(_cut(image, patch_size), axes["s"])
            _draw_cost(patch_size, patch_sizes, image.shape[-1], axes["c"])
            pictures.append(render(figure, facecolor="white"))
            figure.set_layout_engine("none")  # what is drawn next keeps its place
    return pictures


def _draw_grid(image: Tensor, patch_size: int, ax: Axes) -> None:
    rows = image.shape[-1] // patch_size
    _, lines = plot_grid(image, patch_size, ax, title=f"the grid: {rows} × {rows} patches")
    lines.set_linewidth(min(1.5, patch_size / 14))  # or a fine grid would hide the picture


def _draw_sequence(patches: np.ndarray, ax: Axes) -> None:
    shown, gap = patches[:LONGEST_LINE], max(1, patches.shape[-1] // 8)
    title = f"the sequence: patches 1 to {len(shown)} of {len(patches):,}"
    plot_tiles(shown, ax, per_row=len(shown), gap=gap, title=title)
    ax.set_anchor("W")


def _draw_cost(patch_size: int, patch_sizes: Sequence[int], side: int, ax: Axes) -> None:
    tokens = 1 + (side // patch_size) ** 2
    plot_cost(patch_sizes, side, ax)
    rings = {"color": "black", "fillstyle": "none", "markersize": 14, "clip_on": False}
    ax.plot([patch_size] * 2, [tokens, tokens**2], "o", **rings)
    ax.set_title(f"the cost: T = {tokens:,} tokens, T² = {tokens**2:,} pairs")
    ax.tick_params(axis="x", labelsize=8)


def _cut(image: Tensor, patch_size: int) -> np.ndarray:
    rows = image.shape[-1] // patch_size
    squares = np.asarray(image).reshape(-1, rows, patch_size, rows, patch_size)
    return squares.transpose(1, 3, 0, 2, 4).reshape(rows**2, -1, patch_size, patch_size)


@door("side is a multiple of patch_size")
def _tell_cost(patch_size: int, side: int) -> str:
    rows = side // patch_size
    tokens = 1 + rows**2
    return (
        f"patch_size {patch_size}: the picture is cut into {rows} × {rows} = {rows**2:,} patches. With the "
        f"CLS token that makes T = {tokens:,} tokens, and attention weighs T² = {tokens**2:,} pairs."
    )
