"""Marks stand at the mean of their tries, and bars are one standard deviation long."""

import statistics

import numpy as np
import pytest
import torch

from vit_steps.looking.spread import plot_spread

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
