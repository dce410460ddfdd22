"""What compare prints, and what counts as equal."""

import math

import numpy as np
import pytest
import torch

from vit_steps import Agreement, compare

ONES = torch.ones(2, 3)


@pytest.mark.parametrize(
    ("ours", "reference", "tol", "line"),
    [
        (ONES, ONES + 1e-13, 1e-12, "naive vs conv: equal (max |Δ| < 1e-12)"),
        (ONES, ONES.clone(), 0, "naive vs conv: equal (max |Δ| = 0)"),
        (ONES, ONES.clone(), 1e-6, "naive vs conv: equal (max |Δ| < 1e-06)"),
        (ONES.double(), ONES + 0.5, 0.25, "naive vs conv: DIFFERENT (max |Δ| = 0.5, allowed 0.25)"),
        (ONES.double(), ONES + 0.5, 0, "naive vs conv: DIFFERENT (max |Δ| = 0.5, allowed 0)"),
        (ONES, ONES[:1], 1, "naive vs conv: DIFFERENT shapes, (2, 3) and (1, 3)"),
        (ONES, ONES * math.nan, 1, "naive vs conv: DIFFERENT (max |Δ| = nan, allowed 1)"),
        (ONES, ONES / 0, 1, "naive vs conv: DIFFERENT (max |Δ| = inf, allowed 1)"),
        (ONES[:0], ONES[:0], 0, "naive vs conv: equal (max |Δ| = 0)"),
    ],
)
def test_one_line_is_printed_and_kept(ours, reference, tol, line, capsys):
    agreement = compare("naive vs conv", ours, reference, tol=tol)
    assert capsys.readouterr().out == line + "\n"
    assert str(agreement) == agreement.line == line
    assert bool(agreement) is agreement.ok is ("equal" in line)


def test_the_largest_difference_is_found_wherever_it_is():
    ours = torch.randn(4, 5, dtype=torch.float64)
    for place in [(0, 0), (1, 3), (3, 4)]:
        for sign in (1, -1):
            reference = ours.clone()
            reference[place] += sign * 0.125
            reference[2, 2] += 1e-3
            agreement = compare("", ours, reference, tol=0.2)
            assert agreement.max_abs_diff == pytest.approx(0.125, abs=1e-15)
            assert agreement
            assert not compare("", ours, reference, tol=0.1)


def test_a_difference_as_large_as_the_tolerance_is_too_large():
    assert not compare("", torch.zeros(1), torch.full((1,), 0.5), tol=0.5)
    assert compare("", torch.zeros(1), torch.full((1,), 0.5), tol=0.5000001)


def test_shapes_are_kept_and_never_broadcast():
    agreement = compare("", torch.ones(2, 3), torch.ones(3), tol=1)
    assert agreement.shapes == ((2, 3), (3,))
    assert agreement.max_abs_diff == math.inf
    assert not agreement
    assert not compare("", torch.ones(1), torch.tensor(1.0), tol=math.inf)


@pytest.mark.parametrize("tol", [0, 1e-12, math.inf])
def test_nan_never_agrees_not_even_with_itself(tol):
    nan = torch.tensor([1.0, math.nan, 2.0])
    agreement = compare("", nan, nan, tol=tol)
    assert not agreement
    assert math.isnan(agreement.max_abs_diff)


def test_neighbouring_integers_differ_however_large_they_are():
    large = torch.tensor([2**53, 2**53 + 2])
    assert compare("", large, large + 1, tol=0).max_abs_diff == 1
    assert compare("", large, large.clone(), tol=0)


def test_integers_are_held_against_fractions_without_rounding():
    whole, half = torch.tensor([1, 2]), torch.tensor([1.5, 2.0])
    assert compare("", whole, half, tol=1).max_abs_diff == compare("", half, whole, tol=1).max_abs_diff == 0.5


def test_infinities_agree_with_their_own_sign_only():
    infinite = torch.tensor([math.inf, -math.inf, 1.0])
    assert compare("", infinite, infinite, tol=0).max_abs_diff == 0
    assert not compare("", infinite, -infinite, tol=math.inf)
    assert not compare("", infinite, torch.ones(3), tol=1e300)


def test_small_differences_between_dtypes_are_not_rounded_away():
    double, single = torch.tensor([0.1], dtype=torch.float64), torch.tensor([0.1])
    agreement = compare("", double, single, tol=1e-10)
    assert not agreement
    assert agreement.max_abs_diff == pytest.approx(abs(0.1 - single.item()))


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.float16, torch.bfloat16, torch.complex64])
def test_any_dtype_can_be_compared(dtype):
    zero, one = torch.tensor([0, 1]).to(dtype), torch.tensor([1, 1]).to(dtype)
    assert compare("", zero, zero, tol=0)
    assert compare("", zero, one, tol=0).max_abs_diff == 1
    assert compare("", one, zero, tol=0).max_abs_diff == 1


def test_the_imaginary_part_counts():
    assert compare("", torch.tensor([1j]), torch.tensor([0.0]), tol=0.5).max_abs_diff == 1


def test_arrays_lists_and_numbers_are_taken_as_tensors():
    assert compare("", np.arange(3.0), [0.0, 1.0, 2.0], tol=0)
    assert compare("", 2.5, torch.tensor(2.5), tol=0)


def test_tensors_that_require_grad_are_taken_and_left_alone():
    parameter = torch.randn(3, requires_grad=True)
    before = parameter.detach().clone()
    assert compare("", parameter, before, tol=0)
    assert parameter.requires_grad
    assert torch.equal(parameter.detach(), before)


def test_an_agreement_is_a_value():
    agreement = compare("first", ONES, ONES, tol=0)
    assert agreement == compare("second", ONES, ONES.clone(), tol=1)
    assert agreement == Agreement(0.0, ((2, 3), (2, 3)), True, "")
    assert repr(agreement) == "Agreement(max_abs_diff=0.0, shapes=((2, 3), (2, 3)), ok=True)"
    with pytest.raises(AttributeError):
        agreement.ok = False


def test_as_the_last_value_of_a_cell_it_does_not_stand_there_twice(capsys):
    agreement = compare("once", ONES, ONES, tol=0)
    capsys.readouterr()
    assert agreement._ipython_display_() is None
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("ours", "reference", "tol", "error", "message"),
    [
        (ONES, ONES, -1, ValueError, "tol must lie in [0, inf], got -1"),
        (ONES, ONES, math.nan, ValueError, "tol must lie in [0, inf], got nan"),
        (ONES, ONES, "1e-6", TypeError, "tol must be a number, got '1e-6'"),
        (ONES, ONES, True, TypeError, "tol must be a number, got True"),
        (ONES, ONES, None, TypeError, "tol must be a number, got None"),
        (ONES, ONES, 1j, TypeError, "tol must be a number, got 1j"),
        (None, ONES, 0, TypeError, "ours cannot be read as a tensor, it is a NoneType"),
        (ONES, "ones", 0, TypeError, "reference cannot be read as a tensor, it is a str"),
        (ONES, [[1.0], [1.0, 2.0]], 0, TypeError, "reference cannot be read as a tensor, it is a list"),
        (ONES.to("meta"), ONES, 0, ValueError, "ours is on the meta device: it holds no numbers"),
        (ONES, ONES.to("meta"), 0, ValueError, "reference is on the meta device: it holds no numbers"),
    ],
)
@pytest.mark.usefixtures("doors_only")
def test_the_door_names_what_is_wrong(ours, reference, tol, error, message):
    with pytest.raises(error) as caught:
        compare("", ours, reference, tol=tol)
    assert str(caught.value) == message
