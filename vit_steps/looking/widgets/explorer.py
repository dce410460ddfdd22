"""Tables of tokens against tokens, read row by row: where a token looks, or which positions are like it."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import traitlets
from jaxtyping import Float
from matplotlib import style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from vit_steps.doors import door, judge, values
from vit_steps.looking._drawable import GREY_OR_COLOUR
from vit_steps.looking._for_browsers import CIVIDIS, picture_file, pixels_of
from vit_steps.looking.attention_maps import PATCHES, PREFIX, attention_rollout
from vit_steps.looking.plots import plot_grid, plot_map
from vit_steps.looking.widgets.base import (
    HERE,
    STYLE,
    LessonWidget,
    as_drawn,
    drawing,
    picture_of,
)


class Explorer(LessonWidget):
    """Tables of tokens against tokens, to be read row by row; they are all in the browser."""

    _esm = HERE / "explorer.js"
    kind = traitlets.Unicode().tag(sync=True)
    grid = traitlets.List(traitlets.Int()).tag(sync=True)
    tokens = traitlets.Int().tag(sync=True)
    table = traitlets.Bytes().tag(sync=True)
    limits = traitlets.List(traitlets.List(traitlets.Float())).tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    choices = traitlets.List(traitlets.Dict()).tag(sync=True)
    chosen = traitlets.List(traitlets.Int()).tag(sync=True)
    query = traitlets.Int().tag(sync=True)
    pictures = traitlets.List(traitlets.Bytes()).tag(sync=True)
    colours = traitlets.Bytes(CIVIDIS).tag(sync=True)


@door(PREFIX)
def position_picker(
    similarity: Tensor | Mapping[str, Tensor], grid: tuple[int, int], *, num_prefix: int = 1
) -> Explorer:
    """Pick a patch, and see which positions are like it (ViT paper, figure 7 centre, one map at a time).

    To the reader rows and columns are numbered from 1.

    Args:
        similarity: cosine similarities of every position with every other, (patches, patches), or
            (tokens, tokens) with the CLS token first; or several such tables by name, a control
            among them, which are then drawn side by side.
        grid: (rows, cols), counted in patches.
        num_prefix: tokens before the patches where there are any: the CLS token, and registers, which are
            left out.

    Raises:
        ValueError: "similarity has shape (48, 48), grid (7, 7) needs (49, 49), or (50, 50) with num_prefix
            1", "similarity holds NaN or infinity", "similarity holds tables of 49 and of 50 tokens".
        TypeError: ``similarity`` is neither a tensor nor tables by name.
    """
    tables = _read_tables(similarity, grid, num_prefix)
    tokens = len(next(iter(tables.values())))
    row, col = middle(grid)
    query = tokens - grid[0] * grid[1] + row * grid[1] + col
    return Explorer(
        picture=picture_of(_similarity_figure(tables, grid, query)),
        alt=f"{' and '.join(tables)}, {grid[0]} × {grid[1]} places each: the brighter a place, the more it "
        f"is like the framed one in row {row + 1}, column {col + 1}.",
        query=query,
        **_send("similarity", tables, grid),
    )


def _numbers_to_draw(images: Tensor, attention: Tensor, control: Tensor | None) -> None:
    values.one_of("images channels", images.shape[1], GREY_OR_COLOUR)
    values.between("images", values.finite("images", images), 0, 1)
    values.finite("attention", attention)
    if control is not None:
        values.finite("control", control)


@drawing("images", "attention", "control")
@door(
    "images batch is at least 1",
    "attention depth is at least 1",
    "attention heads is at least 1",
    PREFIX,
    PATCHES,
    "images height is a multiple of grid rows",
    "images width is a multiple of grid cols",
    "images height / grid rows is images width / grid cols: patches are square",
    "number of labels is images batch",
    lambda labels: None if labels is None else values.names("labels", labels),
    _numbers_to_draw,
)
def attention_explorer(
    images: Float[Tensor, "batch channels height width"],
    attention: Float[Tensor, "batch depth heads tokens tokens"],
    grid: tuple[int, int],
    *,
    control: Float[Tensor, "batch depth heads tokens tokens"] | None = None,
    labels: Sequence[str] | None = None,
    num_prefix: int = 1,
) -> Explorer:
    """Point at a patch, or move with the arrow keys, and see where it looks: any image, block and head.

    Images and weights go to the browser once. To the reader blocks, heads, rows and columns are numbered
    from 1. Beside the heads stand "rollout", from block 1 to the chosen one (:func:`attention_rollout`), and
    "mean", over heads. It starts with the rollout of the CLS token through all blocks, since the last
    block's own map may fail the deletion test; or with the patch in the middle where no CLS token is. Of one
    head there is nothing to choose: give it the rollouts up to each block.

    Args:
        images: with values in [0, 1], 1 or 3 channels.
        attention: as ``ViT.trace`` gives it, with the CLS token first; or, as of one head, rollouts.
        grid: (rows, cols), counted in patches.
        control: the same of an untrained model, drawn beside it on the same scale.
        labels: what to call each image; their numbers when left out.
        num_prefix: tokens before the patches. The first of them is the CLS token; registers behind it are
            neither shown nor counted. Of registers without a CLS token, cut both axes
            (``attention[..., 4:, 4:]``) and say 0.

    Raises:
        ValueError: "attention tokens 17 is not num_prefix 1 + grid rows 3 * grid cols 4 = 13: the CLS token
            and registers come first", "images has batch 3, attention has batch 2", "images height 8 / grid
            rows 2 = 4 is not images width 8 / grid cols 4 = 2: patches are square", "attention has depth 4,
            control has depth 3", "number of labels 2 is not images batch 1".
        TypeError: an argument is not a tensor.
    """
    maps = {"in the model": attention} | ({} if control is None else {"in the control": control})
    maps = {name: _without_registers(_with_means(weights), num_prefix) for name, weights in maps.items()}
    place = None if num_prefix else middle(grid)
    query = place[0] * grid[1] + place[1] if place else 0
    seen = torch.stack([weights[0, -1, 0, query, -grid[0] * grid[1] :] for weights in maps.values()])
    seen = seen.unflatten(1, grid)
    return Explorer(
        picture=picture_of(_attention_figure(images[0], seen, list(maps), place)),
        alt=_tell_start(labels[0] if labels else "0", attention, seen[0], place),
        query=query,
        choices=_choices(attention, labels),
        chosen=[0, attention.shape[1] - 1, *[0] * (attention.shape[2] > 1)],
        pictures=[picture_file(pixels_of(image)) for image in images],
        **_send("attention", maps, grid),
    )


def middle(grid: tuple[int, int]) -> tuple[int, int]:
    """Row and column of the patch in the middle."""
    return grid[0] // 2, grid[1] // 2


def _without_registers(weights: Tensor, num_prefix: int) -> Tensor:
    """Leave the CLS token and the patches, of tables whose last two axes are tokens."""
    if num_prefix < 2:
        return weights
    shown = [0, *range(num_prefix, weights.shape[-1])]
    return weights[..., shown, :][..., shown]


def _read_tables(
    similarity: Tensor | Mapping[str, Tensor], grid: tuple[int, int], num_prefix: int
) -> dict[str, Tensor]:
    tables = dict(similarity) if isinstance(similarity, Mapping) else {"similarity": similarity}
    values.names("names of similarity", list(tables))
    tables = {name: _read_table(as_drawn(table), grid, num_prefix) for name, table in tables.items()}
    sizes = sorted({len(table) for table in tables.values()})
    if not sizes:
        raise ValueError("similarity holds no table")
    if len(sizes) > 1:
        raise ValueError(f"similarity holds tables of {sizes[0]} and of {sizes[1]} tokens")
    return tables


def _read_table(table: Tensor, grid: tuple[int, int], num_prefix: int) -> Tensor:
    judge("similarity", table, Float[Tensor, "tokens tokens"])
    patches = grid[0] * grid[1]
    tokens = num_prefix + patches
    if len(table) not in (patches, tokens):
        raise ValueError(
            f"similarity has shape {tuple(table.shape)}, grid {tuple(grid)} needs {(patches, patches)}, "
            f"or {(tokens, tokens)} with num_prefix {num_prefix}"
        )
    values.finite("similarity", table)
    return table if len(table) == patches else _without_registers(table, num_prefix)


def _similarity_figure(tables: dict[str, Tensor], grid: tuple[int, int], query: int) -> Figure:
    with style.context(STYLE):
        figure = Figure(figsize=(0.6 + 3.2 * len(tables), 3.2))
        axes = figure.subplots(1, len(tables), squeeze=False)[0]
        for (name, table), ax in zip(tables.items(), axes, strict=True):
            num_cls = len(table) - grid[0] * grid[1]
            places = np.asarray(table)[query, num_cls:].reshape(grid)
            artist = ax.imshow(places, vmin=table.min(), vmax=table.max())
            frame(divmod(query - num_cls, grid[1]), ax)
            ax.set_title(name, parse_math=False)
            ax.axis("off")
            figure.colorbar(artist, ax=ax, shrink=0.8)
    return figure


def frame(place: tuple[int, int], ax: Axes, side: float = 1) -> None:
    """Mark one patch, (row, col), of a map, or of a picture with that many pixels a patch."""
    row, col = place
    corner = (col * side - 0.5, row * side - 0.5)
    lines = (("black", 3),) if side == 1 else (("black", 4), ("white", 1.5))  # seen on any photograph
    for color, linewidth in lines:
        ax.add_patch(Rectangle(corner, side, side, fill=False, color=color, linewidth=linewidth))


def _with_means(attention: Tensor) -> Tensor:
    """The rollouts up to each block and the means over heads before them, where there are several."""
    depth, heads = attention.shape[1:3]
    if heads == 1:
        return attention
    rollouts = [attention_rollout(attention[:, : block + 1]) for block in range(depth)]
    means = attention.mean(dim=2, keepdim=True)
    return torch.cat([torch.stack(rollouts, dim=1)[:, :, None], means, attention], dim=2)


def _choices(attention: Tensor, labels: Sequence[str] | None) -> list[dict]:
    batch, depth, heads = attention.shape[:3]
    words = ["rollout from block 1 on", "mean of heads", *(f"head {each}" for each in _counted(heads))]
    choices = [
        {"label": "image", "options": list(labels or map(str, range(batch)))},
        {"label": "block", "options": _counted(depth)},
        {"label": "head", "options": ["rollout", "mean", *_counted(heads)], "words": words},
    ]
    return choices if heads > 1 else choices[:2]


def _counted(number: int) -> list[str]:
    return [str(each) for each in range(1, number + 1)]


def _tell_start(label: str, attention: Tensor, seen: Tensor, place: tuple[int, int] | None) -> str:
    row, col = divmod(seen.argmax().item(), seen.shape[1])
    who = f"its patch in row {place[0] + 1}, column {place[1] + 1}" if place else "its CLS token"
    depth, heads = attention.shape[1:3]
    which = f"looks in block {depth}" if heads == 1 else f"looks by rollout, from block 1 to block {depth}"
    return (
        f"The image ({label}), and where {who} {which}: "
        f"of the patches, most at row {row + 1}, column {col + 1}."
    )


def _attention_figure(image: Tensor, maps: Tensor, names: list[str], place: tuple[int, int] | None) -> Figure:
    with style.context(STYLE):
        figure = Figure(figsize=(3 * (1 + len(maps)), 3.2))
        left, *others = figure.subplots(1, 1 + len(maps))
        plot_grid(image, image.shape[-1] // maps.shape[-1], left, title="the picture")
        for attention_map, name, ax in zip(maps, names, others, strict=True):
            title = f"where {'the framed patch' if place else 'CLS'} looks {name}"
            plot_map(attention_map, ax, title=title, limit=maps.max().item())
            if place:
                frame(place, ax)
    return figure


def _send(kind: str, tables: dict[str, Tensor], grid: tuple[int, int]) -> dict:
    """What the explorer's script must know of its tables, whose last two axes are tokens."""
    numbers = torch.stack(list(tables.values())).numpy()
    return {
        "kind": kind,
        "grid": list(grid),
        "tokens": numbers.shape[-1],
        "names": list(tables),
        "table": numbers.astype("<f4").tobytes(),
    }
