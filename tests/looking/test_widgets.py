"""The Python half of the widgets: what they send, what they store, what their doors say.

What happens in the browser is tested in tests/browser.
"""

import re
from functools import cache
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib import colormaps, pyplot, rc_context, rcdefaults, rcParams
from PIL import Image, ImageChops, ImageStat

from vit_steps import image2patches, position_similarity
from vit_steps.looking import widgets
from vit_steps.looking.widgets import (
    attention_explorer,
    digit_pad,
    likeness_picker,
    patch_size_slider,
    position_picker,
    slider,
)

SCRIPTS = {
    widgets.PictureSlider: "slider.js",
    widgets.Explorer: "explorer.js",
    widgets.DigitPad: "pad.js",
}
SCRIPTS_BESIDE = Path(widgets.__file__).parent


def attention_of(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).softmax(dim=-1)


def answer(image):
    """Ten probabilities and a 2 × 3 map that depend on where the ink is."""
    scores = (image.flatten() @ torch.randn(64, 10, generator=torch.Generator().manual_seed(0))).softmax(
        dim=0
    )
    return scores, image[0, 0, :2, :3] + 0.1


def make(name, seed=0):
    generator = torch.Generator().manual_seed(seed)
    if name == "patch_size_slider":
        return patch_size_slider(torch.rand(1, 3, 24, 24, generator=generator), (12, 8, 6))
    if name == "position_picker":
        return position_picker(position_similarity(torch.randn(6, 8, generator=generator)), (2, 3))
    if name == "attention_explorer":
        images = torch.rand(2, 1, 8, 12, generator=generator)
        return attention_explorer(images, attention_of(2, 3, 4, 7, 7, seed=seed), (2, 3))
    if name == "likeness_picker":
        images = torch.rand(2, 3, 16, 24, generator=generator)
        return likeness_picker(images, torch.randn(2, 24, 5, generator=generator), (4, 6))
    return digit_pad(answer, torch.rand(1, 1, 8, 8, generator=generator))


made = cache(make)
ALL = ("patch_size_slider", "position_picker", "attention_explorer", "likeness_picker", "digit_pad")


def picture_of(png):
    return Image.open(BytesIO(png)).convert("RGB")


def floats(widget):
    return torch.from_numpy(np.frombuffer(widget.table, dtype="<f4").copy())


# ---- what a notebook keeps ----


@pytest.mark.parametrize("name", ALL)
def test_a_widget_shows_itself_with_a_picture_and_words(name):
    widget = made(name)
    data, metadata = widget._repr_mimebundle_()
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == widget.model_id
    picture = picture_of(data["image/png"])
    assert metadata["image/png"] == {"alt": data["text/plain"], "width": round(picture.width / 1.5)}
    assert min(picture.size) > 200
    assert len(picture.getcolors(10_000)) > 5, "a blank picture"


@pytest.mark.parametrize("name", ALL)
def test_words_are_the_same_in_every_run(name):
    first, second = (function(name)._repr_mimebundle_()[0] for function in (make, made))
    assert first["text/plain"] == second["text/plain"]
    assert first["image/png"] == second["image/png"]
    assert len(first["text/plain"]) > 40
    assert not re.search(r"0x[0-9a-f]+|object at|Explorer|Slider\(", first["text/plain"])


@pytest.mark.parametrize("name", ALL)
def test_another_input_gives_another_picture(name):
    assert made(name).picture != make(name, seed=1).picture


def test_nothing_is_drawn_with_pyplot_and_the_style_stays_as_it_was():
    with rc_context():
        rcdefaults()
        before, open_before = dict(rcParams), pyplot.get_fignums()
        for name in ALL:
            make(name)
        assert dict(rcParams) == before
    assert pyplot.get_fignums() == open_before


# ---- Python and JavaScript know the same names, and JavaScript needs nothing else ----


@pytest.mark.parametrize(("widget", "script"), SCRIPTS.items())
def test_the_script_reads_every_trait_and_no_other(widget, script):
    source = (SCRIPTS_BESIDE / script).read_text(encoding="utf-8")
    read = set(re.findall(r'(?:model\.get|bytes)\("(\w+)"\)', source))
    base = set(widgets.LessonWidget.class_trait_names(sync=True))
    assert read == set(widget.class_trait_names(sync=True)) - base


