"""Arrays -> artists, and what a notebook needs around a cell."""

from functools import cache
from types import SimpleNamespace

import numpy as np
import torch
from matplotlib.container import BarContainer
from matplotlib.figure import Figure

from hostile.kinds import FINITE, SAME, WORDS, Kind, constant, constants, of_tensor
from hostile.trial import Row
from vit_steps import lessons
from vit_steps.looking import plots
from vit_steps.looking.plots import plot_map
from vit_steps.looking.spread import plot_by_count, plot_draws, plot_spread
from vit_steps.looking.the_block import plot_block
from vit_steps.looking.the_way import plot_the_way
from vit_steps.vit import ViT


@cache
def figure():
    """One figure for all: an axes is cheap, a figure is not."""
    return Figure(figsize=(2, 2))


def ax():
    figure().clear()
    return figure().subplots()


AX = {
    "ax": constants(None, 1, "text") | {"a figure": constant(Figure()), "a list": Kind(lambda good: [good])}
}


def drawn(arguments, result):
    return shown(result)


def shown(artist):
    """The numbers and words that artists stand for; that they can be rendered is tested in test_plots."""
    if isinstance(artist, BarContainer):
        return [(bar.get_x(), bar.get_y(), bar.get_width(), bar.get_height()) for bar in artist]
    if isinstance(artist, (list, tuple)):
        return [shown(part) for part in artist]
    found = {}
    for name in ("array", "clim", "extent", "text", "position", "xydata", "offsets", "facecolor", "label"):
        read = getattr(artist, f"get_{name}", None)
        found[name] = read() if read else None
    if found["array"] is not None:
        found["array"] = np.ma.filled(found["array"].astype(float), np.nan)
    found["segments"] = [np.asarray(each) for each in getattr(artist, "get_segments", list)()]
    return found


def picture():
    return torch.rand(3, 4, 6)


def in_a_dict(make_kinds):
    return {
        f"a curve: {name}": Kind(
            lambda curves, kind=kind: {"a": kind.make(curves["a"])},
            kind.claim,
            lambda curves, kind=kind: {"a": kind.twin(curves["a"])},
        )
        for name, kind in make_kinds.items()
    }


CURVES = constants(None, 1, "text", [1.0]) | {"no curve": constant({})}
CURVES |= in_a_dict(of_tensor(torch.rand(4)))
CURVES |= {"two lengths": Kind(lambda curves: {**curves, "b": torch.rand(3)})}
HISTORY = constants(None, 1, "text", {}) | {
    "no epoch": constant(SimpleNamespace(loss=[], valid_accuracy=[])),
    "one epoch not validated": constant(SimpleNamespace(loss=[1.0, 2.0], valid_accuracy=[0.5])),
    "loss of words": constant(SimpleNamespace(loss=["a", "b"], valid_accuracy=[])),
    "loss NaN": constant(SimpleNamespace(loss=[1.0, float("nan")], valid_accuracy=[])),
    "loss of tensors": constant(
        SimpleNamespace(loss=[torch.tensor(1.0), torch.tensor(2.0)], valid_accuracy=[]), SAME
    ),
}
ANSWERS = constants(None, 1, "text", [], [("cat",)], [("cat", None)], [1, 2]) | {
    "NaN": constant([("cat", float("nan")), ("dog", 0.5)]),
    "a tensor's numbers": constant([("cat", torch.tensor(0.75)), ("dog", torch.tensor(0.25))], SAME),
    "above 1": constant([("cat", 7.0), ("dog", 0.5)]),
    "below 0": constant([("cat", -0.5), ("dog", 0.5)]),
}
HIGHLIGHT = constants(1, "text", (1, 2), (slice(0, 1),)) | {
    "open slices": constant((slice(None), slice(None))),
    "outside": constant((slice(0, 9), slice(0, 1))),
}
LIMIT = {"0": constant(0.0), "None": constant(None)}
NO_LIMIT = {"limit": {"None": "the largest number"}}
PATCH_SIZES = constants(None, 3, "text", [], [0], [2.5], [-2], ["4"], [True], [999]) | {
    "a numpy array": Kind(np.array, SAME),
    "a tensor": Kind(torch.tensor, SAME),
}
OUTSIDE = {"above 1": Kind(lambda image: image + 1), "below 0": Kind(lambda image: image - 1)}
ANY_SHAPE = {name: "any shape will do" for name in ("an axis too few", "an axis too many", "a scalar")}
IMAGE = {"image": OUTSIDE | {"two channels": Kind(lambda image: torch.rand(2, 4, 6))}}


