"""The HTML page of a run: tables, figures, and a browser of examples, in one file that works offline."""

import base64
import gzip
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from ..evaluation.offtarget import Verdict
from ..files import InputError, read_lines, read_table
from ..languages import RESOURCES
from ..names import REFERENCE
from .tables import MARK, Block

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


@dataclass(frozen=True)
class Outputs:
    """The files that hold the outputs of a system.

    Attributes:
        hypotheses: folder of <direction>.txt.
        lines: table with the language, probability and verdict of every output line.
    """

    hypotheses: Path
    lines: Path


def examples(name: str, texts: Path, systems: Mapping[str, Outputs], directions: Mapping[str, str]) -> dict[str, Any]:
    """Collect all test lines of an experiment with the outputs of all systems, in the structure that page.js expects.

    Args:
        name: title of the experiment.
        texts: folder of <direction>.src.txt and <direction>.ref.txt.
        systems: outputs by system, in the order in which they are shown.
        directions: supervision (`supervised` or `zero-shot`) by direction.

    Raises:
        InputError: the files of a direction have different numbers of lines.
    """
    found: dict[str, Any] = {
        direction: {
            "name": direction,
            "supervision": supervision,
            "source": read_lines(texts / f"{direction}.src.txt"),
            "reference": read_lines(texts / f"{direction}.ref.txt"),
            "outputs": [],
            "labels": [],
            "verdicts": [],
        }
        for direction, supervision in directions.items()
    }
    for outputs in systems.values():
        classified: dict[str, list[dict[str, str]]] = {}
        for row in read_table(outputs.lines):
            classified.setdefault(row["direction"], []).append(row)
        for direction, example in found.items():
            path = outputs.hypotheses / f"{direction}.txt"
            hypotheses = read_lines(path)
            rows = classified.get(direction, [])
            if not len(hypotheses) == len(rows) == len(example["source"]) == len(example["reference"]):
                raise InputError(
                    f"{path}: {len(hypotheses)} lines, {len(rows)} of them with a verdict, for "
                    f"{len(example['source'])} sources; decode and detect it again"
                )
            example["outputs"].append(hypotheses)
            example["labels"].append([row["label"] for row in rows])
            example["verdicts"].append("".join(LETTERS[Verdict(row["verdict"])] for row in rows))
    return {"name": name, "systems": list(systems), "directions": list(found.values())}


def table_of_block(block: Block, heading: str, intervals: Mapping[tuple[str, str], tuple[str, str]]) -> dict[str, Any]:
    """Return a block of a result table in the structure that page.html.j2 expects.

    Args:
        block: the block.
        heading: kind of its directions, the first part of the title.
        intervals: bounds of the 95 % interval by system and direction.
    """
    best = block.best()
    rows = []
    for system in block.values.index:
        cells = []
        for direction in block.values.columns:
            score = block.values.loc[system, direction]
            bounds = intervals.get((str(system), str(direction)))
            cells.append(
                {
                    "value": score,
                    "text": f"{score:.1f}",
                    "is_text": False,
                    "best": bool(best.loc[system, direction]),
                    "mark": MARK if block.differs.loc[system, direction] else "",
                    "hint": f"95 % interval {float(bounds[0]):.1f} to {float(bounds[1]):.1f}" if bounds else "",
                }
            )
        rows.append({"system": system, "cells": cells})
    return {"title": f"{heading}, {block.title}", "header": ["System", *block.values.columns], "rows": rows}


def table_of_texts(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Return rows of formatted cells in the structure that page.html.j2 expects, without any marks.

    Args:
        title: title of the table.
        header: names of the columns.
        rows: cells as text; `12.5` and `< 0.001` are sorted as numbers. The first cell of a row is its name.
    """

    def cell_of(text: str) -> dict[str, Any]:
        number = re.fullmatch(r"(< )?(\d+(?:\.\d+)?)", text)
        # An upper bound such as `< 0.001` is sorted before all other numbers.
        value = text if number is None else 0.0 if number[1] else float(number[2])
        return {"value": value, "text": text, "is_text": number is None, "best": False, "mark": "", "hint": ""}

    return {
        "title": title,
        "header": list(header),
        "rows": [{"system": system, "cells": [cell_of(text) for text in texts]} for system, *texts in rows],
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
    """
    text = path.read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r'\bid="', f'id="f{number}-', text)
    text = re.sub(r"url\(#", f"url(#f{number}-", text)
    text = re.sub(r'(xlink:href|href)="#', rf'\1="#f{number}-', text)
    return Markup(text)


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
