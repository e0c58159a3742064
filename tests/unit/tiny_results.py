"""The results of three systems with up to three seeds in two directions, by the scripts that write them in a run."""

import importlib
import json
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from unittest.mock import patch

from tiny_lid import SENTENCES, write_tiny_lid

from workflow_scripts.lat.files import SCORE_COLUMNS, write_lines, write_table

LEARNED = "Metric-1"
RUNS = {"Base": ("shared",), "MT": ("1", "2", "3"), "LAT": ("1", "2", "3")}
DIRECTIONS = ("en-it", "it-ru")
LINES = 6
RUSSIAN = "файл не удалось сохранить потому что этот диск заполнен"
TARGETS = {"it": SENTENCES["it"], "ru": RUSSIAN}
# The number of correct lines of each run, and the lines that follow; lines that are left are in English.
OUTPUTS = {
    "Base.shared": (1, ["...", ""]),
    "MT.1": (1, [*[SENTENCES["en"]] * 2, "", "...", SENTENCES["de"]]),
    "MT.2": (2, [""]),
    "MT.3": (3, [SENTENCES["de"]]),
    "LAT.1": (5, []),
    "LAT.2": (6, []),
    "LAT.3": (4, [""]),
}


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
        for run_name, (correct, others) in OUTPUTS.items():
            lines = [*references[:correct], *others, *[SENTENCES["en"]] * LINES][:LINES]
            write_lines(folder / run_name / f"{direction}.txt", lines)
    detect = ["--sources", folder / "test", "--directions", *DIRECTIONS, "--lid", folder / "lid.bin", "py3langid"]
    for name, suffix in [*((name, ".txt") for name in OUTPUTS), ("test", ".ref.txt")]:
        outputs = ["--lines", folder / f"{name}.lines.tsv", "--scores", folder / f"{name}.otr.tsv"]
        call("detect", "--folder", folder / name, "--suffix", suffix, *detect, *outputs)
    for number, name in enumerate(OUTPUTS):
        words = ["--hypotheses", folder / name, "--references", folder / "test", "--directions", *DIRECTIONS]
        call("score", *words, "--output", folder / f"{name}.scores.tsv")
        write_learned(folder, name, [-20.0 + 10 * number + line for line in range(LINES)])
    for stage, steps in (("mt", 3), ("lat", 2)):
        columns = ("step", "loss", "likelihood_loss", "unlikelihood_loss", "learning_rate")
        rows = [(step, "2.5", "2.500000", "0.100000", "1e-05") for step in range(1, steps + 1)]
        write_table(folder / f"{stage}.steps.tsv", [dict(zip(columns, row, strict=True)) for row in rows], columns)
        machine = {"cpu": "a CPU", "gpus": [], "processes": 1, "threads": 2}
        (folder / f"{stage}.machine.json").write_text(json.dumps(machine))
    for script in ("significance", "tables", "figures", "page"):
        run(script, folder)


def write_learned(folder: Path, name: str, scores: list[float]) -> None:
    """Write the tables of a learned metric, which gives the same scores in every direction."""
    lines = [
        {"direction": direction, "line": number, "score": f"{score:.4f}"}
        for direction in DIRECTIONS
        for number, score in enumerate(scores, 1)
    ]
    write_table(folder / f"{name}.learned.lines.tsv", lines, ("direction", "line", "score"))
    score = {"metric": LEARNED, "value": f"{sum(scores) / len(scores):.4f}", "n": len(scores), "signature": "m"}
    rows = [{"direction": direction} | score for direction in DIRECTIONS]
    write_table(folder / f"{name}.learned.tsv", rows, SCORE_COLUMNS)


def run(
    script: str,
    folder: Path,
    baselines: Sequence[str] = ("MT",),
    seeds: int = 3,
    systems: Collection[str] = RUNS.keys(),
    lower_is_better: Sequence[str] = (),
) -> None:
    """Run one of the scripts `significance`, `tables`, `figures` and `page` on the files in `folder`.

    Args:
        script: name of the script.
        folder: the folder.
        baselines: systems that the others are tested against.
        seeds: number of seeds that the run has.
        systems: systems that the run has.
        lower_is_better: learned metrics of which lower is better.
    """
    runs = [(system, seed) for system, found in RUNS.items() for seed in found[:seeds] if system in systems]
    names = ["m", "b"]
    columns = ["--directions", "b", "supervised", DIRECTIONS[0], "--directions", "b", "zero-shot", DIRECTIONS[1]]
    errors = ["--lower-is-better", *lower_is_better] if lower_is_better else []
    columns += ["--learned", LEARNED, *errors]
    words: list[str | Path] = []
    for system, seed in runs:
        path = folder / f"{system}.{seed}"
        lines, tables = f"{path}.lines.tsv", [f"{path}.{name}.tsv" for name in ("scores", "learned", "otr")]
        words += {
            "significance": ["--system", system, seed, path, lines, *tables],
            "tables": ["--scores", *names, system, seed, *tables],
            "figures": ["--run", *names, system, seed],
            "page": ["--outputs", *names, system, seed, path, lines],
        }[script]
        if script == "significance":
            words += ["--learned", system, seed, LEARNED, f"{path}.learned.lines.tsv"]
    if script == "significance":
        words += ["--references", folder / "test", "--supervised", DIRECTIONS[0], "--zero-shot", DIRECTIONS[1]]
        words += ["--baselines", *baselines, "--resamples", "100", *errors]
        for name in ("intervals", "summary", "comparisons"):
            words += [f"--{name}", folder / f"significance/{name}.tsv"]
    if script == "tables":
        words += ["--reference-scores", "b", folder / "test.otr.tsv", *columns, "--baselines", *baselines]
        words += ["--machines", folder / "mt.machine.json", folder / "lat.machine.json"]
        words += ["--significance", *names, folder / "significance", "--output", folder]
    if script in ("figures", "page"):
        for name in ("scores", "intervals", "summary"):
            words += [f"--{name}", folder / f"{name}.tsv"]
        words += columns
    if script == "figures":
        words += ["--step-log", "first", "1", folder / "mt.steps.tsv", "--step-log", "second", "1"]
        words += [folder / "lat.steps.tsv", "--output", folder]
    if script == "page":
        words += ["--comparisons", folder / "comparisons.tsv", "--versions", folder / "versions.tsv"]
        words += ["--texts", "b", folder / "test", "--figures", folder / "losses.svg", "--captions", "Losses."]
        words += ["--config", "seeds: [1, 2, 3]", "--baselines", *baselines]
        words += ["--output", folder / "index.html", "--examples", folder / "examples"]
    call(script, *words)
