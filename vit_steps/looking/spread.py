"""Results of several tries: means, and how far the tries lie apart."""

from collections.abc import Mapping
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.container import ErrorbarContainer

from vit_steps.doors import door
from vit_steps.looking._drawable import read_numbers

WIDTH = 0.5  # of the space that a group has, for all its marks


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
    for (name, found), shift, marker in zip(tries.items(), shifts, cycle("osD^vPX"), strict=False):
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
