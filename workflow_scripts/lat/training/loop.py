"""The training loop of both stages on DeepSpeed: the same code for one CPU process and for many GPUs.

The unit of training is the global batch. Its samples follow one seeded order, and its number of response tokens
normalises the loss, so that the way in which it is divided into micro-batches and among processes changes speed and
memory, not the value. The sequences of a micro-batch share a row without padding, and what their prompts begin with is
computed once, if the model keeps such sequences apart (see `layout.py`).
"""

import math
import time
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any, NamedTuple, cast

import deepspeed
import torch
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase, get_cosine_schedule_with_warmup

from ..files import InputError
from ..runtime import Progress, log
from .adapters import add_adapters
from .checkpoints import Checkpoints, save_model
from .engine import Interrupted, StopSignal, engine_config, gradient_norm, leave_out_waste, peak_memory_mb
from .hyperparameters import Hyperparameters, PreferenceHyperparameters
from .layout import Layout, choose_layout
from .modelling import ResponseLoss
from .pairs import EncodedPair, PreferenceLoss, pair_tensors
from .reference import with_reference
from .samples import EncodedSample, global_batches, micro_batches, step_count, to_tensors


def step_columns(losses: Sequence[str]) -> tuple[str, ...]:
    """Return the columns of a step log, given those of the parts of the loss."""
    return (
        "step",
        "loss",
        *losses,
        "learning_rate",
        "gradient_norm",
        "seconds",
        "tokens_per_second",
        "peak_memory_mb",
    )


STEP_COLUMNS = step_columns(ResponseLoss.columns)


class StepResult(NamedTuple):
    """Result of one optimizer step, summed over all processes."""

    losses: tuple[float, ...]  # the parts of the loss, that of the likelihood first
    learning_rate: float
    gradient_norm: float
    stopping: bool  # some process was asked to stop
    overdue: bool  # some process finds that the last checkpoint is too long ago

    @property
    def likelihood(self) -> float:
        """The likelihood loss."""
        return self.losses[0]


def train(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    samples: Sequence[EncodedSample],
    hyperparameters: Hyperparameters,
    deepspeed_config: Mapping[str, Any],
    checkpoints: Checkpoints | None = None,
) -> tuple[Any, list[dict[str, Any]]]:
    """Train `model` in place, and return its engine and the rows of its step log.

    Args:
        model: the model on the CPU, as loaded.
        tokenizer: its tokenizer.
        samples: all training samples, on every process.
        hyperparameters: see the class.
        deepspeed_config: a DeepSpeed configuration, as `read_deepspeed_config` returns it.
        checkpoints: where the run saves its state, and continues if it finds its own state there. None: no
            checkpoints.

    Raises:
        InputError: sequences of a micro-batch influence one another in this model, the loss or its gradient is not
            finite, or a checkpoint cannot be written.
        Interrupted: the process was asked to stop.
    """
    steps = step_count(hyperparameters, len(samples))
    # Attention implementations may exist on the GPU only, so that the model is compared with itself there.
    if torch.cuda.is_available():
        model.to(torch.device("cuda", torch.cuda.current_device()))
    layout = choose_layout(model, max(map(len, samples)))
    engine = start_engine(model, hyperparameters, deepspeed_config, steps)
    if isinstance(hyperparameters, PreferenceHyperparameters) and hyperparameters.preference.needs_reference:
        used = chain(*global_batches(len(samples), hyperparameters.batch_size, steps, hyperparameters.seed))
        samples = with_reference(
            engine,
            cast(Sequence[EncodedPair], samples),
            used,
            hyperparameters.micro_batch_size,
            tokenizer.pad_token_id,
            layout,
            checkpoints.folder if checkpoints else None,
        )
    stop = StopSignal() if checkpoints else None
    rows: list[dict[str, Any]] = checkpoints.load(engine).get("rows", []) if checkpoints else []
    if rows:
        log.info("continuing after step %d of %d", len(rows), steps)
    model.train()
    progress = Progress(steps - len(rows), "steps")
    batches = global_batches(len(samples), hyperparameters.batch_size, steps, hyperparameters.seed)
    for step, batch in enumerate(batches, 1):
        if step <= len(rows):
            continue
        started = time.monotonic()
        # Dropout, where a model has it, is that of the step, so that a continued run equals an undisturbed one.
        torch.manual_seed(hash((hyperparameters.seed, step, deepspeed.comm.get_rank())) % 2**63)
        result = train_step(
            engine, batch, samples, hyperparameters.micro_batch_size, tokenizer.pad_token_id, layout, stop, checkpoints
        )
        _check_finite(step, result, engine.module.weight_key)
        seconds = time.monotonic() - started
        tokens = sum(samples[index].tokens for index in batch)
        rows.append(_log_row(step, result, engine.module, seconds, tokens, peak_memory_mb(engine.device)))
        if engine.monitor.enabled:
            # The trackers (TensorBoard, Weights & Biases, Comet, CSV) that the DeepSpeed configuration names.
            engine.monitor.write_events([(f"train/{name}", float(rows[-1][name]), step) for name in list(rows[-1])[1:]])
        (of_likelihood, factor, *_), (likelihood, other, *_) = engine.module.factors, result.losses
        progress.update(
            note=f"loss {of_likelihood * likelihood:.3f} + {factor:g} * {other:.3f}, "
            f"{rows[-1]['tokens_per_second']} tokens/s"
        )
        if checkpoints is None:
            continue
        if step in checkpoints.snapshots:
            save_model(model, tokenizer, checkpoints.snapshot(step), engine)
        if step == steps:
            break
        if result.stopping or result.overdue or (checkpoints.every and step % checkpoints.every == 0):
            checkpoints.save(engine, step, {"rows": rows})
        if result.stopping:
            raise Interrupted(f"stopped after step {step} of {steps}; the same command continues from there")
    return engine, rows


