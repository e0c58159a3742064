"""Draw the figures of a run: scores, languages of off-target lines, studies, and training losses."""

import argparse
import os
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

from .lat.files import read_table
from .lat.reporting.charts import (
    heat_map_figure,
    losses_figure,
    off_target_figure,
    off_target_languages_figure,
    study_figure,
)
from .lat.runtime import run_step

SUFFIXES = ("svg", "png", "pdf")


def main() -> None:
    """Parse the flags, then draw and save each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scores", type=Path, required=True, help="table of all scores")
    parser.add_argument("--intervals", type=Path, required=True, help="table of means and 95 %% intervals")
    parser.add_argument("--step-logs", type=Path, nargs="*", default=[], help="step logs of training runs")
    parser.add_argument("--titles", nargs="*", default=[], help="title of each step log")
    parser.add_argument(
        "--study",
        nargs="+",
        action="append",
        default=[],
        metavar="WORD",
        help="plots of scores against one setting, one line per series: name of the study, label of the horizontal"
        " axis, then SERIES=VALUE=BASE_MODEL/BENCHMARK/SYSTEM for each point; may be repeated",
    )
    parser.add_argument("--output", type=Path, required=True, help="output folder")
    arguments = parser.parse_args()

    scores = pd.DataFrame(read_table(arguments.scores)).astype({"value": float})
    intervals = pd.DataFrame(read_table(arguments.intervals)).astype(dict.fromkeys(("value", "low", "high"), float))
    logs = {
        title: pd.DataFrame(read_table(path), dtype=float)
        for title, path in zip(arguments.titles, arguments.step_logs, strict=True)
    }
    save(off_target_figure(scores), arguments.output / "off_target")
    save(heat_map_figure(scores), arguments.output / "heat_map")
    save(off_target_languages_figure(scores), arguments.output / "off_target_languages")
    save(losses_figure(logs), arguments.output / "losses")
    for name, label, *points in arguments.study:
        series: dict[str, list[tuple[float, tuple[str, str, str]]]] = {}
        for point in points:
            series_name, value, row = point.split("=")
            base_model, benchmark, system = row.split("/")
            series.setdefault(series_name, []).append((float(value), (base_model, benchmark, system)))
        save(study_figure(label, series, intervals), arguments.output / f"study-{name}")


def save(figure: Figure, path: Path) -> None:
    """Save a figure in every format, without a creation date, so that the same figure gives identical files."""
    path.parent.mkdir(parents=True, exist_ok=True)
    for suffix in SUFFIXES:
        partial = path.with_name(f".{path.name}.{os.getpid()}.{suffix}")
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[suffix]
        figure.savefig(partial, dpi=160, bbox_inches="tight", metadata=metadata)
        partial.rename(path.with_name(f"{path.name}.{suffix}"))


if __name__ == "__main__":
    run_step(main)
