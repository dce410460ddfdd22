"""The command with --from: trained weights, their preparation, a new head, and a run that goes on."""

import re
import shlex

import numpy as np
import pytest
import torch
from PIL import Image
from training_helpers import same_weights

from vit_steps import ViT
from vit_steps.data import load_digits_images, load_image_folder
from vit_steps.pretrained import Preprocess, load_pretrained, save_hugging_face
from vit_steps.training import accuracy, command, load_checkpoint, loop, read_notes, save_checkpoint
from vit_steps.training.command import main

SIZES = dict(image_size=16, patch_size=4, dim=12, depth=2, num_heads=3, mlp_dim=20, eps=1e-3)
# A share whose float gives 17 pixels, and a mean that makes another picture of it.
PREPARED = Preprocess(size=(16, 16), mean=(0.4, 0.5, 0.6), std=(0.2, 0.3, 0.25), crop_pct=8 / 9, floor=True)
CLASSES = ["cat", "dog", "eel"]


def trained(num_classes=5, seed=0):
    torch.manual_seed(seed)
    model = ViT(**SIZES, num_classes=num_classes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder of coloured pictures, none of them square, and weights beside it."""
    dice = np.random.default_rng(0)
    for channel, name in enumerate(CLASSES):
        (tmp_path / "pets" / name).mkdir(parents=True)
        for number in range(10):
            pixels = dice.integers(0, 60, (20 + number, 31, 3))
            pixels[..., channel] += 150
            Image.fromarray(pixels.astype("uint8")).save(tmp_path / "pets" / name / f"{number}.png")
    save_hugging_face(trained(), tmp_path / "theirs", preprocess=PREPARED)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def changed(model, before):
    pairs = {name: (weight, before[name]) for name, weight in model.state_dict().items()}
    return [
        name for name, (now, then) in pairs.items() if now.shape != then.shape or not torch.equal(now, then)
    ]


def run(words):
    return main(shlex.split(f"--data pets --epochs 2 {words}"))


def refused(words, capsys):
    with pytest.raises(SystemExit) as caught:
        run(words)
    assert caught.value.code == 2
    return capsys.readouterr().err.splitlines()[-1]


def test_a_frozen_start_keeps_all_but_the_head_and_the_file_holds_names_and_preparation(place, capsys):
    assert run("--from theirs --freeze") == 0
    shown = capsys.readouterr()
    assert "a new head of 3 classes, 39 parameters are trained" in shown.out
    assert "30/30" in shown.err  # the bar of the images
    model, preprocess, labels = load_pretrained("model.safetensors")
    before = trained().state_dict()
    assert changed(model, before) == ["head.weight", "head.bias"]
    assert labels == read_notes("model.safetensors")["classes"] == CLASSES
    assert preprocess == load_pretrained("theirs").preprocess
    assert preprocess.crop_pct == load_pretrained("theirs").preprocess.crop_pct
    assert load_checkpoint("model.safetensors").config == {**trained().config, "num_classes": 3}
    assert read_notes("model.safetensors")["from"].startswith("theirs ")


def test_the_images_are_prepared_as_the_weights_ask(place, monkeypatch):
    seen = {}
    monkeypatch.setattr(command, "fit", lambda model, train, valid, **_: seen.update(train=train) or stop())

    def stop():
        raise ValueError("enough was seen")

    with pytest.raises(SystemExit):
        run("--from theirs")
    prepare = load_pretrained("theirs").preprocess
    expected = torch.cat([prepare(file) for file in sorted(place.glob("pets/*/*.png"))])
    for image in seen["train"][0]:
        assert (expected == image).flatten(1).all(dim=1).sum() == 1
    assert seen["train"][0].min() < -1  # normalised


def test_without_freeze_all_of_it_learns_slowly(place, monkeypatch):
    recipes = []
    real = loop._Run.__init__
    monkeypatch.setattr(
        loop._Run, "__init__", lambda self, *args: recipes.append(args[3]) or real(self, *args)
    )
    assert main(shlex.split("--data pets --from theirs")) == 0
    assert run("--from theirs --lr 0.01") == 0
    assert run("--from theirs --freeze") == 0
    assert [(recipe.lr, recipe.epochs) for recipe in recipes] == [(5e-5, 10), (0.01, 2), (3e-3, 2)]
    before = trained().state_dict()
    assert main(shlex.split("--data pets --from theirs")) == 0
    assert {*changed(load_checkpoint("model.safetensors"), before)} == {*before}


def test_its_own_file_is_a_start_and_keeps_the_head_of_the_same_classes(place, capsys):
    assert run("--from theirs --freeze --out first.safetensors") == 0
    assert run("--from first.safetensors --lr 0 --weight-decay 0 --out second.safetensors") == 0
    assert "their head is kept" in capsys.readouterr().out
    first, second = (load_pretrained(f"{name}.safetensors") for name in ("first", "second"))
    assert same_weights(first.model, second.model)
    assert (first.preprocess, first.labels) == (second.preprocess, second.labels)


def test_weights_without_a_head_and_at_another_size(place):
    save_hugging_face(trained(num_classes=0), "headless", preprocess=PREPARED)
    assert run("--from headless --freeze --image-size 24") == 0
    model, preprocess, labels = load_pretrained("model.safetensors")
    assert (model.image_size, preprocess.size, labels) == ((24, 24), (24, 24), CLASSES)


def test_digits_go_on_from_a_file_of_digits(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(shlex.split("--dim 16 --depth 1 --epochs 1 --out first.safetensors")) == 0
    assert main(shlex.split("--from first.safetensors --epochs 1 --lr 0 --out second.safetensors")) == 0
    test = load_digits_images("test")
    first, second = (load_checkpoint(f"{name}.safetensors") for name in ("first", "second"))
    assert (
        accuracy(first, test) == accuracy(second, test) == read_notes("second.safetensors")["test_accuracy"]
    )


# A run that goes on


def test_a_run_from_weights_goes_on_as_if_it_had_never_stopped(place, monkeypatch):
    words = "--from theirs --freeze --batch-size 8 --checkpoint run.safetensors"
    assert run("--from theirs --freeze --batch-size 8 --out whole.safetensors") == 0
    real = loop._Run.save

    def stop(self, path):
        real(self, path)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "save", stop)
        with pytest.raises(KeyboardInterrupt):
            run(words)
    assert not (place / "model.safetensors").exists()
    assert run(words) == 0
    assert same_weights(load_checkpoint("model.safetensors"), load_checkpoint("whole.safetensors"))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--from other --freeze", r"it started from theirs \w{8}, this one starts from other \w{8}"),
        (
            "--patch-size 4 --image-size 16",
            r"it started from theirs \w{8}, this one starts from fresh weights",
        ),
        ("--from theirs --lr 0.003", r"\S+ was frozen, is trained"),
        ("--from theirs --freeze --lr 0.1", "lr was 0.003, is 0.1"),
    ],
)
def test_a_run_from_other_weights_is_another_run(place, capsys, words, message):
    save_hugging_face(trained(seed=1), place / "other", preprocess=PREPARED)
    assert run("--from theirs --freeze --checkpoint run.safetensors") == 0
    said = refused(f"{words} --checkpoint run.safetensors --out new.safetensors", capsys)
    assert "checkpoint run.safetensors belongs to another run: " in said
    assert re.search(message, said), said


def test_the_same_weights_may_have_moved(place):
    assert run("--from theirs --checkpoint run.safetensors") == 0
    (place / "deep").mkdir()
    (place / "theirs").rename(place / "deep" / "theirs")
    assert run("--from ./deep/theirs/ --checkpoint run.safetensors") == 0


# What is refused


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--from theirs --dim 32", "--dim 32 and --from are given: the weights have their own"),
        ("--from theirs --patch-size 4", "--patch-size 4 and --from are given"),
        ("--from theirs --pool cls", "--pool cls and --from are given"),
        ("--freeze", "--freeze keeps trained weights as they are: it goes with --from"),
        ("--from nowhere.safetensors", "there is no file or folder nowhere.safetensors"),
        ("--from bare.safetensors", "normalised"),
        ("--from theirs --image-size 18", "18"),
        ("--data digits --from theirs", "image must have the axes (3 height width)"),
    ],
)
def test_what_cannot_be_is_refused_before_it_trains(place, capsys, monkeypatch, words, message):
    save_checkpoint(trained(), "bare.safetensors")
    monkeypatch.setattr(loop._Run, "_train_epoch", lambda *_: pytest.fail("it trained"))
    assert message in refused(words, capsys)
    assert not (place / "model.safetensors").exists()


def test_a_picture_that_is_broken_is_named_or_skipped(place, capsys):
    (place / "pets" / "dog" / "3.png").write_bytes(b"no picture")
    assert "cannot read pets/dog/3.png" in refused("--from theirs", capsys)
    with pytest.warns(UserWarning, match=r"skipped pets/dog/3.png"):
        assert run("--from theirs --broken skip") == 0


# The same in Python


def test_a_folder_is_prepared_by_what_comes_with_the_weights(place, capsys):
    prepare = load_pretrained("theirs").preprocess
    images, labels, classes = load_image_folder("pets", prepare=prepare)
    assert images.shape == (30, 3, 16, 16)
    assert torch.equal(images[10:11], prepare("pets/dog/0.png"))
    assert (labels.tolist(), classes) == ([0] * 10 + [1] * 10 + [2] * 10, tuple(CLASSES))
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, TypeError, "size must be an integer, got None"),
        (
            {"size": 8, "prepare": torch.rand},
            ValueError,
            "size 8 and prepare are given: prepare has a size of",
        ),
        ({"prepare": lambda _: torch.rand(3, 8, 8)}, ValueError, r"prepare gave shape \(3, 8, 8\)"),
        ({"prepare": lambda _: torch.rand(2, 3, 8, 8)}, ValueError, r"prepare gave shape \(2, 3, 8, 8\)"),
        (
            {"prepare": lambda path: torch.rand(1, 3, 8, 8 + ("dog" in str(path)))},
            ValueError,
            r"prepare gave shape \(1, 3, 8, 8\) and \(1, 3, 8, 9\)",
        ),
        ({"prepare": 3}, TypeError, "prepare must be callable, not int"),
    ],
)
@pytest.mark.usefixtures("doors_only")
def test_a_preparation_that_does_not_fit_is_refused(place, options, error, message):
    with pytest.raises(error, match=message):
        load_image_folder("pets", **options)
