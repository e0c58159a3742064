"""Compare loss and gradients under DeepSpeed with their plain definition, and print the largest errors.

The script is started with a launcher:
`torchrun --nproc-per-node 2 tests/workflow/exactness.py`
"""

import itertools
import json
import sys
import tempfile
from pathlib import Path

import deepspeed
import torch
from deepspeed.utils import safe_get_full_grad
from transformers import get_cosine_schedule_with_warmup

from tests.conftest import ROOT, random_model
from tests.unit.test_modelling import alike, gradients, plain_loss, samples
from tests.unit.test_training import HYPERPARAMETERS
from workflow_scripts.lat.training.deepspeed_config import read_deepspeed_config
from workflow_scripts.lat.training.engine import engine_config, start_processes
from workflow_scripts.lat.training.layout import Layout
from workflow_scripts.lat.training.loop import accumulate_gradients, start_engine, train_step
from workflow_scripts.lat.training.modelling import ResponseLoss

ALPHA = 0.3
ARCHITECTURES = ("llama", "llama-tied", "qwen3", "gemma3", "mistral")


def compare(name: str, stage: int, micro_batch_size: int, layout: Layout, folder: Path) -> tuple[float, float]:
    """The relative error of the loss, and the largest relative error of the gradient of a parameter."""
    data = alike()[:8] if layout == "tree" else [*samples(3), *samples(4)]
    model = random_model(name)
    loss = plain_loss(model.double(), data, ALPHA)
    expected = gradients(model, loss)

    path = folder / "deepspeed.json"
    optimizer = {"type": "AdamW", "params": {"torch_adam": True}}
    path.write_text(json.dumps({"zero_optimization": {"stage": stage}, "optimizer": optimizer}))
    hyperparameters = type(HYPERPARAMETERS)(**vars(HYPERPARAMETERS) | {"micro_batch_size": micro_batch_size})
    model = random_model(name).float()
    world = deepspeed.comm.get_world_size()
    engine, *_ = deepspeed.initialize(
        model=ResponseLoss(model, ALPHA), config=engine_config(read_deepspeed_config(path), hyperparameters, world)
    )
    parts = accumulate_gradients(engine, range(len(data)), data, micro_batch_size, pad=2, layout=layout)
    deepspeed.comm.all_reduce(parts)
    found = parts @ torch.tensor([1.0, ALPHA])
    worst = 0.0
    for key, parameter in model.named_parameters():
        # ZeRO stage 0 on the CPU leaves gradients in `grad`; the engine sums them over the processes in its step.
        gradient = safe_get_full_grad(parameter) if stage else parameter.grad
        worst = max(worst, ((gradient.double() - expected[key]).norm() / expected[key].norm()).item())
    return (abs(found.double() - loss) / loss).item(), worst


def compare_weights(name: str) -> tuple[float, float]:
    """The relative error of the gradient norm, and the largest of a parameter, after steps without ZeRO.

    The plain version is PyTorch: the loss by its definition, clipping, AdamW, and a schedule.
    """
    data, steps, rate = alike()[:8], 4, HYPERPARAMETERS.learning_rate
    hyperparameters = type(HYPERPARAMETERS)(**vars(HYPERPARAMETERS) | {"alpha": ALPHA})
    model, plain = random_model(name).float(), random_model(name).float()
    optimizer = torch.optim.AdamW(plain.parameters(), lr=rate, betas=(0.9, 0.98), weight_decay=0.0)
    schedule = get_cosine_schedule_with_warmup(optimizer, 1, steps)
    engine = start_engine(model, hyperparameters, read_deepspeed_config(ROOT / "configs/deepspeed/cpu.json"), steps)
    model.train()
    worst = 0.0
    for _ in range(steps):
        gradients(plain, plain_loss(plain, data, ALPHA))
        norm = torch.nn.utils.clip_grad_norm_(plain.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        result = train_step(engine, range(len(data)), data, 2, pad=2, layout="tree", stop=None, checkpoints=None)
        worst = max(worst, abs(result.gradient_norm / norm.item() - 1))
    pairs = zip(model.parameters(), plain.parameters(), strict=True)
    # A parameter moves by about the learning rate in each step.
    return worst, max(((found - expected).abs().max() / (rate * steps)).item() for found, expected in pairs)


def main() -> None:
    """Compare every architecture under every ZeRO stage, with one micro-batch and with four, packed and in a tree."""
    torch.set_num_threads(1)
    start_processes()
    world = deepspeed.comm.get_world_size()
    with tempfile.TemporaryDirectory() as folder:
        for name, *setting, layout in itertools.product(ARCHITECTURES, (0, 2, 3), (1, 4), ("rows", "tree")):
            stage, accumulation = setting
            errors = compare(name, stage, 8 // accumulation // world, layout, Path(folder))
            if deepspeed.comm.get_rank() == 0:
                print(json.dumps([name, stage, accumulation, layout, *errors]), flush=True)
    for name in ARCHITECTURES:
        errors = compare_weights(name)
        if deepspeed.comm.get_rank() == 0:
            print(json.dumps([name, "weights", *errors]), flush=True)
    deepspeed.comm.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
