"""Let a language model judge the answers of one system against those of another."""

import argparse
import json
from pathlib import Path

from .lat.evaluation.judging import OUTCOMES, Judge, Prices, compare, count
from .lat.files import InputError, Journal, read_jsonl, write_jsonl, write_table
from .lat.prompts.instructions import read_instructions
from .lat.runtime import log, run_step, secret

COLUMNS = ("base_model", "benchmark", "system", "baseline", "instructions", "judge", "n", *OUTCOMES, "p")


def main() -> None:
    """Parse the flags, ask, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--instructions", type=Path, required=True, help="the set of instructions")
    parser.add_argument("--name", required=True, help="what the table calls the set")
    parser.add_argument("--base-model", required=True)
    parser.add_argument("--benchmark", required=True, help="what the systems were tuned on")
    parser.add_argument("--system", required=True)
    parser.add_argument("--baseline", required=True, help="the system it is compared with")
    parser.add_argument("--answers", type=Path, required=True, help="of the system, JSON lines")
    parser.add_argument("--others", type=Path, required=True, help="of the baseline")
    parser.add_argument("--base-url", required=True, help="of an interface like OpenAI's")
    parser.add_argument("--model", required=True, help="the judge, as the server calls it")
    parser.add_argument("--key", help="environment variable that holds the server's key, if it wants one")
    parser.add_argument("--request", type=json.loads, default={}, help="further fields of a request, as JSON")
    parser.add_argument("--parallel", type=int, default=1, help="requests at a time")
    parser.add_argument("--prices", type=float, nargs=2, help="of a million tokens of prompts and of replies")
    parser.add_argument("--max-cost", type=float, help="ask nothing if the estimate is above")
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds a request may take")
    parser.add_argument("--journal", type=Path, required=True, help="keeps every reply for the next run")
    parser.add_argument("--judgements", type=Path, required=True, help="JSON lines, a comparison each")
    parser.add_argument("--output", type=Path, required=True, help="table of one row")
    arguments = parser.parse_args()

    tasks = read_instructions(arguments.instructions)
    answers, others = ([row["answer"] for row in read_jsonl(path)] for path in (arguments.answers, arguments.others))
    if not len(tasks) == len(answers) == len(others):
        raise InputError(
            f"{arguments.answers}: {len(answers)} answers, {arguments.others}: {len(others)}, to {len(tasks)}"
            " instructions; decode them again"
        )
    judge = Judge(
        base_url=arguments.base_url,
        key=secret(arguments.key),
        model=arguments.model,
        request={name: value for name, value in arguments.request.items() if value is not None},
        journal=Journal(arguments.journal),
        timeout=arguments.timeout,
    )
    prices = Prices(*arguments.prices) if arguments.prices else None
    judgements = compare(judge, tasks, answers, others, arguments.parallel, prices, arguments.max_cost)

    write_jsonl(
        arguments.judgements,
        (
            task._asdict()
            | {"answer": answer, "other": other, "outcome": judgement.outcome, "replies": judgement.replies}
            for task, answer, other, judgement in zip(tasks, answers, others, judgements, strict=True)
        ),
    )
    row = {
        "base_model": arguments.base_model,
        "benchmark": arguments.benchmark,
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
