"""Every kind of ViT that is put together from the same steps, against timm's of the same parts."""

import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from timm.layers import GluMlp, SwiGLUPacked
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from vit_steps import ViT, rotate
from vit_steps.layers import QuickGELU

SIZES = dict(image_size=(12, 20), patch_size=4, dim=16, depth=3, num_heads=2, mlp_dim=20, num_classes=5)
# Our arguments, and timm's for the same parts.
KINDS = {
    "registers": (dict(num_registers=4), dict(reg_tokens=4)),
    "registers, mean of patches": (dict(num_registers=3, pool="mean"), dict(reg_tokens=3, global_pool="avg")),
    "a norm after pooling": (
        dict(pool="mean", final_norm="pooled"),
        dict(global_pool="avg", fc_norm=True),
    ),
    "a norm after the CLS token is read": (dict(final_norm="pooled"), dict(fc_norm=True)),
    "no norm at the end": (dict(final_norm="nothing"), dict(final_norm=False)),
    "no CLS token": (
        dict(class_token=False, pool="mean"),
        dict(class_token=False, global_pool="avg"),
    ),
    "no CLS token, but registers": (
        dict(class_token=False, num_registers=2, pool="mean", final_norm="pooled"),
        dict(class_token=False, reg_tokens=2, global_pool="avg", fc_norm=True),
    ),
    "mean of all tokens": (
        dict(num_registers=2, pool="mean_all"),
        dict(reg_tokens=2, global_pool="avg", pool_include_prefix=True),
    ),
    "a norm before the first block": (dict(pre_norm=True, eps=1e-5), dict(pre_norm=True)),
    "CLIP": (dict(pre_norm=True, act="quick_gelu", eps=1e-5), dict(pre_norm=True, act_layer=QuickGELU)),
    "SigLIP": (
        dict(class_token=False, pool="attention", act="gelu_tanh"),
        dict(class_token=False, global_pool="map", act_layer=partial(nn.GELU, approximate="tanh")),
    ),
    "attention pooling beside a prefix": (
        dict(num_registers=2, pool="attention"),
        dict(reg_tokens=2, global_pool="map"),
    ),
    "SwiGLU": (dict(act="swiglu"), dict(mlp_layer=SwiGLUPacked, act_layer=nn.SiLU)),
    "GEGLU": (dict(act="geglu"), dict(mlp_layer=partial(GluMlp, gate_last=False), act_layer=nn.GELU)),
}
every_kind = pytest.mark.parametrize("kind", KINDS)
# What timm puts together from other parts, or under other names.
OTHERS = {
    "two tokens read": dict(num_registers=2, pool="cls+register"),
    "CLS token and mean read": dict(num_registers=2, pool="cls+mean", final_norm="pooled"),
    "rotary": dict(position="rotary", num_registers=2),
    "rotary beside a table": dict(position="table+rotary", class_token=False, pool="mean"),
}
EVERY = {name: ours for name, (ours, _) in KINDS.items()} | OTHERS
in_every_kind = pytest.mark.parametrize("kind", EVERY)


def perturb(model):
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.4)
    return model.double().eval()


def make(kind, **options):
    return perturb(ViT(**SIZES | EVERY[kind] | options))


def timms(kind):
    ours, theirs = KINDS[kind]
    hidden = SIZES["mlp_dim"] * (2 if ours.get("act") in ("swiglu", "geglu") else 1)
    return perturb(
        VisionTransformer(
            **dict(
                img_size=SIZES["image_size"], patch_size=4, embed_dim=16, depth=3, num_heads=2, num_classes=5
            ),
            **dict(mlp_ratio=hidden / 16, norm_layer=partial(nn.LayerNorm, eps=ours.get("eps", 1e-6))),
            **{"fc_norm": False, "global_pool": "token"} | theirs,
        )
    )


def weights_of(reference):
    """A norm before the first block makes timm leave out the bias of the patches."""
    return {"patch_embed.proj.bias": torch.zeros(16, dtype=torch.float64)} | reference.state_dict()


def images(batch=3):
    return torch.randn(batch, 3, *SIZES["image_size"], dtype=torch.float64)


def same(ours, reference):
    torch.testing.assert_close(ours, reference, atol=1e-12, rtol=0)


@every_kind
def test_timms_weights_load_strictly_and_give_timms_logits(kind):
    reference, model = timms(kind), make(kind)
    model.load_state_dict(weights_of(reference), strict=True)
    image = images()
    same(model(image), reference(image))
    same(model.trace(image).logits, reference(image))
    same(model.norm(model.trace(image).encoded), reference.forward_features(image))


@pytest.mark.parametrize(
    "kind", [name for name, (ours, _) in KINDS.items() if ours.get("pool") == "attention"]
)
def test_the_probes_map_is_the_one_it_pools_by(kind):
    reference, model = timms(kind), make(kind)
    model.load_state_dict(weights_of(reference), strict=True)
    image, pool = images(), reference.attn_pool
    patches = reference.forward_features(image)[:, model.num_prefix :]
    query = pool.q(pool.latent).reshape(1, 1, 2, 8).transpose(1, 2)
    key = pool.kv(patches).reshape(3, 15, 2, 2, 8)[:, :, 0].transpose(1, 2)
    seen = model.trace(image).pooling
    same(seen, (query @ key.mT / 8**0.5).softmax(dim=-1).expand(3, -1, -1, -1))
    assert seen.shape == (3, 2, 1, 15)


