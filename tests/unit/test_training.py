"""The order of samples, the division of a global batch, errors that are found before training, and processors."""

import json
import platform
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3MoeConfig, Qwen3MoeForCausalLM

from tests.conftest import ROOT, SHAPE, random_model
from workflow_scripts.lat.files import InputError, read_table, write_jsonl
from workflow_scripts.lat.reporting.reading import read_machine
from workflow_scripts.lat.runtime import Machine, cpu_model, gpu_models
from workflow_scripts.lat.training import run
from workflow_scripts.lat.training.adapters import add_adapters, plain_weights
from workflow_scripts.lat.training.checkpoints import _check_saved, _probe_logits, run_key
from workflow_scripts.lat.training.deepspeed_config import read_deepspeed_config, with_trackers
from workflow_scripts.lat.training.engine import LAUNCHED, engine_config
from workflow_scripts.lat.training.hyperparameters import Hyperparameters
from workflow_scripts.lat.training.samples import (
    EncodedSample,
    global_batches,
    micro_batches,
    read_samples,
    step_count,
)
from workflow_scripts.lat.training.tokenizing import train_tokenizer

HYPERPARAMETERS = Hyperparameters(
    learning_rate=1e-3,
    warmup_ratio=0.03,
    weight_decay=0.0,
    batch_size=8,
    micro_batch_size=2,
    epochs=2,
    steps=0,
    max_length=32,
    alpha=0.0,
    dtype="fp32",
    gradient_checkpointing=False,
    seed=1,
)
SAMPLES = [EncodedSample([3] * (1 + n % 5), [4] * (1 + n % 3)) for n in range(20)]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["the quick brown fox jumps over the lazy dog"] * 5, 300)


def test_every_epoch_contains_every_sample_once():
    batches = list(global_batches(20, 8, 5, seed=1))
    assert [len(batch) for batch in batches] == [8] * 5
    stream = [index for batch in batches for index in batch]
    assert sorted(stream[:20]) == sorted(stream[20:]) == list(range(20))
    assert stream[:20] != stream[20:]


def test_the_seed_determines_the_order():
    assert list(global_batches(20, 8, 3, seed=1)) == list(global_batches(20, 8, 3, seed=1))
    assert list(global_batches(20, 8, 3, seed=1)) != list(global_batches(20, 8, 3, seed=2))


def test_the_number_of_steps_is_given_or_follows_from_the_epochs():
    assert step_count(HYPERPARAMETERS, 20) == 5
    assert step_count(Hyperparameters(**vars(HYPERPARAMETERS) | {"steps": 3}), 20) == 3


@pytest.mark.parametrize(("size", "world"), [(2, 1), (4, 2), (5, 2), (8, 1), (1, 4), (100, 2), (2, 5), (1, 7), (8, 16)])
def test_processes_divide_a_batch_without_gap_or_overlap(size, world):
    batch = list(range(12))
    shares = [micro_batches(batch, SAMPLES, size, rank, world) for rank in range(world)]
    assert len({len(share) for share in shares}) == 1  # Collective operations need the same count.
    sizes = [len(micro_batch) for share in shares for micro_batch in share]
    assert max(sizes) <= size
    assert max(sizes) - min(sizes) <= 1
    counts = Counter(id(sample) for share in shares for micro_batch in share for sample in micro_batch)
    assert counts == Counter(id(SAMPLES[index]) for index in batch)


def test_samples_are_encoded_with_an_end_token_and_long_ones_are_left_out(tokenizer, tmp_path):
    path = tmp_path / "samples.jsonl"
    write_jsonl(path, [{"prompt": "the fox", "response": "dog"}, {"prompt": "the fox " * 40, "response": "dog"}])
    (sample,), left_out = read_samples(path, tokenizer, 32)
    assert left_out == 1
    assert sample.prompt[0] == tokenizer.bos_token_id
    assert sample.response[-1] == tokenizer.eos_token_id
    assert tokenizer.decode(sample.prompt[1:]) + tokenizer.decode(sample.response[:-1]) == "the foxdog"


