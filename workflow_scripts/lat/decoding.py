"""Decoding methods: beam search, and contrastive decoding against other instructions for the same input.

Lines are decoded in batches of similar length with a maximum number of tokens. The prefix that all prompts of a
direction share (the instruction and the demonstrations) is processed once, and its keys and values are reused for every
line.
"""

import copy
import math
from collections.abc import Callable, Collection, Iterator, Sequence
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
from .manifest import check_manifest
from .models import encode_prompt
from .prompts.prompting import response_end_marks
from .runtime import Progress, log

# Finished lines are removed from a contrastive batch when at most this share of its lines is unfinished.
COMPACTION_SHARE = 0.9
# CTranslate2 divides a batch into this many pieces per thread, so that a thread that is done early takes another piece.
PIECES_PER_THREAD = 2


@dataclass(frozen=True)
class Settings:
    """Settings of the search.

    Attributes:
        beam: number of beams; 1 is greedy search.
        max_new_tokens: maximum length of an output, in tokens.
        batch_tokens: maximum of rows * (prompt tokens + new tokens) per batch; every beam and every contrast is a row.
    """

    beam: int
    max_new_tokens: int
    batch_tokens: int


@dataclass(frozen=True)
class Request:
    """One line to decode.

    Attributes:
        prompt: the real prompt.
        contrasts: (prompt, weight) of each contrast; empty for beam search.
    """

    prompt: str
    contrasts: tuple[tuple[str, float], ...] = ()


# The (prompt ids, weight) pairs of a request: the real prompt with weight 1, then the contrasts.
EncodedRequest = Sequence[tuple[Sequence[int], float]]


@dataclass(frozen=True)
class Hypothesis:
    """Decoded text, and whether the maximum length truncated it."""

    text: str
    truncated: bool


class Engine(Protocol):
    """Runs a model: continues the prompts of a batch of encoded requests."""

    window: int | None  # maximum number of tokens of prompt and output together; None for no limit

    def search(self, batch: Sequence[EncodedRequest], beam: int, max_new_tokens: int, shared: int) -> list[list[int]]:
        """Return the token ids that follow each request, including the end token if it was generated.

        Args:
            batch: the requests, which all have the same number of prompts.
            beam: number of beams.
            max_new_tokens: maximum length of an output, in tokens.
            shared: number of leading tokens that all prompts share, those of later batches included. It is smaller than
                the length of every prompt.
        """


