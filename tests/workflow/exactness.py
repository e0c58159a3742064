"""Compare loss and gradients under DeepSpeed with their plain definition, and print the largest errors.

The script is started with a launcher:
`torchrun --nproc-per-node 2 tests/workflow/exactness.py`
"""

import itertools
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import deepspeed
import torch
from deepspeed.utils import safe_get_full_grad
from transformers import get_cosine_schedule_with_warmup

from tests.conftest import ROOT, random_model
from tests.unit.test_modelling import alike, gradients, plain_loss, samples
from tests.unit.test_preferences import pairs, plain_objective, plain_sum
from tests.unit.test_training import HYPERPARAMETERS
from workflow_scripts.lat.training.deepspeed_config import read_deepspeed_config
from workflow_scripts.lat.training.engine import engine_config, start_processes
from workflow_scripts.lat.training.hyperparameters import PUBLISHED, Loss, Preference, PreferenceHyperparameters
from workflow_scripts.lat.training.layout import Layout
from workflow_scripts.lat.training.loop import accumulate_gradients, start_engine, train_step
from workflow_scripts.lat.training.modelling import ResponseLoss
from workflow_scripts.lat.training.pairs import PreferenceLoss
from workflow_scripts.lat.training.reference import with_reference

ALPHA = 0.3
ARCHITECTURES = ("llama", "llama-tied", "qwen3", "gemma3", "mistral")
# One with a head of its own, and one whose head has a soft cap and the weight of the embeddings.
PREFERENCE_ARCHITECTURES = ("llama", "gemma3")


def compare(name: str, stage: int, micro_batch_size: int, layout: Layout, folder: Path) -> tuple[float, float]:
    """The relative error of the loss, and the largest relative error of the gradient of a parameter."""
    data = alike()[:8] if layout == "tree" else [*samples(3), *samples(4)]
    model = random_model(name)
    loss = plain_loss(model.double(), data, ALPHA)
    expected = gradients(model, loss)

    hyperparameters = type(HYPERPARAMETERS)(**vars(HYPERPARAMETERS) | {"micro_batch_size": micro_batch_size})
    model = random_model(name).float()
    world = deepspeed.comm.get_world_size()
    engine, *_ = deepspeed.initialize(
        model=ResponseLoss(model, ALPHA), config=engine_config(zero_config(stage, folder), hyperparameters, world)
    )
    parts = accumulate_gradients(engine, range(len(data)), data, micro_batch_size, pad=2, layout=layout)
    deepspeed.comm.all_reduce(parts)
    found = parts @ torch.tensor([1.0, ALPHA])
    return (abs(found.double() - loss) / loss).item(), worst_gradient(model, expected, stage)


def compare_preference(
    name: str, stage: int, micro_batch_size: int, layout: Layout, loss: Loss, folder: Path
) -> tuple[float, float]:
    """The same errors for a preference loss, whose values before the training are those of its own first pass."""
    preference = Preference(loss, weight=0.7, likelihood=0.4, beta=0.3)
    data = [*pairs(3), *pairs(4)]
    model = random_model(name).double()
    if preference.needs_reference:
        # The values before the training are those of other weights, so that the loss is not the one without training.
        with torch.no_grad():
            references = [[plain_sum(model, pair.prompt, text).item() for text in (pair.response, pair.rejected)]
                          for pair in data]  # fmt: skip
        data = [replace(pair, reference=tuple(both)) for pair, both in zip(data, references, strict=True)]
        shift(model)
    expected_loss = plain_objective(model, data, preference)
    expected = gradients(model, expected_loss)

    hyperparameters = PreferenceHyperparameters(
        **vars(HYPERPARAMETERS) | {"micro_batch_size": micro_batch_size}, preference=preference
    )
    world = deepspeed.comm.get_world_size()
    model = random_model(name).float()
    engine, *_ = deepspeed.initialize(
        model=PreferenceLoss(model, preference),
        config=engine_config(zero_config(stage, folder), hyperparameters, world),
    )
    if preference.needs_reference:
        data = [replace(pair, reference=(0.0, 0.0)) for pair in data]
        data = with_reference(engine, data, range(len(data)), micro_batch_size, 2, layout, folder / "state")
        # What was written is read again, as by a run that continues.
        assert with_reference(engine, data, range(len(data)), micro_batch_size, 2, layout, folder / "state") == data
        with deepspeed.zero.GatheredParameters(list(model.parameters()), modifier_rank=0):
            shift(model)
    parts = accumulate_gradients(engine, range(len(data)), data, micro_batch_size, pad=2, layout=layout)
    deepspeed.comm.all_reduce(parts)
    found = parts @ torch.tensor(engine.module.factors)
    return (abs(found.double() - expected_loss) / expected_loss).item(), worst_gradient(model, expected, stage)


