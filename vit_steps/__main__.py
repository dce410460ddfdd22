"""``vit-steps WORD …``, the same as ``python -m vit_steps WORD …``: one command for the whole package."""

import difflib
import sys
from importlib import import_module
from typing import NamedTuple


class Word(NamedTuple):
    """What a word stands for.

    Attributes:
        module: has ``main(arguments)``, which gives the exit status.
        says: what it does, in one line.
        extra: what of pyproject.toml it needs besides the package.
    """

    module: str
    says: str
    extra: str = ""


WORDS = {
    "lab": Word("vit_steps.commands.lab", "lay the lessons into a folder and open JupyterLab on them", "lab"),
    "course": Word("vit_steps.commands.course", "lay the lessons into a folder, and no more"),
    "training": Word("vit_steps.training.__main__", "train a ViT on digits or on a folder of images"),
    "looking": Word("vit_steps.looking.__main__", "draw where a ViT looks on a photograph"),
    "lessons": Word("vit_steps.lessons.__main__", "make the lessons' editions for a class"),
    "grade": Word("vit_steps.lessons.grading.__main__", "grade the notebooks that a class hands in"),
    "pack": Word("vit_steps.lessons.pack.__main__", "write a teacher's plans, questions and rubrics"),
    "doctor": Word("vit_steps.commands.doctor", "say what does not fit on this machine, and what to do"),
}
HELP = """usage: vit-steps WORD ...

words:
{words}

examples:
  the lessons, in a folder of yours, in a browser
    vit-steps lab ~/vit
  what a word takes
    vit-steps training --help

python -m vit_steps WORD ... is the same. Where a part is missing: pip install "vit-steps[lab]".
"""


def main(arguments: list[str] | None = None) -> int:
    """Run ``vit-steps``: the first word says which command, all else is handed on to it.

    Returns:
        What the command gives; 0 for the help, 2 for a word that there is not, 1 where something is not
        installed, 130 where Ctrl-C ended it.
    """
    word, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if word in ("-h", "--help", "help"):
        print(_help(), end="")
        return 0
    if word == "--version":
        print(f"vit-steps {import_module('vit_steps').__version__}")
        return 0
    if word not in WORDS:
        return _say(_no_such(word), 2)
    try:
        return import_module(WORDS[word].module).main(rest) or 0
    except ModuleNotFoundError as error:
        return _say(_what_is_missing(word, error.name or str(error)), 1)
    except KeyboardInterrupt:
        return _say("stopped by Ctrl-C", 130)


def _help() -> str:
    width = max(map(len, WORDS))
    return HELP.format(words="\n".join(f"  {name:{width}}  {word.says}" for name, word in WORDS.items()))


def _no_such(word: str) -> str:
    near = difflib.get_close_matches(word, WORDS, n=1)
    meant = f" Did you mean {near[0]}?" if near else ""
    return f"there is no word {word!r:.80}.{meant} There are {', '.join(WORDS)}."


def _what_is_missing(word: str, module: str) -> str:
    """Say which part is not installed and what installs it; what is ours is another version's."""
    if module.partition(".")[0] == "vit_steps":
        return f"{word} is not in this version of the package: there is no {module}."
    extra = f"[{WORDS[word].extra}]" if WORDS[word].extra else ""
    return f'{word} needs {module}, which is not installed: pip install "vit-steps{extra}"'


def _say(text: str, status: int) -> int:
    print(f"vit-steps: {text}", file=sys.stderr, flush=True)
    return status


if __name__ == "__main__":
    raise SystemExit(main())
