"""Why a model is another function than this ViT: by the keys of its weights, and by what keys are missing.

A key can only tell that something is there. What leaves no key is known by the model's name alone:
:mod:`vit_steps.pretrained.architectures`.
"""

import re
from collections.abc import Collection

MAP = "pooling by attention"
PROBE_HEADS = "pooling by attention with other heads than the blocks have, or over all tokens"
PRE_LOGITS = "a layer between the class token and the head"
LAYERS_BEHIND = "a projection of several layers"
SUB_NORM = "a norm inside the attention or the MLP"
POST_NORM = "norms after attention and MLP, where this ViT has them before"
NO_NORM = "no norm after the last block"
RMS_NORM = "RMSNorm, or a norm without bias, where this ViT has LayerNorm"
QK_NORM = "norms of query and key"
RELATIVE = "relative positions"
ROTARY = "rotary positions"
MIXED = "rotary positions that were learned, others for each head"
OTHER_ANGLES = "rotary positions of another rope_theta"
KEYPOINTS = "a head that marks places in the picture"
NO_TABLE = "no table of positions"
NO_CLS = "no class token, and a table of positions with a row for it"
MANY_BLOCKS = "a head that reads several blocks"
DETECTION = "detection tokens"
PARALLEL = "parts of a block side by side, where this ViT has them one after another"
DIFFERENTIAL = "differential attention"
STEM = "a convolutional stem"
STAGES = "stages of several resolutions"
VIDEO = "patches of a video"
TWICE = "its last norm twice over the class token"
NAFLEX = "patches and positions as NaFlex has them"
SPECTROGRAM = "patches of a spectrogram"

SIDE_BY_SIDE = r"blocks\.\d+\.(attns|ffns|in_proj|(attn|mlp)_out_proj)\."
# What a key that has no place here belongs to.
BY_KEY = {
    r"pre_logits": PRE_LOGITS,
    r"\b[qk]_norm": QK_NORM,
    r"relative_position|rel_pos": RELATIVE,
    r"rope|rotary|freqs|class_pos_emb": ROTARY,
    r"lambda_[qk]": DIFFERENTIAL,
    r"(attn|attention|mlp|ffn)\.(norm|ffn_layernorm|inner_attn_ln)\.|sub_?norm": SUB_NORM,
    r"attentional_pool|MAPHead|\.probe$": MAP,
    r"detection_tokens|mid_position_embeddings": DETECTION,
    r"patch_embed\.backbone|patch_generator|convolutional_embedder|conv_root|patch_embeddings\.\d": STEM,
    r"neck\.|reassemble|fusion_blocks|fusion_stage": MANY_BLOCKS,
    r"^(?!patch_embed\.).*(downsample|stages?\.\d|layers\.\d+\.blocks)": STAGES,
    r"temporal|tubelet": VIDEO,
    r"self_attn\.projection": TWICE,
    SIDE_BY_SIDE: PARALLEL,
    r"^embeds\.": NAFLEX,
    r"visual\.head\.mlp\.": LAYERS_BEHIND,
}
# What the lack of a key tells.
BY_LACK = {
    r"cls_token": NO_CLS,
    r"pos_embed": NO_TABLE,
    r"norm\.weight": NO_NORM,
    r"blocks\.\d+\.norm\d\.bias": RMS_NORM,
}
# Spellings that no dialect reads, whose ViTs are another function: refused by what they are.
FOREIGN = {
    r"(attention|attn_pool|head)\.probe|head\.probe|MAPHead": MAP,
    r"self_attn\.projection": f"BLIP: {TWICE}",
    r"relative_position|rel_pos_[hw]": RELATIVE,
    r"rms_norm|^ln_pre\.weight|preprocessor\.patchifier": RMS_NORM,
    r"^audio_spectrogram": SPECTROGRAM,
    r"detection_tokens": DETECTION,
    r"reassemble|fusion_stage|^neck\.": MANY_BLOCKS,
    r"^(?!patch_embed\.).*(downsample|stages?\.\d)": STAGES,
    r"^embeds\.": NAFLEX,
    r"patch_embed\.backbone": STEM,
    SIDE_BY_SIDE: PARALLEL,
}


def by_keys(table: dict[str, str], keys: Collection[str]) -> str:
    """Say what these keys tell, in the words of a table here: " (register tokens; ...)", or nothing."""
    reasons = [why for pattern, why in table.items() if any(re.search(pattern, key) for key in keys)]
    return f" ({'; '.join(dict.fromkeys(reasons))})" if reasons else ""
