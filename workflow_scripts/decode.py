"""Decode one system: load its model once for all directions, and write one text file per direction.

Answers to general instructions are decoded in the same way, as one more "direction", but keep their line breaks.

Finished lines are stored in a folder that is named by everything that determines them, so that a run that was killed
continues after its last finished batch.
"""

from __future__ import annotations

import argparse
import dataclasses
import hashlib
import itertools
import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

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
from .lat.languages import split_direction
from .lat.names import DTYPES
from .lat.runtime import Progress, log, run_step

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from .lat.decoding.requests import Engine, Hypothesis, Settings


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
    parser.add_argument(
        "--keep-unfinished", action="store_true", help="leave that folder, which other jobs of the same system use too"
    )
    parser.add_argument("--engine", choices=("transformers", "ctranslate2", "vllm"), default="transformers")
    parser.add_argument("--beam", type=int, required=True)
    parser.add_argument("--max-new-tokens", type=int, required=True)
    parser.add_argument("--early-stopping", action="store_true", help="end a search at --beam finished hypotheses")
    parser.add_argument("--batch-tokens", type=int, required=True, help="maximum of stored tokens per batch")
    parser.add_argument("--dtype", choices=DTYPES, default="fp32")
    parser.add_argument("--compute-type", default="float32", help="type that CTranslate2 computes with")
    parser.add_argument("--attention", default="sdpa", help="attention implementation of transformers")
    parser.add_argument("--language-boost", type=float, help="strength of a language boost, for transformers only")
    parser.add_argument("--samples", type=Path, help="training samples that show the tokens of each language")
    parser.add_argument("--threads", type=int, default=0)
    arguments = parser.parse_args()
    if (arguments.language_boost is None) != (arguments.samples is None):
        parser.error("--language-boost and --samples go together")

    # Imported here, since these libraries take seconds to load, and the check of the flags does without them.
    import torch

    from .lat.decoding.requests import Settings

    if arguments.threads:
        torch.set_num_threads(arguments.threads)

    settings = Settings(arguments.beam, arguments.max_new_tokens, arguments.batch_tokens)
    finished = arguments.unfinished / run_key(arguments, settings)
    waiting = [name for name in arguments.directions if not (finished / f"{name}.counts.tsv").exists()]
    if waiting:
        decode_directions(arguments, settings, waiting, finished)
    assemble(finished, arguments.directions, ".jsonl" if arguments.line_breaks else ".txt", arguments.output)
    if not arguments.keep_unfinished:
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
        arguments.compute_type,
        arguments.attention,
    ]
    if arguments.language_boost is not None:
        words += [arguments.language_boost, sha256(arguments.samples)]
    parts.append(json.dumps(words, sort_keys=True))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def decode_directions(arguments: argparse.Namespace, settings: Settings, waiting: list[str], finished: Path) -> None:
    """Decode the directions in `waiting`. The file of counts is written last and marks a direction as finished.

    The lines of the other directions are given to the engine too, so that the batches are those of a run that was not
    interrupted.
    """
    from .lat.decoding.requests import Hypothesis, decode_in_parts, read_requests
    from .lat.models import load_tokenizer, stop_tokens

    tokenizer = load_tokenizer(arguments.model)
    by_direction, end = read_requests(arguments.prompts, arguments.directions)
    requests = [request for of_direction in by_direction.values() for request in of_direction]
    ends = stop_tokens(tokenizer, end)
    engine = load_engine(arguments, tokenizer, ends)
    # Index of the first request of each direction.
    starts = dict(zip(by_direction, itertools.accumulate(map(len, by_direction.values()), initial=0), strict=False))
    journals = {direction: Journal(finished / f"{direction}.journal") for direction in waiting}
    done = {
        starts[direction] + int(index): Hypothesis(**fields)
        for direction, journal in journals.items()
        for batch in journal.read()
        for index, fields in batch.items()
    }
    missing = {direction: len(by_direction[direction]) for direction in waiting}
    progress = Progress(sum(missing.values()), "lines")
    progress.skip(len(done))
    elsewhere = {index for index, request in enumerate(requests) if request.group not in missing}
    for index in done:
        missing[requests[index].group] -= 1

    def write_complete() -> None:
        for direction in [name for name, count in missing.items() if not count]:
            del missing[direction]
            lines = range(starts[direction], starts[direction] + len(by_direction[direction]))
            write_direction(finished, direction, [done[index] for index in lines], arguments.line_breaks)

    write_complete()
    # A copy, since the engine reads it while `done` grows.
    known = elsewhere | done.keys()
    for found in decode_in_parts(engine, tokenizer, requests, settings, known, arguments.line_breaks, ends):
        new = {index: hypothesis for index, hypothesis in found.items() if index not in known}
        for direction in dict.fromkeys(requests[index].group for index in new):
            journals[direction].add(
                {
                    index - starts[direction]: dataclasses.asdict(hypothesis)
                    for index, hypothesis in new.items()
                    if requests[index].group == direction
                }
            )
        for index in new:
            missing[requests[index].group] -= 1
        done |= new
        progress.update(len(new))
        write_complete()


