"""The HTML page in a headless browser.

Errors, network requests, sorting, filters, addresses, keys, seeds, access for everybody, print, speed at full size.
"""

import base64
import hashlib
import io
import json
import random
import re
import shutil
import subprocess
import tarfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import pytest

from tests.unit.made_up import DIRECTIONS, SYSTEMS, make_experiment, make_results
from workflow_scripts.lat.files import write_lines
from workflow_scripts.lat.reporting.charts import heat_map_figure, off_target_figure
from workflow_scripts.lat.reporting.conclusion import compared_pair, conclusion
from workflow_scripts.lat.reporting.page import (
    EXAMPLES,
    Outputs,
    describe_experiment,
    example_packs,
    inline_svg,
    read_texts,
    render,
    table_packs,
    write_examples,
)
from workflow_scripts.lat.reporting.reading import Experiment

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BROWSER = next(filter(None, map(shutil.which, BROWSERS)), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason=f"needs a browser: none of {', '.join(BROWSERS)} is installed")

LINES = 2000
WORDS = ["file", "map", "oude", "kat", "huis", "instellingen", "opslaan", "opnieuw", "venster", "knop", "taal", "regel"]


@cache
def draw_figures() -> dict[str, str]:
    """Draw two figures once for all pages, and return them as SVG by name."""
    results = make_results([make_experiment("tiny", 3)])
    charts = {
        "Scores": off_target_figure(results.scores, results.intervals, results.summary),
        "Directions": heat_map_figure(results.scores),
    }
    found = {}
    for name, chart in charts.items():
        with io.StringIO() as file:
            chart.savefig(file, format="svg")
            found[name] = file.getvalue()
    return found


