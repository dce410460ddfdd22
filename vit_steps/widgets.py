"""Sliders and buttons over plots: things to touch, each worked by mouse and by keyboard.

Each function returns a widget that shows itself as the last line of a cell. Beside the widget the notebook
stores a picture and a sentence, for readers who do not run it. What can be sent to the browser at once is:
then a key press costs one frame and no question to the kernel.
"""

from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from numbers import Integral
from pathlib import Path

import anywidget
import numpy as np
import torch
import traitlets
from jaxtyping import Float
from matplotlib import colormaps, style
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from PIL import Image
from torch import Tensor

from vit_steps.plots import (
    plot_attention,
    plot_cost,
    plot_grid,
    plot_history,
    plot_image,
    plot_scores,
    plot_tiles,
)

HERE = Path(__file__).parent
STYLE = "vit_steps.lesson"
PICTURE_DPI, SCREEN_DPI = 150, 100
LONGEST_LINE = 12  # patches of a sequence that are shown
CIVIDIS = colormaps["cividis"](range(256), bytes=True).tobytes()


class LessonWidget(anywidget.AnyWidget):
    """A widget that leaves a picture and its alternative text in the notebook."""

    _css = HERE / "widgets.css"

    def __init__(self, picture: bytes, alt: str, **traits):
        super().__init__(**traits)
        self.picture, self.alt = picture, alt

    def _repr_mimebundle_(self, **kwargs) -> tuple[dict, dict]:
        data, metadata = super()._repr_mimebundle_(**kwargs)
        stored = {"text/plain": self.alt, "image/png": self.picture}
        return data | stored, metadata | {
            "image/png": {"alt": self.alt, "width": _screen_width(self.picture)}
        }


class PictureSlider(LessonWidget):
    """A slider that turns from picture to picture; they are all in the browser."""

    _esm = HERE / "picture_slider.js"
    label = traitlets.Unicode().tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    sentences = traitlets.List(traitlets.Unicode()).tag(sync=True)
    pictures = traitlets.List(traitlets.Bytes()).tag(sync=True)
    width = traitlets.Int().tag(sync=True)
    chosen = traitlets.Int().tag(sync=True)


class Explorer(LessonWidget):
    """Tables of tokens against tokens, to be read row by row; they are all in the browser."""

    _esm = HERE / "attention_explorer.js"
    kind = traitlets.Unicode().tag(sync=True)
    grid = traitlets.List(traitlets.Int()).tag(sync=True)
    tokens = traitlets.Int().tag(sync=True)
    table = traitlets.Bytes().tag(sync=True)
    names = traitlets.List(traitlets.Unicode()).tag(sync=True)
    choices = traitlets.List(traitlets.Dict()).tag(sync=True)
    chosen = traitlets.List(traitlets.Int()).tag(sync=True)
    query = traitlets.Int().tag(sync=True)
    pictures = traitlets.Bytes().tag(sync=True)
    picture_size = traitlets.List(traitlets.Int(), [1, 1]).tag(sync=True)
    colours = traitlets.Bytes(CIVIDIS).tag(sync=True)


class DigitPad(LessonWidget):
    """A pad to draw on; the kernel is asked again whenever the ink changes."""

    _esm = HERE / "digit_pad.js"
    size = traitlets.List(traitlets.Int()).tag(sync=True)
    ink = traitlets.List(traitlets.Float()).tag(sync=True)
    labels = traitlets.List(traitlets.Unicode()).tag(sync=True)
    reply = traitlets.Dict().tag(sync=True)
    colours = traitlets.Bytes(CIVIDIS).tag(sync=True)

    def __init__(self, answer: Callable, **traits):
        super().__init__(**traits)
        self.answer = answer
        self.observe(self._ask_again, "ink")

    def _ask_again(self, change: dict) -> None:
        image = torch.tensor(change["new"]).reshape(1, 1, *self.size)
        self.reply = _reply(*_ask(self.answer, image, self.labels), self.labels)


