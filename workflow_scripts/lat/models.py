"""Loading causal language models and their tokenizers, and encoding prompts and responses with them."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from .files import InputError

# The progress bar of loading uses carriage returns, which make a log file unreadable.
transformers_logging.disable_progress_bar()

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def load_tokenizer(path: Path | str) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model folder and make sure that it can pad.

    Raises:
        InputError: the tokenizer has no end token, without which a model never learns to stop.
    """
    tokenizer = AutoTokenizer.from_pretrained(path)
    if tokenizer.eos_token_id is None:
        raise InputError(f"{path}: the tokenizer has no eos_token; set one in its tokenizer_config.json")
    if tokenizer.pad_token_id is None:
        # Padding is always masked, so the choice of the token has no effect.
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(path: Path | str, dtype: str, attention: str = "sdpa") -> PreTrainedModel:
    """Load the causal language model of a model folder.

    Args:
        path: the model folder.
        dtype: fp32, bf16 or fp16.
        attention: attention implementation of transformers.
    """
    return AutoModelForCausalLM.from_pretrained(path, dtype=DTYPES[dtype], attn_implementation=attention)


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Encode a prompt, with the start token if the tokenizer has one and without an end token."""
    ids: list[int] = tokenizer(prompt)["input_ids"]
    return ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids


def encode_response(tokenizer: PreTrainedTokenizerBase, response: str) -> list[int]:
    """Encode a response and append the end token.

    Prompt and response are encoded separately, so that the ids of the prompt are the same in training and decoding.
    """
    return [*tokenizer(response, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
