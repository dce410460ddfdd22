"""The curve that grows while a model is trained."""

from io import BytesIO
from types import SimpleNamespace

from PIL import Image

from vit_steps.looking import widgets


def test_the_live_curve_is_drawn_afresh_after_each_epoch():
    curve = widgets.live_curve()
    assert curve._repr_mimebundle_()[0]["text/plain"].startswith("The training curve")
    pictures = []
    for epochs in (1, 2):
        curve.draw(SimpleNamespace(loss=[2.0, 1.0][:epochs], valid_accuracy=[0.2, 0.9][:epochs]))
        pictures.append(curve.value)
    sizes = [Image.open(BytesIO(picture)).size for picture in pictures]
    assert sizes == [(600, 300), (600, 300)]
    assert pictures[0] != pictures[1]
    assert len(curve.figure.axes) == 2, "the axes of the epoch before are still there"
