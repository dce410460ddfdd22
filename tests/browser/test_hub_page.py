"""The page on a hub for a class, in a browser: found from the index, read by everybody, on a phone too."""

import lab_driver
import offline_pages
import pytest
from test_axe import violations

if lab_driver.missing():
    pytest.skip(lab_driver.missing(), allow_module_level=True)


def test_the_page_on_a_hub_is_found_from_the_index_and_its_links_lead_somewhere(browser, site):
    with offline_pages.visitor(browser, site) as visit:
        page = visit("index")
        page.get_by_role("link", name="a hub for a class").click()
        page.wait_for_url("**/hub.html", wait_until="load")
        links = page.locator("a").evaluate_all("(all) => all.map((a) => a.getAttribute('href'))")
        inside = [link for link in links if not link.startswith(("https:", "#"))]
        assert "assets/jupyterhub_config.py" in inside
        assert all((site / link).exists() for link in inside)


def test_it_shuts_nobody_out_and_does_not_scroll_sideways_on_a_phone(browser, site):
    with offline_pages.visitor(browser, site) as visit:
        page = visit("hub", viewport={"width": 390, "height": 800})
        assert violations(page) == []
        assert page.evaluate("document.documentElement.scrollWidth") == 390
