"""Every function is given what it should not be given: it works and is right, or it says what is wrong.

A refusal counts only when one of our own lines raised it, and when it names the argument.
"""

import pytest
import torch
from hostile.rows_steps import CALLS, LOCAL, function_called
from hostile.trial import is_ours
from hypothesis import given, settings
from hypothesis import strategies as st


def arguments_of_kind(kind):
    good = {name: make() for name, make in CALLS.items()}
    return [(name, argument) for name in good for argument, value in good[name].items() if kind(value)]


tensors = arguments_of_kind(lambda value: isinstance(value, torch.Tensor))
numbers = arguments_of_kind(lambda value: isinstance(value, int))
pairs = arguments_of_kind(lambda value: isinstance(value, tuple))


def call(name, arguments):
    """What the function gave, or None where it refused as it should. Its inputs are as they were."""
    torch.manual_seed(0)
    before = {key: value.clone() for key, value in arguments.items() if isinstance(value, torch.Tensor)}
    try:
        result = function_called(name)(**arguments)
    except (TypeError, ValueError) as error:
        if not is_ours(error):
            raise
        result = None
    for key, value in before.items():
        torch.testing.assert_close(arguments[key], value, rtol=0, atol=0, equal_nan=True)
    return result


def flat(result):
    """All numbers of a result, side by side."""
    parts = result if isinstance(result, (tuple, list)) else [result]
    found = [part for part in parts if isinstance(part, torch.Tensor)]
    return torch.cat([part.detach().flatten() for part in found]) if found else torch.tensor([])


def refusal(name, arguments):
    torch.manual_seed(0)
    with pytest.raises((TypeError, ValueError)) as caught:
        function_called(name)(**arguments)
    assert is_ours(caught.value)
    return str(caught.value)


pytestmark = pytest.mark.usefixtures("doors_only")


@pytest.mark.parametrize("name", CALLS)
def test_what_is_right_is_taken(name):
    assert call(name, CALLS[name]()) is not None


WRONG = {
    "an axis too few": lambda tensor: tensor[0],
    "an axis too many": lambda tensor: tensor[None],
    "a scalar": lambda tensor: tensor.flatten()[0],
    "a numpy array": lambda tensor: tensor.numpy(),
    "a list": lambda tensor: tensor.tolist(),
    "a number": lambda tensor: 1.0,
    "nothing": lambda tensor: None,
}


@pytest.mark.parametrize("how", WRONG)
@pytest.mark.parametrize(("name", "argument"), tensors)
def test_a_wrong_rank_or_kind_is_refused_by_name(name, argument, how):
    arguments = CALLS[name]()
    arguments[argument] = WRONG[how](arguments[argument])
    if (name, how) == ("top_k", "an axis too many"):  # logits may have a batch axis of one
        assert len(call(name, arguments)) == 2
    else:
        assert argument in refusal(name, arguments)


@pytest.mark.parametrize("dtype", [torch.int64, torch.uint8, torch.bool, torch.complex64])
@pytest.mark.parametrize(("name", "argument"), tensors)
def test_a_wrong_dtype_is_refused_or_moved_as_it_is(name, argument, dtype):
    arguments = CALLS[name]()
    if arguments[argument].dtype == torch.int64:
        dtype = torch.float32 if dtype != torch.complex64 else dtype
    arguments[argument] = arguments[argument].to(dtype)
    result = call(name, arguments)
    # Only functions that move numbers about, and compute nothing, take every dtype.
    movers = {"image2patches", "patches2image", "weight2kernel", "kernel2weight"}
    movers |= {"split_cls", "split_heads", "merge_heads"}
    assert (result is not None) == (name in movers)
    if result is not None:
        assert flat(result).dtype == dtype


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", [name for name in CALLS if name not in LOCAL and name != "sincos_position"])
def test_other_precisions_give_the_same_to_their_precision(name, dtype):
    torch.manual_seed(0)
    arguments = CALLS[name]()
    other = {
        key: value.to(dtype) if isinstance(value, torch.Tensor) and value.is_floating_point() else value
        for key, value in arguments.items()
    }
    if name == "kernel_components":
        other["num_components"] = arguments["num_components"] = 1  # what comes later turns with the rounding
    ours, reference = flat(call(name, other)), flat(call(name, arguments))
    if name != "deletion_curve" and reference.numel():
        assert ours.dtype == dtype
    torch.testing.assert_close(ours.float(), reference.float(), rtol=0.05, atol=0.05)


