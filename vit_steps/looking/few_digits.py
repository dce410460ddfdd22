"""How good a method is with few images: a curve for each method, and a dot for each draw."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vit_steps.doors import door, values
from vit_steps.looking._drawable import read_list, read_numbers

MARKERS, DASHES = "osD^v", ("-", "--", ":", "-.")


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
