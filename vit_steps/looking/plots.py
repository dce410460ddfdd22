"""Arrays -> matplotlib artists. Every function draws into the ``ax`` it is given and returns what it drew.

Pictures are arrays or tensors with values in [0, 1], in the order (channels, height, width). Colours run
along cividis, which reads the same with every kind of colour vision.

Numbers may come as tensors of any device and precision, with or without a gradient, as arrays, or as lists.
What cannot be drawn is refused before the first line: ``TypeError`` for what holds no real numbers, or is no
``Axes``, ``ValueError`` for the wrong axes, for nothing at all, and for NaN and infinity.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.container import BarContainer
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.patheffects import withStroke
from matplotlib.text import Text

from vit_steps.doors import door
from vit_steps.looking._drawable import (
    ask_highlight,
    ask_names,
    ask_shade,
    channels_last,
    read_curves,
    read_epochs,
    read_list,
    read_numbers,
    read_picture,
    read_points,
    read_scores,
    read_similarity,
    read_tiles,
)

INK = "#1A1A2E"
# A class may be called "$5"; a title is the author's, and may hold a formula.
AS_IT_IS = {"parse_math": False}
MARKERS = "os^Dv<>PX*"


@door()
def plot_image(image, ax: Axes, *, title: str = "") -> AxesImage:
    """Draw one picture: grey when it has one channel, colour when it has three.

    Raises:
        ValueError: "image channels must be one of 1, 3, got 2", "image must hold values in [0, 1], got
            -2.1 to 2.6".
    """
    return _draw_picture(read_picture("image", image), ax, title)


@door()
def plot_grid(image, patch_size: int, ax: Axes, *, title: str = "") -> tuple[AxesImage, LineCollection]:
    """Draw a picture with the lines along which it is cut into patches.

    Raises:
        ValueError: "height 30 is not a multiple of patch_size 4".
    """
    picture = read_picture("image", image)
    cuts = LineCollection(_cuts(*picture.shape[:2], patch_size), colors="white", linewidths=1.5)
    return _draw_picture(picture, ax, title), ax.add_collection(cuts)


@door("gap is at least 0", blank=ask_shade)
def plot_tiles(
    tiles, ax: Axes, *, per_row: int, gap: int = 1, blank: float = 1.0, title: str = ""
) -> AxesImage:
    """Lay small pictures (tiles, channels, height, width) out in reading order, ``blank`` between them.

    ``blank`` is a shade from 0 to 1, or NaN where the page is to show.
    """
    return _draw_tiles(read_tiles("tiles", tiles), ax, per_row, gap, blank, title)


@door()
def plot_kernels(kernels, ax: Axes, *, per_row: int, title: str = "") -> AxesImage:
    """Draw kernels (dim, channels, side, side) as small pictures; middle grey is a weight of 0.

    Between grey kernels the page shows through: give it a colour, or white weights vanish into it.
    """
    kernels = read_tiles("kernels", kernels)
    largest = np.abs(kernels).max(axis=(1, 2, 3), keepdims=True)
    pictures = 0.5 + 0.5 * kernels / np.where(largest, largest, 1)
    blank = np.nan if kernels.shape[1] == 1 else 1.0
    return _draw_tiles(pictures, ax, per_row, 1, blank, title)


@door()
def plot_numbers(
    numbers,
    ax: Axes,
    *,
    title: str = "",
    highlight: tuple[slice, slice] | None = None,
    limit: float | None = None,
) -> list[Text]:
    """Draw a small matrix with every number written in its cell, and a frame around a part of it.

    Colours run from the least number to the largest, or with a ``limit`` from 0 to it: then one number has
    one colour in several matrices.
    """
    numbers = read_numbers("numbers", numbers, "rows cols")
    ask_highlight(highlight, numbers.shape)
    artist = ax.imshow(numbers, vmin=0 if limit else None, vmax=limit)
    inks = np.where(artist.norm(numbers) > 0.47, "black", "white")  # here both stand out alike
    ax.set_title(title)
    ax.axis("off")
    if highlight:
        ax.add_patch(_frame(*highlight))
    return [
        ax.text(col, row, f"{number:g}", ha="center", va="center", color=str(inks[row, col]))
        for (row, col), number in np.ndenumerate(numbers)
    ]


@door("number of patch_sizes is at least 1")
def plot_cost(
    patch_sizes: Sequence[int], image_size: int, ax: Axes, *, dim: int | None = None
) -> list[Line2D]:
    """Draw tokens, and pairs of tokens that attention looks at, against the patch size.

    With ``dim``, the width of a token, the multiplications of one encoder block are drawn, too.

    Raises:
        ValueError: "patch_size 999 is more than image_size 224", "number of patch_sizes must be at least 1,
            got 0".
    """
    patch_sizes = read_list(patch_sizes)
    tokens = np.array([_count_tokens(patch_size, image_size) for patch_size in patch_sizes])
    artists = ax.plot(patch_sizes, tokens, "o-", label="tokens T")
    artists += ax.plot(patch_sizes, tokens**2, "s--", label="T² pairs for attention")
    if dim is not None:
        work = 12.0 * tokens * dim**2 + 2.0 * tokens**2 * dim  # the matrices, and the pairs
        artists += ax.plot(patch_sizes, work, "^-.", label="multiplications in a block")
    ax.set(xscale="log", yscale="log", xlabel="patch_size in pixels", ylabel="count")
    ax.set_xticks(patch_sizes, labels=map(str, patch_sizes), minor=False)
    ax.minorticks_off()
    ax.invert_xaxis()
    ax.legend()
    return artists


@door()
def plot_differences(differences, ax: Axes, *, title: str = "") -> BarContainer:
    """Draw a histogram of differences between two results that should be equal."""
    _, _, bars = ax.hist(read_numbers("differences", differences).ravel(), bins=61)
    ax.set(xlabel="difference", ylabel="count", yscale="log")
    ax.set_title(title)
    return bars


@door("num_prefix is at least 0")
def plot_tokens(
    tokens, ax: Axes, *, title: str = "", limit: float | None = None, num_prefix: int = 1
) -> AxesImage:
    """Draw the token matrix (tokens, dim) as a heatmap, a frame around the CLS token, and registers if any.

    ``num_prefix`` counts both; with 0 all are patches, and there is no frame.

    Raises:
        ValueError: "num_prefix 5 is more than the number of tokens, 4".
    """
    tokens = read_numbers("tokens", tokens, "tokens dim")
    if num_prefix > len(tokens):
        raise ValueError(f"num_prefix {num_prefix} is more than the number of tokens, {len(tokens)}")
    limit = limit or np.abs(tokens).max()
    artist = ax.imshow(tokens, vmin=-limit, vmax=limit, aspect="auto")
    if num_prefix:
        ax.add_patch(_frame(slice(0, num_prefix), slice(0, tokens.shape[1])))
    ax.locator_params(axis="y", integer=True)
    ax.set(xlabel="dim", ylabel="token")
    ax.set_title(title)
    return artist


@door()
def plot_similarity(similarity, grid: tuple[int, int], ax: Axes, *, title: str = "") -> AxesImage:
    """Draw the similarity of patch positions (patches, patches) as a grid of grids, one for each position."""
    maps = read_similarity(similarity, grid).reshape(-1, 1, *grid)
    artist = ax.imshow(_mosaic(maps, per_row=grid[1], gap=1, blank=np.nan)[0])
    ax.set_title(title)
    ax.axis("off")
    return artist


@door()
def plot_weights(weights, ax: Axes, *, names: Sequence[str] = (), title: str = "") -> AxesImage:
    """Draw attention weights (queries, keys): row by row, where each token looks."""
    weights = read_numbers("weights", weights, "queries keys")
    ask_names(names, weights.shape)
    artist = ax.imshow(weights, vmin=0)
    ax.set(xlabel="key: is looked at", ylabel="query: looks")
    if len(names):
        ax.set_xticks(range(len(names)), names, **AS_IT_IS)
        ax.set_yticks(range(len(names)), names, **AS_IT_IS)
    ax.set_title(title)
    return artist


@door()
def plot_attention(
    attention_map, image, ax: Axes, *, title: str = "", limit: float | None = None
) -> AxesImage:
    """Lay an attention map (rows, cols) over its picture: the brighter, the more it is looked at.

    ``limit`` is the weight drawn brightest; give maps that are to be compared the same one.
    """
    attention_map = read_numbers("attention_map", attention_map, "rows cols")
    picture = read_picture("image", image)
    _draw_picture(picture, ax, title)
    height, width = picture.shape[:2]
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    return ax.imshow(attention_map, alpha=0.65, extent=extent, vmin=0, vmax=limit)


@door()
def plot_deletion(curves: Mapping, num_images: int, ax: Axes) -> list[Line2D]:
    """Draw curves, name -> accuracy by patches taken away, each with one standard error of ``num_images``."""
    artists = []
    curves = read_curves("curves", curves, shares=True)
    for (name, curve), marker in zip(curves.items(), cycle("osD^vPX"), strict=False):
        error = np.sqrt(curve * (1 - curve) / num_images)
        artists += ax.plot(curve, marker + "-", markersize=4, label=name)
        ax.fill_between(np.arange(len(curve)), curve - error, curve + error, alpha=0.25)
    ax.set(xlabel="patches taken away", ylabel="accuracy", ylim=(0, 1.02))
    ax.legend(title="first to go", loc="upper left", bbox_to_anchor=(1, 1))
    return artists


@door()
def plot_by_layer(values: Mapping, ax: Axes, *, ylabel: str) -> list[Line2D]:
    """Draw numbers against the blocks passed, from 0, a line for each name with its own marker and dash."""
    values = read_curves("values", values)
    artists = []
    for (name, numbers), style in zip(values.items(), cycle(("o-", "s--", "D:", "^-.")), strict=False):
        artists += ax.plot(numbers, style, label=name)
    ax.set(xlabel="blocks passed", ylabel=ylabel, xticks=range(len(numbers)))
    ax.legend()
    return artists


@door()
def plot_scores(answers: Iterable[tuple[str, float]], ax: Axes, *, title: str = "") -> BarContainer:
    """Draw (label, probability) pairs as bars, the most probable on top."""
    labels, probabilities = read_scores(answers)
    bars = ax.barh(range(len(labels)), probabilities)
    ax.bar_label(bars, [f"{p:.2f}" for p in probabilities], padding=3)
    ax.set_yticks(range(len(labels)), labels, **AS_IT_IS)
    ax.invert_yaxis()
    ax.set(xlim=(0, 1.15), xlabel="probability")
    ax.set_title(title)
    return bars


@door()
def plot_embeddings(points, labels, ax: Axes, *, title: str = "") -> list[PathCollection]:
    """Draw points in the plane (points, 2): each class with its marker, its shade and its name."""
    points, labels = read_points(points, labels)
    classes, artists = np.unique(labels), []
    for shade, label, marker in zip(np.linspace(0, 1, len(classes)), classes, cycle(MARKERS), strict=False):
        style = {"marker": marker, "color": colormaps["cividis"](shade), "edgecolor": INK, "linewidth": 0.5}
        artists.append(ax.scatter(*points[labels == label].T, s=40, **style))
    halo = [withStroke(linewidth=4, foreground="white")]
    for label in classes:
        place = np.median(points[labels == label], axis=0)
        words = {"size": 15, "weight": "bold", "ha": "center", "va": "center", "path_effects": halo}
        ax.text(place[0], place[1], str(label), **words, **AS_IT_IS)
    ax.set_title(title)
    ax.set(xticks=[], yticks=[])
    return artists


@door()
def plot_history(history, ax: Axes) -> list[Line2D]:
    """Draw training loss (left axis) and, where there is one, validation accuracy (right axis) by epoch."""
    loss, accuracy = read_epochs(history)
    epochs = np.arange(1, len(loss) + 1)
    artists = ax.plot(epochs, loss, label="training loss")
    ax.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
    if len(accuracy):
        right = ax.twinx()
        artists += right.plot(epochs, accuracy, "--", color="C1", label="validation accuracy")
        right.set(ylabel="validation accuracy", ylim=(0, 1.02))
        right.spines.right.set_visible(True)
    ax.legend(handles=artists, loc="center right")
    return artists


def _draw_picture(picture: np.ndarray, ax: Axes, title: str) -> AxesImage:
    artist = ax.imshow(picture, cmap="gray", vmin=0, vmax=1)
    ax.set_title(title)
    ax.axis("off")
    return artist


def _draw_tiles(tiles: np.ndarray, ax: Axes, per_row: int, gap: int, blank: float, title: str) -> AxesImage:
    return _draw_picture(channels_last(_mosaic(tiles, per_row, gap, blank).clip(0, 1)), ax, title)


@door("height is a multiple of patch_size", "width is a multiple of patch_size")
def _cuts(height: int, width: int, patch_size: int) -> list[tuple]:
    """Lines along which a picture is cut, its edges among them."""
    across = [((-0.5, y - 0.5), (width - 0.5, y - 0.5)) for y in range(0, height + 1, patch_size)]
    down = [((x - 0.5, -0.5), (x - 0.5, height - 0.5)) for x in range(0, width + 1, patch_size)]
    return across + down


@door("patch_size is at most image_size")
def _count_tokens(patch_size: int, image_size: int) -> int:
    return 1 + (image_size // patch_size) ** 2


def _mosaic(tiles: np.ndarray, per_row: int, gap: int, blank: float = 1.0) -> np.ndarray:
    count, channels, height, width = tiles.shape
    rows = -(-count // per_row)
    padding = ((0, rows * per_row - count), (0, 0), (0, gap), (0, gap))
    padded = np.pad(tiles.astype(float), padding, constant_values=blank)
    grid = padded.reshape(rows, per_row, channels, height + gap, width + gap).transpose(2, 0, 3, 1, 4)
    whole = grid.reshape(channels, rows * (height + gap), per_row * (width + gap))
    return whole[:, : whole.shape[1] - gap, : whole.shape[2] - gap]


def _frame(rows: slice, cols: slice) -> Rectangle:
    corner = (cols.start - 0.5, rows.start - 0.5)
    size = (cols.stop - cols.start, rows.stop - rows.start)
    shadow = [withStroke(linewidth=5, foreground="black")]  # one of the two is seen on any colour
    return Rectangle(
        corner, *size, fill=False, edgecolor="white", linewidth=2, clip_on=False, path_effects=shadow
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
