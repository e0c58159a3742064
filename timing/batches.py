"""Time to decode directions with few lines, each in batches of its own and several in a batch, in one process.

    make demo && python -m timing.batches --json batches.json

The model is loaded before the measurements. Both versions decode the same prompts greedily and take turns. The ratio is
the median over the rounds, and `identical_lines` the share of lines that have the same text.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from workflow_scripts.lat.decoding.requests import Request, Settings, decode
from workflow_scripts.lat.decoding.transformers_engine import TransformersEngine
from workflow_scripts.lat.files import InputError, read_jsonl
from workflow_scripts.lat.models import load_model, load_tokenizer
from workflow_scripts.lat.runtime import cpu_model, run_step

# As in the demo.
SETTINGS = Settings(beam=1, max_new_tokens=80, batch_tokens=16384)


def read_requests(prompts: Path, lines: int) -> list[Request]:
    """Read the first lines of every direction.

    Raises:
        InputError: the folder has no prompts.
    """
    paths = sorted(prompts.glob("*.jsonl"))
    if not paths:
        raise InputError(f"--prompts: no prompts in {prompts}; run `make demo`")
    return [
        Request(row["prompt"], language=row["prompt_language"], group=path.stem)
        for path in paths
        for row in read_jsonl(path)[:lines]
    ]


def measure(
    engine: TransformersEngine, tokenizer: object, requests: Sequence[Request], rounds: int
) -> dict[str, float]:
    """Return the seconds of both versions as medians over the rounds, their ratio, and the share of equal lines."""
    seconds: dict[bool, list[float]] = {False: [], True: []}
    texts = {}
    for _ in range(rounds):
        for joins_groups, of_version in seconds.items():
            engine.joins_groups = joins_groups
            started = time.perf_counter()
            texts[joins_groups] = [found.text for found in decode(engine, tokenizer, requests, SETTINGS)]
            of_version.append(time.perf_counter() - started)
            print(f"  joined {joins_groups}: {of_version[-1]:.1f} s", file=sys.stderr, flush=True)
    return {
        "apart_s": statistics.median(seconds[False]),
        "joined_s": statistics.median(seconds[True]),
        "speedup": statistics.median(one / other for one, other in zip(*seconds.values(), strict=True)),
        "identical_lines": statistics.mean(one == other for one, other in zip(*texts.values(), strict=True)),
    }


def main() -> None:
    """Measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    run = "gemma3-270m/demo"
    parser.add_argument("--model", type=Path, default=Path(f"results/finetune/{run}/seed1/mt/model"))
    parser.add_argument("--prompts", type=Path, default=Path(f"results/prompts/{run}/test/MT"))
    parser.add_argument("--lines", type=int, default=40, help="lines per direction")
    parser.add_argument("--rounds", type=int, default=3, help="repetitions of every measurement")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--json", type=Path, help="output file; the results are printed in any case")
    arguments = parser.parse_args()
    requests = read_requests(arguments.prompts, arguments.lines)
    torch.set_num_threads(arguments.threads)
    tokenizer = load_tokenizer(arguments.model)
    engine = TransformersEngine(load_model(arguments.model, "fp32"), tokenizer)
    results: dict[str, object] = {**measure(engine, tokenizer, requests, arguments.rounds)}
    results |= {"lines": len(requests), "machine": cpu_model(), "threads": arguments.threads}
    text = json.dumps(results, indent=2)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    run_step(main)
