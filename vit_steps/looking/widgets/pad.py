"""A pad to draw a digit on: a model answers in the browser itself, a function in the kernel."""

import json
from collections.abc import Callable, Sequence

import torch
import traitlets
from jaxtyping import Float
from matplotlib import style
from matplotlib.figure import Figure
from safetensors.torch import save
from torch import Tensor

from vit_steps.doors import door, judge, values
from vit_steps.looking._for_browsers import CIVIDIS
from vit_steps.looking.attention_maps import attention_rollout
from vit_steps.looking.plots import plot_attention, plot_image, plot_scores
from vit_steps.looking.widgets.base import (
    HERE,
    STYLE,
    LessonWidget,
    as_drawn,
    drawing,
    picture_of,
    script_of,
)
from vit_steps.vit import ViT

KNOWN_TO_VIT_JS = {
    "pool": {"cls", "mean", "mean_all"},
    "position": {"table"},
    "act": {"gelu"},
    "pre_norm": {False},
    "final_norm": {"tokens"},
}


class DigitPad(LessonWidget):
    """A pad to draw on; without a model's weights the kernel is asked again whenever the ink changes."""

    _esm = script_of(HERE / "ink.js", HERE / "pad.js")
    size = traitlets.List(traitlets.Int()).tag(sync=True)
    ink = traitlets.List(traitlets.Float()).tag(sync=True)
    labels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    reply = traitlets.Dict().tag(sync=True)
    weights = traitlets.Bytes().tag(sync=True)
    colours = traitlets.Bytes(CIVIDIS).tag(sync=True)

    def __init__(self, answer: Callable, **traits):
        super().__init__(**traits)
        self.answer = answer
        if not self.weights:
            self.observe(self._ask_again, "ink")

    def _ask_again(self, change: dict) -> None:
        image = torch.tensor(change["new"]).reshape(1, 1, *self.size)
        self.reply = _reply(*_ask(self.answer, image, self.labels), self.labels)


def _ink(image: Tensor | None) -> None:
    if image is not None:
        values.between("image", values.finite("image", image), 0, 1)


def digit_pad(
    answer: ViT | Callable[[Tensor], tuple[Tensor, Tensor]],
    image: Float[Tensor, "1 1 height width"] | None = None,
    *,
    labels: Sequence[str] = "0123456789",
) -> DigitPad:
    """A pad to draw a digit on; the model's probabilities and the attention of its answer follow.

    A ViT answers in the browser, as it is now, by the five steps in ``vit.js``: also in a page without a
    kernel. The map is rollout, from whatever tokens the answer is read from. A ViT of a kind that ``vit.js``
    does not know, or with layers of another make, is asked in the kernel, and so is a function.

    Args:
        answer: a ViT for grey images; or a callable from an image (1, 1, height, width) with values in [0, 1]
            to probabilities (classes,) and an attention map (rows, cols). It is run without gradients.
        image: what the pad shows at first; without ink when left out, of the model's size or 8 × 8 pixels.
        labels: the name of each class.

    Raises:
        ValueError: "answer gave 9 probabilities, there are 10 labels", "answer gave probabilities from
            0.10 that sum to 3.20: they must be positive and sum to 1, as after a softmax", "image must have
            the axes (1 1 height width), got shape (1, 3, 8, 8)", "answer reads 3 channels, a pad has 1",
            "answer was made for 8 x 8 pixels, image has 4 x 4".
        TypeError: ``answer`` is not callable, or gave something else than two tensors.
    """
    if not isinstance(answer, ViT):
        return _pad(answer, image, labels=labels)
    _fits_a_pad(answer, image)
    image = torch.zeros(1, 1, *answer.image_size) if image is None else image
    return _pad(_answer_of(answer), image, labels=labels, weights=_weights_of(answer))


def _fits_a_pad(answer: ViT, image: object) -> None:
    values.filled("answer's parameters", next(answer.parameters()))
    if answer.channels != 1:
        raise ValueError(f"answer reads {answer.channels} channels, a pad has 1")
    size = tuple(image.shape[2:]) if isinstance(image, Tensor) else answer.image_size
    if len(size) == 2 and size != answer.image_size:
        made, given = (" x ".join(map(str, each)) for each in (answer.image_size, size))
        raise ValueError(f"answer was made for {made} pixels, image has {given}")


