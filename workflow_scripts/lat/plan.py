"""Estimate the GPU-hours, disk space and downloads of the jobs of a dry-run, from the configuration.

The estimates give orders of magnitude only: whether to request an hour or a week, a hundred gigabytes or a terabyte.
All numbers that they rest on are constants in this module, each with its source: a data sheet, a measurement that
docs/performance.md describes, or an assumption. No measurement was made on a GPU.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from .config import (
    candidate_steps,
    decode_settings,
    dev_sentences,
    keeps_weights,
    rating_server,
    saved_steps,
    server_settings,
    step_settings,
    zero_shot_of,
)
from .data.jsonl_corpora import WMT24PP_DOMAINS
from .data.sources import find_source
from .decoding.shards import of_shard
from .languages import split_direction
from .names import BASE

# Data sheet: an A100 with 80 GB: dense bf16 operations per second, and memory bandwidth in bytes per second.
OPERATIONS = 312e12
BANDWIDTH = 2.0e12
# Assumed: share of these operations that training reaches; small micro-batches under ZeRO-3 reach less.
UTILISATION = 0.4
# Operations of the forward and backward pass per parameter and token (Kaplan et al., arXiv 2001.08361).
OPERATIONS_PER_TOKEN = 6
# Assumed: duration of a decoding step, as a multiple of the time that it takes to read all weights once. Eager
# transformers spends most of a step on launching kernels: about 30 tokens per second with a 7B model, where the
# bandwidth would allow 150.
STEP_TIME_FACTOR = {"transformers": 5.0, "ctranslate2": 2.0, "vllm": 2.0}
# Measured on a CPU: seconds that vLLM spends on a hypothesis in each step of a beam search, apart from the model. Each
# is a new request.
VLLM_REQUEST_SECONDS = 0.4e-3
# Default of vLLM: number of lines of a greedy search that are decoded at once.
VLLM_SEQUENCES = 256
# Assumed: seconds to start Python, libraries and processes; bytes per second to read and write models on a shared disk.
START_SECONDS = 60
DISK_BANDWIDTH = 1e9

# Assumed: tokens of a sentence of 20 words in the Alpaca template; Chinese and Japanese need about twice as many.
PROMPT_TOKENS = 100
RESPONSE_TOKENS = 40
DEMONSTRATION_TOKENS = 100
# Measured with the demo's model, a beam of 4 and batches of 22 to 95 lines: decoding steps of a batch, as a multiple of
# the mean number of response tokens (1.4 to 2.8). The longest line of the batch determines the number of steps.
STEPS_FACTOR = 2
# Measured in the same runs: steps of a line until its search is done (1.1). With vLLM, another line then takes its
# place.
LINE_STEPS_FACTOR = 1.1
# Assumed for files that do not exist yet: lines of a test set in one direction, and training samples of a benchmark
# that uses all of its data.
TEST_LINES = {"iwslt17-test": 1150} | dict.fromkeys(("flores200", "floresplus", "floresplus-2.0-rc.3"), 1000)
OTHER_TEST_LINES = 2000  # WMT22: 1,448 to 2,037
ALL_SAMPLES = 51_000  # as in the paper's WMT benchmark
INSTRUCTIONS = {"alpaca": 52_000, "alpacaeval": 805}
OTHER_INSTRUCTIONS = 1000

# Assumed, for the progress of a run without a GPU, for which only the ratios matter: operations per second of training,
# and of decoding, which reads all weights for every token; bytes per second of a download; parameters per second that
# are read from GGUF files; seconds of a job that processes text, and of training a small base model from nothing.
CPU_OPERATIONS = {"training": 90e9, "decoding": 40e9}
DOWNLOAD_BANDWIDTH = 10e6
GGUF_PARAMETERS = 4e6
TEXT_SECONDS = 3.0
BUILD_SECONDS = 120.0
# Assumed: seconds until a server has translated or rated a line.
REPLY_SECONDS = 1.0
# Tokens of a prompt without the introductory sentence of the Alpaca template.
SHORT_PROMPT_TOKENS = 40

# Rules whose needs depend on the size of their model. All other rules except downloads process text only.
BASE_MODEL_RULES = ("fetch_base_model", "build_base_model", "dequantise_base_model")
TRAINING_RULES = ("finetune", "unlikelihood", "preference")
DECODING_RULES = ("decode", "decode_shard", "answer", "off_target_outputs", "select")
MODEL_RULES = (*BASE_MODEL_RULES, *TRAINING_RULES, "convert", *DECODING_RULES)

# Bytes per parameter in files: of published models and, by type, of saved models.
PUBLISHED_BYTES = 2
DTYPE_BYTES = {"bf16": 2, "fp32": 4}
# Bytes per parameter of the optimizer state in a checkpoint: two moments and, if the weights are bf16, fp32 weights.
OPTIMIZER_BYTES = {"bf16": 12, "fp32": 8}


@dataclass(frozen=True)
class Estimate:
    """The needs of one or several jobs.

    Attributes:
        gpu_hours: GPU-hours on an A100.
        disk: bytes of the files that the jobs write, without checkpoints.
        temporary: bytes of these files that are deleted after their last use.
        download: downloaded bytes.
        checkpoints: bytes of checkpoints that a single training run keeps while it is running, at most.
    """

    gpu_hours: float = 0.0
    disk: float = 0.0
    download: float = 0.0
    temporary: float = 0.0
    checkpoints: float = 0.0

    def __add__(self, other: "Estimate") -> "Estimate":
        return Estimate(
            self.gpu_hours + other.gpu_hours,
            self.disk + other.disk,
            self.download + other.download,
            self.temporary + other.temporary,
            max(self.checkpoints, other.checkpoints),
        )


class PlannedJob(NamedTuple):
    """A job that would run: its step (name of the rule file), rule and wildcards, and whether it requests a GPU."""

    step: str
    rule: str
    wildcards: Mapping[str, str]
    on_gpu: bool


class BenchmarkFiles(NamedTuple):
    """Paths of a benchmark's folder, with the samples `<run>/train.jsonl`, and of its test set; neither need exist."""

    folder: Path
    test: Path


