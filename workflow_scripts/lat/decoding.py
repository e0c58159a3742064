"""Decoding methods: beam search, and contrastive decoding against other instructions for the same input.

Lines are decoded in batches of similar length under a token budget; results come back in input order.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from .files import InputError, fold
from .modelling import encode_prompt
from .prompting import response_end_marks
from .runtime import Progress


@dataclass(frozen=True)
class Settings:
    """How to decode.

    Attributes:
        beam: hypotheses kept; 1 is greedy.
        max_new_tokens: longest output.
        batch_tokens: bound on rows * (prompt + new tokens) of one batch, each beam and each contrast being a row.
    """

    beam: int
    max_new_tokens: int
    batch_tokens: int


@dataclass(frozen=True)
class Request:
    """One line to decode: its prompt, and (prompt, weight) of each contrast, none for plain decoding."""

    prompt: str
    contrasts: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Hypothesis:
    """Decoded text on one line, and whether the length limit cut it."""

    text: str
    truncated: bool


def decode(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[Request],
    settings: Settings,
    prompt_language: str,
    progress: Progress | None = None,
) -> list[Hypothesis]:
    """Decode every request, by contrastive decoding where it has contrasts, else by beam search.

    Args:
        model: in evaluation mode.
        tokenizer: its own.
        requests: in any order.
        settings: see the class.
        prompt_language: of the template, whose headers end a response.
        progress: counts the lines, if given.

    Returns:
        One hypothesis a request, in the order of the requests.

    Raises:
        InputError: a prompt leaves no room for output in the model's context window.
    """
    encoded = [
        [(encode_prompt(tokenizer, prompt), weight) for prompt, weight in ((request.prompt, 1.0), *request.contrasts)]
        for request in requests
    ]
    lengths = [max(len(prompt) for prompt, _ in rows) for rows in encoded]
    window = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    for number, length in enumerate(lengths, 1):
        if window and length >= window:
            raise InputError(f"line {number}: a prompt of {length} tokens leaves no room in the window of {window}")
    marks = response_end_marks(prompt_language)
    results: list[Hypothesis | None] = [None] * len(requests)
    copies = [len(rows) if len(rows) > 1 else settings.beam for rows in encoded]
    for batch in _batches(lengths, copies, settings):
        limit = (
            min(settings.max_new_tokens, window - max(lengths[i] for i in batch)) if window else settings.max_new_tokens
        )
        rows = [encoded[i] for i in batch]
        if len(rows[0]) > 1:
            outputs = contrastive_search(model, rows, limit, tokenizer.eos_token_id, tokenizer.pad_token_id)
        else:
            outputs = beam_search(model, [row[0][0] for row in rows], settings.beam, limit, tokenizer)
        for index, output in zip(batch, outputs, strict=True):
            finished = tokenizer.eos_token_id in output
            text = tokenizer.decode(output[: output.index(tokenizer.eos_token_id)] if finished else output)
            text, cut = _until_mark(text, marks)
            results[index] = Hypothesis(fold(text), truncated=not finished and not cut)
        if progress:
            progress.update(len(batch))
    return [result for result in results if result is not None]


def _batches(lengths: Sequence[int], copies: Sequence[int], settings: Settings) -> Iterator[list[int]]:
    # Longest first: a batch too large for the memory fails at once, not after an hour.
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-copies[i], -lengths[i], i)):
        if batch:
            rows = copies[batch[0]] * (len(batch) + 1)
            full = rows * (lengths[batch[0]] + settings.max_new_tokens) > settings.batch_tokens
            if full or copies[index] != copies[batch[0]]:
                yield batch
                batch = []
        batch.append(index)
    if batch:
        yield batch


def _until_mark(text: str, marks: Sequence[str]) -> tuple[str, bool]:
    ends = [place for mark in marks if (place := text.find(mark)) >= 0]
    return (text[: min(ends)], True) if ends else (text, False)


def _left_padded(prompts: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    longest = max(map(len, prompts))
    ids = torch.tensor([[pad] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    return ids, mask


@torch.inference_mode()
def beam_search(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    beam: int,
    max_new_tokens: int,
    tokenizer: PreTrainedTokenizerBase,
) -> list[list[int]]:
    """Token ids that follow each prompt (end token included where it came), by the library's beam search."""
    ids, mask = _left_padded(prompts, tokenizer.pad_token_id, model.device)
    # A configuration of our own: a hub model's sampling defaults (temperature, top-p) must not leak into a table.
    generation = GenerationConfig(
        num_beams=beam,
        do_sample=False,
        max_new_tokens=max_new_tokens,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    output = model.generate(ids, attention_mask=mask, generation_config=generation)
    return output[:, ids.shape[1] :].tolist()


@torch.inference_mode()
def contrastive_search(
    model: PreTrainedModel,
    requests: Sequence[Sequence[tuple[Sequence[int], float]]],
    max_new_tokens: int,
    end: int,
    pad: int,
) -> list[list[int]]:
    """Greedy source- and language-contrastive decoding (Sennrich et al., arXiv 2309.07098), batched over lines.

    The next token maximises log(sum_i w_i p(y | prompt_i)), the weighted sum taken on probabilities: weight 1 for the
    real prompt, a negative one for each contrast. Tokens whose sum is not positive are excluded; where none is left
    (every contrast agrees with the real prompt), the real prompt alone decides. All prompts of a line then read the
    chosen token.

    Args:
        model: in evaluation mode.
        requests: for each line its (prompt ids, weight) rows, the real prompt first; the same number for every line.
        max_new_tokens: longest output.
        end: id of the end token.
        pad: id that pads prompts and finished lines.

    Returns:
        Token ids that follow each prompt, end token included where it came.
    """
    copies = len(requests[0])
    prompts = [prompt for rows in requests for prompt, _ in rows]
    weights = torch.tensor([[weight for _, weight in rows] for rows in requests], device=model.device)
    ids, mask = _left_padded(prompts, pad, model.device)
    cache = DynamicCache(config=model.config)
    positions = mask.cumsum(-1).sub(1).clamp(min=0)
    outputs: list[list[int]] = [[] for _ in requests]
    finished = torch.zeros(len(requests), dtype=torch.bool, device=model.device)
    for _ in range(max_new_tokens):
        logits = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        chosen = contrastive_choice(logits.float().softmax(-1).view(len(requests), copies, -1), weights)
        chosen = torch.where(finished, pad, chosen)
        for row in (~finished).nonzero().flatten().tolist():
            outputs[row].append(int(chosen[row]))
        finished |= chosen == end
        if finished.all():
            break
        ids = chosen.repeat_interleave(copies).unsqueeze(1)
        mask = torch.cat([mask, mask.new_ones((len(prompts), 1))], dim=1)
        positions = positions[:, -1:] + 1
    return outputs


def contrastive_choice(probabilities: Tensor, weights: Tensor) -> Tensor:
    """Next token [lines] of `probabilities` [lines, prompts, vocabulary] under `weights` [lines, prompts]."""
    combined = (probabilities * weights.unsqueeze(-1)).sum(1)
    best, chosen = combined.max(-1)
    return torch.where(best > 0, chosen, probabilities[:, 0].argmax(-1))
