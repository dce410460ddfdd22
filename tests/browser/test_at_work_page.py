"""The page at_work.html for everybody: by key, by finger, in the dark, at every width, in Firefox."""

import re

import lab_driver
import pytest
import torch

if lab_driver.missing():
    pytest.skip(lab_driver.missing(), allow_module_level=True)

from at_work_hands import KINDS, opened, pin, place, reset, sentence

from vit_steps.data import load_digits_images

WIDTHS = (360, 390, 480, 640, 768, 900, 1024, 1280, 1600)
CONTROLS = "a[href], button, input, select, summary, [tabindex='0']"
# How many are reached by Tab, a group of radio buttons at the chosen one; and which one is in focus.
REACHABLE = f"""
() => [...document.querySelectorAll("{CONTROLS}")].filter((control) =>
  control.checkVisibility() && !control.disabled && (control.type !== "radio" || control.checked)).length
"""
IN_FOCUS = f"""
() => {{
  const {{ activeElement: here }} = document;
  const name = here.getAttribute("aria-label") || here.labels?.[0]?.textContent || here.textContent;
  return [[...document.querySelectorAll("{CONTROLS}")].indexOf(here), name.trim()];
}}
"""
STEPS = """
() => ["draw", "step-1", "step-2", "step-3", "step-4", "step-5"].map((id) => {
  const { left, top, right, bottom } = document.getElementById(id).getBoundingClientRect();
  return [left, top, right, bottom];
})
"""
CLIPPED = """
() => [...document.querySelectorAll("h1, h2, main p, button, legend, canvas, .answer")]
  .filter((one) => one.checkVisibility() && !one.closest("#origin, .unseen"))
  .filter((one) => getComputedStyle(one).clipPath === "none") // else it is for the ear alone
  .filter((one) => one.scrollWidth > one.clientWidth + 1 || one.getBoundingClientRect().right > innerWidth)
  .map((one) => one.id || one.textContent)
"""
TABLE_WIDTHS = """
() => [...document.querySelectorAll(".steps canvas")].map((one) => one.getBoundingClientRect().width)
"""
TOO_SMALL_FOR_A_FINGER = """
() => [...document.querySelectorAll("button, select, fieldset label")]
  .filter((one) => one.checkVisibility())
  .filter((one) => Math.min(one.getBoundingClientRect().height, one.getBoundingClientRect().width) < 30)
  .map((one) => one.textContent)
"""
SPOKEN = """
(aloud) => document.getElementById("spoken").textContent.replaceAll(" to the power of ", "") === aloud
"""
PAINTED = "new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))"


@pytest.fixture(scope="module")
def one_page(browser, address):
    with opened(browser, address, reduced_motion="reduce") as page:
        yield page


@pytest.fixture
def at_work(one_page):
    reset(one_page)
    return one_page


@pytest.fixture(scope="module")
def one_phone(browser, address):
    phone = {"width": 390, "height": 844}
    with opened(
        browser, address, viewport=phone, has_touch=True, is_mobile=True, reduced_motion="reduce"
    ) as page:
        yield page


@pytest.fixture
def phone(one_phone):
    reset(one_phone)
    return one_phone


def press(page, keys):
    for key in keys.split():
        page.keyboard.press(key)


def ink(page):
    return torch.tensor(page.evaluate("at_work.state.image"))


def settled(page):
    page.evaluate(PAINTED)


# ---- keys ----


def test_every_control_is_reached_by_tab_and_has_a_name(at_work):
    reached = []
    for _ in range(at_work.evaluate(REACHABLE)):
        at_work.keyboard.press("Tab")
        reached.append(at_work.evaluate(IN_FOCUS))
    assert all(name for _, name in reached)
    assert len({control for control, _ in reached}) == len(reached) > 30


