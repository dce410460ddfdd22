"""Results of several tries: the tries themselves, their means, and how far they lie apart."""

from collections.abc import Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer
from matplotlib.lines import Line2D

from vit_steps.doors import door
from vit_steps.doors.values import between, integer
from vit_steps.looking._drawable import read_curves, read_list, read_numbers

MARKERS, DASHES = "osD^vPX", ("-", "--", ":", "-.")
WIDTH = 0.5  # of the space that a group has, for all its marks


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
    counts = [integer("each of counts", count, least=1) for count in read_list(counts)]
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
    between(f"draws[{name!r}]", read, 0, 1)
    if len(read) != counts:
        raise ValueError(f"draws[{name!r}] has {len(read)} rows, there are {counts} counts")
    return read


@door()
def plot_spread(values: Mapping, ax: Axes, *, ylabel: str, title: str = "") -> list[ErrorbarContainer]:
    """Draw the mean of each list of numbers, with one standard deviation; each series has its own marker.

    Args:
        values: series -> group -> numbers, one for each try; in every series the same groups.
        ax: the groups stand side by side along it, and in each the series.
        ylabel: what the numbers are.
        title: of the plot.

    Raises:
        ValueError: "values is empty", "values['b'] has the groups ['y'], values['a'] has ['x']".
    """
    tries = _read_groups(values)
    groups, artists = list(next(iter(tries.values()))), []
    shifts = WIDTH * ((np.arange(len(tries)) + 0.5) / len(tries) - 0.5)
    for (name, found), shift, marker in zip(tries.items(), shifts, cycle(MARKERS), strict=False):
        means, spreads = zip(*[(float(each.mean()), _spread(each)) for each in found.values()], strict=True)
        places = np.arange(len(groups)) + shift
        artists.append(ax.errorbar(places, means, spreads, fmt=marker, capsize=4, label=name))
    ax.set_xticks(range(len(groups)), groups, parse_math=False)
    ax.set(ylabel=ylabel)
    ax.set_title(title)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return artists


def _read_groups(values: Mapping) -> dict[str, dict[str, np.ndarray]]:
    if not values:
        raise ValueError("values is empty")
    first = next(iter(values))
    for name, found in values.items():
        if not isinstance(found, Mapping) or not found:
            raise TypeError(f"values[{name!r}] must hold numbers by group, got {found!r:.40}")
        if list(found) != list(values[first]):
            raise ValueError(
                f"values[{name!r}] has the groups {list(found)}, values[{first!r}] has {list(values[first])}"
            )
    return {
        str(name): {
            str(group): read_numbers(f"values[{name!r}][{group!r}]", tries, "tries")
            for group, tries in found.items()
        }
        for name, found in values.items()
    }


def _spread(tries: np.ndarray) -> float:
    """Of a single try nothing is known of the spread."""
    return float(tries.std(ddof=1)) if len(tries) > 1 else 0.0
