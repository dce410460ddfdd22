"""The loop: what it learns, that it is repeatable, how Ctrl-C ends it, and what is refused."""

import inspect
import math
import os
import signal
import threading
import time
from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from training_helpers import QUIET, digits, same_weights, unkind_images, unkind_model, with_signals

from vit_steps import ViT
from vit_steps.data import load_digits_images
from vit_steps.training import (
    History,
    accuracy,
    digits_model,
    fit,
    loop,
)


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
    monkeypatch.setattr(loop, "accuracy", lambda *_: next(scores))
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
            loop,
            "random_affine",
            lambda images, *_, generator: seen.append((images, generator)) or images,
        )
        fit(unkind_model(), unkind_images(8), None, epochs=2, batch_size=8, **QUIET)
    (first, noise), (second, other_noise) = seen
    assert not torch.equal(first, second)
    assert torch.equal(first.sum(0), first.sum(0))
    assert sorted(first.flatten().tolist()) == sorted(second.flatten().tolist())
    assert noise.initial_seed() != other_noise.initial_seed()


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
        real = loop.random_affine
        patch.setattr(loop, "random_affine", lambda *a, **k: steps.append(1) or real(*a, **k))
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


@pytest.mark.parametrize(("count", "batch_size"), [(1, 256), (7, 3), (12, 4), (13, 4)])
def test_accuracy_counts_every_image_once(count, batch_size):
    model, (images, _) = unkind_model(), unkind_images(count)
    labels = model(images).argmax(1)
    labels[::3] = (labels[::3] + 1) % 3
    right = count - len(labels[::3])
    assert accuracy(model, (images, labels), batch_size=batch_size) == right / count


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"epochs": 0}, ValueError, "epochs must be at least 1, got 0"),
        ({"epochs": 1.5}, TypeError, "epochs must be an integer, got 1.5"),
        ({"batch_size": 0}, ValueError, "batch_size must be at least 1, got 0"),
        ({"seed": -1}, ValueError, "seed must be at least 0, got -1"),
        ({"lr": -0.1}, ValueError, "lr must be at least 0 and below inf, got -0.1"),
        ({"lr": math.nan}, ValueError, "lr must be finite, got nan"),
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
            "train images must be floating point",
        ),
        ({"train": (torch.rand(3, 2, 6, 10), torch.zeros(3))}, TypeError, "train labels must be int64"),
        ({"train": (torch.rand(3, 2, 6, 10), torch.zeros(2).long())}, ValueError, r"labels of shape \(2,\)"),
        ({"train": (torch.rand(0, 2, 6, 10), torch.zeros(0).long())}, ValueError, "train has no images"),
        (
            {"train": (torch.rand(3, 2, 6, 10), torch.tensor([0, 3, 1]))},
            ValueError,
            "train has label 3, the head has 3 classes",
        ),
        (
            {"train": (torch.rand(3, 2, 6, 10), torch.tensor([0, -1, 1]))},
            ValueError,
            "train has label -1, the head has 3 classes",
        ),
        (
            {"valid": (torch.rand(3, 2, 6, 10), torch.tensor([0, 9, 1]))},
            ValueError,
            "valid has label 9, the head has 3",
        ),
    ],
)
def test_fit_refuses_at_the_door(changes, error, message):
    arguments = {"model": unkind_model(), "train": unkind_images(4), "valid": None, "epochs": 1, **changes}
    model, train, valid = (arguments.pop(name) for name in ("model", "train", "valid"))
    with pytest.raises(error, match=message):
        inspect.unwrap(fit)(model, train, valid, **arguments, **QUIET)


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
