"""What stands around the lessons: search, the dark, the API, downloads, and the page for a lost address."""

import functools
import http.server
import threading
from itertools import pairwise
from urllib.request import urlopen

import lab_driver
import pytest

if lab_driver.missing():
    pytest.skip(lab_driver.missing(), allow_module_level=True)

from offline_pages import LESSONS, ROOT

LIGHT, DARK = "rgb(255, 255, 255)", "rgb(22, 22, 28)"
GROUND = "getComputedStyle(document.body).backgroundColor"


# ---- search ----


def search(page, asked):
    """Ask by keyboard alone, and give what is told and the links."""
    page.keyboard.press("Escape")
    page.evaluate("document.activeElement.blur()")
    page.keyboard.press("/")
    page.keyboard.type(asked)
    page.locator("#found [role=status]", has_text=f"“{asked}”").wait_for()
    return page.locator("#found [role=status]").inner_text(), page.locator("#found li")


@pytest.mark.parametrize(
    ("asked", "section", "where", "address"),
    [
        ("divide by", "Why divide by √d?", "4 · Encoder", "4_encoder.html#why-divide-by-d"),
        ("fourteen", "Ask fourteen times, not once", "B · Real ViTs", "real_vits.html#ask-fourteen"),
        ("merge_heads", "merge_heads", "API: the five steps", "api_the_five_steps.html#encoder.merge_heads"),
    ],
)
def test_the_search_finds_lessons_excursions_and_the_api_and_leads_there(
    visit, asked, section, where, address
):
    page = visit("index")
    told, found = search(page, asked)
    assert "place" in told
    entry = found.filter(has_text=section).first
    assert where in entry.inner_text()
    assert entry.locator("mark").count(), "the words that were found stand out"
    entry.locator("a").click()
    page.wait_for_url(f"**/{address}*")
    assert page.locator(":target").inner_text() == section
    assert 0 <= page.locator(":target").bounding_box()["y"] < 720


def test_a_sentence_is_shown_that_holds_what_was_asked_and_a_slip_is_forgiven(visit):
    page = visit("index")
    _, found = search(page, "atention")
    assert "attention" in found.first.inner_text().lower()
    _, found = search(page, "batch_first")
    assert "batch_first" in found.first.locator("p").inner_text()


def test_the_search_is_worked_by_keys(visit):
    page = visit("2_cls_token")
    _, found = search(page, "softmax")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement.closest('li')?.innerText") == found.nth(1).inner_text()
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowUp")
    assert page.evaluate("document.activeElement.id") == "find"
    page.keyboard.type("/")
    assert page.locator("#find").input_value() == "softmax/", "in a field it is a letter like any other"
    page.keyboard.press("Escape")
    assert not page.locator("#found").is_visible()
    assert page.locator("#find").input_value() == ""


def test_enter_goes_to_the_first_place_also_on_the_same_page(visit):
    page = visit("4_encoder")
    search(page, "batch_first forgotten trap")
    page.locator("#find").fill("Why divide by")
    page.locator("#found [role=status]", has_text="Why divide by").wait_for()
    page.keyboard.press("Enter")
    page.wait_for_url("**/4_encoder.html#why-divide-by-d")
    assert not page.locator("#found").is_visible()


def test_nothing_found_is_said_and_no_answer_is_given_away(visit):
    page = visit("index")
    told, found = search(page, "xylophone")
    assert told == "Nothing found for “xylophone”."
    assert found.count() == 0
    told, _ = search(page, "ModuleDict proj cls_token")  # of lesson 5's solution
    assert "Nothing" in told or "new_block" not in page.locator("#found").inner_text()


# ---- the dark ----


def test_the_dark_follows_the_system_and_a_choice_is_remembered(visit, site):
    page = visit("index", color_scheme="dark")
    switch = page.locator("#theme")
    assert (page.evaluate(GROUND), switch.get_attribute("aria-pressed")) == (DARK, "true")
    switch.click()
    assert (page.evaluate(GROUND), switch.get_attribute("aria-pressed")) == (LIGHT, "false")
    page.goto((site / "2_cls_token.html").as_uri())
    assert page.evaluate(GROUND) == LIGHT, "it was chosen one page before"
    page.goto((site / "at_work.html").as_uri())
    paper = "getComputedStyle(document.documentElement).backgroundColor"
    assert page.evaluate(paper) == "rgb(251, 250, 246)"
    page.locator("#theme").click()
    assert page.evaluate(paper) == DARK
    page.emulate_media(color_scheme="light")
    assert page.evaluate(paper) == "rgb(251, 250, 246)", "what the system says too is no choice"