@pytest.mark.parametrize("script", SCRIPTS.values())
def test_a_script_asks_no_network_and_keeps_its_keys(script):
    source = (SCRIPTS_BESIDE / script).read_text(encoding="utf-8")
    assert not re.search(r"https?:|import\s|fetch\(|XMLHttp", source)
    assert "lmSuppressShortcuts" in source
    assert 'setAttribute("aria-live", "polite")' in source


def test_the_colours_sent_are_cividis():
    widget = made("attention_explorer")
    sent = np.frombuffer(widget.colours, dtype=np.uint8).reshape(256, 4)
    np.testing.assert_allclose(sent, colormaps["cividis"](np.arange(256)) * 255, atol=1)


# ---- patch_size_slider ----


def test_each_patch_size_has_its_own_picture_and_numbers():
    slider = patch_size_slider(torch.rand(1, 3, 24, 24), (12, 8, 3))
    assert len(set(slider.pictures)) == 3
    assert slider.names == ["12 pixels", "8 pixels", "3 pixels"]
    for patch_size, sentence in zip((12, 8, 3), slider.sentences, strict=True):
        patches = image2patches(torch.rand(1, 3, 24, 24), patch_size).shape[1]
        found = [int(number.replace(",", "")) for number in re.findall(r"[\d,]*\d", sentence)]
        side = 24 // patch_size
        assert found == [patch_size, side, side, patches, patches + 1, (patches + 1) ** 2]


def test_the_stored_picture_is_the_one_the_slider_starts_at():
    slider = made("patch_size_slider")
    stored = picture_of(slider.picture)
    assert slider.names[slider.chosen] == "8 pixels"
    far = [ImageStat.Stat(ImageChops.difference(stored, picture_of(png))).sum for png in slider.pictures]
    assert np.argmin(np.sum(far, axis=1)) == slider.chosen
    assert slider.alt == slider.sentences[slider.chosen]


def test_pictures_have_one_size_or_the_page_would_jump():
    slider = patch_size_slider(torch.rand(1, 1, 24, 24), (24, 6, 1))
    assert len({picture_of(png).size for png in slider.pictures}) == 1


def test_the_sequence_is_in_the_order_of_image2patches():
    image = torch.rand(1, 3, 12, 12)
    assert (slider._cut(image[0], 4).reshape(9, -1) == image2patches(image, 4)[0].numpy()).all()


# ---- explorer and picker: what is sent is what was given ----


def test_each_weight_is_found_where_the_script_looks_for_it():
    attention, control = attention_of(2, 3, 4, 7, 7), attention_of(2, 3, 4, 7, 7, seed=1)
    explorer = attention_explorer(torch.rand(2, 1, 8, 12), attention, (2, 3), control=control)
    assert [choice["options"] for choice in explorer.choices] == [
        ["0", "1"],
        ["1", "2", "3"],
        ["rollout", "mean", "1", "2", "3", "4"],
    ]
    assert [choice["label"] for choice in explorer.choices] == ["image", "block", "head"]
    sent = floats(explorer)
    for given, (number, weights) in zip(("model", "control"), enumerate((attention, control)), strict=True):
        for image, layer, head in np.ndindex(2, 3, 6):
            start = (((number * 2 + image) * 3 + layer) * 6 + head) * 49
            wanted = weights[image, layer, head - 2]
            if head < 2:
                wanted = [rolled(weights[image, : layer + 1]), weights[image, layer].mean(dim=0)][head]
            torch.testing.assert_close(sent[start : start + 49].reshape(7, 7), wanted, msg=given)


def rolled(weights):
    """Rollout of (depth, heads, tokens, tokens), written another way: paths counted one block at a time."""
    reached = torch.eye(weights.shape[-1])
    for block in weights:
        mean = block.mean(dim=0)
        reached = (mean @ reached + reached) / (mean.sum(dim=-1, keepdim=True) + 1)
    return reached


@pytest.mark.parametrize("channels", [1, 3])
def test_images_of_few_pixels_are_sent_exactly(channels):
    images = torch.rand(2, channels, 8, 12)
    explorer = attention_explorer(images, attention_of(2, 1, 1, 7, 7), (2, 3))
    sent = np.stack([picture_of(file) for file in explorer.pictures])
    wanted = (images * 255).round().permute(0, 2, 3, 1).numpy()
    assert sent.shape == (2, 8, 12, 3)
    assert (sent == wanted).all()


