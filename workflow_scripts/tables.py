"""Gather every figure into one long table, lay out the paper's tables from it, and compare with the published ones."""

import argparse
from pathlib import Path

import pandas as pd

from .lat.evaluation.significance import COLUMNS as SIGNIFICANCE_COLUMNS
from .lat.files import atomic_write, read_table, write_table
from .lat.names import REFERENCE
from .lat.reporting import paper
from .lat.reporting.tables import TABLES, blocks, general_texts, to_frame, to_html, to_latex, to_markdown
from .lat.runtime import log, run_step, versions

COLUMNS = ("base_model", "benchmark", "system", "supervision", "direction", "metric", "value", "n", "signature")


def main() -> None:
    """Parse the flags, gather, write every table in every format."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--experiment",
        nargs="+",
        action="append",
        required=True,
        metavar="WORD",
        help="base model, benchmark, then its systems in the order of the rows; may be given several times",
    )
    parser.add_argument(
        "--directions",
        nargs="+",
        action="append",
        required=True,
        metavar="WORD",
        help="benchmark, `supervised` or `zero-shot`, then its directions in the order of the columns; several times",
    )
    parser.add_argument("--score", type=Path, required=True, help="folder <base model>/<benchmark>/<system>.tsv")
    parser.add_argument(
        "--detect", type=Path, required=True, help="folder <base model>/<benchmark>/<system>/otr.tsv and references"
    )
    parser.add_argument("--learned", nargs="*", default=[], help="names of learned metrics")
    parser.add_argument("--significance", type=Path, required=True, help="folder <base model>/<benchmark>.tsv")
    parser.add_argument("--intervals", action="store_true", help="show 95 %% intervals in the tables")
    parser.add_argument(
        "--paper-benchmark",
        nargs=2,
        action="append",
        default=[],
        metavar=("BENCHMARK", "TABLE"),
        help="the paper's table for one of our benchmarks",
    )
    parser.add_argument(
        "--paper-base-model",
        nargs=2,
        action="append",
        default=[],
        metavar=("BASE_MODEL", "NAME"),
        help="what the paper calls one of our base models",
    )
    parser.add_argument("--general", type=Path, nargs="*", default=[], help="tables of judged comparisons")
    parser.add_argument("--output", type=Path, required=True, help="folder of the tables")
    arguments = parser.parse_args()

    rows = []
    for base_model, benchmark, *systems in arguments.experiment:
        columns = {
            direction: supervision
            for name, supervision, *listed in arguments.directions
            for direction in listed
            if name == benchmark
        }
        for system in (*systems, REFERENCE):
            for path in figure_files(arguments, base_model, benchmark, system):
                figures = {(row["direction"], row["metric"]): row for row in read_table(path)}
                rows += [
                    {"base_model": base_model, "benchmark": benchmark, "system": system}
                    | {"supervision": columns[direction]}
                    | figures[direction, metric]
                    for direction in columns
                    for metric in dict.fromkeys(metric for _, metric in figures)
                    if (direction, metric) in figures  # some are of some targets only
                ]
    write_table(arguments.output / "scores.tsv", rows, COLUMNS)
    log.info("%d figures", len(rows))

    intervals = [
        {"base_model": base_model, "benchmark": benchmark} | row
        for base_model, benchmark, *_ in arguments.experiment
        for row in read_table(arguments.significance / base_model / f"{benchmark}.tsv")
    ]
    write_table(arguments.output / "intervals.tsv", intervals, ("base_model", "benchmark", *SIGNIFICANCE_COLUMNS))

    scores = pd.DataFrame(rows).astype({"value": float})
    significance = pd.DataFrame(intervals).replace({"p": {"": "nan"}})
    significance = significance.astype(dict.fromkeys(("value", "low", "high", "p"), float))
    for supervision, (name, title) in TABLES.items():
        made = blocks(scores, supervision, ("BLEU", *arguments.learned, "OTR"), significance, arguments.intervals)
        texts = {"md": to_markdown(made, title), "tex": to_latex(made), "html": to_html(made, title)}
        texts["tsv"] = to_frame(made).to_csv(sep="\t", index=False, lineterminator="\n")
        for suffix, text in texts.items():
            with atomic_write(arguments.output / f"{name}.{suffix}") as handle:
                handle.write(text)
        log.info("%s\n\n%s", title, texts["md"])

    if arguments.general:
        compared = [row for path in arguments.general for row in read_table(path)]
        write_table(arguments.output / "general.tsv", compared, list(compared[0]))
        texts = general_texts(compared)
        for suffix, text in texts.items():
            with atomic_write(arguments.output / f"general.{suffix}") as handle:
                handle.write(text)
        log.info("%s", texts["md"])

    differences = paper.comparison(intervals, dict(arguments.paper_benchmark), dict(arguments.paper_base_model))
    write_table(arguments.output / "paper.tsv", differences, paper.COLUMNS)
    with atomic_write(arguments.output / "paper.md") as handle:
        handle.write(paper.comparison_markdown(differences))

    write_table(
        arguments.output / "versions.tsv",
        [{"what": name, "version": number} for name, number in versions().items()],
        ("what", "version"),
    )


def figure_files(arguments: argparse.Namespace, base_model: str, benchmark: str, system: str) -> list[Path]:
    """The files that hold a system's figures; the references have only off-target figures."""
    if system == REFERENCE:
        return [arguments.detect / "references" / benchmark / "otr.tsv"]
    scores = arguments.score / base_model / benchmark
    return [
        scores / f"{system}.tsv",
        *(scores / f"{system}.{name}.tsv" for name in arguments.learned),
        arguments.detect / base_model / benchmark / system / "otr.tsv",
    ]


if __name__ == "__main__":
    run_step(main)
