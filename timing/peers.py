"""Time and memory of stage 1 with the SFTTrainer of TRL and with this workflow, on the same samples, model and steps.

    make trl && python -m timing.peers --json peers.json

Both train one process in fp32 on the CPU, on the samples in the same order, with the same learning rates, AdamW, and
clipping; the losses of all steps are compared. TRL has its best settings for a CPU: a loss over the responses only,
batches padded to their longest sequence, and fused AdamW. Its packing and its batches without padding are left out,
since they need an implementation of flash attention, which CPUs lack; with `sdpa`, packed samples attend to one
another. The two alternate, each in a new process, and ratios are medians over the rounds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

BATCH = 16
RATE = 1e-3
WARM_UP = 2  # steps that are not measured
# The vocabulary of Llama 2 instead of that of Llama 3, so that the logits of TRL take 1 and not 4 GB.
VOCABULARIES = {"tiny": 6_000, "large": 32_000}


def prepare(folder: Path, shape: str, steps: int) -> None:
    """Write the model, its tokenizer and the samples, in the order of training."""
    from workflow_scripts.lat.training.tokenizing import train_tokenizer

    from .train_step import build, draw_batch

    model = build(shape, VOCABULARIES[shape])
    model.save_pretrained(folder / "model")
    # Both libraries want a tokenizer, of which only the padding token is used.
    train_tokenizer(["the quick brown fox"] * 5, 300).save_pretrained(folder / "model")
    rows = [
        {"prompt": sample.prompt, "response": sample.response}
        for step in range(-(-steps * BATCH // len(draw_batch(shape, VOCABULARIES[shape], 0))))
        for sample in draw_batch(shape, VOCABULARIES[shape], seed=step)
    ]
    (folder / "samples.json").write_text(json.dumps(rows[: steps * BATCH]))


def run_workflow(folder: Path, steps: int, threads: int) -> dict[str, Any]:
    """Train with this workflow; returns the seconds and the loss of each step, and the peak memory."""
    import torch

    from workflow_scripts.lat.models import load_model
    from workflow_scripts.lat.training.deepspeed_config import read_deepspeed_config
    from workflow_scripts.lat.training.engine import start_processes
    from workflow_scripts.lat.training.hyperparameters import Hyperparameters
    from workflow_scripts.lat.training.layout import choose_layout
    from workflow_scripts.lat.training.loop import start_engine, train_step
    from workflow_scripts.lat.training.samples import EncodedSample

    from .train_step import DEEPSPEED_CONFIG, PAD

    torch.set_num_threads(threads)
    start_processes()
    samples = [EncodedSample(**row) for row in json.loads((folder / "samples.json").read_text())]
    hyperparameters = Hyperparameters(
        learning_rate=RATE, warmup_ratio=0.0, weight_decay=0.0, batch_size=BATCH, micro_batch_size=BATCH, epochs=1,
        steps=steps, max_length=1024, alpha=0.0, dtype="fp32", gradient_checkpointing=False, seed=1,
    )  # fmt: skip
    model = load_model(folder / "model", "fp32", "sdpa")
    layout = choose_layout(model, max(map(len, samples)))
    engine = start_engine(model, hyperparameters, read_deepspeed_config(DEEPSPEED_CONFIG), steps)
    model.train()
    seconds, losses = [], []
    for step in range(steps):
        started = time.perf_counter()
        batch = range(step * BATCH, (step + 1) * BATCH)
        losses.append(train_step(engine, batch, samples, BATCH, PAD, layout, None, None).likelihood)
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds, "losses": losses, "peak_mb": peak_mb()}


def run_trl(folder: Path, steps: int, threads: int) -> dict[str, Any]:
    """Train with the SFTTrainer of TRL; the result is that of `run_workflow`."""
    import torch
    import trl
    from datasets import Dataset
    from torch.utils.data import SequentialSampler
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback

    torch.set_num_threads(threads)
    rows = json.loads((folder / "samples.json").read_text())
    data = Dataset.from_dict(
        {
            "input_ids": [row["prompt"] + row["response"] for row in rows],
            "completion_mask": [[0] * len(row["prompt"]) + [1] * len(row["response"]) for row in rows],
        }
    )
    started: list[float] = []
    ended: list[float] = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_: Any, **__: Any) -> None:
            started.append(time.perf_counter())

        def on_step_end(self, *_: Any, **__: Any) -> None:
            ended.append(time.perf_counter())

    class InOrder(trl.SFTTrainer):
        def _get_train_sampler(self, dataset: Any = None) -> SequentialSampler:
            return SequentialSampler(self.train_dataset if dataset is None else dataset)

    settings = trl.SFTConfig(
        output_dir=str(folder / "trl"),
        use_cpu=True,
        bf16=False,
        fp16=False,
        max_steps=steps,
        per_device_train_batch_size=BATCH,
        learning_rate=RATE,
        lr_scheduler_type="cosine",
        warmup_steps=0,
        optim="adamw_torch_fused",
        adam_beta2=0.98,  # that of configs/deepspeed/cpu.json
        max_grad_norm=1.0,
        completion_only_loss=True,
        max_length=1024,
        packing=False,
        gradient_checkpointing=False,
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        dataloader_num_workers=0,
        dataloader_pin_memory=False,
    )
    model = AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32, attn_implementation="sdpa")
    tokenizer = AutoTokenizer.from_pretrained(folder / "model")
    trainer = InOrder(model, args=settings, train_dataset=data, processing_class=tokenizer, callbacks=[Clock()])
    trainer.train()
    losses = [row["loss"] for row in trainer.state.log_history if "loss" in row]
    return {
        "seconds": [end - start for start, end in zip(started, ended, strict=True)],
        "losses": losses,
        "peak_mb": peak_mb(),
        "versions": {module.__name__: module.__version__ for module in (trl, torch)},
    }


def peak_mb() -> float:
    """Peak resident memory of this process in MiB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def measure(who: str, python: str, folder: Path, steps: int, threads: int) -> dict[str, Any]:
    """Run one of the two in a new process."""
    command = [python, "-m", "timing.peers", "--one", who, str(folder), str(steps), str(threads)]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1", "TRL_EXPERIMENTAL_SILENCE": "1"}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{who} ended with status {done.returncode}")
    return json.loads(done.stdout.splitlines()[-1])


