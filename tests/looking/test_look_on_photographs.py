# ruff: noqa: E501 (one line for each case)
"""The map lies where the model looked, to the pixel: seen by a model of which that is known by construction."""

import numpy as np
import pytest
import torch
from matplotlib import colormaps
from matplotlib.figure import Figure
from PIL import Image, ImageOps
from torch import nn

from vit_steps import ViT
from vit_steps.looking._look_figure import limits_of
from vit_steps.looking._on_photograph import half
from vit_steps.looking.look import look
from vit_steps.pretrained import Preprocess

SIDE, PATCH = 32, 8
# EXIF's number -> how a camera lays down a picture that is upright like this (EXIF 2.3, orientation).
LAID_DOWN = {
    1: lambda upright: upright,
    2: lambda upright: upright[:, ::-1],
    3: lambda upright: upright[::-1, ::-1],
    4: lambda upright: upright[::-1],
    5: lambda upright: upright.transpose(1, 0, 2),
    6: lambda upright: upright.transpose(1, 0, 2)[::-1],
    7: lambda upright: upright.transpose(1, 0, 2)[::-1, ::-1],
    8: lambda upright: upright.transpose(1, 0, 2)[:, ::-1],
}
YELLOW = np.array(colormaps["cividis"](1.0)[:3]) * 255
DARKEST = np.array(colormaps["cividis"](0.0)[:3]) * 255


def of_brightest(channels=3, **kind):
    """A ViT of one block, all of whose tokens look at the brightest patch and nowhere else."""
    sizes = dict(image_size=SIDE, patch_size=PATCH, dim=4, depth=1, num_heads=1, mlp_dim=4, num_classes=2)
    model = ViT(**sizes, channels=channels, **kind).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.patch_embed.proj.weight[0] = 1 / model.patch_embed.proj.weight[0].numel()  # the mean
        model.blocks[0].norm1 = nn.Identity()
        model.blocks[0].attn.qkv.bias[0] = 1  # each asks for brightness,
        model.blocks[0].attn.qkv.weight[4, 0] = 1e5  # and each key is its own
    return model


def preparation(channels=3, **options):
    return Preprocess(**{"size": (SIDE, SIDE), "mean": (0.0,) * channels, "std": (1.0,) * channels} | options)


def dark_but(spots, width, height):
    """A photograph with one bright spot, (left, top, right, bottom) in pixels, end not included."""
    photo = np.full((height, width, 3), 20, np.uint8)
    left, top, right, bottom = spots
    photo[top:bottom, left:right] = 250
    return photo


# width, height, the preparation, a spot, and the patch (left, top, right, bottom) that has to light up.
CASES = {
    "landscape": (96, 64, {}, (38, 22, 42, 26), (32, 16, 48, 32)),
    "portrait": (64, 96, {}, (22, 70, 26, 74), (16, 64, 32, 80)),
    "square": (32, 32, {}, (25, 1, 31, 7), (24, 0, 32, 8)),
    "squashed": (96, 64, {"squash": True}, (80, 36, 90, 44), (72, 32, 96, 48)),
    "half of it": (64, 64, {"crop_pct": 0.5}, (42, 17, 46, 22), (40, 16, 48, 24)),
    "not square": (120, 80, {"size": (32, 16), "crop_pct": 0.8}, (47, 10, 57, 20), (44, 8, 60, 24)),
    "unread": (72, 66, {"squash": True, "unread": (1, 4)}, (50, 50, 60, 60), (48, 48, 64, 64)),
    "tiny": (5, 7, {}, (1, 2, 2, 3), (1.25, 2.2272727, 2.5, 3.5)),
    "large": (960, 640, {}, (380, 220, 420, 260), (320, 160, 480, 320)),
}
every_case = pytest.mark.parametrize("case", CASES)


def seen(case, path=None, **kind):
    width, height, options, spot, patch = CASES[case]
    preprocess = preparation(**options)
    model = of_brightest(**kind)
    if preprocess.size != (SIDE, SIDE):
        model = with_size(model, preprocess.size)
    return look((model, preprocess), dark_but(spot, width, height) if path is None else path), patch


