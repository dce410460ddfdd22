"""What stands before the patches takes part and is in no picture; what a model lacks is refused by name."""

import pytest
import torch
from torch import nn

from vit_steps import ViT
from vit_steps.looking.attention_maps import attention_rollout, cls_attention, mean_attention_distance
from vit_steps.looking.attribution import (
    answer_attention,
    answer_rollout,
    attention_relevance,
    gradient_times_input,
    integrated_gradients,
    leave_one_out,
)
from vit_steps.looking.removal import removal_curve
from vit_steps.looking.seat import cls_by_block, swap_cls

SIZES = dict(patch_size=2, channels=2, dim=8, depth=3, num_heads=2, mlp_dim=12, num_classes=5)
RANKINGS = (
    answer_attention,
    answer_rollout,
    attention_relevance,
    gradient_times_input,
    integrated_gradients,
    leave_one_out,
)


def made(height=6, **kind):
    torch.manual_seed(0)
    model = ViT(**SIZES, image_size=(height, 4), **kind).eval().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@pytest.fixture
def images():
    return torch.rand(3, 2, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


# ---- registers are the tokens of a black row above the image, of a model that has none ----


def with_a_row_above(images):
    return torch.cat([torch.zeros_like(images[:, :, :2]), images], dim=2)


@pytest.fixture
def pair():
    """A model with two registers, and one without that gets two patches more, both black."""
    ours, theirs = made(num_registers=2), made(height=8)
    state = theirs.state_dict()
    black = state.pop("patch_embed.proj.bias").clone()
    ours.load_state_dict(state, strict=False)
    with torch.no_grad():
        ours.patch_embed.proj.bias.copy_(black)
        ours.reg_token.copy_(black.expand(1, 2, -1))
    return ours, theirs


def test_the_two_give_one_answer(pair, images):
    ours, theirs = pair
    assert torch.allclose(ours(images), theirs(with_a_row_above(images)), atol=1e-12)


@pytest.mark.parametrize("rank", RANKINGS)
def test_patches_rank_as_behind_a_row_and_registers_do_not_rank(rank, pair, images):
    ours, theirs = pair
    expected = rank(theirs, with_a_row_above(images))
    assert expected[:, 2:].abs().max() > 1e-4
    assert torch.allclose(rank(ours, images), expected[:, 2:], atol=1e-9)


def test_registers_stay_when_patches_are_removed(pair, images):
    ours, theirs = pair
    order = torch.rand(3, 6, generator=torch.Generator().manual_seed(2)).argsort(dim=1)
    row_last = torch.cat([2 + order, torch.tensor([[0, 1]] * 3)], dim=1)
    for label in range(5):
        labels = torch.full((3,), label)
        expected = removal_curve(theirs, with_a_row_above(images), labels, row_last)[:7]
        assert torch.equal(removal_curve(ours, images, labels, order), expected)


def test_the_seat_is_the_cls_token_alone(pair, images):
    ours, theirs = pair
    found, expected = (cls_by_block(ours, images), cls_by_block(theirs, with_a_row_above(images)))
    assert torch.allclose(found, expected, atol=1e-9)
    for blocks in range(4):
        found = swap_cls(ours, images, images.flip(0), blocks)
        expected = swap_cls(theirs, with_a_row_above(images), with_a_row_above(images.flip(0)), blocks)
        assert torch.allclose(found, expected, atol=1e-9)


def test_maps_and_distances_are_those_of_the_patches(pair, images):
    ours, theirs = pair
    attention, whole = ours.trace(images).attention, theirs.trace(with_a_row_above(images)).attention
    assert torch.allclose(
        cls_attention(attention, (3, 2), num_prefix=3), cls_attention(whole, (4, 2))[:, 1:], atol=1e-9
    )
    far = mean_attention_distance(attention, (3, 2), 2, num_prefix=3)
    among_patches = torch.cat([whole[..., :1], whole[..., 3:]], dim=-1)
    among_patches = torch.cat([among_patches[..., :1, :], among_patches[..., 3:, :]], dim=-2)
    assert torch.allclose(far, mean_attention_distance(among_patches, (3, 2), 2), atol=1e-9)


# ---- what the answer reads, for each way to pool ----

READS = {
    "cls": (dict(num_registers=2), lambda trace: nn.functional.one_hot(torch.tensor([0] * 3), 9)),
    "mean": (dict(num_registers=2), lambda trace: torch.tensor([[0, 0, 0, *[1 / 6] * 6]] * 3)),
    "mean_all": (dict(num_registers=2), lambda trace: torch.full((3, 9), 1 / 9)),
    "mean, no CLS token": (dict(class_token=False), lambda trace: torch.full((3, 6), 1 / 6)),
    "mean, registers alone": (
        dict(class_token=False, num_registers=2),
        lambda trace: torch.tensor([[0, 0, *[1 / 6] * 6]] * 3),
    ),
    "attention": (dict(class_token=False), lambda trace: trace.pooling.mean(dim=1)[:, 0]),
    "attention, beside a prefix": (
        dict(num_registers=1),
        lambda trace: nn.functional.pad(trace.pooling.mean(dim=1)[:, 0], (2, 0)),
    ),
}


@pytest.mark.parametrize("kind", READS)
@torch.no_grad()
def test_rollout_is_followed_back_from_what_is_read(kind, images):
    """One row after the other is carried from block to block, and no two matrices are multiplied."""
    options, start = READS[kind]
    model = made(pool=kind.partition(",")[0], **options)
    trace = model.trace(images)
    share = start(trace).double()
    for attention in trace.attention.mean(dim=2).flip(1).unbind(1):
        share = (share + (share[:, None] @ attention)[:, 0]) / 2
    assert torch.allclose(share.sum(dim=1), torch.ones(3).double())
    assert torch.allclose(answer_rollout(model, images), share[:, model.num_prefix :], atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "even"),
    [
        (dict(num_registers=4), 1 / 11),
        (dict(num_registers=1, pool="attention"), 1 / 6),
        (dict(class_token=False, pool="attention"), 1 / 6),
    ],
)
def test_who_asks_nothing_looks_at_all_alike(kind, even, images):
    model = made(**kind)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "qkv" in name or ".q." in name:
                parameter.zero_()
    assert torch.allclose(answer_attention(model, images), torch.full((3, 6), even).double())
    assert torch.allclose(
        answer_rollout(model, images).sum(dim=1), torch.full((3,), drawn_evenly(model)).double()
    )


