"""Step 2: one class token for all images, put in front and taken off again."""

# ruff: noqa: E501 (one line for each wrong input)
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vit_steps import prepend_cls, split_cls

fixed_budget = settings(max_examples=60, deadline=None, derandomize=True, database=None)


@fixed_budget
@given(st.integers(0, 4), st.integers(0, 5), st.integers(0, 6))
def test_split_cls_inverts_prepend_cls(batch, patches, dim):
    tokens, cls_token = torch.randn(batch, patches, dim), torch.randn(1, 1, dim)
    with_cls = prepend_cls(tokens, cls_token)
    assert with_cls.shape == (batch, 1 + patches, dim)
    cls, rest = split_cls(with_cls)
    assert torch.equal(rest, tokens)
    assert torch.equal(cls, cls_token[0].expand(batch, dim))


@fixed_budget
@given(st.integers(1, 4), st.integers(1, 5), st.integers(1, 6))
def test_split_cls_keeps_every_number(batch, tokens, dim):
    together = torch.randn(batch, tokens, dim)
    cls, rest = split_cls(together)
    assert torch.equal(torch.cat([cls[:, None], rest], dim=1), together)


def test_the_class_token_comes_first_and_is_the_same_for_every_image():
    tokens, cls_token = torch.randn(3, 5, 4), torch.randn(1, 1, 4)
    with_cls = prepend_cls(tokens, cls_token)
    for b in range(3):
        assert torch.equal(with_cls[b, 0], cls_token[0, 0])
        for n in range(5):
            assert torch.equal(with_cls[b, 1 + n], tokens[b, n])


def test_one_parameter_learns_from_all_images():
    tokens = torch.randn(3, 5, 4, dtype=torch.float64, requires_grad=True)
    cls_token = torch.randn(1, 1, 4, dtype=torch.float64, requires_grad=True)
    towards = torch.randn(3, 6, 4, dtype=torch.float64)
    (prepend_cls(tokens, cls_token) * towards).sum().backward()
    torch.testing.assert_close(cls_token.grad[0, 0], towards[:, 0].sum(dim=0), atol=1e-14, rtol=0)
    assert torch.equal(tokens.grad, towards[:, 1:])


@pytest.mark.usefixtures("doors_only")
def test_the_source_makes_one_token_per_image_and_is_refused():
    with pytest.raises(ValueError, match="cls_token copies 4 is not 1: one vector serves all images"):
        prepend_cls(torch.randn(4, 5, 8), torch.randn(4, 1, 8))


def test_a_wrong_shape_is_never_broadcast():
    # expand would take (1, 1, 1) and (1,) without a word.
    for shape in [(1, 1, 1), (4,), (1, 4), (1, 2, 4), (1, 1, 1, 4), ()]:
        with pytest.raises((TypeError, ValueError)):
            prepend_cls(torch.randn(3, 5, 4), torch.randn(shape))


def test_nothing_is_changed_in_place_and_the_result_shares_no_memory_with_the_token():
    tokens, cls_token = torch.randn(3, 5, 4), torch.randn(1, 1, 4)
    before = tokens.clone(), cls_token.clone()
    with_cls = prepend_cls(tokens, cls_token)
    split_cls(with_cls)
    with_cls += 1
    assert torch.equal(tokens, before[0])
    assert torch.equal(cls_token, before[1])


def test_views_and_the_meta_device():
    turned, cls_token = torch.randn(3, 4, 5).transpose(1, 2), torch.randn(4).expand(1, 1, 4)
    assert torch.equal(
        prepend_cls(turned, cls_token), prepend_cls(turned.contiguous(), cls_token.contiguous())
    )
    assert prepend_cls(turned.to("meta"), cls_token.to("meta")).shape == (3, 6, 4)


TOKENS, CLS = torch.zeros(4, 5, 8), torch.zeros(1, 1, 8)


@pytest.mark.parametrize(
    ("function", "arguments", "error", "message"),
    [
        (prepend_cls, (TOKENS, torch.zeros(4, 1, 8)), ValueError, "cls_token copies 4 is not 1: one vector serves all images"),
        (prepend_cls, (TOKENS, torch.zeros(1, 1, 7)), ValueError, "tokens has dim 8, cls_token has dim 7"),
        (prepend_cls, (TOKENS, torch.zeros(8)), ValueError, "cls_token must have the axes (copies 1 dim), got shape (8,)"),
        (prepend_cls, (TOKENS[0], CLS), ValueError, "tokens must have the axes (batch patches dim), got shape (5, 8)"),
        (prepend_cls, (np.zeros((4, 5, 8)), CLS), TypeError, "tokens must be a torch.Tensor, not ndarray"),
        (prepend_cls, (TOKENS, np.zeros((1, 1, 8))), TypeError, "cls_token must be a torch.Tensor, not ndarray"),
        (prepend_cls, (TOKENS, None), TypeError, "cls_token must be a torch.Tensor, not NoneType"),
        (prepend_cls, (TOKENS.double(), CLS), TypeError, "tokens is torch.float64, cls_token is torch.float32: they must be the same"),
        (prepend_cls, (TOKENS, CLS.to("meta")), ValueError, "tokens is on cpu, cls_token is on meta: they must be on the same"),
        (split_cls, (torch.zeros(4, 0, 8),), ValueError, "number of tokens must be at least 1, got 0: the CLS token comes first"),
        (split_cls, (TOKENS[0],), ValueError, "tokens must have the axes (batch tokens dim), got shape (5, 8)"),
        (split_cls, ([1.0],), TypeError, "tokens must be a torch.Tensor, not list"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("doors_only")
def test_the_door_names_what_is_wrong(function, arguments, error, message):
    with pytest.raises(error) as caught:
        function(*arguments)
    assert str(caught.value) == message
