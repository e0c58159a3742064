"""Rejected responses: texts in a wrong language for the sentence of a training sample, under its right instruction.

There are two sources of them:

`reference`  The reference of the same sentence in another language than source and target. Samples say the same
             sentence if their English texts are equal, so that the training data must have the same English sentences
             in several directions.
`model`      What the stage-1 model itself wrote in a wrong language (see `off_targets.py`): for the target language of
             the sample, from the source of another sample with the same English text; or, if there is none, from the
             source of the sample, for another target language. It is never in the target language of the sample.

Both give a rejected response only to samples of supervised directions, whose reference is the chosen response, and
never use a reference of a zero-shot direction as the response to its source.
"""

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

from ..languages import split_direction
from .off_targets import Output, english_of

Source = Literal["reference", "model"]


class Rejected(NamedTuple):
    """A rejected response, and its language."""

    text: str
    language: str


def rejected_references(rows: Sequence[dict[str, Any]], seed: int) -> list[Rejected | None]:
    """Draw the reference of the same sentence in another language for each sample.

    Args:
        rows: training samples with the keys `direction`, `source` and `response`.
        seed: seed of the draw; the same seed gives the same responses.

    Returns:
        One per sample; None for a sample whose sentence is in no third language.
    """
    texts: defaultdict[str, dict[str, str]] = defaultdict(dict)
    for row in rows:
        english = english_of(row["direction"], row["source"], row["response"])
        for language, text in zip(split_direction(row["direction"]), (row["source"], row["response"]), strict=True):
            if english:
                texts[english].setdefault(language, text)
    generator = random.Random(f"rejected {seed}")
    found: list[Rejected | None] = []
    for row in rows:
        english = english_of(row["direction"], row["source"], row["response"])
        candidates = [
            Rejected(text, language)
            for language, text in sorted(texts[english].items() if english else ())
            if language not in split_direction(row["direction"]) and text not in (row["source"], row["response"])
        ]
        found.append(generator.choice(candidates) if candidates else None)
    return found


def rejected_outputs(rows: Sequence[dict[str, Any]], outputs: Sequence[Output], seed: int) -> list[Rejected | None]:
    """Draw an output of the model in a wrong language for each sample.

    Args:
        rows: training samples with the keys `direction`, `source` and `response`.
        outputs: outputs of the model for training sources.
        seed: seed of the draw; the same seed gives the same responses.

    Returns:
        One per sample; None for a sample for which the model wrote nothing in a wrong language.
    """
    of_target: defaultdict[tuple[str, str], list[Rejected]] = defaultdict(list)
    of_source: defaultdict[tuple[str, str], list[Rejected]] = defaultdict(list)
    for output in outputs:
        if output.is_off_target:
            source, target = split_direction(output.direction)
            rejected = Rejected(output.output, output.label)
            of_source[source, output.source].append(rejected)
            if output.english:
                of_target[target, output.english].append(rejected)
    generator = random.Random(f"rejected {seed}")
    found: list[Rejected | None] = []
    for row in rows:
        source, target = split_direction(row["direction"])
        english = english_of(row["direction"], row["source"], row["response"])
        candidates = _wrong(of_target.get((target, english), ()), row)
        candidates = candidates or _wrong(of_source.get((source, row["source"]), ()), row)
        found.append(generator.choice(candidates) if candidates else None)
    return found


def _wrong(candidates: Sequence[Rejected], row: dict[str, Any]) -> list[Rejected]:
    """Return the candidates that are in another language than the response of a sample, and are another text."""
    target = split_direction(row["direction"])[1]
    return [each for each in candidates if each.language != target and each.text != row["response"]]