def start_engine(
    model: PreTrainedModel, hyperparameters: Hyperparameters, deepspeed_config: Mapping[str, Any], steps: int
) -> Any:
    """Wrap the model in its loss and in a DeepSpeed engine with optimizer and learning-rate schedule."""
    if hyperparameters.gradient_checkpointing:
        model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    # The head is compared with the model's own logits before adapters and engine change the layers.
    loss_module = (
        PreferenceLoss(model, hyperparameters.preference)
        if isinstance(hyperparameters, PreferenceHyperparameters)
        else ResponseLoss(model, hyperparameters.alpha)
    )
    if hyperparameters.freeze_embeddings:
        model.get_input_embeddings().requires_grad_(False)
    add_adapters(model, hyperparameters)
    engine, *_ = deepspeed.initialize(
        model=loss_module,
        config=engine_config(deepspeed_config, hyperparameters, deepspeed.comm.get_world_size()),
        model_parameters=[parameter for parameter in loss_module.parameters() if parameter.requires_grad],
        lr_scheduler=lambda optimizer: get_cosine_schedule_with_warmup(
            optimizer, math.ceil(steps * hyperparameters.warmup_ratio), steps
        ),
    )
    leave_out_waste(engine)
    return engine


def train_step(
    engine: Any,
    batch: Sequence[int],
    samples: Sequence[EncodedSample],
    micro_batch_size: int,
    pad: int,
    layout: Layout,
    stop: StopSignal | None,
    checkpoints: Checkpoints | None,
) -> StepResult:
    """Accumulate the gradient of one global batch over its micro-batches, then update the weights."""
    losses = accumulate_gradients(engine, batch, samples, micro_batch_size, pad, layout)
    rate = engine.get_lr()[0]
    norm = gradient_norm(engine)
    engine.step()
    norm = engine.get_global_grad_norm() if norm is None else norm
    # What a process wants is summed together with the losses, so that all processes stop or save after the same step.
    wishes = [bool(stop and stop.received), bool(checkpoints and checkpoints.overdue)]
    totals = torch.cat([losses, losses.new_tensor(wishes)])
    deepspeed.comm.all_reduce(totals)
    *parts, stopping, overdue = totals.tolist()
    return StepResult(tuple(parts), rate, float(norm), bool(stopping), bool(overdue))


def accumulate_gradients(
    engine: Any,
    batch: Sequence[int],
    samples: Sequence[EncodedSample],
    micro_batch_size: int,
    pad: int,
    layout: Layout,
) -> Tensor:
    """Add up the gradient of the objective over a global batch.

    Returns:
        The parts of the loss, in the order of `columns` of the loss module, fp32 [parts]: the share of this process.
        The shares of all processes sum to the value for the batch.
    """
    rank, world = deepspeed.comm.get_rank(), deepspeed.comm.get_world_size()
    response_tokens = sum(len(samples[index].response) for index in batch)
    losses = torch.zeros(len(engine.module.columns), device=engine.device)
    own_batches = micro_batches(batch, samples, micro_batch_size, rank, world)
    # All processes take part in every pass through the model, since it may be divided among them. One without samples
    # passes the shortest one through, whose loss does not count.
    shortest = samples[min(batch, key=lambda index: len(samples[index]))]
    for number, micro_batch in enumerate(own_batches, 1):
        share = 1 / response_tokens if micro_batch else 0.0
        engine.set_gradient_accumulation_boundary(number == len(own_batches))
        # The engine averages gradients over the processes; this loss is already a share of the global mean.
        given = micro_batch or [shortest]
        if isinstance(engine.module, PreferenceLoss):
            whole = [samples[index] for index in batch]
            inputs = pair_tensors(cast(Sequence[EncodedPair], given), whole, pad, layout, engine.device)
        else:
            inputs = to_tensors(given, pad, layout, engine.device)
        loss, parts = engine(**inputs, scale=world * share)
        # A copy, because the engine would divide the gradient of its own output by the number of micro-batches.
        engine.backward(loss.clone(), scale_wrt_gas=False)
        losses += parts * share
    return losses


def _check_finite(step: int, result: StepResult, weight_key: str) -> None:
    loss = sum(result.losses)
    if not (math.isfinite(loss) and math.isfinite(result.gradient_norm)):
        raise InputError(
            f"step {step}: loss {loss}, gradient norm {result.gradient_norm}; lower learning_rate or {weight_key}"
        )


def _log_row(
    step: int,
    result: StepResult,
    module: ResponseLoss | PreferenceLoss,
    seconds: float,
    tokens: int,
    memory_mb: float,
) -> dict[str, Any]:
    """Return one row of the step log, see `step_columns`."""
    loss = sum(factor * part for factor, part in zip(module.factors, result.losses, strict=True))
    return {
        "step": step,
        "loss": f"{loss:.6f}",
        **{name: f"{part:.6f}" for name, part in zip(module.columns, result.losses, strict=True)},
        "learning_rate": f"{result.learning_rate:.4g}",
        "gradient_norm": f"{result.gradient_norm:.4f}",
        "seconds": f"{seconds:.3f}",
        "tokens_per_second": f"{tokens / seconds:.0f}",
        "peak_memory_mb": f"{memory_mb:.0f}",
    }
