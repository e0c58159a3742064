"""Time to decode with the demo's model, plain and with this workflow, and whether the text is the same.

`plain`     transformers `generate`: one process per direction, batches of eight lines in file order, no shared prefix.
`workflow`  `workflow_scripts.decode` as the workflow runs it: one process for all directions, with each engine.

The times of both include starting Python and loading the model. All use early stopping, which is the only rule of
CTranslate2. Contrastive decoding is compared with itself in batches of one line; both are timed in one process, without
loading the model. The times of the CPU are recorded too; they depend less on what else the machine does.

    make demo && make vllm && python -m timing.decode --json decode.json
"""

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from timing.train_step import machine
from workflow_scripts.lat.decoding.plain import beam_search
from workflow_scripts.lat.decoding.requests import Request, Settings, decode, until_mark
from workflow_scripts.lat.decoding.transformers_engine import TransformersEngine
from workflow_scripts.lat.evaluation.scores import metrics
from workflow_scripts.lat.files import fold, read_jsonl, read_lines, write_jsonl, write_lines
from workflow_scripts.lat.models import encode_prompt, load_model, load_tokenizer
from workflow_scripts.lat.prompts.prompting import response_end_marks

BATCH = 8
BEAM = 4
BATCH_TOKENS = 32768
MAX_NEW_TOKENS = 80
LANGUAGES = ("en", "it", "nl", "ro")
VLLM = Path(".venv-vllm/bin/python")
DIRECTIONS = [f"{source}-{target}" for source in LANGUAGES for target in LANGUAGES if source != target]


class Times(NamedTuple):
    """Wall time and time of the CPU, in seconds."""

    wall: float
    cpu: float

    def __add__(self, other: "Times") -> "Times":  # type: ignore[override]
        return Times(self.wall + other.wall, self.cpu + other.cpu)


def decode_plainly(model_folder: Path, prompts: Path, output: Path, threads: int) -> None:
    """Decode one direction the plain way. Run it in a new process."""
    torch.set_num_threads(threads)
    tokenizer = load_tokenizer(model_folder)
    model = load_model(model_folder, "fp32").eval()
    encoded = [encode_prompt(tokenizer, row["prompt"]) for row in read_jsonl(prompts)]
    texts = []
    for start in range(0, len(encoded), BATCH):
        batch = encoded[start : start + BATCH]
        for ids in beam_search(model, batch, BEAM, MAX_NEW_TOKENS, tokenizer, early_stopping=True):
            ids = ids[: ids.index(tokenizer.eos_token_id)] if tokenizer.eos_token_id in ids else ids
            text, _ = until_mark(tokenizer.decode(ids, skip_special_tokens=True), response_end_marks())
            texts.append(fold(text))
    write_lines(output, texts)


def run(*words: object, python: Path | str = sys.executable) -> Times:
    """Run a Python module in a new process."""
    command = [str(python), "-m", *map(str, words)]
    started, used = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    # The memory that vLLM reserves on a CPU, in GB.
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"VLLM_CPU_KVCACHE_SPACE": "2"})
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
    return Times(time.perf_counter() - started, cpu)


