"""The ViT beside a support vector machine and nearest neighbours, each with and without moved copies.

Two ways of holding images out. At random, as :func:`load_digits_images` does: all 13 writers of
scikit-learn's digits are in both parts. In fifths, in the order of the file, which keeps most writers apart.
"""

import time
from collections.abc import Callable, Iterator
from inspect import signature
from typing import Any

import torch
from torch import Tensor

from vit_steps.data import load_digits_images
from vit_steps.training import accuracy, digits_model, fit, random_affine

Pair = tuple[Tensor, Tensor]
Row = dict[str, object]
Classifier = Callable[[Pair], float]
SEEDS = range(5)
RECIPE = {"epochs": 50}  # what differs from the defaults of fit
STRENGTH = signature(fit).parameters["augment"].default
COPIES = 10  # of each digit, for those who cannot move them afresh in each epoch


def compare_on_digits() -> Iterator[Row]:
    """Five random splits, one for each seed.

    All learn from the training and the validation part together: nothing is left to be chosen but the
    baselines' own settings, by five-fold cross-validation within these images.
    """
    for seed in SEEDS:
        train = join(load_digits_images("train", seed=seed), load_digits_images("valid", seed=seed))
        yield from _compare(train, load_digits_images("test", seed=seed), seed)


def compare_on_fifths() -> Iterator[Row]:
    """Five fifths in the order of the file; ``seed`` counts them and is that of what is drawn."""
    images, labels = in_file_order()
    for seed, places in enumerate(torch.arange(len(labels)).tensor_split(len(SEEDS))):
        rest = torch.ones(len(labels), dtype=torch.bool)
        rest[places] = False
        yield from _compare((images[rest], labels[rest]), (images[places], labels[places]), seed)


def in_file_order() -> Pair:
    """All of scikit-learn's digits as they lie in its file, scaled as :func:`load_digits_images` does."""
    from sklearn.datasets import load_digits

    images, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    return images.reshape(-1, 1, 8, 8).float() / 16, labels


def join(*pairs: Pair) -> Pair:
    """All images and labels of several pairs."""
    images, labels = zip(*pairs, strict=True)
    return torch.cat(images), torch.cat(labels)


def copied(pair: Pair, seed: int) -> Pair:
    """Ten copies of each image, moved as :func:`fit` moves the ViT's."""
    noise = torch.Generator().manual_seed(seed)
    copies = [random_affine(pair[0], STRENGTH, generator=noise) for _ in range(COPIES)]
    return torch.cat(copies), pair[1].repeat(COPIES)


def _compare(train: Pair, test: Pair, seed: int) -> Iterator[Row]:
    split = f"{len(train[1])} train, {len(test[1])} test"
    for name, learn in MODELS.items():
        start = time.process_time()
        classify = learn(train, seed)
        seconds = time.process_time() - start
        row = {"seed": seed, "split": split, "model": name}
        yield row | {"accuracy": f"{classify(test):.4f}", "cpu_seconds": f"{seconds:.1f}"}


def learn_vit(train: Pair, seed: int, **recipe: float) -> Classifier:
    """Train the ViT as the lessons do."""
    model = digits_model(seed=seed)
    fit(model, train, None, seed=seed, progress=False, **RECIPE | recipe)
    return lambda test: accuracy(model, test)


def learn_vit_unmoved(train: Pair, seed: int) -> Classifier:
    """Train it on the images as they are."""
    return learn_vit(train, seed, augment=0.0)


def learn_svm(train: Pair, seed: int) -> Classifier:
    """An RBF support vector machine, its two numbers chosen by cross-validation."""
    from sklearn.svm import SVC

    return _choose(SVC(), {"C": [1, 10, 100], "gamma": [0.05, 0.1, 0.2, 0.4]}, train)


def learn_svm_copies(train: Pair, seed: int) -> Classifier:
    """The same on ten copies, with the numbers that cross-validation mostly chooses without."""
    from sklearn.svm import SVC

    return _learn(SVC(C=10, gamma=0.2), copied(train, seed))


def learn_neighbours(train: Pair, seed: int) -> Classifier:
    """Nearest neighbours, how many and how they vote chosen by cross-validation."""
    from sklearn.neighbors import KNeighborsClassifier

    settings = {"n_neighbors": [1, 3, 5, 7], "weights": ["uniform", "distance"]}
    return _choose(KNeighborsClassifier(), settings, train)


def learn_neighbours_copies(train: Pair, seed: int) -> Classifier:
    """Three nearest neighbours among ten copies."""
    from sklearn.neighbors import KNeighborsClassifier

    return _learn(KNeighborsClassifier(3), copied(train, seed))


def _choose(model: Any, settings: dict, train: Pair) -> Classifier:
    from sklearn.model_selection import GridSearchCV

    return _learn(GridSearchCV(model, settings, cv=5), train)


def _learn(model: Any, train: Pair) -> Classifier:
    model.fit(train[0].flatten(1).numpy(), train[1].numpy())
    return lambda test: model.score(test[0].flatten(1).numpy(), test[1].numpy())


MODELS = {
    "ViT, patch size 4": learn_vit,
    "ViT without moved copies": learn_vit_unmoved,
    "RBF support vector machine": learn_svm,
    "support vector machine, ten moved copies": learn_svm_copies,
    "nearest neighbours": learn_neighbours,
    "nearest neighbours, ten moved copies": learn_neighbours_copies,
}
