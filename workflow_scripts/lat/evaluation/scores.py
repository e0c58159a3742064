"""BLEU and chrF++ of one direction, each with its SacreBLEU signature."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, NamedTuple

from ..files import InputError
from ..languages import language, split_direction

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    from .statistics import References, Vocabulary

METRICS = ("BLEU", "chrF++")  # the metrics of every direction


class Score(NamedTuple):
    """A score of one direction by a SacreBLEU metric, from 0 to 100.

    `OffTargetScore` in `offtarget.py` is the score of one direction by language identification. It holds the number of
    lines it was computed on, which differs between off-target scores, whereas a `Score` covers all lines.
    """

    metric: str
    value: float
    signature: str


# Words that are kept to be recognised, by target language; these many take about 200 MB.
WORDS_IN_MEMORY = 500_000
_vocabularies: dict[str, Vocabulary] = {}


def metrics(direction: str) -> dict[str, BLEU | CHRF]:
    """Return BLEU, with the tokenizer of the direction's target language, and chrF++, by name.

    Directions with the same tokenizer share the metrics, whose tokenizers remember the words that they have seen.
    """
    return _metrics(language(split_direction(direction)[1]).bleu_tokenizer)


@cache
def _metrics(tokenizer: str) -> dict[str, BLEU | CHRF]:
    found = _new_metrics(tokenizer)
    for metric in found.values():
        # A part of the signature, which SacreBLEU sets when it reads references.
        metric.num_refs = 1
    return found


@lru_cache(maxsize=1)
def _metrics_with_references(tokenizer: str, references: tuple[str, ...]) -> dict[str, BLEU | CHRF]:
    """Return BLEU and chrF++ by name, which keep the n-grams of their references."""
    return _new_metrics(tokenizer, [references])


def _new_metrics(tokenizer: str, references: Sequence[Sequence[str]] | None = None) -> dict[str, BLEU | CHRF]:
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF

    return {
        "BLEU": BLEU(tokenize=tokenizer, references=references),
        "chrF++": CHRF(word_order=2, references=references),
    }


def by_target(directions: Sequence[str]) -> list[str]:
    """Return the directions with all directions into one language next to each other.

    In this order, `translation_scores` reads references that many directions share only once.
    """
    return sorted(directions, key=lambda direction: split_direction(direction)[::-1])


def prepare_references(references: Sequence[str], direction: str) -> References:
    """Prepare the reference lines of a direction to compare the outputs of any number of systems with them.

    Directions with the same target language share its words.
    """
    from sacrebleu.metrics.bleu import BLEU

    from .statistics import References, Vocabulary

    target = split_direction(direction)[1]
    if sum(map(len, _vocabularies.values())) > WORDS_IN_MEMORY:
        _vocabularies.clear()
    if target not in _vocabularies:
        bleu = metrics(direction)["BLEU"]
        assert isinstance(bleu, BLEU)
        _vocabularies[target] = Vocabulary(bleu)
    return References(references, _vocabularies[target])


def translation_scores(hypotheses: Sequence[str], references: Sequence[str], direction: str) -> list[Score]:
    """Compute corpus BLEU, with the tokenizer of the target language, and corpus chrF++ of one direction by SacreBLEU.

    The n-grams of the references are kept for the next call, which uses them if it has the same references.

    Raises:
        InputError: there are no references, or their number differs from that of the hypotheses.
    """
    if not references:
        raise InputError(f"{direction}: no references; the test set is empty")
    if len(hypotheses) != len(references):
        raise InputError(f"{direction}: {len(hypotheses)} hypotheses for {len(references)} references; decode it again")
    tokenizer = language(split_direction(direction)[1]).bleu_tokenizer
    return [
        Score(name, metric.corpus_score(list(hypotheses), None).score, str(metric.get_signature()))
        for name, metric in _metrics_with_references(tokenizer, tuple(references)).items()
    ]
