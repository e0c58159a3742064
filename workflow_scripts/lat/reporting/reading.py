"""Readers of the tables that the steps write, which check each table against what the experiment says it must hold.

A table may be damaged, cut, edited, or written by another version of the workflow. Means over whatever rows are left
would be wrong without any sign of it, so every reader refuses such a table with one line that names the file, the line
and the remedy.
"""

import argparse
import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from ..evaluation.offtarget import (
    ClassifiedLine,
    OffTargetScore,
    Verdict,
    cross_check_scores,
    language_verdicts,
    leaves_out_lines,
    off_target_metrics,
    verdict_scores,
)
from ..evaluation.scores import METRICS
from ..files import InputError
from ..names import AVERAGE, REFERENCE
from ..runtime import LIBRARIES
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
    some_text,
    whole_number,
)

# Tables have four decimals, and each rounding of a number that is compared or summed may add this much.
ROUNDING = 1e-4
# Allowed difference between two computations of a score: SacreBLEU's and the one for all resamples at once.
TOLERANCE = 1e-3

# The prefix of the OTR by another identifier, whose name follows.
OTHER_RATIO = "OTR:"

_EXPERIMENT: dict[str, Check] = {"base_model": some_text, "benchmark": some_text}
_SYSTEM: dict[str, Check] = {"system": some_text, "supervision": one_of(("supervised", "zero-shot"))}
_KEY: dict[str, Check] = {"direction": some_text, "metric": some_text}
_SCORE = _KEY | {"value": number(alternative="nan"), "n": whole_number(), "signature": some_text}
_INTERVAL = _KEY | dict.fromkeys(("value", "low", "high"), number()) | {"p": number(0, 1, alternative="")}

SCORES = Schema(_SCORE, key=tuple(_KEY))
ALL_SCORES = Schema(_EXPERIMENT | _SYSTEM | _SCORE, key=(*_EXPERIMENT, *_SYSTEM, *_KEY))
SIGNIFICANCE = Schema(_SYSTEM | _INTERVAL, key=(*_SYSTEM, *_KEY))
INTERVALS = Schema(_EXPERIMENT | _SYSTEM | _INTERVAL, key=ALL_SCORES.key)
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
    remedy="restore it, or delete it and run again, which trains the model again",
)
COMPARISONS = Schema(
    _EXPERIMENT
    | {"system": some_text, "baseline": some_text, "instructions": any_text, "judge": any_text}
    | dict.fromkeys(("n", "win", "tie", "lose", "unclear"), whole_number())
    | {"p": number(0, 1)},
    key=("base_model", "benchmark", "system", "baseline"),
)
VERSIONS = Schema({"what": some_text, "version": some_text}, key=("what",))


@dataclass(frozen=True)
class Experiment:
    """What is measured in one experiment.

    Attributes:
        base_model: name of its base model.
        benchmark: name of its benchmark.
        systems: names of its systems, in the order of the rows of the tables.
        directions: supervision (`supervised` or `zero-shot`) by direction, in the order of the columns.
    """

    base_model: str
    benchmark: str
    systems: tuple[str, ...]
    directions: Mapping[str, str]


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