def of_plot(name, make, own=None, **more):
    call = getattr(plots, f"plot_{name}")
    return Row(call, lambda: make() | {"ax": ax()}, own=AX | (own or {}), seen=drawn, changes=("ax",), **more)


ROWS = {
    "plot_image": of_plot("image", lambda: dict(image=picture()), IMAGE),
    "plot_grid": of_plot(
        "grid",
        lambda: dict(image=picture(), patch_size=2),
        IMAGE | {"patch_size": {"4": constant(4)}},
    ),
    "plot_tiles": of_plot(
        "tiles",
        lambda: dict(tiles=torch.rand(5, 3, 2, 2), per_row=3, gap=1, blank=0.5),
        {"tiles": {"two channels": constant(torch.rand(5, 2, 2, 2))}},
        fine={"gap": {"0": "no gap"}, "blank": {"nan": "the page shows"}},
    ),
    "plot_kernels": of_plot(
        "kernels",
        lambda: dict(kernels=torch.rand(5, 3, 2, 2) - 0.5, per_row=3),
    ),
    "plot_numbers": of_plot(
        "numbers",
        lambda: dict(numbers=torch.rand(2, 3), highlight=(slice(0, 1), slice(1, 3)), limit=2.0),
        {"highlight": HIGHLIGHT, "limit": LIMIT},
        fine=NO_LIMIT,
    ),
    "plot_cost": of_plot(
        "cost",
        lambda: dict(patch_sizes=[8, 4, 2], image_size=16, dim=8),
        {"patch_sizes": PATCH_SIZES},
        fine={"dim": {"None": "no third line"}},
        names={"patch_sizes": "patch_size"},
    ),
    "plot_differences": of_plot(
        "differences",
        lambda: dict(differences=torch.randn(3, 4)),
        fine={"differences": ANY_SHAPE | {"1.0": "one difference"}},
    ),
    "plot_tokens": of_plot(
        "tokens",
        lambda: dict(tokens=torch.randn(5, 8), limit=2.0, num_prefix=2),
        {"limit": LIMIT, "num_prefix": {"more than there are": constant(6)}},
        fine=NO_LIMIT | {"num_prefix": {"0": "no frame"}},
    ),
    "plot_similarity": of_plot("similarity", lambda: dict(similarity=torch.rand(6, 6), grid=(2, 3))),
    "plot_weights": of_plot(
        "weights",
        lambda: dict(weights=torch.rand(3, 3), names=["CLS", "an ear", "a nose"]),
        fine={"names": {"none of them": "no names", "numbers": "written as they are"}},
    ),
    "plot_attention": of_plot(
        "attention",
        lambda: dict(attention_map=torch.rand(2, 3), image=picture(), limit=0.5),
        IMAGE | {"limit": LIMIT},
        fine=NO_LIMIT,
    ),
    "plot_deletion": of_plot(
        "deletion",
        lambda: dict(curves={"a": torch.rand(4)}, num_images=100),
        {"curves": CURVES},
    ),
    "plot_by_layer": of_plot(
        "by_layer",
        lambda: dict(values={"a": torch.rand(4)}, ylabel="y"),
        {"values": CURVES},
        skip={"ylabel": dict.fromkeys(WORDS, "free text")},
    ),
    "plot_scores": of_plot(
        "scores", lambda: dict(answers=[("cat", 0.75), ("dog", 0.25)]), {"answers": ANSWERS}
    ),
    "plot_embeddings": of_plot(
        "embeddings",
        lambda: dict(points=torch.randn(6, 2), labels=torch.arange(3).repeat(2)),
        {"labels": {"names": Kind(lambda labels: [f"class {n}" for n in labels.tolist()], FINITE)}},
        fine={
            "labels": dict.fromkeys(
                ("torch.float32", "torch.bool", "negative", "too large"), "a name like any other"
            )
        },
    ),
    "plot_history": of_plot(
        "history",
        lambda: dict(history=SimpleNamespace(loss=[1.0, 2.0], valid_accuracy=[])),
        {"history": HISTORY},
    ),
}
ROWS = {f"looking.plots.{name}": row for name, row in ROWS.items()}


@torch.no_grad()
def trace_of(image, **changed):
    sizes = {"patch_size": 2, "channels": 1, "dim": 8, "depth": 2, "num_heads": 2, "mlp_dim": 8}
    torch.manual_seed(0)
    model = ViT(image_size=tuple(image.shape[2:]), num_classes=3, **sizes)
    return model.trace(image)._replace(**changed)


