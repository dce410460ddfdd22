"""The command ``python -m vit_steps.looking``: where a model looks on a photograph, as picture or page."""

import argparse
import os
import sys
import warnings

from vit_steps.doors import values
from vit_steps.files.pictures import open_picture, printable
from vit_steps.files.writing import writable
from vit_steps.looking import _look_words as words
from vit_steps.looking.look import look_at
from vit_steps.looking.views import Look, ending_of
from vit_steps.pretrained import Pretrained, load_pretrained
from vit_steps.vit import ViT

EXAMPLES = """examples:
  from which patches of your photograph a model draws its answer; a Hub name, a folder or a file
    python -m vit_steps.looking facebook/deit-tiny-patch16-224 cat.jpg --out map.png
  where the third head of the last block looks, and where that of an untrained twin does
    python -m vit_steps.looking facebook/deit-tiny-patch16-224 cat.jpg --block 12 --head 3 --control
  which patches are like the one at a place, 180 pixels from the left and 95 from the top
    python -m vit_steps.looking facebook/dinov2-small cat.jpg --likeness 180,95 --out likeness.png
  all blocks, heads and places in one page, to be touched without a network
    python -m vit_steps.looking model.safetensors cat.jpg --control --out explorer.html

What python -m vit_steps.training wrote is a MODEL, too. Blocks and heads are counted from 1. In Python it is
look(model, "cat.jpg"), from vit_steps.looking.look.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run ``python -m vit_steps.looking``.

    Returns:
        0 when all went well, 130 when Ctrl-C ended it. What is refused leaves with 2, and says why.
    """
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        _check(options)
        _draw(options)
    except (ValueError, KeyError, OSError) as error:
        parser.error(error.args[0] if isinstance(error, KeyError) else str(error))
    except KeyboardInterrupt:
        print("stopped by Ctrl-C", file=sys.stderr, flush=True)
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m vit_steps.looking",
        description="Draw where a Vision Transformer looks on a photograph, in the place where it looks.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("model", metavar="MODEL", help="a name on the Hugging Face Hub, a folder or a file")
    parser.add_argument("photo", metavar="PHOTO", help="a picture of any shape, turned as its camera noted")
    parser.add_argument("--rollout", action="store_true", help="attention through all blocks (the default)")
    parser.add_argument("--block", type=int, metavar="N", help="attention of one block, 1 for the first")
    parser.add_argument(
        "--head", type=int, metavar="N", help="of one head, not their mean; of the last block"
    )
    parser.add_argument(
        "--likeness", type=_place, metavar="ACROSS,DOWN", help="how like the patch at this pixel all are"
    )
    parser.add_argument("--control", action="store_true", help="draw an untrained twin's map beside it")
    parser.add_argument(
        "--out", default="map.png", help="picture (.png), or a page with all maps (.html) (map.png)"
    )
    return parser


def _place(text: str) -> tuple[int, int]:
    across, _, down = text.partition(",")
    if not (across.isdecimal() and down.isdecimal()):
        raise argparse.ArgumentTypeError(f"must be two pixels such as 180,95, got {text!r}")
    return int(across), int(down)


def _check(options: argparse.Namespace) -> None:
    """Refuse before the work what can be refused before it."""
    for name in ("block", "head"):
        if getattr(options, name) is not None:
            values.integer(f"--{name}", getattr(options, name))
    wanted = _wanted(options)
    if len(wanted) > 1:
        raise ValueError(f"{' and '.join(wanted)} are given: one map at a time")
    if ending_of("--out", options.out) == ".html" and wanted:
        raise ValueError(f"{wanted[0]} chooses one map, {options.out} holds them all: it goes with .png")
    both = (options.out, options.photo)
    if all(map(os.path.exists, both)) and os.path.samefile(*both):
        raise ValueError(f"--out is the photograph itself, {options.out}")
    writable(options.out)


def _wanted(options: argparse.Namespace) -> list[str]:
    """Which of the maps were asked for by name."""
    given = {"--rollout": options.rollout, "--likeness": options.likeness is not None}
    given["--block or --head"] = options.block is not None or options.head is not None
    return [name for name, is_given in given.items() if is_given]


def _draw(options: argparse.Namespace) -> None:
    photograph = open_picture(options.photo, "RGB")
    _tell("photo", f"{printable(options.photo)}: {photograph.width} x {photograph.height} pixels")
    loaded = _load(options.model)
    _check_in_range(options, loaded.model)
    _tell("model", words.of_model(options.model, loaded.model))
    found = look_at(loaded, options.photo, photograph, control=options.control)
    _tell("input", words.of_part(found))
    if found.answers:
        _tell("answer", words.of_answers(found))
    if ending_of("--out", options.out) == ".html":
        _tell("page", "all blocks, heads and places, and first the rollout")
    else:
        found = _view(found, options)
        _tell("map", words.of_view(found.view))
        if found.view.control is not None:
            _tell("control", words.of_control(found.view))
    found.save(options.out)
    _tell("wrote", printable(options.out))


def _load(source: str) -> Pretrained:
    """Load the model; what is assumed of it is said in plain lines."""
    with warnings.catch_warnings(record=True) as noted:
        warnings.simplefilter("always")
        loaded = load_pretrained(source)
    for note in noted:
        if issubclass(note.category, UserWarning):
            print(f"{'note':8} {note.message}", file=sys.stderr, flush=True)
    return loaded


def _check_in_range(options: argparse.Namespace, model: ViT) -> None:
    most = {"block": len(model.blocks), "head": model.config["num_heads"]}
    for name, number in most.items():
        if (getattr(options, name) or 0) > number:
            raise ValueError(f"--{name} must be at most {number}, got {getattr(options, name)}")


def _view(found: Look, options: argparse.Namespace) -> Look:
    """The map that was asked for; to the reader blocks and heads are counted from 1."""
    if options.likeness is not None:
        try:
            return found.likeness(*found.patch_at(*options.likeness))
        except ValueError as error:
            raise ValueError(f"--likeness: {error}") from None
    if options.block is None and options.head is None:
        return found.rollout()
    layer, head = (number and number - 1 for number in (options.block, options.head))
    return found.attention(layer=layer, head=head)


def _tell(name: str, text: str) -> None:
    print(f"{name:8} {text}", flush=True)
