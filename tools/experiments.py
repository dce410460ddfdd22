"""The tables that ship, made again by one command each: ``EXPERIMENTS`` has their names.

``python tools/experiments.py choice`` writes ``vit_steps/data/tables/choice.csv``, and so on. All of it runs
on one core; CPU seconds are those of training alone.
"""

import argparse
import csv
import time
from collections.abc import Iterator
from pathlib import Path

import torch
from data_hunger import learn_from_few
from fair import SEEDS, STRENGTH, Pair, Row, compare_on_digits, compare_on_fifths, join
from inside import look_inside
from left_out import train_without
from recipe import train_with_less
from torch import Tensor, nn

from vit_steps import ViT, image2patches, patches2image, sincos_position
from vit_steps.data import load_digits_images
from vit_steps.training import accuracy, digits_model, fit, random_affine

TABLES = Path(__file__).resolve().parent.parent / "vit_steps" / "data" / "tables"


def choose_recipe() -> Iterator[Row]:
    """Cross-validate recipes on the images that none of the test parts of seeds 0 to 4 holds.

    Every recipe sees the same five folds and makes about 1,100 steps of 64 images.
    """
    from sklearn.model_selection import StratifiedKFold

    images, labels = _never_tested()
    folds = list(StratifiedKFold(5, shuffle=True, random_state=0).split(images, labels))
    for name, changes in CANDIDATES.items():
        wrong, start = 0, time.process_time()
        for some, rest in folds:
            train, valid = (images[some], labels[some]), (images[rest], labels[rest])
            wrong += round((1 - _one_candidate(train, valid, **changes)) * len(rest))
        seconds = (time.process_time() - start) / len(folds)
        yield {"recipe": name, "images": len(labels), "wrong": wrong, "cpu_seconds": f"{seconds:.1f}"}


CANDIDATES = {
    "as it is": {},
    "bilinear maps": {"bilinear": True},
    "augment 0.05": {"augment": 0.05},
    "augment 0.1": {"augment": 0.1},
    "augment 0.2": {"augment": 0.2},
    "no label smoothing": {"label_smoothing": 0.0},
    "no average": {"average": 0.0},
    "lr 0.005": {"lr": 0.005},
    "positions of deviation 0.02": {"deviation": 0.02},
    "mean pooled": {"pool": "mean"},
}


def _never_tested() -> Pair:
    everything = join(load_digits_images("train"), load_digits_images("valid"), load_digits_images("test"))
    tested = {image.numpy().tobytes() for seed in SEEDS for image in load_digits_images("test", seed=seed)[0]}
    free = torch.tensor([image.numpy().tobytes() not in tested for image in everything[0]])
    return everything[0][free], everything[1][free]


