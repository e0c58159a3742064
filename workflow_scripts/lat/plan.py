"""What the jobs of a dry-run will need: GPU-hours, disk and downloads, estimated from the config before anything runs.

Nothing here is measured. Every assumption is a constant below, and the figures are for orders of magnitude: whether to
ask for an hour or a week, for a hundred gigabytes or a terabyte.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .config import decode_settings, step_settings
from .data.sources import find_source
from .names import BASE

# An A100 of 80 GB, from its data sheet: dense bf16 operations and bytes of memory bandwidth, a second.
OPERATIONS = 312e12
BANDWIDTH = 2.0e12
# Share of these operations that training reaches; small micro-batches under ZeRO-3 reach less.
UTILISATION = 0.4
# Forward and backward, for each parameter and token (Kaplan et al., arXiv 2001.08361).
OPERATIONS_A_TOKEN = 6
# A decoding step reads all weights once; how many times longer than that it takes. Eager transformers spends most of a
# step on launching kernels: about 30 tokens a second of a 7B model, where the bandwidth alone would allow 150.
INEFFICIENCY = {"transformers": 5.0, "ctranslate2": 2.0, "vllm": 2.0}
# Starting Python, libraries and processes; reading and writing models on a shared disk.
START_SECONDS = 60
DISK_BANDWIDTH = 1e9

# Tokens of a sentence of 20 words under the Alpaca template; Chinese and Japanese take about twice as many.
PROMPT_TOKENS = 100
RESPONSE_TOKENS = 40
DEMONSTRATION_TOKENS = 100
# Decoding steps of a batch by the tokens of a mean output: its longest line, and the search going on past the end.
SEARCH = 2
# Lines of a test set in one direction, and samples of a benchmark that takes all, while their files are not there.
TEST_LINES = {"iwslt17-test": 1150, "flores200": 1000}
OTHER_TEST_LINES = 2000  # WMT22: 1,448 to 2,037
ALL_SAMPLES = 51_000  # what the paper's WMT benchmark comes to
INSTRUCTIONS = {"alpaca": 52_000, "alpacaeval": 805}
OTHER_INSTRUCTIONS = 1000

# What these rules need depends on the size of their model; all others but downloads handle text alone.
BASE_MODEL_RULES = ("fetch_base_model", "build_base_model", "dequantise_base_model")
MODEL_RULES = (*BASE_MODEL_RULES, "finetune", "unlikelihood", "convert", "decode", "answer")

# A parameter in files: as published and, by its type, as saved.
PUBLISHED_BYTES = 2
DTYPE_BYTES = {"bf16": 2, "fp32": 4}
# Two moments and, beside bf16 weights, fp32 ones: what a checkpoint holds of a trained parameter besides its weight.
OPTIMISER_BYTES = {"bf16": 12, "fp32": 8}


@dataclass(frozen=True)
class Estimate:
    """What one or several jobs need; bytes but for the first.

    Attributes:
        gpu_hours: of an A100.
        disk: what stays on it.
        download: of what comes over the network.
        checkpoints: the most that one training keeps while it is under way.
    """

    gpu_hours: float = 0.0
    disk: float = 0.0
    download: float = 0.0
    checkpoints: float = 0.0

    def __add__(self, other: "Estimate") -> "Estimate":
        return Estimate(
            self.gpu_hours + other.gpu_hours,
            self.disk + other.disk,
            self.download + other.download,
            max(self.checkpoints, other.checkpoints),
        )


class PlannedJob(NamedTuple):
    """A job that would run: its step (file of rules), rule and wildcards, and whether it asks for a GPU."""

    step: str
    rule: str
    wildcards: Mapping[str, str]
    on_gpu: bool


class BenchmarkFiles(NamedTuple):
    """Where the data of a benchmark is, once it is made: training samples, and the folder of its test set."""

    train: Path
    test: Path


Files = Mapping[str, BenchmarkFiles]


class UnknownSize(Exception):
    """Something whose size decides what a job needs, and is not known; the message says what."""


def count_parameters(name: str, base_model: Mapping[str, Any]) -> float:
    """Parameters of a base model: as the config says or, of one the workflow builds, by its shape.

    Raises:
        UnknownSize: the config does not say.
    """
    if "parameters" in base_model:
        return base_model["parameters"]
    if "build" not in base_model:
        raise UnknownSize(f"{name}: set base_models.{name}.parameters")
    shape = base_model["build"]
    hidden = shape["hidden"]
    layer = 4 * hidden**2 + 3 * hidden * shape["intermediate"] + 2 * hidden
    return shape["vocabulary"] * hidden + shape["layers"] * layer + hidden


def training_gpu_hours(parameters: float, sequences: float, gpus: int, moved: float) -> float:
    """GPU-hours of a training.

    Args:
        parameters: of the model.
        sequences: prompts with their responses, over all steps.
        gpus: of all nodes; 0 for none.
        moved: bytes of models read and written meanwhile.
    """
    if not gpus:
        return 0.0
    operations = OPERATIONS_A_TOKEN * parameters * sequences * (PROMPT_TOKENS + RESPONSE_TOKENS)
    waiting = START_SECONDS + moved / DISK_BANDWIDTH
    return (operations / (OPERATIONS * UTILISATION) + gpus * waiting) / 3600


def decoding_gpu_hours(
    weights: float, lines: Iterable[int], rows: int, shots: int, ends: bool, settings: Mapping[str, Any]
) -> float:
    """GPU-hours of decoding a system, on one GPU.

    Args:
        weights: bytes of the model.
        lines: of each direction.
        rows: beams, or contrasts and the prompt itself, of a line.
        shots: demonstrations of a prompt.
        ends: whether the model ends its outputs, or goes on to the longest.
        settings: of the step.
    """
    longest = settings["max_new_tokens"]
    prompt = PROMPT_TOKENS + shots * DEMONSTRATION_TOKENS
    batch = max(1, settings["batch_tokens"] // (rows * (prompt + longest)))
    # vLLM's beam search never ends before the longest output
    steps = min(longest, SEARCH * RESPONSE_TOKENS) if ends and settings["engine"] != "vllm" else longest
    steps *= sum(math.ceil(count / batch) for count in lines)
    step = weights / BANDWIDTH * INEFFICIENCY[settings["engine"]]
    return (START_SECONDS + weights / DISK_BANDWIDTH + steps * step) / 3600


def count_samples(name: str, benchmark: Mapping[str, Any], files: Files) -> int:
    """Training samples of a benchmark; of one that takes all, those there are, or assumed."""
    if benchmark["train_rows"]:
        return benchmark["train_rows"] * len(benchmark["supervised"])
    path = files[name].train if name in files else None
    return _count_lines(path) if path and path.is_file() else ALL_SAMPLES


def count_test_lines(name: str, benchmark: Mapping[str, Any], files: Files) -> list[int]:
    """Lines of each test direction of a benchmark: as the config says, those there are, or assumed."""
    directions = [*benchmark["supervised"], *benchmark["zero_shot"]]
    if "test_rows" in benchmark:
        return [benchmark["test_rows"]] * len(directions)
    corpora = benchmark["corpora"]["test"]
    assumed = sum(TEST_LINES.get(corpus, OTHER_TEST_LINES) * len(parts) for corpus, parts in corpora.items())
    if name not in files:
        return [assumed] * len(directions)
    paths = [files[name].test / f"{direction}.ref.txt" for direction in directions]
    return [_count_lines(path) if path.is_file() else assumed for path in paths]


def estimate(config: Mapping[str, Any], rule: str, wildcards: Mapping[str, str], files: Files) -> Estimate:
    """What a job needs; nothing where that is text alone.

    Args:
        config: the checked configuration.
        rule: the job's.
        wildcards: the job's.
        files: the files of each benchmark; those that exist already are counted.

    Raises:
        UnknownSize: of the job's base model or download.
    """
    if rule in ("fetch_source", "fetch_snapshot"):
        size = find_source(wildcards["source"]).bytes
        if not size:
            raise UnknownSize(wildcards["source"])
        return Estimate(disk=float(size), download=float(size))
    if rule == "fetch_test_sets":
        raise UnknownSize("test sets of SacreBLEU")
    if rule == "score_learned":
        raise UnknownSize(wildcards["learned"])
    if rule not in MODEL_RULES:
        return Estimate()
    name = wildcards["base_model"]
    base_model = config["base_models"][name]
    if rule == "fetch_base_model" and "path" in base_model:
        return Estimate()
    parameters = count_parameters(name, base_model)
    if rule == "fetch_base_model":
        return Estimate(disk=parameters * PUBLISHED_BYTES, download=parameters * PUBLISHED_BYTES)
    if rule in BASE_MODEL_RULES:
        return Estimate(disk=parameters * DTYPE_BYTES["fp32"])
    if rule in ("finetune", "unlikelihood"):
        return _training(config, rule, wildcards, parameters, files)
    weights = parameters * DTYPE_BYTES[base_model.get("dtype", "bf16")]
    if rule == "convert":
        return Estimate(disk=weights)
    if not base_model.get("gpus"):
        return Estimate()
    if rule == "answer":
        lines = [INSTRUCTIONS.get(config["judge"]["instructions"], OTHER_INSTRUCTIONS)]
    else:
        lines = count_test_lines(wildcards["benchmark"], config["benchmarks"][wildcards["benchmark"]], files)
    return _decoding(config, wildcards, weights, lines, long=rule == "answer")


def _training(
    config: Mapping[str, Any], step: str, wildcards: Mapping[str, str], parameters: float, files: Files
) -> Estimate:
    name, benchmark, model = wildcards["base_model"], wildcards["benchmark"], wildcards["model"]
    base_model = config["base_models"][name]
    settings = step_settings(config, step, name, benchmark, model)
    batch, steps = settings["batch_size"], settings.get("steps", 0)
    if step == "finetune":
        samples = count_samples(benchmark, config["benchmarks"][benchmark], files)
        samples += sum(INSTRUCTIONS.get(name, OTHER_INSTRUCTIONS) for name in config["models"][model].get("mix", ()))
        steps = max(1, int(samples * settings["epochs"]) // batch)
    # every sample of stage 2 is read a second time, under another instruction
    sequences = steps * batch * (2 if step == "unlikelihood" else 1)
    snapshots = [its for its in config["models"].values() if its["stage"] == "snapshot" and its["from"] == model]
    dtype = base_model.get("dtype", "bf16")
    weights = parameters * DTYPE_BYTES[dtype]
    written = weights * (1 + len(snapshots))
    # the one before is there until the next is complete; adapters are too small to count
    copies = 0 if settings["lora_rank"] else 2 if 0 < settings["checkpoint_every"] < steps else 1
    gpus = base_model.get("gpus", 0) * base_model.get("nodes", 1)
    return Estimate(
        gpu_hours=training_gpu_hours(parameters, sequences, gpus, moved=weights + written),
        disk=written,
        checkpoints=copies * (weights + parameters * OPTIMISER_BYTES[dtype]),
    )


def _decoding(
    config: Mapping[str, Any], wildcards: Mapping[str, str], weights: float, lines: list[int], long: bool
) -> Estimate:
    benchmark = wildcards["benchmark"]
    system = config["systems"][wildcards["system"]]
    settings = decode_settings(config, wildcards["base_model"], benchmark, wildcards["system"])
    return Estimate(
        gpu_hours=decoding_gpu_hours(
            weights,
            lines,
            rows=1 + len(system["contrasts"]) if "contrasts" in system else settings["beam"],
            shots=system.get("shots", 0),
            # answers to instructions may be of any length
            ends=system["model"] != BASE and not long,
            settings=settings,
        )
    )


def make_plan(config: Mapping[str, Any], jobs: Iterable[PlannedJob], steps: Iterable[str], files: Files) -> list[str]:
    """The plan, line by line: a table with a row for each of `steps` that has jobs, and what to know about its sums."""
    counts = dict.fromkeys(steps, 0)
    needs = dict.fromkeys(counts, Estimate())
    unknown: set[str] = set()
    on_gpu = False
    for job in jobs:
        counts[job.step] += 1
        on_gpu |= job.on_gpu
        try:
            needs[job.step] += estimate(config, job.rule, job.wildcards, files)
        except UnknownSize as reason:
            unknown.add(str(reason))
    total = sum(needs.values(), Estimate())
    rows: list[tuple[str, ...]] = [("step", "jobs", "GPU-hours", "disk (GB)", "downloads (GB)")]
    rows += [_row(step, count, needs[step]) for step, count in counts.items() if count]
    rows.append(_row("total", sum(counts.values()), total))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["Plan: what these jobs need, about. An estimate; workflow_scripts/lat/plan.py says what it assumes."]
    for first, *figures in rows:
        cells = [first.ljust(widths[0])]
        cells += [figure.rjust(width) for figure, width in zip(figures, widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    lines.append("GPU-hours are those of an A100 with 80 GB." if on_gpu else "No GPU is needed.")
    if total.checkpoints >= 1e9:
        lines.append(
            f"A training under way keeps up to {_rounded(total.checkpoints / 1e9)} GB of checkpoints, gone at its end."
        )
    if unknown:
        lines.append(f"Of unknown size, not counted: {'; '.join(sorted(unknown))}.")
    return lines


def _row(step: str, count: int, need: Estimate) -> tuple[str, ...]:
    return step, str(count), *(_rounded(value) for value in (need.gpu_hours, need.disk / 1e9, need.download / 1e9))


def _rounded(value: float) -> str:
    """Two digits, which is more than an estimate knows; nothing for zero."""
    if not value:
        return ""
    if value < 0.1:
        return "<0.1"
    return f"{value:.1f}" if value < 9.95 else f"{float(f'{value:.2g}'):,.0f}"


def _count_lines(path: Path) -> int:
    with open(path, "rb") as handle:
        return sum(1 for _ in handle)
