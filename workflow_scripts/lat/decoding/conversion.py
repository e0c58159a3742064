"""Conversion of a model to the format of CTranslate2, and its comparison with transformers."""

from pathlib import Path

import ctranslate2
import torch
from ctranslate2.converters import TransformersConverter
from transformers import PreTrainedTokenizerBase

from ..files import InputError, fold
from ..models import load_model
from .windows import context_window, sliding_window

# Lengths in tokens of the sequences on which the converted model is compared; scaled positions show in long ones.
PROBE_LENGTHS = (8, 60, 800)
# Lengths in tokens of the prompts that are decoded together, and the number of tokens that follow them. CTranslate2
# reads what is beyond the shortest prompt of a batch token by token, so that a long one would take a minute.
PROMPT_LENGTHS = (8, 24)
PROBE_STEPS = 3


def convert_model(
    model: Path,
    folder: Path,
    tokenizer: PreTrainedTokenizerBase,
    tolerance: float,
    remedy: str,
    quantization: str | None = None,
) -> float:
    """Convert a model, and compare the log-probabilities of both.

    Args:
        model: folder of a transformers model.
        folder: the folder of the converted model, which may exist.
        tokenizer: the tokenizer of the model.
        tolerance: largest accepted difference, in standard deviations of the log-probabilities.
        remedy: what the user can do if the model cannot be used, for messages.
        quantization: type of the converted weights, such as `int8`; None leaves them as they are.

    Returns:
        The largest difference, in standard deviations.

    Raises:
        InputError: CTranslate2 cannot convert or run the model, or its log-probabilities differ by more.
    """
    probes, expected = log_probabilities(model, tokenizer)
    try:
        TransformersConverter(str(model), low_cpu_mem_usage=True).convert(
            str(folder), quantization=quantization, force=True
        )
    except (ValueError, NotImplementedError, AttributeError, KeyError, TypeError, RuntimeError) as error:
        raise InputError(f"{model}: CTranslate2 cannot convert this model ({error}); {remedy}") from None
    sequences = [tokenizer.convert_ids_to_tokens(ids) for ids in probes]
    difference = largest_difference(folder, sequences, expected, remedy)
    if not difference <= tolerance:
        raise InputError(
            f"{model}: the converted model computes other log-probabilities than transformers (largest difference"
            f" {difference:.2g} standard deviations); {remedy}"
        )
    return difference


def log_probabilities(folder: Path, tokenizer: PreTrainedTokenizerBase) -> tuple[list[list[int]], list[torch.Tensor]]:
    """Random sequences of tokens, and the log-probability that transformers gives each token after its first."""
    # Every architecture supports the attention implementation `eager`.
    model = load_model(folder, "fp32", "eager").eval()
    window = min(context_window(model.config) or max(PROBE_LENGTHS), sliding_window(model.config) or max(PROBE_LENGTHS))
    generator = torch.Generator().manual_seed(0)
    known = torch.tensor(sorted(set(tokenizer.get_vocab().values()) - set(tokenizer.all_special_ids)))
    probes, found = [], []
    for length in sorted({min(length, window) for length in PROBE_LENGTHS}):
        ids = known[torch.randint(len(known), (length,), generator=generator)]
        with torch.inference_mode():
            logits = model(ids[None], use_cache=False).logits[0, :-1]
        probes.append(ids.tolist())
        found.append(torch.log_softmax(logits, -1).gather(-1, ids[1:, None])[:, 0])
    return probes, found


def largest_difference(folder: Path, probes: list[list[str]], expected: list[torch.Tensor], remedy: str) -> float:
    """The largest difference between log-probabilities of a converted model, computed in fp32, and expected ones.

    It is relative to the standard deviation of the expected ones.
    """
    try:
        generator = ctranslate2.Generator(str(folder), compute_type="float32", intra_threads=torch.get_num_threads())
        # One at a time: with Gemma 3, the library cannot score sequences of different lengths together. It can decode
        # them together, which is compared with decoding each alone.
        results = [generator.score_batch([probe])[0] for probe in probes]
        prompts = [max(probes, key=len)[:length] for length in PROMPT_LENGTHS]
        together = _next_tokens(generator, prompts)
        alone = [tokens for prompt in prompts for tokens in _next_tokens(generator, [prompt])]
    except (RuntimeError, ValueError) as error:
        raise InputError(
            f"{folder.name}: CTranslate2 cannot run the converted model ({fold(str(error))}); {remedy}"
        ) from None
    if together != alone:
        raise InputError(
            f"{folder.name}: CTranslate2 decodes prompts of different lengths otherwise together than each alone;"
            f" {remedy}"
        )
    return max(
        float((torch.tensor(result.log_probs) - wanted).abs().max() / wanted.std())
        for result, wanted in zip(results, expected, strict=True)
    )


def _next_tokens(generator: ctranslate2.Generator, prompts: list[list[str]]) -> list[list[str]]:
    """The tokens that greedy search adds to each prompt."""
    results = generator.generate_batch(
        prompts, max_length=PROBE_STEPS, min_length=PROBE_STEPS, beam_size=1, include_prompt_in_result=False
    )
    return [result.sequences[0] for result in results]
