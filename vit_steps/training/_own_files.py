"""The package's own files: tensors in a safetensors file, one header in JSON, and a digest over both."""

import json
import os
import struct
from operator import index

from safetensors.torch import save
from torch import Tensor

from vit_steps.files.reading import MOST_JSON, digest, parse_json, read_safetensors, shown
from vit_steps.files.writing import apart, write_whole
from vit_steps.vit import ViT


def tensors_of(model: ViT) -> dict[str, Tensor]:
    """Give a model's numbers by name, and refuse what has others than tensors."""
    found = model.state_dict()
    for name, value in found.items():
        if not isinstance(value, Tensor):
            kind = type(value).__name__
            raise ValueError(f"{name} is a {kind} and no tensor: a file cannot hold this model")
    return found


def load_into(model: ViT, tensors: dict[str, Tensor], path: str | os.PathLike, assign: bool = False) -> None:
    """Take over all tensors, and say which one does not fit."""
    expected = {name: tuple(tensor.shape) for name, tensor in tensors_of(model).items()}
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise ValueError(f"{shown(path)}: {name} should be {expected.get(name)}, is {found.get(name)}")
    model.load_state_dict(tensors, assign=assign)


def write_own(path: str | os.PathLike, tensors: dict[str, Tensor], header: dict) -> None:
    """Write tensors, a header and the digest of both, at once and whole."""
    tensors = apart({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    header = jsoned(header)
    header["digest"] = digest(tensors, header)
    content = save(tensors, metadata={"vit_steps": json.dumps(header)})
    (length,) = struct.unpack("<Q", content[:8])
    if length > MOST_JSON:  # or it would be written and never read again
        raise ValueError(f"notes are too long: with them the header has {length:,} bytes, not {MOST_JSON:,}")
    write_whole(path, lambda draft: draft.write_bytes(content))


def jsoned(header: dict) -> dict:
    """Make of a header what reading it back will give."""
    try:
        return json.loads(json.dumps(header, default=_plain, allow_nan=False))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"notes must be what JSON can hold: {error}") from None


def _plain(value: object) -> int:
    """Turn an integer of another library into one that JSON knows."""
    try:
        return index(value)
    except TypeError:
        raise TypeError(f"notes must be what JSON can hold, got {value!r}") from None


def read_own(path: str | os.PathLike, kind: str) -> tuple[dict[str, Tensor], dict]:
    """Read what :func:`write_own` wrote, into memory of its own: the file may change or go afterwards."""
    tensors, metadata = read_safetensors(path)
    header = _parse_header(path, metadata)
    if header.get("kind") != kind:
        raise ValueError(f"{shown(path)} holds a {header.get('kind')}, a {kind} was wanted")
    if header.pop("digest", None) != digest(tensors, header):
        raise ValueError(f"{shown(path)} is damaged: it does not hold what was written")
    return tensors, header


def _parse_header(path: str | os.PathLike, metadata: dict[str, str]) -> dict:
    if "vit_steps" not in metadata:
        raise ValueError(
            f"{shown(path)} was not written by vit_steps; load_pretrained reads files of other libraries"
        )
    try:
        return parse_json(metadata["vit_steps"], path, "header")
    except ValueError as error:
        raise ValueError(f"{shown(path)} is damaged: its header is none. {error}") from None


def part_of(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Take the tensors whose names begin so, without that beginning."""
    start = f"{prefix}."
    return {name.removeprefix(start): tensor for name, tensor in tensors.items() if name.startswith(start)}
