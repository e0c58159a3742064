"""Search in which keys and values are stored once for all rows that share them.

The tokens that a row looks at have three levels: the prefix of all prompts (instruction and demonstrations), the rest
of its prompt, which the hypotheses of a line share, and its own new tokens. Attention is computed for each level, for
all rows that share its keys at once, and the results are combined by their normalisers, which gives exactly the
attention over all tokens. Nothing is repeated for the hypotheses of a line, and only new tokens are moved when
hypotheses change places.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from transformers import AttentionInterface, PreTrainedModel

from .beams import Beams
from .plain import left_padded

ATTENTION = "levels"
# Keys and values of each layer, [rows, heads, tokens, size of a head].
Layers = dict[int, tuple[Tensor, Tensor]]


class LevelCache:
    """Keys and values of a batch of lines, in the place of a cache of transformers.

    Args:
        prefix: keys and values of the tokens that all prompts start with; empty without such tokens.
        padding: 1 for the tokens of the rest of each prompt, 0 for padding before them, [lines, tokens].
        dtype: type of the keys and values.
    """

    is_compileable = False

    def __init__(self, prefix: Layers, padding: Tensor, dtype: torch.dtype) -> None:
        self.prefix, self.prompts, self.new = prefix, Layers(), Layers()
        self.reads_prompts = True
        visible = padding.bool()[:, None, None, :]
        # Padding looks at itself, since the normaliser of a token that looks at nothing is not finite.
        length = padding.shape[1]
        square = torch.ones((length, length), dtype=torch.bool, device=padding.device)
        within = (visible & square.tril()) | torch.eye(length, dtype=torch.bool, device=padding.device)
        self.mask, self.causal_mask = _additive(visible, dtype), _additive(within, dtype)

    def update(self, keys: Tensor, values: Tensor, layer: int, *_: object, **__: object) -> tuple[Tensor, Tensor]:
        """Store the keys and values of new tokens; the interface of caches in transformers."""
        stored = self.prompts if self.reads_prompts else self.new
        if layer in stored:
            keys, values = (
                torch.cat([old, new], dim=2) for old, new in zip(stored[layer], (keys, values), strict=True)
            )
        stored[layer] = keys, values
        return keys, values

    def get_seq_length(self, layer: int = 0) -> int:
        """Number of stored tokens per row; the interface of caches in transformers."""
        return sum(level[layer][0].shape[2] for level in (self.prefix, self.prompts, self.new) if layer in level)

    def keep(self, lines: Tensor) -> None:
        """Drop all other lines."""
        self.mask = self.mask[lines]
        self.prompts = _rows_of(self.prompts, lines)

    def follow(self, rows: Tensor) -> None:
        """Let row i of the new tokens continue those of `rows[i]`."""
        self.new = _rows_of(self.new, rows)

    def attend(self, layer: int, query: Tensor, scaling: float) -> Tensor:
        """Attention of queries, [rows, heads, tokens, size], to all levels, in the same shape."""
        rows, heads, tokens, size = query.shape
        key_heads = self.prompts[layer][0].shape[1]
        # Query heads that share a key head become tokens of one head.
        query = query.reshape(rows, key_heads, -1, size)
        parts = []
        if self.prefix:
            parts.append(_shared_attention(query, *self.prefix[layer], None, scaling))
        if self.reads_prompts:
            mask = self.causal_mask.repeat(1, 1, heads // key_heads, 1)
            parts.append(_attention(query, *self.prompts[layer], mask, scaling))
        else:
            parts.append(_shared_attention(query, *self.prompts[layer], self.mask, scaling))
            parts.append(_attention(query, *self.new[layer], None, scaling))
        shares = torch.stack([normaliser for _, normaliser in parts]).softmax(dim=0).unsqueeze(-1)
        output = sum(share * values for share, (values, _) in zip(shares, parts, strict=True))
        return output.to(query.dtype).view(rows, heads, tokens, size)


def _rows_of(layers: Layers, rows: Tensor) -> Layers:
    return {layer: (keys[rows], values[rows]) for layer, (keys, values) in layers.items()}


def _additive(visible: Tensor, dtype: torch.dtype) -> Tensor:
    return torch.zeros(visible.shape, dtype=dtype, device=visible.device).masked_fill_(~visible, -torch.inf)


def _shared_attention(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scaling: float
) -> tuple[Tensor, Tensor]:
    """Attention to keys of fewer rows than the queries have: neighbouring rows of queries share a row of keys."""
    rows, heads, tokens, size = query.shape
    owners = keys.shape[0]
    together = query.view(owners, -1, heads, tokens, size).transpose(1, 2).reshape(owners, heads, -1, size)
    output, normaliser = _attention(together, keys, values, mask, scaling)
    output = output.reshape(owners, heads, -1, tokens, size).transpose(1, 2).reshape(rows, heads, tokens, size)
    normaliser = normaliser.reshape(owners, heads, -1, tokens).transpose(1, 2).reshape(rows, heads, tokens)
    return output, normaliser


def has_kernel(query: Tensor, keys: Tensor, values: Tensor) -> bool:
    """Whether PyTorch has one kernel for the attention of these tensors that returns the normaliser."""
    return query.device.type == "cpu" and keys.shape[-1] == values.shape[-1]


def _attention(
    query: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None, scaling: float
) -> tuple[Tensor, Tensor]:
    """Attention, and the logarithm of the sum of its exponentials."""
    if has_kernel(query, keys, values):
        # The same computation in one kernel, which never stores the scores. No public function returns the normaliser.
        output, normaliser = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            query, keys, values, 0.0, False, attn_mask=mask, scale=scaling
        )
        return output, normaliser
    scores = (query @ keys.transpose(2, 3)).float() * scaling
    if mask is not None:
        scores = scores + mask
    normaliser = scores.logsumexp(dim=-1)
    return (scores - normaliser[..., None]).exp().to(values.dtype) @ values, normaliser


def _attend(
    module: torch.nn.Module,
    query: Tensor,
    keys: Tensor,
    values: Tensor,
    mask: Tensor | None,
    scaling: float | None = None,
    softcap: float | None = None,
    levels: LevelCache | None = None,
    **_: object,
) -> tuple[Tensor, None]:
    """The interface of attention implementations in transformers."""
    if levels is None or softcap is not None:
        raise NotImplementedError("this attention is not computed by levels")
    scaling = query.shape[-1] ** -0.5 if scaling is None else scaling
    return levels.attend(module.layer_idx, query, scaling).transpose(1, 2), None


AttentionInterface.register(ATTENTION, _attend)


@contextmanager
def attention_by_levels(model: PreTrainedModel) -> Iterator[None]:
    """Compute the attention of a model by levels."""
    usual = model.config._attn_implementation
    model.set_attn_implementation(ATTENTION)
    try:
        yield
    finally:
        model.set_attn_implementation(usual)


def next_logits(model: PreTrainedModel, ids: Tensor, positions: Tensor, cache: LevelCache) -> Tensor:
    """Logits of the tokens that follow, [rows, vocabulary]; keys and values of `ids` are added to the cache."""
    output = model(
        input_ids=ids,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
        levels=cache,
    )
    return output.logits[:, -1].float()


def read_prefix(model: PreTrainedModel, prefix: Sequence[int]) -> Layers:
    """Keys and values of a prefix."""
    ids = torch.tensor([prefix], device=model.device)
    cache = LevelCache({}, torch.ones_like(ids), model.dtype)
    next_logits(model, ids, torch.arange(len(prefix), device=model.device)[None], cache)
    return cache.prompts


def read_prompts(
    model: PreTrainedModel, prompts: Sequence[Sequence[int]], shared: int, prefix: Layers, pad: int
) -> tuple[Tensor, Tensor, LevelCache]:
    """Read what follows the prefix in each prompt.

    Args:
        model: the model.
        prompts: token ids of each prompt.
        shared: number of leading tokens of each prompt that `prefix` has.
        prefix: keys and values of these tokens.
        pad: id of the padding token.

    Returns:
        Logits of the tokens that follow, positions of these tokens, and the cache.
    """
    ids, padding = left_padded([prompt[shared:] for prompt in prompts], pad, model.device)
    positions = shared + padding.cumsum(-1).sub(1).clamp(min=0)
    cache = LevelCache(prefix, padding, model.dtype)
    logits = next_logits(model, ids, positions, cache)
    cache.reads_prompts = False
    return logits, positions[:, -1:] + 1, cache


def boosted(logits: Tensor, boost: Tensor | None) -> Tensor:
    """Return logits, [rows, vocabulary], with a language boost if there is one, [vocabulary]."""
    return logits if boost is None else logits + boost


def best_tokens(logits: Tensor, beams: Beams) -> tuple[Tensor, Tensor]:
    """Return the most likely next tokens of each row: scores and ids, [rows, candidates].

    Scores are log-probabilities. In a greedy search, the log-probability of the best token of the row is subtracted: it
    compares tokens of the same row only, and has no use for the sum over the vocabulary. Sums of such scores over the
    tokens of an output stay near zero, where fp32 tells the smallest differences apart.
    """
    if beams.beam == 1:
        best = logits.topk(beams.candidates)
        return best.values - best.values[:, :1], best.indices
    best = logits.log_softmax(-1).topk(beams.candidates)
    return best.values, best.indices


@torch.inference_mode()
def beam_search_by_levels(
    model: PreTrainedModel,
    prompts: Sequence[Sequence[int]],
    beam: int,
    max_new_tokens: int,
    shared: int,
    prefix: Layers,
    ends: Sequence[int],
    pad: int,
    early_stopping: bool,
    boost: Tensor | None = None,
) -> list[list[int]]:
    """Decode a batch of prompts with beam search; finished lines leave the batch.

    Args:
        model: in evaluation mode.
        prompts: token ids of each prompt.
        beam: number of beams; 1 is greedy search.
        max_new_tokens: maximum length of an output, in tokens.
        shared: number of leading tokens of each prompt that `prefix` has.
        prefix: keys and values of these tokens.
        ends: ids of the tokens that end an output.
        pad: id of the padding token.
        early_stopping: see `Beams`.
        boost: is added to the logits of every token, [vocabulary].

    Returns:
        The token ids that follow each prompt, including the end token if it was generated.
    """
    with attention_by_levels(model):
        logits, positions, cache = read_prompts(model, prompts, shared, prefix, pad)
        beams = Beams([max_new_tokens] * len(prompts), beam, ends, early_stopping, model.device)
        log_probabilities, candidates = best_tokens(boosted(logits, boost), beams)
        # So far, the hypotheses of a line are the same.
        log_probabilities, candidates = (
            found[:, None].expand(-1, beam, -1) for found in (log_probabilities, candidates)
        )
        outputs: list[list[int]] = [[] for _ in prompts]
        lines = list(range(len(prompts)))  # indices of the lines that are still in the batch
        while True:
            parents, is_done = beams.advance(log_probabilities, candidates)
            done = is_done.tolist()
            if any(done):
                for place, line in enumerate(lines):
                    if done[place]:
                        outputs[line] = beams.best(place)
                lines = [line for line, is_line_done in zip(lines, done, strict=True) if not is_line_done]
                if not lines:
                    return outputs
                remaining = (~is_done).nonzero().flatten()
                beams.keep(remaining)
                cache.keep(remaining)
                positions, parents = positions[remaining], parents[remaining]
            else:
                remaining = torch.arange(len(lines), device=model.device)
            if cache.new:
                cache.follow((remaining[:, None] * beam + parents).flatten())
            ids = beams.last_tokens().view(-1, 1)
            logits = next_logits(model, ids, positions.repeat_interleave(beam, dim=0), cache)
            positions = positions + 1
            log_probabilities, candidates = (
                found.view(len(lines), beam, -1) for found in best_tokens(boosted(logits, boost), beams)
            )
