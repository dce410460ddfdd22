"""Handwritten digits that ship inside scikit-learn."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vit_steps.data.splits import SEED, Split, split_in_three
from vit_steps.doors import door


@door(*SEED)
def load_digits_images(
    split: Split, *, seed: int = 0
) -> tuple[Float[Tensor, "images 1 8 8"], Int[Tensor, " images"]]:
    """Load scikit-learn's 1,797 scans of handwritten digits (UCI, Alpaydin and Kaynak 1998), split in three.

    A fifth is held out for test and an eighth of the rest for validation, each with the same share of
    every digit: 1,257 to train, 180 to validate, 360 to test.

    Args:
        split: "train", "valid" or "test".
        seed: which of the many possible splits; the three parts of one seed never overlap.

    Returns:
        Grey images with values in [0, 1], and their labels 0 to 9.

    Raises:
        ValueError: "split must be one of train, valid, test, got 'dev'".
    """
    from sklearn.datasets import load_digits

    images, labels = (torch.from_numpy(array) for array in load_digits(return_X_y=True))
    chosen = split_in_three(labels, seed=seed)[split]
    return images[chosen].reshape(-1, 1, 8, 8).float() / 16, labels[chosen]
