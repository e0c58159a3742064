"""Time and peak memory of a training step, plain and of this workflow, and the time of its matrix products alone.

`plain`     The step of the published trainer: two forward passes over padded batches, logits of every position,
            softmax, log, and AdamW as PyTorch computes it by default.
`workflow`  The step of this workflow with its engine: `train_step` of `loop.py`. Samples and conflicts are in one row,
            in which the common beginning of prompts is present once.

Both compute the same gradients, which this script checks before it measures.

    python -m timing.train_step --json train_step.json

Every measurement runs in a new process, so that no version profits from memory that another version has allocated. The
versions are measured alternately, and ratios are medians over the rounds.
"""

import argparse
import json
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import torch
from torch import Tensor, nn
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, LlamaConfig, LlamaForCausalLM, PreTrainedModel

from workflow_scripts.lat.training import head
from workflow_scripts.lat.training.deepspeed_config import read_deepspeed_config
from workflow_scripts.lat.training.engine import start_processes
from workflow_scripts.lat.training.hyperparameters import Hyperparameters
from workflow_scripts.lat.training.layout import Layout, choose_layout
from workflow_scripts.lat.training.loop import start_engine, train_step
from workflow_scripts.lat.training.modelling import IGNORED, ResponseLoss
from workflow_scripts.lat.training.samples import EncodedSample, to_tensors

ALPHA = 0.05
DEEPSPEED_CONFIG = Path(__file__).parents[1] / "configs/deepspeed/cpu.json"
SHAPES: dict[str, dict[str, Any]] = {
    # Hidden size 512, 8 layers, and the vocabulary of LLaMA3.
    "large": {"vocabulary": 128_256, "hidden": 512, "intermediate": 1376, "layers": 8, "heads": 8, "tied": False},
    # The model of the demo.
    "tiny": {"vocabulary": 6_000, "hidden": 128, "intermediate": 352, "layers": 3, "heads": 4, "tied": True},
    # Gemma 3 270M, whose embeddings are not trained.
    "gemma": {"vocabulary": 262_144, "hidden": 640, "intermediate": 2048, "layers": 18, "heads": 4, "tied": True},
}


class Lengths(NamedTuple):
    """Samples per batch, and the numbers of tokens of the parts of a sample.

    A prompt consists of the beginning of all prompts, up to `Translate the following sentences from`; the two
    languages with a word between them; the text between them and the input; the input; and the response header.
    """

    samples: int
    beginning: int
    before_input: int
    header: int
    median_input: int
    median_response: int
    conflicts: bool


BATCHES = {
    # Alpaca prompts with their preamble. Median prompt: 90 tokens.
    "large": Lengths(8, 43, 14, 5, 25, 30, conflicts=True),
    # The prompts of the demo, which have no preamble, and in which each fixed text of the template is one token.
    "tiny": Lengths(16, 2, 2, 1, 25, 30, conflicts=True),
    # The same without a conflict and with a token per word of the template: 840 tokens, 350 of them responses.
    "gemma": Lengths(16, 9, 7, 5, 17, 20, conflicts=False),
}
LANGUAGES = 4  # English and three others; the directions are those from and to English
VOCABULARIES = (8_000, 32_000, 64_000, 128_256)
WARM_UP = 2  # steps that are not measured; the first creates the state of the optimizer
PAD = 0


def build(name: str, vocabulary: int | None = None) -> PreTrainedModel:
    """A randomly initialised model of one of `SHAPES`."""
    shape = SHAPES[name]
    torch.manual_seed(0)
    values = {
        "vocab_size": vocabulary or shape["vocabulary"],
        "hidden_size": shape["hidden"],
        "intermediate_size": shape["intermediate"],
        "num_hidden_layers": shape["layers"],
        "num_attention_heads": shape["heads"],
        "tie_word_embeddings": shape["tied"],
        "max_position_embeddings": 1024,
    }
    if name == "gemma":
        return Gemma3ForCausalLM(Gemma3TextConfig(**values, num_key_value_heads=1, head_dim=256, sliding_window=512))
    return LlamaForCausalLM(LlamaConfig(**values))


