"""Write a trained model as a folder that others can use, with a model card, and upload such a folder to the hub.

The folder is complete only after the lines of Python in its card have translated some test lines as the run did whose
scores the card has.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .lat.files import InputError, atomic_write, read_jsonl, read_lines, read_table, replaced_folder, write_lines
from .lat.manifest import write_manifest
from .lat.names import CHAT
from .lat.prompts.templates import add_template_arguments, template_of
from .lat.runtime import log, run_step

if TYPE_CHECKING:
    from collections.abc import Mapping

    from transformers import PreTrainedTokenizerBase

    from .lat.publishing.usage import Line, Usage

# Number of test lines that are translated with the lines of Python of the card.
CHECKED_LINES = 6
# Required share of equal translations where the run decoded with another library, or in a type with fewer digits than
# fp32: small differences of the computation change some lines.
SHARE = 0.5
# The shortest sentence of the card's example, in words.
EXAMPLE_WORDS = 3
# Largest accepted difference of a log-probability with 8 bits per weight, in standard deviations. Gemma 3 270M
# has 0.55, and the weights of another model more than 3.
INT8_TOLERANCE = 2.0


def main() -> None:
    """Parse the flags and run the subcommand."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)

    write = commands.add_parser("write", help="write the folder")
    write.add_argument("--model", type=Path, required=True, help="folder of the trained model")
    write.add_argument("--prompts", type=Path, required=True, help="folder of <direction>.jsonl of the system")
    write.add_argument("--test", type=Path, required=True, help="folder of <direction>.src.txt")
    write.add_argument("--hypotheses", type=Path, required=True, help="folder of <direction>.txt of the system")
    write.add_argument("--samples", type=Path, required=True, help="training samples, which are counted")
    write.add_argument("--intervals", type=Path, required=True, help="table of scores with intervals")
    write.add_argument("--summary", type=Path, required=True, help="table of means over seeds")
    write.add_argument("--references", type=Path, required=True, help="off-target scores of the reference translations")
    write.add_argument("--facts", type=json.loads, required=True, help="what the card says of the making, as JSON")
    write.add_argument("--licence-text", type=Path, help="file with the text of the licence")
    write.add_argument("--output", type=Path, required=True, help="the folder")
    write.add_argument("--threads", type=int, default=0)
    add_template_arguments(write)

    push = commands.add_parser("push", help="upload the folder to the Hugging Face Hub")
    push.add_argument("--folder", type=Path, required=True)
    push.add_argument("--repository", required=True, help="owner/name")
    push.add_argument("--private", action="store_true", help="only the owner may see the repository")
    push.add_argument("--output", type=Path, required=True, help="record of the upload, JSON")

    arguments = parser.parse_args()
    if arguments.command == "push":
        from .lat.publishing.upload import push as upload

        record = upload(arguments.folder, arguments.repository, arguments.private)
        with atomic_write(arguments.output) as handle:
            json.dump(record, handle, indent=1)
    else:
        write_folder(arguments)


def write_folder(arguments: argparse.Namespace) -> None:
    """Write the folder, which appears only when it is complete and checked."""
    # Imported here, since these libraries take seconds to load, and the check of the flags does without them.
    import torch

    from .lat.models import encode_prompt, load_tokenizer, stop_tokens
    from .lat.publishing.card import Checked, Scores, check_card, make_card
    from .lat.publishing.folder import (
        CARD,
        copy_model,
        files_of,
        write_generation_config,
        write_notices,
        write_tokenizer,
    )
    from .lat.publishing.usage import check_prompts, usage_of

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    facts = arguments.facts
    lines = lines_to_check(arguments, facts)
    tokenizer = load_tokenizer(arguments.model)
    keys = template_of(arguments).decoding_keys()
    end = keys.get("end")
    ends = stop_tokens(tokenizer, end)
    # The library leaves out special tokens, but not others, when it makes text of an output.
    shown = end.lstrip() if end and ends[0] not in tokenizer.all_special_ids else None
    usage = usage_of(template_of(arguments), shown, keys.get("marks"), facts["repository"] or str(arguments.output))
    with replaced_folder(arguments.output) as partial:
        copy_model(arguments.model, partial)
        write_tokenizer(load_tokenizer(arguments.model), partial, arguments.template == CHAT)
        write_generation_config(tokenizer, ends, facts["decoding"], partial)
        write_notices(facts["licence"], arguments.licence_text, partial)
        check_prompts(usage, lines, load_tokenizer(partial), lambda prompt: encode_prompt(tokenizer, prompt))
        equal = equal_lines(usage, lines, partial, facts)
        conversions = {name: convert_int8(arguments.model, partial / name, tokenizer) for name in facts["formats"]}
        example = next((line for line in equal if line.translation), equal[0])
        checked = Checked(len(lines), len(equal), example.direction, example.source, example.translation, conversions)
        scores = Scores(
            read_table(arguments.intervals),
            read_table(arguments.summary),
            read_table(arguments.references),
            {path.name.removesuffix(".src.txt"): len(read_lines(path)) for path in arguments.test.glob("*.src.txt")},
        )
        card = make_card(facts, usage, checked, scores, len(read_lines(arguments.samples)))
        check_card(card, usage, checked)
        write_lines(partial / CARD, card.splitlines())
        write_manifest(partial, files_of(partial))
    size = sum(path.stat().st_size for path in arguments.output.rglob("*") if path.is_file()) / 1e6
    log.info("%s: %.0f MB, %d of %d checked lines as in the run", arguments.output, size, len(equal), len(lines))


