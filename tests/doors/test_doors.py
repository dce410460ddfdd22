"""Doors: what a signature and a sentence refuse, what they let in, and what they stay out of the way of."""

# ruff: noqa: E501 (one line for each wrong input)

import re
import subprocess
import sys
from collections.abc import Callable, Sequence
from math import inf, nan
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
import torch
from jaxtyping import Float, Int, Integer, Shaped
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from vit_steps import ViT, encoder_block
from vit_steps.doors import contract, door, judge, values
from vit_steps.doors.sentences import parse

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.usefixtures("doors_only")


# Sentences


@pytest.mark.parametrize(
    ("sentence", "sizes", "refusal"),
    [
        ("a is a multiple of b", dict(a=12, b=4), None),
        ("a is a multiple of b", dict(a=12, b=5), "a 12 is not a multiple of b 5"),
        ("a is a multiple of b", dict(a=0, b=5), "a 0 is not a multiple of b 5"),
        ("a is a multiple of b", dict(a=3, b=5), "a 3 is not a multiple of b 5"),
        ("a is 0 or a multiple of b", dict(a=0, b=5), None),
        ("a is 0 or a multiple of b", dict(a=-5, b=5), "a -5 is neither 0 nor a multiple of b 5"),
        ("a is b squared", dict(a=16, b=4), None),
        ("a is b squared", dict(a=15, b=4), "a 15 is not b 4 squared = 16"),
        ("a is c * b squared", dict(a=48, b=4, c=3), None),
        ("a is 1 + b * c", dict(a=13, b=4, c=3), None),
        ("a is 1 + b * c", dict(a=15, b=4, c=3), "a 15 is not 1 + b 4 * c 3 = 13"),
        ("a - b - c is 2", dict(a=9, b=4, c=3), None),
        ("a - b + c is 8", dict(a=9, b=4, c=3), None),
        ("a * b / c squared is 4", dict(a=8, b=8, c=4), None),
        ("a is at least 2: one is none", dict(a=1), "a must be at least 2, got 1: one is none"),
        ("a is at least b", dict(a=1, b=2), "a 1 is less than b 2"),
        ("a is at most b: why", dict(a=3, b=2), "a 3 is more than b 2: why"),
        ("a is at most b", dict(a=2, b=2), None),
        ("a is below 1", dict(a=1), "a must be below 1, got 1"),
        ("a is below b", dict(a=2, b=2), "a 2 is not below b 2"),
        ("a is an index of b", dict(a=-2, b=2), None),
        ("a is an index of b", dict(a=1, b=2), None),
        ("a is an index of b", dict(a=2, b=2), "a 2 is out of range: b is 2"),
        ("a is an index of b", dict(a=-3, b=2), "a -3 is out of range: b is 2"),
        ("image height is a multiple of size", {"image height": 30, "size": 4}, "image height 30 is not a multiple of size 4"),
        ("size is at most inner size", {"inner size": 3, "size": 4}, "size 4 is more than inner size 3"),
        ("number of tokens is at least 1", {"number of tokens": 0}, "number of tokens must be at least 1, got 0"),
        ("a is b", dict(a=1), None),  # b was not given
    ],
)  # fmt: skip
def test_a_sentence_is_refused_with_its_own_words_and_the_numbers(sentence, sizes, refusal):
    if refusal is None:
        parse(sentence).check(sizes)
    else:
        with pytest.raises(ValueError, match=f"^{re.escape(refusal)}$"):
            parse(sentence).check(sizes)


def test_a_sentence_without_a_relation_is_refused_where_it_is_written():
    with pytest.raises(ValueError, match="no door understands 'dim fits num_heads'"):
        door("dim fits num_heads")(lambda dim, num_heads: None)


# Annotations


@door("seed is at least 0", "layer is an index of image depth", "share is at least 0", "share is below 1")
def everything(
    image: Float[Tensor, "batch depth 2"],
    other: Shaped[Tensor, "..."] | None = None,
    *,
    size: int = 1,
    seed: int = 0,
    layer: int = 0,
    share: float = 0.0,
    lr: int | float = 1.0,
    grid: tuple[int, int] = (1, 2),
    image_size: int | tuple[int, int] = 3,
    split: Literal["train", "test"] = "train",
    labels: Sequence[str] = (),
    layers: Sequence[int] = (),
    model: nn.Module | None = None,
    seen: AttributeError | None = None,
    function: Callable = print,
    anything: Any = None,
) -> str:
    return "in"


IMAGE = torch.zeros(4, 3, 2)


