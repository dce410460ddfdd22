"""What a trained ViT sees in the three photographs: from its weights, or from the numbers that ship.

What ships holds no weights: tokens in few directions, rows of attention, patterns of kernels, and all of it
once more of an untrained twin. ``python tools/real_vit.py`` makes the files in ``data/traces``.
"""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vit_steps.data import PHOTOS, load_photo
from vit_steps.doors import door, values
from vit_steps.files.reading import read_safetensors
from vit_steps.looking.attention_maps import kernel_components
from vit_steps.looking.look import twin_of
from vit_steps.pretrained import Preprocess, load_pretrained
from vit_steps.vit import ViT

TRACES = Path(__file__).parents[1] / "data" / "traces"
SIDE, PHOTO_SIDE = 448, 512  # pixels that the model sees, and of the photograph that they are prepared from
DIRECTIONS, PATTERNS = 128, 12
# The same thing at two places of a photograph: (row, column) in patches of 32 x 32, from 1. They were chosen
# by looking at the photographs alone, before any likeness was drawn.
PAIRS = {
    "her face": ("astronaut", (6, 13), (9, 15)),
    "the suit": ("astronaut", (22, 4), (20, 22)),
    "the flag": ("astronaut", (3, 2), (13, 3)),
    "the shuttle": ("astronaut", (10, 27), (4, 31)),
    "emblem and name tag": ("astronaut", (26, 11), (24, 20)),
    "the visor": ("astronaut", (25, 24), (30, 30)),
    "the cat's eyes": ("chelsea", (11, 10), (15, 28)),
    "its forehead": ("chelsea", (4, 14), (6, 26)),
    "its cheeks": ("chelsea", (22, 4), (22, 29)),
    "the cup's rim": ("coffee", (6, 6), (8, 25)),
    "the coffee": ("coffee", (12, 10), (13, 19)),
    "the saucer": ("coffee", (20, 4), (20, 29)),
    "the spoon": ("coffee", (25, 22), (9, 26)),
    "the table": ("coffee", (3, 2), (31, 31)),
}
NEAR = 2  # patches around a place, which are like it because they are near


class Sight(NamedTuple):
    """What one ViT sees in the photographs of ``PHOTOS``.

    Attributes:
        whose: whose eyes these are, in words.
        photographs: gives ``images``; what nobody asks for takes no memory.
        grid: (rows, cols), counted in patches.
        tokens: of each patch after the last block and the final norm, scaled to length 1, in the directions
            that hold most of them: the product of two is their cosine.
        attention: how much the CLS token looks at each patch, in every block and head.
        kernels: principal components of the patch embedding, the most variance first.
        positions: of each patch, the row of the position table, scaled to length 1.
        kept: how much of the tokens this is, in words.
    """

    whose: str
    photographs: Callable[[], Tensor]
    grid: tuple[int, int]
    tokens: Float[Tensor, "images patches directions"]
    attention: Float[Tensor, "images depth heads patches"]
    kernels: Float[Tensor, "patterns channels side side"]
    positions: Float[Tensor, "patches dim"]
    kept: str = "computed just now"

    @property
    def images(self) -> Float[Tensor, "images channels height width"]:
        """The photographs as the model gets them, colours in [0, 1]."""
        return self.photographs()


@door(lambda model: None if model is None else values.path("model", model))
def load_sights(model: str | os.PathLike | None = None) -> tuple[Sight, Sight]:
    """What a trained ViT sees in the three photographs, and what its untrained twin sees.

    Args:
        model: anything that ``load_pretrained`` reads, such as "facebook/dinov2-small" or a folder; without
            one, what ships is read: no weights and no network are needed.

    Returns:
        The trained sight and the control's.

    Raises:
        ValueError: "model has no CLS token whose attention could be shown", "model has no table of
            positions".
        TypeError: ``model`` is no path.
        ConnectionError: the Hub was asked for a name and does not answer.
    """
    if model is None:
        return _unpack("trained"), _unpack("untrained")
    loaded = load_pretrained(model, image_size=SIDE)
    twin = twin_of(loaded.model)
    return see(loaded.model, loaded.preprocess, str(model)), see(twin, loaded.preprocess, "an untrained twin")


@torch.no_grad()
def see(model: ViT, preprocess: Preprocess, whose: str) -> Sight:
    """Show a ViT the three photographs, and keep what the lessons draw of it."""
    _has_what_is_drawn(model)
    pixels = [preprocess(load_photo(name, size=PHOTO_SIDE)) for name in PHOTOS]
    seen = [tokens_and_attention(model, each) for each in pixels]
    tokens, attention = (torch.cat(parts) for parts in zip(*seen, strict=True))
    return Sight(
        whose=whose,
        photographs=lambda: torch.cat([preprocess.undo(each) for each in pixels]),
        grid=model.grid,
        tokens=in_few_directions(tokens),
        attention=attention,
        kernels=kernel_components(model.patch_embed.proj.weight, PATTERNS),
        positions=F.normalize(model.pos_embed[0, model.pos_embed.shape[1] - tokens.shape[1] :], dim=-1),
    )


