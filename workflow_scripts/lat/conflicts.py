"""Instruction-conflicting samples: source and response of a training sample under a wrong instruction.

Two ways of drawing the wrong instruction:

`instruction`  the instruction of another random training sample, redrawn until its text differs (as published; with
               six balanced English-centric directions, 2 of 5 conflicts of X-to-English samples keep the right target).
`target`       the sample's source language with a wrong target language, drawn evenly among the benchmark's languages
               (the paper's words: the direction is replaced by a wrong one).
"""

import random
from collections.abc import Sequence
from typing import Literal

from .files import InputError
from .languages import split_direction
from .prompting import translation_instruction

Draw = Literal["instruction", "target"]


def draw_conflicts(directions: Sequence[str], languages: Sequence[str], draw: Draw, seed: int) -> list[str]:
    """A conflicting direction for every sample.

    Args:
        directions: the direction of each training sample.
        languages: the benchmark's languages, among which `target` draws.
        draw: `instruction` or `target`, see the module.
        seed: of the generator; the same seed gives the same conflicts.

    Returns:
        As many directions as samples; each one's instruction differs from that of its sample.

    Raises:
        InputError: no wrong instruction exists (a single direction, or a single language to draw from).
    """
    generator = random.Random(f"conflicts {seed}")
    if draw == "instruction":
        if len({translation_instruction(direction) for direction in directions}) < 2:
            raise InputError(
                "conflicts: every sample has the same instruction; train on two directions, or set conflicts: target"
            )
        return [_other_sample(direction, directions, generator) for direction in directions]
    return [_wrong_target(direction, languages, generator) for direction in directions]


def _other_sample(direction: str, directions: Sequence[str], generator: random.Random) -> str:
    while (drawn := generator.choice(directions)) == direction:
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
