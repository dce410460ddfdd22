"""The tables that ship: what they claim, and the parts that make them."""

import csv
import runpy
from collections import defaultdict
from statistics import mean

import experiments
import inside
import left_out
import pytest
import torch
from experiments import (
    AFRESH,
    CANDIDATES,
    POSITIONS,
    SHUFFLES,
    STRENGTH,
    TABLES,
    VARIANTS,
    BilinearMaps,
    _never_tested,
    _positioned,
    _see,
    ablate,
    choose_recipe,
    main,
)

from vit_steps import ViT, image2patches
from vit_steps.data import load_digits_images
from vit_steps.lessons.left_out import PARTS
from vit_steps.training import accuracy, digits_model, fit, random_affine


def read(name: str) -> list[dict]:
    with open(TABLES / name, newline="") as file:
        return list(csv.DictReader(file))


def grouped(rows: list[dict], *names: str) -> dict[tuple, list[float]]:
    found = defaultdict(list)
    for row in rows:
        found[tuple(row[name] for name in names)].append(float(row["accuracy"]))
    return found


def test_the_ablation_table_is_whole_and_shows_what_lesson_3_says():
    rows = read("ablation.csv")
    assert list(rows[0]) == ["seed", "positions", "patches", "pool", "train", "accuracy"]
    found = grouped(rows, "pool", "positions", "patches")
    assert sorted(found) == sorted(VARIANTS)
    assert {len(accuracies) for accuracies in found.values()} == {3}
    in_place, alike, once, afresh = SHUFFLES
    # without positions a shuffle changes little; with them one that is the same for all images is harmless
    for shuffled in (alike, once, afresh):
        assert mean(found["cls", "none", shuffled]) == pytest.approx(
            mean(found["cls", "none", in_place]), abs=0.03
        )
    for positions in ("learned", "sine-cosine"):
        assert mean(found["cls", positions, in_place]) > mean(found["cls", "none", in_place]) + 0.1
        assert mean(found["cls", positions, alike]) > mean(found["cls", positions, in_place]) - 0.02
        # learned by heart, but for orders that are new each time
        assert mean(found["cls", positions, once]) < mean(found["cls", positions, afresh]) - 0.03
        assert mean(found["cls", positions, afresh]) == pytest.approx(
            mean(found["cls", "none", afresh]), abs=0.08
        )
    assert all(float(row["train"]) > 0.97 for row in rows)


def test_the_choice_was_made_on_images_that_no_test_part_holds():
    images, labels = _never_tested()
    free = {image.numpy().tobytes() for image in images}
    assert len(images) == len(labels) == len(free)
    for seed in range(5):
        tested = {image.numpy().tobytes() for image in load_digits_images("test", seed=seed)[0]}
        assert not free & tested
    rows = read("choice.csv")
    assert [row["recipe"] for row in rows] == list(CANDIDATES)
    assert {row["images"] for row in rows} == {str(len(images))}


def test_shuffles_move_patches_and_lose_none():
    images, labels = torch.rand(6, 1, 8, 8), torch.arange(6)
    in_place, alike, each, afresh = (shuffle((images, labels), 1) for shuffle in SHUFFLES.values())
    assert torch.equal(afresh[0], each[0])  # what differs is how often, see _see
    assert torch.equal(in_place[0], images)
    orders = []
    for shuffled, same_labels in (alike, each):
        assert torch.equal(same_labels, labels)
        distances = torch.cdist(image2patches(shuffled, 2), image2patches(images, 2))
        orders.append(distances.argmin(dim=2))
        assert distances.min(dim=2).values.max() < 1e-6
        assert torch.equal(orders[-1].sort(dim=1).values, torch.arange(16).expand(6, 16))
    assert len({tuple(order.tolist()) for order in orders[0]}) == 1
    assert len({tuple(order.tolist()) for order in orders[1]}) == 6
    assert not torch.equal(orders[0][0], torch.arange(16))
    again = SHUFFLES["all shuffled the same way"]((images, labels), 2)
    assert torch.equal(again[0], alike[0])


