"""Figures of one direction: off-target ratio, BLEU and chrF++, each with the signature that says how it was made."""

from collections.abc import Sequence
from typing import NamedTuple

from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from .files import InputError
from .languages import languages, split_direction

SCORE_COLUMNS = ("direction", "metric", "value", "n", "signature")


class Score(NamedTuple):
    """A figure of a metric and its signature."""

    metric: str
    value: float
    signature: str


def off_target_ratio(labels: Sequence[str], target: str) -> float:
    """Share of lines, in %, whose top-1 label is not `target`; an empty line, which has no label, is off target.

    Raises:
        InputError: there are no lines.
    """
    if not labels:
        raise InputError("off-target ratio of no lines; the test set is empty")
    return 100 * sum(label != target for label in labels) / len(labels)


def translation_scores(hypotheses: Sequence[str], references: Sequence[str], direction: str) -> list[Score]:
    """Corpus BLEU, with the target language's tokeniser, and chrF++ of one direction, by SacreBLEU.

    Raises:
        InputError: the two have different numbers of lines.
    """
    if len(hypotheses) != len(references):
        raise InputError(f"{direction}: {len(hypotheses)} hypotheses for {len(references)} references; decode it again")
    bleu = BLEU(tokenize=languages()[split_direction(direction)[1]].bleu_tokenizer)
    chrf = CHRF(word_order=2)
    return [
        Score(name, metric.corpus_score(list(hypotheses), [list(references)]).score, str(metric.get_signature()))
        for name, metric in (("BLEU", bleu), ("chrF++", chrf))
    ]