class DecodeTiming:
    """Decodes the first lines of the demo's prompts, plain and with this workflow.

    Args:
        results: results folder of a finished demo.
        lines: lines per direction.
        threads: CPU threads.
        scratch: folder for prompts and outputs.
    """

    def __init__(self, results: Path, lines: int, threads: int, scratch: Path) -> None:
        self.model = results / "finetune/tiny/demo/seed1/mt/model"
        self.converted = scratch / "converted"
        self.references = results / "download/demo/test"
        run("workflow_scripts.convert", "--model", self.model, "--output", self.converted)
        self.threads, self.scratch = threads, scratch
        self.prompts = scratch / "prompts"
        for system in ("MT", "5-shot", "C_src+lang"):
            for direction in DIRECTIONS:
                rows = read_jsonl(results / "prompts/tiny/demo/test" / system / f"{direction}.jsonl")
                write_jsonl(self.prompts / system / f"{direction}.jsonl", rows[:lines])

    def plain(self, system: str) -> Times:
        """Times of all directions, one process per direction."""
        return sum(
            (
                run("timing.decode", "--plain", self.model, self.prompts / system / f"{direction}.jsonl",
                    self.scratch / "plain" / system / f"{direction}.txt", self.threads)
                for direction in DIRECTIONS
            ),
            start=Times(0.0, 0.0),
        )  # fmt: skip

    def workflow(self, system: str, engine: str, *settings: object) -> Times:
        """Times of all directions in one process; engine and settings name the output folder."""
        name = "-".join(map(str, (engine, *settings)))
        output = self.scratch / name / system
        shutil.rmtree(output, ignore_errors=True)
        converted = ("--converted", self.converted) if engine == "ctranslate2" else ()
        return run(
            "workflow_scripts.decode", "--model", self.model, *converted, "--engine", engine, "--prompts",
            self.prompts / system, "--directions", *DIRECTIONS, "--output", output, "--unfinished",
            self.scratch / "unfinished", "--beam", BEAM, "--max-new-tokens", MAX_NEW_TOKENS, "--batch-tokens",
            BATCH_TOKENS, "--early-stopping", "--threads", self.threads, *settings,
            python=VLLM if engine == "vllm" else sys.executable,
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
            for hypothesis in decode(engine, tokenizer, requests[direction], settings)
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

    def bleu(self, system: str, name: str) -> float:
        """Mean BLEU of a system over the directions."""
        scores = []
        for direction in DIRECTIONS:
            outputs = read_lines(self.scratch / name / system / f"{direction}.txt")
            references = read_lines(self.references / f"{direction}.ref.txt")[: len(outputs)]
            scores.append(metrics(direction)["BLEU"].corpus_score(outputs, [references]).score)
        return statistics.mean(scores)


SYSTEMS = {"few_shot": "5-shot", "zero_shot": "MT"}
# Names of the engines in the results, and how they are called.
ENGINES: dict[str, tuple[str, ...]] = {
    "transformers": ("transformers",),
    "ctranslate2": ("ctranslate2",),
    "int8": ("ctranslate2", "--compute-type", "int8"),
    "vllm": ("vllm",),
}


def main() -> None:
    """Run all versions, compare their times and texts, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="output file; the results are printed in any case")
    parser.add_argument("--results", type=Path, default=Path("results"), help="results folder of a finished demo")
    parser.add_argument("--lines", type=int, default=100, help="lines per direction")
    parser.add_argument("--rounds", type=int, default=1, help="repetitions of every measurement")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES), help="engines to time")
    parser.add_argument("--plain", nargs=4, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.plain:
        *paths, threads = arguments.plain
        decode_plainly(*map(Path, paths), int(threads))
        return
    if "vllm" in arguments.engines and not VLLM.exists():
        raise SystemExit(f"no file {VLLM}; run `make vllm`, or choose other --engines")

    with tempfile.TemporaryDirectory() as scratch:
        timing = DecodeTiming(arguments.results, arguments.lines, arguments.threads, Path(scratch))
        times: dict[str, list[Times]] = {}
        texts = {}
        torch.set_num_threads(arguments.threads)

        def record(name: str, measured: Times) -> None:
            times.setdefault(name, []).append(measured)
            print(f"  {name} {measured.wall:.1f} s, CPU {measured.cpu:.1f} s", file=sys.stderr, flush=True)

        for _ in range(arguments.rounds):
            for kind, system in SYSTEMS.items():
                record(f"{kind}_plain", timing.plain(system))
                for name in arguments.engines:
                    record(f"{kind}_{name}", timing.workflow(system, *ENGINES[name]))
            for name, batch_tokens in (("contrastive_plain", 1), ("contrastive_workflow", BATCH_TOKENS)):
                started = time.process_time()
                wall, texts[name] = timing.contrastive(batch_tokens)
                record(name, Times(wall, time.process_time() - started))
        identical = {
            f"{kind}_{name}": timing.identical(system, ("plain", "-".join(ENGINES[name])))
            for kind, system in SYSTEMS.items()
            for name in arguments.engines
        }
        identical["contrastive"] = statistics.mean(
            one == other for one, other in zip(texts["contrastive_plain"], texts["contrastive_workflow"], strict=True)
        )
        bleu = {
            f"{kind}_{name}": timing.bleu(system, "-".join(ENGINES[name]))
            for kind, system in SYSTEMS.items()
            for name in arguments.engines
        }

    def ratio(slow: str, fast: str) -> float:
        return statistics.median(one.wall / other.wall for one, other in zip(times[slow], times[fast], strict=True))

    results: dict[str, object] = {
        f"{kind}_speedup_{name}": ratio(f"{kind}_plain", f"{kind}_{name}")
        for kind in SYSTEMS
        for name in arguments.engines
    }
    results |= {f"few_shot_cost_{name}": ratio(f"few_shot_{name}", f"zero_shot_{name}") for name in arguments.engines}
    results |= {
        "contrastive_speedup": ratio("contrastive_plain", "contrastive_workflow"),
        # Weights of 8 bits change the text; everything else must not.
        "identical_lines": min(share for name, share in identical.items() if not name.endswith("int8")),
        "identical": identical,
        "bleu": bleu,
        "seconds": {name: statistics.median(one.wall for one in found) for name, found in times.items()},
        "cpu_seconds": {name: statistics.median(one.cpu for one in found) for name, found in times.items()},
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
