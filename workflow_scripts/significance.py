"""Compute 95 % intervals of all scores and test differences between systems, over test sentences and training seeds."""

from __future__ import annotations

import argparse
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .lat.evaluation.offtarget import target_labels
from .lat.evaluation.ranking import MINIMUM_SEEDS
from .lat.files import InputError, read_lines, write_table
from .lat.names import SHARED
from .lat.reporting.reading import TOLERANCE, check_verdicts, read_line_scores, read_lines_table, read_system_scores
from .lat.runtime import Progress, log, run_step

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from .lat.evaluation.bootstrap import Floats
    from .lat.evaluation.significance import Outputs, RunScores

SEED = re.compile(r"0|[1-9]\d*", re.ASCII)
SIGNIFICANT = 0.05


@dataclass(frozen=True)
class TableScore:
    """A score of a score table, which the score computed here must equal, and where it stands."""

    path: Path
    line: int
    value: str


@dataclass(frozen=True)
class Run:
    """One run of a system: its output lines, and what other steps say of them.

    Attributes:
        system: name of the system.
        seed: its seed, or `shared`.
        hypotheses: folder of the output lines, which are read when they are needed.
        off_target: whether each line is off target, by direction.
        learned: line scores by learned metric and direction.
        scores: the scores of the score tables by direction and metric; empty if there are no tables to compare with.
    """

    system: str
    seed: str
    hypotheses: Path
    off_target: Mapping[str, NDArray[np.bool_]]
    learned: Mapping[str, Mapping[str, Floats]]
    scores: Mapping[tuple[str, str], TableScore]

    def outputs(self, direction: str, count: int) -> Outputs:
        """Read the output lines of one direction.

        Args:
            direction: the direction.
            count: number of its references.

        Raises:
            InputError: there are more or fewer lines than references.
        """
        path = self.hypotheses / f"{direction}.txt"
        lines = read_lines(path)
        if len(lines) != count:
            raise InputError(f"{path}: {len(lines)} hypotheses for {count} references; decode and detect it again")
        from .lat.evaluation.significance import Outputs

        learned = {metric: of_directions[direction] for metric, of_directions in self.learned.items()}
        return Outputs(lines, self.off_target[direction], learned)