ONE, TWO = torch.rand(1, 1, 4, 6), torch.rand(2, 1, 4, 6)
TRACES = constants(None, 1, "text", {}) | {
    "of two images": constant(trace_of(TWO)),
    "of a smaller image": constant(trace_of(ONE[..., :4])),
    "a plain tuple": Kind(tuple),
    "NaN in it": constant(trace_of(ONE, encoded=torch.full((1, 7, 8), torch.nan))),
    "without attention": constant(trace_of(ONE, attention=torch.zeros(1, 0, 2, 7, 7))),
    "an axis missing": constant(trace_of(ONE, logits=torch.zeros(3))),
    "pooled by attention": constant(trace_of(ONE, pooling=torch.rand(1, 2, 1, 6))),
    "with registers": constant(trace_of(ONE, with_cls=torch.zeros(1, 11, 8))),
    "all zero": constant(
        trace_of(ONE)._make(None if part is None else torch.zeros_like(part) for part in trace_of(ONE)),
        FINITE,
    ),
}
ROWS["looking.the_way.plot_the_way"] = Row(
    plot_the_way,
    lambda: dict(image=ONE[0], trace=trace_of(ONE), ax=ax(), lit=5),
    own=AX | {"image": OUTSIDE | {"two channels": constant(torch.rand(2, 4, 6))}, "trace": TRACES},
    seen=drawn,
    changes=("ax",),
)

COUNTS = constants(None, 3, "text", [], [0, 1], [2.5, 3], [-2, 3], ["4", "5"], [True, True], [5])
GROUPS = {"a": {"in place": [0.5, 0.75], "shuffled": [0.25, 0.5]}}
SPREADS = {
    "other groups": constant(GROUPS | {"b": {"in place": [0.5]}}),
    "no group": constant({"a": {}}),
    "no number": constant({"a": {"in place": []}}),
    "NaN": constant({"a": {"in place": [0.5, float("nan")]}}),
    "words": constant({"a": {"in place": ["much"]}}),
    "a list": constant([0.5, 0.75]),
    "a list in it": constant({"a": [0.5, 0.75]}),
    "empty": constant({}),
    "of tensors": Kind(
        lambda good: {"a": {group: torch.tensor(tries) for group, tries in good["a"].items()}}, SAME
    ),
}
ROWS["looking.spread.plot_spread"] = Row(
    plot_spread,
    lambda: dict(values=GROUPS, ax=ax(), ylabel="y"),
    own=AX | {"values": SPREADS},
    seen=drawn,
    changes=("ax",),
    skip={"ylabel": dict.fromkeys(WORDS, "free text")},
)


ROWS |= {
    "looking.the_block.plot_block": Row(
        plot_block, lambda: dict(ax=ax()), own=AX, seen=drawn, changes=("ax",)
    ),
    "looking.plots.plot_map": Row(
        plot_map,
        lambda: dict(attention_map=torch.rand(2, 3), ax=ax(), limit=0.5),
        own=AX | {"limit": LIMIT},
        fine=NO_LIMIT,
        seen=drawn,
        changes=("ax",),
    ),
    "looking.spread.plot_draws": Row(
        plot_draws,
        lambda: dict(draws={"a": torch.rand(4)}, ax=ax(), xlabel="accuracy"),
        own=AX | {"draws": CURVES},
        skip={"xlabel": dict.fromkeys(WORDS, "free text")},
        seen=drawn,
        changes=("ax",),
    ),
}


ROWS["looking.spread.plot_by_count"] = Row(
    plot_by_count,
    lambda: dict(counts=[5, 9], draws={"a": torch.rand(2, 3)}, ax=ax()),
    own=AX | {"draws": CURVES, "counts": COUNTS},
    seen=drawn,
    changes=("ax",),
)


# What a notebook needs around a cell


def one_liner(number):
    return number


def figure_to_show():
    shown = Figure(figsize=(1, 1))  # one that pyplot does not hold: nobody has to close it
    shown.subplots().plot([1, 2])
    return shown


ROWS |= {
    "lessons.cells.show_source": Row(
        lambda function: lessons.show_source(function), lambda: dict(function=one_liner),
        own={"function": {"a built-in": constant(len), "a tensor": constant(torch.zeros(2)),
                          "gives None": constant(np.sin)}},
    ),
    "lessons.cells.show_figure": Row(
        lessons.show_figure, lambda: dict(figure=figure_to_show(), alt="A line."),
        own={"figure": constants(None, 1, "text"), "alt": {"blank": constant("  ")}},
        fine={"alt": {"'nonsense'": "a text"}},
        changes=("figure",),
    ),
}  # fmt: skip
