"""The HTML page of a run: tables, figures, and a browser of examples, in one file that works offline."""

import base64
import gzip
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from ..evaluation.offtarget import Verdict
from ..files import InputError, read_lines, read_text
from ..languages import RESOURCES
from ..names import REFERENCE
from .formats import MARK, Cell, Table
from .reading import Lines
from .tables import Block

PAGE = RESOURCES / "page"
# One letter per verdict, as page.js expects them.
LETTERS = {
    Verdict.TARGET: "t",
    Verdict.SOURCE: "s",
    Verdict.ENGLISH: "e",
    Verdict.OTHER: "o",
    Verdict.EMPTY: "x",
    Verdict.NO_WORDS: "n",
}

# Sources and references by direction.
Texts = Mapping[str, tuple[Sequence[str], Sequence[str]]]


@dataclass(frozen=True)
class Outputs:
    """The outputs of a system.

    Attributes:
        hypotheses: folder of <direction>.txt.
        lines: the identified languages of all output lines, as many as there are test lines.
    """

    hypotheses: Path
    lines: Lines


def read_texts(folder: Path, directions: Iterable[str]) -> Texts:
    """Read the test lines of a benchmark.

    Args:
        folder: folder of <direction>.src.txt and <direction>.ref.txt.
        directions: the directions of the benchmark.

    Returns:
        Sources and references by direction.

    Raises:
        InputError: a direction has more or fewer references than sources.
    """
    texts = {}
    for direction in directions:
        sources = read_lines(folder / f"{direction}.src.txt")
        references = read_lines(folder / f"{direction}.ref.txt")
        if len(sources) != len(references):
            raise InputError(
                f"{folder}: {direction}: {len(sources)} sources, {len(references)} references; delete the folder and"
                " run again"
            )
        texts[direction] = sources, references
    return texts


def examples(name: str, texts: Texts, systems: Mapping[str, Outputs], directions: Mapping[str, str]) -> dict[str, Any]:
    """Collect all test lines of an experiment with the outputs of all systems, in the structure that page.js expects.

    Args:
        name: title of the experiment.
        texts: sources and references by direction.
        systems: outputs by system, in the order in which they are shown.
        directions: supervision (`supervised` or `zero-shot`) by direction.

    Raises:
        InputError: a system has more or fewer output lines than there are test lines.
    """
    found = []
    for direction, supervision in directions.items():
        source, reference = texts[direction]
        hypotheses = [read_lines(outputs.hypotheses / f"{direction}.txt") for outputs in systems.values()]
        for outputs, lines in zip(systems.values(), hypotheses, strict=True):
            if len(lines) != len(source):
                path = outputs.hypotheses / f"{direction}.txt"
                raise InputError(
                    f"{path}: {len(lines)} lines for {len(source)} sources; delete the folder and run again"
                )
        classified = [outputs.lines.classified[direction] for outputs in systems.values()]
        found.append(
            {
                "name": direction,
                "supervision": supervision,
                "source": source,
                "reference": reference,
                "outputs": hypotheses,
                "labels": [[line.label for line in lines] for lines in classified],
                "verdicts": ["".join(LETTERS[line.verdict] for line in lines) for lines in classified],
            }
        )
    return {"name": name, "systems": list(systems), "directions": found}


def table_of_block(block: Block, heading: str) -> dict[str, Any]:
    """Return a block of a result table in the structure that page.html.j2 expects.

    Args:
        block: the block.
        heading: kind of its directions, the first part of the title.
    """
    table = table_of(block.table())
    return table | {"title": f"{heading}, {table['title']}"}


def table_of(table: Table) -> dict[str, Any]:
    """Return a table in the structure that page.html.j2 expects.

    Args:
        table: the table; its cells with `12.5` and `< 0.001` are sorted as numbers. The first cell of a row is its
            name.
    """

    def cell_of(cell: Cell) -> dict[str, Any]:
        number = re.fullmatch(r"(< )?(-?\d+(?:\.\d+)?)", cell.text)
        # An upper bound such as `< 0.001` is sorted before all other numbers.
        value = cell.text if number is None else 0.0 if number[1] else float(number[2])
        bounds = cell.interval
        return {
            "value": value,
            "text": cell.text,
            "is_text": number is None,
            "best": cell.bold,
            "mark": MARK if cell.marked else "",
            "hint": f"95 % interval {bounds[0]:.1f} to {bounds[1]:.1f}" if bounds else "",
        }

    return {
        "title": table.title,
        "header": list(table.header),
        "rows": [{"system": name.text, "cells": list(map(cell_of, cells))} for name, *cells in table.rows],
        "note": table.note,
    }


def signatures(scores: pd.DataFrame) -> list[tuple[str, str]]:
    """List the metrics and their signatures.

    A metric whose signature depends on the target language is listed once per signature, with the target languages.
    """
    targets_of: dict[tuple[str, str], list[str]] = {}
    for row in scores[scores.system != REFERENCE].to_dict("records"):
        target = row["direction"].split("-")[1]
        targets = targets_of.setdefault((row["metric"], row["signature"]), [])
        if target not in targets:
            targets.append(target)
    several = {metric for metric, _ in targets_of if sum(metric == other for other, _ in targets_of) > 1}
    return [
        (f"{metric} into {' '.join(targets)}" if metric in several else metric, signature)
        for (metric, signature), targets in targets_of.items()
    ]


def inline_svg(path: Path, number: int) -> Markup:
    """Return an SVG file as markup for the page, with its number as a prefix of all ids.

    Different SVG files use the same ids, but ids must be unique within a page.

    Raises:
        InputError: the file is no whole SVG file.
    """
    text = read_text(path)
    start, end = text.find("<svg"), text.rfind("</svg>")
    if not 0 <= start < end:
        raise InputError(f"{path}: no whole SVG file; delete it and run again")
    # Only tags have ids; the same words may occur in the text between them.
    return Markup(
        re.sub(r"<[^>]*>", lambda tag: re.sub(r'(\bid="|url\(#|href="#)', rf"\1f{number}-", tag[0]), text[start:])
    )


def render(**content: Any) -> str:
    """Render the HTML page.

    Args:
        content: the variables of page.html.j2. `data`, the content of the browser of examples, is compressed; all other
            values are passed on unchanged.
    """
    library = files("itables") / "html"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE), autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    content["data"] = _packed(json.dumps(content["data"], ensure_ascii=False, separators=(",", ":")))
    return environment.get_template("page.html.j2").render(
        css=Markup((PAGE / "page.css").read_text(encoding="utf-8")),
        js=Markup((PAGE / "page.js").read_text(encoding="utf-8")),
        # DataTables, the library that makes tables sortable, as bundled in the package itables.
        table_css=Markup((library / "dt_bundle.css").read_text(encoding="utf-8")),
        library=_packed((library / "dt_bundle.js").read_text(encoding="utf-8")),
        **content,
    )


def _packed(text: str) -> Markup:
    # mtime=0 leaves out the time stamp, so that the same run gives the same page.
    return Markup(base64.b64encode(gzip.compress(text.encode("utf-8"), 6, mtime=0)).decode("ascii"))
