"""Identify the language of every output line, and compute off-target scores and code-switching rates of directions."""

import argparse
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import islice
from pathlib import Path

from .lat.data.lid import load_identifier
from .lat.evaluation.offtarget import (
    ClassifiedLine,
    OffTargetScore,
    Verdict,
    classify,
    cross_check_scores,
    off_target_scores,
)
from .lat.evaluation.switching import switching_scores
from .lat.files import SCORE_COLUMNS, InputError, atomic_write, fold, read_lines, write_table
from .lat.runtime import log, run_step

COLUMNS = ("direction", "line", "label", "score", "verdict", "copy")
BATCH = 4096


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
    score_rows: list[dict[str, object]] = []
    has_text = False
    with atomic_write(arguments.lines) as handle:
        handle.write("\t".join(map(fold, names)) + "\n")
        for batch in read_batches(arguments.folder, arguments.suffix, arguments.sources, arguments.directions):
            outputs = [line for _, of_direction, _ in batch for line in of_direction]
            predictions = iter(identifier.identify(outputs))
            labels_of = {other.name: iter([label for label, _ in other.identify(outputs)]) for other in others}
            for direction, of_direction, sources in batch:
                count = len(of_direction)
                lines = classify(list(islice(predictions, count)), of_direction, sources, direction)
                has_text = has_text or any(line.verdict != Verdict.EMPTY for line in lines)
                own = off_target_scores(lines, of_direction, direction)
                own += switching_scores(lines, of_direction, sources, direction, identifier)
                found = [(score, identifier.signature) for score in own]
                labels = {name: list(islice(of_other, count)) for name, of_other in labels_of.items()}
                for other in others:
                    scores = cross_check_scores(lines, labels[other.name], other.name, direction)
                    found += [(score, other.signature) for score in scores]
                handle.writelines(line_rows(direction, lines, list(labels.values())))
                score_rows += [score_row(direction, score, signature) for score, signature in found]
                log.info("%s: OTR %.1f %% of %d lines", direction, found[0][0].value, count)
        # Only empty outputs in one direction are a valid result; only empty outputs in all directions are a mistake.
        if not has_text:
            raise InputError(
                f"{arguments.folder}: every output is empty; look at the model and its prompts, then decode again"
            )
    write_table(arguments.scores, score_rows, SCORE_COLUMNS)


def read_batches(
    folder: Path, suffix: str, sources: Path, directions: Sequence[str]
) -> Iterator[list[tuple[str, list[str], list[str]]]]:
    """Read output and source lines, and yield directions with their lines in batches of at least `BATCH` output lines.

    Identifiers are faster if they get more lines at once, and all lines of a large benchmark would take much memory.
    """
    batch, count = [], 0
    for direction in directions:
        outputs = read_lines(folder / f"{direction}{suffix}")
        batch.append((direction, outputs, read_lines(sources / f"{direction}.src.txt")))
        count += len(outputs)
        if count >= BATCH:
            yield batch
            batch, count = [], 0
    if batch:
        yield batch


def line_rows(direction: str, lines: Sequence[ClassifiedLine], others: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the rows of one direction in the table of lines, which counts lines from 1.

    Args:
        direction: the direction.
        lines: its output lines.
        others: the labels of the lines by each of the identifiers that are cross-checks.
    """
    # A label of a model may be any text, and most labels occur in many lines.
    text = cache(fold)
    for number, (line, *labels) in enumerate(zip(lines, *others, strict=True), 1):
        row = f"{direction}\t{number}\t{text(line.label)}\t{line.score:.4f}\t{line.verdict}\t{int(line.copy)}"
        yield "\t".join([row, *map(text, labels)]) + "\n"


def score_row(direction: str, score: OffTargetScore, signature: str) -> dict[str, object]:
    """Return one row of the table of scores."""
    return {
        "direction": direction,
        "metric": score.metric,
        "value": f"{score.value:.4f}",
        "n": score.n,
        "signature": signature,
    }


if __name__ == "__main__":
    run_step(main)
