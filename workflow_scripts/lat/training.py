"""The training loop of both stages, on DeepSpeed: the same code for one CPU process and for many GPUs.

The unit is the *global batch*: its samples are drawn from one seeded order, its two token counts normalise the loss,
and how it is cut into micro-batches and dealt to processes changes speed and memory, not the value. The sequences of a
micro-batch are packed, which leaves hardly a padding token.
"""

import argparse
import hashlib
import json
import math
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import deepspeed
import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, get_cosine_schedule_with_warmup, set_seed

from .files import InputError, atomic_write, read_jsonl, read_text, replaced_folder, sha256, write_table
from .modelling import ResponseLoss, TokenSequence, encode_prompt, encode_response, load_model, load_tokenizer, pack
from .runtime import Progress, log, versions

STEP_COLUMNS = (
    "step",
    "loss",
    "likelihood_loss",
    "unlikelihood_loss",
    "learning_rate",
    "gradient_norm",
    "tokens_per_second",
)


@dataclass(frozen=True)
class Hyperparameters:
    """What, besides model and data, determines the trained weights.

    Attributes:
        learning_rate: peak of the cosine schedule.
        warmup_ratio: share of the steps with linearly rising rate.
        weight_decay: of AdamW.
        batch_size: samples of a global batch, over all processes and micro-batches.
        micro_batch_size: samples of one forward of one process; conflicts ride along and double its rows.
        epochs: passes over the data; ignored where `steps` is set.
        steps: optimiser steps, or 0 to let `epochs` decide.
        max_length: tokens of prompt and response together.
        alpha: weight of the unlikelihood loss; 0 trains on likelihood alone.
        dtype: fp32 or bf16.
        gradient_checkpointing: recompute activations to save memory.
        seed: of the sample order.
    """

    learning_rate: float
    warmup_ratio: float
    weight_decay: float
    batch_size: int
    micro_batch_size: int
    epochs: float
    steps: int
    max_length: int
    alpha: float
    dtype: str
    gradient_checkpointing: bool
    seed: int


@dataclass(frozen=True)
class Sample:
    """Token ids of a training sample; `conflict` is its prompt under a wrong instruction, in stage 2."""

    prompt: list[int]
    response: list[int]
    conflict: list[int] | None = None

    def __len__(self) -> int:
        return max(len(self.prompt), len(self.conflict or ())) + len(self.response)


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags every training step shares."""
    parser.add_argument("--model", type=Path, required=True, help="folder of the model to start from")
    parser.add_argument("--samples", type=Path, required=True, help="training samples, JSON lines")
    parser.add_argument("--output", type=Path, required=True, help="folder of the trained model")
    parser.add_argument("--steps-log", type=Path, required=True, help="table of losses and rates, a row a step")
    parser.add_argument("--checkpoints", type=Path, required=True, help="where unfinished runs keep their state")
    parser.add_argument("--checkpoint-every", type=int, default=0, help="steps between checkpoints, 0 = none")
    parser.add_argument("--deepspeed-config", type=Path, required=True)
    parser.add_argument("--attention", default="sdpa", help="attention implementation of transformers")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads of each process, 0 = the library's choice")
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--warmup-ratio", type=float, default=0.03)
    parser.add_argument("--weight-decay", type=float, default=0.0)
    parser.add_argument("--batch-size", type=int, required=True, help="samples of a global batch")
    parser.add_argument("--micro-batch-size", type=int, required=True, help="samples of one forward of one process")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=0, help="optimiser steps; 0 = as many as --epochs gives")
    parser.add_argument("--max-length", type=int, required=True, help="tokens of prompt and response")
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--seed", type=int, required=True)


def hyperparameters_from(arguments: argparse.Namespace, alpha: float = 0.0) -> Hyperparameters:
    """The hyperparameters among parsed flags."""
    given = vars(arguments) | {"alpha": alpha}
    return Hyperparameters(**{name: given[name] for name in Hyperparameters.__dataclass_fields__})


def read_samples(path: Path, tokenizer: PreTrainedTokenizerBase, max_length: int) -> list[Sample]:
    """Encode the samples of a JSON-lines file with `prompt`, `response` and, in stage 2, `conflict`.

    A sample over `max_length` tokens is left out and counted: cut, it would teach the model to stop mid-sentence.

    Raises:
        InputError: a key is missing, or no sample fits.
    """
    rows = read_jsonl(path)
    try:
        samples = [
            Sample(
                encode_prompt(tokenizer, row["prompt"]),
                encode_response(tokenizer, row["response"]),
                encode_prompt(tokenizer, row["conflict"]) if "conflict" in row else None,
            )
            for row in rows
        ]
    except KeyError as error:
        raise InputError(f"{path}: a sample has no {error}; rebuild the file") from None
    fitting = [sample for sample in samples if len(sample) <= max_length]
    if len(fitting) < len(samples):
        log.warning("left out %d of %d samples over %d tokens", len(samples) - len(fitting), len(samples), max_length)
    if not fitting:
        raise InputError(f"{path}: none of its {len(samples)} samples fits in {max_length} tokens; raise max_length")
    return fitting


def step_count(hyperparameters: Hyperparameters, samples: int) -> int:
    """Optimiser steps of a run; a last batch that would stay incomplete is not trained on."""
    return hyperparameters.steps or max(1, int(samples * hyperparameters.epochs) // hyperparameters.batch_size)


def global_batches(count: int, batch_size: int, steps: int, seed: int) -> Iterator[list[int]]:
    """Sample indices of each step's global batch: seeded permutations of the data, one after another without a gap."""
    stream: list[int] = []
    epoch = 0
    for _ in range(steps):
        while len(stream) < batch_size:
            stream += np.random.default_rng([seed, epoch]).permutation(count).tolist()
            epoch += 1
        yield stream[:batch_size]
        stream = stream[batch_size:]


