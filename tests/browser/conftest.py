"""A browser for the tests in this folder; without one they are skipped, and say how to get it."""

import importlib.util

import lab_driver
import pytest


@pytest.fixture(scope="session")
def browser():
    if importlib.util.find_spec("playwright") is None:
        pytest.skip(lab_driver.NO_PLAYWRIGHT)
    if lab_driver.chromium() is None:
        pytest.skip(lab_driver.NO_CHROMIUM)
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
