"""What the config names outside of itself: model folders and files, installed engines, and the executor."""

import json
import struct
import sys
from types import SimpleNamespace

import pytest

from tests.conftest import ROOT
from tests.unit.configs import load_config, overlay, put
from workflow_scripts.lat.config import check_config, check_environment, check_nodes, environment
from workflow_scripts.lat.data.lid import FASTTEXT_MAGIC
from workflow_scripts.lat.files import InputError

DEEPSPEED = "configs/deepspeed/cpu.json"


@pytest.fixture
def config():
    return load_config()


@pytest.fixture
def folder(tmp_path):
    """A model folder as transformers writes it, as far as it is looked at."""
    files = {
        "config.json": {"model_type": "llama", "vocab_size": 10},
        "tokenizer.json": {
            "model": {"type": "BPE", "vocab": {"a": 0, "b": 8}},
            "added_tokens": [{"id": 9, "content": "</s>"}],
        },
    }
    for name, content in files.items():
        (tmp_path / name).write_text(json.dumps(content))
    (tmp_path / "model.safetensors").write_bytes(b"")
    return tmp_path


def message_of(config):
    with pytest.raises(InputError) as caught:
        check_config(config, ROOT)
    message = str(caught.value)
    assert message.startswith("config: ") and "\n" not in message
    return message.removeprefix("config: ")


def test_a_complete_model_folder(config, folder):
    put("base_models.mine", {"path": str(folder), "deepspeed": DEEPSPEED})(config)
    check_config(config, ROOT)


@pytest.mark.parametrize(
    ("removed", "added", "message"),
    [
        (["config.json"], {}, "is no transformers model folder (no config.json)"),
        (["config.json"], {"adapter_config.json": "{}"}, "holds adapters; merge them into their base model"),
        ([], {"config.json": "{"}, "config.json: line 1 is not JSON"),
        ([], {"config.json": "[]"}, "config.json is not a JSON object"),
        (["model.safetensors"], {}, "has no weights (no model.safetensors)"),
        (["model.safetensors"], {"consolidated.safetensors": ""}, "has no weights (no model.safetensors)"),
        (["model.safetensors"], {"pytorch_model.bin": ""}, "has weights only in pytorch_model.bin; convert them"),
        (
            ["model.safetensors"],
            {"model.safetensors.index.json": '{"weight_map": {"a": "model-1.safetensors"}}'},
            "lacks model-1.safetensors; get the model again",
        ),
        (["model.safetensors"], {"model.safetensors.index.json": "{}"}, "lacks weights; get the model again"),
        (["tokenizer.json"], {"tokenizer_config.json": "{}"}, "has no tokenizer (no tokenizer.json)"),
        ([], {"tokenizer.json": "no"}, "tokenizer.json: line 1 is not JSON"),
        ([], {"tokenizer.json": '{"model": 3}'}, "tokenizer.json is not that of a tokenizer"),
        (
            [],
            {"config.json": '{"vocab_size": 9}'},
            "has 10 tokens in tokenizer.json, but `vocab_size` of config.json is 9",
        ),
        ([], {"config.json": '{"text_config": {"vocab_size": 9}}'}, "has 10 tokens in tokenizer.json"),
        ([], {"tokenizer.json": json.dumps({"model": {"vocab": [["a", 0.0]] * 11}})}, "has 11 tokens"),
    ],
)
def test_incomplete_model_folders(config, folder, removed, added, message):
    for name in removed:
        (folder / name).unlink()
    for name, content in added.items():
        (folder / name).write_text(content)
    put("base_models.mine", {"path": str(folder), "deepspeed": DEEPSPEED})(config)
    found = message_of(config)
    assert found.startswith("base_models.mine.path: ") and message in found


@pytest.mark.parametrize(
    "files", [["tokenizer.model"], ["vocab.json", "merges.txt"], ["model.safetensors.index.json", "part.safetensors"]]
)
def test_other_complete_model_folders(config, folder, files):
    (folder / ("tokenizer.json" if "safetensors" not in files[-1] else "model.safetensors")).unlink()
    for name in files:
        (folder / name).write_text('{"weight_map": {"a": "part.safetensors"}}')
    put("base_models.mine", {"path": str(folder), "deepspeed": DEEPSPEED})(config)
    check_config(config, ROOT)


def test_a_model_named_by_a_relative_path(config, folder):
    put("base_models", {"mine": {"path": folder.name, "deepspeed": "cpu.json"}})(config)
    put("experiments", [{"base_model": "mine", "benchmark": "demo", "systems": ["MT"]}])(config)
    put("detect.lid", ["lid.bin"])(config)
    (folder.parent / "cpu.json").write_bytes((ROOT / DEEPSPEED).read_bytes())
    (folder.parent / "lid.bin").write_bytes(FASTTEXT_MAGIC)
    check_config(config, folder.parent)
    (folder.parent / "cpu.json").write_text('{"zero_optimization": {"stage": 5}}')
    with pytest.raises(InputError, match=r"^config: base_models.mine.deepspeed: cpu.json: `zero_optimization.stage`"):
        check_config(config, folder.parent)


def test_gguf_files(config, tmp_path):
    whole, rest = tmp_path / "a.gguf", tmp_path / "b.gguf"
    whole.write_bytes(b"GGUF" + struct.pack("<I", 3))
    rest.write_bytes(b"the rest")
    put("base_models.mine", {"gguf": [str(whole), str(rest)], "deepspeed": DEEPSPEED})(config)
    check_config(config, ROOT)
    put("base_models.mine.gguf", [str(rest), str(whole)])(config)
    assert message_of(config).startswith(f"base_models.mine.gguf: `{rest}` is no GGUF file")
    put("base_models.mine.gguf", [str(whole), str(whole)])(config)
    assert "is a GGUF file of its own" in message_of(config)