def micro_batches(
    batch: Sequence[int], samples: Sequence[Sample], size: int, rank: int, world: int
) -> list[list[Sample]]:
    """The share of process `rank` in a global batch, cut into micro-batches of similar length.

    Every process gets the same number of micro-batches, as collective operations need, and in each about the same
    length as its peers.

    Raises:
        InputError: the samples cannot be shared evenly, which would leave a process without work in some round.
    """
    if len(batch) % world:
        raise InputError(f"batch_size {len(batch)} is not a multiple of the {world} processes; change one of them")
    by_length = sorted(batch, key=lambda index: (len(samples[index]), index))
    pieces = np.array_split(by_length, math.ceil(len(batch) / (size * world)) * world)
    return [[samples[index] for index in piece] for piece in pieces[rank::world]]


def to_tensors(micro_batch: Sequence[Sample], pad: int, single_row: bool, device: torch.device) -> dict[str, Tensor]:
    """Inputs of `ResponseLoss`: the samples and, in stage 2, their conflicts, packed together."""
    sequences = [TokenSequence(sample.prompt, sample.response) for sample in micro_batch]
    sequences += [
        TokenSequence(sample.conflict, sample.response, conflicting=True)
        for sample in micro_batch
        if sample.conflict is not None
    ]
    return {name: tensor.to(device) for name, tensor in pack(sequences, pad, single_row).items()}


def engine_config(path: Path, hyperparameters: Hyperparameters, world: int) -> dict[str, Any]:
    """A DeepSpeed configuration file with the hyperparameters filled in.

    Raises:
        InputError: the file is missing or not JSON.
    """
    try:
        config = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not JSON at line {error.lineno} ({error.msg})") from None
    accumulation = math.ceil(hyperparameters.batch_size / (hyperparameters.micro_batch_size * world))
    config["train_micro_batch_size_per_gpu"] = hyperparameters.micro_batch_size
    config["gradient_accumulation_steps"] = accumulation
    config["train_batch_size"] = hyperparameters.micro_batch_size * accumulation * world
    config["bf16"] = {"enabled": hyperparameters.dtype == "bf16"}
    config["optimizer"]["params"] |= {"lr": hyperparameters.learning_rate, "weight_decay": hyperparameters.weight_decay}
    return config


