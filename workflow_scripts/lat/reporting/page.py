"""The HTML page of a run: tables, figures, and a browser of examples, which works offline.

A page with few examples is a single file. Those of large runs are in files beside the page, one per direction, so that
a browser reads no others than those that are shown.
"""

from __future__ import annotations

import base64
import dataclasses
import gzip
import json
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..evaluation.offtarget import Verdict
from ..evaluation.ranking import DEGENERATE_BLEU, is_lower_better
from ..files import InputError, atomic_write, read_lines, read_text
from ..languages import RESOURCES, split_direction
from ..names import AVERAGE, REFERENCE, SHARED
from .formats import MARK, PLUS_MINUS, Cell, Table
from .reading import Experiment, Lines
from .tables import SIGNIFICANT, TABLES, Block, make_blocks, notes

if TYPE_CHECKING:
    import pandas as pd
    from markupsafe import Markup

PAGE = RESOURCES / "page"
# The folder beside the page.
EXAMPLES = "examples"
# One letter per verdict, as page.js expects them.
LETTERS = {
    Verdict.TARGET: "t",
    Verdict.SOURCE: "s",
    Verdict.ENGLISH: "e",
    Verdict.OTHER: "o",
    Verdict.EMPTY: "x",
    Verdict.NO_WORDS: "n",
}

# Bytes of text, of test sets and outputs, up to which all examples are in the page itself. They make a page of about
# 8 MB, which browsers show within two seconds, and which can be sent by mail. The demo has 1 MB.
EXAMPLES_IN_PAGE = 20_000_000

# Sources and references by direction.
Texts = Mapping[str, tuple[Sequence[str], Sequence[str]]]


@dataclass(frozen=True)
class Outputs:
    """The outputs of a run of a system.

    Attributes:
        hypotheses: folder of <direction>.txt.
        labels: the identified languages of all output lines by direction, as many as there are test lines.
        verdicts: the letters of their verdicts, see `LETTERS`.
        percents: the probabilities of these languages in whole percent, one byte per line.
        others: the languages by the identifiers that are cross-checks, by name of the identifier and direction.
    """

    hypotheses: Path
    labels: Mapping[str, Sequence[str]]
    verdicts: Mapping[str, str]
    percents: Mapping[str, bytes]
    others: Mapping[str, Mapping[str, Sequence[str]]]

    @classmethod
    def of_lines(cls, hypotheses: Path, lines: Lines) -> Outputs:
        """Keep what the page shows of a table of lines, which takes much more memory as a whole.

        Args:
            hypotheses: folder of <direction>.txt.
            lines: the table of lines.
        """
        labels = {name: [line.label for line in classified] for name, classified in lines.classified.items()}
        verdicts = {
            name: "".join(LETTERS[line.verdict] for line in classified) for name, classified in lines.classified.items()
        }
        percents = {
            name: bytes(round(100 * line.score) for line in classified) for name, classified in lines.classified.items()
        }
        return cls(hypotheses, labels, verdicts, percents, lines.others)

    def of_direction(self, direction: str) -> list[Any]:
        """Return labels, verdicts, percents, and the labels of each other identifier, as page.js expects them.

        Where another identifier agrees with the first one, as it mostly does, its label is 0: the page becomes smaller.
        """
        labels = self.labels[direction]
        others = {
            name: [0 if other == label else other for label, other in zip(labels, found[direction], strict=True)]
            for name, found in self.others.items()
        }
        return [labels, self.verdicts[direction], list(self.percents[direction]), others]


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


def text_bytes(test: Path, directions: Iterable[str], hypotheses: Iterable[Path]) -> int:
    """Return the size of the texts of an experiment in bytes.

    Args:
        test: folder of <direction>.src.txt and <direction>.ref.txt.
        directions: the directions of the experiment.
        hypotheses: folders of <direction>.txt, one per run of a system.

    Raises:
        InputError: a file is missing.
    """
    names = list(directions)
    paths = [test / f"{name}.{kind}.txt" for name in names for kind in ("src", "ref")]
    paths += [folder / f"{name}.txt" for folder in hypotheses for name in names]
    try:
        return sum(path.stat().st_size for path in paths)
    except OSError as error:
        raise InputError(f"{error.filename}: cannot be read ({error.strerror}); run again") from None


