"""Let a language model judge the answers of one system against those of a baseline system."""

import argparse
from pathlib import Path

from .lat.files import InputError, read_jsonl, write_jsonl, write_table
from .lat.prompts.instructions import read_instructions
from .lat.runtime import log, run_step
from .lat.server_flags import add_server_flags, prices_of, server_of

COLUMNS = (
    "base_model", "benchmark", "seed", "system", "baseline", "instructions", "judge", "n", "win", "tie", "lose",
    "unclear", "p",
)  # fmt: skip


def read_answers(path: Path) -> list[str]:
    """Read the answers of a system from the file that the step `decode` writes.

    Raises:
        InputError: the file is not JSON lines, or a line has no answer.
    """
    rows = read_jsonl(path)
    for number, row in enumerate(rows, 1):
        if not isinstance(row.get("answer"), str):
            raise InputError(f"{path}: line {number} has no text `answer`; decode the answers again")
    return [row["answer"] for row in rows]


def main() -> None:
    """Parse the flags, ask the judge, and write the judgements and a table with their counts.

    Raises:
        InputError: a file cannot be read, the number of answers differs from the number of instructions, or the judge
            fails.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instructions", type=Path, required=True, help="file with the set of instructions")
    parser.add_argument("--name", required=True, help="name of the set of instructions in the table")
    parser.add_argument("--base-model", required=True)
    parser.add_argument("--benchmark", required=True, help="benchmark that the systems were trained on")
    parser.add_argument("--seed", required=True, help="seed of the systems, or `shared` if neither has been trained")
    parser.add_argument("--system", required=True, help="name of the system")
    parser.add_argument("--baseline", required=True, help="name of the system it is compared with")
    parser.add_argument("--answers", type=Path, required=True, help="answers of the system, JSON lines")
    parser.add_argument("--baseline-answers", type=Path, required=True, help="answers of the baseline, JSON lines")
    add_server_flags(parser)
    parser.add_argument("--judgements", type=Path, required=True, help="output file, one comparison per JSON line")
    parser.add_argument("--output", type=Path, required=True, help="output table with one row")
    arguments = parser.parse_args()

    # Imported here, since the client of the judge takes a second to load, and the check of the flags does without it.
    from .lat.evaluation.judging import OUTCOMES, compare, count

    tasks = read_instructions(arguments.instructions)
    answers, baseline_answers = read_answers(arguments.answers), read_answers(arguments.baseline_answers)
    if not len(tasks) == len(answers) == len(baseline_answers):
        raise InputError(
            f"{arguments.answers}: {len(answers)} answers, {arguments.baseline_answers}: {len(baseline_answers)}, to"
            f" {len(tasks)} instructions; decode them again"
        )
    judge, prices = server_of(arguments, "judge"), prices_of(arguments)
    judgements = compare(judge, tasks, answers, baseline_answers, arguments.parallel, prices, arguments.max_cost)

    write_jsonl(
        arguments.judgements,
        (
            task._asdict()
            | {
                "answer": answer,
                "baseline_answer": baseline_answer,
                "outcome": judgement.outcome,
                "replies": judgement.replies,
            }
            for task, answer, baseline_answer, judgement in zip(
                tasks, answers, baseline_answers, judgements, strict=True
            )
        ),
    )
    row = {
        "base_model": arguments.base_model,
        "benchmark": arguments.benchmark,
        "seed": arguments.seed,
        "system": arguments.system,
        "baseline": arguments.baseline,
        "instructions": arguments.name,
        "judge": arguments.model,
        **count(judgement.outcome for judgement in judgements),
    }
    write_table(arguments.output, [row], COLUMNS)
    log.info("%s", ", ".join(f"{name} {row[name]}" for name in (*OUTCOMES, "n")))


if __name__ == "__main__":
    run_step(main)
