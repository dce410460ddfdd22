"""The explorer as one file: a photograph and what a model saw of it, alive without a kernel or a network."""

import base64
import json
from collections.abc import Sequence
from functools import partial
from html import escape
from pathlib import Path
from string import Template
from typing import Any

import numpy as np
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from vit_steps.doors import door, judge, values
from vit_steps.looking._drawable import read_scores
from vit_steps.looking._for_browsers import CIVIDIS, as_bytes, cosines, picture_file
from vit_steps.looking._kept import packed
from vit_steps.looking._page_data import Fitted, Seen, fit, see
from vit_steps.looking._page_words import opening, what_is_kept
from vit_steps.looking.attention_maps import PREFIX
from vit_steps.vit import NEEDS, Pool, Trace

Side = int | float
Box = tuple[Side, Side, Side, Side]
HERE = Path(__file__).parent
LIMIT = 3_000_000  # bytes of a page
FOR_WORDS = 4000  # of them, what the page says of itself
MOST_DRAWN = 1024  # pixels on the photograph's longer side
DAZZLES = 3  # times as much as the brightest in fifty
MAPS = {"answer": "rollout of the answer", "rollout": "rollout", "heads": "attention in a block"}
MAPS |= {"pooling": "the probe that pools", "likeness": "likeness of tokens"}


def _of_a_photograph(photograph: np.ndarray, box: object) -> None:
    if photograph.dtype != np.uint8:
        raise TypeError(f"photograph must hold 8-bit numbers, uint8, got {photograph.dtype}")
    if photograph.ndim != 3 or photograph.shape[2] != 3 or not photograph.size:
        raise ValueError(f"photograph must have the axes (height width 3), got shape {photograph.shape}")
    if not isinstance(box, (tuple, list)) or len(box) != 4:
        raise TypeError(f"box must be (left, top, right, bottom), got {box!r:.80}")
    left, top, right, bottom = (values.number(f"each of box {box!r}", each) for each in box)
    height, width = photograph.shape[:2]
    if not (0 <= left < right <= width and 0 <= top < bottom <= height):
        raise ValueError(f"box must lie in the photograph, 0 to {width} and 0 to {height}, got {tuple(box)}")


def _of_one_image(trace: Trace, control: Trace | None, grid: tuple[int, int], num_prefix: int) -> None:
    for name, each in (("trace", trace), ("control", control)):
        if each is None:
            continue
        judge(f"{name}.attention", each.attention, Float[Tensor, "1 depth heads tokens tokens"])
        _as_many_tokens(name, each.attention.shape[-1], grid, num_prefix)
        judge(f"{name}.encoded", each.encoded, Float[Tensor, f"1 {each.attention.shape[-1]} dim"])
        for part in ("attention", "encoded"):
            if not values.finite(f"{name}.{part}", getattr(each, part)).numel():
                raise ValueError(f"{name}.{part} is empty: its shape is {tuple(getattr(each, part).shape)}")
        values.between(f"{name}.attention", each.attention, 0, 1)
        _of_a_probe(name, each, grid[0] * grid[1])


def _as_many_tokens(name: str, tokens: int, grid: tuple[int, int], num_prefix: int) -> None:
    (rows, cols), needed = grid, num_prefix + grid[0] * grid[1]
    if tokens != needed:
        raise ValueError(
            f"{name}.attention has {tokens} tokens, num_prefix {num_prefix} + grid rows {rows} * "
            f"grid cols {cols} is {needed}"
        )


def _of_a_probe(name: str, trace: Trace, patches: int) -> None:
    if trace.pooling is not None:
        judge(f"{name}.pooling", trace.pooling, Float[Tensor, f"1 {trace.attention.shape[2]} 1 {patches}"])
        values.between(f"{name}.pooling", values.finite(f"{name}.pooling", trace.pooling), 0, 1)


