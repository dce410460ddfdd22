"""A model in a file: safetensors with the constructor's arguments inside, never unpickled."""

import os
from pathlib import Path

import torch
from torch import Tensor

from vit_steps.doors import door
from vit_steps.files.reading import shown
from vit_steps.pretrained._plain import check_plain
from vit_steps.training._guards import with_numbers
from vit_steps.training._own_files import load_into, read_own, write_own
from vit_steps.vit import ViT

SHIPPED = Path(__file__).parents[1] / "weights" / "digits.safetensors"


@door(with_numbers, check_plain)
def save_checkpoint(model: ViT, path: str | os.PathLike, *, notes: dict | None = None) -> None:
    """Write a model to a safetensors file, with the constructor's arguments inside.

    The file appears at once and whole: it is written beside ``path`` under another name first. A file that
    stands there may be the very one that ``model`` was loaded from.

    A head of another width is saved as it is, whether :meth:`ViT.with_head` made it or ``model.head =
    nn.Linear(dim, 3)``. What could not be read back as it is, is refused before anything is written.

    Args:
        model: any ViT of this package, made of plain layers.
        path: of the file; one that is there is replaced.
        notes: what else the file should say, such as how it was made; whatever JSON can hold.

    Raises:
        TypeError: "model must be a ViT, not Linear", "notes must be what JSON can hold, got ...".
        ValueError: notes that hold NaN, or megabytes of them, which could not be read back;
            "blocks.0.attn.qkv is peft.tuners.lora.layer.Linear(), in a ViT's file it is
            Linear(in_features=8, out_features=24, bias=True). ...", and so for all that is no plain layer.
        FileNotFoundError: "there is no folder runs to write model.safetensors into".
        IsADirectoryError: "model.safetensors is a folder, a file was wanted".
        OSError: "model.safetensors cannot be written: No space left on device", a PermissionError where
            permission is what lacks.
    """
    write_own(path, model.state_dict(), {"kind": "model", "config": model.config, "notes": notes or {}})


@door()
def load_checkpoint(path: str | os.PathLike | None = None) -> ViT:
    """Read a model that :func:`save_checkpoint` wrote; without a path, the one that ships, trained on digits.

    Args:
        path: of the file.

    Returns:
        The model in eval mode, on the CPU, in memory of its own: what happens to the file does not touch it.

    Raises:
        FileNotFoundError: "there is no file model.safetensors".
        IsADirectoryError: "runs is a folder, a file was wanted".
        PermissionError: "model.safetensors may not be read".
        ValueError: says what is wrong with which file, be it damaged, cut short or of another kind.
    """
    path = SHIPPED if path is None else path
    tensors, header = read_own(path, "model")
    return _build(header.get("config"), tensors, path)


@door()
def read_notes(path: str | os.PathLike | None = None) -> dict:
    """Read what a model file says of itself; without a path, that of the model that ships.

    Raises: as :func:`load_checkpoint`.
    """
    path = SHIPPED if path is None else path
    notes = read_own(path, "model")[1].get("notes")
    if not isinstance(notes, dict):
        raise ValueError(f"{shown(path)} is damaged: its notes are {notes!r:.80}")
    return notes


def _build(config: object, tensors: dict[str, Tensor], path: str | os.PathLike) -> ViT:
    try:
        if config["depth"] > len(tensors):  # a forged number must not keep us busy for ever
            raise ValueError(f"depth {config['depth']} with {len(tensors)} tensors")
        size = config["image_size"]
        with torch.device("meta"):  # no memory before the shapes are known to be right
            model = ViT(**config | {"image_size": tuple(size) if isinstance(size, list) else size})
    except (TypeError, KeyError, ValueError) as error:
        raise ValueError(f"{shown(path)} does not describe a ViT: {error}") from None
    load_into(model, tensors, path, assign=True)
    return model.eval()
