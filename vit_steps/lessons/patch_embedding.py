"""What the exercises of lesson 1 are held against: putting patches back, other orders, overlap."""

import math
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from vit_steps.lessons._verdict import (
    Grade,
    check,
    count_calls,
    find_fault,
    random_tensor,
    unfit,
    verdict,
)
from vit_steps.patch_embedding import image2emb_conv, image2patches, patches2image


@check
def check_patches2image(answer: Any) -> Grade:
    """Check the inverse of ``image2patches``.

    Args:
        answer: function (patches, patch_size, (height, width)) -> image, B N P -> B C H W.
    """
    cases = {}
    for channels, height, width, patch_size in ((3, 8, 8, 4), (3, 8, 12, 4), (1, 15, 10, 5)):
        patches = image2patches(random_tensor(2, channels, height, width), patch_size)
        label = f"2 images of {channels} × {height} × {width}, patch_size {patch_size}"
        cases[label] = (patches, patch_size, (height, width))
    ready_made = [patches2image, F.fold]
    fault = find_fault(answer, patches2image, cases, PATCHES2IMAGE_MISTAKES, yourself=ready_made)
    if not fault and _is_loop(answer):
        fault = "wrong: right numbers, but in a loop: reshape and permute move all patches at once"
    return verdict(fault, "the images come back, of three sizes, with 3 channels and with 1")


def _is_loop(answer: Callable) -> bool:
    """Whether an answer does more for more patches, on images of 2 × 2 and of 16 × 16 of them."""
    cases = ((torch.ones(1, side * side, 4), 2, (2 * side, 2 * side)) for side in (2, 16))
    few, many = (count_calls(answer, case) for case in cases)
    return many > few + 10


