"""What the functions of this room refuse."""

import math
import os
from numbers import Integral

import torch
from torch import Tensor, nn

from vit_steps.training.recipe import Recipe
from vit_steps.vit import ViT

PRECISIONS = ("no", "bf16")
INTERPOLATIONS = ("bicubic", "bilinear", "nearest")


def check_model(model: object) -> None:
    if not isinstance(model, ViT):
        raise TypeError(f"model must be a ViT, not {type(model).__name__}")
    if any(parameter.is_meta for parameter in model.parameters()):
        raise ValueError("model is on the meta device: it holds no numbers")


def check_notes(notes: object) -> None:
    if notes is not None and not isinstance(notes, dict):
        raise TypeError(f"notes must be a dict, got {notes!r:.80}")


def check_measured(model: object, batch_size: object) -> None:
    if not isinstance(model, nn.Module):
        raise TypeError(f"model must be an nn.Module, not {type(model).__name__}")
    check_integer("batch_size", batch_size, 1)


def check_hooks(checkpoint: object, on_epoch: object) -> None:
    if checkpoint is not None:
        check_path("checkpoint", checkpoint)
    if on_epoch is not None and not callable(on_epoch):
        raise TypeError(f"on_epoch must be callable, not {type(on_epoch).__name__}")


def check_path(name: str, path: object) -> None:
    if not isinstance(path, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, not {type(path).__name__}")
    if "\0" in os.fsdecode(path):
        raise ValueError(f"{name} has a NUL in it, got {path!r}")


def check_recipe(recipe: Recipe) -> None:
    for name, least in {"epochs": 1, "batch_size": 1, "seed": 0}.items():
        check_integer(name, getattr(recipe, name), least)
    for name, end in {"lr": math.inf, "weight_decay": math.inf}.items():
        check_range(name, getattr(recipe, name), end)
    for name in ("label_smoothing", "augment", "average"):
        check_range(name, getattr(recipe, name), 1)
    if recipe.mixed_precision not in PRECISIONS:
        raise ValueError(f"mixed_precision must be one of no, bf16, got {recipe.mixed_precision!r}")


def check_integer(name: str, number: object, least: int) -> None:
    # To Python, True is an integer; here it never is what the caller meant.
    if isinstance(number, bool) or not isinstance(number, Integral):
        raise TypeError(f"{name} must be an integer, got {number!r}")
    if number < least:
        raise ValueError(f"{name} must be at least {least}, got {number}")


def check_range(name: str, number: object, end: int | float) -> None:
    if isinstance(number, bool) or not isinstance(number, (int, float)):
        raise TypeError(f"{name} must be a number, got {number!r}")
    if not 0 <= number < end:
        raise ValueError(f"{name} must be at least 0 and below {end}, got {number}")


def check_images(name: str, pair: object, model: ViT) -> None:
    check_pair(name, pair, model.config["num_classes"])
    images, _ = pair
    expected = (model.channels, *model.image_size)
    if tuple(images.shape[1:]) != expected:
        got, wanted = (" x ".join(map(str, sizes)) for sizes in (images.shape[1:], expected))
        raise ValueError(f"{name} images are {got}, the model was made for {wanted}")
    if images.dtype != model.pos_embed.dtype:
        raise TypeError(f"{name} images are {images.dtype}, the model is {model.pos_embed.dtype}")


def check_pair(name: str, pair: object, classes: int | None = None) -> None:
    """What a pair must be for any model, or for one with so many classes."""
    if not (isinstance(pair, tuple) and len(pair) == 2 and all(isinstance(part, Tensor) for part in pair)):
        raise TypeError(f"{name} must be a tuple of two tensors, images and labels")
    images, labels = pair
    if images.ndim != 4:
        axes = "(images channels height width)"
        raise ValueError(f"{name} images must have the axes {axes}, got shape {tuple(images.shape)}")
    if not images.is_floating_point():
        raise TypeError(f"{name} images must be floating-point, got {images.dtype}")
    _check_numbers(name, images, labels)
    _check_labels(name, labels, len(images), classes)


def _check_numbers(name: str, images: Tensor, labels: Tensor) -> None:
    if images.is_meta or labels.is_meta:
        raise ValueError(f"{name} is on the meta device: it holds no numbers")
    if not images.isfinite().all():
        raise ValueError(f"{name} images hold NaN or infinity")


def check_affine(images: object, strength: object, generator: object, interpolation: object) -> None:
    if not isinstance(images, Tensor):
        raise TypeError(f"images must be a torch.Tensor, not {type(images).__name__}")
    if images.ndim != 4 or 0 in images.shape:
        axes = "(batch channels height width)"
        raise ValueError(f"images must have the axes {axes}, none empty, got shape {tuple(images.shape)}")
    if not images.is_floating_point():
        raise TypeError(f"images must be floating-point, got {images.dtype}")
    check_range("strength", strength, math.inf)
    if not isinstance(generator, torch.Generator):
        raise TypeError(f"generator must be a torch.Generator, not {type(generator).__name__}")
    if interpolation not in INTERPOLATIONS:
        raise ValueError(f"interpolation must be one of {', '.join(INTERPOLATIONS)}, got {interpolation!r}")


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
        raise ValueError("model has no head to train, num_classes is 0")
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise ValueError(f"{name} labels must lie in 0 to {classes - 1}, got {wrong[0].item()}")