def add_comparison_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag that says which systems are compared on general tasks."""
    parser.add_argument(
        "--comparison",
        nargs=4,
        action="append",
        default=[],
        metavar=("BASE_MODEL", "BENCHMARK", "SYSTEM", "BASELINE"),
        help="what is compared on general tasks, in the order of --general; may be repeated",
    )


def make_experiments(systems: Iterable[Sequence[str]], directions: Iterable[Sequence[str]]) -> list[Experiment]:
    """Return the experiments of a run.

    Args:
        systems: base model, benchmark and system of every row of the tables, in their order.
        directions: values of the flag `--directions`.

    Raises:
        InputError: a benchmark has no directions.
    """
    supervision: dict[str, dict[str, str]] = {}
    for benchmark, kind, *listed in directions:
        supervision.setdefault(benchmark, {}).update(dict.fromkeys(listed, kind))
    experiments: dict[tuple[str, str], list[str]] = {}
    for base_model, benchmark, system in systems:
        if not supervision.get(benchmark):
            raise InputError(f"--directions: none for the benchmark {benchmark}; add them")
        experiments.setdefault((base_model, benchmark), []).append(system)
    return [
        Experiment(base_model, benchmark, tuple(names), supervision[benchmark])
        for (base_model, benchmark), names in experiments.items()
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
    metrics = {direction: off_target_metrics(direction, others) for direction in directions}
    _check_metrics(path, rows, metrics)
    lines = _numbers_of_lines(rows)
    _check_scores(path, SCORES, rows, lines)
    return rows, lines, others


def read_system_scores(
    paths: Sequence[Path], learned: Sequence[str], lines: Mapping[str, int], others: Sequence[str]
) -> list[list[Row]]:
    """Read the score tables of one system.

    Args:
        paths: the table of BLEU and chrF++, one table per learned metric, and the table of off-target scores.
        learned: names of the learned metrics.
        lines: number of test lines by direction.
        others: names of the language identifiers that are cross-checks.

    Returns:
        The rows of each table.

    Raises:
        InputError: a table is damaged, does not have each score once, or there are more or fewer tables.
    """
    metrics: list[dict[str, Sequence[str]]] = [dict.fromkeys(lines, METRICS)]
    metrics += [dict.fromkeys(lines, (name,)) for name in learned]
    metrics.append({direction: off_target_metrics(direction, others) for direction in lines})
    if len(paths) != len(metrics):
        raise InputError(f"{paths[0]}: one of {len(paths)} score tables of a system that has {len(metrics)}")
    tables = []
    for path, names in zip(paths, metrics, strict=True):
        rows = read_rows(path, SCORES)
        _check_metrics(path, rows, names)
        _check_scores(path, SCORES, rows, lines, learned)
        tables.append(rows)
    return tables


def read_all_scores(path: Path, experiments: Sequence[Experiment], learned: Sequence[str]) -> list[Row]:
    """Read the table of all scores of a run.

    Args:
        path: the file.
        experiments: the experiments of the run.
        learned: names of the learned metrics.

    Raises:
        InputError: the table is damaged, or does not have each score once.
    """
    rows = read_rows(path, ALL_SCORES)
    others = _names_of_others(rows)
    expected = []
    for experiment in experiments:
        for direction, supervision in experiment.directions.items():
            off_target = off_target_metrics(direction, others)
            for system in (*experiment.systems, REFERENCE):
                metrics = off_target if system == REFERENCE else [*METRICS, *learned, *off_target]
                names = (experiment.base_model, experiment.benchmark, system, supervision, direction)
                expected += [(*names, metric) for metric in metrics]
    check_complete(path, ALL_SCORES, rows, ALL_SCORES.key, expected)
    for experiment in experiments:
        lines = _numbers_of_lines(rows_of(rows, experiment, REFERENCE))
        for system in (*experiment.systems, REFERENCE):
            _check_scores(path, ALL_SCORES, rows_of(rows, experiment, system), lines, learned)
    return rows


def rows_of(rows: Iterable[Row], experiment: Experiment, system: str | None = None) -> list[Row]:
    """Return the rows of an experiment or, if a system is given, of that system in the experiment."""
    values = {"base_model": experiment.base_model, "benchmark": experiment.benchmark}
    values |= {} if system is None else {"system": system}
    return [row for row in rows if values.items() <= row.items()]


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
        value, count, partial = values[direction, metric], lines[direction], leaves_out_lines(metric)
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


def read_significance(path: Path, experiment: Experiment, learned: Sequence[str], baseline: str) -> list[Row]:
    """Read the intervals and p-values of an experiment.

    Args:
        path: the file.
        experiment: the experiment.
        learned: names of the learned metrics.
        baseline: system that the p-values refer to.

    Returns:
        The rows, with base model and benchmark as first columns.

    Raises:
        InputError: the table is damaged, or does not have each score and each mean once.
    """
    names = {"base_model": experiment.base_model, "benchmark": experiment.benchmark}
    rows = [Row(names | row, row.line) for row in read_rows(path, SIGNIFICANCE)]
    _check_intervals(path, SIGNIFICANCE, rows, [experiment], learned, baseline)
    return rows


def read_intervals(
    path: Path, experiments: Sequence[Experiment], learned: Sequence[str], baseline: str | None = None
) -> list[Row]:
    """Read the intervals and p-values of a run.

    Args:
        path: the file.
        experiments: the experiments of the run.
        learned: names of the learned metrics.
        baseline: system that the p-values refer to; without it, they are not checked.

    Raises:
        InputError: the table is damaged, or does not have each score and each mean once.
    """
    rows = read_rows(path, INTERVALS)
    _check_intervals(path, INTERVALS, rows, experiments, learned, baseline)
    return rows


def _check_intervals(
    path: Path,
    schema: Schema,
    rows: Sequence[Row],
    experiments: Sequence[Experiment],
    learned: Sequence[str],
    baseline: str | None,
) -> None:
    expected = []
    for experiment in experiments:
        names = (experiment.base_model, experiment.benchmark)
        kinds = dict.fromkeys(experiment.directions.values())
        directions = [*experiment.directions.items(), *((AVERAGE, kind) for kind in kinds)]
        expected += [
            (*names, system, supervision, direction, metric)
            for system in experiment.systems
            for direction, supervision in directions
            for metric in (*METRICS, "OTR", *learned)
        ]
    check_complete(path, schema, rows, INTERVALS.key, expected)
    for row in rows:
        _check_range(path, schema, row, ("value", "low", "high"), learned)
        value, low, high = (float(row[column]) for column in ("value", "low", "high"))
        # The mean of resampled scores is not exactly the score, so that the interval of a mean over many directions may
        # lie beside it, but not farther away than it is wide.
        if not low - (high - low) - ROUNDING <= value <= high + (high - low) + ROUNDING or low > high:
            problem = f"the 95 % interval of {value:.4f} cannot be from {low:.4f} to {high:.4f}"
            raise damaged(path, schema, f"line {row.line}: {problem}")
    for experiment in experiments:
        _check_means(path, schema, rows_of(rows, experiment))
        if baseline is not None:
            _check_tests(path, schema, rows_of(rows, experiment), experiment, baseline)


def _check_means(path: Path, schema: Schema, rows: Sequence[Row]) -> None:
    values: dict[tuple[str, ...], list[float]] = {}
    for row in rows:
        if row["direction"] != AVERAGE:
            values.setdefault((row["system"], row["supervision"], row["metric"]), []).append(float(row["value"]))
    for row in rows:
        if row["direction"] == AVERAGE:
            of_directions = values[row["system"], row["supervision"], row["metric"]]
            mean = sum(of_directions) / len(of_directions)
            if abs(float(row["value"]) - mean) > 2 * ROUNDING:
                problem = f"{AVERAGE} of {row['metric']} is {row['value']}, but the directions have the mean {mean:.4f}"
                raise damaged(path, schema, f"line {row.line}: {problem}")


def _check_tests(path: Path, schema: Schema, rows: Sequence[Row], experiment: Experiment, baseline: str) -> None:
    """Check that there is a p-value wherever a system is tested against the baseline, and nowhere else."""
    for row in rows:
        is_tested = baseline in experiment.systems and row["system"] != baseline
        if (row["p"] != "") != is_tested:
            problem = f"{row['system']} has {'no' if is_tested else 'a'} p-value against {baseline}"
            raise damaged(path, schema, f"line {row.line}: {problem}")


def check_values(path: Path, intervals: Iterable[Row], scores: Iterable[Mapping[str, str]]) -> None:
    """Check that the scores in a table of intervals are those of the score tables.

    Args:
        path: the table of intervals.
        intervals: its rows, with base model and benchmark.
        scores: rows of the score tables, with base model, benchmark and system.

    Raises:
        InputError: a score differs.
    """
    columns = ("base_model", "benchmark", "system", "direction", "metric")
    values = {tuple(score[column] for column in columns): score["value"] for score in scores}
    for row in intervals:
        value = values.get(tuple(row[column] for column in columns))
        if value is not None and abs(float(row["value"]) - float(value)) > TOLERANCE:
            raise InputError(
                f"{path}: line {row.line}: {row['metric']} of {row['system']} in {row['direction']} is {row['value']},"
                f" but {value} in its score table; delete both tables and run again"
            )


def scores_frame(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Return rows of the table of all scores as a data frame."""
    return pd.DataFrame(rows).astype({"value": float})


