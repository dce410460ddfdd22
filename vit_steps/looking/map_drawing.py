"""A map of weights on its own, to stand beside the picture that it is about."""

from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from vit_steps.doors import door
from vit_steps.looking._drawable import read_numbers


@door()
def plot_map(attention_map, ax: Axes, *, title: str = "", limit: float | None = None) -> AxesImage:
    """Draw a map (rows, cols), the brighter the more, and no picture below that could be taken for it.

    ``limit`` is the weight drawn brightest; give maps that are to be compared the same one.
    """
    artist = ax.imshow(read_numbers("attention_map", attention_map, "rows cols"), vmin=0, vmax=limit)
    ax.set_title(title)
    ax.axis("off")
    return artist
