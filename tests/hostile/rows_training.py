"""Training: the loop, fresh models, and the files of models, good and bad ones."""

import os
import struct
from pathlib import Path

import torch
from safetensors.torch import save

from hostile.kinds import FINITE, Kind, constant, constants
from hostile.rows_files import BAD_FILES, DAMAGE, IN_NO_FOLDER, NO_VIT, SIZES, model, of_pair, pair, scratch
from hostile.trial import Row
from vit_steps import training
from vit_steps.training.measuring import right_by_class

GENERATOR = constants(None, 0, "text")
PAIR = of_pair(*pair())
BOTH_DOORS = "image"  # the step's own door answers, where it is the model that decides
ANY_CLASS = {"labels: negative": "never right", "labels: too large": "never right"}


def spoilt(change):
    """A file like the good one, with other bytes."""

    def make(path):
        bad = scratch() / "spoilt.safetensors"
        bad.write_bytes(change(path.read_bytes()))
        return bad

    return Kind(make)


def pipe(_):
    path = scratch() / "pipe"
    if not path.exists():
        os.mkfifo(path)
    return path


def circle(_):
    path = scratch() / "circle"
    if not path.is_symlink():
        path.symlink_to(path)
    return path


def with_header(header):
    return lambda whole: struct.pack("<Q", len(header)) + header + whole


NO_FILES = {"a pipe": Kind(pipe), "a name too long": Kind(lambda path: path.with_name("a" * 300))}
BAD_MODELS = (
    BAD_FILES
    | NO_FILES
    | {
        "endless": constant("/dev/zero"),
        "a circle of links": Kind(circle),
        "empty": spoilt(lambda whole: b""),
        "half": spoilt(lambda whole: whole[: len(whole) // 2]),
        "a byte less": spoilt(lambda whole: whole[:-1]),
        "a byte more": spoilt(lambda whole: whole + b"a"),
        "a flipped bit": spoilt(lambda whole: whole[:-1] + bytes([whole[-1] ^ 1])),
        "a header without end": spoilt(lambda whole: struct.pack("<Q", 2**63) + whole[8:]),
        "a header nested deeply": spoilt(with_header(b'{"a":' * 100_000)),
        "a header of nonsense": spoilt(with_header(b"\xff\xfe")),
        "another library's": spoilt(lambda whole: save({"weight": torch.zeros(2)})),
    }
)
BAD_PLACES = NO_FILES | {"a device": constant("/dev/null")}


def recipe():
    return dict(
        model=model(),
        train=pair(),
        valid=pair(),
        epochs=1,
        batch_size=3,
        lr=0.01,
        weight_decay=0.1,
        label_smoothing=0.1,
        augment=0.1,
        average=0.9,
        seed=0,
        mixed_precision="no",
        checkpoint=None,
        on_epoch=None,
        progress=False,
    )


def losses(arguments, history):
    return history.loss, history.valid_accuracy, arguments["model"]


ROWS = {
    "training.loop.fit": Row(
        training.fit,
        recipe,
        own={
            "model": NO_VIT,
            "train": PAIR,
            "valid": {k: v for k, v in PAIR.items() if k != "None"},
            "checkpoint": constants(1, ["text"])
            | {"a NUL": constant("a\0b")}
            | IN_NO_FOLDER
            | {"a folder": constant(Path("/"))}
            | {name: Kind(lambda _, kind=kind: kind.make(Path("a"))) for name, kind in BAD_PLACES.items()},
            "on_epoch": constants(1, "text"),
        },
        fine={"seed": {"0": "the first"}},
        seen=losses,
        changes=("model",),
        refusals=(*DAMAGE, OSError),
        names={"checkpoint": ""},
    ),
    **{
        f"training.measuring.{measure.__name__}": Row(
            measure,
            lambda: dict(model=model().eval(), images_and_labels=pair(), batch_size=2),
            own={
                "model": {k: v for k, v in NO_VIT.items() if k not in ("on meta", "another module")},
                "images_and_labels": PAIR,
            },
            fine={"images_and_labels": ANY_CLASS},
            names={"images_and_labels": BOTH_DOORS},
        )
        for measure in (training.accuracy, right_by_class)
    },
    "training.augmentation.random_affine": Row(
        training.random_affine,
        lambda: dict(
            images=torch.rand(2, 1, 4, 4),
            strength=0.1,
            generator=torch.Generator().manual_seed(0),
            interpolation="bilinear",
        ),
        own={"generator": GENERATOR},
        fine={},
    ),
    "training.models.fresh_model": Row(
        lambda **sizes: training.fresh_model(**sizes),
        lambda: dict(SIZES, seed=0, image_size=(4, 6)),
        fine={"seed": {"0": "the first"}, "num_classes": {"0": "no head"}},
    ),
    "training.models.digits_model": Row(
        training.digits_model,
        lambda: dict(patch_size=4, depth=1, pool="cls", seed=0),
        fine={"seed": {"0": "the first"}},
    ),
    "training.checkpoints.save_checkpoint": Row(
        training.save_checkpoint,
        lambda: dict(model=model(), path=scratch() / "out" / "a.safetensors", notes={"made": 1}),
        own={
            "model": NO_VIT,
            "path": {"a folder": BAD_FILES["a folder"], "a text": BAD_FILES["a text"]}
            | IN_NO_FOLDER
            | BAD_PLACES,
            "notes": constants(1, "text", [1], {"a": torch.zeros(2)}) | {"None": constant(None, FINITE)},
        },
        seen=lambda arguments, result: training.load_checkpoint(arguments["path"]),
        refusals=(*DAMAGE, OSError),
        names={"path": ""},
    ),
    "training.checkpoints.load_checkpoint": Row(
        training.load_checkpoint,
        lambda: dict(path=scratch() / "model.safetensors"),
        own={"path": BAD_MODELS},
        fine={"path": {"None": "the model that ships"}},
        refusals=(*DAMAGE, OSError),
        names={"path": ""},
    ),
    "training.checkpoints.read_notes": Row(
        training.read_notes,
        lambda: dict(path=scratch() / "model.safetensors"),
        own={"path": BAD_MODELS},
        fine={"path": {"None": "the model that ships"}},
        refusals=(*DAMAGE, OSError),
        names={"path": ""},
    ),
}
