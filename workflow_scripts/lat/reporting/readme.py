"""Write the demo's results into README.md, between two comments, from the tables of a run.

    python -m workflow_scripts.lat.reporting.readme --tables docs/demo --readme README.md

The table has the means over directions: zero-shot and supervised scores as mean and standard deviation over the seeds,
and the zero-shot off-target ratio of each seed, so that a reader can see whether a run of their own is unusual. Below
it is the first sentence of the page.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from ..files import InputError, atomic_write, read_table, read_text
from ..names import SHARED
from .conclusion import conclusion
from .reading import Experiment
from .tables import SIGNIFICANT

BEGIN = "<!-- Written by `make readme`. -->"
END = "<!-- End of what `make readme` writes. -->"
COLUMNS = (("zero-shot", "BLEU"), ("zero-shot", "OTR"), ("supervised", "BLEU"), ("supervised", "OTR"))


def result_table(tables: Path) -> str:
    """Return the table as Markdown.

    Args:
        tables: folder with `summary.tsv` and `intervals.tsv` of one experiment.

    Raises:
        InputError: a table is missing, or has several experiments.
    """
    summary = [row for row in read_table(tables / "summary.tsv") if row["direction"] == "AVG"]
    if len({(row["base_model"], row["benchmark"]) for row in summary}) != 1:
        raise InputError(f"{tables / 'summary.tsv'}: has several experiments; make it from the demo alone")
    of_score = {(row["system"], row["supervision"], row["metric"]): row for row in summary}
    lines = [
        "| System | zero-shot BLEU | zero-shot OTR (%) | of each seed | supervised BLEU | supervised OTR (%) |",
        "| --- | ---: | ---: | --- | ---: | ---: |",
    ]
    for system in dict.fromkeys(row["system"] for row in summary):
        cells = [_cell(of_score[system, *column]) for column in COLUMNS]
        cells.insert(2, _of_seeds(tables / "intervals.tsv", system))
        lines.append(f"| {system} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _cell(row: dict[str, str]) -> str:
    mark = "†" if row["p_corrected"] and float(row["p_corrected"]) < SIGNIFICANT else ""
    spread = f" ± {float(row['sd']):.1f}" if row["sd"] else ""
    return f"{float(row['mean']):.1f}{spread}{mark}"


def _of_seeds(path: Path, system: str) -> str:
    """Return the zero-shot off-target ratio of each seed of a system; nothing for one that all seeds share."""
    values = [
        f"{float(row['value']):.1f}"
        for row in read_table(path)
        if (row["system"], row["supervision"], row["direction"], row["metric"]) == (system, "zero-shot", "AVG", "OTR")
        and row["seed"] != SHARED
    ]
    return ", ".join(values)


def sentence(tables: Path, baseline: str = "MT") -> str:
    """Return the sentence about the scores.

    Args:
        tables: folder with `summary.tsv`, `intervals.tsv` and `comparisons.tsv` of one experiment.
        baseline: the system that the others are tested against.
    """
    summary, intervals, comparisons = (
        pd.read_csv(tables / f"{name}.tsv", sep="\t", dtype={"seed": str})
        for name in ("summary", "intervals", "comparisons")
    )
    runs = {str(system): tuple(dict.fromkeys(rows.seed)) for system, rows in intervals.groupby("system", sort=False)}
    kinds = dict(zip(summary.direction, summary.supervision, strict=True))
    experiment = Experiment(str(summary.base_model[0]), str(summary.benchmark[0]), runs, kinds)
    return conclusion(experiment, summary, comparisons, baseline)


def with_results(readme: str, table: str, text: str) -> str:
    """Return a text with table and sentence between the two comments.

    Raises:
        InputError: the text lacks the comments.
    """
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise InputError(f"README.md: lacks the lines `{BEGIN}` and `{END}`")
    return f"{before}{BEGIN}\n\n{table}\n{text}\n\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the flags and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tables", type=Path, required=True, help="folder with summary, intervals and comparisons")
    parser.add_argument("--readme", type=Path, required=True)
    values = parser.parse_args(arguments)
    text = with_results(read_text(values.readme), result_table(values.tables), sentence(values.tables))
    with atomic_write(values.readme) as handle:
        handle.write(text)


if __name__ == "__main__":
    main()
