"""What a model saw of a photograph, and the ways to look at that: shares of a row, or likeness to a place."""

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from vit_steps.doors import door, values
from vit_steps.files.writing import write_whole
from vit_steps.looking import _look_words as words
from vit_steps.looking._look_figure import draw_look, limits_of, outlined, png_of
from vit_steps.looking._on_photograph import Box, Drawn, draw_map
from vit_steps.looking._tokens import read_rows
from vit_steps.looking.attention_maps import attention_rollout
from vit_steps.looking.png import pack, screen_width
from vit_steps.vit import Trace, ViT

ENDINGS = (".png", ".html")


class View(NamedTuple):
    """One way to look: a number for each patch.

    Attributes:
        map: shares of one row, which sums to 1 with what is ``hidden``; or cosines, where a place was asked.
        control: the same of the untrained twin, where there is one.
        words: what the map is, a title.
        place: (row, col) of the patch that all are likened to, counted from 0; None where shares are shown.
        hidden: how much lies on the prefix (the CLS token and registers), which has no place in the picture.
    """

    map: Float[Tensor, "rows cols"]
    control: Float[Tensor, "rows cols"] | None
    words: str
    place: tuple[int, int] | None = None
    hidden: float = 0.0


NO_VIEW = View(torch.zeros(0, 0), None, "")  # until there is one


def _later(name: str, value: Any) -> None:
    """Leave an index to a rule that knows the model."""


def _has_it(self: "Look", layer: int | None, head: int | None) -> None:
    depth, heads = len(self.model.blocks), self.model.config["num_heads"]
    for name, value, number, things in (("layer", layer, depth, "blocks"), ("head", head, heads, "heads")):
        if value is not None and not -number <= values.integer(name, value, least=None) < number:
            raise ValueError(f"{name} {value} is out of range: the model has {number} {things}")


def _in_the_grid(self: "Look", row: int, col: int) -> None:
    for name, value, number, things in (
        ("row", row, self.grid[0], "rows"),
        ("col", col, self.grid[1], "columns"),
    ):
        if value >= number:
            raise ValueError(f"{name} {value} is out of range: the model has {number} {things} of patches")


def _in_the_box(self: "Look", across: int, down: int) -> None:
    (height, width), (left, top, right, bottom) = self.photograph.shape[:2], self.box
    for name, value, size, start, end in (
        ("across", across, width, left, right),
        ("down", down, height, top, bottom),
    ):
        if value >= size:
            raise ValueError(f"{name} must be at most {size - 1}, got {value}")
        if not start <= value + 0.5 < end:
            raise ValueError(f"{name} {value} was cropped away: the model got {start:.1f} to {end:.1f}")


