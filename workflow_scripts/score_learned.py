"""Score the outputs of one system with a learned metric, in the environment of that metric."""

import argparse
from functools import cache
from pathlib import Path
from typing import Any

from .lat.evaluation.learned import KINDS, Metric, Segment, load_metric, score_cached
from .lat.files import SCORE_COLUMNS, InputError, read_lines, sha256, write_table
from .lat.runtime import log, run_step

# Suffixes of the files that hold the weights of a local checkpoint.
WEIGHTS = (".safetensors", ".bin", ".ckpt")
# Suffix of the file of a local tokenizer.
TOKENIZER = (".model",)


def main() -> None:
    """Parse the flags, score every direction, and write the table of scores and the table of line scores.

    Raises:
        InputError: sources, hypotheses and references of a direction differ in their number of lines, or have none.
    """
    arguments = make_parser().parse_args()

    settings = settings_of(arguments)

    @cache
    def load() -> Metric:
        import torch

        torch.set_num_threads(arguments.threads)
        return load_metric(arguments.kind, arguments.model, settings)

    key = cache_key(arguments)
    # All files are read first, so that a mistake in one of them ends the job before any direction is scored.
    segments = {
        direction: read_segments(arguments.test, arguments.hypotheses, direction) for direction in arguments.directions
    }
    factor = KINDS[arguments.kind].factor
    score_rows, line_rows = [], []
    for direction in arguments.directions:
        scores, signature = score_cached(segments[direction], arguments.cache, key, load, arguments.batch_tokens)
        mean = factor * sum(scores) / len(scores)
        log.info("%s: mean %s %.1f over %d lines", direction, arguments.name, mean, len(scores))
        score_rows.append(
            {"direction": direction, "metric": arguments.name, "value": f"{mean:.4f}", "n": len(scores)}
            | {"signature": signature}
        )
        line_rows += [
            {"direction": direction, "line": number, "score": f"{factor * score:.4f}"}
            for number, score in enumerate(scores, 1)
        ]
    write_table(arguments.lines, line_rows, ("direction", "line", "score"))
    write_table(arguments.output, score_rows, SCORE_COLUMNS)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the flags."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", required=True, help="name of the metric in tables")
    parser.add_argument("--kind", choices=list(KINDS), required=True)
    parser.add_argument("--model", required=True, help="Hugging Face id or path of the checkpoint")
    parser.add_argument("--revision", help="revision of the Hugging Face repository")
    parser.add_argument(
        "--shape",
        nargs=4,
        type=int,
        metavar=("LAYERS", "HIDDEN", "HEADS", "VOCABULARY"),
        help="shape of a BLEURT checkpoint other than the published ones",
    )
    parser.add_argument("--tokenizer", help="Hugging Face id or folder of the tokenizer of MetricX")
    parser.add_argument("--tokenizer-revision", help="revision of its Hugging Face repository")
    parser.add_argument("--reference", action="store_true", default=None, help="give MetricX the references")
    parser.add_argument("--dtype", choices=["fp32", "bf16"], help="floating-point type of MetricX")
    parser.add_argument("--hypotheses", type=Path, required=True, help="folder with the files <direction>.txt")
    parser.add_argument("--test", type=Path, required=True, help="folder with the files <direction>.{src,ref}.txt")
    parser.add_argument("--directions", nargs="+", required=True)
    parser.add_argument("--batch-tokens", type=int, default=8192, help="maximum of rows x tokens of one batch")
    parser.add_argument("--threads", type=int, default=1, help="number of CPU threads")
    parser.add_argument("--cache", type=Path, required=True, help="folder with the scores of earlier runs")
    parser.add_argument("--lines", type=Path, required=True, help="output table, one row per output line")
    parser.add_argument("--output", type=Path, required=True, help="output table, one row per direction")
    return parser


def settings_of(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of the metric; those that are not given are None."""
    settings = {name: getattr(arguments, name) for kind in KINDS.values() for name in kind.settings}
    # A flag without a value cannot say `false`.
    return settings | ({"reference": bool(arguments.reference)} if arguments.kind == "metricx" else {})


def cache_key(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return everything besides the texts that determines the scores."""
    key = {"weights": hashes_of(arguments.model, WEIGHTS)}
    key |= {"kind": arguments.kind, "model": arguments.model, "revision": arguments.revision}
    if arguments.kind == "metricx":
        settings = settings_of(arguments)
        key |= {name: settings[name] for name in KINDS["metricx"].settings}
        key |= {"pieces": hashes_of(arguments.tokenizer, TOKENIZER)}
    return key


def hashes_of(place: str | None, suffixes: tuple[str, ...]) -> list[str]:
    """Return the hashes of the files with some suffixes in a local folder, or of a file that is one; else nothing."""
    found = [path for path in (Path(place), *Path(place).glob("*")) if path.suffix in suffixes] if place else []
    return [sha256(path) for path in sorted(found) if path.is_file()]


def read_segments(test: Path, hypotheses: Path, direction: str) -> list[Segment]:
    """Read the lines of a direction.

    Raises:
        InputError: sources, hypotheses and references differ in their number of lines, or have none.
    """
    texts = {
        "sources": read_lines(test / f"{direction}.src.txt"),
        "hypotheses": read_lines(hypotheses / f"{direction}.txt"),
        "references": read_lines(test / f"{direction}.ref.txt"),
    }
    if len(set(map(len, texts.values()))) != 1:
        counts = ", ".join(f"{len(lines)} {name}" for name, lines in texts.items())
        raise InputError(f"{direction}: {counts}; decode it again")
    if not texts["sources"]:
        raise InputError(f"{direction}: no lines to score; the test set is empty")
    return [Segment(*line_texts) for line_texts in zip(*texts.values(), strict=True)]


if __name__ == "__main__":
    run_step(main)
