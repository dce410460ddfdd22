"""Digits, photographs and folders: the right pixels, the right labels, and what is refused."""

import inspect
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from vit_steps.data import (
    PHOTOS,
    TABLES,
    load_digits_images,
    load_image_folder,
    load_photo,
    load_table,
    split_in_three,
)

PARTS = ("train", "valid", "test")


def make_folder(root, pictures: dict):
    """Save pictures under root/class/name.png, each given as an array or a Pillow image."""
    for name, picture in pictures.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        picture = (
            picture if isinstance(picture, Image.Image) else Image.fromarray(np.asarray(picture, np.uint8))
        )
        picture.save(root / name)
    return root


def noise(height: int, width: int, *channels: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, *channels), dtype=np.uint8)


# Digits


def test_the_file_of_digits_holds_scikit_learns_and_the_parts_of_seed_0():
    images, labels = load_digits(return_X_y=True)
    parts = split_in_three(torch.from_numpy(labels))
    for part in PARTS:
        ours, names = load_digits_images(part)
        assert (16 * ours.flatten(1)).tolist() == images[parts[part]].tolist()
        assert names.tolist() == labels[parts[part]].tolist()


def test_digits_come_without_scikit_learn():
    code = "import sys; from vit_steps.data import load_digits_images as load; load('test')"
    asked = [sys.executable, "-c", f"{code}; print(*sys.modules)"]
    loaded = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    assert not {"sklearn", "scipy", "skimage"} & set(loaded.split())


@pytest.mark.parametrize("seed", [0, 3])
def test_the_three_parts_hold_each_digit_once_and_share_them_evenly(seed):
    parts = {part: load_digits_images(part, seed=seed) for part in PARTS}
    assert [len(parts[part][1]) for part in PARTS] == [1257, 180, 360]
    everything, labels = load_digits(return_X_y=True)
    found = sorted(
        (tuple((16 * image).flatten().tolist()), label)
        for images, labels in parts.values()
        for image, label in zip(images, labels.tolist(), strict=True)
    )
    assert found == sorted(zip(map(tuple, everything.tolist()), labels.tolist(), strict=True))
    for images, labels in parts.values():
        assert images.dtype == torch.float32
        assert images.min() == 0
        assert images.max() == 1
        share = torch.bincount(labels) / len(labels)
        assert (share - 0.1).abs().max() < 0.01


