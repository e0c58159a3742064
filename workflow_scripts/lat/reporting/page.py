"""The self-contained page of a run: tables, figures, and a browser of examples, in one file that needs no network."""

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
}


@dataclass(frozen=True)
class Outputs:
    """Where the outputs of a system are.

    Attributes:
        hypotheses: folder of <direction>.txt.
        lines: table of the language, probability and verdict of every output line.
    """

    hypotheses: Path
    lines: Path


def examples(name: str, texts: Path, systems: Mapping[str, Outputs], directions: Mapping[str, str]) -> dict[str, Any]:
    """Collect every test line of an experiment with the outputs of all systems, as page.js expects it.

    Args:
        name: title of the experiment.
        texts: folder of <direction>.src.txt and <direction>.ref.txt.
        systems: the outputs of each system, in the order in which they are shown.
        directions: each direction with its supervision.

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


def table_of(block: Block, heading: str, intervals: Mapping[tuple[str, str], tuple[str, str]]) -> dict[str, Any]:
    """A block as the page's template wants it.

    Args:
        block: of a result table.
        heading: which directions it is of.
        intervals: low and high of a system's figure of a direction.
    """
    best = block.best()
    rows = []
    for system in block.values.index:
        cells = []
        for direction in block.values.columns:
            figure = block.values.loc[system, direction]
            bounds = intervals.get((str(system), str(direction)))
            cells.append(
                {
                    "value": figure,
                    "text": f"{figure:.1f}",
                    "words": False,
                    "best": bool(best.loc[system, direction]),
                    "mark": MARK if block.differs.loc[system, direction] else "",
                    "hint": f"95 % interval {float(bounds[0]):.1f} to {float(bounds[1]):.1f}" if bounds else "",
                }
            )
        rows.append({"system": system, "cells": cells})
    return {"title": f"{heading}, {block.title}", "header": ["System", *block.values.columns], "rows": rows}


def plain_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> dict[str, Any]:
    """Rows of words and figures, such as `12.5` or `< 0.001`, as the page's template wants them, nothing marked."""

    def cell_of(text: str) -> dict[str, Any]:
        figure = re.fullmatch(r"(< )?(\d+(?:\.\d+)?)", text)
        # What is below a bound comes before the bound itself.
        value = text if figure is None else 0.0 if figure[1] else float(figure[2])
        return {"value": value, "text": text, "words": figure is None, "best": False, "mark": "", "hint": ""}

    return {
        "title": title,
        "header": list(header),
        "rows": [{"system": system, "cells": [cell_of(text) for text in texts]} for system, *texts in rows],
    }


def signatures(scores: pd.DataFrame) -> list[tuple[str, str]]:
    """How each kind of figure was made, named with its metric and, where that decides, its target languages."""
    made: dict[tuple[str, str], list[str]] = {}
    for row in scores[scores.system != REFERENCE].to_dict("records"):
        target = row["direction"].split("-")[1]
        targets = made.setdefault((row["metric"], row["signature"]), [])
        if target not in targets:
            targets.append(target)
    several = {metric for metric, _ in made if sum(metric == other for other, _ in made) > 1}
    return [
        (f"{metric} into {' '.join(targets)}" if metric in several else metric, signature)
        for (metric, signature), targets in made.items()
    ]


def inline_svg(path: Path, number: int) -> Markup:
    """A drawing as part of the page; its ids get a prefix, for every drawing counts its own from one."""
    text = path.read_text(encoding="utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r'\bid="', f'id="f{number}-', text)
    text = re.sub(r"url\(#", f"url(#f{number}-", text)
    text = re.sub(r'(xlink:href|href)="#', rf'\1="#f{number}-', text)
    return Markup(text)


def render(**content: Any) -> str:
    """The page.

    `data` is what the browser of examples shows; everything else goes into the template as it is.
    """
    library = files("itables") / "html"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE), autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    content["data"] = _packed(json.dumps(content["data"], ensure_ascii=False, separators=(",", ":")))
    return environment.get_template("page.html.j2").render(
        css=Markup((PAGE / "page.css").read_text(encoding="utf-8")),
        js=Markup((PAGE / "page.js").read_text(encoding="utf-8")),
        # DataTables, bundled by a package that keeps it current
        table_css=Markup((library / "dt_bundle.css").read_text(encoding="utf-8")),
        library=_packed((library / "dt_bundle.js").read_text(encoding="utf-8")),
        **content,
    )


def _packed(text: str) -> Markup:
    # No time stamp: the same run gives the same page.
    return Markup(base64.b64encode(gzip.compress(text.encode("utf-8"), 6, mtime=0)).decode("ascii"))
