"""The training loop of both stages, on DeepSpeed: the same code for one CPU process and for many GPUs.

The unit is the *global batch*: its samples are drawn from one seeded order, its two token counts normalise the loss,
and how it is cut into micro-batches and dealt to processes changes speed and memory, not the value. The sequences of a
micro-batch are packed, which leaves hardly a padding token.

A run keeps its state in a folder named after everything that determines its weights. Killed at any moment, the same
command continues from the last state there; asked to stop (SIGTERM, SIGINT), it writes one first.
"""

import argparse
import atexit
import hashlib
import json
import math
import os
import resource
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

import deepspeed
import numpy as np
import torch
from peft import LoraConfig, LoraModel
from peft.tuners.lora import Linear as LoraLinear
from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, get_cosine_schedule_with_warmup, set_seed

from .files import InputError, atomic_write, read_jsonl, read_text, replaced_folder, sha256, write_table
from .modelling import ResponseLoss, TokenSequence, encode_prompt, encode_response, load_model, load_tokenizer, pack
from .runtime import Progress, git_commit, log, versions

STEP_COLUMNS = (
    "step",
    "loss",
    "likelihood_loss",
    "unlikelihood_loss",
    "learning_rate",
    "gradient_norm",
    "seconds",
    "tokens_per_second",
    "peak_memory_mb",
)

# sysexits.h, EX_TEMPFAIL: try the same again
INTERRUPTED = 75

ADAPTERS = "default"


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
        seed: of the sample order and of the adapters.
        lora_rank: of the low-rank adapters trained in place of every linear layer's weight, 0 trains all weights.
        lora_alpha: the adapters' product is scaled by lora_alpha / lora_rank.
        freeze_embeddings: leave token embeddings as they are, and the head where it shares their weight. They are most
            of a small multilingual model, and a few thousand samples teach them little.
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
    lora_rank: int = 0
    lora_alpha: int = 16
    freeze_embeddings: bool = False


@dataclass(frozen=True)
class Sample:
    """Token ids of a training sample; `conflict` is its prompt under a wrong instruction, in stage 2."""

    prompt: list[int]
    response: list[int]
    conflict: list[int] | None = None

    def __len__(self) -> int:
        return max(len(self.prompt), len(self.conflict or ())) + len(self.response)

    @property
    def tokens(self) -> int:
        """What a forward of the sample processes, its conflict included."""
        again = len(self.conflict) + len(self.response) if self.conflict else 0
        return len(self.prompt) + len(self.response) + again


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
    parser.add_argument("--lora-rank", type=int, default=0, help="rank of low-rank adapters, 0 = train all weights")
    parser.add_argument("--lora-alpha", type=int, default=16, help="adapters are scaled by lora-alpha / lora-rank")
    parser.add_argument("--freeze-embeddings", action="store_true", help="leave token embeddings as they are")
    parser.add_argument("--seed", type=int, required=True)


def hyperparameters_from(arguments: argparse.Namespace, alpha: float = 0.0) -> Hyperparameters:
    """The hyperparameters among parsed flags."""
    given = vars(arguments) | {"alpha": alpha}
    return Hyperparameters(**{name: given[name] for name in Hyperparameters.__dataclass_fields__})


