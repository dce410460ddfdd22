"""Tables of tokens against tokens, read row by row: where a token looks, or which positions are like it."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import traitlets
from jaxtyping import Float
from matplotlib import style
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from vit_steps.looking.plots import plot_attention, plot_grid
from vit_steps.looking.widgets._doors import (
    ask_finite,
    ask_grid,
    ask_labels,
    ask_picture,
    ask_tensor,
)
from vit_steps.looking.widgets.base import CIVIDIS, HERE, STYLE, LessonWidget, picture_of


class Explorer(LessonWidget):
    """Tables of tokens against tokens, to be read row by row; they are all in the browser."""

    _esm = HERE / "explorer.js"
    kind = traitlets.Unicode().tag(sync=True)
    grid = traitlets.List(traitlets.Int()).tag(sync=True)
    tokens = traitlets.Int().tag(sync=True)
    table = traitlets.Bytes().tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    choices = traitlets.List(traitlets.Dict()).tag(sync=True)
    chosen = traitlets.List(traitlets.Int()).tag(sync=True)
    query = traitlets.Int().tag(sync=True)
    pictures = traitlets.Bytes().tag(sync=True)
    picture_size = traitlets.List(traitlets.Int(), [1, 1]).tag(sync=True)
    colours = traitlets.Bytes(CIVIDIS).tag(sync=True)


def position_picker(similarity: Tensor | Mapping[str, Tensor], grid: tuple[int, int]) -> Explorer:
    """Pick a patch, and see which positions are like it (ViT paper, figure 7 centre, one map at a time).

    Args:
        similarity: cosine similarities of every position with every other, (patches, patches), or
            (tokens, tokens) with the CLS token first; or several such tables by name, a control
            among them, which are then drawn side by side.
        grid: (rows, cols), counted in patches.

    Raises:
        ValueError: "similarity has shape (48, 48), grid (7, 7) needs (49, 49), or (50, 50) with CLS",
            "similarity holds NaN or infinity", "similarity holds tables of 49 and of 50 tokens".
        TypeError: ``similarity`` is neither a tensor nor tables by name.
    """
    tables = dict(similarity) if isinstance(similarity, Mapping) else {"similarity": similarity}
    tokens = _ask_similarities(tables, grid)
    tables = {name: table.detach().float().cpu() for name, table in tables.items()}
    row, col = grid[0] // 2, grid[1] // 2
    query = tokens - grid[0] * grid[1] + row * grid[1] + col
    return Explorer(
        picture=picture_of(_similarity_figure(tables, grid, query)),
        alt=f"{' and '.join(tables)}, {grid[0]} × {grid[1]} places each: the brighter a place, the more it "
        f"is like the framed one in row {row}, column {col}.",
        query=query,
        **_send("similarity", tables, grid),
    )


def attention_explorer(
    images: Float[Tensor, "batch channels height width"],
    attention: Float[Tensor, "batch depth heads tokens tokens"],
    grid: tuple[int, int],
    *,
    control: Float[Tensor, "batch depth heads tokens tokens"] | None = None,
    labels: Sequence[str] | None = None,
) -> Explorer:
    """Point at a patch, or move with the arrow keys, and see where it looks: any image, layer and head.

    Images and weights go to the browser once. Layers and heads are numbered from 0, as in
    ``cls_attention``; "mean" is the mean over heads. It starts with the CLS token in the last layer.

    Args:
        images: with values in [0, 1], 1 or 3 channels.
        attention: as ``ViT.trace`` gives it, with the CLS token first.
        grid: (rows, cols), counted in patches.
        control: the same of an untrained model, drawn beside it on the same scale.
        labels: what to call each image; their numbers when left out.

    Raises:
        ValueError: "attention has 17 queries and 17 keys, grid (3, 4) with the CLS token needs 13",
            "attention is for 2 images, images holds 3", "images of 8 x 8 cannot be cut into a grid of
            (2, 4) squares", "control has shape (1, 3, 4, 17, 17), attention (1, 4, 4, 17, 17)".
        TypeError: an argument is not a tensor.
    """
    _ask_explorer(images, attention, grid, labels)
    _ask_control(control, attention)
    maps = {"in the model": attention} | ({} if control is None else {"in the control": control})
    maps = {name: _with_mean(weights) for name, weights in maps.items()}
    cls_maps = torch.stack([weights[0, -1, 0, 0, 1:].unflatten(0, grid) for weights in maps.values()])
    return Explorer(
        picture=picture_of(_attention_figure(images[0], cls_maps, list(maps))),
        alt=_tell_start(labels[0] if labels else "0", attention.shape[1] - 1, cls_maps[0]),
        choices=_choices(attention, labels),
        chosen=[0, attention.shape[1] - 1, 0],
        pictures=_to_rgba(images),
        picture_size=list(images.shape[2:]),
        **_send("attention", maps, grid),
    )


def _similarity_figure(tables: dict[str, Tensor], grid: tuple[int, int], query: int) -> Figure:
    with style.context(STYLE):
        figure = Figure(figsize=(0.6 + 3.2 * len(tables), 3.2))
        axes = figure.subplots(1, len(tables), squeeze=False)[0]
        for (name, table), ax in zip(tables.items(), axes, strict=True):
            num_cls = len(table) - grid[0] * grid[1]
            places = np.asarray(table.detach().float().cpu())[query, num_cls:].reshape(grid)
            artist = ax.imshow(places, vmin=table.min(), vmax=table.max())
            row, col = divmod(query - num_cls, grid[1])
            ax.add_patch(Rectangle((col - 0.5, row - 0.5), 1, 1, fill=False, color="black", linewidth=3))
            ax.set_title(name, parse_math=False)
            ax.axis("off")
            figure.colorbar(artist, ax=ax, shrink=0.8)
    return figure


def _with_mean(attention: Tensor) -> Tensor:
    weights = attention.detach().float()
    return torch.cat([weights.mean(dim=2, keepdim=True), weights], dim=2)


def _choices(attention: Tensor, labels: Sequence[str] | None) -> list[dict]:
    batch, depth, heads = attention.shape[:3]
    return [
        {"label": "image", "options": list(labels or map(str, range(batch)))},
        {"label": "layer", "options": [str(layer) for layer in range(depth)]},
        {"label": "head", "options": ["mean", *map(str, range(heads))]},
    ]


def _tell_start(label: str, layer: int, cls_map: Tensor) -> str:
    row, col = divmod(cls_map.argmax().item(), cls_map.shape[1])
    return (
        f"The image ({label}), and where its CLS token looks in layer {layer}, mean over heads: "
        f"of the patches, most at row {row}, column {col}."
    )


def _attention_figure(image: Tensor, maps: Tensor, names: list[str]) -> Figure:
    with style.context(STYLE):
        figure = Figure(figsize=(3 * (1 + len(maps)), 3.2))
        left, *others = figure.subplots(1, 1 + len(maps))
        plot_grid(image, image.shape[-1] // maps.shape[-1], left, title="the picture")
        for attention_map, name, ax in zip(maps, names, others, strict=True):
            title = f"where CLS looks {name}"
            plot_attention(attention_map, image, ax, title=title, limit=maps.max().item())
    return figure


def _to_rgba(images: Tensor) -> bytes:
    rgb = (images.detach().cpu().float().clamp(0, 1) * 255).round().byte().expand(-1, 3, -1, -1)
    opaque = torch.full_like(rgb[:, :1], 255)
    return torch.cat([rgb, opaque], dim=1).permute(0, 2, 3, 1).contiguous().numpy().tobytes()


def _send(kind: str, tables: dict[str, Tensor], grid: tuple[int, int]) -> dict:
    """What the explorer's script must know of its tables, whose last two axes are tokens."""
    numbers = torch.stack(list(tables.values())).detach().float().cpu().numpy()
    return {
        "kind": kind,
        "grid": list(grid),
        "tokens": numbers.shape[-1],
        "names": list(tables),
        "table": numbers.astype("<f4").tobytes(),
    }


