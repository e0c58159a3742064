"""A model folder is loaded as it is or refused, and text is encoded as text."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, processors
from transformers import PreTrainedTokenizerFast

from tests.conftest import random_model
from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.models import encode_prompt, encode_response, encode_text, load_model, load_tokenizer
from workflow_scripts.lat.training.tokenizing import train_tokenizer

WEIGHT = "model.layers.0.mlp.up_proj.weight"


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["the quick brown fox </s> <s> jumps over the lazy dog"] * 5, 300)


def drop(weights):
    del weights[WEIGHT]


def cut(weights):
    weights[WEIGHT] = weights[WEIGHT][:3].clone()


def add(weights):
    weights["model.layers.9.mlp.up_proj.weight"] = weights[WEIGHT].clone()


def spoil(weights):
    weights[WEIGHT][0, 0] = float("nan")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (drop, rf"llama: the folder lacks 1 weight \({WEIGHT}\); get the complete model again"),
        (cut, rf"llama: the folder holds in another shape 1 weight \({WEIGHT}\)"),
        (add, r"llama: the folder holds beyond those of the model 1 weight \(model\.layers\.9\."),
        (spoil, rf"1 weights hold values that are not finite \({WEIGHT}\)"),
    ],
)
def test_a_folder_with_other_weights_than_the_model_is_refused(tmp_path, change, message):
    random_model("llama").save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    change(weights)
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(InputError, match=message):
        load_model(tmp_path, "fp32")


def test_a_damaged_file_is_refused(tmp_path):
    random_model("llama").save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"nothing")
    with pytest.raises(InputError, match="transformers cannot load this model"):
        load_model(tmp_path, "fp32")


def test_tied_weights_are_not_missing(tmp_path):
    model = random_model("llama-tied")
    model.save_pretrained(tmp_path)
    ids = torch.tensor([[5, 9, 4]])
    assert torch.equal(load_model(tmp_path, "fp32")(ids).logits, model(ids).logits)


def test_a_folder_without_a_tokenizer_is_refused(tmp_path):
    random_model("llama").save_pretrained(tmp_path)
    with pytest.raises(InputError, match="transformers cannot load its tokenizer"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize("text", ["a </s> b", "</s>", "<s> first", "ends with </s>", "<pad><s></s>"])
def test_names_of_special_tokens_in_text_are_text(tokenizer, text):
    special = set(tokenizer.all_special_ids)
    prompt, response = encode_prompt(tokenizer, text), encode_response(tokenizer, text)
    assert prompt[0] == tokenizer.bos_token_id and special.isdisjoint(prompt[1:])
    assert response[-1] == tokenizer.eos_token_id and special.isdisjoint(response[:-1])
    assert tokenizer.decode(response[:-1]) == tokenizer.decode(prompt[1:]) == text


def test_other_text_is_encoded_as_by_the_tokenizer_itself(tokenizer):
    assert encode_prompt(tokenizer, "the lazy dog") == tokenizer("the lazy dog")["input_ids"]
    assert encode_text(tokenizer, "the lazy dog") == tokenizer("the lazy dog", add_special_tokens=False)["input_ids"]


def test_a_tokenizer_that_cannot_do_without_its_special_tokens_is_refused(tokenizer, monkeypatch):
    monkeypatch.setattr(type(tokenizer), "__call__", lambda *_, **__: {"input_ids": [5, tokenizer.eos_token_id]})
    with pytest.raises(InputError, match=r"encodes the text </s> as its special token; remove it"):
        encode_text(tokenizer, "a </s>")


def test_a_start_token_that_is_also_the_end_token_is_kept(tokenizer):
    # As the tokenizers of XGLM and OPT: the text begins with the end token.
    end = f"{tokenizer.eos_token}"
    backend = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
    backend.post_processor = processors.TemplateProcessing(
        single=f"{end} $A", special_tokens=[(end, tokenizer.eos_token_id)]
    )
    other = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token=end)
    assert encode_prompt(other, "the fox") == [other.eos_token_id, *encode_text(other, "the fox")]
    backend.post_processor = processors.TemplateProcessing(
        single=f"<s> $A {end}", special_tokens=[("<s>", tokenizer.bos_token_id), (end, tokenizer.eos_token_id)]
    )
    other = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", eos_token=end)
    assert encode_prompt(other, "the fox") == [other.bos_token_id, *encode_text(other, "the fox")]