class LiveCurve(anywidget.AnyWidget):
    """A picture that follows a training history, with words; one figure serves all epochs."""

    _esm = HERE / "live_curve.js"
    value = traitlets.Bytes().tag(sync=True)
    words = traitlets.Unicode().tag(sync=True)

    def __init__(self, **traits):
        super().__init__(**traits)
        self.figure = Figure(figsize=(6, 3), layout="constrained")

    def draw(self, history) -> None:
        """Draw loss and validation accuracy as far as they have come."""
        with style.context(STYLE):
            self.figure.clear()
            plot_history(history, self.figure.subplots())
            rendered = BytesIO()
            self.figure.savefig(rendered, format="png", dpi=SCREEN_DPI)
        with self.hold_sync():  # the words travel with their picture
            self.words, self.value = _tell_history(history), rendered.getvalue()

    def _repr_mimebundle_(self, **kwargs) -> tuple[dict, dict]:
        data, metadata = super()._repr_mimebundle_(**kwargs)
        words = "The training curve, drawn afresh after each epoch while the cell runs."
        return data | {"text/plain": words}, metadata


def patch_size_slider(
    image: Float[Tensor, "1 channels side side"],
    patch_sizes: Sequence[int] = (112, 56, 32, 28, 16, 14, 8, 7),
) -> PictureSlider:
    """A slider for the patch size: grid, sequence, number of tokens and cost of attention change with it.

    All pictures are drawn here, one for each patch size, and turned over in the browser.

    Args:
        image: one square picture with values in [0, 1].
        patch_sizes: in pixels, in the order of the slider; it starts in the middle.

    Raises:
        ValueError: "image side 224 is not a multiple of patch_size 30", "image must be one square picture,
            (1, 1 or 3 channels, side, side), got shape (1, 3, 224, 200)", "patch_sizes is empty".
        TypeError: ``image`` is not a tensor, or a patch size not an integer.
    """
    _check_square(image)
    patch_sizes = _read_patch_sizes(patch_sizes, image.shape[-1])
    image = image.detach().float().cpu()
    pictures = _draw_patch_sizes(image[0], patch_sizes)
    sentences = [_tell_cost(patch_size, image.shape[-1]) for patch_size in patch_sizes]
    chosen = len(pictures) // 2
    return PictureSlider(
        picture=_pack(pictures[chosen]),
        alt=sentences[chosen],
        label="patch_size",
        names=[f"{patch_size} pixels" for patch_size in patch_sizes],
        sentences=sentences,
        pictures=pictures,
        width=_screen_width(pictures[chosen]),
        chosen=chosen,
    )


def position_picker(similarity: Tensor | Mapping[str, Tensor], grid: tuple[int, int]) -> Explorer:
    """Pick a patch, and see which positions are like it (ViT paper, figure 7 centre, one map at a time).

    Args:
        similarity: cosine similarities of every position with every other, (patches, patches), or
            (tokens, tokens) with the CLS token first; or several such tables by name, a control
            among them, which are then drawn side by side.
        grid: (rows, cols), counted in patches.

    Raises:
        ValueError: "similarity has shape (48, 48), grid (7, 7) needs (49, 49), or (50, 50) with CLS",
            "similarity holds NaN or infinity", "similarity holds tables of 49 and of 50 tokens".
        TypeError: ``similarity`` is neither a tensor nor tables by name.
    """
    tables = dict(similarity) if isinstance(similarity, Mapping) else {"similarity": similarity}
    tokens = _check_similarities(tables, grid)
    tables = {name: table.detach().float().cpu() for name, table in tables.items()}
    row, col = grid[0] // 2, grid[1] // 2
    query = tokens - grid[0] * grid[1] + row * grid[1] + col
    return Explorer(
        picture=_pack(_to_png(_similarity_figure(tables, grid, query))),
        alt=f"{' and '.join(tables)}, {grid[0]} × {grid[1]} places each: the brighter a place, the more it "
        f"is like the framed one in row {row}, column {col}.",
        query=query,
        **_send("similarity", tables, grid),
    )