def with_size(model, size):
    other = ViT(**model.config | {"image_size": size}).eval()
    state = {name: each for name, each in model.state_dict().items() if name != "pos_embed"}
    other.blocks[0].norm1 = nn.Identity()
    other.load_state_dict(state, strict=False)
    nn.init.zeros_(other.pos_embed)
    return other


def lit_place(found):
    """Where the one patch that is lit lies, in the photograph's pixels, by the drawn artist."""
    drawn = found.plot(Figure().subplots()).map
    left, right, bottom, top = drawn.get_extent()
    numbers = drawn.get_array()
    row, col = np.unravel_index(numbers.argmax(), numbers.shape)
    high, wide = (bottom - top) / numbers.shape[0], (right - left) / numbers.shape[1]
    return left + col * wide, top + row * high, left + (col + 1) * wide, top + (row + 1) * high


@every_case
def test_the_patch_that_is_looked_at_lies_where_it_is(case):
    found, patch = seen(case)
    assert lit_place(found) == pytest.approx(patch, abs=1e-4)
    looked = found.attention()
    assert looked.view.map.max() == 1
    assert looked.view.map.sum() == 1
    assert found.view.map.max().item() == pytest.approx(0.5)  # the rollout adds what the CLS token was
    (left, top, right, bottom), spot = patch, CASES[case][3]
    if case != "tiny":
        assert left <= spot[0] < spot[2] <= right
        assert top <= spot[1] < spot[3] <= bottom
    assert found.patch_at(*spot[:2]) == divmod(found.view.map.argmax().item(), found.grid[1])


@pytest.mark.parametrize(
    "kind", [{"num_registers": 3}, {"pool": "mean"}, {"pool": "mean", "class_token": False}]
)
def test_registers_and_means_shift_nothing(kind):
    found, patch = seen("portrait", **kind)
    assert lit_place(found) == pytest.approx(patch)
    assert found.attention().view.map.max() == 1


@every_case
@pytest.mark.parametrize("scale", [1, 3])
def test_the_drawn_picture_is_lit_at_these_pixels_and_no_others(case, scale):
    found, patch = seen(case)
    width, height = CASES[case][:2]
    scale = scale if width > 10 else 40 * scale
    pixels = rendered(found.attention(), width * scale, height * scale)
    lit = (np.abs(pixels - YELLOW) < 2).all(axis=2)
    rows, cols = np.nonzero(lit.any(axis=1))[0], np.nonzero(lit.any(axis=0))[0]
    found_place = (cols[0], rows[0], cols[-1] + 1, rows[-1] + 1)
    assert found_place == pytest.approx([scale * edge for edge in patch], abs=1)
    assert lit[rows[0] : rows[-1] + 1, cols[0] : cols[-1] + 1].all()


def rendered(found, width, height):
    """The levels of a figure that shows the map alone, so many pixels large."""
    figure = Figure(figsize=(width / 100, height / 100), dpi=100)
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    found.plot(figure.add_axes((0, 0, 1, 1)))
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[:, :, :3].astype(float)


@pytest.mark.parametrize("orientation", LAID_DOWN)
@pytest.mark.parametrize("case", ["landscape", "portrait", "tiny"])
def test_a_photograph_is_turned_as_its_camera_noted(tmp_path, case, orientation):
    width, height, _, spot, _ = CASES[case]
    upright = dark_but(spot, width, height)
    exif = Image.Exif()
    exif[0x0112] = orientation
    laid_down = Image.fromarray(np.ascontiguousarray(LAID_DOWN[orientation](upright)))
    laid_down.save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(np.asarray(ImageOps.exif_transpose(Image.open(tmp_path / "turned.png"))), upright)
    found, patch = seen(case, tmp_path / "turned.png")
    assert np.array_equal(found.photograph, upright)
    assert lit_place(found) == pytest.approx(patch, abs=1e-4)


