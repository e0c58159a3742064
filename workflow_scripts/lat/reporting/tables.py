"""Result tables in the layout of the paper: one block per metric, systems as rows, directions and mean as columns."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import pandas as pd

from ..names import AVERAGE, REFERENCE

LOWER_IS_BETTER = frozenset({"OTR"})

# File name and title of the table of each kind of direction, in the order in which they are shown.
TABLES = {"zero-shot": ("zero_shot", "Zero-shot directions"), "supervised": ("supervised", "Supervised directions")}

# Differences from the baseline with a smaller p-value are marked.
SIGNIFICANT = 0.05
MARK = "†"


@dataclass(frozen=True)
class Block:
    """The part of a result table that holds one metric of one experiment.

    Attributes:
        base_model: base model of the experiment.
        benchmark: benchmark of the experiment.
        metric: name of the metric.
        values: scores, rounded to one decimal; one row per system, one column per direction, and `AVG` as last column.
        differs: whether a score differs significantly from the baseline's; same rows and columns as `values`.
        intervals: text of the 95 % intervals, with the same rows and columns; None if they are not shown.
    """

    base_model: str
    benchmark: str
    metric: str
    values: pd.DataFrame
    differs: pd.DataFrame
    intervals: pd.DataFrame | None = None

    @property
    def title(self) -> str:
        """Base model, benchmark, metric, and whether lower or higher is better."""
        better = "lower" if self.metric in LOWER_IS_BETTER else "higher"
        unit = " (%)" if self.metric == "OTR" else ""
        return f"{self.base_model} on {self.benchmark}: {self.metric}{unit}, {better} is better"

    def best(self) -> pd.DataFrame:
        """Return which cells hold the best score of their column; the row `reference` is never the best."""
        scores = self.values.drop(index=REFERENCE, errors="ignore")
        best = scores.min() if self.metric in LOWER_IS_BETTER else scores.max()
        return scores.eq(best).reindex(self.values.index, fill_value=False)


def make_blocks(
    scores: pd.DataFrame,
    supervision: str,
    metrics: Sequence[str],
    significance: pd.DataFrame | None = None,
    with_intervals: bool = False,
) -> list[Block]:
    """Make the blocks of one result table; rows and columns keep the order of their first occurrence in `scores`.

    Args:
        scores: all scores, one per row.
        supervision: kind of the directions, `supervised` or `zero-shot`.
        metrics: metrics, each of which becomes one block per experiment.
        significance: scores and their means over directions, with `low`, `high` and `p`. Without it, nothing is marked.
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
                    texts = [f"[{low:.1f}, {high:.1f}]" for low, high in zip(selected.low, selected.high, strict=True)]
                    intervals = (
                        _arrange(selected, pd.Series(texts, index=selected.index), printed).astype(object).fillna("")
                    )
            blocks.append(Block(str(base_model), str(benchmark), metric, printed, differs, intervals))
    return blocks


def _arrange(rows: pd.DataFrame, values: pd.Series, like: pd.DataFrame) -> pd.DataFrame:
    """Arrange one value per row of `rows` by system and direction, as in the table `like`."""
    wide = rows.assign(cell=values).pivot(index="system", columns="direction", values="cell")
    return wide.reindex(index=like.index, columns=like.columns)


def to_markdown(blocks: Sequence[Block], title: str) -> str:
    """Format a result table as Markdown, with the best scores in bold."""
    if not blocks:
        return f"No {title.lower()}.\n"
    tables = [f"**{block.title}**\n\n{_format_block(block, _markdown_table, _bold_markdown)}" for block in blocks]
    return "\n\n".join([*tables, *_notes(blocks)]) + "\n"


def to_latex(blocks: Sequence[Block]) -> str:
    """Format a result table as LaTeX tabulars for `booktabs`, with the best scores in bold."""
    tables = [_format_block(block, _latex_table, _bold_latex, _escape_latex) for block in blocks]
    return "\n\n".join([*tables, *(f"% {note}" for note in _notes(blocks))]) + "\n"


def to_html(blocks: Sequence[Block], title: str) -> str:
    """Format a result table as an HTML document for Snakemake's report, with the best scores in bold."""
    tables = [_format_block(block, _html_table, _bold_html) for block in blocks]
    notes = [f"<p>{note}</p>" for note in _notes(blocks)]
    return _html_page(title, "\n".join([*tables, *notes]) or "<p>None in this run.</p>")


