"""Data, training and weights from elsewhere: most of them read or write files."""

import atexit
import inspect
import os
import shutil
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scripted import FORGERIES

from hostile.kinds import FINITE, SAME, Kind, constant, constants, of_tensor
from hostile.trial import Row
from vit_steps import ViT, data, pretrained, training
from vit_steps.commands import course
from vit_steps.pretrained import shapes, spelling
from vit_steps.pretrained.preprocess import Preprocess

SIZES = dict(image_size=4, patch_size=2, channels=1, dim=4, depth=1, num_heads=2, mlp_dim=4, num_classes=3)


@cache
def scratch():
    folder = Path(tempfile.mkdtemp(prefix="vit-steps-hostile-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name in ("cats", "dogs"):
        (folder / "pictures" / name).mkdir(parents=True)
        Image.fromarray(np.full((6, 5, 3), 99, np.uint8)).save(folder / "pictures" / name / "1.png")
    (folder / "broken.safetensors").write_bytes(b"no tensors")
    (folder / "out").mkdir()
    training.save_checkpoint(ViT(**SIZES), folder / "model.safetensors", notes={"made": "by hand"})
    return folder


BAD_PICTURES = {
    "EPS": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
    "144 megapixels": b"P5 12000 12000 255\n" + bytes(9),
    "a million columns": b"P5 1000000 1 255\n" + bytes(9),
    "fewer pixels than it says": b"P5 9000 9000 255\n" + bytes(9),
    "floats above 1 in a file": b"Pf 1 1 -1\n" + np.float32(3).tobytes(),
    "a comment of ten megabytes": b"P5\n#" + b"a" * 10**7 + b"\n1 1 255\n" + bytes(1),
    "an empty file": b"",
}


@cache
def folder_of(name):
    """A folder of two classes, of which one holds one bad picture."""
    folder = scratch() / "bad" / name.replace(" ", "-")
    for part in ("a", "b"):
        (folder / part).mkdir(parents=True)
    (folder / "a" / "bad.png").write_bytes(BAD_PICTURES[name])
    return folder


def model():
    return ViT(**SIZES)


def pair(size=4, count=6):
    return torch.rand(count, 1, size, size), torch.arange(count) % 3


def of_pair(images, labels):
    """What is hostile about a tensor, for both tensors of a pair."""
    found = constants(None, 1, "text", ()) | {
        "a list": Kind(list),
        "three": Kind(lambda good: (*good, good[1])),
    }
    for place, (part, tensor) in enumerate((("images", images), ("labels", labels))):
        for name, kind in of_tensor(tensor).items():
            found[f"{part}: {name}"] = Kind(put(kind.make, place), kind.claim, put(kind.twin, place))
    return found | {"fewer labels": Kind(lambda good: (good[0], good[1][:-1]))}


def put(change, place):
    return lambda pair: (change(pair[0]), pair[1]) if place == 0 else (pair[0], change(pair[1]))


MODELS = constants(None, 1, "text") | {"on meta": Kind(lambda good: ViT(**SIZES).to("meta"))}
NO_VIT = MODELS | {"another module": constant(torch.nn.Linear(2, 2))}
BAD_FILES = {
    "a folder": Kind(lambda path: scratch()),
    "no safetensors": Kind(lambda path: scratch() / "broken.safetensors"),
    "a text": Kind(str, SAME),
}
IN_NO_FOLDER = {"not there": Kind(lambda path: scratch() / "not" / "there.safetensors")}
DAMAGE = (FileNotFoundError, IsADirectoryError)


def header_of(text):
    return len(text).to_bytes(8, "little") + text


def flipped():
    content = bytearray((scratch() / "model.safetensors").read_bytes())
    content[-5] ^= 8
    return bytes(content)


# Kinds of files that whoever reads one must answer, soon and by name: name -> its content, or what makes it.
BAD_WEIGHTS = {
    "empty.safetensors": lambda: b"",
    "cut.safetensors": lambda: (scratch() / "model.safetensors").read_bytes()[:-9],
    "flipped bit.safetensors": flipped,
    "deep header.safetensors": lambda: header_of(b"[" * 100_000),
    "long header.safetensors": lambda: (2**62).to_bytes(8, "little") + b"{}",
    "no zip.npz": lambda: b"PK, but no zip",
    "nested.pth": lambda: b"\x80\x02" + b"]" * 3_000_000 + b"a" * 2_999_999 + b".",
    **{
        f"scripted, {name}.pt": FORGERIES[name][0]
        for name in (
            "code to run",
            "a module in itself",
            "modules doubled often",
            "rows that are one",
            "no CLIP",
        )
    },
    "a FIFO.pth": os.mkfifo if hasattr(os, "mkfifo") else Path.mkdir,
    "a device.npz": lambda path: path.symlink_to("/dev/zero"),
    "in a circle.pt": lambda path: path.symlink_to(path.name),
    "a folder.bin/in.pth": lambda path: path.mkdir(parents=True),
    "red \x1b[31m.pth": lambda: b"no weights",
}


def bad_file(name):
    path, make = scratch() / "bad" / name, BAD_WEIGHTS[name]
    if not os.path.lexists(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if inspect.signature(make).parameters:
            make(path)
        else:
            path.write_bytes(make())
    return path


ROWS = {
    "commands.course.lay": Row(
        lambda folder: course.lay(folder),
        lambda: dict(folder=scratch() / "lessons"),
        own={"folder": {"a file": Kind(lambda path: scratch() / "broken.safetensors")}},
        fine={"folder": {"not there": "it is made, with its parents"}},
        refusals=(OSError,),
        names={"folder": ""},
        seen=lambda arguments, laid: [each.name for each in laid],
    ),
    "data.digits.load_digits_images": Row(
        data.load_digits_images,
        lambda: dict(split="test", seed=1),
        fine={"seed": {"0": "the first"}},
        own={"seed": constants(2**32)},
    ),
    "data.splits.split_in_three": Row(
        data.split_in_three,
        lambda: dict(labels=torch.arange(60) % 3, seed=1),
        own={"labels": {"too few": constant(torch.tensor([0, 1, 2]))}, "seed": constants(2**32)},
        fine={
            "seed": {"0": "the first"},
            "labels": {"negative": "a class like any other", "too large": "a class like any other"},
        },
        names={"labels": "images"},
    ),
    "data.results.load_table": Row(data.load_table, lambda: dict(name="choice")),
    "data.photos.load_photo": Row(data.load_photo, lambda: dict(name="chelsea", size=4)),
    "data.folders.load_image_folder": Row(
        data.load_image_folder,
        lambda: dict(path=scratch() / "pictures", size=4, channels=3, broken="refuse", least_classes=2),
        own={
            "path": {
                "no classes": Kind(lambda path: path / "cats"),
                "a text": BAD_FILES["a text"],
                "a file": Kind(lambda path: scratch() / "broken.safetensors"),
                "one folder too high": Kind(lambda path: path.parent),
            }
            | {name: Kind(lambda path, name=name: folder_of(name)) for name in BAD_PICTURES},
            "channels": constants(2, 4),
        },
        refusals=DAMAGE,
        names={"path": ""},
    ),
}


# Pictures and weights of others


def prepare(image):
    return Preprocess(size=(4, 4), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))(image)


def undo(pixels):
    return Preprocess(size=(4, 4), mean=(0.5, 0.4, 0.3), std=(0.5, 0.4, 0.3)).undo(pixels)


def weights():
    return dict(model().state_dict())


def of_weights():
    """What can be wrong with a file of weights: of three of its tensors, all that can be with a tensor."""
    found = constants(None, 1, "text", [], {}) | {
        "numbers for names": Kind(lambda good: dict(enumerate(good.values()))),
        "a key too many": Kind(lambda good: good | {"bogus": torch.zeros(2)}),
        "a key too few": Kind(lambda good: {name: good[name] for name in good if name != "norm.bias"}),
        "a CNN's": constant({"conv1.weight": torch.zeros(2, 3, 3, 3)}),
    }
    for key in ("pos_embed", "patch_embed.proj.weight", "blocks.0.norm1.weight"):
        for name, kind in of_tensor(weights()[key]).items():
            found[f"{key}: {name}"] = Kind(put_in(key, kind.make), kind.claim, put_in(key, kind.twin))
    return found


def put_in(key, change):
    return lambda good: good | {key: change(good[key])}


STATE = of_weights()

PREPARATION = dict(
    size=(4, 6), mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5), crop_pct=0.9, interpolation="bicubic"
)
STATISTICS = constants(None, 1, "text", (), (0.5,), (0.5, 0.5), (float("nan"),) * 3, (None,) * 3, ("a",) * 3)
KEYS = constants(None, 1, "text", [], [1], ["conv1.weight"])
CONFIGS = constants(None, 1, "text", [], {}, {"bogus": 1}, {**SIZES, "bogus": 1}, {**SIZES, "dim": 0})
NO_TENSOR_NAMES = {"state_dict": "", "weights": "", "keys": "", "config": ""}
PREPROCESSES = constants(1, "text") | {"not square": constant(Preprocess(**PREPARATION))}

ROWS |= {
    "pretrained.preprocess.Preprocess": Row(
        Preprocess,
        lambda: dict(PREPARATION),
        own={
            "mean": STATISTICS,
            "std": STATISTICS | constants((0.0, 1.0, 1.0), (-1.0, 1.0, 1.0)),
            "crop_pct": constants(0.0, 1.5),
        },
        fine={"size": {"(5, 7)": "another size", "a list": "refused, and by name"}},
    ),
    "pretrained.preprocess.Preprocess.__call__": Row(
        prepare,
        lambda: dict(image=torch.rand(3, 5, 6)),
        own={
            "image": {
                "above 1": Kind(lambda image: image + 1),
                "not there": constant(Path("none.png")),
                "a folder": constant(Path("/")),
                "no picture": Kind(lambda _: scratch() / "broken.safetensors"),
                "a picture without pixels": constant(Image.new("RGB", (0, 5))),
                "one channel": constant(torch.rand(1, 5, 6)),
                "a grey picture": constant(Image.new("L", (5, 6)), FINITE),
                "32-bit whole numbers": constant(Image.new("I", (5, 6), 3)),
                "floats above 1": constant(Image.new("F", (5, 6), 3.0)),
            }
            | {name: Kind(lambda _, name=name: folder_of(name) / "a" / "bad.png") for name in BAD_PICTURES}
        },
        fine={"image": {"an axis too many": "a batch of one"}},
        refusals=DAMAGE,
        names={"image": ""},
    ),
    "pretrained.preprocess.Preprocess.box": Row(
        lambda width, height: Preprocess(**PREPARATION).box(width, height), lambda: dict(width=9, height=7)
    ),
    "pretrained.preprocess.Preprocess.undo": Row(undo, lambda: dict(pixels=torch.randn(2, 3, 4, 6))),
    "pretrained.spelling.to_timm": Row(
        spelling.to_timm,
        lambda: dict(state_dict=weights()),
        own={"state_dict": STATE},
        refusals=(KeyError,),
        names=NO_TENSOR_NAMES,
    ),
    "pretrained.spelling.to_hugging_face": Row(
        spelling.to_hugging_face,
        lambda: dict(state_dict=weights()),
        own={"state_dict": STATE},
        refusals=(KeyError,),
        names=NO_TENSOR_NAMES,
    ),
    "pretrained.spelling.recognise": Row(
        lambda keys: spelling.recognise(keys).name,
        lambda: dict(keys=list(weights())),
        own={"keys": KEYS},
        refusals=(KeyError,),
        names=NO_TENSOR_NAMES,
        fine={"keys": {name: "most of a ViT's" for name in ("one too few", "one too many")}},
    ),
    "pretrained.shapes.read_sizes": Row(
        shapes.read_sizes,
        lambda: dict(weights=weights()),
        own={
            "weights": constants(None, 1, "text", [], {})
            | {
                "a list for a tensor": Kind(lambda good: good | {"cls_token": [1.0]}),
                "no axis": Kind(lambda good: good | {"cls_token": torch.ones(())}),
            }
        },
        refusals=(KeyError,),
        names=NO_TENSOR_NAMES,
    ),
    "pretrained.shapes.on_meta": Row(
        lambda config: shapes.on_meta(config).config,
        lambda: dict(config=dict(SIZES)),
        own={"config": CONFIGS},
        names=NO_TENSOR_NAMES,
    ),
    "pretrained.loading.load_pretrained": Row(
        lambda **given: tuple(pretrained.load_pretrained(**given)),
        lambda: dict(source=scratch() / "model.safetensors", num_heads=2, image_size=(4, 4)),
        own={
            "source": {
                "no tensors": BAD_FILES["no safetensors"],
                "a text": BAD_FILES["a text"],
                **{name: Kind(lambda path, name=name: bad_file(name)) for name in BAD_WEIGHTS},
                "no weights in it": Kind(lambda path: scratch() / "pictures"),
            }
        },
        fine={"num_heads": {"None": "as the file says"}, "image_size": {"None": "as the file says"}},
        refusals=(FileNotFoundError, IsADirectoryError, ConnectionError),
        names={"source": ""},
        skip={"image_size": {"5": "", "(5, 7)": ""}},
    ),
    "pretrained.saving.save_hugging_face": Row(
        pretrained.save_hugging_face,
        lambda: dict(
            model=model(),
            folder=scratch() / "hub",
            labels=["a", "b", "c"],
            preprocess=Preprocess(size=(4, 4), mean=(0.5,), std=(0.5,)),
        ),
        own={
            "model": NO_VIT | {"mean pooled": constant(ViT(**SIZES, pool="mean"))},
            "preprocess": PREPROCESSES | {"None": constant(None, FINITE)},
            "labels": constants("abc"),
            "folder": {"not there": Kind(lambda path: path / "new", FINITE)},
        },
        fine={"labels": {"None": "numbers"}},
        names={"preprocess": "a crop that is not square"},
        seen=lambda given, result: tuple(pretrained.load_pretrained(given["folder"])),
        refusals=(OSError,),
    ),
}