def test_of_one_head_there_is_no_mean_and_nothing_to_choose():
    rollouts = attention_of(2, 3, 1, 7, 7)
    explorer = attention_explorer(torch.rand(2, 1, 4, 6), rollouts, (2, 3))
    assert [choice["label"] for choice in explorer.choices] == ["image", "block"]
    assert explorer.chosen == [0, 2]
    assert "mean" not in explorer.alt
    assert np.array_equal(np.frombuffer(explorer.table, np.float32), rollouts.flatten())


def test_the_words_name_the_brightest_patch():
    attention = attention_of(1, 2, 3, 7, 7) / 7
    attention[0, :, :, 0, 1 + 5] = 0.9
    explorer = attention_explorer(torch.rand(1, 3, 8, 12), attention, (2, 3), labels=["a cat"])
    assert "a cat" in explorer.alt
    assert "block 2" in explorer.alt
    assert "row 2, column 3" in explorer.alt  # counted from 1, as everywhere a reader looks
    assert explorer.chosen == [0, 1, 0]


def test_a_picker_sends_tables_side_by_side_with_or_without_cls():
    learned, control = (position_similarity(torch.randn(7, 5)) for _ in range(2))
    picker = position_picker({"learned": learned, "random": control}, (2, 3))
    torch.testing.assert_close(floats(picker).reshape(2, 7, 7), torch.stack([learned, control]))
    assert (picker.names, picker.tokens, picker.query) == (["learned", "random"], 7, 1 + 4)
    assert position_picker(learned[1:, 1:], (2, 3)).query == 4
    assert "row 2, column 2" in picker.alt


def test_registers_are_neither_sent_nor_told():
    """Of CLS, three registers and six patches stay what would be sent of CLS and the patches alone."""
    images = torch.rand(2, 1, 8, 12)
    attention, control = (attention_of(2, 3, 4, 10, 10, seed=seed) for seed in (0, 1))
    attention[:, :, :, :, 1:4] = 0.99  # would be the brightest by far
    explorer = attention_explorer(images, attention, (2, 3), control=control, num_prefix=4)
    plain = [torch.cat([each[..., :1], each[..., 4:]], dim=-1) for each in (attention, control)]
    plain = [torch.cat([each[..., :1, :], each[..., 4:, :]], dim=-2) for each in plain]
    expected = attention_explorer(images, plain[0], (2, 3), control=plain[1])
    for name in set(widgets.Explorer.class_own_traits(sync=True)) - {"table"}:
        assert getattr(explorer, name) == getattr(expected, name), name
    sent, wanted = (floats(each).reshape(2, 2, 3, 6, 49) for each in (explorer, expected))
    torch.testing.assert_close(sent[:, :, :, 1:], wanted[:, :, :, 1:])
    shown = [0, *range(4, 10)]
    through = rolled(attention[0])[shown][:, shown]  # registers take part in the rollout
    torch.testing.assert_close(sent[0, 0, -1, 0], through.flatten(), rtol=1e-4, atol=1e-5)
    learned = position_similarity(torch.randn(10, 5))
    picker = position_picker(learned, (2, 3), num_prefix=4)
    kept = [0, *range(4, 10)]
    torch.testing.assert_close(floats(picker).reshape(7, 7), learned[kept][:, kept])
    assert (picker.tokens, picker.query) == (7, 1 + 4)
    assert position_picker(learned[4:, 4:], (2, 3), num_prefix=4).tokens == 6


def test_without_a_cls_token_the_patch_in_the_middle_starts():
    attention = attention_of(1, 2, 3, 6, 6) / 6
    attention[0, :, :, 4, 2] = 8
    explorer = attention_explorer(torch.rand(1, 3, 8, 12), attention, (2, 3), num_prefix=0)
    assert (explorer.tokens, explorer.query) == (6, 4)
    sent = floats(explorer).reshape(2, 5, 6, 6)
    torch.testing.assert_close(sent[:, 2:], attention[0])
    assert "where its patch in row 2, column 2 looks by rollout, from block 1 to block 2" in explorer.alt
    assert "most at row 1, column 3" in explorer.alt
    assert "CLS" not in explorer.alt


