"""Loading causal language models and their tokenizers, and encoding prompts and responses with them.

Every model of the workflow is loaded here. A folder that does not hold exactly the weights of its model is refused: the
library itself would fill a missing weight with random numbers and only log it.
"""

from collections.abc import Collection
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from .files import InputError, fold
from .manifest import check_manifest
from .names import DTYPES

# The progress bar of loading uses carriage returns, which make a log file unreadable.
transformers_logging.disable_progress_bar()

TORCH_DTYPES = dict(zip(DTYPES, (torch.float32, torch.bfloat16, torch.float16), strict=True))
# How many names of weights an error message lists.
LISTED = 3


def load_tokenizer(path: Path | str) -> PreTrainedTokenizerBase:
    """Load the tokenizer of a model folder and make sure that it can pad.

    Raises:
        InputError: there is no tokenizer, or it has no end token, without which a model never learns to stop.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(path, trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: transformers cannot load its tokenizer ({_first_line(error)})") from None
    if tokenizer.eos_token_id is None:
        raise InputError(f"{path}: the tokenizer has no eos_token; set one in its tokenizer_config.json")
    if tokenizer.pad_token_id is None:
        # Padding is always masked, so the choice of the token has no effect.
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(path: Path | str, dtype: str, attention: str = "sdpa", gguf_file: str | None = None) -> PreTrainedModel:
    """Load the causal language model of a model folder.

    Args:
        path: the model folder.
        dtype: fp32, bf16 or fp16.
        attention: attention implementation of transformers.
        gguf_file: name of a GGUF file in the folder, to be dequantised.

    Raises:
        InputError: the folder is damaged, the model cannot be loaded or does not support the attention implementation,
            or the folder lacks weights, holds others than the model has, or holds values that are not finite.
    """
    check_manifest(Path(path))
    try:
        model, loading = AutoModelForCausalLM.from_pretrained(
            path,
            dtype=TORCH_DTYPES[dtype],
            attn_implementation=attention,
            gguf_file=gguf_file,
            trust_remote_code=False,
            use_safetensors=None if gguf_file else True,
            # Mismatched shapes become an InputError below, like missing weights, instead of a traceback of the library.
            ignore_mismatched_sizes=True,
            output_loading_info=True,
        )
    except (OSError, ValueError, ImportError, SafetensorError) as error:
        raise InputError(f"{path}: transformers cannot load this model ({_first_line(error)})") from None
    problems = {
        "lacks": loading["missing_keys"],
        "holds in another shape": [key for key, *_ in loading["mismatched_keys"]],
        "holds beyond those of the model": loading["unexpected_keys"],
    }
    for problem, keys in problems.items():
        if keys:
            raise InputError(
                f"{path}: {model.config.model_type}: the folder {problem} {len(keys)} weight{'s' * (len(keys) > 1)}"
                f" ({_listed(keys)}); get the complete model again"
            )
    broken = [name for name, weight in model.named_parameters() if not torch.isfinite(weight).all()]
    if broken:
        raise InputError(
            f"{path}: {len(broken)} weights hold values that are not finite ({_listed(broken)}); get the model again"
        )
    return model


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Encode a prompt, with the start token if the tokenizer has one and without an end token.

    Raises:
        InputError: see `encode_text`.
    """
    own = encode_text(tokenizer, prompt)
    whole: list[int] = tokenizer(prompt, split_special_tokens=True)["input_ids"]
    for place in range(len(whole) - len(own) + 1):
        if whole[place : place + len(own)] == own:
            return whole[: place + len(own)]
    raise InputError(
        f"the tokenizer encodes the text {fold(prompt)[:60]!r} otherwise without its start token than with it; choose"
        " another base model"
    )


def encode_response(tokenizer: PreTrainedTokenizerBase, response: str) -> list[int]:
    """Encode a response and append the end token.

    Prompt and response are encoded separately, so that the ids of the prompt are the same in training and decoding.

    Raises:
        InputError: see `encode_text`.
    """
    return [*encode_text(tokenizer, response), tokenizer.eos_token_id]


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Encode a text as the characters that it shows, without start and end tokens.

    The name of a special token in a corpus, such as `</s>`, is text like any other. Encoded as the special token, it
    would end a response in the middle of the sentence.

    Raises:
        InputError: the tokenizer cannot encode the text without its special tokens.
    """
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    # An unknown character is not a special token of the text.
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    if not special.isdisjoint(ids):
        token = tokenizer.convert_ids_to_tokens(next(index for index in ids if index in special))
        raise InputError(
            f"the tokenizer encodes the text {token} as its special token; remove it from the text {fold(text)[:60]!r}"
        )
    return ids


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:LISTED]) + ", ..." * (len(names) > LISTED)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