@pytest.mark.parametrize(
    ("given", "refusal"),
    [
        (dict(image=None), "image must be a torch.Tensor, not NoneType"),
        (dict(image=IMAGE[0]), "image must have the axes (batch depth 2), got shape (3, 2)"),
        (dict(image=IMAGE[..., :1]), "image must have the axes (batch depth 2), got shape (4, 3, 1)"),
        (dict(image=IMAGE.long()), "image must be floating point, got torch.int64"),
        (dict(size=0), "size must be at least 1, got 0"),
        (dict(size=2.0), "size must be an integer, got 2.0"),
        (dict(size=True), "size must be an integer, got True"),
        (dict(size=None), "size must be an integer, got None"),
        (dict(seed=-1), "seed must be at least 0, got -1"),
        (dict(layer=3), "layer 3 is out of range: image depth is 3"),
        (dict(layer=-4), "layer -4 is out of range: image depth is 3"),
        (dict(share=1), "share must be below 1, got 1"),
        (dict(share=-0.5), "share must be at least 0, got -0.5"),
        (dict(share=float("nan")), "share must be finite, got nan"),
        (dict(lr=0), "lr must be positive and finite, got 0"),
        (dict(lr="1"), "lr must be a number, got '1'"),
        (dict(grid=3), "grid must be (rows, cols), got 3"),
        (dict(grid=(1, 0)), "grid cols must be at least 1, got 0"),
        (dict(grid=(1, 2, 3)), "grid must be (rows, cols), got (1, 2, 3)"),
        (dict(image_size=(1, 2.0)), "image_size width must be an integer, got 2.0"),
        (dict(image_size=0), "image_size must be at least 1, got 0"),
        (dict(split="dev"), "split must be one of train, test, got 'dev'"),
        (dict(split=["train"]), "split must be one of train, test, got ['train']"),
        (dict(labels=3), "labels must be a sequence of names, not int"),
        (dict(labels=np.array(3)), "labels must be a sequence of names, not ndarray"),
        (dict(labels={"a"}), "labels must be a sequence of names, not set"),
        (dict(layers=3), "layers must be a sequence of integers, not int"),
        (dict(model=3), "model must be a Module, not int"),
        (dict(seen=3), "seen must be an AttributeError, not int"),
        (dict(function=3), "function must be callable, not int"),
    ],
)
def test_an_annotation_refuses_by_name(given, refusal):
    assert everything(IMAGE) == "in"  # what was let in before lets nothing else in
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(refusal)}$"):
        everything(**{"image": IMAGE, **given})


@pytest.mark.parametrize(
    "given",
    [
        dict(other=torch.zeros(1)),
        dict(layer=-3, seed=7, share=0.5, lr=3),
        dict(grid=[2, 3], image_size=[4, 4]),
        dict(image_size=5, split="test", labels="abc", model=nn.Identity(), function=len),
        dict(anything=object()),
        dict(image=torch.zeros(0, 1, 2)),
    ],
)
def test_what_fits_is_let_in(given):
    for _ in range(2):
        assert everything(**{"image": IMAGE, **given}) == "in"


def test_what_is_equal_is_not_the_same():
    """To Python (1, 2), (True, 2) and (1.0, 2.0) are equal: having let in one must not let in the others."""
    for good, bad in [((1, 2), (True, 2)), ((1, 2), (1.0, 2.0))]:
        assert everything(IMAGE, grid=good) == "in"
        with pytest.raises(TypeError, match="grid"):
            everything(IMAGE, grid=bad)
        assert everything(IMAGE, image_size=good) == "in"
        with pytest.raises(TypeError, match="image_size"):
            everything(IMAGE, image_size=bad)
    assert everything(IMAGE, size=1) == "in"
    for bad in (True, 1.0):
        with pytest.raises(TypeError, match="size"):
            everything(IMAGE, size=bad)


@door()
def two(
    first: Float[Tensor, "batch dim"], second: Float[Tensor, "batch dim"], third: Shaped[Tensor, "side side"]
):
    return "in"


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (dict(second=torch.zeros(2, 4)), "first has dim 3, second has dim 4"),
        (dict(second=torch.zeros(1, 3)), "first has batch 2, second has batch 1"),
        (dict(second=torch.zeros(2, 3).double()), "first is torch.float32, second is torch.float64: they must be the same"),
        (dict(second=torch.zeros(2, 3).to("meta")), "first is on cpu, second is on meta: they must be on the same"),
        (dict(third=torch.zeros(5, 5).to("meta")), "first is on cpu, third is on meta: they must be on the same"),
        (dict(third=torch.zeros(5, 4)), "third has side 5 and side 4: they must be the same"),
    ],
)  # fmt: skip
def test_tensors_of_one_call_agree(change, refusal):
    good = dict(first=torch.zeros(2, 3), second=torch.zeros(2, 3), third=torch.zeros(5, 5, dtype=torch.int64))
    assert two(**good) == "in"
    with pytest.raises((TypeError, ValueError), match=f"^{re.escape(refusal)}$"):
        two(**{**good, **change})


