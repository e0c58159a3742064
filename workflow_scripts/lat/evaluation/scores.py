"""BLEU and chrF++ of one direction, each with its SacreBLEU signature."""

from collections.abc import Sequence
from typing import NamedTuple

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from ..files import InputError
from ..languages import languages, split_direction

METRICS = ("BLEU", "chrF++")  # the metrics of every direction


class Score(NamedTuple):
    """A score of one direction by a SacreBLEU metric, from 0 to 100.

    `OffTargetScore` in `offtarget.py` is the score of one direction by language identification. It holds the number of
    lines it was computed on, which differs between off-target scores, whereas a `Score` covers all lines.
    """

    metric: str
    value: float
    signature: str


def metrics(direction: str) -> dict[str, BLEU | CHRF]:
    """Return BLEU, with the tokenizer of the direction's target language, and chrF++, by name."""
    tokenizer = languages()[split_direction(direction)[1]].bleu_tokenizer
    return {"BLEU": BLEU(tokenize=tokenizer), "chrF++": CHRF(word_order=2)}


def translation_scores(hypotheses: Sequence[str], references: Sequence[str], direction: str) -> list[Score]:
    """Compute corpus BLEU, with the tokenizer of the target language, and corpus chrF++ of one direction by SacreBLEU.

    Raises:
        InputError: the numbers of hypotheses and references differ.
    """
    if len(hypotheses) != len(references):
        raise InputError(f"{direction}: {len(hypotheses)} hypotheses for {len(references)} references; decode it again")
    return [
        Score(name, metric.corpus_score(list(hypotheses), [list(references)]).score, str(metric.get_signature()))
        for name, metric in metrics(direction).items()
    ]
