"""Training: what it learns, that it is repeatable, what survives a kill, and what is refused."""

import inspect
import json
import math
import os
import pickle
import shlex
import signal
import subprocess
import sys
import threading
import time
from itertools import pairwise

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors import safe_open
from safetensors.torch import save_file

from vit_steps import ViT, training
from vit_steps.data import load_digits_images
from vit_steps.training import (
    SHIPPED,
    History,
    accuracy,
    digits_model,
    fit,
    fresh_model,
    load_checkpoint,
    main,
    random_affine,
    read_notes,
    save_checkpoint,
)

QUIET = {"progress": False}
with_signals = pytest.mark.skipif(os.name == "nt", reason="Windows sends no such signals to a process")


def unkind_model(**changes) -> ViT:
    """A small model on non-square images, every parameter away from its start."""
    sizes = {"image_size": (6, 10), "patch_size": 2, "channels": 2, "dim": 12, "depth": 2, "num_heads": 3}
    model = ViT(**{**sizes, "mlp_dim": 20, "num_classes": 3, **changes})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return model


def unkind_images(count: int, dtype=torch.float32) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.rand(count, 2, 6, 10, dtype=dtype), torch.randint(0, 3, (count,))


def digits(count: int, split: str = "train") -> tuple[torch.Tensor, torch.Tensor]:
    images, labels = load_digits_images(split)
    return images[:count], labels[:count]


def same_weights(one: ViT, other: ViT) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


# What it learns


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("patch_size", [2, 4])
def test_a_fresh_model_knows_nothing(seed, patch_size):
    images, labels = digits(300)
    loss = F.cross_entropy(digits_model(patch_size=patch_size, seed=seed)(images), labels)
    assert abs(loss.item() - math.log(10)) < 0.2


def test_one_batch_is_learned_by_heart_even_with_labels_by_chance():
    images, _ = digits(32)
    labels = torch.randint(0, 10, (32,))
    model = digits_model()
    history = fit(
        model,
        (images, labels),
        None,
        epochs=60,
        batch_size=32,
        augment=0.0,
        label_smoothing=0.0,
        average=0.9,
        **QUIET,
    )
    assert history.loss[-1] < 0.1 < 2 < history.loss[0]
    assert accuracy(model, (images, labels)) == 1


def test_digits_are_learned_in_seconds():
    model = digits_model()
    history = fit(model, load_digits_images("train"), load_digits_images("valid"), epochs=6, **QUIET)
    assert accuracy(model, load_digits_images("test")) > 0.9
    assert max(history.valid_accuracy) > 0.9
    assert len(history.loss) == len(history.valid_accuracy) == len(history.seconds) == 6
    assert not history.stopped
    assert not model.training


def test_the_loop_is_adamw_with_warm_up_cosine_smoothing_clipping_and_average():
    """The same training once more with torch's own schedulers, on one batch, whose order changes nothing."""
    train = unkind_images(12, torch.float64)
    model, reference = unkind_model().double(), unkind_model().double()
    reference.load_state_dict(model.state_dict())
    options = {"lr": 0.02, "weight_decay": 0.3, "label_smoothing": 0.2, "average": 0.7}
    history = fit(model, train, None, epochs=20, batch_size=12, augment=0.0, **options, **QUIET)

    optimizer = torch.optim.AdamW(reference.parameters(), lr=0.02, weight_decay=0.3)
    up = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: (step + 1) / 2)
    down = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=18)
    schedule = torch.optim.lr_scheduler.SequentialLR(optimizer, [up, down], milestones=[2])
    average, losses = [p.detach().clone() for p in reference.parameters()], []
    for step in range(20):
        loss = F.cross_entropy(reference(train[0]), train[1], label_smoothing=0.2)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(reference.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        decay = min(0.7, (1 + step) / (10 + step))
        average = [decay * a + (1 - decay) * p.detach() for a, p in zip(average, reference.parameters())]
        losses.append(loss.item())
    assert history.loss == pytest.approx(losses, rel=1e-9)
    for ours, expected in zip(model.parameters(), average, strict=True):
        torch.testing.assert_close(ours.detach(), expected, rtol=1e-7, atol=1e-9)


def test_gradients_are_clipped():
    """One step of AdamW hardly depends on the size of the gradient, two steps of very unlike size do."""
    norms = []
    real = torch.nn.utils.clip_grad_norm_
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch.nn.utils, "clip_grad_norm_", lambda *a, **k: norms.append(a[1]) or real(*a, **k))
        fit(unkind_model(), unkind_images(8), None, epochs=2, batch_size=4, **QUIET)
    assert norms == [1.0] * 4