def draw_batch(name: str, vocabulary: int, seed: int) -> list[EncodedSample]:
    """Random tokens in samples whose prompts have in common what those of a benchmark have in common.

    Inputs have log-normal lengths, and a response is about as long as its input. A conflict is the prompt with another
    direction.
    """
    lengths = BATCHES[name]
    generator = torch.Generator().manual_seed(seed)

    def tokens(count: int, source: torch.Generator = generator) -> list[int]:
        return torch.randint(100, vocabulary, (count,), generator=source).tolist()

    fixed = torch.Generator().manual_seed(0)  # the same in all batches
    beginning, before_input, header = (tokens(count, fixed) for count in lengths[1:4])
    directions = [pair for other in range(1, LANGUAGES) for pair in ((0, other), (other, 0))]

    def prompt(direction: int, text: list[int]) -> list[int]:
        source, target = directions[direction]
        return [*beginning, 1 + source, 1 + LANGUAGES, 1 + target, *before_input, *text, *header]

    samples = []
    for _ in range(lengths.samples):
        of_input, of_response = torch.randn(2, generator=generator).mul(torch.tensor([0.5, 0.15])).exp().tolist()
        text = tokens(max(4, round(lengths.median_input * of_input)))
        response = tokens(max(4, round(lengths.median_response * of_input * of_response)))
        direction, other = torch.randperm(len(directions), generator=generator)[:2].tolist()
        conflict = prompt(other, text) if lengths.conflicts else None
        samples.append(EncodedSample(prompt(direction, text), response, conflict))
    return samples


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
    conflicts = [sample.conflict for sample in samples if sample.conflict is not None]
    for prompts, conflicting in (([sample.prompt for sample in samples], False), (conflicts, True)):
        if not prompts:
            continue
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


def workflow_loss(module: ResponseLoss, samples: Sequence[EncodedSample], layout: Layout = "tree") -> Tensor:
    """The objective of this workflow: one forward pass, head and losses in slices."""
    total, _ = module(**to_tensors(samples, PAD, layout, device=torch.device("cpu")))
    return total / sum(len(sample.response) for sample in samples)