def _has_what_is_drawn(model: ViT) -> None:
    if not model.config["class_token"]:
        raise ValueError("model has no CLS token whose attention could be shown")
    if model.pos_embed is None:
        raise ValueError("model has no table of positions")


def tokens_and_attention(model: ViT, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """One image at a time: all the attention of a ViT at this size is hundreds of megabytes."""
    trace = model.trace(pixels)
    patches = slice(model.num_prefix, None)
    return model.norm(trace.encoded)[:, patches], trace.attention[:, :, :, 0, patches].clone()


def in_few_directions(vectors: Tensor, keep: int = DIRECTIONS) -> Tensor:
    """Vectors of length 1 in the ``keep`` directions that hold most of them: cosines stay nearly the same."""
    unit = F.normalize(vectors.double(), dim=-1)
    directions = torch.linalg.svd(unit.flatten(0, -2), full_matrices=False).Vh[:keep]
    return F.normalize(unit @ directions.T, dim=-1).float()


def place_of(row: int, col: int, grid: tuple[int, int]) -> int:
    """Which patch it is, counted from 0, that lies in this row and column, counted from 1."""
    return (row - 1) * grid[1] + col - 1


def _within(grid: tuple[int, int], first: tuple[int, int], second: tuple[int, int]) -> None:
    for name, place in (("first", first), ("second", second)):
        for axis, at, side in zip(("row", "column"), place, grid, strict=True):
            if at > side:
                raise ValueError(f"{name} has {axis} {at}, the grid has {side}")


@door(
    "grid rows * grid cols is tokens patches",
    _within,
    lambda tokens: values.finite("tokens", tokens, "none is alike"),
)
def share_more_alike(
    tokens: Float[Tensor, "patches dim"],
    grid: tuple[int, int],
    first: tuple[int, int],
    second: tuple[int, int],
) -> float:
    """Of the patches that are not beside the first place, the share that is more like it than the second is.

    Args:
        tokens: of the patches of one image; alike is what has a large cosine.
        grid: (rows, cols), counted in patches.
        first: (row, column), counted from 1; patches at most two rows and columns away do not count.
        second: (row, column), counted from 1.

    Returns:
        0 where the second place is the most alike of all, 0.5 where it is like any other.

    Raises:
        ValueError: "first has row 33, the grid has 32", "grid rows 3 * grid cols 5 = 15 is not tokens
            patches 16".
        TypeError: ``tokens`` is not a floating-point tensor.
    """
    likeness = F.cosine_similarity(tokens, tokens[place_of(*first, grid)][None], dim=1)
    rows, cols = torch.meshgrid(*(torch.arange(1, side + 1) for side in grid), indexing="ij")
    far = torch.maximum((rows - first[0]).abs(), (cols - first[1]).abs()).flatten() > NEAR
    return (likeness[far] > likeness[place_of(*second, grid)]).double().mean().item()


def unpack_signed(numbers: Tensor, step: Tensor) -> Tensor:
    """Whole numbers, and for each place of the last axis what one of them is worth: vectors of length 1."""
    return F.normalize(numbers * step, dim=-1)


@cache
def _photographs() -> Float[Tensor, "images channels height width"]:
    """The photographs as DINOv2 is given them."""
    preprocess = Preprocess(
        (SIDE, SIDE), mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), crop_pct=0.875
    )
    return torch.cat([preprocess.undo(preprocess(load_photo(name, size=PHOTO_SIDE))) for name in PHOTOS])


def _unpack(name: str) -> Sight:
    packed, said = read_safetensors(TRACES / f"{name}.safetensors")
    rows, cols = map(int, said["grid"].split(" x "))
    share, error = float(said["share_kept"]), float(said["largest_error_of_a_cosine"])
    return Sight(
        whose=said["whose"],
        photographs=_photographs,
        grid=(rows, cols),
        tokens=unpack_signed(packed["tokens"], packed["tokens_step"]),
        attention=(packed["attention"] / 255).square() * packed["attention_peaks"],
        kernels=packed["kernels"].float(),
        positions=unpack_signed(packed["positions"], packed["positions_step"]),
        kept=f"what ships: {share:.1%} of the tokens, cosines off by at most {error:.3f}",
    )
