"""The teacher's pack: for each lesson a plan for 90 minutes, ten exam questions, and a rubric.

``questions`` reads what is asked from the files in ``questions/``, ``plan`` lays out the time, ``moodle`` and
``qti`` write the questions for learning platforms. ``command`` is ``python -m vit_steps.lessons.pack``.
"""
