"""Marks stand at the mean of their tries, and bars are one standard deviation long."""

import statistics

import numpy as np
import pytest
import torch

from vit_steps.looking.spread import plot_by_count, plot_draws, plot_spread

TRIES = {
    "none": {"in place": [70.0, 74.0, 75.5], "$5 a shuffle": [70.0]},
    "learned": {"in place": torch.tensor([96.0, 97.0]), "$5 a shuffle": [44.0, 43.0, 46.5]},
}


def test_marks_are_means_and_bars_standard_deviations(ax):
    artists = plot_spread(TRIES, ax, ylabel="percent", title="a title")
    for artist, found in zip(artists, TRIES.values(), strict=True):
        heights = [statistics.mean(map(float, tries)) for tries in found.values()]
        spreads = [statistics.stdev(map(float, tries)) if len(tries) > 1 else 0 for tries in found.values()]
        marks, _, (bars,) = artist
        np.testing.assert_allclose(np.asarray(marks.get_ydata(), float), heights)
        lengths = [float(segment[1][1] - segment[0][1]) for segment in bars.get_segments()]
        np.testing.assert_allclose(lengths, [2 * spread for spread in spreads], atol=1e-5)
    assert ax.get_ylabel() == "percent"


def test_series_differ_by_marker_and_place_and_groups_have_names(ax):
    artists = plot_spread(TRIES, ax, ylabel="percent")
    marks = [artist[0] for artist in artists]
    assert len({mark.get_marker() for mark in marks}) == len(TRIES)
    assert [text.get_text() for text in ax.get_xticklabels()] == ["in place", "$5 a shuffle"]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [*TRIES]
    for group in range(2):
        places = [mark.get_xdata()[group] for mark in marks]
        assert places == sorted(set(places))
        assert abs(np.mean(places) - group) < 1e-9


@pytest.mark.parametrize(
    ("values", "error", "words"),
    [
        ({}, ValueError, "values is empty"),
        ({"a": [1.0]}, TypeError, r"values\['a'\] must hold numbers by group, got \[1.0\]"),
        ({"a": {"x": [1.0]}, "b": {"y": [1.0]}}, ValueError, r"values\['b'\] has the groups \['y'\], values"),
        ({"a": {"x": [float("nan")]}}, ValueError, r"values\['a'\]\['x'\] holds NaN or infinity"),
        (None, TypeError, "values must be a Mapping, not NoneType"),
    ],
)
def test_what_is_no_table_of_tries_is_refused(ax, values, error, words):
    with pytest.raises(error, match=words):
        plot_spread(values, ax, ylabel="percent")


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
