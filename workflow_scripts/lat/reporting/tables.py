"""Result tables laid out like the paper's: systems as rows, directions and average as columns, a block a metric."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

import pandas as pd

from ..names import AVERAGE, REFERENCE

LOWER_IS_BETTER = frozenset({"OTR"})

# Name and title of the table of each kind of direction, in the order they are shown.
TABLES = {"zero-shot": ("zero_shot", "Zero-shot directions"), "supervised": ("supervised", "Supervised directions")}

# A difference from the baseline that chance explains in fewer cases than this is marked.
SIGNIFICANT = 0.05
MARK = "†"


@dataclass(frozen=True)
class Block:
    """One metric of one experiment: `values`, to one decimal, has a row a system and a column a direction, AVG last.

    `differs` says which cells differ from the baseline's by more than chance, and `intervals`, where the table is to
    show them, holds the text of 95 % intervals; both are laid out like `values`.
    """

    base_model: str
    benchmark: str
    metric: str
    values: pd.DataFrame
    differs: pd.DataFrame
    intervals: pd.DataFrame | None = None

    @property
    def title(self) -> str:
        """What a reader needs to know of the block."""
        better = "lower" if self.metric in LOWER_IS_BETTER else "higher"
        unit = " (%)" if self.metric == "OTR" else ""
        return f"{self.base_model} on {self.benchmark}: {self.metric}{unit}, {better} is better"

    def best(self) -> pd.DataFrame:
        """Which cells hold their column's best figure, the references aside."""
        figures = self.values.drop(index=REFERENCE, errors="ignore")
        best = figures.min() if self.metric in LOWER_IS_BETTER else figures.max()
        return figures.eq(best).reindex(self.values.index, fill_value=False)


def blocks(
    scores: pd.DataFrame,
    supervision: str,
    metrics: Sequence[str],
    significance: pd.DataFrame | None = None,
    with_intervals: bool = False,
) -> list[Block]:
    """The blocks of one table from the long table of scores; rows and columns keep the order they first occur in.

    Args:
        scores: a row a figure.
        supervision: which directions, `supervised` or `zero-shot`.
        metrics: a block each.
        significance: a row a figure and a mean, with `low`, `high` and `p`; without it nothing is marked.
        with_intervals: show the intervals beside the figures.
    """
    made = []
    chosen = scores[scores.supervision == supervision]
    for (base_model, benchmark), experiment in chosen.groupby(["base_model", "benchmark"], sort=False):
        for metric in metrics:
            figures = experiment[experiment.metric == metric]
            wide = figures.pivot(index="system", columns="direction", values="value")
            wide = wide.loc[figures.system.unique(), figures.direction.unique()]
            wide[AVERAGE] = wide.mean(axis=1)
            # Rounded once, as printed, so that every format shows the same figures and ties are ties.
            printed = wide.map(lambda figure: float(f"{figure:.1f}"))
            differs = pd.DataFrame(False, index=printed.index, columns=printed.columns)
            intervals = None
            if significance is not None:
                its = significance[
                    (significance.base_model == base_model)
                    & (significance.benchmark == benchmark)
                    & (significance.supervision == supervision)
                    & (significance.metric == metric)
                ]
                differs = _laid_out(its, its.p < SIGNIFICANT, printed).eq(True)
                if with_intervals:
                    texts = [f"[{low:.1f}, {high:.1f}]" for low, high in zip(its.low, its.high, strict=True)]
                    intervals = _laid_out(its, pd.Series(texts, index=its.index), printed).astype(object).fillna("")
            made.append(Block(str(base_model), str(benchmark), metric, printed, differs, intervals))
    return made


def _laid_out(rows: pd.DataFrame, values: pd.Series, like: pd.DataFrame) -> pd.DataFrame:
    wide = rows.assign(its=values).pivot(index="system", columns="direction", values="its")
    return wide.reindex(index=like.index, columns=like.columns)


def to_markdown(made: Sequence[Block], title: str) -> str:
    """Markdown, best figures in bold."""
    if not made:
        return f"No {title.lower()}.\n"
    tables = [f"**{block.title}**\n\n{_rows(block, _markdown_table, _bold_markdown)}" for block in made]
    return "\n\n".join([*tables, *_notes(made)]) + "\n"