def test_engines_that_are_not_installed(config, monkeypatch):
    monkeypatch.setattr(environment, "_installed", lambda *packages: False)
    check_environment(config, ROOT, conda=False)
    overlay("base_models: {tiny: {decode: {engine: vllm}}}")(config)
    check_config(config, ROOT)
    with pytest.raises(
        InputError, match=r"^config: base_models.tiny.decode.engine: vllm needs .*: run `make vllm` and set `python:"
    ):
        check_environment(config, ROOT, conda=False)
    check_environment(config, ROOT, conda=True)
    put("base_models.tiny.decode.python", ".venv-none/bin/python")(config)
    for conda in (False, True):
        with pytest.raises(
            InputError,
            match=r"^config: base_models.tiny.decode.python: no file .venv-none/bin/python; run `make vllm`$",
        ):
            check_environment(config, ROOT, conda)
    put("base_models.tiny.decode.python", sys.executable)(config)
    check_environment(config, ROOT, conda=False)
    # Contrastive decoding runs on transformers, whatever the engine of the other systems is.
    put("base_models.tiny.decode.python", None)(config)
    config["experiments"][0]["systems"] = ["C_src+lang"]
    check_environment(config, ROOT, conda=False)


def test_flash_attention_that_is_not_installed(config, monkeypatch):
    overlay("base_models: {tiny: {attention: flash_attention_2, gpus: 1, dtype: bf16}}")(config)
    check_config(config, ROOT)
    monkeypatch.setattr(environment, "_installed", lambda *packages: False)
    with pytest.raises(InputError, match=r"tiny.attention: flash_attention_2 is not installed; run `pip install"):
        check_environment(config, ROOT, conda=False)
    monkeypatch.setattr(environment, "_installed", lambda *packages: True)
    check_environment(config, ROOT, conda=False)


def test_models_that_ctranslate2_cannot_convert(config, folder, monkeypatch):
    # The real module takes seconds to import.
    loaders = SimpleNamespace(_MODEL_LOADERS={"LlamaConfig": None, "Gemma3TextConfig": None})
    monkeypatch.setitem(sys.modules, "ctranslate2.converters.transformers", loaders)
    decode = {"engine": "ctranslate2", "early_stopping": True}
    put("base_models.mine", {"path": str(folder), "deepspeed": DEEPSPEED, "decode": decode})(config)
    put("experiments", [{"base_model": "mine", "benchmark": "demo", "systems": ["MT"]}])(config)
    for model_type, is_supported in (("llama", True), ("gemma3_text", True), ("olmo2", False), (None, False)):
        (folder / "config.json").write_text(json.dumps({"model_type": model_type, "vocab_size": 10}))
        check_config(config, ROOT)
        if is_supported:
            check_environment(config, ROOT, conda=False)
            continue
        message = (
            rf"^config: base_models.mine.decode.engine: ctranslate2 has no converter for {model_type}, .*transformers$"
        )
        with pytest.raises(InputError, match=message):
            check_environment(config, ROOT, conda=False)


def test_the_converters_of_ctranslate2_are_where_they_are_looked_for():
    from ctranslate2.converters.transformers import _MODEL_LOADERS
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    assert CONFIG_MAPPING_NAMES["llama"] in _MODEL_LOADERS
    assert CONFIG_MAPPING_NAMES["olmo2"] not in _MODEL_LOADERS


def test_several_nodes_need_slurm(config):
    put("base_models.tiny.nodes", 2)(config)
    check_config(config, ROOT)
    with pytest.raises(
        InputError, match=r"base_models.tiny.nodes is 2, but the executor is `local`; run snakemake with"
    ):
        check_nodes(config, "local")
    for executor in ("slurm", "dryrun", "touch"):
        check_nodes(config, executor)
    # Other base models do not matter.
    put("base_models.tiny.nodes", 1)(config)
    put("base_models.llama2-7b.nodes", 2)(config)
    check_nodes(config, "local")


@pytest.mark.parametrize(
    ("change", "conda", "message"),
    [
        (
            put("trackers", ["comet"]),
            False,
            "trackers: comet needs the package comet_ml, which is not installed; run `pip",
        ),
        (
            put("trackers", ["csv", "wandb"]),
            True,
            "wandb needs the package wandb, which the conda .* lacks; choose tensorboard or csv",
        ),
        (
            put("trackers", ["tensorboard"]),
            False,
            "trackers: tensorboard needs the package tensorboard, which is not installed; run `pip install",
        ),
        (put("score.further", ["spBLEU-on-target"]), False, "spBLEU needs the package sentencepiece; run `make"),
        (
            put("score.learned.M", {"kind": "metricx", "model": "a/b"}),
            False,
            "score.learned.M needs the package sentencepiece; run `make",
        ),
    ],
)
def test_a_missing_package_is_refused_before_any_job(config, monkeypatch, change, conda, message):
    monkeypatch.setattr(environment, "_installed", lambda *packages: False)
    change(config)
    check_config(config, ROOT)
    with pytest.raises(InputError, match=f"config: .*{message}") as caught:
        check_environment(config, ROOT, conda)
    assert "\n" not in str(caught.value)


def test_csv_files_and_scores_on_target_need_no_package(config, monkeypatch):
    monkeypatch.setattr(environment, "_installed", lambda *packages: False)
    put("trackers", ["csv"])(config)
    put("score.further", ["BLEU-on-target"])(config)
    check_environment(config, ROOT, conda=False)
    put("trackers", ["csv", "tensorboard"])(config)
    check_environment(config, ROOT, conda=True)
