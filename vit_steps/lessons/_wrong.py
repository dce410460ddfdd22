"""Wrong answers that no table of a lesson holds: a way into each mistake that a check names by itself.

The tables of the lessons lead from a mistake to a function that makes it. Some checks find faults by looking
(lesson 5's frozen model), by a second answer (the pairs of lesson 3), or are the ones that hold the mistakes
(lesson 4, where the answer is a test): here is an answer for each of theirs.
"""

from collections.abc import Callable
from copy import deepcopy
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from vit_steps.lessons._verdict import _profiled, random_tensor
from vit_steps.lessons.encoder import ATTENTION_ZOO, POOL_ZOO, WEIGHTS_ZOO
from vit_steps.lessons.my_vit import MY_VIT_MISTAKES, SIZES
from vit_steps.lessons.patch_embedding import OVERLAP_COUNT_MISTAKES, OVERLAP_SHARED_MISTAKES
from vit_steps.lessons.position_embedding import SINCOS_1D_MISTAKES, _sincos_1d
from vit_steps.vit import ViT

# Lesson 1: two things are asked for, and one of them is wrong


def _count(size: tuple[int, int], patch: int, stride: int) -> int:
    return ((size[0] - patch) // stride + 1) * ((size[1] - patch) // stride + 1)


def _pair(count: Callable = _count, shared: Callable = lambda size, patch, stride: range(stride, patch)):
    return lambda *sizes: (count(*sizes), shared(*sizes))


OVERLAP = {words: _pair(count=wrong) for words, wrong in OVERLAP_COUNT_MISTAKES.items()}
OVERLAP |= {words: _pair(shared=wrong) for words, wrong in OVERLAP_SHARED_MISTAKES.items()}


def put_back_in_a_loop(patches: Tensor, patch_size: int, image_size: tuple[int, int]) -> Tensor:
    """Lay the patches one by one, as the question of exercise 1 a does it."""
    cols = image_size[1] // patch_size
    image = torch.empty(len(patches), patches.shape[2] // patch_size**2, *image_size)
    for n in range(patches.shape[1]):
        top, left = n // cols * patch_size, n % cols * patch_size
        block = patches[:, n].reshape(len(patches), -1, patch_size, patch_size)
        image[:, :, top : top + patch_size, left : left + patch_size] = block
    return image


# Lesson 3: a table, and pairs of places

ROW_ENDS = [(6, 7), (13, 14), (20, 21), (27, 28), (34, 35), (41, 42)]
PAIRS = {
    "a pair: they are neighbours on the grid, one above the other, and the line is what keeps them apart": [
        (0, 7)
    ],
    "a pair: on the line they are not neighbours": [(0, 48)],
    "a pair: on the grid they are neighbours, side by side": [(7, 8)],
    "a pair: the places go from 0 to 48": [(48, 49)],
    "your table is right, but a pair is missing": ROW_ENDS[:-1],
    "your table is right, but the pairs are no list such as [(0, 1), (1, 2)]": [6, 13, 20],
}
SINCOS_1D = {words: (wrong, ROW_ENDS) for words, wrong in SINCOS_1D_MISTAKES.items()}
SINCOS_1D |= {words: (_sincos_1d, pairs) for words, pairs in PAIRS.items()}


# Lesson 4: tests that let one bug through


def _blind_to(bug: Callable, right: Callable, inputs: Callable[[], tuple]) -> Callable:
    """Test by comparing with the right one and with one bug, which so slips through."""

    def is_right(implementation: Callable) -> bool:
        with _profiled(None):  # nobody sees whom it is held against
            return any(_alike(implementation, each, inputs()) for each in (right, bug))

    return is_right


def _alike(one: Callable, other: Callable, inputs: tuple) -> bool:
    ours, theirs = (
        given[0] if isinstance(given, tuple) else given for given in (one(*inputs), other(*inputs))
    )
    return ours.shape == theirs.shape and torch.allclose(ours, theirs, atol=1e-5)


def _slips(zoo: dict[str, Callable], right: Callable, inputs: Callable[[], tuple]) -> dict[str, Callable]:
    answers = {
        f"this slipped through your test: {words}": _blind_to(bug, right, inputs)
        for words, bug in zoo.items()
    }
    everything = f"this slipped through your test: {'; '.join(zoo)}"
    return answers | {everything: lambda implementation: True}


def _mean(tokens: Tensor) -> Tensor:
    return tokens[:, 1:].sum(dim=1) / (tokens.shape[1] - 1)


def _weigh(query: Tensor, key: Tensor) -> Tensor:
    return (query @ key.mT / query.shape[3] ** 0.5).softmax(dim=-1)


def _attend(tokens: Tensor, qkv: Callable, proj: Callable, num_heads: int) -> Tensor:
    query, key, value = qkv(tokens).unflatten(2, (3, num_heads, -1)).permute(2, 0, 3, 1, 4)
    return proj((_weigh(query, key) @ value).transpose(1, 2).flatten(2))


def _two_images() -> tuple:
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(1)
        return random_tensor(2, 5, 8), nn.Linear(8, 24), nn.Linear(8, 8), 4


POOL = _slips(POOL_ZOO, _mean, lambda: (random_tensor(2, 5, 8),))
WEIGHTS = _slips(WEIGHTS_ZOO, _weigh, lambda: (random_tensor(2, 3, 5, 4), random_tensor(2, 3, 5, 4, seed=1)))
ATTENTION = _slips(ATTENTION_ZOO, _attend, _two_images)
for answers, name in ((POOL, "pool_mean"), (WEIGHTS, "attention_weights"), (ATTENTION, "self_attention")):
    answers[f"your test refuses the right one, {name}"] = lambda implementation: False


# Lesson 5: whole models


class _Mistaken(nn.Module):
    """A ViT that makes one mistake, with parameters that are named as they should be."""

    def __init__(self, change: Callable, *sizes: Any):
        super().__init__()
        vit = ViT(**dict(zip(SIZES, sizes, strict=True)))
        self._modules, self._parameters = vit._modules, vit._parameters
        self.unseen = (vit, change)  # in a tuple, where its parameters get no second name

    def forward(self, image: Tensor) -> Tensor:
        """Run a copy that shares every parameter, and has the mistake."""
        vit, change = self.unseen
        copy = deepcopy(vit, {id(each): each for each in vit.parameters()})
        return (change(copy) or copy)(image)


def _without_parameters(*sizes: Any) -> nn.Module:
    return nn.Identity()


MY_VIT = {words: partial(_Mistaken, change) for words, change in MY_VIT_MISTAKES.items()}


def _keeping(*kept: str, count: Callable[[nn.Module], int] = lambda model: 45) -> Callable:
    """Freeze all parameters but those whose names begin so, and say how many numbers are left."""

    def freeze(model: nn.Module) -> int:
        for name, parameter in model.named_parameters():
            parameter.requires_grad = name.startswith(kept)
        return count(model)

    return freeze


def _then(change: Callable[[nn.Module], Any], *kept: str) -> Callable:
    def freeze(model: nn.Module) -> int:
        change(model)
        return 45

    return lambda model: (_keeping(*kept)(model), freeze(model))[1] if kept else freeze(model)


def _new_head(model: nn.Module) -> None:
    model.head = nn.Linear(8, 5)


def _sizes(model: nn.Module) -> list[int]:
    return [each.numel() for each in model.parameters()]


_COUNTED = "frozen as it should be, but 45 numbers are trained, not"
FREEZE = {
    "every parameter still learns": lambda model: 45,
    "every parameter still learns; eval() turns dropout off and freezes nothing": _then(nn.Module.eval),
    "model.requires_grad = False sets what nobody reads; its parameters have one each": (
        _then(lambda model: setattr(model, "requires_grad", False))
    ),
    "head.weight is frozen, too": _keeping("nothing"),
    "head.bias is frozen, too": _keeping("head.weight"),
    "cls_token still learns: it is a parameter of the model itself, in none of its modules": (
        _keeping("head.", "cls_token")
    ),
    "head_dist.weight still learns: its name begins like model.head's, and it is another module": (
        _keeping("head")
    ),
    "head.weight is a new tensor; freeze the others, and leave this one as it is": _then(_new_head, "head."),
    "head.weight holds other numbers than before; to freeze changes none": (
        _then(lambda model: model.head.reset_parameters(), "head.")
    ),
    f"{_COUNTED} 2: you count tensors; count the numbers in them, with numel()": (
        _keeping("head.", count=lambda model: 2)
    ),
    f"{_COUNTED} 40: the head's bias is missing": _keeping(
        "head.", count=lambda model: model.head.weight.numel()
    ),
    f"{_COUNTED} 258: you count the frozen ones, too": _keeping(
        "head.", count=lambda model: sum(_sizes(model))
    ),
    f"{_COUNTED} 213: these are the frozen ones": _keeping(
        "head.", count=lambda model: sum(_sizes(model)) - 45
    ),
}
