"""Each widget's script in a page of its own, without Jupyter: what it draws, says, and does with each key."""

import base64
import re
from functools import cache
from io import BytesIO

import lab_driver
import numpy as np
import pytest
import torch
from matplotlib import colormaps
from PIL import Image

from vit_steps import ViT, position_similarity
from vit_steps.looking import widgets
from vit_steps.looking.attention_maps import attention_rollout
from vit_steps.looking.widgets import attention_explorer, digit_pad, patch_size_slider, position_picker

if lab_driver.missing():
    pytest.skip(lab_driver.missing(), allow_module_level=True)

START = """
async ({ script, css, state }) => {
  const shift = ([text]) => {  // as from a websocket: a view that begins in the middle of a buffer
    const bytes = Uint8Array.from("?" + atob(text), (letter) => letter.charCodeAt(0));
    return new DataView(bytes.buffer, 1);
  };
  const decode = (value) =>
    Array.isArray(value) ? value.map(decode) : value?.base64 ? shift(value.base64) : value;
  const data = Object.fromEntries(Object.entries(state).map(([name, value]) => [name, decode(value)]));
  const heard = {};
  window.model = {
    sent: 0,
    get: (name) => data[name],
    set: (name, value) => { data[name] = value; heard["change:" + name]?.(); },
    save_changes: () => window.model.sent++,
    on: (event, listener) => { heard[event] = listener; },
    off: () => {},
  };
  document.head.appendChild(document.createElement("style")).textContent = css;
  const address = URL.createObjectURL(new Blob([script], { type: "text/javascript" }));
  const el = document.body.appendChild(document.createElement("div"));
  await (await import(address)).default.render({ model: window.model, el });
}
"""


def encode(value):
    if isinstance(value, bytes | memoryview):
        return {"base64": [base64.b64encode(value).decode()]}
    return [encode(part) for part in value] if isinstance(value, list) else value


def show(page, widget):
    page.set_content("<!doctype html><title>a widget alone</title>")
    page.route("**/*", lambda route: route.abort())
    base = set(widgets.LessonWidget.class_trait_names(sync=True))
    state = {name: encode(getattr(widget, name)) for name in set(widget.class_trait_names(sync=True)) - base}
    page.evaluate(START, {"script": widget._esm, "css": getattr(widget, "_css", ""), "state": state})


def sentence(page):
    return page.inner_text(".vit-steps-sentence")


def press(page, keys):
    for key in keys.split():
        page.keyboard.press(key)


def drawn(page, view=-1):
    """The pixels of a canvas, one for each CSS pixel."""
    address = page.locator("canvas").nth(view).evaluate("(canvas) => canvas.toDataURL()")
    picture = Image.open(BytesIO(base64.b64decode(address.partition(",")[2])))
    return np.asarray(picture.convert("RGB")).astype(float)


@pytest.fixture(autouse=True)
def _no_complaints(page):
    yield
    assert not page.complaints


# ---- attention_explorer ----

GRID, LABELS = (2, 3), ["cat", "dog"]
WAYS = {  # keys pressed, beginning at the CLS token: who looks then
    "ArrowDown": 1,
    "ArrowDown ArrowRight ArrowRight": 3,
    "ArrowDown ArrowRight ArrowDown": 5,
    "ArrowDown ArrowDown ArrowDown ArrowDown": 4,
    "ArrowDown ArrowRight ArrowRight ArrowRight ArrowRight": 3,
    "ArrowDown ArrowLeft": 1,
    "ArrowDown ArrowRight ArrowUp": 0,
    "ArrowDown ArrowDown ArrowRight C": 0,
    "ArrowLeft ArrowUp ArrowRight": 0,
    "ArrowDown x Enter 1": 1,
}


@pytest.fixture(scope="module")
def weights():
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(
        2, 2, 3, 4, 7, 7, generator=generator
    )  # model and control: images layers heads T T


@pytest.fixture
def explorer(page, weights):
    attention, control = weights.softmax(dim=-1)
    images = torch.rand(2, 3, 8, 12, generator=torch.Generator().manual_seed(1))
    show(page, attention_explorer(images, attention, GRID, control=control, labels=LABELS))
    return page


