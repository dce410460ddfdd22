"""Lesson 5's comparison with few digits, and one pixel's shift: a ViT, a small CNN, a support vector machine.

All three see the same digits moved in the same way: the networks afresh in each step, the support vector
machine in ten copies of each digit. Networks are trained alike, for as many steps from 50 digits as from all.
"""

import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from vit_steps.data import load_digits_images
from vit_steps.lessons.learning import learn, small_cnn
from vit_steps.training import digits_model, random_affine

SEEDS, STEPS, COPIES = range(5), 400, 10
IMAGES = (50, 200, 1257)
ONE_PIXEL = ((1, 0), (-1, 0), (0, 1), (0, -1))  # down, up, to the right, to the left

Pair = tuple[Tensor, Tensor]


def learn_from_few() -> Iterator[dict[str, object]]:
    """Train each from the first 50, 200 and all training digits of five splits, and shift the test digits."""
    for seed in SEEDS:
        (images, labels), test = (load_digits_images(part, seed=seed) for part in ("train", "test"))
        moved = [(shift(test[0], *way), test[1]) for way in ONE_PIXEL]
        for count in IMAGES:
            for name, method in MODELS.items():
                start = time.process_time()
                classify = method((images[:count], labels[:count]), seed)
                seconds = time.process_time() - start
                shares = {"accuracy": share(classify, test)}
                shares["shifted"] = sum(share(classify, pair) for pair in moved) / len(moved)
                row = {"seed": seed, "images": count, "model": name}
                row |= {key: f"{value:.4f}" for key, value in shares.items()}
                yield row | {"cpu_seconds": f"{seconds:.1f}"}


def shift(images: Tensor, down: int, right: int) -> Tensor:
    """Move each image by whole pixels; what comes in is black, and what goes out is lost."""
    padded = torch.nn.functional.pad(images, (1, 1, 1, 1))
    height, width = images.shape[2:]
    return padded[:, :, 1 - down : 1 - down + height, 1 - right : 1 - right + width]


def share(classify: Callable[[Tensor], Tensor], pair: Pair) -> float:
    return (classify(pair[0]) == pair[1]).double().mean().item()


def _by_network(make: Callable) -> Callable:
    def method(train: Pair, seed: int) -> Callable:
        model = learn(make(seed=seed), *train, steps=STEPS, seed=seed)
        return torch.inference_mode()(lambda images: model(images).argmax(dim=1))

    return method


def _by_svm(train: Pair, seed: int) -> Callable:
    from sklearn.svm import SVC

    noise = torch.Generator().manual_seed(seed)
    copies = [random_affine(train[0], 0.15, generator=noise) for _ in range(COPIES)]
    machine = SVC(C=10, gamma=0.2).fit(torch.cat([train[0], *copies]).flatten(1), train[1].repeat(1 + COPIES))
    return lambda images: torch.from_numpy(machine.predict(images.flatten(1).numpy()))


MODELS = {"ViT": _by_network(digits_model), "CNN": _by_network(small_cnn), "support vector machine": _by_svm}
