"""Step 1 against plain loops, F.unfold and nn.Conv2d, on images that are not square and not alone."""

# ruff: noqa: E501 (one line for each wrong input)
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vit_steps import (
    image2emb_conv,
    image2emb_naive,
    image2patches,
    kernel2weight,
    patches2image,
    resize_kernel,
    weight2kernel,
)

fixed_budget = settings(max_examples=60, deadline=None, derandomize=True, database=None)
# (batch, channels, rows, cols, patch_size): never square where it need not be.
SIZES = [(1, 3, 2, 2, 4), (2, 3, 2, 3, 4), (3, 1, 3, 1, 2), (2, 4, 1, 5, 3), (4, 2, 5, 3, 1)]
geometry = st.tuples(
    st.integers(0, 3), st.integers(1, 4), st.integers(1, 4), st.integers(1, 4), st.integers(1, 5)
)


def random_image(batch, channels, rows, cols, patch_size, dtype=torch.float64):
    return torch.randn(batch, channels, rows * patch_size, cols * patch_size, dtype=dtype)


def patches_by_loops(image, patch_size):
    """What the docstring says, pixel by pixel: row-major patches, each in the order channel, row, col."""
    batch, channels, height, width = image.shape
    return torch.stack(
        [
            torch.stack(
                [
                    image[b, c, top + row, left + col]
                    for c in range(channels)
                    for row in range(patch_size)
                    for col in range(patch_size)
                ]
            )
            for b in range(batch)
            for top in range(0, height, patch_size)
            for left in range(0, width, patch_size)
        ]
    ).reshape(batch, -1, channels * patch_size**2)


@pytest.mark.parametrize("sizes", SIZES)
def test_image2patches_is_what_the_loops_say(sizes):
    image = random_image(*sizes)
    assert torch.equal(image2patches(image, sizes[-1]), patches_by_loops(image, sizes[-1]))


@pytest.mark.parametrize("sizes", SIZES)
def test_image2patches_is_unfold_transposed(sizes):
    image, patch_size = random_image(*sizes), sizes[-1]
    expected = F.unfold(image, kernel_size=patch_size, stride=patch_size).transpose(1, 2)
    assert torch.equal(image2patches(image, patch_size), expected)


def test_numbers_that_can_be_read_off():
    image = torch.arange(2 * 4 * 6).reshape(1, 2, 4, 6)
    patches = image2patches(image, 2)
    assert patches[0, 0].tolist() == [0, 1, 6, 7, 24, 25, 30, 31]
    assert patches[0, 1].tolist() == [2, 3, 8, 9, 26, 27, 32, 33]
    assert patches[0, 5].tolist() == [16, 17, 22, 23, 40, 41, 46, 47]


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64, torch.bool, torch.float16, torch.complex64])
def test_patches_keep_any_dtype(dtype):
    image = torch.randint(0, 2, (2, 3, 6, 4)).to(dtype)
    patches = image2patches(image, 2)
    assert patches.dtype == dtype
    assert torch.equal(patches2image(patches, 2, (6, 4)), image)


@fixed_budget
@given(geometry)
def test_patches2image_inverts_image2patches(sizes):
    image, patch_size = random_image(*sizes), sizes[-1]
    back = patches2image(image2patches(image, patch_size), patch_size, tuple(image.shape[2:]))
    assert torch.equal(back, image)


@fixed_budget
@given(geometry)
def test_image2patches_inverts_patches2image(sizes):
    batch, channels, rows, cols, patch_size = sizes
    patches = torch.randn(batch, rows * cols, channels * patch_size**2)
    image = patches2image(patches, patch_size, (rows * patch_size, cols * patch_size))
    assert torch.equal(image2patches(image, patch_size), patches)


def test_patches2image_is_fold():
    patches = torch.randn(2, 6, 27)
    expected = F.fold(patches.transpose(1, 2), output_size=(6, 9), kernel_size=3, stride=3)
    assert torch.equal(patches2image(patches, 3, (6, 9)), expected)