def told(row, names):
    """The three brightest of a row in the script's words."""
    best = sorted(range(len(row)), key=lambda token: -row[token])[:3]
    percents = [100 * row[token].item() for token in best]
    return "; ".join(
        f"{names[token]} ({percent:.{0 if percent >= 9.95 else 1}f} %)"
        for token, percent in zip(best, percents, strict=True)
    )


class Said(str):
    """Words that are the same, and numbers that differ by one of their last digit at most."""

    NUMBER = re.compile(r"-?\d+\.\d+|\d+(?= %)")
    __hash__ = None

    def __eq__(self, other):
        if self.NUMBER.sub("#", self) != self.NUMBER.sub("#", other):
            return False
        pairs = zip(self.NUMBER.findall(self), self.NUMBER.findall(other), strict=True)
        return all(abs(float(a) - float(b)) < 1.5 * 10.0 ** -len(a.partition(".")[2]) for a, b in pairs)


def expected(weights, image, layer, head, query):
    names = ["the CLS token", *(f"row {row + 1}, column {col + 1}" for row, col in np.ndindex(GRID))]
    maps, asked = mapped(weights.softmax(dim=-1)[:, image], layer, head)
    who = "The CLS token" if query == 0 else f"The patch in {names[query]}"
    return Said(
        f"{who} (image {LABELS[image]}, block {layer + 1}, {asked}) looks most at\n"
        f"in the model: {told(maps[0, query], names)}\nin the control: {told(maps[1, query], names)}"
    )


def mapped(attention, layer, head):
    """The tables of model and control, and what they are called."""
    if head == "rollout":
        return attention_rollout(attention[:, : layer + 1]), "rollout from block 1 on"
    if head == "mean":
        return attention[:, layer].mean(dim=1), "mean of heads"
    return attention[:, layer, head], f"head {head + 1}"


def test_it_starts_with_what_cls_was_drawn_from_through_all_blocks(explorer, weights):
    assert sentence(explorer) == expected(weights, 0, 2, "rollout", 0)
    explorer.get_by_label("head").select_option("mean")
    assert sentence(explorer) == expected(weights, 0, 2, "mean", 0)


def test_without_a_cls_token_the_patch_in_the_middle_looks_first(page):
    attention = torch.rand(1, 1, 1, 6, 6, generator=torch.Generator().manual_seed(2))
    show(page, attention_explorer(torch.rand(1, 3, 8, 12), attention, GRID, num_prefix=0))
    names = [f"row {row + 1}, column {col + 1}" for row, col in np.ndindex(GRID)]
    page.locator(".vit-steps-stage").focus()
    for key, query in (("c", 4), ("ArrowUp", 1), ("ArrowUp", 1), ("ArrowRight", 2)):
        press(page, key)
        who, line = sentence(page).split("\n")
        assert who == f"The patch in {names[query]} (image 0, block 1) looks most at"
        assert line == Said(f"in the model: {told(attention[0, 0, 0, query], names)}")


def test_keys_move_the_one_who_looks(explorer, weights):
    explorer.locator(".vit-steps-stage").focus()
    for keys, query in WAYS.items():
        press(explorer, f"c {keys}")
        assert sentence(explorer) == expected(weights, 0, 2, "rollout", query)


def test_image_block_and_head_are_chosen_by_their_labels(explorer, weights):
    explorer.locator(".vit-steps-stage").focus()
    press(explorer, "ArrowDown ArrowDown")
    before = drawn(explorer)
    for image, layer, head in ((1, 0, 3), (0, 1, 0), (1, 2, 1)):
        explorer.get_by_label("image").select_option(LABELS[image])
        explorer.get_by_label("block").select_option(str(layer + 1))
        explorer.get_by_label("head").select_option(str(head + 1))
        assert sentence(explorer) == expected(weights, image, layer, head, 4)
        assert (drawn(explorer) != before).any()