def start_processes() -> None:
    """Join the processes the launcher started."""
    if deepspeed.accelerator.get_accelerator().device_name() == "cpu":
        # The shared-memory kernel would be compiled with g++ at the first use (40 s) to save what gloo does anyway.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed()


def end_processes() -> None:
    """Let every process finish before any leaves."""
    deepspeed.comm.barrier()
    torch.distributed.destroy_process_group()


def gradient_norm(engine: Any) -> float | None:
    """Norm of the whole gradient before clipping, or None where the engine itself computes it in its step."""
    if engine.zero_optimization() or engine.bfloat16_enabled() or engine.fp16_enabled():
        return None
    gradients = [parameter.grad for parameter in engine.module.parameters() if parameter.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients))


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    samples: Sequence[Sample],
    hyperparameters: Hyperparameters,
    deepspeed_config: Path,
    checkpoints: Path | None = None,
    checkpoint_every: int = 0,
) -> tuple[PreTrainedModel, list[dict[str, Any]]]:
    """Train `model` and return it with the rows of its step log.

    Args:
        model: on CPU, as loaded.
        tokenizer: for the padding id.
        samples: all of them, on every process.
        hyperparameters: see the class.
        deepspeed_config: a JSON file of `configs/deepspeed/`.
        checkpoints: folder of this run's unfinished state; a run that finds some there continues from it.
            None for a run too short to be worth it.
        checkpoint_every: steps between checkpoints, 0 for none.

    Raises:
        InputError: the loss or its gradient stopped being finite.
    """
    rank, world = deepspeed.comm.get_rank(), deepspeed.comm.get_world_size()
    steps = step_count(hyperparameters, len(samples))
    if hyperparameters.gradient_checkpointing:
        model.gradient_checkpointing_enable()
    engine, *_ = deepspeed.initialize(
        model=ResponseLoss(model),
        config=engine_config(deepspeed_config, hyperparameters, world),
        lr_scheduler=lambda optimizer: get_cosine_schedule_with_warmup(
            optimizer, math.ceil(steps * hyperparameters.warmup_ratio), steps
        ),
    )
    resumable = checkpoints is not None and (checkpoints / "latest").exists()
    _, state = engine.load_checkpoint(str(checkpoints)) if resumable else (None, None)
    rows: list[dict[str, Any]] = state["rows"] if state else []
    if rows:
        log.info("continuing after step %d of %d", len(rows), steps)

    model.train()
    pad = tokenizer.pad_token_id
    # Flash attention tells packed sequences apart in a single row only.
    single_row = "flash" in model.config._attn_implementation
    progress = Progress(steps - len(rows), "steps")
    for step, batch in enumerate(
        global_batches(len(samples), hyperparameters.batch_size, steps, hyperparameters.seed), 1
    ):
        if step <= len(rows):
            continue
        started = time.monotonic()
        response_tokens = sum(len(samples[index].response) for index in batch)
        tokens = sum(len(samples[index]) * (2 if samples[index].conflict else 1) for index in batch)
        totals = torch.zeros(2, device=engine.device)
        cut = micro_batches(batch, samples, hyperparameters.micro_batch_size, rank, world)
        for number, micro_batch in enumerate(cut, 1):
            engine.set_gradient_accumulation_boundary(number == len(cut))
            likelihood_loss, unlikelihood_loss = engine(**to_tensors(micro_batch, pad, single_row, engine.device))
            loss = (likelihood_loss + hyperparameters.alpha * unlikelihood_loss) / response_tokens
            # The engine averages gradients over processes; this loss is already a share of the global mean.
            engine.backward(loss * world, scale_wrt_gas=False)
            totals += torch.stack([likelihood_loss.detach(), unlikelihood_loss.detach()]) / response_tokens
        rate = engine.get_lr()[0]
        norm = gradient_norm(engine)
        engine.step()
        norm = engine.get_global_grad_norm() if norm is None else norm
        deepspeed.comm.all_reduce(totals)
        likelihood, unlikely = totals.tolist()
        if not (math.isfinite(likelihood + unlikely) and math.isfinite(norm)):
            raise InputError(
                f"step {step}: loss {likelihood + unlikely}, gradient norm {norm}; lower learning_rate or alpha"
            )
        rows.append(
            {
                "step": step,
                "loss": f"{likelihood + hyperparameters.alpha * unlikely:.6f}",
                "likelihood_loss": f"{likelihood:.6f}",
                "unlikelihood_loss": f"{unlikely:.6f}",
                "learning_rate": f"{rate:.4g}",
                "gradient_norm": f"{norm:.4f}",
                "tokens_per_second": f"{tokens / (time.monotonic() - started):.0f}",
            }
        )
        progress.update(
            note=f"loss {likelihood:.3f} + {hyperparameters.alpha:g} * {unlikely:.3f}, "
            f"{rows[-1]['tokens_per_second']} tokens/s"
        )
        if checkpoints and checkpoint_every and step % checkpoint_every == 0 and step < steps:
            _save_checkpoint(engine, checkpoints, step, rows)
    return model, rows


