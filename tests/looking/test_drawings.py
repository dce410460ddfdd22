"""Dots for draws, a map alone, and a block as a drawing."""

import numpy as np
import pytest

from vit_steps.looking.drawings import plot_block, plot_by_count, plot_draws, plot_map


def test_every_draw_is_a_dot_and_the_bar_is_their_mean(ax):
    draws = {"whole": [0.9, 0.8, 1.0], "$half": [0.1, 0.5, 0.3]}
    artists = plot_draws(draws, ax, xlabel="accuracy", title="two")
    for place, (numbers, dots) in enumerate(zip(draws.values(), artists, strict=True)):
        assert np.allclose(dots.get_xydata(), [(number, place) for number in numbers])
    bars = [line for line in ax.lines if line not in artists]
    assert [bar.get_xdata()[0] for bar in bars] == pytest.approx([0.9, 0.3])
    assert [label.get_text() for label in ax.get_yticklabels()] == ["whole", "$half"]
    assert ax.yaxis_inverted()


def test_draws_of_two_lengths_are_refused(ax):
    with pytest.raises(ValueError, match=r"draws must hold curves of one length, got \[1, 2\]"):
        plot_draws({"a": [1.0], "b": [1.0, 2.0]}, ax, xlabel="accuracy")


def test_the_parts_of_a_block_stand_in_the_order_they_run(ax):
    boxes = plot_block(ax)
    places = [box.get_x() for box in boxes]
    assert places == sorted(places)
    upright = [text for text in ax.texts if text.get_style() == "normal"]
    inside = {round(text.get_position()[0], 3): text.get_text() for text in upright}
    middles = [round(box.get_x() + box.get_width() / 2, 3) for box in boxes]
    assert [inside[middle] for middle in middles] == ["norm", "attention", "norm", "MLP"]
    assert [box.get_linewidth() > 1 for box in boxes] == [False, True, False, False]


def test_a_map_is_drawn_as_it_is_from_zero_to_the_limit(ax):
    weights = np.random.default_rng(0).random((2, 3))
    artist = plot_map(weights, ax, title="seed 3", limit=2.0)
    assert np.array_equal(artist.get_array(), weights)
    assert artist.get_clim() == (0, 2)
    assert plot_map(weights, ax).get_clim() == (0, weights.max())


def test_a_line_goes_through_the_means_and_every_draw_is_a_dot(ax):
    draws = {"a": [[0.5, 0.7], [0.8, 0.9], [1.0, 0.9]], "b": np.full((3, 2), 0.25)}
    lines = plot_by_count([50, 200, 1257], draws, ax, title="two")
    assert np.allclose(lines[0].get_xydata(), [(50, 60), (200, 85), (1257, 95)])
    assert np.allclose(lines[1].get_ydata(), 25)
    dots = {
        point for line in ax.lines if line not in lines for point in map(tuple, line.get_xydata().round(6))
    }
    assert {(50, 50), (50, 70), (200, 80), (200, 90), (1257, 100), (1257, 90)} <= dots
    assert [label.get_text() for label in ax.get_xticklabels()] == ["50", "200", "1,257"]


def test_lines_differ_in_more_than_colour(ax):
    lines = plot_by_count([1, 2], {name: [[0.5], [0.6]] for name in "abcd"}, ax)
    assert len({(line.get_marker(), line.get_linestyle()) for line in lines}) == 4


def test_rows_that_are_not_there_are_named(ax):
    with pytest.raises(ValueError, match=r"draws\['a'\] has 2 rows, there are 3 counts"):
        plot_by_count([1, 2, 3], {"a": [[0.5], [0.6]]}, ax)
    with pytest.raises(ValueError, match=r"draws\['a'\] must hold values in \[0, 1\]"):
        plot_by_count([1, 2], {"a": [[0.5], [60.0]]}, ax)
