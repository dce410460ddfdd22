"""How libraries and publishers call the weights of a ViT: a table for each.

A new dialect is a new table here; :mod:`vit_steps.pretrained.spelling` reads and writes by them. What a key
tells of another function stands in :mod:`vit_steps.pretrained.obstacles`.
"""

import re
from fractions import Fraction
from typing import NamedTuple

from vit_steps.pretrained._dialect import BLOCK, HALF, IMAGENET, UNUSED, Dialect
from vit_steps.pretrained.clip import HUGGING_FACE_CLIP, OPENAI, SIGLIP
from vit_steps.pretrained.rotary import DINOV3 as ROTARY_OF_DINOV3

_TIMM_TOKENS = ("cls_token", "reg_token", "dist_token", "pos_embed", "attn_pool.latent")
_TIMM_PARTS = ("patch_embed.proj", "norm_pre", "norm", "fc_norm", "head", "head_dist")
_TIMM_PROBE = tuple(f"attn_pool.{name}" for name in ("q", "kv", "proj", "norm", "mlp.fc1", "mlp.fc2"))
_TIMM_STEM = {name: name for name in (*_TIMM_TOKENS, *_TIMM_PARTS, *_TIMM_PROBE)}
_TIMM_STEM |= {"masked_embed": UNUSED}  # iBOT's
_TIMM_BLOCK = {name: name for name in ("attn.qkv", "attn.angles", *BLOCK)}  # the angles are our own
# EVA's: a bias that stands alone, three matrices for one, and a gate beside what it lets through.
_TIMM_BLOCK |= {"attn.q_bias": "attn.q.bias", "attn.v_bias": "attn.v.bias"}
_TIMM_BLOCK |= {f"attn.{which}_proj": f"attn.{which}" for which in "qkv"}
_TIMM_BLOCK |= {"mlp.fc1_g": "mlp.gate", "mlp.fc1_x": "mlp.fc1"}
_LAYER_SCALE = {"ls1.gamma": "ls1.gamma", "ls2.gamma": "ls2.gamma"}
_LAYER_SCALE |= {"gamma_1": "ls1.gamma", "gamma_2": "ls2.gamma"}  # as DeiT III is published

TIMM = Dialect("timm", _TIMM_STEM, _TIMM_BLOCK, cls_row=None)

LAYER_SCALE = TIMM._replace(name="timm with layer scale", block=_TIMM_BLOCK | _LAYER_SCALE, cls_row=False)

DINOV2 = Dialect(
    "DINOv2",
    # timm, too, knows a file of DINOv2's own by its mask token.
    _TIMM_STEM | {"mask_token": UNUSED, "register_tokens": "reg_token"},
    _TIMM_BLOCK | _LAYER_SCALE | {"mlp.w12": "mlp.fc1", "mlp.w3": "mlp.fc2"},
    certain=True,
    preprocess=IMAGENET | {"crop_pct": Fraction(224, 256)},
    resized_like="DINOv2",
)

DINOV3 = DINOV2._replace(
    name="DINOv3",
    stem=_TIMM_STEM | {"mask_token": UNUSED, "storage_tokens": "reg_token", "rope_embed.periods": UNUSED},
    block=_TIMM_BLOCK
    | _LAYER_SCALE
    | {"attn.qkv.bias_mask": "attn.qkv.bias_mask"}
    | {"mlp.w1": "mlp.gate", "mlp.w2": "mlp.fc1", "mlp.w3": "mlp.fc2"},
    may_lack=("pos_embed",),
    eps=1e-5,
    rotary=ROTARY_OF_DINOV3,
    resized_like="timm",
)

MAE = TIMM._replace(
    name="MAE",
    unused=r"mask_token|decoder_.+",
    cls_row=True,
    may_lack=(),
    certain=True,
    resized_like="transformers",  # so does mae/util/pos_embed.py
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
        # DeiT's, and that of I-JEPA, which has no CLS token.
        "embeddings.distillation_token": "dist_token",
        "cls_classifier": "head",
        "distillation_classifier": "head_dist",
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
        # A bias that stands alone. Below, because what we write is spelled by the first that fits.
        "attention.attention.q_bias": "attn.q.bias",
        "attention.attention.v_bias": "attn.v.bias",
    },
    prefixes=("vit.", "deit.", "beit.", "data2vec_vision.", "dpt.", "ijepa.", ""),
    blocks=("encoder.layer.", "layers."),
    unused=r"decoder\..+",  # of masked image modelling
    may_lack=("cls_token",),
    eps=1e-12,
    resized_like="transformers",
)

