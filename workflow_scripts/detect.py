"""Identify the language of every output line and count the off-target ones."""

import argparse
from pathlib import Path

from .lat.files import read_lines, sha256, write_table
from .lat.languages import languages, split_direction
from .lat.lid import LanguageIdentifier
from .lat.runtime import log, run_step
from .lat.scores import SCORE_COLUMNS, off_target_ratio


def main() -> None:
    """Parse the flags, identify, write the table of lines and the off-target ratio of each direction."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="folder of <direction><suffix>")
    parser.add_argument("--suffix", default=".txt", help="`.txt` for hypotheses, `.ref.txt` for references")
    parser.add_argument("--directions", nargs="+", required=True)
    parser.add_argument("--lid", type=Path, required=True, help="fastText model file")
    parser.add_argument("--lines", type=Path, required=True, help="table of labels, a row an output line")
    parser.add_argument("--scores", type=Path, required=True, help="table of off-target ratios, a row a direction")
    arguments = parser.parse_args()

    identifier = LanguageIdentifier(arguments.lid)
    signature = f"lid:{arguments.lid.name}|sha256:{sha256(arguments.lid)[:12]}|top:1"
    lines, scores = [], []
    for direction in arguments.directions:
        target = languages()[split_direction(direction)[1]].lid
        found = identifier.identify(read_lines(arguments.folder / f"{direction}{arguments.suffix}"))
        lines += [
            {"direction": direction, "line": number, "label": label, "score": f"{score:.4f}"}
            for number, (label, score) in enumerate(found, 1)
        ]
        ratio = off_target_ratio([label for label, _ in found], target)
        scores.append(
            {"direction": direction, "metric": "OTR", "value": f"{ratio:.4f}", "n": len(found), "signature": signature}
        )
        log.info("%s: OTR %.1f of %d lines", direction, ratio, len(found))
    write_table(arguments.lines, lines, ("direction", "line", "label", "score"))
    write_table(arguments.scores, scores, SCORE_COLUMNS)


if __name__ == "__main__":
    run_step(main)
