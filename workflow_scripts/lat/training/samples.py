"""Encoded training samples: read, put into a seeded order, divided into global batches and micro-batches."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..files import InputError, read_jsonl
from ..models import encode_joined, encode_prompt, encode_response
from ..runtime import log
from .hyperparameters import Hyperparameters
from .layout import Layout
from .modelling import TokenSequence, pack

Sample = TypeVar("Sample", bound="EncodedSample")


@dataclass(frozen=True)
class EncodedSample:
    """Token ids of a training sample.

    Attributes:
        prompt: the prompt.
        response: the response and what ends it.
        conflict: in stage 2, the prompt under the conflicting instruction.
        conflict_response: the response after `conflict`, where it has other tokens than after `prompt`.
    """

    prompt: list[int]
    response: list[int]
    conflict: list[int] | None = None
    conflict_response: list[int] | None = None

    def __len__(self) -> int:
        return max(map(len, self.sequences()))

    @property
    def tokens(self) -> int:
        """Number of tokens that a forward pass over the sample processes, its conflict included."""
        return sum(map(len, self.sequences()))

    def sequences(self) -> list[TokenSequence]:
        """Return the sample and, in stage 2, its conflict as sequences of tokens."""
        found = [TokenSequence(self.prompt, self.response)]
        if self.conflict is not None:
            found.append(TokenSequence(self.conflict, self.conflict_response or self.response, conflicting=True))
        return found


def read_samples(path: Path, tokenizer: PreTrainedTokenizerBase, max_length: int) -> tuple[list[EncodedSample], int]:
    """Encode the samples of a JSON-lines file with the keys `prompt`, `response` and, in stage 2, `conflict`.

    Prompt and response are encoded apart or, if the sample has the key `joined`, as one string, see `encode_joined`;
    `end` is what ends the response, if that is not the end token of the tokenizer.

    Samples longer than `max_length` tokens are left out. Truncated, they would teach the model to stop in the middle
    of a sentence.

    Returns:
        The samples, and how many were left out.

    Raises:
        InputError: a key is missing, or no sample is short enough.
    """
    rows = read_jsonl(path)
    try:
        samples = [encode_sample(row, tokenizer) for row in rows]
    except KeyError as error:
        raise InputError(f"{path}: a sample has no {error}; rebuild the file") from None
    crossing = sum(
        bool(row.get("joined")) and sample.prompt != encode_prompt(tokenizer, row["prompt"])
        for row, sample in zip(rows, samples, strict=True)
    )
    if crossing:
        log.warning(
            "in %d of %d samples, a token has characters of prompt and response, and counts as part of the response",
            crossing,
            len(samples),
        )
    return leave_out_long(path, samples, max_length)


def leave_out_long(path: Path, samples: Sequence[Sample], max_length: int) -> tuple[list[Sample], int]:
    """Leave out samples of more than `max_length` tokens.

    Args:
        path: file of the samples, for messages.
        samples: all samples.
        max_length: tokens of prompt and response together.

    Returns:
        The samples that fit, and how many were left out.

    Raises:
        InputError: none fits.
    """
    fitting = [sample for sample in samples if len(sample) <= max_length]
    left_out = len(samples) - len(fitting)
    if left_out:
        log.warning("left out %d of %d samples over %d tokens", left_out, len(samples), max_length)
    if not fitting:
        raise InputError(f"{path}: none of its {len(samples)} samples fits in {max_length} tokens; raise max_length")
    return fitting, left_out


def without_conflicts(samples: Sequence[EncodedSample]) -> list[EncodedSample]:
    """Drop the conflicts, whose loss has the weight 0 in a training with `alpha: 0`, and so no effect on the weights.

    Which samples are left out for their length depends on the conflicts, too: drop them after that, so that a training
    without unlikelihood loss has the samples of the one that it is compared with.
    """
    if any(sample.conflict is not None for sample in samples):
        log.info("alpha is 0: conflicts are not read by the model, and the log has no unlikelihood loss")
    return [replace(sample, conflict=None, conflict_response=None) for sample in samples]


def encode_sample(row: Mapping[str, Any], tokenizer: PreTrainedTokenizerBase) -> EncodedSample:
    """Encode a row of a file of samples, see `read_samples`.

    Raises:
        KeyError: a key is missing.
    """
    if not row.get("joined"):
        return EncodedSample(
            encode_prompt(tokenizer, row["prompt"]),
            encode_response(tokenizer, row["response"]),
            encode_prompt(tokenizer, row["conflict"]) if "conflict" in row else None,
        )
    prompt, response = encode_joined(tokenizer, row["prompt"], row["response"], row.get("end"))
    if "conflict" not in row:
        return EncodedSample(prompt, response)
    conflict, after_conflict = encode_joined(tokenizer, row["conflict"], row["response"], row.get("end"))
    return EncodedSample(prompt, response, conflict, None if after_conflict == response else after_conflict)


def step_count(hyperparameters: Hyperparameters, samples: int) -> int:
    """Number of optimizer steps of a run. An incomplete last batch is not trained on."""
    return hyperparameters.steps or max(1, int(samples * hyperparameters.epochs) // hyperparameters.batch_size)


def global_batches(count: int, batch_size: int, steps: int, seed: int) -> Iterator[list[int]]:
    """Yield the sample indices of the global batch of each step.

    The order of the samples is a seeded permutation per epoch; the permutations follow one another without a gap.

    Args:
        count: number of samples.
        batch_size: samples per global batch.
        steps: number of batches to yield.
        seed: seed of the permutations.
    """
    stream: list[int] = []
    epoch = 0
    for _ in range(steps):
        while len(stream) < batch_size:
            stream += np.random.default_rng([seed, epoch]).permutation(count).tolist()
            epoch += 1
        yield stream[:batch_size]
        stream = stream[batch_size:]


def micro_batches(
    batch: Sequence[int], samples: Sequence[Sample], size: int, rank: int, world: int
) -> list[list[Sample]]:
    """Divide the share of process `rank` in a global batch into micro-batches of samples of similar length.

    Every process gets the same number of micro-batches, which collective operations require, and micro-batches that
    are processed at the same time have about the same length. The numbers of their samples differ by one at most, so
    that some are empty where there are more processes than samples.

    Args:
        batch: sample indices of the global batch.
        samples: all training samples.
        size: maximum number of samples per micro-batch.
        rank: index of the process.
        world: number of processes.
    """
    by_length = sorted(batch, key=lambda index: (len(samples[index]), index))
    pieces = np.array_split(by_length, math.ceil(len(batch) / (size * world)) * world)
    return [[samples[index] for index in piece] for piece in pieces[rank::world]]


def to_tensors(
    micro_batch: Sequence[EncodedSample], pad: int, layout: Layout, device: torch.device
) -> dict[str, Tensor]:
    """Arrange the samples and, in stage 2, their conflicts as the inputs of `ResponseLoss`."""
    # The conflicts come last.
    sequences = sorted(
        (sequence for sample in micro_batch for sequence in sample.sequences()),
        key=lambda sequence: sequence.conflicting,
    )
    return {name: tensor.to(device) for name, tensor in pack(sequences, pad, layout).items()}
