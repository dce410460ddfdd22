"""Build a Vision Transformer in five steps, with small functions that also run the real ones.

Importing this package loads torch and the five steps; data, plots, widgets and training are imported by name,
as in ``from vit_steps.data import load_photo``.
"""

from vit_steps.commands import first  # noqa: F401, I001 (before what may not be there)
from vit_steps.classification import (
    classify,
    pool_cls,
    pool_cls_and_mean,
    pool_first,
    pool_mean,
    top_k,
)
from vit_steps.cls_token import prepend_cls, prepend_registers, split_cls
from vit_steps.encoder import (
    attention_weights,
    cls_block,
    cross_attention,
    encoder_block,
    fused_attention,
    merge_heads,
    self_attention,
    split_heads,
)
from vit_steps.looking.agreement import Agreement, compare
from vit_steps.patch_embedding import (
    image2emb_conv,
    image2emb_naive,
    image2patches,
    kernel2weight,
    map2emb,
    patches2image,
    resize_kernel,
    weight2kernel,
)
from vit_steps.position_embedding import (
    add_position,
    patch_places,
    position_similarity,
    resize_position,
    rotary_angles,
    rotate,
    sincos_position,
)
from vit_steps.vit import Trace, ViT

__version__ = "0.2.0.dev0"  # pyproject.toml reads it from here

__all__ = [
    "Agreement",
    "Trace",
    "ViT",
    "add_position",
    "attention_weights",
    "classify",
    "cls_block",
    "compare",
    "cross_attention",
    "encoder_block",
    "fused_attention",
    "image2emb_conv",
    "image2emb_naive",
    "image2patches",
    "kernel2weight",
    "map2emb",
    "merge_heads",
    "patch_places",
    "patches2image",
    "pool_cls",
    "pool_cls_and_mean",
    "pool_first",
    "pool_mean",
    "position_similarity",
    "prepend_cls",
    "prepend_registers",
    "resize_kernel",
    "resize_position",
    "rotary_angles",
    "rotate",
    "self_attention",
    "sincos_position",
    "split_cls",
    "split_heads",
    "top_k",
    "weight2kernel",
]