class TransformersEngine:
    """The reference engine, and the only one for contrastive decoding.

    Args:
        model: a causal language model.
        tokenizer: the tokenizer of the model.
        early_stopping: end a beam search as soon as there are as many finished hypotheses as beams, which is the rule
            of CTranslate2. Otherwise it ends when no better hypothesis is expected, which is the library's default.
    """

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, early_stopping: bool = False
    ) -> None:
        self.model, self.tokenizer, self.early_stopping = model.eval(), tokenizer, early_stopping
        # Otherwise the defaults of a hub model (sampling, repetition penalty) would apply where a call sets nothing.
        self.model.generation_config = GenerationConfig()
        self.window = context_window(model.config)
        self._prefix: tuple[tuple[int, ...], DynamicCache] | None = None
        self._pads, self._shares = probe_search(model, tokenizer.pad_token_id)
        self._contrasts = probe_contrastive(model, tokenizer.pad_token_id)
        if not self._shares:
            log.info("%s: what prompts begin with is read again for each line", model.config.model_type)

    def search(self, batch: Sequence[EncodedRequest], beam: int, max_new_tokens: int, shared: int) -> list[list[int]]:
        """Run contrastive search if the requests have contrasts, otherwise beam search.

        Raises:
            InputError: the output of a prompt would depend on the other prompts of its batch.
        """
        if not (self._contrasts if len(batch[0]) > 1 else self._pads):
            kind = "contrastive decoding" if len(batch[0]) > 1 else "beam search"
            raise InputError(
                f"{self.model.config.model_type}: {kind} in batches gives other results than line by line; choose"
                " another base model, or `engine: vllm`"
            )
        if len(batch[0]) > 1:
            end, pad = self.tokenizer.eos_token_id, self.tokenizer.pad_token_id
            return contrastive_search(self.model, batch, max_new_tokens, end, pad)
        prompts = [request[0][0] for request in batch]
        # A sliding window would count the padding between the prefix and the rest of a prompt as distance.
        usable = shared and self._shares and sliding_window(self.model.config) is None
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
    """Beam search of CTranslate2, which is several times faster on a CPU because finished rows leave the batch.

    The text is the same as that of the reference engine with early stopping, which is the only rule of CTranslate2.

    Args:
        folder: folder of the converted model.
        tokenizer: tokenizer of the model that was converted.
        window: maximum number of tokens of prompt and output together; None for no limit.
        dtype: fp32, bf16 or fp16.
        threads: CPU threads; ignored on a GPU.
    """

    def __init__(
        self, folder: Path, tokenizer: PreTrainedTokenizerBase, window: int | None, dtype: str, threads: int
    ) -> None:
        import ctranslate2

        check_manifest(folder)
        self.tokenizer, self.window = tokenizer, window
        on_gpu = ctranslate2.get_cuda_device_count() > 0
        self._threads = 1 if on_gpu else threads
        self.generator = ctranslate2.Generator(
            str(folder),
            device="cuda" if on_gpu else "cpu",
            compute_type={"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}[dtype],
            # Threads work on different pieces of a batch: a step of a small model is too short to divide among them.
            inter_threads=self._threads,
            intra_threads=1,
        )

    def search(self, batch: Sequence[EncodedRequest], beam: int, max_new_tokens: int, shared: int) -> list[list[int]]:
        """Run beam search. The scores of hypotheses are normalised by their length, as in transformers.

        Raises:
            InputError: a request has contrasts.
        """
        if len(batch[0]) > 1:
            raise InputError("contrastive decoding runs on `engine: transformers` only")
        prompts = [self.tokenizer.convert_ids_to_tokens(request[0][0]) for request in batch]
        # If only one token of the shortest prompt follows the prefix, version 4.8.5 decodes longer prompts wrongly.
        shared = max(0, min(shared, *(len(prompt) - 2 for prompt in prompts)))
        results = self.generator.generate_batch(
            [prompt[shared:] for prompt in prompts],
            static_prompt=prompts[0][:shared] or None,
            beam_size=beam,
            max_length=max_new_tokens,
            end_token=self.tokenizer.eos_token,
            include_prompt_in_result=False,
            max_batch_size=math.ceil(len(prompts) / (self._threads * PIECES_PER_THREAD)),
        )
        outputs = [result.sequences_ids[0] for result in results]
        end = self.tokenizer.eos_token_id
        return [output if len(output) == max_new_tokens else [*output, end] for output in outputs]


class VllmEngine:
    """Beam search of vLLM, which needs a GPU and an environment of its own (`envs/vllm.yaml`).

    It never stops early: it searches up to the maximum length and returns the best of all hypotheses.

    Args:
        folder: folder of the model.
        window: maximum number of tokens of prompt and output together; None for no limit.
        dtype: fp32, bf16 or fp16.
        gpus: number of GPUs among which the model is divided.

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
        check_manifest(folder)
        self.window = window
        self.llm = LLM(
            model=str(folder),
            dtype={"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}[dtype],
            tensor_parallel_size=gpus,
            # vLLM finds shared prefixes itself and reuses their keys and values.
            enable_prefix_caching=True,
        )

    def search(self, batch: Sequence[EncodedRequest], beam: int, max_new_tokens: int, shared: int) -> list[list[int]]:
        """Run beam search. The scores of hypotheses are normalised by their length, as in transformers.

        Raises:
            InputError: a request has contrasts.
        """
        from vllm.sampling_params import BeamSearchParams

        if len(batch[0]) > 1:
            raise InputError("contrastive decoding runs on `engine: transformers` only")
        prompts = [list(request[0][0]) for request in batch]
        outputs = self.llm.beam_search(
            [{"prompt_token_ids": prompt} for prompt in prompts],
            BeamSearchParams(beam_width=beam, max_tokens=max_new_tokens, temperature=0.0, length_penalty=1.0),
        )
        # The tokens of a sequence include the prompt.
        return [
            list(output.sequences[0].tokens[len(prompt) :]) for output, prompt in zip(outputs, prompts, strict=True)
        ]


def context_window(config: PreTrainedConfig) -> int | None:
    """Maximum number of tokens of a model from its configuration; None if the configuration gives none."""
    return getattr(config.get_text_config(), "max_position_embeddings", None)


def sliding_window(config: PreTrainedConfig) -> int | None:
    """Number of tokens that attention looks back in the layers with a sliding window; None without such layers."""
    return getattr(config.get_text_config(), "sliding_window", None)


def decode(
    engine: Engine,
    tokenizer: PreTrainedTokenizerBase,
    requests: Sequence[Request],
    settings: Settings,
    prompt_language: str,
    progress: Progress | None = None,
) -> list[Hypothesis]:
    """Decode every request: by contrastive decoding if it has contrasts, otherwise by beam search.

    Args:
        engine: runs the model.
        tokenizer: the tokenizer of the model.
        requests: the lines to decode, in any order.
        settings: see the class.
        prompt_language: language of the template. The next header of the template ends a response.
        progress: if given, counts the finished lines.

    Returns:
        One hypothesis per request, in the order of the requests.

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
    """Decode like `decode`, and yield the hypotheses of one batch at a time, by the index of their request.

    Args:
        engine: runs the model.
        tokenizer: the tokenizer of the model.
        requests: the lines to decode, in any order.
        settings: see `Settings`.
        prompt_language: language of the template.
        done: indices of finished requests. A batch is skipped if all of its requests are finished. The other batches
            are the same as without `done`, so that an interrupted run ends with the same text.
        line_breaks: keep the line breaks of an output instead of folding it into one line.

    Raises:
        InputError: a prompt leaves no room for output in the model's context window.
    """
    encoded = [
        [(encode_prompt(tokenizer, prompt), weight) for prompt, weight in ((request.prompt, 1.0), *request.contrasts)]
        for request in requests
    ]
    lengths = [max(len(prompt) for prompt, _ in request) for request in encoded]
    window = engine.window
    for number, length in enumerate(lengths, 1):
        if window and length >= window:
            raise InputError(f"line {number}: a prompt of {length} tokens leaves no room in the window of {window}")
    marks = response_end_marks(prompt_language, one_line=not line_breaks)
    end = tokenizer.eos_token_id
    no_contrasts = all(len(request) == 1 for request in encoded)
    shared = shared_prefix([request[0][0] for request in encoded]) if no_contrasts else 0
    rows_per_request = [len(request) if len(request) > 1 else settings.beam for request in encoded]
    limits = [
        min(settings.max_new_tokens, window - length if window else settings.max_new_tokens) for length in lengths
    ]
    for batch in _batches(lengths, rows_per_request, limits, settings):
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
    """Number of leading tokens that all prompts share, less than the length of every prompt; 0 for a single prompt."""
    if len(prompts) < 2:
        return 0
    ordered = sorted(map(tuple, prompts))
    first, last = ordered[0], ordered[-1]  # The prefix of these two is the prefix of all.
    same = next((place for place, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), len(first))
    return min(same, *(len(prompt) - 1 for prompt in prompts))


def _batches(
    lengths: Sequence[int], rows_per_request: Sequence[int], limits: Sequence[int], settings: Settings
) -> Iterator[list[int]]:
    """Group the indices of requests into batches of similar length.

    A batch has at most `settings.batch_tokens` tokens, unless it is a single request that needs more.

    The longest requests come first, so that a batch that does not fit in memory fails at once and not after an hour.
    The requests of a batch have the same limit of new tokens, so that a prompt that nearly fills the context window
    does not shorten the output of other lines.
    """
    batch: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: (-rows_per_request[i], -lengths[i], i)):
        if batch:
            rows = rows_per_request[batch[0]] * (len(batch) + 1)
            full = rows * (lengths[batch[0]] + settings.max_new_tokens) > settings.batch_tokens
            same_kind = (rows_per_request[index], limits[index]) == (rows_per_request[batch[0]], limits[batch[0]])
            if full or not same_kind:
                yield batch
                batch = []
        batch.append(index)
    if batch:
        yield batch


