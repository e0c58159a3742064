"""Loading models and tokenisers, and the one forward pass training needs: log p of response tokens."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from .files import InputError
from .losses import token_log_probabilities, unlikelihood

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
IGNORED = -100


def load_tokenizer(path: Path | str) -> PreTrainedTokenizerBase:
    """The tokeniser of a model folder, ready to batch.

    Raises:
        InputError: it has no end token, without which a model never learns to stop.
    """
    tokenizer = AutoTokenizer.from_pretrained(path)
    if tokenizer.eos_token_id is None:
        raise InputError(f"{path}: the tokenizer has no eos_token; set one in its tokenizer_config.json")
    if tokenizer.pad_token_id is None:
        # Padding is masked everywhere, so which token stands there has no effect.
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(path: Path | str, dtype: str, attention: str = "sdpa") -> PreTrainedModel:
    """The causal language model of a model folder, in `dtype` (fp32, bf16, fp16)."""
    return AutoModelForCausalLM.from_pretrained(path, dtype=DTYPES[dtype], attn_implementation=attention)


def encode_prompt(tokenizer: PreTrainedTokenizerBase, prompt: str) -> list[int]:
    """Token ids of a prompt, with the start token where the tokeniser has one and without an end token."""
    ids: list[int] = tokenizer(prompt)["input_ids"]
    return ids[:-1] if ids and ids[-1] == tokenizer.eos_token_id else ids


def encode_response(tokenizer: PreTrainedTokenizerBase, response: str) -> list[int]:
    """Token ids of a response and its end token.

    Prompt and response are encoded apart, so that the prompt's ids are the same in training and in decoding.
    """
    return [*tokenizer(response, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]


def pad_batch(rows: list[tuple[list[int], list[int]]], pad: int) -> dict[str, Tensor]:
    """Right-padded tensors of (prompt ids, response ids) rows.

    Returns:
        `input_ids`, `attention_mask` and `labels`, int64 [rows, longest]; labels stand where their token does and are
        -100 outside the response.
    """
    longest = max(len(prompt) + len(response) for prompt, response in rows)
    input_ids = torch.full((len(rows), longest), pad)
    labels = torch.full((len(rows), longest), IGNORED)
    attention_mask = torch.zeros((len(rows), longest), dtype=torch.long)
    for row, (prompt, response) in enumerate(rows):
        end = len(prompt) + len(response)
        input_ids[row, :end] = torch.tensor(prompt + response)
        labels[row, len(prompt) : end] = torch.tensor(response)
        attention_mask[row, :end] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask, "labels": labels}


class ResponseLoss(nn.Module):
    """Sums of the two losses over one padded batch of tuned and conflicting rows, in a single forward.

    It wraps the model so that everything, the language-model head included, runs inside the training engine's own
    forward: under ZeRO-3 a head applied outside would see an empty weight. The head is applied to positions that
    predict a response token only; logits of prompt and padding positions are never computed.
    """

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, labels: Tensor, conflicting: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Sums of -log p over the rows, and of -log(1 - p) over the conflicting rows.

        Args:
            input_ids: int64 [rows, length].
            attention_mask: int64 [rows, length], 0 on padding.
            labels: int64 [rows, length], -100 outside the response.
            conflicting: bool [rows], True for rows that count as unlikelihood, False for likelihood.

        Returns:
            Two fp32 scalars: likelihood loss and unlikelihood loss, summed over response tokens.
        """
        hidden = self.model.base_model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        predicts = labels[:, 1:] != IGNORED
        log_p = token_log_probabilities(self.logits(hidden[:, :-1][predicts]), labels[:, 1:][predicts])
        unlikely = conflicting.unsqueeze(1).expand_as(predicts)[predicts]
        zero = log_p.new_zeros(())
        likelihood_loss = -torch.where(unlikely, zero, log_p).sum()
        if not conflicting.any():
            return likelihood_loss, zero
        return likelihood_loss, unlikelihood(log_p[unlikely]).sum()

    def logits(self, hidden: Tensor) -> Tensor:
        """Head outputs [tokens, vocabulary] for hidden states [tokens, hidden], soft-capped where the model does so."""
        logits = self.model.get_output_embeddings()(hidden)
        cap: Any = getattr(self.model.config.get_text_config(), "final_logit_softcapping", None)
        return cap * torch.tanh(logits / cap) if cap else logits
