"""Which models are known by name: those that are this function, and why the others are not.

Some differences leave no key (a GELU by tanh, norms after the MLP, rotary positions), so a config's name
decides first. A name that stands in no row is refused: the keys of a next dialect may look as ours do.
"""

import re
from typing import Any, NamedTuple

from vit_steps.pretrained import obstacles as o


class Known(NamedTuple):
    """One row: the models whose whole name fits.

    Attributes:
        names: of the architecture (timm) or the model_type (Hugging Face), as a regular expression.
        obstacles: what makes them another function; none where they are this one.
        says: what a config must say besides to be this function: key -> values that will do. None among
            them is what a silent config says.
        why: what it is otherwise, in the words of ``obstacles``: key -> obstacle.
    """

    names: str
    obstacles: tuple[str, ...] = ()
    says: dict[str, tuple] = {}  # noqa: RUF012 (read, never written)
    why: dict[str, str] = {}  # noqa: RUF012


# The first row that fits counts.
TIMM = (
    Known(r"vit_(tiny|small|base|large)_patch(8|14|16|32)_(224|384)"),
    Known(r"vit_(huge|giant|gigantic)_patch14_224|test_vit"),
    Known(r"vit_base_patch16_224_miil|vit_base_patch(16|32)_plus_(240|256)|vit_small_patch16_36x1_224"),
    Known(r"vit_(small|base|large)_patch14_dinov2"),
    Known(r"deit_(tiny|small|base)_patch16_(224|384)"),
    Known(r"deit3_(small|medium|base|large|huge)_patch1[46]_(224|384)|flexivit_(small|base|large)"),
    Known(r"eva_giant_patch14_clip_224"),
    Known(r"deit_\w+_distilled_\w+", (o.DISTILLED,)),
    Known(r"vit_(pwee|dpwee)_\w+", (o.PARALLEL, o.REGISTERS)),
    Known(r"vit_(dwee|dlittle)_\w+", (o.DIFFERENTIAL, o.REGISTERS)),
    Known(r"vit_\w+_18x2_\d+", (o.PARALLEL,)),
    Known(r"vit_\w+_xp_\d+", (o.PARALLEL, o.PRE_NORM)),
    Known(r"vit_\w+_rpn_\d+", (o.POST_NORM, o.NO_CLS)),
    Known(r"vit_\w+_siglip_gap_\d+", (o.NO_CLS,)),
    Known(r"vit_\w+_siglip_\d+", (o.NO_CLS, o.MAP)),
    Known(r"vit_pe_\w+", (o.ROTARY, o.PRE_NORM)),
    Known(r"vit_\w+_rope_\w+", (o.ROTARY,)),
    Known(r"vit_\w+_(dinov3(_qkvb)?|lingbot|sapiens2)", (o.ROTARY, o.REGISTERS)),
    Known(r"vit_\w+_clip_quickgelu_\d+", (o.PRE_NORM, o.QUICK_GELU)),
    Known(r"vit_\w+_clip_\d+", (o.PRE_NORM,)),
    Known(r"vit_giant_\w+_reg\d_(dinov2|tipsv2)", (o.REGISTERS, o.SWIGLU)),
    Known(r"vit_\w+_reg\d_(dinov2|tipsv2)|vit_\w+_reg\d_gap_\d+|test_vit2", (o.REGISTERS,)),
    Known(r"vit_\w+_reg\d_map_\d+|test_vit3", (o.REGISTERS, o.MAP)),
    Known(r"vit_giant_patch14_dinov2", (o.SWIGLU,)),
    Known(r"vit_\w+_radio_v\d", (o.REGISTERS, o.NO_NORM)),
    Known(r"test_vit4", (o.RMS_NORM, o.REGISTERS)),
    Known(r"vit_\w+_gap_\d+", (o.NO_CLS,)),
    Known(r"vit_intern300m_\w+", (o.NO_NORM,)),
    Known(r"vit_\w+_(r\d*|resnet\d+d)_?\w*_\d+|vit_base_mci_224", (o.STEM,)),
    Known(r"eva_(large|giant)_\w+", (o.FC_NORM,)),
    Known(r"eva02_enormous_\w+", (o.POST_NORM,)),
    Known(r"eva02_\w+", (o.ROTARY, o.SWIGLU)),
    Known(r"beit3_\w+", (o.SUB_NORM, o.FC_NORM)),
    Known(r"beit(v2)?_\w+", (o.RELATIVE, o.FC_NORM)),
    Known(r"aimv2_\w+", (o.NO_CLS, o.RMS_NORM, o.SWIGLU)),
    Known(r"naflexvit_\w+", (o.NAFLEX,)),
)
_BEIT = {
    "use_relative_position_bias": (False, None),
    "use_shared_relative_position_bias": (False, None),
    "use_absolute_position_embeddings": (True,),
    "use_mean_pooling": (False,),
}
_BEIT_WHY = {
    "use_relative_position_bias": o.RELATIVE,
    "use_shared_relative_position_bias": o.RELATIVE,
    "use_absolute_position_embeddings": o.NO_TABLE,
    "use_mean_pooling": o.FC_NORM,
}
HUGGING_FACE = (
    Known(r"vit|vit_msn|vit_mae|flava_image_model"),
    Known(
        r"dinov2",
        says={"use_swiglu_ffn": (False, None), "architectures": (None, ["Dinov2Model"], ["Dinov2Backbone"])},
        why={"use_swiglu_ffn": o.SWIGLU, "architectures": o.WIDE_HEAD},
    ),
    Known(r"beit|data2vec-vision", says=_BEIT, why=_BEIT_WHY),
    Known(
        r"dpt",
        says={"is_hybrid": (False, None), "architectures": (None, ["DPTModel"])},
        why={"is_hybrid": o.STEM, "architectures": o.MANY_BLOCKS},
    ),
    Known(r"deit", (o.DISTILLED,)),
    Known(r"dinov2_with_registers", (o.REGISTERS,)),
    Known(r"dinov3_vit", (o.ROTARY, o.REGISTERS)),
    Known(r"clip|clip_vision_model", (o.PRE_NORM, o.QUICK_GELU)),
    Known(r"owlvit|owlvit_vision_model|owlv2|owlv2_vision_model", (o.PRE_NORM, o.QUICK_GELU)),
    Known(r"mlcd|mlcd_vision_model", (o.PRE_NORM, o.ROTARY)),
    Known(r"siglip|siglip_vision_model", (o.NO_CLS, o.MAP, o.TANH_GELU)),
    Known(r"siglip2|siglip2_vision_model", (o.NO_CLS, o.MAP, o.NAFLEX)),
    Known(r"blip|blip_vision_model", (o.TWICE,)),
    Known(r"ijepa", (o.NO_CLS,)),
    Known(r"aimv2|aimv2_vision_model", (o.NO_CLS, o.RMS_NORM, o.SWIGLU)),
    Known(r"yolos", (o.DETECTION,)),
    Known(r"depth_anything", (o.MANY_BLOCKS,)),
    Known(r"sam|sam_vision_model", (o.NO_CLS, o.RELATIVE)),
    Known(r"hiera", (o.NO_CLS, o.STAGES)),
    Known(r"swin|swinv2", (o.NO_CLS, o.RELATIVE, o.STAGES)),
    Known(r"audio-spectrogram-transformer", (o.DISTILLED, o.SPECTROGRAM)),
    Known(r"videomae|vivit", (o.VIDEO,)),
    Known(r"vitdet|vitpose|vitpose_backbone|groupvit|groupvit_vision_model", (o.NO_CLS,)),
    Known(r"pixtral", (o.NO_CLS, o.ROTARY, o.RMS_NORM)),
)

