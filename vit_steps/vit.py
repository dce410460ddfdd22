"""The five steps held together by one module: a Vision Transformer with timm's parameter names."""

from collections import OrderedDict
from functools import partial
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vit_steps.classification import classify, pool_cls, pool_mean
from vit_steps.cls_token import prepend_cls
from vit_steps.doors import door
from vit_steps.encoder import cls_block, encoder_block, fused_attention, self_attention
from vit_steps.patch_embedding import image2emb_conv
from vit_steps.position_embedding import add_position

POOLS = {"cls": pool_cls, "mean": pool_mean}


class Trace(NamedTuple):
    """What :meth:`ViT.trace` saw on the way, one field for each step."""

    patches: Float[Tensor, "batch patches dim"]
    with_cls: Float[Tensor, "batch tokens dim"]
    with_position: Float[Tensor, "batch tokens dim"]
    attention: Float[Tensor, "batch depth heads tokens tokens"]
    encoded: Float[Tensor, "batch tokens dim"]
    logits: Float[Tensor, "batch classes"]


class PatchEmbed(nn.Module):
    """Step 1 with its parameters: one kernel and one bias for each component of a token."""

    def __init__(self, patch_size: int, channels: int, dim: int):
        super().__init__()
        self.proj = nn.Conv2d(channels, dim, kernel_size=patch_size, stride=patch_size)

    def forward(
        self, image: Float[Tensor, "batch channels height width"]
    ) -> Float[Tensor, "batch patches dim"]:
        """Embed the patches of an image."""
        return image2emb_conv(image, self.proj.weight, self.proj.stride[0]) + self.proj.bias


class Attention(nn.Module):
    """The parameters of one self-attention, to be run fast (``forward``) or seen (``trace``)."""

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(
        self, tokens: Float[Tensor, "batch tokens dim"], *, num_queries: int | None = None
    ) -> tuple[Tensor, None]:
        """Attend with the fused kernel: (tokens, None). All tokens ask, or the first ``num_queries``."""
        return fused_attention(tokens, self.qkv, self.proj, self.num_heads, num_queries=num_queries)

    def trace(self, tokens: Float[Tensor, "batch tokens dim"]) -> tuple[Tensor, Tensor]:
        """Attend step by step: (tokens, weights)."""
        return self_attention(tokens, self.qkv, self.proj, self.num_heads)


class Block(nn.Module):
    """The parameters of one encoder block: norm, attention, norm, MLP with GELU."""

    def __init__(self, dim: int, num_heads: int, mlp_dim: int, eps: float):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=eps)
        self.attn = Attention(dim, num_heads)
        self.norm2 = nn.LayerNorm(dim, eps=eps)
        self.mlp = nn.Sequential(
            OrderedDict(fc1=nn.Linear(dim, mlp_dim), act=nn.GELU(), fc2=nn.Linear(mlp_dim, dim))
        )

    def forward(
        self, tokens: Float[Tensor, "batch tokens dim"], *, cls_only: bool = False
    ) -> Float[Tensor, "batch rows dim"]:
        """Run the block with fused attention, for all tokens, or for the CLS token alone."""
        if cls_only:
            attn = partial(self.attn, num_queries=1)
            return cls_block(tokens, self.norm1, attn, self.norm2, self.mlp)[0]
        return encoder_block(tokens, self.norm1, self.attn, self.norm2, self.mlp)[0]

    def trace(self, tokens: Float[Tensor, "batch tokens dim"]) -> tuple[Tensor, Tensor]:
        """Run the block with explicit attention: (tokens, weights)."""
        return encoder_block(tokens, self.norm1, self.attn.trace, self.norm2, self.mlp)


def _of_the_models_size(self: "ViT", image: Tensor) -> None:
    expected = (self.channels, *self.image_size)
    if tuple(image.shape[1:]) != expected:
        got, wanted = (" x ".join(map(str, sizes)) for sizes in (image.shape[1:], expected))
        raise ValueError(f"image is {got}, the model was made for {wanted}")


