"""Models of other kinds, small and perturbed, as their libraries save them: all that is no plain ViT."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from references import Size, perturb
from torch import Tensor, nn


class OtherKind(NamedTuple):
    """As references.Reference, as far as the spelling of weights needs it."""

    module: nn.Module
    weights: dict[str, Tensor]


def _config(size: Size, **more: object) -> dict:
    return dict(
        hidden_size=size.dim,
        num_hidden_layers=size.depth,
        num_attention_heads=size.num_heads,
        intermediate_size=size.mlp_dim,
        image_size=size.image_size[0],
        patch_size=size.patch_size,
        **more,
    )


def _built(module: nn.Module, dtype: torch.dtype) -> OtherKind:
    module = perturb(module).to(dtype).eval()
    return OtherKind(module, {k: w for k, w in module.state_dict().items() if "position_ids" not in k})


def dinov3(size: Size, dtype: torch.dtype) -> OtherKind:
    from transformers import DINOv3ViTConfig, DINOv3ViTModel

    return _built(DINOv3ViTModel(DINOv3ViTConfig(**_config(size, num_register_tokens=2))), dtype)


def clip(size: Size, dtype: torch.dtype) -> OtherKind:
    from transformers import CLIPVisionConfig, CLIPVisionModelWithProjection

    return _built(CLIPVisionModelWithProjection(CLIPVisionConfig(**_config(size, projection_dim=7))), dtype)


def siglip(size: Size, dtype: torch.dtype) -> OtherKind:
    from transformers import SiglipVisionConfig, SiglipVisionModel

    return _built(SiglipVisionModel(SiglipVisionConfig(**_config(size))), dtype)


def metas_dinov3(size: Size, dtype: torch.dtype) -> OtherKind:
    """Their own file, which has the names of timm's plain ViT, and a few of its own."""
    from references import dinov2

    weights = dict(dinov2(size, dtype).weights)
    del weights["pos_embed"]
    periods = 100 ** (torch.arange(size.dim // size.num_heads // 4) / (size.dim // size.num_heads // 4))
    weights |= {"storage_tokens": torch.randn(1, 2, size.dim), "mask_token": torch.ones(1, size.dim)}
    return OtherKind(nn.Identity(), weights | {"rope_embed.periods": periods})


def openai(size: Size, dtype: torch.dtype) -> OtherKind:
    """OpenAI's spelling of what transformers has, by the names of their two files."""
    kind = clip(size, dtype)
    names = (
        *(("vision_model.", ""), ("embeddings.class_embedding", "class_embedding")),
        *(("embeddings.position_embedding.weight", "positional_embedding"), ("pre_layrnorm", "ln_pre")),
        *(("embeddings.patch_embedding", "conv1"), ("post_layernorm", "ln_post")),
        *(("encoder.layers.", "transformer.resblocks."), ("self_attn.out_proj", "attn.out_proj")),
        *(
            ("layer_norm1", "ln_1"),
            ("layer_norm2", "ln_2"),
            ("mlp.fc1", "mlp.c_fc"),
            ("mlp.fc2", "mlp.c_proj"),
        ),
    )
    weights = {}
    for key, weight in kind.weights.items():
        for theirs, ours in names:
            key = key.replace(theirs, ours)
        weights[f"visual.{key}"] = weight
    for block in {key.partition(".self_attn.")[0] for key in weights if ".self_attn." in key}:
        for leaf in ("weight", "bias"):
            parts = [weights.pop(f"{block}.self_attn.{which}_proj.{leaf}") for which in "qkv"]
            weights[f"{block}.attn.in_proj_{leaf}"] = torch.cat(parts)
    weights["visual.proj"] = weights.pop("visual.visual_projection.weight").T.contiguous()
    return OtherKind(kind.module, weights | {"logit_scale": torch.ones(())})


def timm_in_open_clip(size: Size, dtype: torch.dtype) -> OtherKind:
    """timm's names behind a prefix, and a projection in the place of its head."""
    from references import timm_vit

    reference = timm_vit(size, dtype)
    weights = {f"visual.trunk.{key}": weight for key, weight in reference.weights.items()}
    projection = weights.pop("visual.trunk.head.weight")
    del weights["visual.trunk.head.bias"]
    weights |= {"visual.head.proj.weight": projection, "logit_scale": torch.ones(())}
    return OtherKind(reference.module, weights)


BUILDERS: dict[str, Callable[[Size, torch.dtype], OtherKind]] = {
    "DINOv3": metas_dinov3,
    "Hugging Face's DINOv3": dinov3,
    "Hugging Face's CLIP": clip,
    "Hugging Face's SigLIP": siglip,
    "OpenAI's CLIP": openai,
    "timm inside open_clip": timm_in_open_clip,
}
