"""Folders and classes as people have them: links, one folder too high, parts, and classes that are rare."""

import numpy as np
import pytest
import torch
from PIL import Image

from vit_steps.data import SPLITS, load_image_folder, split_in_three


def paint(*files) -> None:
    """Write a picture into each file, none like another."""
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        numbers = np.random.default_rng(len(str(file))).integers(0, 256, (9, 8, 3), dtype=np.uint8)
        Image.fromarray(numbers).save(file)


def refusal(folder, **options) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole message is compared)
        load_image_folder(folder, size=8, **options)
    return str(caught.value).replace(f"{folder.parent}/", "")


# Links


def test_links_to_folders_are_followed_as_torchvision_follows_them(tmp_path):
    from torchvision.datasets import ImageFolder

    elsewhere, data = tmp_path / "elsewhere", tmp_path / "data"
    paint(elsewhere / "1.png", elsewhere / "deep" / "2.png", data / "a" / "0.png", data / "c" / "3.png")
    (data / "a" / "more").symlink_to(elsewhere)
    (data / "b").symlink_to(elsewhere)
    (data / "c" / "one.png").symlink_to(elsewhere / "1.png")
    theirs = ImageFolder(data)
    images, labels, classes = load_image_folder(data, size=8)
    assert list(classes) == theirs.classes
    assert labels.tolist() == theirs.targets == [0, 0, 0, 1, 1, 2, 2]
    assert len(images) == len(theirs)


def test_a_link_in_a_circle_ends_and_a_link_to_nothing_is_named(tmp_path):
    data = tmp_path / "data"
    paint(data / "a" / "0.png", data / "b" / "1.png")
    (data / "a" / "again").symlink_to(data / "a")
    (data / "b" / "up").symlink_to(data)
    folder = load_image_folder(data, size=8)
    assert folder.labels.tolist() == [0, 1, 1]  # b has all of data below it, but its own folder only once
    (data / "a" / "gone").symlink_to(tmp_path / "nowhere")
    assert refusal(data) == "cannot read data/a/gone: it is a link to nothing"


# Which folder


@pytest.mark.parametrize("least_classes", [1, 2])
@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            ["pets/cat/1.png", "pets/dog/1.png"],
            "data has one class alone, pets: was data/pets meant, with cat, dog?",
        ),
        (["a/b/pets/cat/1.png", "a/b/pets/dog/1.png"], "was data/a/b/pets meant, with cat, dog?"),
        (["train/cat/1.png", "train/dog/1.png"], "was data/train meant, with cat, dog?"),
        ([f"pets/{name}/1.png" for name in "abcdefg"], "was data/pets meant, with a, b, c, d, e, …?"),
        (["train/cat/1.png", "val/cat/1.png"], "give one of them, such as data/train"),
        (
            ["test/cat/1.png", "val/cat/1.png", "train/cat/1.png"],
            "the parts train, test, val, and no classes: ",
        ),
        (
            [f"set/{part}/{name}/1.png" for part in ("Training", "Testing") for name in ("cat", "dog")],
            "data has one class alone, set: was data/set/Training meant, with cat, dog?",
        ),
        (["train/1.png", "test/1.png"], "the parts train, test, and no classes, nor has one of them any"),
    ],
)
def test_who_gives_a_folder_too_high_is_told_which_was_meant(tmp_path, files, message, least_classes):
    paint(*(tmp_path / "data" / file for file in files))
    assert message in refusal(tmp_path / "data", least_classes=least_classes)


def test_one_class_is_refused_where_two_are_needed(tmp_path):
    paint(tmp_path / "data" / "cat" / "1.png")
    assert len(load_image_folder(tmp_path / "data", size=8).images) == 1
    message = "data has one class alone, cat, and at least 2 are wanted, a folder for each"
    assert refusal(tmp_path / "data", least_classes=2) == message


def test_a_class_may_be_called_train(tmp_path):
    paint(tmp_path / "data" / "train" / "1.png", tmp_path / "data" / "bus" / "1.png")
    assert load_image_folder(tmp_path / "data", size=8).classes == ("bus", "train")


# Rare classes


@pytest.mark.parametrize(
    "counts", [(60, 4), (60, 3), (3, 3), (200, 5, 3), (9,) * 100, (9, 10, 11, 12)], ids=str
)
def test_every_part_has_an_image_of_every_class(counts):
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    for seed in range(20):
        parts = split_in_three(labels, seed=seed)
        assert sorted(torch.cat([parts[part] for part in SPLITS]).tolist()) == list(range(len(labels)))
        for part in SPLITS:
            assert labels[parts[part]].unique().tolist() == list(range(len(counts)))
    # About a fifth of the common class for test, and an eighth of the rest for validation.
    assert abs((labels[parts["test"]] == 0).sum() - counts[0] / 5) <= 1
    assert abs((labels[parts["valid"]] == 0).sum() - counts[0] / 10) <= 1


def test_a_class_of_two_images_is_named():
    labels = torch.tensor([0] * 60 + [1] * 2)
    few = "62 images of 2 classes are too few to split in three: class"
    for classes, name in ((None, "1"), (("cat", "pug"), "pug")):
        with pytest.raises(ValueError) as caught:  # noqa: PT011 (the whole message is compared)
            split_in_three(labels, classes=classes)
        assert str(caught.value) == f"{few} {name} has 2, and 3 are the least, one for each part"
