"""Handwritten digits: scikit-learn's, in a file of our own, so that a kernel need not load scikit-learn."""

from pathlib import Path

from jaxtyping import Float, Int
from torch import Tensor

from vit_steps.data.splits import SEED, Split, split_in_three
from vit_steps.doors import door
from vit_steps.files.reading import read_safetensors

DIGITS = Path(__file__).with_suffix(".safetensors")
DEALT_OUT = 0  # the seed whose parts lie in the file: dealing out takes scikit-learn


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
    found, _ = read_safetensors(DIGITS)
    images, labels = found["images"], found["labels"].long()
    parts = found if seed == DEALT_OUT else split_in_three(labels, seed=seed)
    chosen = parts[split].long()
    return images[chosen][:, None].float() / 16, labels[chosen]