def test_the_best_average_is_kept_of_equals_the_last(monkeypatch):
    scores = iter([0.5, 0.75, 0.75, 0.25])
    monkeypatch.setattr(training, "accuracy", lambda *_: next(scores))
    model, kept = unkind_model(), []
    history = fit(
        model,
        unkind_images(8),
        unkind_images(4),
        epochs=4,
        batch_size=4,
        on_epoch=lambda _: kept.append({name: t.clone() for name, t in model.state_dict().items()}),
        **QUIET,
    )
    assert history.valid_accuracy == [0.5, 0.75, 0.75, 0.25]
    differ = [any(not torch.equal(a[k], b[k]) for k in a) for a, b in pairwise(kept)]
    assert differ == [True, True, False]


def test_the_average_is_what_is_validated_and_kept():
    train, valid = unkind_images(16), unkind_images(64)
    with_average, without = unkind_model(), unkind_model()
    without.load_state_dict(with_average.state_dict())
    history = fit(with_average, train, valid, epochs=3, batch_size=8, average=0.99, **QUIET)
    fit(without, train, valid, epochs=3, batch_size=8, average=0.0, **QUIET)
    assert max(history.valid_accuracy) == accuracy(with_average, valid)
    assert not same_weights(with_average, without)


def test_bfloat16_changes_the_products_and_leaves_the_weights_float32():
    train, models = unkind_images(16), [unkind_model() for _ in range(2)]
    models[1].load_state_dict(models[0].state_dict())
    full = fit(models[0], train, None, epochs=2, batch_size=8, **QUIET)
    half = fit(models[1], train, None, epochs=2, batch_size=8, mixed_precision="bf16", **QUIET)
    assert all(parameter.dtype == torch.float32 for parameter in models[1].parameters())
    assert half.loss != full.loss
    assert half.loss == pytest.approx(full.loss, rel=0.02)


# Affine maps


def cubic(distance: float) -> float:
    """Keys' cubic convolution (1981) with a = -0.75, the one that torch takes."""
    t, a = abs(distance), -0.75
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * (t**3 - 5 * t**2 + 8 * t - 4) if t < 2 else 0.0


def linear(distance: float) -> float:
    return max(0.0, 1 - abs(distance))


def sample(image: np.ndarray, row: float, column: float, kernel) -> float:
    """Read between the pixels, black outside; pixel (0, 0) has its centre at 0, 0."""
    total = 0.0
    for r, c in np.ndindex(image.shape):
        total += image[r, c] * kernel(row - r) * kernel(column - c)
    return total


@pytest.mark.parametrize(("interpolation", "kernel"), [("bicubic", cubic), ("bilinear", linear)])
def test_affine_maps_are_what_they_say_pixel_by_pixel(interpolation, kernel):
    images = torch.rand(3, 2, 5, 8, dtype=torch.float64)
    options = {} if interpolation == "bicubic" else {"interpolation": interpolation}
    moved = random_affine(images, 0.3, generator=torch.Generator().manual_seed(4), **options)
    noise = 0.3 * (2 * torch.rand(3, 2, 3, generator=torch.Generator().manual_seed(4)) - 1)
    for place in np.ndindex(3, 2, 5, 8):
        number, channel, row, column = place
        (a, b, c), (d, e, f) = (torch.eye(2, 3) + noise[number]).tolist()
        across, down = (2 * column + 1) / 8 - 1, (2 * row + 1) / 5 - 1
        from_column = ((a * across + b * down + c + 1) * 8 - 1) / 2
        from_row = ((d * across + e * down + f + 1) * 5 - 1) / 2
        expected = sample(images[number, channel].numpy(), from_row, from_column, kernel)
        expected = min(max(expected, images.min().item()), images.max().item())
        assert moved[place].item() == pytest.approx(expected, abs=1e-6)


def test_no_strength_is_no_change_and_each_image_is_moved_its_own_way():
    images = torch.rand(1, 1, 8, 8).expand(4, 1, 8, 8)
    generator = torch.Generator().manual_seed(0)
    assert torch.equal(random_affine(images, 0.0, generator=generator), images)
    moved = random_affine(images, 0.1, generator=generator)
    assert len({image.numpy().tobytes() for image in moved}) == 4
    assert moved.min() >= 0
    assert moved.max() <= 1
    assert not torch.equal(moved, random_affine(images, 0.1, generator=generator))


# Repeatable


def test_a_seed_makes_a_run_repeatable_to_the_bit_and_leaves_the_callers_chance_alone():
    runs = []
    for noise, seed in ((1, 7), (2, 7), (1, 8)):
        torch.manual_seed(noise)
        before = torch.get_rng_state()
        model = digits_model(seed=3)
        assert torch.equal(torch.get_rng_state(), before)
        history = fit(model, digits(100), digits(30, "valid"), epochs=2, batch_size=32, seed=seed, **QUIET)
        runs.append((model, history))
    assert same_weights(runs[0][0], runs[1][0])
    assert runs[0][1] == runs[1][1]
    assert not same_weights(runs[0][0], runs[2][0])
    assert runs[0][1] != runs[2][1]


