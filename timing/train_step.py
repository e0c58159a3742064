"""Time and peak memory of a stage-2 training step, plain and packed, and the time of its matrix products alone.

`plain`   The step of the published trainer: two forward passes over padded batches, logits of every position, softmax,
          log.
`packed`  The step of this workflow: `ResponseLoss` over packed sequences.

Both compute the same gradients, which this script checks before it measures.

    python -m timing.train_step --json train_step.json

Every measurement runs in a new process, so that no version profits from memory that another version has allocated. The
versions are measured alternately, and ratios are medians over the rounds.
"""

import argparse
import json
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib
import torch
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedModel

from workflow_scripts.lat.training import head
from workflow_scripts.lat.training.layout import Layout
from workflow_scripts.lat.training.modelling import IGNORED, ResponseLoss
from workflow_scripts.lat.training.samples import EncodedSample, to_tensors

ALPHA = 0.05
SHAPES = {
    # Hidden size 512, 8 layers, and the vocabulary of LLaMA3.
    "large": {"vocabulary": 128_256, "hidden": 512, "intermediate": 1376, "layers": 8, "heads": 8, "tied": False},
    # The model of the demo.
    "tiny": {"vocabulary": 6_000, "hidden": 128, "intermediate": 352, "layers": 3, "heads": 4, "tied": True},
}
# Samples per batch, and the median tokens of prompts and responses. The lengths are those of Alpaca prompts with their
# preamble (large) and of the demo's prompts, which have none (tiny).
BATCHES = {"large": (8, 90, 30), "tiny": (16, 45, 18)}
VOCABULARIES = (8_000, 32_000, 64_000, 128_256)
PAD = 0


def build(name: str, vocabulary: int | None = None) -> PreTrainedModel:
    """A randomly initialised Llama of one of `SHAPES`."""
    shape = SHAPES[name]
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary or shape["vocabulary"],
            hidden_size=shape["hidden"],
            intermediate_size=shape["intermediate"],
            num_hidden_layers=shape["layers"],
            num_attention_heads=shape["heads"],
            tie_word_embeddings=shape["tied"],
            max_position_embeddings=1024,
        )
    )


def draw_batch(name: str, vocabulary: int, seed: int) -> list[EncodedSample]:
    """Random samples with log-normal lengths; a conflict is as long as its prompt, plus or minus one token."""
    count, prompt, response = BATCHES[name]
    generator = torch.Generator().manual_seed(seed)

    def lengths(median: int, sigma: float) -> list[int]:
        return (median * torch.exp(sigma * torch.randn(count, generator=generator))).clamp(min=4).int().tolist()

    def tokens(length: int) -> list[int]:
        return torch.randint(1, vocabulary, (length,), generator=generator).tolist()

    return [
        EncodedSample(tokens(prompt_length), tokens(response_length), tokens(prompt_length + number % 3 - 1))
        for number, (prompt_length, response_length) in enumerate(
            zip(lengths(prompt, 0.2), lengths(response, 0.5), strict=True)
        )
    ]


def padded(prompts: Sequence[list[int]], responses: Sequence[list[int]]) -> dict[str, Tensor]:
    """Make a padded batch, as a data collator does."""
    longest = max(len(prompt) + len(response) for prompt, response in zip(prompts, responses, strict=True))
    ids, mask, labels = (torch.full((len(prompts), longest), value) for value in (PAD, 0, IGNORED))
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        end = len(prompt) + len(response)
        ids[row, :end] = torch.tensor(prompt + response)
        mask[row, :end] = 1
        labels[row, len(prompt) : end] = torch.tensor(response)
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def plain_loss(model: PreTrainedModel, samples: Sequence[EncodedSample]) -> Tensor:
    """The objective in the plain way: two forward passes, full logits, log of softmax and of one minus softmax."""
    responses = [sample.response for sample in samples]
    count = sum(map(len, responses))
    loss = torch.zeros(())
    for prompts, conflicting in (
        ([sample.prompt for sample in samples], False),
        ([sample.conflict or [] for sample in samples], True),
    ):
        batch = padded(prompts, responses)
        labels = batch.pop("labels")[:, 1:]
        logits = model(**batch, use_cache=False).logits[:, :-1].float()
        kept = labels != IGNORED
        targets = labels.clamp(min=0)[..., None]
        if conflicting:
            p = torch.softmax(logits, -1)
            one_minus_p = torch.clamp(1 - p, min=1e-9)
            loss = loss - ALPHA * torch.log(one_minus_p).gather(-1, targets)[..., 0][kept].sum() / count
        else:
            loss = loss - torch.log_softmax(logits, -1).gather(-1, targets)[..., 0][kept].sum() / count
    return loss