def _save_checkpoint(engine: Any, checkpoints: Path, step: int, rows: list[dict[str, Any]]) -> None:
    # The engine points `latest` at a tag only once the tag is complete, so a kill leaves the previous one in force.
    engine.save_checkpoint(str(checkpoints), tag=f"step{step}", client_state={"rows": rows})
    if deepspeed.comm.get_rank() == 0:
        for old in checkpoints.glob("step*"):
            if old.name != f"step{step}":
                shutil.rmtree(old)


def run_training(arguments: argparse.Namespace, alpha: float = 0.0) -> None:
    """A training step from its parsed flags to its output folder: model, tokenizer, `training.json`, step log."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    hyperparameters = hyperparameters_from(arguments, alpha)
    set_seed(hyperparameters.seed)
    start_processes()
    tokenizer = load_tokenizer(arguments.model)
    samples = read_samples(arguments.samples, tokenizer, hyperparameters.max_length)
    log.info("%d samples, %d steps", len(samples), step_count(hyperparameters, len(samples)))
    model = load_model(arguments.model, hyperparameters.dtype, arguments.attention)
    checkpoints = arguments.checkpoints / _run_key(arguments, hyperparameters)
    started = time.monotonic()
    model, rows = train(
        model,
        tokenizer,
        samples,
        hyperparameters,
        arguments.deepspeed_config,
        checkpoints,
        arguments.checkpoint_every,
    )
    save_model(model, tokenizer, arguments.output)
    if deepspeed.comm.get_rank() == 0:
        record = {
            "hyperparameters": asdict(hyperparameters),
            "samples": len(samples),
            "samples_sha256": sha256(arguments.samples),
            "steps": len(rows),
            "seconds": round(time.monotonic() - started, 1),
            "processes": deepspeed.comm.get_world_size(),
            "threads": torch.get_num_threads(),
            "versions": versions(),
        }
        with atomic_write(arguments.output / "training.json") as handle:
            json.dump(record, handle, indent=2)
        write_table(arguments.steps_log, rows, STEP_COLUMNS)
        shutil.rmtree(arguments.checkpoints, ignore_errors=True)
    end_processes()


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write weights (safetensors), configuration and tokeniser; the folder appears only once it is complete.

    Every process calls it: shards of the weights, where the engine made some, are gathered for the first, which writes.
    """
    with deepspeed.zero.GatheredParameters(list(model.parameters())):
        if deepspeed.comm.get_rank() == 0:
            with replaced_folder(folder) as partial:
                model.save_pretrained(partial)
                tokenizer.save_pretrained(partial)


def _run_key(arguments: argparse.Namespace, hyperparameters: Hyperparameters) -> str:
    """Names the state of this very run: another model, data set or hyperparameter never continues from it."""
    files = sorted(path for path in arguments.model.iterdir() if path.is_file())
    parts = [
        json.dumps(asdict(hyperparameters), sort_keys=True),
        sha256(arguments.samples),
        # the engine splits its state by processes
        str(deepspeed.comm.get_world_size()),
        read_text(arguments.deepspeed_config),
        *(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files),
    ]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
