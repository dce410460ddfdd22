"""A dozen of each kind of the coverage table; ``python -m tests.coverage_table`` tries all."""

import pytest
import torch
from coverage_table import hugging_face_models, publishers, timm_models
from coverage_table.verdict import (
    MISLEADING,
    OBSTACLES,
    SAID,
    SAME,
    TRUE,
    WRONG,
    Saved,
    judge,
    judge_each,
    judge_refusal,
)
from safetensors.torch import save_file

TIMM = {
    **dict.fromkeys(["vit_tiny_patch16_224", "test_vit", "deit3_small_patch16_224", "flexivit_small"], SAME),
    **dict.fromkeys(["deit_tiny_distilled_patch16_224", "vit_xsmall_patch16_clip_224", "test_vit2"], SAME),
    **dict.fromkeys(["vit_base_patch16_siglip_224", "vit_small_patch16_rope_ape_224"], SAME),
    **dict.fromkeys(["vit_small_patch16_dinov3", "eva02_tiny_patch14_224", "eva_large_patch14_196"], SAME),
    **dict.fromkeys(["vit_dwee_patch16_reg1_gap_256", "aimv2_large_patch14_224", "test_vit3"], TRUE),
    **dict.fromkeys(["beit_base_patch16_224", "vit_tiny_r_s16_p8_224", "eva02_base_patch14_224"], TRUE),
    **dict.fromkeys(["vit_small_patch16_rope_mixed_224"], TRUE),
}  # fmt: skip
# Where a name alone tells, a bare file is read as what it looks like, and that is said; or refused.
BARE = dict.fromkeys(["vit_small_patch16_rope_ape_224", "eva02_tiny_patch14_224"], SAID)
BARE |= {"vit_xsmall_patch16_clip_224": SAID, "test_vit3": SAID, "vit_small_patch16_dinov3": TRUE}


@pytest.mark.parametrize("name", TIMM)
def test_an_architecture_of_timm_loads_or_is_refused_for_what_it_is(tmp_path, name):
    verdicts = {way: verdict.kind for way, verdict in timm_models.judge(name, tmp_path).items()}
    assert verdicts == {"config": TIMM[name], "bare": BARE.get(name, TIMM[name])}


VARIANTS = (
    *("ViTModel", "ViTForImageClassification qkv_bias=False", "ViTMAEForPreTraining", "Dinov2Backbone"),
    *("BeitForImageClassification abs pos, no layer scale", "Dinov2ForImageClassification", "DPTModel"),
    *("FlavaImageModel", "DeiTModel", "Dinov2WithRegistersModel", "CLIPVisionModel", "SiglipVisionModel"),
    *("IJepaModel", "DINOv3ViTModel", "Dinov2Model giant (SwiGLU)", "CLIPModel (as published)"),
    *("SiglipModel (as published)", "DeiTForImageClassificationWithTeacher", "OwlViTVisionModel"),
)
REFUSED = ("VivitModel", "BlipVisionModel")


@pytest.mark.parametrize("name", VARIANTS + REFUSED)
def test_a_class_of_transformers_loads_or_is_refused_for_what_it_is(tmp_path, name):
    verdicts = judge_each(hugging_face_models.save(name, tmp_path))
    expected = TRUE if name in REFUSED else SAME
    assert {way: verdict.kind for way, verdict in verdicts.items()} == {"config": expected, "bare": expected}


PUBLISHED = {"big_vision's SigLIP": TRUE, "open_clip": SAID}


@pytest.mark.parametrize("name", [name for name in publishers.PUBLISHERS if name != "DINOv2 giant"])
def test_what_publishers_put_on_their_pages_loads_or_is_refused_for_what_it_is(tmp_path, name):
    assert judge(publishers.PUBLISHERS[name](tmp_path)).kind == PUBLISHED.get(name, SAME)


def test_the_tables_are_whole():
    assert sum(map(len, timm_models.tags().values())) == 454
    assert len(hugging_face_models.variants()) == 56
    words = {each for row in hugging_face_models.variants().values() for each in row.obstacles.split(", ")}
    assert words - {""} | set(timm_models.OBSTACLES) <= OBSTACLES | {""}


def test_the_judge_sees_what_is_wrong_and_what_misleads(tmp_path):
    assert judge_refusal("it has register tokens", frozenset({"register tokens"})).kind == TRUE
    for said in ("it has shape (3,)", "it has RMSNorm", "register tokens and RMSNorm"):
        assert judge_refusal(said, frozenset({"register tokens"})).kind == MISLEADING
    model = timm_models.build("test_vit").double()
    save_file(model.state_dict(), tmp_path / "vit.safetensors")
    saved = Saved(tmp_path / "vit.safetensors", model, (3, 160, 160))
    assert judge(saved).kind == SAME
    with torch.no_grad():
        model.blocks[1].mlp.fc2.bias[3] += 1e-4
    assert judge(saved).kind == WRONG
