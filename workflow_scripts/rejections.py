"""Add a rejected response in a wrong language to the training samples that have one; prompt and response stay."""

import argparse
from collections import Counter
from pathlib import Path
from typing import get_args

from .lat.files import InputError, read_jsonl, write_jsonl
from .lat.prompts.off_targets import read_outputs
from .lat.prompts.rejected import Source, rejected_outputs, rejected_references
from .lat.runtime import log, run_step


def main() -> None:
    """Parse the flags, find the rejected responses, and write the samples that have one.

    Raises:
        InputError: too few samples have one.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--samples", type=Path, required=True, help="training prompts with the keys direction, source and response"
    )
    parser.add_argument("--rejected", choices=get_args(Source), required=True, help="where rejected responses are from")
    parser.add_argument("--off-targets", type=Path, help="outputs of the stage-1 model, for `model` only")
    parser.add_argument(
        "--min-pairs", type=int, required=True, help="an error if fewer samples have a rejected response"
    )
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    if (arguments.rejected == "model") != bool(arguments.off_targets):
        parser.error("--off-targets belongs to --rejected model, and --rejected model needs it")

    everything = read_jsonl(arguments.samples)
    rows = [row for row in everything if "direction" in row]
    if len(rows) < len(everything):
        log.info("left out %d general instructions, which have no target language", len(everything) - len(rows))
    if arguments.off_targets:
        outputs = read_outputs(arguments.off_targets)
        found = rejected_outputs(rows, outputs, arguments.seed)
        off_target = sum(output.is_off_target for output in outputs)
        cause = (
            f"{off_target} of the {len(outputs)} outputs of the stage-1 model are off target, and not every one is in a"
            " wrong language for a sample; raise off_targets.sentences, or set `rejected: reference`"
        )
    else:
        found = rejected_references(rows, arguments.seed)
        cause = (
            "the others have an English text that no sample with a third language has; take a benchmark with the same"
            " English sentences in several directions, raise its train_rows, or set `rejected: model`"
        )
    kept = Counter(row["direction"] for row, rejected in zip(rows, found, strict=True) if rejected)
    counts = [f"{direction} {kept[direction]}" for direction in sorted({row["direction"] for row in rows})]
    if kept.total() < arguments.min_pairs:
        raise InputError(
            f"{arguments.samples}: {kept.total()} of {len(rows)} samples have a rejected response"
            f" ({', '.join(counts)}), fewer than preference.min_pairs, {arguments.min_pairs}: {cause}"
        )
    write_jsonl(
        arguments.output,
        (
            row | {"rejected": rejected.text, "rejected_language": rejected.language}
            for row, rejected in zip(rows, found, strict=True)
            if rejected
        ),
    )
    log.info("%d of %d samples have a rejected response: %s", kept.total(), len(rows), ", ".join(counts))
    for language, count in Counter(rejected.language for rejected in found if rejected).most_common():
        log.info("  %s %d", language, count)


if __name__ == "__main__":
    run_step(main)
