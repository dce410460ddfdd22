"""Doors: what an argument may be is read from the signature, and what does not fit is refused by name.

The annotation says most of it: a tensor with so many axes, sizes that agree from one argument to the next,
floating point, an integer of at least 1, a pair of sizes, one of a few words, what a callable has to give. A
relation of numbers is one sentence in the decorator, and a refusal is that sentence with the numbers in it::

    @door("image height is a multiple of patch_size")
    def image2patches(image: Shaped[Tensor, "batch channels height width"], patch_size: int): ...

    ValueError: image height 30 is not a multiple of patch_size 4

What neither can say stands in :mod:`vit_steps.doors.values`, or is a function of the arguments that raises.
What is no argument, such as one of many values in a dict, is judged by an annotation with :func:`judge`.
"""

from vit_steps.doors import values
from vit_steps.doors.annotations import judge
from vit_steps.doors.contract import door

__all__ = ["door", "judge", "values"]