def intervals_frame(rows: Sequence[Mapping[str, str]]) -> pd.DataFrame:
    """Return rows of the table of intervals as a data frame; `p` is `nan` where nothing was tested."""
    frame = pd.DataFrame(rows).replace({"p": {"": "nan"}})
    return frame.astype(dict.fromkeys(("value", "low", "high", "p"), float))


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
    for row in rows:
        direction, label, verdict = row["direction"], row["label"], Verdict(row["verdict"])
        of_language = languages[direction].get(label, Verdict.OTHER)
        if label if verdict == Verdict.EMPTY else verdict not in (of_language, Verdict.NO_WORDS):
            problem = f"the verdict of a line of {direction} in the language `{label}` cannot be {verdict}"
            raise damaged(path, LINES, f"line {row.line}: {problem}")
        classified[direction].append(ClassifiedLine(label, float(row["score"]), verdict, row["copy"] == "1"))
        for name in others:
            labels[name][direction].append(row[name])
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
    rows = read_rows(path, STEPS)
    for step, row in enumerate(rows, 1):
        if int(row["step"]) != step:
            raise damaged(path, STEPS, f"line {row.line}: step {row['step']} stands where step {step} belongs")
    return pd.DataFrame(rows, dtype=float)


def read_comparisons(tables: Iterable[tuple[Path, Sequence[Sequence[str]]]]) -> list[Row]:
    """Read comparisons on general tasks.

    Args:
        tables: files, each with base model, benchmark, system and baseline of the comparisons that it holds.

    Raises:
        InputError: a table is damaged, a comparison is missing, or they have different instructions or judges.
    """
    # Imported here, since it loads the libraries of the judge's client and few runs have comparisons.
    from ..evaluation.judging import OUTCOMES, sign_test

    rows: list[Row] = []
    for path, expected in tables:
        found = read_rows(path, COMPARISONS)
        check_complete(path, COMPARISONS, found, COMPARISONS.key, list(map(tuple, expected)))
        for row in found:
            counts = {name: int(row[name]) for name in OUTCOMES}
            if sum(counts.values()) != int(row["n"]):
                problem = f"n is {row['n']}, but there are {sum(counts.values())} outcomes"
                raise damaged(path, COMPARISONS, f"line {row.line}: {problem}")
            p = sign_test(counts["win"], counts["lose"])
            if not math.isclose(float(row["p"]), p, abs_tol=ROUNDING):
                problem = f"p is {row['p']}, but {p:.4f} by the wins and losses"
                raise damaged(path, COMPARISONS, f"line {row.line}: {problem}")
            first = (rows or found)[0]
            for column in ("instructions", "judge"):
                if row[column] != first[column]:
                    problem = f"{column} is `{row[column]}`, but `{first[column]}` in another comparison"
                    raise damaged(path, COMPARISONS, f"line {row.line}: {problem}")
        rows += found
    return rows


def read_versions(path: Path) -> list[Row]:
    """Read the versions of the libraries that a run used.

    Raises:
        InputError: the table is damaged, or a library is missing.
    """
    rows = read_rows(path, VERSIONS)
    check_complete(path, VERSIONS, rows, VERSIONS.key, [(name,) for name in ("python", *LIBRARIES)])
    return rows