def test_a_digit_is_drawn_with_keys(at_work):
    at_work.click("#clear")
    at_work.locator("#pad").focus()
    press(at_work, "ArrowUp ArrowUp ArrowUp ArrowUp ArrowUp ArrowUp ArrowUp ArrowDown")
    assert not ink(at_work).any()
    press(at_work, "Space ArrowDown ArrowDown ArrowDown ArrowDown ArrowDown")
    settled(at_work)
    assert (ink(at_work)[1:7].amax(dim=1) == 1).all()
    assert "says 1" in at_work.inner_text("#says")


@pytest.mark.parametrize("kind", KINDS)
def test_keys_walk_over_a_table_and_each_step_is_told_aloud(at_work, kind):
    canvas = KINDS[kind][0]
    pin(at_work, "answer" if kind != "answer" else "tokens", 0, 0)
    at_work.locator(f"#{canvas}").focus()
    told = [sentence(at_work)]
    for key in ("ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown", "ArrowLeft", "ArrowDown"):
        at_work.keyboard.press(key)
        told.append(sentence(at_work))
    assert len(set(told)) >= 4
    pinned = at_work.evaluate("at_work.state.pinned")
    assert pinned["kind"] == kind
    aloud = f"{at_work.inner_text('#says')}. {sentence(at_work)}"
    at_work.wait_for_function(SPOKEN, arg=aloud)
    press(at_work, "ArrowUp " * 20 + "ArrowLeft " * 70)
    assert at_work.evaluate("[at_work.state.pinned.row, at_work.state.pinned.col]") == [0, 0]


def test_c_goes_to_the_cls_token(at_work):
    pin(at_work, "stream", 9, 30)
    press(at_work, "c")
    assert sentence(at_work).startswith("Number 31 of the token of the CLS token")


def test_blocks_and_heads_are_chosen_by_key(at_work):
    at_work.locator("#blocks input").first.focus()
    press(at_work, "ArrowRight ArrowRight Tab ArrowRight")
    assert at_work.evaluate("[at_work.state.block, at_work.state.head]") == [2, 4]
    assert sentence(at_work).startswith("In block 3")
    assert at_work.inner_text("#after-block") == "after block 3"


# ---- pointing ----


def test_pointing_looks_and_clicking_stays(at_work):
    pin(at_work, "attention", 4, 4)
    stays = sentence(at_work)
    at_work.mouse.move(*place(at_work, "attention", 0, 8))
    assert "the CLS token looks at patch 8" in sentence(at_work)
    at_work.mouse.move(1, 1)
    assert sentence(at_work) == stays


def test_each_corner_of_each_table_is_hit(at_work):
    sizes = "([name, { kind, numRows, numCols }]) => [name, kind, numRows, numCols]"
    for canvas, kind, num_rows, num_cols in at_work.evaluate(f"Object.entries(at_work.grids).map({sizes})"):
        last_row, last_col = num_rows - 1, num_cols - 1
        for row, col in ((0, 0), (1, 1), (last_row, 0), (0, last_col), (last_row, last_col)):
            for down in (0.12, 0.88):
                pin(at_work, canvas, row, col, down)
                assert at_work.evaluate("at_work.state.pinned") == {"kind": kind, "row": row, "col": col}


def test_the_mouse_draws_and_rubs_out(at_work):
    at_work.click("#clear")
    box = at_work.locator("#pad").bounding_box()
    side = box["width"] / 8
    at_work.mouse.move(box["x"] + 1.5 * side, box["y"] + 3.5 * side)
    at_work.mouse.down()
    at_work.mouse.move(box["x"] + 6.5 * side, box["y"] + 3.5 * side)
    at_work.mouse.up()
    settled(at_work)
    assert (ink(at_work)[3, 1:7] == 1).all()
    assert (ink(at_work)[5:] == 0).all()
    at_work.get_by_label("Rub out").check()
    at_work.mouse.click(box["x"] + 3.5 * side, box["y"] + 3.5 * side)
    settled(at_work)
    assert ink(at_work)[3, 3] == 0


def test_a_finger_chooses_a_number(phone):
    phone.touchscreen.tap(*place(phone, "attention", 0, 3))
    phone.wait_for_function("at_work.state.pinned.col === 3")  # a tap becomes a click a little later
    assert "the CLS token looks at patch 3" in sentence(phone)


