"""What a page of the explorer keeps of a trace: as many rows, with as many bits, as fit into its size."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from vit_steps.looking._for_browsers import few_components
from vit_steps.looking._kept import Kept, Off, keep, off, pack, packed, read
from vit_steps.looking.attention_maps import attention_rollout
from vit_steps.vit import Trace

TOLERANCE = 0.01  # of a cosine
MOST_OF_ALL = 0.08  # of the page, for the tokens' components
SURE = 0.95  # of what some rows foretell, all rows take at least
BITS = (8, 7, 6, 5, 4, 3)
# The mean of few-bit rows would be off by more than each, so that it is kept as well: (heads, mean).
WITH_MEAN = ((8, 8), (7, 7), (6, 7), (5, 6), (4, 6), (3, 6), (3, 5), (3, 4))


class Seen(NamedTuple):
    """The maps of one trace; of its tokens the page shows the CLS token, where there is one, and the patches.

    Attributes:
        attention: (depth, heads, all tokens, all tokens).
        shown: the numbers of the tokens that are shown: registers are not.
        mean: (depth, tokens, tokens), over heads.
        rollout: (tokens, tokens), through all blocks, with the registers' part in it.
        answer: (1, tokens), the rollout of what the head reads, where that is not the CLS token alone.
        pooling: (heads, tokens), how much the probe looks at each, where a model pools by attention.
        directions: (tokens, components), in whole numbers, whose cosines are those of the tokens.
        off: by how much such a cosine is off at most.
    """

    attention: Tensor
    shown: list[int]
    mean: np.ndarray
    rollout: np.ndarray
    answer: np.ndarray | None
    pooling: np.ndarray | None
    directions: Tensor
    off: float

    def heads(self, some: slice) -> np.ndarray:
        """Rows of every head, (depth, heads, rows, tokens); a copy of all may be large."""
        rows = self.attention[:, :, self.shown[some]]
        return _array(rows[..., self.shown])

    def rows(self, name: str, which: str) -> np.ndarray:
        """Rows of a map, as they are."""
        some = slice(None) if which == "all" else slice(1)
        return self.heads(some) if name == "heads" else getattr(self, name)[some]


class Rows(NamedTuple):
    """Which rows of a map are kept, "all" or those of the "cls" token, and with how many bits a weight."""

    which: str
    bits: int


class Plan(NamedTuple):
    """What is kept of each kind of map; None is nothing; a mean may come from the heads."""

    heads: Rows | None
    mean: Rows | None
    rollout: Rows | None


class Fitted(NamedTuple):
    """What became of a plan: of each map its rows, a table for each trace, and how far it is off."""

    rows: dict[str, Rows]
    tables: dict[str, list[dict]]
    off: dict[str, Off]


def see(trace: Trace, num_prefix: int, num_cls: int, pool: str, limit: int) -> Seen:
    """Compute the maps of a trace."""
    attention = trace.attention[0].detach().cpu()
    attention = attention.float() if attention.element_size() < 4 else attention
    shown = [*range(num_cls), *range(num_prefix, attention.shape[-1])]
    rolled = attention_rollout(attention[None])[0]
    most = int(MOST_OF_ALL * limit * 3 / 4 / 2 / len(shown))  # base64, and two bytes a number
    directions, far = few_components(trace.encoded[0, shown].detach().cpu(), TOLERANCE, most)
    probe = None if trace.pooling is None else trace.pooling[0, :, 0].detach().cpu().to(attention)
    answer = None if pool == "cls" else _array(_answer(rolled, probe, num_prefix, pool)[None, shown])
    mean = _array(attention.mean(dim=1)[:, shown][..., shown])
    pooling = None if probe is None else _array(F.pad(probe, (num_cls, 0)))
    return Seen(attention, shown, mean, _array(rolled[shown][:, shown]), answer, pooling, directions, far)


def _answer(rolled: Tensor, probe: Tensor | None, num_prefix: int, pool: str) -> Tensor:
    """The rows of a rollout pooled as the tokens are."""
    if probe is not None:
        return probe.mean(dim=0) @ rolled[num_prefix:]
    if pool == "cls+mean":
        return (rolled[0] + rolled[num_prefix:].mean(dim=0)) / 2
    if pool == "cls+register":
        return rolled[:2].mean(dim=0)
    return rolled[0 if pool == "mean_all" else num_prefix :].mean(dim=0)


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().float().numpy()


def fit(several: Sequence[Seen], num_cls: int, limit: int) -> Fitted:
    """Keep as much as takes at most so many letters of a page."""
    known: dict[tuple[str, Rows], list[tuple[Kept, dict]]] = {}
    for plan in _plans(num_cls):
        if _hopeless(several, num_cls, plan, limit):
            continue
        rows = _named(plan, several[0])
        for name, each in rows.items():
            if (name, each) not in known:
                known[name, each] = [_round(seen, name, each, num_cls) for seen in several]
        tables = {name: [packed for _, packed in known[name, each]] for name, each in rows.items()}
        if _letters(tables) <= limit:
            break
    rounded = {name: known[name, each] for name, each in rows.items()}
    return Fitted(rows, tables, _far_off(several, rows, rounded, num_cls))


def _plans(num_cls: int) -> Iterator[Plan]:
    """The best first: all of every head, then of their means, then of the rollout alone."""
    cls = Rows("cls", 8) if num_cls else None
    for heads, mean in WITH_MEAN:
        yield Plan(Rows("all", heads), Rows("all", mean), Rows("all", 8))
    for bits in BITS:
        yield Plan(cls, Rows("all", bits), Rows("all", 8))
    for bits in BITS:
        yield Plan(cls, None, Rows("all", bits))
    yield Plan(cls, None, cls)
    yield Plan(None, None, cls)


def _hopeless(several: Sequence[Seen], num_cls: int, plan: Plan, limit: int) -> bool:
    """Whether some rows foretell that all rows of the heads and of their mean will not fit."""
    wanted = (("heads", plan.heads), ("mean", plan.mean))
    tables = [(name, rows.bits) for name, rows in wanted if rows and rows.which == "all"]
    foretold = sum(_foretold(seen, *table, num_cls) for seen in several for table in tables)
    return foretold > 0 and SURE * foretold > limit


def _foretold(seen: Seen, name: str, bits: int, num_cls: int) -> float:
    """About how many letters all rows of a map will take, by every so many of them."""
    some = slice(None, None, max(1, len(seen.shown) // 16))
    rows = seen.heads(some) if name == "heads" else seen.mean[:, some]
    return len(packed(keep(rows, bits, num_cls).levels)) * len(seen.shown) / rows.shape[-2]


def _named(plan: Plan, seen: Seen) -> dict[str, Rows]:
    """What is kept, under the name of the map."""
    maps = plan._asdict() | {"answer": seen.answer, "pooling": seen.pooling}
    own = {name: each for name, each in maps.items() if each is not None}
    return {name: each if isinstance(each, Rows) else Rows("all", 8) for name, each in own.items()}


def _round(seen: Seen, name: str, rows: Rows, num_cls: int) -> tuple[Kept, dict]:
    rounded = keep(seen.rows(name, rows.which), rows.bits, num_cls)
    return rounded, pack(rounded)


def _letters(tables: dict[str, list[dict]]) -> int:
    parts = (part for ours in tables.values() for table in ours for part in table.values())
    return sum(len(part) for part in parts if isinstance(part, str))


def _far_off(
    several: Sequence[Seen], rows: dict[str, Rows], rounded: dict[str, list[tuple[Kept, dict]]], num_cls: int
) -> dict[str, Off]:
    """How far off each map is, in the trace where it is most."""
    found: dict[str, list[Off]] = {}
    for name, ours in rounded.items():
        for seen, (table, _) in zip(several, ours, strict=True):
            drawn, true = read(table), seen.rows(name, rows[name].which)
            found.setdefault(name, []).append(off(drawn, true, num_cls))
            if name == "heads" and "mean" not in rows:
                found.setdefault("mean", []).append(off(drawn.mean(axis=1), true.mean(axis=1), num_cls))
    return {name: Off(*map(max, zip(*each, strict=True))) for name, each in found.items()}
