"""Save the state of unfinished training runs, and finished models; a killed job leaves no partial model."""

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import deepspeed
import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..files import InputError, fold, replaced_folder, sha256
from ..manifest import MANIFEST, damage_of, write_manifest
from ..models import TORCH_DTYPES, load_model
from ..runtime import log
from .adapters import plain_weights
from .hyperparameters import Hyperparameters
from .occupancy import Occupancy

# If the newest checkpoint is damaged, training continues from the one before.
CHECKPOINTS_KEPT = 2
# Slurm usually kills a job 30 seconds after the signal that asks it to stop.
SECONDS_ON_SLURM = 15
# Tokens on which a saved model is compared with the one in memory, and the accepted difference of logits, relative to
# the largest. Adapters are rounded to the dtype when they are merged.
PROBE_TOKENS = 12
SAVED_TOLERANCE = {"fp32": 1e-3, "bf16": 0.1, "fp16": 0.05}


@dataclass
class Checkpoints:
    """Where and when a run saves the state that it needs to continue.

    Attributes:
        folder: folder of this run, see `run_key`.
        every: steps between checkpoints; 0 writes none because of the number of steps.
        minutes: minutes between checkpoints, whatever a step takes; 0 writes none because of the time.
        snapshots: steps after which a copy of the model is kept, for a study of the number of steps.
        occupancy: the mark of the first process, by which other runs see that the folder is in use; None elsewhere.
    """

    folder: Path
    every: int = 0
    minutes: float = 0.0
    snapshots: tuple[int, ...] = ()
    occupancy: Occupancy | None = None

    def __post_init__(self) -> None:
        self._saved = time.monotonic()

    @property
    def overdue(self) -> bool:
        """Whether the minutes between checkpoints have passed since the last one, or since the start."""
        return bool(self.minutes) and time.monotonic() - self._saved >= 60 * self.minutes

    def snapshot(self, step: int) -> Path:
        """Return the model folder of the snapshot after a step."""
        return self.folder / "snapshots" / f"step{step}"

    def complete(self) -> list[int]:
        """Return the steps of all complete checkpoints, newest first; an incomplete one has no manifest."""
        complete = (path.parent.name.removeprefix("step") for path in self.folder.glob(f"step*/{MANIFEST}"))
        return sorted((int(step) for step in complete if step.isdecimal()), reverse=True)

    def load(self, engine: Any) -> dict[str, Any]:
        """Load the newest complete checkpoint that is not damaged, and return the state that was saved with it.

        Without a checkpoint, returns {} and leaves the engine unchanged.

        Raises:
            InputError: a checkpoint is undamaged, but the engine cannot load it.
        """
        step = self._agreed(self._undamaged() if deepspeed.comm.get_rank() == 0 else 0, engine.device)
        if not step:
            return {}
        try:
            # If every weight is trained, every weight is in the checkpoint, and none may be missing.
            _, state = engine.load_checkpoint(
                str(self.folder), tag=f"step{step}", load_module_strict=not _has_frozen(engine)
            )
        except (RuntimeError, AssertionError, KeyError, ValueError) as error:
            raise InputError(
                f"{self.folder / f'step{step}'}: DeepSpeed cannot load this checkpoint ({fold(str(error))[:200]});"
                " delete its folder, and the same command continues from the one before or from the start"
            ) from None
        return dict(state)

    def save(self, engine: Any, step: int, state: dict[str, Any]) -> None:
        """Write a checkpoint, declare it complete by its manifest, and only then delete all but the previous one.

        Raises:
            InputError: it cannot be written, for example because the disk is full. The previous checkpoint stays.
        """
        if self.occupancy:
            self.occupancy.check()
        tag = f"step{step}"
        started = time.monotonic()
        try:
            engine.save_checkpoint(
                str(self.folder),
                tag=tag,
                client_state=state,
                save_latest=False,
                exclude_frozen_parameters=_has_frozen(engine),
            )
            deepspeed.comm.barrier()  # every process has written its part
            if deepspeed.comm.get_rank() == 0:
                write_manifest(self.folder / tag)
                kept = self.complete()[:CHECKPOINTS_KEPT]
                for old in self.folder.glob("step*"):
                    if old.name not in [f"step{number}" for number in kept]:
                        shutil.rmtree(old)
        except (OSError, RuntimeError) as error:
            raise InputError(
                f"{self.folder}: cannot write the checkpoint of step {step} ({error}); free disk space, then the same "
                "command continues from the previous checkpoint"
            ) from None
        self._saved = time.monotonic()
        seconds = self._saved - started
        log.info("saved the state after step %d in %.0f s", step, seconds)
        if seconds > SECONDS_ON_SLURM and "SLURM_JOB_ID" in os.environ and deepspeed.comm.get_rank() == 0:
            log.warning(
                "saving took %.0f s, but Slurm may kill a job %d s after it asks it to stop; let it ask earlier, see"
                " docs/slurm.md",
                seconds,
                2 * SECONDS_ON_SLURM,
            )

    def _undamaged(self) -> int:
        """Return the step of the newest complete checkpoint that is undamaged; 0 if there is none."""
        for step in self.complete():
            damage = damage_of(self.folder / f"step{step}")
            if not damage:
                return step
            log.warning(
                "%s is damaged (%s); the steps since the checkpoint before it are trained again",
                self.folder / f"step{step}",
                damage,
            )
        return 0

    @staticmethod
    def _agreed(step: int, device: torch.device) -> int:
        """Return the value of the first process on all processes."""
        found = torch.tensor([step], device=device)
        deepspeed.comm.broadcast(found, 0)
        return int(found)


