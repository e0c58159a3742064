"""BLEU and chrF++ of one direction, each with the signature that says how it was made."""

from collections.abc import Sequence
from typing import NamedTuple

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from ..files import InputError
from ..languages import languages, split_direction


class Score(NamedTuple):
    """A figure of a metric and its signature."""

    metric: str
    value: float
    signature: str


def metrics(direction: str) -> dict[str, BLEU | CHRF]:
    """BLEU with the tokeniser of a direction's target language, and chrF++, by name."""
    tokenizer = languages()[split_direction(direction)[1]].bleu_tokenizer
    return {"BLEU": BLEU(tokenize=tokenizer), "chrF++": CHRF(word_order=2)}


def translation_scores(hypotheses: Sequence[str], references: Sequence[str], direction: str) -> list[Score]:
    """Corpus BLEU, with the target language's tokeniser, and chrF++ of one direction, by SacreBLEU.

    Raises:
        InputError: the two have different numbers of lines.
    """
    if len(hypotheses) != len(references):
        raise InputError(f"{direction}: {len(hypotheses)} hypotheses for {len(references)} references; decode it again")
    return [
        Score(name, metric.corpus_score(list(hypotheses), [list(references)]).score, str(metric.get_signature()))
        for name, metric in metrics(direction).items()
    ]
