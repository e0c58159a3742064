"""Packed sequences, and the forward pass of training, which computes the losses of the response tokens only."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .head import HeadLoss
from .layout import Layout
from .prefixes import TokenTree, run_with_tree, share_prefixes

IGNORED = -100  # label of tokens outside responses


@dataclass(frozen=True)
class TokenSequence:
    """Prompt and response as token ids; the loss of a `conflicting` sequence is unlikelihood."""

    prompt: list[int]
    response: list[int]
    conflicting: bool = False

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


def pack(sequences: Iterable[TokenSequence], pad: int, layout: Layout, numbered: bool = False) -> dict[str, Any]:
    """Arrange sequences in rows, in packed layouts with little padding.

    Position ids start at 0 for each sequence; from them the model sees where a sequence begins, and lets no sequence
    attend to another. The free end of a row is filled with a sequence of padding tokens.

    Args:
        sequences: sequences with at least one prompt token each, which predicts the first response token.
        pad: id of the padding token.
        layout: how the sequences share rows, see `layout.py`.
        numbered: whether to tell which response a token belongs to.

    Returns:
        `input_ids`, `position_ids` and `labels` (-100 outside responses), int64, and `conflicting`, bool, which is True
        for the labels of conflicting sequences; all of shape [rows, row length]. The layout `padded` has no
        `position_ids`, since the model's own are right; the layout `tree` also has the `tree` of the only row. If
        `numbered`, also `numbers`, int64 of the same shape: the index of the sequence that a label belongs to, -100
        outside responses.
    """
    sequences = list(sequences)
    if layout == "tree":
        return _pack_tree(sequences, numbered)
    number_of = {id(sequence): number for number, sequence in enumerate(sequences)}
    longest_first = sorted(sequences, key=len, reverse=True)
    # Rows as long as the longest sequence make attention cheapest: its cost grows with the square of their length.
    capacity = sum(map(len, longest_first)) if layout == "single row" else len(longest_first[0])
    rows: list[list[TokenSequence]] = []
    free: list[int] = []
    for sequence in longest_first:
        fitting = (number for number, room in enumerate(free) if room >= len(sequence) and layout != "padded")
        row = next(fitting, len(rows))
        if row == len(rows):
            rows.append([])
            free.append(capacity)
        rows[row].append(sequence)
        free[row] -= len(sequence)
    length = capacity - min(free)
    shape = (len(rows), length)
    tensors = {
        "input_ids": torch.full(shape, pad),
        "position_ids": torch.zeros(shape, dtype=torch.long),
        "labels": torch.full(shape, IGNORED),
        "conflicting": torch.zeros(shape, dtype=torch.bool),
    }
    if numbered:
        tensors["numbers"] = torch.full(shape, IGNORED)
    for number, members in enumerate(rows):
        start = 0
        for sequence in members:
            middle, end = start + len(sequence.prompt), start + len(sequence)
            tensors["input_ids"][number, start:end] = torch.tensor(sequence.prompt + sequence.response)
            tensors["position_ids"][number, start:end] = torch.arange(end - start)
            tensors["labels"][number, middle:end] = torch.tensor(sequence.response)
            tensors["conflicting"][number, middle:end] = sequence.conflicting
            if numbered:
                tensors["numbers"][number, middle:end] = number_of[id(sequence)]
            start = end
        tensors["position_ids"][number, start:] = torch.arange(length - start)
    if layout == "padded":
        del tensors["position_ids"]
    return tensors


def _pack_tree(sequences: Sequence[TokenSequence], numbered: bool) -> dict[str, Any]:
    """Arrange sequences in one row in which common beginnings of prompts are present once, see `prefixes.py`."""
    # The last token of a prompt predicts the response of this sequence alone.
    row = share_prefixes(
        [sequence.prompt + sequence.response for sequence in sequences],
        [len(sequence.prompt) - 1 for sequence in sequences],
    )
    labels = torch.full((1, len(row.tokens)), IGNORED)
    conflicting = torch.zeros((1, len(row.tokens)), dtype=torch.bool)
    numbers = torch.full((1, len(row.tokens)), IGNORED)
    for number, (sequence, end) in enumerate(zip(sequences, row.ends, strict=True)):
        response = slice(end - len(sequence.response), end)
        labels[0, response] = torch.tensor(sequence.response)
        conflicting[0, response] = sequence.conflicting
        numbers[0, response] = number
    return {
        "input_ids": torch.tensor([row.tokens]),
        "position_ids": torch.tensor([row.positions]),
        "labels": labels,
        "conflicting": conflicting,
        "tree": row.tree,
        **({"numbers": numbers} if numbered else {}),
    }


def response_states(
    model: PreTrainedModel,
    input_ids: Tensor,
    labels: Tensor,
    position_ids: Tensor | None = None,
    tree: TokenTree | None = None,
) -> tuple[Tensor, Tensor]:
    """Run a model on what `pack` returns, without its head.

    Returns:
        The hidden states that predict response tokens, [tokens, hidden], and which positions after the first one of a
        row are response tokens, bool [rows, row length - 1].
    """
    inputs = {"input_ids": input_ids} | ({} if position_ids is None else {"position_ids": position_ids})
    if tree is not None:
        hidden = run_with_tree(model, tree, **inputs)
    else:
        # No attention mask is given: transformers builds the mask of packed sequences, sliding windows included, from
        # the position ids.
        hidden = model.base_model(**inputs, use_cache=False).last_hidden_state
    is_response = labels[:, 1:] != IGNORED
    return hidden[:, :-1][is_response], is_response


class ResponseLoss(nn.Module):
    """Compute both losses of a batch of packed sequences, conflicting ones included, in a single forward pass.

    The module wraps the model, so that the language-model head also runs inside the forward pass of the training
    engine. Outside of it, the weight of the head would be empty under ZeRO-3. The head is applied only to positions
    that predict a response token; the logits of prompts are never computed.

    Args:
        model: a Hugging Face causal LM.
        alpha: weight of the unlikelihood loss.

    Raises:
        InputError: the model computes its logits in an unsupported way, see `HeadLoss`.
    """

    # The columns of the parts in the step log, and the key of the config by which the second one is multiplied.
    columns = ("likelihood_loss", "unlikelihood_loss")
    weight_key = "alpha"

    def __init__(self, model: PreTrainedModel, alpha: float) -> None:
        super().__init__()
        self.model = model
        self.alpha = alpha
        self.head = HeadLoss(model)

    @property
    def factors(self) -> tuple[float, ...]:
        """Factors of the parts in the objective."""
        return 1.0, self.alpha

    def forward(
        self,
        input_ids: Tensor,
        labels: Tensor | None = None,
        conflicting: Tensor | None = None,
        position_ids: Tensor | None = None,
        tree: TokenTree | None = None,
        scale: float = 1.0,
    ) -> Any:
        """Compute the objective of `losses.py`, but summed over the response tokens, not averaged.

        The arguments are what `pack` returns, and the factor `scale`.

        Returns:
            scale * (likelihood + alpha * unlikelihood), an fp32 scalar; and the two parts without factors, fp32 [2],
            without gradient. Without labels, the logits of all positions, fp32 [rows, row length, vocabulary].
        """
        if labels is None or conflicting is None:
            return self.model(input_ids=input_ids, use_cache=False).logits.float()
        hidden, is_response = response_states(self.model, input_ids, labels, position_ids, tree)
        is_conflicting = conflicting[:, 1:][is_response]
        total, losses = self.head(hidden, labels[:, 1:][is_response], is_conflicting, self.alpha, scale)
        return total, torch.stack([losses[~is_conflicting].sum(), losses[is_conflicting].sum()])