def _has_frozen(engine: Any) -> bool:
    return not all(parameter.requires_grad for parameter in engine.module.parameters())


def run_key(
    model: Path,
    samples: Path,
    deepspeed_config: Mapping[str, Any],
    hyperparameters: Hyperparameters,
    world: int,
    attention: str,
    snapshots: Sequence[int],
) -> str:
    """Name the state of a run by everything that determines it, so that no other run continues from it.

    Args:
        model: folder of the model that the run starts from.
        samples: file of the training samples.
        deepspeed_config: DeepSpeed configuration.
        hyperparameters: all hyperparameters of the run.
        world: number of processes, by which the engine divides its state.
        attention: attention implementation.
        snapshots: steps of the snapshots, since a run cannot take those that its first part did not.
    """
    files = sorted(path for path in model.iterdir() if path.is_file())
    return key_of(
        [
            json.dumps(asdict(hyperparameters), sort_keys=True),
            sha256(samples),
            f"{world} {attention} {sorted(snapshots)}",
            json.dumps(deepspeed_config, sort_keys=True),
            *(f"{path.name} {path.stat().st_size} {path.stat().st_mtime_ns}" for path in files),
        ]
    )


def key_of(parts: Iterable[str]) -> str:
    """Return a name for the state of a run: a hash of the texts that say what determines it."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def save_model(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, folder: Path, engine: Any | None = None
) -> None:
    """Write weights (safetensors), configuration and tokenizer; the folder appears only when it is complete.

    The saved model is loaded again, and its logits are compared with those of the model in memory. All processes must
    call this function: if the engine has divided the weights among them, they are gathered on the first process, which
    writes.

    Args:
        model: the model.
        tokenizer: its tokenizer.
        folder: where it is saved.
        engine: the engine that trains the model; None if nothing does.

    Raises:
        InputError: the folder cannot be written, for example because the disk is full, or the saved model computes
            other logits than the trained one.
    """
    first = deepspeed.comm.get_rank() == 0
    try:
        with ExitStack() as stack:
            partial = stack.enter_context(replaced_folder(folder)) if first else None
            with deepspeed.zero.GatheredParameters(list(model.parameters())):
                if partial:
                    model.save_pretrained(partial, state_dict=plain_weights(model))
                    tokenizer.save_pretrained(partial)
                    write_manifest(partial)
            expected = _probe_logits(model, engine)
            if partial:
                _check_saved(partial, expected, model)
    except (OSError, SafetensorError) as error:
        raise InputError(f"{folder}: cannot write the model ({error}); free disk space and run again") from None


def _probe_logits(model: PreTrainedModel, engine: Any | None = None) -> Tensor:
    """Logits of a few tokens, fp32 [1, tokens, vocabulary] on the CPU."""
    vocabulary = model.config.get_text_config().vocab_size
    ids = torch.randint(vocabulary // 8, vocabulary, (1, PROBE_TOKENS), generator=torch.Generator().manual_seed(0))
    whole = model if engine is None else engine
    training = model.training
    whole.eval()
    with torch.no_grad():
        logits = model(ids, use_cache=False).logits if engine is None else engine(input_ids=ids.to(engine.device))
    whole.train(training)
    return logits.float().cpu()


def _check_saved(folder: Path, expected: Tensor, model: PreTrainedModel) -> None:
    """Load a saved model and compare its logits with the expected ones.

    Raises:
        InputError: they differ by more than rounding.
    """
    dtype = next(name for name, value in TORCH_DTYPES.items() if value == model.dtype)
    # Flash attention needs a GPU, which the model in memory occupies.
    attention = model.config._attn_implementation
    saved = load_model(folder, dtype, "sdpa" if "flash" in attention else attention)
    difference = float((_probe_logits(saved) - expected).abs().max() / expected.abs().max())
    if not difference <= SAVED_TOLERANCE[dtype]:
        raise InputError(
            f"{folder.name}: the saved {model.config.model_type} does not compute what the trained one does (logits"
            f" differ by {difference:.1e} of the largest); train without adapters (`lora_rank: 0`), or choose another"
            " base model"
        )
