"""Result tables laid out like the paper's: systems as rows, directions and average as columns, a block a metric."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pandas as pd

from .config import REFERENCE

LOWER_IS_BETTER = frozenset({"OTR"})
AVERAGE = "AVG"


@dataclass(frozen=True)
class Block:
    """One metric of one experiment: `values`, to one decimal, has a row a system and a column a direction, AVG last."""

    base_model: str
    benchmark: str
    metric: str
    values: pd.DataFrame

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


def blocks(scores: pd.DataFrame, supervision: str, metrics: Sequence[str]) -> list[Block]:
    """The blocks of one table from the long table of scores; rows and columns keep the order they first occur in."""
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
            made.append(Block(str(base_model), str(benchmark), metric, printed))
    return made


def to_markdown(made: Sequence[Block], title: str) -> str:
    """Markdown, best figures in bold."""
    if not made:
        return f"No {title.lower()}.\n"
    return "\n\n".join(f"**{block.title}**\n\n{_rows(block, _markdown_table, _bold_markdown)}" for block in made) + "\n"


def to_latex(made: Sequence[Block]) -> str:
    """LaTeX tabulars for `booktabs`, best figures in bold."""
    return "\n\n".join(_rows(block, _latex_table, _bold_latex, _escape_latex) for block in made) + "\n"


def to_html(made: Sequence[Block], title: str) -> str:
    """A self-contained page for the report, best figures in bold."""
    style = (
        "body{font:15px system-ui,sans-serif;margin:2em;color:#222;background:#fff}"
        "table{border-collapse:collapse;margin:0 0 2em}caption{text-align:left;font-weight:600;padding:.4em 0}"
        "td,th{padding:.25em .7em;text-align:right;font-variant-numeric:tabular-nums}"
        "td:first-child,th:first-child{text-align:left}thead{border-bottom:1.5px solid #222}"
        "tbody tr:nth-child(even){background:#f4f4f4}"
    )
    tables = (
        "<p>None in this run.</p>" if not made else "\n".join(_rows(block, _html_table, _bold_html) for block in made)
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{style}</style>'
        f"</head><body>\n<h1>{title}</h1>\n{tables}\n</body></html>\n"
    )


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
    layout: Callable[[Block, list[str], list[list[str]]], str],
    bold: Callable[[str], str],
    escape: Callable[[str], str] = str,
) -> str:
    header = ["System", *map(str, block.values.columns)]
    body = []
    for system, figures, bests in zip(
        block.values.index, block.values.to_numpy(), block.best().to_numpy(), strict=True
    ):
        cells = [
            bold(f"{figure:.1f}") if best else f"{figure:.1f}" for figure, best in zip(figures, bests, strict=True)
        ]
        body.append([escape(str(system)), *cells])
    return layout(block, header, body)


def _markdown_table(block: Block, header: list[str], body: list[list[str]]) -> str:
    rule = ["---", *["---:"] * (len(header) - 1)]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rule, *body])


def _bold_markdown(text: str) -> str:
    return f"**{text}**"


def _latex_table(block: Block, header: list[str], body: list[list[str]]) -> str:
    lines = [
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
        rf"\multicolumn{{{len(header)}}}{{l}}{{{_escape_latex(block.title)}}} \\",
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
    return text.replace("_", r"\_").replace("%", r"\%").replace("&", r"\&")


def _html_table(block: Block, header: list[str], body: list[list[str]]) -> str:
    head = "".join(f"<th>{name}</th>" for name in header)
    rows = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in body)
    return f"<table><caption>{block.title}</caption><thead><tr>{head}</tr></thead><tbody>\n{rows}\n</tbody></table>"


def _bold_html(text: str) -> str:
    return f"<strong>{text}</strong>"
