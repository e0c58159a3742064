"""The DeepSpeed engine around a training run: its configuration, its processes, and signals that stop it."""

import atexit
import copy
import math
import os
import resource
import signal
import sys
from collections.abc import Mapping
from typing import Any, NoReturn

import deepspeed
import torch

from ..files import InputError
from ..runtime import log
from .hyperparameters import Hyperparameters
from .launch import RENDEZVOUS_FILE

# EX_TEMPFAIL of sysexits.h: the same command may succeed when it is run again.
INTERRUPTED = 75
# What a launcher of processes sets, and DeepSpeed reads.
LAUNCHED = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


def engine_config(given: Mapping[str, Any], hyperparameters: Hyperparameters, world: int) -> dict[str, Any]:
    """Fill the hyperparameters into a DeepSpeed configuration.

    Args:
        given: the configuration as `read_deepspeed_config` returns it.
        hyperparameters: batch sizes, dtype, learning rate and weight decay are taken from here.
        world: number of processes.
    """
    config = copy.deepcopy(dict(given))
    accumulation = math.ceil(hyperparameters.batch_size / (hyperparameters.micro_batch_size * world))
    config["train_micro_batch_size_per_gpu"] = hyperparameters.micro_batch_size
    config["gradient_accumulation_steps"] = accumulation
    config["train_batch_size"] = hyperparameters.micro_batch_size * accumulation * world
    config["bf16"] = {"enabled": hyperparameters.dtype == "bf16"}
    config["optimizer"]["params"] |= {"lr": hyperparameters.learning_rate, "weight_decay": hyperparameters.weight_decay}
    return config


def share_threads(threads: int) -> None:
    """Divide CPU threads evenly among the processes on this machine; 0 keeps the default of torch."""
    if threads:
        torch.set_num_threads(max(1, threads // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))))


def start_processes() -> None:
    """Join the process group of this run.

    A process without a launcher is the only one of its group. The processes of one machine connect through a file,
    whose path the launcher passes on; those of several nodes connect to the address of their launchers. So only
    training on several nodes listens on more than the loopback interface.

    Raises:
        InputError: the environment has the rank of one of several processes, and not how they connect.
    """
    accelerator = deepspeed.accelerator.get_accelerator()
    rendezvous_file = os.environ.get(RENDEZVOUS_FILE)
    store: torch.distributed.Store | None = None
    if "RANK" in os.environ and rendezvous_file:
        store = torch.distributed.FileStore(rendezvous_file, int(os.environ["WORLD_SIZE"]))
    elif not all(name in os.environ for name in LAUNCHED):
        # A rank alone is no launcher's: a batch system or a container sets it too, and DeepSpeed would look for MPI.
        if "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1:
            missing = ", ".join(name for name in LAUNCHED if name not in os.environ)
            raise InputError(
                f"RANK={os.environ['RANK']} and WORLD_SIZE={os.environ['WORLD_SIZE']} in the environment, without "
                f"{missing}: start the processes with torchrun, or unset RANK and WORLD_SIZE"
            )
        os.environ |= {"RANK": "0", "LOCAL_RANK": "0", "WORLD_SIZE": "1", "LOCAL_WORLD_SIZE": "1"}
        store = torch.distributed.HashStore()
    if store is not None:
        torch.distributed.init_process_group(
            accelerator.communication_backend_name(),
            store=store,
            rank=int(os.environ["RANK"]),
            world_size=int(os.environ["WORLD_SIZE"]),
        )
    if accelerator.device_name() == "cpu":
        # The shared-memory kernel would be compiled with g++ at its first use (40 s); gloo does the same work.
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    deepspeed.init_distributed()


def end_processes(status: int = 0) -> NoReturn:
    """Wait until every process is done, run the exit handlers, and leave with an exit status.

    The interpreter's own shutdown is skipped: the order in which it stops native threads occasionally aborts a process
    whose work is complete.
    """
    deepspeed.comm.barrier()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def leave_out_waste(engine: Any) -> None:
    """Let an engine without ZeRO in fp32 skip what changes nothing: a sum over one process, a second gradient norm."""
    if not _is_plain(engine):
        return
    if deepspeed.comm.get_world_size() == 1:
        # The engine would copy all gradients into a buffer and back.
        engine.enable_backward_allreduce = False
    if engine.gradient_clipping() > 0:
        engine.clip_fp32_gradients = lambda: _clip_gradients(engine)


def gradient_norm(engine: Any) -> float | None:
    """Norm of the whole gradient before clipping, or None if the engine computes it in its own step."""
    if not _is_plain(engine) or engine.gradient_clipping() > 0:
        return None
    gradients = [parameter.grad for parameter in engine.module.parameters() if parameter.grad is not None]
    return float(torch.nn.utils.get_total_norm(gradients))


def _is_plain(engine: Any) -> bool:
    """Whether the engine uses a plain PyTorch optimizer."""
    return not (engine.zero_optimization() or engine.bfloat16_enabled() or engine.fp16_enabled())


def _clip_gradients(engine: Any) -> None:
    """Clip the gradients and keep their norm, which the engine's own clipping does not keep."""
    parameters = [parameter for parameter in engine.module.parameters() if parameter.grad is not None]
    limit = engine.gradient_clipping()
    norm = torch.nn.utils.get_total_norm(parameter.grad for parameter in parameters)
    if engine.optimizer.defaults.get("fused"):
        # Fused optimizers divide the gradients by this number when they read them.
        engine.optimizer.grad_scale = ((norm + 1e-6) / limit).clamp_(min=1)
    else:
        torch.nn.utils.clip_grads_with_norm_(parameters, limit, norm)
    engine._global_grad_norm = norm


def peak_memory_mb(device: torch.device) -> float:
    """Peak memory of this process in MiB: allocated on its GPU, or resident in main memory."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


class Interrupted(Exception):
    """The run was asked to stop and has saved its state."""


class StopSignal:
    """Records that the process received SIGTERM or SIGINT, so that the run can stop between two steps."""

    def __init__(self) -> None:
        self.received = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, number: int, frame: object) -> None:
        self.received = True
        log.info("%s: stopping after this step", signal.Signals(number).name)