def compare(shape: str, trl_python: str, rounds: int, steps: int, threads: int) -> dict[str, Any]:
    """Measure both alternately; returns samples per second, peak memory, ratios and the difference of the losses."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare(folder, shape, steps)
        pairs = [
            (
                measure("trl", trl_python, folder, steps, threads),
                measure("workflow", sys.executable, folder, steps, threads),
            )
            for _ in range(rounds)
        ]
    rates = [[BATCH / statistics.median(one["seconds"][WARM_UP:]) for one in pair] for pair in pairs]
    trl, workflow = pairs[0]
    ratios = [own / other for other, own in rates]
    return {
        "speedup": statistics.median(ratios),
        "speedups": ratios,
        "trl_samples_per_second": statistics.median(rate[0] for rate in rates),
        "workflow_samples_per_second": statistics.median(rate[1] for rate in rates),
        "trl_peak_mb": statistics.median(pair[0]["peak_mb"] for pair in pairs),
        "workflow_peak_mb": statistics.median(pair[1]["peak_mb"] for pair in pairs),
        "largest_loss_difference": max(
            abs(one - other) for one, other in zip(trl["losses"], workflow["losses"], strict=True)
        ),
        "versions": trl["versions"],
    }


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="output file; the results are printed in any case")
    parser.add_argument("--trl-python", default=".venv-trl/bin/python", help="interpreter of an environment with TRL")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20, help="training steps of each measurement")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--one", nargs=4, help=argparse.SUPPRESS)
    values = parser.parse_args(arguments)
    if values.one:
        who, folder, *numbers = values.one
        run = {"trl": run_trl, "workflow": run_workflow}[who]
        print(json.dumps(run(Path(folder), *map(int, numbers))))
        return
    results: dict[str, Any] = {
        shape: compare(shape, values.trl_python, values.rounds, values.steps, values.threads) for shape in VOCABULARIES
    }
    results["trl_speedup"] = results["large"]["speedup"]
    text = json.dumps(results, indent=2)
    if values.json:
        values.json.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