@fixed_budget
@given(st.integers(0, 6), st.integers(1, 4), st.integers(1, 5))
def test_kernel2weight_inverts_weight2kernel(dim, channels, patch_size):
    weight = torch.randn(channels * patch_size**2, dim)
    kernel = weight2kernel(weight, channels, patch_size)
    assert kernel.shape == (dim, channels, patch_size, patch_size)
    assert torch.equal(kernel2weight(kernel), weight)
    assert torch.equal(weight2kernel(kernel2weight(kernel), channels, patch_size), kernel)


def test_a_column_of_weight_is_a_kernel():
    weight = torch.randn(3 * 16, 8)
    kernel = weight2kernel(weight, 3, 4)
    for d in range(8):
        for place in range(3 * 16):
            c, row, col = place // 16, place % 16 // 4, place % 4
            assert kernel[d, c, row, col] == weight[place, d]


@fixed_budget
@given(geometry, st.integers(1, 6))
def test_naive_and_conv_are_equal_to_1e_12(sizes, dim):
    image, channels, patch_size = random_image(*sizes), sizes[1], sizes[-1]
    weight = torch.randn(channels * patch_size**2, dim, dtype=torch.float64)
    naive = image2emb_naive(image, patch_size, weight)
    conv = image2emb_conv(image, weight2kernel(weight, channels, patch_size), patch_size)
    assert naive.shape == conv.shape == (sizes[0], sizes[2] * sizes[3], dim)
    torch.testing.assert_close(conv, naive, atol=1e-12, rtol=0)


@pytest.mark.parametrize("sizes", SIZES)
def test_naive_is_the_sum_that_the_paper_writes(sizes):
    image, patch_size = random_image(*sizes), sizes[-1]
    weight = torch.randn(sizes[1] * patch_size**2, 5, dtype=torch.float64)
    expected = (patches_by_loops(image, patch_size)[..., None] * weight).sum(dim=2)
    torch.testing.assert_close(image2emb_naive(image, patch_size, weight), expected, atol=1e-12, rtol=0)


def test_float32_is_as_close_as_float32_can_promise():
    image, weight = random_image(3, 3, 4, 5, 16, torch.float32), torch.randn(768, 32)
    naive = image2emb_naive(image, 16, weight)
    conv = image2emb_conv(image, weight2kernel(weight, 3, 16), 16)
    # A dot product of n float32 terms is off by at most n * eps/2 * sum |a b|, whatever the order of summation.
    bound = 768 * torch.finfo(torch.float32).eps / 2 * (image2patches(image, 16).abs() @ weight.abs())
    exact = image2emb_naive(image.double(), 16, weight.double())
    assert ((naive - exact).abs() <= bound).all()
    assert ((conv - exact).abs() <= bound).all()
    # The bound is for the worst case; rounding errors mostly cancel.
    torch.testing.assert_close(conv, naive, atol=1e-3, rtol=0)


def test_conv_is_nn_conv2d():
    layer = nn.Conv2d(3, 7, kernel_size=4, stride=4, bias=False).double()
    image = random_image(2, 3, 3, 2, 4)
    expected = layer(image).flatten(2).transpose(1, 2)
    torch.testing.assert_close(image2emb_conv(image, layer.weight, 4), expected, atol=0, rtol=0)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_a_stride_below_the_patch_size_overlaps(stride):
    image, kernel = (
        torch.randn(2, 3, 11, 17, dtype=torch.float64),
        torch.randn(5, 3, 5, 5, dtype=torch.float64),
    )
    patches = F.unfold(image, kernel_size=5, stride=stride).transpose(1, 2)
    rows, cols = (11 - 5) // stride + 1, (17 - 5) // stride + 1
    overlapping = image2emb_conv(image, kernel, stride)
    assert overlapping.shape == (2, rows * cols, 5)
    torch.testing.assert_close(overlapping, patches @ kernel2weight(kernel), atol=1e-12, rtol=0)


