"""How sure is a figure? 95 % intervals of every one, and p-values of every system against the baseline."""

import argparse
from pathlib import Path

from .lat.evaluation.significance import COLUMNS, Outputs, resampled, significance_rows
from .lat.files import InputError, read_lines, read_table, write_table
from .lat.runtime import log, run_step


def main() -> None:
    """Parse the flags, resample every system, compare each with the baseline, write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--decode", type=Path, required=True, help="folder <system>/<direction>.txt")
    parser.add_argument("--detect", type=Path, required=True, help="folder <system>/lines.tsv")
    parser.add_argument("--references", type=Path, required=True, help="folder of <direction>.ref.txt")
    parser.add_argument("--systems", nargs="+", required=True)
    parser.add_argument("--baseline", required=True, help="system the others are tested against")
    parser.add_argument("--supervised", nargs="*", default=[], help="directions that were trained on")
    parser.add_argument("--zero-shot", nargs="*", default=[], help="directions that were not")
    parser.add_argument("--score", type=Path, help="folder <system>.<learned metric>.lines.tsv")
    parser.add_argument("--learned", nargs="*", default=[], help="names of learned metrics")
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
    for system in arguments.systems:
        verdicts: dict[str, list[str]] = {}
        for row in read_table(arguments.detect / system / "lines.tsv"):
            verdicts.setdefault(row["direction"], []).append(row["verdict"])
        learned: dict[tuple[str, str], list[float]] = {}
        for name in arguments.learned:
            for row in read_table(arguments.score / f"{system}.{name}.lines.tsv"):
                learned.setdefault((row["direction"], name), []).append(float(row["score"]))
        outputs = {}
        for direction, lines in references.items():
            hypotheses = read_lines(arguments.decode / system / f"{direction}.txt")
            scores = {name: learned.get((direction, name), []) for name in arguments.learned}
            counts = {"hypotheses": len(hypotheses), "verdicts": len(verdicts.get(direction, ()))}
            counts |= {f"{name} scores": len(its) for name, its in scores.items()}
            for what, count in counts.items():
                if count != len(lines):
                    raise InputError(
                        f"{system} {direction}: {count} {what} for {len(lines)} references; decode and detect it again"
                    )
            outputs[direction] = Outputs(hypotheses, lines, verdicts[direction], scores)
        systems[system] = resampled(outputs, groups, arguments.resamples, arguments.seed)
        log.info("%s: %d resamples of %d directions", system, arguments.resamples, len(references))
    write_table(arguments.output, significance_rows(systems, arguments.baseline), COLUMNS)


if __name__ == "__main__":
    run_step(main)
