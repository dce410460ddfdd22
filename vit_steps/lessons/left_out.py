"""A block with one of its parts left out: what lesson 4 trains to find out what the part is for."""

import math
from typing import Literal, get_args

import torch
from torch import Tensor, nn

from vit_steps.doors import door
from vit_steps.layers import Block
from vit_steps.vit import ViT

Part = Literal["nothing", "the residual", "the norms", "the MLP", "the division"]
PARTS = get_args(Part)


@door()
def leave_out(model: ViT, part: Part) -> ViT:
    """Take one part out of every block of a model, in place; the last norm, before the head, stays.

    Args:
        model: a fresh ViT; what is left keeps its numbers.
        part: "nothing", "the residual", "the norms", "the MLP" or "the division" (of the scores).

    Returns:
        The same model. It trains and answers as before; ``trace`` sees attention only where blocks are whole.

    Raises:
        ValueError: "part must be one of nothing, the residual, ..., got 'the head'".
        TypeError: "model must be a ViT, not Linear".
    """
    model.blocks = nn.ModuleList(WITHOUT[part](block) for block in model.blocks)
    return model


class _WithoutResidual(nn.Module):
    """What attention and MLP compute takes the place of the token, and is not added to it."""

    def __init__(self, block: Block):
        super().__init__()
        self.norm1, self.attn, self.norm2, self.mlp = block.norm1, block.attn, block.norm2, block.mlp

    def forward(self, tokens: Tensor, *, cls_only: bool = False, weights: None = None) -> Tensor:
        """Run the block; of the last one only the CLS token is asked."""
        attended, _ = self.attn(self.norm1(tokens), num_queries=1 if cls_only else None)
        return self.mlp(self.norm2(attended))


class _Silent(nn.Module):
    """An MLP that says nothing."""

    def forward(self, tokens: Tensor) -> Tensor:
        """Add nothing."""
        return torch.zeros_like(tokens)


class _LoudQueries(nn.Module):
    """Queries times sqrt(head_dim): the division that follows is undone."""

    def __init__(self, qkv: nn.Linear, head_dim: int):
        super().__init__()
        self.qkv, self.head_dim = qkv, head_dim

    def forward(self, tokens: Tensor) -> Tensor:
        """Query, key and value side by side; the first third is the queries."""
        query, rest = self.qkv(tokens).tensor_split([tokens.shape[2]], dim=2)
        return torch.cat([query * math.sqrt(self.head_dim), rest], dim=2)


def _without_norms(block: Block) -> Block:
    block.norm1 = block.norm2 = nn.Identity()
    return block


def _without_mlp(block: Block) -> Block:
    block.norm2, block.mlp = nn.Identity(), _Silent()
    return block


def _without_division(block: Block) -> Block:
    dim = block.attn.proj.out_features
    block.attn.qkv = _LoudQueries(block.attn.qkv, dim // block.attn.num_heads)
    return block


WITHOUT = {
    "nothing": lambda block: block,
    "the residual": _WithoutResidual,
    "the norms": _without_norms,
    "the MLP": _without_mlp,
    "the division": _without_division,
}