@pytest.mark.parametrize("mode", ["L", "1", "P", "RGBA", "CMYK", "I;16"])
@pytest.mark.parametrize("channels", [1, 3])
def test_grey_photographs_and_others_for_models_of_grey_and_of_colour(tmp_path, mode, channels):
    width, height, _, spot, patch = CASES["landscape"]
    photo = Image.fromarray(dark_but(spot, width, height))
    if mode == "I;16":
        Image.fromarray(np.asarray(photo.convert("L")).astype(np.uint16) * 257).save(tmp_path / "p.tif")
    else:
        photo.convert(mode).save(tmp_path / "p.tif")
    found = look((of_brightest(channels=channels), preparation(channels=channels)), tmp_path / "p.tif")
    assert lit_place(found) == pytest.approx(patch)
    assert found.photograph.shape == (height, width, 3)


def test_a_model_of_grey_still_shows_colours(tmp_path):
    Image.new("RGB", (40, 30), (200, 30, 90)).save(tmp_path / "p.png")
    found = look((of_brightest(channels=1), preparation(channels=1)), tmp_path / "p.png")
    assert found.photograph[3, 3].tolist() == [200, 30, 90]


def test_what_lies_in_the_margin_lights_up_nothing_and_is_faded():
    photo = dark_but((2, 20, 8, 26), 96, 64)  # 16 to 80 are kept
    found = look((of_brightest(), preparation()), photo)
    assert found.attention().view.map.tolist() == torch.full((4, 4), 1 / 16).tolist()
    drawn = rendered(found, 96, 64)
    assert drawn[23, 5] == pytest.approx(0.3 * 250 + 0.7 * 255, abs=2)
    assert drawn[10, 90] == pytest.approx(0.3 * 20 + 0.7 * 255, abs=2)
    assert (np.abs(drawn[:, 17:79] - drawn[32, 48]) < 2).all()  # within the box no photograph shines through


def test_beside_the_map_the_photograph_is_as_it_was():
    found, _ = seen("landscape")
    first = found.draw().axes[0]
    assert np.array_equal(first.images[0].get_array(), found.photograph)
    assert first.images[0].get_extent() == [0, 96, 64, 0]
    margins = [path.get_extents().extents for path in first.collections[0].get_paths()]
    covered = sum((right - left) * (bottom - top) for left, top, right, bottom in np.abs(margins))
    assert covered == 96 * 64 - 64 * 64
    assert first.collections[0].get_alpha() == pytest.approx(0.7)


def test_a_large_photograph_is_drawn_small_and_in_its_own_coordinates():
    found = look((of_brightest(), preparation()), dark_but((0, 0, 9, 9), 5000, 400))
    first = found.draw().axes[0]
    assert first.images[0].get_array().shape == (128, 1600, 3)
    assert first.images[0].get_extent() == [0, 5000, 400, 0]
    assert found.photograph.shape == (400, 5000, 3)


def test_a_line_goes_around_the_patches_that_hold_half():
    found, patch = seen("landscape")
    (outline,) = [each for each in found.draw().axes[0].patches if not each.get_fill()]
    left, top, right, bottom = outline.get_path().get_extents().extents
    assert (left, top, right, bottom) == pytest.approx(patch)
    assert len(outline.get_path().vertices) == 8  # four sides, and no line within
    assert found.draw().axes[0].get_title("left") == "half of it lies within the lines"


def test_where_many_hold_half_there_is_no_line_but_their_number():
    even = look((of_brightest(), preparation()), np.full((40, 40, 3), 90, np.uint8))
    first = even.draw().axes[0]
    assert [each for each in first.patches if not each.get_fill()] == []
    title = first.get_title("left").replace("\n", " ")
    assert title == "spread out: half of it takes 16 of 16 patches"