def test_the_twin_without_the_transpose_has_the_right_shape_and_the_wrong_numbers():
    weight, image = torch.randn(48, 8, dtype=torch.float64), random_image(1, 3, 2, 2, 4)
    twin, kernel = weight.reshape(8, 3, 4, 4), weight2kernel(weight, 3, 4)
    assert twin.shape == kernel.shape
    difference = image2emb_conv(image, twin, 4) - image2emb_naive(image, 4, weight)
    assert difference.abs().max() > 1


def test_gradients_of_naive_and_conv_agree():
    image, weight = random_image(2, 3, 2, 3, 4), torch.randn(48, 8, dtype=torch.float64, requires_grad=True)
    towards = torch.randn(2, 6, 8, dtype=torch.float64)
    naive = (image2emb_naive(image, 4, weight) * towards).sum()
    conv = (image2emb_conv(image, weight2kernel(weight, 3, 4), 4) * towards).sum()
    (ours,), (reference,) = torch.autograd.grad(conv, weight), torch.autograd.grad(naive, weight)
    torch.testing.assert_close(ours, reference, atol=1e-12, rtol=0)


def test_views_that_are_not_contiguous_or_expanded_give_the_same():
    image, weight = torch.randn(2, 6, 4, 3), torch.randn(12, 5)
    turned = image.permute(0, 3, 1, 2)  # channels last, as photographs are stored
    assert torch.equal(image2patches(turned, 2), image2patches(turned.contiguous(), 2))
    grey = torch.randn(2, 1, 6, 4).expand(-1, 3, -1, -1)
    kernel = weight2kernel(weight, 3, 2)
    torch.testing.assert_close(image2emb_conv(grey, kernel, 2), image2emb_naive(grey, 2, weight))


def test_nothing_is_changed_in_place():
    image, weight = random_image(2, 3, 2, 3, 4), torch.randn(48, 8, dtype=torch.float64)
    kernel, patches = weight2kernel(weight, 3, 4), image2patches(image, 4)
    before = [tensor.clone() for tensor in (image, weight, kernel, patches)]
    image2emb_naive(image, 4, weight)
    image2emb_conv(image, kernel, 4)
    patches2image(patches, 4, (8, 12))
    kernel2weight(kernel)
    assert all(map(torch.equal, (image, weight, kernel, patches), before))


def test_shapes_without_numbers_on_the_meta_device():
    image, kernel = torch.empty(2, 3, 32, 48, device="meta"), torch.empty(5, 3, 16, 16, device="meta")
    assert image2emb_conv(image, kernel, 16).shape == (2, 6, 5)
    assert image2emb_naive(image, 16, kernel2weight(kernel)).shape == (2, 6, 5)


# ---- kernels of another size ----


def enlarge_each_patch(image, patch_size, new_size):
    """Enlarge an image patch by patch, each as if it stood alone."""
    rows, cols = image.shape[2] // patch_size, image.shape[3] // patch_size
    tiles = image2patches(image, patch_size).unflatten(2, (-1, patch_size, patch_size)).flatten(0, 1)
    enlarged = F.interpolate(tiles, size=(new_size, new_size), mode="bilinear", align_corners=False)
    patches = enlarged.flatten(1).unflatten(0, (len(image), rows * cols))
    return patches2image(patches, new_size, (rows * new_size, cols * new_size))


@fixed_budget
@given(geometry, st.integers(0, 6), st.integers(1, 6))
def test_enlarged_patches_give_the_same_tokens_to_1e_12(sizes, more, dim):
    image, patch_size = random_image(*sizes), sizes[-1]
    kernel = torch.randn(dim, sizes[1], patch_size, patch_size, dtype=torch.float64)
    enlarged = enlarge_each_patch(image, patch_size, patch_size + more)
    tokens = image2emb_conv(enlarged, resize_kernel(kernel, patch_size + more), patch_size + more)
    torch.testing.assert_close(tokens, image2emb_conv(image, kernel, patch_size), atol=1e-12, rtol=0)


