"""Fast code of the evaluation against the plain way, on the same made-up data in one run; both give the same results.

    python -m timing.evaluation --json evaluation.json

The plain ways are SacreBLEU's statistics of one line after another, py3langid's `classify` of one line after another,
and a table whose cells are looked up one by one. Versions take turns, and the seconds are medians over the rounds.
"""

import argparse
import json
import math
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from timing.scale import CODES, SYSTEMS, make_outputs
from workflow_scripts.lat.data.lid import NO_LANGUAGE, PY3LANGID, Identifier, load_identifier, readable_text
from workflow_scripts.lat.evaluation.bootstrap import Floats
from workflow_scripts.lat.evaluation.scores import metrics, prepare_references, translation_scores
from workflow_scripts.lat.files import InputError, read_lines
from workflow_scripts.lat.languages import code_of_label
from workflow_scripts.lat.reporting.formats import Cell, Table
from workflow_scripts.lat.reporting.tables import Block
from workflow_scripts.lat.runtime import cpu_model, run_step

DIRECTION, LINES, DIRECTIONS = "en-de", 2000, 870


def line_statistics(metric: BLEU | CHRF, hypotheses: Sequence[str], references: Sequence[str]) -> Floats:
    """Return the statistics of a metric for every line, of shape (lines, statistics), as SacreBLEU computes them."""
    # SacreBLEU has no public function for this; its own significance tests call the private one as well.
    found = metric._extract_corpus_statistics(list(hypotheses), [list(references)])
    return np.asarray(found, dtype=np.float64)


def identify(library: object, lines: Sequence[str]) -> list[tuple[str, float]]:
    """Return (language, probability) of each line, which py3langid classifies one after another.

    Args:
        library: `LanguageIdentifier` of py3langid.
        lines: the lines.
    """
    found = []
    for text in map(readable_text, lines):
        label, probability = library.classify(text) if text else NO_LANGUAGE
        found.append((code_of_label(label), float(probability)))
    return found


def table_by_cells(block: Block) -> Table:
    """Return a block as a table, whose cells are looked up one by one."""
    best = block.best()
    rows = []
    for system in block.values.index:
        cells = [Cell(str(system))]
        for direction in block.values.columns:
            spread = float(block.spreads.loc[system, direction])
            interval = None if block.intervals is None else block.intervals.loc[system, direction]
            cells.append(
                Cell(
                    f"{block.values.loc[system, direction]:.1f}",
                    bold=bool(best.loc[system, direction]),
                    marked=bool(block.differs.loc[system, direction]),
                    spread=None if math.isnan(spread) else spread,
                    interval=interval if isinstance(interval, tuple) else None,
                )
            )
        rows.append(cells)
    return Table(block.title, ["System", *map(str, block.values.columns)], rows, note=block.note)


def make_block(directions: int) -> Block:
    """Return a block with random scores of as many directions."""
    random = np.random.default_rng(1)
    values = random.uniform(0, 40, (len(SYSTEMS), directions)).round(1)

    def frame(content: object) -> pd.DataFrame:
        return pd.DataFrame(content, index=list(SYSTEMS), columns=[f"direction {n}" for n in range(directions)])

    intervals = [[(value - 1, value + 1) for value in row] for row in values.tolist()]
    return Block(
        "made-up",
        "all",
        "BLEU",
        frame(values),
        frame(random.uniform(0, 2, values.shape)),
        frame(random.random(values.shape) < 0.3),
        frame(values < 1),
        3,
        frame(intervals),
        "MT",
    )


def measure(plain: Callable[[], object], fast: Callable[[], object], rounds: int) -> dict[str, float]:
    """Return the CPU seconds of both versions, as medians over the rounds, and the median of their ratios."""
    seconds: dict[str, list[float]] = {"plain_s": [], "fast_s": []}
    for _ in range(rounds):
        for name, function in (("plain_s", plain), ("fast_s", fast)):
            started = time.process_time()
            function()
            seconds[name].append(time.process_time() - started)
    ratios = [plain_s / fast_s for plain_s, fast_s in zip(*seconds.values(), strict=True)]
    return {name: statistics.median(values) for name, values in seconds.items()} | {"ratio": statistics.median(ratios)}


def compare_statistics(hypotheses: Sequence[Sequence[str]], references: Sequence[str], rounds: int) -> dict[str, float]:
    """Compare the statistics of several systems.

    Raises:
        InputError: the versions differ.
    """

    def plain() -> list[dict[str, Floats]]:
        return [
            {name: line_statistics(metric, lines, references) for name, metric in metrics(DIRECTION).items()}
            for lines in hypotheses
        ]

    def fast() -> list[dict[str, Floats]]:
        prepared = prepare_references(references, DIRECTION)
        return [prepared.statistics(lines) for lines in hypotheses]

    for one, other in zip(plain(), fast(), strict=True):
        if one.keys() != other.keys() or not all(np.array_equal(one[name], other[name]) for name in one):
            raise InputError("the statistics of lines are not those of SacreBLEU")
    return measure(plain, fast, rounds)


def compare_scores(hypotheses: Sequence[Sequence[str]], references: Sequence[str], rounds: int) -> dict[str, float]:
    """Compare the scores of several directions with the same references.

    Raises:
        InputError: the versions differ.
    """

    def plain() -> list[list[float]]:
        return [
            [metric.corpus_score(list(lines), [list(references)]).score for metric in metrics(DIRECTION).values()]
            for lines in hypotheses
        ]

    def fast() -> list[list[float]]:
        return [[score.value for score in translation_scores(lines, references, DIRECTION)] for lines in hypotheses]

    if plain() != fast():
        raise InputError("the scores are not those of SacreBLEU with the references of each direction")
    return measure(plain, fast, rounds)


def compare_identifiers(identifier: Identifier, lines: Sequence[str], rounds: int) -> dict[str, float]:
    """Compare the languages of lines.

    Raises:
        InputError: the versions differ.
    """
    library = identifier._library  # type: ignore[attr-defined]
    if identifier.identify(lines) != identify(library, lines):
        raise InputError("the languages of lines are not those of py3langid")
    return measure(lambda: identify(library, lines), lambda: identifier.identify(lines), rounds)


def compare_tables(block: Block, rounds: int) -> dict[str, float]:
    """Compare the cells of a table.

    Raises:
        InputError: the versions differ.
    """
    if block.table() != table_by_cells(block):
        raise InputError("the cells of a table are not those that are looked up one by one")
    return measure(lambda: table_by_cells(block), block.table, rounds)


def main() -> None:
    """Compare all pairs, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="output file; the results are printed in any case")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of every measurement")
    parser.add_argument("--lines", type=int, default=LINES, help="lines of each system")
    parser.add_argument("--directions", type=int, default=DIRECTIONS, help="directions of the table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_outputs(folder, list(CODES)[:2], arguments.lines)
        references = read_lines(folder / f"test/{DIRECTION}.ref.txt")
        hypotheses = [read_lines(folder / f"decode/{system}/{DIRECTION}.txt") for system in SYSTEMS]
    every_line = [line for lines in hypotheses for line in lines]
    results = {
        "lines": len(every_line),
        "statistics": compare_statistics(hypotheses, references, arguments.rounds),
        "scores": compare_scores(hypotheses, references, arguments.rounds),
        PY3LANGID: compare_identifiers(load_identifier(PY3LANGID), every_line, arguments.rounds),
        "cells": arguments.directions * len(SYSTEMS),
        "table": compare_tables(make_block(arguments.directions), arguments.rounds),
        "machine": cpu_model(),
    }
    text = json.dumps(results, indent=2)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    run_step(main)