def example_packs(
    name: str, experiment: Experiment, texts: Texts, outputs: Mapping[tuple[str, str], Outputs]
) -> dict[str, Any]:
    """Collect the test lines of an experiment and the outputs of all its runs, in the structure that page.js expects.

    The outputs of each seed are a pack of their own, so that no test line is repeated, and the page unpacks only the
    seed that it shows.

    Args:
        name: number of the experiment, or another name of its directions, which is part of the names of the packs.
        experiment: the experiment, or one with some of its directions.
        texts: sources and references by direction.
        outputs: outputs by system and seed (or `shared`).

    Returns:
        `texts-<name>` has sources and references of each direction, and `outputs-<name>-<seed>` has pairs of a system
        and its output lines of each direction, with what `Outputs.of_direction` returns.

    Raises:
        InputError: a run has more or fewer output lines than there are test lines.
    """
    packs: dict[str, Any] = {f"texts-{name}": [texts[direction] for direction in experiment.directions]}
    for system, runs in experiment.runs.items():
        for run in runs:
            of_run = outputs[system, run]
            of_directions = []
            for direction in experiment.directions:
                path = of_run.hypotheses / f"{direction}.txt"
                hypotheses, count = read_lines(path), len(texts[direction][0])
                if len(hypotheses) != count:
                    raise InputError(
                        f"{path}: {len(hypotheses)} lines for {count} sources; delete the folder and run again"
                    )
                of_directions.append([hypotheses, *of_run.of_direction(direction)])
            packs.setdefault(f"outputs-{name}-{run}", []).append([system, of_directions])
    return packs


def write_examples(
    folder: Path, number: int, experiment: Experiment, test: Path, outputs: Mapping[tuple[str, str], Outputs]
) -> None:
    """Write the examples of an experiment to one file per direction, which page.js loads when they are shown.

    The files are scripts, since a page that is opened from a folder may load scripts from it, but no data.

    Args:
        folder: the folder of all examples.
        number: number of the experiment.
        experiment: the experiment.
        test: folder of <direction>.src.txt and <direction>.ref.txt.
        outputs: outputs by system and seed (or `shared`).

    Raises:
        InputError: see `read_texts` and `example_packs`.
    """
    for position, (direction, supervision) in enumerate(experiment.directions.items()):
        of_direction = dataclasses.replace(experiment, directions={direction: supervision})
        packs = example_packs(f"{number}-{position}", of_direction, read_texts(test, [direction]), outputs)
        packed = {name: pack_data(pack) for name, pack in packs.items()}
        with atomic_write(folder / experiment.base_model / experiment.benchmark / f"{direction}.js") as handle:
            handle.write(f"addPacks({json.dumps(packed)});\n")


def describe_experiment(experiment: Experiment, is_beside: bool = False, pair: Sequence[str] = ()) -> dict[str, Any]:
    """Return systems, runs and directions of an experiment in the structure that page.js expects.

    Args:
        experiment: the experiment.
        is_beside: whether the examples are in files beside the page.
        pair: the two systems whose outputs the page compares first; empty for an experiment of one system.
    """
    return {
        "folder": [EXAMPLES, experiment.base_model, experiment.benchmark] if is_beside else None,
        "name": f"{experiment.base_model} on {experiment.benchmark}",
        "systems": list(experiment.systems),
        "pair": list(pair),
        "seeds": list(experiment.seeds),
        "runs": list(dict.fromkeys(run for runs in experiment.runs.values() for run in runs)),
        "directions": [
            {"name": direction, "supervision": supervision} for direction, supervision in experiment.directions.items()
        ],
    }


