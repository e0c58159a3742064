"""Encoded training samples: read, put into a seeded order, divided into global batches and micro-batches."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from ..files import InputError, read_jsonl
from ..models import encode_prompt, encode_response
from ..runtime import log
from .hyperparameters import Hyperparameters
from .layout import Layout
from .modelling import TokenSequence, pack

Sample = TypeVar("Sample", bound="EncodedSample")


@dataclass(frozen=True)
class EncodedSample:
    """Token ids of a training sample; in stage 2, `conflict` is its prompt under the conflicting instruction."""

    prompt: list[int]
    response: list[int]
    conflict: list[int] | None = None

    def __len__(self) -> int:
        return max(len(self.prompt), len(self.conflict or ())) + len(self.response)

    @property
    def tokens(self) -> int:
        """Number of tokens that a forward pass over the sample processes, its conflict included."""
        conflict_tokens = len(self.conflict) + len(self.response) if self.conflict else 0
        return len(self.prompt) + len(self.response) + conflict_tokens


def read_samples(path: Path, tokenizer: PreTrainedTokenizerBase, max_length: int) -> tuple[list[EncodedSample], int]:
    """Encode the samples of a JSON-lines file with the keys `prompt`, `response` and, in stage 2, `conflict`.

    Samples longer than `max_length` tokens are left out. Truncated, they would teach the model to stop in the middle
    of a sentence.

    Returns:
        The samples, and how many were left out.

    Raises:
        InputError: a key is missing, or no sample is short enough.
    """
    rows = read_jsonl(path)
    try:
        samples = [
            EncodedSample(
                encode_prompt(tokenizer, row["prompt"]),
                encode_response(tokenizer, row["response"]),
                encode_prompt(tokenizer, row["conflict"]) if "conflict" in row else None,
            )
            for row in rows
        ]
    except KeyError as error:
        raise InputError(f"{path}: a sample has no {error}; rebuild the file") from None
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
    sequences = [TokenSequence(sample.prompt, sample.response) for sample in micro_batch]
    sequences += [
        TokenSequence(sample.conflict, sample.response, conflicting=True)
        for sample in micro_batch
        if sample.conflict is not None
    ]
    return {name: tensor.to(device) for name, tensor in pack(sequences, pad, layout).items()}