def _html_page(title: str, content: str) -> str:
    style = (
        "body{font:15px system-ui,sans-serif;margin:2em;color:#222;background:#fff}"
        "table{border-collapse:collapse;margin:0 0 2em}caption{text-align:left;font-weight:600;padding:.4em 0}"
        "td,th{padding:.25em .7em;text-align:right;font-variant-numeric:tabular-nums}"
        "td.text,th.text{text-align:left}thead{border-bottom:1.5px solid #222}"
        "tbody tr:nth-child(even){background:#f4f4f4}"
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{style}</style>'
        f"</head><body>\n<h1>{title}</h1>\n{content}\n</body></html>\n"
    )


GENERAL = "General tasks"
# Columns of text in the table of general tasks, with their headers.
GENERAL_TEXT_COLUMNS = {"base_model": "Base model", "benchmark": "Benchmark", "system": "System", "baseline": "Against"}


def general_table(comparisons: Sequence[Mapping[str, str]]) -> tuple[str, list[str], list[list[str]]]:
    """Return title, header and rows of the table of general tasks.

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
    title = f"{GENERAL}: {comparisons[0]['instructions']}, judged by {comparisons[0]['judge']} in both orders (%)"
    return title, [*GENERAL_TEXT_COLUMNS.values(), *outcomes, "n", "p"], rows


def general_texts(comparisons: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """Return the table of general tasks in all formats, by file ending."""
    title, header, rows = general_table(comparisons)
    latex = [[_escape_latex(cell) for cell in row] for row in rows]
    html = [[escape(cell) for cell in row] for row in rows]
    return {
        "md": f"**{title}**\n\n{_markdown_table(title, header, rows, len(GENERAL_TEXT_COLUMNS))}\n",
        "tex": _latex_table(title, header, latex, len(GENERAL_TEXT_COLUMNS)) + "\n",
        "html": _html_page(GENERAL, _html_table(escape(title), header, html, len(GENERAL_TEXT_COLUMNS))),
    }


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


def _format_block(
    block: Block,
    format_table: Callable[[str, list[str], list[list[str]]], str],
    bold: Callable[[str], str],
    escape: Callable[[str], str] = str,
) -> str:
    header = ["System", *map(str, block.values.columns)]
    best = block.best()
    body = []
    for system in block.values.index:
        cells = []
        for direction in block.values.columns:
            text = f"{block.values.loc[system, direction]:.1f}"
            text = bold(text) if best.loc[system, direction] else text
            text += escape(MARK) if block.differs.loc[system, direction] else ""
            interval = "" if block.intervals is None else block.intervals.loc[system, direction]
            cells.append(f"{text} {interval}".strip())
        body.append([escape(str(system)), *cells])
    return format_table(block.title, header, body)


def _notes(blocks: Sequence[Block]) -> list[str]:
    """Return the notes that explain the marks and brackets of a table."""
    notes = []
    if any(block.differs.to_numpy().any() for block in blocks):
        notes.append(f"{MARK} differs significantly from the baseline (paired bootstrap, p < {SIGNIFICANT}).")
    if any(block.intervals is not None for block in blocks):
        notes.append("In brackets: 95 % intervals over resamples of the test set.")
    return notes


def _markdown_table(_: str, header: list[str], body: list[list[str]], text_columns: int = 1) -> str:
    rule = [*["---"] * text_columns, *["---:"] * (len(header) - text_columns)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *body])


def _bold_markdown(text: str) -> str:
    return f"**{text}**"


def _latex_table(title: str, header: list[str], body: list[list[str]], text_columns: int = 1) -> str:
    lines = [
        rf"\begin{{tabular}}{{{'l' * text_columns}{'r' * (len(header) - text_columns)}}}",
        r"\toprule",
        rf"\multicolumn{{{len(header)}}}{{l}}{{{_escape_latex(title)}}} \\",
        r"\midrule",
        " & ".join(header) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in body),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines)


def _bold_latex(text: str) -> str:
    return rf"\textbf{{{text}}}"


def _escape_latex(text: str) -> str:
    return (
        text.replace("_", r"\_")
        .replace("<", r"\textless{}")
        .replace("%", r"\%")
        .replace("&", r"\&")
        .replace(MARK, r"\textsuperscript{\textdagger}")
    )


def _html_table(title: str, header: list[str], body: list[list[str]], text_columns: int = 1) -> str:
    classes = [' class="text"'] * text_columns + [""] * (len(header) - text_columns)
    head = "".join(f"<th{attribute}>{name}</th>" for attribute, name in zip(classes, header, strict=True))
    cells = (
        "".join(f"<td{attribute}>{cell}</td>" for attribute, cell in zip(classes, row, strict=True)) for row in body
    )
    rows = "\n".join(f"<tr>{row}</tr>" for row in cells)
    return f"<table><caption>{title}</caption><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table>"


def _bold_html(text: str) -> str:
    return f"<strong>{text}</strong>"
