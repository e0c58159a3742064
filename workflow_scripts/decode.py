"""Decode one system: load its model once for all directions, and write one text file per direction.

Answers to general instructions are decoded in the same way, as one more "direction", but keep their line breaks.

Finished lines are stored in a folder that is named by everything that determines them, so that a run that was killed
continues after its last finished batch.
"""

import argparse
import dataclasses
import hashlib
import json
import shutil
from pathlib import Path

import torch
from transformers import AutoConfig, PreTrainedTokenizerBase

from .lat.decoding import (
    CTranslate2Engine,
    Engine,
    Hypothesis,
    Request,
    Settings,
    TransformersEngine,
    VllmEngine,
    context_window,
    decode_in_batches,
    sliding_window,
)
from .lat.files import (
    InputError,
    Journal,
    read_jsonl,
    read_table,
    replaced_folder,
    sha256,
    write_jsonl,
    write_lines,
    write_table,
)
from .lat.models import DTYPES, load_model, load_tokenizer
from .lat.runtime import Progress, log, run_step


def main() -> None:
    """Parse the flags, decode the directions that are not finished yet, and assemble the output folder."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of the model")
    parser.add_argument("--converted", type=Path, help="the model converted for CTranslate2, for that engine only")
    parser.add_argument("--prompts", type=Path, required=True, help="folder of <direction>.jsonl")
    parser.add_argument("--directions", nargs="+", required=True)
    parser.add_argument(
        "--line-breaks", action="store_true", help="keep line breaks, and write <direction>.jsonl instead of .txt"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of <direction>.txt and counts.tsv")
    parser.add_argument("--unfinished", type=Path, required=True, help="folder of lines of an unfinished run")
    parser.add_argument("--engine", choices=("transformers", "ctranslate2", "vllm"), default="transformers")
    parser.add_argument("--beam", type=int, required=True)
    parser.add_argument("--max-new-tokens", type=int, required=True)
    parser.add_argument("--early-stopping", action="store_true", help="end a search at --beam finished hypotheses")
    parser.add_argument("--batch-tokens", type=int, required=True, help="maximum of rows x tokens per batch")
    parser.add_argument("--dtype", choices=DTYPES, default="fp32")
    parser.add_argument("--attention", default="sdpa", help="attention implementation of transformers")
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)

    settings = Settings(arguments.beam, arguments.max_new_tokens, arguments.batch_tokens)
    finished = arguments.unfinished / run_key(arguments, settings)
    waiting = [name for name in arguments.directions if not (finished / f"{name}.counts.tsv").exists()]
    if waiting:
        decode_directions(arguments, settings, waiting, finished)
    assemble(finished, arguments.directions, ".jsonl" if arguments.line_breaks else ".txt", arguments.output)
    shutil.rmtree(arguments.unfinished)


def run_key(arguments: argparse.Namespace, settings: Settings) -> str:
    """Name the state of a run by everything that determines its lines, so that no other run reuses them."""
    inputs = sorted(arguments.prompts.glob("*.jsonl"))
    parts = [f"{path.name} {sha256(path)}" for path in inputs]
    weights = sorted(path for path in arguments.model.iterdir() if path.is_file())
    parts += [f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in weights]
    words = [
        settings.__dict__,
        arguments.line_breaks,
        arguments.engine,
        arguments.early_stopping,
        arguments.dtype,
        arguments.attention,
    ]
    parts.append(json.dumps(words, sort_keys=True))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def decode_directions(arguments: argparse.Namespace, settings: Settings, waiting: list[str], finished: Path) -> None:
    """Decode the directions in `waiting`. The file of counts is written last and marks a direction as finished."""
    tokenizer = load_tokenizer(arguments.model)
    engine = load_engine(arguments, tokenizer)
    rows = {direction: read_jsonl(arguments.prompts / f"{direction}.jsonl") for direction in waiting}
    progress = Progress(sum(map(len, rows.values())), "lines")
    for direction in waiting:
        requests = [
            Request(row["prompt"], tuple((prompt, weight) for prompt, weight in row["contrasts"]))
            for row in rows[direction]
        ]
        language = rows[direction][0]["prompt_language"] if rows[direction] else "en"
        journal = Journal(finished / f"{direction}.journal")
        done = {int(index): Hypothesis(**fields) for batch in journal.read() for index, fields in batch.items()}
        progress.skip(len(done))
        try:
            for batch in decode_in_batches(
                engine, tokenizer, requests, settings, language, done, arguments.line_breaks
            ):
                journal.add({index: dataclasses.asdict(hypothesis) for index, hypothesis in batch.items()})
                done |= batch
                progress.update(len(batch))
        except InputError as error:
            raise InputError(f"{direction}: {error}") from None
        hypotheses = [done[index] for index in range(len(requests))]
        if arguments.line_breaks:
            write_jsonl(finished / f"{direction}.jsonl", ({"answer": hypothesis.text} for hypothesis in hypotheses))
        else:
            write_lines(finished / f"{direction}.txt", (hypothesis.text for hypothesis in hypotheses))
        counts = {
            "direction": direction,
            "lines": len(hypotheses),
            "empty": sum(not hypothesis.text for hypothesis in hypotheses),
            "truncated": sum(hypothesis.truncated for hypothesis in hypotheses),
        }
        write_table(finished / f"{direction}.counts.tsv", [counts], list(counts))
        log.info("%s: %d lines, %d empty, %d truncated", *counts.values())


def load_engine(arguments: argparse.Namespace, tokenizer: PreTrainedTokenizerBase) -> Engine:
    """Load the engine that the flags name, on a GPU if there is one."""
    if arguments.engine == "ctranslate2":
        # Beyond a sliding window, CTranslate2 computes other values than transformers.
        config = AutoConfig.from_pretrained(arguments.model)
        windows = [window for window in (context_window(config), sliding_window(config)) if window]
        window = min(windows, default=None)
        return CTranslate2Engine(arguments.converted, tokenizer, window, arguments.dtype, arguments.threads)
    if arguments.engine == "vllm":
        window = context_window(AutoConfig.from_pretrained(arguments.model))
        return VllmEngine(arguments.model, window, arguments.dtype, max(1, torch.cuda.device_count()))
    model = load_model(arguments.model, arguments.dtype, arguments.attention)
    model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    return TransformersEngine(model, tokenizer, arguments.early_stopping)


def assemble(finished: Path, directions: list[str], suffix: str, output: Path) -> None:
    """Copy the files of all directions to the output folder, which appears only when it is complete."""
    with replaced_folder(output) as partial:
        counts = []
        for direction in directions:
            shutil.copy(finished / f"{direction}{suffix}", partial)
            counts += read_table(finished / f"{direction}.counts.tsv")
        write_table(partial / "counts.tsv", counts, list(counts[0]))


if __name__ == "__main__":
    run_step(main)