@pytest.mark.parametrize("new_size", [2, 3, 6, 7, 16])
def test_resized_kernels_are_timm_s(new_size):
    from timm.layers.patch_embed import resample_patch_embed

    kernel = torch.randn(5, 3, 4, 4, dtype=torch.float64)
    theirs = resample_patch_embed(kernel, [new_size, new_size], interpolation="bilinear", antialias=False)
    # timm works in float32.
    torch.testing.assert_close(resize_kernel(kernel, new_size), theirs, atol=1e-5, rtol=0)


def test_one_pixel_that_becomes_four_shares_its_weight_among_them():
    assert torch.allclose(resize_kernel(torch.tensor([[[[8.0]]]]), 2), torch.full((1, 1, 2, 2), 2.0))


def test_bilinear_kernels_give_other_tokens_even_when_their_sum_is_kept():
    image, kernel = random_image(2, 3, 2, 3, 4), torch.randn(5, 3, 4, 4, dtype=torch.float64)
    wanted, enlarged = image2emb_conv(image, kernel, 4), enlarge_each_patch(image, 4, 8)
    bilinear = F.interpolate(kernel, size=(8, 8), mode="bilinear")
    for wrong in (bilinear, bilinear / 4):
        assert (image2emb_conv(enlarged, wrong, 8) - wanted).abs().max() > 1


def test_a_kernel_of_its_own_size_stays_and_a_smaller_one_is_least_squares():
    kernel = torch.randn(5, 3, 4, 4, dtype=torch.float64)
    torch.testing.assert_close(resize_kernel(kernel, 4), kernel, atol=1e-12, rtol=0)
    # Of all kernels of 2 × 2 this one comes nearest to the old tokens of white noise.
    eye = torch.eye(16, dtype=torch.float64).reshape(16, 1, 4, 4)
    shrink = F.interpolate(eye, size=(2, 2), mode="bilinear").flatten(1)
    nearest = torch.linalg.lstsq(shrink, kernel.flatten(2).flatten(0, 1).T).solution.T
    torch.testing.assert_close(resize_kernel(kernel, 2).flatten(2).flatten(0, 1), nearest, atol=1e-12, rtol=0)


IMAGE, WEIGHT = torch.zeros(2, 3, 8, 8), torch.zeros(48, 5)
KERNEL, PATCHES = torch.zeros(5, 3, 4, 4), torch.zeros(2, 4, 48)


