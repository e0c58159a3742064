"""The layout of micro-batches is chosen by what a model does, and the loss does not depend on it."""

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, Gemma3ForCausalLM, Gemma3TextConfig, PreTrainedModel

from tests.conftest import SHAPE, VOCABULARY, random_model
from tests.unit.test_modelling import alike, packed, plain_loss, samples
from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.training import layout as layouts
from workflow_scripts.lat.training import prefixes
from workflow_scripts.lat.training.layout import choose_layout, probe_layout
from workflow_scripts.lat.training.modelling import ResponseLoss

LLAMA = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
# Position ids do not keep packed sequences apart in these: ALiBi, positions of their own, convolutions, recurrence. Nor
# do they use the attention interface of transformers.
LEAKING = {
    "falcon": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "alibi": True},
    "xglm": {"d_model": 64, "ffn_dim": 128, "num_layers": 2, "attention_heads": 4},
    "lfm2": {**LLAMA, "layer_types": ["conv", "full_attention"], "block_multiple_of": 16},
    "rwkv": {"hidden_size": 64, "num_hidden_layers": 2, "attention_hidden_size": 64},
    "mamba": {"hidden_size": 64, "num_hidden_layers": 2},
    "bloom": {"hidden_size": 64, "n_layer": 2, "n_head": 4},
    "qwen3_next": {
        **LLAMA, "num_hidden_layers": 4, "head_dim": 16, "linear_num_value_heads": 4, "linear_num_key_heads": 2,
        "linear_key_head_dim": 16, "linear_value_head_dim": 16, "num_experts": 4, "num_experts_per_tok": 2,
        "moe_intermediate_size": 32, "shared_expert_intermediate_size": 32,
    },
}  # fmt: skip
PACKED = {
    "opt": {
        "hidden_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "ffn_dim": 128,
        "word_embed_proj_dim": 64,
    },
    "gpt_neox": {"hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 128},
    "gpt2": {"n_embd": 64, "n_layer": 2, "n_head": 4},
    "olmo2": LLAMA,
    "qwen3_moe": {**LLAMA, "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32, "head_dim": 16},
}


def build(kind: str, values: dict) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(kind, vocab_size=VOCABULARY, bos_token_id=1, eos_token_id=2, pad_token_id=0, **values)
    return AutoModelForCausalLM.from_config(config).eval()


def test_models_that_keep_packed_sequences_apart_share_prefixes(model):
    assert choose_layout(model, 20) == "tree"


@pytest.mark.parametrize("kind", PACKED)
def test_other_architectures_share_prefixes_where_that_is_exact(kind):
    assert choose_layout(build(kind, PACKED[kind]), 20) == "tree"


@pytest.mark.parametrize("kind", LEAKING)
def test_models_that_mix_packed_sequences_get_one_row_per_sequence(kind, caplog):
    model = build(kind, LEAKING[kind])
    with caplog.at_level("INFO", logger="lat"):
        assert choose_layout(model, 20) == "padded"
    assert "does not keep packed sequences apart" in caplog.text


def test_attention_that_cannot_be_replaced_is_packed_and_named_once(llama, caplog):
    llama.set_attn_implementation("eager")
    with caplog.at_level("INFO", logger="lat"):
        assert choose_layout(llama, 20) == "rows"
    assert caplog.text.count("llama with the attention eager cannot process the common beginning") == 1
    assert llama.config._attn_implementation == "eager"


@pytest.mark.parametrize(("longest", "layout"), [(16, "tree"), (40, "rows")])
def test_a_window_of_which_attention_is_not_told_is_noticed_if_samples_exceed_it(longest, layout, monkeypatch):
    model = random_model("mistral")
    plain = prefixes.AttentionInterface._global_mapping[prefixes.SHARED]

    def unaware(*args, sliding_window=None, **settings):
        return plain(*args, **settings)

    monkeypatch.setitem(prefixes.AttentionInterface._global_mapping, prefixes.SHARED, unaware)
    assert choose_layout(model, longest) == layout


def test_attention_that_leaks_between_runs_is_noticed(llama, monkeypatch):
    monkeypatch.setattr(prefixes.TokenTree, "mask", lambda tree, siblings, window: None)
    assert choose_layout(llama, 20) == "rows"


@pytest.mark.parametrize("kind", PACKED | LEAKING)
def test_the_loss_of_every_architecture_equals_the_plain_version(kind):
    model = build(kind, (PACKED | LEAKING)[kind])
    data = samples() + alike()
    expected = plain_loss(model, data, 0.3).float()
    total, _ = ResponseLoss(model, 0.3)(**packed(data, choose_layout(model, 20)))
    torch.testing.assert_close(total / sum(len(sample.response) for sample in data), expected, rtol=1e-4, atol=1e-5)


def test_the_probe_sees_a_leak_in_bf16():
    model = build("lfm2", LEAKING["lfm2"]).bfloat16()
    assert probe_layout(model, "rows").cross_gradient > layouts.CROSS_GRADIENT
    assert choose_layout(model, 20) == "padded"


def test_a_model_that_is_not_causal_is_one_clear_error():
    config = Gemma3TextConfig(**SHAPE, use_bidirectional_attention=True)
    with pytest.raises(InputError, match="a token sees the tokens after it"):
        choose_layout(Gemma3ForCausalLM(config).eval(), 20)


def test_the_probe_leaves_the_model_as_it_was(llama):
    llama.train()
    choose_layout(llama, 20)
    assert llama.training
    assert all(parameter.grad is None for parameter in llama.parameters())


def test_a_model_whose_sequences_always_mix_is_one_clear_error(llama, monkeypatch):
    def mixing(hidden):
        # Sums over the row so far and over the batch: causal, and mixed in every layout.
        return hidden - hidden.cumsum(dim=1).sum(dim=0, keepdim=True)

    plain = llama.model.norm.forward
    monkeypatch.setattr(llama.model.norm, "forward", lambda hidden: mixing(plain(hidden)))
    with pytest.raises(
        InputError, match="llama: the sequences of a micro-batch influence one another, packed or padded"
    ):
        choose_layout(llama, 20)