def until_mark(text: str, marks: Sequence[str]) -> tuple[str, bool]:
    """Return the text before the first of the marks, and whether the text contains a mark."""
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
    """Decode a batch of prompts with the beam search of transformers.

    Args:
        model: in evaluation mode.
        prompts: token ids of each prompt.
        beam: number of beams; 1 is greedy search.
        max_new_tokens: maximum length of an output, in tokens.
        tokenizer: the tokenizer of the model.
        prefix: keys and values of a prefix that all prompts share. Padding then stands between it and the rest of each
            prompt.
        early_stopping: end the search as soon as there are as many finished hypotheses as beams.

    Returns:
        The token ids that follow each prompt, including the end token if it was generated.
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


# Two prompts with a common beginning, and the tokens that follow them, as places in the vocabulary from 0 to 1.
PROBE_PREFIX = 3
PROBE_PROMPTS = ((0.2, 0.4, 0.9, 0.3, 0.8, 0.5, 0.7, 0.6, 0.25), (0.2, 0.4, 0.9, 0.35, 0.45, 0.65))
# Largest accepted difference of logits, relative to the largest. Padding and caches change the order of additions only.
PROBE_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.05}


def probe_search(model: PreTrainedModel, pad: int) -> tuple[bool, bool]:
    """Whether the library's search gives the same logits for a batch of padded prompts as for each prompt alone.

    Returns:
        The answer without and with a prefix whose keys and values are shared. Recurrent layers have no keys and values,
        and some models ignore padding masks or positions.
    """
    prompts = _probe_prompts(model)

    def first_logits(batch: Sequence[Sequence[int]], prefix: DynamicCache | None = None) -> Tensor:
        shared = PROBE_PREFIX if prefix else 0
        ids, mask = _left_padded([prompt[shared:] for prompt in batch], pad, model.device)
        if prefix:
            start = torch.tensor([batch[0][:shared]], device=model.device).expand(len(batch), -1)
            ids, mask = torch.cat([start, ids], dim=1), torch.cat([torch.ones_like(start), mask], dim=1)
            prefix.batch_repeat_interleave(len(batch))
        generation = GenerationConfig(
            do_sample=False, max_new_tokens=2, min_new_tokens=2, pad_token_id=pad, eos_token_id=None,
            output_logits=True, return_dict_in_generate=True,
        )  # fmt: skip
        with torch.inference_mode():
            output = model.generate(ids, attention_mask=mask, past_key_values=prefix, generation_config=generation)
        return torch.stack(output.logits, dim=1).float()

    alone = torch.cat([first_logits([prompt]) for prompt in prompts])
    padded = _agree(model, alone, lambda: first_logits(prompts))
    if not padded:
        return False, False

    def with_prefix() -> Tensor:
        cache = DynamicCache(config=model.config)
        with torch.inference_mode():
            model(torch.tensor([prompts[0][:PROBE_PREFIX]], device=model.device), past_key_values=cache)
        return first_logits(prompts, cache)

    return True, _agree(model, alone, with_prefix)


def probe_contrastive(model: PreTrainedModel, pad: int) -> bool:
    """Whether contrastive decoding gives the same logits for a batch of padded prompts as for each prompt alone."""
    prompts = _probe_prompts(model)
    following = prompts[0][-1]

    def logits_of(batch: Sequence[Sequence[int]]) -> Tensor:
        ids, mask = _left_padded(batch, pad, model.device)
        cache = DynamicCache(config=model.config)
        found = []
        for _ in range(2):
            positions = mask.cumsum(-1).sub(1).clamp(min=0)[:, -ids.shape[1] :]
            with torch.inference_mode():
                found.append(_next_logits(model, ids, mask, positions, cache))
            ids = torch.full((len(batch), 1), following, device=model.device)
            mask = torch.cat([mask, torch.ones_like(ids)], dim=1)
        return torch.stack(found, dim=1).float()

    with torch.inference_mode():
        alone = torch.stack(
            [
                model(torch.tensor([[*prompt, following]], device=model.device), use_cache=False).logits[0, -2:].float()
                for prompt in prompts
            ]
        )
    return _agree(model, alone, lambda: logits_of(prompts))


def _probe_prompts(model: PreTrainedModel) -> list[list[int]]:
    vocabulary = model.config.get_text_config().vocab_size
    return [[int(place * vocabulary) for place in prompt] for prompt in PROBE_PROMPTS]


def _agree(model: PreTrainedModel, expected: Tensor, compute: Callable[[], Tensor]) -> bool:
    """Whether some logits are the expected ones; not where the model's caches lack what the computation needs."""
    try:
        found = compute()
    except torch.OutOfMemoryError:
        raise  # it says nothing about the model
    except (AttributeError, NotImplementedError, TypeError, ValueError, IndexError, RuntimeError):
        return False
    difference = (found - expected).abs().max() / expected.abs().max()
    return bool(difference <= PROBE_TOLERANCE[model.dtype])


