"""The page of the explorer, opened from a folder with the network refused: what it draws and says."""

import importlib.util
import re
from base64 import b64decode
from contextlib import contextmanager
from io import BytesIO

import explorer_pages as pages
import lab_driver
import numpy as np
import pytest
import torch
from matplotlib import colormaps
from PIL import Image
from test_widgets_alone import Said, press

from vit_steps.looking import explorer_page as module
from vit_steps.looking.attention_maps import attention_rollout
from vit_steps.looking.explorer_page import explorer_page

if lab_driver.missing():
    pytest.skip(lab_driver.missing(), allow_module_level=True)

GRID = (3, 4)
BRIGHT, DARK = (255 * np.array(colormaps["cividis"](end)[:3]) for end in (255, 0))
OFF = 0.004  # of a row's brightest, at 8 bits


@contextmanager
def opened(browser, folder, text, **options):
    """The page in a window of its own; what it asks of the network, or complains of, is a failure."""
    faults, path = [], folder / "explorer.html"
    path.write_text(text, encoding="utf-8")
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 720}} | options)
    page = context.new_page()
    page.set_default_timeout(10_000)
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: message.type == "error" and faults.append(message.text))
    page.on("request", lambda request: request.url != path.as_uri() and faults.append(request.url[:80]))
    page.goto(path.as_uri())
    page.wait_for_selector(".vit-steps-sentence")
    try:
        yield page
    finally:
        context.close()
    assert faults == []


def sentence(page):
    return page.inner_text(".vit-steps-sentence")


def choose(page, **choices):
    for label, option in choices.items():
        page.get_by_label(label, exact=True).select_option(option)


def pixels_of(page, view):
    address = page.locator("canvas").nth(view).evaluate("(canvas) => canvas.toDataURL()")
    return np.asarray(Image.open(BytesIO(b64decode(address.partition(",")[2]))).convert("RGB")).astype(float)


def names_of(num_cls, grid=GRID):
    places = [f"row {row + 1}, column {col + 1}" for row, col in np.ndindex(grid)]
    return ["the CLS token"] * num_cls + places


def told(row, names):
    best = np.argsort(-np.asarray(row), kind="stable")[:3]
    percents = [100 * float(row[token]) for token in best]
    words = [
        f"{names[token]} ({each:.{0 if each >= 9.95 else 1}f} %)"
        for token, each in zip(best, percents, strict=True)
    ]
    return "; ".join(words)


# ---- a model with a control ----


@pytest.fixture(scope="module")
def traces():
    return [pages.made_up(3, 2, GRID, num_prefix=3, sharp=4.0, seed=seed) for seed in (0, 1)]


@pytest.fixture(scope="module")
def home(browser, traces, tmp_path_factory):
    text = explorer_page(
        pages.photograph(30, 60), (10, 0, 50, 30), GRID, traces[0],
        num_prefix=3, control=traces[1], title="a page", answers=[("cat", 0.75), ("dog <b>", 0.2)],
    )  # fmt: skip
    with opened(browser, tmp_path_factory.mktemp("page"), text) as page:
        yield page


@pytest.fixture
def page(home):
    choose(home, map="rollout", scale="to the brightest patch")
    home.locator(".vit-steps-stage").focus()
    press(home, "c")
    home.mouse.move(1, 1)
    return home


SHOWN = [0, *range(3, 15)]


def row_of(trace, name, query, block=2, head="mean"):
    if name == "rollout":
        return attention_rollout(trace.attention)[0][SHOWN[query], SHOWN]
    weights = trace.attention[0, block]
    weights = weights.mean(dim=0) if head == "mean" else weights[head]
    return weights[SHOWN[query], SHOWN]


def expected(traces, query, name="rollout", where="rollout through all 3 blocks", **more):
    says = "was drawn most from" if name == "rollout" else "looks most at"
    who = "The CLS token" if query == 0 else f"The patch in {names_of(1)[query]}"
    lines = [
        f"in the {one}: {told(row_of(trace, name, query, **more), names_of(1))}"
        for one, trace in zip(("model", "control"), traces, strict=True)
    ]
    return Said("\n".join([f"{who} ({where}) {says}", *lines]))