Files = Mapping[str, BenchmarkFiles]


class UnknownSize(Exception):
    """The size of a model or download is not known; the message names it."""


def count_parameters(name: str, base_model: Mapping[str, Any]) -> float:
    """Number of parameters of a base model: `parameters` of its entry or, if the workflow builds it, from its shape.

    Raises:
        UnknownSize: the entry has neither.
    """
    if "parameters" in base_model:
        return base_model["parameters"]
    if "build" not in base_model:
        raise UnknownSize(f"{name}: set base_models.{name}.parameters")
    shape = base_model["build"]
    hidden = shape["hidden"]
    layer = 4 * hidden**2 + 3 * hidden * shape["intermediate"] + 2 * hidden
    return shape["vocabulary"] * hidden + shape["layers"] * layer + hidden


def training_gpu_hours(parameters: float, sequences: float, gpus: int, bytes_moved: float) -> float:
    """GPU-hours of a training run.

    Args:
        parameters: number of parameters of the model.
        sequences: number of sequences (prompt and response) over all steps.
        gpus: number of GPUs on all nodes.
        bytes_moved: bytes of models that are read and written.
    """
    if not gpus:
        return 0.0
    operations = OPERATIONS_PER_TOKEN * parameters * sequences * (PROMPT_TOKENS + RESPONSE_TOKENS)
    waiting = START_SECONDS + bytes_moved / DISK_BANDWIDTH
    return (operations / (OPERATIONS * UTILISATION) + gpus * waiting) / 3600