def to_latex(made: Sequence[Block]) -> str:
    """LaTeX tabulars for `booktabs`, best figures in bold."""
    tables = [_rows(block, _latex_table, _bold_latex, _escape_latex) for block in made]
    return "\n\n".join([*tables, *(f"% {note}" for note in _notes(made))]) + "\n"


def to_html(made: Sequence[Block], title: str) -> str:
    """A self-contained page for the report, best figures in bold."""
    tables = [*(_rows(block, _html_table, _bold_html) for block in made), *(f"<p>{note}</p>" for note in _notes(made))]
    return _html_page(title, "\n".join(tables) or "<p>None in this run.</p>")


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
# What a comparison is of, and the heads of these columns.
COMPARED = {"base_model": "Base model", "benchmark": "Benchmark", "system": "System", "baseline": "Against"}


def general_table(compared: Sequence[Mapping[str, str]]) -> tuple[str, list[str], list[list[str]]]:
    """Title, header and rows of the table of general tasks, from the tables of the comparisons, which share a judge.

    Shares are of the comparisons whose replies were both clear, which `n` counts; `p` is of a sign test.
    """
    shares = ("win", "tie", "lose")
    rows = []
    for its in compared:
        clear = int(its["n"]) - int(its["unclear"])
        figures = [f"{100 * int(its[name]) / clear:.1f}" if clear else "-" for name in shares]
        p = float(its["p"])
        rows.append([*(its[name] for name in COMPARED), *figures, str(clear), f"{p:.3f}" if p >= 0.001 else "< 0.001"])
    title = f"{GENERAL}: {compared[0]['instructions']}, judged by {compared[0]['judge']} in both orders (%)"
    return title, [*COMPARED.values(), *shares, "n", "p"], rows


def general_texts(compared: Sequence[Mapping[str, str]]) -> dict[str, str]:
    """The table of general tasks by the suffix of its format."""
    title, header, rows = general_table(compared)
    latex = [[_escape_latex(cell) for cell in row] for row in rows]
    html = [[escape(cell) for cell in row] for row in rows]
    return {
        "md": f"**{title}**\n\n{_markdown_table(title, header, rows, len(COMPARED))}\n",
        "tex": _latex_table(title, header, latex, len(COMPARED)) + "\n",
        "html": _html_page(GENERAL, _html_table(escape(title), header, html, len(COMPARED))),
    }


def to_frame(made: Sequence[Block]) -> pd.DataFrame:
    """One wide table: base_model, benchmark, metric, system, then directions and their average."""
    frames = []
    for block in made:
        frame = block.values.reset_index()
        frame.columns.name = None
        for place, name in enumerate(("base_model", "benchmark", "metric")):
            frame.insert(place, name, getattr(block, name))
        frames.append(frame)
    return pd.concat(frames) if frames else pd.DataFrame(columns=["base_model", "benchmark", "metric", "system"])


def _rows(
    block: Block,
    layout: Callable[[str, list[str], list[list[str]]], str],
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
    return layout(block.title, header, body)


def _notes(made: Sequence[Block]) -> list[str]:
    """What the marks and brackets of some tables mean."""
    notes = []
    if any(block.differs.to_numpy().any() for block in made):
        notes.append(f"{MARK} differs from the baseline by more than chance (paired bootstrap, p < {SIGNIFICANT}).")
    if any(block.intervals is not None for block in made):
        notes.append("In brackets: 95 % intervals over resamples of the test set.")
    return notes


def _markdown_table(_: str, header: list[str], body: list[list[str]], texts: int = 1) -> str:
    rule = [*["---"] * texts, *["---:"] * (len(header) - texts)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *body])


def _bold_markdown(text: str) -> str:
    return f"**{text}**"


def _latex_table(title: str, header: list[str], body: list[list[str]], texts: int = 1) -> str:
    lines = [
        rf"\begin{{tabular}}{{{'l' * texts}{'r' * (len(header) - texts)}}}",
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


def _html_table(title: str, header: list[str], body: list[list[str]], texts: int = 1) -> str:
    classes = [' class="text"'] * texts + [""] * (len(header) - texts)
    head = "".join(f"<th{its}>{name}</th>" for its, name in zip(classes, header, strict=True))
    cells = ("".join(f"<td{its}>{cell}</td>" for its, cell in zip(classes, row, strict=True)) for row in body)
    rows = "\n".join(f"<tr>{row}</tr>" for row in cells)
    return f"<table><caption>{title}</caption><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table>"


def _bold_html(text: str) -> str:
    return f"<strong>{text}</strong>"
