"""The command ``python -m vit_steps.training``: train on digits or on a folder, test, and write the model."""

import argparse
import os
import shlex
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from torch import Tensor

from vit_steps.data import load_digits_images, load_image_folder, split_in_three
from vit_steps.data.folders import SUFFIXES
from vit_steps.doors import values
from vit_steps.files.pictures import printable
from vit_steps.files.writing import writable
from vit_steps.training._guards import check_recipe
from vit_steps.training._processes import make_accelerator
from vit_steps.training._starts import THEIRS, Start, defaults_of, load_start, model_of, notes_of
from vit_steps.training.checkpoints import save_checkpoint
from vit_steps.training.loop import fit
from vit_steps.training.measuring import right_by_class
from vit_steps.training.recipe import History, Recipe
from vit_steps.vit import ViT

EXAMPLES = """examples:
  the digits of scikit-learn, in seconds
    python -m vit_steps.training --data digits --out digits.safetensors
  small patches, whose attention is worth a look, in minutes
    python -m vit_steps.training --data digits --patch-size 2 --depth 4 --epochs 200
  a folder with one subfolder of images for each class, in a run that can be killed and started again
    python -m vit_steps.training --data pets --image-size 96 --patch-size 8 --dim 192 --depth 6 --heads 6 \\
        --checkpoint run.safetensors --out pets.safetensors
  fine-tune weights that somebody trained, all of them or a new head alone; a Hub name, a folder or a file
    python -m vit_steps.training --data pets --from facebook/deit-tiny-patch16-224 --out pets.safetensors
    python -m vit_steps.training --data pets --from facebook/deit-tiny-patch16-224 --freeze --epochs 20
  two processes on this machine; all GPUs of this machine
    torchrun --nproc-per-node 2 -m vit_steps.training --data digits
    accelerate launch --multi_gpu -m vit_steps.training --data pets --mixed-precision bf16 --batch-size 512

The file is read by load_checkpoint, and by load_pretrained: the model, how its images are prepared, and the
names of its classes. save_hugging_face makes of these three a folder that transformers reads.
"""


OPTIONS = (
    ("data", "digits", '"digits", or a folder with one subfolder of images for each class'),
    ("out", "model.safetensors", "file for the model"),
    ("from", None, "trained weights to start from: a name on the Hugging Face Hub, a folder or a file"),
    ("freeze", False, "with --from: train the head alone"),
    ("checkpoint", None, "file written after every epoch; the same command goes on from it"),
    (
        "image-size",
        64,
        "side of the square that images are brought to, in pixels; with --from the weights' own",
    ),
    ("channels", 3, "of the images of a folder: 3 for colour, 1 for grey"),
    ("broken", "refuse", "what to do with files of a folder that are no images: refuse or skip"),
    ("patch-size", 4, "side of a patch, in pixels"),
    ("dim", 64, "width of a token"),
    ("depth", 3, "number of encoder blocks"),
    ("heads", 4, "heads of each attention"),
    ("pool", "cls", "what the head reads: cls, mean, mean_all, attention or cls+mean"),
    ("epochs", 60, "how often each image is seen; with --from 10"),
    ("batch-size", 64, "images in a step, over all processes together"),
    ("lr", 3e-3, "highest learning rate; with --from 5e-05, and for a head alone as ever"),
    ("weight-decay", 0.05, "of AdamW"),
    ("label-smoothing", 0.1, "share of the target spread over all classes"),
    ("augment", 0.15, "strength of the random affine maps, 0 for none"),
    ("average", 0.995, "share of the averaged weights that outlives a step"),
    ("mixed-precision", "no", "no, or bf16 where there is a GPU"),
    ("seed", 0, "of the split, the parameters, the order and the affine maps"),
)


SHOWN = 10  # classes, of which the report says how often each was right


