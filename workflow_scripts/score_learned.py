"""Score one system's outputs with a learned metric, in that metric's own environment."""

import argparse
from functools import cache
from pathlib import Path

from .lat.evaluation.learned import Metric, Segment, load_metric, score_cached
from .lat.files import SCORE_COLUMNS, InputError, read_lines, sha256, write_table
from .lat.runtime import log, run_step

# Endings of files that hold weights, where a checkpoint is a local path.
WEIGHTS = (".safetensors", ".bin", ".ckpt")


def main() -> None:
    """Parse the flags, score each direction, write figures and the scores of all lines."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", required=True, help="what tables call the metric")
    parser.add_argument("--kind", choices=["bleurt", "comet"], required=True)
    parser.add_argument("--model", required=True, help="hub id or path of the checkpoint")
    parser.add_argument("--revision", help="of the hub's repository")
    parser.add_argument(
        "--shape",
        nargs=4,
        type=int,
        metavar=("LAYERS", "HIDDEN", "HEADS", "VOCABULARY"),
        help="of a BLEURT checkpoint that is none of the published ones",
    )
    parser.add_argument("--hypotheses", type=Path, required=True, help="folder of <direction>.txt")
    parser.add_argument("--test", type=Path, required=True, help="folder of <direction>.{src,ref}.txt")
    parser.add_argument("--directions", nargs="+", required=True)
    parser.add_argument("--batch-tokens", type=int, default=8192, help="bound on rows x tokens of one batch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=Path, required=True, help="folder of earlier scores")
    parser.add_argument("--lines", type=Path, required=True, help="table of scores, a row an output line")
    parser.add_argument("--output", type=Path, required=True, help="table of figures, a row a direction")
    arguments = parser.parse_args()

    @cache
    def load() -> Metric:
        import torch

        torch.set_num_threads(arguments.threads)
        return load_metric(arguments.kind, arguments.model, arguments.revision, arguments.shape)

    weights = [path for path in (Path(arguments.model), *Path(arguments.model).glob("*")) if path.suffix in WEIGHTS]
    key = {"weights": [sha256(path) for path in sorted(weights) if path.is_file()]}
    key |= {"kind": arguments.kind, "model": arguments.model, "revision": arguments.revision}
    figures, lines = [], []
    for direction in arguments.directions:
        texts = {
            "sources": read_lines(arguments.test / f"{direction}.src.txt"),
            "hypotheses": read_lines(arguments.hypotheses / f"{direction}.txt"),
            "references": read_lines(arguments.test / f"{direction}.ref.txt"),
        }
        if len(set(map(len, texts.values()))) != 1:
            counts = ", ".join(f"{len(its)} {what}" for what, its in texts.items())
            raise InputError(f"{direction}: {counts}; decode it again")
        segments = [Segment(*texts_of) for texts_of in zip(*texts.values(), strict=True)]
        scores, signature = score_cached(segments, arguments.cache, key, load, arguments.batch_tokens)
        # In hundredths, as the paper prints BLEURT.
        mean = 100 * sum(scores) / len(scores)
        log.info("%s: %s %.1f of %d lines", direction, arguments.name, mean, len(scores))
        figures.append(
            {"direction": direction, "metric": arguments.name, "value": f"{mean:.4f}", "n": len(scores)}
            | {"signature": signature}
        )
        lines += [
            {"direction": direction, "line": number, "score": f"{100 * score:.4f}"}
            for number, score in enumerate(scores, 1)
        ]
    write_table(arguments.lines, lines, ("direction", "line", "score"))
    write_table(arguments.output, figures, SCORE_COLUMNS)


if __name__ == "__main__":
    run_step(main)
