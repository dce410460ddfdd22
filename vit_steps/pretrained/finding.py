"""Where the weights are: a file, a folder with one, or a name on the Hugging Face Hub."""

import os
import re
from pathlib import Path

from vit_steps.files.reading import shown
from vit_steps.pretrained.hub import download
from vit_steps.pretrained.weight_files import OPENERS, opener_of

# As libraries call them; where the weights lie in several files, an index says which.
FIRST = (
    *("model.safetensors", "model.safetensors.index.json"),
    *("pytorch_model.bin", "pytorch_model.bin.index.json"),
    *("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
)
HUB_NAME = r"[A-Za-z0-9][\w.-]*/[\w.-]+"


def find(source: str | os.PathLike) -> Path:
    """Give the path of the file with the weights; what is on the Hub is downloaded first.

    Raises:
        FileNotFoundError: "there is no file or folder vit_base, and it is no Hub name such as 'owner/name'".
        ValueError: "notes.txt is none of the files that are read here (.safetensors, ...)".
        TypeError: "source must be a path or a Hub name, not int".
    """
    if not isinstance(source, (str, os.PathLike)):
        raise TypeError(f"source must be a path or a Hub name, not {type(source).__name__}")
    path = Path(source)
    if os.path.isdir(path):
        return _weights_in(path)
    if os.path.lexists(path):  # a FIFO or a link in a circle, too: what reads it says what it is
        if opener_of(path) is None:
            raise ValueError(f"{shown(path)} is none of the files that are read here ({', '.join(OPENERS)})")
        return path
    if isinstance(source, str) and re.fullmatch(HUB_NAME, source) and opener_of(path) is None:
        return download(source)
    what = f"there is no file or folder {shown(source)}"
    raise FileNotFoundError(f"{what}, and it is no Hub name such as 'owner/name'")


def _weights_in(folder: Path) -> Path:
    try:
        names = sorted(path.name for path in folder.iterdir())
    except OSError as error:
        raise PermissionError(f"{shown(folder)} cannot be listed: {error.strerror}") from None
    for name in FIRST:
        if name in names:
            return folder / name
    found = [name for name in names if opener_of(Path(name)) and not name.startswith(".")]
    if len(found) > 1:
        several = ", ".join(map(shown, found[:9])) + (", ..." if len(found) > 9 else "")
        raise ValueError(f"{shown(folder)} holds several files with weights, name one: {several}")
    if not found:
        raise FileNotFoundError(f"{shown(folder)} holds no file with weights ({', '.join(OPENERS)})")
    return folder / found[0]
