"""The five steps held together by one module: a Vision Transformer with timm's parameter names."""

from collections import OrderedDict
from collections.abc import Sequence
from copy import deepcopy
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vit_steps.classification import classify, pool_cls, pool_mean
from vit_steps.cls_token import prepend_cls
from vit_steps.doors import door, values
from vit_steps.encoder import (
    attention_weights,
    cls_block,
    encoder_block,
    fused_attention,
    merge_heads,
    split_heads,
)
from vit_steps.patch_embedding import map2emb
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
        """Embed the patches of an image, by ``proj`` itself: whatever is put in its place is used."""
        return map2emb(self.proj(image)).to(image.dtype)  # autocast computes in less


class Attention(nn.Module):
    """The parameters of one self-attention, to be run fast, or seen."""

    def __init__(self, dim: int, num_heads: int):
        super().__init__()
        self.num_heads = num_heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def extra_repr(self) -> str:
        """What the layers within do not tell."""
        return f"num_heads={self.num_heads}"

    def forward(
        self,
        tokens: Float[Tensor, "batch tokens dim"],
        *,
        num_queries: int | None = None,
        weights: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Attend: (tokens, weights), or with the fused kernel (tokens, None), all asking or the first few."""
        if weights is not None:
            return self._attend_into(weights, tokens), weights
        return fused_attention(tokens, self.qkv, self.proj, self.num_heads, num_queries=num_queries)

    def _attend_into(self, weights: Tensor, tokens: Tensor) -> Tensor:
        """Do what :func:`self_attention` does, head by head, each map written where it is to stay.

        So beside all maps only one head's is ever held, and not a whole block's three times.
        """
        parts = split_heads(self.qkv(tokens), 3 * self.num_heads).chunk(3, dim=1)
        attended = []
        for head, (query, key, value) in enumerate(
            zip(*(part.split(1, dim=1) for part in parts), strict=True)
        ):
            seen = attention_weights(query, key)
            weights[:, head : head + 1] = seen
            attended.append(seen @ value)
        return self.proj(merge_heads(torch.cat(attended, dim=1)))


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


def _made_for(self: "ViT", image: Tensor) -> None:
    expected = (self.channels, *self.image_size)
    if tuple(image.shape[1:]) != expected:
        got, wanted = (" x ".join(map(str, sizes)) for sizes in (image.shape[1:], expected))
        raise ValueError(f"image is {got}, the model was made for {wanted}")
    if image.dtype != self.cls_token.dtype:
        raise TypeError(f"image is {image.dtype}, the model is {self.cls_token.dtype}: they must be the same")
    if image.device != self.cls_token.device:
        raise ValueError(
            f"image is on {image.device}, the model is on {self.cls_token.device}: they must be on the same"
        )


class ViT(nn.Module):
    """Vision Transformer (Dosovitskiy et al., arXiv 2010.11929), equal to timm's of the same size.

    The parameters carry timm's names, so ``load_state_dict(strict=True)`` takes timm's weights and timm takes
    ours. Weights start much as in the paper's code: Xavier for the encoder's matrices, deviation 0.02 for the
    class token, the positions and the head, zero for the biases of encoder and head; the patch embedding
    starts as torch starts a convolution.

    Any layer may be replaced or wrapped, and ``forward`` and ``trace`` use what is there. A hook sees what is
    computed: where the CLS token is pooled, the last block of ``forward`` gives the CLS row alone, shape
    (batch, 1, dim), and its ``attn`` and ``mlp`` likewise. ``trace`` gives all rows.

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
        self._sizes = {"dim": dim, "depth": depth, "num_heads": num_heads, "mlp_dim": mlp_dim}
        self._eps = eps
        self.image_size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        self.patch_size, self.channels, self.pool = patch_size, channels, pool
        self.grid = (self.image_size[0] // patch_size, self.image_size[1] // patch_size)
        self.patch_embed = PatchEmbed(patch_size, channels, dim)
        self.cls_token = nn.Parameter(torch.empty(1, 1, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, 1 + self.grid[0] * self.grid[1], dim))
        self.blocks = nn.ModuleList(Block(dim, num_heads, mlp_dim, eps) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=eps)
        self.head = nn.Linear(dim, num_classes) if num_classes else nn.Identity()
        self.reset_parameters()

    @property
    def num_classes(self) -> int:
        """Width of the head that is there now, whoever put it there; 0 for none."""
        if self.head is None or isinstance(self.head, nn.Identity):
            return 0
        width = getattr(self.head, "out_features", None)
        return self._tried_width() if width is None else width

    def _tried_width(self) -> int:
        with torch.no_grad():
            return deepcopy(self.head).eval()(self.cls_token.detach()[0]).shape[1]

    @property
    def config(self) -> dict[str, Any]:
        """The constructor's arguments with which this model would be made again, as it is now."""
        sizes = {"image_size": self.image_size, "patch_size": self.patch_size, "channels": self.channels}
        sizes |= self._sizes | {"depth": len(self.blocks)}
        return sizes | {"num_classes": self.num_classes, "pool": self.pool, "eps": self._eps}

    @door("num_classes is at least 0")
    def with_head(self, num_classes: int) -> "ViT":
        """Copy the model and give it a new head: the start of fine-tuning (ViT paper, section 3.2).

        As in the paper the new head is all zero, so every class is as probable as any other and the loss
        starts at ln(num_classes). Nothing is drawn at random: the same call gives the same model. All other
        parameters are copies. To train the head alone, freeze the rest::

            model = load_pretrained("facebook/deit-tiny-patch16-224").model.with_head(3)
            model.requires_grad_(False).head.requires_grad_(True)

        Args:
            num_classes: width of the new head; 0 leaves the head out, as in :class:`ViT`.

        Raises:
            ValueError: "num_classes must be at least 0, got -1".
            TypeError: ``num_classes`` is not an integer.
        """
        model = deepcopy(self)
        like = {"device": self.cls_token.device, "dtype": self.cls_token.dtype}
        head = nn.Linear(self.cls_token.shape[2], num_classes, **like) if num_classes else nn.Identity()
        for parameter in head.parameters():
            nn.init.zeros_(parameter)
        model.head = head.train(self.training)
        return model

    def reset_parameters(self) -> None:
        """Draw all parameters afresh from torch's global random numbers."""
        for module in self.modules():
            if isinstance(module, (nn.Conv2d, nn.LayerNorm)):
                module.reset_parameters()
            elif isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:  # a head put in by hand may have none
                    nn.init.zeros_(module.bias)
        small = [self.cls_token, self.pos_embed, *(p for p in self.head.parameters() if p.ndim == 2)]
        for parameter in small:
            nn.init.trunc_normal_(parameter, std=0.02)

    @door(_made_for)
    def forward(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Classify images, fast: if the CLS token is pooled, the last block computes nothing else.

        A hook on that block, or within it, sees one row for each image then, and not all tokens.

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

    @door(_made_for)
    def trace(
        self,
        image: Float[Tensor, "batch channels height width"],
        *,
        layers: Sequence[int] | None = None,
    ) -> Trace:
        """Classify images and keep what each step gave, attention weights included.

        The logits are those of :meth:`forward` to rounding. ``encoded`` is what the last block gave, before
        the final norm, so ``classify(trace.encoded, model.norm, model.head)`` is ``trace.logits``.

        Args:
            image: as :meth:`forward` takes it.
            layers: of which blocks the attention is kept, counted from 0 or from the end; all by default. At
                many tokens it is by far the largest part of a trace: under ``torch.inference_mode()`` hardly
                more is held than what is asked for. With gradients torch keeps each map a second time.

        Raises: as :meth:`forward`, and
            ValueError: "layers holds 12, the model has 12 blocks: 0 to 11".
        """
        kept = _kept_layers(layers, len(self.blocks))
        patches = self.patch_embed(image)
        with_cls = prepend_cls(patches, self.cls_token)
        encoded = with_position = add_position(with_cls, self.pos_embed[0])
        heads, (batch, tokens, _) = self.blocks[0].attn.num_heads, encoded.shape
        # One tensor from the start: to stack the maps of all blocks would hold each of them twice.
        attention = encoded.new_empty(batch, len(kept), heads, tokens, tokens)
        for layer, block in enumerate(self.blocks):
            encoded = block(encoded, weights=attention[:, kept.index(layer)] if layer in kept else None)
        logits = classify(encoded, self.norm, self.head, pool=POOLS[self.pool])
        return Trace(patches, with_cls, with_position, attention, encoded, logits)


def _kept_layers(layers: Sequence[int] | None, depth: int) -> list[int]:
    """The blocks whose attention is kept, each counted from 0."""
    if layers is None:
        return list(range(depth))
    for layer in values.sequence("layers", layers, "integers"):
        if not -depth <= values.integer("each of layers", layer, least=None) < depth:
            raise ValueError(f"layers holds {layer}, the model has {depth} blocks: 0 to {depth - 1}")
    kept = [layer % depth for layer in layers]
    if len(set(kept)) < len(kept):
        raise ValueError(f"layers names a block twice: {list(layers)}")
    return kept
