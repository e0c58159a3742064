"""Instruction-conflicting samples: source and response of a training sample under a wrong instruction.

There are two ways to draw the wrong instruction:

`instruction`  The instruction of another random training sample, drawn again until its text differs, as published. With
               six balanced English-centric directions, 2 of 5 conflicts of X-to-English samples name the correct target
               language. General instructions among the samples are drawn, and get conflicts, like translations.
`target`       The sample's source language with a wrong target language, drawn uniformly from the benchmark's languages
               (in the words of the paper, the direction is replaced by a wrong one). General instructions have no
               target language and get no conflict.
"""

import random
from collections.abc import Sequence
from typing import Literal, NamedTuple

from ..files import InputError
from ..languages import identified_as, split_direction
from .prompting import translation_instruction

Draw = Literal["instruction", "target"]


class Instruction(NamedTuple):
    """The text of a sample's instruction, and its direction; None for a general instruction."""

    text: str
    direction: str | None = None


def translation(direction: str) -> Instruction:
    """The instruction to translate in a direction."""
    return Instruction(translation_instruction(direction), direction)


def draw_conflicts(
    instructions: Sequence[Instruction], languages: Sequence[str], draw: Draw, seed: int
) -> list[Instruction]:
    """Draw a conflicting instruction for every sample.

    Args:
        instructions: the instruction of each training sample; with `target`, all of them must be translations.
        languages: the benchmark's languages, from which `target` draws.
        draw: `instruction` or `target`, see the docstring of the module.
        seed: seed of the generator; the same seed gives the same conflicts.

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
        translation(_wrong_direction(instruction.direction, languages, generator))
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


def _wrong_direction(direction: str, languages: Sequence[str], generator: random.Random) -> str:
    """Replace the target language of `direction` by one that is neither its source nor its target language."""
    source, target = split_direction(direction)
    # Another code of the same language, such as `pt` for `pt-BR`, would not be wrong.
    right = identified_as(source) | identified_as(target)
    wrong = [language for language in languages if right.isdisjoint(identified_as(language))]
    if not wrong:
        raise InputError(
            f"conflicts: no wrong target for {direction} among the languages {' '.join(languages)}; add a language"
        )
    return f"{source}-{generator.choice(wrong)}"
