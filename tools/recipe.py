"""Lesson 5's trainings: the same short recipe with one part of it left out, on ten splits."""

import time
from collections.abc import Iterator

from vit_steps.data import load_digits_images
from vit_steps.lessons.learning import learn
from vit_steps.training import accuracy, digits_model

SEEDS, STEPS = range(10), 400
PARTS = {
    "nothing": {},
    "augmentation": {"augment": 0.0},
    "weight averaging": {"average": 0.0},
    "warm-up": {"warmup": 0.0},
    "decay": {"decay": False},
    "averaging and decay": {"average": 0.0, "decay": False},
}


def train_with_less() -> Iterator[dict[str, object]]:
    """Train the digits model for 400 steps of 64 images; each seed is another split, too."""
    for seed in SEEDS:
        train, test = (load_digits_images(part, seed=seed) for part in ("train", "test"))
        for left_out, changes in PARTS.items():
            start = time.process_time()
            model = learn(digits_model(seed=seed), *train, steps=STEPS, seed=seed, **changes)
            seconds = time.process_time() - start
            row = {"seed": seed, "left_out": left_out, "accuracy": f"{accuracy(model, test):.4f}"}
            yield row | {"cpu_seconds": f"{seconds:.1f}"}