def lines_to_check(arguments: argparse.Namespace, facts: Mapping[str, Any]) -> list[Line]:
    """Return some test lines of several directions, first the one that is best as the example of the card.

    This is a short sentence of a zero-shot direction, if there is one.
    """
    from .lat.publishing.usage import Line

    def read(direction: str) -> list[Line]:
        prompts = [row["prompt"] for row in read_jsonl(arguments.prompts / f"{direction}.jsonl")]
        sources = read_lines(arguments.test / f"{direction}.src.txt")
        translations = read_lines(arguments.hypotheses / f"{direction}.txt")
        if not len(prompts) == len(sources) == len(translations):
            raise InputError(f"{arguments.hypotheses / direction}.txt: not one line per test line; decode it again")
        return [Line(direction, *row) for row in zip(sources, prompts, translations, strict=True)]

    directions = [*facts["zero_shot"], *facts["supervised"]]
    # Backticks would end the blocks of code in the card.
    possible = [line for line in read(directions[0]) if "`" not in line.source + line.translation]
    if not possible:
        raise InputError(f"{arguments.test}: {directions[0]} has no line that can be the example of a card")
    example = min(
        possible, key=lambda line: (not line.translation, len(line.source.split()) < EXAMPLE_WORDS, len(line.source))
    )
    chosen = {example.direction: [example]}
    for direction in directions[:: max(1, len(directions) // CHECKED_LINES)]:
        chosen.setdefault(direction, []).extend(read(direction)[: CHECKED_LINES // len(directions) + 1])
    lines = [line for found in chosen.values() for line in found]
    return [line for number, line in enumerate(lines) if line not in lines[:number]][: CHECKED_LINES + 1]


def equal_lines(usage: Usage, lines: list[Line], folder: Path, facts: Mapping[str, Any]) -> list[Line]:
    """Translate test lines with the lines of Python of the card, and return those that the run translated alike.

    Raises:
        InputError: too few are.
    """
    from .lat.publishing.usage import run_code

    printed = run_code(dataclasses.replace(usage, name=str(folder)), lines)
    pairs = list(zip(lines, printed, strict=True))
    equal = [line for line, text in pairs if text == line.translation]
    same_library = facts["dtype"] == "fp32" and facts["decoding"]["engine"] == "transformers"
    if len(equal) < len(lines) * (1 if same_library else SHARE):
        line, text = next((line, text) for line, text in pairs if text != line.translation)
        raise InputError(
            f"{line.direction}: with the lines of the card, transformers translates {line.source[:60]!r} as"
            f" {text[:60]!r}, but the run as {line.translation[:60]!r} ({len(equal)} of {len(lines)} lines are equal);"
            " the scores would not be those of the published model; decode again with `engine: transformers`"
        )
    return equal


def convert_int8(model: Path, folder: Path, tokenizer: PreTrainedTokenizerBase) -> str:
    """Write the model for CTranslate2 with 8 bits per weight, and return what the card says of it.

    Raises:
        InputError: CTranslate2 cannot convert the model, or its log-probabilities differ much.
    """
    from .lat.decoding.conversion import convert_model

    remedy = f"remove {folder.name} from publish.formats"
    difference = convert_model(model, folder, tokenizer, INT8_TOLERANCE, remedy, quantization="int8")
    return (
        "It is for CTranslate2, with 8 bits per weight; its log-probabilities differ by up to"
        f" {difference:.2g} standard deviations, so that some translations, and the scores, differ from those here."
    )


if __name__ == "__main__":
    run_step(main)
