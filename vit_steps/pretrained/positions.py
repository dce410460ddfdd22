"""What a model's positions were learned for, and what they become for the images that are wanted."""

import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import pad

from vit_steps.position_embedding import Library, resize_position
from vit_steps.pretrained._dialect import Dialect
from vit_steps.pretrained.obstacles import SPECTROGRAM
from vit_steps.pretrained.rotary import Rotary, pair_halves
from vit_steps.vit import ViT

Grid = tuple[int, int]


class Table(NamedTuple):
    """What positions were learned for: a grid of patches, and so many rows before them."""

    grid: Grid
    prefix_rows: int


def read_positions(
    weights: dict[str, Tensor], config: dict, dialect: Dialect, told: Grid | None, wanted: Grid | None
) -> Table:
    """Find out what the positions of weights were learned for.

    Args:
        weights: as :func:`vit_steps.pretrained.to_timm` gives them.
        config: what is known of the model: its sizes, and its kind.
        dialect: of the weights.
        told: (height, width) in pixels that a config beside the weights tells.
        wanted: (height, width) in pixels of the images that are wanted.

    Raises:
        ValueError: "the position table has 5 patches, which is no square: give image_size", "the config says
            image_size (32, 32), the position table has 5 patches", "the positions are rotary, and fit images
            of any size: give image_size".
    """
    grids = [
        (size[0] // config["patch_size"], size[1] // config["patch_size"]) if size else None
        for size in (told, wanted)
    ]
    if "pos_embed" not in weights:
        return _without_table(weights, grids)
    rows, prefixes = weights["pos_embed"].shape[1], _prefix_rows(config, dialect)
    for table in _readings(rows, prefixes, dialect, grids):
        if 0 < math.prod(table.grid) == rows - table.prefix_rows:
            return table
    patches = rows - prefixes[0]
    if told:
        raise ValueError(f"the config says image_size {told}, the position table has {patches} patches")
    why = f" ({SPECTROGRAM}?)" if config["channels"] == 1 else ""
    raise ValueError(f"the position table has {patches} patches, which is no square: give image_size{why}")


def _without_table(weights: dict[str, Tensor], grids: list[Grid | None]) -> Table:
    told, wanted = grids if "blocks.0.attn.angles" in weights else reversed(grids)
    if (grid := told or wanted) is None:
        raise ValueError("the positions are rotary, and fit images of any size: give image_size")
    return Table(grid, 0)


def _prefix_rows(config: dict, dialect: Dialect) -> list[int]:
    """How many rows a table may have before the patches, the likeliest first."""
    rows = [config["class_token"] + config["num_registers"], int(config["class_token"])]
    if not (dialect.cls_row and config["class_token"]):
        rows.append(0)
    return list(dict.fromkeys(rows))


def _readings(rows: int, prefixes: list[int], dialect: Dialect, grids: list[Grid | None]) -> Iterator[Table]:
    """How a table may be read, the likeliest first: as a config says, or square, or as is wanted."""
    told, wanted = grids
    if told:
        yield from (Table(told, prefix) for prefix in prefixes)
        return
    squares = [Table(2 * (math.isqrt(max(0, rows - prefix)),), prefix) for prefix in prefixes]
    others = [Table(wanted, prefix) for prefix in prefixes] if wanted else []
    has_rows = [table for table in squares if table.prefix_rows]
    likely = squares if dialect.cls_row is False else has_rows
    yield from (*likely, *(table for table in others if table.prefix_rows), *squares, *others)


def check_angles_fit(
    weights: dict[str, Tensor], rotary: Rotary | None, made_for: Grid, wanted: Grid | None
) -> None:
    """Refuse another size where the angles of a file are all that is known of them.

    Raises:
        ValueError: "the angles in this file are for images of 32 x 32: image_size 64 x 64 needs others".
    """
    if "blocks.0.attn.angles" in weights and not rotary and wanted not in (None, made_for):
        sizes = [" x ".join(map(str, size)) for size in (made_for, wanted)]
        raise ValueError(
            f"the angles in this file are for images of {sizes[0]}: image_size {sizes[1]} needs others"
        )


def turning(weights: dict[str, Tensor], model: ViT, rotary: Rotary) -> dict[str, Tensor]:
    """Give each block its angles, and lay out queries and keys so that the pairs are those of ``rotate``."""
    num_heads, head_dim = model.config["num_heads"], model.config["dim"] // model.config["num_heads"]
    like = next(iter(weights.values()))
    angles = rotary.angles(model.grid, head_dim).to(like)
    turned = {name: angles for name in model.state_dict() if name.endswith("attn.angles")}
    for name, weight in weights.items():
        paired = rotary.neighbours and ".attn.qkv." in name
        turned[name] = pair_halves(weight, num_heads) if paired else weight
    return turned


def fit(rows: Tensor, model: ViT, table: Table, like: Library) -> Tensor:
    """A row for each token: zeros for those of the prefix without a place, and patches fitted to the grid."""
    missing = model.num_prefix - table.prefix_rows
    placed, patches = rows.tensor_split([table.prefix_rows])
    placed = torch.cat([placed, pad(patches, (0, 0, missing, 0))])
    if model.grid == table.grid:
        return placed
    return resize_position(placed, table.grid, model.grid, num_prefix=model.num_prefix, like=like)
