"""Rankings of patches, held against finite differences, axioms of their papers, and models made by hand."""

import pytest
import torch

from vit_steps import ViT, image2patches
from vit_steps.looking.attribution import (
    attention_relevance,
    gradient_times_input,
    integrated_gradients,
    leave_one_out,
)
from vit_steps.looking.seat import cls_by_block, swap_cls

SIZES = dict(image_size=(6, 4), patch_size=2, channels=2, dim=8, num_heads=2, mlp_dim=12, num_classes=5)
EVERY = [attention_relevance, gradient_times_input, integrated_gradients, leave_one_out]


def made(depth=3, **sizes):
    torch.manual_seed(0)
    model = ViT(**SIZES, depth=depth, **sizes).eval().double()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return model


@pytest.fixture
def model():
    return made()


@pytest.fixture
def images():
    torch.manual_seed(1)
    return torch.rand(3, 2, 6, 4, dtype=torch.float64)


@torch.no_grad()
def logits_of_the_answer(model, images, answers):
    return model(images)[torch.arange(len(images)), answers]


def test_gradient_times_input_is_the_slope_along_each_patch(model, images):
    answers, step = model(images).argmax(dim=1), 1e-6
    ranking = gradient_times_input(model, images)
    for patch in range(6):
        mask = torch.zeros(3, 6, 8, dtype=torch.float64)
        mask[:, patch] = 1
        only = images * unflatten(mask)
        more, less = (logits_of_the_answer(model, images + sign * step * only, answers) for sign in (1, -1))
        assert torch.allclose(ranking[:, patch], (more - less) / (2 * step), atol=1e-6)


def unflatten(patches):
    """Patches laid back by a loop, so that nothing of the package is asked twice."""
    image = torch.zeros(len(patches), 2, 6, 4, dtype=patches.dtype)
    for number in range(6):
        row, col = divmod(number, 2)
        block = patches[:, number].unflatten(1, (2, 2, 2))
        image[:, :, 2 * row : 2 * row + 2, 2 * col : 2 * col + 2] = block
    return image


def test_integrated_gradients_add_up_to_what_the_image_adds_to_black(model, images):
    """Completeness, the axiom of arXiv 1703.01365; the midpoint rule errs by steps to the -2."""
    answers = model(images).argmax(dim=1)
    added = logits_of_the_answer(model, images, answers) - logits_of_the_answer(model, 0 * images, answers)
    assert torch.allclose(integrated_gradients(model, images, steps=200).sum(dim=1), added, atol=1e-3)


@pytest.mark.parametrize(
    ("kind", "read"),
    [
        ({}, lambda tokens: tokens[:, 0]),
        ({"num_registers": 3, "final_norm": "nothing"}, lambda tokens: tokens[:, 0]),
        ({"num_registers": 3, "pool": "mean"}, lambda tokens: sum(tokens[:, 4:].unbind(1)) / 5),
        ({"class_token": False, "pool": "mean"}, lambda tokens: sum(tokens.unbind(1)) / 5),
    ],
)
@torch.no_grad()
def test_leaving_one_out_is_a_model_that_was_made_without_this_patch(kind, read, images):
    model = made(**kind)
    logits, prefix = model(images), model.num_prefix
    ranking, answers = leave_one_out(model, images), logits.argmax(dim=1)
    for patch in range(6):
        kept = [*range(prefix), *(prefix + other for other in range(6) if other != patch)]
        tokens = model.trace(images).with_position[:, kept]
        for block in model.blocks:
            tokens = block(tokens)
        without = model.head(read(model.norm(tokens)))
        fall = (logits - without)[torch.arange(3), answers]
        assert torch.allclose(ranking[:, patch], fall, atol=1e-9)


@pytest.mark.parametrize(
    "kind",
    [
        {},
        {"num_registers": 2, "position": "rotary"},
        {"num_registers": 1, "pre_norm": True, "final_norm": "pooled", "act": "swiglu"},
    ],
)
def test_relevance_of_one_block_is_attention_times_its_gradient(kind, images):
    """The gradient with respect to the weights of one block, by hand: what each value does to the logit."""
    model = made(depth=1, **kind)
    answers = model(images).argmax(dim=1)
    trace, block = model.trace(images), model.blocks[0]
    weights = trace.attention[:, 0].detach()
    value = block.attn.qkv(block.norm1(trace.with_position))[..., 16:].unflatten(2, (2, 4)).transpose(1, 2)
    slope = torch.zeros_like(weights)
    for head in range(2):
        for key in range(model.num_prefix + 6):
            nudged = []
            for sign in (1, -1):
                changed = weights.clone()
                changed[:, head, 0, key] += sign * 1e-6
                mixed = (changed @ value).transpose(1, 2).flatten(2)
                tokens = trace.with_position + block.attn.proj(mixed)
                tokens = tokens + block.mlp(block.norm2(tokens))
                pooled = model.fc_norm(model.norm(tokens[:, 0]))
                nudged.append(model.head(pooled)[torch.arange(3), answers])
            slope[:, head, 0, key] = (nudged[0] - nudged[1]).detach() / 2e-6
    expected = (weights * slope).clamp(min=0).mean(dim=1)[:, 0, model.num_prefix :]
    assert torch.allclose(attention_relevance(model, images), expected, atol=1e-6)


@pytest.mark.parametrize("rank", EVERY)
def test_a_patch_that_cannot_matter_ranks_at_zero_and_nothing_is_left_behind(rank, model, images):
    images[:, :, :2, :2] = 0  # black, so that a gradient times it is nothing
    with torch.no_grad():
        ranking = rank(model, images)
    assert ranking.shape == (3, 6)
    assert not ranking.requires_grad
    assert all(parameter.grad is None for parameter in model.parameters())
    if rank in (gradient_times_input, integrated_gradients):
        assert (ranking[:, 0] == 0).all()
        assert (image2patches(images, 2)[:, 0] == 0).all()


def test_the_cls_token_is_followed_from_block_to_block(model, images):
    found, heard = cls_by_block(model, images), []
    for block in model.blocks:
        block.register_forward_hook(lambda _, __, tokens: heard.append(tokens[:, 0]))
    trace = model.trace(images)
    assert torch.allclose(found, torch.stack([trace.with_position[:, 0], *heard]), atol=1e-12)


@torch.no_grad()
def test_swapped_at_the_start_nothing_goes_along_and_at_the_end_all(model, images):
    others = images.flip(0)
    assert torch.allclose(swap_cls(model, images, others, 0), model(images), atol=1e-9)
    assert torch.allclose(swap_cls(model, images, others, 3), model(others), atol=1e-9)
    between = swap_cls(model, images, others, 1)
    heard = model.trace(images).with_position, model.trace(others).with_position
    own, foreign = (model.blocks[0](tokens) for tokens in heard)
    own[:, 0] = foreign[:, 0]
    expected = model.blocks[2](model.blocks[1](own))
    assert torch.allclose(between, model.head(model.norm(expected[:, 0])), atol=1e-9)


def test_a_swap_behind_the_last_block_is_refused(model, images):
    with pytest.raises(ValueError, match="blocks 4 is more than the model has, 3"):
        swap_cls(model, images, images, 4)
