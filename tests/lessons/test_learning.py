"""The loop that lesson 5 shows, held against torch's own schedulers and averages, step by step."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from vit_steps.lessons.learning import follow, learn, schedule, small_cnn
from vit_steps.training import digits_model, random_affine


def linear():
    torch.manual_seed(3)
    return nn.Sequential(nn.Flatten(), nn.Linear(12, 5))


IMAGES, LABELS = torch.rand(9, 1, 3, 4, generator=torch.Generator().manual_seed(1)), torch.arange(9) % 5


def step_by_step(model, *, steps, augment, average, warmup, decay, lr, seed):
    """The same training with torch's parts: an optimizer, a chain of schedulers, an averaged model."""
    noise, kept = torch.Generator().manual_seed(seed), AveragedModel(model, avg_fn=None)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.05, fused=False)
    up = round(warmup * steps)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - up)
    for step in range(1, steps + 1):
        batch = torch.randint(9, (64,), generator=noise)
        moved = random_affine(IMAGES[batch], augment, generator=noise)
        optimizer.zero_grad()
        F.cross_entropy(model(moved), LABELS[batch], label_smoothing=0.1).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if step < up:
            rate = lr * step / up
        else:
            cosine.last_epoch = step - up
            rate = cosine._get_closed_form_lr()[0] if decay else lr
        optimizer.param_groups[0]["lr"] = rate
        optimizer.step()
        share = min(average, step / (9 + step))
        get_ema_multi_avg_fn(share)([*kept.module.parameters()], [*model.parameters()], step)
    return kept.module


@pytest.mark.parametrize(
    "changes",
    [{}, {"augment": 0.0}, {"average": 0.0}, {"warmup": 0.0}, {"decay": False}, {"warmup": 0.5, "seed": 4}],
)
def test_a_training_is_that_of_torchs_own_parts(changes):
    recipe = {
        "augment": 0.15,
        "average": 0.995,
        "warmup": 0.1,
        "decay": True,
        "lr": 0.01,
        "seed": 0,
    } | changes
    kept = learn(linear(), IMAGES, LABELS, steps=20, **recipe)
    expected = step_by_step(linear(), steps=20, **recipe)
    for ours, theirs in zip(kept.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)  # 20 steps of rounding


def test_the_rate_goes_up_and_down():
    assert [schedule(done, 0.5, True) for done in (0.25, 0.5, 0.75, 1.0)] == pytest.approx([0.5, 1, 0.5, 0])
    assert [schedule(done, 0.5, False) for done in (0.25, 0.5, 1.0)] == [0.5, 1.0, 1.0]
    assert schedule(0.01, 0.0, True) == pytest.approx(1, abs=1e-3)


def test_the_average_moves_a_little_and_the_model_not_at_all():
    kept, model = linear(), nn.Sequential(nn.Flatten(), nn.Linear(12, 5))
    before, now = kept[1].weight.clone(), model[1].weight.clone()
    follow(kept, model, 0.75)
    torch.testing.assert_close(kept[1].weight, 0.75 * before + 0.25 * now)
    assert torch.equal(model[1].weight, now)


def test_the_same_training_gives_the_same_numbers_and_leaves_the_random_numbers():
    torch.manual_seed(11)
    expected = torch.rand(2)
    model = linear()
    torch.manual_seed(11)
    first = learn(model, IMAGES, LABELS, steps=3)
    assert torch.equal(torch.rand(2), expected)
    assert torch.equal(first[1].weight, learn(linear(), IMAGES, LABELS, steps=3)[1].weight)
    assert not torch.equal(first[1].weight, learn(linear(), IMAGES, LABELS, steps=3, seed=1)[1].weight)
    assert not first.training


def test_the_cnn_has_as_many_numbers_as_the_vit():
    cnn, vit = (sum(each.numel() for each in make().parameters()) for make in (small_cnn, digits_model))
    assert abs(cnn - vit) < 0.01 * vit
    assert small_cnn()(torch.rand(3, 1, 8, 8)).shape == (3, 10)
    assert torch.equal(small_cnn(seed=2)[0].weight, small_cnn(seed=2)[0].weight)
    assert not torch.equal(small_cnn(seed=2)[0].weight, small_cnn()[0].weight)
