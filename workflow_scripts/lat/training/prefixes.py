"""Sequences in one row, in which the tokens that several sequences begin with are present, and computed, only once.

The prompts of a benchmark begin with the same sentence, and those of one direction with the same instruction. The
tokens of a micro-batch therefore form a tree: a run of tokens that sequences share is continued by the runs in which
they differ. Each run is in the row once. Only attention mixes tokens, and position ids say where a token is in its
sequence. Attention is computed run by run: the tokens of a run attend to the runs before it, from the start of the
sequence on, and to the earlier tokens of the run itself. Result and gradient are those of the separate sequences,
without padding in the other layers and without attention between sequences.

This needs a model whose attention layers use the interface of transformers. Whether the results are right is decided by
the probe of `layout.py`.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

# The name of this attention in the registry of transformers, and of the attention that it computes.
SHARED, PLAIN = "shared_prefixes", "sdpa"
# Fewer tokens that are saved do not pay for another call of attention.
MIN_SAVED = 64


class Siblings(NamedTuple):
    """Runs of tokens that continue the same run, or the first runs of all sequences.

    Attributes:
        before: (start, end) in the row of the runs that they continue, from the start of the sequence on.
        runs: number of runs.
        length: tokens of the longest run.
    """

    before: tuple[tuple[int, int], ...]
    runs: int
    length: int

    @property
    def depth(self) -> int:
        """Number of tokens before the runs."""
        return sum(end - start for start, end in self.before)


@dataclass
class TokenTree:
    """Where the runs of tokens are in a row.

    Attributes:
        siblings: all sets of runs that continue the same run.
        queries: the place in the row of each token of all runs, one set after another, each run padded to the longest
            of its set with copies of its last token.
        query_places: the place in `queries` of each token of the row.
        keys: as `queries`, but before each run are the tokens of the runs that it continues.
        key_places: the place in `keys` of each token of the row, where it is a token of its own run.
        masks: masks that the attention layers have in common.
    """

    siblings: tuple[Siblings, ...]
    queries: Tensor
    query_places: Tensor
    keys: Tensor
    key_places: Tensor
    masks: dict[tuple[Siblings, int | None], Tensor | None] = field(default_factory=dict)

    def to(self, device: torch.device) -> "TokenTree":
        """Return the tree with its tensors on another device."""
        tensors = (self.queries, self.query_places, self.keys, self.key_places)
        return TokenTree(self.siblings, *(tensor.to(device) for tensor in tensors))

    def mask(self, siblings: Siblings, window: int | None) -> Tensor | None:
        """Return which tokens before a run and of the run its tokens attend to; None if the run alone is causal.

        Args:
            siblings: one of the sets of runs.
            window: to how many tokens a token attends, itself included; None for no limit.
        """
        key = siblings, window
        if key not in self.masks:
            positions = torch.arange(siblings.depth + siblings.length, device=self.keys.device)
            distances = positions[siblings.depth :, None] - positions
            if window is not None and window < len(positions):
                self.masks[key] = (distances >= 0) & (distances < window)
            else:
                self.masks[key] = distances >= 0 if siblings.depth else None
        return self.masks[key]


class Row(NamedTuple):
    """Sequences in one row.

    Attributes:
        tokens: token ids.
        positions: position of each token in its sequence.
        ends: for each sequence, the place in the row after its last token. The tokens of its last run, which it shares
            with no other sequence, end there.
        tree: the runs of the row.
    """

    tokens: list[int]
    positions: list[int]
    ends: list[int]
    tree: TokenTree


def share_prefixes(sequences: Sequence[list[int]], shareable: Sequence[int], min_saved: int = MIN_SAVED) -> Row:
    """Arrange sequences in one row, in which common beginnings are present once.

    Args:
        sequences: token ids of each sequence.
        shareable: for each sequence, how many of its first tokens it may share; fewer than it has.
        min_saved: sequences share a run of tokens if that saves at least this number of tokens.
    """
    beginnings = [sequence[:count] for sequence, count in zip(sequences, shareable, strict=True)]
    tokens: list[int] = []
    positions: list[int] = []
    ends = [0] * len(sequences)
    siblings: list[Siblings] = []
    queries: list[int] = []
    query_places: list[int] = []
    keys: list[int] = []
    key_places: list[int] = []

    def add(members: Sequence[int], before: tuple[tuple[int, int], ...], depth: int) -> None:
        """Add the runs that continue `before`, whose tokens have positions below `depth`, and all runs after them."""
        runs: list[tuple[int, int]] = []
        continued: list[tuple[list[int], int, tuple[int, int]]] = []
        for group in _groups(members, beginnings, depth, min_saved):
            first = sequences[group[0]]
            end = len(first) if len(group) == 1 else _common_length([beginnings[member] for member in group])
            runs.append((len(tokens), len(tokens) + end - depth))
            tokens.extend(first[depth:end])
            positions.extend(range(depth, end))
            if len(group) == 1:
                ends[group[0]] = len(tokens)
            else:
                continued.append((group, end, runs[-1]))
        query_places.extend([0] * (len(tokens) - len(query_places)))
        key_places.extend([0] * (len(tokens) - len(key_places)))
        earlier = [place for start, end in before for place in range(start, end)]
        for similar in _by_length(runs):
            length = similar[0][1] - similar[0][0]
            siblings.append(Siblings(before, len(similar), length))
            for start, end in similar:
                query_places[start:end] = range(len(queries), len(queries) + end - start)
                keys.extend(earlier)
                key_places[start:end] = range(len(keys), len(keys) + end - start)
                padded = [*range(start, end), *[end - 1] * (length - (end - start))]
                queries.extend(padded)
                keys.extend(padded)
        for group, end, run in continued:
            add(group, (*before, run), end)

    add(range(len(sequences)), (), 0)
    tree = TokenTree(tuple(siblings), *map(torch.tensor, (queries, query_places, keys, key_places)))
    return Row(tokens, positions, ends, tree)


def _groups(members: Sequence[int], beginnings: Sequence[list[int]], depth: int, min_saved: int) -> Iterator[list[int]]:
    """Divide sequences that share their first tokens into those that share a further run, and single ones."""
    common = _common_length([beginnings[member] for member in members])
    if len(members) == 1 or (len(members) - 1) * (common - depth) >= min_saved:
        yield list(members)
        return
    by_next_token: dict[int | None, list[int]] = {}
    for member in members:
        rest = beginnings[member][common : common + 1]
        by_next_token.setdefault(rest[0] if rest else None, []).append(member)
    for token, group in by_next_token.items():
        if token is None:
            yield from ([member] for member in group)
        else:
            yield from _groups(group, beginnings, depth, min_saved)


def _by_length(runs: Sequence[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    """Divide runs into sets of similar length, the longest run of a set first, so that attention has little padding."""
    similar: list[tuple[int, int]] = []
    for start, end in sorted(runs, key=lambda run: run[0] - run[1]):
        # A call of attention for each set has a cost, too.
        if len(similar) >= 4 and end - start < 0.75 * (similar[0][1] - similar[0][0]):
            yield similar
            similar = []
        similar.append((start, end))
    yield similar


def _common_length(sequences: Sequence[list[int]]) -> int:
    """Return how many first tokens all sequences have in common."""
    # The first and the last sequence in alphabetical order differ where any two of them do.
    first, last = min(sequences), max(sequences)
    return next((place for place, token in enumerate(first) if token != last[place]), len(first))


def run_with_tree(model: PreTrainedModel, tree: TokenTree, **inputs: Tensor) -> Tensor:
    """Return the last hidden states of the tokens of a row, [1, row length, hidden].

    The model uses the attention of this module from then on, also in its backward pass. Without a tree, that is the
    attention which the model had before.

    Raises:
        NotImplementedError: the attention of the model cannot be replaced.
    """
    if model.config._attn_implementation == PLAIN and model._can_set_attn_implementation():
        model.set_attn_implementation(SHARED)
    if model.config._attn_implementation != SHARED:
        raise NotImplementedError(f"{model.config.model_type} with the attention {model.config._attn_implementation}")
    # Models do not build a mask if they are given one with four dimensions. This attention does not look at it.
    mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=tree.keys.device)
    return model.base_model(attention_mask=mask, token_tree=tree, use_cache=False, **inputs).last_hidden_state


@contextmanager
def restored_attention(model: PreTrainedModel) -> Iterator[None]:
    """Let a model have the same attention afterwards as before."""
    attention = model.config._attn_implementation
    try:
        yield
    finally:
        if model.config._attn_implementation != attention:
            model.set_attn_implementation(attention)


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    token_tree: TokenTree | None = None,
    **settings: Any,
) -> tuple[Tensor, None]:
    """Compute attention within the sequences of a row; the parameters are those of `sdpa_attention_forward`.

    Args:
        module: the attention layer.
        query: [1, heads, row length, head size].
        key: the same, with the number of heads of keys and values.
        value: as `key`.
        attention_mask: ignored if there is a tree.
        token_tree: the runs of the row. None: computes `sdpa`.
        settings: scaling, dropout, sliding window.

    Returns:
        The result, [1, row length, heads, head size].
    """
    if token_tree is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **settings)
    query, key, value = (states[0].transpose(0, 1) for states in (query, key, value))
    queries = _Runs.apply(query, token_tree.queries, token_tree.query_places, ())
    keys, values = (
        _Runs.apply(states, token_tree.keys, token_tree.key_places, token_tree.siblings) for states in (key, value)
    )
    query_sizes = [siblings.runs * siblings.length for siblings in token_tree.siblings]
    key_sizes = [siblings.runs * (siblings.depth + siblings.length) for siblings in token_tree.siblings]
    # One split, because the gradient of each slice would have the size of the whole.
    split = zip(queries.split(query_sizes), keys.split(key_sizes), values.split(key_sizes), strict=True)
    results = []
    for siblings, parts in zip(token_tree.siblings, split, strict=True):
        query, key, value = (part.unflatten(0, (siblings.runs, -1)).transpose(1, 2) for part in parts)
        mask = token_tree.mask(siblings, settings.get("sliding_window"))
        results.append(sdpa_attention_forward(module, query, key, value, mask, **settings)[0].flatten(0, 1))
    return _Row.apply(torch.cat(results), token_tree.query_places)[None], None


class _Runs(torch.autograd.Function):
    """Copy the tokens of a row to all runs they belong to. Padding has no gradient, since no token sees it."""

    @staticmethod
    def forward(ctx: Any, row: Tensor, index: Tensor, places: Tensor, siblings: tuple[Siblings, ...]) -> Tensor:
        ctx.places, ctx.siblings = places, siblings
        return row.index_select(0, index)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        row_gradient = gradient.index_select(0, ctx.places)
        set_start = 0
        for siblings in ctx.siblings:
            set_end = set_start + siblings.runs * (siblings.depth + siblings.length)
            runs = gradient[set_start:set_end].unflatten(0, (siblings.runs, -1))
            depth = 0
            for start, end in siblings.before:
                row_gradient[start:end] += runs[:, depth : depth + end - start].sum(0)
                depth += end - start
            set_start = set_end
        return row_gradient, None, None, None


class _Row(torch.autograd.Function):
    """Copy the tokens of padded runs to their places in the row."""

    @staticmethod
    def forward(ctx: Any, runs: Tensor, places: Tensor) -> Tensor:
        ctx.places, ctx.shape = places, runs.shape
        return runs.index_select(0, places)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return gradient.new_zeros(ctx.shape).index_copy_(0, ctx.places, gradient), None


AttentionInterface.register(SHARED, attend)
AttentionMaskInterface.register(SHARED, sdpa_mask)
