"""Time to decode with the demo's model, plain and with this workflow, and whether the text is the same.

`plain`     transformers `generate`: one process per direction, batches of eight lines in file order, no shared prefix.
`workflow`  `workflow_scripts.decode` as the workflow runs it: one process for all directions.

The times of both include starting Python and loading the model. Both use early stopping, which is the only rule of
CTranslate2. Contrastive decoding is compared with itself in batches of one line; both are timed in one process, without
loading the model.

    make demo && python -m timing.decode --json decode.json
"""

import argparse
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from timing.train_step import machine
from workflow_scripts.lat.decoding import Request, Settings, TransformersEngine, beam_search, decode, until_mark
from workflow_scripts.lat.files import fold, read_jsonl, read_lines, write_jsonl, write_lines
from workflow_scripts.lat.models import encode_prompt, load_model, load_tokenizer
from workflow_scripts.lat.prompts.prompting import response_end_marks

BATCH = 8
MAX_NEW_TOKENS = 80
LANGUAGES = ("en", "it", "nl", "ro")
DIRECTIONS = [f"{source}-{target}" for source in LANGUAGES for target in LANGUAGES if source != target]


def decode_plainly(model_folder: Path, prompts: Path, output: Path, threads: int) -> None:
    """Decode one direction the plain way. Run it in a new process."""
    torch.set_num_threads(threads)
    tokenizer = load_tokenizer(model_folder)
    model = load_model(model_folder, "fp32").eval()
    encoded = [encode_prompt(tokenizer, row["prompt"]) for row in read_jsonl(prompts)]
    texts = []
    for start in range(0, len(encoded), BATCH):
        batch = encoded[start : start + BATCH]
        for ids in beam_search(model, batch, 4, MAX_NEW_TOKENS, tokenizer, early_stopping=True):
            ids = ids[: ids.index(tokenizer.eos_token_id)] if tokenizer.eos_token_id in ids else ids
            text, _ = until_mark(tokenizer.decode(ids, skip_special_tokens=True), response_end_marks())
            texts.append(fold(text))
    write_lines(output, texts)


def run(*words: object) -> float:
    """Run a Python module in a new process and return its wall time in seconds."""
    command = [sys.executable, "-m", *map(str, words)]
    started = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return time.perf_counter() - started


class DecodeTiming:
    """Decodes the first lines of the demo's prompts, plain and with this workflow.

    Args:
        results: results folder of a finished demo.
        lines: lines per direction.
        threads: CPU threads.
        scratch: folder for prompts and outputs.
    """

    def __init__(self, results: Path, lines: int, threads: int, scratch: Path) -> None:
        self.model = results / "finetune/tiny/demo/mt/model"
        self.converted = results / "convert/tiny/demo/mt"
        self.threads, self.scratch = threads, scratch
        self.prompts = scratch / "prompts"
        for system in ("MT", "5-shot", "C_src+lang"):
            for direction in DIRECTIONS:
                rows = read_jsonl(results / "prompts/tiny/demo/test" / system / f"{direction}.jsonl")
                write_jsonl(self.prompts / system / f"{direction}.jsonl", rows[:lines])

    def plain(self, system: str) -> float:
        """Wall time in seconds of all directions, one process per direction."""
        return sum(
            run("timing.decode", "--plain", self.model, self.prompts / system / f"{direction}.jsonl",
                self.scratch / "plain" / system / f"{direction}.txt", self.threads)
            for direction in DIRECTIONS
        )  # fmt: skip

    def workflow(self, system: str, engine: str, beam: int, batch_tokens: int, name: str) -> float:
        """Wall time in seconds of all directions in one process; `name` names the output folder."""
        output = self.scratch / name / system
        shutil.rmtree(output, ignore_errors=True)
        converted = ("--converted", self.converted) if engine == "ctranslate2" else ()
        return run(
            "workflow_scripts.decode", "--model", self.model, *converted, "--engine", engine, "--prompts",
            self.prompts / system, "--directions", *DIRECTIONS, "--output", output, "--unfinished",
            self.scratch / "unfinished", "--beam", beam, "--max-new-tokens", MAX_NEW_TOKENS, "--batch-tokens",
            batch_tokens, "--early-stopping", "--threads", self.threads,
        )  # fmt: skip

    def contrastive(self, batch_tokens: int) -> tuple[float, list[str]]:
        """Decode all directions contrastively; return the time in seconds, without loading the model, and the texts."""
        tokenizer = load_tokenizer(self.model)
        engine = TransformersEngine(load_model(self.model, "fp32"), tokenizer)
        requests = {
            direction: [
                Request(row["prompt"], tuple((prompt, weight) for prompt, weight in row["contrasts"]))
                for row in read_jsonl(self.prompts / "C_src+lang" / f"{direction}.jsonl")
            ]
            for direction in DIRECTIONS
        }
        settings = Settings(1, MAX_NEW_TOKENS, batch_tokens)
        started = time.perf_counter()
        hypotheses = [
            hypothesis
            for direction in DIRECTIONS
            for hypothesis in decode(engine, tokenizer, requests[direction], settings, "en")
        ]
        return time.perf_counter() - started, [hypothesis.text for hypothesis in hypotheses]

    def identical(self, system: str, names: Sequence[str]) -> float:
        """Share of the lines of a system that are the same in two output folders."""
        pairs = [
            pair
            for direction in DIRECTIONS
            for pair in zip(
                *(read_lines(self.scratch / name / system / f"{direction}.txt") for name in names), strict=True
            )
        ]
        return sum(one == other for one, other in pairs) / len(pairs)


