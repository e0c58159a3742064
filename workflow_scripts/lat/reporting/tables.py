"""Result tables in the layout of the paper: one block per metric, systems as rows, directions and mean as columns."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..evaluation.ranking import DEGENERATE_BLEU, MINIMUM_SEEDS, is_lower_better
from ..names import AVERAGE, REFERENCE, SHARED
from .formats import (
    MARK,
    PLUS_MINUS,
    Cell,
    Table,
    escape_markdown,
    html_page,
    html_paragraph,
    html_table,
    latex_note,
    latex_table,
    markdown_table,
)

if TYPE_CHECKING:
    import pandas as pd

# File name and title of the table of each kind of direction, in the order in which they are shown.
TABLES = {"zero-shot": ("zero_shot", "Zero-shot directions"), "supervised": ("supervised", "Supervised directions")}

# Differences from the baseline with a smaller p-value are marked.
SIGNIFICANT = 0.05


def table_metrics(learned: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics of the result tables, in the order of the blocks.

    Args:
        learned: names of the learned metrics.
    """
    return ("BLEU", "chrF++", *learned, "OTR")


@dataclass(frozen=True)
class Block:
    """The part of a result table that holds one metric of one experiment.

    Attributes:
        base_model: base model of the experiment.
        benchmark: benchmark of the experiment.
        metric: name of the metric.
        values: means over the training seeds, rounded to one decimal; one row per system, one column per direction, and
            `AVG` as last column.
        spreads: standard deviations over the training seeds; same rows and columns as `values`; `nan` for a single run.
        differs: whether a score differs significantly from the baseline's; same rows and columns as `values`.
        degenerate: whether the mean BLEU is too low for a score to be the best; same rows and columns as `values`.
        seeds: number of training seeds of the experiment; 0 if all its systems have the untrained base model.
        intervals: bounds of the 95 % intervals as pairs, with the same rows and columns; None if they are not shown.
        baseline: system that the others are tested against; empty if there are no tests.
        effects: sentences that give the effect of a loss, the difference between a system and its control without it.
        lower_is_better: whether the lowest score of a column is the best one.
    """

    base_model: str
    benchmark: str
    metric: str
    values: pd.DataFrame
    spreads: pd.DataFrame
    differs: pd.DataFrame
    degenerate: pd.DataFrame
    seeds: int
    intervals: pd.DataFrame | None = None
    baseline: str = ""
    effects: tuple[str, ...] = ()
    lower_is_better: bool = False

    @property
    def title(self) -> str:
        """Base model, benchmark, metric, and whether lower or higher is better."""
        better = "lower" if self.lower_is_better else "higher"
        unit = " (%)" if self.metric == "OTR" else ""
        return f"{self.base_model} on {self.benchmark}: {self.metric}{unit}, {better} is better"

    @property
    def has_baseline(self) -> bool:
        """Whether the scores are tested against a system of this experiment."""
        systems = self.values.index.drop(REFERENCE, errors="ignore")
        return self.baseline in systems and len(systems) > 1

    @property
    def note(self) -> str:
        """Effects of losses, why the block has no p-values, and why some scores cannot be in bold; may be empty."""
        notes = list(self.effects)
        if self.baseline and self.baseline not in self.values.index:
            notes.append(f"No p-values: the baseline {self.baseline} is not among the systems of this experiment.")
        if self.degenerate.to_numpy().any():
            notes.append(f"Never in bold: systems with a mean BLEU below {DEGENERATE_BLEU:g} in the same column.")
        return " ".join(notes)

    def best(self) -> pd.DataFrame:
        """Return which cells hold the best score of their column.

        The row `reference` and degenerate systems are never the best.
        """
        scores = self.values.drop(index=REFERENCE, errors="ignore")
        scores = scores.mask(self.degenerate.loc[scores.index])
        best = scores.min() if self.lower_is_better else scores.max()
        return scores.eq(best).reindex(self.values.index, fill_value=False)

    def table(self) -> Table:
        """Return the block as a table, with the best scores in bold."""
        frames = [self.values, self.best(), self.differs, self.spreads]
        frames.append(self.values if self.intervals is None else self.intervals)
        # All frames have the same rows and columns. Looking up single cells of a frame would take most of the time of a
        # table with hundreds of directions.
        of_systems = zip(*(frame.to_numpy().tolist() for frame in frames), strict=True)
        rows = []
        for system, of_system in zip(self.values.index, of_systems, strict=True):
            cells = [
                Cell(
                    f"{value:.1f}",
                    bold=bold,
                    marked=marked,
                    spread=None if math.isnan(spread) else spread,
                    interval=interval if isinstance(interval, tuple) else None,
                )
                for value, bold, marked, spread, interval in zip(*of_system, strict=True)
            ]
            rows.append([Cell(str(system)), *cells])
        return Table(self.title, ["System", *map(str, self.values.columns)], rows, note=self.note)


