"""Several draws of one number: every draw is a dot, so that nobody tells a story from one of them."""

from collections.abc import Mapping

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from vit_steps.doors import door
from vit_steps.looking._drawable import read_curves


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