def test_a_finger_that_scrolls_over_a_table_chooses_nothing(phone):
    before, (x, y) = phone.evaluate("at_work.state.pinned"), place(phone, "tokens", 8, 30)
    cdp = phone.context.new_cdp_session(phone)
    cdp.send(
        "Input.synthesizeScrollGesture", {"x": x, "y": y, "yDistance": -200, "gestureSourceType": "touch"}
    )
    assert phone.evaluate("at_work.state.pinned") == before


def test_what_a_number_comes_from_can_be_put_away_on_a_phone(phone):
    phone.touchscreen.tap(*place(phone, "positions", 3, 3))
    phone.locator("#origin").wait_for(state="visible")
    phone.get_by_role("button", name="Less").tap()
    phone.locator("#origin").wait_for(state="hidden")
    assert phone.get_by_role("button", name="More").get_attribute("aria-expanded") == "false"
    assert "Patch 3" in sentence(phone)


def test_a_finger_draws_on_the_pad(phone):
    phone.evaluate("document.getElementById('clear').click()")
    box = phone.locator("#pad").bounding_box()
    settled(phone)
    cdp = phone.context.new_cdp_session(phone)
    touch = lambda kind, *points: cdp.send(  # noqa: E731
        "Input.dispatchTouchEvent", {"type": kind, "touchPoints": [{"x": x, "y": y} for x, y in points]}
    )
    middle, top, bottom = box["x"] + box["width"] * 0.5, box["y"] + 20, box["y"] + box["height"] - 20
    touch("touchStart", (middle, top))
    for step in range(1, 9):
        touch("touchMove", (middle, top + (bottom - top) * step / 8))
    touch("touchEnd")
    settled(phone)
    assert phone.evaluate("window.scrollY") == 0, "the page moved under the finger"
    assert "says 1" in phone.inner_text("#says")


# ---- the tour ----


def test_the_tour_has_six_stops_and_is_left_where_one_likes(at_work):
    at_work.get_by_role("button", name="Show me around").press("Enter")
    said, lit = [], []
    for stop in range(1, 7):
        assert at_work.inner_text("#tour-place") == f"Stop {stop} of 6"
        said.append(at_work.inner_text("#tour-says"))
        lit.append(at_work.locator(".lit").get_attribute("id"))
        assert at_work.evaluate("document.activeElement.id") == "tour-next"
        at_work.keyboard.press("Enter")
    assert len(set(said)) == 6
    assert lit == ["draw", "step-1", "step-3", "step-4", "step-5", "what-if"]
    assert at_work.locator("#tour").is_hidden()
    assert at_work.evaluate("document.activeElement.id") == "start-tour"
    at_work.keyboard.press("Enter")
    press(at_work, "ArrowRight ArrowRight ArrowLeft")
    assert at_work.inner_text("#tour-place") == "Stop 2 of 6"
    at_work.locator("#attention").focus()
    at_work.keyboard.press("Escape")
    assert at_work.locator("#tour").is_hidden()
    assert at_work.locator(".lit").count() == 0


# ---- looks ----


@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_is_wider_than_the_screen_or_lies_on_something_else(at_work, width):
    at_work.set_viewport_size({"width": width, "height": 720})
    try:
        assert at_work.evaluate("document.documentElement.scrollWidth") <= width
        found = at_work.evaluate(STEPS)
        for number, (left, top, right, bottom) in enumerate(found):
            assert 0 <= left < right <= width
            for other_left, other_top, other_right, other_bottom in found[number + 1 :]:
                apart = (
                    right <= other_left or other_right <= left or bottom <= other_top or other_bottom <= top
                )
                assert apart, (width, number)
        assert at_work.evaluate(CLIPPED) == []
        assert min(at_work.evaluate(TABLE_WIDTHS)) >= 70
        assert width > 740 or at_work.evaluate(TOO_SMALL_FOR_A_FINGER) == []
    finally:
        at_work.set_viewport_size({"width": 1280, "height": 720})


