"""Collect what a stage-1 model writes in wrong languages: prompts of training sources, then languages of the outputs.

Between the two subcommands, the outputs are decoded by `decode.py`.
"""

import argparse
from collections import Counter
from pathlib import Path

from .lat.data.lid import load_identifier
from .lat.evaluation.offtarget import Verdict, classify
from .lat.files import read_jsonl, read_lines, replaced_folder, write_jsonl, write_table
from .lat.languages import split_direction
from .lat.prompts.off_targets import Output, draw_sources
from .lat.prompts.prompting import translation_instruction
from .lat.prompts.templates import add_template_arguments, template_of
from .lat.runtime import log, run_step

COLUMNS = ("direction", "label", "lines")


def main() -> None:
    """Parse the flags and run the subcommand."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)

    prompts = commands.add_parser("prompts", help="put training sources under the instructions of other directions")
    prompts.add_argument("--samples", type=Path, required=True, help="training prompts of the model, JSON lines")
    prompts.add_argument("--directions", nargs="+", required=True, help="the zero-shot directions")
    prompts.add_argument("--sentences", type=int, required=True, help="maximum number of sources of a direction")
    prompts.add_argument("--seed", type=int, required=True)
    prompts.add_argument("--output", type=Path, required=True, help="folder of <direction>.jsonl")
    add_template_arguments(prompts)

    collect = commands.add_parser("collect", help="identify the languages of the outputs")
    collect.add_argument("--prompts", type=Path, required=True, help="folder of <direction>.jsonl")
    collect.add_argument("--outputs", type=Path, required=True, help="folder of <direction>.txt")
    collect.add_argument("--lid", required=True, help="a fastText model file, or `py3langid`")
    collect.add_argument("--lines", type=Path, required=True, help="all outputs with their languages, JSON lines")
    collect.add_argument("--counts", type=Path, required=True, help="table of the languages of each direction")

    arguments = parser.parse_args()
    if arguments.command == "prompts":
        write_prompts(arguments)
    else:
        collect_outputs(arguments)


def write_prompts(arguments: argparse.Namespace) -> None:
    """Write one file of prompts per direction that has training sources; the folder appears only when it is complete.

    Besides the keys that decoding reads, the rows have the source and the English text of its row.
    """
    template = template_of(arguments)
    drawn = draw_sources(read_jsonl(arguments.samples), arguments.directions, arguments.sentences, arguments.seed)
    for direction in arguments.directions:
        if direction not in drawn:
            log.info("%s: no training source in this language", direction)
    with replaced_folder(arguments.output) as partial:
        for direction, sources in drawn.items():
            instruction = translation_instruction(direction)
            write_jsonl(
                partial / f"{direction}.jsonl",
                (
                    {
                        "prompt": template.render(instruction, source.text),
                        "contrasts": [],
                        "prompt_language": "en",
                        "source": source.text,
                        "english": source.english,
                    }
                    | template.decoding_keys()
                    for source in sources
                ),
            )
    log.info("wrote %d prompts in %d directions", sum(map(len, drawn.values())), len(drawn))


def collect_outputs(arguments: argparse.Namespace) -> None:
    """Identify the languages of the outputs, and write all outputs and the counts of languages."""
    identifier = load_identifier(arguments.lid)
    found: list[Output] = []
    counts = []
    for path in sorted(arguments.prompts.glob("*.jsonl")):
        direction, rows = path.stem, read_jsonl(path)
        outputs = read_lines(arguments.outputs / f"{direction}.txt")
        sources = [row["source"] for row in rows]
        lines = classify(identifier.identify(outputs), outputs, sources, direction)
        of_direction = [
            Output(
                direction,
                row["source"],
                row["english"],
                output,
                # The label of a text without words says nothing about its language.
                "" if line.verdict in (Verdict.EMPTY, Verdict.NO_WORDS) else line.label,
                round(line.score, 4),
            )
            for row, output, line in zip(rows, outputs, lines, strict=True)
        ]
        labels = Counter(output.label or "none" for output in of_direction)
        counts += [{"direction": direction, "label": label, "lines": count} for label, count in labels.most_common()]
        log.info(
            "%s: %d of %d outputs are off target (%s)",
            direction,
            sum(output.is_off_target for output in of_direction),
            len(of_direction),
            ", ".join(f"{label} {count}" for label, count in labels.most_common(5)),
        )
        found += of_direction
    write_jsonl(arguments.lines, (output._asdict() for output in found))
    write_table(arguments.counts, counts, COLUMNS)
    off_target = [output for output in found if output.is_off_target]
    log.info("%d of %d outputs are off target", len(off_target), len(found))
    asked = Counter((output.label, split_direction(output.direction)[1]) for output in off_target)
    for (label, target), count in asked.most_common(10):
        log.info("  %s in place of %s: %d", label, target, count)


if __name__ == "__main__":
    run_step(main)
