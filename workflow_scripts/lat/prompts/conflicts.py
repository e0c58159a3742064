"""Instruction-conflicting samples: source and response of a training sample under a wrong instruction.

There are three ways to draw the wrong instruction:

`instruction`  The instruction of another random training sample, drawn again until its text differs, as published. With
               six balanced English-centric directions, 2 of 5 conflicts of X-to-English samples name the correct target
               language. General instructions among the samples are drawn, and get conflicts, like translations.
`target`       The sample's source language with a wrong target language, drawn uniformly from the benchmark's languages
               (in the words of the paper, the direction is replaced by a wrong one). General instructions have no
               target language and get no conflict.
`confusion`    As `target`, but the wrong target language is drawn as often as the stage-1 model really made this error:
               it was asked for that language and answered in the language of the response. The errors are those of its
               outputs on training sources in zero-shot directions (see `off_targets.py`); those from the sample's
               source language count, or, if there are none, those from all source languages. Without any such error,
               the draw is that of `target`.
"""

import random
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from ..files import InputError
from ..languages import identified_as, split_direction
from .off_targets import Output
from .prompting import translation_instruction

Draw = Literal["instruction", "target", "confusion"]
# Numbers of errors by the source language, the language of the output, and the language that was asked for.
Confusion = Mapping[tuple[str, str], Mapping[str, int]]
ANY = "*"  # any source language


class Instruction(NamedTuple):
    """The text of a sample's instruction, and its direction; None for a general instruction."""

    text: str
    direction: str | None = None


def translation(direction: str) -> Instruction:
    """The instruction to translate in a direction."""
    return Instruction(translation_instruction(direction), direction)


def count_confusion(outputs: Iterable[Output]) -> Confusion:
    """Count the off-target outputs by source language (or `ANY`) and language of the output, then by the target."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for output in outputs:
        if output.is_off_target:
            source, target = split_direction(output.direction)
            for key in (source, ANY):
                counts.setdefault((key, output.label), Counter())[target] += 1
    return counts


def wrong_targets(direction: str, languages: Sequence[str], confusion: Confusion) -> dict[str, int]:
    """Return how often the model made each error that `confusion` can draw for a direction; empty without any.

    Args:
        direction: direction of a sample.
        languages: the benchmark's languages.
        confusion: the errors of the stage-1 model.

    Returns:
        Numbers of errors by wrong target language.
    """
    source, target = split_direction(direction)
    for key in (source, ANY):
        errors = confusion.get((key, target), {})
        found = {wrong: errors[wrong] for wrong in languages if wrong not in (source, target) and errors.get(wrong)}
        if found:
            return found
    return {}


def draw_conflicts(
    instructions: Sequence[Instruction],
    languages: Sequence[str],
    draw: Draw,
    seed: int,
    confusion: Confusion | None = None,
) -> list[Instruction]:
    """Draw a conflicting instruction for every sample.

    Args:
        instructions: the instruction of each training sample; except with `instruction`, all must be translations.
        languages: the benchmark's languages, from which `target` and `confusion` draw.
        draw: `instruction`, `target` or `confusion`, see the docstring of the module.
        seed: seed of the generator; the same seed gives the same conflicts.
        confusion: the errors of the stage-1 model, for `confusion`.

    Returns:
        One instruction per sample, whose text differs from the instruction of the sample.

    Raises:
        InputError: there is no wrong instruction to draw (a single instruction, or no other language).
    """
    generator = random.Random(f"conflicts {seed}")
    if draw == "instruction":
        if len({instruction.text for instruction in instructions}) < 2:
            raise InputError(
                "conflicts: every sample has the same instruction; train on two directions, or set conflicts: target"
            )
        return [_other_instruction(instruction, instructions, generator) for instruction in instructions]
    return [
        translation(_wrong_direction(instruction.direction, languages, generator, confusion or {}))
        for instruction in instructions
        if instruction.direction
    ]


def _other_instruction(
    instruction: Instruction, instructions: Sequence[Instruction], generator: random.Random
) -> Instruction:
    """Draw from the instructions of all samples until the text differs from that of `instruction`."""
    while (drawn := generator.choice(instructions)).text == instruction.text:
        pass
    return drawn


def _wrong_direction(direction: str, languages: Sequence[str], generator: random.Random, confusion: Confusion) -> str:
    """Replace the target language of `direction` by one that is neither its source nor its target language."""
    source, target = split_direction(direction)
    # Another code of the same language, such as `pt` for `pt-BR`, would not be wrong.
    right = identified_as(source) | identified_as(target)
    wrong = [language for language in languages if right.isdisjoint(identified_as(language))]
    if not wrong:
        raise InputError(
            f"conflicts: no wrong target for {direction} among the languages {' '.join(languages)}; add a language"
        )
    if errors := wrong_targets(direction, languages, confusion):
        return f"{source}-{generator.choices(list(errors), weights=list(errors.values()))[0]}"
    return f"{source}-{generator.choice(wrong)}"
