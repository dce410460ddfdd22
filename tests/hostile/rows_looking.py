"""Widgets, the exercises' checks, and the line of ``compare``."""

from functools import cache
from io import BytesIO
from types import SimpleNamespace
from unittest import mock

import numpy as np
import torch
from PIL import Image

from hostile.kinds import (
    FINITE,
    REFUSED_IN_WORDS,
    SAME,
    Kind,
    constant,
    constants,
)
from hostile.rows_files import NO_VIT, model
from hostile.rows_plots import ANSWERS as SCORES
from hostile.rows_plots import HISTORY, OUTSIDE, PATCH_SIZES
from hostile.trial import Row
from vit_steps import lessons
from vit_steps.lessons import crops, sights
from vit_steps.lessons.learning import small_cnn
from vit_steps.lessons.left_out import leave_out
from vit_steps.looking import attribution, components, seat, widgets
from vit_steps.looking.agreement import compare
from vit_steps.looking.explorer_page import explorer_page
from vit_steps.looking.removal import removal_curve
from vit_steps.looking.widgets import base, slider
from vit_steps.vit import Trace, ViT

ANY = "another shape is another result, and compare says so"


def quickly(make_widget):
    """Build every figure, and render none: that they can be rendered is tested in test_widgets."""

    def call(**arguments):
        blank = dict(render=lambda *_, **__: blank_picture())
        with mock.patch.multiple(base, **blank), mock.patch.multiple(slider, **blank):
            return make_widget(**arguments)

    return call


@cache
def blank_picture():
    picture = BytesIO()
    Image.new("RGB", (2, 2)).save(picture, format="png")
    return picture.getvalue()


def sent(arguments, widget):
    """What goes to the browser and into the notebook, but for the pictures of figures."""
    traits = (
        "names",
        "sentences",
        "grid",
        "table",
        "choices",
        "pictures",
        "ink",
        "labels",
        "reply",
        "chosen",
    )
    found = {name: getattr(widget, name, None) for name in traits}
    if isinstance(widget, widgets.PictureSlider):
        found["pictures"] = len(widget.pictures)
    if found["table"]:
        kind = torch.int16 if widget.kind == "likeness" else torch.float32
        found["table"] = torch.frombuffer(bytearray(found["table"]), dtype=kind) / 1
    if found["pictures"] and not isinstance(found["pictures"], int):
        found["pictures"] = [np.asarray(Image.open(BytesIO(file))) / 255 for file in found["pictures"]]
    return found | {"alt": widget.alt}


def answer(image):
    return torch.full((3,), 1 / 3), image[0, 0, :2, :2]


def answering(scores, attention):
    return constant(lambda image: (scores, attention))


THIRDS, MAP = torch.full((3,), 1 / 3), torch.rand(2, 2)


def a_vit(**otherwise):
    sizes = dict(image_size=4, patch_size=2, channels=1, dim=4, depth=1, num_heads=2, mlp_dim=4)
    torch.manual_seed(0)
    return ViT(**sizes | {"num_classes": 3} | otherwise)


def of_nan(model):
    torch.nn.init.constant_(model.head.bias, float("nan"))
    return model


DIGIT_ANSWERS = {
    "a ViT in colour": constant(a_vit(channels=3)),
    "a ViT of ten classes": constant(a_vit(num_classes=10)),
    "a ViT of other pixels": constant(a_vit(image_size=8)),
    "a ViT on meta": constant(a_vit().to("meta")),
    "a ViT of NaN": constant(of_nan(a_vit())),
    "one tensor": constant(lambda image: THIRDS),
    "a list": constant(lambda image: [THIRDS, MAP]),
    "numpy": constant(lambda image: (THIRDS.numpy(), MAP.numpy())),
    "too few scores": answering(THIRDS[:2], MAP),
    "scores of two images": answering(THIRDS[None], MAP),
    "scores that are NaN": answering(THIRDS * float("nan"), MAP),
    "logits": answering(THIRDS * 7, MAP),
    "complex scores": answering(THIRDS.cfloat(), MAP),
    "meta scores": answering(THIRDS.to("meta"), MAP),
    "a map of one axis": answering(THIRDS, MAP[0]),
    "a map of infinity": answering(THIRDS, MAP / 0),
    "a complex map": answering(THIRDS, MAP.cfloat()),
    "with a graph": Kind(
        lambda good: lambda image: tuple(p.clone().requires_grad_() for p in good(image)), SAME
    ),
    "in double": Kind(lambda good: lambda image: tuple(part.double() for part in good(image)), SAME),
}
TABLES = constants([], {}) | {
    "two tables": Kind(lambda table: {"ours": table, "random": table}, FINITE),
    "tables of two sizes": constant({"ours": torch.eye(6), "with CLS": torch.eye(7)}),
    "a number for a name": constant({1: torch.eye(6)}),
    "a list of tables": constant([torch.eye(6)]),
}

