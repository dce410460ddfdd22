"""A browser for the tests in this folder."""

import lab_driver
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