@in_every_kind
def test_forward_and_trace_agree_and_so_do_their_gradients(kind):
    model, image = make(kind), images().requires_grad_()
    towards = torch.randn_like(model(image))
    answers = [model(image), model.trace(image).logits]
    same(*answers)
    wanted = [image, *model.parameters()]
    ours, reference = (torch.autograd.grad((each * towards).sum(), wanted) for each in answers)
    for a, b in zip(ours, reference, strict=True):
        assert a.abs().max() > 0
        torch.testing.assert_close(a, b, atol=1e-10, rtol=1e-9)


@in_every_kind
def test_the_config_makes_the_same_model_again(kind):
    model, image = make(kind), images()
    twin = ViT(**model.config).double()
    twin.load_state_dict(model.state_dict(), strict=True)
    assert torch.equal(twin(image), model(image))


@in_every_kind
def test_only_a_cls_token_that_is_read_alone_is_computed_alone(kind):
    model, rows = make(kind), []
    model.blocks[-1].register_forward_hook(lambda *args: rows.append(args[-1].shape[1]))
    model(images())
    assert rows == [1 if model.pool == "cls" else model.num_prefix + 15]


@in_every_kind
def test_a_new_head_is_as_wide_as_what_it_reads(kind):
    model, image = make(kind), images()
    assert torch.equal(model.with_head(7)(image), torch.zeros(3, 7, dtype=torch.float64))
    pooled = model.with_head(0)(image)
    same(model.head(pooled), model(image))


def test_two_heads_whose_answers_are_averaged_are_one_head():
    model, image = make("two tokens read"), images()
    encoded = model.norm(model.trace(image).encoded)
    first, second = (2 * part for part in model.head.weight.chunk(2, dim=1))
    answers = [encoded[:, 0] @ first.T + model.head.bias, encoded[:, 1] @ second.T + model.head.bias]
    same(model(image), (answers[0] + answers[1]) / 2)


def test_shifting_all_angles_changes_no_attention():
    model, image = make("rotary", class_token=False, num_registers=0, pool="mean"), images()
    before = model.trace(image)
    for block in model.blocks:
        block.attn.angles += torch.rand(block.attn.angles.shape[1])
    after = model.trace(image)
    same(after.attention, before.attention)
    same(after.logits, before.logits)


def test_the_prefix_has_no_angle_and_does_not_turn():
    model = make("rotary")
    attention = model.blocks[0].attn
    tokens = torch.randn(2, 18, 16, dtype=torch.float64)
    query, key, _ = attention.qkv(tokens).unflatten(2, (3, 2, 8)).permute(2, 0, 3, 1, 4)
    weights = torch.empty(2, 2, 18, 18, dtype=torch.float64)
    attention(tokens, weights=weights)
    same(weights[:, :, :3, :3].log().diff(dim=3), (query @ key.mT / 8**0.5)[:, :, :3, :3].diff(dim=3))
    turned = rotate(query, attention.angles) @ rotate(key, attention.angles).mT / 8**0.5
    same(weights, turned.softmax(dim=-1))


def test_blocks_do_not_share_their_angles():
    model = make("rotary")
    assert len({block.attn.angles.data_ptr() for block in model.blocks}) == SIZES["depth"]


@pytest.mark.parametrize(
    ("wrong", "kind", "says"),
    [
        (
            dict(class_token=False),
            ValueError,
            "pool 'cls' reads a CLS token, the model has class_token False",
        ),
        (dict(pool="cls+register"), ValueError, "pool 'cls\\+register' reads a CLS token and a register"),
        (dict(num_registers=-1), ValueError, "num_registers must be at least 0, got -1"),
        (dict(num_registers=1.0), TypeError, "num_registers must be an integer"),
        (dict(class_token=1), TypeError, "class_token must be a bool, not int"),
        (dict(position="sincos"), ValueError, "position must be one of table, rotary, table\\+rotary"),
        (dict(position="rotary", dim=12), ValueError, "head_dim 6 is not a multiple of 4"),
        (dict(act="relu"), ValueError, "act must be one of gelu, gelu_tanh, quick_gelu, swiglu, geglu"),
        (dict(pre_norm=None), TypeError, "pre_norm must be a bool, not NoneType"),
        (dict(final_norm=True), (TypeError, ValueError), "final_norm must be one of tokens, pooled, nothing"),
    ],
)
def test_what_does_not_fit_together_is_refused_by_name(wrong, kind, says):
    with pytest.raises(kind, match=says):
        ViT(**SIZES | wrong)


def test_kinds_are_compiled_exported_and_traced_by_torch():
    """In a process of its own: the type checker of these tests is nothing that dynamo can look through."""
    program = f"""
import torch
from vit_steps import ViT

image = torch.randn(3, 3, {SIZES["image_size"][0]}, {SIZES["image_size"][1]})
batch = torch.export.Dim("batch", min=2, max=64)
for kind in {[EVERY[kind] for kind in ("registers", "SigLIP", "SwiGLU", "rotary")]}:
    model = ViT(**{SIZES | dict(depth=2)} | kind).eval()  # the last block, and one before it
    torch._dynamo.reset()  # it counts what it compiles anew, over all models of a process
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    exported = torch.export.export(model, (image,), dynamic_shapes=({{0: batch}},)).module()
    for other in (compiled, exported, torch.jit.trace(model, image)):
        torch.testing.assert_close(other(image[:2]), model(image[:2]), atol=1e-5, rtol=0)
"""
    root = Path(__file__).parents[1]
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=root)
    assert run.returncode == 0, run.stderr