def main(arguments: list[str] | None = None) -> int:
    """Run ``python -m vit_steps.training``.

    Returns:
        0 when all went well, 1 when the model had to be kept elsewhere, 130 when Ctrl-C ended it early.
    """
    words = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    options = _parse(parser, words)
    try:
        model, parts, history, notes = _train(options)
    except (ValueError, KeyError, OSError, FloatingPointError) as error:
        parser.error(error.args[0] if isinstance(error, KeyError) else str(error))
    notes["command"] = shlex.join(["python", "-m", "vit_steps.training", *words])
    try:
        counts = right_by_class(model, parts["test"])
        notes["test_accuracy"] = sum(right for right, _ in counts.values()) / len(parts["test"][1])
        _say(_outcome(history, notes, len(parts["train"][1])))
        _say(_tested(counts, notes["classes"]))
    finally:  # who cuts the test short loses the test and not the model
        in_place = _keep(model, options.out, notes)
    if in_place and Path(options.out).suffix == ".safetensors":  # which others have, nobody reads by name
        _say(_how_to_look(options.data, options.out))
    return 130 if history.stopped else 0 if in_place else 1


def _keep(model: ViT, path: str, notes: dict) -> bool:
    """Write the model, if need be elsewhere; whether it lies where it should."""
    if not make_accelerator().is_main_process:
        return True
    try:
        save_checkpoint(model.cpu(), path, notes=notes)
    except OSError as error:
        kept = _keep_elsewhere(model, path, notes)
        print(f"{error}\nThe model is kept in {kept}" if kept else error, file=sys.stderr, flush=True)
        return False
    return True


def _keep_elsewhere(model: ViT, path: str, notes: dict) -> Path | None:
    for folder in (tempfile.gettempdir(), Path.home(), Path.cwd()):
        with suppress(OSError):
            kept = Path(tempfile.mkdtemp(prefix="vit-steps-", dir=folder), Path(path).name)
            save_checkpoint(model, kept, notes=notes)
            return kept
    return None


def _train(options: argparse.Namespace) -> tuple[ViT, dict, History, dict]:
    """Do all that can be refused; the notes are what the file will say of the model."""
    _check_files(options)
    check_recipe(Recipe(**_recipe(options)))
    start = load_start(options)
    parts, classes = _load_parts(options, start)
    model = model_of(options, start, parts["train"][0], classes).to(make_accelerator().device)
    writable(options.out, size=sum(tensor.nbytes for tensor in model.state_dict().values()))
    _say(_plan(options, model, parts, start))
    files = {"origin": start and start.origin, "checkpoint": options.checkpoint}
    history = fit(model, parts["train"], parts["valid"], **files, **_recipe(options))
    notes = {"classes": classes, "split_seed": options.seed, **notes_of(start)}
    return model, parts, history, notes | {"valid_accuracy": max(history.valid_accuracy)}


def _check_files(options: argparse.Namespace) -> None:
    """Refuse before the work what could not be written after it."""
    for path in filter(None, (options.out, options.checkpoint)):
        values.path("path", path)
        writable(path)
    if options.checkpoint and Path(options.checkpoint).resolve() == Path(options.out).resolve():
        raise ValueError(f"--out and --checkpoint must be two files, both are {options.out}")


def _parse(parser: argparse.ArgumentParser, words: list[str]) -> argparse.Namespace:
    options = parser.parse_args(words)
    if options.source is None:
        if options.freeze:
            parser.error("--freeze keeps trained weights as they are: it goes with --from")
        return options
    parser.set_defaults(**defaults_of(options))
    options = parser.parse_args(words)
    for name in THEIRS:
        if getattr(options, name) is not None:
            option = f"--{name.replace('_', '-')} {getattr(options, name)}"
            parser.error(f"{option} and --from are given: the weights have their own")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vit_steps.training",
        description="Train a Vision Transformer, test it on images it never saw, and write it to a file.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    for name, default, text in OPTIONS:
        if default is False:
            parser.add_argument(f"--{name}", action="store_true", help=text)
            continue
        kind = str if default is None else type(default)
        shown = "" if default is None else f" ({default})"
        named = {"dest": "source"} if name == "from" else {}  # to Python, from is no name
        parser.add_argument(
            f"--{name}", default=default, type=kind, metavar=kind.__name__, help=text + shown, **named
        )
    return parser


def _load_parts(
    options: argparse.Namespace, start: Start | None = None
) -> tuple[dict[str, tuple[Tensor, Tensor]], tuple[str, ...]]:
    if options.data == "digits":
        digits = {split: load_digits_images(split, seed=options.seed) for split in ("train", "valid", "test")}
        prepare = start.prepare if start else lambda images: images
        return {split: (prepare(some), labels) for split, (some, labels) in digits.items()}, (*"0123456789",)
    how = (
        {"prepare": start.preprocess} if start else {"size": options.image_size, "channels": options.channels}
    )
    main = make_accelerator().is_main_process
    folder = load_image_folder(options.data, broken=options.broken, least_classes=2, progress=main, **how)
    places = split_in_three(folder.labels, seed=options.seed, classes=folder.classes)
    parts = {split: (folder.images[some], folder.labels[some]) for split, some in places.items()}
    return parts, folder.classes


