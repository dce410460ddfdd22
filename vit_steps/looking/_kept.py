"""Attention as a page keeps it: rounded to few bits, packed, and read again to say by how much it is off."""

import base64
import zlib
from typing import NamedTuple

import numpy as np

OCTAVE = 2048  # how finely the largest weight of a row is told: that many parts of a factor of two
PARTS = 2**16 - 1


class Kept(NamedTuple):
    """Rows of weights. Those on patches are steps of the largest of their row, so that few bits are enough.

    Attributes:
        levels: (..., patches), whole numbers up to ``steps``.
        peaks: (...), how many parts of an octave the largest of a row lies below ``top``, rounded up.
        before: (..., num_cls), the weight on the CLS token, in parts of ``most``: it may be larger by far.
        top: the largest weight on a patch.
        most: the largest weight on the CLS token.
        steps: how many steps make the largest of a row.
    """

    levels: np.ndarray
    peaks: np.ndarray
    before: np.ndarray
    top: float
    most: float
    steps: int


class Off(NamedTuple):
    """By how much what is drawn is off at most: as a share of all attention, and of the row's largest."""

    at_most: float
    of_largest: float


def keep(rows: np.ndarray, bits: int, num_cls: int) -> Kept:
    """Round rows (..., num_cls + patches) of weights that are not negative."""
    before, patches = rows[..., :num_cls], rows[..., num_cls:]
    steps, largest = 2**bits - 1, patches.max(axis=-1)
    top, most = float(largest.max(initial=0)) or 1.0, float(before.max(initial=0)) or 1.0
    below = OCTAVE * np.log2(top / np.maximum(largest, top * 2.0**-31))
    peaks = np.floor(below).astype(np.uint16)
    levels = np.rint(patches * (steps / _peak(peaks, top))[..., None]).astype(np.uint8)
    return Kept(levels, peaks, np.rint(before * (PARTS / most)).astype(np.uint16), top, most, steps)


def read(kept: Kept) -> np.ndarray:
    """The rows as the page draws them."""
    patches = kept.levels * (_peak(kept.peaks, kept.top) / kept.steps)[..., None]
    return np.concatenate([kept.before * np.float32(kept.most / PARTS), patches], axis=-1)


def off(drawn: np.ndarray, true: np.ndarray, num_cls: int) -> Off:
    """Compare what is drawn with what is true."""
    apart = np.abs(drawn - true)
    largest = np.maximum(true[..., num_cls:].max(axis=-1), 1e-12)
    return Off(float(apart.max()), float((apart[..., num_cls:].max(axis=-1) / largest).max()))


def pack(kept: Kept) -> dict:
    """What JSON can hold, and ``explorer_page.js`` reads."""
    numbers = {"top": kept.top, "most": kept.most, "steps": kept.steps}
    return numbers | {name: packed(getattr(kept, name)) for name in ("levels", "peaks", "before")}


def packed(array: np.ndarray) -> str:
    """Deflated, and written in letters."""
    little = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    return base64.b64encode(zlib.compress(little.tobytes(), 6)).decode()


def _peak(peaks: np.ndarray, top: float) -> np.ndarray:
    return (top * 2.0 ** (-peaks.astype(np.float32) / OCTAVE)).astype(np.float32)
