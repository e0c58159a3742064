"""Readers of the tables that the steps write, which check each table against what the experiment says it must hold.

A table may be damaged, cut, edited, or written by another version of the workflow. Means over whatever rows are left
would be wrong without any sign of it, so every reader refuses such a table with one line that names the file, the line
and the remedy.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from sys import intern
from typing import TYPE_CHECKING

from ..evaluation.offtarget import (
    ClassifiedLine,
    OffTargetScore,
    Verdict,
    cross_check_scores,
    language_verdicts,
    leaves_out_lines,
    verdict_scores,
)
from ..evaluation.ranking import DEGENERATE_BLEU, holm, is_lower_better
from ..evaluation.scores import METRICS
from ..evaluation.switching import SWITCHING_METRICS, detection_metrics
from ..files import InputError, TextError, check_characters, decode_text, fold, parse_json
from ..names import AVERAGE, REFERENCE, SHARED
from ..runtime import LIBRARIES, Machine, cpu_model, versions
from .schema import (
    Check,
    Row,
    Schema,
    any_text,
    check_complete,
    damaged,
    number,
    one_of,
    read_rows,
    seed_or_shared,
    some_text,
    whole_number,
)

if TYPE_CHECKING:
    import pandas as pd

# Tables have four decimals, and each rounding of a number that is compared or summed may add this much.
ROUNDING = 1e-4
# Allowed difference between two computations of a score: SacreBLEU's and the one for all resamples at once.
TOLERANCE = 1e-3

# What the user can do about a damaged file that a training run has written.
RETRAIN = "restore it, or delete it and run again, which trains the model again"

# The prefix of the OTR by another identifier, whose name follows.
OTHER_RATIO = "OTR:"

_EXPERIMENT: dict[str, Check] = {"base_model": some_text, "benchmark": some_text}
_RUN: dict[str, Check] = {"system": some_text, "seed": seed_or_shared}
_PAIR: dict[str, Check] = {"system": some_text, "baseline": some_text}
_SUPERVISION: dict[str, Check] = {"supervision": one_of(("supervised", "zero-shot"))}
_KEY: dict[str, Check] = {"direction": some_text, "metric": some_text}
_SCORE: dict[str, Check] = {"value": number(alternative="nan"), "n": whole_number(), "signature": some_text}
_BOUNDS: dict[str, Check] = dict.fromkeys(("low", "high"), number())
_P: dict[str, Check] = {"p": number(0, 1, alternative="")}
_SEEDS: dict[str, Check] = {"seeds": whole_number(1)}


def _schema(
    key: Mapping[str, Check], values: Mapping[str, Check], of_run: bool = True, may_be_empty: bool = False
) -> Schema:
    """Return the schema of a table whose first columns are its key.

    Args:
        key: checks of the columns of the key.
        values: checks of the other columns.
        of_run: whether the table is about a whole run, so that base model and benchmark come first.
        may_be_empty: whether there may be no rows.
    """
    whole_key = {**(_EXPERIMENT if of_run else {}), **key}
    return Schema({**whole_key, **values}, key=tuple(whole_key), may_be_empty=may_be_empty)


SCORES = _schema(_KEY, _SCORE, of_run=False)
ALL_SCORES = _schema({**_RUN, **_SUPERVISION, **_KEY}, _SCORE)

_OF_INTERVALS = {**_RUN, **_SUPERVISION, **_KEY}, {"value": number(), **_BOUNDS, **_P}
_OF_SUMMARY = (
    {"system": some_text, **_SUPERVISION, **_KEY},
    {"mean": number(), "sd": number(0, alternative=""), **_BOUNDS, **_P, "p_corrected": _P["p"], **_SEEDS},
)
_OF_SCORE_COMPARISONS = (
    {**_PAIR, **_SUPERVISION, **_KEY},
    {"difference": number(), **_BOUNDS, **dict.fromkeys(("p", "p_corrected"), number(0, 1)), **_SEEDS},
)
INTERVALS = _schema(*_OF_INTERVALS)
SUMMARY = _schema(*_OF_SUMMARY)
# A single system has nothing to be compared with.
SCORE_COMPARISONS = _schema(*_OF_SCORE_COMPARISONS, may_be_empty=True)
# The tables of one experiment, by the names of their files in the folder of `significance`.
SIGNIFICANCE = {
    "intervals.tsv": _schema(*_OF_INTERVALS, of_run=False),
    "summary.tsv": _schema(*_OF_SUMMARY, of_run=False),
    "comparisons.tsv": _schema(*_OF_SCORE_COMPARISONS, of_run=False, may_be_empty=True),
}
GENERAL_COMPARISONS = _schema(
    {"seed": seed_or_shared, **_PAIR},
    {
        **dict.fromkeys(("instructions", "judge"), any_text),
        **dict.fromkeys(("n", "win", "tie", "lose", "unclear"), whole_number()),
        "p": number(0, 1),
    },
)
LINES = Schema(
    {
        "direction": some_text,
        "line": whole_number(1),
        "label": any_text,
        "score": number(0, 1),
        "verdict": one_of(Verdict),
        "copy": one_of("01"),
    },
    others=any_text,
)
LINE_SCORES = Schema({"direction": some_text, "line": whole_number(1), "score": number()})
STEPS = Schema(
    {"step": whole_number(1), "likelihood_loss": number(0), "unlikelihood_loss": number(0)},
    others=number(),
    remedy=RETRAIN,
)
# A training with a preference loss has that in place of the unlikelihood loss.
PREFERENCE_STEPS = Schema(
    {"step": whole_number(1), "likelihood_loss": number(0), "preference_loss": number(0)},
    others=number(),
    remedy=RETRAIN,
)
# Rows of the table of versions besides those of Python and the libraries.
TRAINING_CPU, TRAINING_GPU, TRAINING_THREADS = (f"training: {name}" for name in ("CPU", "GPU", "processes x threads"))
TABLES_CPU = "tables: CPU"
VERSIONS = Schema({"what": some_text, "version": some_text}, key=("what",))


@dataclass(frozen=True)
class Experiment:
    """What is measured in one experiment.

    Attributes:
        base_model: name of its base model.
        benchmark: name of its benchmark.
        runs: the runs of each system, in the order of the rows of the tables, as in the column `seed`: the seeds of its
            training, or `shared` alone if it has the untrained base model.
        directions: supervision (`supervised` or `zero-shot`) by direction, in the order of the columns.
    """

    base_model: str
    benchmark: str
    runs: Mapping[str, tuple[str, ...]]
    directions: Mapping[str, str]

    @property
    def systems(self) -> tuple[str, ...]:
        """Names of the systems, in the order of the rows of the tables."""
        return tuple(self.runs)

    @property
    def seeds(self) -> tuple[str, ...]:
        """Seeds of the experiment as in the column `seed`; none if all systems have the untrained base model."""
        return tuple(dict.fromkeys(seed for runs in self.runs.values() for seed in runs if seed != SHARED))

    def paired_seeds(self, system: str, baseline: str) -> int:
        """Return the number of pairs of runs that are compared, in which a shared run is paired with every other."""
        return max(len(self.runs[system]), len(self.runs[baseline]))

    def tested(self, baselines: Sequence[str]) -> str:
        """Return the system that p-values of single systems refer to; empty if the experiment lacks it."""
        return baselines[0] if baselines and baselines[0] in self.runs else ""


@dataclass(frozen=True)
class Lines:
    """The table of the identified languages of a system's output lines.

    Attributes:
        path: the file.
        classified: the lines by direction.
        others: the labels by the identifiers that are cross-checks, by name of the identifier and direction.
    """

    path: Path
    classified: Mapping[str, Sequence[ClassifiedLine]]
    others: Mapping[str, Mapping[str, Sequence[str]]]


def add_experiment_flags(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say which directions and metrics the tables of a run have."""
    parser.add_argument(
        "--directions",
        nargs="+",
        action="append",
        required=True,
        metavar="WORD",
        help="benchmark, `supervised` or `zero-shot`, then its directions in the order of the columns; may be repeated",
    )
    parser.add_argument("--learned", nargs="*", default=[], help="names of learned metrics")
    parser.add_argument("--lower-is-better", nargs="*", default=[], help="those of them of which lower is better")
    parser.add_argument("--further", nargs="*", default=[], help="names of further metrics")


