"""Prompt and response as one string: which tokens belong to the response, and how samples are read and arranged."""

import json
import logging

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast

from tests.unit.chat_templates import chat_tokenizer
from workflow_scripts.lat.files import InputError, write_jsonl
from workflow_scripts.lat.models import encode_joined, encode_prompt, encode_response
from workflow_scripts.lat.prompts.prompting import Template
from workflow_scripts.lat.prompts.templates import chat_template
from workflow_scripts.lat.training.modelling import IGNORED
from workflow_scripts.lat.training.samples import read_samples, to_tensors
from workflow_scripts.lat.training.tokenizing import train_tokenizer

INSTRUCTIONS = [f"Translate the following sentences from {pair}." for pair in ("Italian to Dutch", "Dutch to Italian")]
TEMPLATE = Template(layout="alpaca")
TEXTS = [TEMPLATE.render(instruction, "Il gatto (piccolo) dorme.") + "(De kat) slaapt." for instruction in INSTRUCTIONS]
PROMPT, WRONG = (TEMPLATE.render(instruction, "Il gatto dorme.") for instruction in INSTRUCTIONS)


@pytest.fixture(scope="module")
def tokenizer():
    """A tokenizer that joins the colon of `### Response:` with an opening bracket."""
    tokenizer = train_tokenizer(TEXTS * 20, 600)
    assert ":(" in tokenizer.get_vocab()
    return tokenizer


