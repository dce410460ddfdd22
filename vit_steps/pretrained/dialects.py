"""How timm, Hugging Face, torchvision, Google's npz and DINOv2 call the weights of a ViT: a table for each.

A new dialect is a new table here; :mod:`vit_steps.pretrained.spelling` reads and writes by them.
"""

from fractions import Fraction
from typing import NamedTuple

from vit_steps.position_embedding import Library

IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}
HALF = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}

UNUSED = ""  # stands for parameters that classifying never reads, such as Hugging Face's pooler
BLOCK = ("norm1", "attn.proj", "norm2", "mlp.fc1", "mlp.fc2")


class Dialect(NamedTuple):
    """How one library spells a ViT. A part that stands in no table is unknown, and refused by name.

    Attributes:
        name: of the library.
        stem: its spelling -> timm's, for what stands outside the blocks.
        block: its spelling -> timm's, inside a block.
        prefixes: what may stand before every key, nothing last.
        blocks: what stands before the number of a block, the usual one first.
        separator: between the words of a key.
        eps: of the LayerNorms where no config says it.
        preprocess: how images are prepared where no config says it; empty where there is no one custom.
        resized_like: whose way it is to fit positions to another grid, as resize_position calls it.
    """

    name: str
    stem: dict[str, str]
    block: dict[str, str]
    prefixes: tuple[str, ...] = ("",)
    blocks: tuple[str, ...] = ("blocks.",)
    separator: str = "."
    eps: float = 1e-6
    preprocess: dict = {}  # noqa: RUF012 (read, never written)
    resized_like: Library = "timm"


_TIMM_STEM = {name: name for name in ("cls_token", "pos_embed", "patch_embed.proj", "norm", "head")}
_TIMM_BLOCK = {name: name for name in ("attn.qkv", *BLOCK)}

TIMM = Dialect("timm", _TIMM_STEM, _TIMM_BLOCK)

DINOV2 = Dialect(
    "DINOv2",
    _TIMM_STEM | {"mask_token": UNUSED},
    _TIMM_BLOCK | {"ls1.gamma": "ls1.gamma", "ls2.gamma": "ls2.gamma"},
    preprocess=IMAGENET | {"crop_pct": Fraction(224, 256)},
    resized_like="DINOv2",
)

HUGGING_FACE = Dialect(
    "Hugging Face",
    stem={
        "embeddings.cls_token": "cls_token",
        "embeddings.position_embeddings": "pos_embed",
        "embeddings.patch_embeddings.projection": "patch_embed.proj",
        "embeddings.mask_token": UNUSED,
        "layernorm": "norm",
        "pooler.dense": UNUSED,
        "classifier": "head",
    },
    block={
        # As they are saved.
        "layernorm_before": "norm1",
        "attention.attention.query": "attn.q",
        "attention.attention.key": "attn.k",
        "attention.attention.value": "attn.v",
        "attention.output.dense": "attn.proj",
        "layernorm_after": "norm2",
        "intermediate.dense": "mlp.fc1",
        "output.dense": "mlp.fc2",
        # As transformers 5 holds them in memory, and as its DINOv2 has always called them.
        "attention.q_proj": "attn.q",
        "attention.k_proj": "attn.k",
        "attention.v_proj": "attn.v",
        "attention.o_proj": "attn.proj",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
        "norm1": "norm1",
        "norm2": "norm2",
        "layer_scale1.lambda1": "ls1.gamma",
        "layer_scale2.lambda1": "ls2.gamma",
    },
    prefixes=("vit.", "deit.", "dinov2.", ""),
    blocks=("encoder.layer.", "layers."),
    eps=1e-12,
    resized_like="transformers",
)

TORCHVISION = Dialect(
    "torchvision",
    stem={
        "class_token": "cls_token",
        "encoder.pos_embedding": "pos_embed",
        "conv_proj": "patch_embed.proj",
        "encoder.ln": "norm",
        "heads.head": "head",
    },
    block={
        "ln_1": "norm1",
        "self_attention.in_proj_weight": "attn.qkv.weight",
        "self_attention.in_proj_bias": "attn.qkv.bias",
        "self_attention.out_proj": "attn.proj",
        "ln_2": "norm2",
        "mlp.0": "mlp.fc1",
        "mlp.3": "mlp.fc2",
        # As the published files have it.
        "mlp.linear_1": "mlp.fc1",
        "mlp.linear_2": "mlp.fc2",
    },
    blocks=("encoder.layers.encoder_layer_",),
    preprocess=IMAGENET | {"crop_pct": Fraction(224, 256), "interpolation": "bilinear"},
    resized_like="torchvision",
)

GOOGLE = Dialect(
    "Google's npz",
    stem={
        "cls": "cls_token",
        "Transformer/posembed_input/pos_embedding": "pos_embed",
        "embedding": "patch_embed.proj",
        "Transformer/encoder_norm": "norm",
        "head": "head",
    },
    block={
        "LayerNorm_0": "norm1",
        "MultiHeadDotProductAttention_1/query": "attn.q",
        "MultiHeadDotProductAttention_1/key": "attn.k",
        "MultiHeadDotProductAttention_1/value": "attn.v",
        "MultiHeadDotProductAttention_1/out": "attn.proj",
        "LayerNorm_2": "norm2",
        "MlpBlock_3/Dense_0": "mlp.fc1",
        "MlpBlock_3/Dense_1": "mlp.fc2",
    },
    prefixes=("opt/target/", ""),
    blocks=("Transformer/encoderblock_",),
    separator="/",
    preprocess=HALF | {"crop_pct": 0.9},
    resized_like="Google",
)

DIALECTS = (TIMM, HUGGING_FACE, TORCHVISION, GOOGLE, DINOV2)

# Why a key has no place here, in the words of the paper that it comes from.
REASONS = {
    r"dist_token|head_dist|distillation": "a distilled DeiT reads two extra tokens, this ViT reads one",
    r"reg_token|register": "register tokens",
    r"w12|w3\.|weights_in|gate_proj": "an MLP with SwiGLU, where this ViT has GELU",
    r"pre_logits": "a layer between the class token and the head",
    r"fc_norm": "a norm after the pooling, where this ViT has it before",
    r"norm_pre|ln_pre": "a norm before the first block",
    r"[qk]_norm": "norms of query and key",
    r"relative_position|rope": "relative positions",
    r"gamma_|lambda_": "BEiT's layer scale",
    r"q_bias|v_bias": "a bias that only queries and values have",
}
