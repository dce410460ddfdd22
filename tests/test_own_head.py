"""A head of one's own: with_head, and a model that says of itself what is there now."""

import copy
import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from vit_steps import ViT

SIZES = dict(image_size=(6, 10), patch_size=2, channels=2, dim=12, depth=2, num_heads=3, mlp_dim=20)


def perturbed(num_classes=4, **changes):
    model = ViT(**SIZES, num_classes=num_classes, **changes)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model.eval()


IMAGES = torch.rand(5, 2, 6, 10, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("before", [0, 4])
@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_a_new_head_knows_nothing_and_the_rest_is_what_it_was(before, pool):
    model = perturbed(before, pool=pool)
    new = model.with_head(7)
    assert new.config == {**model.config, "num_classes": 7}
    # The paper's head starts at zero: every class is as probable, and the loss is ln K.
    loss = F.cross_entropy(new(IMAGES), torch.arange(5))
    assert loss.item() == pytest.approx(math.log(7), abs=1e-6)
    torch.testing.assert_close(new.with_head(0)(IMAGES), model.with_head(0)(IMAGES), atol=0, rtol=0)
    assert {name for name, _ in new.named_parameters()} >= {"head.weight", "head.bias"}


def test_the_model_that_it_came_from_stays_as_it_is():
    model = perturbed()
    state = copy.deepcopy(model.state_dict())
    new = model.with_head(3)
    with torch.no_grad():
        for parameter in new.parameters():
            parameter.add_(1)
    assert all(torch.equal(state[name], weight) for name, weight in model.state_dict().items())
    assert model.num_classes == 4


@pytest.mark.parametrize("mode", [True, False])
def test_the_new_head_is_where_and_what_the_model_is(mode):
    model = perturbed().double().train(mode).requires_grad_(False)
    new = model.with_head(3)
    assert new.head.weight.dtype == torch.float64
    assert new.head.training == new.training == mode
    assert [name for name, each in new.named_parameters() if each.requires_grad] == [
        "head.weight",
        "head.bias",
    ]
    assert perturbed().to("meta").with_head(3).head.weight.is_meta


def test_it_can_be_trained_from_the_first_step():
    new = perturbed().with_head(3)
    optimizer = torch.optim.SGD(new.parameters(), lr=0.1)
    labels = torch.tensor([0, 1, 2, 0, 1])
    losses = []
    for _ in range(20):
        loss = F.cross_entropy(new(IMAGES), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0]
    assert all(parameter.grad.abs().max() > 0 for parameter in new.parameters())


@pytest.mark.parametrize(
    ("head", "classes"),
    [
        (nn.Linear(12, 9), 9),
        (nn.Linear(12, 9, bias=False), 9),
        (nn.Sequential(nn.Dropout(0.5), nn.Linear(12, 6)), 6),
        (nn.Sequential(nn.BatchNorm1d(12), nn.Linear(12, 30), nn.ReLU(), nn.Linear(30, 2)), 2),
        (nn.Identity(), 0),
        (None, 0),
    ],
)
def test_a_model_says_which_head_is_there_now(head, classes):
    model = perturbed()
    state = head and copy.deepcopy(head.state_dict())
    model.head = head
    assert model.num_classes == model.config["num_classes"] == classes
    if head is not None:  # to ask leaves no trace
        assert all(torch.equal(state[name], value) for name, value in head.state_dict().items())
        assert head.training


def test_the_config_makes_what_is_there_now():
    model = perturbed()
    model.head, model.pool, model.blocks = nn.Linear(12, 3), "mean", model.blocks[:1]
    again = ViT(**model.config)
    again.load_state_dict(model.state_dict(), strict=True)
    torch.testing.assert_close(again(IMAGES), model(IMAGES))


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (-1, ValueError, "num_classes must be at least 0, got -1"),
        (3.0, TypeError, "num_classes must be an integer, got 3.0"),
        (True, TypeError, "num_classes must be an integer, got True"),
        (["cat", "dog"], TypeError, r"num_classes must be an integer, got \['cat', 'dog'\]"),
    ],
)
@pytest.mark.usefixtures("doors_only")
def test_what_is_no_number_of_classes_is_refused(wrong, error, message):
    with pytest.raises(error, match=message):
        perturbed().with_head(wrong)
