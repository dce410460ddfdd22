"""The lessons as slides: each fits a projector of 1280 × 720, reads well from the back, and asks nobody."""

import lab_driver
import pytest

if lab_driver.missing():
    pytest.skip(lab_driver.missing(), allow_module_level=True)

from offline_pages import LESSONS, visitor

every_lesson = pytest.mark.parametrize("name", LESSONS)
# What stands outside the slide, is wider than its box, or is too small for the back row.
FAULTS = """
() => {
  const slide = Reveal.getCurrentSlide().querySelector(".slide");
  const edge = slide.getBoundingClientRect();
  const seen = [...slide.querySelectorAll("*")].filter((each) => each.checkVisibility());
  const sizeOf = (each) => parseFloat(getComputedStyle(each).fontSize);
  const isOutside = (each) => {
    const { left, top, right, bottom, width, height } = each.getBoundingClientRect();
    return width && height && (left < 20 || top < 8 || right > edge.right - 20 || bottom > edge.bottom - 8);
  };
  const isTooWide = (each) => each.matches("pre, .formula") && each.scrollWidth > each.clientWidth + 1;
  const isTooSmall = (each) =>
    (each.matches(".words p, .words li") && sizeOf(each) < 21) ||
    (each.matches("pre") && sizeOf(each) < 17) ||
    (each.matches("img") && each.getBoundingClientRect().height < 100);
  return [isOutside, isTooWide, isTooSmall].flatMap((fault) =>
    seen.filter(fault).map((each) => `${fault.name}: ${each.tagName} ${each.textContent.slice(0, 40)}`));
}
"""


@pytest.fixture
def show(browser, site):
    with visitor(browser, site / "slides") as visit:

        def go(name):
            page = visit(name)
            page.wait_for_function("Reveal.isReady()")
            return page

        yield go


def slides(page):
    """Walk through a deck with the key of a presenter's remote control; ends on the last slide."""
    total = page.evaluate("Reveal.getTotalSlides()")
    for number in range(1, total + 1):
        assert page.evaluate("Reveal.getSlidePastCount()") + 1 == number
        yield number
        page.keyboard.press("PageDown")


@every_lesson
def test_every_slide_fits_can_be_read_and_says_where_in_the_lesson_it_is(show, name):
    page, faults = show(name), {}
    for number in slides(page):
        faults[number] = page.evaluate(FAULTS) + faults_of_heading(page)
    assert 20 < len(faults) <= 33, "a lesson of 45 minutes has about 30 slides"
    assert {number: found for number, found in faults.items() if found} == {}


def faults_of_heading(page) -> list[str]:
    here = page.locator("section.present:not(.stack) .slide")
    headed = here.locator("h1, h2, h3, .section").first.inner_text()
    filled = len(here.inner_text()) + here.locator("img").count() > len(headed)
    return (
        []
        if headed.strip() and filled
        else [f"headed {headed!r}, and holds {'more' if filled else 'no more'}"]
    )


@every_lesson
def test_a_deck_has_words_for_its_pictures_and_for_its_speaker(show, name):
    page = show(name)
    texts = page.locator("img").evaluate_all("(all) => all.map((image) => image.alt)")
    assert min(len(text.split()) for text in texts) >= 5
    assert page.locator("aside.notes").count() >= 9
    minutes = (
        "Reveal.getSlidesAttributes().reduce((sum, slide) => sum + parseInt(slide['data-timing']), 0) / 60"
    )
    assert page.evaluate(minutes) == (90 if name[0].isdigit() else 45)
    assert page.evaluate("Reveal.getConfig().defaultTiming") == 0, "without it the speaker sees no pace"
    assert page.title()[0] in "12345AB"
    assert page.locator("html").get_attribute("lang") == "en"


def test_the_explorer_lives_on_its_slide_and_its_keys_turn_no_page(show):
    page = show("4_encoder")
    explorer = page.locator("section.present:not(.stack) .awake")
    for _ in slides(page):
        if explorer.count():
            break
    assert explorer.locator("canvas").nth(1).bounding_box()["width"] > 330, "a hall sees no smaller map"
    stage, sentence = explorer.get_by_role("application"), explorer.locator(".vit-steps-sentence")
    told, here = sentence.inner_text(), page.url
    stage.focus()
    for key in ("ArrowDown", "ArrowRight"):
        page.keyboard.press(key)
    assert "row 1, column 2" in sentence.inner_text() != told
    explorer.get_by_label("block").focus()
    page.keyboard.press("ArrowUp")
    assert "block 3" in sentence.inner_text()
    assert page.url == here


def test_a_long_formula_is_as_large_as_the_others_or_as_wide_as_the_slide(show):
    page, sizes = show("1_patch_embedding"), []
    for _ in slides(page):
        for formula in page.locator("section.present:not(.stack) .formula.long").all():
            inner = formula.locator("math > *").first.bounding_box()["width"]
            size = formula.evaluate("(each) => parseFloat(each.style.fontSize)")
            sizes.append(size)
            assert size == 1.05 or inner > 0.9 * formula.bounding_box()["width"]
            assert inner < formula.bounding_box()["width"]
    assert max(sizes) == 1.05


def test_code_that_draws_is_left_out_and_code_that_prints_is_not(show):
    page = show("1_patch_embedding")
    text = page.evaluate("document.querySelector('.slides').textContent")
    assert "plt.subplots" not in text
    assert "image2patches(photo, patch_size=32)" in text
    assert "check_patches2image" in text, "the exercises are on the slides"
    assert "permute(0, 3, 1, 4, 2, 5)" not in text, "their solutions are not"


def test_the_front_page_lists_the_decks(show, browser, site):
    with visitor(browser, site / "slides") as visit:
        page = visit("index")
        links = page.locator("main a").evaluate_all("(all) => all.map((a) => a.getAttribute('href'))")
    assert links == [f"{name}.html" for name in LESSONS]
