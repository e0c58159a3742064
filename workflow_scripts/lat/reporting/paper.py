"""Comparison of the scores of a run with the published ones (`resources/paper/`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..languages import RESOURCES
from ..names import AVERAGE
from .formats import Cell, Table, markdown_table
from .schema import Schema, number, read_rows, some_text

PAPER = RESOURCES / "paper"
ROUNDING = 0.05  # published scores have one decimal
COLUMNS = (
    "base_model", "benchmark", "system", "metric", "direction", "score", "paper", "difference", "low", "high",
    "relation", "seeds",
)  # fmt: skip

PUBLISHED = Schema(
    dict.fromkeys(("base_model", "system", "metric", "direction"), some_text) | {"value": number(0, 100)},
    ("base_model", "system", "metric", "direction"),
    remedy="restore the file",
)

Row = Mapping[str, str]


@dataclass(frozen=True)
class Names:
    """Names in the paper of the benchmarks, base models and systems of this run; those without a name are not compared.

    Attributes:
        tables: result table of the paper (a file of `resources/paper/` without its ending), by benchmark.
        base_models: name in these tables, by base model.
        systems: name in these tables, by system.
    """

    tables: Mapping[str, str]
    base_models: Mapping[str, str]
    systems: Mapping[str, str]


def published(table: str) -> dict[tuple[str, ...], float]:
    """Read a result table of the paper: the score by base model, system, metric and direction (or `AVG`)."""
    return {
        (row["base_model"], row["system"], row["metric"], row["direction"].replace("avg", AVERAGE)): float(row["value"])
        for row in read_rows(PAPER / f"{table}.tsv", PUBLISHED)
    }


def comparison(summary: Sequence[Row], names: Names) -> list[dict[str, str]]:
    """Compare each score that both this run and the paper have; scores of this run are means over its training seeds.

    The relation is `within` if the published score lies in the 95 % interval of this run's score, and `above` or
    `below` if the whole interval lies above or below the published score. The interval covers the choice of test
    sentences and, with three or more seeds, the variation between the seeds of this run. It does not cover the
    variation of the published scores, which are those of single training runs.

    Args:
        summary: rows of summary.tsv. Only zero-shot directions and their mean are compared, since the paper's tables
            have no others.
        names: names of benchmarks, base models and systems in the paper.

    Returns:
        One row per score, with `COLUMNS`: both scores, their difference, the interval, and the relation.
    """
    published_scores = {benchmark: published(table) for benchmark, table in names.tables.items()}
    rows = []
    for row in summary:
        key = (
            names.base_models.get(row["base_model"], ""),
            names.systems.get(row["system"], ""),
            row["metric"],
            row["direction"],
        )
        if row["supervision"] != "zero-shot" or key not in published_scores.get(row["benchmark"], {}):
            continue
        paper = published_scores[row["benchmark"]][key]
        score, low, high = (float(row[name]) for name in ("mean", "low", "high"))
        relation = "above" if low > paper + ROUNDING else "below" if high < paper - ROUNDING else "within"
        values = {"score": score, "paper": paper, "difference": score - paper, "low": low, "high": high}
        rows.append(
            {column: row[column] for column in COLUMNS[:5]}
            | {name: f"{value:.1f}" for name, value in values.items()}
            | {"relation": relation, "seeds": row["seeds"]}
        )
    return rows


def comparison_markdown(rows: Sequence[Row]) -> str:
    """Format the comparison as Markdown: one table of differences per experiment and metric.

    Rows are systems with their numbers of training seeds, columns are directions. A difference is in italics if its
    relation is not `within`.
    """
    if not rows:
        return "No experiment of this run is part of the paper.\n"
    import pandas as pd

    tables = []
    frame = pd.DataFrame(rows)
    for (base_model, benchmark, metric), block in frame.groupby(["base_model", "benchmark", "metric"], sort=False):
        cells = {
            (row["system"], row["direction"]): Cell(
                f"{float(row['difference']):+.1f}", italic=row["relation"] != "within"
            )
            for row in block.to_dict("records")
        }
        systems, directions = dict(zip(block.system, block.seeds, strict=True)), dict.fromkeys(block.direction)
        body = [
            [Cell(system), Cell(seeds), *(cells.get((system, direction), Cell("")) for direction in directions)]
            for system, seeds in systems.items()
        ]
        title = f"{base_model} on {benchmark}: {metric}, this run - paper"
        tables.append(markdown_table(Table(title, ["System", "Seeds", *directions], body)))
    note = (
        "In italics: the published score lies outside the 95 % interval of this run, which covers training variance if"
        " there are three or more seeds."
    )
    return "\n\n".join([*tables, note]) + "\n"