@dataclass(frozen=True)
class Results:
    """The scores of a run of the workflow, from which the tables of the page are made.

    Attributes:
        experiments: the experiments.
        scores: all scores, one per row.
        intervals: scores of each run and their means over directions.
        summary: means of these over seeds.
        comparisons: differences between these means.
        metrics: metrics, each of which has one table per experiment and kind of direction.
        baseline: system that the p-values refer to.
        lower_is_better: the learned metrics of which lower is better.
    """

    experiments: Sequence[Experiment]
    scores: pd.DataFrame
    intervals: pd.DataFrame
    summary: pd.DataFrame
    comparisons: pd.DataFrame
    metrics: Sequence[str]
    baseline: str
    lower_is_better: Collection[str] = ()

    @property
    def seeds(self) -> list[str]:
        """Seeds of all experiments, in ascending order."""
        return sorted({seed for experiment in self.experiments for seed in experiment.seeds}, key=int)


def table_packs(results: Results) -> dict[str, dict[str, Any]]:
    """Return the tables of scores and the notes about them, in the structure that page.html.j2 and page.js expect.

    Returns:
        `tables-mean` has the means over seeds and, if there are several seeds, `tables-<seed>` has the scores of each.
        All of them have the same tables in the same order. The tables of an experiment that lacks a seed show the means
        there, and say so.
    """
    means = _blocks(results, results.scores, results.summary)
    of_means = {}
    for key, block in means.items():
        number, kind, metric = key
        remark = best_and_runner_up(results, results.experiments[number], kind, metric)
        of_means[key] = table_of_block(block, TABLES[kind][1]) | {"remark": remark}
    # The page shows intervals as hints of the scores and not in brackets, which a note would explain.
    without_intervals = [dataclasses.replace(block, intervals=None) for block in means.values()]
    packs = {"tables-mean": {"tables": list(of_means.values()), "notes": notes(without_intervals)}}
    for seed in results.seeds if len(results.seeds) > 1 else []:
        blocks = _blocks_of_seed(results, seed)
        tables = []
        for key, mean in of_means.items():
            if key in blocks:
                tables.append(table_of_block(blocks[key], TABLES[key[1]][1]) | {"remark": f"Seed {seed} alone."})
                continue
            seeds = results.experiments[key[0]].seeds
            remark = (
                f"No run of this experiment has the seed {seed}. Shown, as for `mean over seeds`:"
                f" seed{'s' * (len(seeds) > 1)} {', '.join(seeds)}."
            )
            tables.append(mean | {"remark": remark if seeds else "No system of this experiment is trained."})
        packs[f"tables-{seed}"] = {"tables": tables, "notes": _notes_of_seed(results, seed, list(blocks.values()))}
    return packs


def _blocks(results: Results, scores: pd.DataFrame, summary: pd.DataFrame) -> dict[tuple[int, str, str], Block]:
    """Return the blocks of all tables by the number of the experiment, the kind of the directions, and the metric."""
    numbers = {(entry.base_model, entry.benchmark): number for number, entry in enumerate(results.experiments)}
    return {
        (numbers[block.base_model, block.benchmark], kind, block.metric): block
        for kind in TABLES
        for block in make_blocks(
            scores,
            kind,
            results.metrics,
            summary,
            results.baseline,
            with_intervals=True,
            lower_is_better=results.lower_is_better,
        )
    }


def _blocks_of_seed(results: Results, seed: str) -> dict[tuple[int, str, str], Block]:
    """Return the blocks of the tables of one seed, as `_blocks` does, for the experiments that have it."""
    having = {(entry.base_model, entry.benchmark) for entry in results.experiments if seed in entry.seeds}
    scores, intervals = (
        frame.loc[
            [
                (base_model, benchmark) in having and run in (seed, SHARED)
                for base_model, benchmark, run in zip(frame.base_model, frame.benchmark, frame.seed, strict=True)
            ]
        ]
        for frame in (results.scores, results.intervals)
    )
    # The p-values of single runs are not corrected for the number of systems; the note about the marks says so.
    return _blocks(results, scores, intervals.rename(columns={"p": "p_corrected"}))