@drawing("image")
@door(
    "image height is at least 1",
    "image width is at least 1",
    "number of labels is at least 2",
    lambda labels: values.names("labels", labels),
    _ink,
)
def _pad(
    answer: Callable[[Tensor], tuple[Tensor, Tensor]],
    image: Float[Tensor, "1 1 height width"] | None = None,
    *,
    labels: Sequence[str],
    weights: bytes = b"",
) -> DigitPad:
    image = torch.zeros(1, 1, 8, 8) if image is None else image
    scores, attention = _ask(answer, image, labels)
    height, width = image.shape[2:]
    return DigitPad(
        answer,
        picture=picture_of(_pad_figure(image[0], scores, attention, labels)),
        alt=f"A pad of {height} × {width} pixels, where the model looked on it, and its answer: "
        f"{labels[scores.argmax()]}.",
        size=[height, width],
        ink=image.flatten().tolist(),
        labels=list(labels),
        reply=_reply(scores, attention, labels),
        weights=weights,
    )


def _answer_of(model: ViT) -> Callable[[Tensor], tuple[Tensor, Tensor]]:
    own = next(model.parameters())

    def answer(image: Tensor) -> tuple[Tensor, Tensor]:
        seen = model.trace(image.to(own))
        reached = attention_rollout(seen.attention)[0, :, model.num_prefix :]
        looked = _read_by(model, seen.pooling) @ reached
        return seen.logits.softmax(dim=1)[0], looked.unflatten(0, model.grid)

    return answer


def _read_by(model: ViT, pooling: Tensor | None) -> Tensor:
    """How much of each token an answer reads, a share for each."""
    patches = model.grid[0] * model.grid[1]
    own = next(model.parameters())
    shares = own.new_zeros(model.num_prefix + patches)
    if model.pool.startswith("cls"):
        shares[0] = 1
    elif pooling is not None:
        shares[model.num_prefix :] = pooling[0, :, 0].mean(dim=0)
    else:
        shares[0 if model.pool == "mean_all" else model.num_prefix :] = 1
    return shares / shares.sum()


def _weights_of(model: ViT) -> bytes:
    """A file that ``vit.js`` reads; nothing if it would compute another function than the model."""
    is_known = all(model.config[name] in known for name, known in KNOWN_TO_VIT_JS.items())
    with torch.device("meta"):
        plain = ViT(**model.config)
    as_planned = repr(plain) == repr(model) and plain.state_dict().keys() == model.state_dict().keys()
    if not is_known or not as_planned:
        return b""
    is_double = next(model.parameters()).dtype == torch.float64
    exact = torch.float64 if is_double else torch.float32
    tensors = {name: tensor.detach().cpu().to(exact).clone() for name, tensor in model.state_dict().items()}
    return save(tensors, metadata={"vit_steps": json.dumps({"config": model.config})})


def _pad_figure(image: Tensor, scores: Tensor, attention: Tensor, labels: Sequence[str]) -> Figure:
    with style.context(STYLE):
        figure = Figure(figsize=(8, 3.2))
        pad, looked, bars = figure.subplots(1, 3)
        plot_image(image, pad, title="draw here")
        plot_attention(attention, image, looked, title="where the answer looked")
        plot_scores(list(zip(labels, scores.tolist(), strict=True)), bars)
    return figure


def _ask(answer: Callable, image: Tensor, labels: Sequence[str]) -> tuple[Tensor, Tensor]:
    with torch.no_grad():
        scores, attention = map(as_drawn, answer(image))
    judge("answer's probabilities", scores, Float[Tensor, " classes"])
    judge("answer's attention map", attention, Float[Tensor, "rows cols"])
    values.filled("answer's probabilities", scores)
    values.finite("answer's attention map", attention)
    if len(scores) != len(labels):
        raise ValueError(f"answer gave {len(scores)} probabilities, there are {len(labels)} labels")
    if scores.min() < 0 or not abs(scores.sum() - 1) < 1e-3:
        raise ValueError(
            f"answer gave probabilities from {scores.min():.2f} that sum to {scores.sum():.2f}: they must be "
            "positive and sum to 1, as after a softmax"
        )
    return scores, attention


def _reply(scores: Tensor, attention: Tensor, labels: Sequence[str]) -> dict:
    best, second = scores.argsort(descending=True)[:2]
    sentence = (
        f"The model says {labels[best]} ({scores[best]:.2f}), then {labels[second]} ({scores[second]:.2f})."
    )
    return {"scores": scores.tolist(), "attention": attention.tolist(), "sentence": sentence}
