"""A training curve that is drawn afresh after each epoch."""

import anywidget
import traitlets
from matplotlib import style
from matplotlib.figure import Figure

from vit_steps.looking.plots import plot_history
from vit_steps.looking.png import SCREEN_DPI, render
from vit_steps.looking.widgets.base import HERE, STYLE


class LiveCurve(anywidget.AnyWidget):
    """A picture that follows a training history, with words; one figure serves all epochs."""

    _esm = HERE / "curve.js"
    value = traitlets.Bytes().tag(sync=True)
    words = traitlets.Unicode().tag(sync=True)

    def __init__(self, **traits):
        super().__init__(**traits)
        self.figure = Figure(figsize=(6, 3), layout="constrained")

    def draw(self, history) -> None:
        """Draw loss and validation accuracy as far as they have come."""
        with style.context(STYLE):
            self.figure.clear()
            plot_history(history, self.figure.subplots())
            picture = render(self.figure, dpi=SCREEN_DPI)
        with self.hold_sync():  # the words travel with their picture
            self.words, self.value = _tell_history(history), picture

    def _repr_mimebundle_(self, **kwargs) -> tuple[dict, dict]:
        data, metadata = super()._repr_mimebundle_(**kwargs)
        words = "The training curve, drawn afresh after each epoch while the cell runs."
        return data | {"text/plain": words}, metadata


def live_curve() -> LiveCurve:
    """A training curve to be shown before ``fit`` and drawn afresh after each epoch.

    Example:
        >>> curve = live_curve()
        >>> display(curve)  # doctest: +SKIP
        >>> fit(model, train, valid, epochs=50, on_epoch=curve.draw)  # doctest: +SKIP
    """
    return LiveCurve()


def _tell_history(history) -> str:
    told = f"Training curve after {len(history.loss)} epochs: the loss is {history.loss[-1]:.2f}"
    if history.valid_accuracy:
        told += f", the validation accuracy {history.valid_accuracy[-1]:.2f}"
    return told + "."