HUGGING_FACE_DINOV2 = HUGGING_FACE._replace(
    name="Hugging Face's DINOv2",
    stem=HUGGING_FACE.stem | {"embeddings.register_tokens": "reg_token"},
    block=HUGGING_FACE.block
    | {
        "mlp.weights_in": "mlp.fc1",
        "mlp.weights_out": "mlp.fc2",
        "norm1": "norm1",
        "norm2": "norm2",
        "layer_scale1.lambda1": "ls1.gamma",
        "layer_scale2.lambda1": "ls2.gamma",
    },
    prefixes=("dinov2.", "dinov2_with_registers.", ""),
    may_lack=(),
    wide_head=True,
    eps=1e-6,
    certain=True,
)

HUGGING_FACE_DINOV3 = Dialect(
    "Hugging Face's DINOv3",
    stem={
        "embeddings.cls_token": "cls_token",
        "embeddings.register_tokens": "reg_token",
        "embeddings.mask_token": UNUSED,
        "embeddings.patch_embeddings": "patch_embed.proj",
        "norm": "norm",
    },
    block={
        **{f"norm{number}": f"norm{number}" for number in "12"},
        **{f"layer_scale{number}.lambda1": f"ls{number}.gamma" for number in "12"},
        **{f"attention.{which}_proj": f"attn.{which}" for which in "qkv"},
        "attention.o_proj": "attn.proj",
        "mlp.gate_proj": "mlp.gate",
        "mlp.up_proj": "mlp.fc1",
        "mlp.down_proj": "mlp.fc2",
    },
    blocks=("layer.",),
    may_lack=("pos_embed",),
    eps=1e-5,
    rotary=ROTARY_OF_DINOV3,
)

TORCHVISION = Dialect(
    "torchvision",
    stem={
        "class_token": "cls_token",
        "encoder.pos_embedding": "pos_embed",
        "conv_proj": "patch_embed.proj",
        "encoder.ln": "norm",
        "heads.head": "head",
        "heads": "head",  # where somebody put a layer in the place of the heads
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
    certain=True,
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
    certain=True,
    preprocess=HALF | {"crop_pct": 0.9},
    resized_like="Google",
)

BIG_VISION = GOOGLE._replace(
    name="big_vision",
    stem={key.rpartition("posembed_input/")[2]: name for key, name in GOOGLE.stem.items()},
    block={
        key.replace("Attention_1", "Attention_0").replace("MlpBlock_3", "MlpBlock_0"): name
        for key, name in GOOGLE.block.items()
        if key != "LayerNorm_2"
    }
    | {"LayerNorm_1": "norm2"},
    prefixes=("params/", ""),
    cls_row=False,
)

TIMM_IN_OPEN_CLIP = TIMM._replace(
    name="timm inside open_clip",
    stem={f"visual.trunk.{name}": part for name, part in _TIMM_STEM.items() if part != "head"}
    | {"visual.head.proj": "head"},
    block=_TIMM_BLOCK | _LAYER_SCALE,
    blocks=("visual.trunk.blocks.",),
    unused=OPENAI.unused,
    is_projection=True,
)

# Where two know as many keys, the first counts.
DIALECTS = (
    *(TIMM, HUGGING_FACE, TORCHVISION, GOOGLE),
    *(LAYER_SCALE, DINOV2, MAE, HUGGING_FACE_DINOV2, BIG_VISION),
    *(DINOV3, HUGGING_FACE_DINOV3, HUGGING_FACE_CLIP, SIGLIP, OPENAI, TIMM_IN_OPEN_CLIP),
)
FLAX = (GOOGLE, BIG_VISION)


class Wrapping(NamedTuple):
    """What training puts before the keys of a model.

    Attributes:
        prefix: before every key of the model.
        beside: whole keys of what was trained along with it and is no part of it.
        heads: of the models that are trained so, by width.
    """

    prefix: str
    beside: str = ""
    heads: dict[int, int] = {}  # noqa: RUF012 (read, never written)

    def wraps(self, key: str) -> bool:
        """Whether a key stands behind this prefix."""
        return key.startswith(self.prefix)

    def is_beside(self, key: str) -> bool:
        """Whether a key is of what was trained beside the model."""
        return bool(self.beside) and re.fullmatch(self.beside, key) is not None


WRAPPINGS = (
    Wrapping("module."),
    Wrapping("_orig_mod."),
    Wrapping("timm_model."),
    Wrapping("model."),
    Wrapping("teacher.", beside=r"student\..+"),
    # MoCo v3: its head is a projector of several layers, and says no class.
    Wrapping(
        "base_encoder.",
        beside=r"momentum_encoder\..+|predictor\..+|base_encoder\.head\.\d.+",
        heads={384: 12, 768: 12},
    ),
    # DINO and iBOT: so are theirs.
    Wrapping("backbone.", beside=r"head\.(mlp|last_layer).+|(dino|ibot)_head\..+"),
)
# Of several things in a file, the one that is read: as timm chooses, and DINO, which evaluates its teacher.
SETS = ("state_dict_ema", "model_ema", "state_dict", "model", "teacher", "student")
