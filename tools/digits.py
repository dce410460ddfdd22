"""Write the digits that ship, `vit_steps/data/digits.safetensors`, from scikit-learn's.

    python tools/digits.py

A kernel that reads them from this file loads no scikit-learn: 72 MiB and a second less in each of a class of
sixty. The parts of seed 0 lie beside the images, in the order that `split_in_three` deals them out.
"""

import torch
from safetensors.torch import save_file
from sklearn.datasets import load_digits

from vit_steps.data import split_in_three
from vit_steps.data.digits import DIGITS
from vit_steps.files.writing import write_whole


def digits() -> dict[str, torch.Tensor]:
    """Images of 0 to 16, labels, and the places of the images in the three parts."""
    found = load_digits()
    labels = torch.from_numpy(found.target)
    parts = {name: places.to(torch.int16) for name, places in split_in_three(labels).items()}
    return {
        "images": torch.from_numpy(found.images).to(torch.uint8),
        "labels": labels.to(torch.uint8),
    } | parts


if __name__ == "__main__":
    write_whole(DIGITS, lambda draft: save_file(digits(), draft))
