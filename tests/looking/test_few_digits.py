"""Curves over how many images were learned from: means, and every draw."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from vit_steps.looking.few_digits import plot_by_count


@pytest.fixture
def ax():
    figure, ax = plt.subplots()
    yield ax
    figure.canvas.draw()
    plt.close(figure)


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
