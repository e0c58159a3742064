"""Search with `generate` of transformers, and contrastive decoding against other instructions for the same input."""

from collections.abc import Sequence

import torch
from torch import Tensor
from transformers import (
    DynamicCache,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from .requests import EncodedRequest

# Finished lines are removed from a contrastive batch when at most this share of its lines is unfinished.
COMPACTION_SHARE = 0.9


def left_padded(prompts: Sequence[Sequence[int]], pad: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Token ids with padding before them, and the attention mask, [prompts, tokens]."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[pad] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    mask = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    return ids, mask


class Boost(LogitsProcessor):
    """Adds a language boost, [vocabulary], to the logits in a search of transformers."""

    def __init__(self, boost: Tensor) -> None:
        self._boost = boost

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        """Return the logarithms of the probabilities with the boost, [rows, vocabulary].

        `scores` are logits in a greedy search and logarithms of probabilities in a beam search.
        """
        return (scores + self._boost).log_softmax(-1)


@torch.inference_mode()
def beam_search(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    beam: int,
    max_new_tokens: int,
    tokenizer: PreTrainedTokenizerBase,
    early_stopping: bool = False,
    ends: Sequence[int] = (),
    boost: Tensor | None = None,
) -> list[list[int]]:
    """Decode a batch of prompts with the beam search of transformers.

    Args:
        model: in evaluation mode.
        prompts: token ids of each prompt.
        beam: number of beams; 1 is greedy search.
        max_new_tokens: maximum length of an output, in tokens.
        tokenizer: the tokenizer of the model.
        early_stopping: end the search as soon as there are as many finished hypotheses as beams.
        ends: ids of the tokens that end an output; by default, the end token of the tokenizer.
        boost: is added to the logits of every token, [vocabulary].

    Returns:
        The token ids that follow each prompt, including the end token if it was generated.
    """
    ids, mask = left_padded(prompts, tokenizer.pad_token_id, model.device)
    generation = GenerationConfig(
        num_beams=beam,
        do_sample=False,
        early_stopping=early_stopping and beam > 1,
        max_new_tokens=max_new_tokens,
        eos_token_id=list(ends) or tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
    )
    processors = LogitsProcessorList([] if boost is None else [Boost(boost)])
    output = model.generate(ids, attention_mask=mask, generation_config=generation, logits_processor=processors)
    return output[:, ids.shape[1] :].tolist()


def next_logits(model: PreTrainedModel, ids: Tensor, mask: Tensor, positions: Tensor, cache: DynamicCache) -> Tensor:
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
    ends: Sequence[int],
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
        ends: ids of the tokens that end an output.
        pad: id of the padding token.

    Returns:
        The token ids that follow each prompt, including the end token if it was generated.
    """
    prompts_per_line = len(requests[0])
    prompts = [prompt for request in requests for prompt, _ in request]
    weights = torch.tensor([[weight for _, weight in request] for request in requests], device=model.device)
    ids, mask = left_padded(prompts, pad, model.device)
    cache = DynamicCache(config=model.config)
    positions = mask.cumsum(-1).sub(1).clamp(min=0)
    outputs: list[list[int]] = [[] for _ in requests]
    lines = torch.arange(len(requests), device=model.device)  # indices of the lines that are still in the batch
    unfinished = torch.ones_like(lines, dtype=torch.bool)
    for _ in range(max_new_tokens):
        logits = next_logits(model, ids, mask, positions, cache)
        chosen = contrastive_choice(logits.float().softmax(-1).view(len(lines), prompts_per_line, -1), weights)
        for line, token, is_unfinished in zip(lines.tolist(), chosen.tolist(), unfinished.tolist(), strict=True):
            if is_unfinished:
                outputs[line].append(token)
        for end in ends:
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