ROWS = {
    "looking.agreement.compare": Row(
        compare,
        lambda: dict(name="a test", ours=torch.rand(2, 3), reference=torch.rand(2, 3), tol=0.1),
        own={
            name: {
                "sparse": Kind(lambda good: good.to_sparse(), SAME),
                "huge": constant([2**70]),
                "ragged": constant([[1.0], [1.0, 2.0]]),
            }
            for name in ("ours", "reference")
        }
        | {"tol": constants(1j, "0.1")},
        fine={
            "ours": dict.fromkeys(
                ("empty", "axis 1 of size 0", "1.0", "an axis too few", "an axis too many", "a scalar"), ANY
            ),
            "reference": dict.fromkeys(
                ("empty", "axis 1 of size 0", "1.0", "an axis too few", "an axis too many", "a scalar"), ANY
            ),
            "name": dict.fromkeys(("''", "'nonsense'", "None", "1", "['text']"), "only printed"),
            "tol": {"inf": "everything agrees"},
        },
    ),
    "looking.widgets.slider.patch_size_slider": Row(
        quickly(widgets.patch_size_slider),
        lambda: dict(image=torch.rand(1, 3, 8, 8), patch_sizes=[4]),
        own={
            "image": OUTSIDE
            | {"not square": constant(torch.rand(1, 3, 8, 4)), "two": constant(torch.rand(2, 3, 8, 8))},
            "patch_sizes": PATCH_SIZES,
        },
        names={"patch_sizes": "patch_size"},
        seen=sent,
    ),
    "looking.widgets.explorer.position_picker": Row(
        quickly(widgets.position_picker),
        lambda: dict(similarity=torch.rand(9, 9), grid=(2, 3), num_prefix=3),
        own={"similarity": TABLES},
        seen=sent,
    ),
    "looking.widgets.explorer.attention_explorer": Row(
        quickly(widgets.attention_explorer),
        lambda: dict(
            images=torch.rand(2, 3, 4, 6),
            attention=torch.rand(2, 1, 2, 9, 9),
            grid=(2, 3),
            control=torch.rand(2, 1, 2, 9, 9),
            labels=["one", "two"],
            num_prefix=3,
        ),
        own={"images": OUTSIDE | {"not of squares": constant(torch.rand(2, 3, 4, 8))}},
        fine={"control": {"None": "no control"}, "labels": {"None": "numbers"}},
        seen=sent,
    ),
    "looking.widgets.likeness.likeness_picker": Row(
        quickly(widgets.likeness_picker),
        lambda: dict(
            images=torch.rand(2, 3, 4, 6),
            tokens=torch.rand(2, 9, 4),
            grid=(2, 3),
            control=torch.rand(2, 9, 5),
            labels=["one", "two"],
            num_prefix=3,
            place_in_grid=(2, 3),
        ),
        own={"images": OUTSIDE | {"not of squares": constant(torch.rand(2, 3, 4, 8))}},
        fine={
            "control": {"None": "no control"},
            "labels": {"None": "numbers"},
            "place_in_grid": {"None": "the middle"},
        },
        seen=sent,
    ),
    "looking.widgets.pad.digit_pad": Row(
        quickly(widgets.digit_pad),
        lambda: dict(answer=answer, image=torch.rand(1, 1, 4, 4), labels=["a", "b", "c"]),
        own={"answer": DIGIT_ANSWERS, "image": OUTSIDE | {"in colour": constant(torch.rand(1, 3, 4, 4))}},
        fine={"image": {"None": "an empty pad"}},
        seen=sent,
    ),
    "looking.widgets.curve.LiveCurve.draw": Row(
        lambda history: widgets.live_curve().draw(history),
        lambda: dict(history=SimpleNamespace(loss=[1.0, 2.0], valid_accuracy=[])),
        own={"history": HISTORY},
    ),
}


# The explorer as one file


def seen(**other):
    """A trace of one image: a CLS token, two registers, six patches."""
    made = Trace(
        patches=torch.rand(1, 6, 4),
        with_cls=torch.rand(1, 9, 4),
        with_position=torch.rand(1, 9, 4),
        attention=torch.rand(1, 1, 2, 9, 9).softmax(dim=-1),
        encoded=torch.rand(1, 9, 4),
        logits=torch.rand(1, 3),
    )
    return made._replace(**other)


def part(name, make):
    return Kind(lambda trace: trace._replace(**{name: make(getattr(trace, name))}))