@pytest.mark.parametrize(
    ("function", "arguments", "error", "message"),
    [
        (image2patches, (torch.zeros(3, 8, 8), 4), ValueError, "image must have the axes (batch channels height width), got shape (3, 8, 8)"),
        (image2patches, (np.zeros((2, 3, 8, 8)), 4), TypeError, "image must be a torch.Tensor, not ndarray"),
        (image2patches, (torch.zeros(2, 3, 30, 8), 4), ValueError, "image height 30 is not a multiple of patch_size 4"),
        (image2patches, (torch.zeros(2, 3, 8, 30), 4), ValueError, "image width 30 is not a multiple of patch_size 4"),
        (image2patches, (IMAGE, 16), ValueError, "image height 8 is not a multiple of patch_size 16"),
        (image2patches, (torch.zeros(2, 3, 0, 8), 4), ValueError, "image height 0 is not a multiple of patch_size 4"),
        (image2patches, (IMAGE, 0), ValueError, "patch_size must be at least 1, got 0"),
        (image2patches, (IMAGE, -4), ValueError, "patch_size must be at least 1, got -4"),
        (image2patches, (IMAGE, 4.0), TypeError, "patch_size must be an integer, got 4.0"),
        (image2patches, (IMAGE, True), TypeError, "patch_size must be an integer, got True"),
        (image2patches, (IMAGE, (4, 4)), TypeError, "patch_size must be an integer, got (4, 4)"),
        (patches2image, (PATCHES[0], 4, (8, 8)), ValueError, "patches must have the axes (batch patches patch_dim), got shape (4, 48)"),
        (patches2image, (None, 4, (8, 8)), TypeError, "patches must be a torch.Tensor, not NoneType"),
        (patches2image, (torch.zeros(2, 9, 48), 4, (8, 8)), ValueError, "number of patches 9 is not image_size height 8 * image_size width 8 / patch_size 4 squared = 4"),
        (patches2image, (PATCHES, 4, (8, 30)), ValueError, "image_size width 30 is not a multiple of patch_size 4"),
        (patches2image, (torch.zeros(2, 4, 50), 4, (8, 8)), ValueError, "patches patch_dim 50 is not a multiple of patch_size 4 squared = 16"),
        (patches2image, (torch.zeros(2, 4, 24), 4, (8, 8)), ValueError, "patches patch_dim 24 is not a multiple of patch_size 4 squared = 16"),
        (patches2image, (PATCHES, 4, 8), TypeError, "image_size must be (height, width), got 8"),
        (patches2image, (PATCHES, 4, (3, 8, 8)), TypeError, "image_size must be (height, width), got (3, 8, 8)"),
        (patches2image, (PATCHES, 4, (8, 8.0)), TypeError, "image_size width must be an integer, got 8.0"),
        (patches2image, (PATCHES, 4, (-8, 8)), ValueError, "image_size height must be at least 1, got -8"),
        (patches2image, (PATCHES, 0, (8, 8)), ValueError, "patch_size must be at least 1, got 0"),
        (weight2kernel, (WEIGHT, 1, 4), ValueError, "weight patch_dim 48 is not channels 1 * patch_size 4 squared = 16"),
        (weight2kernel, (WEIGHT[0], 3, 4), ValueError, "weight must have the axes (patch_dim dim), got shape (5,)"),
        (weight2kernel, (WEIGHT, 0, 4), ValueError, "channels must be at least 1, got 0"),
        (weight2kernel, (WEIGHT, 3, "4"), TypeError, "patch_size must be an integer, got '4'"),
        (weight2kernel, (WEIGHT.tolist(), 3, 4), TypeError, "weight must be a torch.Tensor, not list"),
        (kernel2weight, (torch.zeros(5, 3, 4, 6),), ValueError, "kernel has side 4 and side 6: they must be the same"),
        (kernel2weight, (WEIGHT,), ValueError, "kernel must have the axes (dim channels side side), got shape (48, 5)"),
        (kernel2weight, (3,), TypeError, "kernel must be a torch.Tensor, not int"),
        (image2emb_naive, (IMAGE, 4, torch.zeros(75, 5)), ValueError, "weight patch_dim 75 is not image channels 3 * patch_size 4 squared = 48"),
        (image2emb_naive, (IMAGE, 3, WEIGHT), ValueError, "weight patch_dim 48 is not image channels 3 * patch_size 3 squared = 27"),
        (image2emb_naive, (IMAGE, 4, KERNEL), ValueError, "weight must have the axes (patch_dim dim), got shape (5, 3, 4, 4)"),
        (image2emb_naive, (IMAGE.long(), 4, WEIGHT), TypeError, "image must be floating point, got torch.int64"),
        (image2emb_naive, (IMAGE, 4, WEIGHT.cfloat()), TypeError, "weight must be floating point, got torch.complex64"),
        (image2emb_naive, (IMAGE.double(), 4, WEIGHT), TypeError, "image is torch.float64, weight is torch.float32: they must be the same"),
        (image2emb_naive, (IMAGE.to("meta"), 4, WEIGHT), ValueError, "image is on meta, weight is on cpu: they must be on the same"),
        (image2emb_naive, (torch.zeros(2, 0, 8, 8), 4, torch.zeros(0, 5)), ValueError, "image channels must be at least 1, got 0"),
        (image2emb_conv, (IMAGE[0], KERNEL, 4), ValueError, "image must have the axes (batch channels height width), got shape (3, 8, 8)"),
        (image2emb_conv, (None, KERNEL, 4), TypeError, "image must be a torch.Tensor, not NoneType"),
        (image2emb_conv, (torch.zeros(2, 3, 30, 8), KERNEL, 4), ValueError, "image height 30 - kernel side 4 = 26 is neither 0 nor a multiple of stride 4"),
        (image2emb_conv, (torch.zeros(2, 3, 8, 30), KERNEL, 4), ValueError, "image width 30 - kernel side 4 = 26 is neither 0 nor a multiple of stride 4"),
        (image2emb_conv, (torch.zeros(2, 3, 8, 9), KERNEL, 2), ValueError, "image width 9 - kernel side 4 = 5 is neither 0 nor a multiple of stride 2"),
        (image2emb_conv, (torch.zeros(2, 3, 2, 8), KERNEL, 2), ValueError, "image height 2 - kernel side 4 = -2 is neither 0 nor a multiple of stride 2"),
        (image2emb_conv, (IMAGE, KERNEL, 8), ValueError, "stride 8 is more than kernel side 4: the pixels between patches would be skipped"),
        (image2emb_conv, (IMAGE, KERNEL, 0), ValueError, "stride must be at least 1, got 0"),
        (image2emb_conv, (IMAGE, KERNEL, 2.5), TypeError, "stride must be an integer, got 2.5"),
        (image2emb_conv, (torch.zeros(2, 1, 8, 8), KERNEL, 4), ValueError, "image has channels 1, kernel has channels 3"),
        (image2emb_conv, (IMAGE, torch.zeros(5, 3, 4, 2), 4), ValueError, "kernel has side 4 and side 2: they must be the same"),
        (image2emb_conv, (IMAGE, torch.zeros(5, 3, 0, 0), 4), ValueError, "stride 4 is more than kernel side 0: the pixels between patches would be skipped"),
        (image2emb_conv, (torch.zeros(2, 0, 8, 8), torch.zeros(5, 0, 4, 4), 4), ValueError, "kernel channels must be at least 1, got 0"),
        (image2emb_conv, (IMAGE, torch.zeros(0, 3, 4, 4), 4), ValueError, "kernel dim must be at least 1, got 0"),
        (image2emb_conv, (IMAGE, WEIGHT, 4), ValueError, "kernel must have the axes (dim channels side side), got shape (48, 5)"),
        (resize_kernel, (WEIGHT, 4), ValueError, "kernel must have the axes (dim channels side side), got shape (48, 5)"),
        (resize_kernel, (torch.zeros(5, 3, 4, 5), 4), ValueError, "kernel has side 4 and side 5: they must be the same"),
        (resize_kernel, (torch.zeros(5, 3, 0, 0), 4), ValueError, "kernel side must be at least 1, got 0"),
        (resize_kernel, (KERNEL, 0), ValueError, "patch_size must be at least 1, got 0"),
        (resize_kernel, (KERNEL, 2.0), TypeError, "patch_size must be an integer, got 2.0"),
        (resize_kernel, (KERNEL.long(), 4), TypeError, "kernel must be floating point, got torch.int64"),
        (image2emb_conv, (IMAGE.byte(), KERNEL, 4), TypeError, "image must be floating point, got torch.uint8"),
        (image2emb_conv, (IMAGE, KERNEL.half(), 4), TypeError, "image is torch.float32, kernel is torch.float16: they must be the same"),
        (image2emb_conv, (IMAGE, KERNEL.to("meta"), 4), ValueError, "image is on cpu, kernel is on meta: they must be on the same"),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("doors_only")
def test_the_door_names_what_is_wrong(function, arguments, error, message):
    with pytest.raises(error) as caught:
        function(*arguments)
    assert str(caught.value) == message
