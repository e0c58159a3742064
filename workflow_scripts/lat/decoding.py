"""Decoding methods: beam search, and contrastive decoding against other instructions for the same input.

Lines are decoded in batches of similar length under a token budget. What all prompts of a direction begin with, the
instruction and the demonstrations, is read once: its keys and values serve every line.
"""

import copy
import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor
from transformers import (
    DynamicCache,
    GenerationConfig,
    PreTrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from .files import InputError, fold
from .models import encode_prompt
from .prompts.prompting import response_end_marks
from .runtime import Progress

# Share of a contrastive batch that is unfinished when the finished lines leave it.
KEPT = 0.9
# Pieces of a batch a thread: one that is done sooner takes on more.
PIECES = 2


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


# (prompt ids, weight) of a request: the real prompt with weight 1, then its contrasts.
EncodedRequest = Sequence[tuple[Sequence[int], float]]


@dataclass(frozen=True)
class Hypothesis:
    """Decoded text, and whether the length limit cut it."""

    text: str
    truncated: bool


class Engine(Protocol):
    """What runs a model: continues a batch of encoded requests."""

    window: int | None  # tokens of prompt and output together, None for no limit

    def search(self, batch: Sequence[EncodedRequest], beam: int, max_new_tokens: int, shared: int) -> list[list[int]]:
        """Token ids that follow each request, end token included where it came.

        The first `shared` tokens are the same in all prompts, those of later batches included; fewer than any has.
        """


class TransformersEngine:
    """The reference engine, and the only one for contrastive decoding.

    Args:
        model: a causal language model.
        tokenizer: the model's.
        early_stopping: a beam search ends as soon as it has as many finished hypotheses as beams, the rule of
            CTranslate2; otherwise, the library's default, when it expects no better one to follow.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, early_stopping: bool = False
    ) -> None:
        self.model, self.tokenizer, self.early_stopping = model.eval(), tokenizer, early_stopping
        # A hub model's own defaults (sampling, repetition penalty) fill whatever a call leaves open; none may.
        self.model.generation_config = GenerationConfig()
        self.window = context_window(model.config)
        self._prefix: tuple[tuple[int, ...], DynamicCache] | None = None

    def search(self, batch: Sequence[EncodedRequest], beam: int, max_new_tokens: int, shared: int) -> list[list[int]]:
        """Contrastive search for requests with contrasts, beam search for the others."""
        if len(batch[0]) > 1:
            end, pad = self.tokenizer.eos_token_id, self.tokenizer.pad_token_id
            return contrastive_search(self.model, batch, max_new_tokens, end, pad)
        prompts = [rows[0][0] for rows in batch]
        # Padding between prefix and rest would count as distance in a sliding window.
        usable = shared and getattr(self.model.config.get_text_config(), "sliding_window", None) is None
        cache = self._keys_and_values(tuple(prompts[0][:shared])) if usable else None
        return beam_search(self.model, prompts, beam, max_new_tokens, self.tokenizer, cache, self.early_stopping)

    @torch.inference_mode()
    def _keys_and_values(self, prefix: tuple[int, ...]) -> DynamicCache:
        if self._prefix is None or self._prefix[0] != prefix:
            cache = DynamicCache(config=self.model.config)
            self.model(torch.tensor([prefix], device=self.model.device), past_key_values=cache, logits_to_keep=1)
            self._prefix = prefix, cache
        return self._prefix[1]


class CTranslate2Engine:
    """Beam search of CTranslate2, whose finished rows leave the batch: several times sooner on a CPU.

    The text is that of the reference engine with early stopping, which is the only rule CTranslate2 has.

    Args:
        folder: a converted model.
        tokenizer: that of the model it was converted from.
        window: tokens of prompt and output together.
        threads: CPU threads; on a GPU they are ignored.
    """

    def __init__(
        self, folder: Path, tokenizer: PreTrainedTokenizerBase, window: int | None, dtype: str, threads: int
    ) -> None:
        import ctranslate2

        self.tokenizer, self.window = tokenizer, window
        on_gpu = ctranslate2.get_cuda_device_count() > 0
        self._threads = 1 if on_gpu else threads
        self.generator = ctranslate2.Generator(
            str(folder),
            device="cuda" if on_gpu else "cpu",
            compute_type={"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}[dtype],
            # A thread for each of several pieces of a batch: a beam step of a small model is too short to be divided.
            inter_threads=self._threads,
            intra_threads=1,
        )

    def search(self, batch: Sequence[EncodedRequest], beam: int, max_new_tokens: int, shared: int) -> list[list[int]]:
        """Beam search; the scores of hypotheses are normalised by their length, as in transformers.

        Raises:
            InputError: a request has contrasts.
        """
        if len(batch[0]) > 1:
            raise InputError("contrastive decoding runs on `engine: transformers` only")
        prompts = [self.tokenizer.convert_ids_to_tokens(rows[0][0]) for rows in batch]
        # With a single token left of the shortest prompt, version 4.8.5 decodes the longer ones wrongly.
        shared = max(0, min(shared, *(len(prompt) - 2 for prompt in prompts)))
        results = self.generator.generate_batch(
            [prompt[shared:] for prompt in prompts],
            static_prompt=prompts[0][:shared] or None,
            beam_size=beam,
            max_length=max_new_tokens,
            end_token=self.tokenizer.eos_token,
            include_prompt_in_result=False,
            max_batch_size=math.ceil(len(prompts) / (self._threads * PIECES)),
        )
        outputs = [result.sequences_ids[0] for result in results]
        end = self.tokenizer.eos_token_id
        return [output if len(output) == max_new_tokens else [*output, end] for output in outputs]


class VllmEngine:
    """Beam search of vLLM, which lives in an environment of its own (`envs/vllm.yaml`) and needs a GPU.

    It never stops early: it searches on up to the longest output and takes the best hypothesis of all.

    Args:
        folder: the model.
        window: tokens of prompt and output together.
        dtype: fp32, bf16 or fp16.
        gpus: among which the model is divided.

    Raises:
        InputError: vLLM is not installed.
    """

    def __init__(self, folder: Path, window: int | None, dtype: str, gpus: int) -> None:
        try:
            from vllm import LLM
        except ImportError:
            raise InputError(
                "engine: vllm is not installed here; run snakemake with `--software-deployment-method conda`, or take "
                "another engine"
            ) from None
        self.window = window
        self.llm = LLM(
            model=str(folder),
            dtype={"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}[dtype],
            tensor_parallel_size=gpus,
            # keys and values of what prompts begin with are found again by themselves
            enable_prefix_caching=True,
        )

    def search(self, batch: Sequence[EncodedRequest], beam: int, max_new_tokens: int, shared: int) -> list[list[int]]:
        """Beam search; the scores of hypotheses are normalised by their length, as in transformers.

        Raises:
            InputError: a request has contrasts.
        """
        from vllm.sampling_params import BeamSearchParams

        if len(batch[0]) > 1:
            raise InputError("contrastive decoding runs on `engine: transformers` only")
        prompts = [list(rows[0][0]) for rows in batch]
        outputs = self.llm.beam_search(
            [{"prompt_token_ids": prompt} for prompt in prompts],
            BeamSearchParams(beam_width=beam, max_tokens=max_new_tokens, temperature=0.0, length_penalty=1.0),
        )
        # the tokens of a sequence include its prompt
        return [
            list(output.sequences[0].tokens[len(prompt) :]) for output, prompt in zip(outputs, prompts, strict=True)
        ]


def context_window(config: PreTrainedConfig) -> int | None:
    """Tokens a model was made for, from its configuration."""
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def decode(
    engine: Engine,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[Request],
    settings: Settings,
    prompt_language: str,
    progress: Progress | None = None,
) -> list[Hypothesis]:
    """Decode every request, by contrastive decoding where it has contrasts, else by beam search.

    Args:
        engine: runs the model.
        tokenizer: the model's.
        requests: in any order.
        settings: see the class.
        prompt_language: of the template, whose headers end a response.
        progress: counts the lines, if given.

    Returns:
        One hypothesis a request, in the order of the requests.

    Raises:
        InputError: a prompt leaves no room for output in the model's context window.
    """
    results: dict[int, Hypothesis] = {}
    for found in decode_in_batches(engine, tokenizer, requests, settings, prompt_language):
        results |= found
        if progress:
            progress.update(len(found))
    return [results[index] for index in range(len(requests))]


def decode_in_batches(
    engine: Engine,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[Request],
    settings: Settings,
    prompt_language: str,
    done: Collection[int] = (),
    line_breaks: bool = False,
) -> Iterator[dict[int, Hypothesis]]:
    """As `decode`, a batch at a time: hypotheses by the index of their request.

    Batches in which every request is among `done` are skipped; the others are what they would be without `done`, so
    that an interrupted run ends with the same text. Without `line_breaks`, each text is folded into one line.
    """
    encoded = [
        [(encode_prompt(tokenizer, prompt), weight) for prompt, weight in ((request.prompt, 1.0), *request.contrasts)]
        for request in requests
    ]
    lengths = [max(len(prompt) for prompt, _ in rows) for rows in encoded]
    window = engine.window
    for number, length in enumerate(lengths, 1):
        if window and length >= window:
            raise InputError(f"line {number}: a prompt of {length} tokens leaves no room in the window of {window}")
    marks = response_end_marks(prompt_language, one_line=not line_breaks)
    end = tokenizer.eos_token_id
    shared = shared_prefix([rows[0][0] for rows in encoded]) if all(len(rows) == 1 for rows in encoded) else 0
    copies = [len(rows) if len(rows) > 1 else settings.beam for rows in encoded]
    limits = [
        min(settings.max_new_tokens, window - length if window else settings.max_new_tokens) for length in lengths
    ]
    for batch in _batches(lengths, copies, limits, settings):
        if all(index in done for index in batch):
            continue
        outputs = engine.search([encoded[index] for index in batch], settings.beam, limits[batch[0]], shared)
        results = {}
        for index, output in zip(batch, outputs, strict=True):
            finished = end in output
            output = output[: output.index(end)] if finished else output
            text, cut = until_mark(tokenizer.decode(output, skip_special_tokens=True), marks)
            results[index] = Hypothesis(text.strip() if line_breaks else fold(text), truncated=not finished and not cut)
        yield results


def shared_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """How many tokens all prompts begin with, at least one of each left out."""
    if len(prompts) < 2:
        return 0
    ordered = sorted(map(tuple, prompts))
    first, last = ordered[0], ordered[-1]  # what these two share all share
    same = next((place for place, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    return min(same, *(len(prompt) - 1 for prompt in prompts))


def _batches(
    lengths: Sequence[int], copies: Sequence[int], limits: Sequence[int], settings: Settings
) -> Iterator[list[int]]:
    # Rows of one batch have the same limit: a prompt that nearly fills the window cuts no other line's output short.
    # Longest first: a batch too large for the memory fails at once, not after an hour.
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-copies[i], -lengths[i], i)):
        if batch:
            rows = copies[batch[0]] * (len(batch) + 1)
            full = rows * (lengths[batch[0]] + settings.max_new_tokens) > settings.batch_tokens
            if full or (copies[index], limits[index]) != (copies[batch[0]], limits[batch[0]]):
                yield batch
                batch = []
        batch.append(index)
    if batch:
        yield batch


def until_mark(text: str, marks: Sequence[str]) -> tuple[str, bool]:
    """The text before the first of the marks, and whether one was there."""
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
    prefix: DynamicCache | None = None,
    early_stopping: bool = False,
) -> list[list[int]]:
    """Token ids that follow each prompt (end token included where it came), by the library's beam search.

    `prefix` holds the keys and values of what all prompts begin with; padding then stands between it and the rest.
    """
    shared = prefix.get_seq_length() if prefix else 0
    ids, mask = _left_padded([prompt[shared:] for prompt in prompts], tokenizer.pad_token_id, model.device)
    cache = None
    if prefix:
        start = torch.tensor([prompts[0][:shared]], device=model.device).expand(len(prompts), -1)
        ids, mask = torch.cat([start, ids], dim=1), torch.cat([torch.ones_like(start), mask], dim=1)
        cache = copy.deepcopy(prefix)
        cache.batch_repeat_interleave(len(prompts) * beam)
    generation = GenerationConfig(
        num_beams=beam,
        do_sample=False,
        early_stopping=early_stopping and beam > 1,
        max_new_tokens=max_new_tokens,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    output = model.generate(ids, attention_mask=mask, past_key_values=cache, generation_config=generation)
    return output[:, ids.shape[1] :].tolist()


@torch.inference_mode()
def contrastive_search(
    model: PreTrainedModel,
    requests: Sequence[EncodedRequest],
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
        pad: id that pads prompts.

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
    lines = torch.arange(len(requests), device=model.device)  # those still in the batch
    goes_on = torch.ones_like(lines, dtype=torch.bool)
    for _ in range(max_new_tokens):
        logits = model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        chosen = contrastive_choice(logits.float().softmax(-1).view(len(lines), copies, -1), weights)
        for line, token, unfinished in zip(lines.tolist(), chosen.tolist(), goes_on.tolist(), strict=True):
            if unfinished:
                outputs[line].append(token)
        goes_on &= chosen != end
        left = int(goes_on.sum())
        if not left:
            break
        # Taking lines out copies the keys and values of all others, so that a few leave together.
        if left <= KEPT * len(lines):
            rows = goes_on.repeat_interleave(copies).nonzero().flatten()
            cache.batch_select_indices(rows)
            lines, weights, chosen = lines[goes_on], weights[goes_on], chosen[goes_on]
            mask, positions = mask[rows], positions[rows]
            goes_on = goes_on[goes_on]
        ids = chosen.repeat_interleave(copies).unsqueeze(1)
        mask = torch.cat([mask, mask.new_ones((len(mask), 1))], dim=1)
        positions = positions[:, -1:] + 1
    return outputs


def contrastive_choice(probabilities: Tensor, weights: Tensor) -> Tensor:
    """Next token [lines] of `probabilities` [lines, prompts, vocabulary] under `weights` [lines, prompts]."""
    combined = torch.bmm(weights.unsqueeze(1), probabilities).squeeze(1)
    best, chosen = combined.max(-1)
    return torch.where(best > 0, chosen, probabilities[:, 0].argmax(-1))
