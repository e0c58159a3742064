"""What a stage-1 model writes when it is asked for translations that it was not trained on, and in which language.

Its training sources are put under the instructions of zero-shot directions. Outputs in another language than the one
that was asked for show how the model fails. They are used in two ways: as rejected responses (`rejected.py`), and to
draw the conflicts that the model needs most (`conflicts.py`). No translation of these directions is used.
"""

import random
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from ..files import InputError, read_jsonl
from ..languages import code_of_label, identified_as, split_direction
from ..names import ENGLISH

# An output counts as off target if language identification gives its language at least this probability. Identification
# of short lines is often unsure, and an output that is in the right language after all must not be rejected.
MIN_PROBABILITY = 0.5


class TrainingSource(NamedTuple):
    """A training source: its language, its text, and the English text of its row; empty if there is none."""

    language: str
    text: str
    english: str


class Output(NamedTuple):
    """An output of the model.

    Attributes:
        direction: the direction that the model was asked for.
        source: the training source.
        english: the English text of the row of the source; empty if there is none.
        output: the text of the model.
        label: its most probable language; empty for a text without words.
        score: the probability of that language.
    """

    direction: str
    source: str
    english: str
    output: str
    label: str
    score: float

    @property
    def is_off_target(self) -> bool:
        """Whether the output is with sufficient probability in another language than the one that was asked for."""
        return self.is_in_other_language(split_direction(self.direction)[1]) and self.score >= MIN_PROBABILITY

    def is_in_other_language(self, language: str) -> bool:
        """Whether the most probable language of the output is another one than a language of the benchmark."""
        return bool(self.label) and code_of_label(self.label) not in identified_as(language)


def english_of(direction: str, source: str, target: str) -> str:
    """Return the English text of a pair of texts; empty if neither of them is English."""
    codes = split_direction(direction)
    return source if codes[0] == ENGLISH else target if codes[1] == ENGLISH else ""


def draw_sources(
    rows: Iterable[dict[str, Any]], directions: Sequence[str], sentences: int, seed: int
) -> dict[str, list[TrainingSource]]:
    """Draw the training sources that are put under the instruction of each direction.

    Directions with the same source language get the same sources, so that their outputs can be compared.

    Args:
        rows: training samples with the keys `direction`, `source` and `response`; those without a direction are
            general instructions, which are left out.
        directions: the zero-shot directions.
        sentences: maximum number of sources of a direction.
        seed: seed of the draw.

    Returns:
        The sources by direction; a direction without sources is left out.

    Raises:
        InputError: no direction has sources.
    """
    of_language: dict[str, dict[str, TrainingSource]] = {}
    for row in rows:
        if "direction" in row:
            language = split_direction(row["direction"])[0]
            english = english_of(row["direction"], row["source"], row["response"])
            of_language.setdefault(language, {}).setdefault(
                row["source"], TrainingSource(language, row["source"], english)
            )
    drawn: dict[str, list[TrainingSource]] = {}
    for direction in directions:
        language = split_direction(direction)[0]
        sources = list(of_language.get(language, {}).values())
        if sources:
            random.Random(f"off-targets {seed} {language}").shuffle(sources)
            drawn[direction] = sources[:sentences]
    if not drawn:
        raise InputError(
            f"off_targets: no zero-shot direction ({' '.join(directions)}) begins with a source language of the"
            f" training samples ({' '.join(sorted(of_language)) or 'none'}); add such a direction to `zero_shot`"
        )
    return drawn


def read_outputs(path: Path) -> list[Output]:
    """Read the outputs that the step `off_targets` wrote.

    Raises:
        InputError: the file has other keys.
    """
    try:
        return [Output(**row) for row in read_jsonl(path)]
    except TypeError:
        raise InputError(f"{path}: not the outputs of the step off_targets; delete it and run again") from None