@dataclass(frozen=True, eq=False, repr=False)
class Look:
    """What a model saw of a photograph, and one view of it; :func:`look` makes it.

    Each of ``rollout``, ``attention`` and ``likeness`` gives the same look with another ``view``. In Jupyter
    the last line of a cell shows its picture.

    Attributes:
        name: of the photograph.
        photograph: upright, as it was taken.
        box: (left, top, right, bottom) of what the model got of it, in its pixels; see ``Preprocess.box``.
        model: that looked.
        trace: all that the model did.
        control: the trace of an untrained twin, or None.
        answers: pairs of a class and its share, the most probable first; none where there is no head.
        tokens: of the model, and of its twin, as the head gets them: behind the final norm.
        view: what is drawn.
    """

    name: str
    photograph: UInt8[np.ndarray, "height width 3"]
    box: Box
    model: ViT
    trace: Trace
    control: Trace | None
    answers: tuple[tuple[str, float], ...]
    tokens: tuple[Tensor, ...]
    view: View = NO_VIEW

    @property
    def grid(self) -> tuple[int, int]:
        """(rows, cols) of patches within the box."""
        return self.model.grid

    def rollout(self) -> "Look":
        """From which patches was drawn what the head reads, through all blocks (arXiv 2005.00928).

        The view that a look begins with: followed through the blocks, attention says which patches the answer
        hangs on in our digits model, where the last block's alone says little (``removal_curve``, excursion
        A). How the row is read is how the model pools, as in ``attribution.answer_rollout``.
        """

        def read(trace: Trace) -> Tensor:
            return read_rows(self.model, attention_rollout(trace.attention), trace.pooling)[0]

        return self._with_rows(read, words.of_rollout(self.model))

    @door(_has_it, layer=_later, head=_later)
    def attention(self, *, layer: int | None = None, head: int | None = None) -> "Look":
        """Where the token looks that the head reads, in one block.

        What pools tokens pools their rows: the CLS token's is taken, those of patches are averaged.

        Args:
            layer: which block, counted from 0, or with negative numbers from the last. None is the last, or
                the probe behind it, where a model pools by attention.
            head: which head, counted likewise; None is the mean of them.

        Raises:
            ValueError: "layer 12 is out of range: the model has 12 blocks", and the same for ``head``.
            TypeError: a number is not an integer.
        """
        where = -1 if layer is None and self.model.pool != "attention" else layer

        def read(trace: Trace) -> Tensor:
            if where is None:
                return _of_heads(trace.pooling, head)[0, 0]
            return read_rows(self.model, _of_heads(trace.attention[:, where], head), trace.pooling)[0]

        return self._with_rows(read, words.of_attention(self.model, where, head))

    @door("row is at least 0", "col is at least 0", _in_the_grid)
    def likeness(self, row: int, col: int) -> "Look":
        """How like one patch all are behind the last block, as cosines of their tokens.

        Args:
            row: of the patch, counted from 0.
            col: likewise; :meth:`patch_at` finds both for a pixel of the photograph.

        Raises:
            ValueError: "row 14 is out of range: the model has 14 rows of patches", and the same for ``col``.
            TypeError: a number is not an integer.
        """
        maps = []
        for tokens in self.tokens:  # of the model, and of its twin
            patches = F.normalize(tokens[0, self.model.num_prefix :], dim=1)
            maps.append(_map(patches @ patches[row * self.grid[1] + col], self.grid))
        view = View(
            maps[0], maps[1] if self.control else None, words.of_likeness(self.model, (row, col)), (row, col)
        )
        return replace(self, view=view)

    @door("across is at least 0", "down is at least 0", _in_the_box)
    def patch_at(self, across: int, down: int) -> tuple[int, int]:
        """Which patch, (row, col) counted from 0, a pixel of the photograph belongs to.

        Args:
            across: column of the pixel, counted from 0.
            down: row of the pixel.

        Raises:
            ValueError: "across must be at most 450, got 500", "across 20 was cropped away: the model got
                75.5 to 375.5".
            TypeError: a number is not an integer.
        """
        left, top, right, bottom = self.box
        row = (down + 0.5 - top) / (bottom - top) * self.grid[0]
        col = (across + 0.5 - left) / (right - left) * self.grid[1]
        return min(int(row), self.grid[0] - 1), min(int(col), self.grid[1] - 1)

    @door()
    def plot(self, ax: Axes) -> Drawn:
        """Draw the view's map in its place on the photograph, which is faded where the model got none of it.

        Returns:
            The artists: ``photograph``, ``faded`` and ``map``; and for a likeness ``outline``.
        """
        asked = None if self.view.place is None else outlined(self.view)
        how = {"limits": limits_of(self.view, [self.view.map]), "outlined": asked}
        return draw_map(self.view.map.numpy(), self.photograph, self.box, ax, **how)

    def draw(self) -> Figure:
        """Draw all there is: the photograph, the map in its place, the untrained twin's, the answer."""
        return draw_look(self)

    def page(self) -> str:
        """Make one HTML page of all views, alive without a kernel and without a network."""
        from vit_steps.looking.explorer_page import explorer_page

        model, traces = self.model, (self.trace, self.control)
        # The page likens tokens; a look does it as the head gets them.
        own, *others = [
            trace._replace(encoded=tokens)
            for trace, tokens in zip(traces, self.tokens, strict=False)
            if trace is not None
        ]
        kind: dict[str, Any] = {"pool": model.pool, "class_token": model.cls_token is not None}
        kind |= {"num_prefix": model.num_prefix, "behind_norm": model.config["final_norm"] == "tokens"}
        said: dict[str, Any] = {
            "answers": self.answers,
            "title": self.name,
            "control": others[0] if others else None,
        }
        return explorer_page(self.photograph, self.box, self.grid, own, **kind, **said)

    @door()
    def save(self, path: str | os.PathLike) -> None:
        """Write the picture of this view, or a page with all views, at once and whole.

        Args:
            path: ends in ``.png`` or ``.html``; a file that is there is replaced.

        Raises:
            ValueError: "path must end in .png or .html, got 'map.jpg'".
            OSError: as ``files.writing.write_whole``.
        """
        ending = ending_of("path", path)
        content = self.page().encode() if ending == ".html" else png_of(self.draw(), str(self))
        write_whole(path, lambda draft: draft.write_bytes(content))

    def __str__(self) -> str:
        """Say what the picture shows, for who cannot see it."""
        return words.of_look(self)

    __repr__ = __str__

    def _repr_mimebundle_(self, **_: Any) -> tuple[dict, dict]:
        picture = pack(png_of(self.draw(), str(self)))  # a notebook keeps it
        shown = {"alt": str(self), "width": screen_width(picture)}
        return {"text/plain": str(self), "image/png": picture}, {"image/png": shown}

    def _with_rows(self, read: Callable[[Trace], Tensor], title: str) -> "Look":
        rows = [read(trace) for trace in (self.trace, self.control) if trace is not None]
        patches = self.grid[0] * self.grid[1]
        maps = [_map(row[-patches:], self.grid) for row in rows]
        return self._with_maps(maps, title, hidden=rows[0][:-patches].sum().item())

    def _with_maps(self, maps: list[Tensor], title: str, **more: Any) -> "Look":
        control = maps[1] if self.control is not None else None
        return replace(self, view=View(maps[0], control, title, **more))


def ending_of(name: str, path: str | os.PathLike) -> str:
    """What kind of file is to be written, by the ending of its name.

    Raises:
        ValueError: "path must end in .png or .html, got 'map.jpg'".
    """
    ending = Path(values.path(name, path)).suffix.lower()
    if ending not in ENDINGS:
        raise ValueError(f"{name} must end in {' or '.join(ENDINGS)}, got {os.fsdecode(path)!r}")
    return ending


def _of_heads(weights: Tensor, head: int | None) -> Tensor:
    """Of (batch, heads, queries, keys) one head, or their mean."""
    return weights.mean(dim=1) if head is None else weights[:, head]


def _map(row: Tensor, grid: tuple[int, int]) -> Tensor:
    return row.detach().cpu().float().unflatten(0, grid)
