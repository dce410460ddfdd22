"""The lessons as pages, opened from a folder by a browser that may ask the network for nothing."""

from itertools import pairwise

import lab_driver
import pytest

if lab_driver.missing():
    pytest.skip(lab_driver.missing(), allow_module_level=True)

from offline_pages import LESSONS

PAGES = ["index", *LESSONS]
WIDGETS = {"2_cls_token": 0, "5_classification": 2, "a_looking_inside": 0}
every_page = pytest.mark.parametrize("name", PAGES)
every_lesson = pytest.mark.parametrize("name", LESSONS)


def canvases(widget):
    return widget.locator("canvas").evaluate_all("(all) => all.map((canvas) => canvas.toDataURL())")


# ---- every page ----


@every_page
def test_a_page_says_what_it_is_and_where_it_begins(visit, name):
    page = visit(name)
    assert page.locator("html").get_attribute("lang") == "en"
    assert page.locator("main").count() == page.locator("h1").count() == 1
    assert page.title().startswith("vit-steps" if name == "index" else page.inner_text("h1"))
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    assert page.locator("nav [aria-current=page]").count() == 1


@every_page
def test_headings_go_down_one_level_at_a_time(visit, name):
    tags = visit(name).locator("h1, h2, h3, h4, h5, h6").evaluate_all("(all) => all.map((h) => h.tagName)")
    levels = [int(tag[1]) for tag in tags]
    assert levels[0] == 1
    assert all(level <= before + 1 for before, level in pairwise(levels))


@every_page
def test_every_picture_says_what_it_shows(visit, name):
    texts = visit(name).locator("img").evaluate_all("(all) => all.map((image) => image.alt)")
    assert texts
    for text in texts:
        assert len(text.split()) >= 5, text
        assert text.lower().strip(".") not in {"figure", "image", "picture", "plot"}


@every_page
def test_every_link_inside_the_folder_leads_somewhere(visit, site, name):
    page = visit(name)
    links = page.locator("a").evaluate_all("(all) => all.map((a) => a.getAttribute('href'))")
    inside = [link for link in links if not link.startswith("https:")]
    assert len(inside) > 5
    for link in inside:
        file, _, anchor = link.partition("#")
        there = site / (file or f"{name}.html")
        assert there.exists(), link
        assert not anchor or there.read_text(encoding="utf-8").count(f' id="{anchor}"') == 1, link


def test_lessons_and_the_page_at_work_lead_to_each_other(visit):
    for name in LESSONS:
        page = visit(name)
        step = name[0] if name[0].isdigit() else None
        page.locator("main .at-work a").click()
        page.wait_for_url(f"**/at_work.html#{f'step-{step}' if step else 'what-if'}", wait_until="load")
        if step:
            page.locator(f"#step-{step} a.lesson").click()
            page.wait_for_url(f"**/{name}.html")


def test_the_page_at_work_is_the_first_on_the_index(visit):
    assert visit("index").locator("main a").first.get_attribute("href") == "at_work.html"


@every_page
def test_no_page_scrolls_sideways_on_a_phone(visit, name):
    page = visit(name, viewport={"width": 390, "height": 800})
    assert page.evaluate("document.documentElement.scrollWidth") == 390


def test_one_can_walk_through_all_lessons_and_back(visit):
    page = visit("index")

    def follow(link, name):
        page.locator(link).first.click()
        page.wait_for_url(f"**/{name}.html", wait_until="load")

    follow(".lessons h2 a", LESSONS[0])
    assert page.locator("a[rel=prev]").count() == 0
    for name in LESSONS[1:]:
        follow("a[rel=next]", name)
    assert page.locator("a[rel=next]").count() == 0
    for name in LESSONS[-2::-1]:
        follow("a[rel=prev]", name)
    follow("nav >> text=vit-steps", "index")


@every_lesson
def test_the_contents_are_the_lesson_s_sections(visit, name):
    page = visit(name)
    sections = page.locator("main h2").all_inner_texts()
    assert len(sections) > 3
    assert page.locator(".contents .sections li").all_inner_texts() == sections


@every_lesson
def test_formulas_are_drawn_and_none_is_left_in_tex(visit, name):
    page = visit(name)
    sizes = page.locator("main math").evaluate_all(
        "(all) => all.filter((m) => !m.closest('details')).map((m) => m.getBoundingClientRect().width)"
    )
    assert sizes
    assert min(sizes) > 3
    words = page.locator(".words").all_text_contents()
    assert not [text for text in words if "$" in text or "\\mathbf" in text or "\\frac" in text]


def test_a_formula_is_mathml_with_the_right_parts(visit):
    page = visit("4_encoder")
    scaled = page.locator(".formula math").first
    assert scaled.locator("mfrac msqrt").count() == 1
    assert scaled.text_content().startswith("A=softmax")


# ---- widgets without a kernel ----


def test_the_explorer_answers_keys_and_pointer(visit):
    explorer = visit("4_encoder").locator(".awake")
    page, sentence = explorer.page, explorer.locator(".vit-steps-sentence")
    before, told = canvases(explorer), sentence.inner_text()
    explorer.get_by_role("application").focus()
    page.keyboard.press("ArrowDown")
    assert canvases(explorer) != before
    assert sentence.inner_text() != told

    before, told = canvases(explorer), sentence.inner_text()
    view = explorer.locator("canvas").nth(1)
    view.scroll_into_view_if_needed()
    box = view.bounding_box()
    page.mouse.move(box["x"] + box["width"] - 20, box["y"] + box["height"] - 20)
    assert "The patch in row 4, column 4" in sentence.inner_text()
    assert canvases(explorer) != before

    told = sentence.inner_text()
    explorer.get_by_label("block").select_option("1")
    assert sentence.inner_text() != told
    assert not explorer.locator(".stored").is_visible()