def test_a_seed_is_a_split():
    first, again, other = (load_digits_images("test", seed=seed)[0] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert torch.equal(first, load_digits_images("test")[0])


@pytest.mark.usefixtures("doors_only")
def test_splits_refuse_what_they_do_not_know_and_what_is_too_little():
    with pytest.raises(ValueError, match="split must be one of train, valid, test, got 'dev'"):
        load_digits_images("dev")
    with pytest.raises(ValueError, match="seed must be at least 0, got -1"):
        load_digits_images("test", seed=-1)
    with pytest.raises(ValueError, match="6 images of 3 classes are too few to split in three"):
        split_in_three(torch.tensor([0, 0, 1, 1, 2, 2]))
    with pytest.raises(ValueError, match="40 images of 2 classes are too few to split in three"):
        split_in_three(torch.tensor([0] * 39 + [1]))


def test_a_split_in_three_uses_every_place_once():
    parts = split_in_three(torch.arange(60) % 3, seed=5)
    assert sorted(torch.cat(list(parts.values())).tolist()) == list(range(60))
    assert [len(parts[part]) for part in PARTS] == [42, 6, 12]


# Photographs


@pytest.mark.parametrize("name", PHOTOS)
def test_photographs_come_in_any_size(name):
    photo = load_photo(name, size=31)
    assert photo.shape == (1, 3, 31, 31)
    assert 0 <= photo.min() < 0.2
    assert 0.6 < photo.max() <= 1


def test_a_photograph_is_the_middle_square_in_red_green_blue():
    from skimage import data

    square = torch.from_numpy(data.chelsea()[:, 75:375].copy()).permute(2, 0, 1)[None] / 255
    torch.testing.assert_close(load_photo("chelsea", size=300), square)


@pytest.mark.usefixtures("doors_only")
def test_photographs_that_are_not_there_are_refused():
    with pytest.raises(ValueError, match="name must be one of astronaut, chelsea, coffee, got 'lena'"):
        load_photo("lena", size=8)
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        load_photo("coffee", size=0)
    with pytest.raises(TypeError, match=r"size must be an integer, got 8\.5"):
        load_photo("coffee", size=8.5)


# Folders


def test_pixels_labels_and_names_come_in_order(tmp_path):
    pictures = {f"{name}/{number}.png": noise(6, 6, 3) for name in ("b", "a", "c d") for number in range(2)}
    pictures["b/0.png"] = noise(6, 6, 3)[::-1]
    images, labels, classes = load_image_folder(make_folder(tmp_path, pictures), size=6)
    assert classes == ("a", "b", "c d")
    assert labels.tolist() == [0, 0, 1, 1, 2, 2]
    assert labels.dtype == torch.int64
    for place, name in enumerate(["a/0.png", "a/1.png", "b/0.png", "b/1.png", "c d/0.png", "c d/1.png"]):
        expected = torch.from_numpy(pictures[name].copy()).permute(2, 0, 1) / 255
        torch.testing.assert_close(images[place], expected)


@pytest.mark.parametrize(("height", "width"), [(7, 13), (13, 7), (1, 9), (40, 3)])
def test_odd_sizes_are_cropped_to_the_middle_square(tmp_path, height, width):
    """Colour the middle square alone: nothing else may be seen, and no part of it may be missing."""
    side = min(height, width)
    picture = np.zeros((height, width, 3), np.uint8)
    top, left = (height - side) // 2, (width - side) // 2
    picture[top : top + side, left : left + side] = (200, 100, 50)
    images = load_image_folder(make_folder(tmp_path, {"a/1.png": picture}), size=side).images
    expected = torch.tensor([200, 100, 50])[None, :, None, None].expand(1, 3, side, side) / 255
    torch.testing.assert_close(images, expected)


def test_sizes_are_brought_to_the_one_that_is_wanted(tmp_path):
    pictures = {
        "a/small.png": noise(5, 4, 3),
        "a/large.png": np.full((90, 70, 3), 51),
        "b/grey.png": noise(9, 9),
    }
    images = load_image_folder(make_folder(tmp_path, pictures), size=12).images
    assert images.shape == (3, 3, 12, 12)
    torch.testing.assert_close(images[0], torch.full((3, 12, 12), 0.2))
    assert images.min() >= 0
    assert images.max() <= 1


def test_shrinking_averages_and_does_not_pick(tmp_path):
    stripes = np.zeros((64, 64, 3), np.uint8)
    stripes[:, ::2] = 255
    images = load_image_folder(make_folder(tmp_path, {"a/1.png": stripes}), size=8).images
    assert (images[:, :, :, 1:-1] - 0.5).abs().max() < 0.05


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_are_turned_the_way_the_camera_says(tmp_path, orientation):
    upright = noise(8, 8, 3)
    stored = {
        1: upright,
        2: upright[:, ::-1],
        3: upright[::-1, ::-1],
        4: upright[::-1],
        5: upright.transpose(1, 0, 2),
        6: np.rot90(upright),
        7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, 3),
    }[orientation]
    (tmp_path / "a").mkdir()
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(tmp_path / "a" / "1.png", exif=exif)
    images = load_image_folder(tmp_path, size=8).images
    torch.testing.assert_close(images[0], torch.from_numpy(upright).permute(2, 0, 1) / 255)


def test_grey_and_colour_are_converted(tmp_path):
    colour, grey = np.full((4, 4, 3), [255, 0, 0]), noise(4, 4)
    make_folder(tmp_path, {"a/1.png": colour, "a/2.png": grey})
    coloured = load_image_folder(tmp_path, size=4).images
    assert torch.equal(coloured[1], torch.from_numpy(grey).expand(3, 4, 4) / 255)
    greys = load_image_folder(tmp_path, size=4, channels=1).images
    assert greys.shape == (2, 1, 4, 4)
    assert torch.equal(greys[1, 0], torch.from_numpy(grey) / 255)
    assert (greys[0] - 0.299).abs().max() < 0.01


@pytest.mark.parametrize("mode", ["1", "P", "LA", "RGBA", "CMYK", "I;16"])
def test_other_kinds_of_pixels_come_out_right(tmp_path, mode):
    deep = np.full((4, 4), 200 * 257, np.uint16)
    plain = Image.new("RGB", (4, 4), (200, 200, 200) if mode != "1" else (255, 255, 255))
    picture = Image.fromarray(deep) if mode == "I;16" else plain.convert(mode, palette=Image.Palette.ADAPTIVE)
    assert picture.mode == mode
    images = load_image_folder(
        make_folder(tmp_path, {f"a/1.{'tif' if mode == 'CMYK' else 'png'}": picture}), size=4
    )
    assert (images.images - (1 if mode == "1" else 200 / 255)).abs().max() < 0.01


