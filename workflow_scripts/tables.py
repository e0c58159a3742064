"""Collect all scores in one table, format the paper's result tables from it, and compare with the published scores."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .lat.files import InputError, atomic_write, write_table
from .lat.names import REFERENCE
from .lat.reporting import paper
from .lat.reporting.reading import (
    ALL_SCORES,
    INTERVALS,
    Experiment,
    Row,
    add_comparison_flag,
    add_experiment_flags,
    check_values,
    intervals_frame,
    make_experiments,
    read_comparisons,
    read_reference_scores,
    read_significance,
    read_system_scores,
    scores_frame,
)
from .lat.reporting.tables import (
    TABLES,
    general_texts,
    make_blocks,
    table_metrics,
    to_frame,
    to_html,
    to_latex,
    to_markdown,
)
from .lat.runtime import log, run_step, versions


def main() -> None:
    """Parse the flags, collect the scores, and write every table in every format."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--scores",
        nargs="+",
        action="append",
        required=True,
        metavar=("BASE_MODEL", "WORD"),
        help="base model, benchmark and system, then the system's score tables: BLEU and chrF++, each learned metric in"
        " the order of --learned, off-target scores; repeat in the order of the rows",
    )
    parser.add_argument(
        "--reference-scores",
        nargs=2,
        action="append",
        required=True,
        metavar=("BENCHMARK", "FILE"),
        help="table of the off-target scores of a benchmark's reference translations; may be repeated",
    )
    add_experiment_flags(parser)
    parser.add_argument(
        "--significance",
        nargs=3,
        action="append",
        required=True,
        metavar=("BASE_MODEL", "BENCHMARK", "FILE"),
        help="table of intervals and p-values of an experiment; may be repeated",
    )
    parser.add_argument("--baseline", required=True, help="system that the p-values refer to")
    parser.add_argument("--intervals", action="store_true", help="show 95 %% intervals in the tables")
    parser.add_argument(
        "--paper-benchmark",
        nargs=2,
        action="append",
        default=[],
        metavar=("BENCHMARK", "TABLE"),
        help="name of the paper's result table for a benchmark; may be repeated",
    )
    parser.add_argument(
        "--paper-base-model",
        nargs=2,
        action="append",
        default=[],
        metavar=("BASE_MODEL", "NAME"),
        help="name of a base model in the paper's tables; may be repeated",
    )
    parser.add_argument(
        "--paper-system",
        nargs=2,
        action="append",
        default=[],
        metavar=("SYSTEM", "NAME"),
        help="name of a system in the paper's tables; may be repeated",
    )
    parser.add_argument("--general", type=Path, nargs="*", default=[], help="tables of comparisons on general tasks")
    add_comparison_flag(parser)
    parser.add_argument("--output", type=Path, required=True, help="output folder")
    arguments = parser.parse_args()

    experiments = make_experiments((names[:3] for names in arguments.scores), arguments.directions)
    rows = list(score_rows(arguments, experiments))
    write_table(arguments.output / "scores.tsv", rows, list(ALL_SCORES.columns))
    log.info("%d scores", len(rows))

    intervals = list(interval_rows(arguments, experiments, rows))
    write_table(arguments.output / "intervals.tsv", intervals, list(INTERVALS.columns))

    scores, significance = scores_frame(rows), intervals_frame(intervals)
    for kind, (name, title) in TABLES.items():
        blocks = make_blocks(
            scores, kind, table_metrics(arguments.learned), significance, arguments.baseline, arguments.intervals
        )
        texts = {"md": to_markdown(blocks, title), "tex": to_latex(blocks), "html": to_html(blocks, title)}
        texts["tsv"] = to_frame(blocks).to_csv(sep="\t", index=False, lineterminator="\n")
        for suffix, text in texts.items():
            with atomic_write(arguments.output / f"{name}.{suffix}") as handle:
                handle.write(text)
        log.info("%s\n\n%s", title, texts["md"])

    if arguments.general:
        tables = zip(arguments.general, ([names] for names in arguments.comparison), strict=True)
        comparisons = read_comparisons(tables)
        write_table(arguments.output / "general.tsv", comparisons, list(comparisons[0]))
        texts = general_texts(comparisons)
        for suffix, text in texts.items():
            with atomic_write(arguments.output / f"general.{suffix}") as handle:
                handle.write(text)
        log.info("%s", texts["md"])

    names = paper.Names(dict(arguments.paper_benchmark), dict(arguments.paper_base_model), dict(arguments.paper_system))
    differences = paper.comparison(intervals, names)
    write_table(arguments.output / "paper.tsv", differences, paper.COLUMNS)
    with atomic_write(arguments.output / "paper.md") as handle:
        handle.write(paper.comparison_markdown(differences))

    write_table(
        arguments.output / "versions.tsv",
        [{"what": name, "version": number} for name, number in versions().items()],
        ("what", "version"),
    )


def score_rows(arguments: argparse.Namespace, experiments: Sequence[Experiment]) -> Iterator[dict[str, str]]:
    """Read all scores, and yield the rows of the score table; the references come last in each experiment.

    Raises:
        InputError: a score table is damaged or incomplete, or a flag is missing.
    """
    reference_paths = {benchmark: Path(path) for benchmark, path in arguments.reference_scores}
    for experiment in experiments:
        if experiment.benchmark not in reference_paths:
            raise InputError(f"--reference-scores: none for the benchmark {experiment.benchmark}; add them")
        path = reference_paths[experiment.benchmark]
        references, lines, others = read_reference_scores(path, experiment.directions)
        for base_model, benchmark, system, *paths in arguments.scores:
            if (base_model, benchmark) == (experiment.base_model, experiment.benchmark):
                for rows in read_system_scores(list(map(Path, paths)), arguments.learned, lines, others):
                    yield from ordered_rows(experiment, system, rows)
        yield from ordered_rows(experiment, REFERENCE, references)


def ordered_rows(experiment: Experiment, system: str, rows: Sequence[Row]) -> Iterator[dict[str, str]]:
    """Yield the rows of one score table with the names of their experiment, ordered by direction and metric."""
    scores = {(row["direction"], row["metric"]): row for row in rows}
    for direction, supervision in experiment.directions.items():
        for metric in dict.fromkeys(row["metric"] for row in rows):
            # A metric may exist for some target languages only.
            if (direction, metric) in scores:
                yield {
                    "base_model": experiment.base_model,
                    "benchmark": experiment.benchmark,
                    "system": system,
                    "supervision": supervision,
                    **scores[direction, metric],
                }


def interval_rows(
    arguments: argparse.Namespace, experiments: Sequence[Experiment], scores: Sequence[Mapping[str, str]]
) -> Iterator[Row]:
    """Read intervals and p-values of all experiments, and yield the rows of their table.

    Raises:
        InputError: a table is damaged, incomplete, or about other scores, or a flag is missing.
    """
    paths = {(base_model, benchmark): Path(path) for base_model, benchmark, path in arguments.significance}
    for experiment in experiments:
        names = (experiment.base_model, experiment.benchmark)
        if names not in paths:
            raise InputError(f"--significance: no table for {' on '.join(names)}; add it")
        rows = read_significance(paths[names], experiment, arguments.learned, arguments.baseline)
        check_values(paths[names], rows, scores)
        yield from rows


if __name__ == "__main__":
    run_step(main)
