"""Means of the further metrics over directions and seeds, for which there is no bootstrap."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..names import REFERENCE

if TYPE_CHECKING:
    import pandas as pd

FURTHER_COLUMNS = (
    "base_model", "benchmark", "system", "supervision", "metric", "mean", "sd", "directions", "lines", "seeds",
)  # fmt: skip
NOTE = (
    "Means over directions and seeds, with the standard deviation over seeds. A score on target is of the lines that"
    " are identified as the target language, which are others for each system; a direction without such a line is left"
    " out of the mean. Numbers of lines are means over seeds. There is no bootstrap of these scores.\n"
)


def further_means(scores: pd.DataFrame, further: Sequence[str]) -> list[dict[str, object]]:
    """Return one row per experiment, system, kind of direction and further metric, in the order of the scores.

    Args:
        scores: the table of all scores.
        further: names of the further metrics.
    """
    rows: list[dict[str, object]] = []
    names = ["base_model", "benchmark", "system", "supervision", "metric"]
    chosen = scores[scores.metric.isin(further) & (scores.system != REFERENCE)]
    for values, group in chosen.groupby(names, sort=False):
        by_seed = group.groupby("seed", sort=False)
        # The mean skips directions without a line on target, whose score is `nan`.
        means = by_seed["value"].mean()
        rows.append(
            dict(zip(names, values, strict=True))
            | {
                "mean": f"{means.mean():.4f}",
                "sd": f"{means.std():.4f}" if len(means) > 1 else "",
                "directions": f"{by_seed['value'].count().mean():g}",
                "lines": f"{group.n.astype(int).groupby(group.seed).sum().mean():g}",
                "seeds": len(means),
            }
        )
    return rows


def further_markdown(rows: Sequence[dict[str, object]]) -> str:
    """Return the means as Markdown, with one table per experiment and kind of direction."""
    parts = ["# Further metrics\n", NOTE]
    groups = dict.fromkeys((row["base_model"], row["benchmark"], row["supervision"]) for row in rows)
    for group in groups:
        of_group = [row for row in rows if (row["base_model"], row["benchmark"], row["supervision"]) == group]
        metrics = list(dict.fromkeys(str(row["metric"]) for row in of_group))
        parts.append(f"## {group[0]}, {group[1]}, {group[2]} directions\n")
        header = ["System", *(f"{metric} (lines)" for metric in metrics)]
        lines = [f"| {' | '.join(header)} |", f"| --- |{' ---: |' * len(metrics)}"]
        for system in dict.fromkeys(str(row["system"]) for row in of_group):
            cells = {str(row["metric"]): row for row in of_group if row["system"] == system}
            lines.append(f"| {system} | {' | '.join(_cell(cells[metric]) for metric in metrics)} |")
        parts.append("\n".join(lines) + "\n")
    return "\n".join(parts)


def _cell(row: dict[str, object]) -> str:
    mean = float(str(row["mean"]))
    if math.isnan(mean):
        return "– (0)"
    spread = f" ± {float(str(row['sd'])):.1f}" if row["sd"] else ""
    return f"{mean:.1f}{spread} ({row['lines']})"