def test_seeds_make_fresh_models_and_positions_start_wide():
    assert same_weights(digits_model(seed=1), digits_model(seed=1))
    assert not same_weights(digits_model(seed=1), digits_model(seed=2))
    assert 0.4 < digits_model(patch_size=2).pos_embed.std() < 0.6


def test_every_epoch_has_its_own_order_and_its_own_maps():
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            training,
            "random_affine",
            lambda images, *_, generator: seen.append((images, generator)) or images,
        )
        fit(unkind_model(), unkind_images(8), None, epochs=2, batch_size=8, **QUIET)
    (first, noise), (second, other_noise) = seen
    assert not torch.equal(first, second)
    assert torch.equal(first.sum(0), first.sum(0))
    assert sorted(first.flatten().tolist()) == sorted(second.flatten().tolist())
    assert noise.initial_seed() != other_noise.initial_seed()


class Killed(Exception):
    """Stands in for a power cut after an epoch."""


@pytest.mark.parametrize("epochs_done", [1, 2, 4])
def test_resume_equals_no_interruption(tmp_path, epochs_done):
    train, valid, path = digits(100), digits(40, "valid"), tmp_path / "run.safetensors"
    options = {"epochs": 4, "batch_size": 32, "seed": 5, **QUIET}
    whole = digits_model()
    expected = fit(whole, train, valid, **options)

    def die(history):
        if len(history.loss) == epochs_done:
            raise Killed

    with pytest.raises(Killed):
        fit(digits_model(), train, valid, checkpoint=path, on_epoch=die, **options)
    resumed, epochs = digits_model(), []
    history = fit(
        resumed, train, valid, checkpoint=path, on_epoch=lambda h: epochs.append(len(h.loss)), **options
    )
    assert epochs == list(range(epochs_done + 1, 5))
    assert history == expected
    assert same_weights(resumed, whole)
    assert [file.name for file in tmp_path.iterdir()] == ["run.safetensors"]


@with_signals
def test_a_killed_run_started_again_ends_as_if_it_had_never_been_killed(tmp_path):
    """SIGKILL from outside, in the middle of things, by the command line."""
    recipe = ["--dim", "16", "--depth", "1", "--epochs", "12", "--batch-size", "128"]
    words = [*recipe, "--checkpoint", "run.safetensors", "--out", "model.safetensors"]
    command = [sys.executable, "-m", "vit_steps.training", *words]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    checkpoint, limit = tmp_path / "run.safetensors", time.time() + 60
    while not checkpoint.exists() and time.time() < limit:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "model.safetensors").exists()
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    other = tmp_path / "other.safetensors"
    assert main([*recipe, "--out", str(other)]) == 0
    assert same_weights(load_checkpoint(tmp_path / "model.safetensors"), load_checkpoint(other))


# Ctrl-C


def press_ctrl_c_after(epoch: int):
    def press(history: History) -> None:
        if len(history.loss) == epoch:
            os.kill(os.getpid(), signal.SIGINT)

    return press


@with_signals
def test_ctrl_c_stops_after_the_step_with_the_best_model_kept(tmp_path):
    train, valid, path = digits(100), digits(40, "valid"), tmp_path / "run.safetensors"
    before, steps = signal.getsignal(signal.SIGINT), []
    with pytest.MonkeyPatch.context() as patch:
        real = training.random_affine
        patch.setattr(training, "random_affine", lambda *a, **k: steps.append(1) or real(*a, **k))
        model = digits_model()
        options = {"epochs": 9, "batch_size": 32, **QUIET}
        history = fit(model, train, valid, checkpoint=path, on_epoch=press_ctrl_c_after(2), **options)
    assert len(steps) == 3 + 3 + 1
    assert history.stopped
    assert len(history.loss) == 3
    assert accuracy(model, valid) == max(history.valid_accuracy)
    assert signal.getsignal(signal.SIGINT) is before
    resumed, whole = digits_model(), digits_model()
    assert fit(resumed, train, valid, checkpoint=path, **options) == fit(whole, train, valid, **options)
    assert same_weights(resumed, whole)


@with_signals
def test_a_second_ctrl_c_interrupts_at_once():
    def press_twice(_):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)

    # A shell starts what runs in the background with Ctrl-C ignored; here it must count.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(unkind_model(), unkind_images(8), None, epochs=3, on_epoch=press_twice, **QUIET)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_it_runs_where_signals_are_not_to_be_had():
    found = []
    work = threading.Thread(
        target=lambda: found.append(fit(unkind_model(), unkind_images(8), None, epochs=1, **QUIET))
    )
    work.start()
    work.join()
    assert len(found[0].loss) == 1


# What is shown


