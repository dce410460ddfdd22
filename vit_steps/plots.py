"""Arrays -> matplotlib artists. Every function draws into the ``ax`` it is given and returns what it drew.

Pictures are arrays or tensors with values in [0, 1], in the order (channels, height, width). Colours run
along cividis, which reads the same with every kind of colour vision.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.container import BarContainer
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import FancyBboxPatch, Rectangle
from matplotlib.text import Text

STEPS = ("patch\nembedding", "CLS token", "position\nembedding", "encoder", "classi-\nfication")
LIT, UNLIT, INK = "#FFD75E", "#E8E8EC", "#1A1A2E"


def plot_pipeline(step: int, ax: Axes) -> list[FancyBboxPatch]:
    """Draw the five steps in a row, with ``step`` (1 to 5) lit.

    Raises:
        ValueError: "step must lie between 1 and 5, got 6".
    """
    if step not in range(1, len(STEPS) + 1):
        raise ValueError(f"step must lie between 1 and {len(STEPS)}, got {step}")
    boxes = [_box(number, name, number == step, ax) for number, name in enumerate(STEPS, start=1)]
    ax.text(0.2, 0.5, "image", ha="center", va="center")
    ax.text(5.8, 0.5, "answer", ha="center", va="center")
    for number in range(len(STEPS) + 1):
        _arrow(number + 0.42, number + 0.58, ax)
    ax.set(xlim=(-0.05, 6.05), ylim=(0, 1))
    ax.axis("off")
    return boxes


def plot_image(image, ax: Axes, *, title: str = "") -> AxesImage:
    """Draw one picture: grey when it has one channel, colour when it has three."""
    artist = ax.imshow(_picture(image), cmap="gray", vmin=0, vmax=1)
    ax.set_title(title)
    ax.axis("off")
    return artist


def plot_grid(image, patch_size: int, ax: Axes, *, title: str = "") -> tuple[AxesImage, LineCollection]:
    """Draw a picture with the lines along which it is cut into patches."""
    artist = plot_image(image, ax, title=title)
    height, width = _picture(image).shape[:2]
    across = [((-0.5, y - 0.5), (width - 0.5, y - 0.5)) for y in range(0, height + 1, patch_size)]
    down = [((x - 0.5, -0.5), (x - 0.5, height - 0.5)) for x in range(0, width + 1, patch_size)]
    lines = ax.add_collection(LineCollection(across + down, colors="white", linewidths=1.5))
    return artist, lines


def plot_tiles(
    tiles, ax: Axes, *, per_row: int, gap: int = 1, blank: float = 1.0, title: str = ""
) -> AxesImage:
    """Lay small pictures (tiles, channels, height, width) out in reading order, ``blank`` between them."""
    return plot_image(_mosaic(np.asarray(tiles), per_row, gap, blank).clip(0, 1), ax, title=title)


def plot_kernels(kernels, ax: Axes, *, per_row: int, title: str = "") -> AxesImage:
    """Draw kernels (dim, channels, side, side) as small pictures; middle grey is a weight of 0.

    Between grey kernels the page shows through: give it a colour, or white weights vanish into it.
    """
    kernels = np.asarray(kernels)
    largest = np.abs(kernels).max(axis=(1, 2, 3), keepdims=True)
    pictures = 0.5 + 0.5 * kernels / np.where(largest, largest, 1)
    blank = np.nan if kernels.shape[1] == 1 else 1.0
    return plot_tiles(pictures, ax, per_row=per_row, blank=blank, title=title)


def plot_numbers(
    numbers, ax: Axes, *, title: str = "", highlight: tuple[slice, slice] | None = None
) -> list[Text]:
    """Draw a small matrix with every number written in its cell, and a frame around a part of it."""
    numbers = np.asarray(numbers)
    artist = ax.imshow(numbers)
    inks = np.where(artist.norm(numbers) > 0.5, "black", "white")
    ax.set_title(title)
    ax.axis("off")
    if highlight:
        ax.add_patch(_frame(*highlight))
    return [
        ax.text(col, row, f"{number:g}", ha="center", va="center", color=str(inks[row, col]))
        for (row, col), number in np.ndenumerate(numbers)
    ]


def plot_cost(patch_sizes: Sequence[int], image_size: int, ax: Axes) -> list[Line2D]:
    """Draw tokens, and pairs of tokens that attention looks at, against the patch size."""
    tokens = np.array([1 + (image_size // size) ** 2 for size in patch_sizes])
    artists = ax.plot(patch_sizes, tokens, "o-", label="tokens T")
    artists += ax.plot(patch_sizes, tokens**2, "s--", label="T² pairs for attention")
    ax.set(xscale="log", yscale="log", xlabel="patch_size in pixels", ylabel="count")
    ax.set_xticks(patch_sizes, labels=map(str, patch_sizes), minor=False)
    ax.minorticks_off()
    ax.invert_xaxis()
    ax.legend()
    return artists


def plot_differences(differences, ax: Axes, *, title: str = "") -> BarContainer:
    """Draw a histogram of differences between two results that should be equal."""
    _, _, bars = ax.hist(np.asarray(differences).ravel(), bins=61)
    ax.set(xlabel="difference", ylabel="count", yscale="log")
    ax.set_title(title)
    return bars


def plot_tokens(tokens, ax: Axes, *, title: str = "", limit: float | None = None) -> AxesImage:
    """Draw the token matrix (tokens, dim) as a heatmap, a frame around row 0, the CLS token."""
    tokens = np.asarray(tokens)
    limit = limit or np.abs(tokens).max()
    artist = ax.imshow(tokens, vmin=-limit, vmax=limit, aspect="auto")
    ax.add_patch(_frame(slice(0, 1), slice(0, tokens.shape[1])))
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.set(xlabel="dim", ylabel="token")
    ax.set_title(title)
    return artist


def plot_similarity(similarity, grid: tuple[int, int], ax: Axes, *, title: str = "") -> AxesImage:
    """Draw the similarity of patch positions (patches, patches) as a grid of grids, one for each position."""
    maps = np.asarray(similarity).reshape(-1, 1, *grid)
    artist = ax.imshow(_mosaic(maps, per_row=grid[1], gap=1, blank=np.nan)[0])
    ax.set_title(title)
    ax.axis("off")
    return artist


def plot_weights(weights, ax: Axes, *, names: Sequence[str] = (), title: str = "") -> AxesImage:
    """Draw attention weights (queries, keys): row by row, where each token looks."""
    artist = ax.imshow(np.asarray(weights), vmin=0)
    ax.set(xlabel="key: is looked at", ylabel="query: looks")
    if names:
        ax.set_xticks(range(len(names)), names)
        ax.set_yticks(range(len(names)), names)
    ax.set_title(title)
    return artist


def plot_attention(
    attention_map, image, ax: Axes, *, title: str = "", limit: float | None = None
) -> AxesImage:
    """Lay an attention map (rows, cols) over its picture: the brighter, the more it is looked at.

    ``limit`` is the weight drawn brightest; give maps that are to be compared the same one.
    """
    height, width = _picture(image).shape[:2]
    plot_image(image, ax, title=title)
    extent = (-0.5, width - 0.5, height - 0.5, -0.5)
    return ax.imshow(np.asarray(attention_map), alpha=0.65, extent=extent, vmin=0, vmax=limit)


def plot_deletion(curves: dict, num_images: int, ax: Axes) -> list[Line2D]:
    """Draw curves, name -> accuracy by patches removed, each with one standard error of ``num_images``."""
    artists = []
    for (name, curve), marker in zip(curves.items(), "osD^vPX", strict=False):
        curve = np.asarray(curve)
        error = np.sqrt(curve * (1 - curve) / num_images)
        artists += ax.plot(curve, marker + "-", markersize=4, label=name)
        ax.fill_between(np.arange(len(curve)), curve - error, curve + error, alpha=0.25)
    ax.set(xlabel="patches removed", ylabel="accuracy", ylim=(0, 1.02))
    ax.legend(title="first to go", loc="upper left", bbox_to_anchor=(1, 1))
    return artists


def plot_by_layer(values: dict, ax: Axes, *, ylabel: str) -> list[Line2D]:
    """Draw numbers against the layer, one line per name; each has a marker and a dash of its own."""
    artists = []
    for (name, numbers), style in zip(values.items(), ("o-", "s--", "D:", "^-."), strict=False):
        numbers = np.asarray(numbers)
        artists += ax.plot(numbers, style, label=name)
    ax.set(xlabel="layer", ylabel=ylabel, xticks=range(len(numbers)))
    ax.legend()
    return artists


def plot_scores(answers: Sequence[tuple[str, float]], ax: Axes, *, title: str = "") -> BarContainer:
    """Draw (label, probability) pairs as bars, the most probable on top."""
    labels, probabilities = zip(*answers, strict=True)
    bars = ax.barh(range(len(labels)), probabilities)
    ax.bar_label(bars, [f"{p:.2f}" for p in probabilities], padding=3)
    ax.set_yticks(range(len(labels)), labels)
    ax.invert_yaxis()
    ax.set(xlim=(0, 1.15), xlabel="probability")
    ax.set_title(title)
    return bars


def plot_embeddings(points, labels, ax: Axes, *, title: str = "") -> PathCollection:
    """Draw points in the plane (points, 2), each marked by the digit or name of its class."""
    points, labels = np.asarray(points), np.asarray(labels)
    shades = np.unique(labels, return_inverse=True)[1]
    artist = ax.scatter(*points.T, c=shades, s=60, alpha=0.25, linewidths=0)
    for label in np.unique(labels):
        ax.text(*np.median(points[labels == label], axis=0), str(label), size=15, weight="bold", ha="center")
    ax.set_title(title)
    ax.set(xticks=[], yticks=[])
    return artist


def plot_history(history, ax: Axes) -> list[Line2D]:
    """Draw training loss (left axis) and, where there is one, validation accuracy (right axis) by epoch."""
    epochs = np.arange(1, len(history.loss) + 1)
    artists = ax.plot(epochs, history.loss, label="training loss")
    ax.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
    if history.valid_accuracy:
        right = ax.twinx()
        artists += right.plot(epochs, history.valid_accuracy, "--", color="C1", label="validation accuracy")
        right.set(ylabel="validation accuracy", ylim=(0, 1.02))
        right.spines.right.set_visible(True)
    ax.legend(handles=artists, loc="center right")
    return artists


def _picture(image) -> np.ndarray:
    """C H W with one or three channels -> what imshow takes."""
    picture = np.asarray(image)
    if picture.ndim != 3 or picture.shape[0] not in (1, 3):
        raise ValueError(f"a picture must be (1 or 3 channels, height, width), got {picture.shape}")
    return picture[0] if picture.shape[0] == 1 else picture.transpose(1, 2, 0)


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
    return Rectangle(corner, *size, fill=False, edgecolor="#E69F00", linewidth=3, clip_on=False)


def _box(number: int, name: str, lit: bool, ax: Axes) -> FancyBboxPatch:
    style = {"facecolor": LIT if lit else UNLIT, "edgecolor": INK, "linewidth": 2 if lit else 0}
    box = FancyBboxPatch((number - 0.36, 0.08), 0.72, 0.84, boxstyle="round,pad=0.02", **style)
    ax.text(
        number,
        0.5,
        f"{number}\n{name}",
        ha="center",
        va="center",
        weight="bold" if lit else "normal",
        size=10,
    )
    return ax.add_patch(box)


def _arrow(start: float, end: float, ax: Axes) -> None:
    ax.annotate("", (end, 0.5), (start, 0.5), arrowprops={"arrowstyle": "->", "color": INK})
