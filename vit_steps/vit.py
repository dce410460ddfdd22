"""The five steps held together by one module: a Vision Transformer with timm's parameter names."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from functools import partial
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from vit_steps.classification import classify, pool_cls, pool_cls_and_mean, pool_first, pool_mean
from vit_steps.cls_token import prepend_cls, prepend_registers
from vit_steps.doors import door, values
from vit_steps.layers import Act, AttentionPool, Block, PatchEmbed
from vit_steps.position_embedding import add_position, patch_places, rotary_angles

Pool = Literal["cls", "mean", "mean_all", "attention", "cls+register", "cls+mean"]
# How an answer is read from a model's tokens.
POOLS: dict[str, Callable[["ViT"], Callable[[Tensor], Tensor]]] = {
    "cls": lambda model: pool_cls,
    "mean": lambda model: partial(pool_mean, num_prefix=model.num_prefix),
    "mean_all": lambda model: partial(pool_mean, num_prefix=0),
    "attention": lambda model: model.attn_pool,
    "cls+register": lambda model: partial(pool_first, num_tokens=2),
    "cls+mean": lambda model: partial(pool_cls_and_mean, num_prefix=model.num_prefix),
}
# How many vectors as wide as a token a head reads; and how many tokens have to come before the patches.
VECTORS = {"cls+register": 2, "cls+mean": 2}
NEEDS = {"cls": 1, "cls+register": 2, "cls+mean": 1}
SMALL = ("cls_token", "reg_token", "pos_embed", "attn_pool.latent")  # parameters that start near zero


class Trace(NamedTuple):
    """What :meth:`ViT.trace` saw on the way, one field for each step.

    Attributes:
        patches: patch embeddings.
        with_cls: the CLS token, and registers where there are some, in front of them.
        with_position: what enters the first block.
        attention: of the blocks that were asked for.
        encoded: what the last block gave, before the final norm.
        logits: the answer.
        pooling: how much the probe looks at each patch, where a model pools by attention.
    """

    patches: Float[Tensor, "batch patches dim"]
    with_cls: Float[Tensor, "batch tokens dim"]
    with_position: Float[Tensor, "batch tokens dim"]
    attention: Float[Tensor, "batch depth heads tokens tokens"]
    encoded: Float[Tensor, "batch tokens dim"]
    logits: Float[Tensor, "batch classes"]
    pooling: Float[Tensor, "batch heads 1 patches"] | None = None


def _made_for(self: "ViT", image: Tensor) -> None:
    expected = (self.channels, *self.image_size)
    if tuple(image.shape[1:]) != expected:
        got, wanted = (" x ".join(map(str, sizes)) for sizes in (image.shape[1:], expected))
        raise ValueError(f"image is {got}, the model was made for {wanted}")
    own = self._own
    if image.dtype != own.dtype:
        raise TypeError(f"image is {image.dtype}, the model is {own.dtype}: they must be the same")
    if image.device != own.device:
        raise ValueError(
            f"image is on {image.device}, the model is on {own.device}: they must be on the same"
        )


def _enough_tokens_to_pool(pool: str, class_token: bool, num_registers: int) -> None:
    if NEEDS.get(pool, 0) > (1 + num_registers if class_token else 0):
        what = "a CLS token and a register" if pool == "cls+register" else "a CLS token"
        raise ValueError(
            f"pool {pool!r} reads {what}, the model has class_token {class_token} and "
            f"num_registers {num_registers}"
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
        pool: how the answer is read. "cls" reads the CLS token, "mean" the average of the patches, "mean_all"
            of all tokens, "attention" lets a learned probe ask the patches (SigLIP); "cls+register" lays the
            first two tokens side by side (a distilled DeiT), "cls+mean" the CLS token and the mean (DINOv2).
        eps: of every LayerNorm; 1e-6 in the paper's code and timm, 1e-12 at Hugging Face.
        num_registers: learned tokens behind the CLS token that no answer is read from (DINOv2, DINOv3).
        class_token: whether there is a CLS token.
        position: "table" has a learned vector for each place, "rotary" turns queries and keys (DINOv3),
            "table+rotary" does both (EVA-02). The angles are a buffer of each attention, as
            ``rotary_angles(patch_places(grid), head_dim)`` gives them, until other ones are loaded.
        act: between the layers of an MLP: "gelu", "gelu_tanh" (SigLIP), "quick_gelu" (CLIP), or "swiglu" and
            "geglu", which have two hidden numbers for each of ``mlp_dim``.
        pre_norm: whether there is a norm before the first block (CLIP).
        final_norm: whether it norms "tokens" before they are pooled, what was "pooled", or "nothing".

    Raises:
        ValueError: "image_size height 30 is not a multiple of patch_size 4",
            "dim 10 is not a multiple of num_heads 4", "pool must be one of cls, mean, mean_all, attention,
            cls+register, cls+mean, got 'max'", "pool 'cls' reads a CLS token, the model has class_token False
            and num_registers 0".
        TypeError: a size that is not an integer.

    Example:
        >>> model = ViT(image_size=8, patch_size=4, dim=8, depth=6, num_heads=8, mlp_dim=32, num_classes=10)
        >>> model(torch.randn(2, 3, 8, 8)).shape
        torch.Size([2, 10])
    """

    attn_pool: AttentionPool

    @door(
        "image_size height is a multiple of patch_size",
        "image_size width is a multiple of patch_size",
        "dim is a multiple of num_heads",
        "num_classes is at least 0",
        "eps is below 1",
        "num_registers is at least 0",
        _enough_tokens_to_pool,
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
        pool: Pool = "cls",
        eps: float = 1e-6,
        num_registers: int = 0,
        class_token: bool = True,
        position: Literal["table", "rotary", "table+rotary"] = "table",
        act: Act = "gelu",
        pre_norm: bool = False,
        final_norm: Literal["tokens", "pooled", "nothing"] = "tokens",
    ):
        super().__init__()
        self._sizes = {"dim": dim, "depth": depth, "num_heads": num_heads, "mlp_dim": mlp_dim}
        self._kind: dict[str, Any] = {"eps": eps, "num_registers": num_registers, "class_token": class_token}
        self._kind |= {"position": position, "act": act, "pre_norm": pre_norm, "final_norm": final_norm}
        self.image_size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
        self.patch_size, self.channels, self.pool = patch_size, channels, pool
        self.grid = (self.image_size[0] // patch_size, self.image_size[1] // patch_size)
        self.patch_embed = PatchEmbed(patch_size, channels, dim)
        self._make_tokens()
        self._make_blocks()
        self.head = nn.Linear(self._width, num_classes) if num_classes else nn.Identity()
        self.reset_parameters()

    def _make_tokens(self) -> None:
        """What is learned of tokens themselves: the prefix, and a vector for each place."""
        dim, num_registers = self._sizes["dim"], self._kind["num_registers"]
        rows = self.num_prefix + self.grid[0] * self.grid[1]
        sizes = {
            "cls_token": 1 if self._kind["class_token"] else None,
            "reg_token": num_registers or None,
            "pos_embed": None if self._kind["position"] == "rotary" else rows,
        }
        for name, number in sizes.items():
            self.register_parameter(name, number and nn.Parameter(torch.empty(1, number, dim)))

    def _make_blocks(self) -> None:
        """The blocks, the norms around them, and the probe that pools."""
        dim, depth, num_heads, mlp_dim = self._sizes.values()
        eps, act, final_norm = (self._kind[name] for name in ("eps", "act", "final_norm"))
        norms = {"norm_pre": self._kind["pre_norm"], "norm": final_norm == "tokens"}
        norms["fc_norm"] = final_norm == "pooled"
        self.blocks = nn.ModuleList(
            Block(dim, num_heads, mlp_dim, eps, act, self._angles()) for _ in range(depth)
        )
        for name, is_there in norms.items():
            width = self._width if name == "fc_norm" else dim
            self.add_module(name, nn.LayerNorm(width, eps=eps) if is_there else nn.Identity())
        if self.pool == "attention":
            self.attn_pool = AttentionPool(dim, num_heads, mlp_dim, eps, act, self.num_prefix)

    def _angles(self) -> Tensor | None:
        """By how much queries and keys turn, a tensor of its own for each block; None where they do not."""
        if self._kind["position"] == "table":
            return None
        return rotary_angles(patch_places(self.grid), self._sizes["dim"] // self._sizes["num_heads"])

    @property
    def num_registers(self) -> int:
        """Learned tokens that no answer is read from."""
        return self._kind["num_registers"]

    @property
    def num_prefix(self) -> int:
        """Tokens in front of the patches: the CLS token and the registers."""
        return self._kind["class_token"] + self.num_registers

    @property
    def _width(self) -> int:
        """Of what the head reads."""
        return self._sizes["dim"] * VECTORS.get(self.pool, 1)

    @property
    def _own(self) -> Tensor:
        """A parameter of the model, to ask where it lies and how fine it is."""
        return next(self.parameters()) if self.cls_token is None else self.cls_token

    @property
    def num_classes(self) -> int:
        """Width of the head that is there now, whoever put it there; 0 for none."""
        if self.head is None or isinstance(self.head, nn.Identity):
            return 0
        width = getattr(self.head, "out_features", None)
        return self._tried_width() if width is None else width

    def _tried_width(self) -> int:
        with torch.no_grad():
            return deepcopy(self.head).eval()(self._own.new_zeros(1, self._width)).shape[1]

    @property
    def config(self) -> dict[str, Any]:
        """The constructor's arguments with which this model would be made again, as it is now."""
        sizes = {"image_size": self.image_size, "patch_size": self.patch_size, "channels": self.channels}
        sizes |= self._sizes | {"depth": len(self.blocks)}
        return sizes | {"num_classes": self.num_classes, "pool": self.pool} | self._kind

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
        like = {"device": self._own.device, "dtype": self._own.dtype}
        head = nn.Linear(self._width, num_classes, **like) if num_classes else nn.Identity()
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
        tokens = [p for name, p in self.named_parameters() if name in SMALL]
        for parameter in [*tokens, *(p for p in self.head.parameters() if p.ndim == 2)]:
            nn.init.trunc_normal_(parameter, std=0.02)

    def embed(
        self, image: Float[Tensor, "batch channels height width"]
    ) -> tuple[Tensor, Tensor, Float[Tensor, "batch tokens dim"]]:
        """Steps 1 to 3, as far as the model has them: patches, with a prefix, and as blocks get them."""
        patches = self.patch_embed(image)
        tokens = patches if self.reg_token is None else prepend_registers(patches, self.reg_token)
        with_cls = tokens if self.cls_token is None else prepend_cls(tokens, self.cls_token)
        placed = with_cls if self.pos_embed is None else add_position(with_cls, self.pos_embed[0])
        return patches, with_cls, self.norm_pre(placed)

    def read(self, tokens: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "batch width"]:
        """Pool tokens into what the head reads, as this model does."""
        return self.fc_norm(POOLS[self.pool](self)(tokens))

    @door(_made_for)
    def forward(self, image: Float[Tensor, "batch channels height width"]) -> Float[Tensor, "batch classes"]:
        """Classify images, fast: if the CLS token is pooled, the last block computes nothing else.

        A hook on that block, or within it, sees one row for each image then, and not all tokens.

        Raises:
            ValueError: "image is 3 x 32 x 30, the model was made for 3 x 32 x 32".
            TypeError: ``image`` is not a floating-point tensor.
        """
        *_, tokens = self.embed(image)
        *blocks, last = self.blocks
        for block in blocks:
            tokens = block(tokens)
        tokens = last(tokens, cls_only=self.pool == "cls")
        return classify(tokens, self.norm, self.head, pool=self.read)

    @door(_made_for)
    def trace(
        self,
        image: Float[Tensor, "batch channels height width"],
        *,
        layers: Sequence[int] | None = None,
    ) -> Trace:
        """Classify images and keep what each step gave, attention weights included.

        The logits are those of :meth:`forward` to rounding. ``encoded`` is what the last block gave, before
        the final norm, so ``classify(trace.encoded, model.norm, model.head, pool=model.read)`` is
        ``trace.logits``. Where a probe pools, ``pooling`` is whom it looked at.

        Args:
            image: as :meth:`forward` takes it.
            layers: of which blocks the attention is kept, counted from 0 or from the end; all by default. At
                many tokens it is by far the largest part of a trace: under ``torch.inference_mode()`` hardly
                more is held than what is asked for. With gradients torch keeps each map a second time.

        Raises: as :meth:`forward`, and
            ValueError: "layers holds 12, the model has 12 blocks: 0 to 11".
        """
        kept = _kept_layers(layers, len(self.blocks))
        patches, with_cls, with_position = self.embed(image)
        encoded = with_position
        heads, (batch, tokens, _) = self.blocks[0].attn.num_heads, encoded.shape
        # One tensor from the start: to stack the maps of all blocks would hold each of them twice.
        attention = encoded.new_empty(batch, len(kept), heads, tokens, tokens)
        for layer, block in enumerate(self.blocks):
            encoded = block(encoded, weights=attention[:, kept.index(layer)] if layer in kept else None)
        logits = classify(encoded, self.norm, self.head, pool=self.read)
        pooling = self.attn_pool.attend(self.norm(encoded))[1] if self.pool == "attention" else None
        return Trace(patches, with_cls, with_position, attention, encoded, logits, pooling)


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
