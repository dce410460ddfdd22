"""Lesson 5's trainings: the same short recipe with one part of it left out, on five splits."""

import time
from collections.abc import Iterator

from vit_steps.data import load_digits_images
from vit_steps.lessons.learning import learn
from vit_steps.training import accuracy, digits_model

SEEDS, STEPS = range(5), 800
RATE, FAST = 3e-3, 2e-2
PARTS = {
    ("nothing", RATE): {},
    ("augmentation", RATE): {"augment": 0.0},
    ("weight averaging", RATE): {"average": 0.0},
    ("averaging and decay", RATE): {"average": 0.0, "decay": False},
    ("warm-up", RATE): {"warmup": 0.0},
    ("nothing", FAST): {},
    ("warm-up", FAST): {"warmup": 0.0},
}


def train_with_less() -> Iterator[dict[str, object]]:
    """Train the digits model for 800 steps of 64 images; each seed is another split, too.

    Without warm-up it is trained at a higher rate as well: at a low one there is little to warm up for.
    """
    for seed in SEEDS:
        train, test = (load_digits_images(part, seed=seed) for part in ("train", "test"))
        for (left_out, lr), changes in PARTS.items():
            start = time.process_time()
            model = learn(digits_model(seed=seed), *train, steps=STEPS, lr=lr, seed=seed, **changes)
            seconds = time.process_time() - start
            row = {"seed": seed, "left_out": left_out, "lr": lr, "accuracy": f"{accuracy(model, test):.4f}"}
            yield row | {"cpu_seconds": f"{seconds:.1f}"}
