"""A browser for the tests in this folder."""

import firefox_driver
import lab_driver
import offline_pages
import pytest


@pytest.fixture(scope="session")
def browser():
    with lab_driver.browser() as started:
        yield started


@pytest.fixture
def page(browser):
    """A fresh page; ``page.complaints`` holds what the browser had to complain about."""
    fresh = browser.new_page(viewport={"width": 1280, "height": 900})
    fresh.complaints = []
    fresh.on("pageerror", lambda error: fresh.complaints.append(str(error)))
    fresh.on("console", lambda message: message.type == "error" and fresh.complaints.append(message.text))
    yield fresh
    fresh.close()


@pytest.fixture(scope="session")
def site(tmp_path_factory):
    """The folder that `make site` writes, for all tests of a run: nobody changes it."""
    return offline_pages.build_once(tmp_path_factory.getbasetemp())


@pytest.fixture
def visit(browser, site):
    """Opens a page of the site by its name."""
    with offline_pages.visitor(browser, site) as go:
        yield go


@pytest.fixture(scope="session")
def address(tmp_path_factory):
    """The page at_work.html, in a folder of its own."""
    return offline_pages.build_at_work(tmp_path_factory.mktemp("at_work"))


@pytest.fixture(scope="session")
def firefox():
    if firefox_driver.missing():
        pytest.skip(firefox_driver.missing())
    with firefox_driver.browser() as page:
        yield page