def _lay(layout: str, order: str) -> Callable:
    """Lay patches out as an image, reading their numbers as ``layout`` and moving the axes to ``order``."""

    def patches2image(patches: Tensor, patch_size: int, image_size: tuple[int, int]) -> Tensor:
        (height, width), channels = image_size, patches.shape[2] // patch_size**2
        sizes = {"B": len(patches), "C": channels, "y": patch_size, "x": patch_size}  # y, x: inside a patch
        sizes |= {"r": height // patch_size, "c": width // patch_size}
        blocks = patches.reshape([sizes[axis] for axis in layout])
        moved = blocks.permute([layout.index(axis) for axis in order])
        return moved.reshape(len(patches), channels, height, width)

    return patches2image


def _lay_on_square(patches: Tensor, patch_size: int, image_size: tuple[int, int]) -> Tensor:
    side = math.isqrt(patches.shape[1]) * patch_size
    return patches2image(patches, patch_size, (side, side))


PATCHES2IMAGE_MISTAKES = {
    "you reshape and move no axis, so that a patch fills whole rows of the image": _lay("BrcCyx", "BrcCyx"),
    "you reshape after (channels, rows, cols, row, col): the row inside a patch must come right after the "
    "row of patches": _lay("BrcCyx", "BCrcyx"),
    "you put the patches down the columns; they come in reading order, row by row": _lay("BcrCyx", "BCrycx"),
    "your patches are woven into each other: first comes the row of patches, then the row inside one": (
        _lay("BrcCyx", "BCyrxc")
    ),
    "you give the columns of patches to the height; the rows of patches belong there": _lay(
        "BrcCyx", "BCcyrx"
    ),
    "inside each patch, rows and columns are swapped": _lay("BrcCyx", "BCrxcy"),
    "you read a patch as (row, col, channel); it is (channel, row, col)": _lay("BrcyxC", "BCrycx"),
    "your channels come last; the axes of an image are (batch, channels, height, width)": (
        lambda patches, size, image_size: patches2image(patches, size, image_size).permute(0, 2, 3, 1)
    ),
    "you take image_size for (width, height); it is (height, width)": (
        lambda patches, size, image_size: patches2image(patches, size, image_size[::-1])
    ),
    "you take the image for square; image_size tells how many rows and columns of patches there are": (
        _lay_on_square
    ),
    "you take it for granted that an image has 3 channels; their number is P / patch_size²": (
        lambda patches, size, image_size: _lay("BrcCyx", "BCrycx")(
            patches.reshape(*patches.shape[:2], 3 * size**2), size, image_size
        )
    ),
}


@check
def check_weight_rows(answer: Any) -> Grade:
    """Check the order of the rows of ``weight`` for patches that are flattened (row, col, channel).

    Args:
        answer: function (channels, patch_size) -> rows, so that ``weight[rows]`` fits the other order.
    """
    sizes = ((3, 4), (2, 3), (1, 2))
    cases = {f"channels {channels}, patch_size {size}": (channels, size) for channels, size in sizes}
    fault = find_fault(answer, _number("Cyx", "yxC"), cases, WEIGHT_ROWS_MISTAKES)
    return verdict(fault, "every row is where the other order needs it, for three sizes of patches")


def _number(layout: str, order: str) -> Callable:
    """Number the places of a patch along ``layout``, and read the numbers along ``order``."""

    def rows(channels: int, patch_size: int) -> Tensor:
        sizes = {"C": channels, "y": patch_size, "x": patch_size}
        numbers = torch.arange(channels * patch_size**2).reshape([sizes[axis] for axis in layout])
        return numbers.permute([layout.index(axis) for axis in order]).flatten()

    return rows


WEIGHT_ROWS_MISTAKES = {
    "this is the inverse permutation: entry i must say which of our rows belongs to their place i": (
        _number("yxC", "Cyx")
    ),
    "you leave the rows as they are": _number("Cyx", "Cyx"),
    "your order is (col, row, channel); the library's is (row, col, channel)": _number("Cyx", "xyC"),
    "your order is (channel, col, row); the library's is (row, col, channel)": _number("Cyx", "Cxy"),
    "you count from 1; rows are counted from 0": (
        lambda channels, patch_size: _number("Cyx", "yxC")(channels, patch_size) + 1
    ),
}


@check
def check_overlap(answer: Any) -> Grade:
    """Check how many patches overlap, and where.

    Args:
        answer: function ((height, width), patch_size, stride) -> (number of patches, columns of pixels that
            the first two patches share).
    """
    sizes = (((8, 8), 4, 2), ((10, 14), 4, 2), ((9, 17), 5, 4), ((8, 12), 4, 4), ((7, 11), 3, 1))
    cases = {
        f"{size[0]} × {size[1]} pixels, patch_size {patch}, stride {stride}": (size, patch, stride)
        for size, patch, stride in sizes
    }
    ready_made = [image2emb_conv, image2patches, F.conv2d, F.unfold]
    count, right = _part(answer, 0), _part(_overlap, 0)
    fault = find_fault(count, right, cases, OVERLAP_COUNT_MISTAKES, yourself=ready_made)
    fault = fault or find_fault(_part(answer, 1), _part(_overlap, 1), cases, OVERLAP_SHARED_MISTAKES)
    return verdict(fault, "what image2emb_conv gives, and the pixels that it reads, for five sizes")


@torch.enable_grad()
def _overlap(image_size: tuple[int, int], patch_size: int, stride: int) -> tuple[int, list[int]]:
    """Count what ``image2emb_conv`` gives, and ask the gradient which pixels it read."""
    image = torch.ones(1, 1, *image_size, requires_grad=True)
    tokens = image2emb_conv(image, torch.ones(1, 1, patch_size, patch_size), stride)[0, :, 0]
    first, second = (torch.autograd.grad(tokens[n], image, retain_graph=True)[0] > 0 for n in (0, 1))
    return len(tokens), (first & second)[0, 0, 0].nonzero()[:, 0].tolist()


def _part(function: Any, index: int) -> Any:
    if not callable(function):
        return function

    def part(*arguments: Any) -> Any:
        result = function(*arguments)
        if result is None:
            return None
        if not isinstance(result, tuple) or len(result) != 2:
            raise unfit(result, "a pair (number of patches, shared columns)")
        return result[index]

    return part


OVERLAP_COUNT_MISTAKES = {
    "you forget the first patch: there is one more than there are steps": (
        lambda size, patch, stride: (size[0] - patch) // stride * ((size[1] - patch) // stride)
    ),
    "you add the first patch once; each side has one more than it has steps": (
        lambda size, patch, stride: (size[0] - patch) // stride * ((size[1] - patch) // stride) + 1
    ),
    "you count as many patches as strides fit into a side, but the last patches would stick out": (
        lambda size, patch, stride: size[0] // stride * (size[1] // stride)
    ),
    "you count patches that do not overlap: the step is stride, not patch_size": (
        lambda size, patch, stride: size[0] // patch * (size[1] // patch)
    ),
    "you take the image for square": (lambda size, patch, stride: ((size[0] - patch) // stride + 1) ** 2),
    "you count one row of patches, not all of them": (
        lambda size, patch, stride: (size[1] - patch) // stride + 1
    ),
}
OVERLAP_SHARED_MISTAKES = {
    "as many columns as they share, but not these: the second patch begins at column `stride`": (
        lambda size, patch, stride: range(patch - stride)
    ),
    "one column too many: column `patch_size` is behind the first patch": (
        lambda size, patch, stride: range(stride, patch + 1)
    ),
    "these are the columns that the two patches do not share": lambda size, patch, stride: range(stride),
    "this is where they begin and where they stop; give all of them, as a range": (
        lambda size, patch, stride: (stride, patch)
    ),
    "this is the first and the last of them; give all of them, as a range": (
        lambda size, patch, stride: (stride, patch - 1)
    ),
    "this is how many columns they share; say which": lambda size, patch, stride: patch - stride,
}
