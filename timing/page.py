"""Time until the HTML page is painted and ready in a browser without a window, and time to decode its data.

    make demo && python -m timing.scale --languages 4 --lines 2000 --benchmarks 2 --folder scale
    python -m timing.page scale/4/page/index.html --json page.json

The first command makes a page of two benchmarks with twelve directions each, eight systems, and 2,000 lines. The page
is opened from its folder, each time by a new browser. It is ready when the first examples are shown and all tables can
be sorted. `decode` compares three ways to decode base64 on the largest script of the page, with the same result: a
function for each character, the loop of the page, and the method that the page uses if the browser has it.
"""

import argparse
import json
import shutil
import statistics
import sys
from pathlib import Path

from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.runtime import cpu_model, run_step

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
TIMEOUT_S = 120

# The page says that it is ready by an attribute of its root.
WATCH = """
new MutationObserver(() => {
  if (document.documentElement?.dataset.ready && !window.readyAfter) window.readyAfter = performance.now();
}).observe(document, {attributes: true, childList: true, subtree: true});
"""
DECODE = """() => {
  const texts = [...document.querySelectorAll("script[type='application/gzip']")].map((script) => script.textContent);
  const base64 = texts.reduce((longest, text) => text.length > longest.length ? text : longest);
  const method = Uint8Array.fromBase64;
  const ways = {
    plain: () => Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)),
    loop: () => {
      Uint8Array.fromBase64 = undefined;
      return decodeBase64(base64);
    },
  };
  if (method) ways.method = () => decodeBase64(base64);
  const found = {characters: base64.length};
  const expected = ways.plain();
  for (const [name, decode] of Object.entries(ways)) {
    const started = performance.now();
    const bytes = decode();
    found[`${name}_s`] = (performance.now() - started) / 1000;
    if (method) Uint8Array.fromBase64 = method;
    if (bytes.length !== expected.length || bytes.some((byte, position) => byte !== expected[position])) return null;
  }
  return found;
}"""


def measure(page: Path, rounds: int) -> dict[str, object]:
    """Return the medians over the rounds, in seconds.

    Raises:
        InputError: there is no browser, or the ways to decode differ.
    """
    from playwright.sync_api import sync_playwright

    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        raise InputError(f"no browser: none of {', '.join(BROWSERS)} is installed; install one")
    painted, ready, decoded = [], [], []
    with sync_playwright() as started:
        for _ in range(rounds):
            browser = started.chromium.launch(executable_path=executable, args=["--no-sandbox"])
            opened = browser.new_page()
            opened.add_init_script(WATCH)
            opened.goto(page.resolve().as_uri(), timeout=1000 * TIMEOUT_S)
            opened.wait_for_function("window.readyAfter", timeout=1000 * TIMEOUT_S)
            entry = "performance.getEntriesByName('first-contentful-paint')[0].startTime"
            painted.append(opened.evaluate(entry) / 1000)
            ready.append(opened.evaluate("window.readyAfter") / 1000)
            decoded.append(opened.evaluate(DECODE))
            browser.close()
    if None in decoded:
        raise InputError("the ways to decode base64 differ")
    return {
        "page_first_paint_s": statistics.median(painted),
        "page_ready_s": statistics.median(ready),
        "page_mb": page.stat().st_size / 1e6,
        "decode": {name: statistics.median(of_round[name] for of_round in decoded) for name in decoded[0]},
    }


def main() -> None:
    """Measure one page, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path, help="HTML file")
    parser.add_argument("--json", type=Path, help="output file; the results are printed in any case")
    parser.add_argument("--rounds", type=int, default=5, help="how often the page is opened")
    arguments = parser.parse_args()
    if not arguments.page.is_file():
        raise InputError(f"{arguments.page}: no such file; make it with timing.scale or give another page")
    text = json.dumps(measure(arguments.page, arguments.rounds) | {"machine": cpu_model()}, indent=2)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    run_step(main)
