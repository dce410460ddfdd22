"""Step 5: pooling, the head, and the names of the most probable classes."""

# ruff: noqa: E501 (one line for each wrong input)
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vit_steps import classify, pool_cls, pool_mean, top_k


def random_parts(dim=8, classes=3):
    norm, head = nn.LayerNorm(dim, eps=1e-6).double(), nn.Linear(dim, classes).double()
    for parameter in (*norm.parameters(), *head.parameters()):
        nn.init.normal_(parameter)
    return norm, head


def test_pool_cls_is_the_first_token():
    tokens = torch.randn(3, 5, 4)
    assert torch.equal(pool_cls(tokens), tokens[:, 0, :])
    assert torch.equal(pool_cls(tokens[:, :1]), tokens[:, 0])


def test_pool_mean_leaves_the_class_token_out():
    tokens = torch.randn(3, 5, 4, dtype=torch.float64)
    by_hand = (tokens[:, 1] + tokens[:, 2] + tokens[:, 3] + tokens[:, 4]) / 4
    torch.testing.assert_close(pool_mean(tokens), by_hand, atol=1e-14, rtol=0)
    tokens[:, 0] += 100
    torch.testing.assert_close(pool_mean(tokens), by_hand, atol=1e-14, rtol=0)


@pytest.mark.parametrize("pool", [pool_cls, pool_mean])
def test_classify_is_norm_then_pool_then_head(pool):
    norm, head = random_parts()
    tokens = torch.randn(4, 6, 8, dtype=torch.float64)
    logits = classify(tokens, norm, head, pool=pool)
    for b in range(4):
        normed = [
            (token - token.mean()) / (token.var(unbiased=False) + 1e-6).sqrt() * norm.weight + norm.bias
            for token in tokens[b]
        ]
        pooled = normed[0] if pool is pool_cls else sum(normed[1:]) / 5
        torch.testing.assert_close(logits[b], head.weight @ pooled + head.bias, atol=1e-12, rtol=0)


def test_classify_reads_the_class_token_unless_told_otherwise():
    norm, head = random_parts()
    tokens = torch.randn(4, 6, 8, dtype=torch.float64)
    assert torch.equal(classify(tokens, norm, head), classify(tokens, norm, head, pool=pool_cls))
    assert not torch.allclose(classify(tokens, norm, head), classify(tokens, norm, head, pool=pool_mean))


def test_the_norm_comes_before_the_mean():
    norm, head = random_parts()
    tokens = torch.randn(4, 6, 8, dtype=torch.float64) * torch.arange(1, 7)[:, None]
    other_order = head(norm(pool_mean(tokens)))
    assert (classify(tokens, norm, head, pool=pool_mean) - other_order).abs().max() > 0.1


def test_top_k_names_the_most_probable_first():
    logits = torch.tensor([0.5, 3.0, -1.0, 2.0], dtype=torch.float64)
    total = sum(map(math.exp, logits.tolist()))
    ranking = top_k(logits, ["ant", "bee", "cat", "dog"], k=3)
    assert [label for label, _ in ranking] == ["bee", "dog", "ant"]
    for (_, probability), logit in zip(ranking, (3, 2, 0.5), strict=True):
        assert type(probability) is float
        assert probability == pytest.approx(math.exp(logit) / total, abs=1e-14)


def test_top_k_of_all_classes_sums_to_one_and_sorts():
    logits = 5 * torch.randn(11, dtype=torch.float64)
    labels = [f"class {i}" for i in range(11)]
    ranking = top_k(logits, labels, k=11)
    probabilities = [probability for _, probability in ranking]
    assert sum(probabilities) == pytest.approx(1, abs=1e-12)
    assert probabilities == sorted(probabilities, reverse=True)
    assert {label: pytest.approx(p, abs=1e-14) for label, p in ranking} == dict(
        zip(labels, F.softmax(logits, dim=0).tolist(), strict=True)
    )


def test_top_k_takes_one_image_with_or_without_its_batch_and_gives_five():
    logits, labels = torch.randn(7), list("abcdefg")
    assert top_k(logits[None], labels) == top_k(logits, labels)
    assert len(top_k(logits, labels)) == 5
    assert len(top_k(logits, labels, 1)) == 1


def test_top_k_does_not_mind_a_logit_that_a_bare_exponential_would():
    assert top_k(torch.tensor([1000.0, 0.0]), ["sure", "no"], k=2) == [("sure", 1.0), ("no", 0.0)]


def test_logits_that_require_grad_and_views_are_fine():
    logits = torch.randn(1, 2, requires_grad=True)
    assert top_k(logits, "ab", 2) == top_k(logits.detach(), "ab", 2)
    every_other = torch.arange(10.0)[::2]
    assert top_k(every_other, "abcde", 1)[0][0] == "e"