def add_comparison_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag that says which systems are compared on general tasks."""
    parser.add_argument(
        "--comparison",
        nargs=5,
        action="append",
        default=[],
        metavar=("BASE_MODEL", "BENCHMARK", "SEED", "SYSTEM", "BASELINE"),
        help="what is compared on general tasks, in the order of --general; may be repeated",
    )


def make_experiments(runs: Iterable[Sequence[str]], directions: Iterable[Sequence[str]]) -> list[Experiment]:
    """Return the experiments of a run.

    Args:
        runs: base model, benchmark, system and seed (or `shared`) of every run of a system, in the order of the rows.
        directions: values of the flag `--directions`.

    Raises:
        InputError: a benchmark has no directions, a seed is not valid or given twice, or systems have different seeds.
    """
    supervision: dict[str, dict[str, str]] = {}
    for benchmark, kind, *listed in directions:
        supervision.setdefault(benchmark, {}).update(dict.fromkeys(listed, kind))
    experiments: dict[tuple[str, str], dict[str, list[str]]] = {}
    for base_model, benchmark, system, seed in runs:
        if not supervision.get(benchmark):
            raise InputError(f"--directions: none for the benchmark {benchmark}; add them")
        name = f"{base_model} on {benchmark}: the system {system}"
        if expected := seed_or_shared(seed):
            raise InputError(f"{name} has the seed `{seed}`, not {expected}; correct it")
        found = experiments.setdefault((base_model, benchmark), {}).setdefault(system, [])
        if seed in found:
            raise InputError(f"{name} has the seed {seed} twice; remove one")
        found.append(seed)
    for (base_model, benchmark), systems in experiments.items():
        trained = {system: ", ".join(seeds) for system, seeds in systems.items() if seeds != [SHARED]}
        for system, seeds in trained.items():
            name = f"{base_model} on {benchmark}: the system {system}"
            if SHARED in systems[system]:
                raise InputError(f"{name} has the seeds {seeds}; `{SHARED}` must be the only one, remove it")
            first = next(iter(trained))
            if seeds != trained[first]:
                raise InputError(
                    f"{name} has the seeds {seeds}, but {first} has {trained[first]}; give all trained systems the same"
                    " seeds in the same order"
                )
    return [
        Experiment(*names, {system: tuple(seeds) for system, seeds in systems.items()}, supervision[names[1]])
        for names, systems in experiments.items()
    ]


def read_reference_scores(path: Path, directions: Iterable[str]) -> tuple[list[Row], dict[str, int], list[str]]:
    """Read the off-target scores of the reference translations.

    Args:
        path: the file.
        directions: the directions of the benchmark.

    Returns:
        The rows, the number of test lines by direction, and the names of the identifiers that are cross-checks.

    Raises:
        InputError: the table is damaged, or does not have each score once.
    """
    rows = read_rows(path, SCORES)
    others = _names_of_others(rows)
    metrics = {direction: detection_metrics(direction, others) for direction in directions}
    _check_metrics(path, rows, metrics)
    lines = _numbers_of_lines(rows)
    _check_scores(path, SCORES, rows, lines)
    return rows, lines, others


def read_system_scores(
    paths: Sequence[Path],
    learned: Sequence[str],
    lines: Mapping[str, int],
    others: Sequence[str],
    further: Sequence[str] = (),
) -> list[list[Row]]:
    """Read the score tables of one system.

    Args:
        paths: the table of BLEU and chrF++, one table per learned metric, the table of off-target scores, and that of
            further metrics if there are any.
        learned: names of the learned metrics.
        lines: number of test lines by direction.
        others: names of the language identifiers that are cross-checks.
        further: names of the further metrics.

    Returns:
        The rows of each table.

    Raises:
        InputError: a table is damaged, does not have each score once, or there are more or fewer tables.
    """
    metrics: list[dict[str, Sequence[str]]] = [dict.fromkeys(lines, METRICS)]
    metrics += [dict.fromkeys(lines, (name,)) for name in learned]
    metrics.append({direction: detection_metrics(direction, others) for direction in lines})
    metrics += [dict.fromkeys(lines, further)] if further else []
    if len(paths) != len(metrics):
        raise InputError(f"{paths[0]}: one of {len(paths)} score tables of a system that has {len(metrics)}")
    tables = []
    for path, names in zip(paths, metrics, strict=True):
        rows = read_rows(path, SCORES)
        _check_metrics(path, rows, names)
        _check_scores(path, SCORES, rows, lines, learned)
        tables.append(rows)
    return tables


def read_all_scores(
    path: Path, experiments: Sequence[Experiment], learned: Sequence[str], further: Sequence[str] = ()
) -> list[Row]:
    """Read the table of all scores of a run.

    Args:
        path: the file.
        experiments: the experiments of the run.
        learned: names of the learned metrics.
        further: names of the further metrics.

    Raises:
        InputError: the table is damaged, or does not have each score once.
    """
    rows = read_rows(path, ALL_SCORES)
    others = _names_of_others(rows)
    expected = []
    for experiment in experiments:
        for direction, supervision in experiment.directions.items():
            off_target = detection_metrics(direction, others)
            for system, seed in _runs(experiment, REFERENCE):
                metrics = off_target if system == REFERENCE else [*METRICS, *learned, *off_target, *further]
                names = (experiment.base_model, experiment.benchmark, system, seed, supervision, direction)
                expected += [(*names, metric) for metric in metrics]
    check_complete(path, ALL_SCORES, rows, ALL_SCORES.key, expected)
    for experiment in experiments:
        of_experiment = rows_of(rows, experiment)
        lines = _numbers_of_lines(rows_of(of_experiment, experiment, REFERENCE))
        for system, seed in _runs(experiment, REFERENCE):
            _check_scores(path, ALL_SCORES, rows_of(of_experiment, experiment, system, seed), lines, learned)
    return rows


def rows_of(
    rows: Iterable[Row], experiment: Experiment, system: str | None = None, seed: str | None = None
) -> list[Row]:
    """Return the rows of an experiment or, if given, of one of its systems and of one seed (or `shared`)."""
    values = {"base_model": experiment.base_model, "benchmark": experiment.benchmark}
    values |= {} if system is None else {"system": system}
    values |= {} if seed is None else {"seed": seed}
    return [row for row in rows if values.items() <= row.items()]


def _runs(experiment: Experiment, *shared: str) -> list[tuple[str, str]]:
    """Return system and seed of all runs of an experiment, followed by rows that all seeds share."""
    runs = [(system, seed) for system, seeds in experiment.runs.items() for seed in seeds]
    return runs + [(name, SHARED) for name in shared]


def _names_of_others(rows: Iterable[Row]) -> list[str]:
    """Return the names of the identifiers that are cross-checks, which are parts of metrics."""
    metrics = dict.fromkeys(row["metric"] for row in rows)
    return [metric.removeprefix(OTHER_RATIO) for metric in metrics if metric.startswith(OTHER_RATIO)]


def _numbers_of_lines(rows: Iterable[Row]) -> dict[str, int]:
    """Return the number of test lines by direction, which is that of every OTR."""
    return {row["direction"]: int(row["n"]) for row in rows if row["metric"] == "OTR"}


def _check_metrics(path: Path, rows: Sequence[Row], metrics: Mapping[str, Sequence[str]]) -> None:
    """Check that a score table has each metric of each direction."""
    expected = [(direction, metric) for direction, names in metrics.items() for metric in names]
    check_complete(path, SCORES, rows, SCORES.key, expected)


def _check_scores(
    path: Path, schema: Schema, rows: Sequence[Row], lines: Mapping[str, int], learned: Collection[str] = ()
) -> None:
    """Check values and numbers of lines of the scores of one system, of which none is missing."""
    values = {(row["direction"], row["metric"]): float(row["value"]) for row in rows}
    for row in rows:
        direction, metric, n = row["direction"], row["metric"], int(row["n"])
        value, count = values[direction, metric], lines[direction]
        partial = metric in SWITCHING_METRICS or leaves_out_lines(metric)
        if n > count or (n < count and not partial):
            raise damaged(path, schema, f"line {row.line}: n is {n}, but {direction} has {count} test lines")
        if math.isnan(value) != (n == 0):
            raise damaged(path, schema, f"line {row.line}: {metric} of {n} lines cannot be {row['value']}")
        _check_range(path, schema, row, ("value",), learned)
        if metric == "OTR":
            parts = [values[direction, f"OTR-{name}"] for name in Verdict if name != Verdict.TARGET]
            if abs(value - sum(parts)) > (len(parts) + 1) * ROUNDING:
                problem = f"OTR of {direction} is {row['value']}, but its parts add up to {sum(parts):.4f}"
                raise damaged(path, schema, f"line {row.line}: {problem}")


def _check_range(path: Path, schema: Schema, row: Row, columns: Iterable[str], learned: Collection[str]) -> None:
    """Check that scores are from 0 to 100, unless they are `nan` or of a learned metric, which may have any scale."""
    for column in columns:
        if row["metric"] not in learned and not (0 <= float(row[column]) <= 100 or row[column] == "nan"):
            problem = f"{column} of {row['metric']} is {row[column]}, not from 0 to 100"
            raise damaged(path, schema, f"line {row.line}: {problem}")


@dataclass(frozen=True)
class Significance:
    """The tables of `significance` about one experiment, with base model and benchmark as first columns of the rows."""

    intervals: list[Row]
    summary: list[Row]
    comparisons: list[Row]


def read_significance(
    folder: Path,
    experiment: Experiment,
    learned: Sequence[str],
    baselines: Sequence[str],
    scores: Sequence[Mapping[str, str]],
    lower_is_better: Collection[str] = (),
) -> Significance:
    """Read the tables of `significance` about one experiment, and check them against one another and the scores.

    Args:
        folder: folder of intervals.tsv, summary.tsv and comparisons.tsv.
        experiment: the experiment.
        learned: names of the learned metrics.
        baselines: systems that the others are tested against, if the experiment has them.
        scores: rows of the score tables, with base model, benchmark, system and seed.
        lower_is_better: the learned metrics of which lower is better.

    Raises:
        InputError: a table is damaged, incomplete, or about other scores.
    """
    names = {"base_model": experiment.base_model, "benchmark": experiment.benchmark}
    intervals, summary, comparisons = (
        [Row({**names, **row}, row.line) for row in read_rows(folder / name, schema)]
        for name, schema in SIGNIFICANCE.items()
    )
    paths = [folder / name for name in SIGNIFICANCE]
    schemas = list(SIGNIFICANCE.values())
    _check_intervals(paths[0], schemas[0], intervals, [experiment], learned, baselines)
    check_values(paths[0], intervals, scores)
    _check_summary(paths[1], schemas[1], summary, [experiment], learned, baselines)
    check_summary(paths[1], summary, scores)
    _check_score_comparisons(
        paths[2], schemas[2], comparisons, [experiment], learned, baselines, summary, lower_is_better
    )
    return Significance(intervals, summary, comparisons)


def read_intervals(
    path: Path, experiments: Sequence[Experiment], learned: Sequence[str], baselines: Sequence[str] | None = None
) -> list[Row]:
    """Read the intervals and p-values of every run of a system.

    Args:
        path: the file.
        experiments: the experiments of the run.
        learned: names of the learned metrics.
        baselines: systems that the others are tested against, of which the p-values refer to the first one; without
            them, it is not checked where there are p-values.

    Raises:
        InputError: the table is damaged, or does not have each score and each mean over directions once.
    """
    rows = read_rows(path, INTERVALS)
    _check_intervals(path, INTERVALS, rows, experiments, learned, baselines)
    return rows


def read_summary(
    path: Path, experiments: Sequence[Experiment], learned: Sequence[str], baselines: Sequence[str] | None = None
) -> list[Row]:
    """Read the means over seeds with their standard deviations, intervals and p-values.

    `check_summary` compares them with the scores.

    Args:
        path: the file.
        experiments: the experiments of the run.
        learned: names of the learned metrics.
        baselines: systems that the others are tested against, of which the p-values refer to the first one; without
            them, it is not checked where there are p-values.

    Raises:
        InputError: the table is damaged, or does not have each mean once.
    """
    rows = read_rows(path, SUMMARY)
    _check_summary(path, SUMMARY, rows, experiments, learned, baselines)
    return rows


def read_score_comparisons(
    path: Path,
    experiments: Sequence[Experiment],
    learned: Sequence[str],
    baselines: Sequence[str],
    summary: Sequence[Row],
    lower_is_better: Collection[str] = (),
) -> list[Row]:
    """Read the differences between the scores of two systems, and check them against the means of each system.

    Args:
        path: the file.
        experiments: the experiments of the run.
        learned: names of the learned metrics.
        baselines: systems that the others are tested against.
        summary: the rows of the table of means over seeds.
        lower_is_better: the learned metrics of which lower is better.

    Raises:
        InputError: the table is damaged, does not have each difference once, or is about other scores.
    """
    rows = read_rows(path, SCORE_COMPARISONS)
    _check_score_comparisons(path, SCORE_COMPARISONS, rows, experiments, learned, baselines, summary, lower_is_better)
    return rows


def _scores_with_means(experiment: Experiment, learned: Sequence[str]) -> list[tuple[str, str, str]]:
    """Return supervision, direction (or `AVG`) and metric of the scores that are resampled."""
    kinds = dict.fromkeys(experiment.directions.values())
    directions = [*experiment.directions.items(), *((AVERAGE, kind) for kind in kinds)]
    metrics = (*METRICS, "OTR", *learned)
    return [(supervision, direction, metric) for direction, supervision in directions for metric in metrics]


def _check_intervals(
    path: Path,
    schema: Schema,
    rows: Sequence[Row],
    experiments: Sequence[Experiment],
    learned: Sequence[str],
    baselines: Sequence[str] | None,
) -> None:
    expected = []
    for experiment in experiments:
        names = (experiment.base_model, experiment.benchmark)
        scores = _scores_with_means(experiment, learned)
        expected += [(*names, *run, *score) for run in _runs(experiment) for score in scores]
    check_complete(path, schema, rows, INTERVALS.key, expected)
    for row in rows:
        _check_range(path, schema, row, ("value", "low", "high"), learned)
        _check_interval(path, schema, row, "value")
    _check_means(path, schema, rows, ("base_model", "benchmark", "system", "seed"), "value")
    if baselines is not None:
        for experiment in experiments:
            baseline = experiment.tested(baselines)
            for row in rows_of(rows, experiment):
                is_tested = bool(baseline) and row["system"] != baseline
                _check_tested(path, schema, row, baselines[0], is_tested)


def _check_summary(
    path: Path,
    schema: Schema,
    rows: Sequence[Row],
    experiments: Sequence[Experiment],
    learned: Sequence[str],
    baselines: Sequence[str] | None,
) -> None:
    expected = []
    for experiment in experiments:
        names = (experiment.base_model, experiment.benchmark)
        scores = _scores_with_means(experiment, learned)
        expected += [(*names, system, *score) for system in experiment.systems for score in scores]
    check_complete(path, schema, rows, SUMMARY.key, expected)
    for row in rows:
        _check_range(path, schema, row, ("mean", "low", "high"), learned)
        _check_interval(path, schema, row, "mean")
        _check_correction(path, schema, row)
    _check_means(path, schema, rows, ("base_model", "benchmark", "system"), "mean")
    for experiment in experiments:
        for row in rows_of(rows, experiment):
            count = len(experiment.runs[row["system"]])
            if int(row["seeds"]) != count:
                problem = f"seeds is {row['seeds']}, but {row['system']} has {count}"
                raise damaged(path, schema, f"line {row.line}: {problem}")
            if (row["sd"] != "") != (count > 1):
                problem = f"sd of {row['system']} is `{row['sd']}`, but it has {count} seed{'s' * (count > 1)}"
                raise damaged(path, schema, f"line {row.line}: {problem}")
            if baselines is not None:
                baseline = experiment.tested(baselines)
                _check_tested(path, schema, row, baselines[0], bool(baseline) and row["system"] != baseline)


def _check_score_comparisons(
    path: Path,
    schema: Schema,
    rows: Sequence[Row],
    experiments: Sequence[Experiment],
    learned: Sequence[str],
    baselines: Sequence[str],
    summary: Sequence[Row],
    lower_is_better: Collection[str],
) -> None:
    expected: list[tuple[str, ...]] = []
    for experiment in experiments:
        names = (experiment.base_model, experiment.benchmark)
        pairs = [(a, b) for b in baselines if b in experiment.runs for a in experiment.systems if a != b]
        scores = _scores_with_means(experiment, learned)
        expected += [(*names, *pair, *score) for pair in pairs for score in scores]
        means = {
            (row["supervision"], row["metric"], row["system"]): float(row["mean"])
            for row in rows_of(summary, experiment)
            if row["direction"] == AVERAGE
        }
        for supervision, direction, metric in scores:
            is_lower = is_lower_better(metric, lower_is_better)
            best = _best_systems(experiment, means, supervision, metric, is_lower) if direction == AVERAGE else []
            if len(best) == 2 and not set(best) & set(baselines):
                expected.append((*names, *best, supervision, direction, metric))
    check_complete(path, schema, rows, SCORE_COMPARISONS.key, expected)
    for row in rows:
        if row["metric"] not in learned and abs(float(row["difference"])) > 100:
            problem = f"difference of {row['metric']} is {row['difference']}, not from -100 to 100"
            raise damaged(path, schema, f"line {row.line}: {problem}")
        _check_interval(path, schema, row, "difference")
        _check_correction(path, schema, row)
    for experiment in experiments:
        of_experiment = rows_of(rows, experiment)
        for row in of_experiment:
            count = experiment.paired_seeds(row["system"], row["baseline"])
            if int(row["seeds"]) != count:
                problem = f"seeds is {row['seeds']}, but {row['system']} and {row['baseline']} have {count}"
                raise damaged(path, schema, f"line {row.line}: {problem}")
        _check_corrected(path, schema, of_experiment, experiment, baselines)
        _check_differences(path, of_experiment, rows_of(summary, experiment), experiment.tested(baselines))


def _best_systems(
    experiment: Experiment,
    means: Mapping[tuple[str, str, str], float],
    supervision: str,
    metric: str,
    lower_is_better: bool,
) -> list[str]:
    """Return the best system and the runner-up by their means over directions, among those that translate at all.

    Of systems with equal means, the one that comes first in the tables is the better.

    Args:
        experiment: the experiment.
        means: means over directions and seeds by supervision, metric and system.
        supervision: kind of the directions.
        metric: the metric.
        lower_is_better: whether a lower mean is the better one.
    """
    systems = [system for system in experiment.systems if means[supervision, "BLEU", system] >= DEGENERATE_BLEU]
    return sorted(systems, key=lambda system: means[supervision, metric, system], reverse=not lower_is_better)[:2]


def _check_corrected(
    path: Path, schema: Schema, rows: Sequence[Row], experiment: Experiment, baselines: Sequence[str]
) -> None:
    """Check the p-values of one experiment that are corrected for several tests."""
    tests: dict[tuple[str, ...], dict[str, Row]] = {}
    for row in rows:
        test = tuple(row[column] for column in ("baseline", "supervision", "direction", "metric"))
        tests.setdefault(test, {})[row["system"]] = row
    count = len(experiment.systems)
    for test, of_systems in tests.items():
        p_values = {system: float(row["p"]) for system, row in of_systems.items()}
        if test[0] in baselines:
            number, corrected = len(p_values), holm(p_values)
        else:
            # The two best systems are chosen by their scores, so that their test is one of those of all pairs.
            number = count * (count - 1) // 2
            corrected = {system: min(1.0, number * p) for system, p in p_values.items()}
        for system, row in of_systems.items():
            if abs(float(row["p_corrected"]) - corrected[system]) > (number + 1) * ROUNDING:
                problem = (
                    f"p_corrected of {system} is {row['p_corrected']}, but {corrected[system]:.4f} by all p-values"
                )
                raise damaged(path, schema, f"line {row.line}: {problem}")


def _check_differences(path: Path, comparisons: Sequence[Row], summary: Sequence[Row], baseline: str) -> None:
    """Check that comparisons of one experiment have the differences and p-values that belong to a table of means.

    Args:
        path: the table of comparisons.
        comparisons: its rows.
        summary: the rows of the table of means.
        baseline: system that the p-values of the means refer to.
    """
    names = ("supervision", "direction", "metric", "system")
    means = {tuple(row[name] for name in names): row for row in summary}
    for row in comparisons:
        of_system = means[tuple(row[name] for name in names)]
        of_baseline = means[*(row[name] for name in names[:3]), row["baseline"]]
        difference = float(of_system["mean"]) - float(of_baseline["mean"])
        found = [("difference", f"{difference:.4f}", abs(float(row["difference"]) - difference) <= 2 * ROUNDING)]
        if row["baseline"] == baseline:
            found += [(name, of_system[name], row[name] == of_system[name]) for name in ("p", "p_corrected")]
        for column, expected, is_equal in found:
            if not is_equal:
                raise InputError(
                    f"{path}: line {row.line}: {column} of {row['system']} and {row['baseline']} is {row[column]}, but"
                    f" {expected} by the table of means over seeds; delete both tables and run again"
                )


def _check_interval(path: Path, schema: Schema, row: Row, column: str) -> None:
    """Check that the 95 % interval of a row can be that of the number in a column."""
    value, low, high = (float(row[name]) for name in (column, "low", "high"))
    # The mean of resampled scores is not exactly the score, so that the interval of a mean over many directions may
    # lie beside it, but not farther away than it is wide.
    if not low - (high - low) - ROUNDING <= value <= high + (high - low) + ROUNDING or low > high:
        problem = f"the 95 % interval of {value:.4f} cannot be from {low:.4f} to {high:.4f}"
        raise damaged(path, schema, f"line {row.line}: {problem}")


def _check_correction(path: Path, schema: Schema, row: Row) -> None:
    """Check that the correction of a p-value for several tests is there if the p-value is, and is not smaller."""
    p, corrected = row["p"], row["p_corrected"]
    if (p == "") != (corrected == "") or (p and float(corrected) < float(p)):
        problem = f"p_corrected of {row['system']} is `{corrected}`, which cannot be a correction of p, `{p}`"
        raise damaged(path, schema, f"line {row.line}: {problem}")


def _check_tested(path: Path, schema: Schema, row: Row, baseline: str, is_tested: bool) -> None:
    """Check that there is a p-value wherever a system is tested against the baseline, and nowhere else."""
    if (row["p"] != "") != is_tested:
        problem = f"{row['system']} has {'no' if is_tested else 'a'} p-value against {baseline}"
        raise damaged(path, schema, f"line {row.line}: {problem}")


def _check_means(path: Path, schema: Schema, rows: Sequence[Row], names: Sequence[str], column: str) -> None:
    """Check the means over directions of the numbers in a column, in the rows that have the same names."""
    columns = (*names, "supervision", "metric")
    values: dict[tuple[str, ...], list[float]] = {}
    for row in rows:
        if row["direction"] != AVERAGE:
            values.setdefault(tuple(row[name] for name in columns), []).append(float(row[column]))
    for row in rows:
        if row["direction"] == AVERAGE:
            mean = statistics.fmean(values[tuple(row[name] for name in columns)])
            if abs(float(row[column]) - mean) > 2 * ROUNDING:
                problem = f"{AVERAGE} of {row['metric']} is {row[column]}, but the directions have the mean {mean:.4f}"
                raise damaged(path, schema, f"line {row.line}: {problem}")


def check_values(path: Path, intervals: Iterable[Row], scores: Iterable[Mapping[str, str]]) -> None:
    """Check that the scores in a table of intervals are those of the score tables.

    Args:
        path: the table of intervals.
        intervals: its rows, with base model and benchmark.
        scores: rows of the score tables, with base model, benchmark, system and seed.

    Raises:
        InputError: a score differs.
    """
    columns = ("base_model", "benchmark", "system", "seed", "direction", "metric")
    values = {tuple(score[column] for column in columns): score["value"] for score in scores}
    for row in intervals:
        value = values.get(tuple(row[column] for column in columns))
        if value is not None and abs(float(row["value"]) - float(value)) > TOLERANCE:
            raise InputError(
                f"{path}: line {row.line}: {row['metric']} of {row['system']} in {row['direction']} is {row['value']},"
                f" but {value} in its score table; delete both tables and run again"
            )


def check_summary(path: Path, summary: Iterable[Row], scores: Iterable[Mapping[str, str]]) -> None:
    """Check that the means over seeds and their standard deviations are those of the score tables.

    Args:
        path: the table of means over seeds.
        summary: its rows, with base model and benchmark.
        scores: rows of the score tables, with base model, benchmark, system, seed and supervision.

    Raises:
        InputError: a mean or a standard deviation differs, or there are no scores of it.
    """
    names = ("base_model", "benchmark", "system", "supervision", "metric")
    # The scores by name, then by direction and seed.
    values: dict[tuple[str, ...], dict[str, dict[str, float]]] = {}
    for score in scores:
        of_name = values.setdefault(tuple(score[name] for name in names), {})
        of_name.setdefault(score["direction"], {})[score["seed"]] = float(score["value"])
    for of_name in values.values():
        by_direction = list(of_name.values())
        of_name[AVERAGE] = {
            seed: statistics.fmean(of_direction[seed] for of_direction in by_direction) for seed in by_direction[0]
        }
    for row in summary:
        of_seeds = list(values.get(tuple(row[name] for name in names), {}).get(row["direction"], {}).values())
        found = [("mean", row["mean"], statistics.fmean(of_seeds) if of_seeds else math.nan, TOLERANCE)]
        if row["sd"]:
            sd = statistics.stdev(of_seeds) if len(of_seeds) > 1 else math.nan
            # Two values that are wrong by the tolerance change their standard deviation by up to its 1.5-fold.
            found.append(("sd", row["sd"], sd, 1.5 * TOLERANCE))
        for column, text, expected, tolerance in found:
            if not abs(float(text) - expected) <= tolerance:
                raise InputError(
                    f"{path}: line {row.line}: {column} of {row['metric']} of {row['system']} in {row['direction']} is"
                    f" {text}, but {expected:.4f} by the score tables; delete all of these tables and run again"
                )


def scores_frame(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Return rows of the table of all scores as a data frame."""
    import pandas as pd

    return pd.DataFrame(rows).astype({"value": float})


