"""The HTML page in a headless browser: errors, network requests, sorting, filters, keys, and speed at full size."""

import json
import random
import shutil

import pandas as pd
import pytest

from workflow_scripts.lat.reporting.page import render, table_of_block
from workflow_scripts.lat.reporting.tables import make_blocks

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"needs a browser: none of {', '.join(BROWSERS)} is installed")

SYSTEMS = ["Base", "MT", "Post-ins", "PTL", "1-shot", "5-shot", "C_src+lang", "LAT"]
LANGUAGES = ["en", "it", "nl", "ro"]
DIRECTIONS = [f"{source}-{target}" for source in LANGUAGES for target in LANGUAGES if source != target]
LINES = 2000
WORDS = ["file", "map", "oude", "kat", "huis", "instellingen", "opslaan", "opnieuw", "venster", "knop", "taal", "regel"]


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A page of the size of a benchmark of the paper: twelve directions with 2,000 lines each, eight systems."""
    generator = random.Random(1)

    def line() -> str:
        return " ".join(generator.choices(WORDS, k=12))

    directions = []
    for direction in DIRECTIONS:
        target = direction.split("-")[1]
        verdicts = ["".join(generator.choices("tse", (8, 1, 1), k=LINES)) for _ in SYSTEMS]
        directions.append(
            {
                "name": direction,
                "supervision": "supervised" if "en" in direction.split("-") else "zero-shot",
                "source": [f"{line()} {direction} {number}" for number in range(LINES)],
                "reference": [line() for _ in range(LINES)],
                "outputs": [[line() for _ in range(LINES)] for _ in SYSTEMS],
                "labels": [[target if verdict == "t" else "en" for verdict in row] for row in verdicts],
                "verdicts": verdicts,
            }
        )
    rows = [
        ("tiny", "demo", system, "zero-shot", direction, metric, generator.random() * 100)
        for system in SYSTEMS
        for direction in DIRECTIONS
        for metric in ("BLEU", "OTR")
    ]
    columns = ["base_model", "benchmark", "system", "supervision", "direction", "metric", "value"]
    scores = pd.DataFrame(rows, columns=columns)
    page = render(
        title="A full-sized run",
        summary="<script>alert('not run')</script>",
        baseline="MT",
        tables=[table_of_block(block, "Zero-shot") for block in make_blocks(scores, "zero-shot", ("BLEU", "OTR"))],
        figures=[],
        signatures=[("BLEU", "nrefs:1")],
        versions=[("python", "3.11")],
        config="seed: 1",
        data=[{"name": "tiny on demo", "systems": SYSTEMS, "directions": directions}],
    )
    path = tmp_path_factory.mktemp("page") / "index.html"
    path.write_text(page, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=[1440, 390])
def page(request, browser, path):
    """The loaded page, in a wide or a narrow window; console messages, errors and network requests fail the test."""
    page = browser.new_page(viewport={"width": request.param, "height": 900})
    problems = []

    def check_request(request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            problems.append(request.url)

    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", check_request)
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready=yes]", timeout=30_000)
    yield page
    assert problems == []
    page.close()


def count(page) -> str:
    return page.inner_text("#count")


def test_the_page_is_painted_soon_and_fits_the_window(page):
    assert page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") < 2000
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    assert page.inner_text("header p") == "<script>alert('not run')</script>"
    assert count(page) == "1–25 of 24,000 examples"


def test_a_table_is_sorted_by_the_selected_column(page):
    from playwright.sync_api import expect

    table = page.locator("table.scores").first
    cells = table.locator("tbody tr td:last-child")
    before = cells.all_inner_texts()
    head = table.locator("thead th").last
    head.click()
    # The library sorts asynchronously, so the expectation waits.
    expect(cells).to_have_text(sorted(before, key=float))
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    expect(cells).to_have_text(sorted(before, key=float, reverse=True))
    assert table.locator("tbody tr").count() == len(SYSTEMS)


def test_filters_and_search_find_the_matching_examples(page):
    page.select_option("[name=direction]", "it-nl")
    assert count(page) == "1–25 of 2,000 examples"
    page.select_option("[name=system]", label="MT")
    page.select_option("[name=verdict]", "e")
    found = int(count(page).split()[-2].replace(",", ""))
    assert 100 < found < 400
    assert set(page.locator(".card h4").all_inner_texts()[0].split(",")[:1]) == {"it-nl"}
    for card in page.locator(".card").all():
        names = card.locator("dt").all_inner_texts()
        assert card.locator(".badge").nth(names.index("MT") - 2).inner_text() == "✗ en"
    page.select_option("[name=verdict]", "")
    page.fill("[name=search]", "IT-NL 17")
    assert count(page) == "1–25 of 111 examples"  # 17, 170-179, 1700-1799
    assert page.locator("mark").first.inner_text() == "it-nl 17"
    page.fill("[name=search]", "no such words")
    assert count(page) == "No examples match; change the filters."


def test_keys_turn_pages_and_focus_the_search(page):
    page.keyboard.press("n")
    assert count(page) == "26–50 of 24,000 examples"
    page.keyboard.press("p")
    assert count(page) == "1–25 of 24,000 examples"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.name") == "search"
    page.keyboard.type("np/")
    assert page.input_value("[name=search]") == "np/"


def test_filtering_24000_examples_is_quick(page):
    took = page.evaluate("""() => {
        const times = [];
        const set = (name, value) => {
            const field = document.querySelector(`[name=${name}]`);
            const started = performance.now();
            field.value = value;
            field.dispatchEvent(new Event("input", {bubbles: true}));
            times.push(performance.now() - started);
        };
        set("search", "zzz");  // the first search computes the lower-case texts
        times.length = 0;
        for (const [name, value] of [["search", "kat"], ["search", "kat huis"], ["search", ""], ["verdict", "off"],
                                     ["system", "1"], ["direction", "zero-shot"], ["search", "1999"]]) set(name, value);
        return times;
    }""")
    assert sorted(took)[len(took) // 2] < 200, json.dumps(took)


def test_dark_and_light_have_readable_contrast(browser, path):
    def luminance(colour: str) -> float:
        parts = [int(part) / 255 for part in colour[colour.index("(") + 1 : -1].split(",")[:3]]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    backgrounds = []
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.goto(path.as_uri())
        page.wait_for_selector("html[data-ready=yes]", timeout=30_000)
        for selector in ("body", ".badge", ".badge.off", "table.scores td"):
            ink, paper = page.evaluate(
                """(selector) => {
                    let element = document.querySelector(selector);
                    const ink = getComputedStyle(element).color;
                    let paper;
                    do {
                        paper = getComputedStyle(element).backgroundColor;
                        element = element.parentElement;
                    } while (/, 0\\)$/.test(paper) && element);
                    return [ink, paper];
                }""",
                selector,
            )
            light, dark = sorted((luminance(ink), luminance(paper)), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (scheme, selector, ink, paper)
        backgrounds.append(page.evaluate("getComputedStyle(document.body).backgroundColor"))
        page.close()
    assert backgrounds[0] != backgrounds[1]