def test_nothing_is_changed_in_place():
    norm, head = random_parts()
    tokens, logits = torch.randn(4, 6, 8, dtype=torch.float64), torch.randn(1, 3)
    before = tokens.clone(), logits.clone()
    classify(tokens, norm, head, pool=pool_mean).add_(1)
    pool_mean(tokens).add_(1)
    top_k(logits, "abc", 2)
    assert torch.equal(tokens, before[0])
    assert torch.equal(logits, before[1])


TOKENS, LOGITS, LABELS = torch.zeros(2, 5, 8), torch.zeros(10), list("abcdefghij")


@pytest.mark.parametrize(
    ("function", "arguments", "error", "message"),
    [
        (pool_cls, (TOKENS[:, :0],), ValueError, "number of tokens must be at least 1, got 0"),
        (pool_cls, (TOKENS[0],), ValueError, "tokens must have the axes (batch tokens dim), got shape (5, 8)"),
        (pool_cls, (TOKENS.long(),), TypeError, "tokens must be floating point, got torch.int64"),
        (pool_cls, (TOKENS.numpy(),), TypeError, "tokens must be a torch.Tensor, not ndarray"),
        (pool_mean, (TOKENS[:, :1],), ValueError, "number of tokens 1 is less than num_prefix 1 + 1 = 2: the prefix does not count"),
        (pool_mean, (TOKENS[0],), ValueError, "tokens must have the axes (batch tokens dim), got shape (5, 8)"),
        (pool_mean, (None,), TypeError, "tokens must be a torch.Tensor, not NoneType"),
        (classify, (TOKENS[:, :0], nn.Identity(), nn.Identity()), ValueError, "number of tokens must be at least 1, got 0"),
        (classify, (TOKENS[0], nn.Identity(), nn.Identity()), ValueError, "tokens must have the axes (batch tokens dim), got shape (5, 8)"),
        (classify, (TOKENS, None, nn.Identity()), TypeError, "norm must be callable, not NoneType"),
        (classify, (TOKENS, nn.Identity(), 10), TypeError, "head must be callable, not int"),
        (classify, (TOKENS, print, nn.Identity()), TypeError, "norm must give a torch.Tensor, not NoneType"),
        (classify, (TOKENS, nn.Identity(), list), TypeError, "head must give a torch.Tensor, not list"),
        (classify, (TOKENS.cfloat(), nn.Identity(), nn.Identity()), TypeError, "tokens must be floating point, got torch.complex64"),
        (top_k, (LOGITS, LABELS, 11), ValueError, "k 11 is more than logits classes 10"),
        (top_k, (LOGITS, LABELS, 0), ValueError, "k must be at least 1, got 0"),
        (top_k, (LOGITS, LABELS, -1), ValueError, "k must be at least 1, got -1"),
        (top_k, (LOGITS, LABELS, 2.0), TypeError, "k must be an integer, got 2.0"),
        (top_k, (LOGITS, LABELS, True), TypeError, "k must be an integer, got True"),
        (top_k, (LOGITS, LABELS[:9]), ValueError, "number of labels 9 is not logits classes 10"),
        (top_k, (LOGITS, [*LABELS, "k"]), ValueError, "number of labels 11 is not logits classes 10"),
        (top_k, (LOGITS, 10), TypeError, "labels must be a sequence of names, not int"),
        (top_k, (LOGITS[:0], []), ValueError, "k 5 is more than logits classes 0"),
        (top_k, (LOGITS.expand(2, -1), LABELS), ValueError, "logits must have the axes (classes) or (1 classes), got shape (2, 10)"),
        (top_k, (LOGITS[0], LABELS), ValueError, "logits must have the axes (classes) or (1 classes), got shape ()"),
        (top_k, (LOGITS.long(), LABELS), TypeError, "logits must be floating point, got torch.int64"),
        (top_k, (np.zeros(10), LABELS), TypeError, "logits must be a torch.Tensor, not ndarray"),
        (top_k, (LOGITS.to("meta"), LABELS), ValueError, "logits is on the meta device: it holds no numbers"),
        (top_k, (LOGITS / 0, LABELS), ValueError, "logits holds NaN or infinity: there is no most probable class"),
        (top_k, (LOGITS + math.inf, LABELS), ValueError, "logits holds NaN or infinity: there is no most probable class"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("doors_only")
def test_the_door_names_what_is_wrong(function, arguments, error, message):
    with pytest.raises(error) as caught:
        function(*arguments)
    assert str(caught.value) == message


@pytest.mark.usefixtures("doors_only")
def test_too_few_tokens_for_the_mean_are_named_by_the_pool():
    with pytest.raises(
        ValueError, match=r"number of tokens 1 is less than num_prefix 1 \+ 1 = 2: the prefix does not count"
    ):
        classify(TOKENS[:, :1], nn.Identity(), nn.Identity(), pool=pool_mean)