def test_pointing_looks_and_clicking_stays(explorer, weights):
    view = explorer.locator("canvas").nth(1)
    box = view.bounding_box()
    side = box["width"] / GRID[1]
    top = box["height"] - GRID[0] * side
    centre = {
        query: ((query - 1) % 3 * side + side / 2, top + (query - 1) // 3 * side + side / 2)
        for query in range(1, 7)
    }
    for query, (left, down) in centre.items():
        explorer.mouse.move(box["x"] + left, box["y"] + down)
        assert sentence(explorer) == expected(weights, 0, 2, "rollout", query)
    explorer.mouse.move(box["x"] + 10, box["y"] + 10)
    assert sentence(explorer) == expected(weights, 0, 2, "rollout", 0)
    explorer.mouse.click(box["x"] + centre[5][0], box["y"] + centre[5][1])
    explorer.mouse.move(box["x"] + centre[1][0], box["y"] + centre[1][1])
    assert sentence(explorer) == expected(weights, 0, 2, "rollout", 1)
    explorer.mouse.move(1, 1)
    assert sentence(explorer) == expected(weights, 0, 2, "rollout", 5)


@pytest.mark.parametrize("scale", [0.6, 1.5])
def test_pointing_hits_the_same_patch_on_a_slide_of_another_size(explorer, weights, scale):
    explorer.add_style_tag(content=f"body {{ transform: scale({scale}); transform-origin: 0 0 }}")
    box = explorer.locator("canvas").nth(1).bounding_box()
    rows, cols = GRID
    side = box["width"] / cols
    for place in range(rows * cols):
        left, up = (place % cols + 0.9) * side, (rows - place // cols - 0.9) * side
        explorer.mouse.move(box["x"] + left, box["y"] + box["height"] - up)
        assert sentence(explorer) == expected(weights, 0, 2, "rollout", 1 + place)


def test_model_and_control_are_drawn_on_one_scale(explorer, weights):
    scales = [scale.inner_text().split("\n") for scale in explorer.locator(".vit-steps-scale").all()]
    rows = attention_rollout(weights.softmax(dim=-1)[:, 0])[:, 0]
    assert rows[:, 0].min() > rows[:, 1:].max(), (
        "the CLS token itself is beyond the scale, which is of patches"
    )
    assert scales[0] == scales[1]
    assert float(scales[0][-1].removesuffix(" %")) == pytest.approx(100 * rows[:, 1:].max().item(), abs=0.5)


def test_the_picture_stands_beside_the_map_and_not_below_it(page):
    images = torch.zeros(1, 1, 8, 12)
    images[..., 4:, 8:] = 1
    show(page, attention_explorer(images, torch.full((1, 1, 1, 7, 7), 1 / 7), GRID))
    picture, attention_map = drawn(page, 0), drawn(page, 1)
    corners = [(slice(-40, -20), slice(-40, -20)), (slice(-40, -20), slice(20, 40))]
    assert [picture[corner].mean().round() for corner in corners] == [255, 0]
    assert attention_map[corners[0]].mean() == pytest.approx(attention_map[corners[1]].mean())


# ---- position_picker ----


def test_places_are_drawn_in_cividis(page):
    similarity = position_similarity(torch.randn(12, 4, generator=torch.Generator().manual_seed(0)))
    show(page, position_picker(similarity, (3, 4)))
    page.locator(".vit-steps-stage").focus()
    press(page, "ArrowUp ArrowRight")
    side = page.locator("canvas").bounding_box()["width"] / 4
    row = similarity[0 * 4 + 3]
    shades = 255 * (row - similarity.min()) / (similarity.max() - similarity.min())
    colours = 255 * colormaps["cividis"](shades.round().int().numpy())[:, :3]
    pixels = drawn(page)
    for place, colour in enumerate(colours):
        if place != 3:  # the frame is there
            middle = pixels[int((place // 4 + 0.5) * side), int((place % 4 + 0.5) * side)]
            np.testing.assert_allclose(middle, colour, atol=2)


def test_every_table_answers_and_the_place_itself_is_left_out(page):
    tables = {name: position_similarity(torch.randn(6, 4)) for name in ("learned", "random")}
    show(page, position_picker(tables, (2, 3)))
    lines = sentence(page).split("\n")
    assert lines[0] == "The patch in row 2, column 2 is most like"
    for line, (name, table) in zip(lines[1:], tables.items(), strict=True):
        best = [place for place in table[4].argsort(descending=True).tolist() if place != 4][:3]
        words = [f"row {place // 3 + 1}, column {place % 3 + 1} ({table[4, place]:.2f})" for place in best]
        assert line == Said(f"{name}: {'; '.join(words)}")
    assert page.locator("canvas").count() == 2


# ---- patch_size_slider ----


@cache
def slider():
    return patch_size_slider(torch.rand(1, 3, 24, 24), (12, 8, 6, 4))


def test_the_slider_turns_pictures_by_key_and_by_mouse(page):
    widget = slider()
    show(page, widget)
    page.wait_for_selector(".vit-steps img")
    control, picture = page.get_by_label("patch_size"), page.locator(".vit-steps img")
    seen = {}

    def look(number):
        assert picture.count() == 1
        assert picture.get_attribute("alt") == sentence(page) == widget.sentences[number]
        assert control.get_attribute("aria-valuetext") == widget.names[number]
        assert picture.evaluate("(shown) => shown.complete && shown.naturalWidth > 0")
        seen[number] = picture.get_attribute("src")

    look(widget.chosen)
    control.focus()
    for key, number in (
        ("ArrowRight", 3),
        ("ArrowRight", 3),
        ("ArrowLeft", 2),
        ("ArrowLeft", 1),
        ("Home", 0),
    ):
        press(page, key)
        look(number)
    box = control.bounding_box()
    page.mouse.click(box["x"] + box["width"] - 4, box["y"] + box["height"] / 2)
    look(3)
    assert len(set(seen.values())) == 4


def test_no_picture_makes_a_page_of_any_width_jump(page):
    show(page, slider())
    page.wait_for_selector(".vit-steps img")
    heights = page.evaluate(
        """() => {
          const [root, control] = [".vit-steps", "input"].map((name) => document.querySelector(name));
          const heightAt = (value) => {
            control.value = value;
            control.dispatchEvent(new Event("input"));
            return root.offsetHeight;
          };
          return Array.from({ length: 60 }, (_, step) => {
            root.style.width = `${600 + 10 * step}px`;
            return [0, 1, 2, 3].map(heightAt);
          });
        }"""
    )
    assert all(len(set(of_one_width)) == 1 for of_one_width in heights)


# ---- digit_pad ----


def answer(image):
    return (image.flatten() @ torch.arange(640.0).reshape(64, 10).sin()).softmax(dim=0), image[
        0, 0, ::4, ::4
    ] + 0.1


def ink_of(page):
    return torch.tensor(page.evaluate("window.model.get('ink')"), dtype=torch.float64).reshape(8, 8)


@pytest.fixture
def pad(page):
    show(page, digit_pad(answer))
    return page


def test_the_pen_writes_only_when_it_is_down(pad):
    pad.get_by_role("application").focus()
    press(pad, "ArrowRight ArrowDown")
    assert not ink_of(pad).any()
    assert pad.evaluate("window.model.sent") == 0
    pad.keyboard.press(" ")
    press(pad, "ArrowDown ArrowDown")
    written = ink_of(pad)
    assert (written[4:7, 4] == 1).all()
    assert written[:3].sum() == 0
    assert written[:, :3].sum() == 0
    assert pad.evaluate("window.model.sent") == 3
    pad.keyboard.press(" ")
    press(pad, "ArrowLeft ArrowLeft")
    assert torch.equal(ink_of(pad), written)


def test_the_pen_stays_on_the_pad(pad):
    pad.get_by_role("application").focus()
    pad.keyboard.press(" ")
    press(pad, "ArrowUp " * 10 + "ArrowLeft " * 10)
    assert ink_of(pad)[0, 0] == 1
    assert (ink_of(pad)[:, 5:] == 0).all()


def test_the_mouse_draws_a_line_as_soft_as_a_scan(pad):
    box = pad.locator("canvas").first.bounding_box()
    side = box["width"] / 8
    pad.mouse.move(box["x"] + 1.5 * side, box["y"] + 3.5 * side)
    pad.mouse.down()
    pad.mouse.move(box["x"] + 6.5 * side, box["y"] + 3.5 * side)  # in one leap: the line has no gaps
    pad.mouse.up()
    pad.mouse.move(box["x"] + 6.5 * side, box["y"] + 7.5 * side)
    ink = ink_of(pad)
    assert (ink[3, 1:7] == 1).all()
    torch.testing.assert_close(ink[2, 1:7], torch.full((6,), 0.2, dtype=torch.float64), atol=0.02, rtol=0)
    assert (ink[5:] == 0).all()


def test_the_mouse_draws_where_it_points_on_a_slide_of_another_size(pad):
    pad.add_style_tag(content="body { transform: scale(1.4); transform-origin: 0 0 }")
    box = pad.locator("canvas").first.bounding_box()
    side = box["width"] / 8
    pad.mouse.click(box["x"] + 5.5 * side, box["y"] + 6.5 * side)
    ink = ink_of(pad)
    assert ink[6, 5] == ink.max() == 1


def test_ink_is_rubbed_out_and_the_pad_cleared(pad):
    pad.get_by_role("application").focus()
    pad.keyboard.press(" ")
    press(pad, "ArrowDown")
    pad.get_by_label("Rub out").check()
    pad.get_by_role("application").focus()
    press(pad, "ArrowUp")
    assert ink_of(pad)[3:5, 3].sum() == 0
    pad.get_by_label("Rub out").uncheck()
    press(pad, "ArrowDown")
    pad.get_by_role("button", name="Clear the pad").click()
    assert ink_of(pad).sum() == 0


def test_an_answer_is_shown_as_it_comes(pad):
    reply = {
        "scores": [0.0] * 9 + [1.0],
        "attention": [[0, 0], [0, 1]],
        "sentence": "The model says 9 (1.00).",
    }
    before = drawn(pad)
    pad.evaluate("(reply) => window.model.set('reply', reply)", reply)
    assert sentence(pad) == reply["sentence"]
    assert pad.get_by_label(re.compile("^9")).evaluate("(meter) => meter.value") == 1
    assert (drawn(pad) != before).any()
    corner = drawn(pad)[-20, -20]
    np.testing.assert_allclose(corner, 0.65 * 255 * np.array(colormaps["cividis"](255)[:3]), atol=2)


# ---- digit_pad of a model: what it answers is tested in test_pad_alone ----


def vit(**otherwise):
    torch.manual_seed(0)
    sizes = dict(image_size=(8, 6), patch_size=2, channels=1, dim=8, depth=2, num_heads=2, mlp_dim=12)
    model = ViT(**sizes | {"num_classes": 3} | otherwise)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return model


# ---- for everybody ----

MAKERS = {
    "slider": slider,
    "picker": lambda: position_picker(torch.eye(6), (2, 3)),
    "explorer": lambda: attention_explorer(torch.rand(1, 1, 4, 6), torch.full((1, 2, 2, 7, 7), 1 / 7), GRID),
    "likeness": lambda: widgets.likeness_picker(torch.rand(2, 3, 64, 96), torch.rand(2, 24, 5), (4, 6)),
    "pad": lambda: digit_pad(answer),
    "pad of a model": lambda: digit_pad(vit(), labels="abc"),
}
FOCUSABLE = "input, select, button, [tabindex]"


@pytest.mark.parametrize("name", MAKERS)
def test_every_control_has_a_name_and_is_reached_by_tab(page, name):
    show(page, MAKERS[name]())
    page.wait_for_selector(".vit-steps-sentence")
    controls = page.locator(FOCUSABLE)
    assert controls.count() >= 1
    reached = []
    for _ in range(controls.count()):
        page.keyboard.press("Tab")
        reached.append(
            page.evaluate(f"[...document.querySelectorAll('{FOCUSABLE}')].indexOf(document.activeElement)")
        )
    assert sorted(reached) == list(range(controls.count()))
    named = "(c) => (c.getAttribute('aria-label') || c.labels?.[0]?.textContent || c.textContent).trim()"
    assert all(controls.nth(number).evaluate(named) for number in reached)


@pytest.mark.parametrize("name", MAKERS)
def test_a_key_reaches_nobody_else_is_told_aloud_and_does_not_move_the_page(page, name):
    show(page, MAKERS[name]())
    page.wait_for_selector(".vit-steps img, .vit-steps canvas")
    page.evaluate("window.heard = 0; document.addEventListener('keydown', () => window.heard++)")
    height, before = page.evaluate("document.body.scrollHeight"), sentence(page)
    page.locator("[role=application], input[type=range]").first.focus()
    press(page, "ArrowUp ArrowDown ArrowRight")
    assert page.evaluate("window.heard") == 0
    assert page.evaluate("document.body.scrollHeight") == height
    assert page.locator("[aria-live=polite]").count() == 1
    assert name.startswith("pad") or sentence(page) != before


@pytest.mark.parametrize("name", MAKERS)
def test_jupyterlab_leaves_the_keys_to_every_control(page, name):
    show(page, MAKERS[name]())
    page.wait_for_selector(".vit-steps-sentence")
    marked = page.locator(f":is({FOCUSABLE})[data-lm-suppress-shortcuts=true]").count()
    assert marked == page.locator(FOCUSABLE).count()
