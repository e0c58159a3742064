"""Score the outputs of one system against the references with SacreBLEU."""

import argparse
from pathlib import Path

from .lat.evaluation.scores import by_target, translation_scores
from .lat.files import SCORE_COLUMNS, read_lines, write_table
from .lat.runtime import log, run_step


def main() -> None:
    """Parse the flags, score every direction, and write the table of scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hypotheses", type=Path, required=True, help="folder with the files <direction>.txt")
    parser.add_argument("--references", type=Path, required=True, help="folder with the files <direction>.ref.txt")
    parser.add_argument("--directions", nargs="+", required=True)
    parser.add_argument("--output", type=Path, required=True, help="output table, one row per direction and metric")
    arguments = parser.parse_args()

    rows: dict[str, list[dict[str, object]]] = {}
    for direction in by_target(arguments.directions):
        hypotheses = read_lines(arguments.hypotheses / f"{direction}.txt")
        references = read_lines(arguments.references / f"{direction}.ref.txt")
        scores = translation_scores(hypotheses, references, direction)
        log.info("%s: %s", direction, ", ".join(f"{score.metric} {score.value:.1f}" for score in scores))
        rows[direction] = [
            {
                "direction": direction,
                "metric": score.metric,
                "value": f"{score.value:.4f}",
                "n": len(hypotheses),
                "signature": score.signature,
            }
            for score in scores
        ]
    write_table(arguments.output, [row for name in arguments.directions for row in rows[name]], SCORE_COLUMNS)


if __name__ == "__main__":
    run_step(main)