def test_tensors_may_come_in_different_precisions():
    attention = attention_of(1, 2, 2, 5, 5)
    mixed = attention_explorer(
        torch.rand(1, 1, 4, 4), attention.double(), (2, 2), control=attention.to(torch.bfloat16)
    )
    sent = floats(mixed).reshape(2, 2, 4, 5, 5)
    torch.testing.assert_close(sent[0, :, 2:], attention[0])
    torch.testing.assert_close(sent[1, :, 2:], attention[0].bfloat16().float())
    whole = (torch.rand(1, 3, 4, 4) > 0.5).byte()
    assert patch_size_slider(whole, [2]).sentences == patch_size_slider(whole.float(), [2]).sentences


def test_half_precision_and_gradients_are_no_obstacle():
    attention = attention_of(1, 2, 2, 5, 5).double().requires_grad_()
    images = torch.rand(1, 1, 4, 4, dtype=torch.float64)
    sent = floats(attention_explorer(images, attention, (2, 2)))
    torch.testing.assert_close(sent.reshape(2, 4, 5, 5)[:, 2:], attention[0].detach().float())
    similarity = position_similarity(torch.randn(4, 3).half())
    torch.testing.assert_close(floats(position_picker(similarity, (2, 2))).reshape(4, 4), similarity.float())


# ---- digit_pad ----


def test_ink_is_answered():
    asked = []

    def remember(image):
        asked.append((image, torch.is_grad_enabled()))
        return answer(image)

    pad = digit_pad(remember)
    blank = pad.reply
    ink = torch.rand(64)
    pad.ink = ink.tolist()
    (image, gradient), wanted = asked[-1], answer(ink.reshape(1, 1, 8, 8))
    assert torch.equal(image, ink.reshape(1, 1, 8, 8))
    assert len(asked) == 2
    assert not gradient
    assert pad.reply != blank
    torch.testing.assert_close(torch.tensor(pad.reply["scores"]), wanted[0])
    torch.testing.assert_close(torch.tensor(pad.reply["attention"]), wanted[1])


def test_the_sentence_names_the_two_most_probable_in_order():
    pad = digit_pad(lambda image: (torch.tensor([0.1, 0.7, 0.2]), torch.ones(2, 2)), labels=["a", "b", "c"])
    assert pad.reply["sentence"] == "The model says b (0.70), then c (0.20)."
    assert pad.alt.endswith("its answer: b.")


def test_a_pad_starts_with_the_image_that_it_is_given():
    image = torch.rand(1, 1, 6, 5)
    pad = digit_pad(lambda image: (torch.full((10,), 0.1), torch.ones(3, 5)), image)
    assert pad.size == [6, 5]
    torch.testing.assert_close(torch.tensor(pad.ink).reshape(1, 1, 6, 5), image)


@pytest.mark.parametrize("name", [r"$\no{such}$", "<img src=x onerror=alert(1)>"])
def test_names_are_sent_and_stored_as_text(name):
    pad = digit_pad(lambda image: (torch.tensor([0.2, 0.8]), torch.ones(2, 2)), labels=["a", name])
    explorer = attention_explorer(torch.rand(1, 1, 4, 4), attention_of(1, 1, 1, 5, 5), (2, 2), labels=[name])
    picker = position_picker({name: torch.eye(4)}, (2, 2))
    for widget in (pad, explorer, picker):
        assert "text/html" not in widget._repr_mimebundle_()[0]
        assert name in widget.alt
    assert (pad.labels[1], explorer.choices[0]["options"], picker.names) == (name, [name], [name])


