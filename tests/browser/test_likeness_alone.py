"""The likeness picker in a page of its own: its cosines are Python's, by mouse and by key."""

import lab_driver
import numpy as np
import pytest
import torch
from matplotlib import colormaps
from test_widgets_alone import Said, drawn, press, sentence, show

from vit_steps.looking.widgets import likeness_picker

if lab_driver.missing():
    pytest.skip(lab_driver.missing(), allow_module_level=True)

GRID, LABELS = (4, 6), ["cat", "dog"]


@pytest.fixture(scope="module")
def tokens():
    """Of a model in half precision, and of a control whose tokens are nearly alike."""
    generator = torch.Generator().manual_seed(0)
    control = 5 + torch.randn(2, 24, 3, generator=generator)
    return torch.randn(2, 24, 7, generator=generator).half(), control


@pytest.fixture
def picker(page, tokens):
    images = torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    show(page, likeness_picker(images, tokens[0], GRID, control=tokens[1], labels=LABELS))
    yield page
    assert not page.complaints


def cosines(tokens, image, place):
    vectors = [each[image].double() for each in tokens]
    return [each @ each[place] / (each.norm(dim=1) * each[place].norm()) for each in vectors]


def expected(tokens, image, place):
    row, col = divmod(place, GRID[1])
    far = [each for each in range(24) if max(abs(each // 6 - row), abs(each % 6 - col)) > 1]
    lines = [f"The patch in row {row + 1}, column {col + 1} (image {LABELS[image]}) is most like"]
    for name, alike in zip(("in the model", "in the control"), cosines(tokens, image, place), strict=True):
        best = sorted(far, key=lambda each, alike=alike: -alike[each])[:3]
        words = [f"row {each // 6 + 1}, column {each % 6 + 1} ({alike[each]:.2f})" for each in best]
        lines.append(f"{name}: {'; '.join(words)}")
    return Said("\n".join(lines))


def test_keys_walk_and_each_place_is_told_with_pythons_cosines(picker, tokens):
    assert sentence(picker) == expected(tokens, 0, 2 * 6 + 3)
    picker.locator(".vit-steps-stage").focus()
    for keys, place in (("ArrowUp", 9), ("ArrowLeft ArrowLeft", 7), ("ArrowDown " * 5, 19), ("c", 19)):
        press(picker, keys)
        assert sentence(picker) == expected(tokens, 0, place)


def test_pointing_looks_clicking_stays_and_another_picture_is_chosen(picker, tokens):
    box = picker.locator("canvas").nth(1).bounding_box()
    side = box["width"] / GRID[1]
    middle = lambda place: (box["x"] + (place % 6 + 0.5) * side, box["y"] + (place // 6 + 0.5) * side)  # noqa: E731
    picker.mouse.move(*middle(22))
    assert sentence(picker) == expected(tokens, 0, 22)
    picker.mouse.click(*middle(4))
    picker.mouse.move(*middle(11))
    picker.mouse.move(1, 1)
    assert sentence(picker) == expected(tokens, 0, 4)
    before = drawn(picker, 0)
    picker.get_by_label("image").select_option("dog")
    assert sentence(picker) == expected(tokens, 1, 4)
    assert (drawn(picker, 0) != before).any()


def test_both_maps_are_drawn_on_one_scale_in_cividis(picker, tokens):
    all_pairs = torch.cat([torch.stack(cosines(tokens, 0, place)) for place in range(24)])
    for view, alike in enumerate(cosines(tokens, 0, 15), start=1):
        pixels = drawn(picker, view)
        side = pixels.shape[1] // GRID[1]
        shades = (alike - all_pairs.min()) / (1 - all_pairs.min())
        wanted = 255 * colormaps["cividis"]((255 * shades).round().int().numpy())[:, :3]
        for place in set(range(24)) - {15}:  # the frame is there
            row, col = divmod(place, GRID[1])
            found = pixels[row * side + side // 2, col * side + side // 2]
            np.testing.assert_allclose(found, wanted[place], atol=3)
    scales = [scale.inner_text().split("\n") for scale in picker.locator(".vit-steps-scale").all()]
    assert scales == [[f"{all_pairs.min():.2f}", "1.00"]] * 2


def test_a_photograph_of_many_small_patches_is_drawn_where_its_patches_are(page):
    """32 × 32 patches: no lines hide them, and the frame stands around the patch and not on it."""
    images = torch.zeros(1, 3, 448, 448)
    images[..., 14 * 20 : 14 * 21, 14 * 5 : 14 * 6] = 1
    tokens = torch.tensor([[1.0, 0.0]]).repeat(1, 1024, 1)
    tokens[0, 20 * 32 + 5] = torch.tensor([0.0, 1.0])
    show(page, likeness_picker(images, tokens, (32, 32), place_in_grid=(21, 6)))
    picture, alike = drawn(page, 0), drawn(page, 1)
    assert picture.shape == alike.shape == (256, 256, 3)
    assert picture[20 * 8 + 4, 5 * 8 + 4].min() > 200
    assert picture[20 * 8 + 4, 9 * 8 + 4].max() < 50
    bright, dark = (255 * np.array(colormaps["cividis"](end)[:3]) for end in (255, 0))
    np.testing.assert_allclose(alike[20 * 8 + 4, 5 * 8 + 4], bright, atol=2)
    np.testing.assert_allclose(alike[20 * 8 + 4, 9 * 8 + 4], dark, atol=2)
