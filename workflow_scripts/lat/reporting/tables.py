"""Result tables in the layout of the paper: one block per metric, systems as rows, directions and mean as columns."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from ..names import AVERAGE, REFERENCE
from .formats import (
    MARK,
    Cell,
    Table,
    escape_markdown,
    html_page,
    html_paragraph,
    html_table,
    latex_comment,
    latex_table,
    markdown_table,
)

LOWER_IS_BETTER = frozenset({"OTR"})

# File name and title of the table of each kind of direction, in the order in which they are shown.
TABLES = {"zero-shot": ("zero_shot", "Zero-shot directions"), "supervised": ("supervised", "Supervised directions")}

# Differences from the baseline with a smaller p-value are marked.
SIGNIFICANT = 0.05


def table_metrics(learned: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics of the result tables, in the order of the blocks.

    Args:
        learned: names of the learned metrics.
    """
    return ("BLEU", *learned, "OTR")


@dataclass(frozen=True)
class Block:
    """The part of a result table that holds one metric of one experiment.

    Attributes:
        base_model: base model of the experiment.
        benchmark: benchmark of the experiment.
        metric: name of the metric.
        values: scores, rounded to one decimal; one row per system, one column per direction, and `AVG` as last column.
        differs: whether a score differs significantly from the baseline's; same rows and columns as `values`.
        intervals: bounds of the 95 % intervals as pairs, with the same rows and columns; None if they are not shown.
        baseline: system that the others are tested against; empty if there are no tests.
    """

    base_model: str
    benchmark: str
    metric: str
    values: pd.DataFrame
    differs: pd.DataFrame
    intervals: pd.DataFrame | None = None
    baseline: str = ""

    @property
    def title(self) -> str:
        """Base model, benchmark, metric, and whether lower or higher is better."""
        better = "lower" if self.metric in LOWER_IS_BETTER else "higher"
        unit = " (%)" if self.metric == "OTR" else ""
        return f"{self.base_model} on {self.benchmark}: {self.metric}{unit}, {better} is better"

    @property
    def note(self) -> str:
        """Why the block has no p-values; empty if it has them."""
        if not self.baseline or self.baseline in self.values.index:
            return ""
        return f"No p-values: the baseline {self.baseline} is not among the systems of this experiment."

    def best(self) -> pd.DataFrame:
        """Return which cells hold the best score of their column; the row `reference` is never the best."""
        scores = self.values.drop(index=REFERENCE, errors="ignore")
        best = scores.min() if self.metric in LOWER_IS_BETTER else scores.max()
        return scores.eq(best).reindex(self.values.index, fill_value=False)

    def table(self) -> Table:
        """Return the block as a table, with the best scores in bold."""
        best = self.best()
        rows = []
        for system in self.values.index:
            cells = [Cell(str(system))]
            for direction in self.values.columns:
                interval = None if self.intervals is None else self.intervals.loc[system, direction]
                cells.append(
                    Cell(
                        f"{self.values.loc[system, direction]:.1f}",
                        bold=bool(best.loc[system, direction]),
                        marked=bool(self.differs.loc[system, direction]),
                        interval=interval if isinstance(interval, tuple) else None,
                    )
                )
            rows.append(cells)
        return Table(self.title, ["System", *map(str, self.values.columns)], rows, note=self.note)


def make_blocks(
    scores: pd.DataFrame,
    supervision: str,
    metrics: Sequence[str],
    significance: pd.DataFrame | None = None,
    baseline: str = "",
    with_intervals: bool = False,
) -> list[Block]:
    """Make the blocks of one result table; rows and columns keep the order of their first occurrence in `scores`.

    Args:
        scores: all scores, one per row.
        supervision: kind of the directions, `supervised` or `zero-shot`.
        metrics: metrics, each of which becomes one block per experiment.
        significance: scores and their means over directions, with `low`, `high` and `p`. Without it, nothing is marked.
        baseline: system that the p-values refer to; empty without `significance`.
        with_intervals: whether the table shows the 95 % intervals.
    """
    blocks = []
    chosen = scores[scores.supervision == supervision]
    for (base_model, benchmark), experiment in chosen.groupby(["base_model", "benchmark"], sort=False):
        for metric in metrics:
            rows = experiment[experiment.metric == metric]
            wide = rows.pivot(index="system", columns="direction", values="value")
            wide = wide.loc[rows.system.unique(), rows.direction.unique()]
            wide[AVERAGE] = wide.mean(axis=1)
            # Scores are rounded here once, so that all formats show the same scores, and scores that look equal are
            # equally good.
            printed = wide.map(lambda score: float(f"{score:.1f}"))
            differs = pd.DataFrame(False, index=printed.index, columns=printed.columns)
            intervals = None
            if significance is not None:
                selected = significance[
                    (significance.base_model == base_model)
                    & (significance.benchmark == benchmark)
                    & (significance.supervision == supervision)
                    & (significance.metric == metric)
                ]
                differs = _arrange(selected, selected.p < SIGNIFICANT, printed).eq(True)
                if with_intervals:
                    bounds = pd.Series(zip(selected.low, selected.high, strict=True), index=selected.index)
                    intervals = _arrange(selected, bounds, printed)
            blocks.append(Block(str(base_model), str(benchmark), metric, printed, differs, intervals, baseline))
    return blocks