def _notes_of_seed(results: Results, seed: str, blocks: Sequence[Block]) -> list[str]:
    """Return the notes about the tables of one seed."""
    found = [f"Scores of the runs with seed {seed}; training variance is not covered."]
    if any(seed not in entry.seeds for entry in results.experiments):
        found.append(
            "An experiment without this seed is shown with its means over seeds; there, ± is the standard deviation and"
            f" {MARK} the test over seeds, corrected for the number of systems (Holm)."
        )
    if any(SHARED in runs for entry in results.experiments for runs in entry.runs.values()):
        found.append("Systems on the untrained base model have the same scores for every seed.")
    if any(block.has_baseline for block in blocks):
        found.append(
            f"{MARK} differs significantly from {results.baseline} (paired bootstrap over the test sentences within"
            f" this seed, p < {SIGNIFICANT}, not corrected for the number of systems)."
        )
    return found


def best_and_runner_up(results: Results, experiment: Experiment, supervision: str, metric: str) -> str:
    """Return a sentence about the best system and the runner-up by the mean over directions and seeds.

    Systems with a mean BLEU below `DEGENERATE_BLEU` do not count. The sentence is empty if fewer than two are left.

    Args:
        results: the scores.
        experiment: the experiment.
        supervision: kind of the directions.
        metric: the metric.
    """

    def averages(frame: pd.DataFrame, name: str) -> list[dict[Any, Any]]:
        values = {"base_model": experiment.base_model, "benchmark": experiment.benchmark, "supervision": supervision}
        values |= {"direction": AVERAGE, "metric": name}
        selected = (frame[list(values)] == list(values.values())).all(axis=1)
        return frame[selected].to_dict("records")

    bleu = {row["system"]: row["mean"] for row in averages(results.summary, "BLEU")}
    means = {row["system"]: row["mean"] for row in averages(results.summary, metric)}
    candidates = [system for system in experiment.systems if bleu[system] >= DEGENERATE_BLEU]
    lower_is_better = is_lower_better(metric, results.lower_is_better)
    # The step `significance` compares the same two. The sort is stable: of equal systems, the first one is the better.
    ranked = sorted(candidates, key=lambda system: means[system], reverse=not lower_is_better)
    if len(ranked) < 2:
        return ""
    best, second, *_ = ranked
    pairs = {(row["system"], row["baseline"]): row for row in averages(results.comparisons, metric)}
    row = pairs.get((best, second)) or pairs[second, best]
    # All numbers are given as the advantage of the best system.
    sign = (1 if row["system"] == best else -1) * (-1 if lower_is_better else 1)
    # Adding zero removes the sign of a rounded zero.
    advantage, *bounds = (f"{round(sign * row[name], 1) + 0.0:.1f}" for name in ("difference", "low", "high"))
    low, high = bounds if sign > 0 else reversed(bounds)
    seeds = len({*experiment.runs[best], *experiment.runs[second]} - {SHARED})
    count = f"; {seeds} training seeds" if seeds > 1 else "; one training seed" if seeds else ""
    return (
        f"Best mean over directions: {best}. Its {metric} is {advantage}"
        f" {'lower' if lower_is_better else 'higher'} than that of the runner-up, {second} (95 % interval"
        f" {low} to {high}; {_p_text(row['p'])}, corrected for several tests:"
        f" {_p_text(row['p_corrected'])}{count})."
    )


