"""Convert a model to the format of CTranslate2, once for all systems that decode with it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .lat.files import InputError, fold, replaced_folder
from .lat.manifest import write_manifest
from .lat.runtime import log, run_step

if TYPE_CHECKING:
    import ctranslate2
    import torch
    from transformers import PreTrainedTokenizerBase

# Lengths in tokens of the sequences on which the converted model is compared; scaled positions show in long ones.
PROBE_LENGTHS = (8, 60, 800)
# Lengths in tokens of the prompts that are decoded together, and the number of tokens that follow them. CTranslate2
# reads what is beyond the shortest prompt of a batch token by token, so that a long one would take a minute.
PROMPT_LENGTHS = (8, 24)
PROBE_STEPS = 3
# Largest accepted difference of a log-probability, relative to their standard deviation. Both libraries compute in fp32
# and agree to about 1e-5.
TOLERANCE = 1e-3


def main() -> None:
    """Parse the flags, convert the model and compare it; the output folder appears only when it is complete."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, required=True, help="folder of a transformers model")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()

    # Imported here, since these libraries take seconds to load, and the check of the flags does without them.
    from ctranslate2.converters import TransformersConverter

    from .lat.models import load_tokenizer

    tokenizer = load_tokenizer(arguments.model)
    probes, expected = log_probabilities(arguments.model, tokenizer)
    with replaced_folder(arguments.output) as partial:
        try:
            TransformersConverter(str(arguments.model), low_cpu_mem_usage=True).convert(str(partial), force=True)
        except (ValueError, NotImplementedError, AttributeError, KeyError, TypeError, RuntimeError) as error:
            raise InputError(
                f"{arguments.model}: CTranslate2 cannot convert this model ({error}); set `engine: transformers`"
            ) from None
        write_manifest(partial)
        difference = largest_difference(partial, [tokenizer.convert_ids_to_tokens(ids) for ids in probes], expected)
        if not difference <= TOLERANCE:
            raise InputError(
                f"{arguments.model}: the converted model computes other log-probabilities than transformers (largest"
                f" difference {difference:.2g} standard deviations); set `engine: transformers`"
            )
    size = sum(path.stat().st_size for path in arguments.output.iterdir()) / 1e6
    log.info(
        "%s: %.0f MB, log-probabilities within %.1g standard deviations of transformers",
        arguments.output,
        size,
        difference,
    )


def log_probabilities(folder: Path, tokenizer: PreTrainedTokenizerBase) -> tuple[list[list[int]], list[torch.Tensor]]:
    """Random sequences of tokens, and the log-probability that transformers gives each token after its first."""
    import torch

    from .lat.decoding.windows import context_window, sliding_window
    from .lat.models import load_model

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


def largest_difference(folder: Path, probes: list[list[str]], expected: list[torch.Tensor]) -> float:
    """The largest difference between log-probabilities of a converted model, computed in fp32, and expected ones.

    It is relative to the standard deviation of the expected ones.
    """
    import ctranslate2
    import torch

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
            f"{folder.name}: CTranslate2 cannot run the converted model ({fold(str(error))}); set"
            " `engine: transformers`"
        ) from None
    if together != alone:
        raise InputError(
            f"{folder.name}: CTranslate2 decodes prompts of different lengths otherwise together than each alone; set"
            " `engine: transformers`"
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


if __name__ == "__main__":
    run_step(main)
