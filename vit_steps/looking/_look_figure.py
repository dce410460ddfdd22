"""The picture of a look: the photograph, the map in its place, an untrained twin's, and the answer."""

import textwrap
from io import BytesIO
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import PercentFormatter
from torch import Tensor

from vit_steps.looking import _look_words as words
from vit_steps.looking._on_photograph import draw_map, draw_photograph, half
from vit_steps.looking.plots import plot_scores
from vit_steps.looking.png import PICTURE_DPI

if TYPE_CHECKING:
    from vit_steps.looking.views import Look, View

STYLE = "vit_steps.looking.lesson"
HIGH, WIDE, NARROW = 3.6, 4.4, 1.9  # inches of a panel: as high, as wide as it gets, and the least width
BARS, SCALE, TITLE = 3.2, 0.9, 0.9  # inches for the classes, the scale of colours, and the words on top
LETTERS = 10.5  # of a title to an inch
DAZZLES = 3  # times as much as the brightest of fifty
SPREAD = 4  # where half of a map takes more than a quarter of the patches, a line around them says little


def draw_look(found: "Look") -> Figure:
    """Draw all that a look knows of its view."""
    width, height = _panel(found.photograph)
    maps = [numbers for numbers in (found.view.map, found.view.control) if numbers is not None]
    widths = [width] * (1 + len(maps)) + [BARS] * bool(found.answers)
    with style.context(STYLE):
        layout = ConstrainedLayoutEngine(wspace=0.05)
        figure = Figure(figsize=(sum(widths) + SCALE, height + TITLE), layout=layout)
        first, *others = figure.subplots(1, len(widths), width_ratios=widths)
        draw_photograph(found.photograph, found.box, first, outlined=outlined(found.view))
        first.set_title(_wrapped(_title_of_photograph(found.view), width))
        _draw_maps(found, maps, others[: len(maps)])
        if found.answers:
            answers = [(words.named(name), share) for name, share in found.answers]
            plot_scores(answers, others[-1], title="the answer")
        figure.suptitle(_wrapped(found.view.words, sum(widths) + SCALE), size=12, parse_math=False)
    return figure


def png_of(figure: Figure, alt: str) -> bytes:
    """A figure as a PNG that says itself what it shows; on white, whatever the colour of the page."""
    picture = BytesIO()
    figure.draw_without_rendering()  # a first layout leaves no room for titles over pictures, a second does
    figure.savefig(picture, format="png", dpi=PICTURE_DPI, facecolor="white", metadata={"Description": alt})
    return picture.getvalue()


def limits_of(view: "View", maps: list[Tensor]) -> tuple[float, float]:
    """One scale for all: it begins at 0, or where a cosine is less, and ends where the largest is.

    Of shares, a few patches that would leave no colour to all others lie beyond its end, as in the explorer.
    """
    least = min(0.0, *(numbers.min().item() for numbers in maps))
    return least, max(_end(numbers, view.place is None) for numbers in maps)


def _end(numbers: Tensor, are_shares: bool) -> float:
    falling = numbers.flatten().sort(descending=True).values
    first, later = falling[0].item(), falling[len(falling) // 50].item()
    return later if are_shares and first > DAZZLES * later > 0 else first


def outlined(view: "View") -> np.ndarray | None:
    """The patch that was asked, or those that hold half of a map; None where so many hold it that none do."""
    if view.place is None:
        holding = half(view.map.numpy())
        return holding if holding.sum() <= holding.size / SPREAD else None
    asked = np.zeros(view.map.shape, dtype=bool)
    asked[view.place] = True
    return asked


def _draw_maps(found: "Look", maps: list[Tensor], axes: list[Axes]) -> None:
    limits, titles = limits_of(found.view, maps), ("the map", "an untrained twin's")
    asked = None if found.view.place is None else outlined(found.view)
    for numbers, title, ax in zip(maps, titles, axes, strict=False):
        drawn = draw_map(numbers.numpy(), found.photograph, found.box, ax, limits=limits, outlined=asked)
        ax.set_title(title)
    beyond = "max" if max(numbers.max().item() for numbers in maps) > limits[1] else "neither"
    scale = axes[0].figure.colorbar(drawn.map, ax=axes, shrink=0.9, pad=0.02, extend=beyond)
    if found.view.place is not None:
        scale.set_label("cosine")
        return
    scale.ax.yaxis.set_major_formatter(PercentFormatter(1.0))
    scale.set_label(
        "share (line: all alike)" if beyond == "neither" else "share (line: all alike; tip: more)"
    )
    scale.ax.axhline(1 / maps[0].numel(), color="white", linewidth=3)
    scale.ax.axhline(1 / maps[0].numel(), color="black", linewidth=1)


def _panel(photograph: np.ndarray) -> tuple[float, float]:
    height, width = photograph.shape[:2]
    across = min(HIGH * width / height, WIDE)
    return max(across, NARROW), max(min(HIGH, across * height / width), NARROW)


def _title_of_photograph(view: "View") -> str:
    if view.place is not None:
        return "the patch that was asked"
    holding = half(view.map.numpy())
    if outlined(view) is None:
        return f"spread out: half of it takes {holding.sum()} of {holding.size} patches"
    return "half of it lies within the lines"


def _wrapped(text: str, width: float) -> str:
    return textwrap.fill(text, max(18, round(LETTERS * width)))
