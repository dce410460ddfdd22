"""Editions: the same lessons for a reader, a class, its teacher, nbgrader and otter, made from one source.

What a cell is, its tags say: an ``exercise`` asks, its ``stub`` is to be filled, its ``solution`` fills it; a
cell that ``needs-solution`` uses what the reader has written, and one that ``tells-solution`` speaks of
solutions. An edition keeps, turns or leaves out cells by these tags, and by nothing else.
"""

from vit_steps.lessons.editions.making import make_edition

__all__ = ["make_edition"]
