"""Step 4 against F.scaled_dot_product_attention, nn.MultiheadAttention, nn.TransformerEncoderLayer and loops."""

# ruff: noqa: E501 (one line for each wrong input)
import math
from functools import partial

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vit_steps import (
    attention_weights,
    cls_block,
    encoder_block,
    fused_attention,
    merge_heads,
    self_attention,
    split_heads,
)

fixed_budget = settings(max_examples=60, deadline=None, derandomize=True, database=None)
# (batch, tokens, num_heads, head_dim): 12 = 3 * 4 = 4 * 3, so that swapped axes would have room to hide.
SIZES = [(1, 1, 1, 1), (2, 5, 3, 4), (3, 4, 4, 3), (2, 17, 2, 8), (1, 3, 6, 1)]


def perturbed(module):
    """No parameter at a kind value: a bias of zero or a norm of weight 1 would hide that it was forgotten."""
    for parameter in module.parameters():
        nn.init.normal_(parameter, std=0.5)
    return module.double().eval()


def random_tokens(batch, tokens, dim):
    return torch.randn(batch, tokens, dim, dtype=torch.float64)


@fixed_budget
@given(st.integers(0, 3), st.integers(0, 5), st.integers(1, 5), st.integers(1, 5))
def test_merge_heads_inverts_split_heads(batch, tokens, num_heads, head_dim):
    together = torch.randn(batch, tokens, num_heads * head_dim)
    heads = split_heads(together, num_heads)
    assert heads.shape == (batch, num_heads, tokens, head_dim)
    assert torch.equal(merge_heads(heads), together)


@fixed_budget
@given(st.integers(0, 3), st.integers(1, 5), st.integers(0, 5), st.integers(1, 5))
def test_split_heads_inverts_merge_heads(batch, num_heads, tokens, head_dim):
    heads = torch.randn(batch, num_heads, tokens, head_dim)
    assert torch.equal(split_heads(merge_heads(heads), num_heads), heads)


def test_a_head_is_a_slice_of_each_token():
    tokens = torch.randn(2, 5, 12)
    heads = split_heads(tokens, 3)
    for h in range(3):
        assert torch.equal(heads[:, h], tokens[:, :, 4 * h : 4 * h + 4])


@pytest.mark.parametrize(("batch", "tokens", "num_heads", "head_dim"), SIZES)
def test_weights_are_the_softmax_row_by_row(batch, tokens, num_heads, head_dim):
    query, key = (torch.randn(batch, num_heads, tokens, head_dim, dtype=torch.float64) for _ in range(2))
    weights = attention_weights(query, key)
    for b in range(batch):
        for h in range(num_heads):
            for i in range(tokens):
                scores = [math.exp(query[b, h, i] @ key[b, h, j] / head_dim**0.5) for j in range(tokens)]
                for j in range(tokens):
                    assert weights[b, h, i, j].item() == pytest.approx(scores[j] / sum(scores), abs=1e-12)


def test_weights_sum_to_one_over_the_keys_and_not_over_the_queries():
    weights = attention_weights(3 * torch.randn(2, 3, 5, 4), 3 * torch.randn(2, 3, 7, 4))
    assert weights.shape == (2, 3, 5, 7)
    torch.testing.assert_close(weights.sum(dim=-1), torch.ones(2, 3, 5))
    assert (weights.sum(dim=-2) - 5 / 7).abs().max() > 0.1


def test_weights_stay_finite_where_a_bare_exponential_would_not():
    query, key = torch.tensor([[[[1e4]]]]), torch.tensor([[[[1.0], [-1.0], [1.0]]]])
    assert attention_weights(query, key).flatten().tolist() == [0.5, 0, 0.5]


@pytest.mark.parametrize(("batch", "tokens", "num_heads", "head_dim"), SIZES)
def test_weights_are_those_of_torchs_fused_kernel(batch, tokens, num_heads, head_dim):
    query, key, value = (
        torch.randn(batch, num_heads, tokens, head_dim, dtype=torch.float64) for _ in range(3)
    )
    expected = F.scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(attention_weights(query, key) @ value, expected, atol=1e-12, rtol=0)


