"""Score the outputs of one system with spBLEU, and with BLEU, chrF++ and spBLEU on their on-target lines."""

import argparse
import tempfile
from pathlib import Path

from .lat.evaluation.further import FURTHER_METRICS, further_scores, needs_sentencepiece, offer_sentencepiece
from .lat.evaluation.offtarget import target_labels
from .lat.files import SCORE_COLUMNS, read_lines, write_table
from .lat.reporting.reading import read_lines_table
from .lat.runtime import log, run_step


def main() -> None:
    """Parse the flags, score every direction, and write the table of scores."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--metrics", nargs="+", required=True, choices=FURTHER_METRICS)
    parser.add_argument("--hypotheses", type=Path, required=True, help="folder with the files <direction>.txt")
    parser.add_argument("--references", type=Path, required=True, help="folder with the files <direction>.ref.txt")
    parser.add_argument("--lines", type=Path, required=True, help="table of the identified languages of the lines")
    parser.add_argument("--sentencepiece", type=Path, help="SentencePiece model of spBLEU")
    parser.add_argument("--directions", nargs="+", required=True)
    parser.add_argument("--output", type=Path, required=True, help="output table, one row per direction and metric")
    arguments = parser.parse_args()
    if needs_sentencepiece(arguments.metrics) and arguments.sentencepiece is None:
        parser.error("--sentencepiece: spBLEU needs a model")

    with tempfile.TemporaryDirectory() as folder:
        if needs_sentencepiece(arguments.metrics):
            offer_sentencepiece(arguments.sentencepiece, Path(folder))
        references = {name: read_lines(arguments.references / f"{name}.ref.txt") for name in arguments.directions}
        identified = read_lines_table(arguments.lines, {name: len(lines) for name, lines in references.items()})
        rows = []
        for direction in arguments.directions:
            hypotheses = read_lines(arguments.hypotheses / f"{direction}.txt")
            on_target = [line.label in target_labels(direction) for line in identified.classified[direction]]
            scores = further_scores(arguments.metrics, hypotheses, references[direction], on_target, direction)
            log.info(
                "%s: %s", direction, ", ".join(f"{score.metric} {score.value:.1f} ({score.n})" for score in scores)
            )
            rows += [{"direction": direction, **score._asdict(), "value": f"{score.value:.4f}"} for score in scores]
    write_table(arguments.output, rows, SCORE_COLUMNS)


if __name__ == "__main__":
    run_step(main)
