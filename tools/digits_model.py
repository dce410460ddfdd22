"""The model that ships, made again, and what it reads: ``vit_steps/weights/digits.safetensors``.

    python tools/digits_model.py train      seven minutes on one core; writes the file
    python tools/digits_model.py figures    how often it is right, on what it never saw

It learns from scikit-learn's training digits and from MNIST's (``mnist.py``), in a scanner's ink and in a
pen's. It is tested on parts of both that were dealt out before, and on strokes of ``strokes.py``, which are
nobody's handwriting and none of what it learned from.
"""

import argparse
from pathlib import Path

import mnist
import torch
from mnist import Copies, load_mnist
from strokes import RADII, WAYS, draw_digits, draw_plainly
from torch import Tensor
from tqdm import tqdm

from vit_steps import ViT
from vit_steps.data import load_digits_images
from vit_steps.training import (
    SHIPPED,
    accuracy,
    digits_model,
    fit,
    load_checkpoint,
    random_affine,
    save_checkpoint,
)

Pair = tuple[Tensor, Tensor]
COPIES = 50
RECIPE = {
    "epochs": 2,
    "batch_size": 128,
    "lr": 3e-3,
    "label_smoothing": 0.05,
    "augment": 0.0,
    "average": 0.999,
}


def fresh() -> ViT:
    """A model of the size that ships: 16 patches of 2 × 2 pixels, four blocks."""
    return digits_model(patch_size=2, depth=4)


def train(copies: int, path: Path, **recipe) -> None:
    """Train the model that ships and write it."""
    model = fresh()
    history = fit(model, learned_from(copies), chosen_on(), **RECIPE | recipe)
    notes = {"classes": [*"0123456789"], "split_seed": 0, "valid_accuracy": max(history.valid_accuracy)}
    notes["test_accuracy"] = accuracy(model, load_digits_images("test"))
    notes["command"] = "python tools/digits_model.py train"
    save_checkpoint(model, path, notes=notes)


def learned_from(copies: int) -> Pair:
    """Both training parts, each digit ``copies`` times and each time otherwise."""
    scans, labels = load_digits_images("train")
    theirs, their_labels = load_mnist("train")
    noise, moved = torch.Generator().manual_seed(0), Copies(theirs, seed=1)
    images, answers = [], []
    for _ in tqdm(range(copies), desc="copies", unit="copy"):
        images += [random_affine(scans, 0.15, generator=noise) for _ in range(2)]
        images += [moved.scanned(), moved.drawn()]
        answers += [labels, labels, their_labels, their_labels]
    return torch.cat(images), torch.cat(answers)


def chosen_on() -> Pair:
    """The validation parts of both, which choose the epoch."""
    scans, labels = load_digits_images("valid")
    theirs, their_labels = load_mnist("valid")
    images = [scans, mnist.shrink(theirs), mnist.write_plainly(theirs)]
    return torch.cat(images), torch.cat([labels, their_labels, their_labels])


def figures(model: ViT, part: str = "test") -> dict[str, tuple[float, int]]:
    """How often a model is right and on how many images, by what it is shown."""
    tests = {f"scikit-learn's {part} digits": load_digits_images(part)}
    if mnist.is_there():
        theirs, labels = load_mnist(part)
        tests |= {f"MNIST, {name}": (mnist.shrink(theirs, box), labels) for name, box in mnist.BOXES.items()}
        tests["MNIST, redrawn with the pad's pen"] = mnist.write_plainly(theirs), labels
    for radius in RADII:
        tests[f"strokes, pen of {2 * radius:.1f} pixels"] = draw_digits(50, radius)
    return {name: (accuracy(model, pair), len(pair[1])) for name, pair in tests.items()}


def sevens(model: ViT) -> dict[str, tuple[float, int]]:
    """The answer to each way of writing a 7, plainly drawn, and how sure the model is of a 7."""
    drawn = torch.cat([draw_plainly(7, way) for way in WAYS[7]])
    with torch.inference_mode():
        chances = model(drawn).softmax(dim=1)
    return {
        way: (chance[7].item(), int(chance.argmax())) for way, chance in zip(WAYS[7], chances, strict=True)
    }


def show(model: ViT, part: str) -> None:
    for name, (share, count) in figures(model, part).items():
        print(f"{name:36} {share:7.2%} of {count:5}")
    for way, (chance, answer) in sevens(model).items():
        print(f"{f'a 7, {way}, plainly drawn':36} is read as {answer}, as a 7 with {chance:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python tools/digits_model.py", description=__doc__)
    parser.add_argument("command", choices=("train", "figures"))
    parser.add_argument(
        "--file", type=Path, default=SHIPPED, help="of the model, if it is not the one that ships"
    )
    parser.add_argument(
        "--part", default="test", choices=("valid", "test"), help="choose on valid, not on test"
    )
    parser.add_argument("--copies", type=int, default=COPIES)
    parser.add_argument("--epochs", type=int, default=RECIPE["epochs"])
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.command == "train":
        train(options.copies, options.file, epochs=options.epochs)
    show(load_checkpoint(options.file), options.part)


if __name__ == "__main__":
    main()
