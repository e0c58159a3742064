"""Instruction-conflicting samples: source and response of a training sample under a wrong instruction.

Two ways of drawing the wrong instruction:

`instruction`  the instruction of another random training sample, redrawn until its text differs (as published; with
               six balanced English-centric directions, 2 of 5 conflicts of X-to-English samples keep the right target).
               General instructions among the samples are drawn, and get conflicts, like those of translations.
`target`       the sample's source language with a wrong target language, drawn evenly among the benchmark's languages
               (the paper's words: the direction is replaced by a wrong one). General instructions have no target.
"""

import random
from collections.abc import Sequence
from typing import Literal, NamedTuple

from ..files import InputError
from ..languages import split_direction
from .prompting import translation_instruction

Draw = Literal["instruction", "target"]


class Instruction(NamedTuple):
    """What a sample is told to do, and the direction if that is to translate."""

    text: str
    direction: str | None = None


def translation(direction: str) -> Instruction:
    """The instruction to translate in a direction."""
    return Instruction(translation_instruction(direction), direction)


def draw_conflicts(
    instructions: Sequence[Instruction], languages: Sequence[str], draw: Draw, seed: int
) -> list[Instruction]:
    """A conflicting instruction for every sample.

    Args:
        instructions: the instruction of each training sample; for `target` all of them translations.
        languages: the benchmark's languages, among which `target` draws.
        draw: `instruction` or `target`, see the module.
        seed: of the generator; the same seed gives the same conflicts.

    Returns:
        As many as samples; each one's text differs from that of its sample.

    Raises:
        InputError: no wrong instruction exists (a single instruction, or a single language to draw from).
    """
    generator = random.Random(f"conflicts {seed}")
    if draw == "instruction":
        if len({instruction.text for instruction in instructions}) < 2:
            raise InputError(
                "conflicts: every sample has the same instruction; train on two directions, or set conflicts: target"
            )
        return [_other_sample(instruction, instructions, generator) for instruction in instructions]
    return [translation(_wrong_target(its.direction, languages, generator)) for its in instructions if its.direction]


def _other_sample(own: Instruction, instructions: Sequence[Instruction], generator: random.Random) -> Instruction:
    while (drawn := generator.choice(instructions)).text == own.text:
        pass
    return drawn


def _wrong_target(direction: str, languages: Sequence[str], generator: random.Random) -> str:
    source, target = split_direction(direction)
    wrong = [language for language in languages if language not in (source, target)]
    if not wrong:
        raise InputError(
            f"conflicts: no wrong target for {direction} among the languages {' '.join(languages)}; add a language"
        )
    return f"{source}-{generator.choice(wrong)}"
