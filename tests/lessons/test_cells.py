"""Sources and figures reach the notebook whole, with their words."""

import inspect
import io
import math

import matplotlib.pyplot as plt
import numpy as np
import pytest
from PIL import Image

from vit_steps.lessons import show_figure, show_source
from vit_steps.looking.png import PICTURE_DPI, SCREEN_DPI
from vit_steps.patch_embedding import image2patches, patches2image


@pytest.fixture
def displayed(monkeypatch):
    shown = []
    monkeypatch.setattr("IPython.display.display", lambda *things, **options: shown.append((things, options)))
    return shown


def one_liner(number):
    """Only one line."""
    return number


def without_docstring(number):
    return number + 1


def with_a_long_call_first(number):
    print(
        number,
    )


nameless = lambda number: number + 1  # noqa: E731


def test_the_source_shown_is_the_code_of_the_module(displayed):
    show_source(image2patches, patches2image)
    texts = [things[0].data for things, _ in displayed]
    assert len(texts) == 2
    assert texts[0].startswith("```python\n# vit_steps/patch_embedding.py\n@door(")
    assert "\ndef image2patches(" in texts[0]
    assert texts[0].endswith("# B C rows cols p p -> B N P\n```")


def test_of_a_docstring_the_first_line_is_kept(displayed):
    show_source(image2patches)
    text = displayed[0][0][0].data
    assert (
        '    """Cut an image into square patches and flatten each one (ViT paper, section 3.1)."""\n' in text
    )
    assert "Raises" not in text
    compile(text.removeprefix("```python\n").removesuffix("```"), "shown", "exec")


@pytest.mark.parametrize("function", [one_liner, without_docstring, with_a_long_call_first, nameless])
def test_a_function_without_a_long_docstring_is_shown_as_it_is(displayed, function):
    show_source(function)
    assert inspect.getsource(function).rstrip() in displayed[0][0][0].data


def test_what_has_no_source_is_refused():
    with pytest.raises(TypeError):
        show_source(math.sqrt)


def test_a_figure_is_shown_once_with_its_words(displayed):
    figure, ax = plt.subplots(figsize=(4, 2))
    ax.imshow(np.random.default_rng(0).random((5, 5)))
    show_figure(figure, alt="Noise in five rows.")
    (bundle,), options = displayed[0]
    assert options["raw"]
    assert bundle["text/plain"] == "Noise in five rows."
    picture = Image.open(io.BytesIO(bundle["image/png"]))
    metadata = options["metadata"]["image/png"]
    assert metadata["alt"] == "Noise in five rows."
    assert metadata["width"] == round(picture.width * SCREEN_DPI / PICTURE_DPI)
    assert not plt.fignum_exists(figure.number)


def test_packing_the_picture_leaves_its_colours(displayed):
    figure, ax = plt.subplots(figsize=(2, 2), facecolor="white")
    ax.imshow(np.linspace(0, 1, 64).reshape(8, 8), cmap="cividis")
    whole = io.BytesIO()
    figure.savefig(whole, format="png", dpi=PICTURE_DPI)
    show_figure(figure, alt="Steps from dark to bright.")
    packed = Image.open(io.BytesIO(displayed[0][0][0]["image/png"])).convert("RGB")
    difference = np.abs(np.asarray(packed, float) - np.asarray(Image.open(whole).convert("RGB"), float))
    assert difference.mean() < 1


def test_the_same_figure_gives_the_same_bytes(displayed):
    for _ in range(2):
        figure, ax = plt.subplots()
        ax.plot([1, 2, 3])
        show_figure(figure, alt="A line that rises.")
    assert displayed[0][0][0]["image/png"] == displayed[1][0][0]["image/png"]


def test_a_figure_without_words_is_refused(doors_only):
    figure, ax = plt.subplots()
    with pytest.raises(ValueError, match="alt is empty: say what the figure shows"):
        show_figure(figure, alt=" ")
    with pytest.raises(TypeError, match="alt must be a str, not NoneType"):
        show_figure(figure, alt=None)
    with pytest.raises(TypeError, match="figure must be a Figure, not Axes"):
        show_figure(ax, alt="A line.")
    plt.close(figure)
