"""A model is converted for CTranslate2 only if the converted model computes the same, and checked before training."""

import json
import sys

import pytest
import torch
from transformers import (
    BloomConfig,
    BloomForCausalLM,
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
)

from workflow_scripts import base_model, convert
from workflow_scripts.lat.decoding import conversion
from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.training.tokenizing import train_tokenizer

# The scaling of rotary positions of Llama 3.1, which version 4.8.5 of CTranslate2 ignores.
LLAMA3_ROPE = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 32.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["the quick brown fox jumps over the lazy dog"] * 5, 300)


@pytest.fixture
def save(tmp_path, tokenizer):
    def save(model: PreTrainedModel, **kwargs):
        model.save_pretrained(tmp_path / "model", **kwargs)
        tokenizer.save_pretrained(tmp_path / "model")
        return tmp_path / "model"

    return save


def llama(vocabulary: int, **values) -> LlamaForCausalLM:
    torch.manual_seed(0)
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4}
    return LlamaForCausalLM(LlamaConfig(vocab_size=vocabulary, **shape, **values))


def run(module, monkeypatch, *words):
    monkeypatch.setattr(sys, "argv", ["module", *map(str, words)])
    module.main()


def check(monkeypatch, folder, engine="transformers", attention="sdpa"):
    words = ["--model", folder, "--attention", attention, "--engines", engine, "--output", folder.parent / "check.txt"]
    run(base_model, monkeypatch, "check", *words)
    return (folder.parent / "check.txt").read_text()


def test_a_model_that_is_computed_alike_is_converted(monkeypatch, save, tokenizer, tmp_path):
    run(convert, monkeypatch, "--model", save(llama(len(tokenizer))), "--output", tmp_path / "converted")
    assert (tmp_path / "converted" / "model.bin").is_file()


def test_a_model_with_a_sliding_window_is_compared_within_it(monkeypatch, save, tokenizer, tmp_path):
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, sliding_window=64,
    )  # fmt: skip
    folder = save(MistralForCausalLM(config))
    # This converter needs a token for unknown characters.
    with pytest.raises(InputError, match=r"CTranslate2 cannot run the converted model .* set `engine: transformers`"):
        run(convert, monkeypatch, "--model", folder, "--output", tmp_path / "converted")
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"unk_token": "<pad>"}))
    run(convert, monkeypatch, "--model", folder, "--output", tmp_path / "converted")
    assert (tmp_path / "converted" / "model.bin").is_file()


def test_a_model_whose_sequences_cannot_be_scored_together_is_converted(monkeypatch, save, tokenizer, tmp_path):
    """CTranslate2 cannot score sequences of different lengths together with Gemma 3, but can decode them."""
    torch.manual_seed(0)
    config = Gemma3TextConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=1, head_dim=16, query_pre_attn_scalar=16, sliding_window=64,
    )  # fmt: skip
    folder = save(Gemma3ForCausalLM(config))
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | {"unk_token": "<pad>"}))
    run(convert, monkeypatch, "--model", folder, "--output", tmp_path / "converted")
    assert (tmp_path / "converted" / "model.bin").is_file()


def test_a_model_that_decodes_otherwise_in_a_batch_is_refused(monkeypatch, save, tokenizer, tmp_path):
    def tokens(generator, prompts):
        return [[prompt[-1] if len(prompts) > 1 else "x"] for prompt in prompts]

    monkeypatch.setattr(conversion, "_next_tokens", tokens)
    with pytest.raises(InputError, match=r"otherwise together than each alone; set `engine: transformers`"):
        run(convert, monkeypatch, "--model", save(llama(len(tokenizer))), "--output", tmp_path / "converted")


def test_a_model_that_is_computed_otherwise_is_refused(monkeypatch, save, tokenizer, tmp_path):
    folder = save(llama(len(tokenizer), max_position_embeddings=131072, rope_parameters=LLAMA3_ROPE))
    with pytest.raises(InputError, match=r"other log-probabilities than transformers .* set `engine: transformers`"):
        run(convert, monkeypatch, "--model", folder, "--output", tmp_path / "converted")
    assert not (tmp_path / "converted").exists()


def test_a_usable_base_model_passes_the_check(monkeypatch, save, tokenizer):
    assert check(monkeypatch, save(llama(len(tokenizer))), "ctranslate2").startswith("llama: sdpa, ctranslate2")


def test_a_model_without_a_converter_is_refused_before_training(monkeypatch, save, tokenizer):
    config = GPTNeoXConfig(
        vocab_size=len(tokenizer), hidden_size=64, intermediate_size=128, num_hidden_layers=1, num_attention_heads=4
    )
    folder = save(GPTNeoXForCausalLM(config))
    check(monkeypatch, folder)
    monkeypatch.setattr("ctranslate2.converters.transformers._MODEL_LOADERS", {})
    with pytest.raises(InputError, match="CTranslate2 has no converter for GPTNeoX; set `engine: transformers`"):
        check(monkeypatch, folder, "ctranslate2")


def test_an_unsupported_attention_is_refused_before_training(monkeypatch, save, tokenizer):
    folder = save(BloomForCausalLM(BloomConfig(vocab_size=len(tokenizer), hidden_size=64, n_layer=1, n_head=4)))
    with pytest.raises(InputError, match="cannot build this model with attention sdpa"):
        check(monkeypatch, folder)
    check(monkeypatch, folder, attention="eager")


def test_fewer_embeddings_than_tokens_are_refused_before_training(monkeypatch, save, tokenizer):
    with pytest.raises(InputError, match=f"the tokenizer has {len(tokenizer)} tokens, the model embeddings for 99"):
        check(monkeypatch, save(llama(99)))


def test_a_folder_without_safetensors_is_refused_before_training(monkeypatch, save, tokenizer):
    folder = save(llama(len(tokenizer)))
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(InputError, match="no weights in safetensors files there; convert the model"):
        check(monkeypatch, folder)


def test_a_folder_without_a_tokenizer_is_refused_before_training(monkeypatch, save, tokenizer):
    folder = save(llama(len(tokenizer)))
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(InputError, match="transformers cannot load its tokenizer"):
        check(monkeypatch, folder)
