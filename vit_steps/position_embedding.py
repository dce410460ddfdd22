"""Step 3: position embedding. Learned or sine-cosine, resized and compared; or rotary, told to the heads."""

import math
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from vit_steps.doors import door

# How each library fits a table to another grid. timm's way is also that of transformers for DINOv2 with
# registers. DINOv2's own code stretches by a tenth of a row and a column more, to hide a rounding error
# (dinov2/models/vision_transformer.py); Google's is scipy.ndimage.zoom with order=1 (vit_jax/checkpoint.py).
RESIZES = {
    "timm": partial(F.interpolate, mode="bicubic", antialias=True),
    "transformers": partial(F.interpolate, mode="bicubic"),
    "DINOv2": lambda picture, size: F.interpolate(
        picture,
        scale_factor=[(new + 0.1) / old for new, old in zip(size, picture.shape[2:], strict=True)],
        mode="bicubic",
    ),
    "DPT": partial(F.interpolate, mode="bilinear"),
    "torchvision": partial(F.interpolate, mode="bicubic", align_corners=True),
    "Google": partial(F.interpolate, mode="bilinear", align_corners=True),
}
Library = Literal["timm", "transformers", "DINOv2", "DPT", "torchvision", "Google"]


@door("number of tokens is at most table max_num_token")
def add_position(
    tokens: Float[Tensor, "batch tokens dim"], table: Float[Tensor, "max_num_token dim"]
) -> Float[Tensor, "batch tokens dim"]:
    """Add to each token the vector of its place (ViT paper, equation 1).

    Args:
        tokens: the CLS token and the patches.
        table: one row per place; the first ``tokens`` rows are used, the same for all images.

    Returns:
        A new tensor: whoever still holds ``tokens`` sees no change.

    Raises:
        ValueError: "number of tokens 17 is more than table max_num_token 16".
        TypeError: an argument is not a tensor, or the two have different dtypes.
    """
    return tokens + table[: tokens.shape[1]]


