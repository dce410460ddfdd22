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
    counts = right_by_class(model, images_and_labels, batch_size=batch_size)
    return sum(right for right, _ in counts.values()) / len(images_and_labels[1])


@door(_pair)
def right_by_class(
    model: nn.Module,
    images_and_labels: tuple[Float[Tensor, "images channels height width"], Int[Tensor, " images"]],
    *,
    batch_size: int = 256,
) -> dict[int, tuple[int, int]]:
    """How many images of each class a model puts into it, and how many there are: recall, as two counts.

    Arguments and errors are those of :func:`accuracy`.
    """
    found, expected = _answers(model, *images_and_labels, index(batch_size))
    counts = {}
    for label in expected.unique().tolist():
        of_class = expected == label
        counts[label] = (int((found[of_class] == label).sum()), int(of_class.sum()))
    return counts


def _answers(model: nn.Module, images: Tensor, labels: Tensor, batch_size: int) -> tuple[Tensor, Tensor]:
    """What a model says of each image, and what is right, in one order in all processes."""
    accelerator, answers = make_accelerator(), []
    share = math.ceil(len(labels) / accelerator.num_processes)
    loader = make_loader((images, labels), min(batch_size, share) * accelerator.num_processes)
    device = next((parameter.device for parameter in model.parameters()), images.device)
    with torch.inference_mode():
        for some, expected in accelerator.prepare(loader):
            found = model(some.to(device)).argmax(dim=1).to(expected.device)
            answers.append(accelerator.gather_for_metrics(torch.stack([found, expected], dim=1)))
    found, expected = torch.cat(answers).cpu().unbind(dim=1)
    return found, expected
