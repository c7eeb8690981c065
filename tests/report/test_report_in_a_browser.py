"""The report in a browser: nothing is fetched, nothing is broken, and it can be used by everyone."""

import re

import pytest

from ksl_bench.report import as_html
from tests.machine import PATIENCE_MS, importable, open_browser

playwright = importable("playwright.sync_api")
axe = importable("axe_playwright_python.sync_playwright")

PHONE, DESKTOP = {"width": 390, "height": 844}, {"width": 1280, "height": 900}


@pytest.fixture(scope="module")
def browser():
    with open_browser(playwright) as browser:
        yield browser


@pytest.fixture(scope="module")
def address(bench, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "mine.html"
    path.write_text(as_html(bench.whole, bench.store), encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def show(browser, address):
    """Return what opens the report; at the end nothing may have been fetched, and nothing complained."""
    contexts, said, asked = [], [], []

    def call(anchor="", **options):
        contexts.append(browser.new_context(**{"viewport": DESKTOP, **options}))
        contexts[-1].set_default_timeout(PATIENCE_MS)
        page = contexts[-1].new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address + anchor)
        return page

    yield call
    for context in contexts:
        context.close()
    assert said == []
    assert [one for one in asked if one.split("#")[0] not in (address, "data:,")] == []


def violations(page):
    found = axe.Axe().run(page).response
    assert len(found["passes"]) > 20  # it did look
    return [
        (one["id"], one["nodes"][0]["html"])
        for one in found["violations"]
        if one["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_axe_finds_nothing_serious(show, scheme, size):
    page = show(color_scheme=scheme, viewport=size, bypass_csp=True)
    # One row of each kind: without tuning, with a ticket, failed. Every row would take minutes.
    page.evaluate(
        "document.querySelectorAll('details').forEach((one) => {"
        " one.open = !one.matches('.row') || one.querySelector('#row-1, #row-7, .reason'); })"
    )
    assert violations(page) == []


def test_the_page_is_no_wider_than_a_phone(show):
    page = show(viewport=PHONE)
    page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]


@pytest.fixture
def results(show):
    page = show()
    page.locator("#results ~ .scroll table.sortable").first.evaluate("one => one.id = 'results-1'")
    return page


def test_a_table_is_sorted_by_keyboard(results):
    page, head = results, results.locator("#results-1 th[data-sort]").nth(3)
    values = "one => Array.from(one.tBodies[0].rows, row => row.cells[3]?.dataset.value ?? null)"
    before = page.locator("#results-1").evaluate(values)
    assert head.get_attribute("aria-sort") == "none"
    head.locator("button").focus()
    page.keyboard.press("Enter")
    up = page.locator("#results-1").evaluate(values)
    assert head.get_attribute("aria-sort") == "ascending"
    page.keyboard.press("Space")
    down = page.locator("#results-1").evaluate(values)
    assert head.get_attribute("aria-sort") == "descending"
    known = sorted(float(one) for one in before if one is not None)
    missing = [None] * (len(before) - len(known))
    assert missing  # the row that failed
    assert [one and float(one) for one in up] == [*known, *missing]
    assert [one and float(one) for one in down] == [*reversed(known), *missing]
    assert page.locator("[role=status]").inner_text().endswith("descending")


def test_a_link_opens_the_row_that_it_leads_to(show):
    page = show()
    link = page.locator("#results ~ .scroll a").nth(1)
    link.click()
    anchor = link.get_attribute("href")
    assert page.locator(anchor).locator("xpath=ancestor::details").get_attribute("open") is not None
    assert page.locator(anchor).is_visible()


def test_a_row_is_open_when_the_address_names_it(show):
    assert show("#row-3").locator("#row-3").is_visible()


def test_regions_that_scroll_are_reached_by_keyboard(show):
    page = show(viewport=PHONE)
    region = page.locator("#results ~ .scroll").first
    region.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("one => one.scrollLeft > 0", arg=region.element_handle())


def test_without_scripts_all_is_there_and_no_button_is_dead(show):
    page = show(java_script_enabled=False)
    assert page.locator("table.sortable").count() > 0
    assert page.locator("button").count() == 0
    page.locator("details.row summary").first.click()
    assert page.locator("#row-1").is_visible()


def test_what_is_wider_than_the_page_says_that_it_scrolls(show):
    hints = "document.querySelectorAll('.scroll.wide').length"
    page = show(viewport=PHONE)
    page.wait_for_function(f"{hints} > 0")
    wide = page.locator("#results ~ .scroll").first
    assert "wide" in wide.get_attribute("class").split()
    content = wide.evaluate("one => getComputedStyle(one, '::before').content")
    assert "scroll sideways" in content


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_figures_stand_on_the_ground_of_the_scheme(show, scheme):
    page = show(color_scheme=scheme)
    ground = page.locator(".panel").first.evaluate("one => getComputedStyle(one).backgroundColor")
    light = sum(int(one) for one in re.findall(r"\d+", ground)[:3]) > 3 * 128
    assert light == (scheme == "light")
