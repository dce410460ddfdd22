"""vit-steps: a word leads to its command, and what is not there is said in one line."""

import re
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest

import vit_steps
from vit_steps.__main__ import WORDS, main

ROOT = Path(__file__).parent.parent
TAKEN = {"train": "training", "look": "looking", "docter": "doctor", "grading": None}


@pytest.fixture
def called(monkeypatch):
    """In place of all commands one that notes what it is given, and gives what it is told to."""
    command = SimpleNamespace(given=[], gives=0, raises=None)

    def note(arguments):
        command.given.append(arguments)
        if command.raises:
            raise command.raises
        return command.gives

    monkeypatch.setattr("vit_steps.__main__.import_module", lambda name: SimpleNamespace(main=note))
    return command


@pytest.mark.parametrize("word", WORDS)
def test_a_word_hands_on_all_that_follows(called, word):
    called.gives = 7
    assert main([word, "--out", "a b", "--help"]) == 7
    assert called.given == [["--out", "a b", "--help"]]


def test_a_command_that_gives_nothing_went_well(called):
    called.gives = None
    assert main(["lab"]) == 0


@pytest.mark.parametrize("word", WORDS)
def test_behind_every_word_there_is_a_command(word):
    assert callable(import_module(WORDS[word].module).main)


@pytest.mark.parametrize("asked", [[], ["-h"], ["--help"], ["help"]])
def test_the_help_names_every_word_and_has_an_example(asked, capsys):
    assert main(asked) == 0
    said = capsys.readouterr().out
    assert re.findall(r"^  (\w+) +\w", said, flags=re.M)[: len(WORDS)] == [*WORDS]
    assert "\n    vit-steps lab ~/vit\n" in said
    assert max(map(len, said.splitlines())) <= 100


def test_the_version_is_the_packages(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"vit-steps {vit_steps.__version__}\n"


@pytest.mark.parametrize(("wrong", "meant"), TAKEN.items())
def test_a_word_that_there_is_not_names_those_that_there_are(wrong, meant, capsys):
    assert main([wrong]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"vit-steps: there is no word '{wrong}'.")
    assert said.endswith(f" There are {', '.join(WORDS)}.\n")
    assert (f" Did you mean {meant}?" in said) or meant is None


def test_a_missing_extra_says_which_and_how(called, capsys):
    called.raises = ModuleNotFoundError("No module named 'jupyterlab'", name="jupyterlab")
    assert main(["lab", "here"]) == 1
    said = 'vit-steps: lab needs jupyterlab, which is not installed: pip install "vit-steps[lab]"\n'
    assert capsys.readouterr().err == said


def test_a_missing_part_of_the_package_is_another_versions(called, capsys):
    called.raises = ModuleNotFoundError("No module named 'vit_steps.new'", name="vit_steps.new")
    assert main(["grade"]) == 1
    said = "vit-steps: grade is not in this version of the package: there is no vit_steps.new.\n"
    assert capsys.readouterr().err == said


def test_ctrl_c_ends_any_word_in_one_line(called, capsys):
    called.raises = KeyboardInterrupt()
    assert main(["course", "here"]) == 130
    assert capsys.readouterr().err == "vit-steps: stopped by Ctrl-C\n"


def test_the_extras_are_those_of_pyproject():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {word.extra for word in WORDS.values()} - {""} <= project["optional-dependencies"].keys()
    assert project["scripts"] == {"vit-steps": "vit_steps.__main__:main"}


def by_module(*arguments):
    return subprocess.run(
        [sys.executable, "-m", *arguments], capture_output=True, text=True, cwd=ROOT, timeout=100
    )


@pytest.mark.parametrize("word", ["training", "looking"])
def test_the_words_of_rooms_are_the_same_as_their_modules(word):
    through, alone = by_module("vit_steps", word, "--nonsense"), by_module(f"vit_steps.{word}", "--nonsense")
    assert through.returncode == alone.returncode == 2
    assert through.stderr == alone.stderr != ""
