"""Identify the language of every output line, count the off-target ones and say what they were instead."""

import argparse
from pathlib import Path

from .lat.data.lid import load_identifier
from .lat.evaluation.offtarget import Line, Verdict, agreement, classify, off_target_scores
from .lat.files import SCORE_COLUMNS, InputError, read_lines, write_table
from .lat.runtime import log, run_step

COLUMNS = ("direction", "line", "label", "score", "verdict", "copy")


def main() -> None:
    """Parse the flags, identify, write the table of lines and the measured of each direction."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="folder of <direction><suffix>")
    parser.add_argument("--suffix", default=".txt", help="`.txt` for hypotheses, `.ref.txt` for references")
    parser.add_argument("--sources", type=Path, required=True, help="folder of <direction>.src.txt")
    parser.add_argument("--directions", nargs="+", required=True)
    parser.add_argument(
        "--lid", nargs="+", required=True, help="fastText model files or `py3langid`; the first decides, others check"
    )
    parser.add_argument("--lines", type=Path, required=True, help="table of labels, a row an output line")
    parser.add_argument("--scores", type=Path, required=True, help="table of off-target measured, several a direction")
    arguments = parser.parse_args()

    identifier, *others = [load_identifier(name) for name in arguments.lid]
    lines, scores = [], []
    for direction in arguments.directions:
        outputs = read_lines(arguments.folder / f"{direction}{arguments.suffix}")
        sources = read_lines(arguments.sources / f"{direction}.src.txt")
        classified = classify(identifier.identify(outputs), outputs, sources, direction)
        measured = [(score, identifier.signature) for score in off_target_scores(classified, outputs, direction)]
        labels = {}
        for other in others:
            found = other.identify(outputs)
            labels[other.name] = [label for label, _ in found]
            ratio = off_target_scores(classify(found, outputs, sources, direction), outputs, direction)[0]
            measured += [
                (score._replace(metric=f"{score.metric}:{other.name}"), other.signature)
                for score in (ratio, agreement(classified, found))
            ]
        lines += [
            row_of(direction, number, line) | {name: labels[name][number] for name in labels}
            for number, line in enumerate(classified)
        ]
        scores += [
            {"direction": direction, "metric": its.metric, "value": f"{its.value:.4f}", "n": its.n, "signature": made}
            for its, made in measured
        ]
        log.info("%s: OTR %.1f of %d lines", direction, measured[0][0].value, len(classified))
    # One direction without a word is a finding; a system without any is a mistake.
    if all(line["verdict"] == Verdict.EMPTY for line in lines):
        raise InputError(
            f"{arguments.folder}: every output is empty; look at the model and its prompts, then decode again"
        )
    write_table(arguments.lines, lines, (*COLUMNS, *(other.name for other in others)))
    write_table(arguments.scores, scores, SCORE_COLUMNS)


def row_of(direction: str, number: int, line: Line) -> dict[str, object]:
    """A row of the table of lines."""
    return {
        "direction": direction,
        "line": number + 1,
        "label": line.label,
        "score": f"{line.score:.4f}",
        "verdict": line.verdict,
        "copy": int(line.copy),
    }


if __name__ == "__main__":
    run_step(main)
