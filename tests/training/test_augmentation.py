"""Affine maps are what they say."""

import numpy as np
import pytest
import torch

from vit_steps.training import (
    random_affine,
)


def cubic(distance: float) -> float:
    """Keys' cubic convolution (1981) with a = -0.75, the one that torch takes."""
    t, a = abs(distance), -0.75
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0


def linear(distance: float) -> float:
    return max(0.0, 1 - abs(distance))


def sample(image: np.ndarray, row: float, column: float, kernel) -> float:
    """Read between the pixels, black outside; pixel (0, 0) has its centre at 0, 0."""
    total = 0.0
    for r, c in np.ndindex(image.shape):
        total += image[r, c] * kernel(row - r) * kernel(column - c)
    return total


@pytest.mark.parametrize(("interpolation", "kernel"), [("bicubic", cubic), ("bilinear", linear)])
def test_affine_maps_are_what_they_say_pixel_by_pixel(interpolation, kernel):
    images = torch.rand(3, 2, 5, 8, dtype=torch.float64)
    options = {} if interpolation == "bicubic" else {"interpolation": interpolation}
    moved = random_affine(images, 0.3, generator=torch.Generator().manual_seed(4), **options)
    noise = 0.3 * (2 * torch.rand(3, 2, 3, generator=torch.Generator().manual_seed(4)) - 1)
    for place in np.ndindex(3, 2, 5, 8):
        number, channel, row, column = place
        (a, b, c), (d, e, f) = (torch.eye(2, 3) + noise[number]).tolist()
        across, down = (2 * column + 1) / 8 - 1, (2 * row + 1) / 5 - 1
        from_column = ((a * across + b * down + c + 1) * 8 - 1) / 2
        from_row = ((d * across + e * down + f + 1) * 5 - 1) / 2
        expected = sample(images[number, channel].numpy(), from_row, from_column, kernel)
        expected = min(max(expected, images.min().item()), images.max().item())
        assert moved[place].item() == pytest.approx(expected, abs=1e-6)


def test_no_strength_is_no_change_and_each_image_is_moved_its_own_way():
    images = torch.rand(1, 1, 8, 8).expand(4, 1, 8, 8)
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(random_affine(images, 0.0, generator=generator), images)
    moved = random_affine(images, 0.1, generator=generator)
    assert len({image.numpy().tobytes() for image in moved}) == 4
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert not torch.equal(moved, random_affine(images, 0.1, generator=generator))
