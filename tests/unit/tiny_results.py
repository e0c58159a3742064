"""The results of two systems in two directions, written by the scripts that write them in a run."""

import importlib
import sys
from pathlib import Path
from unittest.mock import patch

from tiny_lid import SENTENCES, write_tiny_lid

from workflow_scripts.lat.files import SCORE_COLUMNS, write_lines, write_table

LEARNED = "Metric-1"
SYSTEMS = ("MT", "LAT")
DIRECTIONS = ("en-it", "it-ru")
LINES = 6
RUSSIAN = "файл не удалось сохранить потому что этот диск заполнен"
TARGETS = {"it": SENTENCES["it"], "ru": RUSSIAN}


def call(script: str, *words: str | Path) -> None:
    """Run the `main` function of a script."""
    with patch.object(sys, "argv", [script, *map(str, words)]):
        importlib.import_module(f"workflow_scripts.{script}").main()


def make_results(folder: Path) -> None:
    """Write test set, outputs, scores and everything that is made of them."""
    write_tiny_lid(folder / "lid.bin", SENTENCES | {"ru": RUSSIAN})
    for direction in DIRECTIONS:
        target = TARGETS[direction.split("-")[1]]
        references = [f"{target} {number}" for number in range(LINES)]
        write_lines(folder / f"test/{direction}.src.txt", [f"{SENTENCES['en']} {n}" for n in range(LINES)])
        write_lines(folder / f"test/{direction}.ref.txt", references)
        write_lines(folder / f"MT/{direction}.txt", [references[0], *[SENTENCES["en"]] * 2, "", "...", SENTENCES["de"]])
        write_lines(folder / f"LAT/{direction}.txt", [*references[:5], SENTENCES["en"]])
    detect = ["--sources", folder / "test", "--directions", *DIRECTIONS, "--lid", folder / "lid.bin", "py3langid"]
    for name, suffix in [*((system, ".txt") for system in SYSTEMS), ("test", ".ref.txt")]:
        outputs = ["--lines", folder / f"{name}.lines.tsv", "--scores", folder / f"{name}.otr.tsv"]
        call("detect", "--folder", folder / name, "--suffix", suffix, *detect, *outputs)
    for number, system in enumerate(SYSTEMS):
        words = ["--hypotheses", folder / system, "--references", folder / "test", "--directions", *DIRECTIONS]
        call("score", *words, "--output", folder / f"{system}.scores.tsv")
        write_learned(folder, system, [-20.0 + 10 * number + line for line in range(LINES)])
    for stage, steps in (("mt", 3), ("lat", 2)):
        columns = ("step", "loss", "likelihood_loss", "unlikelihood_loss", "learning_rate")
        rows = [(step, "2.5", "2.500000", "0.100000", "1e-05") for step in range(1, steps + 1)]
        write_table(folder / f"{stage}.steps.tsv", [dict(zip(columns, row, strict=True)) for row in rows], columns)
    for script in ("significance", "tables", "figures", "page"):
        run(script, folder)


def write_learned(folder: Path, system: str, scores: list[float]) -> None:
    """Write the tables of a learned metric, which gives the same scores in every direction."""
    lines = [
        {"direction": direction, "line": number, "score": f"{score:.4f}"}
        for direction in DIRECTIONS
        for number, score in enumerate(scores, 1)
    ]
    write_table(folder / f"{system}.learned.lines.tsv", lines, ("direction", "line", "score"))
    score = {"metric": LEARNED, "value": f"{sum(scores) / len(scores):.4f}", "n": len(scores), "signature": "m"}
    rows = [{"direction": direction} | score for direction in DIRECTIONS]
    write_table(folder / f"{system}.learned.tsv", rows, SCORE_COLUMNS)


def run(script: str, folder: Path, baseline: str = "MT") -> None:
    """Run one of the scripts `significance`, `tables`, `figures` and `page` on the files in `folder`."""
    tables = {system: [folder / f"{system}.{name}.tsv" for name in ("scores", "learned", "otr")] for system in SYSTEMS}
    names = ["m", "b"]
    columns = ["--directions", "b", "supervised", DIRECTIONS[0], "--directions", "b", "zero-shot", DIRECTIONS[1]]
    columns += ["--learned", LEARNED]
    summary = ["--scores", folder / "scores.tsv", "--intervals", folder / "intervals.tsv", *columns]
    words: list[str | Path] = []
    if script == "significance":
        for system in SYSTEMS:
            words += ["--system", system, folder / system, folder / f"{system}.lines.tsv", *tables[system]]
            words += ["--learned", system, LEARNED, folder / f"{system}.learned.lines.tsv"]
        words += ["--references", folder / "test", "--supervised", DIRECTIONS[0], "--zero-shot", DIRECTIONS[1]]
        words += ["--baseline", baseline, "--resamples", "100", "--output", folder / "significance.tsv"]
    if script == "tables":
        for system in SYSTEMS:
            words += ["--scores", *names, system, *tables[system]]
        words += ["--reference-scores", "b", folder / "test.otr.tsv", *columns, "--baseline", baseline]
        words += ["--significance", *names, folder / "significance.tsv", "--output", folder]
    if script == "figures":
        words += [*summary, "--experiment", *names, *SYSTEMS, "--output", folder]
        words += ["--step-logs", folder / "mt.steps.tsv", folder / "lat.steps.tsv", "--titles", "first", "second"]
    if script == "page":
        for system in SYSTEMS:
            words += ["--outputs", *names, system, folder / system, folder / f"{system}.lines.tsv"]
        words += [*summary, "--versions", folder / "versions.tsv", "--texts", "b", folder / "test"]
        words += ["--figures", folder / "losses.svg", "--captions", "Losses.", "--config", "seed: 1"]
        words += ["--baseline", baseline, "--output", folder / "index.html"]
    call(script, *words)
