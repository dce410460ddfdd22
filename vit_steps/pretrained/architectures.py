"""Which models are known by name: those that are this function, and why the others are not.

Some differences leave no key (a GELU by tanh, norms after the MLP, rotary positions), so a config's name
decides first. A name that stands in no row is refused: the keys of a next dialect may look as ours do.
"""

import re
from typing import Any, NamedTuple

from vit_steps.pretrained import obstacles as o
from vit_steps.pretrained.rotary import DINOV3, EVA02, ROPE_VIT


class Known(NamedTuple):
    """One row: the models whose whole name fits.

    Attributes:
        names: of the architecture (timm) or the model_type (Hugging Face), as a regular expression.
        obstacles: what makes them another function; none where they are this one.
        gives: what their weights do not show: ViT's arguments, "rotary", and "labels" where the head is no
            classifier. A config that says it itself counts more.
        says: what a config must say besides to be this function: key -> values that will do. None among
            them is what a silent config says.
        why: what it is otherwise, in the words of ``obstacles``: key -> obstacle.
    """

    names: str
    obstacles: tuple[str, ...] = ()
    gives: dict[str, Any] = {}  # noqa: RUF012 (read, never written)
    says: dict[str, tuple] = {}  # noqa: RUF012 (read, never written)
    why: dict[str, str] = {}  # noqa: RUF012


_CLIP = {"eps": 1e-5}
_QUICK = _CLIP | {"act": "quick_gelu"}
_TANH = {"act": "gelu_tanh"}
# SigLIP 2 came with the other GELU: the patches, widths and sizes that are new with it.
_SIGLIP_2 = (
    r"base_patch32_siglip(_gap)?_256|giantopt_patch16_siglip(_gap)?_\d+|large_patch16_siglip(_gap)?_512"
)
_SIGLIP_2 += r"|so400m_patch16_siglip(_gap)?_\d+"
# What is not said in a config of these, because it is usual there.
_TWELVE = {"num_heads": 12}
# The first row that fits counts.
TIMM = (
    Known(r"vit_(tiny|small|base|large)_patch(8|14|16|32)_(224|384)"),
    Known(r"vit_(huge|giant|gigantic)_patch14_224|test_vit"),
    Known(r"vit_base_patch16_224_miil|vit_base_patch(16|32)_plus_(240|256)|vit_small_patch16_36x1_224"),
    Known(r"vit_(small|base|large|giant)_patch14(_reg4)?_dinov2"),
    Known(r"vit_\w+_patch14_reg1_tipsv2"),
    Known(r"deit_(tiny|small|base)(_distilled)?_patch16_(224|384)"),
    Known(r"deit3_(small|medium|base|large|huge)_patch1[46]_(224|384)|flexivit_(small|base|large)"),
    Known(r"eva_giant_patch14_clip_224"),
    Known(r"eva_(large|giant)_patch14_\d+"),
    Known(r"vit_(pwee|dpwee)_\w+", (o.PARALLEL,)),
    Known(r"vit_(dwee|dlittle)_\w+", (o.DIFFERENTIAL,)),
    Known(r"vit_\w+_18x2_\d+", (o.PARALLEL,)),
    Known(r"vit_\w+_xp_\d+", (o.PARALLEL,)),
    Known(r"vit_\w+_rpn_\d+", (o.POST_NORM,)),
    Known(r"vit_giantopt_patch16_siglip(_gap)?_\d+", gives=_TANH | {"num_heads": 16}),
    Known(rf"vit_({_SIGLIP_2})", gives=_TANH),
    Known(r"vit_\w+_siglip(_gap)?_\d+"),
    Known(r"vit_pe_core_\w+|test_vit3", (o.PROBE_HEADS,)),
    Known(r"vit_pe_\w+", (o.NO_NORM,)),
    Known(r"vit_\w+_rope_mixed_\w+", (o.MIXED,)),
    Known(r"vit_\w+_rope_reg\d_gap_\d+", gives={"rotary": EVA02}),
    Known(r"vit_\w+_rope_\w+", gives={"rotary": ROPE_VIT}),
    Known(r"vit_huge_plus_patch16_dinov3(_qkvb)?", gives=_CLIP | {"rotary": DINOV3, "num_heads": 20}),
    Known(r"vit_7b_patch16_dinov3", gives=_CLIP | {"rotary": DINOV3, "num_heads": 32}),
    Known(r"vit_\w+_(dinov3(_qkvb)?|lingbot)", gives=_CLIP | {"rotary": DINOV3}),
    Known(r"vit_\w+_sapiens2", (o.RMS_NORM, o.QK_NORM)),
    Known(r"vit_\w+_clip_quickgelu_\d+", gives=_QUICK),
    Known(r"vit_\w+_clip_\d+", gives=_CLIP),
    Known(r"vit_\w+_reg\d_(gap|map)_\d+|test_vit2"),
    Known(r"vit_\w+_radio_v\d", (o.NO_NORM,)),
    Known(r"test_vit4", (o.RMS_NORM,)),
    Known(r"vit_base_patch16_gap_224", gives={"num_heads": 16}),
    Known(r"vit_\w+_gap_\d+"),
    Known(r"vit_intern300m_\w+", (o.NO_NORM,)),
    Known(r"vit_\w+_(r\d*|resnet\d+d)_?\w*_\d+|vit_base_mci_224", (o.STEM,)),
    Known(r"eva02_enormous_\w+", (o.POST_NORM,)),
    Known(r"eva02_(tiny|small)_\w+", gives={"rotary": EVA02}),
    Known(r"eva02_\w+", (o.SUB_NORM,)),
    Known(r"beit3_\w+", (o.SUB_NORM,)),
    Known(r"beit(v2)?_\w+", (o.RELATIVE,)),
    Known(r"aimv2_\w+", (o.RMS_NORM,)),
    Known(r"naflexvit_\w+", (o.NAFLEX,)),
)
_BEIT = {
    "use_relative_position_bias": (False, None),
    "use_shared_relative_position_bias": (False, None),
    "use_absolute_position_embeddings": (True,),
}
_BEIT_WHY = {
    "use_relative_position_bias": o.RELATIVE,
    "use_shared_relative_position_bias": o.RELATIVE,
    "use_absolute_position_embeddings": o.NO_TABLE,
}
HUGGING_FACE = (
    Known(r"vit|vit_msn|vit_mae|flava_image_model"),
    Known(r"deit|ijepa"),
    Known(r"dinov2|dinov2_with_registers"),
    Known(
        r"dinov3_vit",
        gives={"eps": 1e-5, "rotary": DINOV3},
        says={"rope_theta": (100.0, None)},
        why={"rope_theta": o.OTHER_ANGLES},
    ),
    Known(r"beit|data2vec-vision", says=_BEIT, why=_BEIT_WHY),
    Known(
        r"dpt",
        says={"is_hybrid": (False, None), "architectures": (None, ["DPTModel"])},
        why={"is_hybrid": o.STEM, "architectures": o.MANY_BLOCKS},
    ),
    Known(
        r"clip|clip_vision_model|owlvit|owlvit_vision_model|owlv2|owlv2_vision_model", gives=_QUICK | _TWELVE
    ),
    Known(r"siglip|siglip_vision_model", gives=_TANH | {"eps": 1e-6} | _TWELVE),
    Known(r"mlcd|mlcd_vision_model", (o.ROTARY,)),
    Known(r"siglip2|siglip2_vision_model", (o.NAFLEX,)),
    Known(r"blip|blip_vision_model", (o.TWICE,)),
    Known(r"aimv2|aimv2_vision_model", (o.RMS_NORM,)),
    Known(r"yolos", (o.DETECTION,)),
    Known(r"depth_anything", (o.MANY_BLOCKS,)),
    Known(r"sam|sam_vision_model", (o.RELATIVE,)),
    Known(r"hiera", (o.STAGES,)),
    Known(r"swin|swinv2", (o.RELATIVE, o.STAGES)),
    Known(r"audio-spectrogram-transformer", (o.SPECTROGRAM,)),
    Known(r"videomae|vivit", (o.VIDEO,)),
    Known(r"vitdet", (o.NO_NORM,)),
    Known(r"vitpose|vitpose_backbone", (o.KEYPOINTS,)),
    Known(r"groupvit|groupvit_vision_model", (o.STAGES,)),
    Known(r"pixtral", (o.RMS_NORM,)),
)
# How an answer is read, by the class that a config names; the others read the CLS token, or the mean without.
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "Dinov2ForImageClassification": {"pool": "cls+mean"},
    "Dinov2WithRegistersForImageClassification": {"pool": "cls+mean"},
    "CLIPForImageClassification": {"pool": "mean", "final_norm": "nothing"},
    "SiglipForImageClassification": {"pool": "mean"},
    "CLIPModel": {"labels": []},
    "CLIPVisionModelWithProjection": {"labels": []},
}