def _ask_similarities(tables: dict[str, Tensor], grid: tuple[int, int]) -> int:
    patches = ask_grid(grid)
    if not tables:
        raise ValueError("similarity holds no table")
    for name, table in tables.items():
        if not isinstance(name, str):
            raise TypeError(f"similarity must name its tables, got the name {name!r}")
        ask_tensor("similarity", table, "tokens tokens")
        if table.shape not in ((patches,) * 2, (patches + 1,) * 2):
            raise ValueError(
                f"similarity has shape {tuple(table.shape)}, grid {tuple(grid)} needs {(patches, patches)}, "
                f"or {(patches + 1, patches + 1)} with CLS"
            )
        ask_finite("similarity", table)
    sizes = sorted({len(table) for table in tables.values()})
    if len(sizes) > 1:
        raise ValueError(f"similarity holds tables of {sizes[0]} and of {sizes[1]} tokens")
    return sizes[0]


def _ask_explorer(images: Tensor, attention: Tensor, grid: tuple[int, int], labels: Sequence | None) -> None:
    patches = ask_grid(grid)
    _ask_images(images)
    ask_tensor("attention", attention, "batch depth heads tokens tokens")
    ask_finite("attention", attention)
    if attention.shape[3:] != (patches + 1, patches + 1):
        raise ValueError(
            f"attention has {attention.shape[3]} queries and {attention.shape[4]} keys, grid {tuple(grid)} "
            f"with the CLS token needs {patches + 1}"
        )
    for name, size in (("image", len(images)), ("layer", attention.shape[1]), ("head", attention.shape[2])):
        if not size:
            raise ValueError(f"there is nothing to explore: 0 {name}s")
    if len(attention) != len(images):
        raise ValueError(f"attention is for {len(attention)} images, images holds {len(images)}")
    if labels is not None:
        ask_labels(labels)
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"labels names {len(labels)} images, images holds {len(images)}")
    height, width = images.shape[2:]
    if height % grid[0] or width % grid[1] or height // grid[0] != width // grid[1]:
        raise ValueError(f"images of {height} x {width} cannot be cut into a grid of {tuple(grid)} squares")


def _ask_control(control: Tensor | None, attention: Tensor) -> None:
    if control is None:
        return
    ask_tensor("control", control, "batch depth heads tokens tokens")
    if control.shape != attention.shape:
        raise ValueError(f"control has shape {tuple(control.shape)}, attention {tuple(attention.shape)}")
    ask_finite("control", control)


def _ask_images(images: Tensor) -> None:
    ask_tensor("images", images, "batch channels height width")
    if images.shape[1] not in (1, 3):
        raise ValueError(f"images must have 1 or 3 channels, got {images.shape[1]}")
    ask_picture("images", images)