def _next_logits(model: PreTrainedModel, ids: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache) -> Tensor:
    """Logits of the tokens that follow, [rows, vocabulary]; keys and values of `ids` are added to the cache."""
    return model(
        input_ids=ids,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits[:, -1]


@torch.inference_mode()
def contrastive_search(
    model: PreTrainedModel,
    requests: Sequence[EncodedRequest],
    max_new_tokens: int,
    end: int,
    pad: int,
) -> list[list[int]]:
    """Greedy source- and language-contrastive decoding (Sennrich et al., arXiv 2309.07098), batched over lines.

    The next token y maximises log(sum_i w_i p(y | prompt_i)), a weighted sum of probabilities in which the real prompt
    has the weight 1 and each contrast a negative weight. Tokens whose sum is not positive are excluded. If none is left
    because every contrast agrees with the real prompt, the real prompt alone determines the token. The chosen token is
    then appended to all prompts of the line.

    Args:
        model: in evaluation mode.
        requests: the (prompt ids, weight) pairs of each line, the real prompt first; the same number for every line.
        max_new_tokens: maximum length of an output, in tokens.
        end: id of the end token.
        pad: id of the padding token.

    Returns:
        The token ids that follow each prompt, including the end token if it was generated.
    """
    prompts_per_line = len(requests[0])
    prompts = [prompt for request in requests for prompt, _ in request]
    weights = torch.tensor([[weight for _, weight in request] for request in requests], device=model.device)
    ids, mask = _left_padded(prompts, pad, model.device)
    cache = DynamicCache(config=model.config)
    positions = mask.cumsum(-1).sub(1).clamp(min=0)
    outputs: list[list[int]] = [[] for _ in requests]
    lines = torch.arange(len(requests), device=model.device)  # indices of the lines that are still in the batch
    unfinished = torch.ones_like(lines, dtype=torch.bool)
    for _ in range(max_new_tokens):
        logits = _next_logits(model, ids, mask, positions, cache)
        chosen = contrastive_choice(logits.float().softmax(-1).view(len(lines), prompts_per_line, -1), weights)
        for line, token, is_unfinished in zip(lines.tolist(), chosen.tolist(), unfinished.tolist(), strict=True):
            if is_unfinished:
                outputs[line].append(token)
        unfinished &= chosen != end
        remaining = int(unfinished.sum())
        if not remaining:
            break
        # Removing lines copies the keys and values of all others, so several finished lines are removed together.
        if remaining <= COMPACTION_SHARE * len(lines):
            rows = unfinished.repeat_interleave(prompts_per_line).nonzero().flatten()
            cache.batch_select_indices(rows)
            lines, weights, chosen = lines[unfinished], weights[unfinished], chosen[unfinished]
            mask, positions = mask[rows], positions[rows]
            unfinished = unfinished[unfinished]
        ids = chosen.repeat_interleave(prompts_per_line).unsqueeze(1)
        mask = torch.cat([mask, mask.new_ones((len(mask), 1))], dim=1)
        positions = positions[:, -1:] + 1
    return outputs


def contrastive_choice(probabilities: Tensor, weights: Tensor) -> Tensor:
    """Choose the next token of each line, see `contrastive_search`.

    Args:
        probabilities: [lines, prompts, vocabulary], the real prompt of each line first.
        weights: [lines, prompts].

    Returns:
        Token ids, [lines].
    """
    combined = torch.bmm(weights.unsqueeze(1), probabilities).squeeze(1)
    best, chosen = combined.max(-1)
    return torch.where(best > 0, chosen, probabilities[:, 0].argmax(-1))