@pytest.mark.parametrize(
    ("numbers", "holding"),
    [
        ([[9, 1], [1, 1]], [[True, False], [False, False]]),
        ([[4, 3], [2, 1]], [[True, True], [False, False]]),
        ([[4, 2], [2, 2]], [[True, True], [True, True]]),
        ([[6, 2], [2, 2]], [[True, False], [False, False]]),
        ([[1, 1], [1, 1]], [[True, True], [True, True]]),
        ([[0, 0], [0, 0]], [[True, True], [True, True]]),
    ],
)
def test_half_of_a_map(numbers, holding):
    assert half(np.array(numbers, dtype=np.float32)).tolist() == holding


def test_trained_and_untrained_are_drawn_on_one_scale():
    found = look((of_brightest(), preparation()), dark_but((4, 4, 8, 8), 32, 32), control=True)
    for view in (found, found.attention(), found.likeness(1, 2)):
        photo, own, control, *_ = view.draw().axes
        ranges = [ax.images[-1].get_clim() for ax in (own, control)]
        maps = [view.view.map, view.view.control]
        assert (
            ranges[0]
            == ranges[1]
            == (min(0, *(each.min().item() for each in maps)), max(each.max().item() for each in maps))
        )
        for ax, numbers in zip((own, control), maps, strict=True):
            assert np.array_equal(ax.images[-1].get_array(), numbers)
            assert ax.images[-1].get_cmap().name == "cividis"
        assert (photo.get_xlim(), photo.get_ylim()) == (own.get_xlim(), own.get_ylim()) == ((0, 32), (32, 0))


@pytest.mark.parametrize(
    ("largest", "end", "beyond"),
    [
        ([40, 9, 1], 1.0, "max"),
        ([2.5, 2], 2.5, "neither"),
        ([40, 9, 4, 3], 4.0, "max"),
        ([8, 8, 8, 3], 8, "neither"),
    ],
)
def test_a_few_patches_leave_colours_to_the_others(largest, end, beyond):
    """Of 144 patches, two may lie beyond the scale: where the largest is over three times the third."""
    numbers = torch.ones(144)
    numbers[torch.arange(len(largest)) * 31] = torch.tensor(largest, dtype=torch.float32)
    found = look((of_brightest(), preparation()), dark_but((4, 4, 8, 8), 96, 64))
    object.__setattr__(found, "view", found.view._replace(map=numbers.reshape(12, 12)))
    ax = found.draw().axes[1]
    assert ax.images[-1].get_clim() == (0, end)
    assert ax.images[-1].colorbar.extend == beyond
    assert ("tip: more" in ax.images[-1].colorbar.ax.get_ylabel()) == (beyond == "max")
    assert limits_of(found.view._replace(place=(0, 0)), [found.view.map]) == (0, max(largest))


def test_the_patch_that_was_asked_is_framed_everywhere():
    found = look((of_brightest(), preparation()), dark_but((4, 4, 8, 8), 96, 64), control=True).likeness(1, 2)
    for ax in found.draw().axes[:3]:
        (frame,) = [each for each in ax.patches if not each.get_fill()]
        assert frame.get_path().get_extents().extents == pytest.approx((48, 16, 64, 32))


def test_a_name_may_hold_a_dollar_and_be_long(tmp_path):
    names = ["$5 and $6", "a class with a name that is as long as a list of synonyms is, more or less"]
    found = look((of_brightest(), preparation(), names), dark_but((4, 4, 8, 8), 32, 32))
    labels = [label.get_text() for label in found.draw().axes[2].get_yticklabels()]
    assert {"$5 and $6", "a class with a name that is a…"} == {*labels}
    found.save(tmp_path / "map.png")


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 300), (400, 2), (33, 31)])
def test_pictures_of_odd_shapes_are_drawn(tmp_path, width, height):
    photo = np.random.default_rng(0).integers(0, 255, (height, width, 3), np.uint8)
    look((of_brightest(), preparation()), photo, control=True).save(tmp_path / "map.png")
    assert max(Image.open(tmp_path / "map.png").size) < 4000