TRACES = constants(None, 1, "text", ()) | {
    "a tuple": Kind(tuple),
    "of two images": Kind(lambda trace: trace._replace(attention=trace.attention.repeat(2, 1, 1, 1, 1))),
    "no block": part("attention", lambda weights: weights[:, :0]),
    "no attention": part("attention", lambda weights: None),
    "another size": part("attention", lambda weights: weights[..., 1:, 1:]),
    "NaN": part("attention", lambda weights: weights * float("nan")),
    "negative": part("attention", lambda weights: -weights),
    "on meta": part("attention", lambda weights: weights.to("meta")),
    "whole numbers": part("attention", lambda weights: weights.long()),
    "tokens too few": part("encoded", lambda tokens: tokens[:, 1:]),
    "tokens of no width": part("encoded", lambda tokens: tokens[..., :0]),
    "tokens NaN": part("encoded", lambda tokens: tokens * float("nan")),
    "a probe of another size": part("pooling", lambda _: torch.rand(1, 2, 1, 5)),
    "a probe that no pool asks for": part("pooling", lambda _: torch.rand(1, 2, 1, 6)),
}
PIXELS = constants(None, 1, "text", [[0]]) | {
    "a tensor": Kind(torch.from_numpy),
    "floating point": Kind(lambda pixels: pixels / 255),
    "grey": Kind(lambda pixels: pixels[..., 0]),
    "four channels": Kind(lambda pixels: np.concatenate([pixels, pixels[..., :1]], axis=2)),
    "empty": Kind(lambda pixels: pixels[:0]),
    "smaller than the box": Kind(lambda pixels: pixels[:3]),
    "not contiguous": Kind(lambda pixels: np.asfortranarray(pixels), SAME),
}
BOXES = constants(None, 1, "text", (0, 0, 6), (0, 0, 7, 4), (-1, 0, 6, 4), (3, 0, 3, 4), (0, 4, 6, 0)) | {
    "NaN": constant((0, 0, float("nan"), 4)),
    "words": constant(("0", "0", "6", "4")),
    "a list": Kind(list, SAME),
}
FREE_TEXT = {"''": "no title", "'nonsense'": "any title"}

ROWS |= {
    "looking.explorer_page.explorer_page": Row(
        explorer_page,
        lambda: dict(
            photograph=np.random.default_rng(0).integers(0, 256, (4, 6, 3), dtype=np.uint8),
            box=(0.0, 0.0, 6.0, 4.0),
            grid=(2, 3),
            trace=seen(),
            num_prefix=3,
            answers=[("cat", 0.75), ("dog", 0.25)],
            control=seen(),
            title="a page",
            pool="cls",
            class_token=True,
        ),
        own={
            "photograph": PIXELS,
            "box": BOXES,
            "trace": TRACES,
            "control": TRACES,
            "answers": SCORES,
            "class_token": constants(None, 1, "text"),
        },
        fine={
            "control": {"None": "no control"},
            "pool": {"None": "as the trace has it"},
            "answers": {"[]": "no head"},
        },
        skip={"title": FREE_TEXT},
    ),
}

# What a model does without some of its tokens, or of its parts

ROWS |= {
    "looking.removal.removal_curve": Row(
        removal_curve,
        lambda: dict(
            model=model().eval(),
            images=torch.rand(2, 1, 4, 4),
            labels=torch.tensor([0, 2]),
            order=torch.tensor([[0, 2, 1, 3], [3, 1, 0, 2]]),
        ),
        own={"model": NO_VIT},
        names={"images": "image"},
    ),
    "looking.seat.cls_by_block": Row(
        seat.cls_by_block,
        lambda: dict(model=model().eval(), images=torch.rand(2, 1, 4, 4)),
        own={"model": NO_VIT},
        names={"images": "image"},
    ),
    "looking.seat.swap_cls": Row(
        seat.swap_cls,
        lambda: dict(
            model=model().eval(), images=torch.rand(2, 1, 4, 4), others=torch.rand(2, 1, 4, 4), blocks=1
        ),
        own={"model": NO_VIT},
        fine={"blocks": {"0": "before the first block"}},
        names={"images": "image", "others": "image"},
    ),
    **{
        f"looking.attribution.{name}": Row(
            getattr(attribution, name),
            lambda more=more: dict(model=model().eval(), images=torch.rand(2, 1, 4, 4), **more),
            own={"model": NO_VIT},
            names={"images": "image"},
        )
        for name, more in {
            "gradient_times_input": {},
            "integrated_gradients": {"steps": 2},
            "answer_attention": {},
            "answer_rollout": {},
            "attention_relevance": {},
            "leave_one_out": {},
        }.items()
    },
    "lessons.learning.small_cnn": Row(
        small_cnn,
        lambda: dict(seed=3),
        fine={"seed": {"0": "a seed like any other"}},
        seen=lambda arguments, result: [*result.parameters()],
    ),
    "lessons.left_out.leave_out": Row(
        leave_out,
        lambda: dict(model=model(), part="the norms"),
        own={"model": {name: kind for name, kind in NO_VIT.items() if name != "on meta"}},  # a plan stays one
        changes=("model",),
    ),
}


