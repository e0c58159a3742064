"""Pairs of a chosen and a rejected response to one prompt, and the forward pass that computes their objective."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel, PreTrainedTokenizerBase

from ..files import InputError, read_jsonl
from .head import SequenceHead
from .hyperparameters import Preference
from .layout import Layout
from .modelling import TokenSequence, pack, response_states
from .preferences import is_preferred, pair_losses
from .prefixes import TokenTree
from .samples import EncodedSample, encode_sample, leave_out_long


@dataclass(frozen=True, kw_only=True)
class EncodedPair(EncodedSample):
    """Token ids of a prompt, of the response that is chosen, and of the one that is rejected.

    Attributes:
        rejected: the rejected response and what ends it.
        rejected_prompt: the prompt before the rejected response, where it has other tokens than before the chosen one,
            since prompt and response are encoded as one string.
        reference: sum of log p of the chosen and of the rejected response by the model before the training.
    """

    rejected: list[int]
    rejected_prompt: list[int] | None = None
    reference: tuple[float, float] = (0.0, 0.0)

    def sequences(self) -> list[TokenSequence]:
        """Return the prompt with the chosen response, and with the rejected one."""
        return [
            TokenSequence(self.prompt, self.response),
            TokenSequence(self.rejected_prompt or self.prompt, self.rejected),
        ]


def read_pairs(path: Path, tokenizer: PreTrainedTokenizerBase, max_length: int) -> tuple[list[EncodedPair], int]:
    """Encode the samples of a JSON-lines file with the keys `prompt`, `response` and `rejected`.

    `read_samples` says how a prompt and a response are encoded.

    Pairs with a response that is longer than `max_length` tokens with its prompt are left out.

    Returns:
        The pairs, and how many were left out.

    Raises:
        InputError: a key is missing, or no pair is short enough.
    """
    try:
        pairs = [_encode_pair(row, tokenizer) for row in read_jsonl(path)]
    except KeyError as error:
        raise InputError(f"{path}: a sample has no {error}; rebuild the file") from None
    return leave_out_long(path, pairs, max_length)


def _encode_pair(row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> EncodedPair:
    chosen = encode_sample(row, tokenizer)
    rejected = encode_sample({**row, "response": row["rejected"]}, tokenizer)
    return EncodedPair(
        prompt=chosen.prompt,
        response=chosen.response,
        rejected=rejected.response,
        rejected_prompt=rejected.prompt if rejected.prompt != chosen.prompt else None,
    )


def pair_tensors(
    pairs: Sequence[EncodedPair], batch: Sequence[EncodedSample], pad: int, layout: Layout, device: torch.device
) -> dict[str, Any]:
    """Arrange pairs as the inputs of `PreferenceLoss`.

    Args:
        pairs: the pairs of a micro-batch.
        batch: all pairs of the global batch.
        pad: id of the padding token.
        layout: how the sequences share rows.
        device: where the model is.
    """
    # The chosen responses first.
    sequences = [pair.sequences()[place] for place in range(2) for pair in pairs]
    tensors = pack(sequences, pad, layout, numbered=True)
    del tensors["conflicting"]
    tensors["reference"] = torch.tensor([pair.reference for pair in pairs], dtype=torch.float32).t()
    inputs = {name: tensor.to(device) for name, tensor in tensors.items()}
    return inputs | {"tokens_per_pair": sum(len(pair.response) for pair in batch) / len(batch)}


class PreferenceLoss(nn.Module):
    """Compute the objective of `preferences.py` of packed pairs, whose responses are computed in one forward pass.

    Like `ResponseLoss`, it wraps the model, and applies the head only to positions that predict a response token.

    Args:
        model: a Hugging Face causal LM.
        preference: the objective.

    Raises:
        InputError: the model computes its logits in an unsupported way, see `HeadLoss`.
    """

    # The columns of the parts in the step log, and the key of the config by which the second one is multiplied.
    columns = ("likelihood_loss", "preference_loss", "accuracy")
    weight_key = "weight"

    def __init__(self, model: PreTrainedModel, preference: Preference) -> None:
        super().__init__()
        self.model = model
        self.preference = preference
        self.head = SequenceHead(model)

    @property
    def factors(self) -> tuple[float, ...]:
        """Factors of the parts in the objective."""
        return self.preference.likelihood, self.preference.weight, 0.0

    def forward(
        self,
        input_ids: Tensor,
        labels: Tensor | None = None,
        numbers: Tensor | None = None,
        reference: Tensor | None = None,
        position_ids: Tensor | None = None,
        tree: TokenTree | None = None,
        tokens_per_pair: float = 1.0,
        scale: float = 1.0,
        only_sums: bool = False,
    ) -> Any:
        """Compute the objective, with sums in place of means.

        The arguments are what `pair_tensors` returns, the factor `scale`, and whether only sums are wanted.

        Returns:
            scale * (likelihood * NLL + weight * tokens_per_pair * preference losses), an fp32 scalar, where the losses
            are summed over the tokens of the chosen responses and over the pairs; and without factors and gradient,
            fp32 [3], the sum of the NLL and, times `tokens_per_pair`, that of the preference losses and the number of
            pairs whose chosen response is preferred. A division by the number of chosen tokens makes all three means.
            If `only_sums`, the sums of log p of the responses, fp32 [2, pairs]. Without labels, the logits of all
            positions, fp32 [rows, row length, vocabulary].
        """
        if labels is None or numbers is None or reference is None:
            return self.model(input_ids=input_ids, use_cache=False).logits.float()
        hidden, is_response = response_states(self.model, input_ids, labels, position_ids, tree)
        members = numbers[:, 1:][is_response]
        shape = reference.shape
        lengths = torch.bincount(members, minlength=reference.numel())
        found: dict[str, Tensor] = {}

        def weigh(log_probabilities: Tensor) -> Tensor | None:
            sums = log_probabilities.new_zeros(reference.numel()).index_add_(0, members, log_probabilities)
            if only_sums:
                found["sums"] = sums.view(shape)
                return None
            with torch.enable_grad():
                sums.requires_grad_()
                given = sums.view(shape), lengths.view(shape), reference, self.preference
                likelihood, preference = -sums.view(shape)[0].sum(), tokens_per_pair * pair_losses(*given).sum()
                loss = scale * (self.preference.likelihood * likelihood + self.preference.weight * preference)
                (gradient,) = torch.autograd.grad(loss, sums)
            preferred = tokens_per_pair * is_preferred(*given).sum()
            found["loss"] = loss.detach()
            found["parts"] = torch.stack([likelihood, preference, preferred]).detach()
            return -gradient[members]

        linear = self.head(hidden, labels[:, 1:][is_response], weigh)
        if only_sums:
            return found["sums"]
        # The value is that of the objective, the gradient that of its linear approximation, which is the same.
        return linear + (found["loss"] - linear.detach()), found["parts"]
