"""Small models and images for the tests of training, none of them kind."""

import os

import pytest
import torch

from vit_steps import ViT
from vit_steps.data import load_digits_images

QUIET = {"progress": False}
with_signals = pytest.mark.skipif(os.name == "nt", reason="Windows sends no such signals to a process")


def unkind_model(**changes) -> ViT:
    """A small model on non-square images, every parameter away from its start."""
    sizes = {"image_size": (6, 10), "patch_size": 2, "channels": 2, "dim": 12, "depth": 2, "num_heads": 3}
    model = ViT(**{**sizes, "mlp_dim": 20, "num_classes": 3, **changes})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def unkind_images(count: int, dtype=torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(count, 2, 6, 10, dtype=dtype), torch.randint(0, 3, (count,))


def digits(count: int, split: str = "train") -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = load_digits_images(split)
    return images[:count], labels[:count]


def same_weights(one: ViT, other: ViT) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)
