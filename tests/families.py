"""The families of ViTs that people use, as transformers builds them: small, perturbed, in float64."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from references import difference, perturb
from torch import Tensor, nn

from vit_steps.pretrained import load_pretrained

SIZES = dict(hidden_size=48, num_hidden_layers=3, num_attention_heads=4)
GRID = dict(image_size=32, patch_size=8)
EXACT, FLOAT32 = 1e-12, 1e-6  # as far as the reference computes in float64, or its angles in float32


class Family(NamedTuple):
    """A model of transformers, and how it answers.

    Attributes:
        model, config: names of the classes.
        settings: besides the sizes.
        answer: of what the model gives.
        processor: its class, and what it is told.
        num_prefix: tokens before the patches.
        tolerance: for its answers.
        resizes: how it is asked for an image of another size; None where it can't be.
    """

    model: str
    config: str
    settings: dict
    answer: Callable[[object], Tensor]
    processor: tuple[str, dict]
    num_prefix: int = 1
    tolerance: float = EXACT
    resizes: dict | None = None


def cls_of(out: object) -> Tensor:
    return out.last_hidden_state[:, 0]


SQUARE, SHORTEST = {"height": 32, "width": 32}, {"shortest_edge": 40}
BIT = ("BitImageProcessorPil", dict(size=SHORTEST, crop_size=SQUARE, resample=3))
CLIP = ("CLIPImageProcessorPil", dict(size=SHORTEST, crop_size=SQUARE))
SIGLIP = ("SiglipImageProcessorPil", dict(size=SQUARE))
DEIT = ("DeiTImageProcessorPil", dict(size={"height": 40, "width": 40}, crop_size=SQUARE))
DINOV3 = ("DINOv3ViTImageProcessor", dict(size=SQUARE))
ASKED = dict(interpolate_pos_encoding=True)
FAMILIES = {
    "DINOv2 with registers": Family(
        *("Dinov2WithRegistersModel", "Dinov2WithRegistersConfig", dict(mlp_ratio=2, num_register_tokens=3)),
        *(cls_of, BIT),
        num_prefix=4,
        resizes={},
    ),
    "DINOv2 giant, SwiGLU": Family(
        *("Dinov2Model", "Dinov2Config", dict(mlp_ratio=2, use_swiglu_ffn=True), cls_of, BIT), resizes={}
    ),
    "DINOv2 with a linear head": Family(
        *("Dinov2ForImageClassification", "Dinov2Config", dict(mlp_ratio=2, num_labels=5)),
        *(lambda out: out.logits, BIT),
    ),
    "CLIP": Family(
        *("CLIPVisionModelWithProjection", "CLIPVisionConfig", dict(projection_dim=7)),
        *(lambda out: out.image_embeds, CLIP),
        resizes=ASKED,
    ),
    "CLIP with LAION's GELU": Family(
        *("CLIPVisionModel", "CLIPVisionConfig", dict(hidden_act="gelu")),
        *(lambda out: out.pooler_output, CLIP),
    ),
    "SigLIP": Family(
        *("SiglipVisionModel", "SiglipVisionConfig", {}, lambda out: out.pooler_output, SIGLIP),
        num_prefix=0,
        resizes=ASKED,
    ),
    "I-JEPA": Family(
        *("IJepaForImageClassification", "IJepaConfig", dict(num_labels=5), lambda out: out.logits),
        ("ViTImageProcessorPil", dict(size=SQUARE)),
        num_prefix=0,
        resizes=ASKED,
    ),
    "DeiT, distilled": Family(
        *("DeiTForImageClassificationWithTeacher", "DeiTConfig", dict(num_labels=5)),
        *(lambda out: out.logits, DEIT),
        num_prefix=2,
        resizes=ASKED,
    ),
    "DINOv3": Family(
        *("DINOv3ViTModel", "DINOv3ViTConfig", dict(num_register_tokens=2), cls_of, DINOV3),
        num_prefix=3,
        tolerance=FLOAT32,
        resizes={},
    ),
    "DINOv3 H+, SwiGLU": Family(
        *("DINOv3ViTModel", "DINOv3ViTConfig", dict(use_gated_mlp=True, hidden_act="silu"), cls_of, DINOV3),
        num_prefix=1,
        tolerance=FLOAT32,
        resizes={},
    ),
}


def build(name: str) -> nn.Module:
    """A family's model with every parameter drawn afresh."""
    import transformers

    transformers.utils.logging.disable_progress_bar()
    family = FAMILIES[name]
    mlp = {} if "mlp_ratio" in family.settings else dict(intermediate_size=80)
    config = getattr(transformers, family.config)(**SIZES, **GRID, **mlp, **family.settings)
    config._attn_implementation = "sdpa"
    return perturb(getattr(transformers, family.model)(config).double()).eval()


def images(side: int = 32, batch: int = 2) -> Tensor:
    return torch.rand(batch, 3, side, side, dtype=torch.float64) * 2 - 1


@torch.no_grad()
def measure(name: str, folder: Path) -> tuple[float, float]:
    """How far our attention is from theirs, and our answer from theirs."""
    family, theirs, image = FAMILIES[name], build(name), images()
    theirs.save_pretrained(folder)
    trace = load_pretrained(folder).model.trace(image)
    answers = difference(trace.logits, family.answer(theirs(image)))
    theirs.set_attn_implementation("eager")  # the only one that gives weights, with a softmax in float32
    maps = torch.stack(theirs(image, output_attentions=True).attentions, dim=1)
    return difference(trace.attention, maps), answers