def test_it_opens_on_the_rollout_of_cls_and_says_why(page, traces):
    assert sentence(page) == expected(traces, 0)
    assert "far better than chance in all six" in page.inner_text("main")
    assert page.title() == page.inner_text("h1") == "a page"
    assert page.locator("[aria-live=polite]").count() == 1


def test_keys_walk_and_every_view_is_told_in_pythons_numbers(page, traces):
    for keys, query in (("ArrowDown", 1), ("ArrowRight ArrowDown", 6), ("ArrowLeft " * 3, 5), ("c", 0)):
        press(page, keys)
        assert sentence(page) == expected(traces, query)
    press(page, "ArrowDown ArrowDown")
    choose(page, map="attention in a block")
    for block, head in ((0, "mean"), (1, 0), (2, 1)):
        choose(page, block=str(block + 1), head="mean" if head == "mean" else str(head + 1))
        asked = "mean of heads" if head == "mean" else f"head {head + 1}"
        wanted = expected(traces, 5, "heads", f"block {block + 1}, {asked}", block=block, head=head)
        assert sentence(page) == wanted


def test_pointing_looks_and_clicking_stays(page, traces):
    box = page.locator("canvas").nth(1).bounding_box()
    scale = box["width"] / 60  # the photograph's pixels; a patch has 10, and CLS stands above
    place = lambda query: (  # noqa: E731
        box["x"] + (10 + 10 * ((query - 1) % 4) + 5) * scale,
        box["y"] + box["height"] - (30 - 10 * ((query - 1) // 4) - 5) * scale,
    )
    page.mouse.move(*place(7))
    assert sentence(page) == expected(traces, 7)
    page.mouse.move(box["x"] + 3 * scale, place(7)[1])  # beside the box, where there is no patch
    assert sentence(page) == expected(traces, 7)
    page.mouse.click(*place(12))
    page.mouse.move(*place(2))
    assert sentence(page) == expected(traces, 2)
    page.mouse.move(1, 1)
    assert sentence(page) == expected(traces, 12)
    page.mouse.click(box["x"] + 10, box["y"] + 10)
    assert sentence(page) == expected(traces, 0)


def test_likeness_is_the_cosine_of_the_tokens(page, traces):
    press(page, "ArrowDown ArrowRight")
    choose(page, map="likeness of tokens")
    lines = ["The patch in row 1, column 2 (tokens of the last block) is most like"]
    for name, trace in zip(("model", "control"), traces, strict=True):
        tokens = torch.nn.functional.normalize(trace.encoded[0, SHOWN].double(), dim=1)
        alike = tokens @ tokens[2]
        far = [token for token in range(13) if token == 0 or (token - 1) // 4 > 1 or (token - 1) % 4 > 2]
        best = sorted(far, key=lambda token, alike=alike: -alike[token])[:3]
        lines.append(
            f"in the {name}: " + "; ".join(f"{names_of(1)[each]} ({alike[each]:.2f})" for each in best)
        )
    assert sentence(page) == Said("\n".join(lines))
    assert all(page.get_by_label(label, exact=True).is_disabled() for label in ("block", "head", "scale"))


def test_what_is_unpacked_is_what_python_keeps(page, traces):
    """Every number of every row, as the page would draw it."""
    rows = page.evaluate(
        """() => [0, 1].map((map) => [0, 1, 2].map((block) => [0, 1, 2].map((head) =>
          Array.from({ length: 13 }, (_, query) =>
            [...explorer.kind.look(explorer, [1, block, head, 0], query).rows[map]]))))"""
    )
    for trace, found in zip(traces, np.array(rows), strict=True):
        heads = trace.attention[0][..., SHOWN, :][..., SHOWN]
        true = torch.cat([heads.mean(dim=1, keepdim=True), heads], dim=1).numpy()
        largest = true[..., 1:].max(axis=-1, keepdims=True)
        assert (abs(found - true)[..., 1:] <= OFF * largest).all()
        assert abs(found - true)[..., 0].max() < 1e-4


def test_both_maps_have_one_scale_and_a_cut_scale_says_so(page, traces):
    ends = lambda: [scale.inner_text().split("\n") for scale in page.locator(".vit-steps-scale").all()]  # noqa: E731
    rows = [row_of(trace, "rollout", 0)[1:] for trace in traces]
    most = 100 * max(row.max().item() for row in rows)
    assert ends() == [["0 %", Said(f"{most:.0f} %")]] * 2
    choose(page, scale="one patch in fifty beyond")
    assert ends() == [["0 %", Said(f"{most:.0f} %")]] * 2, "of twelve patches one in fifty is none"


def test_classes_stand_beside_it_as_text(page):
    assert page.locator(".answers li").all_inner_texts() == ["cat\n0.75", "dog <b>\n0.20"]
    assert page.get_by_label("cat").evaluate("(meter) => meter.value") == 0.75


def test_every_control_is_reached_by_tab_and_has_a_name(page):
    page.get_by_label("map", exact=True).focus()
    reached = []
    for _ in range(2):  # block and head change nothing in a rollout
        page.keyboard.press("Tab")
        reached.append(page.evaluate("document.activeElement.getAttribute('aria-label')"))
    assert reached == ["scale", "Choose a patch: arrow keys move, C goes to the CLS token"]
    choose(page, map="attention in a block")
    assert not page.get_by_label("block", exact=True).is_disabled()


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("dark", 1280), ("light", 1280)])
def test_it_fits_the_screen_and_axe_finds_nothing_serious(page, scheme, width):
    page.set_viewport_size({"width": width, "height": 720})
    page.emulate_media(color_scheme=scheme)
    try:
        words = pixels_of(page, 1)[2:30, 40:110]  # "CLS token", in the page's colour
        assert (words.max() > 200) == (scheme == "dark")
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        views = [page.locator("canvas").nth(view).bounding_box() for view in range(3)]
        assert all(box["x"] >= 0 and box["x"] + box["width"] <= width for box in views)
        assert (len({round(box["y"]) for box in views}) == 1) == (width > 1000), (
            "side by side where there is room"
        )
        if importlib.util.find_spec("axe_playwright_python"):
            from test_axe import violations

            assert violations(page) == []
    finally:
        page.emulate_media(color_scheme="light")
        page.set_viewport_size({"width": 1280, "height": 720})


# ---- other models, other photographs ----


@pytest.mark.parametrize(
    ("height", "width", "box"),
    [
        (90, 60, (0, 15, 60, 75)),
        (60, 90, (21, 6, 69, 54)),
        (8, 8, (0, 0, 8, 8)),
        (700, 90, (10, 300, 85, 375)),
    ],
    ids=["portrait", "landscape", "tiny", "tall and narrow"],
)
def test_map_and_picture_lie_on_each_other_to_the_pixel(browser, tmp_path, height, width, box):
    """All look at the patch in row 3, column 2 of 5 × 5, which alone is white in the photograph."""
    left, top, right, bottom = box
    photo = np.zeros((height, width, 3), dtype=np.uint8)
    across, down = (right - left) / 5, (bottom - top) / 5
    white = [top + 2 * down, top + 3 * down, left + across, left + 2 * across]
    up, low, start, end = map(round, white)
    photo[up:low, start:end] = 255
    trace = pages.made_up(1, 1, (5, 5), num_prefix=0)
    trace.attention[:] = torch.eye(25)[11]
    with opened(browser, tmp_path, explorer_page(photo, box, (5, 5), trace, num_prefix=0, title="x")) as page:
        choose(page, map="attention in a block")
        page.mouse.move(1, 1)
        press_far_from_it(page)
        picture, looked = pixels_of(page, 0), pixels_of(page, 1)
    assert picture.shape == looked.shape
    assert looked.shape[1] / looked.shape[0] == pytest.approx(width / height, abs=2 / min(looked.shape[:2]))
    scale = looked.shape[0] / height
    is_bright = abs(looked - BRIGHT).max(axis=2) < 60
    rows, cols = is_bright.any(axis=1).nonzero()[0], is_bright.any(axis=0).nonzero()[0]
    found = [rows[0], rows[-1] + 1, cols[0], cols[-1] + 1]
    np.testing.assert_allclose(found, [scale * edge for edge in white], atol=1.5)
    middle = (round(scale * (white[0] + white[1]) / 2), round(scale * (white[2] + white[3]) / 2))
    assert picture[middle].min() > 230
    np.testing.assert_allclose(looked[middle], BRIGHT, atol=2)
    corner = round(scale * (top + 0.5 * down)), round(scale * (left + 3.5 * across))
    np.testing.assert_allclose(looked[corner], DARK, atol=2)
    assert picture[corner].max() < 25


def press_far_from_it(page):
    page.locator(".vit-steps-stage").focus()
    press(page, "ArrowDown " * 5 + "ArrowRight " * 5)


@pytest.mark.parametrize("num_prefix", [0, 2])
def test_without_a_cls_token_there_is_none_to_go_to(browser, tmp_path, num_prefix):
    trace = pages.made_up(2, 2, GRID, num_prefix=num_prefix, sharp=3.0, pooling=True)
    page_text = explorer_page(
        pages.photograph(30, 40), (0, 0, 40, 30), GRID, trace,
        num_prefix=num_prefix, class_token=False, title="x",
    )  # fmt: skip
    names, rolled = names_of(0), attention_rollout(trace.attention)[0][num_prefix:, num_prefix:]
    probe = trace.pooling[0, :, 0]
    with opened(browser, tmp_path, page_text) as page:
        line = told(probe.mean(dim=0) @ rolled, names)
        start = "By rollout through all 2 blocks, the answer was drawn most from"
        assert sentence(page) == Said(f"{start}\nin the model: {line}")
        assert "CLS" not in page.inner_text("#explorer")
        choose(page, map="the probe that pools", head="2")
        assert sentence(page) == Said(
            f"The probe that pools (head 2) looks most at\nin the model: {told(probe[1], names)}"
        )
        choose(page, map="rollout")
        page.locator(".vit-steps-stage").focus()
        press(page, "c ArrowUp ArrowUp")
        line = told(rolled[2], names)
        start = "The patch in row 1, column 3 (rollout through all 2 blocks) was drawn most from"
        assert sentence(page) == Said(f"{start}\nin the model: {line}")


def test_where_only_rows_of_cls_are_kept_it_is_cls_that_looks(browser, tmp_path, monkeypatch):
    trace = pages.made_up(4, 6, (8, 8), sharp=2.0)
    small = dict(num_prefix=1, title="x")
    monkeypatch.setattr(module, "LIMIT", 62_000)
    text = explorer_page(pages.photograph(30, 30), (0, 0, 30, 30), (8, 8), trace, **small)
    assert pages.data_of(text)["kept"] == {"heads": "cls", "mean": "all", "rollout": "all"}
    with opened(browser, tmp_path, text) as page:
        page.locator(".vit-steps-stage").focus()
        press(page, "ArrowDown ArrowDown ArrowDown")
        choose(page, map="attention in a block", block="2", head="5")
        who, line, note = sentence(page).split("\n")
        assert who == "The CLS token (block 2, head 5) looks most at"
        assert line == Said(f"in the model: {told(trace.attention[0, 1, 4, 0], names_of(1, (8, 8)))}")
        assert note == "Of single heads this page keeps what the CLS token looks at, and no patch."
        choose(page, head="mean")
        assert re.match(r"The patch in row 3, column 1 \(block 2, mean of heads\)", sentence(page))


def test_one_patch_that_dazzles_is_cut_and_the_scale_says_so(browser, tmp_path):
    trace = pages.made_up(1, 1, (10, 10), sharp=0.1)
    trace.attention[..., 7] = 0.5
    text = explorer_page(pages.photograph(30, 30), (0, 0, 30, 30), (10, 10), trace, num_prefix=1, title="x")
    with opened(browser, tmp_path, text) as page:
        assert page.locator(".vit-steps-scale").inner_text().split("\n")[1].startswith("≥ 0.")
        choose(page, scale="to the brightest patch")
        assert page.locator(".vit-steps-scale").inner_text() == Said("0 %\n20 %")
