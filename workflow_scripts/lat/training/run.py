"""A training step of the workflow, from its parsed flags to its output folder.

The state of a run is kept in a folder that is named by everything that determines its weights. If the run is killed at
any moment, the same command continues from the last state; if it is asked to stop (SIGTERM, SIGINT), it writes its
state first. A second run of the same training stops while the first one is alive.
"""

import argparse
import atexit
import json
import os
import shutil
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import deepspeed
import torch
from transformers import set_seed

from ..files import InputError, atomic_write, replaced_file, replaced_folder, sha256, write_table
from ..models import load_model, load_tokenizer
from ..runtime import Machine, cpu_model, git_commit, gpu_models, log, versions
from .checkpoints import Checkpoints, run_key, save_model
from .deepspeed_config import with_trackers
from .engine import INTERRUPTED, Interrupted, end_processes, share_threads, start_processes
from .hyperparameters import Hyperparameters, Preference, PreferenceHyperparameters, hyperparameters_from
from .loop import step_columns, train
from .occupancy import Occupancy, occupy
from .pairs import read_pairs
from .reference import FILE as REFERENCE
from .samples import EncodedSample, global_batches, read_samples, step_count, without_conflicts


def run_training(
    arguments: argparse.Namespace,
    alpha: float = 0.0,
    preference: Preference | None = None,
) -> None:
    """Train, and write the model, its tokenizer, `training.json`, the step log and the processors.

    A training with DPO also writes `reference.tsv`, the log-probabilities of the responses before the training.

    A run that is asked to stop exits with status 75, and the next run of the same command continues.

    Args:
        arguments: parsed flags of `add_training_arguments`.
        alpha: weight of the unlikelihood loss; 0 for stage 1.
        preference: the objective of a training on pairs of responses, in place of the unlikelihood loss.

    Raises:
        InputError: a snapshot step is beyond the last step, another run of this training is alive, or training fails
            in a way that the user can correct.
    """
    snapshot_steps: Sequence[int] = arguments.snapshot_steps
    share_threads(arguments.threads)
    hyperparameters = hyperparameters_from(arguments, alpha)
    if preference:
        hyperparameters = PreferenceHyperparameters(**vars(hyperparameters), preference=preference)
    set_seed(hyperparameters.seed)
    start_processes()
    occupancy = occupied(arguments.checkpoints)
    tokenizer = load_tokenizer(arguments.model)
    samples: Sequence[EncodedSample]
    samples, left_out = (read_pairs if preference else read_samples)(
        arguments.samples, tokenizer, hyperparameters.max_length
    )
    if not preference and hyperparameters.alpha == 0:
        samples = without_conflicts(samples)
    steps = step_count(hyperparameters, len(samples))
    log.info("%d samples, %d steps", len(samples), steps)
    if snapshot_steps and max(snapshot_steps) > steps:
        raise InputError(
            f"{arguments.samples}: a snapshot is after step {max(snapshot_steps)}, and these samples give {steps} "
            "steps; lower the `step` of the snapshot in `models`"
        )
    model = load_model(arguments.model, hyperparameters.dtype, arguments.attention)
    end = samples[0].response[-1]
    if end != tokenizer.eos_token_id and model.generation_config:
        # Programs that load the model stop at the token with which it was trained to end a turn.
        model.generation_config.eos_token_id = [end, tokenizer.eos_token_id]
    key = run_key(
        arguments.model,
        arguments.samples,
        arguments.deepspeed_config,
        hyperparameters,
        deepspeed.comm.get_world_size(),
        arguments.attention,
        snapshot_steps,
    )
    checkpoints = Checkpoints(
        arguments.checkpoints / key,
        arguments.checkpoint_every,
        arguments.checkpoint_minutes,
        tuple(snapshot_steps),
        occupancy,
    )
    started = time.time()
    # Trackers are no part of the key: they change nothing in the weights.
    trackers = [] if arguments.trackers == "none" else arguments.trackers.split(",")
    deepspeed_config = with_trackers(arguments.deepspeed_config, trackers, arguments.output.parent / "trackers", key)
    try:
        engine, rows = train(model, tokenizer, samples, hyperparameters, deepspeed_config, checkpoints)
    except Interrupted as interruption:
        log.info("%s", interruption)
        end_processes(INTERRUPTED)
    if occupancy:
        occupancy.check()
    save_model(model, tokenizer, arguments.output, engine)
    if deepspeed.comm.get_rank() == 0:
        with atomic_write(arguments.output / "training.json") as handle:
            json.dump(_record(arguments, hyperparameters, samples, left_out, rows, started), handle, indent=2)
        if arguments.snapshots:
            with replaced_folder(arguments.snapshots) as folder:
                for step in snapshot_steps:
                    checkpoints.snapshot(step).rename(folder / f"step{step}")
        if (checkpoints.folder / REFERENCE).is_file():
            with replaced_file(arguments.output / REFERENCE) as partial:
                shutil.copyfile(checkpoints.folder / REFERENCE, partial)
        write_table(arguments.steps_log, rows, step_columns(engine.module.columns))
        if arguments.machine:
            with atomic_write(arguments.machine) as handle:
                json.dump(asdict(_machine()), handle, indent=2)
                handle.write("\n")
    if occupancy:
        remove_state(arguments.checkpoints, occupancy)
    end_processes()


def occupied(folder: Path) -> Occupancy | None:
    """Mark the folder of a training as in use until the process ends; only the first process of a run does so.

    Raises:
        InputError: another run of this training is alive.
    """
    if deepspeed.comm.get_rank():
        return None
    occupancy = occupy(folder)
    atexit.register(occupancy.release)
    return occupancy


def remove_state(folder: Path, occupancy: Occupancy) -> None:
    """Delete the state of a finished training."""
    occupancy.release()
    shutil.rmtree(folder, ignore_errors=True)


def _machine() -> Machine:
    """Return the processors of this run; nodes are assumed to be equal to the first one, as are those of one job."""
    processes, of_node = deepspeed.comm.get_world_size(), int(os.environ["LOCAL_WORLD_SIZE"])
    # Every process has one GPU, whose number is its rank on its node.
    gpus = gpu_models()[:of_node] * (processes // of_node)
    return Machine(cpu_model(), tuple(gpus), processes, torch.get_num_threads())


def _record(
    arguments: argparse.Namespace,
    hyperparameters: Hyperparameters,
    samples: Sequence[EncodedSample],
    left_out: int,
    rows: Sequence[dict[str, Any]],
    started: float,
) -> dict[str, Any]:
    """The content of `training.json`: how the model was trained, on what, and at what cost."""
    batches = global_batches(len(samples), hyperparameters.batch_size, len(rows), hyperparameters.seed)
    return {
        "hyperparameters": asdict(hyperparameters),
        "deepspeed": arguments.deepspeed_config,
        "samples": len(samples),
        "samples_left_out": left_out,
        "samples_sha256": sha256(arguments.samples),
        "steps": len(rows),
        "tokens": sum(samples[index].tokens for batch in batches for index in batch),
        "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(started)),
        "seconds_of_steps": round(sum(float(row["seconds"]) for row in rows), 1),
        "processes": deepspeed.comm.get_world_size(),
        "threads": torch.get_num_threads(),
        "peak_memory_mb": float(rows[-1]["peak_memory_mb"]),
        "git_commit": git_commit(),
        "versions": versions(),
    }
