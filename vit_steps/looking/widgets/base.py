"""What all widgets share: the picture and the words that a notebook stores, the style, the colours."""

from pathlib import Path

import anywidget
from matplotlib import colormaps
from matplotlib.figure import Figure

from vit_steps.looking.png import pack, render, screen_width

HERE = Path(__file__).parent
STYLE = "vit_steps.looking.lesson"
CIVIDIS = colormaps["cividis"](range(256), bytes=True).tobytes()


class LessonWidget(anywidget.AnyWidget):
    """A widget that leaves a picture and its alternative text in the notebook."""

    _css = HERE / "widgets.css"

    def __init__(self, picture: bytes, alt: str, **traits):
        super().__init__(**traits)
        self.picture, self.alt = picture, alt

    def _repr_mimebundle_(self, **kwargs) -> tuple[dict, dict]:
        data, metadata = super()._repr_mimebundle_(**kwargs)
        stored = {"text/plain": self.alt, "image/png": self.picture}
        return data | stored, metadata | {"image/png": {"alt": self.alt, "width": screen_width(self.picture)}}


def picture_of(figure: Figure) -> bytes:
    """The picture that a notebook stores of a widget, on white whatever the colour of the page."""
    return pack(render(figure, facecolor="white"))
