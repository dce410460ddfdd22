"""One line for a map: a model, a photograph, and where the one looked on the other.

    from vit_steps.looking.look import look

    look("facebook/deit-tiny-patch16-224", "cat.jpg")                       # a picture, in Jupyter
    look("facebook/deit-tiny-patch16-224", "cat.jpg", control=True).save("map.png")

``python -m vit_steps.looking`` is the same from a shell. Of the room ``looking`` only this module and that
command know where trained weights come from.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vit_steps.classification import top_k
from vit_steps.doors import door, values
from vit_steps.files.pictures import convert_picture, open_picture, printable
from vit_steps.looking._drawable import channels_last
from vit_steps.looking.views import Look
from vit_steps.pretrained import Preprocess, Pretrained, load_pretrained
from vit_steps.vit import Trace, ViT

MODES = {1: "L", 3: "RGB"}  # Pillow's names for grey and colour
NAMED = 5  # classes, of which an answer says how probable each is


def _ask_model(name: str, model: Any) -> None:
    """Take what :func:`look` can make a model, its preparation and its names of."""
    if isinstance(model, (str, os.PathLike)):
        values.path(name, model)
    elif isinstance(model, tuple) and len(model) in (2, 3):
        values.instance(f"the first of {name}", model[0], ViT)
        values.instance(f"the second of {name}", model[1], Preprocess)
        if len(model) == 3:
            values.names(f"the third of {name}", model[2])
    else:
        got = "a ViT without its preprocess" if isinstance(model, ViT) else type(model).__name__
        raise TypeError(f"{name} must be a name, a path, or (model, preprocess, labels), not {got}")


def _ask_photo(name: str, photo: Any) -> None:
    if isinstance(photo, Tensor):
        _ask_tensor(name, photo)
    elif isinstance(photo, np.ndarray):
        if photo.dtype != np.uint8 or photo.shape[2:] not in ((), (3,)) or photo.ndim < 2 or not photo.size:
            wanted = "8 bits, (height, width, 3) or (height, width)"
            raise ValueError(f"{name} as an array must have {wanted}, got {photo.dtype} {photo.shape}")
    elif not isinstance(photo, (str, os.PathLike, Image.Image)):
        kinds = "a path, a PIL image, an array or a tensor"
        raise TypeError(f"{name} must be {kinds}, not {type(photo).__name__}")


def _ask_tensor(name: str, photo: Tensor) -> None:
    if photo.ndim not in (3, 4) or photo.shape[:-3] not in ((), (1,)) or photo.shape[-3] not in MODES:
        axes = "(channels height width), one or three channels"
        raise ValueError(f"{name} as a tensor must have the axes {axes}, got shape {tuple(photo.shape)}")
    if not photo.numel():
        raise ValueError(f"{name} has no pixels: its shape is {tuple(photo.shape)}")
    values.between(name, values.filled(name, values.floating(name, photo)), 0, 1)


@door("seed is at least 0", model=_ask_model, photo=_ask_photo)
def look(
    model: str | os.PathLike | tuple,
    photo: str | os.PathLike | Image.Image | np.ndarray | Tensor,
    *,
    control: bool = False,
    seed: int = 0,
) -> Look:
    """Let a model look at a photograph, and lay what it looked at on the photograph as it was taken.

    Args:
        model: a name on the Hub, a folder or a file, as ``load_pretrained`` reads them; or what that gave; or
            ``(model, preprocess)`` of your own.
        photo: a path, which is read and turned upright as its camera noted; or a PIL image, an array of 8
            bits, (height, width, 3) or (height, width), or a tensor with values in [0, 1], as they stand.
        control: whether an untrained twin looks, too: the same model with parameters freshly drawn. What its
            map shows, no training put there.
        seed: of the twin's parameters.

    Returns:
        A :class:`Look`, whose view is the rollout.

    Raises:
        FileNotFoundError: "there is no picture cat.jpg", or no such model.
        ValueError: "cat.png is no picture that can be read: ...", a model that cannot be loaded, that holds
            NaN or no numbers, or that was made for other pixels than its preprocess makes.
        TypeError: "model must be a name, a path, or (model, preprocess, labels), not int".

    Example:
        >>> look("facebook/deit-tiny-patch16-224", "cat.jpg").save("map.png")  # doctest: +SKIP
    """
    photograph = _opened(photo, "RGB")  # first, since a model may have to be fetched
    return look_at(_loaded(model), photo, photograph, control=control, seed=seed)


def look_at(
    loaded: Pretrained, photo: Any, photograph: Image.Image, *, control: bool = False, seed: int = 0
) -> Look:
    """Do what :func:`look` does, with a model that is loaded and a photograph that is open."""
    model, preprocess, labels = loaded
    _fit_together(model, preprocess)
    # A picture's own grey is not always that of its colours.
    picture = photograph if model.channels == 3 else _opened(photo, MODES[model.channels])
    pixels = preprocess(picture)
    seen = [_seen(each, pixels) for each in ([model, twin_of(model, seed)] if control else [model])]
    traces, tokens = zip(*seen, strict=True)
    answers = top_k(traces[0].logits.cpu().float(), labels, min(NAMED, len(labels))) if labels else []
    found = Look(
        name=_name_of(photo),
        photograph=np.array(photograph),
        box=preprocess.box(*photograph.size),
        model=model,
        trace=traces[0],
        control=traces[1] if control else None,
        answers=tuple(answers),
        tokens=tokens,
    )
    return found.rollout()


def _opened(photo: Any, mode: str) -> Image.Image:
    if isinstance(photo, (str, os.PathLike)):
        return open_picture(photo, mode)
    if isinstance(photo, Tensor):
        eight_bits = (photo.detach().cpu().float() * 255).round().byte().reshape(photo.shape[-3:])
        photo = channels_last(eight_bits.numpy())
    picture = Image.fromarray(photo) if isinstance(photo, np.ndarray) else photo
    if 0 in picture.size:
        raise ValueError(f"photo has no pixels: it is {picture.height} x {picture.width}")
    return convert_picture(picture, mode)


def _name_of(photo: Any) -> str:
    return printable(Path(photo).name) if isinstance(photo, (str, os.PathLike)) else "the photograph"


def _loaded(model: Any) -> Pretrained:
    if not isinstance(model, tuple):
        return load_pretrained(model)
    vit, preprocess, *labels = model
    numbers = [str(number) for number in range(vit.num_classes)]
    return Pretrained(vit, preprocess, list(labels[0]) if labels else numbers)


def _fit_together(model: ViT, preprocess: Preprocess) -> None:
    for parameter in model.parameters():
        values.filled("model", parameter)
    if preprocess.size != model.image_size:
        made, wanted = (" x ".join(map(str, size)) for size in (preprocess.size, model.image_size))
        raise ValueError(f"model was made for {wanted} pixels, its preprocess makes {made}")
    channels = model.channels if preprocess.mean is None else len(preprocess.mean)  # None it says itself
    if channels != model.channels:
        raise ValueError(f"model was made for {model.channels} channels, its preprocess makes {channels}")


@torch.no_grad()
def _seen(model: ViT, pixels: Tensor) -> tuple[Trace, Tensor]:
    trace = model.trace(pixels.to(next(model.parameters())))
    values.finite("attention", trace.attention, "there is nothing to draw")
    return trace, model.norm(trace.encoded)


def twin_of(model: ViT, seed: int = 0) -> ViT:
    """Draw the same ViT before it learned anything; torch's global random numbers stay as they are.

    What it turns its tokens by is no parameter, and stays; so do its dtype and its device.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        twin = ViT(**model.config)
    own = dict(twin.named_buffers())
    for name, buffer in model.named_buffers():
        if name in own:
            own[name].copy_(buffer)
    return twin.to(next(model.parameters())).eval()
