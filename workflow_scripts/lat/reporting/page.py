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

from ..evaluation.offtarget import EMPTY, ENGLISH, OTHER, SOURCE, TARGET
from ..files import InputError, read_lines, read_table
from ..languages import RESOURCES
from ..names import REFERENCE
from .tables import MARK, Block

PAGE = RESOURCES / "page"
LETTERS = {TARGET: "t", SOURCE: "s", ENGLISH: "e", OTHER: "o", EMPTY: "x"}


@dataclass(frozen=True)
class Files:
    """Where an experiment's texts lie."""

    test: Path  # folder of <direction>.src.txt and <direction>.ref.txt
    decode: Path  # folder <system>/<direction>.txt
    detect: Path  # folder <system>/lines.tsv


def examples(name: str, its: Files, systems: Sequence[str], directions: Mapping[str, str]) -> dict[str, Any]:
    """Every line of an experiment as the page's browser wants it.

    Args:
        name: what the page calls the experiment.
        its: where the texts lie.
        systems: in the order in which they are shown.
        directions: each with its supervision.

    Raises:
        InputError: files of one direction have different numbers of lines.
    """
    found: dict[str, Any] = {
        direction: {
            "name": direction,
            "supervision": supervision,
            "source": read_lines(its.test / f"{direction}.src.txt"),
            "reference": read_lines(its.test / f"{direction}.ref.txt"),
            "outputs": [],
            "labels": [],
            "verdicts": [],
        }
        for direction, supervision in directions.items()
    }
    for system in systems:
        judged: dict[str, list[dict[str, str]]] = {}
        for row in read_table(its.detect / system / "lines.tsv"):
            judged.setdefault(row["direction"], []).append(row)
        for direction, texts in found.items():
            outputs = read_lines(its.decode / system / f"{direction}.txt")
            rows = judged.get(direction, [])
            if not len(outputs) == len(rows) == len(texts["source"]) == len(texts["reference"]):
                raise InputError(
                    f"{its.decode / system / direction}.txt: {len(outputs)} lines, {len(rows)} of them judged, for "
                    f"{len(texts['source'])} sources; decode and detect it again"
                )
            texts["outputs"].append(outputs)
            texts["labels"].append([row["label"] for row in rows])
            texts["verdicts"].append("".join(LETTERS[row["verdict"]] for row in rows))
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