def test_without_positions_the_order_of_patches_is_not_seen():
    pair = (torch.rand(3, 1, 8, 8), torch.zeros(3).long())
    models = {name: _positioned(digits_model(patch_size=2), name) for name in POSITIONS}
    for shuffled in list(SHUFFLES.values())[1:]:
        moved, _ = shuffled(pair, 3)
        torch.testing.assert_close(models["none"](moved), models["none"](pair[0]))
        assert not torch.allclose(models["learned"](moved), models["learned"](pair[0]), atol=1e-3)
        assert not torch.allclose(models["sine-cosine"](moved), models["sine-cosine"](pair[0]), atol=1e-3)
    assert [models[name].pos_embed.requires_grad for name in POSITIONS] == [False, True, False]


def test_the_command_writes_a_table(tmp_path, monkeypatch, capsys):
    rows = [{"seed": 0, "accuracy": "0.9900"}, {"seed": 1, "accuracy": "1.0000"}]
    monkeypatch.setitem(experiments.EXPERIMENTS, "digits", (lambda: iter(rows), "results.csv"))
    monkeypatch.setattr("sys.argv", ["experiments", "digits", "--out", str(tmp_path / "table.csv")])
    threads = torch.get_num_threads()
    main()
    torch.set_num_threads(threads)
    assert (tmp_path / "table.csv").read_text() == "seed,accuracy\n0,0.9900\n1,1.0000\n"
    assert capsys.readouterr().out == "0, 0.9900\n1, 1.0000\n"


@pytest.fixture
def fits(monkeypatch):
    """What ``fit`` would have been asked; nothing is trained."""
    asked = []

    def record(model, train, valid, **options):
        asked.append((model, train, options))

    monkeypatch.setattr(experiments, "fit", record)
    return asked


FIT_OPTIONS = ("augment", "label_smoothing", "average", "lr")


