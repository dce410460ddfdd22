"""Training in the open: a loop short enough to be read, from which lesson 5 leaves one part out at a time."""

import math
from copy import deepcopy

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from vit_steps.doors import door
from vit_steps.training import random_affine


def learn(
    model: nn.Module,
    images: Float[Tensor, "images channels height width"],
    labels: Int[Tensor, " images"],
    *,
    steps: int,
    augment: float = 0.15,
    average: float = 0.995,
    warmup: float = 0.1,
    decay: bool = True,
    lr: float = 3e-3,
    seed: int = 0,
) -> nn.Module:
    """Train any model as fit does, without its bars, files and processes."""
    noise = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05)
    kept = deepcopy(model)
    for step in range(steps):
        batch = torch.randint(len(labels), (64,), generator=noise)
        moved = random_affine(images[batch], augment, generator=noise)
        loss = F.cross_entropy(model(moved), labels[batch], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = lr * schedule((step + 1) / steps, warmup, decay)
        optimizer.step()
        follow(kept, model, min(average, (1 + step) / (10 + step)))
    return kept.eval()


def schedule(done: float, warmup: float, decay: bool) -> float:
    """Share of the learning rate: up in a straight line, then down along half a cosine."""
    if done < warmup:
        return done / warmup
    return (1 + math.cos(math.pi * (done - warmup) / (1 - warmup))) / 2 if decay else 1.0


@torch.no_grad()
def follow(kept: nn.Module, model: nn.Module, average: float) -> None:
    """Move a running average of the weights a little towards the weights of now."""
    for old, new in zip(kept.parameters(), model.parameters(), strict=True):
        old.lerp_(new, 1 - average)


@door("seed is at least 0")
def small_cnn(*, seed: int = 0) -> nn.Sequential:
    """A plain convolutional network for 8 × 8 digits, with as many numbers as the ViT."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return nn.Sequential(
            *(nn.Conv2d(1, 32, 3, padding=1), nn.ReLU()),
            *(nn.Conv2d(32, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(512, 112), nn.ReLU(), nn.Linear(112, 10)),
        )
