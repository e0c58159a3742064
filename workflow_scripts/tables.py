"""Collect all scores in one table, format the paper's result tables from it, and compare with the published scores."""

import argparse
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path

import pandas as pd

from .lat.evaluation.significance import COLUMNS as SIGNIFICANCE_COLUMNS
from .lat.files import atomic_write, read_table, write_table
from .lat.names import REFERENCE
from .lat.reporting import paper
from .lat.reporting.tables import TABLES, general_texts, make_blocks, to_frame, to_html, to_latex, to_markdown
from .lat.runtime import log, run_step, versions

COLUMNS = ("base_model", "benchmark", "system", "supervision", "direction", "metric", "value", "n", "signature")


def main() -> None:
    """Parse the flags, collect the scores, and write every table in every format."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--scores",
        nargs="+",
        action="append",
        required=True,
        metavar=("BASE_MODEL", "WORD"),
        help="base model, benchmark and system, then the system's score tables; repeat in the order of the rows",
    )
    parser.add_argument(
        "--reference-scores",
        nargs=2,
        action="append",
        required=True,
        metavar=("BENCHMARK", "FILE"),
        help="table of the off-target scores of a benchmark's reference translations; may be repeated",
    )
    parser.add_argument(
        "--directions",
        nargs="+",
        action="append",
        required=True,
        metavar="WORD",
        help="benchmark, `supervised` or `zero-shot`, then its directions in the order of the columns; may be repeated",
    )
    parser.add_argument("--learned", nargs="*", default=[], help="names of learned metrics")
    parser.add_argument(
        "--significance",
        nargs=3,
        action="append",
        required=True,
        metavar=("BASE_MODEL", "BENCHMARK", "FILE"),
        help="table of intervals and p-values of an experiment; may be repeated",
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
    parser.add_argument("--general", type=Path, nargs="*", default=[], help="tables of comparisons on general tasks")
    parser.add_argument("--output", type=Path, required=True, help="output folder")
    arguments = parser.parse_args()

    supervision = {
        (benchmark, direction): kind for benchmark, kind, *listed in arguments.directions for direction in listed
    }
    rows = [row for experiment in experiments(arguments) for row in score_rows(*experiment, supervision)]
    write_table(arguments.output / "scores.tsv", rows, COLUMNS)
    log.info("%d scores", len(rows))

    intervals = [
        {"base_model": base_model, "benchmark": benchmark} | row
        for base_model, benchmark, path in arguments.significance
        for row in read_table(path)
    ]
    write_table(arguments.output / "intervals.tsv", intervals, ("base_model", "benchmark", *SIGNIFICANCE_COLUMNS))

    scores = pd.DataFrame(rows).astype({"value": float})
    significance = pd.DataFrame(intervals).replace({"p": {"": "nan"}})
    significance = significance.astype(dict.fromkeys(("value", "low", "high", "p"), float))
    for kind, (name, title) in TABLES.items():
        blocks = make_blocks(scores, kind, ("BLEU", *arguments.learned, "OTR"), significance, arguments.intervals)
        texts = {"md": to_markdown(blocks, title), "tex": to_latex(blocks), "html": to_html(blocks, title)}
        texts["tsv"] = to_frame(blocks).to_csv(sep="\t", index=False, lineterminator="\n")
        for suffix, text in texts.items():
            with atomic_write(arguments.output / f"{name}.{suffix}") as handle:
                handle.write(text)
        log.info("%s\n\n%s", title, texts["md"])

    if arguments.general:
        comparisons = [row for path in arguments.general for row in read_table(path)]
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


def experiments(arguments: argparse.Namespace) -> Iterator[tuple[str, str, str, list[str]]]:
    """Yield base model, benchmark, system and score tables of each row; the references come last in each experiment."""
    references = dict(arguments.reference_scores)
    for pair, systems in groupby(arguments.scores, key=lambda entry: tuple(entry[:2])):
        base_model, benchmark = pair
        for _, _, system, *paths in systems:
            yield base_model, benchmark, system, paths
        yield base_model, benchmark, REFERENCE, [references[benchmark]]


def score_rows(
    base_model: str, benchmark: str, system: str, paths: list[str], supervision: dict[tuple[str, str], str]
) -> Iterator[dict[str, str]]:
    """Yield the rows of the score table for one system, ordered by file, direction and metric."""
    for path in paths:
        scores = {(row["direction"], row["metric"]): row for row in read_table(path)}
        for (name, direction), kind in supervision.items():
            for metric in dict.fromkeys(metric for _, metric in scores):
                # A metric may exist for some target languages only.
                if name == benchmark and (direction, metric) in scores:
                    yield {
                        "base_model": base_model,
                        "benchmark": benchmark,
                        "system": system,
                        "supervision": kind,
                        **scores[direction, metric],
                    }


if __name__ == "__main__":
    run_step(main)
