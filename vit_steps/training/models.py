"""Fresh models, made to be trained."""

import torch
from torch import nn

from vit_steps.doors import door
from vit_steps.vit import ViT


@door("seed is at least 0")
def fresh_model(*, seed: int = 0, **config: object) -> ViT:
    """Make a ViT whose positions start as large as the patches they are added to (deviation 0.5).

    With the paper's 0.02 a small model first has to learn to see the positions at all. Of a model that turns
    queries and keys by their places there is no table, and nothing to enlarge.

    Args:
        seed: of the parameters; torch's global random numbers are left as they were.
        **config: the arguments of :class:`ViT`.

    Raises: as :class:`ViT`, and "seed must be at least 0, got -1".
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = ViT(**config)
        if model.pos_embed is not None:
            nn.init.normal_(model.pos_embed, std=0.5)
    return model


def digits_model(*, patch_size: int = 4, depth: int = 3, pool: str = "cls", seed: int = 0) -> ViT:
    """Make the small ViT that learns scikit-learn's 8×8 digits: tokens of 64 numbers, four heads."""
    sizes = {"image_size": 8, "patch_size": patch_size, "channels": 1, "num_classes": 10}
    return fresh_model(seed=seed, dim=64, depth=depth, num_heads=4, mlp_dim=256, pool=pool, **sizes)
