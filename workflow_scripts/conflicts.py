"""Give every training sample a conflicting instruction, source and response unchanged."""

import argparse
from collections import Counter
from pathlib import Path
from typing import get_args

from .lat.conflicts import Draw, draw_conflicts
from .lat.files import read_jsonl, write_jsonl
from .lat.languages import split_direction
from .lat.prompting import Template, translation_instruction
from .lat.runtime import log, run_step


def main() -> None:
    """Parse the flags, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--samples", type=Path, required=True, help="training prompts with direction and source")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--draw", choices=get_args(Draw), required=True)
    parser.add_argument("--languages", nargs="+", required=True, help="languages `target` draws from")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--instruction-position", choices=("before", "after"), default="before")
    parser.add_argument("--no-preamble", action="store_true")
    arguments = parser.parse_args()

    template = Template(arguments.instruction_position, preamble=not arguments.no_preamble)
    rows = read_jsonl(arguments.samples)
    drawn = draw_conflicts([row["direction"] for row in rows], arguments.languages, arguments.draw, arguments.seed)
    write_jsonl(
        arguments.output,
        (
            row
            | {
                "conflict_direction": direction,
                "conflict": template.render(translation_instruction(direction), row["source"]),
            }
            for row, direction in zip(rows, drawn, strict=True)
        ),
    )
    same_target = sum(
        split_direction(row["direction"])[1] == split_direction(direction)[1]
        for row, direction in zip(rows, drawn, strict=True)
    )
    log.info("%d conflicts, %.1f %% still name the right target language", len(rows), 100 * same_target / len(rows))
    for direction, count in sorted(Counter(drawn).items()):
        log.info("  %s %d", direction, count)


if __name__ == "__main__":
    run_step(main)