def test_a_figure_stays_on_white(visit):
    page = visit("4_encoder", color_scheme="dark")
    for picture in page.locator("main .figure img").all():
        assert picture.evaluate("(image) => getComputedStyle(image).backgroundColor") == LIGHT


def test_without_scripts_the_page_follows_the_system_and_has_no_dead_controls(visit):
    page = visit("1_patch_embedding", java_script_enabled=False, color_scheme="dark")
    assert not page.locator("#theme").is_visible()
    assert not page.locator("#find").is_visible()
    assert page.locator(".contents .sections a").first.is_visible()


# ---- contents and downloads ----


def test_on_a_phone_the_contents_are_folded_and_on_a_desk_they_are_not(visit):
    page = visit("3_position_embedding", viewport={"width": 390, "height": 800})
    first = page.locator(".contents .sections a").first
    assert not first.is_visible()
    assert page.locator("h1").bounding_box()["y"] < 400
    page.locator(".contents summary").click()
    assert first.is_visible()
    page.set_viewport_size({"width": 1280, "height": 720})
    assert first.is_visible()


def test_a_lesson_s_notebook_is_there_as_it_is(visit, site):
    page = visit("real_vits")
    link = page.locator(".contents a[download]")
    assert link.inner_text() == "Notebook"
    for name in LESSONS:
        (copy,) = site.glob(f"notebooks/**/{name}.ipynb")
        assert copy.read_bytes() == (ROOT / copy.relative_to(site)).read_bytes()


def test_a_lesson_comes_for_the_class_and_for_its_teacher_too(visit, site):
    page = visit("2_cls_token")
    words = page.locator(".contents a[download]").all_inner_texts()
    assert words == ["Notebook", "Without solutions", "For the teacher"]
    answer = "tokens[:, num_prefix:].mean(dim=1)"
    held = {
        kind: (site / "editions" / kind / "2_cls_token.ipynb").read_text() for kind in ("student", "teacher")
    }
    assert answer not in held["student"]
    assert answer in held["teacher"]


# ---- API ----


def test_every_page_of_the_api_is_whole(visit, site):
    names = [path.stem for path in site.glob("api*.html")]
    assert len(names) > 8
    page = visit("api", viewport={"width": 390, "height": 800})
    assert page.locator("main h2 a").count() == len(names) - 1
    for name in names:
        page.goto((site / f"{name}.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 390, name
        levels = page.locator("h1, h2, h3, h4").evaluate_all("(all) => all.map((h) => +h.tagName[1])")
        assert levels[0] == 1
        assert all(level <= before + 1 for before, level in pairwise(levels)), name
        ids = page.evaluate("[...document.querySelectorAll('[id]')].map((each) => each.id)")
        assert len(ids) == len({*ids}), name
        links = page.locator("a").evaluate_all("(all) => all.map((a) => a.getAttribute('href'))")
        for link in links:
            file, _, anchor = link.partition("#")
            if not link.startswith("https:"):
                there = site / (file or f"{name}.html")
                assert not anchor or f' id="{anchor}"' in there.read_text(encoding="utf-8"), (name, link)


# ---- a lost address ----


class Lost(http.server.SimpleHTTPRequestHandler):
    """Serves a site below /some/place/, and its 404.html for whatever is not there, as GitHub Pages does."""

    def translate_path(self, path):
        return super().translate_path(path.removeprefix("/some/place"))

    def send_error(self, code, *_):
        self.send_response(code)
        self.end_headers()
        if self.command == "GET":
            with open(f"{self.directory}/404.html", "rb") as page:
                self.wfile.write(page.read())

    def log_message(self, *_):
        pass


@pytest.fixture
def served(site):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Lost, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/some/place"
    server.shutdown()
    server.server_close()


def test_every_link_for_a_lost_address_leads_somewhere_from_any_depth(browser, served):
    page = browser.new_page()
    for depth in ("/nothing", "/slides/nothing.html", "/a/b/c/d/nothing"):
        page.goto(served + depth)
        page.wait_for_selector("base", state="attached")
        links = page.locator("a").evaluate_all("(all) => all.map((a) => a.href)")
        assert len(links) > 15
        assert links[0] == f"{served}{depth}#main", "the way to the words stays on the page"
        for link in {link for link in links if link.startswith(served)}:
            assert urlopen(link.partition("#")[0] if "nothing" not in link else served + "/").status == 200
        assert all(link.startswith((served, "https:")) for link in links)
    _, found = search(page, "softmax")
    found.first.locator("a").click()
    page.wait_for_load_state()
    assert page.url.startswith(f"{served}/")
    assert "nothing" not in page.url
    page.close()
