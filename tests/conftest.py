"""Small random models for the tests; the root of the repository is added to the import path."""

import signal
import sys
from pathlib import Path

import pytest
import torch
from transformers import (
    Gemma3ForCausalLM,
    Gemma3TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    PreTrainedModel,
    Qwen3Config,
    Qwen3ForCausalLM,
)

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from workflow_scripts.lat.data.mtdata_corpora import make_index  # noqa: E402

VOCABULARY = 60
SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}


@pytest.fixture(scope="session", autouse=True)
def interruptible():
    """A shell lets its background processes, and all that they start, ignore the signal of Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def mtdata_index(tmp_path_factory) -> Path:
    """A folder with the index of the library mtdata, which takes half a minute to make."""
    return make_index(tmp_path_factory.mktemp("mtdata"))


def random_model(name: str) -> PreTrainedModel:
    torch.manual_seed(7)
    if name == "llama":
        return LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=False)).eval()
    if name == "llama-tied":
        return LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=True)).eval()
    if name == "qwen3":
        return Qwen3ForCausalLM(Qwen3Config(**SHAPE, tie_word_embeddings=True)).eval()
    if name == "gemma3":
        config = Gemma3TextConfig(**SHAPE, tie_word_embeddings=True, final_logit_softcapping=5.0, sliding_window=16)
        return Gemma3ForCausalLM(config).eval()
    if name == "mistral":
        return MistralForCausalLM(MistralConfig(**SHAPE, tie_word_embeddings=False, sliding_window=16)).eval()
    raise ValueError(name)


@pytest.fixture(params=["llama", "llama-tied", "qwen3", "gemma3", "mistral"])
def model(request) -> PreTrainedModel:
    return random_model(request.param)


@pytest.fixture
def llama() -> PreTrainedModel:
    return random_model("llama")