def plain_step(model: PreTrainedModel, fused: bool) -> Callable[[Sequence[EncodedSample]], None]:
    """The step of the plain version, with the default AdamW of PyTorch or its fused one."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5, fused=fused)

    def step(samples: Sequence[EncodedSample]) -> None:
        plain_loss(model, samples).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


def workflow_step(
    name: str, model: PreTrainedModel, layout: Layout | None
) -> Callable[[Sequence[EncodedSample]], None]:
    """The step of this workflow, with the layout that it chooses or with another one."""
    start_processes()
    count = BATCHES[name].samples
    hyperparameters = Hyperparameters(
        learning_rate=1e-5, warmup_ratio=0.0, weight_decay=0.01, batch_size=count, micro_batch_size=count, epochs=1,
        steps=0, max_length=1024, alpha=ALPHA if BATCHES[name].conflicts else 0.0, dtype="fp32",
        gradient_checkpointing=False, seed=1, freeze_embeddings=name == "gemma",
    )  # fmt: skip
    chosen = layout or choose_layout(model, 256)
    engine = start_engine(model, hyperparameters, read_deepspeed_config(DEEPSPEED_CONFIG), 1000)
    model.train()

    def step(samples: Sequence[EncodedSample]) -> None:
        train_step(engine, range(count), samples, count, PAD, chosen, None, None)

    return step


def resident_mb(peak: bool = False) -> float:
    """Resident memory of this process in MiB: now, or the peak since `forget_peak`."""
    key = "VmHWM" if peak else "VmRSS"
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) / 1024


def forget_peak() -> None:
    """Reset the peak of the resident memory to its current value (Linux only)."""
    Path("/proc/self/clear_refs").write_text("5")


VERSIONS: dict[str, Callable[[str, PreTrainedModel], Callable[[Sequence[EncodedSample]], None]]] = {
    "plain": lambda _, model: plain_step(model, fused=False),
    "plain-fused": lambda _, model: plain_step(model, fused=True),
    "workflow": lambda name, model: workflow_step(name, model, None),
    "rows": lambda name, model: workflow_step(name, model, "rows"),
    "padded": lambda name, model: workflow_step(name, model, "padded"),
}


def measure(version: str, shape: str, vocabulary: int, steps: int, threads: int) -> dict[str, float]:
    """Seconds per step, and peak memory in MiB above weights, gradients and optimizer state, in a new process."""
    torch.set_num_threads(threads)
    model = build(shape, vocabulary)
    resident = resident_mb()
    step = VERSIONS[version](shape, model)
    # Memory of any version: the weights and everything before them; the gradients; the two moments of the optimizer.
    trained = sum(parameter.numel() * 4 for parameter in model.parameters() if parameter.requires_grad) / 2**20
    held = resident + 3 * trained
    seconds = []
    extra = 0.0
    for number in range(WARM_UP + steps):
        samples = draw_batch(shape, vocabulary, seed=number)
        forget_peak()
        started = time.perf_counter()
        step(samples)
        if number >= WARM_UP:
            seconds.append(time.perf_counter() - started)
            extra = max(extra, resident_mb(peak=True) - held)
    return {"seconds": statistics.median(seconds), "extra_mb": extra}


def products_seconds(shape: str, vocabulary: int, steps: int, threads: int) -> dict[str, float]:
    """Seconds per step of this workflow of its matrix products alone, on prepared operands.

    They are one product in the forward pass and two in the backward pass, for every linear layer and for the head; one
    in the backward pass if the weight is not trained.
    """
    torch.set_num_threads(threads)
    model = build(shape, vocabulary)
    if shape == "gemma":
        model.get_input_embeddings().requires_grad_(False)
    calls: list[tuple[int, int, int, bool]] = []

    def record(inputs: Tensor, weight: Tensor) -> None:
        calls.append((inputs.numel() // inputs.shape[-1], *weight.shape[::-1], weight.requires_grad))

    for layer in model.modules():
        if isinstance(layer, nn.Linear) and layer is not model.get_output_embeddings():
            layer.register_forward_hook(lambda layer, inputs, _: record(inputs[0], layer.weight))
    plain = head._logits

    def recorded(hidden: Tensor, weight: Tensor, cap: float | None) -> Tensor:
        record(hidden, weight)
        return plain(hidden, weight, cap)

    head._logits = recorded
    module = ResponseLoss(model, ALPHA)
    seconds = []
    for step in range(WARM_UP + steps):
        calls.clear()
        with torch.no_grad():
            workflow_loss(module, draw_batch(shape, vocabulary, seed=step))
        operands = {
            (rows, columns, inner): (
                torch.randn(rows, columns),
                torch.randn(inner, columns),
                torch.randn(rows, inner),
                torch.zeros(rows, inner),
                torch.zeros(rows, columns),
                torch.zeros(inner, columns),
            )
            for rows, columns, inner, _ in set(calls)
        }
        started = time.perf_counter()
        for *sizes, trained in calls:
            rows, columns, inner = sizes
            inputs, weight, gradient, outputs, inputs_gradient, weight_gradient = operands[rows, columns, inner]
            torch.mm(inputs, weight.t(), out=outputs)
            torch.mm(gradient, weight, out=inputs_gradient)
            if trained:
                torch.mm(gradient.t(), inputs, out=weight_gradient)
        if step >= WARM_UP:
            seconds.append(time.perf_counter() - started)
    return {"seconds": statistics.median(seconds)}


def check_equal(shape: str) -> float:
    """Largest relative difference of a gradient between the plain version and that of this workflow.

    Raises:
        SystemExit: the gradients differ by more than 1e-4.
    """
    samples = draw_batch(shape, SHAPES[shape]["vocabulary"], seed=0)
    found = {}
    for version in ("plain", "workflow"):
        model = build(shape)
        if version == "plain":
            plain_loss(model, samples).backward()
        else:
            workflow_loss(ResponseLoss(model, ALPHA), samples).backward()
        found[version] = {name: parameter.grad for name, parameter in model.named_parameters()}
    worst = max(
        ((found["workflow"][name] - gradient).norm() / gradient.norm()).item()
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


def compare(
    shape: str, vocabulary: int, versions: Sequence[str], rounds: int, steps: int, threads: int
) -> dict[str, Any]:
    """Measure versions alternately and return the medians over the rounds.

    Args:
        shape: name of the model.
        vocabulary: size of its vocabulary.
        versions: names in `VERSIONS`, and `products` for the matrix products alone.
        rounds: measurements of each version.
        steps: steps per measurement.
        threads: CPU threads.
    """
    found: dict[str, list[dict[str, float]]] = {version: [] for version in versions}
    for _ in range(rounds):
        for version in versions:
            found[version].append(in_fresh_process("--one", version, shape, vocabulary, steps, threads))
            print(
                f"  {shape} {vocabulary:>7} {version:11} {json.dumps(found[version][-1])}", file=sys.stderr, flush=True
            )

    def median(version: str, key: str) -> float:
        return statistics.median(row[key] for row in found[version])

    def ratio(above: str, below: str, key: str) -> float:
        return statistics.median(one[key] / other[key] for one, other in zip(found[above], found[below], strict=True))

    results: dict[str, Any] = {
        "vocabulary": vocabulary,
        "samples": BATCHES[shape].samples,
        "workflow_seconds": median("workflow", "seconds"),
        "workflow_extra_mb": median("workflow", "extra_mb"),
        "rounds": found,
    }
    if "products" in versions:
        results["matmul_fraction"] = ratio("products", "workflow", "seconds")
    if "plain" in versions:
        results |= {
            "plain_seconds": median("plain", "seconds"),
            "plain_extra_mb": median("plain", "extra_mb"),
            "speedup": ratio("plain", "workflow", "seconds"),
            "memory_ratio": ratio("workflow", "plain", "extra_mb"),
        }
        results |= {
            f"{version}_speedup": ratio("plain", version, "seconds")
            for version in ("plain-fused", "rows", "padded")
            if version in versions
        }
    return results


def draw_memory(rows: Sequence[dict[str, float]], path: Path) -> None:
    """Draw the peak memory of both versions over the size of the vocabulary."""
    matplotlib.use("agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 3.6), layout="constrained")
    sizes = [row["vocabulary"] / 1000 for row in rows]
    for key, label, marker, colour in (
        ("plain_extra_mb", "plain: two padded forward passes, full logits", "s", "#D55E00"),
        ("workflow_extra_mb", "workflow: one forward pass, head in slices", "o", "#0072B2"),
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
        print(json.dumps(found))
        return

    torch.set_num_threads(arguments.threads)
    difference = max(check_equal("large"), check_equal("tiny"))
    settings = arguments.rounds, arguments.steps, arguments.threads
    versions = ("plain", "workflow", "products", "plain-fused", "rows", "padded")
    large = compare("large", SHAPES["large"]["vocabulary"], versions, *settings)
    # More steps, because one takes only a fraction of a second.
    many = arguments.rounds, 10 * arguments.steps, arguments.threads
    tiny = compare("tiny", SHAPES["tiny"]["vocabulary"], versions, *many)
    gemma = compare("gemma", SHAPES["gemma"]["vocabulary"], ("workflow", "products", "rows"), *settings)
    results = {
        "speedup": large["speedup"],
        "memory_ratio": large["memory_ratio"],
        "tiny_speedup": tiny["speedup"],
        "matmul_fraction": large["matmul_fraction"],
        "tiny_matmul_fraction": tiny["matmul_fraction"],
        "gemma_matmul_fraction": gemma["matmul_fraction"],
        "largest_gradient_difference": difference,
        "large": large,
        "tiny": tiny,
        "gemma": gemma,
        "machine": machine(),
        "threads": arguments.threads,
        "torch": torch.__version__,
    }
    if arguments.figure:
        rows = [
            *(compare("large", size, ("plain", "workflow"), 1, *settings[1:]) for size in VOCABULARIES[:-1]),
            large,
        ]
        results["vocabularies"] = rows
        draw_memory(rows, arguments.figure)
    text = json.dumps(results, indent=2)
    if arguments.json:
        arguments.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