def test_unusable_samples_give_one_clear_error(tokenizer, tmp_path):
    path = tmp_path / "samples.jsonl"
    write_jsonl(path, [{"prompt": "the fox " * 40, "response": "dog"}])
    with pytest.raises(InputError, match="none of its 1 samples fits in 32 tokens; raise max_length"):
        read_samples(path, tokenizer, 32)
    write_jsonl(path, [{"prompt": "the fox"}])
    with pytest.raises(InputError, match="a sample has no 'response'"):
        read_samples(path, tokenizer, 32)


@pytest.mark.parametrize("path", sorted((ROOT / "configs" / "deepspeed").glob("*.json")), ids=lambda path: path.name)
def test_engine_configurations_are_filled_in(path):
    config = engine_config(read_deepspeed_config(path), HYPERPARAMETERS, world=2)
    assert config["train_batch_size"] == 8
    assert config["gradient_accumulation_steps"] == 2
    assert config["optimizer"]["params"]["lr"] == 1e-3
    assert config["bf16"] == {"enabled": False}


def test_a_configuration_of_another_tool_is_completed(tmp_path):
    path = tmp_path / "auto.json"
    path.write_text(
        json.dumps(
            {
                "bf16": {"enabled": "auto"},
                "zero_optimization": {"stage": 2, "reduce_bucket_size": "auto"},
                "gradient_accumulation_steps": "auto",
                "gradient_clipping": "auto",
                "train_batch_size": "auto",
            }
        )
    )
    config = engine_config(read_deepspeed_config(path), HYPERPARAMETERS, world=1)
    assert config["optimizer"] == {"type": "AdamW", "params": {"lr": 1e-3, "weight_decay": 0.0}}
    assert config["zero_optimization"] == {"stage": 2}
    assert (config["gradient_clipping"], config["train_batch_size"]) == (1.0, 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", r"file\.json: not JSON at line 1"),
        ("# Title", r"file\.json: not JSON at line 1"),
        ("[]", r"file\.json: not a JSON object"),
        ('{"zero_optimization": {"stage": 5}}', "`zero_optimization.stage` is 5; the stages of ZeRO are 0 to 3"),
        ('{"zero_optimization": 3}', "zero_optimization is not a JSON object"),
        ('{"optimizer": {"type": "AdamQ"}}', "`optimizer.type`: 'AdamQ' is not supported; choose one of Adam, AdamW"),
        ('{"scheduler": {"type": "WarmupLR"}}', "`scheduler`: the learning rate follows the cosine schedule"),
        ('{"fp16": {"enabled": true}}', "`fp16`: set `dtype: bf16`"),
    ],
)
def test_an_unusable_engine_configuration_is_one_clear_error(tmp_path, text, message):
    path = tmp_path / "file.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        read_deepspeed_config(path)


