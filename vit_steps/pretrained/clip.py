"""How the image half of a model of images and texts is spelled: CLIP, SigLIP. The other half is unused."""

from fractions import Fraction

from vit_steps.pretrained._dialect import CLIP_COLOURS, HALF, Dialect

TEXT = r"text_model\..+|text_projection.*|logit_(scale|bias)|.*position_ids"

HUGGING_FACE_CLIP = Dialect(
    "Hugging Face's CLIP",
    stem={
        "embeddings.class_embedding": "cls_token",
        "embeddings.position_embedding": "pos_embed",
        "embeddings.patch_embedding": "patch_embed.proj",
        "pre_layrnorm": "norm_pre",
        "pre_layernorm": "norm_pre",  # OWL-ViT's, and CLIP's in memory
        "post_layernorm": "norm",
        "visual_projection": "head",
        "classifier": "head",
    },
    block={
        "layer_norm1": "norm1",
        **{f"self_attn.{which}_proj": f"attn.{which}" for which in "qkv"},
        "self_attn.out_proj": "attn.proj",
        "layer_norm2": "norm2",
        "mlp.fc1": "mlp.fc1",
        "mlp.fc2": "mlp.fc2",
    },
    prefixes=("vision_model.", "vision_model.vision_model.", "clip.vision_model.", ""),
    blocks=("encoder.layers.",),
    unused=TEXT,
    eps=1e-5,
    act="quick_gelu",
    preprocess=CLIP_COLOURS | {"crop_pct": Fraction(1)},
    resized_like="transformers",
    bare_tokens=True,
    is_projection=True,
)

SIGLIP = HUGGING_FACE_CLIP._replace(
    name="Hugging Face's SigLIP",
    stem={
        "embeddings.position_embedding": "pos_embed",
        "embeddings.patch_embedding": "patch_embed.proj",
        "post_layernorm": "norm",
        "head.probe": "attn_pool.latent",
        "head.attention.in_proj_weight": "attn_pool.qkv.weight",
        "head.attention.in_proj_bias": "attn_pool.qkv.bias",
        "head.attention.out_proj": "attn_pool.proj",
        "head.layernorm": "attn_pool.norm",
        "head.mlp.fc1": "attn_pool.mlp.fc1",
        "head.mlp.fc2": "attn_pool.mlp.fc2",
        "classifier": "head",
    },
    prefixes=("vision_model.", "vision_model.vision_model.", "siglip.vision_model.", ""),
    may_lack=("cls_token",),
    eps=1e-6,
    act="gelu_tanh",
    preprocess=HALF | {"crop_pct": Fraction(1), "squash": True},
)

OPENAI = HUGGING_FACE_CLIP._replace(
    name="OpenAI's CLIP",
    stem={
        "visual.class_embedding": "cls_token",
        "visual.positional_embedding": "pos_embed",
        "visual.conv1": "patch_embed.proj",
        "visual.ln_pre": "norm_pre",
        "visual.ln_post": "norm",
        "visual.proj": "head.transposed",
    },
    block={
        "ln_1": "norm1",
        "attn.in_proj_weight": "attn.qkv.weight",
        "attn.in_proj_bias": "attn.qkv.bias",
        "attn.out_proj": "attn.proj",
        "ln_2": "norm2",
        "mlp.c_fc": "mlp.fc1",
        "mlp.c_proj": "mlp.fc2",
    },
    prefixes=("",),
    blocks=("visual.transformer.resblocks.",),
    unused=rf"(transformer|token_embedding|ln_final|text)\..+|positional_embedding|attn_mask|"
    rf"input_resolution|context_length|vocab_size|{TEXT}",
    resized_like="timm",
)
