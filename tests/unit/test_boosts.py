import json
import math
import sys
from collections import Counter

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from tests.conftest import random_model
from tests.unit.test_decoding import Tiny, prompts, trimmed, with_random_head
from workflow_scripts import decode as decode_script
from workflow_scripts.lat.decoding.boosts import PRIOR, language_boosts, texts_by_language
from workflow_scripts.lat.decoding.plain import beam_search
from workflow_scripts.lat.decoding.transformers_engine import TransformersEngine
from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.training.tokenizing import train_tokenizer

VOCABULARY = 12


class Letters:
    """A tokenizer with one token per letter, from 3 on."""

    def __call__(self, texts, add_special_tokens):
        assert not add_special_tokens
        return {"input_ids": [[3 + "abcdefg".index(letter) for letter in text] for text in texts]}


def test_texts_of_a_language_are_sources_and_targets_once_each():
    samples = [
        {"direction": "en-it", "source": "one", "target": "uno"},
        {"direction": "it-en", "source": "uno", "target": "one"},
        {"direction": "en-nl", "source": "one", "target": "een"},
    ]
    assert texts_by_language(samples) == {"en": ["one"], "it": ["uno"], "nl": ["een"]}


def test_a_boost_is_the_logarithm_of_how_much_more_frequent_a_token_is():
    texts = {"en": ["aab", "c"], "it": ["ad"] * 3}
    boosts = language_boosts(texts, Letters(), VOCABULARY, 0.5)
    counts = {code: Counter("".join(found)) for code, found in texts.items()}
    sizes = {code: sum(found.values()) for code, found in counts.items()}
    for code, boost in boosts.items():
        assert boost.shape == (VOCABULARY,)
        for token in range(VOCABULARY):
            letter = "abcdefg"[token - 3] if 3 <= token < 10 else ""
            mean = sum(counts[other][letter] / sizes[other] for other in texts) / len(texts)
            smoothed = (counts[code][letter] + PRIOR * mean) / (sizes[code] + PRIOR)
            assert float(boost[token]) == pytest.approx(0.5 * math.log(smoothed / mean) if mean else 0, abs=1e-6)
    assert boosts["it"][3 + 3] > 0 > boosts["en"][3 + 3]


@pytest.fixture(params=["llama", "mistral", "gemma3"])
def model(request):
    return with_random_head(random_model(request.param))


def plain(model, prompt, boost, ends, length):
    """Greedy search of one line, token by token, without a cache."""
    ids = list(prompt)
    for _ in range(length):
        with torch.inference_mode():
            logits = model(torch.tensor([ids])).logits[0, -1]
        ids.append(int((logits + boost).argmax()))
        if ids[-1] in ends:
            break
    return ids[len(prompt) :]


@pytest.mark.parametrize("is_by_levels", [True, False])
def test_a_search_adds_the_boost_of_its_direction(model, is_by_levels, monkeypatch):
    batch = [prompt[:6] for prompt in prompts(6)]
    size = model.get_output_embeddings().weight.shape[0]
    boosts = {
        group: 3 * torch.randn(size, generator=torch.Generator().manual_seed(seed))
        for seed, group in enumerate(("en-it", "en-nl"))
    }
    engine = TransformersEngine(model, Tiny, boosts=boosts)
    assert engine._levels
    if not is_by_levels:
        monkeypatch.setattr(engine, "_levels", False)

    def found(beam, group):
        return [trimmed(row) for row in engine.search([[(prompt, 1.0)] for prompt in batch], beam, 6, 0, group)]

    for group, boost in boosts.items():
        expected = [plain(model, prompt, boost, [Tiny.eos_token_id], 6) for prompt in batch]
        assert found(1, group) == expected
        assert found(3, group) == [trimmed(row) for row in beam_search(model, batch, 3, 6, Tiny, boost=boost)]
    without = [trimmed(row) for row in beam_search(model, batch, 1, 6, Tiny)]
    assert found(1, "en-ro") == without != found(1, "en-it")


def test_the_step_boosts_each_direction_and_names_a_language_without_text(tmp_path, monkeypatch):
    folder, prompts_folder, samples = tmp_path / "model", tmp_path / "prompts", tmp_path / "train.jsonl"
    prompts_folder.mkdir()
    text = "the quick brown fox jumps over the lazy dog"
    tokenizer = train_tokenizer([text, text.upper(), "zzzz Translate."], 300)
    tokenizer.save_pretrained(folder)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(
        LlamaConfig(vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, **shape)
    ).save_pretrained(folder)
    row = {"prompt": "Translate.\n", "contrasts": [], "prompt_language": "en"}
    for direction in ("it-nl", "it-ro"):
        (prompts_folder / f"{direction}.jsonl").write_text(json.dumps(row) + "\n")
    rows = [
        {"direction": "en-it", "source": "zzzz", "target": text},
        {"direction": "en-nl", "source": "zzzz", "target": text.upper()},
    ]
    samples.write_text("".join(json.dumps(row) + "\n" for row in rows))

    def run(*directions):
        words = [
            "decode", "--model", folder, "--prompts", prompts_folder, "--output", tmp_path / "out", "--beam", 1,
            "--unfinished", tmp_path / "unfinished", "--max-new-tokens", 4, "--batch-tokens", 1000,
            "--language-boost", 30, "--samples", samples, "--directions", *directions,
        ]  # fmt: skip
        monkeypatch.setattr(sys, "argv", list(map(str, words)))
        decode_script.main()

    run("it-nl")
    # A boost that is stronger than any preference of the random model leaves tokens of Dutch alone.
    written = (tmp_path / "out/it-nl.txt").read_text().strip()
    assert written and written == written.upper() and "Z" not in written.replace("LAZY", "")
    with pytest.raises(InputError, match="no text in ro, so that it-ro has no language boost"):
        run("it-nl", "it-ro")