def rounded(score: float) -> float:
    """Round a number to one decimal, as formatting does in all tables; the function of pandas rounds 0.35 to 0.4."""
    return float(f"{score:.1f}")


def make_blocks(
    scores: pd.DataFrame,
    supervision: str,
    metrics: Sequence[str],
    summary: pd.DataFrame | None = None,
    baseline: str = "",
    with_intervals: bool = False,
    controls: Sequence[Sequence[str]] = (),
    lower_is_better: Collection[str] = (),
) -> list[Block]:
    """Make the blocks of one result table; rows and columns keep the order of their first occurrence in `scores`.

    Args:
        scores: all scores, one per row.
        supervision: kind of the directions, `supervised` or `zero-shot`.
        metrics: metrics, each of which becomes one block per experiment.
        summary: means over seeds of the scores and of their means over directions, with the columns `low`, `high` and
            `p_corrected`. Without it, nothing is marked.
        baseline: system that the p-values refer to; empty without `summary`.
        with_intervals: whether the table shows the 95 % intervals.
        controls: base model, benchmark, loss, system, and the system that lacks this loss but is the same otherwise.
        lower_is_better: the learned metrics of which lower is better.
    """
    import pandas as pd

    blocks = []
    chosen = scores[scores.supervision == supervision]
    for (base_model, benchmark), experiment in chosen.groupby(["base_model", "benchmark"], sort=False):
        degenerate = _over_seeds(experiment[experiment.metric == "BLEU"])[0].round(4) < DEGENERATE_BLEU
        for metric in metrics:
            means, spreads = _over_seeds(experiment[experiment.metric == metric])
            # Scores are rounded here once, so that all formats show the same scores, and scores that look equal are
            # equally good.
            printed = means.map(rounded)
            differs = pd.DataFrame(False, index=printed.index, columns=printed.columns)
            intervals = None
            if summary is not None:
                selected = summary[
                    (summary.base_model == base_model)
                    & (summary.benchmark == benchmark)
                    & (summary.supervision == supervision)
                    & (summary.metric == metric)
                ]
                differs = _arrange(selected, selected.p_corrected < SIGNIFICANT, printed).eq(True)
                if with_intervals:
                    bounds = pd.Series(zip(selected.low, selected.high, strict=True), index=selected.index)
                    intervals = _arrange(selected, bounds, printed)
            blocks.append(
                Block(
                    str(base_model),
                    str(benchmark),
                    metric,
                    printed,
                    spreads,
                    differs,
                    degenerate.reindex(index=printed.index, columns=printed.columns, fill_value=False),
                    len(set(experiment.seed) - {SHARED}),
                    intervals,
                    baseline,
                    _effects(means, [each[2:] for each in controls if tuple(each[:2]) == (base_model, benchmark)]),
                    is_lower_better(metric, lower_is_better),
                )
            )
    return blocks


