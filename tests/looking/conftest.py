"""One figure for each test of a plot."""

import matplotlib.pyplot as plt
import pytest


@pytest.fixture
def ax():
    figure, ax = plt.subplots(figsize=(9, 5.4))
    yield ax
    figure.canvas.draw()  # whatever was drawn can be rendered
    assert plt.get_fignums() == [figure.number]
    plt.close(figure)