def test_in_a_lecture_hall_the_way_and_the_origin_are_on_one_screen(at_work):
    assert at_work.locator("#origin figure").first.bounding_box()["y"] < 560
    origin = at_work.locator("#origin").bounding_box()
    assert origin["y"] + origin["height"] <= 720
    lines = at_work.evaluate(
        "Object.values(at_work.grids).slice(1, 5).map((grid) => grid.canvas.getBoundingClientRect().bottom)"
    )
    assert max(lines) - min(lines) < 1, "a token is one line across the page"


def test_in_the_dark_the_tables_are_dark(at_work):
    corner = """() => {
      const canvas = document.getElementById("tokens");
      const { data } = canvas.getContext("2d").getImageData(0, 60, canvas.width, canvas.height - 60);
      const opaque = data.filter((_, place) => place % 4 === 0 && data[place + 3] === 255);
      return opaque.reduce((sum, value) => sum + value, 0) / opaque.length;
    }"""
    light = at_work.evaluate(corner)
    at_work.emulate_media(color_scheme="dark")
    settled(at_work)
    dark = at_work.evaluate(corner)
    background = at_work.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    at_work.emulate_media(color_scheme="light")
    assert light > 180 > 100 > dark
    assert background == "rgb(22, 22, 28)"


def test_an_example_writes_itself_and_not_for_who_wants_no_motion(at_work):
    frames = """async () => {
      let frames = 0;
      const goal = at_work.EXAMPLES[7].pixels;
      document.querySelectorAll("#examples button")[7].click();
      const isDone = () => at_work.state.image.flat().every((value, place) => value === goal[place] / 16);
      for (; !isDone(); frames++) await new Promise(requestAnimationFrame);
      return frames;
    }"""
    assert at_work.evaluate(frames) == 0
    at_work.emulate_media(reduced_motion="no-preference")
    moving = at_work.evaluate(frames)
    at_work.emulate_media(reduced_motion="reduce")
    assert moving > 3


# ---- axe ----


@pytest.mark.parametrize(("scheme", "width"), [("light", 390), ("light", 1280), ("dark", 1280)])
def test_axe_finds_nothing_serious(at_work, scheme, width):
    axe = pytest.importorskip("test_axe", reason="no axe-core: pip install axe-playwright-python")
    at_work.set_viewport_size({"width": width, "height": 720})
    at_work.emulate_media(color_scheme=scheme)
    at_work.click("#if-positions")
    at_work.click("#start-tour")
    at_work.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    found = axe.violations(at_work)
    at_work.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = false; })")
    at_work.emulate_media(color_scheme="light")
    at_work.set_viewport_size({"width": 1280, "height": 720})
    assert found == []


# ---- Firefox ----


def test_firefox_computes_draws_and_walks(firefox, address, at_work):
    firefox.goto(address.as_uri())
    ask = "(image) => at_work.trace(image, at_work.model()).logits"
    for digit in load_digits_images("test")[0][:12].double().tolist():
        given, wanted = (
            torch.tensor(page.evaluate(ask, digit), dtype=torch.float64) for page in (firefox, at_work)
        )
        torch.testing.assert_close(given, wanted, rtol=0, atol=1e-12)
    text = lambda id: firefox.evaluate(f"document.getElementById('{id}').textContent")  # noqa: E731
    firefox.evaluate("document.getElementById('clear').click()")
    box = firefox.evaluate("document.getElementById('pad').getBoundingClientRect()")
    left, top, side = (box[name] for name in ("left", "top", "width"))
    firefox.draw(*((left + x * side, top + y * side) for x, y in ((0.3, 0.2), (0.7, 0.2), (0.45, 0.9))))
    firefox.evaluate(PAINTED)
    assert "says 7" in text("says")
    firefox.evaluate("document.getElementById('attention').focus()")
    before = text("sentence")
    firefox.press("ArrowRight")
    assert re.match(r"In block 1, head \d, .* looks at patch \d", text("sentence"))
    assert text("sentence") != before
    assert firefox.evaluate("document.documentElement.scrollWidth") <= 1280
    assert firefox.complaints == []