def test_subfolders_of_a_class_count_and_hidden_names_do_not(tmp_path):
    make_folder(tmp_path, {"a/deep/er/1.png": noise(4, 4), "a/2.png": noise(4, 4), "b/1.png": noise(4, 4)})
    make_folder(tmp_path, {".git/1.png": noise(4, 4), "a/.thumbs/1.png": noise(4, 4)})
    (tmp_path / "a" / ".DS_Store").write_bytes(b"\0\1")
    (tmp_path / "README.txt").write_text("not an image, not in a class")
    folder = load_image_folder(tmp_path, size=4)
    assert folder.classes == ("a", "b")
    assert folder.labels.tolist() == [0, 0, 1]


def break_in_two(path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize(
    "spoil", [break_in_two, lambda p: p.write_bytes(b""), lambda p: p.write_text("hello")]
)
@pytest.mark.parametrize("kind", ["png", "jpg", "gif", "bmp"])
def test_a_broken_file_is_named_and_refused_or_skipped(tmp_path, kind, spoil):
    make_folder(tmp_path, {f"a/{number}.{kind}": noise(30, 30, 3) for number in range(3)})
    spoil(tmp_path / "a" / f"1.{kind}")
    with pytest.raises(ValueError, match=rf"cannot read .*1\.{kind}: "):
        load_image_folder(tmp_path, size=8)
    with pytest.warns(UserWarning, match=rf"skipped .*1\.{kind}: ") as caught:
        folder = load_image_folder(tmp_path, size=8, broken="skip")
    assert len(folder.images) == len(folder.labels) == 2
    assert len(caught) == 1


def test_a_decompression_bomb_is_refused_even_when_broken_files_are_skipped(tmp_path, monkeypatch):
    make_folder(tmp_path, {"a/1.png": noise(4, 4), "a/bomb.png": Image.new("1", (2000, 1500))})
    for limit in (2_000_000, 1_000_000):  # Pillow warns above the limit and stops above twice the limit
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
        for broken in ("refuse", "skip"):
            with pytest.raises(
                ValueError, match=r"bomb\.png is refused as a decompression bomb: .*3000000 pixels"
            ):
                load_image_folder(tmp_path, size=4, broken=broken)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 3_000_000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert len(load_image_folder(tmp_path, size=4).images) == 2


def test_folders_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere"):
        load_image_folder(tmp_path / "nowhere", size=4)
    (tmp_path / "file").write_text("")
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*file"):
        load_image_folder(tmp_path / "file", size=4)
    with pytest.raises(ValueError, match="has no subfolder, one for each class is wanted"):
        load_image_folder(tmp_path, size=4)
    make_folder(tmp_path, {"a/1.png": noise(4, 4)})
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match=r"class empty has no image: .*empty"):
        load_image_folder(tmp_path, size=4)
    (tmp_path / "empty" / "only.png").write_bytes(b"broken")
    with pytest.raises(ValueError, match="class empty has no image"):
        load_image_folder(tmp_path, size=4, broken="skip")


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"size": 0}, ValueError, "size must be at least 1, got 0"),
        ({"size": "8"}, TypeError, "size must be an integer, got '8'"),
        ({"channels": 4}, ValueError, "channels must be one of 1, 3, got 4"),
        ({"broken": "ignore"}, ValueError, "broken must be one of refuse, skip, got 'ignore'"),
    ],
)
@pytest.mark.usefixtures("doors_only")
def test_arguments_of_folders_are_checked_at_the_door(tmp_path, changes, error, message):
    make_folder(tmp_path, {"a/1.png": noise(4, 4)})
    with pytest.raises(error, match=message):
        load_image_folder(tmp_path, **{"size": 4, **changes})


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_ships_comes_row_by_row(name):
    path = Path(inspect.getfile(inspect.unwrap(load_table))).parent / "tables" / f"{name}.csv"
    header, *rows = path.read_text(encoding="utf-8").splitlines()
    table = load_table(name)
    assert len(table) == len(rows)
    assert all(list(row) == header.split(",") for row in table)
    assert rows[0].startswith(table[0][header.split(",")[0]])


def test_a_table_that_does_not_ship_is_named():
    with pytest.raises(ValueError, match=f"name must be one of {', '.join(TABLES)}, got 'digits'"):
        load_table("digits")