def drawn_evenly(model):
    """Of blocks that look everywhere alike, how much comes from the six patches in all."""
    tokens = model.num_prefix + 6
    share = 1.0 if model.pool == "attention" else 0.0
    for _ in range(3):
        share = (share + 6 / tokens) / 2
    return share


def test_a_probe_looks_as_torchs_own_attention_does(images):
    model = made(class_token=False, pool="attention")
    pool, trace = model.attn_pool, model.trace(images)
    theirs = nn.MultiheadAttention(8, 2, batch_first=True).double()
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.cat([pool.q.weight, pool.kv.weight]))
        theirs.in_proj_bias.copy_(torch.cat([pool.q.bias, pool.kv.bias]))
    patches = model.norm(trace.encoded)
    _, weights = theirs(pool.latent.expand(3, -1, -1), patches, patches)
    assert torch.allclose(answer_attention(model, images), weights[:, 0], atol=1e-9)


def test_what_is_read_of_a_plain_model_is_what_lessons_read(images):
    model = made()
    attention = model.trace(images).attention
    assert torch.allclose(answer_rollout(model, images), attention_rollout(attention)[:, 0, 1:])
    assert torch.allclose(answer_attention(model, images), cls_attention(attention, (3, 2)).flatten(1))


# ---- what a model lacks ----

MEAN, PROBED = dict(class_token=False, pool="mean"), dict(class_token=False, pool="attention")
TURNED = dict(position="rotary")
NO_ONE = "model pools the mean of the patches: no one token looks for its answer"
NO_CLS = "model has no CLS token: it pools the mean of the patches"
NO_PROBED_CLS = "model has no CLS token: it pools the patches by attention"
TWO = r"model pools its CLS token and a register: each was drawn from patches of its own"
TURNS = "model turns queries and keys by their places: without one token, the next would be turned as it"


def curve(model, images):
    return removal_curve(model, images, torch.tensor([0, 1, 2]), torch.arange(6).expand(3, -1))


def swap(model, images):
    return swap_cls(model, images, images, 1)


@pytest.mark.parametrize(
    ("function", "kind", "message"),
    [
        (answer_attention, MEAN, NO_ONE),
        (answer_attention, dict(pool="mean"), NO_ONE),
        (answer_rollout, dict(pool="cls+register", num_registers=1), TWO),
        (answer_rollout, dict(pool="cls+mean"), "its CLS token and the mean of the patches: each was drawn"),
        (attention_relevance, MEAN, NO_CLS),
        (attention_relevance, PROBED, NO_PROBED_CLS),
        (
            attention_relevance,
            dict(pool="mean"),
            "model pools the mean of the patches, not its CLS token alone",
        ),
        (attention_relevance, dict(pool="mean_all"), "model pools the mean of all tokens, not its CLS token"),
        (leave_one_out, TURNED, TURNS),
        (curve, TURNED, TURNS),
        (curve, PROBED, NO_PROBED_CLS),
        (curve, dict(pool="attention"), "model pools the patches by attention, not its CLS token alone"),
        (cls_by_block, MEAN | dict(num_registers=2), NO_CLS),
        (swap, PROBED, NO_PROBED_CLS),
        (swap, dict(pool="cls+mean"), "model pools its CLS token and the mean of the patches, not its CLS"),
    ],
)
def test_what_a_model_lacks_is_refused_by_name(function, kind, message, images):
    with pytest.raises(ValueError, match=message):
        function(made(**kind), images)
