"""Write the prompts of a model's training samples, of a system's test sets, and of general instructions."""

import argparse
from pathlib import Path
from typing import Any, get_args

from .lat.files import InputError, read_jsonl, read_lines, replaced_folder, write_jsonl
from .lat.languages import split_direction
from .lat.prompts.instructions import Task, read_instructions
from .lat.prompts.kinds import Prompt
from .lat.prompts.prompting import ShotsLayout, translation_instruction
from .lat.prompts.templates import AnyTemplate, add_template_arguments, template_of
from .lat.runtime import log, run_step


def main() -> None:
    """Parse the flags and run the subcommand."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)

    train = commands.add_parser("train", help="write the prompt and response of every training sample")
    train.add_argument("--samples", type=Path, required=True, help="JSON lines with the keys direction, source, target")
    train.add_argument(
        "--mix", type=Path, nargs="*", default=[], help="sets of general instructions to add to the training samples"
    )

    general = commands.add_parser("instructions", help="write the prompts of a set of general instructions")
    general.add_argument("--instructions", type=Path, required=True, help="the set of general instructions")

    test = commands.add_parser("test", help="write the test prompts of one system, one file per direction")
    test.add_argument("--test", type=Path, required=True, help="folder of <direction>.src.txt")
    test.add_argument("--demonstrations", type=Path, required=True, help="folder of <direction>.jsonl")
    test.add_argument("--directions", nargs="+", required=True)
    test.add_argument(
        "--prompt-language", default="en", help="language of the prompt: a code, or `target` for the target language"
    )
    test.add_argument("--shots", type=int, default=0, help="number of demonstrations before the sentence")
    test.add_argument(
        "--shots-layout",
        choices=get_args(ShotsLayout),
        default="once",
        help="demonstrations after one preamble, or each as a whole prompt with its response",
    )
    test.add_argument(
        "--contrasts",
        nargs="*",
        default=[],
        metavar="TARGET=WEIGHT",
        help="contrastive instructions: a target language (a code or `source`) and the weight of its prompt",
    )

    for command in (train, general, test):
        command.add_argument("--output", type=Path, required=True, help="output file; for `test`, output folder")
        add_template_arguments(command)

    arguments = parser.parse_args()
    template = template_of(arguments, arguments.shots_layout if arguments.command == "test" else "once")
    if arguments.command == "train":
        rows = [training_prompt(row, template) for row in read_jsonl(arguments.samples)]
        tasks = [task for path in arguments.mix for task in read_instructions(path, with_outputs=True)]
        write_jsonl(arguments.output, [*rows, *(instruction_prompt(task, template) for task in tasks)])
        log.info("wrote %d training prompts, %d of them general instructions", len(rows) + len(tasks), len(tasks))
    elif arguments.command == "instructions":
        tasks = read_instructions(arguments.instructions)
        keys = {"contrasts": [], "prompt_language": "en"} | template.decoding_keys(one_line=False)
        prompts = [template.render(task.instruction, task.input) for task in tasks]
        write_jsonl(arguments.output, ({"prompt": prompt} | keys for prompt in prompts))
        log.info("wrote the prompts of %d instructions", len(tasks))
    else:
        write_test_prompts(arguments, template)


def training_prompt(row: dict[str, Any], template: AnyTemplate) -> dict[str, Any]:
    """Render a training sample: a row with the keys `direction`, `source`, `prompt` and `response`.

    Direction and source are kept because the conflicts are made from them. Some templates add keys that say how the
    sample is encoded.
    """
    return {
        "direction": row["direction"],
        "source": row["source"],
        "prompt": template.render(translation_instruction(row["direction"]), row["source"]),
        "response": row["target"],
    } | template.training_keys()


def instruction_prompt(task: Task, template: AnyTemplate) -> dict[str, Any]:
    """Render a general instruction as `training_prompt` does, with the key `instruction` instead of `direction`."""
    return {
        "instruction": task.instruction,
        "source": task.input,
        "prompt": template.render(task.instruction, task.input),
        "response": task.output,
    } | template.training_keys()


def test_prompt(
    source: str,
    direction: str,
    template: AnyTemplate,
    prompt_language: str = "en",
    demonstrations: list[tuple[str, str]] | None = None,
    contrasts: list[tuple[str, float]] | None = None,
) -> dict[str, Any]:
    """Render the prompt of one test sentence and its contrasts, that is, the same sentence under other instructions.

    A contrast that asks for the real target language is left out, because it would cancel the real prompt. Two
    contrasts that ask for the same language (English and the source language, if the source language is English)
    become one with the sum of their weights, which leaves the formula of contrastive decoding unchanged.

    Args:
        source: the sentence to translate.
        direction: the direction.
        template: the template of the model.
        prompt_language: language of the instruction, the preamble and the headers.
        demonstrations: (source, target) pairs that are shown before the sentence.
        contrasts: (target language, weight) pairs; the target language is a code or `source`.

    Returns:
        A row with the keys `prompt` and `contrasts`, a list of [prompt, weight], and with those of the template that
        say where a response ends.
    """
    source_language, target_language = split_direction(direction)

    def render(target: str) -> Prompt:
        instruction = translation_instruction(f"{source_language}-{target}", prompt_language)
        return template.render(instruction, source, demonstrations or [], prompt_language)

    row: dict[str, Any] = {"prompt": render(target_language)}
    weights: dict[str, float] = {}
    for target, weight in contrasts or []:
        language = source_language if target == "source" else target
        weights[language] = weights.get(language, 0.0) + weight
    row["contrasts"] = [[render(target), weight] for target, weight in weights.items() if target != target_language]
    return row | template.decoding_keys(prompt_language)


def write_test_prompts(arguments: argparse.Namespace, template: AnyTemplate) -> None:
    """Write one file of prompts per direction; the folder appears only when it is complete."""
    contrasts = [(target, float(weight)) for target, weight in (item.split("=") for item in arguments.contrasts)]
    with replaced_folder(arguments.output) as partial:
        for direction in arguments.directions:
            demonstrations = read_demonstrations(arguments.demonstrations / f"{direction}.jsonl", arguments.shots)
            target = split_direction(direction)[1]
            language = target if arguments.prompt_language == "target" else arguments.prompt_language
            sources = read_lines(arguments.test / f"{direction}.src.txt")
            rows = [test_prompt(source, direction, template, language, demonstrations, contrasts) for source in sources]
            write_jsonl(partial / f"{direction}.jsonl", [row | {"prompt_language": language} for row in rows])
    log.info("wrote the prompts of %d directions", len(arguments.directions))


def read_demonstrations(path: Path, shots: int) -> list[tuple[str, str]]:
    """Read the first `shots` demonstrations of a direction, as (source, target) pairs.

    Raises:
        InputError: the file has fewer demonstrations.
    """
    if not shots:
        return []
    pairs = [(row["source"], row["target"]) for row in read_jsonl(path)]
    if len(pairs) < shots:
        raise InputError(
            f"{path}: {len(pairs)} demonstrations, {shots} asked for; raise the benchmark's `demonstrations`"
        )
    return pairs[:shots]


if __name__ == "__main__":
    run_step(main)
