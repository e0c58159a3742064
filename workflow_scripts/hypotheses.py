"""Take the translations of a system from outside of the workflow as its outputs."""

import argparse
from pathlib import Path

from .lat.files import InputError, fold, read_lines, replaced_folder, write_lines, write_table
from .lat.runtime import log, run_step


def main() -> None:
    """Parse the flags, and write the translations with one line per line of the test set.

    The output folder appears only when it is complete.

    Raises:
        InputError: a file cannot be read, or has another number of lines than the test set.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hypotheses", type=Path, nargs="+", required=True, help="files, in the order of --directions")
    parser.add_argument("--directions", nargs="+", required=True)
    parser.add_argument("--test", type=Path, required=True, help="folder of the test set, with <direction>.src.txt")
    parser.add_argument("--output", type=Path, required=True, help="folder of <direction>.txt and counts.tsv")
    arguments = parser.parse_args()

    counts = []
    with replaced_folder(arguments.output) as partial:
        for direction, path in zip(arguments.directions, arguments.hypotheses, strict=True):
            # White space of other kinds would be more lines for some readers.
            lines = [fold(line) for line in read_lines(path)]
            expected = len(read_lines(arguments.test / f"{direction}.src.txt"))
            if len(lines) != expected:
                raise InputError(
                    f"{path}: {len(lines)} lines, but the test set of {direction} has {expected}; translate"
                    f" {arguments.test / f'{direction}.src.txt'} line by line"
                )
            write_lines(partial / f"{direction}.txt", lines)
            counts.append({"direction": direction, "lines": len(lines), "empty": lines.count("")})
            log.info("%s: %d lines, %d empty", *counts[-1].values())
        write_table(partial / "counts.tsv", counts, list(counts[0]))


if __name__ == "__main__":
    run_step(main)
