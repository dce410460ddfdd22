"""The steps with their parameters: patch embedding, attention, block, pooling, as torch modules.

What makes one ViT another is put in here, a callable for a callable: an activation, angles for the heads, or
a probe that asks the patches. The step functions that a block calls are the same for all of them.
"""

from collections import OrderedDict
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from vit_steps.encoder import (
    attention_weights,
    cls_block,
    cross_attention,
    encoder_block,
    fused_attention,
    merge_heads,
    split_heads,
)
from vit_steps.patch_embedding import map2emb
from vit_steps.position_embedding import rotate

Act = Literal["gelu", "gelu_tanh", "quick_gelu", "swiglu", "geglu"]


class PatchEmbed(nn.Module):
    """Step 1 with its parameters: one kernel and one bias for each component of a token."""

    def __init__(self, patch_size: int, channels: int, dim: int):
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, kernel_size=patch_size, stride=patch_size)

    def forward(
        self, image: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch patches dim"]:
        """Embed the patches of an image, by ``proj`` itself: whatever is put in its place is used."""
        return map2emb(self.proj(image)).to(image.dtype)  # autocast computes in less


class QuickGELU(nn.Module):
    """OpenAI's GELU for CLIP: a number times the sigmoid of 1.702 times itself (CLIP, clip/model.py)."""

    def forward(self, hidden: Tensor) -> Tensor:
        """Keep the large numbers, and little of the negative ones."""
        return hidden * torch.sigmoid(1.702 * hidden)


class SwiGLU(nn.Module):
    """A gate for each hidden number: SiLU of the first half times the second (arXiv 2002.05202)."""

    def forward(self, hidden: Float[Tensor, "batch tokens hidden"]) -> Float[Tensor, "batch tokens mlp_dim"]:
        """Let through as much of each number as its gate says."""
        gate, value = hidden.chunk(2, dim=-1)
        return F.silu(gate) * value


class GEGLU(nn.Module):
    """As :class:`SwiGLU`, with the exact GELU in the place of SiLU (arXiv 2002.05202)."""

    def forward(self, hidden: Float[Tensor, "batch tokens hidden"]) -> Float[Tensor, "batch tokens mlp_dim"]:
        """Let through as much of each number as its gate says."""
        gate, value = hidden.chunk(2, dim=-1)
        return F.gelu(gate) * value


ACTIVATIONS = {
    "gelu": nn.GELU,
    "gelu_tanh": partial(nn.GELU, approximate="tanh"),
    "quick_gelu": QuickGELU,
    "swiglu": SwiGLU,
    "geglu": GEGLU,
}
GATED = {"swiglu", "geglu"}  # two hidden numbers for each that is left


def make_mlp(dim: int, mlp_dim: int, act: Act) -> nn.Sequential:
    """The MLP of a block, under timm's names; ``mlp_dim`` is the width after the activation."""
    hidden = mlp_dim * (1 + (act in GATED))
    layers = {"fc1": nn.Linear(dim, hidden), "act": ACTIVATIONS[act](), "fc2": nn.Linear(mlp_dim, dim)}
    return nn.Sequential(OrderedDict(layers))


class Attention(nn.Module):
    """The parameters of one self-attention, to be run fast, or seen; with angles, queries and keys turn."""

    angles: Tensor | None

    def __init__(self, dim: int, num_heads: int, angles: Float[Tensor, "patches half"] | None = None):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.register_buffer("angles", angles)

    def extra_repr(self) -> str:
        """What the layers within do not tell."""
        return f"num_heads={self.num_heads}" + ("" if self.angles is None else ", rotary")

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens dim"],
        *,
        num_queries: int | None = None,
        weights: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend: (tokens, weights), or with the fused kernel (tokens, None), all asking or the first few."""
        if weights is not None:
            return self._attend_into(weights, self.project(tokens)), weights
        return fused_attention(tokens, self.project, self.proj, self.num_heads, num_queries=num_queries)

    def project(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch tokens 3*dim"]:
        """Query, key and value, the first two turned by the angles of their places where there are (RoPE)."""
        if self.angles is None:
            return self.qkv(tokens)
        query, key, value = split_heads(self.qkv(tokens), 3 * self.num_heads).chunk(3, dim=1)
        turned = [rotate(query, self.angles), rotate(key, self.angles), value]
        return merge_heads(torch.cat(turned, dim=1))

    def _attend_into(self, weights: Tensor, qkv: Tensor) -> Tensor:
        """Do what :func:`self_attention` does, head by head, each map written where it is to stay.

        So beside all maps only one head's is ever held, and not a whole block's three times.
        """
        parts = split_heads(qkv, 3 * self.num_heads).chunk(3, dim=1)
        attended = []
        for head, (query, key, value) in enumerate(
            zip(*(part.split(1, dim=1) for part in parts), strict=True)
        ):
            seen = attention_weights(query, key)
            weights[:, head : head + 1] = seen
            attended.append(seen @ value)
        return self.proj(merge_heads(torch.cat(attended, dim=1)))


class Block(nn.Module):
    """The parameters of one encoder block: norm, attention, norm, MLP."""

    def __init__(
        self,
        dim: int,
        num_heads: int,
        mlp_dim: int,
        eps: float,
        act: Act = "gelu",
        angles: Float[Tensor, "patches half"] | None = None,
    ):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, num_heads, angles)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = make_mlp(dim, mlp_dim, act)

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens dim"],
        *,
        cls_only: bool = False,
        weights: Tensor | None = None,
    ) -> Float[Tensor, "batch rows dim"]:
        """Run the block, for all tokens or the CLS token alone; its attention is written into ``weights``."""
        if cls_only:
            attn = partial(self.attn, num_queries=1)
            return cls_block(tokens, self.norm1, attn, self.norm2, self.mlp)[0]
        attn = partial(self.attn, weights=weights)
        return encoder_block(tokens, self.norm1, attn, self.norm2, self.mlp)[0]


class AttentionPool(nn.Module):
    """Pooling by attention: a learned probe asks the patches, and an MLP thinks about what it heard.

    The MAP head of "Scaling Vision Transformers" (arXiv 2106.04560) and of SigLIP, under timm's names.
    """

    def __init__(self, dim: int, num_heads: int, mlp_dim: int, eps: float, act: Act, num_prefix: int):
        super().__init__()
        self.num_heads, self.num_prefix = num_heads, num_prefix
        self.latent = nn.Parameter(torch.empty(1, 1, dim))
        self.q = nn.Linear(dim, dim)
        self.kv = nn.Linear(dim, 2 * dim)
        self.proj = nn.Linear(dim, dim)
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.mlp = make_mlp(dim, mlp_dim, act)

    def extra_repr(self) -> str:
        """What the layers within do not tell."""
        return f"num_heads={self.num_heads}, num_prefix={self.num_prefix}"

    def attend(
        self, tokens: Float[Tensor, "batch tokens dim"]
    ) -> tuple[Float[Tensor, "batch 1 dim"], Float[Tensor, "batch heads 1 patches"]]:
        """What the probe hears, and how much it looks at each patch."""
        probe = self.latent.expand(tokens.shape[0], -1, -1)
        return cross_attention(
            probe, tokens[:, self.num_prefix :], self.q, self.kv, self.proj, self.num_heads
        )

    def forward(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch dim"]:
        """Pool the patches into one vector."""
        heard, _ = self.attend(tokens)
        return (heard + self.mlp(self.norm(heard)))[:, 0]
