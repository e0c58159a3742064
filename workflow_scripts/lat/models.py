"""Loading causal language models and their tokenizers, and encoding prompts and responses with them.

Every model of the workflow is loaded here. A folder that does not hold exactly the weights of its model is refused: the
library itself would fill a missing weight with random numbers and only log it.
"""

import re
from collections.abc import Collection, Sequence
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase
from transformers.utils import logging as transformers_logging

from .files import InputError, fold
from .manifest import check_manifest
from .names import ALPACA_LINES, DTYPES
from .prompts.kinds import Prompt

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


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: Prompt) -> list[int]:
    """Encode a prompt without an end token, as decoding does.

    The start token comes before a text, if the tokenizer has one. The template of a chat writes it itself.

    Raises:
        InputError: see `encode_text` and `_encode_pieces`.
    """
    if not isinstance(prompt, str):
        return _encode_pieces(tokenizer, prompt).ids
    own = encode_text(tokenizer, prompt)
    return [*_start_tokens(tokenizer, prompt, own), *own]


def _start_tokens(tokenizer: PreTrainedTokenizerBase, text: str, own: list[int]) -> list[int]:
    """Return the tokens that the tokenizer puts before a text, whose own tokens are given."""
    whole: list[int] = tokenizer(text, split_special_tokens=True)["input_ids"]
    for place in range(len(whole) - len(own) + 1):
        if whole[place : place + len(own)] == own:
            return whole[:place]
    raise InputError(
        f"the tokenizer encodes the text {fold(text)[:60]!r} otherwise without its start token than with it; choose"
        " another base model"
    )


def encode_response(tokenizer: PreTrainedTokenizerBase, response: str) -> list[int]:
    """Encode a response apart from its prompt and append the end token.

    The ids of the prompt are then the same in training and decoding, whatever the response is.

    Raises:
        InputError: see `encode_text`.
    """
    return [*encode_text(tokenizer, response), tokenizer.eos_token_id]


class Encoded(NamedTuple):
    """Token ids of a text, and from which to which of its characters each token is."""

    ids: list[int]
    offsets: list[tuple[int, int]]


def encode_joined(
    tokenizer: PreTrainedTokenizerBase, prompt: Prompt, response: str, end: str | None = None
) -> tuple[list[int], list[int]]:
    """Encode a prompt and its response as one string, and append the end token.

    A token with any character of the response belongs to the response, also if it begins with the last characters of
    the prompt; all tokens before it belong to the prompt.

    Args:
        tokenizer: the tokenizer of the model.
        prompt: the prompt.
        response: the response, which follows the prompt at once.
        end: what ends the response: white space and an end-of-turn token; None for the end token of the tokenizer.

    Returns:
        The ids of the prompt, and those of the response with the end token.

    Raises:
        InputError: the tokenizer does not tell which characters its tokens stand for; see also `encode_text` and
            `_encode_pieces`.
    """
    space, end_id = end_of_response(tokenizer, end)
    response += space
    if isinstance(prompt, str):
        text, length = prompt + response, len(prompt)
        encoded = _encode_with_offsets(tokenizer, text)
        _check_special(tokenizer, encoded.ids, text)
        start = _start_tokens(tokenizer, text, encoded.ids)
    else:
        length, start = sum(map(len, prompt)), []
        encoded = _encode_pieces(tokenizer, [*prompt, response])
    # The first token with a character of the response.
    first = next((place for place, (_, stop) in enumerate(encoded.offsets) if stop > length), len(encoded.ids))
    if any(stop <= length for _, stop in encoded.offsets[first:]) or (first == len(encoded.ids) and response.strip()):
        raise InputError(
            f"the tokenizer does not tell which of its tokens are those of the response {fold(response)[:60]!r}; set"
            f" `template: {ALPACA_LINES}`, or choose another base model"
        )
    return [*start, *encoded.ids[:first]], [*encoded.ids[first:], end_id]


def end_of_response(tokenizer: PreTrainedTokenizerBase, end: str | None) -> tuple[str, int]:
    """Return the white space after a response, and the id of the token that ends it.

    Args:
        tokenizer: the tokenizer of the model.
        end: white space and an end-of-turn token; None for the end token of the tokenizer.

    Raises:
        InputError: the tokenizer has no such token.
    """
    if end is None:
        return "", tokenizer.eos_token_id
    token = end.lstrip()
    if token not in tokenizer.get_added_vocab():
        raise InputError(f"the tokenizer has no token {token}, with which the samples end; make them again")
    return end[: -len(token)], tokenizer.convert_tokens_to_ids(token)