def test_a_list_that_may_be_left_out_is_known_by_its_length():
    @door("number of labels is number of images")
    def label(images: Float[Tensor, "images dim"], labels: Sequence[str] | None = None):
        return "in"

    assert (
        label(torch.zeros(2, 3))
        == label(torch.zeros(2, 3), None)
        == label(torch.zeros(2, 3), ["a", "b"])
        == "in"
    )
    with pytest.raises(ValueError, match="number of labels 1 is not number of images 2"):
        label(torch.zeros(2, 3), ["a"])


def test_defaults_are_judged_beside_what_is_given():
    @door("k is at most scores classes")
    def best(scores: Float[Tensor, " classes"], k: int = 5):
        return k

    with pytest.raises(ValueError, match="k 5 is more than scores classes 3"):
        best(torch.zeros(3))


def test_a_rule_may_be_a_function_and_sees_every_call():
    def finite(scores):
        if not scores.isfinite().all():
            raise ValueError("scores holds NaN")

    mean = door(finite)(lambda scores: scores.mean())
    assert mean(torch.ones(2)) == 1
    with pytest.raises(ValueError, match="scores holds NaN"):
        mean(torch.tensor([1.0, float("nan")]))


@pytest.mark.parametrize("annotation", [Int[Tensor, " images"], Integer[Tensor, " images"]])
def test_integers_are_of_any_length_and_sign(annotation):
    @door()
    def count(images: Float[Tensor, "images dim"], labels: annotation):
        return len(labels)

    for dtype in (torch.uint8, torch.int32, torch.int64):
        assert count(torch.zeros(2, 3), torch.zeros(2, dtype=dtype)) == 2
    for dtype in (torch.float32, torch.bool, torch.complex64):
        with pytest.raises(TypeError, match=f"^labels must hold integers, got {dtype}$"):
            count(torch.zeros(2, 3), torch.zeros(2, dtype=dtype))


def test_an_argument_may_be_judged_by_a_function_instead_of_its_annotation():
    @door(tol=lambda name, value: values.between(name, value, 0, inf))
    def close(tol: int | float = 1, size: int = 1):
        return tol

    for good in (0, inf, 2.5):
        assert close(good) == close(tol=good) == good
    assert close() == 1
    for bad, refusal in [(-1, "tol must lie in [0, inf], got -1"), ("1", "tol must be a number, got '1'")]:
        with pytest.raises((TypeError, ValueError), match=f"^{re.escape(refusal)}$"):
            close(bad)
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        close(size=0)


@pytest.mark.parametrize(
    ("value", "refusal"),
    [
        *[
            (0, None),
            (1.0, None),
            (np.float32(0.5), None),
            (torch.tensor([0, 1]), None),
            (np.array([0.5]), None),
        ],
        (2, "share must lie in [0, 1], got 2"),
        (-0.5, "share must lie in [0, 1], got -0.5"),
        (nan, "share must lie in [0, 1], got nan"),
        (torch.tensor([0.5, 1.5]), "share must hold values in [0, 1], got 0.5 to 1.5"),
        (np.array([-1, 0]), "share must hold values in [0, 1], got -1 to 0"),
        (torch.tensor([0.5, nan]), "share must hold values in [0, 1], got nan to nan"),
        (True, "share must be a number, got True"),
        ([0.5], "share must be a number, got [0.5]"),
        (torch.tensor(0.5), "share must be a number, got tensor(0.5000)"),
    ],
)
def test_a_number_lies_between_two_others_and_so_do_all_of_a_tensor(value, refusal):
    if refusal is None:
        assert values.between("share", value, 0, 1) is value
    else:
        with pytest.raises((TypeError, ValueError), match=f"^{re.escape(refusal)}$"):
            values.between("share", value, 0, 1)


def test_names_are_texts():
    assert values.names("labels", ["a", "b"]) == ["a", "b"]
    for bad, refusal in [(3, "not int"), (["a", 1], "got ['a', 1]")]:
        with pytest.raises(TypeError, match=f"^labels must be a sequence of names, {re.escape(refusal)}$"):
            values.names("labels", bad)


