"""The growing drawing holds the numbers of the trace, and grows by one step at a time."""

import numpy as np
import pytest
import torch
from matplotlib import pyplot as plt

from vit_steps import ViT
from vit_steps.looking.the_way import LIT, STEPS, plot_the_way

SIZES = {"patch_size": 2, "dim": 12, "depth": 3, "num_heads": 2, "mlp_dim": 24, "num_classes": 4}
UNCUT = "they cannot be cut into the 6 square patches of trace"


def way(channels=1, height=4, width=6, **changed):
    """An image and the trace of a model whose parameters are all perturbed."""
    torch.manual_seed(1)
    model = ViT(image_size=(height, width), channels=channels, **SIZES | changed)
    for parameter in model.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape)
    image = torch.rand(1, channels, height, width)
    return image[0], model.trace(image)


def words(ax) -> str:
    return " ".join(text.get_text().replace("\n", " ") for text in ax.texts)


def pictures(ax) -> list[np.ndarray]:
    return [np.asarray(image.get_array()) for image in ax.images]


def is_drawn(ax, wanted) -> bool:
    wanted = np.asarray(wanted.detach())
    return any(each.shape == wanted.shape and np.allclose(each, wanted, atol=1e-6) for each in pictures(ax))


@pytest.mark.parametrize("lit", range(1, 6))
def test_one_band_is_lit_and_every_step_is_named(ax, lit):
    bands = plot_the_way(*way(), ax, lit=lit)[:5]
    yellow = plt.matplotlib.colors.to_rgba(LIT)
    assert [band.get_facecolor() == yellow for band in bands] == [step == lit for step in range(1, 6)]
    assert all(name.replace("\n", " ") in words(ax) for name in STEPS)


@pytest.mark.parametrize("lit", range(1, 6))
def test_it_is_drawn_as_far_as_the_lit_step_and_no_further(ax, lit):
    image, trace = way()
    plot_the_way(image, trace, ax, lit=lit)
    assert is_drawn(ax, image[0])
    stations = [trace.patches, trace.with_cls, trace.with_position, trace.encoded, trace.encoded[:, :1]]
    for step, tokens in enumerate(stations, start=1):
        assert is_drawn(ax, tokens[0].T) == (step <= lit), step
    assert (f"answer {trace.logits.argmax()}" in words(ax)) == (lit == 5)
    assert ("block 3" in words(ax)) == (lit >= 4)


def test_the_patches_lie_in_reading_order_each_above_its_token(ax):
    image, trace = way(channels=3)
    plot_the_way(image, trace, ax, lit=1)
    tiles = [each for each in ax.images if np.asarray(each.get_array()).shape == (2, 2, 3)]
    assert len(tiles) == 6
    lefts = [tile.get_extent()[0] for tile in tiles]
    assert lefts == sorted(lefts)
    for number, tile in enumerate(tiles):
        top, left = 2 * (number // 3), 2 * (number % 3)
        np.testing.assert_allclose(
            tile.get_array(), image[:, top : top + 2, left : left + 2].permute(1, 2, 0)
        )
    (tokens,) = (each for each in ax.images if np.asarray(each.get_array()).shape == (12, 6))
    first, last, *_ = tokens.get_extent()
    column = (last - first) / 6
    middles = [(tile.get_extent()[0] + tile.get_extent()[1]) / 2 for tile in tiles]
    np.testing.assert_allclose(middles, first + column * (np.arange(6) + 0.5), atol=1e-9)


def test_shapes_are_said(ax):
    plot_the_way(*way(), ax, lit=5)
    for shape in (
        "in 1 × 4 × 6",
        "6 patches × 4",
        "out 6 × 12",
        "out 7 × 12",
        "3 blocks",
        "in 1 × 12",
        "out 4",
    ):
        assert shape in words(ax)


def test_the_darkest_line_is_the_largest_weight_and_leads_from_the_key_down_to_the_query(ax):
    image, trace = way()
    plot_the_way(image, trace, ax, lit=4)
    fans = [each for each in ax.collections if len(each.get_segments()) == 49]
    assert len(fans) == 3
    centres = sorted({segment[0, 0] for segment in fans[0].get_segments()})
    for fan, weights in zip(fans, trace.attention[0].mean(dim=1), strict=True):
        darkest = fan.get_segments()[int(fan.get_colors()[:, 3].argmax())]
        (up, top), (down, bottom) = darkest
        assert top < bottom  # y runs down
        query, key = divmod(int(weights.argmax()), 7)
        assert [centres.index(up), centres.index(down)] == [key, query]


def test_a_bar_is_as_long_as_its_score(ax):
    image, trace = way()
    *_, first, second, third, fourth = plot_the_way(image, trace, ax, lit=5)
    heights = np.array([-bar.get_height() for bar in (first, second, third, fourth)])
    scores = trace.logits[0].detach().numpy()
    np.testing.assert_allclose(
        heights / np.abs(heights).max(), scores / np.abs(scores).max(), atol=1e-5
    )  # float32


def test_a_picture_keeps_its_proportions(ax):
    image, trace = way(height=4, width=10)
    plot_the_way(image, trace, ax, lit=1)
    (drawn,) = (each for each in ax.images if np.asarray(each.get_array()).shape == (4, 10))
    left, right, bottom, top = drawn.get_extent()
    assert (right - left) / (bottom - top) == pytest.approx(2.5)
    assert ax.get_aspect() == 1


def test_many_patches_and_blocks_go_without_numbers(ax):
    plot_the_way(*way(height=16, width=16, depth=12), ax, lit=5)
    assert "64 patches × 4" in words(ax)
    assert "12 blocks" in words(ax)
    assert "block 1" not in words(ax)
    assert not any(text.get_text() == "33" for text in ax.texts)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (dict(lit=6), ValueError, "lit must be at most 5, got 6"),
        (dict(lit=0), ValueError, "lit must be at least 1, got 0"),
        (dict(trace={}), TypeError, "trace must be a Trace, not dict"),
        (dict(image=torch.rand(1, 4, 4)), ValueError, f"image has 4 × 4 pixels: {UNCUT}"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused(ax, doors_only, change, error, message):
    image, trace = way()
    with pytest.raises(error) as caught:
        plot_the_way(**dict(image=image, trace=trace, ax=ax, lit=1) | change)
    assert str(caught.value) == message


def test_a_batch_and_other_tokens_are_refused(ax):
    image, trace = way()
    two = trace._replace(patches=torch.rand(2, 6, 12))
    with pytest.raises(ValueError, match="trace is of 2 images: the drawing is of one"):
        plot_the_way(image, two, ax, lit=1)
    registers = trace._replace(with_cls=torch.rand(1, 11, 12))
    with pytest.raises(
        ValueError, match="trace has 6 patches and 11 tokens: the drawing has one more, the CLS"
    ):
        plot_the_way(image, registers, ax, lit=1)
    without_cls = trace._replace(with_cls=trace.patches)
    with pytest.raises(
        ValueError, match="trace has 6 patches and 6 tokens: the drawing has one more, the CLS"
    ):
        plot_the_way(image, without_cls, ax, lit=1)
    probed = trace._replace(pooling=torch.rand(1, 2, 1, 6))
    with pytest.raises(ValueError, match="trace pools by attention: the drawing reads the CLS token"):
        plot_the_way(image, probed, ax, lit=1)
