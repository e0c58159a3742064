"""Draw the tables at a glance and the losses of every training."""

import argparse
import os
from pathlib import Path

import pandas as pd

from .lat.charts import losses_figure, off_target_figure
from .lat.files import read_table
from .lat.runtime import run_step

SUFFIXES = ("svg", "png", "pdf")


def main() -> None:
    """Parse the flags, draw each figure, save it for screen and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scores", type=Path, required=True, help="long table of figures")
    parser.add_argument("--step-logs", type=Path, nargs="*", default=[], help="tables of losses, a row a step")
    parser.add_argument("--titles", nargs="*", default=[], help="what each step log is of")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    scores = pd.DataFrame(read_table(arguments.scores)).astype({"value": float})
    logs = {
        title: pd.DataFrame(read_table(path), dtype=float)
        for title, path in zip(arguments.titles, arguments.step_logs, strict=True)
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, figure in (("off_target", off_target_figure(scores)), ("losses", losses_figure(logs))):
        for suffix in SUFFIXES:
            partial = arguments.output / f".{name}.{os.getpid()}.{suffix}"
            # No date in the file: the same figures give the same bytes.
            metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {}}[suffix]
            figure.savefig(partial, dpi=160, bbox_inches="tight", metadata=metadata)
            partial.rename(arguments.output / f"{name}.{suffix}")


if __name__ == "__main__":
    run_step(main)