@door("dim is a multiple of 4: sine and cosine for two axes")
def sincos_position(
    grid: tuple[int, int], dim: int, *, temperature: int | float = 10_000.0
) -> Float[Tensor, "patches dim"]:
    """Two-dimensional sine-cosine embedding, fixed and not learned (as in MoCo v3 and MAE).

    The first half of a row tells the column, the second half the row of the patch; each half is
    [sin(place * omega), cos(place * omega)] with ``omega[k] = temperature ** (-k / (dim / 4))``
    ("Attention is all you need", section 3.5, once for each axis).

    Args:
        grid: (rows, cols), counted in patches.
        dim: width of a token, a multiple of 4.
        temperature: sets the longest wavelength, which comes near ``2 * pi * temperature`` patches if dim is
            large.

    Returns:
        One row per patch, in row-major order, in torch's default dtype. There is no row for the CLS token.

    Raises:
        ValueError: "dim 10 is not a multiple of 4: sine and cosine for two axes".
        TypeError: a size that is not an integer.
    """
    rows, cols = grid
    omega = temperature ** -(torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    col_angles = torch.arange(cols).repeat(rows)[:, None] * omega
    row_angles = torch.arange(rows).repeat_interleave(cols)[:, None] * omega
    angles = [col_angles.sin(), col_angles.cos(), row_angles.sin(), row_angles.cos()]
    return torch.cat(angles, dim=1).to(torch.get_default_dtype())


@door(
    "num_prefix is at least 0",
    "table dim is at least 1",
    "table old_tokens is num_prefix + old_grid rows * old_grid cols",
)
def resize_position(
    table: Float[Tensor, "old_tokens dim"],
    old_grid: tuple[int, int],
    new_grid: tuple[int, int],
    *,
    num_prefix: int = 1,
    like: Library = "timm",
) -> Float[Tensor, "new_tokens dim"]:
    """Fit a learned table to another grid by interpolation in two dimensions (ViT paper, section 3.2).

    Args:
        table: ``num_prefix`` rows for tokens that have no place (CLS), then the patches, row-major.
        old_grid: (rows, cols) that the table was learned for.
        new_grid: (rows, cols) that are wanted.
        num_prefix: rows that are kept as they are.
        like: whose numbers are wanted. All are bicubic but those of DPT (in transformers) and Google; only
            timm's are antialiased when the grid shrinks; torchvision and Google leave the four corners where
            they are.

    Returns:
        ``num_prefix + rows * cols`` rows.

    Raises:
        ValueError: "table old_tokens 16 is not num_prefix 1 + old_grid rows 4 * old_grid cols 4 = 17",
            "like must be one of timm, transformers, DINOv2, DPT, torchvision, Google, got 'keras'".
        TypeError: ``table`` is not a tensor, or a size is not an integer.
    """
    prefix, places = table[:num_prefix], table[num_prefix:]
    picture = places.T.unflatten(1, old_grid)[None]  # N D -> 1 D rows cols
    # On the CPU, torch interpolates neither half nor bfloat16.
    wide = picture.to(torch.promote_types(table.dtype, torch.float32))
    resized = RESIZES[like](wide, size=new_grid).to(table.dtype)
    return torch.cat([prefix, resized[0].flatten(1).T])


@door()
def position_similarity(table: Float[Tensor, "tokens dim"]) -> Float[Tensor, "tokens tokens"]:
    """Cosine similarity of every position with every other (ViT paper, figure 7 centre).

    Returns:
        Numbers between -1 and 1, with 1 on the diagonal; 0 where a row of the table is all zeros.

    Raises:
        ValueError: ``table`` does not have two axes.
        TypeError: ``table`` is not a tensor.
    """
    # In half precision F.normalize's epsilon is zero, and a row of zeros would be divided by it.
    directions = F.normalize(table.double(), dim=1)
    return (directions @ directions.T).to(table.dtype)


@door()
def patch_places(grid: tuple[int, int]) -> Float[Tensor, "patches 2"]:
    """Where the middle of each patch lies: (row, column), each from -1 to 1 over the image, as in DINOv3.

    Args:
        grid: (rows, cols), counted in patches.

    Returns:
        One row per patch, in row-major order, in torch's default dtype.

    Raises:
        ValueError: "grid rows must be at least 1, got 0".
        TypeError: a size that is not an integer.
    """
    middles = [(2 * torch.arange(size) + 1) / size - 1 for size in grid]
    return torch.cartesian_prod(*middles)


@door("head_dim is a multiple of 4: sine and cosine for two axes")
def rotary_angles(
    places: Float[Tensor, "patches 2"], head_dim: int, *, temperature: int | float = 100.0
) -> Float[Tensor, "patches half"]:
    """Angles of the rotary position embedding for two axes (RoPE, arXiv 2104.09864; here as in DINOv3).

    Args:
        places: (row, column) of each patch, in any unit, such as :func:`patch_places` gives.
        head_dim: width of one head, a multiple of 4.
        temperature: hand k makes ``temperature ** (-k / (head_dim / 4))`` full turns from place 0 to place 1.

    Returns:
        In radians, ``half = head_dim / 2`` for each patch: first what the row says, then the column.

    Raises:
        ValueError: "head_dim 10 is not a multiple of 4: sine and cosine for two axes".
        TypeError: ``places`` is not a floating-point tensor, or ``head_dim`` is not an integer.
    """
    quarter = head_dim // 4
    turns = temperature ** -(torch.arange(quarter, device=places.device) / quarter).to(places.dtype)
    return (2 * math.pi * places[:, :, None] * turns).flatten(1)  # patches 2 quarter -> patches half


@door("angles patches is at most heads tokens", "heads head_dim is 2 * angles half")
def rotate(
    heads: Float[Tensor, "batch heads tokens head_dim"], angles: Float[Tensor, "patches half"]
) -> Float[Tensor, "batch heads tokens head_dim"]:
    """Turn queries, or keys, by the angles of their places (RoFormer, equation 34; pairs as in DINOv3).

    Component k and component k + half are the two coordinates of a point, which is turned about 0. The score
    of a query and a key then depends on how far apart their places are, and not on where they lie.

    Args:
        heads: queries or keys, the patches last; tokens in front of them (CLS, registers) have no place.
        angles: one row per patch, as :func:`rotary_angles` gives them.

    Returns:
        A new tensor; tokens in front of the patches are as they were.

    Raises:
        ValueError: "angles patches 17 is more than heads tokens 16", "heads head_dim 8 is not
            2 * angles half 3 = 6".
        TypeError: an argument is not a floating-point tensor, or the two have different dtypes.
    """
    prefix, patches = heads.tensor_split([heads.shape[2] - angles.shape[0]], dim=2)
    first, second = patches.chunk(2, dim=3)
    cos, sin = angles.cos(), angles.sin()
    turned = [first * cos - second * sin, second * cos + first * sin]
    return torch.cat([prefix, torch.cat(turned, dim=3)], dim=2)