def _p_text(p: float) -> str:
    return f"p = {p:.3f}" if p >= 0.001 else "p < 0.001"


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
            "spread": "" if cell.spread is None else f"{PLUS_MINUS} {cell.spread:.1f}",
            "hint": f"95 % interval {bounds[0]:.1f} to {bounds[1]:.1f}" if bounds else "",
            "interval": f"[{bounds[0]:.1f}, {bounds[1]:.1f}]" if bounds else "",
        }

    return {
        "title": table.title,
        "header": list(table.header),
        "rows": [{"system": name.text, "cells": list(map(cell_of, cells))} for name, *cells in table.rows],
        "note": table.note,
        "remark": "",
    }


def signatures(scores: pd.DataFrame) -> list[tuple[str, str]]:
    """List the metrics and their signatures.

    A metric whose signature depends on the target language is listed once per signature, with the target languages.
    """
    targets_of: dict[tuple[str, str], list[str]] = {}
    columns = ["metric", "signature", "direction"]
    for metric, signature, direction in scores.loc[scores.system != REFERENCE, columns].drop_duplicates().to_numpy():
        target = split_direction(direction)[1]
        targets = targets_of.setdefault((metric, signature), [])
        if target not in targets:
            targets.append(target)
    several = {metric for metric, _ in targets_of if sum(metric == other for other, _ in targets_of) > 1}
    return [
        (f"{metric} into {' '.join(targets)}" if metric in several else metric, signature)
        for (metric, signature), targets in targets_of.items()
    ]


def inline_svg(path: Path, number: int, name: str) -> Markup:
    """Return an SVG file as markup for the page: an image with a name, and its number as a prefix of all ids.

    Different SVG files use the same ids, but ids must be unique within a page.

    Raises:
        InputError: the file is no whole SVG file.
    """
    from markupsafe import Markup

    text = read_text(path)
    start, end = text.find("<svg"), text.rfind("</svg>")
    if not 0 <= start < end:
        raise InputError(f"{path}: no whole SVG file; delete it and run again")
    # Only tags have ids; the same words may occur in the text between them.
    found = re.sub(r"<[^>]*>", lambda tag: re.sub(r'(\bid="|url\(#|href="#)', rf"\1f{number}-", tag[0]), text[start:])
    return Markup('<svg role="img" aria-label="{}"').format(name) + Markup(found.removeprefix("<svg"))


def first_sentence(caption: str) -> str:
    """Return the first sentence of a caption, which names the figure."""
    return caption.split(". ")[0].rstrip(".")


def render(**content: Any) -> str:
    """Render the HTML page.

    Args:
        content: the variables of page.html.j2. Each of `packs`, the data of page.js by their names, is compressed; all
            other values are passed on unchanged.
    """
    import jinja2
    from markupsafe import Markup

    library = files("itables") / "html"
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(PAGE), autoescape=True, trim_blocks=True, undefined=jinja2.StrictUndefined
    )
    content["has_intervals"] = any(
        cell["interval"] for table in content["tables"] for row in table["rows"] for cell in row["cells"]
    )
    content["packs"] = {name: Markup(pack_data(pack)) for name, pack in content["packs"].items()}
    return environment.get_template("page.html.j2").render(
        css=Markup((PAGE / "page.css").read_text(encoding="utf-8")),
        js=Markup((PAGE / "page.js").read_text(encoding="utf-8")),
        # DataTables, the library that makes tables sortable, as bundled in the package itables.
        table_css=Markup((library / "dt_bundle.css").read_text(encoding="utf-8")),
        library=Markup(_packed((library / "dt_bundle.js").read_text(encoding="utf-8"))),
        **content,
    )


def pack_data(data: Any) -> str:
    """Return data as text that `unpack` of page.js reads; it has no characters with a meaning in HTML or scripts."""
    return _packed(json.dumps(data, ensure_ascii=False, separators=(",", ":")))


def _packed(text: str) -> str:
    # mtime=0 leaves out the time stamp, so that the same run gives the same page.
    return base64.b64encode(gzip.compress(text.encode("utf-8"), 6, mtime=0)).decode("ascii")
