"""The HTML page in a headless browser: errors, network requests, sorting, filters, keys, seeds, speed at full size."""

import json
import random
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.unit.made_up import DIRECTIONS, SYSTEMS, make_experiment, make_results
from workflow_scripts.lat.files import write_lines
from workflow_scripts.lat.reporting.conclusion import conclusion
from workflow_scripts.lat.reporting.page import (
    EXAMPLES,
    Outputs,
    describe_experiment,
    example_packs,
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

    packs = {"experiments": [describe_experiment(experiment, is_beside) for experiment in experiments]}
    for number, experiment in enumerate(experiments):
        test = path.parent / f"test-{number}"
        outputs = {}
        for direction in experiment.directions:
            sources = [f"{line()} {direction} {position}" for position in range(lines)]
            write_lines(test / f"{direction}.src.txt", sources)
            write_lines(test / f"{direction}.ref.txt", [line() for _ in range(lines)])
        for system, runs in experiment.runs.items():
            for run in runs:
                labels, verdicts = {}, {}
                folder = path.parent / f"outputs-{number}/{run}/{system}"
                for direction in experiment.directions:
                    target = direction.split("-")[1]
                    verdicts[direction] = "".join(generator.choices("tse", (8, 1, 1), k=lines))
                    labels[direction] = [target if verdict == "t" else "en" for verdict in verdicts[direction]]
                    write_lines(folder / f"{direction}.txt", [f"{line()} {system}/{run}" for _ in range(lines)])
                outputs[system, run] = Outputs(folder, labels, verdicts)
        if is_beside:
            write_examples(path.parent / EXAMPLES, number, experiment, test, outputs)
        else:
            packs |= example_packs(str(number), experiment, read_texts(test, experiment.directions), outputs)
    results = make_results(experiments)
    tables = table_packs(results)
    page = render(
        title="A full-sized run",
        conclusions=[conclusion(entry, results.summary, results.comparisons, "MT") for entry in experiments],
        summary="<script>alert('not run')</script>",
        seeds=results.seeds,
        **tables["tables-mean"],
        figures=[],
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
    assert page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") < 2000
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
    expect(cells).to_have_text(sorted(before, key=number))
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    expect(cells).to_have_text(sorted(before, key=number, reverse=True))
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
        assert card.locator(".badge").last.inner_text() == "✗ en"


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
    assert page.locator(".card h4").first.inner_text() == f"{first}, line 1"
    page.select_option("[name=direction]", second)
    expect(page.locator(".card h4").first).to_have_text(f"{second}, line 1")
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
    expect(page.locator(".card h4").first).to_have_text(f"{first}, line 1")
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