def _of_one_kind(trace: Trace, control: Trace | None, pool: str | None) -> None:
    if control is not None:
        shapes = [tuple(each.attention.shape) for each in (trace, control)]
        if shapes[0] != shapes[1]:
            raise ValueError(f"trace.attention has shape {shapes[0]}, control.attention has {shapes[1]}")
        if (trace.pooling is None) != (control.pooling is None):
            raise ValueError("control and trace must both have pooling, or neither")
    if pool is not None and (pool == "attention") != (trace.pooling is not None):
        has = "no pooling" if trace.pooling is None else "pooling"
        raise ValueError(f"pool is {pool!r}, and trace has {has}")


def _has_what_is_read(pool: str | None, num_prefix: int, class_token: bool) -> None:
    has = num_prefix if class_token else 0
    if NEEDS.get(pool or "", 0) > has:
        raise ValueError(
            f"pool {pool!r} reads a CLS token, num_prefix is {num_prefix}, class_token {class_token}"
        )


@door(
    PREFIX,
    _of_a_photograph,
    _of_one_image,
    _of_one_kind,
    _has_what_is_read,
    lambda answers: read_scores(answers) if len(values.sequence("answers", answers, "pairs")) else None,
)
def explorer_page(
    photograph: np.ndarray,
    box: Box,
    grid: tuple[int, int],
    trace: Trace,
    *,
    num_prefix: int,
    answers: Sequence[tuple[str, float]] = (),
    control: Trace | None = None,
    title: str,
    pool: Pool | None = None,
    class_token: bool = True,
    behind_norm: bool = False,
) -> str:
    """Make one HTML page of all that a model saw of a photograph: to be pointed at, or walked with the keys.

    It needs no kernel and no network, also from a folder on disk, and is at most 3 MB: of the attention as
    many rows are kept with as many bits as fit. The page says how many, and by how much what it draws is off
    at most. It opens on the rollout of what the head reads. Registers are in no map.

    Args:
        photograph: (height, width, 3), uint8, as it was taken; a large one is scaled down.
        box: left, top, right and bottom, in its pixels, of what the model was given; the rest is dimmed.
        grid: (rows, cols) of patches within the box.
        trace: of this one image, with the attention of all blocks, as ``ViT.trace`` gives it.
        num_prefix: tokens before the patches.
        answers: pairs of a class and its probability, where there is a head.
        control: the trace of an untrained model, drawn beside it on the same scale.
        title: of the page.
        pool: how the answer is read, as ``ViT`` has it. When left out: by attention where the trace has
            ``pooling``, from the CLS token where there is one, and else the mean of the patches.
        class_token: whether the first token of the prefix is a CLS token; False where all are registers.
        behind_norm: whether ``encoded`` was put through the final norm; the page says so.

    Raises:
        ValueError: "trace.attention has 17 tokens, num_prefix 1 + grid rows 3 * grid cols 4 is 13",
            "trace.attention must have the axes (1 depth heads tokens tokens), got shape (2, 4, 4, 17, 17)",
            "photograph must have the axes (height width 3), got shape (8, 8)", "box must lie in the
            photograph, 0 to 8 and 0 to 6, got (0, 0, 9, 6)", "control and trace must both have pooling, or
            neither", "pool 'cls' reads a CLS token, num_prefix is 0, class_token True".
        TypeError: "photograph must hold 8-bit numbers, uint8, got float32", or another type.
    """
    num_cls = int(class_token and num_prefix > 0)
    pool = pool or ("attention" if trace.pooling is not None else "cls" if num_cls else "mean")
    several = [see(each, num_prefix, num_cls, pool, LIMIT) for each in (trace, control) if each is not None]
    fixed = _framed(photograph, box) | _alike(several, grid, num_cls)
    page = partial(_page, title=title, answers=answers, opening=opening(pool))
    used = len(page(said=[], data=fixed).encode()) + FOR_WORDS
    fitted = fit(several, num_cls, LIMIT - used)
    widths = trace.encoded.shape[-1], several[0].directions.shape[-1]
    said = what_is_kept(fitted, several, widths, num_prefix - num_cls, behind_norm)
    return page(said=said, data=fixed | _kept(fitted, several[0], num_cls))