def test_the_bar_says_loss_accuracy_and_time_left_on_stderr_alone(capsys):
    fit(unkind_model(), unkind_images(8), unkind_images(8), epochs=2, batch_size=4)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "epoch 2/2" in shown.err
    assert "4/4" in shown.err
    assert "<00:00" in shown.err
    assert "loss=" in shown.err
    assert "valid=" in shown.err


def test_nothing_is_shown_when_asked_so_and_the_callback_sees_each_epoch(capsys):
    seen = []
    fit(
        unkind_model(), unkind_images(8), None, epochs=3, on_epoch=lambda h: seen.append(len(h.loss)), **QUIET
    )
    assert seen == [1, 2, 3]
    assert capsys.readouterr() == ("", "")


# Accuracy


@pytest.mark.parametrize(("count", "batch_size"), [(1, 256), (7, 3), (12, 4), (13, 4)])
def test_accuracy_counts_every_image_once(count, batch_size):
    model, (images, _) = unkind_model(), unkind_images(count)
    labels = model(images).argmax(1)
    labels[::3] = (labels[::3] + 1) % 3
    right = count - len(labels[::3])
    assert accuracy(model, (images, labels), batch_size=batch_size) == right / count


# Files


@pytest.mark.parametrize(
    "changes", [{}, {"pool": "mean"}, {"num_classes": 0}, {"eps": 1e-12, "image_size": 8}, {"depth": 5}]
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_a_model_comes_back_from_its_file(tmp_path, changes, dtype):
    model = unkind_model(**changes).to(dtype)
    save_checkpoint(model, tmp_path / "model.safetensors", notes={"of": "unkind numbers"})
    again = load_checkpoint(str(tmp_path / "model.safetensors"))
    assert again.config == model.config
    assert not again.training
    images = torch.rand(2, 2, *model.image_size, dtype=dtype)
    assert torch.equal(again(images), model(images))
    assert same_weights(again, model)
    assert all(parameter.requires_grad for parameter in again.parameters())
    assert read_notes(tmp_path / "model.safetensors") == {"of": "unkind numbers"}


def test_the_same_model_gives_the_same_bytes(tmp_path):
    model, files = unkind_model(), [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for file in files:
        save_checkpoint(model, file, notes={"b": 1, "a": [2, 3]})
    assert files[0].read_bytes() == files[1].read_bytes()


def test_a_write_that_fails_leaves_the_old_file_and_no_draft(tmp_path, monkeypatch):
    path, old = tmp_path / "model.safetensors", unkind_model()
    save_checkpoint(old, path)

    def fail(*_):
        raise OSError("no space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "replace", fail)
        with pytest.raises(OSError, match="no space left"):
            save_checkpoint(unkind_model(), path)
    assert [file.name for file in tmp_path.iterdir()] == ["model.safetensors"]
    assert same_weights(load_checkpoint(path), old)


def test_a_new_file_takes_the_old_ones_place_in_one_move(tmp_path, monkeypatch):
    moves, real = [], os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: moves.append((a.parent, b)) or real(a, b))
    save_checkpoint(unkind_model(), tmp_path / "model.safetensors")
    assert moves == [(tmp_path, tmp_path / "model.safetensors")]


@pytest.fixture(scope="module")
def whole_file(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("files") / "model.safetensors"
    save_checkpoint(unkind_model(), path, notes={"split_seed": 3})
    return path.read_bytes()


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_refused_by_name(whole_file, tmp_path_factory, data):
    place = data.draw(st.integers(0, len(whole_file) - 1) | st.integers(0, 3000), label="place")
    flipped = bytearray(whole_file)
    flipped[place] ^= data.draw(st.integers(1, 255), label="flip")
    path = tmp_path_factory.mktemp("damaged") / "model.safetensors"
    path.write_bytes(flipped)
    try:
        found = load_checkpoint(path)
    except ValueError as error:
        found = str(error)
    if isinstance(found, str):
        assert str(path) in found
    else:  # a flip that reads the same, such as a tab for a space between two names of the header
        path.write_bytes(whole_file)
        assert same_weights(found, load_checkpoint(path))
        assert place < 3000


def test_a_number_changed_in_the_header_is_damage_too(whole_file, tmp_path):
    path = tmp_path / "model.safetensors"
    for old, new in ((b"1e-06", b"1e-07"), (b'split_seed\\": 3', b'split_seed\\": 4')):
        assert whole_file.count(old) == 1
        path.write_bytes(whole_file.replace(old, new))
        with pytest.raises(ValueError, match="is damaged: it does not hold what was written"):
            load_checkpoint(path)


@settings(max_examples=30, deadline=None)
@given(data=st.data())
def test_a_truncated_file_is_refused_by_name(whole_file, tmp_path_factory, data):
    path = tmp_path_factory.mktemp("cut") / "model.safetensors"
    path.write_bytes(whole_file[: data.draw(st.integers(0, len(whole_file) - 1))])
    with pytest.raises(ValueError, match="cut") as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)


def write_forged(path, header: object, tensors: dict) -> None:
    """Write a file whose digest is right and whose contents are not."""
    if isinstance(header, dict):
        header = {"kind": "model", "notes": {}, **header}
        header["digest"] = training._digest(tensors, header)
    save_file(tensors, path, metadata={"vit_steps": json.dumps(header)})


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ([1, 2], "its header is"),
        ({"kind": "run"}, "holds a run, a model was wanted"),
        ({"config": None}, "does not describe a ViT"),
        ({"config": {}}, "does not describe a ViT"),
        ({"config": {"depth": 10**9}}, "depth 1000000000 with"),
        ({"config": {"dim": 13}}, "dim 13 is not a multiple of num_heads 3"),
        ({"config": {"dim": 24}}, r"blocks.0.attn.proj.bias should be \(24,\), is \(12,\)"),
        ({"config": {"dim": 3 * 10**7}}, r"blocks.0.attn.proj.bias should be \(30000000,\), is \(12,\)"),
        ({"config": {"depth": 3}}, r"blocks.2.attn.proj.bias should be \(12,\), is None"),
        ({"config": {"num_classes": 0}}, r"head.bias should be None, is \(3,\)"),
        ({"config": {"surprise": 1}}, "surprise"),
    ],
)
def test_a_forged_file_is_refused(tmp_path, header, message):
    model, path = unkind_model(), tmp_path / "model.safetensors"
    if isinstance(header, dict) and header.get("config"):
        header = {**header, "config": {**model.config, **header["config"]}}
    write_forged(path, header, model.state_dict())
    with pytest.raises(ValueError, match=message) as caught:
        load_checkpoint(path)
    assert str(path) in str(caught.value)


