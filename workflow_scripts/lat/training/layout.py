"""How the sequences of a micro-batch are laid out in rows, chosen by a numerical probe of the model.

Packed sequences share a row and must not influence one another. Whether a model keeps them apart by their position ids
alone depends on its architecture, its attention implementation and the version of the library: recurrent and
convolutional layers, ALiBi and models that compute their own positions do not. The name of an architecture does not
show this, so two sequences are run through the model once, before training.
"""

import inspect
from typing import Literal, NamedTuple, get_args

import torch
from torch import Tensor
from transformers import PreTrainedModel

from ..files import InputError
from ..runtime import log

# `rows`: several sequences per row, each row about as long as the longest sequence, where attention is cheapest.
# `single row`: all sequences in one row, which is what flash attention can keep apart.
# `padded`: one sequence per row, which every causal model keeps apart.
Layout = Literal["rows", "single row", "padded"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

PROBE_LENGTHS = (9, 6)  # tokens of the two sequences
# Largest accepted difference of hidden states and gradients, relative to the largest value. Models that do not keep
# sequences apart differ by 6e-4 and more in fp32. In bf16 rounding alone reaches about 1e-2.
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 0.05, torch.float16: 0.01}
# Largest accepted gradient of one sequence with respect to the other, relative to the largest gradient. It does not
# depend on rounding: models that keep sequences apart give exactly zero.
CROSS_GRADIENT = 1e-6


class Probe(NamedTuple):
    """How much two sequences in one forward pass change each other's results, relative to the largest value.

    Attributes:
        values: difference of the hidden states from those of the sequences processed separately.
        gradient: difference of the gradient with respect to the token embeddings.
        cross_gradient: gradient of the second sequence with respect to the embeddings of the first.
        future_gradient: gradient of a token of the second sequence with respect to the embeddings of later tokens.
    """

    values: float
    gradient: float
    cross_gradient: float
    future_gradient: float


def choose_layout(model: PreTrainedModel) -> Layout:
    """Choose the layout with the least padding that leaves the sequences of this model independent of one another.

    Args:
        model: a causal language model on the device it is trained on, without adapters.

    Raises:
        InputError: no layout does so, and the loss would depend on micro_batch_size; or the model is not causal.
    """
    packed: Layout = "single row" if "flash" in model.config._attn_implementation else "rows"
    tolerance = TOLERANCE[model.dtype]
    accepts_positions = "position_ids" in inspect.signature(model.base_model.forward).parameters
    candidates: list[Layout] = [packed, "padded"] if accepts_positions else ["padded"]
    for layout in candidates:
        probe = probe_layout(model, layout)
        if probe.future_gradient > CROSS_GRADIENT:
            raise InputError(
                f"{model.config.model_type}: a token sees the tokens after it, so that the model cannot learn to"
                " predict them; choose a causal base model"
            )
        if probe.values <= tolerance and probe.gradient <= tolerance and probe.cross_gradient <= CROSS_GRADIENT:
            if layout == "padded":
                log.info(
                    "%s does not keep packed sequences apart: training with one sequence per row, which is slower",
                    model.config.model_type,
                )
            return layout
    raise InputError(
        f"{model.config.model_type}: the sequences of a micro-batch influence one another, packed or padded ({probe});"
        " set `attention: eager`, or choose another base model"
    )


def probe_layout(model: PreTrainedModel, layout: Layout) -> Probe:
    """Process two sequences together in a layout and separately, and compare the results."""
    generator = torch.Generator().manual_seed(0)
    vocabulary = model.get_input_embeddings().weight.shape[0]
    first, second = (torch.randint(vocabulary // 8, vocabulary, (n,), generator=generator) for n in PROBE_LENGTHS)
    training = model.training
    model.eval()
    try:
        together, embedded = _together(model, first, second, layout)
        weights = torch.randn(together[1].shape, generator=generator).to(model.device)
        (gradient,) = torch.autograd.grad((together[1].float() * weights).sum(), embedded)
        on_first, on_second = _split(gradient, layout)
        with torch.no_grad():
            first_alone, _ = _forward(model, first[None], None)
        second_alone, embedded = _forward(model, second[None], None)
        (alone,) = torch.autograd.grad((second_alone[0].float() * weights).sum(), embedded, retain_graph=True)
        (early,) = torch.autograd.grad((second_alone[0, :2].float() * weights[:2]).sum(), embedded)
    finally:
        model.train(training)
    differences = [together[0] - first_alone[0], together[1] - second_alone[0]]
    return Probe(
        values=max(map(_largest, differences)) / max(_largest(first_alone), _largest(second_alone)),
        gradient=_largest(on_second - alone[0]) / _largest(alone),
        cross_gradient=_largest(on_first) / _largest(alone),
        future_gradient=_largest(early[0, 2:]) / _largest(alone),
    )


def _together(
    model: PreTrainedModel, first: Tensor, second: Tensor, layout: Layout
) -> tuple[tuple[Tensor, Tensor], Tensor]:
    """Return the hidden states of the two sequences in one forward pass, and their token embeddings."""
    if layout == "padded":
        filler = torch.zeros(len(first) - len(second), dtype=torch.long)
        hidden, embedded = _forward(model, torch.stack([first, torch.cat([second, filler])]), None)
    else:
        positions = torch.cat([torch.arange(len(first)), torch.arange(len(second))])
        hidden, embedded = _forward(model, torch.cat([first, second])[None], positions[None])
    return _split(hidden, layout), embedded


def _split(tensor: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
    """Return the parts of the first and of the second sequence, [tokens, hidden] each."""
    length, other = PROBE_LENGTHS
    if layout == "padded":
        return tensor[0], tensor[1, :other]
    return tensor[0, :length], tensor[0, length:]


def _forward(model: PreTrainedModel, ids: Tensor, positions: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return the last hidden states and the token embeddings they were computed from, which record gradients."""
    embeddings: list[Tensor] = []

    def record(module: torch.nn.Module, inputs: object, output: Tensor) -> Tensor:
        embeddings.append(output if output.requires_grad else output.detach().requires_grad_(torch.is_grad_enabled()))
        return embeddings[-1]

    hook = model.get_input_embeddings().register_forward_hook(record)
    arguments = {"input_ids": ids.to(model.device)}
    if positions is not None:
        arguments["position_ids"] = positions.to(model.device)
    try:
        hidden = model.base_model(**arguments, use_cache=False).last_hidden_state
    finally:
        hook.remove()
    return hidden, embeddings[-1]


def _largest(tensor: Tensor) -> float:
    return float(tensor.detach().abs().max())