@pytest.mark.parametrize("attend", [self_attention, fused_attention])
@pytest.mark.parametrize(("batch", "tokens", "num_heads", "head_dim"), SIZES)
def test_attention_is_that_of_nn_multihead_attention(attend, batch, tokens, num_heads, head_dim):
    dim = num_heads * head_dim
    reference = perturbed(nn.MultiheadAttention(dim, num_heads, batch_first=True))
    qkv, proj = nn.Linear(dim, 3 * dim).double(), reference.out_proj
    qkv.weight, qkv.bias = reference.in_proj_weight, reference.in_proj_bias
    together = random_tokens(batch, tokens, dim)
    expected, expected_weights = reference(together, together, together, average_attn_weights=False)
    attended, weights = attend(together, qkv, proj, num_heads)
    torch.testing.assert_close(attended, expected, atol=1e-12, rtol=0)
    if attend is self_attention:
        torch.testing.assert_close(weights, expected_weights, atol=1e-12, rtol=0)
    else:
        assert weights is None


def test_fused_attention_has_the_gradients_of_self_attention():
    qkv, proj = perturbed(nn.Linear(12, 36)), perturbed(nn.Linear(12, 12))
    tokens, towards = random_tokens(2, 5, 12).requires_grad_(), random_tokens(2, 5, 12)
    parameters = [tokens, *qkv.parameters(), *proj.parameters()]
    ours, reference = (
        torch.autograd.grad((attend(tokens, qkv, proj, 3)[0] * towards).sum(), parameters)
        for attend in (fused_attention, self_attention)
    )
    for a, b in zip(ours, reference, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)


def test_the_first_tokens_alone_can_ask():
    qkv, proj, tokens = perturbed(nn.Linear(12, 36)), perturbed(nn.Linear(12, 12)), random_tokens(2, 5, 12)
    everyone, _ = fused_attention(tokens, qkv, proj, 3)
    for num_queries in (1, 2, 5):
        some, weights = fused_attention(tokens, qkv, proj, 3, num_queries=num_queries)
        assert weights is None
        torch.testing.assert_close(some, everyone[:, :num_queries], atol=1e-14, rtol=0)


@pytest.mark.parametrize(
    ("batch", "tokens", "num_heads", "head_dim"), [(2, 5, 3, 4), (3, 1, 4, 3), (2, 17, 2, 8)]
)
def test_the_cls_block_is_one_row_of_the_block_and_has_its_gradients(batch, tokens, num_heads, head_dim):
    dim = num_heads * head_dim
    norm1, norm2 = (perturbed(nn.LayerNorm(dim)) for _ in range(2))
    qkv, proj, mlp = (perturbed(nn.Linear(dim, wide)) for wide in (3 * dim, dim, dim))
    stream, towards = random_tokens(batch, tokens, dim).requires_grad_(), random_tokens(batch, 1, dim)
    parameters = [stream, *(p for m in (norm1, norm2, qkv, proj, mlp) for p in m.parameters())]

    def attn(tokens, **options):
        return fused_attention(tokens, qkv, proj, num_heads, **options)

    whole = encoder_block(stream, norm1, attn, norm2, mlp)[0][:, :1]
    alone, weights = cls_block(stream, norm1, partial(attn, num_queries=1), norm2, mlp)
    assert weights is None
    torch.testing.assert_close(alone, whole, atol=1e-13, rtol=0)
    wanted, got = (torch.autograd.grad((row * towards).sum(), parameters) for row in (whole, alone))
    for a, b in zip(got, wanted, strict=True):
        torch.testing.assert_close(a, b, atol=1e-12, rtol=0)