def sentencepiece_like() -> PreTrainedTokenizerFast:
    """A tokenizer as that of Llama 2, which marks the beginning of words and of every text."""
    backend = Tokenizer(models.BPE(unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    backend.decoder = decoders.Metaspace(prepend_scheme="first")
    trainer = trainers.BpeTrainer(vocab_size=500, special_tokens=["<unk>", "<s>", "</s>"], show_progress=False)
    backend.train_from_iterator([*TEXTS, "De kat slaapt. Hallo."] * 20, trainer)
    backend.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, bos_token="<s>", eos_token="</s>", unk_token="<unk>", pad_token="</s>"
    )


@pytest.mark.parametrize("response", ["De kat slaapt.", "", " met spatie", "twee\nregels", "één 日本語 👍🏽.", "</s>"])
def test_labels_are_those_of_the_prompts_own_length_where_no_token_joins_the_two(tokenizer, response):
    prompt, labelled = encode_joined(tokenizer, PROMPT, response)
    # The published rule: the labels begin after as many tokens as the prompt alone has.
    whole = tokenizer(PROMPT + response, split_special_tokens=True)["input_ids"]
    alone = tokenizer(PROMPT)["input_ids"]
    assert [*prompt, *labelled] == [*whole, tokenizer.eos_token_id]
    assert prompt == alone == encode_prompt(tokenizer, PROMPT)
    assert tokenizer.decode(labelled[:-1]) == response


def test_a_token_with_characters_of_both_belongs_to_the_response(tokenizer):
    prompt, response = encode_joined(tokenizer, PROMPT, "(De kat) slaapt.")
    assert tokenizer.decode(prompt[1:]) == PROMPT.removesuffix(":")
    assert tokenizer.convert_ids_to_tokens(response[0]) == ":("
    assert tokenizer.decode(response) == ":(De kat) slaapt.</s>"
    assert encode_prompt(tokenizer, PROMPT)[:-1] == prompt


def test_one_string_has_no_word_mark_before_the_response():
    tokenizer = sentencepiece_like()
    prompt, response = encode_joined(tokenizer, PROMPT, "Hallo.")
    assert [*prompt, *response[:-1]] == tokenizer(PROMPT + "Hallo.")["input_ids"]
    assert prompt == tokenizer(PROMPT)["input_ids"]
    assert not tokenizer.convert_ids_to_tokens(response[0]).startswith("▁")
    assert tokenizer.convert_ids_to_tokens(encode_response(tokenizer, "Hallo.")[0]).startswith("▁")


class WithOffsets:
    """A tokenizer that gives other offsets than the real one."""

    def __init__(self, tokenizer, change):
        self.real, self.change = tokenizer, change

    def __call__(self, text, **flags):
        encoding = dict(self.real(text, **flags))
        if "offset_mapping" in encoding:
            encoding["offset_mapping"] = self.change(encoding["offset_mapping"])
        return encoding

    def __getattr__(self, name):
        return getattr(self.real, name)


@pytest.mark.parametrize("change", [lambda offsets: [(0, 0)] * len(offsets), lambda offsets: offsets[::-1]])
def test_offsets_that_say_nothing_are_refused(tokenizer, change):
    with pytest.raises(InputError, match=r"does not tell which of its tokens are those of the response 'Hallo\.'; set"):
        encode_joined(WithOffsets(tokenizer, change), PROMPT, "Hallo.")


def test_a_tokenizer_without_offsets_is_refused(tokenizer):
    class Slow(WithOffsets):
        is_fast = False
        name_or_path = "results/base_model/slow/model"

    with pytest.raises(InputError, match=r"slow/model: this tokenizer does not tell .* set `template: alpaca-lines`"):
        encode_joined(Slow(tokenizer, None), PROMPT, "Hallo.")


def labels_of(tensors) -> list[str]:
    labels = tensors["labels"]
    return [[index for index in row if index != IGNORED] for row in labels.tolist()]


def row(response: str, **more) -> dict:
    return {"prompt": PROMPT, "response": response, "conflict": WRONG, "joined": True} | more


def test_samples_of_stage_2_have_the_same_labels_in_every_layout(tokenizer, tmp_path, caplog):
    write_jsonl(tmp_path / "samples.jsonl", [row("De kat slaapt."), row("(De kat) slaapt.")])
    with caplog.at_level(logging.WARNING):
        samples, _ = read_samples(tmp_path / "samples.jsonl", tokenizer, 400)
    assert "in 1 of 2 samples, a token has characters of prompt and response, and counts as part of" in caplog.text
    expected = [labels for sample in samples for labels in [sample.response] * 2]
    device = torch.device("cpu")
    for layout in ("padded", "rows", "single row", "tree"):
        tensors = to_tensors(samples, tokenizer.pad_token_id, layout, device)
        found = [index for labels in labels_of(tensors) for index in labels]
        assert sorted(found) == sorted(index for labels in expected for index in labels), layout
        conflicting = tensors["labels"][tensors["conflicting"]].tolist()
        assert sorted(conflicting) == sorted(index for sample in samples for index in sample.response), layout


def test_a_conflict_keeps_its_own_response_where_its_tokens_differ(tokenizer, tmp_path):
    # The prompt of the conflict ends otherwise, so that a token joins it with the response.
    write_jsonl(tmp_path / "samples.jsonl", [row("(De kat) slaapt.", prompt=PROMPT + "\n")])
    (sample,), _ = read_samples(tmp_path / "samples.jsonl", tokenizer, 400)
    normal, conflict = sample.sequences()
    assert tokenizer.decode(normal.response) == "(De kat) slaapt.</s>"
    assert tokenizer.decode(conflict.response) == ":(De kat) slaapt.</s>" and conflict.conflicting
    assert len(sample) == max(len(normal), len(conflict)) and sample.tokens == len(normal) + len(conflict)


def test_chat_samples_are_read_with_their_end(tmp_path):
    tokenizer = chat_tokenizer("gemma3")
    tokenizer.save_pretrained(tmp_path)
    template = chat_template(tmp_path, None, "before", None, {})
    right, wrong = (template.render(instruction, "Il gatto dorme.") for instruction in INSTRUCTIONS)
    sample = {"prompt": right, "response": "De kat slaapt.", "conflict": wrong} | template.training_keys()
    (tmp_path / "samples.jsonl").write_text(json.dumps(sample) + "\n")
    (read,), _ = read_samples(tmp_path / "samples.jsonl", tokenizer, 400)
    assert read.prompt == encode_prompt(tokenizer, right) and read.conflict == encode_prompt(tokenizer, wrong)
    assert tokenizer.decode(read.response) == "De kat slaapt.<end_of_turn>" and read.conflict_response is None


def test_an_end_that_the_tokenizer_does_not_have_is_refused(tokenizer):
    with pytest.raises(InputError, match=r"the tokenizer has no token <\|im_end\|>, with which the samples end"):
        encode_joined(tokenizer, PROMPT, "Hallo.", "<|im_end|>")