def shift(model: torch.nn.Module) -> None:
    """Change every weight a little, always in the same way."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            # Rounded to fp32, so that models of both types are the same.
            noise = 0.02 * torch.randn(parameter.shape or (1,), generator=generator)
            if parameter.numel():
                parameter.copy_((parameter.float() + noise.view(parameter.shape)).to(parameter.dtype))


def worst_gradient(model: torch.nn.Module, expected: dict[str, torch.Tensor], stage: int) -> float:
    """The largest relative error of the gradient of a parameter."""
    worst = 0.0
    for key, parameter in model.named_parameters():
        # ZeRO stage 0 on the CPU leaves gradients in `grad`; the engine sums them over the processes in its step.
        gradient = safe_get_full_grad(parameter) if stage else parameter.grad
        worst = max(worst, ((gradient.double() - expected[key]).norm() / expected[key].norm()).item())
    return worst


def zero_config(stage: int, folder: Path) -> dict[str, Any]:
    """A DeepSpeed configuration with a stage of ZeRO."""
    path = folder / f"deepspeed-{deepspeed.comm.get_rank()}.json"
    optimizer = {"type": "AdamW", "params": {"torch_adam": True}}
    path.write_text(json.dumps({"zero_optimization": {"stage": stage}, "optimizer": optimizer}))
    return read_deepspeed_config(path)


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


@contextmanager
def shared_folder() -> Iterator[Path]:
    """A new folder that all processes use."""
    name = [tempfile.mkdtemp() if deepspeed.comm.get_rank() == 0 else ""]
    torch.distributed.broadcast_object_list(name)
    yield Path(name[0])
    deepspeed.comm.barrier()
    if deepspeed.comm.get_rank() == 0:
        shutil.rmtree(name[0])


def main() -> None:
    """Compare architectures and losses under every ZeRO stage, with one micro-batch and four, packed and in a tree."""
    torch.set_num_threads(1)
    start_processes()
    world = deepspeed.comm.get_world_size()
    with tempfile.TemporaryDirectory() as folder:
        for name, *setting, layout in itertools.product(ARCHITECTURES, (0, 2, 3), (1, 4), ("rows", "tree")):
            stage, accumulation = setting
            errors = compare(name, stage, 8 // accumulation // world, layout, Path(folder))
            if deepspeed.comm.get_rank() == 0:
                print(json.dumps([name, stage, accumulation, layout, *errors]), flush=True)
    layouts: dict[int, Layout] = {1: "rows", 4: "tree"}
    for name, loss, stage, accumulation in itertools.product(PREFERENCE_ARCHITECTURES, PUBLISHED, (0, 2, 3), layouts):
        with shared_folder() as folder:
            micro_batch_size = 8 // accumulation // world
            errors = compare_preference(name, stage, micro_batch_size, layouts[accumulation], loss, folder)
        if deepspeed.comm.get_rank() == 0:
            print(json.dumps([name, stage, accumulation, loss, *errors]), flush=True)
    for name in ARCHITECTURES:
        errors = compare_weights(name)
        if deepspeed.comm.get_rank() == 0:
            print(json.dumps([name, "weights", *errors]), flush=True)
    deepspeed.comm.barrier()
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    sys.exit(main())