def test_what_is_no_argument_is_judged_by_an_annotation():
    judge("its map", torch.zeros(2, 2), Float[Tensor, "side side"])
    for bad, refusal in [
        (torch.zeros(2, 3), "its map has side 2 and side 3: they must be the same"),
        (torch.zeros(2), "its map must have the axes (side side), got shape (2,)"),
        (None, "its map must be a torch.Tensor, not NoneType"),
    ]:
        with pytest.raises((TypeError, ValueError), match=f"^{re.escape(refusal)}$"):
            judge("its map", bad, Float[Tensor, "side side"])


def test_python_says_best_what_is_missing_or_too_much():
    for arguments, options in [((), {}), ((IMAGE, None, 3), {}), ((IMAGE,), {"sise": 3})]:
        with pytest.raises(TypeError, match=r"everything\(\)"):
            everything(*arguments, **options)


def test_a_door_keeps_name_words_and_signature():
    assert encoder_block.__name__ == "encoder_block"
    assert encoder_block.__doc__.startswith("One pre-norm encoder block")
    assert encoder_block.__wrapped__.__module__ == "vit_steps.encoder"


def test_a_door_forgets_rather_than_grows(monkeypatch):
    monkeypatch.setattr(contract, "REMEMBERED", 3)
    judged = contract.Contract(lambda image: None, (), {})
    for rows in range(7):
        judged._remember((rows,), [])
    assert len(judged.known) <= 3


def test_what_is_remembered_keeps_nothing_alive():
    """Shapes and words alone: a model or a tensor in a key would never be freed."""
    rule = contract.Contract(everything.__wrapped__, (), {})
    key = rule.key((IMAGE,), dict(model=nn.Identity(), function=print, anything=object(), labels=["a"]))
    flat = [part for each in key for part in (each if isinstance(each, tuple) else (each,))]
    assert not [part for part in flat if isinstance(part, (Tensor, nn.Module, list))]
    assert print not in flat


# Whoever else passes through: compilers, transforms, other people's modules

SIZES = dict(
    image_size=(8, 12), patch_size=4, channels=1, dim=16, depth=2, num_heads=4, mlp_dim=32, num_classes=5
)


@pytest.fixture
def model():
    model = ViT(**SIZES).double().eval()
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


@pytest.fixture
def images():
    return torch.rand(3, 1, 8, 12, dtype=torch.float64)


def same(ours, reference):
    torch.testing.assert_close(ours, reference, atol=1e-12, rtol=0)


def test_compiled_without_a_break():
    """In a process of its own: the type checker of these tests is nothing that dynamo can look through."""
    program = f"""
import torch
from vit_steps import ViT

model, images = ViT(**{SIZES}).double().eval(), torch.rand(3, 1, 8, 12, dtype=torch.float64)
compiled = torch.compile(model, fullgraph=True, backend="eager")
trace = torch.compile(model.trace, fullgraph=True, backend="eager")
for batch in (3, 2, 1):
    torch.testing.assert_close(compiled(images[:batch]), model(images[:batch]), atol=1e-12, rtol=0)
torch.testing.assert_close(trace(images).logits, model(images), atol=1e-12, rtol=0)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert run.returncode == 0, run.stderr


def test_exported_with_a_batch_of_any_size(model, images):
    batch = torch.export.Dim("batch", min=1, max=64)
    exported = torch.export.export(model, (images,), dynamic_shapes=({0: batch},))
    same(exported.module()(images[:2]), model(images[:2]))


@pytest.mark.filterwarnings("ignore:.*torch.jit.trace:DeprecationWarning")
def test_traced_by_torch_jit(model, images):
    same(torch.jit.trace(model, images)(images[:2]), model(images[:2]))


@pytest.mark.filterwarnings("ignore:There is a performance drop")
def test_mapped_and_differentiated(model, images):
    def one(image):
        return model(image[None])[0]

    same(vmap(one)(images), model(images))
    jacobians = vmap(jacrev(one))(images)
    (gradient,) = torch.autograd.grad(model(images.requires_grad_())[:, 2].sum(), images)
    same(jacobians[:, 2], gradient)


def test_called_with_other_parameters(model, images):
    other = {name: 2 * parameter for name, parameter in model.state_dict().items()}
    given = functional_call(model, other, (images,))
    model.load_state_dict(other)
    same(given, model(images))