def stop_tokens(tokenizer: PreTrainedTokenizerBase, end: str | None) -> tuple[int, ...]:
    """Return the ids of the tokens that end an output: the end-of-turn token, and the end token of the tokenizer."""
    return tuple(dict.fromkeys((end_of_response(tokenizer, end)[1], tokenizer.eos_token_id)))


def _encode_pieces(tokenizer: PreTrainedTokenizerBase, pieces: Sequence[str]) -> Encoded:
    """Encode text of a template and texts in its slots, by turns, as one string.

    Control tokens that the template writes become these tokens; the name of such a token in a slot is text.

    Raises:
        InputError: the tokenizer cannot encode such a name as text.
    """
    text = "".join(pieces)
    ends = list(accumulate(map(len, pieces)))
    slots = list(zip(ends[::2], ends[1::2], strict=False))
    names = [str(token) for token in tokenizer.added_tokens_decoder.values() if token.special]
    pattern = re.compile("|".join(map(re.escape, sorted(names, key=len, reverse=True))) or "(?!)")
    found = list(pattern.finditer(text))
    foreign = [name for name in found if any(name.start() < stop and name.end() > start for start, stop in slots)]
    if not foreign:
        return _encode_with_offsets(tokenizer, text, control_tokens=True)
    controls = [name for name in found if name not in foreign]
    encoded = _encode_stretches(tokenizer, text, controls)
    # With full stops in the place of these names, the tokenizer itself shows whether texts between control tokens may
    # be encoded one by one.
    plain = text
    for name in foreign:
        plain = plain[: name.start()] + "." * len(name[0]) + plain[name.end() :]
    may_divide = (
        _encode_stretches(tokenizer, plain, controls).ids
        == _encode_with_offsets(tokenizer, plain, control_tokens=True).ids
    )
    for name in foreign:
        count = encoded.ids.count(tokenizer.convert_tokens_to_ids(name[0]))
        if not may_divide or count != sum(control[0] == name[0] for control in controls):
            raise InputError(
                f"the tokenizer encodes the text {name[0]} as its special token; remove it from the text"
                f" {fold(text[name.start() :])[:60]!r}"
            )
    return encoded


def _encode_stretches(tokenizer: PreTrainedTokenizerBase, text: str, controls: Sequence[re.Match[str]]) -> Encoded:
    """Encode the control tokens of a text as such, and each text between them without special tokens."""
    ids: list[int] = []
    offsets: list[tuple[int, int]] = []
    place = 0
    for start, stop in [*(match.span() for match in controls), (len(text), len(text))]:
        if start > place:
            between = _encode_with_offsets(tokenizer, text[place:start])
            ids += between.ids
            offsets += [(place + first, place + last) for first, last in between.offsets]
        if stop > start:
            ids.append(tokenizer.convert_tokens_to_ids(text[start:stop]))
            offsets.append((start, stop))
        place = stop
    return Encoded(ids, offsets)


def _encode_with_offsets(tokenizer: PreTrainedTokenizerBase, text: str, control_tokens: bool = False) -> Encoded:
    """Encode a text without start and end tokens.

    Args:
        tokenizer: the tokenizer.
        text: the text.
        control_tokens: encode the names of special tokens as these tokens.

    Raises:
        InputError: the tokenizer has no character offsets.
    """
    if not tokenizer.is_fast:
        raise InputError(
            f"{tokenizer.name_or_path}: this tokenizer does not tell which characters its tokens stand for (it has no"
            f" tokenizer.json); set `template: {ALPACA_LINES}`, or choose another base model"
        )
    encoding = tokenizer(
        text, add_special_tokens=False, split_special_tokens=not control_tokens, return_offsets_mapping=True
    )
    return Encoded(encoding["input_ids"], encoding["offset_mapping"])


def encode_text(tokenizer: PreTrainedTokenizerBase, text: str) -> list[int]:
    """Encode a text as the characters that it shows, without start and end tokens.

    The name of a special token in a corpus, such as `</s>`, is text like any other. Encoded as the special token, it
    would end a response in the middle of the sentence.

    Raises:
        InputError: the tokenizer cannot encode the text without its special tokens.
    """
    ids: list[int] = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    _check_special(tokenizer, ids, text)
    return ids


def _check_special(tokenizer: PreTrainedTokenizerBase, ids: Collection[int], text: str) -> None:
    # An unknown character is not a special token of the text.
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    if not special.isdisjoint(ids):
        token = tokenizer.convert_ids_to_tokens(next(index for index in ids if index in special))
        raise InputError(
            f"the tokenizer encodes the text {token} as its special token; remove it from the text {fold(text)[:60]!r}"
        )


def _listed(names: Collection[str]) -> str:
    return ", ".join(sorted(names)[:LISTED]) + ", ..." * (len(names) > LISTED)


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
