"""The Python half of the likeness picker: what it sends, what it stores, what its door says."""

from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image

from vit_steps.looking.widgets import likeness_picker

PHOTO = torch.rand(1, 3, 8, 12)


def sent_cosines(picker):
    """Of what is sent, as a reader of the docstring would compute them: (images, maps, patches, patches)."""
    number, tokens = len(picker.names), picker.tokens
    shape = (number, len(picker.pictures), tokens, -1)
    vectors = np.frombuffer(picker.table, dtype="<i2").astype(float).reshape(shape)
    lengths = np.sqrt((vectors**2).sum(axis=-1))
    return np.einsum("mbik,mbjk->bmij", vectors, vectors) / np.einsum("mbi,mbj->bmij", lengths, lengths)


def cosine(one, other):
    return (one @ other / (one @ one).sqrt() / (other @ other).sqrt()).item()


def test_the_components_are_sent_and_not_the_table():
    tokens, control = torch.randn(2, 24, 5), 100 * torch.randn(2, 24, 3) + 40
    picker = likeness_picker(torch.rand(2, 3, 16, 24), tokens, (4, 6), control=control)
    assert len(picker.table) == 2 * 2 * 24 * 5 * 2
    found = sent_cosines(picker)
    for (image, map_, one, other), sent in np.ndenumerate(found):
        vectors = (tokens, control)[map_][image].double()
        assert abs(sent - cosine(vectors[one], vectors[other])) < 1e-4
    np.testing.assert_allclose([least for least, _ in picker.limits], found.min(axis=(1, 2, 3)), atol=1e-4)
    assert [most for _, most in picker.limits] == [1, 1]


def test_the_prefix_has_no_part_in_a_likeness():
    images, tokens = torch.rand(2, 1, 16, 24), torch.randn(2, 3 + 24, 5)
    given = likeness_picker(images, tokens, (4, 6), num_prefix=3)
    assert given.table == likeness_picker(images, tokens[:, 3:], (4, 6)).table
    assert given.tokens == 24


def test_the_words_name_the_most_alike_beyond_the_neighbours():
    tokens = torch.eye(24)[None] + 0.01
    place, neighbour, far = 2 * 6 + 3, 2 * 6 + 4, 0 * 6 + 5
    tokens[0, neighbour], tokens[0, far, place] = tokens[0, place], 0.5
    images = torch.rand(1, 3, 16, 24)
    picker = likeness_picker(images, tokens, (4, 6), labels=["a cat"], place_in_grid=(3, 4))
    assert picker.query == place
    for words in ("a cat", "row 3, column 4", "beyond its neighbours, most in row 1, column 6"):
        assert words in picker.alt
    assert likeness_picker(images, tokens, (4, 6)).query == place, "the patch in the middle"
    assert "most in row 1, column 1" in likeness_picker(images[..., :4, :4], tokens[:, :1], (1, 1)).alt


def test_a_token_of_zeros_is_like_nobody():
    tokens = torch.randn(1, 24, 5)
    tokens[0, 7] = 0
    picker = likeness_picker(torch.rand(1, 3, 16, 24), tokens, (4, 6))
    sent = np.frombuffer(picker.table, dtype="<i2").reshape(24, 5)
    assert not sent[7].any()
    assert np.isfinite(picker.limits).all()


def test_a_photograph_is_sent_small_and_looks_the_same():
    ramp = torch.linspace(0, 1, 448).expand(1, 3, 448, 448)
    (sent,) = likeness_picker(ramp, torch.randn(1, 16, 3), (4, 4)).pictures
    assert len(sent) < 20_000
    assert abs(np.asarray(Image.open(BytesIO(sent))) / 255 - ramp[0].permute(1, 2, 0).numpy()).max() < 0.02


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: likeness_picker(PHOTO, torch.rand(1, 7, 2), (2, 3)),
            r"tokens tokens 7 is not num_prefix 0 \+ grid rows 2 \* grid cols 3 = 6: the CLS token and",
        ),
        (
            lambda: likeness_picker(PHOTO, torch.rand(1, 6, 2), (2, 3), place_in_grid=(3, 1)),
            "place_in_grid rows 3 is more than grid rows 2",
        ),
        (
            lambda: likeness_picker(PHOTO, torch.rand(1, 6, 2), (2, 3), control=torch.rand(1, 5, 2)),
            "tokens has tokens 6, control has tokens 5",
        ),
        (
            lambda: likeness_picker(PHOTO, torch.rand(1, 6, 2) / 0, (2, 3)),
            "tokens holds NaN or infinity",
        ),
    ],
)
def test_a_bad_value_is_named(call, message, doors_only):
    with pytest.raises(ValueError, match=message):
        call()