def test_the_explorer_writes_in_the_page_s_colour_also_when_that_changes(visit):
    page = visit("4_encoder")
    # The words "CLS token" stand beside the token's square; of their opaque pixels, all reds.
    reds = """(canvas) => {
      const { data } = canvas.getContext("2d").getImageData(40, 0, 70, 30);
      const reds = [...data].filter((_, place) => place % 4 === 0);
      return reds.filter((_, pixel) => data[4 * pixel + 3] > 250);
    }"""
    seen = page.locator(".awake canvas").all()
    for canvas in seen:
        assert min(canvas.evaluate(reds)) < 60
    page.locator("#theme").click()
    for canvas in seen:
        assert min(canvas.evaluate(reds)) > 200


def test_the_picker_answers_keys(visit):
    picker = visit("3_position_embedding").locator(".awake")
    before = canvases(picker)
    picker.get_by_role("application").focus()
    picker.page.keyboard.press("ArrowLeft")
    assert all(now != then for now, then in zip(canvases(picker), before, strict=True))
    assert "row 4, column 3" in picker.locator(".vit-steps-sentence").inner_text()


def test_the_likeness_picker_answers_keys_and_another_photograph(visit):
    picker = visit("real_vits").locator(".awake")
    sentence = picker.locator(".vit-steps-sentence")
    assert "row 26, column 11" in sentence.inner_text()  # the emblem
    before, told = canvases(picker), sentence.inner_text()
    picker.get_by_role("application").focus()
    picker.page.keyboard.press("ArrowUp")
    assert "row 25, column 11" in sentence.inner_text()
    assert all(now != then for now, then in zip(canvases(picker), before, strict=True))
    picker.get_by_label("image").select_option("chelsea")
    assert sentence.inner_text() != told


def test_the_slider_turns_its_pictures(visit):
    slider = visit("1_patch_embedding").locator(".awake")
    shown = slider.locator(".alive img")
    shown.wait_for()
    before = shown.get_attribute("src"), shown.get_attribute("alt")
    slider.get_by_label("patch_size").press("ArrowRight")
    assert shown.get_attribute("src") != before[0]
    assert shown.get_attribute("alt") != before[1]
    assert shown.evaluate("(image) => image.naturalWidth") > 500


def test_the_pad_answers_without_a_kernel(visit):
    pad = visit("5_classification").locator(".awake", has_text="draw here")
    sentence, stage = pad.locator(".vit-steps-sentence"), pad.get_by_role("application")
    assert sentence.inner_text().startswith("The model says 3")
    pad.get_by_role("button", name="Clear the pad").click()
    stage.focus()
    for key in ["ArrowUp"] * 3 + ["ArrowRight", " ", *["ArrowDown"] * 6]:
        pad.page.keyboard.press(key)
    assert sentence.inner_text().startswith("The model says 1")
    best = pad.locator("meter").nth(1).evaluate("(meter) => meter.value")
    assert best > 0.5


def test_what_needs_a_kernel_says_so_beside_its_last_picture(visit):
    page = visit("5_classification")
    curve = page.locator(".widget:not([data-live])", has=page.locator("img"))
    assert curve.count() == 1
    assert "make lab" in curve.inner_text()
    assert curve.locator("img").get_attribute("alt").startswith("The training curve")
    assert curve.locator("img").evaluate("(image) => image.naturalWidth") == 600
    assert "%|" not in page.inner_text("main"), "a progress bar that stands still"


@every_lesson
def test_without_scripts_every_widget_shows_its_picture(visit, name):
    page = visit(name, java_script_enabled=False)
    pictures = page.locator(".widget img")
    assert all(picture.is_visible() for picture in pictures.all())
    assert pictures.count() == WIDGETS.get(name, 1)


# ---- code, solutions, paper ----


def test_a_solution_is_folded_until_it_is_opened_and_not_printed(visit):
    page = visit("2_cls_token")
    solution, hint = page.locator("details.solution").first, page.locator("main details:not([class])").first
    code = solution.locator(".highlight")
    assert not code.is_visible()
    solution.locator("summary").click()
    assert code.is_visible()
    folded = page.locator("details:not([open])").count()
    assert folded
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print")
    printed = "details:not(.solution, .drawing)"
    assert page.locator(f"main {printed}:not([open])").count() == 0
    assert hint.locator("p").first.is_visible()
    for left_out in page.locator(".solution, .drawing").all():
        assert not left_out.is_visible(), "an exercise on paper with its answer below it"
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert page.locator("details:not([open])").count() == folded


def test_a_link_on_paper_says_where_it_leads_and_the_dark_is_left_behind(visit):
    page = visit("2_cls_token", color_scheme="dark")
    behind = "(link) => getComputedStyle(link, '::after').content"
    paper = page.locator('.words a[href^="https"]').first
    assert paper.evaluate(behind) == "none"
    page.emulate_media(media="print", color_scheme="dark")
    assert paper.evaluate(behind) == f'" ({paper.get_attribute("href")})"'
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_paper_shows_pictures_and_no_ways_through(visit):
    page = visit("4_encoder")
    explorer = page.locator(".awake")
    page.emulate_media(media="print")
    assert not any(nav.is_visible() for nav in page.locator("nav, .tools").all())
    assert explorer.locator(".stored img").is_visible()
    assert not explorer.locator(".alive").is_visible()


def test_every_code_cell_is_there_in_colour(visit):
    page = visit("1_patch_embedding")
    code = page.locator(".code").first.inner_text()
    assert code.startswith("import time\nimport torch")
    colours = page.locator(".code .highlight span[class]").evaluate_all(
        "(all) => [...new Set(all.map((span) => getComputedStyle(span).color))]"
    )
    assert len(colours) >= 4
