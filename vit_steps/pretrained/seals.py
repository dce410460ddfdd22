"""What a file of this package says of itself: that it is whole, and which configs were saved with it."""

import hashlib
import json
from pathlib import Path
from typing import Any

from torch import Tensor

from vit_steps.files.reading import digest, parse_json, shown

OURS = "vit_steps"  # the word in a safetensors file under which the header stands


def seal(tensors: dict[str, Tensor], configs: dict[str, dict | None]) -> dict[str, str]:
    """Make the header of weights that are saved with configs beside them."""
    header = {"kind": "hugging_face", "beside": {name: fingerprint(each) for name, each in configs.items()}}
    return {OURS: json.dumps(header | {"digest": digest(tensors, header)})}


def read_own_header(path: Path, metadata: dict[str, str]) -> dict[str, Any]:
    """Parse what this package wrote into a safetensors file, if it did.

    Raises:
        ValueError: "model.safetensors is no header of vit_steps: ...".
    """
    # Should one bit of the word "vit_steps" have flipped, the digest still tells whose file it is.
    text = metadata.get(OURS) or next((word for word in metadata.values() if '"digest"' in word), None)
    return {} if text is None else parse_json(text, path, "file with a header of vit_steps")


def check_digest(path: Path, metadata: dict[str, str], tensors: dict[str, Tensor]) -> None:
    """Refuse a file of ours in which something is not what was written.

    Raises:
        ValueError: "model.safetensors is damaged: it does not hold what was written".
    """
    header = read_own_header(path, metadata)
    if header and header.pop("digest", None) != digest(tensors, header):
        raise ValueError(f"{shown(path)} is damaged: it does not hold what was written")


def fingerprint(config: dict[str, Any] | None) -> str | None:
    """Tell one config from another, however it is indented; None where there is none."""
    return config and hashlib.sha256(json.dumps(config, sort_keys=True).encode()).hexdigest()


def check_beside(path: Path, own: dict[str, Any], configs: dict[str, dict | None]) -> None:
    """Refuse configs that were not saved with these weights: half of one save and half of another.

    Raises:
        ValueError: "config.json is not what model.safetensors was saved with: ...".
    """
    saved = own.get("beside", {})
    for name in saved if isinstance(saved, dict) else {}:
        if saved[name] != fingerprint(configs.get(name)):
            what = f"{shown(path.with_name(name))} is not what {shown(path.name)} was saved with"
            raise ValueError(
                f"{what}: a save was cut off, or it was changed by hand. Save the model again "
                "(save_hugging_face takes labels and preprocess)"
            )