def test_adapters_of_fused_experts_merge_into_plain_weights():
    torch.manual_seed(0)
    model = Qwen3MoeForCausalLM(
        Qwen3MoeConfig(**SHAPE, num_experts=4, num_experts_per_tok=2, moe_intermediate_size=16, decoder_sparse_step=1)
    ).eval()
    names = set(model.state_dict())
    ids = torch.tensor([[5, 9, 4, 3]])
    add_adapters(model, Hyperparameters(**vars(HYPERPARAMETERS) | {"lora_rank": 2}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.normal_(std=0.3)
        expected = model(input_ids=ids).logits
    merged = plain_weights(model)
    assert set(merged) == names
    plain = Qwen3MoeForCausalLM(model.config).eval()
    plain.load_state_dict(merged)
    torch.testing.assert_close(plain(input_ids=ids).logits, expected, rtol=1e-4, atol=1e-4)


def test_adapters_leave_the_rest_frozen_and_merge_into_plain_weights(model):
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    ids = torch.tensor([[5, 9, 4, 3]])
    add_adapters(model, Hyperparameters(**vars(HYPERPARAMETERS) | {"lora_rank": 2}))
    trained = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert trained and all(".lora_" in name for name in trained)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.normal_(std=0.3)
        expected = model(input_ids=ids).logits
    merged = plain_weights(model)
    assert merged.keys() == before.keys()
    assert any(not torch.equal(merged[name], before[name]) for name in before)
    plain = type(model)(model.config).eval()
    plain.load_state_dict(merged)
    torch.testing.assert_close(plain(input_ids=ids).logits, expected, rtol=1e-4, atol=1e-4)


def test_a_saved_model_that_computes_something_else_is_one_clear_error(tmp_path):
    saved, other = random_model("llama"), random_model("qwen3")
    saved.save_pretrained(tmp_path / "model")
    _check_saved(tmp_path / "model", _probe_logits(saved), saved)
    with pytest.raises(InputError, match=r"model: the saved llama does not compute what the trained one does"):
        _check_saved(tmp_path / "model", _probe_logits(other), saved)


def test_a_saved_model_without_finite_logits_is_one_clear_error(tmp_path):
    model = random_model("llama")
    model.save_pretrained(tmp_path / "model")
    with pytest.raises(InputError, match="does not compute what the trained one does"):
        _check_saved(tmp_path / "model", torch.full_like(_probe_logits(model), float("nan")), model)


def test_adapters_whose_update_is_lost_in_rounding_are_one_clear_error():
    model = random_model("llama").bfloat16()
    add_adapters(model, Hyperparameters(**vars(HYPERPARAMETERS) | {"lora_rank": 2}))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if ".lora_" in name:
                parameter.normal_(std=1e-3)
    with pytest.raises(InputError, match=r"only \d+ % of what the adapters learned survives rounding"):
        plain_weights(model)


def test_the_state_of_a_run_is_named_by_what_decides_how_it_continues(tmp_path):
    (tmp_path / "samples").write_text("{}")
    words = (tmp_path, tmp_path / "samples", {}, HYPERPARAMETERS)
    keys = {
        run_key(*words, world, attention, snapshots)
        for world, attention, snapshots in [(1, "sdpa", []), (2, "sdpa", []), (1, "eager", []), (1, "sdpa", [2])]
    }
    assert len(keys) == 4


def test_the_processors_of_a_training_are_those_of_its_processes(monkeypatch):
    monkeypatch.setattr(run.deepspeed.comm, "get_world_size", lambda: 4)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    # The node has a GPU that no process uses.
    monkeypatch.setattr(run, "gpu_models", lambda: ["a GPU", "another GPU", "a third GPU"])
    machine = run._machine()
    assert machine.gpus == ("a GPU", "another GPU") * 2 and machine.processes == 4
    assert machine.threads == torch.get_num_threads() and machine.cpu == cpu_model()


def test_gpus_are_named_only_if_pytorch_is_there(monkeypatch):
    names = ["a GPU", "another GPU"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda number: names[number])
    assert gpu_models() == names
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert gpu_models() == []
    monkeypatch.delitem(sys.modules, "torch")
    assert gpu_models() == [] and "torch" not in sys.modules


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("processor\t: 0\nmodel name\t:  A  CPU @ 2 GHz \nprocessor\t: 1\nmodel name\t: Other\n", "A CPU @ 2 GHz"),
        ("processor\t: 0\nmodel name\t:\nflags\t: fpu\n", "arm"),
        ("processor\t: 0\nCPU part\t: 0xd0c\n", "arm"),
        (None, "arm"),
    ],
)
def test_the_cpu_is_named_by_the_operating_system_or_by_its_architecture(monkeypatch, content, expected):
    def read_text(self, **_):
        if content is None:
            raise FileNotFoundError
        return content

    monkeypatch.setattr(Path, "read_text", read_text)
    monkeypatch.setattr(platform, "processor", lambda: "arm")
    assert cpu_model() == expected
    monkeypatch.setattr(platform, "processor", lambda: "")
    assert cpu_model() == (expected if expected != "arm" else platform.machine())