class ViT(nn.Module):
    """Vision Transformer (Dosovitskiy et al., arXiv 2010.11929), equal to timm's of the same size.

    The parameters carry timm's names, so ``load_state_dict(strict=True)`` takes timm's weights and timm takes
    ours. Weights start much as in the paper's code: Xavier for the encoder's matrices, deviation 0.02 for the
    class token, the positions and the head, zero for the biases of encoder and head; the patch embedding
    starts as torch starts a convolution.

    Args:
        image_size: pixels; one number, or (height, width).
        patch_size: side of a patch, in pixels.
        channels: of the image, 3 for colour.
        dim: width of a token.
        depth: number of encoder blocks.
        num_heads: heads of each attention; they share ``dim``.
        mlp_dim: hidden width of each MLP, usually ``4 * dim``.
        num_classes: width of the head; 0 leaves the head out, and the logits are the pooled token.
        pool: "cls" reads the CLS token, "mean" the average of the patches.
        eps: of every LayerNorm; 1e-6 in the paper's code and timm, 1e-12 at Hugging Face.

    Raises:
        ValueError: "image_size height 30 is not a multiple of patch_size 4",
            "dim 10 is not a multiple of num_heads 4", "pool must be one of cls, mean, got 'max'".
        TypeError: a size that is not an integer.

    Example:
        >>> model = ViT(image_size=8, patch_size=4, dim=8, depth=6, num_heads=8, mlp_dim=32, num_classes=10)
        >>> model(torch.randn(2, 3, 8, 8)).shape
        torch.Size([2, 10])
    """

    @door(
        "image_size height is a multiple of patch_size",
        "image_size width is a multiple of patch_size",
        "dim is a multiple of num_heads",
        "num_classes is at least 0",
        "eps is below 1",
    )
    def __init__(
        self,
        *,
        image_size: int | tuple[int, int],
        patch_size: int,
        channels: int = 3,
        dim: int,
        depth: int,
        num_heads: int,
        mlp_dim: int,
        num_classes: int,
        pool: Literal["cls", "mean"] = "cls",
        eps: float = 1e-6,
    ):
        super().__init__()
        sizes = {"patch_size": patch_size, "channels": channels, "dim": dim, "depth": depth}
        sizes |= {"num_heads": num_heads, "mlp_dim": mlp_dim}
        self.image_size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        self.patch_size, self.channels, self.pool = patch_size, channels, pool
        self.grid = (self.image_size[0] // patch_size, self.image_size[1] // patch_size)
        self.config = {"image_size": self.image_size, **sizes}
        self.config |= {"num_classes": num_classes, "pool": pool, "eps": eps}
        self.patch_embed = PatchEmbed(patch_size, channels, dim)
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + self.grid[0] * self.grid[1], dim))
        self.blocks = nn.ModuleList(Block(dim, num_heads, mlp_dim, eps) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.head = nn.Linear(dim, num_classes) if num_classes else nn.Identity()
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters afresh from torch's global random numbers."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.LayerNorm)):
                module.reset_parameters()
            elif isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)
        small = [self.cls_token, self.pos_embed, *(p for p in self.head.parameters() if p.ndim == 2)]
        for parameter in small:
            nn.init.trunc_normal_(parameter, std=0.02)

    @door(_of_the_models_size)
    def forward(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Classify images, fast: if the CLS token is pooled, the last block computes nothing else.

        Raises:
            ValueError: "image is 3 x 32 x 30, the model was made for 3 x 32 x 32".
            TypeError: ``image`` is not a floating-point tensor.
        """
        tokens = add_position(prepend_cls(self.patch_embed(image), self.cls_token), self.pos_embed[0])
        *blocks, last = self.blocks
        for block in blocks:
            tokens = block(tokens)
        tokens = last(tokens, cls_only=self.pool == "cls")
        return classify(tokens, self.norm, self.head, pool=POOLS[self.pool])

    @door(_of_the_models_size)
    def trace(self, image: Float[Tensor, "batch channels height width"]) -> Trace:
        """Classify images and keep what each step gave, every attention weight included.

        The logits are those of :meth:`forward` to rounding. ``encoded`` is what the last block gave, before
        the final norm, so ``classify(trace.encoded, model.norm, model.head)`` is ``trace.logits``.

        Raises: as :meth:`forward`.
        """
        patches = self.patch_embed(image)
        with_cls = prepend_cls(patches, self.cls_token)
        encoded = with_position = add_position(with_cls, self.pos_embed[0])
        attention = []
        for block in self.blocks:
            encoded, weights = block.trace(encoded)
            attention.append(weights)
        logits = classify(encoded, self.norm, self.head, pool=POOLS[self.pool])
        return Trace(patches, with_cls, with_position, torch.stack(attention, dim=1), encoded, logits)
