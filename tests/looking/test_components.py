"""Tokens in colours, against scikit-learn's principal components."""

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA

from vit_steps.looking.components import token_colours


@pytest.mark.parametrize(("grid", "dim"), [((3, 5), 4), ((8, 2), 30), ((1, 40), 3)])
def test_colours_are_two_principal_components(grid, dim):
    tokens = torch.randn(grid[0] * grid[1], dim, generator=torch.Generator().manual_seed(dim)).double()
    colours = token_colours(tokens, grid)
    assert colours.shape == (*grid, 3)
    pca = PCA(2, svd_solver="full").fit(tokens.numpy())
    largest = np.take_along_axis(pca.components_, abs(pca.components_).argmax(axis=1, keepdims=True), axis=1)
    parts = pca.transform(tokens.numpy()) * np.sign(largest).T
    low, high = np.quantile(parts, [0.01, 0.99], axis=0)
    yellow, blue = np.clip((parts - low) / (high - low), 0, 1).T.reshape(2, *grid)
    np.testing.assert_allclose(colours.numpy(), np.stack([yellow, yellow, blue], axis=-1), atol=1e-9)


def test_what_does_not_differ_has_one_colour_and_no_nan():
    colours = token_colours(torch.ones(6, 4), (2, 3))
    assert torch.equal(colours, torch.zeros(2, 3, 3))


def test_tokens_that_do_not_fill_the_grid_are_refused():
    with pytest.raises(ValueError, match=r"grid rows 3 \* grid cols 5 = 15 is not tokens patches 16"):
        token_colours(torch.randn(16, 4), (3, 5))
