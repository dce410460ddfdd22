"""A relation of numbers, said in words: "image height is a multiple of patch_size".

Names of arguments stand for themselves, "image height" is an axis of an argument, "number of tokens" the axis
of that name. ``+ - * /`` and "squared" mean what they mean at school. Behind a colon stands why.
"""

import re
from collections.abc import Callable
from typing import NamedTuple

Sizes = dict[str, int | float]

RELATIONS: dict[str, Callable[[int, int], bool]] = {
    # A multiple counts from one: no pixels are no multiple of a patch.
    "is a multiple of": lambda left, right: left >= right and left % right == 0,
    "is 0 or a multiple of": lambda left, right: left >= 0 and left % right == 0,
    "is an index of": lambda left, right: -right <= left < right,
    "is at least": lambda left, right: left >= right,
    "is at most": lambda left, right: left <= right,
    "is below": lambda left, right: left < right,
    "is": lambda left, right: left == right,
}
REFUSED = {
    "is a multiple of": "{left} is not a multiple of {right}",
    "is 0 or a multiple of": "{left} is neither 0 nor a multiple of {right}",
    "is an index of": "{left} is out of range: {what} is {number}",
    "is at least": "{left} is less than {right}",
    "is at most": "{left} is more than {right}",
    "is below": "{left} is not below {right}",
    "is": "{left} is not {right}",
}
BOUNDS = {"is at least": "at least", "is at most": "at most", "is below": "below"}
OPERATIONS: tuple[dict[str, Callable[[int, int], int]], ...] = (
    {"+": lambda a, b: a + b, "-": lambda a, b: a - b},
    {"*": lambda a, b: a * b, "/": lambda a, b: a // b},
)


class Expression(NamedTuple):
    """One side of a sentence: its value, and how it reads with the numbers in it."""

    text: str
    terms: tuple[str, ...]
    value: Callable[[Sizes], int]

    def tell(self, sizes: Sizes) -> str:
        """Every name with its number, and what comes of it where there is something to compute."""
        if not self.terms:
            return self.text
        told = re.sub("|".join(self.terms), lambda term: f"{term[0]} {sizes[term[0]]}", self.text)
        return told if self.text in self.terms else f"{told} = {self.value(sizes)}"


class Sentence(NamedTuple):
    """What has to be true of the sizes of a call, and the reason, which may be empty."""

    left: Expression
    relation: str
    right: Expression
    why: str

    def check(self, sizes: Sizes) -> None:
        """Refuse sizes of which the sentence is not true; of what was not given it says nothing."""
        if not all(term in sizes for term in (*self.left.terms, *self.right.terms)):
            return
        if RELATIONS[self.relation](self.left.value(sizes), self.right.value(sizes)):
            return
        raise ValueError(self._refusal(sizes) + (f": {self.why}" if self.why else ""))

    def _refusal(self, sizes: Sizes) -> str:
        if self.relation in BOUNDS and not self.right.terms:
            left = self.left.text
            return f"{left} must be {BOUNDS[self.relation]} {self.right.text}, got {self.left.value(sizes)}"
        told = {side: getattr(self, side).tell(sizes) for side in ("left", "right")}
        number = self.right.value(sizes)
        return REFUSED[self.relation].format(**told, what=self.right.text, number=number)


def parse(text: str) -> Sentence:
    """Read a sentence.

    Raises:
        ValueError: "no door understands 'dim fits': a relation is missing (is a multiple of, ...)".
    """
    claim, _, why = text.partition(": ")
    for relation in RELATIONS:
        left, found, right = claim.partition(f" {relation} ")
        if found:
            return Sentence(_expression(left), relation, _expression(right), why)
    raise ValueError(f"no door understands {text!r}: a relation is missing ({', '.join(RELATIONS)})")


def _expression(text: str) -> Expression:
    terms = [part.removesuffix(" squared") for part in re.split(r" [-+*/] ", text)]
    names = tuple(sorted({term for term in terms if not term.isdigit()}, key=len, reverse=True))
    return Expression(text, names, _value(text))


def _value(text: str) -> Callable[[Sizes], int]:
    for operations in OPERATIONS:
        # The last sign of the weakest operation: what stands before it is done first.
        *before, last = re.split(rf" ([{''.join(operations)}]) ", text)
        if before:
            operation = operations[before.pop()]
            left, right = _value(" ".join(before)), _value(last)
            return lambda sizes: operation(left(sizes), right(sizes))
    if text.endswith(" squared"):
        base = _value(text.removesuffix(" squared"))
        return lambda sizes: base(sizes) ** 2
    return (lambda sizes: int(text)) if text.isdigit() else (lambda sizes: sizes[text])
