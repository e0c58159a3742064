"""Choose among the snapshots of a stage-2 training: each translates the dev directions, and the best becomes the model.

The stage-1 model is measured, too, as step 0, but cannot be chosen. The outputs of a finished snapshot are stored, so
that a run that was killed continues with the next one.
"""

from __future__ import annotations

import argparse
import gc
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .lat.data.lid import load_identifier
from .lat.evaluation.choosing import TOLERANCE, Candidate, choose
from .lat.evaluation.offtarget import classify, target_labels
from .lat.evaluation.scores import METRICS, translation_scores
from .lat.files import atomic_write, read_lines, replaced_folder, sha256, write_lines, write_table
from .lat.names import AVERAGE, DTYPES
from .lat.runtime import Progress, log, run_step

if TYPE_CHECKING:
    from .lat.decoding.requests import Request

COLUMNS = ("step", "direction", "lines", "OTR", "chrF++", "BLEU")


class Measured(NamedTuple):
    """The outputs of one snapshot in one dev direction: lines, off-target lines, and scores by metric."""

    lines: int
    off_target: int
    scores: Mapping[str, float]


def main() -> None:
    """Parse the flags, decode with each snapshot, measure the outputs, and write curve, choice, outputs and model."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stage1", type=Path, required=True, help="folder of the model before the training")
    parser.add_argument("--snapshots", type=Path, required=True, help="folder with the models step<number>")
    parser.add_argument("--trained", type=Path, required=True, help="folder of the model after the last step")
    parser.add_argument(
        "--steps", type=int, nargs="+", required=True, help="steps to compare; the last is that of the training"
    )
    parser.add_argument("--prompts", type=Path, required=True, help="folder of <direction>.jsonl")
    parser.add_argument("--dev", type=Path, required=True, help="folder of <direction>.{src,ref}.txt")
    parser.add_argument("--directions", nargs="+", required=True, help="the dev directions")
    parser.add_argument("--lid", required=True, help="a fastText model file, or `py3langid`")
    parser.add_argument("--max-new-tokens", type=int, required=True)
    parser.add_argument("--batch-tokens", type=int, required=True, help="maximum of stored tokens per batch")
    parser.add_argument("--dtype", choices=DTYPES, default="fp32")
    parser.add_argument("--attention", default="sdpa", help="attention implementation of transformers")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--unfinished", type=Path, required=True, help="folder of the outputs of an unfinished run")
    parser.add_argument("--curve", type=Path, required=True, help="table of scores, one row per step and direction")
    parser.add_argument("--choice", type=Path, required=True, help="the chosen step, JSON")
    parser.add_argument("--outputs", type=Path, required=True, help="folder of step<number>/<direction>.txt")
    parser.add_argument("--model", type=Path, required=True, help="folder of the chosen model, hard links to its files")
    arguments = parser.parse_args()

    models = {step: arguments.snapshots / f"step{step}" for step in arguments.steps}
    models = {0: arguments.stage1} | models | {arguments.steps[-1]: arguments.trained}
    outputs = decode_all(arguments, models)
    curve, signatures = measure(arguments, outputs)
    write_table(arguments.curve, rows_of(curve), COLUMNS)
    with replaced_folder(arguments.outputs) as partial:
        for step, folder in outputs.items():
            shutil.copytree(folder, partial / f"step{step}")
    candidates = candidates_of({step: curve[step] for step in arguments.steps})
    chosen = choose(candidates)
    with replaced_folder(arguments.model) as partial:
        shutil.copytree(models[chosen.step], partial, copy_function=os.link, dirs_exist_ok=True)
    with atomic_write(arguments.choice) as handle:
        record = {
            "step": chosen.step,
            "tolerance_lines": TOLERANCE,
            "candidates": [candidate._asdict() for candidate in candidates],
            "signatures": signatures,
        }
        json.dump(record, handle, indent=2)
        handle.write("\n")
    shutil.rmtree(arguments.unfinished)
    log.info("step %d is chosen: %d off-target lines, chrF++ %.1f", *chosen)


def decode_all(arguments: argparse.Namespace, models: Mapping[int, Path]) -> dict[int, Path]:
    """Decode with each model that is not finished yet, and return the folders of all outputs by step."""
    import torch

    from .lat.decoding.requests import read_requests

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    by_direction, end = read_requests(arguments.prompts, arguments.directions)
    requests = [request for of_direction in by_direction.values() for request in of_direction]
    folders = {
        step: arguments.unfinished / f"step{step}-{outputs_key(arguments, model)}" for step, model in models.items()
    }
    waiting = [step for step, folder in folders.items() if not folder.is_dir()]
    progress = Progress(len(waiting) * len(requests), "lines")
    for step in waiting:
        texts = iter(decode_one(arguments, models[step], requests, end, progress, f"step {step}"))
        # What a run with other settings left, since a folder is named by all that determines its lines.
        for other in arguments.unfinished.glob(f"step{step}-*"):
            shutil.rmtree(other)
        with replaced_folder(folders[step]) as partial:
            for direction, of_direction in by_direction.items():
                write_lines(partial / f"{direction}.txt", [next(texts) for _ in of_direction])
    return folders


def outputs_key(arguments: argparse.Namespace, model: Path) -> str:
    """Name the outputs of a model by everything that determines them, so that no other run reuses them."""
    parts = [f"{direction} {sha256(arguments.prompts / f'{direction}.jsonl')}" for direction in arguments.directions]
    files = sorted(path for path in model.iterdir() if path.is_file())
    parts += [f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files]
    settings = arguments.max_new_tokens, arguments.batch_tokens, arguments.dtype, arguments.attention
    return hashlib.sha256("\n".join([*parts, *map(str, settings)]).encode()).hexdigest()[:16]


def decode_one(
    arguments: argparse.Namespace,
    model: Path,
    requests: Sequence[Request],
    end: str | None,
    progress: Progress,
    note: str,
) -> list[str]:
    """Decode all requests greedily with one model, on a GPU if there is one, and return the texts in their order.

    Args:
        arguments: the parsed flags.
        model: folder of the model.
        requests: the lines of all directions.
        end: the end-of-turn token of the template; None for the end token of the tokenizer.
        progress: counts the decoded lines of all models.
        note: what its messages end with.
    """
    import torch

    from .lat.decoding.requests import Settings, decode_in_parts
    from .lat.decoding.transformers_engine import TransformersEngine
    from .lat.models import load_model, load_tokenizer, stop_tokens

    tokenizer = load_tokenizer(model)
    ends = stop_tokens(tokenizer, end)
    loaded = load_model(model, arguments.dtype, arguments.attention)
    engine = TransformersEngine(loaded.to("cuda" if torch.cuda.is_available() else "cpu"), tokenizer, ends=ends)
    settings = Settings(1, arguments.max_new_tokens, arguments.batch_tokens)
    texts: dict[int, str] = {}
    for found in decode_in_parts(engine, tokenizer, requests, settings, ends=ends):
        texts |= {index: hypothesis.text for index, hypothesis in found.items()}
        progress.update(len(found), note)
    # The next model needs the memory of this one.
    del loaded, engine
    gc.collect()
    return [texts[index] for index in range(len(requests))]


def measure(
    arguments: argparse.Namespace, outputs: Mapping[int, Path]
) -> tuple[dict[int, dict[str, Measured]], dict[str, str]]:
    """Identify the languages of the outputs, and score them.

    Args:
        arguments: the parsed flags.
        outputs: folders of <direction>.txt by step.

    Returns:
        What was measured by step and direction, and the signature of each metric by `metric direction`.
    """
    identifier = load_identifier(arguments.lid)
    curve: dict[int, dict[str, Measured]] = {step: {} for step in outputs}
    signatures = {"OTR": identifier.signature}
    for direction in arguments.directions:
        sources, references = (read_lines(arguments.dev / f"{direction}.{side}.txt") for side in ("src", "ref"))
        for step, folder in outputs.items():
            lines = read_lines(folder / f"{direction}.txt")
            classified = classify(identifier.identify(lines), lines, sources, direction)
            scores = translation_scores(lines, references, direction)
            off_target = sum(line.label not in target_labels(direction) for line in classified)
            values = {score.metric: score.value for score in scores}
            signatures |= {f"{score.metric} {direction}": score.signature for score in scores}
            curve[step][direction] = Measured(len(lines), off_target, values)
    return curve, signatures


def rows_of(curve: Mapping[int, Mapping[str, Measured]]) -> list[dict[str, object]]:
    """Return the rows of the table of scores: for each step, its directions and their mean."""
    rows: list[dict[str, object]] = []
    for step, directions in curve.items():
        shares = {direction: 100 * found.off_target / found.lines for direction, found in directions.items()}
        of_step = [
            {"step": step, "direction": direction, "lines": found.lines, "OTR": shares[direction], **found.scores}
            for direction, found in directions.items()
        ]
        average = {"step": step, "direction": AVERAGE, "lines": sum(found.lines for found in directions.values())}
        average |= {"OTR": mean(list(shares.values()))}
        average |= {metric: mean([found.scores[metric] for found in directions.values()]) for metric in METRICS}
        for row in [*of_step, average]:
            rows.append(row | {metric: f"{row[metric]:.4f}" for metric in ("OTR", *METRICS)})
        log.info("step %d: OTR %.1f %%, chrF++ %.1f, BLEU %.1f", step, *(average[name] for name in COLUMNS[3:]))
    return rows


def candidates_of(curve: Mapping[int, Mapping[str, Measured]]) -> list[Candidate]:
    """Return the candidates, with chrF++ as precise as the table of scores shows it."""
    return [
        Candidate(
            step,
            sum(found.off_target for found in directions.values()),
            round(mean([found.scores["chrF++"] for found in directions.values()]), 4),
        )
        for step, directions in curve.items()
    ]


def mean(values: Sequence[float]) -> float:
    """Return the mean of some numbers."""
    return sum(values) / len(values)


if __name__ == "__main__":
    run_step(main)
