"""Whether a way to decode gives the same logits for a batch of padded prompts as a model gives for each alone."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from transformers import DynamicCache, GenerationConfig, PreTrainedModel

from .levels import attention_by_levels, read_prefix, read_prompts
from .levels import next_logits as next_logits_by_levels
from .plain import left_padded, next_logits

# Two prompts with a common beginning, and the tokens that follow them, as places in the vocabulary from 0 to 1.
PROBE_PREFIX = 3
PROBE_PROMPTS = ((0.2, 0.4, 0.9, 0.3, 0.8, 0.5, 0.7, 0.6, 0.25), (0.2, 0.4, 0.9, 0.35, 0.45, 0.65))
# Largest accepted difference of logits, relative to the largest. Padding and caches change the order of additions only.
PROBE_TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.05}


def probe_search(model: PreTrainedModel, pad: int) -> bool:
    """Whether the library's search does. Some models ignore padding masks or positions."""
    prompts = _probe_prompts(model)

    def first_logits(batch: Sequence[Sequence[int]]) -> Tensor:
        ids, mask = left_padded(batch, pad, model.device)
        generation = GenerationConfig(
            do_sample=False, max_new_tokens=2, min_new_tokens=2, pad_token_id=pad, eos_token_id=None,
            output_logits=True, return_dict_in_generate=True,
        )  # fmt: skip
        with torch.inference_mode():
            output = model.generate(ids, attention_mask=mask, generation_config=generation)
        return torch.stack(output.logits, dim=1).float()

    alone = torch.cat([first_logits([prompt]) for prompt in prompts])
    return _agree(model, alone, lambda: first_logits(prompts))


def probe_levels(model: PreTrainedModel, pad: int) -> bool:
    """Whether search by levels does, with hypotheses that change places.

    Recurrent layers have no keys and values, and some attention has scores of its own kind.
    """
    prompts = _probe_prompts(model)
    following = prompts[0][-1], prompts[1][-1]

    @torch.inference_mode()
    def logits_by_levels() -> Tensor:
        with attention_by_levels(model):
            prefix = read_prefix(model, prompts[0][:PROBE_PREFIX])
            logits, positions, cache = read_prompts(model, prompts, PROBE_PREFIX, prefix, pad)
            found = [logits.repeat_interleave(2, dim=0)]
            positions = positions.repeat_interleave(2, dim=0)
            for step in range(2):
                ids = torch.tensor([following[:: 1 - 2 * step] * len(prompts)], device=model.device).view(-1, 1)
                found.append(next_logits_by_levels(model, ids, positions + step, cache))
                # The hypotheses of each line change places.
                cache.follow(torch.arange(len(ids), device=model.device).view(-1, 2).flip(1).flatten())
            return torch.stack(found, dim=1)

    with torch.inference_mode():
        alone = torch.stack(
            [
                model(torch.tensor([[*prompt, token, token]], device=model.device), use_cache=False)
                .logits[0, -3:]
                .float()
                for prompt in prompts
                for token in following
            ]
        ).float()
    expected = alone.clone()
    # After the change of places, rows hold the tokens of their neighbours.
    expected[:, 2] = alone[:, 2].view(-1, 2, alone.shape[-1]).flip(1).flatten(0, 1)
    return _agree(model, expected, logits_by_levels)


def probe_contrastive(model: PreTrainedModel, pad: int) -> bool:
    """Whether contrastive decoding gives the same logits for a batch of padded prompts as for each prompt alone."""
    prompts = _probe_prompts(model)
    following = prompts[0][-1]

    def logits_of(batch: Sequence[Sequence[int]]) -> Tensor:
        ids, mask = left_padded(batch, pad, model.device)
        cache = DynamicCache(config=model.config)
        found = []
        for _ in range(2):
            positions = mask.cumsum(-1).sub(1).clamp(min=0)[:, -ids.shape[1] :]
            with torch.inference_mode():
                found.append(next_logits(model, ids, mask, positions, cache))
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
