"""Grading: a class's notebooks in, a table of points and mistakes out; what they do meanwhile stays inside.

``hand_ins`` finds the notebooks, ``notebook`` reads one and picks what its answers need, ``jail`` shuts a
process in, ``trial`` runs one notebook in there, ``judge`` watches it, and ``report`` counts. ``command`` is
``python -m vit_steps.lessons.grading``.
"""
