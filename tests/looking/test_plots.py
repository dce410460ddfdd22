"""Plots draw the numbers they are given, into the ax they are given, and nowhere else."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from vit_steps.looking import plots
from vit_steps.patch_embedding import image2patches


def shown(artist) -> np.ndarray:
    return np.ma.filled(artist.get_array(), np.nan)


def test_an_image_is_drawn_channels_last(ax):
    image = torch.rand(3, 4, 6)
    assert np.array_equal(shown(plots.plot_image(image, ax, title="a")), image.permute(1, 2, 0))
    assert ax.get_title(loc="left") == "a" or ax.get_title() == "a"


def test_a_grey_image_keeps_its_scale(ax):
    artist = plots.plot_image(torch.full((1, 2, 3), 0.25), ax)
    assert shown(artist).shape == (2, 3)
    assert artist.get_clim() == (0, 1)


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (torch.zeros(2, 4, 4), "image channels must be one of 1, 3, got 2"),
        (torch.zeros(4, 4), r"image must have the axes \(channels height width\), got shape \(4, 4\)"),
        (torch.zeros(1, 3, 4, 4), "image must have the axes"),
        (torch.tensor([[[-2.1, 2.6]]]), r"image must hold values in \[0, 1\], got -2.1 to 2.6"),
    ],
)
def test_what_is_no_picture_is_refused(ax, image, words):
    with pytest.raises(ValueError, match=words):
        plots.plot_image(image, ax)


def test_the_grid_is_cut_where_the_patches_are(ax):
    _, lines = plots.plot_grid(torch.rand(3, 8, 12), 4, ax)
    segments = [np.asarray(segment) for segment in lines.get_segments()]
    assert sorted({s[0, 1] for s in segments if s[0, 1] == s[1, 1]}) == [-0.5, 3.5, 7.5]
    assert sorted({s[0, 0] for s in segments if s[0, 0] == s[1, 0]}) == [-0.5, 3.5, 7.5, 11.5]


def test_tiles_stand_in_reading_order_with_white_between(ax):
    image = torch.rand(1, 3, 8, 12)
    tiles = image2patches(image, 4)[0].unflatten(1, (3, 4, 4))
    drawn = shown(plots.plot_tiles(tiles, ax, per_row=3, gap=2))
    assert drawn.shape == (10, 16, 3)
    for number, tile in enumerate(tiles):
        top, left = 6 * (number // 3), 6 * (number % 3)
        assert np.allclose(drawn[top : top + 4, left : left + 4], tile.permute(1, 2, 0))
    assert (drawn[4:6] == 1).all()


def test_a_last_row_that_is_not_full_is_filled_with_white(ax):
    drawn = shown(plots.plot_tiles(np.zeros((5, 1, 2, 2)), ax, per_row=3, gap=1))
    assert drawn.shape == (5, 8)
    assert (drawn[3:, 6:] == 1).all()


def test_kernels_are_grey_at_zero_and_scaled_each_by_itself(ax):
    kernels = torch.zeros(2, 1, 2, 2)
    kernels[0, 0, 0, 0], kernels[1, 0, 1, 1] = 5.0, -0.1
    drawn = shown(plots.plot_kernels(kernels, ax, per_row=2))
    assert drawn[0, 0] == 1
    assert drawn[1, 4] == 0
    assert drawn[1, 1] == 0.5


def test_kernels_that_are_all_zero_are_grey(ax):
    assert (shown(plots.plot_kernels(np.zeros((1, 3, 2, 2)), ax, per_row=1)) == 0.5).all()


def test_every_number_is_written_in_its_place(ax):
    texts = plots.plot_numbers(torch.arange(6).reshape(2, 3), ax, highlight=(slice(0, 1), slice(1, 3)))
    assert {text.get_position(): text.get_text() for text in texts}[(2, 1)] == "5"
    frame = ax.patches[0]
    assert (frame.get_xy(), frame.get_width(), frame.get_height()) == ((0.5, -0.5), 2, 1)


def test_cost_counts_the_cls_token(ax):
    tokens, pairs = plots.plot_cost([32, 16], 224, ax)
    assert tokens.get_ydata().tolist() == [50, 197]
    assert pairs.get_ydata().tolist() == [2500, 38809]


def test_the_work_of_a_block_grows_with_the_tokens_while_they_are_few_and_with_the_pairs_later(ax):
    # 12 T D² for the matrices of a block and 2 T² D for its pairs: at T = 6 D they are the same.
    for dim, wanted in ((10**7, 785 / 197), (1, (785 / 197) ** 2), (768, 4.47)):
        *_, work = plots.plot_cost([16, 8], 224, ax, dim=dim)
        assert work.get_ydata()[1] / work.get_ydata()[0] == pytest.approx(wanted, rel=0.03)


def test_with_a_limit_a_number_has_one_colour_in_two_matrices(ax):
    plots.plot_numbers([[1, 7]], ax, limit=9.0)
    plots.plot_numbers([[7, 9]], ax, limit=9.0)
    first, second = ax.images
    assert first.get_clim() == second.get_clim() == (0, 9)


def test_a_histogram_counts_every_difference(ax):
    bars = plots.plot_differences(torch.randn(3, 7), ax)
    assert sum(bar.get_height() for bar in bars) == 21


def test_the_token_matrix_frames_the_cls_row_and_is_centred_on_zero(ax):
    tokens = torch.randn(5, 8)
    artist = plots.plot_tokens(tokens, ax)
    assert np.allclose(shown(artist), tokens)
    assert artist.get_clim()[0] == -artist.get_clim()[1]
    assert (ax.patches[0].get_xy(), ax.patches[0].get_width()) == ((-0.5, -0.5), 8)
    assert ax.patches[0].get_height() == 1


@pytest.mark.parametrize(("num_prefix", "heights"), [(0, []), (5, [5])])
def test_the_frame_of_tokens_is_around_the_whole_prefix(ax, num_prefix, heights):
    plots.plot_tokens(torch.randn(6, 8), ax, num_prefix=num_prefix)
    assert [frame.get_height() for frame in ax.patches] == heights


def test_similarity_is_a_grid_of_grids(ax):
    similarity = torch.rand(6, 6)
    drawn = shown(plots.plot_similarity(similarity, (2, 3), ax))
    assert drawn.shape == (5, 11)
    for place in range(6):
        top, left = 3 * (place // 3), 4 * (place % 3)
        assert np.allclose(drawn[top : top + 2, left : left + 3], similarity[place].reshape(2, 3))
    assert np.isnan(drawn[2]).all()


def test_weights_have_queries_down_and_keys_across(ax):
    weights = torch.rand(2, 3)
    assert np.allclose(shown(plots.plot_weights(weights, ax)), weights)
    assert "query" in ax.get_ylabel()


def test_names_stand_on_both_axes(ax):
    plots.plot_weights(torch.rand(2, 2), ax, names=["CLS", "ear"])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["CLS", "ear"]


def test_an_attention_map_covers_its_picture(ax):
    artist = plots.plot_attention(torch.rand(2, 3), torch.rand(3, 8, 12), ax)
    assert artist.get_extent() == [-0.5, 11.5, 7.5, -0.5]
    assert artist.get_alpha() < 1


def test_maps_with_one_limit_can_be_compared(ax):
    assert plots.plot_attention(torch.rand(2, 2), torch.rand(1, 4, 4), ax, limit=0.5).get_clim() == (0, 0.5)


def test_a_deletion_curve_has_its_standard_error_around_it(ax):
    (line,) = plots.plot_deletion({"random": torch.tensor([1.0, 0.5, 0.1])}, 100, ax)
    assert line.get_ydata().tolist() == pytest.approx([1.0, 0.5, 0.1])
    assert line.get_label() == "random"
    band = ax.collections[0].get_paths()[0].vertices
    assert sorted(set(band[band[:, 0] == 1, 1])) == pytest.approx([0.45, 0.55])


def test_no_line_is_left_out_however_many_there_are(ax):
    many = {f"model {number}": [0.5, 0.25] for number in range(9)}
    assert len(plots.plot_deletion(many, 100, ax)) == len(plots.plot_by_layer(many, ax, ylabel="share")) == 9


def test_lines_by_layer_differ_in_more_than_colour(ax):
    lines = plots.plot_by_layer({"trained": [1, 2, 3], "untrained": [1, 1, 1]}, ax, ylabel="distance")
    assert [line.get_ydata().tolist() for line in lines] == [[1, 2, 3], [1, 1, 1]]
    assert len({(line.get_marker(), line.get_linestyle()) for line in lines}) == 2
    assert (ax.get_xlabel(), ax.get_xticks().tolist()) == ("blocks passed", [0, 1, 2])


def test_scores_are_bars_the_first_on_top(ax):
    bars = plots.plot_scores([("cat", 0.7), ("dog", 0.2)], ax)
    assert [bar.get_width() for bar in bars] == [0.7, 0.2]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["cat", "dog"]
    assert ax.yaxis_inverted()


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax, name: plots.plot_scores([(name, 0.7), ("dog", 0.2)], ax),
        lambda ax, name: plots.plot_weights(torch.rand(2, 2), ax, names=[name, "dog"]),
        lambda ax, name: plots.plot_embeddings(torch.rand(2, 2), [name, "dog"], ax),
    ],
)
@pytest.mark.parametrize("name", ["$5 or $6", r"$\no{such}$", "<script>&amp;</script>"])
def test_a_class_may_have_any_name(ax, draw, name):
    draw(ax, name)
    ax.figure.draw_without_rendering()
    drawn = [*ax.get_yticklabels(), *ax.texts]
    assert name in [text.get_text() for text in drawn]
    assert not any(text.get_parse_math() for text in drawn if text.get_text() == name)


def test_embeddings_are_marked_by_class_and_not_by_colour_alone(ax):
    points, labels = torch.randn(100, 2), torch.arange(10).repeat(10)
    artists = plots.plot_embeddings(points, labels, ax)
    outlines = set()
    for label, artist in enumerate(artists):
        assert np.allclose(artist.get_offsets(), points[labels == label])
        outlines.add(artist.get_paths()[0].vertices.tobytes())
    assert len(outlines) == 10
    assert [text.get_text() for text in ax.texts] == [str(digit) for digit in range(10)]
    assert np.allclose(ax.texts[1].get_position(), np.median(points[labels == 1], axis=0))


def test_history_has_loss_left_and_accuracy_right(ax):
    loss, accuracy = plots.plot_history(SimpleNamespace(loss=[2.0, 1.0], valid_accuracy=[0.5, 0.9]), ax)
    assert loss.get_ydata().tolist() == [2.0, 1.0]
    assert accuracy.get_ydata().tolist() == [0.5, 0.9]
    assert loss.axes is ax
    assert accuracy.axes is not ax
    assert loss.get_xdata().tolist() == [1, 2]


def test_a_history_without_validation_has_one_line_and_one_axis(ax):
    (loss,) = plots.plot_history(SimpleNamespace(loss=[2.0, 1.0], valid_accuracy=[]), ax)
    assert loss.get_ydata().tolist() == [2.0, 1.0]
    assert ax.figure.axes == [ax]


@pytest.mark.parametrize(
    ("draw", "error", "words"),
    [
        (
            lambda ax: plots.plot_weights(torch.rand(2, 2), ax, names="ab"),
            TypeError,
            "a list of names, not str",
        ),
        (
            lambda ax: plots.plot_weights(torch.rand(2, 3), ax, names=["a", "b"]),
            ValueError,
            r"names holds 2 names, weights has shape \(2, 3\)",
        ),
        (
            lambda ax: plots.plot_deletion({"random": [0.5, 1.25]}, 10, ax),
            ValueError,
            r"curves\['random'\] must hold values in \[0, 1\], got 0.5 to 1.25",
        ),
        (
            lambda ax: plots.plot_deletion({"random": [-0.5, 1.0]}, 10, ax),
            ValueError,
            r"curves\['random'\] must hold values in \[0, 1\], got -0.5 to 1",
        ),
        (
            lambda ax: plots.plot_embeddings(torch.rand(4, 3), torch.arange(4), ax),
            ValueError,
            r"points must .* got shape \(4, 3\)",
        ),
        (
            lambda ax: plots.plot_embeddings(torch.rand(4, 2), torch.arange(3), ax),
            ValueError,
            r"labels has shape \(3,\), there are 4 points",
        ),
        (
            lambda ax: plots.plot_image([[1.0], [1.0, 2.0]], ax),
            TypeError,
            "image cannot be read as an array",
        ),
    ],
)
def test_what_cannot_be_drawn_is_refused_by_name(ax, draw, error, words):
    with pytest.raises(error, match=words):
        draw(ax)


def test_a_map_is_drawn_as_it_is_from_zero_to_the_limit(ax):
    weights = np.random.default_rng(0).random((2, 3))
    artist = plots.plot_map(weights, ax, title="seed 3", limit=2.0)
    assert np.array_equal(artist.get_array(), weights)
    assert artist.get_clim() == (0, 2)
    assert plots.plot_map(weights, ax).get_clim() == (0, weights.max())
