"""How publishers say rotary positions, and the angles that come of it, the same in each block."""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from vit_steps.position_embedding import patch_places, rotary_angles
from vit_steps.pretrained.rewriting import join


class Rotary(NamedTuple):
    """One publisher's rotary positions, in the words of :func:`vit_steps.rotary_angles`.

    Attributes:
        temperature: how much slower each hand turns than the one before it.
        counted: whether places are counted, 0, 1, 2 ..., and turn so many radians; otherwise they run from -1
            to 1 over the image, and turn so many times.
        grid: for which the places are counted; on another one they are stretched to it. None: never.
        cols_first: whether the column turns the first half of the pairs, and not the row.
        neighbours: whether components 2k and 2k + 1 are a pair, and not k and k + half.
    """

    temperature: float
    counted: bool = False
    grid: tuple[int, int] | None = None
    cols_first: bool = False
    neighbours: bool = False

    def angles(self, grid: tuple[int, int], head_dim: int) -> Float[Tensor, "patches half"]:
        """Compute the table that each block of a model with this grid holds."""
        places = self._count(grid) / (2 * math.pi) if self.counted else patch_places(grid)
        return rotary_angles(
            places.flip(1) if self.cols_first else places, head_dim, temperature=self.temperature
        )

    def _count(self, grid: tuple[int, int]) -> Float[Tensor, "patches 2"]:
        wanted = self.grid or grid
        axes = [torch.arange(n) / n * of for n, of in zip(grid, wanted, strict=True)]
        return torch.cartesian_prod(*axes)


DINOV3 = Rotary(100.0)
# EVA-02's, as timm has it: trained on 16 x 16 patches, and stretched to it from any other grid.
EVA02 = Rotary(10_000.0, counted=True, grid=(16, 16), neighbours=True)
ROPE_VIT = Rotary(100.0, counted=True, cols_first=True, neighbours=True)


def pair_halves(weight: Tensor, num_heads: int) -> Tensor:
    """Lay out the rows of query, key and value so that a pair is k and k + half, and not 2k and 2k + 1.

    Queries and keys alike: their products stay what they were.
    """
    heads = weight.unflatten(0, (3, num_heads, -1, 2))
    turned = heads[:2].transpose(2, 3).flatten(2, 3)
    return join([turned, heads[2:].flatten(2, 3)]).flatten(0, 2)
