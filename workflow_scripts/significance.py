"""Compute 95 % intervals of all scores, and p-values of every system against the baseline, by paired bootstrap."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from .lat.evaluation.significance import COLUMNS, Key, Outputs, Resampled, resampled, significance_rows
from .lat.files import InputError, read_lines, read_table, write_table
from .lat.runtime import log, run_step

# The resampled statistics of a system must give the score of its own table, which has four decimals.
TOLERANCE = 1e-3


def main() -> None:
    """Parse the flags, resample every system, compare each with the baseline, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--references", type=Path, required=True, help="folder of <direction>.ref.txt")
    parser.add_argument(
        "--system",
        nargs="+",
        action="append",
        required=True,
        metavar=("NAME", "FILE"),
        help="name of a system, its folder of <direction>.txt, its lines.tsv and its score tables; several times",
    )
    parser.add_argument(
        "--learned",
        nargs=3,
        action="append",
        default=[],
        metavar=("SYSTEM", "METRIC", "FILE"),
        help="a table of the line scores of a learned metric; several times",
    )
    parser.add_argument("--baseline", required=True, help="system that the others are tested against")
    parser.add_argument("--supervised", nargs="*", default=[], help="directions with training samples")
    parser.add_argument("--zero-shot", nargs="*", default=[], help="directions without")
    parser.add_argument("--resamples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    groups = {"supervised": arguments.supervised, "zero-shot": arguments.zero_shot}
    references = {
        direction: read_lines(arguments.references / f"{direction}.ref.txt")
        for listed in groups.values()
        for direction in listed
    }
    systems = {}
    for system, hypotheses, lines, *scores in arguments.system:
        learned = {metric: Path(path) for name, metric, path in arguments.learned if name == system}
        outputs = read_outputs(system, Path(hypotheses), Path(lines), learned, references)
        systems[system] = resampled(outputs, groups, arguments.resamples, arguments.seed)
        check_scores(systems[system], [Path(path) for path in scores])
        log.info("%s: %d resamples of %d directions", system, arguments.resamples, len(references))
    write_table(arguments.output, significance_rows(systems, arguments.baseline), COLUMNS)


def read_outputs(
    system: str, hypotheses: Path, lines: Path, learned: dict[str, Path], references: dict[str, list[str]]
) -> dict[str, Outputs]:
    """Read the output lines of a system, their verdicts and their scores by learned metrics, by direction.

    Raises:
        InputError: the number of lines of a direction differs from the number of references.
    """
    verdicts: dict[str, list[str]] = {}
    for row in read_table(lines):
        verdicts.setdefault(row["direction"], []).append(row["verdict"])
    line_scores: dict[tuple[str, str], list[float]] = {}
    for metric, path in learned.items():
        for row in read_table(path):
            line_scores.setdefault((row["direction"], metric), []).append(float(row["score"]))
    outputs = {}
    for direction, reference_lines in references.items():
        hypothesis_lines = read_lines(hypotheses / f"{direction}.txt")
        scores = {metric: line_scores.get((direction, metric), []) for metric in learned}
        counts = {"hypotheses": len(hypothesis_lines), "verdicts": len(verdicts.get(direction, ()))}
        counts |= {f"{metric} scores": len(values) for metric, values in scores.items()}
        for what, count in counts.items():
            if count != len(reference_lines):
                raise InputError(
                    f"{system} {direction}: {count} {what} for {len(reference_lines)} references;"
                    " decode and detect it again"
                )
        outputs[direction] = Outputs(hypothesis_lines, reference_lines, verdicts[direction], scores)
    return outputs


def check_scores(scores: Mapping[Key, Resampled], paths: Sequence[Path]) -> None:
    """Compare the scores of the unresampled lines with those of the score tables, which are the canonical ones.

    Raises:
        InputError: a table has another score for the same lines, so that one of the two is out of date.
    """
    own = {(key.direction, key.metric): found for key, found in scores.items()}
    for path in paths:
        for row in read_table(path):
            found = own.get((row["direction"], row["metric"]))
            if found and abs(found.value - float(row["value"])) > TOLERANCE:
                raise InputError(
                    f"{path}: {row['metric']} of {row['direction']} is {row['value']}, but its lines score"
                    f" {found.value:.4f}; delete the table and run again"
                )


if __name__ == "__main__":
    run_step(main)
