"""The ViT beside other methods, and its recipe with less: what the tables claim, and what makes them fair."""

import csv
from collections import defaultdict
from statistics import mean

import data_hunger
import fair
import pytest
import recipe
import torch
from experiments import TABLES
from sklearn.datasets import load_digits

from vit_steps.data import load_digits_images


def means(name: str, *keys: str, of: str = "accuracy") -> dict[tuple, float]:
    """Mean over the seeds of a table, of which each cell has five."""
    found = defaultdict(list)
    with open(TABLES / f"{name}.csv", newline="") as file:
        for row in csv.DictReader(file):
            found[tuple(row[key] for key in keys)].append(float(row[of]))
    assert {len(shares) for shares in found.values()} == {5}
    return {key if len(key) > 1 else key[0]: mean(shares) for key, shares in found.items()}


# ---- what the tables claim ----


@pytest.mark.parametrize("name", ["results", "fifths"])
def test_moved_copies_help_everyone_and_then_the_vit_is_not_ahead(name):
    found = means(name, "model")
    assert list(found) == list(fair.MODELS)
    vit, unmoved, svm, svm_copies, neighbours, neighbours_copies = found.values()
    assert vit > unmoved + 0.005
    assert svm_copies > svm + 0.002
    assert neighbours_copies > neighbours + 0.004
    assert vit > neighbours_copies > unmoved
    assert svm > unmoved
    assert svm_copies > vit - 0.001


def test_who_never_met_a_writer_reads_them_worse():
    at_random, in_order = means("results", "model"), means("fifths", "model")
    assert all(in_order[name] < at_random[name] - 0.01 for name in fair.MODELS)


def test_with_few_digits_and_a_shift_the_cnn_is_ahead():
    still, shifted = (
        means("data_hunger", "images", "model"),
        means("data_hunger", "images", "model", of="shifted"),
    )
    for count in map(str, data_hunger.IMAGES):
        assert still[count, "CNN"] > still[count, "ViT"] + 0.005
        assert shifted[count, "CNN"] > shifted[count, "ViT"] + 0.1
    for model in data_hunger.MODELS:
        assert still["50", model] < still["200", model] < still["1257", model]


def test_what_is_left_out_of_the_recipe_is_missed_or_not():
    found = means("recipe", "left_out", "lr")
    whole, whole_fast = found["nothing", "0.003"], found["nothing", "0.02"]
    assert found["augmentation", "0.003"] < whole - 0.01
    assert found["averaging and decay", "0.003"] < whole - 0.005
    # The decay does what the average does; and at a low rate there is nothing to warm up for.
    assert found["weight averaging", "0.003"] == pytest.approx(whole, abs=0.002)
    assert found["warm-up", "0.003"] == pytest.approx(whole, abs=0.004)
    assert found["warm-up", "0.02"] < whole_fast - 0.02


# ---- fair.py ----


def test_the_file_s_order_is_the_file_s():
    images, labels = fair.in_file_order()
    theirs = load_digits()
    assert torch.equal(images[:, 0] * 16, torch.from_numpy(theirs.images).float())
    assert labels.tolist() == theirs.target.tolist()


def test_copies_are_moved_as_fit_moves_them():
    pair = torch.rand(7, 1, 8, 8), torch.arange(7)
    images, labels = fair.copied(pair, 3)
    assert labels.tolist() == 10 * [*range(7)]
    assert len({image.numpy().tobytes() for image in images}) == 70
    noise = torch.Generator().manual_seed(3)
    torch.testing.assert_close(images[:7], fair.random_affine(pair[0], 0.15, generator=noise))


@pytest.fixture
def seen(monkeypatch):
    """Methods that learn nothing; what each was given to learn from and asked about."""
    given = []

    def method(train, seed):
        return lambda test: given.append((train, test, seed)) or 0.5

    for name in fair.MODELS:
        monkeypatch.setitem(fair.MODELS, name, method)
    return given


