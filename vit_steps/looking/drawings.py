"""A map on its own, draws of one number (all, or by how many images were learned from), and a block."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch

from vit_steps.doors import door, values
from vit_steps.looking._drawable import read_curves, read_list, read_numbers
from vit_steps.looking.plots import INK
from vit_steps.looking.the_way import LIT, UNLIT

MARKERS, DASHES = "osD^v", ("-", "--", ":", "-.")
STREAM, BRANCH = 0.55, 2.0  # heights of the two lines
# What stands on each branch: centre, half width, words, whether tokens meet there.
BRANCHES = (
    (1.5, 5.6, ((2.55, 0.55, "norm", False), (4.4, 0.9, "attention", True))),
    (6.5, 10.6, ((7.55, 0.55, "norm", False), (9.4, 0.9, "MLP", False))),
)


@door()
def plot_map(attention_map, ax: Axes, *, title: str = "", limit: float | None = None) -> AxesImage:
    """Draw a map (rows, cols), the brighter the more, and no picture below that could be taken for it.

    ``limit`` is the weight drawn brightest; give maps that are to be compared the same one.
    """
    artist = ax.imshow(read_numbers("attention_map", attention_map, "rows cols"), vmin=0, vmax=limit)
    ax.set_title(title)
    ax.axis("off")
    return artist


@door()
def plot_draws(draws: Mapping, ax: Axes, *, xlabel: str, title: str = "") -> list[Line2D]:
    """Draw name -> numbers, one line of dots for each name from the top down, and a bar at their mean.

    Returns:
        The dots of each name.

    Raises:
        ValueError: "draws must hold curves of one length, got no curve", or NaN among them.
    """
    draws = read_curves("draws", draws)
    artists = []
    for place, numbers in enumerate(draws.values()):
        artists += ax.plot(numbers, np.full(len(numbers), place), "o", color="C0", alpha=0.6, clip_on=False)
        ax.plot([numbers.mean()] * 2, [place - 0.3, place + 0.3], color="black", linewidth=2)
    ax.set_yticks(range(len(draws)), list(draws), parse_math=False)
    ax.set(ylim=(len(draws) - 0.5, -0.5), xlabel=xlabel)
    ax.set_title(title)
    return artists


def _some(draws: Mapping) -> None:
    if not draws:
        raise ValueError("draws is empty: there is no curve to draw")


@door("number of counts is at least 1", _some)
def plot_by_count(counts: Sequence[int], draws: Mapping, ax: Axes, *, title: str = "") -> list[Line2D]:
    """Draw name -> shares (counts, draws), in percent: a line through the means, a dot for each draw.

    Args:
        counts: how many images were learned from, each at least 1.
        draws: for each name as many rows as there are counts, and in a row one share for each draw.

    Returns:
        The line of each name.

    Raises:
        ValueError: "draws['CNN'] has 2 rows, there are 3 counts", or NaN among them.
    """
    counts = [values.integer("each of counts", count, least=1) for count in read_list(counts)]
    read = {name: _read(name, shares, len(counts)) for name, shares in draws.items()}
    artists = []
    for (name, shares), marker, dashes in zip(read.items(), cycle(MARKERS), cycle(DASHES)):
        (line,) = ax.plot(counts, 100 * shares.mean(axis=1), dashes + marker, markersize=8, label=name)
        ax.plot(counts, 100 * shares, ".", color=line.get_color(), alpha=0.6)
        artists.append(line)
    ax.set_xscale("log")
    ax.set_xticks(counts, [f"{count:,}" for count in counts], minor=False)
    ax.minorticks_off()
    ax.set(xlabel="digits to learn from", ylabel="test digits right, in percent")
    ax.set_title(title)
    return artists


def _read(name: str, shares: object, counts: int) -> np.ndarray:
    read = read_numbers(f"draws[{name!r}]", shares, "counts draws")
    values.between(f"draws[{name!r}]", read, 0, 1)
    if len(read) != counts:
        raise ValueError(f"draws[{name!r}] has {len(read)} rows, there are {counts} counts")
    return read


@door()
def plot_block(ax: Axes) -> list[FancyBboxPatch]:
    """Draw a pre-norm block: below the tokens, above what each half computes and adds (ViT paper, figure 1).

    Returns:
        The boxes in the order they run: norm, attention, norm, MLP. Attention is lit.
    """
    _line((0.55, STREAM), (11.75, STREAM), ax)
    boxes = [box for branch in BRANCHES for box in _branch(*branch, ax)]
    for place, name in ((0.1, "tokens in"), (6.05, "z′"), (12.2, "tokens out")):
        height = STREAM + 0.22 if name == "z′" else STREAM
        ax.text(place, height, name.replace(" ", "\n"), ha="center", va="center", size=12)
    _say("the only place where\ntokens meet", 4.4, ax)
    _say("each token\nalone", 9.4, ax)
    ax.text(6.1, 0.02, "the residual stream: what came in goes on, and is added to", ha="center", size=11)
    ax.set(xlim=(-0.45, 12.75), ylim=(-0.15, 3.35))
    ax.axis("off")
    return boxes


def _branch(start: float, end: float, parts: tuple, ax: Axes) -> list[FancyBboxPatch]:
    """Up from the stream, through the boxes, and down to the plus."""
    ax.plot([start, start], [STREAM, BRANCH], color=INK, linewidth=1.5)
    stops = [start, *(side for centre, half, *_ in parts for side in (centre - half, centre + half)), end]
    for left, right in zip(stops[::2], stops[1::2], strict=True):
        if right == end:
            ax.plot([left, right], [BRANCH, BRANCH], color=INK, linewidth=1.5)
        else:
            _line((left, BRANCH), (right, BRANCH), ax)
    _line((end, BRANCH), (end, STREAM + 0.17), ax)
    plus = {"boxstyle": "circle,pad=0.15", "facecolor": "white", "edgecolor": INK}
    ax.text(end, STREAM, "+", ha="center", va="center", size=15, bbox=plus)
    return [_box(ax, *part) for part in parts]


def _box(ax: Axes, centre: float, half: float, words: str, lit: bool) -> FancyBboxPatch:
    style = {"facecolor": LIT if lit else UNLIT, "edgecolor": INK, "linewidth": 2 if lit else 1}
    corner, size = (centre - half + 0.08, BRANCH - 0.3), (2 * half - 0.16, 0.6)
    ax.text(centre, BRANCH, words, ha="center", va="center", size=13, weight="bold" if lit else "normal")
    return ax.add_patch(FancyBboxPatch(corner, *size, boxstyle="round,pad=0.08", **style))


def _say(words: str, place: float, ax: Axes) -> None:
    ax.text(place, BRANCH + 0.55, words, ha="center", va="bottom", size=11, style="italic")


def _line(start: tuple[float, float], end: tuple[float, float], ax: Axes) -> None:
    ax.annotate(
        "",
        end,
        start,
        arrowprops={"arrowstyle": "->", "color": INK, "linewidth": 1.5, "shrinkA": 0, "shrinkB": 0},
    )