# timm's arguments that change the function, and what they may say; None is what a silent config says.
TIMM_SAYS = {
    "act_layer": ("gelu", "gelu_tanh", "quick_gelu"),
    "norm_layer": ("layernorm",),
    "global_pool": ("token", "avg", "map"),
    "pos_embed": ("learn",),
    "qk_norm": (False,),
    "final_norm": (True,),
    "scale_attn_norm": (False,),
    "scale_mlp_norm": (False,),
    "dynamic_img_pad": (False,),
}
# And those that change no answer, or that the weights show.
TIMM_HARMLESS = {
    *("img_size", "patch_size", "in_chans", "num_classes", "embed_dim", "depth", "num_heads", "mlp_ratio"),
    *("class_token", "reg_tokens", "pre_norm", "pool_include_prefix"),
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
    "so400m": (1152, 16),
    "huge": (1280, 16),
    "giant": (1408, 16),
    "gigantic": (1664, 16),
}


def check_known(kind: str, name: object, rows: tuple[Known, ...], config: dict[str, Any]) -> dict[str, Any]:
    """Refuse a model whose name says that it is another function, or says nothing.

    Returns:
        What the weights of such models do not show.

    Raises:
        ValueError: "the architecture 'naflexvit_base_patch16_gap' is another function: patches and positions
            as NaFlex has them", "the model_type 'bert' is none that is known here to be a ViT such as this".
    """
    row = next((row for row in rows if isinstance(name, str) and re.fullmatch(row.names, name)), None)
    if row is None:
        raise ValueError(f"the {kind} {name!r:.80} is none that is known here to be a ViT such as this")
    found = [*row.obstacles, *(row.why[key] for key in row.says if config.get(key) not in row.says[key])]
    if found:
        raise ValueError(f"the {kind} {name!r:.80} is another function: {'; '.join(dict.fromkeys(found))}")
    return row.gives


def check_arguments(arguments: dict[str, Any]) -> None:
    """Refuse arguments of timm's that make another function of a model, and those that are not known here.

    Raises:
        ValueError: "the config says qk_norm True, only False will do", "the config says rope
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
    dim, heads = _published(config.get("architecture"))
    return heads if dim == config.get("num_features") else None


def width_of(architecture: object) -> int | None:
    """Give the width of a model of timm's as it is published; None where its name is not known here."""
    return _published(architecture)[0]


def _published(architecture: object) -> tuple[int | None, int | None]:
    words = (str(architecture), *reversed(str(architecture).split("_")))
    return next((TIMM_HEADS[word] for word in words if word in TIMM_HEADS), (None, None))
