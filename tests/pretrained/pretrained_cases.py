"""What the tests of this room share: sizes, names, and how two models are compared."""

import json
import os
import re
from pathlib import Path

import pytest
import torch
from references import Size, difference
from safetensors.torch import load_file, save_file

from vit_steps.files.reading import digest
from vit_steps.pretrained import Preprocess, Pretrained, load_pretrained, save_hugging_face
from vit_steps.vit import ViT

SIZE = Size((32, 48), 8, 128, 2, 2, 192, 5)
SQUARE = SIZE._replace(image_size=(40, 40))
NAMES = ["tench", "goldfish", "great white shark", "crane", "crane"]


def image_of(size: Size = SIZE, batch: int = 3) -> torch.Tensor:
    return torch.rand(batch, size.channels, *size.image_size, dtype=torch.float64)


@torch.no_grad()
def gap(loaded: Pretrained, reference: torch.nn.Module, size: Size = SIZE) -> float:
    image = image_of(size).to(loaded.model.head.weight.dtype)
    theirs = reference(image)
    return difference(loaded.model(image), getattr(theirs, "logits", theirs))


def save_timm(folder: Path, model: torch.nn.Module, **config: object) -> Path:
    from timm.models._hub import save_for_hf

    save_for_hf(model, folder, model_config=config, safe_serialization=True)
    return folder


def refusal(source: object, error: type = ValueError, **options: object) -> str:
    """What load_pretrained says of a file, whose name it begins with; a temporary folder becomes FOLDER."""
    with pytest.raises(error) as caught:
        load_pretrained(source, **options)
    said = str(caught.value.args[0]).replace(f"{source}{os.sep}", "FOLDER/").replace(str(source), "FOLDER")
    assert said.startswith("FOLDER")
    return re.sub(r"^FOLDER/[\w.]+: ", "", said)


def save_as_transformers(model: ViT, folder: Path, **options: object) -> None:
    """Write what save_hugging_face writes, without our seal: any config may then stand beside it."""
    save_hugging_face(model, folder, **options)
    weights = load_file(folder / "model.safetensors")
    save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})


def save_sealed(weights: dict, path: Path, header: dict) -> None:
    """Write weights as this package does: its header has a digest of all."""
    header = {**header, "digest": digest(weights, header)}
    save_file(weights, path, metadata={"vit_steps": json.dumps(header)})


PREPARATIONS = {
    "squash": Preprocess(
        size=(40, 40), mean=(0.5,) * 3, std=(0.4,) * 3, squash=True, interpolation="bilinear"
    ),
    "crop": Preprocess(size=(40, 40), mean=(0.5,) * 3, std=(0.4,) * 3, crop_pct=0.8, floor=True),
    "squash and crop": Preprocess(size=(40, 40), mean=(0.5,) * 3, std=(0.4,) * 3, crop_pct=0.8, squash=True),
}