def test_foreign_files_are_refused_and_nothing_is_unpickled(tmp_path, monkeypatch):
    class Bomb:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "unpickled"),))

    path = tmp_path / "model.safetensors"
    monkeypatch.setattr(torch, "load", lambda *_, **__: pytest.fail("torch.load was called"))
    torch.save(unkind_model().state_dict(), tmp_path / "torch.pt")
    for content in (pickle.dumps(Bomb()), (tmp_path / "torch.pt").read_bytes(), b"", b"hello", b"\xff" * 64):
        path.write_bytes(content)
        with pytest.raises(ValueError, match="is damaged, or no safetensors file") as caught:
            load_checkpoint(path)
        assert str(path) in str(caught.value)
    assert not (tmp_path / "unpickled").exists()
    save_file(unkind_model().state_dict(), path)
    with pytest.raises(ValueError, match="was not written by vit_steps; load_pretrained reads"):
        load_checkpoint(path)
    save_file(unkind_model().state_dict(), path, metadata={"vit_steps": "{nonsense"})
    with pytest.raises(ValueError, match="its header is no JSON"):
        load_checkpoint(path)


def test_files_that_cannot_be_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"there is no file .*missing"):
        load_checkpoint(tmp_path / "missing.safetensors")
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_checkpoint(tmp_path)
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*nowhere to write model"):
        save_checkpoint(unkind_model(), tmp_path / "nowhere" / "model.safetensors")
    with pytest.raises(IsADirectoryError, match="is a folder, a file was wanted"):
        save_checkpoint(unkind_model(), tmp_path)
    with pytest.raises(TypeError, match="model must be a ViT, not Linear"):
        inspect.unwrap(save_checkpoint)(torch.nn.Linear(2, 2), tmp_path / "model.safetensors")
    with pytest.raises(TypeError, match="notes must be what JSON can hold, got <object"):
        save_checkpoint(unkind_model(), tmp_path / "model.safetensors", notes={"model": object()})
    assert list(tmp_path.iterdir()) == []


def test_the_model_that_ships_is_what_its_notes_say():
    assert SHIPPED.stat().st_size < 1_000_000
    notes, model = read_notes(), load_checkpoint()
    assert model.grid == (4, 4)
    assert not model.training
    assert notes["test_accuracy"] >= 0.99
    assert accuracy(model, load_digits_images("test", seed=notes["split_seed"])) == notes["test_accuracy"]
    assert accuracy(model, load_digits_images("valid", seed=notes["split_seed"])) == notes["valid_accuracy"]
    words = shlex.split(notes["command"])
    assert words[:3] == ["python", "-m", "vit_steps.training"]
    options = training._parser().parse_args(words[3:])
    assert training._load_parts(options)[1] == tuple(notes["classes"])
    images = load_digits_images("train")[0]
    assert training._model_of(options, images, 10).config == model.config