def _one_candidate(
    train: Pair,
    valid: Pair,
    *,
    pool: str = "cls",
    deviation: float = 0.5,
    bilinear: bool = False,
    **recipe: float,
) -> float:
    model = digits_model(pool=pool)
    with torch.no_grad():
        model.pos_embed *= deviation / 0.5
    if bilinear:
        model, recipe = BilinearMaps.of(model), {"augment": 0.0}
    epochs = round(1100 / (len(train[1]) // 64))
    fit(model, train, None, epochs=epochs, progress=False, **recipe)
    return accuracy(model, valid)


class BilinearMaps(ViT):
    """A ViT that moves its training images by itself, and blurs them: ``fit`` has bicubic maps alone."""

    def __init__(self, **sizes: object):
        super().__init__(**sizes)
        self.noise = torch.Generator().manual_seed(0)

    @classmethod
    def of(cls, model: ViT) -> "BilinearMaps":
        """The same numbers, in a model that moves what it is trained on."""
        moving = cls(**model.config)
        moving.load_state_dict(model.state_dict())
        return moving

    def forward(self, image: Tensor) -> Tensor:
        """Logits of the image, or in training of what an affine map as strong as in ``fit`` makes of it."""
        if self.training:
            image = random_affine(image, STRENGTH, generator=self.noise, interpolation="bilinear")
        return super().forward(image)


def ablate() -> Iterator[Row]:
    """Train with and without positions, on images whose patches were shuffled, and with both ways of pooling.

    Patch size 2, so that there are 16 patches to shuffle; no affine maps, so that all kinds of images are
    treated alike. Each digit is seen 60 times: shuffled once, its patches lie in the same order each time;
    afresh, in another. Three seeds, each with a split of its own.
    """
    for seed in range(3):
        train, test = (load_digits_images(part, seed=seed) for part in ("train", "test"))
        for pool, positions, shuffled in VARIANTS:
            model = _positioned(digits_model(patch_size=2, depth=2, seed=seed, pool=pool), positions)
            seen, epochs = _see(train, shuffled)
            fit(model, seen, None, epochs=epochs, augment=0.0, seed=seed, progress=False)
            row = {"seed": seed, "positions": positions, "patches": shuffled, "pool": pool}
            known, unseen = SHUFFLES[shuffled](train, 1), SHUFFLES[shuffled](test, 0)
            yield row | {
                "train": f"{accuracy(model, known):.4f}",
                "accuracy": f"{accuracy(model, unseen):.4f}",
            }


def _see(train: Pair, shuffled: str, times: int = 60) -> tuple[Pair, int]:
    """What is trained on, and in how many epochs, so that each digit is seen so many times."""
    if shuffled == AFRESH:
        return join(*[shuffle_each(train, seed) for seed in range(1, times + 1)]), 1
    return SHUFFLES[shuffled](train, 1), times


def shuffle_alike(pair: Pair, seed: int) -> Pair:
    """Put the 16 patches of all images into the same new order, whatever the seed."""
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    return _reorder(pair[0], order.expand(len(pair[1]), 16)), pair[1]


def shuffle_each(pair: Pair, seed: int) -> Pair:
    """Put the 16 patches of each image into an order of its own."""
    chance = torch.rand(len(pair[1]), 16, generator=torch.Generator().manual_seed(seed))
    return _reorder(pair[0], chance.argsort(dim=1)), pair[1]


def _reorder(images: Tensor, order: Tensor) -> Tensor:
    patches = image2patches(images, 2)
    return patches2image(patches.gather(1, order[:, :, None].expand_as(patches)), 2, (8, 8))


AFRESH = "each shuffled afresh"
SHUFFLES = {
    "in place": lambda pair, seed: pair,
    "all shuffled the same way": shuffle_alike,
    "each shuffled once": shuffle_each,
    AFRESH: shuffle_each,
}
POSITIONS = ("none", "learned", "sine-cosine")
VARIANTS = [("cls", positions, shuffled) for positions in POSITIONS for shuffled in SHUFFLES]
VARIANTS += [("mean", "learned", "in place")]


def _positioned(model: ViT, positions: str) -> ViT:
    if positions == "learned":
        return model
    table = torch.zeros_like(model.pos_embed)
    if positions == "sine-cosine":
        table[0, 1:] = sincos_position(model.grid, table.shape[2])
    model.pos_embed = nn.Parameter(table, requires_grad=False)
    return model


EXPERIMENTS = {
    "choice": (choose_recipe, "choice.csv"),
    "digits": (compare_on_digits, "results.csv"),
    "fifths": (compare_on_fifths, "fifths.csv"),
    "ablation": (ablate, "ablation.csv"),
    "left_out": (train_without, "left_out.csv"),
    "recipe": (train_with_less, "recipe.csv"),
    "data_hunger": (learn_from_few, "data_hunger.csv"),
    "inside": (look_inside, "inside.csv"),
}


def main() -> None:
    """Print each row of an experiment as it comes, then write the table."""
    parser = argparse.ArgumentParser(prog="python tools/experiments.py", description=__doc__)
    parser.add_argument("experiment", choices=EXPERIMENTS)
    parser.add_argument("--out", type=Path, help="file to write instead of the table that ships")
    options = parser.parse_args()
    make, name = EXPERIMENTS[options.experiment]
    torch.set_num_threads(1)
    rows = []
    for row in make():
        rows.append(row)
        print(*row.values(), sep=", ", flush=True)
    with open(options.out or TABLES / name, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