def attention_explorer(
    images: Float[Tensor, "batch channels height width"],
    attention: Float[Tensor, "batch depth heads tokens tokens"],
    grid: tuple[int, int],
    *,
    control: Float[Tensor, "batch depth heads tokens tokens"] | None = None,
    labels: Sequence[str] | None = None,
) -> Explorer:
    """Point at a patch, or move with the arrow keys, and see where it looks: any image, layer and head.

    Images and weights go to the browser once. Layers and heads are numbered from 0, as in
    ``cls_attention``; "mean" is the mean over heads. It starts with the CLS token in the last layer.

    Args:
        images: with values in [0, 1], 1 or 3 channels.
        attention: as ``ViT.trace`` gives it, with the CLS token first.
        grid: (rows, cols), counted in patches.
        control: the same of an untrained model, drawn beside it on the same scale.
        labels: what to call each image; their numbers when left out.

    Raises:
        ValueError: "attention has 17 queries and 17 keys, grid (3, 4) with the CLS token needs 13",
            "attention is for 2 images, images holds 3", "images of 8 x 8 cannot be cut into a grid of
            (2, 4) squares", "control has shape (1, 3, 4, 17, 17), attention (1, 4, 4, 17, 17)".
        TypeError: an argument is not a tensor.
    """
    _check_explorer(images, attention, grid, labels)
    _check_control(control, attention)
    maps = {"in the model": attention} | ({} if control is None else {"in the control": control})
    maps = {name: _with_mean(weights) for name, weights in maps.items()}
    cls_maps = torch.stack([weights[0, -1, 0, 0, 1:].unflatten(0, grid) for weights in maps.values()])
    return Explorer(
        picture=_pack(_to_png(_attention_figure(images[0], cls_maps, list(maps)))),
        alt=_tell_start(labels[0] if labels else "0", attention.shape[1] - 1, cls_maps[0]),
        choices=_choices(attention, labels),
        chosen=[0, attention.shape[1] - 1, 0],
        pictures=_to_rgba(images),
        picture_size=list(images.shape[2:]),
        **_send("attention", maps, grid),
    )


def digit_pad(
    answer: Callable[[Tensor], tuple[Tensor, Tensor]],
    image: Float[Tensor, "1 1 height width"] | None = None,
    *,
    labels: Sequence[str] = "0123456789",
) -> DigitPad:
    """A pad to draw a digit on; the model's probabilities and the attention of its answer follow.

    Args:
        answer: callable from an image (1, 1, height, width) with values in [0, 1] to probabilities
            (classes,) and an attention map (rows, cols). It is run without gradients.
        image: what the pad shows at first; 8 × 8 pixels without ink when left out.
        labels: the name of each class.

    Raises:
        ValueError: "answer gave 9 probabilities, there are 10 labels", "answer gave probabilities from
            0.10 that sum to 3.20: they must be positive and sum to 1, as after a softmax", "image must be one
            grey picture, (1, 1, height, width), got (1, 3, 8, 8)".
        TypeError: ``answer`` is not callable, or gave something else than two tensors.
    """
    image = torch.zeros(1, 1, 8, 8) if image is None else image
    _check_pad(answer, image, labels)
    scores, attention = _ask(answer, image, labels)
    height, width = image.shape[2:]
    return DigitPad(
        answer,
        picture=_pack(_to_png(_pad_figure(image[0], scores, attention, labels))),
        alt=f"A pad of {height} × {width} pixels, where the model looked on it, and its answer: "
        f"{labels[scores.argmax()]}.",
        size=[height, width],
        ink=image.flatten().tolist(),
        labels=list(labels),
        reply=_reply(scores, attention, labels),
    )


def live_curve() -> LiveCurve:
    """A training curve to be shown before ``fit`` and drawn afresh after each epoch.

    Example:
        >>> curve = live_curve()
        >>> display(curve)  # doctest: +SKIP
        >>> fit(model, train, valid, epochs=50, on_epoch=curve.draw)  # doctest: +SKIP
    """
    return LiveCurve()


def _tell_history(history) -> str:
    told = f"Training curve after {len(history.loss)} epochs: the loss is {history.loss[-1]:.2f}"
    if history.valid_accuracy:
        told += f", the validation accuracy {history.valid_accuracy[-1]:.2f}"
    return told + "."


def _draw_patch_sizes(image: Tensor, patch_sizes: Sequence[int]) -> list[bytes]:
    """Draw one picture after the other into the same figure."""
    with style.context(STYLE):
        figure = Figure(figsize=(9, 3.8))
        axes = figure.subplot_mosaic("ps;pc", height_ratios=(1, 2), width_ratios=(3, 4))
        pictures = []
        for patch_size in patch_sizes:
            for ax in axes.values():
                ax.clear()
            _draw_grid(image, patch_size, axes["p"])
            _draw_sequence(_cut(image, patch_size), axes["s"])
            _draw_cost(patch_size, patch_sizes, image.shape[-1], axes["c"])
            pictures.append(_to_png(figure))
    return pictures


def _draw_grid(image: Tensor, patch_size: int, ax: Axes) -> None:
    rows = image.shape[-1] // patch_size
    _, lines = plot_grid(image, patch_size, ax, title=f"the grid: {rows} × {rows} patches")
    lines.set_linewidth(min(1.5, patch_size / 14))  # or a fine grid would hide the picture