def write_direction(folder: Path, direction: str, hypotheses: list[Hypothesis], line_breaks: bool) -> None:
    """Write the outputs of a direction, then their counts."""
    if line_breaks:
        write_jsonl(folder / f"{direction}.jsonl", ({"answer": hypothesis.text} for hypothesis in hypotheses))
    else:
        write_lines(folder / f"{direction}.txt", (hypothesis.text for hypothesis in hypotheses))
    counts = {
        "direction": direction,
        "lines": len(hypotheses),
        "empty": sum(not hypothesis.text for hypothesis in hypotheses),
        "truncated": sum(hypothesis.truncated for hypothesis in hypotheses),
    }
    write_table(folder / f"{direction}.counts.tsv", [counts], list(counts))
    log.info("%s: %d lines, %d empty, %d truncated", *counts.values())


def load_engine(arguments: argparse.Namespace, tokenizer: PreTrainedTokenizerBase, ends: tuple[int, ...]) -> Engine:
    """Load the engine that the flags name, on a GPU if there is one; outputs end with one of the tokens `ends`."""
    import torch
    from transformers import AutoConfig

    from .lat.decoding.windows import context_window, sliding_window

    if arguments.engine == "ctranslate2":
        from .lat.decoding.ctranslate2_engine import CTranslate2Engine

        # Beyond a sliding window, CTranslate2 computes other values than transformers.
        config = AutoConfig.from_pretrained(arguments.model)
        windows = [window for window in (context_window(config), sliding_window(config)) if window]
        window = min(windows, default=None)
        return CTranslate2Engine(
            arguments.converted, tokenizer, window, arguments.compute_type, arguments.threads, ends
        )
    if arguments.engine == "vllm":
        from .lat.decoding.vllm_engine import VllmEngine

        return VllmEngine(
            arguments.model,
            ends,
            context_window(AutoConfig.from_pretrained(arguments.model)),
            arguments.dtype,
            arguments.early_stopping,
            torch.cuda.device_count(),
        )
    from .lat.decoding.transformers_engine import TransformersEngine
    from .lat.models import load_model

    model = load_model(arguments.model, arguments.dtype, arguments.attention)
    model = model.to("cuda" if torch.cuda.is_available() else "cpu")
    boosts = read_boosts(arguments, tokenizer, model) if arguments.samples else {}
    return TransformersEngine(model, tokenizer, arguments.early_stopping, ends, boosts)


def read_boosts(
    arguments: argparse.Namespace, tokenizer: PreTrainedTokenizerBase, model: PreTrainedModel
) -> dict[str, Tensor]:
    """Return what is added to the logits, [vocabulary], by direction.

    Raises:
        InputError: the samples have no text in the target language of a direction.
    """
    from .lat.decoding.boosts import language_boosts, texts_by_language

    texts = texts_by_language(read_jsonl(arguments.samples))
    vocabulary = model.get_output_embeddings().weight.shape[0]
    boosts = language_boosts(texts, tokenizer, vocabulary, arguments.language_boost)
    targets = {direction: split_direction(direction)[1] for direction in arguments.directions}
    for direction, target in targets.items():
        if target not in boosts:
            raise InputError(
                f"{arguments.samples}: no text in {target}, so that {direction} has no language boost; add supervised"
                " directions with this language, or remove `language_boost` from the system"
            )
    return {direction: boosts[target] for direction, target in targets.items()}


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
