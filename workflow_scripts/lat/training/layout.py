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
from .prefixes import TokenTree, restored_attention, run_with_tree, share_prefixes

# `tree`: all sequences in one row without padding, what several begin with only once, see `prefixes.py`.
# `rows`: several sequences per row, each row about as long as the longest sequence, where attention is cheapest.
# `single row`: all sequences in one row, which is what flash attention can keep apart.
# `padded`: one sequence per row, which every causal model keeps apart.
Layout = Literal["tree", "rows", "single row", "padded"]
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

PROBE_LENGTHS = (9, 6)  # tokens of the two sequences in rows
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


def choose_layout(model: PreTrainedModel, longest: int) -> Layout:
    """Choose the layout with the fewest tokens that leaves the sequences of this model independent of one another.

    Args:
        model: a causal language model on the device it is trained on, without adapters.
        longest: tokens of the longest sample. If a model limits attention to a number of tokens that no sample
            exceeds, the limit is not tested.

    Raises:
        InputError: no layout does so, and the loss would depend on micro_batch_size; or the model is not causal.
    """
    packed: Layout = "single row" if "flash" in model.config._attn_implementation else "rows"
    tolerance = TOLERANCE[model.dtype]
    accepts_positions = "position_ids" in inspect.signature(model.base_model.forward).parameters
    candidates: list[Layout] = ["tree", packed, "padded"] if accepts_positions else ["padded"]
    for layout in candidates:
        probe = probe_layout(model, layout, longest)
        if probe is None:
            continue
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
            elif layout == packed:
                log.info(
                    "%s with the attention %s cannot process the common beginning of several prompts once: it is"
                    " processed with each prompt, which is slower",
                    model.config.model_type,
                    model.config._attn_implementation,
                )
            return layout
    raise InputError(
        f"{model.config.model_type}: the sequences of a micro-batch influence one another, packed or padded ({probe});"
        " set `attention: eager`, or choose another base model"
    )


def probe_layout(model: PreTrainedModel, layout: Layout, longest: int = 0) -> Probe | None:
    """Process two sequences together in a layout and separately, and compare the results.

    Args:
        model: a causal language model.
        layout: the layout.
        longest: minimum number of tokens of the sequences in the layout `tree`.

    Returns:
        The comparison; None if the model cannot process the layout.
    """
    generator = torch.Generator().manual_seed(0)
    arranged = _arrange(layout, model.get_input_embeddings().weight.shape[0], longest, generator)
    places, other_places = arranged.second.to(model.device), arranged.not_second.to(model.device)
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            first_alone, _ = _forward(model, arranged.ids[arranged.first][None])
        second_alone, embedded = _forward(model, arranged.ids[arranged.second][None])
        weights = torch.randn(second_alone.shape, generator=generator).to(model.device)
        (alone,) = torch.autograd.grad((second_alone.float() * weights).sum(), embedded, retain_graph=True)
        (early,) = torch.autograd.grad((second_alone[:2].float() * weights[:2]).sum(), embedded)
        with restored_attention(model):
            together, embedded = _forward(model, arranged.ids.view(arranged.shape), arranged.positions, arranged.tree)
            (gradient,) = torch.autograd.grad((together[places].float() * weights).sum(), embedded)
    except torch.OutOfMemoryError:
        raise  # it says nothing about the model
    except (AttributeError, IndexError, NotImplementedError, RuntimeError, TypeError, ValueError):
        if layout != "tree":
            raise
        return None
    finally:
        model.train(training)
    differences = [together[arranged.first.to(model.device)] - first_alone, together[places] - second_alone]
    return Probe(
        values=max(map(_largest, differences)) / max(_largest(first_alone), _largest(second_alone)),
        gradient=_largest(gradient[places] - alone) / _largest(alone),
        cross_gradient=_largest(gradient[other_places]) / _largest(alone),
        future_gradient=_largest(early[2:]) / _largest(alone),
    )


class _Arranged(NamedTuple):
    """Sequences in a layout.

    Attributes:
        ids: the token ids of all rows, one row after another.
        shape: number and length of the rows.
        positions: position ids, or None for those of the model.
        tree: the runs of the row of the layout `tree`.
        first: the places of the tokens of one sequence among `ids`.
        second: those of another.
        not_second: the places that do not belong to the second sequence.
    """

    ids: Tensor
    shape: tuple[int, int]
    positions: Tensor | None
    tree: TokenTree | None
    first: Tensor
    second: Tensor
    not_second: Tensor


def _arrange(layout: Layout, vocabulary: int, longest: int, generator: torch.Generator) -> _Arranged:
    """Arrange random sequences in a layout; in the layout `tree`, these are three, which share one and two runs."""

    def draw(length: int) -> Tensor:
        return torch.randint(vocabulary // 8, vocabulary, (length,), generator=generator)

    tree = None
    if layout == "tree":
        length = max(longest, *PROBE_LENGTHS)
        shared, shared_by_two = draw(length // 2), draw(3)
        ends = [draw(5), draw(length - length // 2 - 3), draw(4)]
        sequences = [torch.cat([shared, *([shared_by_two] if number else []), end]) for number, end in enumerate(ends)]
        shareable = [len(sequence) - len(end) for sequence, end in zip(sequences, ends, strict=True)]
        row = share_prefixes([sequence.tolist() for sequence in sequences], shareable, min_saved=1)
        tree = row.tree
        ids, positions, shape = torch.tensor(row.tokens), torch.tensor([row.positions]), (1, len(row.tokens))
        own = [torch.arange(end - len(tokens), end) for tokens, end in zip(ends, row.ends, strict=True)]
        start, end = tree.siblings[-1].before[-1]
        first = torch.cat([torch.arange(len(shared)), own[0]])
        second = torch.cat([torch.arange(len(shared)), torch.arange(start, end), own[1]])
    else:
        length, other = PROBE_LENGTHS
        first, second = torch.arange(length), torch.arange(length, length + other)
        ids, shape = draw(length + other), (1, length + other)
        positions = torch.cat([first, torch.arange(other)])[None]
        if layout == "padded":
            ids, shape, positions = torch.cat([ids, ids.new_zeros(length - other)]), (2, length), None
    belongs = torch.zeros(len(ids), dtype=torch.bool)
    belongs[second] = True
    return _Arranged(ids, shape, positions, tree, first, second, (~belongs).nonzero()[:, 0])


def _forward(
    model: PreTrainedModel, ids: Tensor, positions: Tensor | None = None, tree: TokenTree | None = None
) -> tuple[Tensor, Tensor]:
    """Return the last hidden states and the token embeddings they were computed from, which record gradients.

    Both have the shape [tokens, hidden], with one row after another.
    """
    embeddings: list[Tensor] = []

    def record(module: torch.nn.Module, inputs: object, output: Tensor) -> Tensor:
        flat = output.flatten(0, 1)
        embeddings.append(flat if flat.requires_grad else flat.detach().requires_grad_(torch.is_grad_enabled()))
        return embeddings[-1].view(output.shape)

    hook = model.get_input_embeddings().register_forward_hook(record)
    inputs = {"input_ids": ids.to(model.device)}
    if positions is not None:
        inputs["position_ids"] = positions.to(model.device)
    try:
        if tree is None:
            hidden = model.base_model(**inputs, use_cache=False).last_hidden_state
        else:
            hidden = run_with_tree(model, tree.to(model.device), **inputs)
    finally:
        hook.remove()
    return hidden.flatten(0, 1), embeddings[-1]


def _largest(tensor: Tensor) -> float:
    return float(tensor.detach().abs().max()) if tensor.numel() else 0.0
