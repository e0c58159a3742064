"""Add a prompt with a conflicting instruction to every training sample; source and response stay unchanged."""

import argparse
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from .lat.files import InputError, read_jsonl, write_jsonl
from .lat.languages import split_direction
from .lat.prompts.conflicts import (
    Confusion,
    Draw,
    Instruction,
    count_confusion,
    draw_conflicts,
    translation,
    wrong_targets,
)
from .lat.prompts.off_targets import read_outputs
from .lat.prompts.templates import add_template_arguments, template_of
from .lat.runtime import log, run_step


def main() -> None:
    """Parse the flags, draw the conflicting instructions, and write the samples.

    Raises:
        InputError: no sample is a translation, but `target` or `confusion` is drawn.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--samples", type=Path, required=True, help="training prompts with the keys direction and source"
    )
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--draw", choices=get_args(Draw), required=True, help="how conflicts are drawn")
    parser.add_argument(
        "--languages", nargs="+", required=True, help="languages that `target` and `confusion` draw from"
    )
    parser.add_argument("--off-targets", type=Path, help="outputs of the stage-1 model, for `confusion` only")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument(
        "--translations-only", action="store_true", help="leave out general instructions, as `target` does anyway"
    )
    add_template_arguments(parser)
    arguments = parser.parse_args()
    if (arguments.draw == "confusion") != bool(arguments.off_targets):
        parser.error("--off-targets belongs to --draw confusion, and --draw confusion needs it")

    template = template_of(arguments)
    rows = read_jsonl(arguments.samples)
    if arguments.draw != "instruction" or arguments.translations_only:
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
    confusion = count_confusion(read_outputs(arguments.off_targets)) if arguments.off_targets else {}
    conflicts = draw_conflicts(instructions, arguments.languages, arguments.draw, arguments.seed, confusion)
    if arguments.off_targets:
        log_confusion([row["direction"] for row in rows], arguments.languages, confusion)
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


def log_confusion(directions: Sequence[str], languages: Sequence[str], confusion: Confusion) -> None:
    """Log the errors that conflicts were drawn by, and the samples of directions without errors."""
    without = {}
    for direction, count in sorted(Counter(directions).items()):
        errors = wrong_targets(direction, languages, confusion)
        answered = split_direction(direction)[1]
        if errors:
            listed = ", ".join(f"{wrong} {number}" for wrong, number in errors.items())
            log.info("%s: answers in %s by the language that was asked for: %s", direction, answered, listed)
        else:
            without[direction] = count
    if without:
        log.warning(
            "no error that fits: %d of %d samples (%s) get a wrong target as `conflicts: target` draws it",
            sum(without.values()),
            len(directions),
            ", ".join(f"{direction} {count}" for direction, count in without.items()),
        )


if __name__ == "__main__":
    run_step(main)
