"""Collect all scores in one table, format the paper's result tables from it, and compare with the published scores."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from .lat.files import InputError, atomic_write, write_table
from .lat.names import REFERENCE, SHARED
from .lat.reporting import paper
from .lat.reporting.further import FURTHER_COLUMNS, further_markdown, further_means
from .lat.reporting.reading import (
    ALL_SCORES,
    INTERVALS,
    SCORE_COMPARISONS,
    SUMMARY,
    Experiment,
    Row,
    Significance,
    add_comparison_flag,
    add_experiment_flags,
    make_experiments,
    read_general_comparisons,
    read_machine,
    read_reference_scores,
    read_significance,
    read_system_scores,
    scores_frame,
    summary_frame,
    version_rows,
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
from .lat.runtime import log, run_step


def main() -> None:
    """Parse the flags, collect the scores, and write every table in every format."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--scores",
        nargs="+",
        action="append",
        required=True,
        metavar=("BASE_MODEL", "WORD"),
        help="base model, benchmark, system and seed (or `shared`), then the score tables of this run of the system:"
        " BLEU and chrF++, each learned metric in the order of --learned, off-target scores, further metrics if"
        " there are any; repeat in the order of the rows",
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
        metavar=("BASE_MODEL", "BENCHMARK", "FOLDER"),
        help="folder with the tables of intervals, means over seeds and comparisons of an experiment; may be repeated",
    )
    parser.add_argument(
        "--baselines",
        nargs="+",
        required=True,
        help="systems that all others are tested against; the marks of the tables refer to the first one",
    )
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
    parser.add_argument(
        "--control",
        nargs=5,
        action="append",
        default=[],
        metavar=("BASE_MODEL", "BENCHMARK", "LOSS", "SYSTEM", "CONTROL"),
        help="a system whose training has the loss `unlikelihood` or `preference`, and a system that differs from it in"
        " the lack of this loss only; may be repeated",
    )
    parser.add_argument("--general", type=Path, nargs="*", default=[], help="tables of comparisons on general tasks")
    add_comparison_flag(parser)
    parser.add_argument(
        "--machines", type=Path, nargs="*", default=[], help="files of the processors that each model was trained on"
    )
    parser.add_argument("--output", type=Path, required=True, help="output folder")
    arguments = parser.parse_args()

    experiments = make_experiments((names[:4] for names in arguments.scores), arguments.directions)
    rows = list(score_rows(arguments, experiments))
    significance = list(significance_tables(arguments, experiments, rows))
    summary = [row for tables in significance for row in tables.summary]
    write_table(arguments.output / "scores.tsv", rows, list(ALL_SCORES.columns))
    for name, schema, found in (
        ("intervals", INTERVALS, [row for tables in significance for row in tables.intervals]),
        ("summary", SUMMARY, summary),
        ("comparisons", SCORE_COMPARISONS, [row for tables in significance for row in tables.comparisons]),
    ):
        write_table(arguments.output / f"{name}.tsv", found, list(schema.columns))
    log.info("%d scores", len(rows))

    metrics = table_metrics(arguments.learned)
    scores, means = scores_frame(rows), summary_frame(summary)
    for kind, (name, title) in TABLES.items():
        blocks = make_blocks(
            scores,
            kind,
            metrics,
            means,
            arguments.baselines[0],
            arguments.intervals,
            arguments.control,
            arguments.lower_is_better,
        )
        texts = {"md": to_markdown(blocks, title), "tex": to_latex(blocks), "html": to_html(blocks, title)}
        texts["tsv"] = to_frame(blocks).to_csv(sep="\t", index=False, lineterminator="\n")
        for suffix, text in texts.items():
            with atomic_write(arguments.output / f"{name}.{suffix}") as handle:
                handle.write(text)
        log.info("%s\n\n%s", title, texts["md"])

    if arguments.further:
        means_of_further = further_means(scores, arguments.further)
        write_table(arguments.output / "further.tsv", means_of_further, FURTHER_COLUMNS)
        with atomic_write(arguments.output / "further.md") as handle:
            handle.write(further_markdown(means_of_further))

    if arguments.general:
        tables = zip(arguments.general, ([names] for names in arguments.comparison), strict=True)
        comparisons = read_general_comparisons(tables)
        write_table(arguments.output / "general.tsv", comparisons, list(comparisons[0]))
        texts = general_texts(comparisons)
        for suffix, text in texts.items():
            with atomic_write(arguments.output / f"general.{suffix}") as handle:
                handle.write(text)
        log.info("%s", texts["md"])

    names = paper.Names(dict(arguments.paper_benchmark), dict(arguments.paper_base_model), dict(arguments.paper_system))
    differences = paper.comparison(summary, names)
    write_table(arguments.output / "paper.tsv", differences, paper.COLUMNS)
    with atomic_write(arguments.output / "paper.md") as handle:
        handle.write(paper.comparison_markdown(differences))

    machines = list(map(read_machine, arguments.machines))
    write_table(arguments.output / "versions.tsv", version_rows(machines), ("what", "version"))


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
        for base_model, benchmark, system, seed, *paths in arguments.scores:
            if (base_model, benchmark) == (experiment.base_model, experiment.benchmark):
                for rows in read_system_scores(
                    list(map(Path, paths)), arguments.learned, lines, others, arguments.further
                ):
                    yield from ordered_rows(experiment, system, seed, rows)
        yield from ordered_rows(experiment, REFERENCE, SHARED, references)


def ordered_rows(experiment: Experiment, system: str, seed: str, rows: Sequence[Row]) -> Iterator[dict[str, str]]:
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
                    "seed": seed,
                    "supervision": supervision,
                    **scores[direction, metric],
                }


def significance_tables(
    arguments: argparse.Namespace, experiments: Sequence[Experiment], scores: Sequence[Mapping[str, str]]
) -> Iterator[Significance]:
    """Read intervals, means over seeds and comparisons of all experiments, and yield their tables.

    Raises:
        InputError: a table is damaged, incomplete, or about other scores, or a flag is missing.
    """
    folders = {(base_model, benchmark): Path(folder) for base_model, benchmark, folder in arguments.significance}
    for experiment in experiments:
        names = (experiment.base_model, experiment.benchmark)
        if names not in folders:
            raise InputError(f"--significance: no folder for {' on '.join(names)}; add it")
        yield read_significance(
            folders[names], experiment, arguments.learned, arguments.baselines, scores, arguments.lower_is_better
        )


if __name__ == "__main__":
    run_step(main)
