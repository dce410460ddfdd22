"""What the exercises of lesson 3 are held against: positions on a line, alike ones, swapped ones."""

import math
from typing import Any

import torch
from torch import Tensor

from vit_steps.lessons._verdict import (
    NOT_YET,
    Fault,
    Grade,
    check,
    find_fault,
    random_tensor,
    verdict,
)
from vit_steps.position_embedding import position_similarity, sincos_position


@check
def check_sincos_1d(answer: Any, pairs: Any) -> Grade:
    """Check positions along one line, and the pairs of patches that they take for neighbours.

    Args:
        answer: function (num_places, dim) -> table, [sin(place * omega), cos(place * omega)] in each row.
        pairs: of the 49 patches of a 7 × 7 grid, those that are neighbours on the line and not on the grid.
    """
    cases = {f"{places} places, dim {dim}": (places, dim) for places, dim in ((49, 64), (10, 6))}
    fault = find_fault(answer, _sincos_1d, cases, SINCOS_1D_MISTAKES, yourself=[sincos_position])
    fault = fault or _find_wrong_pair(pairs)
    return verdict(fault, "the table equals the formula, and six pairs break at the end of a row")


def _sincos_1d(num_places: int, dim: int, waves: float = 0.5, first: int = 0) -> Tensor:
    omega = 10_000.0 ** (-torch.arange(dim // 2, dtype=torch.float64) / (dim * waves))
    angles = (first + torch.arange(num_places))[:, None] * omega
    return torch.cat([angles.sin(), angles.cos()], dim=1)


SINCOS_1D_MISTAKES = {
    "your waves take turns (sin, cos, sin, cos, …); here all sines come first, then all cosines": (
        lambda places, dim: _sincos_1d(places, dim).unflatten(1, (2, -1)).transpose(1, 2).flatten(1)
    ),
    "your cosines come first, then the sines": (
        lambda places, dim: _sincos_1d(places, dim).roll(dim // 2, dims=1)
    ),
    "you divide k by dim; there are dim / 2 waves, so k runs up to dim / 2": (
        lambda places, dim: _sincos_1d(places, dim, waves=1.0)
    ),
    "you divide k by dim / 4; that is for two axes, and here is one": (
        lambda places, dim: _sincos_1d(places, dim, waves=0.25)
    ),
    "your places start at 1; the first place is 0": lambda places, dim: _sincos_1d(places, dim, first=1),
    "the cosines are missing": lambda places, dim: _sincos_1d(places, dim)[:, : dim // 2],
    "this is the transpose: one row for each place": lambda places, dim: _sincos_1d(places, dim).T,
}


def _find_wrong_pair(pairs: Any, side: int = 7) -> str | None:
    if pairs is None:
        return Fault("not yet: your table is right, but the pairs are None", NOT_YET)
    try:
        found = {tuple(sorted((int(first), int(second)))) for first, second in pairs}
    except Exception:
        return "wrong: your table is right, but the pairs are no list such as [(0, 1), (1, 2)]"
    for pair in sorted(found):
        if why := _why_not(*pair, side=side):
            return Fault(f"wrong: your table is right, but not the pair {pair}: {why}", f"a pair: {why}")
    for end in range(side - 1, side * side - 1, side):
        if (end, end + 1) not in found:
            missing = f"wrong: your table is right, but the pair {(end, end + 1)} is missing"
            return Fault(missing, "your table is right, but a pair is missing")
    return None


def _why_not(first: int, second: int, side: int) -> str | None:
    if first < 0 or second >= side * side:
        return f"the places go from 0 to {side * side - 1}"
    if second - first == side:
        return "they are neighbours on the grid, one above the other, and the line is what keeps them apart"
    if second - first != 1:
        return "on the line they are not neighbours"
    return None if second % side == 0 else "on the grid they are neighbours, side by side"


@check
def check_most_alike(answer: Any) -> Grade:
    """Check which patch has the position that is most like that of a given one.

    Args:
        answer: function (table, place) -> row of the table; neither ``place`` nor row 0, the CLS token's.
    """
    cases = {f"row {place} of a random table": (_trap_table(place), place) for place in (1, 4, 11, 15)}
    fault = find_fault(answer, _most_alike, cases, MOST_ALIKE_MISTAKES)
    return verdict(fault, "the largest cosine among the other patches, in four random tables")


def _trap_table(place: int) -> Tensor:
    """Draw rows that grow longer and longer, and point the CLS token's nearly where ``place`` points."""
    table = torch.arange(1, 17)[:, None] * random_tensor(16, 8, seed=place)
    table[0] = 1.5 * table[place] + 0.1 * table[0]
    return table


def _most_alike(table: Tensor, place: int, leave_out: tuple[int, ...] = (0,)) -> Tensor:
    return _best(position_similarity(table)[place], [place, *leave_out])


def _best(scores: Tensor, leave_out: list[int]) -> Tensor:
    return scores.index_fill(0, torch.tensor(leave_out), -math.inf).argmax()


MOST_ALIKE_MISTAKES = {
    "you found the patch itself: leave it out": lambda table, place: torch.tensor(place),
    "you found the CLS token: row 0 is no patch, leave it out": (
        lambda table, place: _most_alike(table, place, leave_out=())
    ),
    "you are one off: add the CLS token's row, which you cut off in front, to the index again": (
        lambda table, place: _most_alike(table, place) - 1
    ),
    "you took the largest product, in which long rows win; divide by the lengths": (
        lambda table, place: _best(table @ table[place], [0, place])
    ),
    "you took the smallest distance, in which short rows win; alike means pointing the same way": (
        lambda table, place: _best(-torch.cdist(table, table[place][None])[:, 0], [0, place])
    ),
    "you found the one that is least like it": (
        lambda table, place: _best(-position_similarity(table)[place], [0, place])
    ),
    "you took the largest absolute cosine; a row that points the opposite way is not alike": (
        lambda table, place: _best(position_similarity(table)[place].abs(), [0, place])
    ),
}


@check
def check_swap_positions(answer: Any) -> Grade:
    """Check a table of positions with two rows swapped, and that the original is as it was.

    Args:
        answer: function (table, first, second) -> a new table.
    """
    table = random_tensor(17, 6)
    cases = {f"rows {pair[0]} and {pair[1]}": (table, *pair) for pair in ((1, 16), (9, 3))}
    fault = find_fault(answer, _swap_rows, cases, SWAP_POSITIONS_MISTAKES)
    return verdict(fault, "two rows have changed places, and the table you were given is as it was")


def _swap_rows(table: Tensor, first: int, second: int) -> Tensor:
    order = torch.arange(len(table))
    order[first], order[second] = second, first
    return table[order]


SWAP_POSITIONS_MISTAKES = {
    "both rows are the same now: table[first] is a window into the table, not a copy, and shows what was "
    "written meanwhile": (
        lambda table, first, second: table.index_copy(0, torch.tensor([first]), table[second][None])
    ),
    "both rows are the same now: you wrote the first over the second": (
        lambda table, first, second: table.index_copy(0, torch.tensor([second]), table[first][None])
    ),
    "nothing has changed": lambda table, first, second: table,
    "you add 1 for the CLS token, but first and second count rows of the table, its own among them": (
        lambda table, first, second: _swap_rows(table, first + 1, second + 1)
    ),
    "these are the two rows alone; give the whole table": (
        lambda table, first, second: table[[second, first]]
    ),
}