def test_the_choice_gives_every_recipe_the_same_folds_and_what_it_changes(fits):
    rows = list(choose_recipe())
    images, _ = _never_tested()
    assert [(row["recipe"], row["images"]) for row in rows] == [(name, len(images)) for name in CANDIDATES]
    assert all(0 < row["wrong"] < len(images) for row in rows)  # untrained, and every image asked once
    for number, (_, changes) in enumerate(CANDIDATES.items()):
        five = fits[5 * number : 5 * number + 5]
        for (model, train, options), (_, same_train, _) in zip(five, fits, strict=False):
            assert torch.equal(train[0], same_train[0])
            assert model.pool == changes.get("pool", "cls")
            assert 1000 <= options["epochs"] * (len(train[1]) // 64) <= 1200
            assert model.pos_embed.std().item() == pytest.approx(changes.get("deviation", 0.5), rel=0.2)
            assert isinstance(model, BilinearMaps) == ("bilinear" in changes)
            left = {name: changes[name] for name in changes if name not in ("pool", "deviation", "bilinear")}
            left |= {"augment": 0.0} if "bilinear" in changes else {}
            assert {name: options[name] for name in left} == left


def test_the_bilinear_candidate_moves_its_training_images_and_no_others():
    images = torch.rand(3, 1, 8, 8)
    plain, moving = digits_model(), BilinearMaps.of(digits_model())
    maps = random_affine(
        images, STRENGTH, generator=torch.Generator().manual_seed(0), interpolation="bilinear"
    )
    torch.testing.assert_close(moving.eval()(images), plain(images))
    torch.testing.assert_close(moving.train()(images), plain(maps))
    assert not torch.allclose(moving(images), plain(maps), atol=1e-3)  # another map each time


def test_fit_trains_the_bilinear_candidate_the_same_each_time():
    train = (torch.rand(16, 1, 8, 8), torch.arange(16) % 10)
    found = []
    for augment in (0.0, 0.0, STRENGTH):
        model = BilinearMaps.of(digits_model()) if augment == 0 else digits_model()
        fit(model, train, None, epochs=2, batch_size=8, augment=augment, progress=False)
        assert isinstance(model, ViT)
        found.append(model(train[0]))
    assert torch.equal(found[0], found[1])
    assert not torch.allclose(found[0], found[2], atol=1e-3)


def test_the_ablation_trains_every_variant_on_three_splits(fits, monkeypatch):
    monkeypatch.setattr(experiments, "accuracy", lambda model, pair: len(pair[1]) / 10_000)
    rows = list(ablate())
    assert [(row["pool"], row["positions"], row["patches"]) for row in rows] == 3 * VARIANTS
    assert [row["seed"] for row in rows] == [seed for seed in range(3) for _ in VARIANTS]
    assert [options["seed"] for _, _, options in fits] == [row["seed"] for row in rows]
    assert {options["augment"] for _, _, options in fits} == {0.0}
    for (model, train, options), row in zip(fits, rows, strict=True):
        assert model.pos_embed.requires_grad == (row["positions"] == "learned")
        straight = load_digits_images("train", seed=row["seed"])[0]
        assert len(train[1]) * options["epochs"] == 60 * len(straight)
        assert (float(row["train"]), float(row["accuracy"])) == (len(straight) / 10_000, 0.036)
        assert (row["patches"] == AFRESH) == (options["epochs"] == 1)
        assert torch.equal(train[0][: len(straight)], straight) == (row["patches"] == next(iter(SHUFFLES)))


def test_afresh_shows_each_digit_in_another_order_each_time():
    images, labels = torch.rand(5, 1, 8, 8), torch.arange(5)
    (seen, names), epochs = _see((images, labels), AFRESH, times=4)
    assert (epochs, len(seen)) == (1, 20)
    assert torch.equal(names, labels.repeat(4))
    assert len({image.numpy().tobytes() for image in seen}) == 20
    tested = SHUFFLES[AFRESH]((images, labels), 0)[0]
    assert not any(torch.equal(tested[n], seen[n + 5 * time]) for time in range(4) for n in range(5))


def test_the_file_is_a_command(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["experiments", "--help"])
    with pytest.raises(SystemExit) as stopped:
        runpy.run_path(experiments.__file__, run_name="__main__")
    assert stopped.value.code == 0
    assert "digits" in capsys.readouterr().out


def test_the_table_of_parts_left_out_shows_what_lesson_4_says():
    rows = read("left_out.csv")
    assert list(rows[0]) == ["depth", "seed", "left_out", "lr", "valid", "test", "cpu_seconds"]
    assert len(rows) == len(left_out.DEPTHS) * len(left_out.SEEDS) * len(PARTS) * len(left_out.RATES)
    found = defaultdict(list)
    for row in rows:
        found[row["depth"], row["left_out"], row["lr"]].append((float(row["valid"]), float(row["test"])))

    def at_best(depth: str, part: str) -> float:
        rates = [pairs for (its_depth, its, _), pairs in found.items() if (its_depth, its) == (depth, part)]
        return mean(test for _, test in max(rates, key=lambda pairs: sum(valid for valid, _ in pairs)))

    for depth in ("4", "12"):
        assert max(at_best(depth, part) for part in PARTS) == at_best(depth, "nothing")
        assert min(at_best(depth, part) for part in PARTS) == at_best(depth, "the residual")
    assert at_best("12", "the residual") < 0.8
    assert mean(test for _, test in found["12", "the residual", "0.001"]) < 0.12


def test_the_table_of_five_models_shows_what_the_excursion_says():
    rows = read("inside.csv")
    assert list(rows[0]) == ["seed", "what", "where", "value"]
    found = {(row["seed"], row["what"], row["where"]): float(row["value"]) for row in rows}
    maps = {where for _, what, where in found if what == "removed"}
    for seed in map(str, inside.SEEDS):
        assert found[seed, "used", "1"] < found[seed, "read", "1"] - 0.5
        assert min(maps, key=lambda name: found[seed, "removed", name]) == "leave one out"
        assert min(maps, key=lambda name: found[seed, "painted", name]) == "integrated gradients"
        assert abs(found[seed, "removed", "integrated gradients"] - found[seed, "removed", "chance"]) < 0.1


def test_one_training_with_a_part_left_out_is_measured_on_images_it_did_not_see(monkeypatch):
    monkeypatch.setattr(left_out, "fit", lambda model, *_, **__: model.eval())
    row = left_out.train(2, 0, "the norms", 1e-3)
    assert list(row) == ["valid", "test", "cpu_seconds"]
    assert 0 <= float(row["test"]) <= 0.3


def test_a_model_is_looked_into_block_by_block_and_map_by_map():
    pairs = [load_digits_images(part) for part in ("train", "test")]
    few = [(images[:60], labels[:60]) for images, labels in pairs]
    model = digits_model(patch_size=2, depth=2).eval()
    seat = {(what, where): value for what, where, value in inside.seat(model, *few)}
    assert {where for _, where in seat} == {"0", "1", "2"}
    assert seat["lens", "2"] == pytest.approx(accuracy(model, few[1]))
    contest = {(what, where): value for what, where, value in inside.contest(model, *few[1])}
    assert {what for what, _ in contest} == {"removed", "painted", "kept"}
    assert len(contest) == 24