def _arrange(rows: pd.DataFrame, values: pd.Series, like: pd.DataFrame) -> pd.DataFrame:
    """Arrange one value per row of `rows` by system and direction, as in the table `like`."""
    wide = rows.assign(cell=values).pivot(index="system", columns="direction", values="cell")
    return wide.reindex(index=like.index, columns=like.columns)


def to_markdown(blocks: Sequence[Block], title: str) -> str:
    """Format a result table as Markdown."""
    if not blocks:
        return f"No {title.lower()}.\n"
    tables = [markdown_table(block.table()) for block in blocks]
    return "\n\n".join([*tables, *map(escape_markdown, _notes(blocks))]) + "\n"


def to_latex(blocks: Sequence[Block]) -> str:
    """Format a result table as LaTeX tabulars for `booktabs`; notes are comments."""
    tables = [latex_table(block.table()) for block in blocks]
    return "\n\n".join([*tables, *map(latex_comment, _notes(blocks))]) + "\n"


def to_html(blocks: Sequence[Block], title: str) -> str:
    """Format a result table as an HTML document for Snakemake's report."""
    tables = [html_table(block.table()) for block in blocks]
    content = [*tables, *map(html_paragraph, _notes(blocks))] or [html_paragraph("None in this run.")]
    return html_page(title, "\n".join(content))


def _notes(blocks: Sequence[Block]) -> list[str]:
    """Return the notes that explain the marks and brackets of a table."""
    notes = []
    if any(block.differs.to_numpy().any() for block in blocks):
        notes.append(f"{MARK} differs significantly from {blocks[0].baseline} (paired bootstrap, p < {SIGNIFICANT}).")
    if any(block.intervals is not None for block in blocks):
        notes.append("In brackets: 95 % intervals over resamples of the test set.")
    return notes


def to_frame(blocks: Sequence[Block]) -> pd.DataFrame:
    """Return one wide table with base_model, benchmark, metric, system, and then the directions and their mean."""
    frames = []
    for block in blocks:
        frame = block.values.reset_index()
        frame.columns.name = None
        for position, name in enumerate(("base_model", "benchmark", "metric")):
            frame.insert(position, name, getattr(block, name))
        frames.append(frame)
    return pd.concat(frames) if frames else pd.DataFrame(columns=["base_model", "benchmark", "metric", "system"])


GENERAL = "General tasks"
# Columns of text in the table of general tasks, with their headers.
GENERAL_TEXT_COLUMNS = {"base_model": "Base model", "benchmark": "Benchmark", "system": "System", "baseline": "Against"}


def general_table(comparisons: Sequence[Mapping[str, str]]) -> Table:
    """Return the table of general tasks.

    The shares of wins, ties and losses refer to the comparisons with two clear replies of the judge, whose number is
    `n`; `p` is the p-value of a sign test.

    Args:
        comparisons: one row per pair of systems; all have the same instructions and judge.
    """
    outcomes = ("win", "tie", "lose")
    rows = []
    for comparison in comparisons:
        clear = int(comparison["n"]) - int(comparison["unclear"])
        shares = [f"{100 * int(comparison[name]) / clear:.1f}" if clear else "-" for name in outcomes]
        p = float(comparison["p"])
        names = [comparison[name] for name in GENERAL_TEXT_COLUMNS]
        rows.append([*names, *shares, str(clear), f"{p:.3f}" if p >= 0.001 else "< 0.001"])
    return Table(
        f"{GENERAL}: {comparisons[0]['instructions']}, judged by {comparisons[0]['judge']} in both orders (%)",
        [*GENERAL_TEXT_COLUMNS.values(), *outcomes, "n", "p"],
        [list(map(Cell, row)) for row in rows],
        len(GENERAL_TEXT_COLUMNS),
    )


def general_texts(comparisons: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the table of general tasks in all formats, by file ending."""
    table = general_table(comparisons)
    return {
        "md": markdown_table(table) + "\n",
        "tex": latex_table(table) + "\n",
        "html": html_page(GENERAL, html_table(table)),
    }
