"""Hyperparameters of a training run, and their command-line flags."""

import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from .deepspeed_config import read_deepspeed_config

Loss = Literal["orpo", "cpo", "dpo"]


class Weights(NamedTuple):
    """Factors of the two parts of the objective."""

    likelihood: float
    weight: float


# ORPO: lambda = 0.1 for the larger models of the paper; CPO: both parts are added; DPO: the preference loss alone.
PUBLISHED: dict[Loss, Weights] = {"orpo": Weights(1.0, 0.1), "cpo": Weights(1.0, 1.0), "dpo": Weights(0.0, 1.0)}


@dataclass(frozen=True)
class Preference:
    """The objective of a preference training.

    Attributes:
        loss: the preference loss.
        weight: its weight; 0 trains on the chosen responses alone.
        likelihood: weight of the likelihood loss of the chosen responses.
        beta: how strongly `cpo` and `dpo` react to a difference of the log-probabilities; without effect on `orpo`.
    """

    loss: Loss
    weight: float
    likelihood: float
    beta: float

    @property
    def needs_reference(self) -> bool:
        """Whether the loss compares with the model before the training."""
        return self.loss == "dpo" and self.weight != 0


def preference_of(
    loss: Loss, weight: float | None = None, likelihood: float | None = None, beta: float = 0.1
) -> Preference:
    """Return an objective; a weight that is None is the published one of the loss."""
    published = PUBLISHED[loss]
    return Preference(
        loss,
        published.weight if weight is None else weight,
        published.likelihood if likelihood is None else likelihood,
        beta,
    )


@dataclass(frozen=True)
class Hyperparameters:
    """Hyperparameters of one training run.

    Attributes:
        learning_rate: peak of the cosine schedule.
        warmup_ratio: share of the steps during which the learning rate rises linearly.
        weight_decay: weight decay of AdamW.
        batch_size: samples per global batch, summed over all processes and micro-batches.
        micro_batch_size: samples per forward pass of one process. In stage 2 their conflicts are added, which doubles
            the number of sequences.
        epochs: passes over the data; ignored if `steps` is set.
        steps: number of optimizer steps; 0 derives it from `epochs`.
        max_length: maximum length of prompt and response together, in tokens.
        alpha: weight of the unlikelihood loss; 0 trains on the likelihood alone.
        dtype: fp32 or bf16.
        gradient_checkpointing: recompute activations in the backward pass to save memory.
        seed: seed of the sample order and of the initial adapters.
        lora_rank: rank of the low-rank adapters that are trained instead of the weights of the linear layers; 0 trains
            all weights.
        lora_alpha: the product of the adapters is scaled by lora_alpha / lora_rank.
        freeze_embeddings: do not train the token embeddings, nor the head if it shares their weight. In a small
            multilingual model they are most of the weights, and a few thousand samples hardly change them.
    """

    learning_rate: float
    warmup_ratio: float
    weight_decay: float
    batch_size: int
    micro_batch_size: int
    epochs: float
    steps: int
    max_length: int
    alpha: float
    dtype: str
    gradient_checkpointing: bool
    seed: int
    lora_rank: int = 0
    lora_alpha: int = 16
    freeze_embeddings: bool = False


@dataclass(frozen=True, kw_only=True)
class PreferenceHyperparameters(Hyperparameters):
    """Hyperparameters of a training with pairs of responses, whose objective is `preference` instead of alpha's."""

    preference: Preference


def add_training_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags that the steps of both stages share."""
    parser.add_argument("--model", type=Path, required=True, help="folder of the model to start from")
    parser.add_argument("--samples", type=Path, required=True, help="training samples, JSON lines")
    parser.add_argument("--output", type=Path, required=True, help="folder of the trained model")
    parser.add_argument("--steps-log", type=Path, required=True, help="table of losses and rates, one row per step")
    parser.add_argument("--machine", type=Path, help="file for the processors that the model was trained on, JSON")
    parser.add_argument("--snapshots", type=Path, help="folder of the snapshots")
    parser.add_argument(
        "--snapshot-steps", type=int, nargs="*", default=[], help="steps after which a snapshot of the model is kept"
    )
    parser.add_argument("--checkpoint-every", type=int, default=0, help="steps between checkpoints; 0 = none")
    parser.add_argument("--trackers", default="none", help="what records the values of each step, such as csv,wandb")
    add_checkpoint_arguments(parser)
    add_deepspeed_argument(parser)
    parser.add_argument("--attention", default="sdpa", help="attention implementation of transformers")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads per node; 0 = the default of torch")
    parser.add_argument("--learning-rate", type=float, required=True)
    parser.add_argument("--warmup-ratio", type=float, default=0.03)
    parser.add_argument("--weight-decay", type=float, default=0.0)
    parser.add_argument("--batch-size", type=int, required=True, help="samples per global batch")
    parser.add_argument("--micro-batch-size", type=int, required=True, help="samples per forward pass of one process")
    parser.add_argument("--epochs", type=float, default=1.0)
    parser.add_argument("--steps", type=int, default=0, help="optimizer steps; 0 = as many as --epochs gives")
    parser.add_argument("--max-length", type=int, required=True, help="tokens of prompt and response together")
    parser.add_argument("--dtype", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--gradient-checkpointing", action="store_true")
    parser.add_argument("--lora-rank", type=int, default=0, help="rank of low-rank adapters, 0 = train all weights")
    parser.add_argument("--lora-alpha", type=int, default=16, help="adapters are scaled by lora-alpha / lora-rank")
    parser.add_argument("--freeze-embeddings", action="store_true", help="do not train the token embeddings")
    parser.add_argument("--seed", type=int, required=True)


def add_checkpoint_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the flags of the state of unfinished runs, which every training has."""
    parser.add_argument("--checkpoints", type=Path, required=True, help="folder for the state of unfinished runs")
    parser.add_argument("--checkpoint-minutes", type=float, default=10.0, help="minutes between checkpoints; 0 = none")


def add_deepspeed_argument(parser: argparse.ArgumentParser) -> None:
    """Add the flag of the DeepSpeed configuration."""
    parser.add_argument(
        "--deepspeed-config",
        type=lambda text: json.loads(text) if text.startswith("{") else read_deepspeed_config(text),
        required=True,
        help="DeepSpeed configuration: a file, or its content as JSON",
    )


def hyperparameters_from(arguments: argparse.Namespace, alpha: float = 0.0) -> Hyperparameters:
    """Collect the hyperparameters from parsed flags."""
    given = vars(arguments) | {"alpha": alpha}
    return Hyperparameters(**{name: given[name] for name in Hyperparameters.__dataclass_fields__})
