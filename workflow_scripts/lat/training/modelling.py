"""Packed sequences, and the forward pass of training: the loss of the response tokens only."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from .head import HeadLoss

IGNORED = -100


@dataclass(frozen=True)
class TokenSequence:
    """Prompt and response as token ids; `conflicting` if its response counts as unlikelihood."""

    prompt: list[int]
    response: list[int]
    conflicting: bool = False

    def __len__(self) -> int:
        return len(self.prompt) + len(self.response)


def pack(sequences: Iterable[TokenSequence], pad: int, single_row: bool) -> dict[str, Tensor]:
    """Tensors in which sequences follow one another in rows, so that hardly a token is padding.

    Position ids start at 0 with each sequence, by which the model keeps them from attending to one another. The free
    end of a row is filled with a sequence of padding.

    Args:
        sequences: each with at least one prompt token, which predicts the first response token.
        pad: id of the padding token.
        single_row: pack everything into one row, as flash attention needs it, instead of into rows as long as the
            longest sequence, where attention, which costs the square of a row, is cheapest.

    Returns:
        `input_ids`, `position_ids`, `labels` (-100 outside responses), int64, and `conflicting`, bool, which is True
        where a label belongs to a conflicting sequence; all [rows, row length].
    """
    longest_first = sorted(sequences, key=len, reverse=True)
    capacity = sum(map(len, longest_first)) if single_row else len(longest_first[0])
    rows: list[list[TokenSequence]] = []
    free: list[int] = []
    for sequence in longest_first:
        row = next((number for number, room in enumerate(free) if room >= len(sequence)), len(rows))
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
    for number, members in enumerate(rows):
        start = 0
        for sequence in members:
            middle, end = start + len(sequence.prompt), start + len(sequence)
            tensors["input_ids"][number, start:end] = torch.tensor(sequence.prompt + sequence.response)
            tensors["position_ids"][number, start:end] = torch.arange(end - start)
            tensors["labels"][number, middle:end] = torch.tensor(sequence.response)
            tensors["conflicting"][number, middle:end] = sequence.conflicting
            start = end
        tensors["position_ids"][number, start:] = torch.arange(length - start)
    return tensors


class ResponseLoss(nn.Module):
    """Both losses over one batch of packed sequences, conflicting ones included, in a single forward.

    It wraps the model so that everything, the language-model head included, runs inside the training engine's own
    forward: under ZeRO-3 a head applied outside would see an empty weight. The head is applied to positions that
    predict a response token only; logits of prompts are never computed.

    Args:
        model: a causal language model.
        alpha: weight of the unlikelihood loss.

    Raises:
        InputError: the model's head is of an unknown kind, see `HeadLoss`.
    """

    def __init__(self, model: PreTrainedModel, alpha: float) -> None:
        super().__init__()
        self.model = model
        self.alpha = alpha
        self.head = HeadLoss(model)

    def forward(
        self, input_ids: Tensor, position_ids: Tensor, labels: Tensor, conflicting: Tensor
    ) -> tuple[Tensor, Tensor]:
        """The objective of `losses`, summed over response tokens instead of averaged; see `pack` for the inputs.

        Returns:
            likelihood + alpha * unlikelihood, an fp32 scalar; and the two parts, fp32 [2], without gradient.
        """
        # No attention mask: the library builds the packed one, sliding windows included, from the position ids.
        hidden = self.model.base_model(
            input_ids=input_ids, position_ids=position_ids, use_cache=False
        ).last_hidden_state
        predicts = labels[:, 1:] != IGNORED
        unlikely = conflicting[:, 1:][predicts]
        total, losses = self.head(hidden[:, :-1][predicts], labels[:, 1:][predicts], unlikely, self.alpha)
        return total, torch.stack([losses[~unlikely].sum(), losses[unlikely].sum()])
