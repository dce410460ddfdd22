"""look, and what one asks of it."""

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from hostile.kinds import FINITE, SAME, WORDS, Kind, constant, constants
from hostile.rows_files import BAD_FILES, BAD_PICTURES, BAD_WEIGHTS, SIZES, bad_file, folder_of, scratch
from hostile.rows_plots import AX, ax, shown
from hostile.trial import Row
from vit_steps import ViT
from vit_steps.looking import look
from vit_steps.pretrained import Preprocess

PREPROCESS = Preprocess(size=(4, 4), mean=(0.5,), std=(0.5,))


def pair(**otherwise):
    torch.manual_seed(0)
    return ViT(**SIZES | otherwise), PREPROCESS


def spoilt(model):
    torch.nn.init.constant_(model.patch_embed.proj.bias, float("nan"))
    return model


def photo():
    return np.arange(6 * 5 * 3, dtype=np.uint8).reshape(6, 5, 3)


def seen_by(result):
    return [result.photograph, result.box, result.view.map, result.view.control, result.answers, str(result)]


@cache
def a_look():
    return look.look(pair(), photo(), control=True)


@cache
def out():
    folder = Path(tempfile.mkdtemp(prefix="vit-steps-hostile-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def view_of(result):
    return [result.view.map, result.view.control, result.view.words]


MODELS = constants(None, 1, 2.5, [], (), ("text",)) | {
    "a ViT alone": Kind(lambda good: good[0]),
    "another module": constant((torch.nn.Linear(2, 2), PREPROCESS)),
    "on meta": Kind(lambda good: (good[0].to("meta"), PREPROCESS)),
    "NaN": Kind(lambda good: (spoilt(good[0]), PREPROCESS)),
    "no preprocess": Kind(lambda good: (good[0], None)),
    "a preprocess without mean": Kind(lambda good: (good[0], Preprocess(size=(4, 4)))),
    "a preprocess of other pixels": Kind(
        lambda good: (good[0], Preprocess(size=(8, 8), mean=(0.5,), std=(0.5,)))
    ),
    "a preprocess of colour": constant((pair()[0], Preprocess(size=(4, 4), mean=3 * (0.5,), std=3 * (0.5,)))),
    "names": Kind(lambda good: (*good, ["a", "b", "c"]), FINITE),
    "one name too few": Kind(lambda good: (*good, ["a", "b"])),
    "numbers for names": Kind(lambda good: (*good, [1, 2, 3])),
    "four things": Kind(lambda good: (*good, ["a", "b", "c"], 4)),
    "a file that is not there": constant("none.safetensors"),
    "an empty text": constant(""),
    "a NUL in it": constant("a\0b"),
    "no tensors": Kind(lambda _: BAD_FILES["no safetensors"].make(None)),
    **{name: Kind(lambda _, name=name: bad_file(name)) for name in BAD_WEIGHTS},
}
PHOTOS = constants(None, 1, 2.5, [], "", "none.png", "a\0b") | {
    "a list": Kind(lambda good: good.tolist()),
    "an axis too few": Kind(lambda good: good[0, 0]),
    "an axis too many": Kind(lambda good: good[None]),
    "two channels": Kind(lambda good: good[:, :, :2]),
    "empty": Kind(lambda good: good[:0]),
    "floats": Kind(lambda good: good / 255),
    "int64": Kind(lambda good: good.astype(np.int64)),
    "grey": Kind(lambda good: good[:, :, 0], FINITE),
    "not contiguous": Kind(lambda good: np.asfortranarray(good), SAME),
    "read-only": Kind(lambda good: np.frombuffer(good.tobytes(), np.uint8).reshape(good.shape), SAME),
    "a PIL image": Kind(Image.fromarray, SAME),
    "a tensor": Kind(lambda good: torch.from_numpy(good).permute(2, 0, 1) / 255, SAME),
    "a tensor of NaN": constant(torch.full((3, 4, 4), float("nan"))),
    "a tensor of integers": constant(torch.ones(3, 4, 4, dtype=torch.int64)),
    "a tensor on meta": constant(torch.ones(3, 4, 4, device="meta")),
    "two tensors": constant(torch.ones(2, 3, 4, 4)),
    "an empty tensor": constant(torch.ones(3, 0, 4)),
    "a picture without pixels": constant(Image.new("RGB", (0, 5))),
    "a folder": constant(Path("/")),
    "no picture": Kind(lambda _: scratch() / "broken.safetensors"),
    **{name: Kind(lambda _, name=name: folder_of(name) / "a" / "bad.png") for name in BAD_PICTURES},
}
BOOLS = constants(None, 1, "yes", [True])
INDICES = constants(9, -9, 2.5, "1", True, [1], float("nan")) | {"numpy integer": Kind(np.int64, SAME)}
PATHS = constants("map.jpg", "map", "", ".png") | {"a text": Kind(str, FINITE)}


ROWS = {
    "looking.look.look": Row(
        look.look,
        lambda: dict(model=pair(), photo=photo(), control=True, seed=3),
        own={"model": MODELS, "photo": PHOTOS, "control": BOOLS},
        fine={"seed": {"0": "a seed like any other"}},
        refusals=(FileNotFoundError, IsADirectoryError, ConnectionError),
        names={"model": "", "photo": ""},
        seen=lambda arguments, result: seen_by(result),
    ),
    "looking.views.Look.attention": Row(
        lambda **given: a_look().attention(**given),
        lambda: dict(layer=0, head=1),
        own={"layer": INDICES, "head": INDICES},
        fine={
            "layer": {"0": "the first", "-1": "the last", "None": "the last"},
            "head": {"0": "the first", "-1": "the last", "None": "their mean"},
        },
        seen=lambda arguments, result: view_of(result),
    ),
    "looking.views.Look.likeness": Row(
        lambda **given: a_look().likeness(**given),
        lambda: dict(row=1, col=1),
        own={"row": INDICES, "col": INDICES},
        fine={"row": {"0": "the first"}, "col": {"0": "the first"}},
        seen=lambda arguments, result: view_of(result),
    ),
    "looking.views.Look.patch_at": Row(
        lambda **given: a_look().patch_at(**given),
        lambda: dict(across=1, down=1),
        own={"across": INDICES, "down": INDICES},
        fine={"across": {"0": "the first pixel"}, "down": {"0": "the first pixel"}},
    ),
    "looking.views.Look.plot": Row(
        lambda ax: a_look().plot(ax),
        lambda: dict(ax=ax()),
        own=AX,
        seen=lambda arguments, result: shown(result.map),
        changes=("ax",),
    ),
    "looking.views.Look.save": Row(
        lambda path: a_look().save(path),
        lambda: dict(path=out() / "map.png"),
        own={"path": WORDS | PATHS},
        refusals=(OSError,),
    ),
}