@pytest.mark.parametrize("compare", [fair.compare_on_digits, fair.compare_on_fifths])
def test_all_methods_learn_and_are_asked_the_same(seen, compare):
    rows = list(compare())
    assert [(row["seed"], row["model"]) for row in rows] == [
        (s, name) for s in range(5) for name in fair.MODELS
    ]
    asked = []
    for number, (train, test, seed) in enumerate(seen):
        assert seed == number // len(fair.MODELS) == rows[number]["seed"]
        first = seen[seed * len(fair.MODELS)]
        assert all(torch.equal(a, b) for a, b in zip((*train, *test), (*first[0], *first[1]), strict=True))
        learned, held_out = ({image.numpy().tobytes() for image in pair[0]} for pair in (train, test))
        assert not learned & held_out
        assert len(train[1]) + len(test[1]) == 1797
        asked.append(test[1])
    if compare is fair.compare_on_fifths:
        assert torch.cat(asked[:: len(fair.MODELS)]).tolist() == load_digits().target.tolist()


@pytest.mark.parametrize("name", [*fair.MODELS][2:])
def test_the_baselines_are_good_ones(name):
    images, labels = load_digits_images("train")
    assert fair.MODELS[name]((images[:600], labels[:600]), 0)(load_digits_images("test")) > 0.95


@pytest.mark.parametrize(("name", "augment"), [*zip(fair.MODELS, (fair.STRENGTH, 0.0), strict=False)])
def test_the_vit_sees_moved_images_or_not(monkeypatch, name, augment):
    asked = {}
    monkeypatch.setattr(fair, "fit", lambda model, train, valid, **options: asked.update(options))
    pair = torch.rand(10, 1, 8, 8), torch.arange(10)
    assert 0 <= fair.MODELS[name](pair, 4)(pair) <= 1
    assert asked["seed"] == 4
    assert asked.get("augment", fair.STRENGTH) == augment


# ---- data_hunger.py and recipe.py ----


@pytest.mark.parametrize("way", data_hunger.ONE_PIXEL)
def test_a_shift_loses_one_row_or_column(way):
    images = torch.rand(2, 1, 5, 7)
    found, turned = data_hunger.shift(images, *way), images.roll(way, dims=(2, 3))
    kept = [slice(max(step, 0), size + min(step, 0)) for step, size in zip(way, (5, 7), strict=True)]
    assert torch.equal(found[:, :, kept[0], kept[1]], turned[:, :, kept[0], kept[1]])
    assert found.count_nonzero() == found[:, :, kept[0], kept[1]].count_nonzero()


def test_few_digits_are_the_same_for_all_and_the_test_part_is_whole(monkeypatch):
    given = []

    def method(train, seed):
        given.append((len(train[1]), train[0].sum().item(), seed))
        return lambda images: torch.zeros(len(images), dtype=torch.long)

    for name in data_hunger.MODELS:
        monkeypatch.setitem(data_hunger.MODELS, name, method)
    rows = list(data_hunger.learn_from_few())
    assert [count for count, _, _ in given] == [row["images"] for row in rows]
    assert len({(count, seed) for count, _, seed in given}) == len({*given}) == 15
    zeros = [(load_digits_images("test", seed=seed)[1] == 0).double().mean().item() for seed in range(5)]
    assert [float(row["accuracy"]) for row in rows[::9]] == pytest.approx(zeros, abs=1e-4)  # four digits


def test_each_part_is_left_out_by_itself(monkeypatch):
    asked = []
    monkeypatch.setattr(
        recipe, "learn", lambda model, *pair, **options: asked.append(options) or model.eval()
    )
    rows = list(recipe.train_with_less())
    assert [(row["left_out"], row["lr"]) for row in rows] == 5 * [*recipe.PARTS]
    for options, changes in zip(asked, 5 * [*recipe.PARTS.values()], strict=True):
        assert {name: options[name] for name in changes} == changes
        assert options.keys() - changes.keys() == {"steps", "lr", "seed"}
