"""Sliders and buttons over plots: things to touch, each worked by mouse and by keyboard.

Each function returns a widget that shows itself as the last line of a cell. Beside the widget the notebook
stores a picture and a sentence, for readers who do not run it. What can be sent to the browser at once is:
then a key press costs one frame and no question to the kernel.

Each module holds one kind of widget, and its script lies beside it under the same name, but that the likeness
picker is worked by the explorer's; ``widgets.css`` is for all of them.
"""

from vit_steps.looking.widgets.base import LessonWidget
from vit_steps.looking.widgets.curve import LiveCurve, live_curve
from vit_steps.looking.widgets.explorer import Explorer, attention_explorer, position_picker
from vit_steps.looking.widgets.likeness import likeness_picker
from vit_steps.looking.widgets.pad import DigitPad, digit_pad
from vit_steps.looking.widgets.slider import PictureSlider, patch_size_slider

__all__ = [
    "DigitPad",
    "Explorer",
    "LessonWidget",
    "LiveCurve",
    "PictureSlider",
    "attention_explorer",
    "digit_pad",
    "likeness_picker",
    "live_curve",
    "patch_size_slider",
    "position_picker",
]