SAME_NUMBERS = {
    "not contiguous": lambda tensor: tensor.transpose(0, -1).contiguous().transpose(0, -1),
    "a slice of something larger": lambda tensor: torch.stack([tensor, tensor - 1], dim=-1)[..., 0],
    "requires grad": lambda tensor: tensor.clone().requires_grad_(tensor.is_floating_point()),
}


@pytest.mark.parametrize("how", SAME_NUMBERS)
@pytest.mark.parametrize(("name", "argument"), tensors)
def test_the_same_numbers_held_in_another_way_give_the_same(name, argument, how):
    torch.manual_seed(0)
    arguments = CALLS[name]()
    other = {**arguments, argument: SAME_NUMBERS[how](arguments[argument])}
    torch.testing.assert_close(flat(call(name, other)), flat(call(name, arguments)), rtol=1e-6, atol=1e-6)
    if name == "top_k":
        assert call(name, other) == call(name, arguments)


@pytest.mark.parametrize(("name", "argument"), tensors)
def test_an_expanded_view_gives_what_its_copy_gives(name, argument):
    torch.manual_seed(0)
    arguments = CALLS[name]()
    one = arguments[argument][:1]
    other = {**arguments, argument: one.expand_as(arguments[argument])}
    copied = {**arguments, argument: other[argument].clone()}
    if name == "top_k" or (name, argument) == ("kernel_components", "kernel"):
        return  # equal logits, or kernels without any variance, leave the order open
    torch.testing.assert_close(flat(call(name, other)), flat(call(name, copied)), rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "argument", "axis"),
    [(name, argument, axis) for name, argument in tensors for axis in range(CALLS[name]()[argument].ndim)],
)
def test_an_axis_of_size_zero_is_refused_or_gives_no_nan(name, argument, axis):
    arguments = CALLS[name]()
    arguments[argument] = arguments[argument].narrow(axis, 0, 0)
    result = call(name, arguments)
    assert result is None or flat(result).isfinite().all()


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize(
    ("name", "argument"), arguments_of_kind(lambda value: getattr(value, "dtype", None) == torch.float32)
)
def test_nan_and_infinity_do_not_pass_silently(name, argument, bad):
    arguments = CALLS[name]()
    arguments[argument] = torch.full_like(arguments[argument], bad)
    if name == "image2patches":
        assert call(name, arguments).isnan().any() == (bad != bad)
    result = call(name, arguments)
    if name == "deletion_curve" and result is not None:
        return  # a logit of plus infinity is a clear answer
    assert result is None or not flat(result).isfinite().all()


@pytest.mark.parametrize("name", sorted({name for name, _ in tensors}))
def test_the_meta_device_gives_shapes_or_is_refused(name):
    arguments = {
        key: value.to("meta") if isinstance(value, torch.Tensor) else value
        for key, value in CALLS[name]().items()
    }
    result = function_called(name)(**arguments) if name not in NEEDS_NUMBERS else refusal(name, arguments)
    if name in NEEDS_NUMBERS:
        assert "meta" in result
    else:
        expected = function_called(name)(**CALLS[name]())
        assert flat(result).shape == flat(expected).shape


NEEDS_NUMBERS = {"top_k", "kernel_components", "deletion_curve", "forward", "trace"}


@pytest.mark.parametrize(
    ("name", "argument"), [case for case in tensors if len([c for c in tensors if c[0] == case[0]]) > 1]
)
def test_two_devices_are_named(name, argument):
    arguments = CALLS[name]()
    arguments[argument] = arguments[argument].to("meta")
    message = refusal(name, arguments)
    assert argument in message
    assert "meta" in message


# What is a fine number after all, or a choice.
ALLOWED = {
    ("cls_attention", "layer"): {0, -1},
    ("cls_attention", "head"): {0, -1, None},
    ("build_vit", "num_classes"): {0},
    ("fused_attention", "num_queries"): {None},
}


