"""Looking: attention maps, comparing, drawing, and widgets to touch.

``agreement`` holds two results against each other (``compare``), ``attention_maps`` lays attention out as
maps and curves, ``plots`` draws into a matplotlib axes, ``widgets`` has sliders and explorers with the script
of each beside it, ``explorer_page`` makes one file of an explorer, ``png`` packs a figure, and
``lesson.mplstyle`` is how all of it looks: ``plt.style.use("vit_steps.looking.lesson")``. On top stands
``look``: a model and a photograph in one line, which gives the ``views`` of both, and its ``command``,
``python -m vit_steps.looking``. ``look`` and ``command`` alone know where trained weights come from.

Import from these modules by name, as in ``from vit_steps.looking.plots import plot_image``: this file loads
none of them, since ``vit_steps`` itself comes through here for ``compare`` and must not load matplotlib.
"""