def _draw_sequence(patches: np.ndarray, ax: Axes) -> None:
    shown, gap = patches[:LONGEST_LINE], max(1, patches.shape[-1] // 8)
    title = f"the sequence: patches 1 to {len(shown)} of {len(patches):,}"
    plot_tiles(shown, ax, per_row=len(shown), gap=gap, title=title)
    ax.set_anchor("W")


def _draw_cost(patch_size: int, patch_sizes: Sequence[int], side: int, ax: Axes) -> None:
    tokens = 1 + (side // patch_size) ** 2
    plot_cost(patch_sizes, side, ax)
    rings = {"color": "black", "fillstyle": "none", "markersize": 14, "clip_on": False}
    ax.plot([patch_size] * 2, [tokens, tokens**2], "o", **rings)
    ax.set_title(f"the cost: T = {tokens:,} tokens, T² = {tokens**2:,} pairs")
    ax.tick_params(axis="x", labelsize=8)


def _cut(image: Tensor, patch_size: int) -> np.ndarray:
    rows = image.shape[-1] // patch_size
    squares = np.asarray(image).reshape(-1, rows, patch_size, rows, patch_size)
    return squares.transpose(1, 3, 0, 2, 4).reshape(rows**2, -1, patch_size, patch_size)


def _tell_cost(patch_size: int, side: int) -> str:
    rows = side // patch_size
    tokens = 1 + rows**2
    return (
        f"patch_size {patch_size}: the picture is cut into {rows} × {rows} = {rows**2:,} patches. With the "
        f"CLS token that makes T = {tokens:,} tokens, and attention weighs T² = {tokens**2:,} pairs."
    )


def _similarity_figure(tables: dict[str, Tensor], grid: tuple[int, int], query: int) -> Figure:
    with style.context(STYLE):
        figure = Figure(figsize=(0.6 + 3.2 * len(tables), 3.2))
        axes = figure.subplots(1, len(tables), squeeze=False)[0]
        for (name, table), ax in zip(tables.items(), axes, strict=True):
            num_cls = len(table) - grid[0] * grid[1]
            places = np.asarray(table.detach().float().cpu())[query, num_cls:].reshape(grid)
            artist = ax.imshow(places, vmin=table.min(), vmax=table.max())
            row, col = divmod(query - num_cls, grid[1])
            ax.add_patch(Rectangle((col - 0.5, row - 0.5), 1, 1, fill=False, color="black", linewidth=3))
            ax.set_title(name)
            ax.axis("off")
            figure.colorbar(artist, ax=ax, shrink=0.8)
    return figure


def _with_mean(attention: Tensor) -> Tensor:
    weights = attention.detach().float()
    return torch.cat([weights.mean(dim=2, keepdim=True), weights], dim=2)


def _choices(attention: Tensor, labels: Sequence[str] | None) -> list[dict]:
    batch, depth, heads = attention.shape[:3]
    return [
        {"label": "image", "options": list(labels or map(str, range(batch)))},
        {"label": "layer", "options": [str(layer) for layer in range(depth)]},
        {"label": "head", "options": ["mean", *map(str, range(heads))]},
    ]


def _tell_start(label: str, layer: int, cls_map: Tensor) -> str:
    row, col = divmod(cls_map.argmax().item(), cls_map.shape[1])
    return (
        f"The image ({label}), and where its CLS token looks in layer {layer}, mean over heads: "
        f"of the patches, most at row {row}, column {col}."
    )


def _attention_figure(image: Tensor, maps: Tensor, names: list[str]) -> Figure:
    with style.context(STYLE):
        figure = Figure(figsize=(3 * (1 + len(maps)), 3.2))
        left, *others = figure.subplots(1, 1 + len(maps))
        plot_grid(image, image.shape[-1] // maps.shape[-1], left, title="the picture")
        for attention_map, name, ax in zip(maps, names, others, strict=True):
            title = f"where CLS looks {name}"
            plot_attention(attention_map, image, ax, title=title, limit=maps.max().item())
    return figure


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
        given = answer(image)
    if not isinstance(given, tuple) or not all(isinstance(part, Tensor) for part in given) or len(given) != 2:
        raise TypeError(f"answer must give two tensors (probabilities, attention map), got {given!r:.80}")
    _check_answer(*given, labels)
    return tuple(part.detach().float().cpu() for part in given)


def _reply(scores: Tensor, attention: Tensor, labels: Sequence[str]) -> dict:
    best, second = scores.argsort(descending=True)[:2]
    sentence = (
        f"The model says {labels[best]} ({scores[best]:.2f}), then {labels[second]} ({scores[second]:.2f})."
    )
    return {"scores": scores.tolist(), "attention": attention.tolist(), "sentence": sentence}


def _to_png(figure: Figure) -> bytes:
    rendered = BytesIO()
    figure.draw_without_rendering()  # a first layout leaves no room for titles over pictures, a second does
    figure.savefig(
        rendered, format="png", dpi=PICTURE_DPI, facecolor="white", pil_kwargs={"compress_level": 1}
    )
    figure.set_layout_engine("none")  # what is drawn next keeps its place
    return rendered.getvalue()


def _pack(picture: bytes) -> bytes:
    """Keep 255 colours of a picture, so that a notebook that stores it stays small."""
    packed = BytesIO()
    Image.open(BytesIO(picture)).convert("RGB").quantize(255).save(packed, format="png", optimize=True)
    return packed.getvalue()


def _screen_width(picture: bytes) -> int:
    width = int.from_bytes(picture[16:20], "big")  # a PNG's header holds its width there
    return round(width * SCREEN_DPI / PICTURE_DPI)


def _to_rgba(images: Tensor) -> bytes:
    rgb = (images.detach().cpu().float().clamp(0, 1) * 255).round().byte().expand(-1, 3, -1, -1)
    opaque = torch.full_like(rgb[:, :1], 255)
    return torch.cat([rgb, opaque], dim=1).permute(0, 2, 3, 1).contiguous().numpy().tobytes()


def _send(kind: str, tables: dict[str, Tensor], grid: tuple[int, int]) -> dict:
    """What the explorer's script must know of its tables, whose last two axes are tokens."""
    numbers = torch.stack(list(tables.values())).detach().float().cpu().numpy()
    return {
        "kind": kind,
        "grid": list(grid),
        "tokens": numbers.shape[-1],
        "names": list(tables),
        "table": numbers.astype("<f4").tobytes(),
    }


def _check_tensor(name: str, tensor: Tensor, axes: str) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name} must be a torch.Tensor, not {type(tensor).__name__}")
    if tensor.ndim != len(axes.split()):
        raise ValueError(f"{name} must have the axes ({axes}), got shape {tuple(tensor.shape)}")


def _check_real(name: str, tensor: Tensor) -> None:
    if tensor.is_meta:
        raise ValueError(f"{name} is on the meta device: it holds no numbers")
    if tensor.is_complex():
        raise TypeError(f"{name} must hold real numbers, got {tensor.dtype}")


def _check_finite(name: str, tensor: Tensor) -> None:
    _check_real(name, tensor)
    if not tensor.isfinite().all():
        raise ValueError(f"{name} holds NaN or infinity")


def _check_images(images: Tensor) -> None:
    _check_tensor("images", images, "batch channels height width")
    if images.shape[1] not in (1, 3):
        raise ValueError(f"images must have 1 or 3 channels, got {images.shape[1]}")
    _check_picture("images", images)


def _check_picture(name: str, pictures: Tensor) -> None:
    _check_finite(name, pictures)
    if not pictures.numel():
        raise ValueError(f"{name} holds no pixels: its shape is {tuple(pictures.shape)}")
    if pictures.min() < 0 or pictures.max() > 1:
        low, high = pictures.min().item(), pictures.max().item()
        raise ValueError(f"{name} must hold values in [0, 1], got {low:.3g} to {high:.3g}")


def _check_labels(labels: object) -> None:
    # A word is a list of names, too: one for each letter.
    if not isinstance(labels, Sequence) or not all(isinstance(name, str) for name in labels):
        raise TypeError(f"labels must be a list of names, got {labels!r:.80}")


def _check_square(image: Tensor) -> None:
    if not isinstance(image, Tensor):
        raise TypeError(f"image must be a torch.Tensor, not {type(image).__name__}")
    if image.ndim != 4 or len(image) != 1 or image.shape[1] not in (1, 3) or image.shape[2] != image.shape[3]:
        raise ValueError(
            "image must be one square picture, (1, 1 or 3 channels, side, side), "
            f"got shape {tuple(image.shape)}"
        )
    _check_picture("image", image)


def _check_integer(name: str, value: int) -> None:
    # To Python, True is an integer; here it never is what the caller meant.
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, got {value}")


def _read_patch_sizes(patch_sizes: Sequence[int], side: int) -> list[int]:
    if isinstance(patch_sizes, str) or not np.iterable(patch_sizes):
        raise TypeError(f"patch_sizes must be a list of integers, got {patch_sizes!r}")
    sizes = patch_sizes.tolist() if hasattr(patch_sizes, "tolist") else list(patch_sizes)
    if not sizes:
        raise ValueError("patch_sizes is empty")
    for patch_size in sizes:
        _check_integer("patch_size", patch_size)
        if side % patch_size:
            raise ValueError(f"image side {side} is not a multiple of patch_size {patch_size}")
    return sizes


def _check_grid(grid: tuple[int, int]) -> int:
    if not isinstance(grid, (tuple, list)) or len(grid) != 2:
        raise TypeError(f"grid must be (rows, cols), got {grid!r}")
    for axis, size in zip(("rows", "cols"), grid, strict=True):
        _check_integer(f"grid {axis}", size)
    return grid[0] * grid[1]


def _check_similarities(tables: dict[str, Tensor], grid: tuple[int, int]) -> int:
    patches = _check_grid(grid)
    if not tables:
        raise ValueError("similarity holds no table")
    for name, table in tables.items():
        if not isinstance(name, str):
            raise TypeError(f"similarity must name its tables, got the name {name!r}")
        _check_tensor("similarity", table, "tokens tokens")
        if table.shape not in ((patches,) * 2, (patches + 1,) * 2):
            raise ValueError(
                f"similarity has shape {tuple(table.shape)}, grid {tuple(grid)} needs {(patches, patches)}, "
                f"or {(patches + 1, patches + 1)} with CLS"
            )
        _check_finite("similarity", table)
    sizes = sorted({len(table) for table in tables.values()})
    if len(sizes) > 1:
        raise ValueError(f"similarity holds tables of {sizes[0]} and of {sizes[1]} tokens")
    return sizes[0]


def _check_explorer(
    images: Tensor, attention: Tensor, grid: tuple[int, int], labels: Sequence | None
) -> None:
    patches = _check_grid(grid)
    _check_images(images)
    _check_tensor("attention", attention, "batch depth heads tokens tokens")
    _check_finite("attention", attention)
    if attention.shape[3:] != (patches + 1, patches + 1):
        raise ValueError(
            f"attention has {attention.shape[3]} queries and {attention.shape[4]} keys, grid {tuple(grid)} "
            f"with the CLS token needs {patches + 1}"
        )
    for name, size in (("image", len(images)), ("layer", attention.shape[1]), ("head", attention.shape[2])):
        if not size:
            raise ValueError(f"there is nothing to explore: 0 {name}s")
    if len(attention) != len(images):
        raise ValueError(f"attention is for {len(attention)} images, images holds {len(images)}")
    if labels is not None:
        _check_labels(labels)
    if labels is not None and len(labels) != len(images):
        raise ValueError(f"labels names {len(labels)} images, images holds {len(images)}")
    height, width = images.shape[2:]
    if height % grid[0] or width % grid[1] or height // grid[0] != width // grid[1]:
        raise ValueError(f"images of {height} x {width} cannot be cut into a grid of {tuple(grid)} squares")


def _check_control(control: Tensor | None, attention: Tensor) -> None:
    if control is None:
        return
    _check_tensor("control", control, "batch depth heads tokens tokens")
    if control.shape != attention.shape:
        raise ValueError(f"control has shape {tuple(control.shape)}, attention {tuple(attention.shape)}")
    _check_finite("control", control)


def _check_pad(answer: Callable, image: Tensor, labels: Sequence[str]) -> None:
    if not callable(answer):
        raise TypeError(f"answer must be callable, not {type(answer).__name__}")
    _check_tensor("image", image, "1 1 height width")
    if image.shape[:2] != (1, 1):
        raise ValueError(f"image must be one grey picture, (1, 1, height, width), got {tuple(image.shape)}")
    _check_picture("image", image)
    _check_labels(labels)
    if len(labels) < 2:
        raise ValueError(f"labels must name at least 2 classes, got {len(labels)}")


def _check_answer(scores: Tensor, attention: Tensor, labels: Sequence[str]) -> None:
    _check_tensor("answer's probabilities", scores, "classes")
    _check_tensor("answer's attention map", attention, "rows cols")
    if len(scores) != len(labels):
        raise ValueError(f"answer gave {len(scores)} probabilities, there are {len(labels)} labels")
    _check_real("answer's probabilities", scores)
    _check_finite("answer's attention map", attention)
    if scores.min() < 0 or not abs(scores.sum() - 1) < 1e-3:
        raise ValueError(
            f"answer gave probabilities from {scores.min():.2f} that sum to {scores.sum():.2f}: they must be "
            "positive and sum to 1, as after a softmax"
        )