@pytest.mark.parametrize(
    ("batch", "tokens", "num_heads", "head_dim"), [(2, 5, 3, 4), (3, 4, 4, 3), (2, 17, 2, 8)]
)
def test_block_is_nn_transformer_encoder_layer(batch, tokens, num_heads, head_dim):
    dim = num_heads * head_dim
    reference = perturbed(
        nn.TransformerEncoderLayer(
            dim, num_heads, 3 * dim, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
    )
    qkv = nn.Linear(dim, 3 * dim).double()
    qkv.weight, qkv.bias = reference.self_attn.in_proj_weight, reference.self_attn.in_proj_bias
    mlp = nn.Sequential(reference.linear1, nn.GELU(), reference.linear2)

    def attn(normed):
        return self_attention(normed, qkv, reference.self_attn.out_proj, num_heads)

    together = random_tokens(batch, tokens, dim)
    encoded, weights = encoder_block(together, reference.norm1, attn, reference.norm2, mlp)
    torch.testing.assert_close(encoded, reference.train()(together), atol=1e-12, rtol=0)
    torch.testing.assert_close(weights, attn(reference.norm1(together))[1], atol=0, rtol=0)


def test_block_runs_its_parts_in_the_order_of_its_arguments():
    seen = []

    def part(name, result):
        def run(tokens):
            seen.append((name, tokens[0, 0, 0].item()))
            return result(tokens)

        return run

    tokens = torch.full((1, 1, 1), 2.0)
    encoded, weights = encoder_block(
        tokens,
        part("norm1", lambda t: 10 * t),
        part("attn", lambda t: (t + 1, None)),
        part("norm2", lambda t: 100 * t),
        part("mlp", lambda t: t + 3),
    )
    # 2 -> norm1 20 -> attn 21 -> residual 23 -> norm2 2300 -> mlp 2303 -> residual 2326
    assert seen == [("norm1", 2), ("attn", 20), ("norm2", 23), ("mlp", 2300)]
    assert encoded.item() == 2326
    assert weights is None


@pytest.mark.usefixtures("doors_only")
@pytest.mark.parametrize("attend", [self_attention, fused_attention])
def test_the_projection_may_give_tokens_of_another_width(attend):
    qkv, proj = perturbed(nn.Linear(12, 36)), perturbed(nn.Linear(12, 7))
    assert attend(random_tokens(2, 5, 12), qkv, proj, 3)[0].shape == (2, 5, 7)


def test_patches_of_one_image_speak_and_images_do_not():
    qkv, proj = perturbed(nn.Linear(12, 36)), perturbed(nn.Linear(12, 12))
    tokens = random_tokens(2, 5, 12)
    before = self_attention(tokens, qkv, proj, 3)[0]
    tokens[0, 4] += 10
    after = self_attention(tokens, qkv, proj, 3)[0]
    assert (after[0, 0] - before[0, 0]).abs().max() > 0.1
    assert torch.equal(after[1], before[1])


def test_attention_does_not_know_the_order_of_its_tokens():
    qkv, proj = perturbed(nn.Linear(12, 36)), perturbed(nn.Linear(12, 12))
    tokens, shuffle = random_tokens(2, 5, 12), torch.tensor([3, 0, 4, 2, 1])
    straight, weights = self_attention(tokens, qkv, proj, 3)
    shuffled, shuffled_weights = self_attention(tokens[:, shuffle], qkv, proj, 3)
    torch.testing.assert_close(shuffled, straight[:, shuffle], atol=1e-12, rtol=0)
    torch.testing.assert_close(shuffled_weights, weights[:, :, shuffle][..., shuffle], atol=1e-12, rtol=0)


def test_nothing_is_changed_in_place():
    norm, qkv, proj = (perturbed(m) for m in (nn.LayerNorm(12), nn.Linear(12, 36), nn.Linear(12, 12)))
    tokens = random_tokens(2, 5, 12)
    before = tokens.clone()
    encoded, _ = encoder_block(tokens, norm, lambda t: self_attention(t, qkv, proj, 3), norm, proj)
    encoded += 1
    query = split_heads(tokens, 3)
    attention_weights(query, query).add_(1)
    fused_attention(tokens, qkv, proj, 3)[0].add_(1)
    assert torch.equal(tokens, before)


def test_views_and_the_meta_device():
    qkv, proj = perturbed(nn.Linear(12, 36)), perturbed(nn.Linear(12, 12))
    turned = random_tokens(5, 2, 12).transpose(0, 1)
    assert not turned.is_contiguous()
    for ours, reference in zip(
        self_attention(turned, qkv, proj, 3), self_attention(turned.contiguous(), qkv, proj, 3), strict=True
    ):
        torch.testing.assert_close(ours, reference, atol=1e-14, rtol=0)
    one_token = random_tokens(2, 1, 12).expand(-1, 5, -1)
    weights = self_attention(one_token, qkv, proj, 3)[1]
    torch.testing.assert_close(weights, torch.full_like(weights, 0.2), atol=1e-14, rtol=0)
    assert self_attention(turned.to("meta"), qkv.to("meta"), proj.to("meta"), 3)[1].shape == (2, 3, 5, 5)


TOKENS, HEADS = torch.zeros(2, 5, 12), torch.zeros(2, 3, 5, 4)
QKV, PROJ, WIDE = nn.Linear(12, 36), nn.Linear(12, 12), nn.Linear(12, 20)


def attn(tokens):
    return tokens, None


def nothing(tokens):
    return None


def one_row(tokens):
    return tokens[:, :1], None


def one_component(tokens):
    return tokens[..., :1]


@pytest.mark.parametrize(
    ("function", "arguments", "error", "message"),
    [
        (split_heads, (TOKENS, 5), ValueError, "tokens dim 12 is not a multiple of num_heads 5"),
        (split_heads, (TOKENS, 24), ValueError, "tokens dim 12 is not a multiple of num_heads 24"),
        (split_heads, (TOKENS, 0), ValueError, "num_heads must be at least 1, got 0"),
        (split_heads, (TOKENS, -3), ValueError, "num_heads must be at least 1, got -3"),
        (split_heads, (TOKENS, 3.0), TypeError, "num_heads must be an integer, got 3.0"),
        (split_heads, (TOKENS, True), TypeError, "num_heads must be an integer, got True"),
        (split_heads, (TOKENS[0], 3), ValueError, "tokens must have the axes (batch tokens dim), got shape (5, 12)"),
        (split_heads, (np.zeros((2, 5, 12)), 3), TypeError, "tokens must be a torch.Tensor, not ndarray"),
        (merge_heads, (TOKENS,), ValueError, "heads must have the axes (batch heads tokens head_dim), got shape (2, 5, 12)"),
        (merge_heads, ([1],), TypeError, "heads must be a torch.Tensor, not list"),
        (attention_weights, (HEADS, HEADS[..., :2]), ValueError, "query has head_dim 4, key has head_dim 2"),
        (attention_weights, (HEADS, HEADS[:, :2]), ValueError, "query has heads 3, key has heads 2"),
        (attention_weights, (HEADS, HEADS[:1]), ValueError, "query has batch 2, key has batch 1"),
        (attention_weights, (HEADS[..., :0], HEADS[..., :0]), ValueError, "query head_dim must be at least 1, got 0"),
        (attention_weights, (TOKENS, HEADS), ValueError, "query must have the axes (batch heads queries head_dim), got shape (2, 5, 12)"),
        (attention_weights, (HEADS, HEADS.numpy()), TypeError, "key must be a torch.Tensor, not ndarray"),
        (attention_weights, (HEADS.long(), HEADS), TypeError, "query must be floating point, got torch.int64"),
        (attention_weights, (HEADS, HEADS.double()), TypeError, "query is torch.float32, key is torch.float64: they must be the same"),
        (attention_weights, (HEADS, HEADS.to("meta")), ValueError, "query is on cpu, key is on meta: they must be on the same"),
        *[
            case
            for attend in (self_attention, fused_attention)
            for case in [
                (attend, (TOKENS, WIDE, PROJ, 3), ValueError, "qkv gave shape (2, 5, 20), (batch tokens 3*dim) is (2, 5, 36) here"),
                (attend, (TOKENS, lambda t: (t, t, t), PROJ, 3), TypeError, "qkv must give a torch.Tensor, not tuple"),
                (attend, (TOKENS, lambda t: t[0], PROJ, 3), ValueError, "qkv gave shape (5, 12), (batch tokens 3*dim) is (2, 5, 36) here"),
                (attend, (TOKENS, QKV, PROJ, 5), ValueError, "tokens dim 12 is not a multiple of num_heads 5"),
                (attend, (TOKENS, None, PROJ, 3), TypeError, "qkv must be callable, not NoneType"),
                (attend, (TOKENS, QKV, 1, 3), TypeError, "proj must be callable, not int"),
                (attend, (TOKENS, QKV, nothing, 3), TypeError, "proj must give a torch.Tensor, not NoneType"),
                (attend, (TOKENS[0], QKV, PROJ, 3), ValueError, "tokens must have the axes (batch tokens dim), got shape (5, 12)"),
                (attend, (TOKENS.int(), QKV, PROJ, 3), TypeError, "tokens must be floating point, got torch.int32"),
                (attend, (None, QKV, PROJ, 3), TypeError, "tokens must be a torch.Tensor, not NoneType"),
            ]
        ],
        (encoder_block, (TOKENS, PROJ, PROJ, PROJ, PROJ), TypeError, "attn must return a tuple of 2, got Tensor"),
        (encoder_block, (TOKENS, PROJ, lambda t: (t, t, t), PROJ, PROJ), TypeError, "attn must return a tuple of 2, got a tuple of 3"),
        (encoder_block, (TOKENS, PROJ, lambda t: ([1], t), PROJ, PROJ), TypeError, "attn must give a torch.Tensor, not list"),
        (encoder_block, (TOKENS, PROJ, lambda t: (t[:, :1], t), PROJ, PROJ), ValueError, "attn gave shape (2, 1, 12), (batch tokens dim) is (2, 5, 12) here"),
        (encoder_block, (TOKENS, PROJ, attn, PROJ, one_component), ValueError, "mlp gave shape (2, 5, 1), (batch tokens dim) is (2, 5, 12) here"),
        (encoder_block, (TOKENS[0], PROJ, attn, PROJ, PROJ), ValueError, "tokens must have the axes (batch tokens dim), got shape (5, 12)"),
        (encoder_block, (TOKENS.bool(), PROJ, attn, PROJ, PROJ), TypeError, "tokens must be floating point, got torch.bool"),
        *[
            case
            for block, see in ((encoder_block, attn), (cls_block, one_row))
            for case in [
                (block, (TOKENS, None, see, PROJ, PROJ), TypeError, "norm1 must be callable, not NoneType"),
                (block, (TOKENS, PROJ, "attn", PROJ, PROJ), TypeError, "attn must be callable, not str"),
                (block, (TOKENS, PROJ, see, 1, PROJ), TypeError, "norm2 must be callable, not int"),
                (block, (TOKENS, PROJ, see, PROJ, []), TypeError, "mlp must be callable, not list"),
                (block, (TOKENS, nothing, see, PROJ, PROJ), TypeError, "norm1 must give a torch.Tensor, not NoneType"),
                (block, (TOKENS, one_component, see, PROJ, PROJ), ValueError, "norm1 gave shape (2, 5, 1), (batch tokens dim) is (2, 5, 12) here"),
                (block, (TOKENS, PROJ, see, nothing, PROJ), TypeError, "norm2 must give a torch.Tensor, not NoneType"),
                (block, (TOKENS, PROJ, see, PROJ, nothing), TypeError, "mlp must give a torch.Tensor, not NoneType"),
            ]
        ],
        (cls_block, (TOKENS, PROJ, attn, PROJ, PROJ), ValueError, "attn gave shape (2, 5, 12), (batch 1 dim) is (2, 1, 12) here"),
        (cls_block, (TOKENS, PROJ, one_row, PROJ, one_component), ValueError, "mlp gave shape (2, 1, 1), (batch 1 dim) is (2, 1, 12) here"),
        (cls_block, (TOKENS, PROJ, PROJ, PROJ, PROJ), TypeError, "attn must return a tuple of 2, got Tensor"),
        (cls_block, (TOKENS[0], PROJ, one_row, PROJ, PROJ), ValueError, "tokens must have the axes (batch tokens dim), got shape (5, 12)"),
        (cls_block, (TOKENS.bool(), PROJ, one_row, PROJ, PROJ), TypeError, "tokens must be floating point, got torch.bool"),
        (partial(fused_attention, num_queries=6), (TOKENS, QKV, PROJ, 3), ValueError, "num_queries 6 is more than number of tokens 5"),
        (partial(fused_attention, num_queries=0), (TOKENS, QKV, PROJ, 3), ValueError, "num_queries must be at least 1, got 0"),
        (partial(fused_attention, num_queries=True), (TOKENS, QKV, PROJ, 3), TypeError, "num_queries must be an integer, got True"),
        (encoder_block, ("tokens", PROJ, attn, PROJ, PROJ), TypeError, "tokens must be a torch.Tensor, not str"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("doors_only")
def test_the_door_names_what_is_wrong(function, arguments, error, message):
    with pytest.raises(error) as caught:
        function(*arguments)
    assert str(caught.value) == message
