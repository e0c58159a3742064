"""Where the time of a training step of this workflow goes, by kind of operation, with the profiler of PyTorch.

    python -m timing.profile_step --json profile_step.json

The models and batches are those of `timing.train_step`. Each model is profiled in a new process. `outside` is the time
of a step in which no operation of PyTorch runs: Python, the engine, and the autograd engine between operations. The
profiler itself lengthens steps of many small operations; `seconds` is the time of a step without the profiler.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from timing.train_step import SHAPES, VERSIONS, WARM_UP, build, draw_batch
from workflow_scripts.lat.runtime import cpu_model
from workflow_scripts.lat.training.samples import EncodedSample

OUTSIDE = "outside"
OTHER = "other"
# Parts of the names of operations, by kind; the first kind with a fitting part counts.
KINDS = {
    "optimizer": ("adam", "_foreach_", "linalg_vector_norm"),
    "attention": ("scaled_dot_product", "softmax", "bmm", "baddbmm"),
    "matrix products": ("::mm", "::addmm", "::matmul", "::linear"),
    "exponentials and sums of the head": ("::exp", "::log", "logsumexp", "::amax", "::sum"),
    "copies and zeros": ("copy", "zero", "fill", "::cat", "index", "gather", "scatter", "clone", "embedding"),
    "element-wise": (
        "::mul", "::add", "::sub", "::div", "::neg", "::rsqrt", "::rsub", "::pow", "::mean", "silu", "gelu", "::sqrt",
        "::cos", "::sin", "tanh", "clamp", "where", "rms_norm", "layer_norm", "::minimum", "::maximum",
    ),
}  # fmt: skip


def kind_of(operation: str) -> str:
    """Return the kind of an operation of PyTorch by its name, such as `aten::mm`."""
    name = operation.lower()
    return next((kind for kind, parts in KINDS.items() if any(part in name for part in parts)), OTHER)


def run_steps(step: Callable[[Sequence[EncodedSample]], None], batches: Sequence[Sequence[EncodedSample]]) -> float:
    """Run some steps, and return the median of their seconds."""
    seconds = []
    for batch in batches:
        started = time.perf_counter()
        step(batch)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def profile_step(shape: str, steps: int, threads: int) -> dict[str, object]:
    """Return the seconds of a step without the profiler, and the share of each kind of operation with it.

    Args:
        shape: name of a model in `SHAPES`.
        steps: number of steps, once without and once with the profiler.
        threads: CPU threads.
    """
    torch.set_num_threads(threads)
    vocabulary = SHAPES[shape]["vocabulary"]
    step = VERSIONS["workflow"](shape, build(shape))
    batches = [draw_batch(shape, vocabulary, seed=number) for number in range(WARM_UP + steps)]
    run_steps(step, batches[:WARM_UP])
    seconds = run_steps(step, batches[WARM_UP:])
    with profile(activities=[ProfilerActivity.CPU], acc_events=True) as profiler:
        started = time.perf_counter()
        run_steps(step, batches[WARM_UP:])
        profiled = time.perf_counter() - started
    kinds: defaultdict[str, float] = defaultdict(float)
    operations: dict[str, float] = {}
    for event in profiler.key_averages():
        # Names without a namespace are labels around operations, such as that of the backward pass of a function.
        if "::" in event.key and "autograd::" not in event.key:
            operations[event.key] = event.self_cpu_time_total / 1e6
            kinds[kind_of(event.key)] += operations[event.key]
    kinds[OUTSIDE] = profiled - sum(kinds.values())
    longest = sorted(operations.items(), key=lambda item: -item[1])[:12]
    return {
        "seconds": seconds,
        "profiled_seconds": profiled / steps,
        "shares": {kind: value / profiled for kind, value in sorted(kinds.items(), key=lambda item: -item[1])},
        "longest": {name: value / profiled for name, value in longest},
    }


def main() -> None:
    """Profile all models, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="output file; the results are printed in any case")
    parser.add_argument("--steps", type=int, default=3, help="profiled steps; ten times as many with the small model")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(profile_step(arguments.one, arguments.steps, arguments.threads)))
        return
    results: dict[str, object] = {}
    for shape in SHAPES:
        steps = arguments.steps * (10 if shape == "tiny" else 1)
        words = ["--one", shape, "--steps", str(steps), "--threads", str(arguments.threads)]
        done = subprocess.run([sys.executable, "-m", "timing.profile_step", *words], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(done.stderr[-2000:])
        results[shape] = json.loads(done.stdout.splitlines()[-1])
    text = json.dumps(results | {"machine": cpu_model(), "torch": torch.__version__}, indent=2)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
