"""Add a prompt with a conflicting instruction to every training sample; source and response stay unchanged."""

import argparse
from collections import Counter
from pathlib import Path
from typing import get_args

from .lat.files import InputError, read_jsonl, write_jsonl
from .lat.languages import split_direction
from .lat.prompts.conflicts import Draw, Instruction, draw_conflicts, translation
from .lat.prompts.templates import add_template_arguments, template_of
from .lat.runtime import log, run_step


def main() -> None:
    """Parse the flags, draw the conflicting instructions, and write the samples.

    Raises:
        InputError: no sample is a translation, but `target` is drawn.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--samples", type=Path, required=True, help="training prompts with the keys direction and source"
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--draw", choices=get_args(Draw), required=True, help="how conflicts are drawn")
    parser.add_argument("--languages", nargs="+", required=True, help="languages that `target` draws from")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument(
        "--translations-only", action="store_true", help="leave out general instructions, as `target` does anyway"
    )
    add_template_arguments(parser)
    arguments = parser.parse_args()

    template = template_of(arguments)
    rows = read_jsonl(arguments.samples)
    if arguments.draw == "target" or arguments.translations_only:
        translations = [row for row in rows if "direction" in row]
        if len(translations) < len(rows):
            reason = "as translations_only says" if arguments.translations_only else "which have no target language"
            log.info("left out %d general instructions, %s", len(rows) - len(translations), reason)
        if not translations:
            raise InputError(f"{arguments.samples}: no sample is a translation; set `conflicts: instruction`")
        rows = translations
    instructions = [
        translation(row["direction"]) if "direction" in row else Instruction(row["instruction"]) for row in rows
    ]
    conflicts = draw_conflicts(instructions, arguments.languages, arguments.draw, arguments.seed)
    write_jsonl(
        arguments.output,
        (
            row
            | {
                "conflict_direction": conflict.direction,
                "conflict": template.render(conflict.text, row["source"]),
            }
            for row, conflict in zip(rows, conflicts, strict=True)
        ),
    )
    # General instructions have no target language that a conflict could name.
    correct = [
        conflict.direction is not None
        and split_direction(conflict.direction)[1] == split_direction(instruction.direction)[1]
        for instruction, conflict in zip(instructions, conflicts, strict=True)
        if instruction.direction
    ]
    log.info("%d conflicts", len(conflicts))
    if correct:
        share = 100 * sum(correct) / len(correct)
        log.info("%.1f %% of the conflicts of translations name the correct target language", share)
    for direction, count in sorted(Counter(conflict.direction or "general" for conflict in conflicts).items()):
        log.info("  %s %d", direction, count)


if __name__ == "__main__":
    run_step(main)