def decoding_gpu_hours(
    weights: float,
    lines: Iterable[int],
    contrasts: int,
    shots: int,
    stops_early: bool,
    settings: Mapping[str, Any],
    gpus: int = 1,
) -> float:
    """GPU-hours of decoding with a system.

    Args:
        weights: bytes of the model.
        lines: number of test lines of each direction.
        contrasts: contrasts per line; 0 for beam search.
        shots: demonstrations per prompt.
        stops_early: whether outputs end before the maximum length, as those of a fine-tuned model do.
        settings: settings of the step `decode`.
        gpus: number of GPUs that the model is divided among, which only vLLM does.
    """
    engine, beam, longest = settings["engine"], settings["beam"], settings["max_new_tokens"]
    prompt, demonstrations = PROMPT_TOKENS, shots * DEMONSTRATION_TOKENS
    # Tokens of a line that a batch stores.
    if contrasts:
        stored = (1 + contrasts) * (prompt + demonstrations + longest)
    elif engine == "ctranslate2":
        stored = beam * (prompt + demonstrations + longest)
    else:
        stored = prompt + beam * longest
        # Transformers stores the demonstrations of a direction once; the limit of vLLM does not know what is shared.
        stored += demonstrations if engine == "vllm" else 0
    batch = max(1, settings["batch_tokens"] // stored)
    step = weights / BANDWIDTH * STEP_TIME_FACTOR[engine]
    start = START_SECONDS + weights / DISK_BANDWIDTH
    if engine == "vllm":
        batch = VLLM_SEQUENCES if beam == 1 else batch
        line_steps = min(longest, LINE_STEPS_FACTOR * RESPONSE_TOKENS) if stops_early else longest
        steps = sum(lines) * line_steps / batch
        requests = 0.0 if beam == 1 else batch * beam * VLLM_REQUEST_SECONDS
        return (gpus * (start + steps * requests) + steps * step) / 3600
    steps = min(longest, STEPS_FACTOR * RESPONSE_TOKENS) if stops_early else longest
    return (start + steps * sum(math.ceil(count / batch) for count in lines) * step) / 3600


def count_samples(name: str, benchmark: Mapping[str, Any], run: str, files: Files) -> int:
    """Number of training samples of a run (`seed1`): configured, counted in the file if it exists, or assumed."""
    if benchmark["train_rows"]:
        return benchmark["train_rows"] * len(benchmark["supervised"])
    path = files[name].folder / run / "train.jsonl" if name in files else None
    return _count_lines(path) if path and path.is_file() else ALL_SAMPLES


def count_test_lines(name: str, benchmark: Mapping[str, Any], files: Files) -> list[int]:
    """Number of test lines of each direction of a benchmark: configured, counted in files that exist, or assumed."""
    directions = [*benchmark["supervised"], *zero_shot_of(benchmark)]
    if "test_rows" in benchmark:
        return [benchmark["test_rows"]] * len(directions)
    corpora = benchmark["corpora"]["test"]
    assumed = sum(_assumed_lines(corpus, part) for corpus, parts in corpora.items() for part in parts)
    if name not in files:
        return [assumed] * len(directions)
    paths = [files[name].test / f"{direction}.ref.txt" for direction in directions]
    return [_count_lines(path) if path.is_file() else assumed for path in paths]


def _assumed_lines(corpus: str, part: str) -> int:
    """Number of lines of a part of a corpus in one direction, before it is there."""
    if corpus == "wmt24pp":
        return WMT24PP_DOMAINS.get(part, sum(WMT24PP_DOMAINS.values()))
    return TEST_LINES.get(corpus, OTHER_TEST_LINES)


def count_steps(config: Mapping[str, Any], step: str, wildcards: Mapping[str, str], files: Files) -> int:
    """Number of optimizer steps of a training, one of `TRAINING_RULES`."""
    benchmark, model = wildcards["benchmark"], wildcards["model"]
    settings = step_settings(config, step, wildcards["base_model"], benchmark, model)
    if step != "finetune":
        return settings["steps"]
    samples = count_samples(benchmark, config["benchmarks"][benchmark], wildcards["run"], files)
    samples += sum(INSTRUCTIONS.get(name, OTHER_INSTRUCTIONS) for name in config["models"][model].get("mix", ()))
    return max(1, int(samples * settings["epochs"]) // settings["batch_size"])


def count_sequences(config: Mapping[str, Any], step: str, wildcards: Mapping[str, str], files: Files) -> int:
    """Number of sequences that a training, one of `TRAINING_RULES`, computes."""
    settings = step_settings(config, step, wildcards["base_model"], wildcards["benchmark"], wildcards["model"])
    # In stage 2, each sample is trained on twice: with its own and with the conflicting instruction, unless alpha is 0,
    # or with the chosen and with the rejected response. The pass before a training with DPO is not counted.
    once = step == "finetune" or (step == "unlikelihood" and settings["alpha"] == 0)
    return count_steps(config, step, wildcards, files) * settings["batch_size"] * (1 if once else 2)


def count_off_target_lines(config: Mapping[str, Any], benchmark: str) -> list[int]:
    """Number of training sources that a stage-1 model translates in each zero-shot direction, at most."""
    entry = config["benchmarks"][benchmark]
    sources = {split_direction(direction)[0] for direction in entry["supervised"]}
    directions = [direction for direction in zero_shot_of(entry) if split_direction(direction)[0] in sources]
    return [config["off_targets"]["sentences"]] * len(directions)


def count_dev_lines(config: Mapping[str, Any], benchmark: str) -> list[int]:
    """Number of lines of each dev direction of a benchmark that has some."""
    entry = config["benchmarks"][benchmark]
    return [dev_sentences(entry)] * len(entry["dev"]["directions"])


def count_compared(config: Mapping[str, Any], wildcards: Mapping[str, str]) -> int:
    """Number of models that are compared for a snapshot with `step: best`, including the stage-1 model."""
    return 1 + len(candidate_steps(config, wildcards["base_model"], wildcards["benchmark"], wildcards["model"]))


def _lines_in_order(name: str, config: Mapping[str, Any], files: Files, counted: dict[str, list[int]]) -> list[int]:
    """Number of test lines of each direction of a benchmark, by direction; counted once for all jobs of a plan."""
    if name not in counted:
        benchmark = config["benchmarks"][name]
        directions = [*benchmark["supervised"], *zero_shot_of(benchmark)]
        lines = dict(zip(directions, count_test_lines(name, benchmark, files), strict=True))
        counted[name] = [lines[direction] for direction in sorted(directions)]
    return counted[name]


def estimate(
    config: Mapping[str, Any],
    rule: str,
    wildcards: Mapping[str, str],
    files: Files,
    counted: dict[str, list[int]] | None = None,
) -> Estimate:
    """Estimate the needs of a job; jobs that only process text count as zero.

    Args:
        config: the checked configuration.
        rule: name of the job's rule.
        wildcards: wildcards of the job.
        files: data of each benchmark, by name; the lines of files that exist are counted.
        counted: the lines that were counted for earlier jobs; it is added to.

    Raises:
        UnknownSize: the size of the job's base model or download is not known.
    """
    if rule in ("fetch_source", "fetch_snapshot"):
        size = find_source(wildcards["source"]).bytes
        if not size:
            raise UnknownSize(wildcards["source"])
        return Estimate(disk=float(size), download=float(size))
    if rule == "fetch_test_sets":
        raise UnknownSize("test sets of SacreBLEU")
    if rule == "fetch_mtdata":
        raise UnknownSize(wildcards["id"])
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
    if rule in TRAINING_RULES:
        return _training(config, rule, wildcards, parameters, files)
    weights = parameters * DTYPE_BYTES[base_model.get("dtype", "bf16")]
    if rule == "convert":
        return Estimate(disk=weights, temporary=0 if config["keep"]["weights"] == "all" else weights)
    if not base_model.get("gpus"):
        return Estimate()
    if rule == "answer":
        lines = [INSTRUCTIONS.get(config["judge"]["instructions"], OTHER_INSTRUCTIONS)]
    elif rule == "off_target_outputs":
        lines = count_off_target_lines(config, wildcards["benchmark"])
    elif rule == "select":
        # One model after another is loaded by the same job, each of which is counted like a job of its own.
        one = _decoding(config, wildcards, weights, count_dev_lines(config, wildcards["benchmark"]), long=False)
        return Estimate(gpu_hours=one.gpu_hours * count_compared(config, wildcards))
    else:
        lines = _lines_in_order(wildcards["benchmark"], config, files, counted if counted is not None else {})
        if rule == "decode_shard":
            lines = of_shard(lines, int(wildcards["shard"]), int(wildcards["shards"]))
    return _decoding(config, wildcards, weights, lines, long=rule == "answer")


def _training(
    config: Mapping[str, Any], step: str, wildcards: Mapping[str, str], parameters: float, files: Files
) -> Estimate:
    name, benchmark, model = wildcards["base_model"], wildcards["benchmark"], wildcards["model"]
    base_model = config["base_models"][name]
    settings = step_settings(config, step, name, benchmark, model)
    sequences = count_sequences(config, step, wildcards, files)
    snapshots = saved_steps(config, name, benchmark, model)
    dtype = base_model.get("dtype", "bf16")
    weights = parameters * DTYPE_BYTES[dtype]
    written = weights * (1 + len(snapshots))
    # The previous checkpoint is deleted only when the next one is complete. Those of adapters are too small to count.
    several = settings["checkpoint_minutes"] or 0 < settings["checkpoint_every"] < count_steps(
        config, step, wildcards, files
    )
    copies = 0 if settings["lora_rank"] else 2 if several else 1
    gpus = base_model.get("gpus", 0) * base_model.get("nodes", 1)
    return Estimate(
        gpu_hours=training_gpu_hours(parameters, sequences, gpus, bytes_moved=weights + written),
        disk=written,
        temporary=0 if keeps_weights(config, model) else written,
        checkpoints=copies * (weights + parameters * OPTIMIZER_BYTES[dtype]),
    )


def _decoding(
    config: Mapping[str, Any], wildcards: Mapping[str, str], weights: float, lines: list[int], long: bool
) -> Estimate:
    system, settings = _decoded(config, wildcards)
    return Estimate(
        gpu_hours=decoding_gpu_hours(
            weights,
            lines,
            contrasts=len(system.get("contrasts", ())),
            shots=system.get("shots", 0),
            # Answers to general instructions may be long, and so may outputs of a model that is not fine-tuned.
            stops_early=system["model"] != BASE and not long,
            settings=settings,
            gpus=config["base_models"][wildcards["base_model"]]["gpus"],
        )
    )


def _decoded(config: Mapping[str, Any], wildcards: Mapping[str, str]) -> tuple[Mapping[str, Any], dict[str, Any]]:
    """Return the system of a decoding job and its settings; a model that is decoded alone is its own system."""
    names = wildcards["base_model"], wildcards["benchmark"]
    if "system" in wildcards:
        return config["systems"][wildcards["system"]], decode_settings(config, *names, wildcards["system"])
    settings = step_settings(config, "decode", *names, BASE)
    if config["models"][wildcards["model"]]["stage"] == "snapshot":
        # Snapshots are compared by a greedy search.
        settings |= {"engine": "transformers", "beam": 1}
    return {"model": wildcards["model"]}, settings


def job_seconds(
    config: Mapping[str, Any],
    rule: str,
    wildcards: Mapping[str, str],
    files: Files,
    counted: dict[str, list[int]] | None = None,
) -> float:
    """Estimate the seconds of a job on two CPU cores, for the progress of a run; the arguments are those of `estimate`.

    Jobs of unknown size count like those that process text.
    """
    try:
        return TEXT_SECONDS + _cpu_seconds(config, rule, wildcards, files, {} if counted is None else counted)
    except UnknownSize:
        return TEXT_SECONDS


def _cpu_seconds(
    config: Mapping[str, Any],
    rule: str,
    wildcards: Mapping[str, str],
    files: Files,
    counted: dict[str, list[int]],
) -> float:
    if rule == "fetch_source":
        return estimate(config, rule, wildcards, files).download / DOWNLOAD_BANDWIDTH
    if rule == "translate_on_server":
        lines: float = sum(_lines_in_order(wildcards["benchmark"], config, files, counted))
        return lines * REPLY_SECONDS / server_settings(config, wildcards["benchmark"], wildcards["system"])["parallel"]
    if rule == "score_gemba":
        lines = sum(_lines_in_order(wildcards["benchmark"], config, files, counted))
        return lines * REPLY_SECONDS / rating_server(config, wildcards["learned"])["parallel"]
    if rule not in MODEL_RULES:
        return 0.0
    name = wildcards["base_model"]
    base_model = config["base_models"][name]
    parameters = count_parameters(name, base_model)
    if rule == "dequantise_base_model":
        return parameters / GGUF_PARAMETERS
    if rule == "build_base_model":
        return BUILD_SECONDS
    tokens = RESPONSE_TOKENS + (PROMPT_TOKENS if base_model.get("preamble", True) else SHORT_PROMPT_TOKENS)
    if rule in TRAINING_RULES:
        sequences = count_sequences(config, rule, wildcards, files)
        return OPERATIONS_PER_TOKEN * parameters * sequences * tokens / CPU_OPERATIONS["training"]
    if rule in ("decode", "decode_shard", "off_target_outputs", "select"):
        benchmark = wildcards["benchmark"]
        system, settings = _decoded(config, wildcards)
        if rule == "off_target_outputs":
            lines = sum(count_off_target_lines(config, benchmark))
        elif rule == "select":
            lines = sum(count_dev_lines(config, benchmark)) * count_compared(config, wildcards)
        else:
            lines = sum(_lines_in_order(benchmark, config, files, counted)) / int(wildcards.get("shards", 1))
        rows = 1 + len(system["contrasts"]) if "contrasts" in system else settings["beam"]
        tokens += DEMONSTRATION_TOKENS * system.get("shots", 0) // rows
        tokens += (settings["max_new_tokens"] if system["model"] == BASE else RESPONSE_TOKENS) - RESPONSE_TOKENS
        return 2 * parameters * lines * rows * tokens / CPU_OPERATIONS["decoding"]
    return 0.0


def make_plan(config: Mapping[str, Any], jobs: Iterable[PlannedJob], steps: Iterable[str], files: Files) -> list[str]:
    """Format the plan of a dry-run as lines: a table of needs with one row per step, and notes.

    Args:
        config: the checked configuration.
        jobs: the jobs that would run.
        steps: names of all steps, in the order of the rows; steps without jobs get no row.
        files: data of each benchmark, by name.
    """
    counts = dict.fromkeys(steps, 0)
    needs = dict.fromkeys(counts, Estimate())
    unknown: set[str] = set()
    counted: dict[str, list[int]] = {}
    on_gpu = False
    for job in jobs:
        counts[job.step] += 1
        on_gpu |= job.on_gpu
        try:
            needs[job.step] += estimate(config, job.rule, job.wildcards, files, counted)
        except UnknownSize as reason:
            unknown.add(str(reason))
    total = sum(needs.values(), Estimate())
    rows: list[tuple[str, ...]] = [("step", "jobs", "GPU-hours", "disk (GB)", "downloads (GB)")]
    rows += [_row(step, count, needs[step]) for step, count in counts.items() if count]
    rows.append(_row("total", sum(counts.values()), total))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["Plan: estimated needs of these jobs. The assumptions are listed in workflow_scripts/lat/plan.py."]
    for first, *numbers in rows:
        cells = [first.ljust(widths[0])]
        cells += [number.rjust(width) for number, width in zip(numbers, widths[1:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    lines.append("GPU-hours are those of an A100 with 80 GB." if on_gpu else "No GPU is needed.")
    if total.checkpoints >= 1e9:
        size = _rounded(total.checkpoints / 1e9)
        lines.append(f"A training run keeps up to {size} GB of checkpoints, which are deleted when it ends.")
    if total.temporary:
        size, rest = (_rounded(value / 1e9) or "0" for value in (total.disk, total.disk - total.temporary))
        keep = config["keep"]["weights"]
        lines.append(f"The files need up to {size} GB; {rest} GB remain, since keep.weights is {keep}.")
    if unknown:
        lines.append(f"Not counted, since their size is unknown: {'; '.join(sorted(unknown))}.")
    return lines


def _row(step: str, count: int, need: Estimate) -> tuple[str, ...]:
    return step, str(count), *(_rounded(value) for value in (need.gpu_hours, need.disk / 1e9, need.download / 1e9))


def _rounded(value: float) -> str:
    """Format a number with two significant digits; zero becomes an empty text."""
    if not value:
        return ""
    if value < 0.1:
        return "<0.1"
    return f"{value:.1f}" if value < 9.95 else f"{float(f'{value:.2g}'):,.0f}"


def _count_lines(path: Path) -> int:
    with open(path, "rb") as handle:
        return sum(1 for _ in handle)
