"""Point at a patch of a photograph, and see which other patches a model takes for the same."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from matplotlib import style
from matplotlib.figure import Figure
from torch import Tensor

from vit_steps.doors import door, values
from vit_steps.looking._drawable import GREY_OR_COLOUR
from vit_steps.looking._for_browsers import as_bytes, cosines, picture_file, pixels_of, rounded
from vit_steps.looking.attention_maps import PREFIX
from vit_steps.looking.plots import plot_image
from vit_steps.looking.widgets.base import STYLE, drawing, picture_of
from vit_steps.looking.widgets.explorer import Explorer, frame, middle

NEAR = 2  # patches closer than this are neighbours, which are alike in most photographs


def _numbers_to_draw(images: Tensor, tokens: Tensor, control: Tensor | None) -> None:
    values.one_of("images channels", images.shape[1], GREY_OR_COLOUR)
    values.between("images", values.finite("images", images), 0, 1)
    values.finite("tokens", tokens)
    if control is not None:
        values.finite("control", control)


@drawing("images", "tokens", "control")
@door(
    "images batch is at least 1",
    "tokens components is at least 1",
    "control others is at least 1",
    PREFIX,
    "tokens tokens is num_prefix + grid rows * grid cols: the CLS token and registers come first",
    "images height is a multiple of grid rows",
    "images width is a multiple of grid cols",
    "images height / grid rows is images width / grid cols: patches are square",
    "place_in_grid rows is at most grid rows",
    "place_in_grid cols is at most grid cols",
    "number of labels is images batch",
    lambda labels: None if labels is None else values.names("labels", labels),
    _numbers_to_draw,
)
def likeness_picker(
    images: Float[Tensor, "batch channels height width"],
    tokens: Float[Tensor, "batch tokens components"],
    grid: tuple[int, int],
    *,
    control: Float[Tensor, "batch tokens others"] | None = None,
    labels: Sequence[str] | None = None,
    num_prefix: int = 0,
    place_in_grid: tuple[int, int] | None = None,
) -> Explorer:
    """Point at a patch, or move with the arrow keys, and see how like it all other patches' tokens are.

    Alike is the cosine of two tokens. The tokens themselves go to the browser, in 16 bits a number, and it
    computes the cosines: a page stays as small as they are. Both maps have one scale, from the least cosine
    of the image to 1. Of the most alike no neighbours are named: these are alike in most photographs.

    Args:
        images: with values in [0, 1], 1 or 3 channels.
        tokens: such as ``ViT.trace(...).encoded``, or few principal components of them: cosines are those of
            what is given here. A token of zeros is like nobody.
        grid: (rows, cols), counted in patches.
        control: the same of an untrained model, drawn beside it; it may have another number of components.
        labels: what to call each image; their numbers when left out.
        num_prefix: tokens before the patches, which are left out: the CLS token and registers.
        place_in_grid: (row, column) of the patch that is framed first, counted from 1 as in the widget's
            sentence; the one in the middle when left out.

    Raises:
        ValueError: "tokens tokens 17 is not num_prefix 0 + grid rows 4 * grid cols 4 = 16: the CLS token and
            registers come first", "images has batch 3, tokens has batch 2", "images height 8 / grid rows 2 =
            4 is not images width 8 / grid cols 4 = 2: patches are square", "tokens holds NaN or infinity",
            "number of labels 2 is not images batch 1", "place_in_grid rows 9 is more than grid rows 8".
        TypeError: an argument is not a tensor.
    """
    maps = {"in the model": tokens} | ({} if control is None else {"in the control": control})
    sent = {name: rounded(vectors[:, num_prefix:]) for name, vectors in maps.items()}
    alike = torch.stack([cosines(vectors).float() for vectors in sent.values()], dim=1)
    row, col = middle(grid) if place_in_grid is None else (each - 1 for each in place_in_grid)
    query, label = row * grid[1] + col, labels[0] if labels else "0"
    seen = alike[0, :, query].unflatten(1, grid)
    limits = [[least, 1.0] for least in alike.flatten(1).amin(dim=1).tolist()]
    return Explorer(
        picture=picture_of(_figure(images[0], seen, list(maps), (row, col), limits[0])),
        alt=_tell(label, seen[0], (row, col)),
        kind="likeness",
        grid=list(grid),
        tokens=grid[0] * grid[1],
        table=as_bytes(list(sent.values())),
        limits=limits,
        names=list(maps),
        choices=[{"label": "image", "options": list(labels or map(str, range(len(images))))}],
        chosen=[0],
        query=query,
        pictures=[picture_file(pixels_of(image)) for image in images],
    )


def _tell(label: str, alike: Tensor, place: tuple[int, int]) -> str:
    row, col = place
    rows, cols = np.indices(alike.shape)
    far = torch.from_numpy(np.maximum(abs(rows - row), abs(cols - col)) >= NEAR)
    told = torch.where(far, alike, -2.0) if far.any() else alike
    best_row, best_col = divmod(told.argmax().item(), alike.shape[1])
    return (
        f"The image ({label}), and how like the token of the framed patch in row {row + 1}, column {col + 1} "
        f"the others are: beyond its neighbours, most in row {best_row + 1}, column {best_col + 1}."
    )


def _figure(
    image: Tensor, maps: Tensor, names: list[str], place: tuple[int, int], limits: Sequence[float]
) -> Figure:
    with style.context(STYLE):
        figure = Figure(figsize=(3 * (1 + len(names)) + 0.6, 3.4))
        left, *others = axes = figure.subplots(1, 1 + len(names))
        plot_image(image, left, title="the picture")
        frame(place, left, image.shape[-1] / maps.shape[-1])
        for alike, name, ax in zip(maps, names, others, strict=True):
            artist = ax.imshow(alike.numpy(), vmin=limits[0], vmax=limits[1])
            ax.set_title(f"like the framed patch\n{name}")
            ax.axis("off")
            frame(place, ax)
        figure.colorbar(artist, ax=axes, shrink=0.7)
    return figure
