"""Tables in Markdown, LaTeX and HTML.

Titles, headers and cells may come from the config or from data. Every format has one function that escapes such a text,
and the functions that write a whole table apply it, so that a text is shown as it is and never read as markup.
"""

import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

# The mark of scores that differ significantly from the baseline's.
MARK = "†"
PLUS_MINUS = "±"

# Characters that are markup somewhere in Markdown or its common extensions (tables, math, footnotes, attributes). An
# underscore between letters or digits and a `<` that begins no tag are no markup.
MARKDOWN = re.compile(r"[\\`*\[\]>|~^$#&{}]|<(?=[\w/!?])|(?<![^\W_])_|_(?![^\W_])")
LATEX_PLUS_MINUS = r"$\pm$"
LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "%": r"\%",
    "_": r"\_",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    # At the start of a row, these would be an argument of the end of the row before.
    "[": "{[}",
    "]": "{]}",
    "*": "{*}",
    # Not every font has them.
    MARK: r"\textdagger{}",
    PLUS_MINUS: LATEX_PLUS_MINUS,
}


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: the text as it is to be read.
        bold: whether the text is in bold.
        italic: whether the text is in italics.
        marked: whether `MARK` follows the text.
        spread: standard deviation of the number in the text, which is shown after the mark; None if there is none.
        interval: bounds of an interval, which are shown last.
    """

    text: str
    bold: bool = False
    italic: bool = False
    marked: bool = False
    spread: float | None = None
    interval: tuple[float, float] | None = None

    def end_text(self, sign: str = PLUS_MINUS) -> str:
        """Return what follows the mark: standard deviation and interval, which need no escaping in any format.

        Args:
            sign: what is written between a mean and its standard deviation.
        """
        spread = "" if self.spread is None else f" {sign} {self.spread:.1f}"
        interval = f" [{self.interval[0]:.1f}, {self.interval[1]:.1f}]" if self.interval else ""
        return spread + interval


@dataclass(frozen=True)
class Table:
    """A table for all formats.

    Attributes:
        title: the title.
        header: names of the columns.
        rows: cells, as many as there are names.
        text_columns: number of columns that hold text; the others hold numbers and are aligned on the right.
        note: a remark below the table.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    text_columns: int = 1
    note: str = ""


# Embeddings, overrides and isolates of the bidirectional algorithm.
BIDIRECTIONAL = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))


def escape_markdown(text: str) -> str:
    """Escape a text for Markdown, on one line."""
    return MARKDOWN.sub(r"\\\g<0>", _one_line(text))


def escape_latex(text: str) -> str:
    """Escape a text for LaTeX, on one line."""
    return "".join(LATEX.get(character, character) for character in _one_line(text))


def escape_html(text: str) -> str:
    """Escape a text for HTML, on one line."""
    return html.escape(_one_line(text))


def _one_line(text: str) -> str:
    """Replace each run of white space by one space, and remove control characters.

    So are those that change the direction of writing, with which a name could reorder its row.
    """
    return "".join(
        character
        for character in " ".join(text.split())
        if unicodedata.category(character) != "Cc" and character not in BIDIRECTIONAL
    )


def markdown_table(table: Table) -> str:
    """Format a table as Markdown."""

    def cell(content: Cell) -> str:
        stars = "*" * (2 * content.bold + content.italic)
        mark = MARK if content.marked else ""
        return f"{stars}{escape_markdown(content.text)}{stars}{mark}{content.end_text()}"

    numbers = len(table.header) - table.text_columns
    rows = [
        list(map(escape_markdown, table.header)),
        ["---"] * table.text_columns + ["---:"] * numbers,
        *([cell(content) for content in row] for row in table.rows),
    ]
    lines = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    note = f"\n\n{escape_markdown(table.note)}" if table.note else ""
    return f"**{escape_markdown(table.title)}**\n\n{lines}{note}"


def latex_table(table: Table) -> str:
    """Format a table as a LaTeX tabular for `booktabs`, in small print, with its note below it."""

    def cell(content: Cell) -> str:
        text = escape_latex(content.text)
        for command in ["textit"] * content.italic + ["textbf"] * content.bold:
            text = rf"\{command}{{{text}}}"
        end = content.end_text(LATEX_PLUS_MINUS)
        # At the end of a cell, the mark has no width, so that decimal points stay aligned.
        mark = r"\textsuperscript{\textdagger}" if end else r"\rlap{\textsuperscript{\textdagger}}"
        return f"{text}{mark if content.marked else ''}{end}"

    columns = len(table.header)
    lines = [
        r"{\small\setlength{\tabcolsep}{4pt}\noindent%",
        rf"\begin{{tabular}}{{{'l' * table.text_columns}{'r' * (columns - table.text_columns)}}}",
        r"\toprule",
        rf"\multicolumn{{{columns}}}{{l}}{{{escape_latex(table.title)}}} \\",
        r"\midrule",
        " & ".join(map(escape_latex, table.header)) + r" \\",
        r"\midrule",
        *(" & ".join(map(cell, row)) + r" \\" for row in table.rows),
        r"\bottomrule",
        r"\end{tabular}\par}",
        *([latex_note(table.note)] if table.note else []),
    ]
    return "\n".join(lines)


def latex_note(text: str) -> str:
    """Return a text as a paragraph in LaTeX, in smaller print."""
    return rf"{{\footnotesize\noindent {escape_latex(text)}\par}}"


def html_table(table: Table) -> str:
    """Format a table as an HTML element, followed by its note."""
    columns = len(table.header)
    classes = [' class="text"'] * table.text_columns + [""] * (columns - table.text_columns)

    def cell(content: Cell) -> str:
        text = escape_html(content.text)
        for tag in ["em"] * content.italic + ["strong"] * content.bold:
            text = f"<{tag}>{text}</{tag}>"
        end = content.end_text()
        # As in LaTeX, the mark has no width at the end of a cell.
        mark = MARK if end else f'<span class="mark">{MARK}</span>'
        return f"{text}{mark if content.marked else ''}{end}"

    def row(tag: str, cells: Sequence[str]) -> str:
        content = "".join(f"<{tag}{kind}>{text}</{tag}>" for kind, text in zip(classes, cells, strict=True))
        return f"<tr>{content}</tr>"

    head = row("th", list(map(escape_html, table.header)))
    body = "\n".join(row("td", list(map(cell, cells))) for cells in table.rows)
    note = f"\n{html_paragraph(table.note)}" if table.note else ""
    return (
        f"<table><caption>{escape_html(table.title)}</caption><thead>{head}</thead>"
        f"<tbody>\n{body}\n</tbody></table>{note}"
    )


def html_paragraph(text: str) -> str:
    """Return a text as a paragraph in HTML."""
    return f"<p>{escape_html(text)}</p>"


def html_page(title: str, content: str) -> str:
    """Return an HTML document.

    Args:
        title: its title and heading, as text.
        content: what follows the heading, as HTML.
    """
    style = (
        "body{font:15px system-ui,sans-serif;margin:2em;color:#222;background:#fff}"
        "table{border-collapse:collapse;margin:0 0 2em}caption{text-align:left;font-weight:600;padding:.4em 0}"
        "td,th{padding:.25em .7em;text-align:right;font-variant-numeric:tabular-nums}"
        "td.text,th.text{text-align:left}.mark{display:inline-block;width:0}thead{border-bottom:1.5px solid #222}"
        "tbody tr:nth-child(even){background:#f4f4f4}"
    )
    title = escape_html(title)
    return (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>{style}</style>'
        f"</head><body>\n<h1>{title}</h1>\n{content}\n</body></html>\n"
    )