def packed_loss(module: ResponseLoss, samples: Sequence[EncodedSample], layout: str = "packed") -> Tensor:
    """The objective of this workflow: one forward pass, head and losses in slices.

    Args:
        module: the model with its loss.
        samples: the samples of a batch.
        layout: `packed` packs the sequences into rows, as in training; `one row` packs them into a single row;
            `padded` pads them, one sequence per row.
    """
    layouts: dict[str, Layout] = {"packed": "rows", "one row": "single row", "padded": "padded"}
    tensors = to_tensors(samples, PAD, layouts[layout], device=torch.device("cpu"))
    total, _ = module(**tensors)
    return total / sum(len(sample.response) for sample in samples)


def loss_of(version: str, model: PreTrainedModel) -> Callable[[Sequence[EncodedSample]], Tensor]:
    """The loss function of a version: `plain`, or a layout of `packed_loss`."""
    if version == "plain":
        return lambda samples: plain_loss(model, samples)
    module = ResponseLoss(model, ALPHA)
    return lambda samples: packed_loss(module, samples, version)


def resident_mb(peak: bool = False) -> float:
    """Resident memory of this process in MiB: now, or the peak since `forget_peak`."""
    key = "VmHWM" if peak else "VmRSS"
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1024


def forget_peak() -> None:
    """Reset the peak of the resident memory to its current value (Linux only)."""
    Path("/proc/self/clear_refs").write_text("5")


