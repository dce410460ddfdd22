"""Lesson 4's trainings: blocks without the residual, the norms, the MLP or the division by sqrt(head_dim)."""

import time
from collections.abc import Iterator

from vit_steps.data import load_digits_images
from vit_steps.lessons.left_out import PARTS, leave_out
from vit_steps.training import accuracy, fit, fresh_model

SEEDS, DEPTHS, RATES = range(5), (4, 12), (1e-3, 3e-4)
# One head of 64 numbers: as wide as each head of ViT-B. Four patches, so that it takes seconds.
SIZES = {"image_size": 8, "patch_size": 4, "channels": 1, "dim": 64, "num_heads": 1, "mlp_dim": 256}


def train_without() -> Iterator[dict[str, object]]:
    """Train for ten epochs with one part of each block left out, at two learning rates.

    What is fair for one block may be unfair for another: so each part is left out at both, and who reads the
    table takes the rate that is best on the validation images. Each seed is another split, too.
    """
    for depth in DEPTHS:
        for seed in SEEDS:
            for part in PARTS:
                for lr in RATES:
                    yield {"depth": depth, "seed": seed, "left_out": part, "lr": lr} | train(
                        depth, seed, part, lr
                    )


def train(depth: int, seed: int, part: str, lr: float) -> dict[str, str]:
    """One training: how often it is right on images that it did not learn from."""
    learn, valid, test = (load_digits_images(name, seed=seed) for name in ("train", "valid", "test"))
    model = leave_out(fresh_model(seed=seed, depth=depth, num_classes=10, **SIZES), part)
    start = time.process_time()
    fit(model, learn, None, epochs=10, lr=lr, augment=0.0, average=0.0, seed=seed, progress=False)
    seconds = time.process_time() - start
    shares = {"valid": accuracy(model, valid), "test": accuracy(model, test)}
    return {name: f"{share:.4f}" for name, share in shares.items()} | {"cpu_seconds": f"{seconds:.1f}"}
