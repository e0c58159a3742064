"""Comparison of the scores of a run with the published ones (`resources/paper/`)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from ..files import read_table
from ..languages import RESOURCES
from ..names import AVERAGE

PAPER = RESOURCES / "paper"
ROUNDING = 0.05  # published scores have one decimal
COLUMNS = (
    "base_model", "benchmark", "system", "metric", "direction", "score", "paper", "difference", "low", "high",
    "relation",
)  # fmt: skip

Row = Mapping[str, str]


@dataclass(frozen=True)
class Names:
    """What the paper calls what this run calls otherwise; the paper does not have what is absent.

    Attributes:
        tables: benchmark to result table of the paper (a file of `resources/paper/`).
        base_models: base model to its name in these tables.
        systems: system to its name in these tables.
    """

    tables: Mapping[str, str]
    base_models: Mapping[str, str]
    systems: Mapping[str, str]


def published(table: str) -> dict[tuple[str, ...], float]:
    """A result table of the paper: base model, system, metric and direction (or `AVG`) to the score."""
    return {
        (row["base_model"], row["system"], row["metric"], row["direction"].replace("avg", AVERAGE)): float(row["value"])
        for row in read_table(PAPER / f"{table}.tsv")
    }


def comparison(intervals: Sequence[Row], names: Names) -> list[dict[str, str]]:
    """One row per score that both this run and the paper have: the two scores, their difference and their relation.

    The relation is `within` if the published score lies in the 95 % interval of this run's score, `above` or `below` if
    this run's score is higher or lower than that. The interval covers the choice of test sentences, not the seeds of
    training.

    Args:
        intervals: rows of intervals.tsv. Only zero-shot directions and their mean are compared, since the paper's
            tables have no others.
        names: what the paper calls benchmarks, base models and systems.
    """
    published_scores = {benchmark: published(table) for benchmark, table in names.tables.items()}
    rows = []
    for row in intervals:
        key = (
            names.base_models.get(row["base_model"], ""),
            names.systems.get(row["system"], ""),
            row["metric"],
            row["direction"],
        )
        if row["supervision"] != "zero-shot" or key not in published_scores.get(row["benchmark"], {}):
            continue
        paper = published_scores[row["benchmark"]][key]
        score, low, high = (float(row[name]) for name in ("value", "low", "high"))
        relation = "above" if low > paper + ROUNDING else "below" if high < paper - ROUNDING else "within"
        values = {"score": score, "paper": paper, "difference": score - paper, "low": low, "high": high}
        rows.append(
            {column: row[column] for column in COLUMNS[:5]}
            | {name: f"{value:.1f}" for name, value in values.items()}
            | {"relation": relation}
        )
    return rows


def comparison_markdown(rows: Sequence[Row]) -> str:
    """One table of differences per metric: systems as rows, directions as columns, disagreements in italics."""
    if not rows:
        return "No experiment of this run is one of the paper's.\n"
    parts = []
    frame = pd.DataFrame(rows)
    for (base_model, benchmark, metric), block in frame.groupby(["base_model", "benchmark", "metric"], sort=False):
        cells = [
            f"{float(difference):+.1f}" if relation == "within" else f"*{float(difference):+.1f}*"
            for difference, relation in zip(block.difference, block.relation, strict=True)
        ]
        wide = block.assign(cell=cells).pivot(index="system", columns="direction", values="cell")
        wide = wide.loc[block.system.unique(), block.direction.unique()].fillna("")
        lines = [
            ["System", *map(str, wide.columns)],
            ["---", *["---:"] * len(wide.columns)],
            *([name, *row] for name, row in zip(wide.index, wide.to_numpy(), strict=True)),
        ]
        table = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
        parts.append(f"**{base_model} on {benchmark}: {metric}, this run - paper**\n\n{table}")
    parts.append("In italics: the published score lies outside the 95 % interval of this run.")
    return "\n\n".join(parts) + "\n"