def measure(version: str, shape: str, vocabulary: int, steps: int, threads: int) -> dict[str, float]:
    """Seconds per step, and peak memory in MiB above weights, gradients and optimizer state, in a new process."""
    torch.set_num_threads(threads)
    model = build(shape, vocabulary)
    loss = loss_of(version, model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    seconds = []
    extra = 0.0
    # Memory of any version: everything so far, weights included; the gradients; the two moments of the optimizer.
    held = resident_mb() + 3 * sum(parameter.numel() * 4 for parameter in model.parameters()) / 2**20
    for step in range(steps + 1):
        samples = draw_batch(shape, vocabulary, seed=step)
        forget_peak()
        started = time.perf_counter()
        loss(samples).backward()
        peak = resident_mb(peak=True)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step:  # The first step is a warm-up and creates the optimizer state.
            seconds.append(time.perf_counter() - started)
            extra = max(extra, peak - held)
    return {"seconds": statistics.median(seconds), "extra_mb": extra}


def products_seconds(shape: str, vocabulary: int, steps: int, threads: int) -> dict[str, float]:
    """Seconds per packed step of its matrix products alone, on prepared operands.

    They are one product in the forward pass and two in the backward pass, for every linear layer and for the head.
    """
    torch.set_num_threads(threads)
    model = build(shape, vocabulary)
    calls: list[tuple[int, int, int]] = []
    for module in model.modules():
        if isinstance(module, nn.Linear) and module is not model.get_output_embeddings():
            module.register_forward_hook(
                lambda layer, inputs, _: calls.append(
                    (inputs[0].numel() // layer.in_features, *layer.weight.shape[::-1])
                )
            )
    plain = head._logits
    head._logits = lambda hidden, weight, cap: (
        calls.append((len(hidden), *weight.shape[::-1])),
        plain(hidden, weight, cap),
    )[1]
    module = ResponseLoss(model, ALPHA)
    seconds = []
    for step in range(steps + 1):
        calls.clear()
        with torch.no_grad():
            packed_loss(module, draw_batch(shape, vocabulary, seed=step))
        operands = {
            (rows, columns, inner): (
                torch.randn(rows, columns),
                torch.randn(inner, columns),
                torch.randn(rows, inner),
                torch.empty(rows, inner),
                torch.empty(rows, columns),
                torch.empty(inner, columns),
            )
            for rows, columns, inner in set(calls)
        }
        started = time.perf_counter()
        for call in calls:
            inputs, weight, gradient, outputs, inputs_gradient, weight_gradient = operands[call]
            torch.mm(inputs, weight.t(), out=outputs)
            torch.mm(gradient, weight, out=inputs_gradient)
            torch.mm(gradient.t(), inputs, out=weight_gradient)
        seconds.append(time.perf_counter() - started)
    return {"seconds": statistics.median(seconds[1:])}


def check_equal(shape: str) -> float:
    """Largest relative difference of a gradient between the plain and the packed version.

    Raises:
        SystemExit: the gradients differ by more than 1e-4.
    """
    samples = draw_batch(shape, SHAPES[shape]["vocabulary"], seed=0)
    found = {}
    for version in ("plain", "packed"):
        model = build(shape)
        loss_of(version, model)(samples).backward()
        found[version] = {name: parameter.grad for name, parameter in model.named_parameters()}
    worst = max(
        ((found["packed"][name] - gradient).norm() / gradient.norm()).item()
        for name, gradient in found["plain"].items()
    )
    if worst > 1e-4:
        raise SystemExit(f"gradients differ by {worst:.1e}: there is nothing to compare")
    return worst


def in_fresh_process(*words: object) -> dict[str, float]:
    """Run one measurement of this script in a new process and return its results."""
    command = [sys.executable, "-m", "timing.train_step", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"{' '.join(command)}\n{done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(shape: str, vocabulary: int, rounds: int, steps: int, threads: int) -> dict[str, float]:
    """Measure all versions alternately and return the medians over the rounds."""
    results: dict[str, list[dict[str, float]]] = {
        version: [] for version in ("plain", "packed", "products", "padded", "one row")
    }
    for _ in range(rounds):
        for version, found in results.items():
            found.append(in_fresh_process("--one", version, shape, vocabulary, steps, threads))
            print(f"  {shape} {vocabulary:>7} {version:8} {json.dumps(found[-1])}", file=sys.stderr, flush=True)
    plain, packed, products, padded_rows, one_row = results.values()

    def median_ratio(numerators: list[dict[str, float]], denominators: list[dict[str, float]], key: str) -> float:
        return statistics.median(above[key] / below[key] for above, below in zip(numerators, denominators, strict=True))

    return {
        "vocabulary": vocabulary,
        "samples": BATCHES[shape][0],
        "plain_seconds": statistics.median(row["seconds"] for row in plain),
        "our_seconds": statistics.median(row["seconds"] for row in packed),
        "speedup": median_ratio(plain, packed, "seconds"),
        "plain_extra_mb": statistics.median(row["extra_mb"] for row in plain),
        "our_extra_mb": statistics.median(row["extra_mb"] for row in packed),
        "memory_ratio": median_ratio(packed, plain, "extra_mb"),
        "matmul_fraction": median_ratio(products, packed, "seconds"),
        "speedup_if_padded": median_ratio(plain, padded_rows, "seconds"),
        "speedup_in_one_row": median_ratio(plain, one_row, "seconds"),
    }


def draw_memory(rows: Sequence[dict[str, float]], path: Path) -> None:
    """Draw the peak memory of both versions over the size of the vocabulary."""
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.6), layout="constrained")
    sizes = [row["vocabulary"] / 1000 for row in rows]
    for key, label, marker, colour in (
        ("plain_extra_mb", "plain: two padded forward passes, full logits", "s", "#D55E00"),
        ("our_extra_mb", "packed: one forward pass, head in slices", "o", "#0072B2"),
    ):
        axes.plot(sizes, [row[key] / 1024 for row in rows], marker=marker, color=colour, label=label)
    axes.set(xlabel="vocabulary (thousand tokens)", ylabel="peak memory of a step (GiB)", ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    figure.savefig(path)


def machine() -> str:
    """Name of the processor."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def main() -> None:
    """Check the gradients, measure, and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="output file; the results are printed in any case")
    parser.add_argument("--figure", type=Path, help="also measure other vocabularies and draw their peak memory")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of every version")
    parser.add_argument("--steps", type=int, default=3, help="measured steps per process")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--one", nargs=5, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        version, shape, *numbers = arguments.one
        sizes = tuple(map(int, numbers))
        found = products_seconds(shape, *sizes) if version == "products" else measure(version, shape, *sizes)
        print(json.dumps(found | {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024}))
        return

    torch.set_num_threads(arguments.threads)
    difference = max(map(check_equal, SHAPES))
    settings = arguments.rounds, arguments.steps, arguments.threads
    large = compare("large", SHAPES["large"]["vocabulary"], *settings)
    # More steps, because one takes only a fraction of a second.
    tiny = compare("tiny", SHAPES["tiny"]["vocabulary"], arguments.rounds, 10 * arguments.steps, arguments.threads)
    results = {
        "speedup": large["speedup"],
        "memory_ratio": large["memory_ratio"],
        "tiny_speedup": tiny["speedup"],
        "matmul_fraction": large["matmul_fraction"],
        "tiny_matmul_fraction": tiny["matmul_fraction"],
        "largest_gradient_difference": difference,
        "large": large,
        "tiny": tiny,
        "machine": machine(),
        "threads": arguments.threads,
        "torch": torch.__version__,
    }
    if arguments.figure:
        rows = [compare("large", size, 1, arguments.steps, arguments.threads) for size in VOCABULARIES[:-1]] + [large]
        results["vocabularies"] = rows
        draw_memory(rows, arguments.figure)
    text = json.dumps(results, indent=2)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