def _recipe(options: argparse.Namespace) -> dict:
    return {name: getattr(options, name) for name in Recipe._fields}


def _plan(
    options: argparse.Namespace, model: ViT, parts: dict[str, tuple[Tensor, Tensor]], start: Start | None
) -> str:
    accelerator, config = make_accelerator(), model.config
    counts = ", ".join(f"{len(labels)} {split}" for split, (_, labels) in parts.items())
    size = " x ".join(map(str, parts["train"][0].shape[1:]))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    lines = {"data": f"{options.data}: {counts} images of {size}, {config['num_classes']} classes"}
    lines["patches"] = f"{model.grid[0]} x {model.grid[1]} of {config['patch_size']} pixels"
    lines["model"] = f"dim {config['dim']}, depth {config['depth']}, {config['num_heads']} heads, "
    lines["model"] += f"{config['pool']} pooled, {parameters:,} parameters"
    if start is not None:
        lines["from"] = _said_of(start, model)
    lines["recipe"] = ", ".join(f"{name} {value}" for name, value in _recipe(options).items())
    lines["machine"] = f"{_count(accelerator.num_processes, 'process')} on {accelerator.device.type}"
    lines["writes"] = options.out + (f", {options.checkpoint}" if options.checkpoint else "")
    return "\n".join(f"{name:8} {line}" for name, line in lines.items())


def _said_of(start: Start, model: ViT) -> str:
    head = "their head is kept" if model is start.model else f"a new head of {model.num_classes} classes"
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    return f"{start.origin}: {head}, {trained:,} parameters are trained"


def _outcome(history: History, notes: dict, trained: int) -> str:
    speed = trained * len(history.seconds) / sum(history.seconds)
    lines = [f"{speed:,.0f} images per second in training, validation included"]
    if history.stopped:
        lines.append(f"stopped by Ctrl-C in epoch {len(history.loss)}; the best epoch so far is kept")
    lines.append(f"best accuracy in validation {notes['valid_accuracy']:.2%}")
    return "\n".join(lines)


def _tested(counts: dict[int, tuple[int, int]], classes: tuple[str, ...]) -> str:
    """What the test found, in all and by class, and whether that is worth anything."""
    right, tested = (sum(each) for each in zip(*counts.values(), strict=True))
    worst = sorted(counts, key=lambda label: counts[label][0] / counts[label][1])
    shown = [f"{printable(classes[label])}: {_share(*counts[label])}" for label in worst[:SHOWN]]
    more = f", and {len(worst) - SHOWN} more" if len(worst) > SHOWN else ""
    lines = [f"accuracy in test {_share(right, tested, ' images')}"]
    lines.append(f"by class, the worst first: {', '.join(shown)}{more}")
    commonest = max(counts, key=lambda label: counts[label][1])
    if right <= counts[commonest][1]:
        always = f"{printable(classes[commonest])}: {_share(counts[commonest][1], tested)}"
        lines.append(f"this is no better than always answering the commonest class, {always}")
    return "\n".join(lines)


def _how_to_look(data: str, out: str) -> str:
    """The command that draws where the model looks, with a picture of the folder where there is one."""
    photo, on = (
        (None, ", on a picture of one digit, light on dark") if data == "digits" else (_picture(data), "")
    )
    words = ["python", "-m", "vit_steps.looking", out, photo or "PHOTO", "--out", "map.png"]
    return f"to see where it looks{on}: {shlex.join(words)}"


def _picture(folder: str) -> str | None:
    """One picture of a folder of classes, such that its name can be typed."""
    for root, names, files in os.walk(folder, followlinks=True):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(files):
            path = os.path.join(root, name)
            if Path(name).suffix.lower() in SUFFIXES and name[0] != "." and printable(path) == path:
                return path
    return None


def _share(right: int, of: int, noun: str = "") -> str:
    return f"{right / of:.2%} ({right} of {of}{noun})"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("es" if number > 1 else "")


def _say(text: str) -> None:
    make_accelerator().print(text, flush=True)
