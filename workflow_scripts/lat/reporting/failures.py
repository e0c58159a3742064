"""Count in which ways the zero-shot translations of some systems fail, and draw examples of each way.

    python -m workflow_scripts.lat.reporting.failures --base-model gemma3-270m --benchmark demo --seeds 1 2 3 \
        --systems MT LAT --output failures.md

It reads the results of a finished run.
"""

import argparse
import random
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from ..evaluation.offtarget import ClassifiedLine, Verdict
from ..files import InputError, atomic_write, read_lines, read_table
from ..runtime import run_step
from .reading import read_lines_table

# The ways of failing, in the order of the columns, with their headings.
COPY = "copy"
REPETITION = "repetition"
WAYS = {
    Verdict.ENGLISH: "English",
    Verdict.SOURCE: "source language",
    Verdict.OTHER: "another language",
    COPY: "copy of the source",
    REPETITION: "repetition",
    Verdict.NO_WORDS: "no words",
    Verdict.EMPTY: "empty",
}
# A piece of 2 to 40 characters that stands five times in a row, with or without spaces between.
REPEATED = re.compile(r"(\S.{0,38}?\S)(?:\s*\1){4}")
EXAMPLE_LENGTH = 150


class Line(NamedTuple):
    """A translation: where it is, in which way it fails, or None, the identified language, and its texts."""

    system: str
    seed: int
    direction: str
    number: int
    way: str | None
    label: str
    source: str
    output: str


def way_of(line: ClassifiedLine, output: str) -> str | None:
    """Return the way in which a translation fails, one of `WAYS`, or None if it is one in the target language.

    A text that repeats a piece with a letter at least five times in a row is a repetition, whatever its language, since
    language identification says little about it.
    """
    if any(any(map(str.isalpha, piece)) for piece in REPEATED.findall(output)):
        return REPETITION
    if line.copy:
        return COPY
    return None if line.verdict is Verdict.TARGET else line.verdict


def zero_shot_directions(results: Path, base_model: str, benchmark: str) -> list[str]:
    """Return the zero-shot directions of an experiment, in the order of its tables.

    Raises:
        InputError: the tables have none.
    """
    path = results / "tables" / "summary.tsv"
    directions = dict.fromkeys(
        row["direction"]
        for row in read_table(path)
        if (row["base_model"], row["benchmark"], row["supervision"]) == (base_model, benchmark, "zero-shot")
        and row["direction"] != "AVG"
    )
    if not directions:
        raise InputError(f"{path}: no zero-shot directions of {base_model} on {benchmark}; check the names")
    return list(directions)


def read_system(
    results: Path, base_model: str, benchmark: str, system: str, seed: int, directions: Sequence[str]
) -> Iterator[Line]:
    """Yield the translations of a system with one seed.

    Args:
        results: the folder of the results.
        base_model: name of the base model.
        benchmark: name of the benchmark.
        system: name of the system.
        seed: the seed.
        directions: the directions that are read.

    Raises:
        InputError: a file of the run is missing or damaged.
    """
    test, run = results / "download" / benchmark / "test", Path(base_model, benchmark, f"seed{seed}", system)
    outputs = {path.stem: read_lines(path) for path in sorted((results / "decode" / run).glob("*.txt"))}
    missing = sorted(set(directions) - outputs.keys())
    if missing:
        raise InputError(f"{results / 'decode' / run}: no {missing[0]}.txt; check the names, or run the workflow first")
    counts = {direction: len(lines) for direction, lines in outputs.items()}
    classified = read_lines_table(results / "detect" / run / "lines.tsv", counts).classified
    for direction in directions:
        sources = read_lines(test / f"{direction}.src.txt")
        rows = zip(sources, outputs[direction], classified[direction], strict=True)
        for number, (source, output, line) in enumerate(rows, start=1):
            yield Line(system, seed, direction, number, way_of(line, output), line.label, source, output)


def table_of_ways(lines: Sequence[Line]) -> str:
    """Return the share of the translations of each system that fail in each way, as Markdown."""
    ways = [way for way in WAYS if any(line.way == way for line in lines)]
    rows = [
        f"| System | {' | '.join(f'{WAYS[way]} (%)' for way in ways)} |",
        f"| --- |{' ---: |' * len(ways)}",
    ]
    for system in dict.fromkeys(line.system for line in lines):
        counts = Counter(line.way for line in lines if line.system == system)
        rows.append(f"| {system} | {' | '.join(f'{100 * counts[way] / counts.total():.1f}' for way in ways)} |")
    return "\n".join(rows) + "\n"


def examples(lines: Sequence[Line], number: int) -> str:
    """Return some failing translations of each way, drawn from all systems, as Markdown.

    Args:
        lines: translations of all systems.
        number: the largest number of examples of a way.
    """
    sections = []
    for way, heading in WAYS.items():
        found = [line for line in lines if line.way == way]
        drawn = random.Random(1).sample(found, min(number, len(found)))
        rows = [
            f"| {line.system}, {line.seed} | {line.direction} {line.number} "
            f"| {_cell(line.source)} | {_cell(line.output)} | {line.label} |"
            for line in sorted(drawn)
        ]
        head = "| System, seed | line | source | output | identified as |\n| --- | --- | --- | --- | --- |\n"
        if rows:
            sections.append(
                f"**{heading[0].upper()}{heading[1:]}**, {len(found)} lines\n\n{head}" + "\n".join(rows) + "\n"
            )
    return "\n".join(sections)


def _cell(text: str) -> str:
    """Return a text for a cell of a Markdown table; a long one is cut."""
    shown = text if len(text) <= EXAMPLE_LENGTH else f"{text[:EXAMPLE_LENGTH].rstrip()} …"
    return re.sub(r"([\\|*_<`])", r"\\\1", shown)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the flags and write the table and the examples."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of the results")
    parser.add_argument("--base-model", required=True)
    parser.add_argument("--benchmark", required=True)
    parser.add_argument("--systems", nargs="+", required=True)
    parser.add_argument("--seeds", nargs="+", type=int, required=True)
    parser.add_argument("--examples", type=int, default=5, help="number of examples of each way")
    parser.add_argument("--output", type=Path, required=True, help="Markdown file")
    flags = parser.parse_args(arguments)
    experiment = flags.results, flags.base_model, flags.benchmark
    directions = zero_shot_directions(*experiment)
    lines = [
        line
        for system in flags.systems
        for seed in flags.seeds
        for line in read_system(*experiment, system, seed, directions)
    ]
    title = f"# Failures in zero-shot directions: {flags.base_model} on {flags.benchmark}"
    seeds = ", ".join(map(str, flags.seeds))
    with atomic_write(flags.output) as handle:
        handle.write(
            f"{title}\n\nShare of the lines that fail in each way, seeds {seeds}:\n\n"
            f"{table_of_ways(lines)}\n{examples(lines, flags.examples)}"
        )


if __name__ == "__main__":
    run_step(main)