# Refusals


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be an integer, got 1.5"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"lr": -0.1}, ValueError, "lr must be at least 0 and below inf, got -0.1"),
        ({"lr": math.nan}, ValueError, "lr must be at least 0 and below inf, got nan"),
        ({"lr": "fast"}, TypeError, "lr must be a number, got 'fast'"),
        ({"weight_decay": -1}, ValueError, "weight_decay must be at least 0"),
        ({"label_smoothing": 1.0}, ValueError, "label_smoothing must be at least 0 and below 1, got 1.0"),
        ({"augment": 2}, ValueError, "augment must be at least 0 and below 1, got 2"),
        ({"average": 1}, ValueError, "average must be at least 0 and below 1, got 1"),
        ({"mixed_precision": "fp8"}, ValueError, "mixed_precision must be one of no, bf16, got 'fp8'"),
        ({"checkpoint": "nowhere/run.safetensors"}, FileNotFoundError, "there is no folder nowhere"),
        ({"model": torch.nn.Linear(2, 2)}, TypeError, "model must be a ViT, not Linear"),
        (
            {"model": ViT(**{**unkind_model().config, "num_classes": 0})},
            ValueError,
            "model has no head to train",
        ),
        ({"train": torch.rand(3, 2, 6, 10)}, TypeError, "train must be a tuple of two tensors"),
        ({"train": (torch.rand(3, 2, 6, 10), [0, 1, 2])}, TypeError, "train must be a tuple of two tensors"),
        (
            {"train": (torch.rand(3, 2, 6, 9), torch.zeros(3).long())},
            ValueError,
            "train images are 2 x 6 x 9",
        ),
        (
            {"train": (torch.rand(2, 6, 10), torch.zeros(2).long())},
            ValueError,
            "train images must have the axes",
        ),
        (
            {"train": (torch.ones(3, 2, 6, 10).int(), torch.zeros(3).long())},
            TypeError,
            "must be floating-point",
        ),
        ({"train": (torch.rand(3, 2, 6, 10), torch.zeros(3))}, TypeError, "train labels must be int64"),
        ({"train": (torch.rand(3, 2, 6, 10), torch.zeros(2).long())}, ValueError, r"labels of shape \(2,\)"),
        ({"train": (torch.rand(0, 2, 6, 10), torch.zeros(0).long())}, ValueError, "train has no images"),
        ({"train": (torch.rand(3, 2, 6, 10), torch.tensor([0, 3, 1]))}, ValueError, "lie in 0 to 2, got 3"),
        ({"train": (torch.rand(3, 2, 6, 10), torch.tensor([0, -1, 1]))}, ValueError, "lie in 0 to 2, got -1"),
        ({"valid": (torch.rand(3, 2, 6, 10), torch.tensor([0, 9, 1]))}, ValueError, "valid labels must lie"),
    ],
)
def test_fit_refuses_at_the_door(changes, error, message):
    arguments = {"model": unkind_model(), "train": unkind_images(4), "valid": None, "epochs": 1, **changes}
    model, train, valid = (arguments.pop(name) for name in ("model", "train", "valid"))
    with pytest.raises(error, match=message):
        inspect.unwrap(fit)(model, train, valid, **arguments, **QUIET)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lr": 0.01}, "lr was 0.003, is 0.01"),
        ({"epochs": 3}, "epochs was 2, is 3"),
        ({"seed": 1}, "seed was 0, is 1"),
        ({"model": unkind_model(depth=3)}, "depth was 2, is 3"),
        ({"train": (torch.zeros(8, 2, 6, 10), torch.zeros(8).long())}, "train was"),
        ({"valid": (torch.zeros(8, 2, 6, 10), torch.zeros(8).long())}, "valid was"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(tmp_path, changes, message):
    arguments = {
        "train": unkind_images(8),
        "valid": None,
        "epochs": 2,
        "checkpoint": tmp_path / "run.safetensors",
    }
    fit(unkind_model(), **arguments, **QUIET)
    with pytest.raises(ValueError, match=f"checkpoint .* belongs to another run: {message}"):
        fit(**{"model": unkind_model(), **arguments, **changes}, **QUIET)


def test_a_damaged_checkpoint_and_a_model_in_its_place_are_refused(tmp_path):
    path = tmp_path / "run.safetensors"
    arguments = {"train": unkind_images(8), "valid": None, "epochs": 1, "checkpoint": path, **QUIET}
    fit(unkind_model(), **arguments)
    with pytest.raises(ValueError, match="holds a run, a model was wanted"):
        load_checkpoint(path)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        fit(unkind_model(), **arguments)
    save_checkpoint(unkind_model(), path)
    with pytest.raises(ValueError, match="holds a model, a run was wanted"):
        fit(unkind_model(), **arguments)


def test_numbers_of_numpy_are_numbers(tmp_path):
    model = unkind_model()
    model.config["depth"] = np.int64(2)
    save_checkpoint(model, tmp_path / "model.safetensors", notes={"test_accuracy": np.float64(0.5)})
    assert load_checkpoint(tmp_path / "model.safetensors").config["depth"] == 2
    assert read_notes(tmp_path / "model.safetensors") == {"test_accuracy": 0.5}


def test_a_loss_that_is_no_number_ends_the_run_with_the_best_model_kept():
    model, (images, labels) = unkind_model(), unkind_images(8)
    spoiled = images.clone()

    def spoil(_):
        spoiled[:] = math.inf

    kept = []
    with pytest.raises(
        FloatingPointError, match=r"the loss is nan in epoch 2; a lower lr may help, it is 0\.003"
    ):
        fit(model, (spoiled, labels), None, epochs=3, on_epoch=lambda h: kept.append(h) or spoil(h), **QUIET)
    assert len(kept) == 1
    assert all(parameter.isfinite().all() for parameter in model.parameters())


def test_a_batch_larger_than_the_data_is_all_the_data():
    history = fit(unkind_model(), unkind_images(5), None, epochs=1, batch_size=64, **QUIET)
    assert len(history.loss) == 1
    assert math.isfinite(history.loss[0])


# The command


def test_help_has_examples(capsys):
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    shown = capsys.readouterr().out
    for words in ("examples:", "--data digits", "--data pets", "accelerate launch", "--mixed-precision bf16"):
        assert words in shown


def test_the_examples_of_the_help_are_read_by_its_parser():
    lines = training.EXAMPLES.replace("\\\n", " ").splitlines()
    commands = [line.split("vit_steps.training")[1] for line in lines if "vit_steps.training" in line]
    assert len(commands) == 5
    for command in commands:
        training._parser().parse_args(shlex.split(command))


def test_the_command_says_what_it_will_do_trains_tests_and_writes(tmp_path, capsys):
    out = tmp_path / "model.safetensors"
    words = ["--data", "digits", "--patch-size", "2", "--dim", "32", "--depth", "1", "--epochs", "2", "--out"]
    assert main([*words, str(out)]) == 0
    shown = capsys.readouterr()
    lines = shown.out.splitlines()
    assert lines[0].startswith("data ")
    assert lines[0].endswith("digits: 1257 train, 180 valid, 360 test images of 1 x 8 x 8, 10 classes")
    assert [line.split()[0] for line in lines[1:6]] == ["patches", "model", "recipe", "machine", "writes"]
    model, notes = load_checkpoint(out), read_notes(out)
    assert f"{sum(p.numel() for p in model.parameters()):,} parameters" in lines[2]
    assert "images per second" in lines[6]
    assert lines[-1].startswith(f"accuracy in test {notes['test_accuracy']:.2%}")
    assert "epoch 2/2" in shown.err
    assert accuracy(model, load_digits_images("test")) == notes["test_accuracy"]
    assert accuracy(model, load_digits_images("valid")) == notes["valid_accuracy"]
    assert notes["command"] == shlex.join(["python", "-m", "vit_steps.training", *words, str(out)])
    assert notes["split_seed"] == 0


def test_the_command_learns_a_folder_of_images(tmp_path, capsys):
    from PIL import Image

    for name, colour in (("blue", (0, 0, 200)), ("red", (200, 0, 0))):
        (tmp_path / "flags" / name).mkdir(parents=True)
        for number in range(12):
            picture = Image.new("RGB", (20 + number, 31), tuple(c + number for c in colour))
            picture.save(tmp_path / "flags" / name / f"{number}.png")
    out = tmp_path / "model.safetensors"
    words = (
        f"--data {tmp_path}/flags --image-size 8 --patch-size 4 --dim 16 --depth 1 --epochs 25 --batch-size 8"
    )
    assert main([*words.split(), "--average", "0.5", "--out", str(out)]) == 0
    assert "accuracy in test 100.00% (5 of 5 images)" in capsys.readouterr().out
    assert read_notes(out)["classes"] == ["blue", "red"]
    assert load_checkpoint(out).config["num_classes"] == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--data nowhere", "there is no folder nowhere"),
        ("--out nowhere/model.safetensors", "there is no folder nowhere to write"),
        ("--checkpoint nowhere/run.safetensors", "there is no folder nowhere to write"),
        ("--checkpoint model.safetensors", "--out and --checkpoint must be two files"),
        ("--patch-size 3", "image_size height 8 is not a multiple of patch_size 3"),
        ("--epochs 0", "epochs must be at least 1, got 0"),
        ("--seed -1", "seed must be at least 0, got -1"),
        ("--pool max", "pool must be one of cls, mean, got 'max'"),
        ("--epochs many", "invalid int value: 'many'"),
        ("--mixed-precision fp8", "mixed_precision must be one of no, bf16, got 'fp8'"),
    ],
)
def test_the_command_refuses_before_it_trains(tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as caught:
        main(words.split())
    assert caught.value.code == 2
    assert message in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


@with_signals
def test_ctrl_c_ends_the_command_with_a_model_written(tmp_path, capsys):
    out, run = tmp_path / "model.safetensors", tmp_path / "run.safetensors"

    def press_once_there_is_a_checkpoint():
        while not run.exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press_once_there_is_a_checkpoint, daemon=True).start()
    assert main(["--epochs", "400", "--dim", "16", "--checkpoint", str(run), "--out", str(out)]) == 130
    assert "stopped by Ctrl-C" in capsys.readouterr().out
    assert accuracy(load_checkpoint(out), load_digits_images("valid")) == read_notes(out)["valid_accuracy"]