def _effects(means: pd.DataFrame, controls: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """Return a sentence about the effect of each loss whose control is in the table.

    Args:
        means: means over seeds, with `AVG` as a column.
        controls: loss, system and control.
    """
    average = means[AVERAGE]
    return tuple(
        f"Effect of the {loss} loss: {system} minus {control} is {average[system] - average[control]:+.1f} ({AVERAGE})."
        for loss, system, control in controls
        if system in average and control in average
    )


def _over_seeds(scores: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return means and standard deviations over seeds of scores and of their means over directions.

    Args:
        scores: the scores of one metric of one experiment.

    Returns:
        Two tables with one row per system, one column per direction and `AVG` as last column. The standard deviation of
        a single run is `nan`.
    """
    runs = scores.pivot(index=["system", "seed"], columns="direction", values="value")[scores.direction.unique()]
    runs[AVERAGE] = runs.mean(axis=1)
    systems = runs.groupby(level="system")
    order = scores.system.unique()
    return systems.mean().loc[order], systems.std().loc[order]


def _arrange(rows: pd.DataFrame, values: pd.Series, like: pd.DataFrame) -> pd.DataFrame:
    """Arrange one value per row of `rows` by system and direction, as in the table `like`."""
    wide = rows.assign(cell=values).pivot(index="system", columns="direction", values="cell")
    return wide.reindex(index=like.index, columns=like.columns)


def to_markdown(blocks: Sequence[Block], title: str) -> str:
    """Format a result table as Markdown."""
    if not blocks:
        return f"No {title.lower()}.\n"
    tables = [markdown_table(block.table()) for block in blocks]
    return "\n\n".join([*tables, *map(escape_markdown, notes(blocks))]) + "\n"


def to_latex(blocks: Sequence[Block]) -> str:
    """Format a result table as LaTeX tabulars for `booktabs`, followed by its notes."""
    tables = [latex_table(block.table()) for block in blocks]
    return "\n\n".join([*tables, *map(latex_note, notes(blocks))]) + "\n"


def to_html(blocks: Sequence[Block], title: str) -> str:
    """Format a result table as an HTML document for Snakemake's report."""
    tables = [html_table(block.table()) for block in blocks]
    content = [*tables, *map(html_paragraph, notes(blocks))] or [html_paragraph("None in this run.")]
    return html_page(title, "\n".join(content))


def notes(blocks: Sequence[Block]) -> list[str]:
    """Return the notes that explain the numbers, marks and brackets of a table.

    A note that is not the same for all experiments that have it begins with their names.
    """
    found = []
    for note_of in (_seed_note, _mark_note, _interval_note):
        experiments: dict[str, dict[str, None]] = {}
        for block in blocks:
            if note := note_of(block):
                experiments.setdefault(note, {})[f"{block.base_model} on {block.benchmark}"] = None
        several = len(experiments) > 1
        found += [f"{', '.join(names)}: {note}" if several else note for note, names in experiments.items()]
    return found


def _seed_note(block: Block) -> str:
    """Return what the scores of a block are computed from; empty if no system is trained."""
    if block.seeds < 2:
        single = "One training seed: every score is that of a single training run; training variance is not covered."
        return single if block.seeds else ""
    note = f"Mean {PLUS_MINUS} standard deviation over {block.seeds} training seeds"
    if block.seeds < MINIMUM_SEEDS:
        note += ", which are too few for intervals and tests that cover training variance"
    return f"{note}. A score without {PLUS_MINUS} does not depend on the seed."


def _mark_note(block: Block) -> str:
    """Return what the marks of a block mean and which system is the baseline, also if no score has a mark.

    The note is empty if the experiment lacks the baseline.
    """
    if not (block.has_baseline or block.differs.to_numpy().any()):
        return ""
    return f"{MARK} differs significantly from {block.baseline} " + _tested(
        block, "paired bootstrap", f", Holm-corrected p < {SIGNIFICANT}"
    )


def _interval_note(block: Block) -> str:
    """Return what the brackets of a block mean; empty if it has none."""
    return "" if block.intervals is None else "In brackets: 95 % intervals " + _tested(block, "bootstrap")


def _tested(block: Block, of_sentences: str, end: str = "") -> str:
    """Return how p-values or intervals are computed, in parentheses, and what they do not cover.

    Args:
        block: a block of a result table.
        of_sentences: name of the method that resamples sentences alone.
        end: what else is in the parentheses.
    """
    if block.seeds >= MINIMUM_SEEDS:
        return f"(bootstrap over the test sentences and t-distribution over {block.seeds} seeds{end})."
    method = f"({of_sentences} over the test sentences{end})"
    if not block.seeds:
        return f"{method}."
    seeds = f"{block.seeds} training seed{'s' if block.seeds > 1 else ''}"
    return f"{method}; training variance is not covered: {seeds}."


def to_frame(blocks: Sequence[Block]) -> pd.DataFrame:
    """Return one wide table with base_model, benchmark, metric, system, and then the directions and their mean.

    If there are several training seeds, the scores are means over them, and further columns, such as `it-nl sd`, hold
    the standard deviations; they are empty for a single run.
    """
    import pandas as pd

    means, spreads = [], []
    for block in blocks:
        names = {"base_model": block.base_model, "benchmark": block.benchmark, "metric": block.metric}
        frame = block.values.reset_index()
        frame.columns.name = None
        for position, (column, name) in enumerate(names.items()):
            frame.insert(position, column, name)
        means.append(frame)
        spreads.append(block.spreads.map(rounded).add_suffix(" sd").reset_index(drop=True))
    if not blocks:
        return pd.DataFrame(columns=["base_model", "benchmark", "metric", "system"])
    parts = [pd.concat(means, ignore_index=True)]
    if any(block.seeds > 1 for block in blocks):
        parts.append(pd.concat(spreads, ignore_index=True))
    return pd.concat(parts, axis=1)


GENERAL = "General tasks"
# Columns of text in the table of general tasks, with their headers; that of the seeds is left out if there is only one.
GENERAL_TEXT_COLUMNS = {
    "base_model": "Base model",
    "benchmark": "Benchmark",
    "seed": "Seed",
    "system": "System",
    "baseline": "Against",
}


def general_table(comparisons: Sequence[Mapping[str, str]]) -> Table:
    """Return the table of general tasks.

    The shares of wins, ties and losses refer to the comparisons with two clear replies of the judge, whose number is
    `n`; `p` is the p-value of a sign test.

    Args:
        comparisons: one row per pair of systems and seed; all have the same instructions and judge.
    """
    outcomes = ("win", "tie", "lose")
    several_seeds = len({comparison["seed"] for comparison in comparisons} - {SHARED}) > 1
    headers = {name: header for name, header in GENERAL_TEXT_COLUMNS.items() if several_seeds or name != "seed"}
    rows = []
    for comparison in comparisons:
        clear = int(comparison["n"]) - int(comparison["unclear"])
        shares = [f"{100 * int(comparison[name]) / clear:.1f}" if clear else "-" for name in outcomes]
        p = float(comparison["p"])
        names = [comparison[name] for name in headers]
        rows.append([*names, *shares, str(clear), f"{p:.3f}" if p >= 0.001 else "< 0.001"])
    return Table(
        f"{GENERAL}: {comparisons[0]['instructions']}, judged by {comparisons[0]['judge']} in both orders (%)",
        [*headers.values(), *outcomes, "n", "p"],
        [list(map(Cell, row)) for row in rows],
        len(headers),
    )


def general_texts(comparisons: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the table of general tasks in all formats, by file ending."""
    table = general_table(comparisons)
    return {
        "md": markdown_table(table) + "\n",
        "tex": latex_table(table) + "\n",
        "html": html_page(GENERAL, html_table(table)),
    }