@pytest.mark.parametrize("script", sorted(path.name for path in SCRIPTS_BESIDE.glob("*.js")))
def test_a_script_writes_text_and_never_html(script):
    source = (SCRIPTS_BESIDE / script).read_text(encoding="utf-8")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|srcdoc|eval\(", source)


# ---- doors ----

PHOTO, WEIGHTS = torch.rand(1, 3, 8, 12), attention_of(1, 2, 2, 7, 7)
ALIKE = torch.eye(6)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: patch_size_slider(torch.rand(1, 3, 224, 224), (16, 30)),
            "side 224 is not a multiple of patch_size 30",
        ),
        (lambda: patch_size_slider(torch.rand(1, 3, 8, 6)), "image has side 8 and side 6"),
        (lambda: patch_size_slider(torch.rand(2, 3, 8, 8)), r"image must have the axes .*\(2, 3, 8, 8\)"),
        (lambda: patch_size_slider(torch.rand(3, 8, 8)), r"image must have the axes .*\(3, 8, 8\)"),
        (
            lambda: patch_size_slider(torch.rand(1, 3, 8, 8), ()),
            "number of patch_sizes must be at least 1, got 0",
        ),
        (lambda: patch_size_slider(torch.rand(1, 3, 8, 8), (0,)), "patch_size must be at least 1, got 0"),
        (lambda: patch_size_slider(torch.full((1, 1, 8, 8), torch.nan), (4,)), "image holds NaN"),
        (lambda: position_picker(ALIKE, (2, 4)), r"similarity has shape \(6, 6\), grid \(2, 4\) .*\(8, 8\)"),
        (
            lambda: position_picker(torch.eye(9), (2, 3), num_prefix=4),
            r"similarity has shape \(9, 9\), grid \(2, 3\) needs \(6, 6\), or \(10, 10\) with num_",
        ),
        (
            lambda: position_picker(torch.eye(7), (2, 3), num_prefix=0),
            r"similarity has shape \(7, 7\), grid \(2, 3\) needs \(6, 6\), or \(6, 6\) with num_prefix 0",
        ),
        (
            lambda: attention_explorer(PHOTO, WEIGHTS, (2, 3), num_prefix=5),
            r"attention tokens 7 is not num_prefix 5 \+ grid rows 2 \* grid cols 3 = 11: the CLS token and",
        ),
        (lambda: position_picker(ALIKE[0], (2, 3)), r"similarity must have the axes .*\(6,\)"),
        (lambda: position_picker(ALIKE / 0, (2, 3)), "similarity holds NaN or infinity"),
        (lambda: position_picker({}, (2, 3)), "similarity holds no table"),
        (lambda: position_picker({"a": ALIKE, "b": torch.eye(7)}, (2, 3)), "tables of 6 and of 7 tokens"),
        (lambda: position_picker(ALIKE, (0, 3)), "grid rows must be at least 1, got 0"),
        (
            lambda: attention_explorer(PHOTO, WEIGHTS, (3, 4)),
            r"attention tokens 7 is not num_prefix 1 \+ grid rows 3 \* grid cols 4 = 13: the CLS token and",
        ),
        (
            lambda: attention_explorer(PHOTO, WEIGHTS, (3, 2)),
            "images height 8 is not a multiple of grid rows 3",
        ),
        (
            lambda: attention_explorer(PHOTO, attention_of(1, 2, 2, 9, 9), (2, 4)),
            "images height 8 / grid rows 2 = 4 is not images width 12 / grid cols 4 = 3: patches are square",
        ),
        (lambda: attention_explorer(PHOTO + 1, WEIGHTS, (2, 3)), r"images must hold values in \[0, 1\]"),
        (lambda: attention_explorer(PHOTO, WEIGHTS[:, :, :0], (2, 3)), "attention heads must be at least 1"),
        (
            lambda: attention_explorer(PHOTO[:0], WEIGHTS[:0], (2, 3)),
            "images batch must be at least 1, got 0",
        ),
        (lambda: attention_explorer(PHOTO, WEIGHTS, (2, 3), control=WEIGHTS / 0), "control holds NaN"),
        (lambda: digit_pad(answer, torch.rand(1, 1, 0, 8)), "image height must be at least 1, got 0"),
        (lambda: digit_pad(answer, torch.rand(1, 1, 8, 8) - 1), r"image must hold values in \[0, 1\], got -"),
        (lambda: attention_explorer(PHOTO[0], WEIGHTS, (2, 3)), r"images must have the axes .*\(3, 8, 12\)"),
        (
            lambda: attention_explorer(PHOTO[:, :2], WEIGHTS, (2, 3)),
            "images channels must be one of 1, 3, got 2",
        ),
        (lambda: attention_explorer(PHOTO, WEIGHTS[0], (2, 3)), "attention must have the axes"),
        (lambda: attention_explorer(PHOTO, WEIGHTS * torch.nan, (2, 3)), "attention holds NaN"),
        (
            lambda: attention_explorer(PHOTO, WEIGHTS[:, :0], (2, 3)),
            "attention depth must be at least 1, got 0",
        ),
        (
            lambda: attention_explorer(PHOTO.expand(3, -1, -1, -1), WEIGHTS, (2, 3)),
            "images has batch 3, attention has batch 1",
        ),
        (
            lambda: attention_explorer(PHOTO, WEIGHTS, (2, 3), labels=["a", "b"]),
            "number of labels 2 is not images batch 1",
        ),
        (
            lambda: attention_explorer(PHOTO, WEIGHTS, (2, 3), control=WEIGHTS[:, :1]),
            "attention has depth 2, control has depth 1",
        ),
        (
            lambda: digit_pad(answer, torch.rand(1, 3, 8, 8)),
            r"image must have the axes \(1 1 height width\), got shape \(1, 3, 8, 8\)",
        ),
        (lambda: digit_pad(answer, labels=["a"]), "number of labels must be at least 2, got 1"),
        (lambda: digit_pad(answer, labels="012"), "answer gave 10 probabilities, there are 3 labels"),
        (
            lambda: digit_pad(lambda image: (torch.arange(10.0), torch.ones(2, 2))),
            "probabilities from 0.00 that sum to 45.00: .* as after a softmax",
        ),
        (
            lambda: digit_pad(lambda image: (torch.full((10,), torch.nan), torch.ones(2, 2))),
            "probabilities from nan",
        ),
        (
            lambda: digit_pad(lambda image: (torch.full((1, 10), 0.1), torch.ones(2, 2))),
            r"answer's probabilities must have the axes \(classes\), got shape \(1, 10\)",
        ),
        (
            lambda: digit_pad(lambda image: (torch.full((10,), 0.1), torch.ones(4))),
            r"answer's attention map must have the axes \(rows cols\), got shape \(4,\)",
        ),
    ],
)
def test_a_bad_value_is_named(call, message, doors_only):
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: patch_size_slider(np.zeros((1, 3, 8, 8))), "image must be a torch.Tensor, not ndarray"),
        (lambda: patch_size_slider(torch.rand(1, 3, 8, 8), (4.0,)), "patch_size must be an integer, got 4.0"),
        (
            lambda: patch_size_slider(torch.rand(1, 3, 8, 8), (True,)),
            "patch_size must be an integer, got True",
        ),
        (lambda: position_picker(np.eye(6), (2, 3)), "similarity must be a torch.Tensor, not ndarray"),
        (lambda: position_picker(ALIKE, 6), r"grid must be \(rows, cols\), got 6"),
        (lambda: attention_explorer(PHOTO.numpy(), WEIGHTS, (2, 3)), "images must be a torch.Tensor"),
        (lambda: attention_explorer(PHOTO, WEIGHTS.numpy(), (2, 3)), "attention must be a torch.Tensor"),
        (lambda: attention_explorer(PHOTO, WEIGHTS, (2, 3), control=3), "control must be a torch.Tensor"),
        (lambda: digit_pad("model"), "answer must be callable, not str"),
        (lambda: digit_pad(lambda image: torch.ones(10)), "answer must return a tuple of 2, got Tensor"),
        (lambda: digit_pad(lambda image: (0.1, 0.9)), "answer must give a torch.Tensor, not float"),
        (
            lambda: digit_pad(lambda image: (torch.full((10,), 0.1), 0.9)),
            "answer's attention map must be a torch.Tensor, not float",
        ),
        (
            lambda: digit_pad(answer, labels=list(range(10))),
            r"labels must be a sequence of names, got \[0, 1",
        ),
        (
            lambda: attention_explorer(PHOTO, WEIGHTS, (2, 3), labels=[1]),
            r"labels must be a sequence of names, got \[1\]",
        ),
        (lambda: position_picker({1: ALIKE}, (2, 3)), r"names of similarity must be .* got \[1\]"),
        (lambda: patch_size_slider(torch.rand(1, 3, 8, 8), 4), "patch_sizes must be a sequence of integers"),
    ],
)
def test_a_wrong_type_is_named(call, message, doors_only):
    with pytest.raises(TypeError, match=message):
        call()
