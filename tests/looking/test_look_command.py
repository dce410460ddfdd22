# ruff: noqa: E501 (one line for each wrong input)
"""python -m vit_steps.looking: what it draws, says, refuses and leaves."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image

from vit_steps import ViT
from vit_steps.looking import command
from vit_steps.looking.command import main
from vit_steps.looking.look import look
from vit_steps.looking.views import Look
from vit_steps.pretrained import Preprocess, save_hugging_face
from vit_steps.training import save_checkpoint

SIZES = dict(image_size=16, patch_size=4, dim=8, depth=3, num_heads=2, mlp_dim=12, num_classes=3)
HALF = (0.5, 0.5, 0.5)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    torch.manual_seed(0)
    preprocess = Preprocess(size=(16, 16), mean=HALF, std=HALF)
    save_hugging_face(ViT(**SIZES), tmp_path / "hub", labels=["cat", "dog", "cup"], preprocess=preprocess)
    photo = np.random.default_rng(0).integers(0, 255, (32, 48, 3), np.uint8)
    Image.fromarray(photo).save(tmp_path / "cat.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refused(words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(shlex.split(words))
    assert caught.value.code == 2
    return re.sub(r"^.*: error: ", "", capsys.readouterr().err.splitlines()[-1])


@pytest.fixture
def drawn(monkeypatch):
    """The view of each look that is saved."""
    saved, real = [], Look.save

    def save(self, path):
        saved.append(self)
        real(self, path)

    monkeypatch.setattr(Look, "save", save)
    return saved


def test_help_has_examples_that_its_parser_reads(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    lines = [line for line in command.EXAMPLES.splitlines() if "-m vit_steps.looking" in line]
    assert len(lines) == 4
    for line in lines:
        assert line in shown
        options = command._parser().parse_args(shlex.split(line)[3:])
        assert len(command._wanted(options)) <= 1


def test_it_draws_and_says_what(folder, drawn, capsys):
    assert main(["hub", "cat.png"]) == 0
    lines = capsys.readouterr().out.splitlines()
    expected = look(folder / "hub", folder / "cat.png")
    assert lines[0] == "photo    cat.png: 48 x 32 pixels"
    assert lines[1] == "model    hub: dim 8, 3 blocks, 2 heads, cls pooled, 4 x 4 patches of 4 pixels"
    assert lines[2] == "input    of the photograph 8 to 40 across and 0 to 32 down"
    answers = ", ".join(f"{name} {share:.1%}" for name, share in expected.answers)
    assert lines[3] == f"answer   {answers}"
    assert lines[4].startswith(
        "map      From which patches the CLS token was drawn: rollout through 3 blocks: most in row "
    )
    assert lines[5:] == ["wrote    map.png"]
    assert Image.open("map.png").text["Description"] == str(expected)
    torch.testing.assert_close(drawn[0].view.map, expected.view.map)
    assert sorted(path.name for path in folder.iterdir()) == ["cat.png", "hub", "map.png"]


@pytest.mark.parametrize(
    ("words", "ask"),
    [
        ("", lambda found: found.rollout()),
        ("--rollout", lambda found: found.rollout()),
        ("--block 1", lambda found: found.attention(layer=0)),
        ("--block 3 --head 2", lambda found: found.attention(layer=2, head=1)),
        ("--head 1", lambda found: found.attention(head=0)),
        ("--likeness 8,0", lambda found: found.likeness(0, 0)),
        ("--likeness 39,15", lambda found: found.likeness(1, 3)),
    ],
)
def test_each_view_by_its_option(folder, drawn, capsys, words, ask):
    assert main(["hub", "cat.png", "--control", "--out", "m.png", *words.split()]) == 0
    expected = ask(look("hub", "cat.png", control=True))
    torch.testing.assert_close(drawn[0].view.map, expected.view.map)
    torch.testing.assert_close(drawn[0].view.control, expected.view.control)
    assert drawn[0].view.words == expected.view.words
    shown = capsys.readouterr().out
    assert f"map      {expected.view.words}: " in shown
    assert "control  an untrained twin, same scale: " in shown


def test_a_page_holds_all_maps(folder, monkeypatch, capsys):
    double = ModuleType("vit_steps.looking.explorer_page")
    double.explorer_page = lambda *_, title, **__: f"<html>{title}</html>"
    monkeypatch.setitem(sys.modules, "vit_steps.looking.explorer_page", double)
    assert main(["hub", "cat.png", "--control", "--out", "a.html"]) == 0
    assert (folder / "a.html").read_text() == "<html>cat.png</html>"
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["photo", "model", "input", "answer", "page", "wrote"]


def test_what_the_training_wrote_is_a_model(folder, capsys):
    model = ViT(**SIZES | {"channels": 1})
    save_checkpoint(model, "own.safetensors", notes={"classes": ["a", "b", "c"], "command": "train"})
    assert main(["own.safetensors", "cat.png"]) == 0
    shown = capsys.readouterr()
    assert re.search(r"^answer   [abc] [\d.]+%, [abc] ", shown.out, re.MULTILINE)
    assert "Warning" not in shown.err


def test_what_is_assumed_of_a_model_is_said_in_a_line(folder, capsys):
    from safetensors.torch import save_file

    state = {f"module.{name}": each for name, each in ViT(**SIZES | {"dim": 64}).state_dict().items()}
    save_file(state, "bare.safetensors")
    with pytest.raises(SystemExit):  # nor do they say how their images were normalised
        main(["bare.safetensors", "cat.png"])
    main_said = capsys.readouterr().err
    assert "give it with dataclasses.replace" in main_said
    assert re.search(r"^note     bare\.safetensors does not say all of its model", main_said, re.MULTILINE)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("hub cat.png --block 4", "--block must be at most 3, got 4"),
        ("hub cat.png --block 0", "--block must be at least 1, got 0"),
        ("hub cat.png --head 3", "--head must be at most 2, got 3"),
        ("hub cat.png --head -1", "--head must be at least 1, got -1"),
        ("hub cat.png --block two", "argument --block: invalid int value: 'two'"),
        ("hub cat.png --likeness 3", "argument --likeness: must be two pixels such as 180,95, got '3'"),
        ("hub cat.png --likeness 48,3", "--likeness: across must be at most 47, got 48"),
        ("hub cat.png --likeness 9,32", "--likeness: down must be at most 31, got 32"),
        ("hub cat.png --likeness 7,3", "--likeness: across 7 was cropped away: the model got 8.0 to 40.0"),
        ("hub cat.png --rollout --head 1", "--rollout and --block or --head are given: one map at a time"),
        ("hub cat.png --out a.jpg", "--out must end in .png or .html, got 'a.jpg'"),
        ("hub cat.png --out a", "--out must end in .png or .html, got 'a'"),
        ("hub cat.png --out no/a.png", "there is no folder no to write a.png into"),
        ("hub cat.png --out ./cat.png", "--out is the photograph itself, ./cat.png"),
        ("hub cat.png --likeness 9,9 --out a.html", "--likeness chooses one map, a.html holds them all: it goes with .png"),
        ("hub dog.png", "there is no picture dog.png"),
        ("hub hub/config.json", "hub/config.json is no picture that can be read: cannot identify image file 'hub/config.json'"),
        ("nowhere cat.png", "there is no file or folder nowhere, and it is no Hub name such as 'owner/name'"),
        ("cat.png cat.png", "cat.png is none of the files that are read here"),
        ("hub", "the following arguments are required: PHOTO"),
    ],
)  # fmt: skip
def test_it_refuses_in_words_and_leaves_nothing(folder, capsys, words, message):
    start = time.perf_counter()
    assert refused(words, capsys).startswith(message)
    assert time.perf_counter() - start < 2
    assert sorted(path.name for path in folder.iterdir()) == ["cat.png", "hub"]


def test_a_place_that_cannot_be_written_is_found_before_the_work(folder, capsys, monkeypatch):
    (folder / "map.png").mkdir()
    monkeypatch.setattr(command, "load_pretrained", lambda _: pytest.fail("it loaded a model"))
    assert refused("hub cat.png", capsys) == "map.png is a folder, a file was wanted"


def test_a_photograph_is_opened_before_a_model_is_fetched(folder, capsys, monkeypatch):
    monkeypatch.setattr(command, "load_pretrained", lambda _: pytest.fail("it loaded a model"))
    assert refused("owner/name none.png", capsys) == "there is no picture none.png"


@pytest.mark.skipif(os.name != "posix", reason="sends a signal")
def test_ctrl_c_leaves_nothing_but_what_was_there(folder):
    (folder / "map.png").write_bytes(b"old")
    words = [sys.executable, "-m", "vit_steps.looking", "hub", "cat.png"]
    root = os.path.dirname(os.path.dirname(os.path.abspath(command.__file__ + "/..")))
    run = subprocess.Popen(
        words,
        env={**os.environ, "PYTHONPATH": root},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert run.stdout.readline().startswith("photo ")
    run.send_signal(signal.SIGINT)
    _, said = run.communicate(timeout=60)
    assert (run.returncode, said) == (130, "stopped by Ctrl-C\n")
    assert (folder / "map.png").read_bytes() == b"old"
    assert sorted(path.name for path in folder.iterdir()) == ["cat.png", "hub", "map.png"]


def test_ctrl_c_while_it_draws(folder, monkeypatch, capsys):
    def press(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(Look, "draw", press)
    assert main(["hub", "cat.png"]) == 130
    assert capsys.readouterr().err == "stopped by Ctrl-C\n"
    assert sorted(path.name for path in folder.iterdir()) == ["cat.png", "hub"]