def main() -> None:
    """Parse the flags, resample all runs direction by direction, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--references", type=Path, required=True, help="folder with the files <direction>.ref.txt")
    parser.add_argument(
        "--system",
        nargs="+",
        action="append",
        required=True,
        metavar=("NAME", "WORD"),
        help="one run of a system: its name, its seed or `shared`, its folder of files <direction>.txt, its lines.tsv,"
        " and score tables to compare with: BLEU and chrF++, each learned metric in the order of --learned, off-target"
        " scores; repeatable",
    )
    parser.add_argument(
        "--learned",
        nargs=4,
        action="append",
        default=[],
        metavar=("SYSTEM", "SEED", "METRIC", "FILE"),
        help="table with the line scores of one run by one learned metric; repeatable",
    )
    parser.add_argument("--lower-is-better", nargs="*", default=[], help="learned metrics of which lower is better")
    parser.add_argument(
        "--baselines",
        nargs="+",
        required=True,
        metavar="NAME",
        help="systems that all others are tested against; the first one is that of intervals and means over seeds",
    )
    parser.add_argument("--supervised", nargs="*", default=[], help="supervised directions (with training samples)")
    parser.add_argument("--zero-shot", nargs="*", default=[], help="zero-shot directions (without training samples)")
    parser.add_argument("--resamples", type=int, default=1000, help="number of bootstrap resamples")
    parser.add_argument("--seed", type=int, default=1, help="random seed of the resampling")
    parser.add_argument("--intervals", type=Path, required=True, help="output table, one row per run and score")
    parser.add_argument("--summary", type=Path, required=True, help="output table, one row per system and score")
    parser.add_argument("--comparisons", type=Path, required=True, help="output table, one row per pair and score")
    arguments = parser.parse_args()
    if any(len(words) < 4 for words in arguments.system):
        parser.error("--system: a name, a seed, a folder and a table are required")

    # Imported here, since these modules need NumPy, and the check of the flags does without it.
    import numpy as np

    from .lat.evaluation.bootstrap import draw
    from .lat.evaluation.significance import (
        COMPARISON_COLUMNS,
        INTERVAL_COLUMNS,
        SUMMARY_COLUMNS,
        SignificanceTables,
        resample_scores,
    )

    names = check_runs([(name, seed) for name, seed, *_ in arguments.system])
    learned = check_learned(names, [(name, seed, metric) for name, seed, metric, _ in arguments.learned])
    groups = {"supervised": arguments.supervised, "zero-shot": arguments.zero_shot}
    counts = {
        direction: len(read_lines(arguments.references / f"{direction}.ref.txt"))
        for directions in groups.values()
        for direction in directions
    }
    files = {(name, seed): list(map(Path, paths)) for name, seed, *paths in arguments.system}
    line_scores = {(name, seed, metric): Path(path) for name, seed, metric, path in arguments.learned}
    runs = {
        name: [
            read_run(name, seed, files[name, seed], {m: line_scores[name, seed, m] for m in learned}, counts)
            for seed in seeds
        ]
        for name, seeds in names.items()
    }
    log_limits(names, arguments.baselines, arguments.resamples)

    tables = SignificanceTables(names, arguments.baselines, arguments.seed, arguments.lower_is_better)
    progress = Progress(len(counts), "directions")
    draws = np.zeros((0, 0))
    for supervision, directions in groups.items():
        for direction in directions:
            references = read_lines(arguments.references / f"{direction}.ref.txt")
            # Most benchmarks have the same number of lines in all directions, so that only the last draws are kept.
            if draws.shape[1] != len(references):
                draws = draw(len(references), arguments.resamples, arguments.seed)
            outputs = {
                name: [run.outputs(direction, len(references)) for run in of_system] for name, of_system in runs.items()
            }
            scores = resample_scores(direction, outputs, references, draws)
            for name, of_system in runs.items():
                check_scores(direction, of_system, scores[name])
            tables.add_direction(supervision, direction, scores)
            progress.update()
        if directions:
            tables.add_average(supervision)
    write_table(arguments.intervals, tables.intervals, INTERVAL_COLUMNS)
    write_table(arguments.summary, tables.summary, SUMMARY_COLUMNS)
    write_table(arguments.comparisons, tables.comparisons, COMPARISON_COLUMNS)


def check_runs(runs: Iterable[tuple[str, str]]) -> dict[str, tuple[str, ...]]:
    """Check the runs of all systems.

    Args:
        runs: name of the system and seed of every run.

    Returns:
        The seeds of each system, in the same order for all systems, or only `shared`.

    Raises:
        InputError: a seed is not valid, a run is there twice, or trained systems have different seeds.
    """
    found: dict[str, list[str]] = {}
    for system, seed in runs:
        if seed != SHARED and not SEED.fullmatch(seed):
            raise InputError(f"--system: the seed of {system} is `{seed}`; give a number or `{SHARED}`")
        if seed in found.setdefault(system, []):
            raise InputError(f"--system: seed {seed} of {system} is there twice; give every run once")
        found[system].append(seed)
    trained = {system: seeds for system, seeds in found.items() if seeds != [SHARED]}
    first, expected = next(iter(trained.items()), ("", []))
    for system, seeds in trained.items():
        if SHARED in seeds:
            raise InputError(f"--system: {system} has the runs {', '.join(seeds)}; a shared run must be the only one")
        if set(seeds) != set(expected):
            raise InputError(
                f"--system: {system} has the seeds {', '.join(seeds)}, but {first} has {', '.join(expected)};"
                " give all trained systems the same seeds"
            )
    return {system: tuple(expected if system in trained else seeds) for system, seeds in found.items()}


def check_learned(runs: Mapping[str, Sequence[str]], tables: Iterable[tuple[str, str, str]]) -> list[str]:
    """Check that every run has the same learned metrics.

    Args:
        runs: the seeds of each system.
        tables: system, seed and learned metric of every table of line scores.

    Returns:
        The names of the learned metrics.

    Raises:
        InputError: a table is missing, is there twice, or belongs to no run.
    """
    found = list(tables)
    metrics = list(dict.fromkeys(metric for *_, metric in found))
    expected = [(system, seed, metric) for system, seeds in runs.items() for seed in seeds for metric in metrics]
    for table in (*found, *expected):
        if expected.count(table) != 1 or found.count(table) != 1:
            system, seed, metric = table
            raise InputError(
                f"--learned: {found.count(table)} tables of {metric} for seed {seed} of {system}, which has"
                f" {expected.count(table)} such runs; give one table for every run and metric"
            )
    return metrics


def read_run(
    system: str, seed: str, paths: Sequence[Path], learned: Mapping[str, Path], counts: Mapping[str, int]
) -> Run:
    """Read what other steps say of the output lines of a run.

    Args:
        system: name of the system.
        seed: its seed, or `shared`.
        paths: folder of the output lines, lines.tsv, and the score tables: BLEU and chrF++, one per learned metric,
            and off-target scores. Without score tables, nothing is compared.
        learned: tables of line scores, by learned metric.
        counts: number of lines by direction.

    Raises:
        InputError: a table is damaged, or does not belong to the lines.
    """
    import numpy as np

    hypotheses, lines_path, *score_paths = paths
    lines = read_lines_table(lines_path, counts)
    scores: dict[tuple[str, str], TableScore] = {}
    if score_paths:
        tables = read_system_scores(score_paths, list(learned), counts, list(lines.others))
        check_verdicts(lines, score_paths[-1], tables[-1])
        for path, rows in zip(score_paths, tables, strict=True):
            scores |= {(row["direction"], row["metric"]): TableScore(path, row.line, row["value"]) for row in rows}
    # One byte per line: the table of a benchmark with many directions is large, and there is one per run.
    off_target = {
        direction: np.array([line.label not in target_labels(direction) for line in classified])
        for direction, classified in lines.classified.items()
    }
    line_scores = {
        metric: {direction: np.array(of_lines) for direction, of_lines in read_line_scores(path, counts).items()}
        for metric, path in learned.items()
    }
    log.info("%s, seed %s: read labels and scores", system, seed)
    return Run(system, seed, hypotheses, off_target, line_scores, scores)


def log_limits(runs: Mapping[str, Sequence[str]], baselines: Sequence[str], resamples: int) -> None:
    """Say if the seeds are too few to include their variation, and warn of too few resamples for corrected p-values.

    Args:
        runs: the seeds of each system.
        baselines: the systems that all others are tested against.
        resamples: number of resamples.
    """
    seeds = max(map(len, runs.values()))
    if seeds < MINIMUM_SEEDS:
        log.info(
            "intervals and p-values do not cover the variation between training runs, which needs %d seeds or more",
            MINIMUM_SEEDS,
        )
    systems = len(runs)
    tests = {f"comparisons with {name}": systems - 1 for name in baselines if name in runs}
    tests["pairs of systems"] = systems * (systems - 1) // 2
    for what, number in tests.items():
        if number / (resamples + 1) >= SIGNIFICANT:
            log.warning(
                "no corrected p-value of the %d %s can be below %s with %d resamples; use at least %d",
                number,
                what,
                SIGNIFICANT,
                resamples,
                round(number / SIGNIFICANT),
            )


def check_scores(direction: str, runs: Sequence[Run], scores: Mapping[str, RunScores]) -> None:
    """Check that the score tables of a system hold the scores of its outputs in one direction.

    Args:
        direction: the direction.
        runs: the runs of the system.
        scores: the scores computed here, by metric.

    Raises:
        InputError: a table has a different score, so either the table or the outputs are out of date.
    """
    for metric, score in scores.items():
        for run, value in zip(runs, score.values, strict=True):
            found = run.scores.get((direction, metric))
            if found and abs(value - float(found.value)) > TOLERANCE:
                raise InputError(
                    f"{found.path}: line {found.line}: {metric} of {direction} is {found.value}, but its lines score"
                    f" {value:.4f}; delete the table and run again"
                )


if __name__ == "__main__":
    run_step(main)
