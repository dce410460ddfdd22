"""Where the command's model begins: fresh, or from weights that somebody trained."""

import argparse
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from vit_steps.files.reading import digest
from vit_steps.pretrained import Preprocess, load_pretrained
from vit_steps.pretrained._noted import note_preprocess
from vit_steps.training.models import fresh_model
from vit_steps.vit import ViT

# What is usual where weights are trained already; the learning rate where all of them learn on is that of
# transformers' Trainer. A new head alone takes that of a fresh model.
EPOCHS, LR = 10, 5e-5
THEIRS = ("channels", "patch_size", "dim", "depth", "heads", "pool")  # what the weights decide


class Start(NamedTuple):
    """Weights that are gone on from: the model, how its images are prepared, its classes, whose they are."""

    model: ViT
    preprocess: Preprocess
    labels: list[str]
    origin: str

    def prepare(self, images: Float[Tensor, "images channels height width"]) -> Tensor:
        """Images that are tensors already: taken as they are where the model takes them."""
        takes = (self.model.channels, *self.model.image_size)
        return images if tuple(images.shape[1:]) == takes else self.preprocess(images)


def defaults_of(options: argparse.Namespace) -> dict:
    """What the options are with ``--from``, unless somebody gives them; None where the weights decide."""
    lr = {} if options.freeze else {"lr": LR}
    return {**dict.fromkeys((*THEIRS, "image_size")), "epochs": EPOCHS, **lr}


def load_start(options: argparse.Namespace) -> Start | None:
    """Load the weights of ``--from``, where it is given."""
    if options.source is None:
        return None
    model, preprocess, labels = load_pretrained(options.source, image_size=options.image_size)
    name = str(options.source).replace("\\", "/").rstrip("/").rpartition("/")[2]
    return Start(model, preprocess, labels, f"{name} {digest(model.state_dict(), {})[:8]}")


def model_of(
    options: argparse.Namespace, start: Start | None, images: Tensor, classes: tuple[str, ...]
) -> ViT:
    """Make the model that is to be trained; trained weights keep a head whose classes have the same names."""
    if start is None:
        return _fresh(options, images, len(classes))
    model = start.model if start.labels == [*classes] else start.model.with_head(len(classes))
    if options.freeze:
        model.requires_grad_(False).head.requires_grad_(True)
    return model


def notes_of(start: Start | None) -> dict:
    """What the model's file says of where it began; ``load_pretrained`` prepares images by it."""
    return {} if start is None else {"from": start.origin, "preprocess": note_preprocess(start.preprocess)}


def _fresh(options: argparse.Namespace, images: Tensor, classes: int) -> ViT:
    return fresh_model(
        seed=options.seed,
        image_size=tuple(images.shape[2:]),
        patch_size=options.patch_size,
        channels=images.shape[1],
        dim=options.dim,
        depth=options.depth,
        num_heads=options.heads,
        mlp_dim=4 * options.dim,
        num_classes=classes,
        pool=options.pool,
    )
