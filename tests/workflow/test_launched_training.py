"""Training through the launcher: processes, gradient accumulation and interruptions do not change the weights."""

import json
import os
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoTokenizer, Qwen3MoeConfig, Qwen3MoeForCausalLM

from tests.conftest import ROOT
from workflow_scripts.lat.files import read_table, sha256
from workflow_scripts.lat.training.launch import training_command

STEPS = 8


@pytest.fixture(scope="module")
def data(finished) -> Path:
    return finished.folder / "results"


def command(data: Path, output: Path, processes: int = 1, step: str = "unlikelihood", **changed) -> list[str]:
    settings = {
        "model": data / "finetune/tiny/demo/seed1/mt/model",
        "samples": data / "conflicts/tiny/demo/seed1/lat.jsonl",
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
        "seed": 1,
        "snapshots": output / "snapshots",
        **({"alpha": 0.5} if step == "unlikelihood" else {}),
    } | {name.replace("_", "-"): value for name, value in changed.items()}
    words = [word for name, value in settings.items() for word in (f"--{name}", *str(value).split())]
    # As the rules start it; `exec` lets signals reach a training without a launcher.
    start = f"{training_command(1, processes)} workflow_scripts.{step} {shlex.join(words)}"
    return ["bash", "-c", f"exec {start}" if processes == 1 else start]


def environment() -> dict[str, str]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "PATH": path}


