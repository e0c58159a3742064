"""Decoding methods: batches and order do not change the text, contrasts follow the formula, limits are kept."""

import sys
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel

from tests.conftest import VOCABULARY
from workflow_scripts.lat import decoding
from workflow_scripts.lat.decoding import (
    CTranslate2Engine,
    Request,
    Settings,
    TransformersEngine,
    VllmEngine,
    beam_search,
    contrastive_choice,
    contrastive_search,
    decode,
    decode_in_batches,
    probe_contrastive,
    probe_search,
    shared_prefix,
)
from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.models import encode_prompt
from workflow_scripts.lat.training.tokenizing import train_tokenizer


def prompts(count: int, seed: int = 5) -> list[list[int]]:
    generator = torch.Generator().manual_seed(seed)
    lengths = torch.randint(1, 12, (count,), generator=generator).tolist()
    return [torch.randint(3, VOCABULARY, (length,), generator=generator).tolist() for length in lengths]


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["a b c d e f g h i j k l m n o p q r s t u v w x y z"] * 5, 300)


class Tiny:
    """The part of a tokenizer that `beam_search` uses: three ids."""

    pad_token_id, eos_token_id, bos_token_id = 2, 1, 0


@pytest.mark.parametrize("beam", [1, 4])
def test_beam_search_of_a_padded_batch_equals_beam_search_of_single_prompts(model, beam):
    batch = prompts(6)

    def trimmed(tokens):
        return tokens[: tokens.index(1) + 1] if 1 in tokens else tokens

    together = [trimmed(row) for row in beam_search(model, batch, beam, 8, Tiny)]
    apart = [trimmed(beam_search(model, [prompt], beam, 8, Tiny)[0]) for prompt in batch]
    assert together == apart


@pytest.mark.parametrize("beam", [1, 4])
def test_a_shared_prefix_leaves_the_text_unchanged(model, beam):
    prefix = prompts(1, seed=9)[0] * 3
    batch = [prefix + prompt for prompt in prompts(6)]
    engine = TransformersEngine(model, Tiny)
    requests = [[(prompt, 1.0)] for prompt in batch]
    shared = shared_prefix(batch)
    assert shared >= len(prefix)
    for part in (requests[:2], requests[2:]):
        assert engine.search(part, beam, 8, shared) == engine.search(part, beam, 8, 0)


def test_the_shared_prefix_is_shorter_than_every_prompt():
    assert shared_prefix([[1, 2, 3, 4], [1, 2, 3], [1, 2, 3, 5]]) == 2
    assert shared_prefix([[1, 2, 3], [1, 2, 4]]) == 2
    assert shared_prefix([[7], [8, 9]]) == 0
    assert shared_prefix([[1, 2, 3]]) == 0


def test_contrastive_choice_is_the_published_formula():
    probabilities = torch.tensor([[[0.5, 0.3, 0.2], [0.9, 0.05, 0.05], [0.1, 0.1, 0.8]]])
    weights = torch.tensor([[1.0, -0.5, -0.5]])
    # 0.5 - 0.45 - 0.05 = 0; 0.3 - 0.025 - 0.05 = 0.225; 0.2 - 0.025 - 0.4 < 0, excluded
    assert contrastive_choice(probabilities, weights).tolist() == [1]


def test_if_every_contrast_agrees_the_real_prompt_determines_the_token():
    same = torch.tensor([[[0.2, 0.7, 0.1], [0.2, 0.7, 0.1]]])
    assert contrastive_choice(same, torch.tensor([[1.0, -1.0]])).tolist() == [1]


def plain_contrastive(model, rows, steps, end):
    """Contrastive search by its definition, without cache, padding or batches."""
    output: list[int] = []
    while len(output) < steps and (not output or output[-1] != end):
        p = sum(
            weight * torch.softmax(model(torch.tensor([prompt + output])).logits[0, -1].double(), -1)
            for prompt, weight in rows
        )
        output.append(int(torch.where(p > 0, p.log(), -torch.inf).argmax()))
    return output


@torch.inference_mode()
def test_contrastive_search_of_a_batch_equals_its_definition(model):
    model = model.double()
    real, first, second = prompts(4, 1), prompts(4, 2), prompts(4, 3)
    requests = [[(a, 1.0), (b, -0.5), (c, -0.5)] for a, b, c in zip(real, first, second, strict=True)]
    found = contrastive_search(model, requests, 6, end=1, pad=2)
    assert found == [plain_contrastive(model, rows, 6, end=1) for rows in requests]


def request(text: str) -> Request:
    return Request(text)


def small_model(tokenizer, window=64):
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=len(tokenizer),
            hidden_size=16,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=window,
        )
    ).eval()