def main() -> None:
    """Run all versions, compare their times and texts, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="output file; the results are printed in any case")
    parser.add_argument("--results", type=Path, default=Path("results"), help="results folder of a finished demo")
    parser.add_argument("--lines", type=int, default=100, help="lines per direction")
    parser.add_argument("--rounds", type=int, default=1, help="repetitions of every measurement")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--plain", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plain:
        *paths, threads = arguments.plain
        decode_plainly(*map(Path, paths), int(threads))
        return

    with tempfile.TemporaryDirectory() as scratch:
        timing = DecodeTiming(arguments.results, arguments.lines, arguments.threads, Path(scratch))
        seconds: dict[str, list[float]] = {}
        cases = {
            "few_shot_plain": lambda: timing.plain("5-shot"),
            "few_shot_workflow": lambda: timing.workflow("5-shot", "ctranslate2", 4, 32768, "workflow"),
            "few_shot_transformers": lambda: timing.workflow("5-shot", "transformers", 4, 32768, "transformers"),
            "zero_shot_plain": lambda: timing.plain("MT"),
            "zero_shot_workflow": lambda: timing.workflow("MT", "ctranslate2", 4, 32768, "workflow"),
            "zero_shot_transformers": lambda: timing.workflow("MT", "transformers", 4, 32768, "transformers"),
        }
        texts = {}
        torch.set_num_threads(arguments.threads)

        def record(name: str, measured: float) -> None:
            seconds.setdefault(name, []).append(measured)
            print(f"  {name} {measured:.1f} s", file=sys.stderr, flush=True)

        for _ in range(arguments.rounds):
            for name, measure in cases.items():
                record(name, measure())
            for name, batch_tokens in (("contrastive_plain", 1), ("contrastive_workflow", 32768)):
                measured, texts[name] = timing.contrastive(batch_tokens)
                record(name, measured)
        identical = {
            "few_shot": timing.identical("5-shot", ("plain", "workflow")),
            "few_shot_transformers": timing.identical("5-shot", ("plain", "transformers")),
            "zero_shot": timing.identical("MT", ("plain", "workflow")),
            "zero_shot_transformers": timing.identical("MT", ("plain", "transformers")),
            "contrastive": statistics.mean(
                one == other
                for one, other in zip(texts["contrastive_plain"], texts["contrastive_workflow"], strict=True)
            ),
        }

    def speedup(plain: str, optimised: str) -> float:
        return statistics.median(slow / fast for slow, fast in zip(seconds[plain], seconds[optimised], strict=True))

    results = {
        "few_shot_speedup": speedup("few_shot_plain", "few_shot_workflow"),
        "zero_shot_speedup": speedup("zero_shot_plain", "zero_shot_workflow"),
        "contrastive_speedup": speedup("contrastive_plain", "contrastive_workflow"),
        "identical_lines": min(identical.values()),
        "few_shot_speedup_transformers": speedup("few_shot_plain", "few_shot_transformers"),
        "zero_shot_speedup_transformers": speedup("zero_shot_plain", "zero_shot_transformers"),
        "identical": identical,
        # The keys of the JSON file keep the suffix `_ours`.
        "seconds": {name.replace("_workflow", "_ours"): statistics.median(times) for name, times in seconds.items()},
        "lines": arguments.lines * len(DIRECTIONS),
        "machine": machine(),
        "threads": arguments.threads,
    }
    text = json.dumps(results, indent=2)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
