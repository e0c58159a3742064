"""Give every training sample a conflicting instruction, source and response unchanged."""

import argparse
from collections import Counter
from pathlib import Path
from typing import get_args

from .lat.files import read_jsonl, write_jsonl
from .lat.languages import split_direction
from .lat.prompts.conflicts import Draw, Instruction, draw_conflicts, translation
from .lat.prompts.prompting import Template
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
    if arguments.draw == "target":
        translations = [row for row in rows if "direction" in row]
        if len(translations) < len(rows):
            log.info("%d general instructions left out: they have no target", len(rows) - len(translations))
        rows = translations
    own = [translation(row["direction"]) if "direction" in row else Instruction(row["instruction"]) for row in rows]
    drawn = draw_conflicts(own, arguments.languages, arguments.draw, arguments.seed)
    write_jsonl(
        arguments.output,
        (
            row
            | {
                "conflict_direction": conflict.direction,
                "conflict": template.render(conflict.text, row["source"]),
            }
            for row, conflict in zip(rows, drawn, strict=True)
        ),
    )
    same_target = sum(
        split_direction(right.direction)[1] == split_direction(wrong.direction)[1]
        for right, wrong in zip(own, drawn, strict=True)
        if right.direction and wrong.direction
    )
    log.info("%d conflicts, %.1f %% still name the right target language", len(rows), 100 * same_target / len(rows))
    for direction, count in sorted(Counter(conflict.direction or "general" for conflict in drawn).items()):
        log.info("  %s %d", direction, count)


if __name__ == "__main__":
    run_step(main)
