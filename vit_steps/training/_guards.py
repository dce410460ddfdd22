"""What the functions of this room refuse."""

import math
from typing import Any

import torch
from torch import Tensor

from vit_steps.doors import values
from vit_steps.training.recipe import Recipe
from vit_steps.vit import ViT

PRECISIONS = ("no", "bf16")


def with_numbers(model: ViT) -> None:
    """Refuse a model that is only a plan."""
    if any(parameter.is_meta for parameter in model.parameters()):
        raise ValueError("model is on the meta device: it holds no numbers")


def check_run(model: Any, checkpoint: object, on_epoch: object, origin: object) -> None:
    """Refuse a model that is none, and hooks that cannot be."""
    values.instance("model", model, ViT)
    with_numbers(model)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise ValueError("model has no parameter to train: all are frozen (requires_grad is False)")
    if origin is not None and not isinstance(origin, str):
        raise TypeError(f"origin must be a text, not {type(origin).__name__}")
    if checkpoint is not None:
        values.path("checkpoint", checkpoint)
    if on_epoch is not None:
        values.function("on_epoch", on_epoch)


def check_recipe(recipe: Recipe) -> None:
    """Refuse numbers with which nothing could be learned."""
    for name, least in {"epochs": 1, "batch_size": 1, "seed": 0}.items():
        values.integer(name, getattr(recipe, name), least)
    for name, end in {"lr": math.inf, "weight_decay": math.inf}.items():
        _check_range(name, getattr(recipe, name), end)
    for name in ("label_smoothing", "augment", "average"):
        _check_range(name, getattr(recipe, name), 1)
    values.one_of("mixed_precision", recipe.mixed_precision, PRECISIONS)


def _check_range(name: str, number: object, end: int | float) -> None:
    values.number(name, number)
    if not 0 <= number < end:
        raise ValueError(f"{name} must be at least 0 and below {end}, got {number}")


def check_images(name: str, pair: Any, model: ViT) -> None:
    """Refuse images and labels that the model was not made for."""
    check_pair(name, pair, model.num_classes)
    images, _ = pair
    expected = (model.channels, *model.image_size)
    if tuple(images.shape[1:]) != expected:
        got, wanted = (" x ".join(map(str, sizes)) for sizes in (images.shape[1:], expected))
        raise ValueError(f"{name} images are {got}, the model was made for {wanted}")
    own = next(model.parameters()).dtype
    if images.dtype != own:
        raise TypeError(f"{name} images are {images.dtype}, the model is {own}")


def check_pair(name: str, pair: object, classes: int | None = None) -> None:
    """What a pair must be for any model, or for one with so many classes."""
    if not (isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(part, Tensor) for part in pair)):
        raise TypeError(f"{name} must be a tuple of two tensors, images and labels")
    images, labels = pair
    if images.ndim != 4:
        axes = "(images channels height width)"
        raise ValueError(f"{name} images must have the axes {axes}, got shape {tuple(images.shape)}")
    values.floating(f"{name} images", images)
    _check_numbers(name, images, labels)
    _check_labels(name, labels, len(images), classes)


def _check_numbers(name: str, images: Tensor, labels: Tensor) -> None:
    if labels.is_meta:
        raise ValueError(f"{name} is on the meta device: it holds no numbers")
    values.finite(f"{name} images", images)


def _check_labels(name: str, labels: Tensor, images: int, classes: int | None) -> None:
    if labels.dtype != torch.int64:
        raise TypeError(f"{name} labels must be int64, got {labels.dtype}")
    if labels.shape != (images,):
        raise ValueError(f"{name} has {images} images and labels of shape {tuple(labels.shape)}")
    if not images:
        raise ValueError(f"{name} has no images")
    if classes is None:  # any number may be a class
        return
    if classes == 0:
        raise ValueError("model has no head to train, num_classes is 0: model.with_head(classes) adds one")
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        known = f"the head has {classes} classes: 0 to {classes - 1}"
        raise ValueError(f"{name} has label {wrong[0].item()}, {known}")
