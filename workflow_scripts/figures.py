"""Draw the figures of a run: scores, languages of off-target lines, studies, and training losses."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lat.files import InputError, read_table, read_text, replaced_file
from .lat.names import AVERAGE
from .lat.reporting.reading import (
    Experiment,
    add_experiment_flags,
    check_summary,
    check_values,
    intervals_frame,
    make_experiments,
    read_all_scores,
    read_intervals,
    read_steps,
    read_summary,
    scores_frame,
    summary_frame,
)
from .lat.runtime import run_step

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

SUFFIXES = ("svg", "png", "pdf")


def main() -> None:
    """Parse the flags, then draw and save each figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scores", type=Path, required=True, help="table of all scores")
    parser.add_argument("--intervals", type=Path, required=True, help="table of the scores and means of every run")
    parser.add_argument("--summary", type=Path, required=True, help="table of means over seeds and their intervals")
    parser.add_argument(
        "--run",
        nargs=4,
        action="append",
        required=True,
        metavar=("BASE_MODEL", "BENCHMARK", "SYSTEM", "SEED"),
        help="a run of a system: its seed, or `shared`; repeat in the order of the rows",
    )
    add_experiment_flags(parser)
    parser.add_argument(
        "--step-log",
        nargs=3,
        action="append",
        default=[],
        metavar=("TITLE", "SEED", "FILE"),
        help="step log of a training run, whose panel has this title; runs with the same title share a panel;"
        " may be repeated",
    )
    parser.add_argument(
        "--selection",
        nargs=4,
        action="append",
        default=[],
        metavar=("TITLE", "SEED", "CURVE", "CHOICE"),
        help="scores of the snapshots of a training run in the dev directions, and the chosen step; runs with the same"
        " title share their panels; may be repeated",
    )
    parser.add_argument(
        "--study",
        type=json.loads,
        action="append",
        default=[],
        metavar="JSON",
        help="plots of scores against one setting, one line per series: an object with the `name` of the study, the"
        " `label` of the horizontal axis, and `series`: by name, the values of the setting with"
        " BASE_MODEL/BENCHMARK/SYSTEM of each; may be repeated",
    )
    parser.add_argument("--output", type=Path, required=True, help="output folder")
    arguments = parser.parse_args()

    # Imported here, since matplotlib takes a second to load, and the check of the flags does without it.
    from .lat.reporting import charts

    experiments = make_experiments(arguments.run, arguments.directions)
    score_rows = read_all_scores(arguments.scores, experiments, arguments.learned, arguments.further)
    interval_rows = read_intervals(arguments.intervals, experiments, arguments.learned)
    check_values(arguments.intervals, interval_rows, score_rows)
    summary_rows = read_summary(arguments.summary, experiments, arguments.learned)
    check_summary(arguments.summary, summary_rows, score_rows)
    scores, intervals, summary = scores_frame(score_rows), intervals_frame(interval_rows), summary_frame(summary_rows)
    logs = read_logs(arguments.step_log)
    save(charts.off_target_figure(scores, intervals, summary), arguments.output / "off_target")
    save(charts.heat_map_figure(scores), arguments.output / "heat_map")
    save(charts.off_target_languages_figure(scores), arguments.output / "off_target_languages")
    save(charts.losses_figure(logs), arguments.output / "losses")
    if arguments.selection:
        save(charts.selections_figure(read_selections(arguments.selection)), arguments.output / "select")
    for study in arguments.study:
        figure = charts.study_figure(study["label"], read_points(study, experiments), scores, intervals, summary)
        save(figure, arguments.output / f"study-{study['name']}")


def read_logs(flags: Sequence[tuple[str, str, str]]) -> dict[str, dict[str, pd.DataFrame]]:
    """Read the step logs of training runs.

    Args:
        flags: values of the flag `--step-log`.

    Returns:
        The logs by the title of their panel and their seed, in the order of the flags.

    Raises:
        InputError: two logs have the same title and seed, or a log is damaged.
    """
    logs: dict[str, dict[str, pd.DataFrame]] = {}
    for title, seed, path in flags:
        runs = logs.setdefault(title, {})
        if seed in runs:
            raise InputError(f"--step-log: {path} is the second log of {title} with the seed {seed}; remove one")
        runs[seed] = read_steps(Path(path))
    return logs


def read_selections(
    flags: Sequence[tuple[str, str, str, str]],
) -> dict[str, dict[str, tuple[pd.DataFrame, int]]]:
    """Read the scores of the snapshots of training runs.

    Args:
        flags: values of the flag `--selection`.

    Returns:
        By the title of the panels and the seed: the means over the dev directions, with the columns `step`, `OTR` and
        `chrF++`, and the chosen step.

    Raises:
        InputError: a file is damaged, or does not belong to the other one.
    """
    import pandas as pd

    selections: dict[str, dict[str, tuple[pd.DataFrame, int]]] = {}
    for title, seed, curve, choice in flags:
        rows = [row for row in read_table(curve) if row.get("direction") == AVERAGE]
        try:
            means = pd.DataFrame([{name: float(row[name]) for name in ("step", "OTR", "chrF++")} for row in rows])
            chosen = int(json.loads(read_text(choice))["step"])
        except (KeyError, TypeError, ValueError):
            raise InputError(
                f"{curve} or {choice}: not what the step select writes; delete both and run again"
            ) from None
        if not rows or chosen not in set(means.step):
            raise InputError(f"{choice}: step {chosen} has no scores in {curve}; delete both and run again")
        selections.setdefault(title, {})[seed] = means, chosen
    return selections


def read_points(
    study: Mapping[str, Any], experiments: Sequence[Experiment]
) -> dict[str, list[tuple[float, tuple[str, str, str]]]]:
    """Return the points of a study by series: the value of the setting, then base model, benchmark and system.

    Args:
        study: a value of the flag `--study`.
        experiments: the experiments of the run.

    Raises:
        InputError: the value of a point is no number, or no experiment has its system.
    """
    rows = [(entry.base_model, entry.benchmark, system) for entry in experiments for system in entry.systems]
    known = {"/".join(row): row for row in rows}
    series: dict[str, list[tuple[float, tuple[str, str, str]]]] = {}
    for name, points in study["series"].items():
        for text, system in points.items():
            key = f"config: studies.{study['name']}.series.{name}.{text}"
            if system not in known:
                raise InputError(f"{key}: no experiment has the system {system}; change it")
            try:
                value = float(text)
            except ValueError:
                value = math.nan
            if not math.isfinite(value):
                raise InputError(f"{key}: `{text}` is no number, as the horizontal axis needs; change it")
            series.setdefault(name, []).append((value, known[system]))
    return series


def save(figure: Figure, path: Path) -> None:
    """Save a figure in every format, without a creation date, so that the same figure gives identical files."""
    for suffix in SUFFIXES:
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[suffix]
        with replaced_file(path.with_name(f"{path.name}.{suffix}")) as partial:
            figure.savefig(partial, format=suffix, dpi=300, metadata=metadata)


if __name__ == "__main__":
    run_step(main)