def _framed(photograph: np.ndarray, box: Box) -> dict[str, Any]:
    """The photograph as it is drawn, and the box in its pixels."""
    picture = Image.fromarray(photograph)
    share = min(1, MOST_DRAWN / max(picture.size))
    if share < 1:
        size = [max(1, round(side * share)) for side in picture.size]
        picture = picture.resize(size, Image.Resampling.LANCZOS)
    across, down = (new / old for new, old in zip(picture.size, photograph.shape[1::-1], strict=True))
    scaled = [side * scale for side, scale in zip(map(float, box), (across, down) * 2, strict=True)]
    return {"picture": _letters(picture_file(np.asarray(picture))), "box": scaled}


def _alike(several: list[Seen], grid: tuple[int, int], num_cls: int) -> dict[str, Any]:
    """What does not hang on how many bits there are: the tokens, and what they are called."""
    rows, cols = map(int, grid)
    vectors = np.frombuffer(as_bytes([seen.directions for seen in several]), dtype="<i2")
    least = min(cosines(seen.directions[num_cls:]).min().item() for seen in several)
    return {
        "rows": rows,
        "cols": cols,
        "tokens": num_cls + rows * cols,
        "names": ["in the model", "in the control"][: len(several)],
        "query": 0 if num_cls else rows // 2 * cols + cols // 2,
        "directions": packed(vectors),
        "limits": [least, 1.0],
        "colours": _letters(CIVIDIS),
    }


def _kept(fitted: Fitted, seen: Seen, num_cls: int) -> dict[str, Any]:
    """The tables, and what there is to choose."""
    depth, heads = seen.attention.shape[:2]
    maps = [name for name in MAPS if name in fitted.tables or name == "likeness"]
    if "mean" in fitted.tables and "heads" not in maps:
        maps.insert(-1, "heads")
    each_head = list(map(str, range(1, heads + 1))) if {"heads", "pooling"} & {*fitted.tables} else []
    choices = [{"label": "map", "options": [MAPS[name] for name in maps]}]
    choices.append({"label": "block", "options": list(map(str, range(1, depth + 1)))})
    choices.append({"label": "head", "options": ["mean", *each_head]})
    choices.append({"label": "scale", "options": ["to the brightest patch", "one patch in fifty beyond"]})
    chosen = [0, depth - 1, 0, int(_is_dazzled(seen, num_cls))]
    found = {"maps": maps, "choices": choices, "chosen": chosen, "depth": depth, "heads": heads}
    return found | {"tables": fitted.tables, "kept": {name: rows.which for name, rows in fitted.rows.items()}}


def _is_dazzled(seen: Seen, num_cls: int) -> bool:
    """Whether one patch would leave no colour to the others in the view that the page opens with."""
    row = np.sort((seen.rollout if seen.answer is None else seen.answer)[0, num_cls:])
    return bool(row[-1] > DAZZLES * row[-1 - len(row) // 50] > 0)


def _page(*, title: str, answers: Sequence, opening: str, said: list[str], data: dict) -> str:
    parts = {name: _file(f"explorer_page.{name}") for name in ("html", "css", "js")}
    script = _file("widgets/explorer.js").replace("export default { render };\n", "") + parts["js"]
    return Template(parts["html"]).substitute(
        title=escape(title),
        style=_file("widgets/widgets.css") + parts["css"],
        answers=_list_of(answers),
        opening=escape(opening),
        said="\n".join(f"<li>{escape(line)}</li>" for line in said),
        data=json.dumps(data).replace("<", "\\u003c"),
        script=script,
    )


def _list_of(answers: Sequence) -> str:
    if not len(answers):
        return ""
    rows = [
        f'<li><span>{escape(label)}</span><meter value="{share:.4f}" aria-label="{escape(label)}"></meter>'
        f"<span>{share:.2f}</span></li>"
        for label, share in zip(*read_scores(answers), strict=True)
    ]
    return f'<div class="answers vit-steps"><h2>The answer</h2><ol>{"".join(rows)}</ol></div>'


def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _letters(content: bytes) -> str:
    return base64.b64encode(content).decode()