def intervals_frame(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Return rows of the table of intervals as a data frame; `p` is `nan` where nothing was tested."""
    return _numbers(rows, INTERVALS, ("value", "low", "high", "p"))


def summary_frame(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Return rows of the table of means over seeds as a data frame.

    `p` and `p_corrected` are `nan` where nothing was tested, and `sd` is `nan` for a single run.
    """
    return _numbers(rows, SUMMARY, ("mean", "sd", "low", "high", "p", "p_corrected")).astype({"seeds": int})


def score_comparisons_frame(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Return rows of the table of comparisons of scores as a data frame."""
    return _numbers(rows, SCORE_COMPARISONS, ("difference", "low", "high", "p", "p_corrected")).astype({"seeds": int})


def _numbers(rows: Sequence[Mapping[str, str]], schema: Schema, columns: Sequence[str]) -> pd.DataFrame:
    """Return rows as a data frame with numbers in some columns, where an empty text is `nan`."""
    import pandas as pd

    frame = pd.DataFrame(rows, columns=list(schema.columns))
    frame[list(columns)] = frame[list(columns)].replace("", "nan").astype(float)
    return frame


def read_lines_table(path: Path, counts: Mapping[str, int]) -> Lines:
    """Read the identified languages of the output lines of a system.

    Args:
        path: the file.
        counts: number of test lines by direction.

    Raises:
        InputError: the table is damaged, does not have each line once, or a verdict is not that of the language.
    """
    rows = _read_numbered(path, LINES, counts)
    others = [column for column in rows[0] if column not in LINES.columns]
    classified: dict[str, list[ClassifiedLine]] = {direction: [] for direction in counts}
    labels: dict[str, dict[str, list[str]]] = {name: {direction: [] for direction in counts} for name in others}
    languages = {direction: language_verdicts(direction) for direction in counts}
    verdicts = {verdict.value: verdict for verdict in Verdict}
    for row in rows:
        # Few labels are different, and a large benchmark has millions of lines.
        direction, label, verdict = row["direction"], intern(row["label"]), verdicts[row["verdict"]]
        of_language = languages[direction].get(label, Verdict.OTHER)
        if label if verdict == Verdict.EMPTY else verdict not in (of_language, Verdict.NO_WORDS):
            problem = f"the verdict of a line of {direction} in the language `{label}` cannot be {verdict}"
            raise damaged(path, LINES, f"line {row.line}: {problem}")
        classified[direction].append(ClassifiedLine(label, float(row["score"]), verdict, row["copy"] == "1"))
        for name in others:
            labels[name][direction].append(intern(row[name]))
    return Lines(path, classified, labels)


def read_line_scores(path: Path, counts: Mapping[str, int]) -> dict[str, list[float]]:
    """Read the scores of the output lines of a system by a learned metric.

    Args:
        path: the file.
        counts: number of test lines by direction.

    Returns:
        The scores by direction.

    Raises:
        InputError: the table is damaged, or does not have each line once.
    """
    scores: dict[str, list[float]] = {direction: [] for direction in counts}
    for row in _read_numbered(path, LINE_SCORES, counts):
        scores[row["direction"]].append(float(row["score"]))
    return scores


def _read_numbered(path: Path, schema: Schema, counts: Mapping[str, int]) -> list[Row]:
    """Read a table with one row per output line, which are numbered from 1 in each direction."""
    rows = read_rows(path, schema)
    found = dict.fromkeys(counts, 0)
    for row in rows:
        direction = row["direction"]
        if direction not in found:
            raise damaged(path, schema, f"line {row.line}: {direction} is no part of the experiment")
        found[direction] += 1
        if int(row["line"]) != found[direction]:
            problem = f"output line {row['line']} of {direction} stands where line {found[direction]} belongs"
            raise damaged(path, schema, f"line {row.line}: {problem}")
    for direction, count in counts.items():
        if found[direction] != count:
            problem = f"{found[direction]} output lines of {direction}, which has {count} test lines"
            raise damaged(path, schema, problem)
    return rows


def check_verdicts(lines: Lines, path: Path, scores: Iterable[Row]) -> None:
    """Check that the off-target scores of a system are those of its lines, as far as they depend on labels alone.

    Args:
        lines: the table of its lines.
        path: the table with its scores.
        scores: the rows of its scores.

    Raises:
        InputError: a score differs.
    """
    computed: dict[tuple[str, str], OffTargetScore] = {}
    for direction, classified in lines.classified.items():
        found = verdict_scores(classified, direction)
        for name, labels in lines.others.items():
            found += cross_check_scores(classified, labels[direction], name, direction)
        computed |= {(direction, score.metric): score for score in found}
    for row in scores:
        score = computed.get((row["direction"], row["metric"]))
        if score and (f"{score.value:.4f}", str(score.n)) != (row["value"], row["n"]):
            raise InputError(
                f"{path}: line {row.line}: {row['metric']} of {row['direction']} is {row['value']} of {row['n']} lines,"
                f" but {score.value:.4f} of {score.n} by {lines.path}; delete both tables and run again"
            )


def read_steps(path: Path) -> pd.DataFrame:
    """Read the step log of a training run.

    Raises:
        InputError: the log is damaged, or a step is missing.
    """
    import pandas as pd

    with open(path, "rb") as handle:
        schema = PREFERENCE_STEPS if b"preference_loss" in handle.readline() else STEPS
    rows = read_rows(path, schema)
    for step, row in enumerate(rows, 1):
        if int(row["step"]) != step:
            raise damaged(path, schema, f"line {row.line}: step {row['step']} stands where step {step} belongs")
    return pd.DataFrame(rows, dtype=float)


def read_general_comparisons(tables: Iterable[tuple[Path, Sequence[Sequence[str]]]]) -> list[Row]:
    """Read comparisons on general tasks.

    Args:
        tables: files, each with base model, benchmark, seed, system and baseline of the comparisons that it holds.

    Raises:
        InputError: a table is damaged, a comparison is missing, or they have different instructions or judges.
    """
    # Imported here, since it loads the libraries of the judge's client and few runs have comparisons.
    from ..evaluation.judging import OUTCOMES, sign_test

    rows: list[Row] = []
    for path, expected in tables:
        found = read_rows(path, GENERAL_COMPARISONS)
        check_complete(path, GENERAL_COMPARISONS, found, GENERAL_COMPARISONS.key, list(map(tuple, expected)))
        for row in found:
            counts = {name: int(row[name]) for name in OUTCOMES}
            if sum(counts.values()) != int(row["n"]):
                problem = f"n is {row['n']}, but there are {sum(counts.values())} outcomes"
                raise damaged(path, GENERAL_COMPARISONS, f"line {row.line}: {problem}")
            p = sign_test(counts["win"], counts["lose"])
            if not math.isclose(float(row["p"]), p, abs_tol=ROUNDING):
                problem = f"p is {row['p']}, but {p:.4f} by the wins and losses"
                raise damaged(path, GENERAL_COMPARISONS, f"line {row.line}: {problem}")
            first = (rows or found)[0]
            for column in ("instructions", "judge"):
                if row[column] != first[column]:
                    problem = f"{column} is `{row[column]}`, but `{first[column]}` in another comparison"
                    raise damaged(path, GENERAL_COMPARISONS, f"line {row.line}: {problem}")
        rows += found
    return rows


def read_machine(path: Path) -> Machine:
    """Read the processors that a model was trained on.

    Raises:
        InputError: the file is damaged.
    """
    try:
        content = parse_json(decode_text(path.read_bytes()))
        check_characters(content, "the file")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except TextError as error:
        raise InputError(f"{path}: {error}; {RETRAIN}") from None
    match content:
        case {"cpu": str(cpu), "gpus": [*gpus], "processes": int(processes), "threads": int(threads)}:
            names = [fold(name) if isinstance(name, str) else "" for name in (cpu, *gpus)]
            if len(content) == 4 and all(names) and all(type(n) is int and n > 0 for n in (processes, threads)):
                return Machine(names[0], tuple(names[1:]), processes, threads)
    raise InputError(f"{path}: this is no object with cpu, gpus, processes and threads of a training; {RETRAIN}")


def version_rows(machines: Sequence[Machine]) -> list[dict[str, str]]:
    """Return the rows of the table of versions: libraries and processors.

    Args:
        machines: the processors that each model of the run was trained on.
    """
    gpus = [
        ", ".join(f"{count} x {name}" for name, count in Counter(machine.gpus).items()) or "none"
        for machine in machines
    ]
    found = versions() | {
        TRAINING_CPU: _counted(machine.cpu for machine in machines),
        TRAINING_GPU: _counted(gpus),
        TRAINING_THREADS: _counted(f"{machine.processes} x {machine.threads}" for machine in machines),
        TABLES_CPU: cpu_model(),
    }
    return [{"what": name, "version": version} for name, version in found.items()]


def _counted(values: Iterable[str]) -> str:
    """Return different values with the number of models that each of them belongs to."""
    counts = Counter(values)
    texts = [f"{value} ({count} model{'s' if count > 1 else ''})" for value, count in counts.items()]
    return ", ".join(texts) or "no model was trained"


def read_versions(path: Path) -> list[Row]:
    """Read the versions of the libraries that a run used, and its processors.

    Raises:
        InputError: the table is damaged, or a library or the processors are missing.
    """
    rows = read_rows(path, VERSIONS)
    names = ("python", *LIBRARIES, TRAINING_CPU, TRAINING_GPU, TRAINING_THREADS, TABLES_CPU)
    check_complete(path, VERSIONS, rows, VERSIONS.key, [(name,) for name in names])
    return rows