# The exercises: what a student's function may give instead of an answer


def raising(error):
    def function(*_, **__):
        raise error

    return function


def of_torch(*_, **__):
    return torch.zeros(2) @ torch.zeros(3)


def without_head(*arguments, **_):
    if isinstance(arguments[0], torch.nn.Module):
        arguments[0].requires_grad_(False)
        del arguments[0].head
    return 45


GIVEN = {
    "None": None,
    "...": ...,
    "a number": 1,
    "a huge number": 2**80,
    "NaN": float("nan"),
    "a word": "text",
    "an empty list": [],
    "a ragged list": [[1], [1, 2]],
    "a dict": {},
    "an object": object(),
    "a type": int,
    "a generator": (n for n in ()),
    "bytes": b"1",
    "a tensor of NaN": torch.full((2, 8), float("nan")),
    "an empty tensor": torch.zeros(0, 3),
    "eight axes": torch.zeros(8 * [1]),
    "meta": torch.zeros(2, 8, device="meta"),
    "complex": torch.zeros(2, 8, dtype=torch.cfloat),
    "sparse": torch.zeros(2, 8).to_sparse(),
    "a numpy array": torch.zeros(2, 8).numpy(),
    "a pair": (1, 2),
    "a pair of None": (None, None),
    "a model": torch.nn.Linear(2, 2),
}
FUNCTIONS = {
    f"gives {name}": constant(lambda *_, given=given, **__: given, REFUSED_IN_WORDS)
    for name, given in GIVEN.items()
}
FUNCTIONS |= {
    f"raises {name}": constant(raising(error), REFUSED_IN_WORDS)
    for name, error in {
        "ValueError": ValueError("no"),
        "KeyError": KeyError("head"),
        "a long one": RuntimeError("long\n" * 200),
        "StopIteration": StopIteration(),
        "RecursionError": RecursionError(),
        "AssertionError": AssertionError(),
    }.items()
}
FUNCTIONS |= {
    "fails in torch": constant(of_torch, REFUSED_IN_WORDS),
    "takes nothing": constant(lambda: 1, REFUSED_IN_WORDS),
    "takes away what it was given": constant(without_head, REFUSED_IN_WORDS),
}
FUNCTIONS |= {
    f"is {name}": constant(value, REFUSED_IN_WORDS)
    for name, value in {
        "None": None,
        "...": ...,
        "a number": 1,
        "a word": "text",
        "a list": [1],
        "a tensor": torch.ones(2),
    }.items()
}
PAIRS = {
    name: constant(value, REFUSED_IN_WORDS)
    for name, value in {
        "None": None,
        "a number": 1,
        "a word": "text",
        "a list": [1],
        "empty": [],
        "infinity": [(0.0, float("inf"))],
        "NaN": [(0, float("nan"))],
        "threes": [(0, 1, 2)],
        "huge": [(0, 2**80)],
        "negative": [(-1, 0)],
        "a dict": {1: 2},
        "meta": torch.zeros(6, 2, device="meta"),
        "a function": len,
    }.items()
}


@cache
def sincos_answer():
    """Our own table, so that the pairs are looked at."""
    return lessons.position_embedding._sincos_1d


def fed(answer):
    """Stands for a function; every kind takes its place."""


def row_of_check(check):
    if check is lessons.check_sincos_1d:
        make = lambda: dict(answer=sincos_answer(), pairs={})  # noqa: E731
        return Row(check, make, own={"answer": FUNCTIONS, "pairs": PAIRS}, skip=USUAL)
    return Row(check, lambda: dict(answer=fed), own={"answer": FUNCTIONS}, skip=USUAL)


USUAL = {"answer": dict.fromkeys(("None", "1", "'text'", "gives None"), "has a line of its own")}
ROWS |= {
    f"{check.__module__.removeprefix('vit_steps.')}.{name}": row_of_check(check)
    for name, check in vars(lessons).items()
    if name.startswith("check_")
}


# What a trained ViT sees

ROWS |= {
    "looking.components.token_colours": Row(
        components.token_colours, lambda: dict(tokens=torch.rand(6, 4), grid=(2, 3))
    ),
    "lessons.sights.share_more_alike": Row(
        sights.share_more_alike,
        lambda: dict(tokens=torch.rand(28, 4), grid=(4, 7), first=(1, 2), second=(4, 6)),
    ),
    "lessons.crops.load_crops": Row(crops.load_crops, lambda: dict(half="left", grey=True)),
}
