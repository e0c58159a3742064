"""Our figures beside the published ones, where an experiment repeats one of the paper's (`resources/paper/`)."""

from collections.abc import Mapping, Sequence

import pandas as pd

from ..files import read_table
from ..languages import RESOURCES
from ..names import AVERAGE

PAPER = RESOURCES / "paper"
ROUNDING = 0.05  # of published figures, which have one decimal
COLUMNS = (
    "base_model", "benchmark", "system", "metric", "direction", "ours", "paper", "difference", "low", "high", "verdict",
)  # fmt: skip


Row = Mapping[str, str]


def published(table: str) -> dict[tuple[str, ...], float]:
    """A result table of the paper: base model, system, metric and direction, or `AVG`, to the figure."""
    return {
        (row["base_model"], row["system"], row["metric"], row["direction"].replace("avg", AVERAGE)): float(row["value"])
        for row in read_table(PAPER / f"{table}.tsv")
    }


def comparison(
    intervals: Sequence[Row], tables: Mapping[str, str], base_models: Mapping[str, str]
) -> list[dict[str, str]]:
    """A row a figure that both have: ours, the paper's, their difference, and whether ours agrees.

    The verdict is `within` where the published figure lies in our 95 % interval, `above` or `below` where ours is
    higher or lower than that. The interval knows nothing of the seeds of training, only of the choice of sentences.

    Args:
        intervals: our zero-shot figures and their means with `low` and `high`; others are left out.
        tables: the table of the paper for each of our benchmarks that is one of its benchmarks.
        base_models: the paper's name for each of our base models that it used.
    """
    theirs = {benchmark: published(table) for benchmark, table in tables.items()}
    rows = []
    for row in intervals:
        key = (base_models.get(row["base_model"], ""), row["system"], row["metric"], row["direction"])
        # Directions and their mean are zero-shot in the paper's tables.
        if row["supervision"] != "zero-shot" or key not in theirs.get(row["benchmark"], {}):
            continue
        paper = theirs[row["benchmark"]][key]
        ours, low, high = (float(row[name]) for name in ("value", "low", "high"))
        verdict = "above" if low > paper + ROUNDING else "below" if high < paper - ROUNDING else "within"
        figures = {"ours": ours, "paper": paper, "difference": ours - paper, "low": low, "high": high}
        rows.append(
            {column: row[column] for column in COLUMNS[:5]}
            | {name: f"{figure:.1f}" for name, figure in figures.items()}
            | {"verdict": verdict}
        )
    return rows


def comparison_markdown(rows: Sequence[Row]) -> str:
    """Ours - paper as a table a metric: systems as rows, directions as columns, what disagrees in italics."""
    if not rows:
        return "No experiment of this run is one of the paper's.\n"
    parts = []
    frame = pd.DataFrame(rows)
    for (base_model, benchmark, metric), block in frame.groupby(["base_model", "benchmark", "metric"], sort=False):
        cells = [
            f"{float(difference):+.1f}" if verdict == "within" else f"*{float(difference):+.1f}*"
            for difference, verdict in zip(block.difference, block.verdict, strict=True)
        ]
        wide = block.assign(cell=cells).pivot(index="system", columns="direction", values="cell")
        wide = wide.loc[block.system.unique(), block.direction.unique()].fillna("")
        header = ["System", *map(str, wide.columns)]
        lines = [
            header,
            ["---", *["---:"] * len(wide.columns)],
            *([name, *row] for name, row in zip(wide.index, wide.to_numpy(), strict=True)),
        ]
        table = "\n".join("| " + " | ".join(map(str, line)) + " |" for line in lines)
        parts.append(f"**{base_model} on {benchmark}: {metric}, ours - paper**\n\n{table}")
    parts.append("In italics: the published figure lies outside our 95 % interval.")
    return "\n\n".join(parts) + "\n"
