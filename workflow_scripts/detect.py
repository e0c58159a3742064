"""Identify the language of every output line, and compute the off-target scores of every direction."""

import argparse
from pathlib import Path

from .lat.data.lid import load_identifier
from .lat.evaluation.offtarget import ClassifiedLine, Verdict, classify, cross_check_scores, off_target_scores
from .lat.files import SCORE_COLUMNS, InputError, read_lines, write_table
from .lat.runtime import log, run_step

COLUMNS = ("direction", "line", "label", "score", "verdict", "copy")


def main() -> None:
    """Parse the flags, classify the output lines, and write the table of lines and the table of scores.

    Raises:
        InputError: two identifiers have the same name, or every output line of every direction is empty.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="folder with the files <direction><suffix>")
    parser.add_argument("--suffix", default=".txt", help="`.txt` for hypotheses, `.ref.txt` for references")
    parser.add_argument("--sources", type=Path, required=True, help="folder with the files <direction>.src.txt")
    parser.add_argument("--directions", nargs="+", required=True)
    parser.add_argument(
        "--lid",
        nargs="+",
        required=True,
        help="fastText model files or `py3langid`; the first one assigns the verdicts, the others are cross-checks",
    )
    parser.add_argument("--lines", type=Path, required=True, help="output table, one row per output line")
    parser.add_argument("--scores", type=Path, required=True, help="output table, several scores per direction")
    arguments = parser.parse_args()

    identifier, *others = [load_identifier(name) for name in arguments.lid]
    # The name of a cross-check is a column of the one table and a part of metrics in the other.
    names = [*COLUMNS, *(other.name for other in others)]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise InputError(f"--lid: two columns of the table of lines would be called `{twice}`; rename the model file")
    line_rows, score_rows = [], []
    for direction in arguments.directions:
        outputs = read_lines(arguments.folder / f"{direction}{arguments.suffix}")
        sources = read_lines(arguments.sources / f"{direction}.src.txt")
        lines = classify(identifier.identify(outputs), outputs, sources, direction)
        scores = off_target_scores(lines, outputs, direction)
        with_signature = [(score, identifier.signature) for score in scores]
        labels = {}
        for other in others:
            labels[other.name] = [label for label, _ in other.identify(outputs)]
            scores = cross_check_scores(lines, labels[other.name], other.name, direction)
            with_signature += [(score, other.signature) for score in scores]
        line_rows += [
            line_row(direction, index, line) | {name: labels[name][index] for name in labels}
            for index, line in enumerate(lines)
        ]
        score_rows += [
            {
                "direction": direction,
                "metric": score.metric,
                "value": f"{score.value:.4f}",
                "n": score.n,
                "signature": signature,
            }
            for score, signature in with_signature
        ]
        log.info("%s: OTR %.1f %% of %d lines", direction, with_signature[0][0].value, len(lines))
    # Only empty outputs in one direction are a valid result; only empty outputs in all directions are a mistake.
    if all(row["verdict"] == Verdict.EMPTY for row in line_rows):
        raise InputError(
            f"{arguments.folder}: every output is empty; look at the model and its prompts, then decode again"
        )
    write_table(arguments.lines, line_rows, (*COLUMNS, *(other.name for other in others)))
    write_table(arguments.scores, score_rows, SCORE_COLUMNS)


def line_row(direction: str, index: int, line: ClassifiedLine) -> dict[str, object]:
    """Return one row of the table of lines; the table counts lines from 1, `index` counts from 0."""
    return {
        "direction": direction,
        "line": index + 1,
        "label": line.label,
        "score": f"{line.score:.4f}",
        "verdict": line.verdict,
        "copy": int(line.copy),
    }


if __name__ == "__main__":
    run_step(main)