@pytest.mark.parametrize("bad", [0, -1, 2.5, "2", None, True, [2], float("nan")])
@pytest.mark.parametrize(("name", "argument"), numbers)
def test_a_size_that_is_none_is_refused_by_name(name, argument, bad):
    allowed = ALLOWED.get((name, argument), set())
    arguments = {**CALLS[name](), argument: bad}
    if not isinstance(bad, list) and not isinstance(bad, bool) and bad in allowed:
        assert call(name, arguments) is not None
    else:
        assert argument in refusal(name, arguments)


@pytest.mark.parametrize(
    "bad",
    [None, "23", (2,), (2, 3, 4), (0, 3), (2, -3), (2.0, 3), ("2", 3), (True, 3), (None, 3), {2, 3}],
)
@pytest.mark.parametrize(("name", "argument"), pairs)
def test_a_pair_that_is_none_is_refused_by_name(name, argument, bad):
    assert argument in refusal(name, {**CALLS[name](), argument: bad})


@pytest.mark.parametrize(
    ("name", "argument"),
    [case for case in pairs if case not in [("sincos_position", "grid"), ("resize_position", "new_grid")]],
)
def test_a_pair_that_does_not_fit_is_refused_by_name(name, argument):
    assert argument in refusal(name, {**CALLS[name](), argument: (5, 7)})


TOO_LARGE = [
    *[("image2patches", "patch_size"), ("patches2image", "patch_size"), ("image2emb_naive", "patch_size")],
    *[("weight2kernel", "channels"), ("weight2kernel", "patch_size"), ("image2emb_conv", "stride")],
    *[("sincos_position", "dim"), ("resize_position", "num_prefix"), ("split_heads", "num_heads")],
    *[("self_attention", "num_heads"), ("fused_attention", "num_heads"), ("top_k", "k")],
    *[("cls_attention", "layer"), ("cls_attention", "head"), ("kernel_components", "num_components")],
    *[("build_vit", "patch_size"), ("build_vit", "num_heads"), ("build_vit", "dim")],
]


@pytest.mark.parametrize(("name", "argument"), TOO_LARGE)
def test_a_size_that_is_too_large_is_refused_by_name(name, argument):
    message = refusal(name, {**CALLS[name](), argument: 999_999_937})
    assert argument in message
    assert "999999937" in message


@pytest.mark.parametrize(("name", "argument"), pairs)
def test_a_pair_may_be_a_list(name, argument):
    torch.manual_seed(0)
    arguments = CALLS[name]()
    other = {**arguments, argument: list(arguments[argument])}
    ours, reference = call(name, other), call(name, arguments)
    if name == "build_vit":
        assert ours.grid == reference.grid
    else:
        assert torch.equal(ours, reference)


def wild(value):
    """Something like the value: most of it as it is, some of it not."""
    if isinstance(value, torch.Tensor):
        sizes = st.tuples(
            *(st.one_of(st.just(size), st.just(size), st.integers(0, 4)) for size in value.shape)
        )
        shapes = st.one_of(sizes, sizes, sizes, st.lists(st.integers(0, 4), max_size=6).map(tuple))
        dtypes = st.sampled_from(
            [value.dtype] * 6 + [torch.float64, torch.float16, torch.int64, torch.cfloat]
        )
        return st.builds(lambda shape, dtype: torch.ones(shape, dtype=dtype), shapes, dtypes)
    if isinstance(value, tuple):
        return st.one_of(
            st.just(value), st.tuples(*[st.integers(-1, 5)] * 2), st.lists(st.integers(1, 4), max_size=3)
        )
    if isinstance(value, (int, float)):
        return st.one_of(st.just(value), st.integers(-2, 9), st.sampled_from([None, 1.5, True, "4"]))
    return st.just(value)


@pytest.mark.parametrize("name", CALLS)
@settings(max_examples=40, deadline=None, derandomize=True, database=None)
@given(data=st.data())
def test_anything_else_is_answered_or_refused(name, data):
    arguments = {key: data.draw(wild(value), label=key) for key, value in CALLS[name]().items()}
    call(name, arguments)
