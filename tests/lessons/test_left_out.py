"""A block without one of its parts is the formula without that part, on parameters that are not kind."""

import math

import pytest
import torch
import torch.nn.functional as F

from vit_steps import ViT
from vit_steps.lessons.left_out import PARTS, leave_out


@pytest.fixture
def model():
    torch.manual_seed(0)
    model = ViT(image_size=(6, 4), patch_size=2, dim=8, depth=2, num_heads=2, mlp_dim=12, num_classes=5)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.4)
    return model.double()


def by_formula(tokens, p, part):
    """Equations 2 and 3 of the ViT paper, with PyTorch's own attention; ``p`` are a block's parameters."""

    def norm(tokens, name):
        weight, bias = p[f"{name}.weight"], p[f"{name}.bias"]
        return tokens if part == "the norms" else F.layer_norm(tokens, (8,), weight, bias, 1e-6)

    qkv = F.linear(norm(tokens, "norm1"), p["attn.qkv.weight"], p["attn.qkv.bias"])
    query, key, value = (
        each.unflatten(2, (2, 4)).transpose(1, 2) for each in (qkv[..., :8], qkv[..., 8:16], qkv[..., 16:])
    )
    scale = 1.0 if part == "the division" else 1 / math.sqrt(4)
    seen = F.scaled_dot_product_attention(query, key, value, scale=scale).transpose(1, 2).flatten(2)
    residual = 0 if part == "the residual" else 1
    tokens = residual * tokens + F.linear(seen, p["attn.proj.weight"], p["attn.proj.bias"])
    hidden = F.gelu(F.linear(norm(tokens, "norm2"), p["mlp.fc1.weight"], p["mlp.fc1.bias"]))
    thought = F.linear(hidden, p["mlp.fc2.weight"], p["mlp.fc2.bias"])
    return residual * tokens + (0 if part == "the MLP" else thought)


@pytest.mark.parametrize("part", PARTS)
@torch.no_grad()
def test_what_is_left_is_the_formula_without_it(model, part):
    images = torch.randn(3, 3, 6, 4, dtype=torch.float64)
    tokens = model.trace(images).with_position
    for block in model.blocks:
        tokens = by_formula(tokens, dict(block.named_parameters()), part)
    expected = model.head(model.norm(tokens[:, 0]))
    assert leave_out(model, part) is model
    assert torch.allclose(model(images), expected, atol=1e-10)
    assert torch.allclose(model.trace(images, layers=[]).logits, expected, atol=1e-10)


@pytest.mark.parametrize("part", PARTS)
def test_all_that_is_left_learns(model, part):
    leave_out(model, part)
    model(torch.randn(3, 3, 6, 4, dtype=torch.float64)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def test_a_part_that_there_is_not_is_refused(model):
    with pytest.raises(ValueError, match=r"part must be one of nothing, .*, got 'the head'"):
        leave_out(model, "the head")
    with pytest.raises(TypeError, match="model must be a ViT, not Linear"):
        leave_out(torch.nn.Linear(2, 2), "the MLP")
