"""Compute 95 % confidence intervals of all scores, and p-values against the baseline, by paired bootstrap."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from .lat.evaluation.significance import COLUMNS, Key, Outputs, ResampledScore, resample_scores, significance_rows
from .lat.files import InputError, read_lines, read_table, write_table
from .lat.runtime import log, run_step

# Allowed difference between a score computed here and the score in a score table, which has four decimals.
TOLERANCE = 1e-3


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
        help="name of a system, its folder of files <direction>.txt, its lines.tsv and its score tables; repeatable",
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
    systems = {}
    for system, hypotheses, lines, *scores in arguments.system:
        learned = {metric: Path(path) for name, metric, path in arguments.learned if name == system}
        outputs = read_outputs(system, Path(hypotheses), Path(lines), learned, references)
        systems[system] = resample_scores(outputs, groups, arguments.resamples, arguments.seed)
        check_scores(systems[system], [Path(path) for path in scores])
        log.info("%s: drew %d resamples for each of %d directions", system, arguments.resamples, len(references))
    write_table(arguments.output, significance_rows(systems, arguments.baseline), COLUMNS)


def read_outputs(
    system: str, hypotheses: Path, lines: Path, learned: dict[str, Path], references: dict[str, list[str]]
) -> dict[str, Outputs]:
    """Read the output lines of a system, their identified languages and their learned-metric scores.

    Returns:
        One `Outputs` per direction.

    Raises:
        InputError: hypotheses, labels or scores of a direction are not as many as the references.
    """
    labels: dict[str, list[str]] = {}
    for row in read_table(lines):
        labels.setdefault(row["direction"], []).append(row["label"])
    line_scores: dict[tuple[str, str], list[float]] = {}
    for metric, path in learned.items():
        for row in read_table(path):
            line_scores.setdefault((row["direction"], metric), []).append(float(row["score"]))
    outputs = {}
    for direction, reference_lines in references.items():
        hypothesis_lines = read_lines(hypotheses / f"{direction}.txt")
        scores = {metric: line_scores.get((direction, metric), []) for metric in learned}
        counts = {"hypotheses": len(hypothesis_lines), "labels": len(labels.get(direction, ()))}
        counts |= {f"{metric} scores": len(values) for metric, values in scores.items()}
        for what, count in counts.items():
            if count != len(reference_lines):
                raise InputError(
                    f"{system} {direction}: {count} {what} for {len(reference_lines)} references;"
                    " decode and detect it again"
                )
        outputs[direction] = Outputs(hypothesis_lines, reference_lines, labels[direction], scores)
    return outputs


def check_scores(scores: Mapping[Key, ResampledScore], paths: Sequence[Path]) -> None:
    """Check that the scores computed here from the original lines equal the canonical ones of the score tables.

    Raises:
        InputError: a score table has a different score, so either the table or the outputs are out of date.
    """
    computed = {(key.direction, key.metric): score for key, score in scores.items()}
    for path in paths:
        for row in read_table(path):
            score = computed.get((row["direction"], row["metric"]))
            if score and abs(score.value - float(row["value"])) > TOLERANCE:
                raise InputError(
                    f"{path}: {row['metric']} of {row['direction']} is {row['value']}, but its lines score"
                    f" {score.value:.4f}; delete the table and run again"
                )


if __name__ == "__main__":
    run_step(main)