def read_samples(path: Path, tokenizer: PreTrainedTokenizerBase, max_length: int) -> tuple[list[Sample], int]:
    """Encode the samples of a JSON-lines file with `prompt`, `response` and, in stage 2, `conflict`.

    A sample over `max_length` tokens is left out: cut, it would teach the model to stop mid-sentence.

    Returns:
        The samples, and how many were left out.

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
    left_out = len(samples) - len(fitting)
    if left_out:
        log.warning("left out %d of %d samples over %d tokens", left_out, len(samples), max_length)
    if not fitting:
        raise InputError(f"{path}: none of its {len(samples)} samples fits in {max_length} tokens; raise max_length")
    return fitting, left_out


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


def end_processes(status: int = 0) -> NoReturn:
    """Let every process finish before any leaves, then leave with a status.

    At once, once what is registered for the end of a program is done (trackers, logs): native threads that the
    interpreter takes down in its own order now and then abort a process whose work is complete.
    """
    deepspeed.comm.barrier()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def gradient_norm(engine: Any) -> float | None:
    """Norm of the whole gradient before clipping, or None where the engine itself computes it in its step."""
    if engine.zero_optimization() or engine.bfloat16_enabled() or engine.fp16_enabled():
        return None
    gradients = [parameter.grad for parameter in engine.module.parameters() if parameter.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients))


class Interrupted(Exception):
    """The run was asked to stop and has kept its state."""


class StopSignal:
    """Remembers that the process was asked to stop, so that it does so between two steps."""

    def __init__(self) -> None:
        self.received = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: object) -> None:
        self.received = True
        log.info("%s: stopping after this step", signal.Signals(number).name)


@dataclass(frozen=True)
class Checkpoints:
    """Where and when a run keeps what it needs to continue.

    Attributes:
        folder: of this very run, see `run_key`.
        every: steps between checkpoints; 0 writes one only when asked to stop.
        snapshots: steps after which the model is kept as it is, for a study of the steps.
    """

    folder: Path
    every: int = 0
    snapshots: tuple[int, ...] = ()

    @property
    def latest(self) -> Path:
        """Names the newest complete checkpoint; a kill in the middle of writing one leaves it on the one before."""
        return self.folder / "complete"

    def snapshot(self, step: int) -> Path:
        """The model folder of a step."""
        return self.folder / "snapshots" / f"step{step}"

    def load(self, engine: Any) -> dict[str, Any]:
        """Continue from the newest complete checkpoint, if there is one, and return the state saved with it."""
        if not self.latest.exists():
            return {}
        tag = self.latest.read_text(encoding="utf-8")
        # Without adapters the frozen weights are saved too, and nothing may be missing.
        _, state = engine.load_checkpoint(str(self.folder), tag=tag, load_module_strict=not _has_frozen(engine))
        return dict(state)

    def save(self, engine: Any, step: int, state: dict[str, Any]) -> None:
        """Write a checkpoint, declare it the newest, and only then drop the others.

        Raises:
            InputError: it cannot be written, as on a full disk; the one before stays.
        """
        tag = f"step{step}"
        try:
            engine.save_checkpoint(
                str(self.folder),
                tag=tag,
                client_state=state,
                save_latest=False,
                exclude_frozen_parameters=_has_frozen(engine),
            )
            deepspeed.comm.barrier()  # every process has written its share
            if deepspeed.comm.get_rank() == 0:
                with atomic_write(self.latest) as handle:
                    handle.write(tag)
                for old in self.folder.glob("step*"):
                    if old.name != tag:
                        shutil.rmtree(old)
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"{self.folder}: cannot write the checkpoint of step {step} ({error}); free disk space, then the same "
                "command continues from the checkpoint before"
            ) from None


def _has_frozen(engine: Any) -> bool:
    return not all(parameter.requires_grad for parameter in engine.module.parameters())


def peak_memory_mb(device: torch.device) -> float:
    """The most memory this process ever had: allocated on its GPU, or resident on the machine."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def add_adapters(model: PreTrainedModel, hyperparameters: Hyperparameters) -> None:
    """Freeze the model and put low-rank adapters into its linear layers, in place, if the hyperparameters say so."""
    if not hyperparameters.lora_rank:
        return
    config = LoraConfig(
        r=hyperparameters.lora_rank,
        lora_alpha=hyperparameters.lora_alpha,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    LoraModel(model, config, ADAPTERS)
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    log.info("adapters of rank %d, %.2fM parameters", hyperparameters.lora_rank, trained / 1e6)


def plain_weights(model: PreTrainedModel) -> dict[str, Tensor]:
    """The weights as a model without adapters has them: each adapter's product added, in a copy, to what it adapts."""
    weights = model.state_dict()
    for name, module in model.named_modules():
        if isinstance(module, LoraLinear):
            adapted = module.get_base_layer().weight
            merged = adapted.detach() + module.get_delta_weight(ADAPTERS).detach().to(adapted.dtype)
            weights = {key: value for key, value in weights.items() if not key.startswith(f"{name}.lora_")}
            weights[f"{name}.base_layer.weight"] = merged
    return {key.replace(".base_layer.", "."): value for key, value in weights.items()}


def accumulate_gradients(
    engine: Any, batch: Sequence[int], samples: Sequence[Sample], micro_batch_size: int, pad: int, single_row: bool
) -> Tensor:
    """Add the gradient of the objective over a global batch, cut into micro-batches and shared among the processes.

    Returns:
        Likelihood and unlikelihood loss, fp32 [2]: this process's share, which sums to the whole over the processes.
    """
    rank, world = deepspeed.comm.get_rank(), deepspeed.comm.get_world_size()
    response_tokens = sum(len(samples[index].response) for index in batch)
    losses = torch.zeros(2, device=engine.device)
    cut = micro_batches(batch, samples, micro_batch_size, rank, world)
    for number, micro_batch in enumerate(cut, 1):
        engine.set_gradient_accumulation_boundary(number == len(cut))
        loss, parts = engine(**to_tensors(micro_batch, pad, single_row, engine.device))
        # The engine averages gradients over processes; this loss is already a share of the global mean.
        engine.backward(loss * (world / response_tokens), scale_wrt_gas=False)
        losses += parts / response_tokens
    return losses


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    samples: Sequence[Sample],
    hyperparameters: Hyperparameters,
    deepspeed_config: Path,
    checkpoints: Checkpoints | None = None,
) -> tuple[PreTrainedModel, list[dict[str, Any]]]:
    """Train `model`, in place, and return it with the rows of its step log.

    Args:
        model: on CPU, as loaded.
        tokenizer: for the padding id.
        samples: all of them, on every process.
        hyperparameters: see the class.
        deepspeed_config: a JSON file of `configs/deepspeed/`.
        checkpoints: a run that finds its own state there continues from it. None for a run too short to be worth it.

    Raises:
        InputError: the loss or its gradient stopped being finite, or a checkpoint cannot be written.
        Interrupted: the process was asked to stop.
    """
    world = deepspeed.comm.get_world_size()
    steps = step_count(hyperparameters, len(samples))
    stop = StopSignal() if checkpoints else None
    if hyperparameters.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    # Compared with the model's own logits before adapters and engine change what its layers are.
    loss_module = ResponseLoss(model, hyperparameters.alpha)
    if hyperparameters.freeze_embeddings:
        model.get_input_embeddings().requires_grad_(False)
    add_adapters(model, hyperparameters)
    engine, *_ = deepspeed.initialize(
        model=loss_module,
        config=engine_config(deepspeed_config, hyperparameters, world),
        model_parameters=[parameter for parameter in loss_module.parameters() if parameter.requires_grad],
        lr_scheduler=lambda optimizer: get_cosine_schedule_with_warmup(
            optimizer, math.ceil(steps * hyperparameters.warmup_ratio), steps
        ),
    )
    rows: list[dict[str, Any]] = checkpoints.load(engine).get("rows", []) if checkpoints else []
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
        tokens = sum(samples[index].tokens for index in batch)
        losses = accumulate_gradients(engine, batch, samples, hyperparameters.micro_batch_size, pad, single_row)
        rate = engine.get_lr()[0]
        norm = gradient_norm(engine)
        engine.step()
        norm = engine.get_global_grad_norm() if norm is None else norm
        # with the losses goes whether any process was asked to stop, so that all stop after the same step
        totals = torch.cat([losses, losses.new_tensor([bool(stop and stop.received)])])
        deepspeed.comm.all_reduce(totals)
        likelihood, unlikely, stopping = totals.tolist()
        if not (math.isfinite(likelihood + unlikely) and math.isfinite(norm)):
            raise InputError(
                f"step {step}: loss {likelihood + unlikely}, gradient norm {norm}; lower learning_rate or alpha"
            )
        seconds = time.monotonic() - started
        rows.append(
            {
                "step": step,
                "loss": f"{likelihood + hyperparameters.alpha * unlikely:.6f}",
                "likelihood_loss": f"{likelihood:.6f}",
                "unlikelihood_loss": f"{unlikely:.6f}",
                "learning_rate": f"{rate:.4g}",
                "gradient_norm": f"{norm:.4f}",
                "seconds": f"{seconds:.3f}",
                "tokens_per_second": f"{tokens / seconds:.0f}",
                "peak_memory_mb": f"{peak_memory_mb(engine.device):.0f}",
            }
        )
        if engine.monitor.enabled:
            # Trackers (TensorBoard, Weights & Biases, Comet, CSV) as the DeepSpeed configuration names them.
            engine.monitor.write_events([(f"train/{name}", float(rows[-1][name]), step) for name in STEP_COLUMNS[1:]])
        progress.update(
            note=f"loss {likelihood:.3f} + {hyperparameters.alpha:g} * {unlikely:.3f}, "
            f"{rows[-1]['tokens_per_second']} tokens/s"
        )
        if checkpoints is None:
            continue
        if step in checkpoints.snapshots:
            save_model(model, tokenizer, checkpoints.snapshot(step))
        if step == steps:
            break
        if stopping or (checkpoints.every and step % checkpoints.every == 0):
            checkpoints.save(engine, step, {"rows": rows})
        if stopping:
            raise Interrupted(f"stopped after step {step} of {steps}; the same command continues from there")
    return model, rows