def trained(words: list[str], output: Path) -> dict[str, torch.Tensor]:
    done = subprocess.run(words, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr[-4000:]
    return load_file(output / "model" / "model.safetensors")


@pytest.fixture(scope="module")
def plain(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("plain")
    return trained(command(data, output), output)


@pytest.mark.parametrize(
    "changed",
    [
        {"micro_batch_size": 3},
        {"processes": 2, "micro_batch_size": 2},
        {"processes": 3, "micro_batch_size": 1},  # one process has fewer samples in the last micro-batches
        {"gradient_checkpointing": ""},
        {"attention": "eager"},
    ],
    ids=str,
)
def test_settings_of_speed_and_memory_leave_the_weights_unchanged(data, plain, tmp_path, changed):
    found = trained(command(data, tmp_path, **changed), tmp_path)
    assert found.keys() == plain.keys()
    for name, weights in plain.items():
        torch.testing.assert_close(found[name], weights, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


def test_conflicts_without_weight_are_not_computed_and_change_nothing(data, tmp_path):
    records, found = {}, {}
    for alpha in (0.0, 1e-12):
        output = tmp_path / str(alpha)
        found[alpha] = trained(command(data, output, alpha=alpha), output)
        records[alpha] = json.loads((output / "model" / "training.json").read_text())
    for name, weights in found[1e-12].items():
        torch.testing.assert_close(found[0.0][name], weights, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    assert records[0.0]["samples"] == records[1e-12]["samples"]
    assert records[0.0]["tokens"] < 0.6 * records[1e-12]["tokens"]
    steps = read_table(tmp_path / "0.0/steps.tsv")
    assert {float(row["unlikelihood_loss"]) for row in steps} == {0.0}


@pytest.mark.parametrize("stage", [0, 3])
def test_a_process_without_samples_leaves_the_weights_unchanged(data, tmp_path, stage):
    config = json.loads((ROOT / "configs" / "deepspeed" / "cpu.json").read_text())
    config["zero_optimization"] = {"stage": stage}
    (tmp_path / "deepspeed.json").write_text(json.dumps(config))
    settings = {"batch_size": 2, "deepspeed_config": tmp_path / "deepspeed.json"}
    alone = trained(command(data, tmp_path / "alone", **settings), tmp_path / "alone")
    found = trained(command(data, tmp_path / "three", processes=3, **settings), tmp_path / "three")
    for name, weights in alone.items():
        torch.testing.assert_close(found[name], weights, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")


@pytest.mark.parametrize("name", ["zero2", "zero3"])
def test_sharded_training_ends_with_the_weights_of_unsharded_training(data, tmp_path, name):
    path = ROOT / "configs" / "deepspeed" / f"{name}.json"
    config = json.loads(path.read_text())
    config["zero_optimization"] = {"stage": 0}
    (tmp_path / "unsharded.json").write_text(json.dumps(config))
    outputs = tmp_path / "unsharded", tmp_path / "sharded"
    expected = trained(command(data, outputs[0], deepspeed_config=tmp_path / "unsharded.json"), outputs[0])
    words = command(data, outputs[1], deepspeed_config=path, processes=2, micro_batch_size=2, snapshot_steps="4")
    found = trained(words, outputs[1])
    assert found.keys() == expected.keys()
    for name, weights in expected.items():
        torch.testing.assert_close(found[name], weights, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    halfway = load_file(outputs[1] / "snapshots" / "step4" / "model.safetensors")
    assert {name: weights.shape for name, weights in halfway.items()} == {
        name: weights.shape for name, weights in expected.items()
    }


LONG = 40  # steps of a run that is stopped before its end


@pytest.fixture(scope="module")
def undisturbed(data, tmp_path_factory):
    output = tmp_path_factory.mktemp("undisturbed")
    return trained(command(data, output, steps=LONG), output)


def assert_continues(words: list[str], output: Path, undisturbed: dict[str, torch.Tensor], steps: int = LONG) -> None:
    """The same command continues, ends with exactly the weights of an undisturbed run, and removes its checkpoints."""
    assert not (output / "model").exists()
    done = subprocess.run(words, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr[-4000:]
    assert "continuing after step" in done.stderr
    for name, weights in load_file(output / "model" / "model.safetensors").items():
        assert torch.equal(weights, undisturbed[name]), name
    assert len((output / "steps.tsv").read_text().splitlines()) == 1 + steps
    assert not (output / "checkpoints").exists()


def wait_for(launcher: psutil.Popen, condition) -> None:
    deadline = time.monotonic() + 120
    while not condition():
        assert launcher.poll() is None and time.monotonic() < deadline
        time.sleep(0.01)


def checkpoints_in(output: Path) -> list[int]:
    """The steps of the complete checkpoints, oldest first."""
    return sorted(
        int(path.parent.name.removeprefix("step")) for path in output.glob("checkpoints/*/step*/manifest.json")
    )


def kill(launcher: psutil.Popen) -> None:
    # The workers are sessions of their own, which a signal to the process group of the launcher does not reach.
    for process in [*launcher.children(recursive=True), launcher]:
        process.kill()
    launcher.wait()


def test_a_killed_run_continues_from_its_checkpoint_to_the_same_weights(data, undisturbed, tmp_path):
    words = command(data, tmp_path, steps=LONG, checkpoint_every=2, snapshot_steps="2 30")
    launcher = psutil.Popen(words, env=environment(), stderr=subprocess.DEVNULL)
    wait_for(launcher, lambda: checkpoints_in(tmp_path))
    kill(launcher)
    assert not (tmp_path / "snapshots").exists()
    assert_continues(words, tmp_path, undisturbed)
    kept = {path.name: load_file(path / "model.safetensors") for path in (tmp_path / "snapshots").iterdir()}
    assert kept.keys() == {"step2", "step30"}
    name = "model.embed_tokens.weight"
    assert not torch.equal(kept["step2"][name], kept["step30"][name])
    assert not torch.equal(kept["step30"][name], undisturbed[name])


@pytest.mark.parametrize("settings", [{"processes": 1}, {"processes": 2}, {"lora_rank": 4}], ids=str)
def test_a_run_that_is_asked_to_stop_saves_its_state_and_exits_with_an_error(data, tmp_path, settings):
    settings = settings | {"steps": 400, "micro_batch_size": 4}
    expected = trained(command(data, tmp_path / "whole", **settings), tmp_path / "whole")
    output = tmp_path / "stopped"
    words = command(data, output, **settings, checkpoint_every=100)
    with open(tmp_path / "log", "w+") as log:
        launcher = psutil.Popen(words, env=environment(), stderr=log)
        wait_for(launcher, lambda: checkpoints_in(output))
        # The shell waits for the launcher of several processes, which passes the signal on to them.
        (launcher if settings.get("processes", 1) == 1 else launcher.children()[0]).terminate()
        code = launcher.wait()
    output_log = (tmp_path / "log").read_text()
    assert code != 0, output_log[-3000:]
    (stopped,) = re.findall(r"stopped after step (\d+) of 400; the same command continues from there", output_log)
    assert checkpoints_in(output)[-1] == int(stopped)
    assert_continues(words, output, expected, steps=400)


def test_a_checkpoint_that_cannot_be_written_leaves_the_previous_one(data, undisturbed, tmp_path):
    words = command(data, tmp_path, steps=LONG, checkpoint_every=10)
    launcher = psutil.Popen(words, env=environment(), stderr=subprocess.PIPE, text=True)
    wait_for(launcher, lambda: checkpoints_in(tmp_path))
    # From here on no file can grow beyond 4096 bytes, which has the same effect on a library as a full disk.
    for process in [launcher, *launcher.children(recursive=True)]:
        process.rlimit(psutil.RLIMIT_FSIZE, (4096, psutil.RLIM_INFINITY))
    _, stderr = launcher.communicate()
    assert launcher.returncode != 0
    assert "free disk space" in stderr, stderr[-3000:]
    assert_continues(words, tmp_path, undisturbed)


@pytest.mark.parametrize("damaged", [1, 2])
def test_a_damaged_checkpoint_costs_only_the_steps_since_the_one_before(data, undisturbed, tmp_path, damaged):
    words = command(data, tmp_path, steps=LONG, checkpoint_every=2)
    launcher = psutil.Popen(words, env=environment(), stderr=subprocess.DEVNULL)
    wait_for(launcher, lambda: len(checkpoints_in(tmp_path)) == 2)
    kill(launcher)
    found = checkpoints_in(tmp_path)[-damaged:]
    for step in found:
        (weights,) = tmp_path.glob(f"checkpoints/*/step{step}/*model_states.pt")
        content = bytearray(weights.read_bytes())
        content[len(content) // 2] ^= 1
        weights.write_bytes(content)
    done = subprocess.run(words, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr[-4000:]
    for step in found:
        assert re.search(rf"step{step} is damaged \(the content of .*model_states\.pt has changed\)", done.stderr)
    assert ("continuing after step" in done.stderr) == (damaged == 1)
    for name, weights in load_file(tmp_path / "model" / "model.safetensors").items():
        assert torch.equal(weights, undisturbed[name]), name


@pytest.mark.parametrize("processes", [1, 2])
def test_training_on_one_machine_listens_on_the_loopback_interface_alone(data, tmp_path, processes):
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    words = command(data, tmp_path, processes=processes, micro_batch_size=2, steps=400, checkpoint_every=2)
    launcher = psutil.Popen(words, env=environment() | {"TMPDIR": str(scratch)}, stderr=subprocess.DEVNULL)
    wait_for(launcher, lambda: checkpoints_in(tmp_path))
    listening = {
        connection.laddr.ip
        for process in [launcher, *launcher.children(recursive=True)]
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    (launcher if processes == 1 else launcher.children()[0]).terminate()
    launcher.wait()
    assert listening <= {"127.0.0.1", "::1"}
    assert not list(scratch.iterdir())


def test_a_run_never_continues_a_run_with_other_hyperparameters(data, tmp_path):
    words = command(data, tmp_path, steps=LONG, checkpoint_every=2)
    launcher = psutil.Popen(words, env=environment(), stderr=subprocess.DEVNULL)
    wait_for(launcher, lambda: checkpoints_in(tmp_path))
    kill(launcher)
    other = command(data, tmp_path, steps=LONG, checkpoint_every=2, learning_rate=2e-3)
    done = subprocess.run(other, capture_output=True, text=True, env=environment())
    assert done.returncode == 0, done.stderr[-4000:]
    assert "continuing after step" not in done.stderr


def test_adapters_are_trained_under_the_launcher_and_merged_into_plain_weights(data, plain, tmp_path):
    found = trained(command(data, tmp_path, lora_rank=4), tmp_path)
    assert found.keys() == plain.keys()
    before = load_file(data / "finetune/tiny/demo/seed1/mt/model/model.safetensors")
    assert torch.equal(found["model.embed_tokens.weight"], before["model.embed_tokens.weight"])
    changed = [name for name in before if not torch.equal(found[name], before[name])]
    assert changed and all("_proj" in name for name in changed)


def test_frozen_embeddings_do_not_change(data, tmp_path):
    found = trained(command(data, tmp_path, freeze_embeddings=""), tmp_path)
    before = load_file(data / "finetune/tiny/demo/seed1/mt/model/model.safetensors")
    assert {name for name in before if torch.equal(found[name], before[name])} == {"model.embed_tokens.weight"}


def test_a_model_contains_a_record_of_its_training(data, tmp_path):
    config = json.loads((ROOT / "configs/deepspeed/cpu.json").read_text())
    config["csv_monitor"] = {"enabled": True, "output_path": str(tmp_path / "tracker"), "job_name": "run"}
    (tmp_path / "deepspeed.json").write_text(json.dumps(config))
    trained(command(data, tmp_path, deepspeed_config=tmp_path / "deepspeed.json"), tmp_path)
    record = json.loads((tmp_path / "model" / "training.json").read_text())
    assert record["hyperparameters"]["seed"] == 1
    assert record["deepspeed"] == config
    assert record["steps"] == STEPS
    assert record["tokens"] > STEPS * 8 * 2 * 5
    assert record["samples_sha256"] == sha256(data / "conflicts/tiny/demo/seed1/lat.jsonl")
    assert {
        "git_commit",
        "versions",
        "seconds_of_steps",
        "started",
        "peak_memory_mb",
        "samples_left_out",
    } <= record.keys()
    # The engine has written the losses to its tracker.
    losses = (tmp_path / "tracker/run/train_loss.csv").read_text().splitlines()
    steps = read_table(tmp_path / "steps.tsv")
    assert [float(line.split(",")[1]) for line in losses[1:]] == [float(row["loss"]) for row in steps]


@pytest.mark.parametrize("processes", [1, 2])
def test_loss_and_gradients_under_the_engine_equal_the_plain_ones(processes):
    """Five architectures; ZeRO 0, 2, 3; one micro-batch and four; rows and tree; and the weights after some steps.

    The preference losses have two architectures, and rows or a tree.
    """
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    done = subprocess.run(
        [*words, str(Path(__file__).with_name("exactness.py"))], capture_output=True, text=True, env=environment()
    )
    assert done.returncode == 0, done.stderr[-4000:]
    found = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('["')]
    assert len(found) == 5 * (3 * 2 * 2 + 1) + 2 * 3 * 3 * 2
    for *case, loss_error, error in found:
        assert loss_error < 1e-6, case
        # AdamW divides a gradient by its size, so that rounding changes a small share of what a weight has moved.
        assert error < (1e-2 if "weights" in case else 1e-5), case


@pytest.fixture(scope="module")
def dpo(data, tmp_path_factory) -> dict[str, object]:
    """Settings of a training with DPO, on pairs that are made from the training samples."""
    pairs = tmp_path_factory.mktemp("pairs") / "pairs.jsonl"
    words = [sys.executable, "-m", "workflow_scripts.rejections", "--rejected", "reference", "--min-pairs", "100"]
    words += ["--samples", data / "prompts/tiny/demo/seed1/mt.jsonl", "--output", pairs, "--seed", "1"]
    subprocess.run(list(map(str, words)), check=True, env=environment())
    return {"step": "preference", "loss": "dpo", "likelihood": 0.5, "samples": pairs}


def test_processes_and_accumulation_leave_the_weights_of_a_preference_training_unchanged(data, dpo, tmp_path):
    expected = trained(command(data, tmp_path / "one", **dpo), tmp_path / "one")
    found = trained(command(data, tmp_path / "two", **dpo, processes=2, micro_batch_size=2), tmp_path / "two")
    for name, weights in expected.items():
        torch.testing.assert_close(found[name], weights, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    values = [[float(row["chosen"]) for row in read_table(tmp_path / run / "model/reference.tsv")]
              for run in ("one", "two")]  # fmt: skip
    assert values[0] == pytest.approx(values[1], rel=1e-4) and len(values[0]) > STEPS
    first = read_table(tmp_path / "one/steps.tsv")[0]
    assert float(first["preference_loss"]) == pytest.approx(0.6931, abs=1e-3)
    record = json.loads((tmp_path / "one/model/training.json").read_text())
    assert record["hyperparameters"]["preference"] == {"loss": "dpo", "weight": 1.0, "likelihood": 0.5, "beta": 0.1}


def test_a_killed_preference_training_continues_with_the_log_probabilities_from_before_it(data, dpo, tmp_path):
    expected = trained(command(data, tmp_path / "whole", **dpo, steps=LONG), tmp_path / "whole")
    output = tmp_path / "killed"
    words = command(data, output, **dpo, steps=LONG, checkpoint_every=2)
    launcher = psutil.Popen(words, env=environment(), stderr=subprocess.DEVNULL)
    wait_for(launcher, lambda: checkpoints_in(output))
    kill(launcher)
    assert_continues(words, output, expected)
    texts = [(tmp_path / run / "model/reference.tsv").read_text() for run in ("whole", "killed")]
    assert texts[0] == texts[1]


def test_a_loss_that_is_not_finite_ends_the_run_with_one_clear_error(data, tmp_path):
    done = subprocess.run(
        command(data, tmp_path, learning_rate=1e30), capture_output=True, text=True, env=environment()
    )
    assert done.returncode != 0
    assert "lower learning_rate or alpha" in done.stderr
    assert not (tmp_path / "model").exists()


def test_adapters_on_fused_experts_survive_saving(data, tmp_path):
    """The saved model is loaded and compared by the training itself, which fails if adapters are lost."""
    base = tmp_path / "base"
    tokenizer = AutoTokenizer.from_pretrained(data / "finetune/tiny/demo/seed1/mt/model")
    torch.manual_seed(0)
    config = Qwen3MoeConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        head_dim=16,
        num_experts=4,
        num_experts_per_tok=2,
        moe_intermediate_size=16,
        eos_token_id=tokenizer.eos_token_id,
    )
    Qwen3MoeForCausalLM(config).save_pretrained(base)
    tokenizer.save_pretrained(base)
    before = load_file(base / "model.safetensors")
    found = trained(command(data, tmp_path, model=base, lora_rank=4, steps=2), tmp_path)
    assert found.keys() == before.keys()
    changed = {name for name in found if not torch.equal(found[name], before[name])}
    assert any("experts" in name for name in changed) and any("self_attn" in name for name in changed)
