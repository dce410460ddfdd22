"""How often a model is right, counted by one process or by many."""

import math
from operator import index

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from vit_steps.doors import door
from vit_steps.training._guards import check_pair
from vit_steps.training._processes import make_accelerator, make_loader


def _pair(images_and_labels: object) -> None:
    check_pair("images_and_labels", images_and_labels)


@door(_pair)
def accuracy(
    model: nn.Module,
    images_and_labels: tuple[Float[Tensor, "images channels height width"], Int[Tensor, " images"]],
    *,
    batch_size: int = 256,
) -> float:
    """Share of the images that a model puts into the right class, in [0, 1].

    Under ``accelerate launch`` the processes share the work, and each image counts once.

    Args:
        model: gives logits; it may be on any device.
        images_and_labels: as :func:`fit` takes them.
        batch_size: images that one process looks at together.

    Raises:
        ValueError: "images_and_labels has 64 images and labels of shape (63,)", no images, NaN among them.
        TypeError: an argument of the wrong kind.
    """
    accelerator = make_accelerator()
    images, labels = images_and_labels
    share = math.ceil(len(labels) / accelerator.num_processes)
    loader = make_loader((images, labels), min(index(batch_size), share) * accelerator.num_processes)
    device = next((parameter.device for parameter in model.parameters()), images.device)
    right = 0
    with torch.inference_mode():
        for some, expected in accelerator.prepare(loader):
            found = model(some.to(device)).argmax(dim=1).to(expected.device)
            right += accelerator.gather_for_metrics(found == expected).sum().item()
    return right / len(labels)