def run_training(arguments: argparse.Namespace, alpha: float = 0.0) -> None:
    """A training step from its parsed flags to its output folder: model, tokenizer, `training.json`, step log.

    Asked to stop, it exits with status 75 and the next run of the same command continues.
    """
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    hyperparameters = hyperparameters_from(arguments, alpha)
    set_seed(hyperparameters.seed)
    start_processes()
    tokenizer = load_tokenizer(arguments.model)
    samples, left_out = read_samples(arguments.samples, tokenizer, hyperparameters.max_length)
    steps = step_count(hyperparameters, len(samples))
    log.info("%d samples, %d steps", len(samples), steps)
    snapshots = tuple(getattr(arguments, "snapshot_steps", ()))
    if snapshots and max(snapshots) > steps:
        raise InputError(f"--snapshot-steps: {max(snapshots)} is beyond the last of {steps} steps; lower it")
    model = load_model(arguments.model, hyperparameters.dtype, arguments.attention)
    checkpoints = Checkpoints(
        arguments.checkpoints / run_key(arguments, hyperparameters), arguments.checkpoint_every, snapshots
    )
    started = time.time()
    try:
        model, rows = train(model, tokenizer, samples, hyperparameters, arguments.deepspeed_config, checkpoints)
    except Interrupted as interruption:
        log.info("%s", interruption)
        end_processes(INTERRUPTED)
    save_model(model, tokenizer, arguments.output)
    if deepspeed.comm.get_rank() == 0:
        record = {
            "hyperparameters": asdict(hyperparameters),
            "deepspeed": json.loads(read_text(arguments.deepspeed_config)),
            "samples": len(samples),
            "samples_left_out": left_out,
            "samples_sha256": sha256(arguments.samples),
            "steps": steps,
            "tokens": sum(
                samples[index].tokens
                for batch in global_batches(len(samples), hyperparameters.batch_size, steps, hyperparameters.seed)
                for index in batch
            ),
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
            "seconds_of_steps": round(sum(float(row["seconds"]) for row in rows), 1),
            "processes": deepspeed.comm.get_world_size(),
            "threads": torch.get_num_threads(),
            "peak_memory_mb": float(rows[-1]["peak_memory_mb"]),
            "git_commit": git_commit(),
            "versions": versions(),
        }
        with atomic_write(arguments.output / "training.json") as handle:
            json.dump(record, handle, indent=2)
        if "snapshots" in arguments:
            with replaced_folder(arguments.snapshots) as folder:
                for step in snapshots:
                    checkpoints.snapshot(step).rename(folder / f"step{step}")
        write_table(arguments.steps_log, rows, STEP_COLUMNS)
        shutil.rmtree(arguments.checkpoints, ignore_errors=True)
    end_processes()


def save_model(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path) -> None:
    """Write weights (safetensors), configuration and tokeniser; the folder appears only once it is complete.

    Every process calls it: shards of the weights, where the engine made some, are gathered for the first, which writes.

    Raises:
        InputError: the folder cannot be written, as on a full disk.
    """
    with deepspeed.zero.GatheredParameters(list(model.parameters())):
        if deepspeed.comm.get_rank() == 0:
            try:
                with replaced_folder(folder) as partial:
                    model.save_pretrained(partial, state_dict=plain_weights(model))
                    tokenizer.save_pretrained(partial)
            except (OSError, SafetensorError) as error:
                raise InputError(f"{folder}: cannot write the model ({error}); free disk space and run again") from None


def run_key(arguments: argparse.Namespace, hyperparameters: Hyperparameters) -> str:
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