# Two processes


def test_two_processes_by_the_command_of_the_readme(tmp_path):
    launch = [sys.executable, "-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2"]
    command = [*launch, "-m", "vit_steps.training", "--data", "digits", "--epochs", "6"]
    shown = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert "2 processes on cpu" in shown.stdout
    assert shown.stdout.count("accuracy in test") == 1
    model, notes = load_checkpoint(tmp_path / "model.safetensors"), read_notes(tmp_path / "model.safetensors")
    assert accuracy(model, load_digits_images("test")) == notes["test_accuracy"] > 0.9
    assert accuracy(model, load_digits_images("valid")) == notes["valid_accuracy"] > 0.9


SHARED_WORK = """
import pathlib, sys, torch
from vit_steps import training
folder = pathlib.Path(sys.argv[1])
model = training.load_checkpoint(folder / "start.safetensors")
train, valid, test = torch.load(folder / "data.pt", weights_only=True)
wrote, seen, real = [], [], training._write
training._write = lambda path, *rest: wrote.append(str(path)) or real(path, *rest)
options = {"epochs": 3, "batch_size": 6, "augment": 0.0, "progress": False}
options["on_epoch"] = lambda history: seen.append(len(history.loss))
history = training.fit(model, train, valid, checkpoint=folder / "run.safetensors", **options)
notes = {"loss": history.loss, "valid": history.valid_accuracy, "wrote": len(wrote), "seen": seen}
notes["found"] = training.accuracy(model, test, batch_size=3)
try:
    training.fit(model, train, valid, **options | {"batch_size": 5})
except ValueError as error:
    notes["refusal"] = str(error)
place = training._accelerator().process_index
try:
    training.fit(model, train, valid, checkpoint=folder / ("run.safetensors", "none")[place], **options)
except ValueError as error:
    notes["apart"] = str(error)
training.save_checkpoint(model, folder / f"end{place}.safetensors", notes=notes)
training._leave(0)  # as the command does it
"""