def finetune(tokenizer, folder, samples: int, *flags: object) -> None:
    """Run the script of stage 1 on a random model; a step has four samples."""
    model, file = folder / "model", folder / "samples.jsonl"
    LlamaForCausalLM(LlamaConfig(**SHAPE | {"vocab_size": len(tokenizer)})).save_pretrained(model)
    tokenizer.save_pretrained(model)
    write_jsonl(file, [{"prompt": "the quick ", "response": "brown fox"}] * samples)
    words = ["--model", model, "--samples", file, "--output", folder / "run/model", *flags]
    words += ["--steps-log", folder / "steps.tsv", "--checkpoints", folder / "checkpoints", "--max-length", "32"]
    words += ["--deepspeed-config", ROOT / "configs/deepspeed/cpu.json", "--learning-rate", "1e-3", "--seed", "1"]
    words += ["--batch-size", "4", "--micro-batch-size", "4", "--threads", "1"]
    command = [sys.executable, "-m", "workflow_scripts.finetune", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.parametrize("tracker", ["csv", "tensorboard"])
def test_trackers_record_the_values_of_the_step_log(tokenizer, tmp_path, tracker):
    if tracker == "tensorboard":
        pytest.importorskip("tensorboard")
    finetune(tokenizer, tmp_path, 8, "--trackers", tracker)
    expected = [float(row["loss"]) for row in read_table(tmp_path / "steps.tsv")]
    (folder,) = (tmp_path / "run/trackers").iterdir()
    if tracker == "csv":
        lines = (folder / "train_loss.csv").read_text().split()[1:]
        found = [(int(step), float(value)) for step, value in (line.split(",") for line in lines)]
    else:
        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(folder)).Reload().Scalars("train/loss")
        found = [(event.step, event.value) for event in events]
    assert found == [(step, pytest.approx(loss, rel=1e-5)) for step, loss in enumerate(expected, 1)]
    assert len(found) == 2


def test_settings_of_a_tracker_in_the_deepspeed_configuration_are_kept(tmp_path):
    given = {"optimizer": {"type": "AdamW"}, "wandb": {"enabled": True, "team": "mt", "project": "ours"}}
    found = with_trackers(given, ["wandb", "csv"], tmp_path / "trackers", "key")
    assert found["wandb"] == {"enabled": True, "team": "mt", "project": "ours", "group": str(tmp_path)}
    assert found["csv_monitor"] == {"enabled": True, "output_path": str(tmp_path / "trackers"), "job_name": "key"}
    assert with_trackers(given, [], tmp_path, "key") == given


def test_a_rank_without_a_launcher_is_the_only_process_or_is_refused(tokenizer, tmp_path, monkeypatch):
    for name in LAUNCHED:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "1")
    finetune(tokenizer, tmp_path, 4)
    assert (tmp_path / "run/model/model.safetensors").exists()
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(AssertionError, match="RANK=1 and WORLD_SIZE=2 in the environment, without LOCAL_RANK, MASTER"):
        finetune(tokenizer, tmp_path / "two", 4)


def test_stage_1_keeps_snapshots_and_refuses_one_beyond_its_last_step(tokenizer, tmp_path):
    finetune(tokenizer, tmp_path, 8, "--snapshots", tmp_path / "kept", "--snapshot-steps", 1)
    kept, last = (load_file(path / "model.safetensors") for path in (tmp_path / "kept/step1", tmp_path / "run/model"))
    assert kept.keys() == last.keys() and any(not kept[name].equal(last[name]) for name in kept)
    with pytest.raises(AssertionError, match=r"samples.jsonl: a snapshot is after step 3, and these samples give 2"):
        finetune(tokenizer, tmp_path / "late", 8, "--snapshots", tmp_path / "late/kept", "--snapshot-steps", 1, 3)


def test_a_training_writes_its_processors_where_the_flag_says(tokenizer, tmp_path):
    machine = tmp_path / "new/machine.json"
    finetune(tokenizer, tmp_path, 4, "--machine", machine)
    assert read_machine(machine) == Machine(cpu_model(), (), 1, 1)
