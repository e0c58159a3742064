"""Compute 95 % confidence intervals of all scores, and p-values against the baseline, by paired bootstrap."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from .lat.evaluation.significance import COLUMNS, Key, Outputs, ResampledScore, resample_scores, significance_rows
from .lat.files import InputError, read_lines, write_table
from .lat.reporting.reading import (
    TOLERANCE,
    Lines,
    check_verdicts,
    read_line_scores,
    read_lines_table,
    read_system_scores,
)
from .lat.runtime import log, run_step


def main() -> None:
    """Parse the flags, resample every system, compare each system with the baseline, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--references", type=Path, required=True, help="folder with the files <direction>.ref.txt")
    parser.add_argument(
        "--system",
        nargs="+",
        action="append",
        required=True,
        metavar=("NAME", "FILE"),
        help="name of a system, its folder of files <direction>.txt, its lines.tsv, and score tables to compare with:"
        " BLEU and chrF++, each learned metric in the order of --learned, off-target scores; repeatable",
    )
    parser.add_argument(
        "--learned",
        nargs=3,
        action="append",
        default=[],
        metavar=("SYSTEM", "METRIC", "FILE"),
        help="table with the line scores of one system by one learned metric; repeatable",
    )
    parser.add_argument("--baseline", required=True, help="name of the system that all others are tested against")
    parser.add_argument("--supervised", nargs="*", default=[], help="supervised directions (with training samples)")
    parser.add_argument("--zero-shot", nargs="*", default=[], help="zero-shot directions (without training samples)")
    parser.add_argument("--resamples", type=int, default=1000, help="number of bootstrap resamples")
    parser.add_argument("--seed", type=int, default=0, help="random seed of the resampling")
    parser.add_argument("--output", type=Path, required=True, help="output table, one row per score")
    arguments = parser.parse_args()

    groups = {"supervised": arguments.supervised, "zero-shot": arguments.zero_shot}
    references = {
        direction: read_lines(arguments.references / f"{direction}.ref.txt")
        for members in groups.values()
        for direction in members
    }
    counts = {direction: len(lines) for direction, lines in references.items()}
    systems = {}
    for system, hypotheses, lines_path, *score_paths in arguments.system:
        lines = read_lines_table(Path(lines_path), counts)
        learned = {metric: Path(path) for name, metric, path in arguments.learned if name == system}
        outputs = read_outputs(system, Path(hypotheses), lines, learned, references)
        systems[system] = resample_scores(outputs, groups, arguments.resamples, arguments.seed)
        if score_paths:
            check_scores(list(map(Path, score_paths)), systems[system], lines, list(learned))
        log.info("%s: drew %d resamples for each of %d directions", system, arguments.resamples, len(references))
    write_table(arguments.output, significance_rows(systems, arguments.baseline), COLUMNS)


def read_outputs(
    system: str, hypotheses: Path, lines: Lines, learned: Mapping[str, Path], references: Mapping[str, Sequence[str]]
) -> dict[str, Outputs]:
    """Read the output lines of a system and their learned-metric scores.

    Args:
        system: name of the system.
        hypotheses: folder of its output lines.
        lines: the identified languages of these lines.
        learned: tables with the scores of these lines, by learned metric.
        references: reference lines by direction.

    Returns:
        One `Outputs` per direction.

    Raises:
        InputError: hypotheses or scores of a direction are not as many as the references, or a table is damaged.
    """
    counts = {direction: len(reference_lines) for direction, reference_lines in references.items()}
    line_scores = {metric: read_line_scores(path, counts) for metric, path in learned.items()}
    outputs = {}
    for direction, reference_lines in references.items():
        hypothesis_lines = read_lines(hypotheses / f"{direction}.txt")
        if len(hypothesis_lines) != len(reference_lines):
            raise InputError(
                f"{system} {direction}: {len(hypothesis_lines)} hypotheses for {len(reference_lines)} references;"
                " decode and detect it again"
            )
        labels = [line.label for line in lines.classified[direction]]
        scores = {metric: of_metric[direction] for metric, of_metric in line_scores.items()}
        outputs[direction] = Outputs(hypothesis_lines, reference_lines, labels, scores)
    return outputs


def check_scores(
    paths: Sequence[Path], scores: Mapping[Key, ResampledScore], lines: Lines, learned: Sequence[str]
) -> None:
    """Check that the score tables of a system hold the scores of its outputs.

    Args:
        paths: the table of BLEU and chrF++, one table per learned metric, and the table of off-target scores.
        scores: the scores computed here.
        lines: the identified languages of the output lines.
        learned: names of the learned metrics.

    Raises:
        InputError: a table is damaged, or has a different score, so either the table or the outputs are out of date.
    """
    counts = {direction: len(classified) for direction, classified in lines.classified.items()}
    tables = read_system_scores(paths, learned, counts, list(lines.others))
    check_verdicts(lines, paths[-1], tables[-1])
    computed = {(key.direction, key.metric): score.value for key, score in scores.items()}
    for path, rows in zip(paths, tables, strict=True):
        for row in rows:
            value = computed.get((row["direction"], row["metric"]))
            if value is not None and abs(value - float(row["value"])) > TOLERANCE:
                raise InputError(
                    f"{path}: line {row.line}: {row['metric']} of {row['direction']} is {row['value']}, but its lines"
                    f" score {value:.4f}; delete the table and run again"
                )


if __name__ == "__main__":
    run_step(main)