def test_hypotheses_are_in_the_order_of_the_requests_whatever_the_batches(tokenizer):
    engine = TransformersEngine(small_model(tokenizer), tokenizer)
    requests = [request("a b c d e f g h"[: 1 + 2 * n]) for n in (3, 0, 6, 1, 5)]
    texts = []
    for batch_tokens in (1, 60, 10_000):
        texts.append([h.text for h in decode(engine, tokenizer, requests, Settings(2, 5, batch_tokens), "en")])
    assert texts[0] == texts[1] == texts[2]
    assert all("\n" not in text for text in texts[0])


def test_finished_batches_are_skipped_and_the_others_are_unchanged(tokenizer):
    engine = TransformersEngine(small_model(tokenizer), tokenizer)
    requests = [request("a b c d e f g h"[: 1 + 2 * n]) for n in (3, 0, 6, 1, 5)]
    settings = Settings(2, 5, 40)
    batches = list(decode_in_batches(engine, tokenizer, requests, settings, "en"))
    assert len(batches) > 2
    first = batches[0] | {}
    rest = list(decode_in_batches(engine, tokenizer, requests, settings, "en", done=first))
    assert rest == batches[1:]


def test_batches_have_at_most_batch_tokens_and_the_longest_come_first():
    lengths, rows_per_request = [5, 50, 7, 6, 40], [4, 4, 4, 4, 4]
    batches = list(decoding._batches(lengths, rows_per_request, [10] * 5, Settings(4, 10, 500)))
    assert batches[0] == [1, 4]
    assert sorted(index for batch in batches for index in batch) == [0, 1, 2, 3, 4]
    for batch in batches:
        cost = 4 * len(batch) * (max(lengths[index] for index in batch) + 10)
        assert cost <= 500 or len(batch) == 1


def test_a_prompt_as_long_as_the_window_gives_one_clear_error(tokenizer):
    with pytest.raises(InputError, match=r"line 2: a prompt of .* window of 64"):
        engine = TransformersEngine(small_model(tokenizer), tokenizer)
        decode(engine, tokenizer, [request("a"), request("a b " * 64)], Settings(1, 5, 1000), "en")


@pytest.mark.parametrize("name", ["transformers", "ctranslate2"])
def test_a_line_that_nearly_fills_the_window_does_not_shorten_others(tokenizer, tmp_path, name):
    from ctranslate2.converters import TransformersConverter

    model = small_model(tokenizer, window=2010)
    long, short = request("a b " * 667), request("a")
    settings = Settings(1, 60, 10_000)
    if name == "ctranslate2":
        model.save_pretrained(tmp_path / "model")
        tokenizer.save_pretrained(tmp_path / "model")
        TransformersConverter(str(tmp_path / "model")).convert(str(tmp_path / "converted"))
        engine = CTranslate2Engine(tmp_path / "converted", tokenizer, 2010, "fp32", threads=1)
    else:
        engine = TransformersEngine(model, tokenizer)
    length = len(encode_prompt(tokenizer, long.prompt))
    assert 2000 <= length < 2010
    cut, whole = decode(engine, tokenizer, [long, short], settings, "en")
    assert [whole] == decode(engine, tokenizer, [short], settings, "en")
    # The output fits in the window, and it counts as truncated unless the model happened to end there.
    assert len(tokenizer(cut.text, add_special_tokens=False)["input_ids"]) <= 2 * (2010 - length)
    assert cut.truncated or len(cut.text) == 0


def test_an_empty_line_is_decoded_like_any_other_and_no_lines_give_no_output(tokenizer):
    engine = TransformersEngine(small_model(tokenizer), tokenizer)
    assert len(decode(engine, tokenizer, [request(""), request("a")], Settings(1, 5, 1000), "en")) == 2
    assert decode(engine, tokenizer, [], Settings(1, 5, 1000), "en") == []


def test_the_next_header_ends_a_response():
    assert decoding.until_mark("Hallo.\n\n### Instruction:\nmore", ["\n\n###"]) == ("Hallo.", True)
    assert decoding.until_mark("Hallo.", ["\n\n###"]) == ("Hallo.", False)


def test_the_generation_defaults_of_a_model_are_not_used(tokenizer):
    model = small_model(tokenizer)
    expected = decode(TransformersEngine(model, tokenizer), tokenizer, [request("a b c")], Settings(4, 12, 600), "en")
    model.generation_config.repetition_penalty = 5.0
    model.generation_config.no_repeat_ngram_size = 1
    model.generation_config.do_sample = True
    found = decode(TransformersEngine(model, tokenizer), tokenizer, [request("a b c")], Settings(4, 12, 600), "en")
    assert found == expected