# timm's arguments that change the function, and what they may say; None is what a silent config says.
TIMM_SAYS = {
    "act_layer": ("gelu",),
    "norm_layer": ("layernorm",),
    "global_pool": ("token", "avg"),
    "pool_include_prefix": (False,),
    "pos_embed": ("learn",),
    "class_token": (True,),
    "reg_tokens": (0,),
    "qk_norm": (False,),
    "pre_norm": (False,),
    "final_norm": (True,),
    "scale_attn_norm": (False,),
    "scale_mlp_norm": (False,),
    "dynamic_img_pad": (False,),
}
# And those that change no answer, or that the weights show.
TIMM_HARMLESS = {
    *("img_size", "patch_size", "in_chans", "num_classes", "embed_dim", "depth", "num_heads", "mlp_ratio"),
    *("qkv_bias", "proj_bias", "init_values", "no_embed_class", "fc_norm", "dynamic_img_size", "weight_init"),
    *("fix_init", "drop_rate", "pos_drop_rate", "patch_drop_rate", "proj_drop_rate", "attn_drop_rate"),
    *("drop_path_rate", "device", "dtype", "pretrained", "scriptable", "exportable", "no_jit"),
}
# Width -> heads, of the models above by the word in their names.
TIMM_HEADS = {
    "test_vit": (64, 2),
    "tiny": (192, 3),
    "small": (384, 6),
    "medium": (512, 8),
    "plus": (896, 14),
    "base": (768, 12),
    "large": (1024, 16),
    "huge": (1280, 16),
    "giant": (1408, 16),
    "gigantic": (1664, 16),
}


def check_known(kind: str, name: object, rows: tuple[Known, ...], config: dict[str, Any]) -> None:
    """Refuse a model whose name says that it is another function, or says nothing.

    Raises:
        ValueError: "the architecture 'vit_base_patch16_clip_224' is another function: a norm before the first
            block", "the model_type 'bert' is none that is known here to be a ViT such as this".
    """
    row = next((row for row in rows if isinstance(name, str) and re.fullmatch(row.names, name)), None)
    if row is None:
        raise ValueError(f"the {kind} {name!r:.80} is none that is known here to be a ViT such as this")
    found = [*row.obstacles, *(row.why[key] for key in row.says if config.get(key) not in row.says[key])]
    if found:
        raise ValueError(f"the {kind} {name!r:.80} is another function: {'; '.join(dict.fromkeys(found))}")


def check_arguments(arguments: dict[str, Any]) -> None:
    """Refuse arguments of timm's that make another function of a model, and those that are not known here.

    Raises:
        ValueError: "the config says pool_include_prefix True, only False will do", "the config says rope
            True, which is not known here".
    """
    for key, value in arguments.items():
        if key in TIMM_HARMLESS or value is None:
            continue
        if key not in TIMM_SAYS:
            raise ValueError(f"the config says {key!s:.80} {value!r:.80}, which is not known here")
        if value not in TIMM_SAYS[key]:
            will_do = " or ".join(map(repr, TIMM_SAYS[key]))
            raise ValueError(f"the config says {key} {value!r:.80}, only {will_do} will do")


def heads_of(config: dict[str, Any]) -> int | None:
    """Give the heads of a model of timm's as it is published; None for another width."""
    name = str(config.get("architecture"))
    words = (name, *reversed(name.split("_")))
    dim, heads = next((TIMM_HEADS[word] for word in words if word in TIMM_HEADS), (None, None))
    return heads if dim == config.get("num_features") else None
