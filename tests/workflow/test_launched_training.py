"""Training through the launcher: processes, accumulation and an interruption leave the weights unchanged."""

import os
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import ROOT

STEPS = 8


@pytest.fixture(scope="module")
def data(finished) -> Path:
    return finished.folder / "results"


def command(data: Path, output: Path, processes: int = 1, **changed) -> list[str]:
    settings = {
        "model": data / "finetune/tiny/demo/mt/model",
        "samples": data / "conflicts/tiny/demo/lat.jsonl",
        "output": output / "model",
        "steps-log": output / "steps.tsv",
        "checkpoints": output / "checkpoints",
        "deepspeed-config": ROOT / "configs/deepspeed/cpu.json",
        "threads": 1,
        "learning-rate": 1e-3,
        "batch-size": 8,
        "micro-batch-size": 8,
        "steps": STEPS,
        "max-length": 256,
        "alpha": 0.5,
        "seed": 1,
    } | {name.replace("_", "-"): value for name, value in changed.items()}
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
    return [*launch, "--module", "workflow_scripts.unlikelihood", *words]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def trained(words: list[str], output: Path) -> dict[str, torch.Tensor]:
    done = subprocess.run(words, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr[-4000:]
    return load_file(output / "model" / "model.safetensors")


@pytest.fixture(scope="module")
def plain(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("plain")
    return trained(command(data, output), output)


@pytest.mark.parametrize("changed", [{"micro_batch_size": 3}, {"processes": 2, "micro_batch_size": 2}], ids=str)
def test_accumulation_and_processes_leave_the_weights_unchanged(data, plain, tmp_path, changed):
    found = trained(command(data, tmp_path, **changed), tmp_path)
    assert found.keys() == plain.keys()
    for name, weights in plain.items():
        torch.testing.assert_close(found[name], weights, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


def test_a_killed_run_continues_from_its_checkpoint_to_the_same_weights(data, tmp_path):
    steps = 40  # long enough to be killed in the middle
    undisturbed = trained(command(data, tmp_path / "undisturbed", steps=steps), tmp_path / "undisturbed")
    killed = tmp_path / "killed"
    words = command(data, killed, steps=steps, checkpoint_every=2)
    launcher = psutil.Popen(words, env=environment(), stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not list((killed / "checkpoints").glob("*/latest")):
        assert launcher.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)
    # the launcher's workers are sessions of their own, which no signal to its group reaches
    for process in [*launcher.children(recursive=True), launcher]:
        process.kill()
    launcher.wait()
    assert not (killed / "model").exists()
    done = subprocess.run(words, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr[-4000:]
    assert "continuing after step" in done.stderr
    for name, weights in load_file(killed / "model" / "model.safetensors").items():
        assert torch.equal(weights, undisturbed[name]), name
    assert len((killed / "steps.tsv").read_text().splitlines()) == 1 + steps
    assert not (killed / "checkpoints").exists()


def test_a_loss_that_stops_being_finite_ends_the_run_with_one_line(data, tmp_path):
    done = subprocess.run(
        command(data, tmp_path, learning_rate=1e30), capture_output=True, text=True, env=environment()
    )
    assert done.returncode != 0
    assert "lower learning_rate or alpha" in done.stderr
    assert not (tmp_path / "model").exists()