@pytest.mark.parametrize("threads", [1, 2])
def test_ctranslate2_gives_the_text_of_early_stopping(tokenizer, tmp_path, threads):
    from ctranslate2.converters import TransformersConverter

    torch.manual_seed(0)
    model = small_model(tokenizer)
    # Make the end token likely at every position, so that the stopping rule matters.
    with torch.no_grad():
        model.lm_head.weight[tokenizer.eos_token_id] *= 4
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    TransformersConverter(str(tmp_path / "model")).convert(str(tmp_path / "converted"))
    requests = [request("a b c d e f g h i j k l m n"[: 1 + 2 * (n % 14)]) for n in range(30)]
    settings = Settings(4, 12, 600)
    reference = decode(TransformersEngine(model, tokenizer, early_stopping=True), tokenizer, requests, settings, "en")
    engine = CTranslate2Engine(tmp_path / "converted", tokenizer, 64, "fp32", threads)
    assert decode(engine, tokenizer, requests, settings, "en") == reference
    assert decode(TransformersEngine(model, tokenizer), tokenizer, requests, settings, "en") != reference
    with pytest.raises(InputError, match="engine: transformers"):
        decode(engine, tokenizer, [Request("a", (("b", -0.5),))], settings, "en")


class FakeLLM:
    """Records what `vllm.LLM` is called with, and answers in types like those of vLLM."""

    def __init__(self, **settings):
        self.settings = settings

    def beam_search(self, prompts, params):
        self.received = prompts, params
        best = [SimpleNamespace(tokens=[*prompt["prompt_token_ids"], 40 + n, 1]) for n, prompt in enumerate(prompts)]
        return [SimpleNamespace(sequences=[sequence, SimpleNamespace(tokens=[])]) for sequence in best]


def test_vllm_runs_beam_search_over_token_ids(monkeypatch, tmp_path):
    params = SimpleNamespace(BeamSearchParams=lambda **settings: settings)
    monkeypatch.setitem(sys.modules, "vllm", SimpleNamespace(LLM=FakeLLM, sampling_params=params))
    monkeypatch.setitem(sys.modules, "vllm.sampling_params", params)
    engine = VllmEngine(tmp_path, 64, "bf16", 2)
    expected = {"model": str(tmp_path), "dtype": "bfloat16", "tensor_parallel_size": 2, "enable_prefix_caching": True}
    assert engine.llm.settings == expected
    assert engine.search([[([5, 6, 7], 1.0)], [([5, 8], 1.0)]], 4, 12, 1) == [[40, 1], [41, 1]]
    assert engine.llm.received == (
        [{"prompt_token_ids": [5, 6, 7]}, {"prompt_token_ids": [5, 8]}],
        {"beam_width": 4, "max_tokens": 12, "temperature": 0.0, "length_penalty": 1.0},
    )
    with pytest.raises(InputError, match="engine: transformers"):
        engine.search([[([5], 1.0), ([6], -0.5)]], 1, 12, 0)


def test_without_vllm_there_is_one_clear_error(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(InputError, match="engine: vllm is not installed here"):
        VllmEngine(tmp_path, 64, "bf16", 1)


def recurrent(kind: str, **values) -> PreTrainedModel:
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        kind, vocab_size=VOCABULARY, bos_token_id=0, eos_token_id=1, pad_token_id=2, num_hidden_layers=2, **values
    )
    return AutoModelForCausalLM.from_config(config).eval()


def test_models_whose_caches_are_keys_and_values_share_prefixes(model):
    assert probe_search(model, 2) == (True, True)
    assert probe_contrastive(model, 2)


def test_a_hybrid_model_is_decoded_without_a_shared_prefix():
    layers = {"layer_types": ["conv", "full_attention"], "block_multiple_of": 16}
    shape = {"hidden_size": 64, "intermediate_size": 128, "num_attention_heads": 4, "num_key_value_heads": 2}
    model = recurrent("lfm2", **shape, **layers)
    assert probe_search(model, 2) == (True, False)


def test_a_model_that_ignores_padding_is_one_clear_error(tokenizer):
    engine = TransformersEngine(recurrent("rwkv", hidden_size=64, attention_hidden_size=64), tokenizer)
    with pytest.raises(InputError, match="rwkv: beam search in batches gives other results than line by line"):
        engine.search([[([5, 6, 7], 1.0)]], 1, 4, 0)
    with pytest.raises(InputError, match="rwkv: contrastive decoding in batches gives other results"):
        engine.search([[([5, 6, 7], 1.0), ([5, 6], -0.5)]], 1, 4, 0)