def write_page(path: Path, experiments: Sequence[Experiment], lines: int, is_beside: bool = False) -> Path:
    """Write a page with made-up scores and texts; every output ends with its system and seed.

    Args:
        path: the HTML file.
        experiments: the experiments.
        lines: lines of each direction.
        is_beside: whether the examples are in files beside the page.
    """
    generator = random.Random(1)

    def line() -> str:
        return " ".join(generator.choices(WORDS, k=12))

    results = make_results(experiments)
    packs = {
        "experiments": [
            describe_experiment(entry, is_beside, compared_pair(entry, results.summary, "MT")) for entry in experiments
        ]
    }
    for number, experiment in enumerate(experiments):
        test = path.parent / f"test-{number}"
        outputs = {}
        for direction in experiment.directions:
            sources = [f"{line()} {direction} {position}" for position in range(lines)]
            write_lines(test / f"{direction}.src.txt", sources)
            write_lines(test / f"{direction}.ref.txt", [line() for _ in range(lines)])
        for system, runs in experiment.runs.items():
            for run in runs:
                labels, verdicts, percents, others = {}, {}, {}, {}
                folder = path.parent / f"outputs-{number}/{run}/{system}"
                for direction in experiment.directions:
                    target = direction.split("-")[1]
                    verdicts[direction] = "".join(generator.choices("tse", (8, 1, 1), k=lines))
                    labels[direction] = [target if verdict == "t" else "en" for verdict in verdicts[direction]]
                    write_lines(folder / f"{direction}.txt", [f"{line()} {system}/{run}" for _ in range(lines)])
                    percents[direction] = bytes(generator.choices(range(40, 101), k=lines))
                    # The second identifier takes a tenth of the lines for German.
                    others[direction] = ["de" if generator.random() < 0.1 else label for label in labels[direction]]
                outputs[system, run] = Outputs(folder, labels, verdicts, percents, {"py3langid": others})
        if is_beside:
            write_examples(path.parent / EXAMPLES, number, experiment, test, outputs)
        else:
            packs |= example_packs(str(number), experiment, read_texts(test, experiment.directions), outputs)
    tables = table_packs(results)
    figures = []
    for number, (name, svg) in enumerate(draw_figures().items(), 1):
        file = path.parent / f"{name}.svg"
        file.write_text(svg, encoding="utf-8")
        figures.append({"name": name, "svg": inline_svg(file, number, name), "caption": f"{name}."})
    page = render(
        title="A full-sized run",
        conclusions=[conclusion(entry, results.summary, results.comparisons, "MT") for entry in experiments],
        summary="<script>alert('not run')</script>",
        seeds=results.seeds,
        **tables["tables-mean"],
        figures=figures,
        signatures=[("BLEU", "nrefs:1")],
        versions=[("python", "3.11")],
        config="seeds: [1, 2, 3]",
        is_beside=is_beside,
        packs=packs | (tables if len(results.seeds) > 1 else {}),
    )
    path.write_text(page, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A page of the size of a benchmark of the paper: twelve directions of 2,000 lines, eight systems, three seeds."""
    return write_page(tmp_path_factory.mktemp("page") / "index.html", [make_experiment("tiny", 3)], LINES)


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


def open_page(browser, path: Path, width: int, problems: list[str]):
    """Load a page; console messages, errors and network requests are added to the problems."""
    page = browser.new_page(viewport={"width": width, "height": 900})

    def check_request(request) -> None:
        if not request.url.startswith(("file:", "data:", "blob:")):
            problems.append(request.url)

    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", check_request)
    page.goto(path.as_uri())
    page.wait_for_selector("html[data-ready=yes]", timeout=30_000)
    return page


@pytest.fixture(params=[1440, 390])
def page(request, browser, path):
    """The loaded page, in a wide or a narrow window; problems fail the test."""
    problems: list[str] = []
    page = open_page(browser, path, request.param, problems)
    yield page
    assert problems == []
    page.close()


def count(page) -> str:
    return page.inner_text("#count")


def test_the_page_is_painted_soon_and_fits_the_window(page):
    # Several times what it takes on a machine that does nothing else; `timing/page.py` measures.
    assert page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") < 6000
    assert page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]
    assert page.inner_text("header p:not(.conclusion)") == "<script>alert('not run')</script>"
    assert count(page) == "1–25 of 24,000 examples"


def test_a_table_is_sorted_by_the_selected_column(page):
    from playwright.sync_api import expect

    def number(text: str) -> float:
        return float(text.split()[0].rstrip("†"))

    table = page.locator("table.scores").first
    cells = table.locator("tbody tr td:last-child")
    before = cells.all_inner_texts()
    head = table.locator("thead th").last
    head.click()
    # The library sorts asynchronously, so the expectation waits.
    expect(cells).to_have_text(sorted(before, key=number), use_inner_text=True)
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    expect(cells).to_have_text(sorted(before, key=number, reverse=True), use_inner_text=True)
    assert table.locator("tbody tr").count() == len(SYSTEMS)


def test_filters_and_search_find_the_matching_examples(page):
    page.select_option("[name=direction]", "it-nl")
    assert count(page) == "1–25 of 2,000 examples"
    page.select_option("[name=system]", label="MT")
    page.select_option("[name=verdict]", "e")
    found = int(count(page).split()[-2].replace(",", ""))
    assert 100 < found < 400
    assert set(page.locator(".card h3").all_inner_texts()[0].split(",")[:1]) == {"it-nl"}
    for card in page.locator(".card").all():
        assert card.locator("dt").all_inner_texts() == ["source", "reference", "MT"]
        assert card.locator(".badge").inner_text().startswith("✗ en 0.")
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
    assert sorted(took)[len(took) // 2] < 600, json.dumps(took)


def rows_of(page, number: int = 0) -> dict[str, list[str]]:
    """Return the cells of a table by system."""
    rows = page.locator("table.scores").nth(number).locator("tbody tr").all()
    return {row.locator("th").inner_text(): row.locator("td").all_inner_texts() for row in rows}


def tables_of(page) -> list:
    """Return all that the tables show: notes, and text, interval, order and style of each cell."""
    return page.evaluate("""() => {
        const texts = document.querySelectorAll("#notes p, .remark, #tables .scroll + .note");
        const cells = document.querySelectorAll("#tables tbody td");
        return [
            ...[...texts].map((text) => [text.textContent, text.hidden]),
            ...[...cells].map((cell) => [
                cell.textContent, cell.title, Number(cell.dataset.order), cell.querySelector("strong") !== null,
                cell.querySelector(".spread")?.textContent, cell.classList.contains("text"),
            ]),
        ];
    }""")


def outputs_of(page) -> dict[str, str]:
    """Return which run the outputs of the first example are of, by system."""
    texts = page.locator(".card").first.locator("dd.text").all_inner_texts()[2:]
    return dict(text.split()[-1].split("/") for text in texts)


def test_the_seed_picker_switches_tables_and_examples(page):
    from playwright.sync_api import expect

    picker = page.get_by_label("Training seed")
    assert picker.locator("option").all_inner_texts() == ["mean over seeds", "1", "2", "3"]
    trained = [system for system, (_, is_trained) in SYSTEMS.items() if is_trained]
    means, content = rows_of(page), tables_of(page)
    assert len(content) > 6 * 7 * len(SYSTEMS)
    run = page.locator("#run")
    assert run.inner_text() == "Outputs of seed 1. Select a training seed above to see those of another."
    assert {outputs_of(page)[system] for system in trained} == {"1"}
    assert all("±" in means[system][-1] for system in trained) and "±" not in means["Base"][-1]

    shown = {}
    for seed in ("2", "3"):
        picker.select_option(seed)
        expect(page.locator(".remark").first).to_have_text(f"Seed {seed} alone.")
        expect(run).to_have_text(f"Outputs of seed {seed}.")
        assert f"runs with seed {seed};" in page.inner_text("#notes")
        assert f"seed {seed}" in page.locator("#seeds [role=status]").text_content()
        shown[seed] = rows_of(page)
        assert outputs_of(page) == {
            system: seed if is_trained else "shared" for system, (_, is_trained) in SYSTEMS.items()
        }
        assert count(page) == "1–25 of 24,000 examples"
        assert shown[seed]["Base"] == means["Base"] and "±" not in str(shown[seed])
    assert all(shown["2"][system] != shown["3"][system] for system in trained)
    # Marks of single runs (PTL) and of means (LAT) are those of the made-up p-values.
    assert "†" in shown["2"]["PTL"][-1] and "†" not in means["PTL"][-1]
    assert "†" in means["LAT"][-1] and "†" not in shown["2"]["LAT"][-1]

    picker.select_option("")
    expect(run).to_have_text("Outputs of seed 1. Select a training seed above to see those of another.")
    assert tables_of(page) == content
    assert {outputs_of(page)[system] for system in trained} == {"1"}


def test_a_sorted_table_stays_sorted_and_keeps_its_rows_when_the_seed_changes(page):
    from playwright.sync_api import expect

    before = rows_of(page)
    page.locator("table.scores").first.locator("thead th").last.click()
    expect(page.locator("table.scores").first.locator("tbody th").first).to_have_text("Base")
    page.get_by_label("Training seed").select_option("3")
    expect(page.locator(".remark").first).to_have_text("Seed 3 alone.")
    rows = rows_of(page)
    values = [float(cells[-1].rstrip("†")) for cells in rows.values()]
    assert values == sorted(values) and list(rows) != list(SYSTEMS)
    assert rows["Base"] == before["Base"]
    page.get_by_label("Training seed").select_option("")
    expect(page.locator(".remark").first).to_contain_text("Best mean over directions")
    assert rows_of(page) == before


def test_filters_apply_to_the_outputs_of_the_selected_seed(page):
    from playwright.sync_api import expect

    page.fill("[name=search]", "LAT/2")
    assert count(page) == "No examples match; change the filters."
    page.locator("body").click(position={"x": 1, "y": 1})
    page.keyboard.press("s")
    assert page.evaluate("document.activeElement.name") == "seed"
    page.keyboard.press("ArrowDown")
    page.keyboard.press("ArrowDown")
    expect(page.locator("#run")).to_have_text("Outputs of seed 2.")
    assert count(page) == "1–25 of 24,000 examples"
    page.fill("[name=search]", "")
    page.select_option("[name=system]", label="LAT")
    page.select_option("[name=verdict]", "e")
    found = count(page)
    page.get_by_label("Training seed").select_option("3")
    expect(page.locator("#run")).to_have_text("Outputs of seed 3.")
    assert count(page) != found
    for card in page.locator(".card").all():
        assert card.locator(".badge").last.inner_text().startswith("✗ en ")


def test_only_the_shown_seed_is_unpacked_and_seeds_are_switched_soon(page):
    assert page.evaluate("[...packs.keys()].sort()") == ["experiments", "outputs-0-1", "outputs-0-shared", "texts-0"]
    took = page.evaluate("""async () => {
        const started = performance.now();
        picker.value = "2";
        await selectSeed();
        return performance.now() - started;
    }""")
    assert took < 3000
    assert page.evaluate("packs.has('outputs-0-2') && !packs.has('outputs-0-3')")


def test_the_last_of_several_quick_choices_is_shown(page):
    page.evaluate("""() => Promise.all(["2", "3", "", "3"].map((seed) => {
        picker.value = seed;
        return selectSeed();
    }))""")
    assert page.locator(".remark").first.inner_text() == "Seed 3 alone."
    assert outputs_of(page)["LAT"] == "3"


def test_the_picker_stays_visible_and_covers_no_heading(page):
    # Otherwise, the page would still be scrolling while it is measured.
    page.emulate_media(reduced_motion="reduce")
    for section in ("examples", "tables"):
        page.click(f"nav a[href='#{section}']")
        bar = page.locator("#seeds").bounding_box()
        heading = page.locator(f"#{section} h2").bounding_box()
        assert bar["y"] == 0 and bar["height"] < 60
        assert heading["y"] >= bar["height"]
        page.evaluate("scrollTo(0, 0)")


def test_a_page_of_one_seed_has_no_picker(browser, tmp_path):
    problems: list[str] = []
    page = open_page(browser, write_page(tmp_path / "index.html", [make_experiment("tiny", 1)], 2), 1440, problems)
    assert page.locator("#seeds").count() == 0
    assert page.inner_text("#notes").startswith("One training seed: ")
    assert not page.locator("#run").is_visible()
    page.keyboard.press("s")
    assert outputs_of(page)["LAT"] == "1" and count(page) == "1–24 of 24 examples"
    assert problems == []
    page.close()


def test_experiments_may_have_different_seeds(browser, tmp_path):
    from playwright.sync_api import expect

    problems: list[str] = []
    untrained = Experiment("third", "demo", {"Base": ("shared",)}, DIRECTIONS)
    experiments = [make_experiment("tiny", 3), make_experiment("other", 1), untrained]
    page = open_page(browser, write_page(tmp_path / "index.html", experiments, 2), 1440, problems)
    run = page.locator("#run")
    page.get_by_label("Training seed").select_option("2")
    expect(run).to_have_text("Outputs of seed 2.")
    page.select_option("[name=experiment]", label="other on demo")
    expect(run).to_have_text("Outputs of seed 1. No run of this experiment has the seed 2.")
    assert outputs_of(page)["LAT"] == "1"
    remark = "No run of this experiment has the seed 2. Shown, as for `mean over seeds`: seed 1."
    assert page.locator("h3", has_text="other on demo: BLEU").first.locator("+ .remark").inner_text() == remark
    page.select_option("[name=experiment]", label="third on demo")
    expect(run).to_be_hidden()
    assert outputs_of(page) == {"Base": "shared"}
    assert not page.locator("[name=compare]").is_visible() and not page.locator("#pair").is_visible()
    assert problems == []
    page.close()


def test_both_ways_to_decode_base64_are_those_of_a_function_per_character(page):
    """Browsers without `Uint8Array.fromBase64` decode in a loop."""
    assert page.evaluate("""() => {
        const base64 = document.getElementById("library").textContent.slice(0, 40_000);
        const plain = Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)).join();
        const first = decodeBase64(base64).join();
        const method = Uint8Array.fromBase64;
        Uint8Array.fromBase64 = undefined;
        const second = decodeBase64(base64).join();
        if (method) Uint8Array.fromBase64 = method;
        return plain.length > 30_000 && first === plain && second === plain;
    }""")


@pytest.fixture(scope="module")
def path_beside(tmp_path_factory):
    """A page with two experiments whose examples are in files beside it."""
    experiments = [make_experiment("tiny", 2), make_experiment("other", 1, "b ü&n%c#h?")]
    return write_page(tmp_path_factory.mktemp("page") / "index.html", experiments, 40, is_beside=True)


def test_examples_beside_the_page_are_loaded_by_direction(browser, path_beside):
    from playwright.sync_api import expect

    def loaded() -> int:
        return page.evaluate("document.querySelectorAll('head script').length")

    problems: list[str] = []
    page = open_page(browser, path_beside, 1440, problems)
    first, second = list(DIRECTIONS)[:2]
    assert loaded() == 1 and count(page) == "1–25 of 40 examples"
    assert page.locator("[name=direction] option").all_inner_texts()[0].startswith(f"{first} (")
    assert page.locator(".card h3").first.inner_text() == f"{first}, line 1"
    page.select_option("[name=direction]", second)
    expect(page.locator(".card h3").first).to_have_text(f"{second}, line 1")
    assert f"{second} 0" in page.locator(".card dd.text").first.inner_text()
    page.fill("[name=search]", f"{second} 17")
    assert count(page) == "1–1 of 1 examples"
    page.fill("[name=search]", "")
    page.select_option("[name=verdict]", "e")
    assert 0 < int(count(page).split()[-2]) < 40
    page.select_option("[name=verdict]", "")
    page.get_by_label("Training seed").select_option("2")
    expect(page.locator("#run")).to_have_text("Outputs of seed 2.")
    assert outputs_of(page)["LAT"] == "2" and outputs_of(page)["Base"] == "shared"
    page.select_option("[name=experiment]", index=1)
    expect(page.locator("#run")).to_contain_text("Outputs of seed 1.")
    assert loaded() == 3
    page.select_option("[name=direction]", first)
    expect(page.locator(".card h3").first).to_have_text(f"{first}, line 1")
    page.select_option("[name=experiment]", index=0)
    page.get_by_label("Training seed").select_option("")
    expect(page.locator("#run")).to_contain_text("Outputs of seed 1.")
    assert loaded() == 4, "a file that was loaded is not loaded again"
    assert problems == []
    page.close()


def test_the_page_says_where_its_examples_are_and_whether_they_are_missing(browser, path_beside, tmp_path):
    from playwright.sync_api import expect

    page = open_page(browser, path_beside, 390, [])
    assert "in the folder examples beside this page" in page.inner_text("#examples")
    page.close()
    alone = shutil.copy(path_beside, tmp_path / "index.html")
    page = open_page(browser, alone, 390, [])
    missing = f"There is no file examples/tiny/demo/{next(iter(DIRECTIONS))}.js beside this page"
    expect(page.locator("#count")).to_contain_text(missing)
    assert page.locator(".card").count() == 0 and page.locator("table.scores").count() > 0
    shutil.copytree(path_beside.parent / EXAMPLES, tmp_path / EXAMPLES)
    page.select_option("[name=direction]", list(DIRECTIONS)[1])
    expect(page.locator("#count")).to_have_text("1–25 of 40 examples")
    page.close()


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


def reopened(page, address: str | None = None):
    """Reload a page, or load it at another address, and wait until it is ready."""
    page.goto(address) if address else page.reload()
    page.wait_for_selector("html[data-ready=yes]", timeout=30_000)
    return page


def view_of(page) -> list:
    """Return all that the filters select, and what is shown."""
    wait_for_scores(page)
    names = ("direction", "system", "compare", "verdict", "search")
    seed = page.input_value("[name=seed]")
    return [*(page.input_value(f"[name={name}]") for name in names), seed, count(page), page.inner_text("#cards")]


def test_the_address_has_all_filters_so_that_views_are_reloaded_and_left_again(page):
    from playwright.sync_api import expect

    plain = page.url
    first = view_of(page)
    page.select_option("[name=direction]", "it-nl")
    page.select_option("[name=system]", label="C_src+lang")
    page.select_option("[name=verdict]", "e")
    page.locator("[name=search]").press_sequentially("kat")
    page.get_by_label("Training seed").select_option("2")
    expect(page.locator("#run")).to_have_text("Outputs of seed 2.")
    page.click("#next")
    expect(page.locator("#count")).to_contain_text("26–50 of ")
    view = view_of(page)
    assert page.url.removeprefix(plain) == ("?direction=it-nl&system=C_src%2Blang&verdict=e&search=kat&from=26&seed=2")
    assert view_of(reopened(page)) == view
    assert view_of(reopened(page, plain)) == first


def test_the_buttons_of_the_browser_lead_through_the_views(page):
    from playwright.sync_api import expect

    page.select_option("[name=direction]", "it-nl")
    page.locator("[name=search]").press_sequentially("kat huis")
    page.select_option("[name=verdict]", "off")
    page.go_back()
    expect(page.locator("[name=verdict]")).to_have_value("")
    expect(page.locator("[name=search]")).to_have_value("kat huis")
    page.go_back()
    expect(page.locator("[name=search]")).to_have_value("")
    expect(page.locator("[name=direction]")).to_have_value("it-nl")
    assert count(page) == "1–25 of 2,000 examples"
    page.go_forward()
    expect(page.locator("[name=search]")).to_have_value("kat huis")
    for _ in range(2):
        page.go_back()
    expect(page.locator("#count")).to_have_text("1–25 of 24,000 examples")


@pytest.mark.parametrize(
    "query", ["direction=xx-yy&system=nobody&verdict=z&seed=9&from=abc&compare=LAT", "from=999999"]
)
def test_an_address_with_unknown_values_shows_what_it_can(page, path, query):
    reopened(page, f"{path.as_uri()}?{query}&other=kept#xx-yy-3")
    assert count(page).endswith("of 24,000 examples") and page.locator(".card").count() > 0
    page.select_option("[name=direction]", "it-nl")
    assert "other=kept" in page.url and "nobody" not in page.url


def test_each_line_has_an_anchor_which_shows_it_whatever_the_filters_are(page, path):
    page.select_option("[name=direction]", "it-nl")
    page.locator(".card h3 a").nth(3).click()
    assert page.url.endswith("?direction=it-nl#it-nl-4")
    assert page.locator(".card.linked").get_attribute("id") == "it-nl-4"
    for query in ("", "?direction=it-nl", "?direction=nl-it&search=zzz", "?verdict=e&system=MT&from=26"):
        reopened(page, f"{path.as_uri()}{query}#it-nl-1234")
        card = page.locator(".card.linked")
        assert card.locator("h3").inner_text() == "it-nl, line 1234"
        box, bar = card.bounding_box(), page.locator("#seeds").bounding_box()
        assert bar["height"] <= box["y"] < 450


def wait_for_scores(page) -> None:
    page.wait_for_function("![...document.querySelectorAll('.chrf')].some((score) => score.textContent.endsWith('…'))")


def test_two_systems_are_compared_where_only_the_second_is_on_target(page):
    page.click("#next")
    page.click("#pair")
    page.wait_for_function("location.search.includes('compare')")
    zero_shot = next(name for name, kind in DIRECTIONS.items() if kind == "zero-shot")
    assert page.input_value("[name=direction]") == zero_shot
    assert page.locator("[name=verdict] option:checked").inner_text() == "MT off target, LAT on target"
    found = int(count(page).split()[-2])
    assert 150 < found < 500
    assert page.url.endswith(f"?direction={zero_shot}&system=MT&compare=LAT&verdict=off-on")
    wait_for_scores(page)
    for card in page.locator(".card").all():
        assert card.locator("dt").all_inner_texts() == ["source", "reference", "MT", "LAT"]
        badges = card.locator(".badge").all_inner_texts()
        assert badges[0].startswith("✗") and badges[1].startswith("✓")
        scores = [float(text.split()[-1]) for text in card.locator(".chrf").all_inner_texts()]
        difference = card.locator(".difference").inner_text()
        assert difference.endswith(" against MT")
        assert float(difference.split()[0].replace("−", "-")) == pytest.approx(scores[1] - scores[0], abs=0.05)
    page.select_option("[name=verdict]", "off-off")
    assert all(text.startswith("✗") for text in page.locator(".badge").all_inner_texts())
    # The second system becomes the first one: they change places.
    page.select_option("[name=system]", label="LAT")
    assert page.locator(".card").first.locator("dt").all_inner_texts()[2:] == ["LAT", "MT"]
    page.select_option("[name=compare]", label="PTL")
    assert page.locator("[name=verdict] option:checked").inner_text() == "both off target"
    page.select_option("[name=verdict]", "on-off")
    page.select_option("[name=system]", label="PTL")
    assert page.locator("[name=verdict] option:checked").inner_text() == "PTL off target, LAT on target"
    page.select_option("[name=system]", label="LAT")
    page.click("#pair")
    assert page.input_value("[name=verdict]") == page.input_value("[name=compare]") == ""
    assert count(page) == "1–25 of 2,000 examples"
    # Choosing the second system alone starts the comparison as well, with the baseline.
    page.select_option("[name=compare]", label="PTL")
    assert page.locator("[name=verdict] option:checked").inner_text() == "MT off target, PTL on target"


def test_search_finds_texts_of_shown_systems_only(page):
    page.fill("[name=search]", "LAT/1")
    assert count(page) == "1–25 of 24,000 examples"
    page.select_option("[name=system]", label="MT")
    assert count(page) == "No examples match; change the filters."


def test_words_that_differ_are_marked(page):
    def marked(first, second, language="nl"):
        return page.evaluate(
            "([one, other, language]) => differences(one, other, language).map("
            "(ranges, place) => ranges.map(([from, to]) => [one, other][place].slice(from, to)))",
            [first, second, language],
        )

    assert marked("a b c d", "a x c d e") == [["b"], ["x", "e"]]
    assert marked("the old map  is here", "de oude kaart is here") == [["the old map"], ["de oude kaart"]]
    assert marked("same", "same") == [[], []] and marked("", "new") == [[], ["new"]] and marked("", "") == [[], []]
    first, second = marked("私は猫が好きです。", "私は犬が好きです。", "ja")
    assert first == ["猫"] and second == ["犬"]
    long = " ".join(map(str, range(3000)))
    assert len(marked(long, f"{long} end")[1]) == 3001
    page.click("#pair")
    page.fill("[name=search]", "/1")
    card = page.locator(".card").first
    texts = card.locator("dd.text").all_inner_texts()
    assert [text.replace("\n", " ") for text in texts[2:]] == [
        "".join(card.locator("dd.text").nth(number).evaluate("e => [...e.childNodes].map((n) => n.textContent)"))
        for number in (2, 3)
    ]
    assert card.locator("mark").all_inner_texts() == ["/1", "/1"]
    assert "MT/1" in "".join(card.locator("dd.text").nth(2).locator(".differs").all_inner_texts())


CHARACTERS = [
    "a",
    "b",
    " ",
    "  ",
    "é",
    "ü",
    ".",
    "(",
    "“",
    "猫",
    "が",
    "\u0301",
    "𝄞",
    "\u00a0",
    "\u2028",
    "\ufeff",
    "!",
    "`",
    "ß",
    "İ",
]


def test_chrf_of_a_line_is_that_of_sacrebleu(page):
    from sacrebleu.metrics.chrf import CHRF

    generator = random.Random(3)
    pairs = [("", ""), ("", "a"), ("a", ""), ("a", "a"), (".", "."), ("the cat sat.", "the cat sat"), ("(hi)", "hi")]
    pairs += [["".join(generator.choices(CHARACTERS, k=generator.randrange(40))) for _ in range(2)] for _ in range(300)]
    pairs += [[" ".join(generator.choices(WORDS, k=12)) for _ in range(2)] for _ in range(50)]
    metric = CHRF(word_order=2)
    expected = [metric.sentence_score(hypothesis, [reference]).score for hypothesis, reference in pairs]
    found = page.evaluate(
        "(pairs) => pairs.map(([hypothesis, reference]) => chrf(hypothesis, chrfNgrams(reference)))", pairs
    )
    assert found == pytest.approx(expected, abs=1e-9)
    assert sum(score > 0 for score in expected) > 200
    wait_for_scores(page)
    shown = page.locator(".card").first
    texts, scores = shown.locator("dd.text").all_inner_texts(), shown.locator(".chrf").all_inner_texts()
    assert scores == [f"chrF++ {metric.sentence_score(text, [texts[1]]).score:.1f}" for text in texts[2:]]


def test_badges_have_the_probability_and_the_label_of_the_second_identifier(page):
    badges = page.locator(".badge").all_inner_texts()
    assert all(re.fullmatch(r"[✓✗] \w\w [01]\.\d\d py3langid: \w\w", badge) for badge in badges)
    same = [badge.split()[1] == badge.split()[-1] for badge in badges]
    assert any(same) and not all(same)


def test_texts_say_their_language_and_find_their_direction_of_writing(browser, tmp_path):
    address = write_page(tmp_path / "index.html", [make_experiment("tiny", 1)], 2)
    page = open_page(browser, address, 390, [])
    card = page.locator("#it-nl-1")
    texts = card.locator("dd.text")
    assert [text.get_attribute("lang") for text in texts.all()][:2] == ["it", "nl"]
    labels = [badge.split()[1] for badge in card.locator(".badge").all_inner_texts()]
    assert [text.get_attribute("lang") for text in texts.all()][2:] == labels
    assert all(text.get_attribute("dir") == "auto" for text in texts.all())
    page.evaluate("""() => {
        directions[0].source[0] = "שלום עולם!";
        directions[0].outputs[0][0] = "مرحبا بالعالم.";
        filter();
    }""")
    assert page.locator(".card dd.text").first.evaluate("(text) => getComputedStyle(text).direction") == "rtl"
    assert page.locator(".card dd.text").nth(1).evaluate("(text) => getComputedStyle(text).direction") == "ltr"
    page.close()


def test_every_stop_of_the_tab_key_does_something(page):
    """Regions that scroll are stops, and others are not; fields without a choice are hidden."""
    stops = page.evaluate("""() => [...document.querySelectorAll("[tabindex='0'], a, button, input, select, summary")]
        .filter((element) => element.checkVisibility() && !element.disabled && element.tabIndex >= 0)
        .map((element) => [
            element.tagName, element.className, element.scrollWidth > element.clientWidth, element.options?.length,
        ])""")
    regions = [is_wide for tag, name, is_wide, _ in stops if "scroll" in name]
    assert all(regions) and (bool(regions) == (page.viewport_size["width"] == 390))
    assert all(choices is None or choices > 1 for *_, choices in stops)
    assert not page.locator("[name=experiment]").is_visible()


def test_intervals_are_reached_by_keyboard_and_touch(page):
    cell = page.locator("table.scores").first.locator("tbody td").first
    hint = cell.get_attribute("title")
    assert "[" not in cell.inner_text()
    box = page.get_by_label("Show the 95 % interval")
    box.focus()
    page.keyboard.press("Space")
    low, high = re.fullmatch(r"95 % interval (\S+) to (\S+)", hint).groups()
    assert cell.inner_text().endswith(f"[{low}, {high}]")
    page.get_by_label("Training seed").select_option("2")
    page.wait_for_function("document.querySelector('.remark').textContent === 'Seed 2 alone.'")
    low, high = re.fullmatch(r"95 % interval (\S+) to (\S+)", cell.get_attribute("title")).groups()
    assert cell.inner_text().endswith(f"[{low}, {high}]")
    box.click()
    assert "[" not in cell.inner_text()


def test_names_of_systems_stay_visible_while_scores_are_scrolled(browser, path):
    page = open_page(browser, path, 390, [])
    region = page.locator(".scroll", has=page.locator("table.scores")).first
    region.evaluate("(region) => { region.scrollLeft = 1000; }")
    assert region.evaluate("(region) => region.scrollLeft") > 50
    name = region.locator("tbody th").first.bounding_box()
    assert 0 <= name["x"] < 30 and name["width"] < 0.45 * 390
    # What is behind the name does not shine through.
    assert (
        region.locator("tbody th").first.evaluate("(name) => getComputedStyle(name).backgroundColor").startswith("rgb(")
    )
    page.close()


def test_figures_are_named_images_and_readable(page):
    svgs = page.locator("figure svg").all()
    assert [svg.get_attribute("aria-label") for svg in svgs] == ["Scores", "Directions"]
    for svg in svgs:
        assert svg.get_attribute("role") == "img"
        box = svg.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= page.viewport_size["width"]
        # A text of the smallest size, 6 points at a width of 3.3 inches, is shown with 8 pixels at least.
        assert 6 / 72 * box["width"] / 3.3 >= 8
    assert page.locator("main > figure").bounding_box()["y"] < page.locator("#tables").bounding_box()["y"]


def test_the_print_has_fewer_than_eight_pages(browser, path):
    page = open_page(browser, path, 1440, [])
    pages = re.findall(rb"/Type\s*/Page\b", page.pdf(format="A4"))
    assert 1 < len(pages) < 8
    page.emulate_media(media="print")
    assert not page.locator("#filters").is_visible() and not page.locator("#seeds").is_visible()
    assert page.locator(".card:visible").count() == 5
    page.close()


AXE = "axe-core@4.10.3"
AXE_SHA512 = "Xm7bpRXnDSX2YE2YFfBk2FnF0ep6tmG7xPh8iHee8MIcrgq762Nkce856dYtJYLkuIoYZvGfTs/PbZhideTcEg=="


@pytest.fixture(scope="module")
def axe(tmp_path_factory) -> str:
    """The script of axe-core, which finds violations of the Web Content Accessibility Guidelines."""
    folder = tmp_path_factory.mktemp("axe")
    if shutil.which("npm") is None:
        pytest.skip("needs npm, which fetches axe-core")
    try:
        done = subprocess.run(["npm", "pack", AXE], cwd=folder, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm pack {AXE} took more than 120 seconds")
    if done.returncode:
        pytest.skip(f"npm pack {AXE} failed: {done.stderr.strip()[-300:]}")
    (package,) = folder.glob("*.tgz")
    assert base64.b64encode(hashlib.sha512(package.read_bytes()).digest()).decode() == AXE_SHA512
    with tarfile.open(package) as archive:
        return archive.extractfile("package/axe.min.js").read().decode()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1440, 390])
def test_axe_finds_no_violation(browser, path, axe, width, scheme):
    page = open_page(browser, path, width, [])
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    for prepare in ("", "#pair"):
        if prepare:
            page.click(prepare)
            page.check("#intervals")
        page.evaluate(axe)
        found = page.evaluate("axe.run().then(({ violations }) => violations)")
        assert [(entry["id"], entry["nodes"][0]["html"][:200], len(entry["nodes"])) for entry in found] == []
    page.close()