def test_two_processes_do_together_what_one_does_alone(tmp_path):
    """In float64 and without affine maps the weights are equal to rounding, and the counts exactly."""
    model, train, valid, test = (
        unkind_model().double(),
        *(unkind_images(n, torch.float64) for n in (20, 13, 17)),
    )
    save_checkpoint(model, tmp_path / "start.safetensors")
    torch.save((train, valid, test), tmp_path / "data.pt")
    (tmp_path / "work.py").write_text(SHARED_WORK)
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    shown = subprocess.run([*launch, tmp_path / "work.py", tmp_path], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr

    history = fit(model, train, valid, epochs=3, batch_size=6, augment=0.0, **QUIET)
    notes = [read_notes(tmp_path / f"end{rank}.safetensors") for rank in range(2)]
    ends = [load_checkpoint(tmp_path / f"end{rank}.safetensors") for rank in range(2)]
    assert same_weights(*ends)
    for name, expected in model.state_dict().items():
        torch.testing.assert_close(ends[0].state_dict()[name], expected, rtol=1e-8, atol=1e-10)
    assert [note["found"] for note in notes] == [accuracy(model, test)] * 2
    assert [note["valid"] for note in notes] == [history.valid_accuracy] * 2
    assert notes[0]["loss"] == pytest.approx(history.loss)
    assert [note["wrote"] for note in notes] == [3, 0]
    assert [note["seen"] for note in notes] == [[1, 2, 3], []]
    assert all("is at epoch [3, 0] for the 2 processes" in note["apart"] for note in notes)
    assert {note["refusal"] for note in notes} == {"batch_size 5 is not a multiple of the 2 processes"}


def test_a_model_file_holds_tensors_and_one_note(tmp_path):
    save_checkpoint(fresh_model(**unkind_model().config), tmp_path / "model.safetensors")
    with safe_open(tmp_path / "model.safetensors", "pt") as file:
        assert list(file.metadata()) == ["vit_steps"]
        assert set(file.keys()) == set(unkind_model().state_dict())
