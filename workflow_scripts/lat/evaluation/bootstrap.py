"""Paired bootstrap resampling (Koehn 2004) of corpus figures, for all resamples of a system in one product.

A corpus figure is a function of sums over lines, so that the sums of every resample are one matrix product: how often a
resample drew each line, times the lines' statistics. Draws, intervals and p-values are those of `sacrebleu
--paired-bs`, whose loop over resamples this replaces; the tests compare the two.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

Floats = NDArray[np.float64]

BLEU_ORDER = 4
CHRF_BETA = 2


def draw(lines: int, resamples: int, seed: int) -> Floats:
    """How often each resample draws each line: (resamples, lines), every row adding up to `lines`.

    The same lines and seed give the same draws, which is what makes two systems' resamples pairs.
    """
    chosen = np.random.default_rng(seed).choice(lines, size=(resamples, lines), replace=True)
    counts = np.zeros((resamples, lines))
    np.add.at(counts, (np.arange(resamples)[:, None], chosen), 1)
    return counts


def line_statistics(metric: BLEU | CHRF, hypotheses: Sequence[str], references: Sequence[str]) -> Floats:
    """A metric's statistics of every line: (lines, statistics)."""
    # SacreBLEU has no public way to them; its own significance tests enter here, too.
    return np.asarray(metric._extract_corpus_statistics(list(hypotheses), [list(references)]), dtype=np.float64)


def bleu_scores(sums: Floats) -> Floats:
    """Corpus BLEU with exponential smoothing, SacreBLEU's default, of each row of summed statistics.

    Args:
        sums: (..., 2 + 2 * order): lengths of output and reference, then matching and all n-grams by order.
    """
    output, reference = sums[..., 0], sums[..., 1]
    correct, total = sums[..., 2 : 2 + BLEU_ORDER], sums[..., 2 + BLEU_ORDER :]
    # An order without a match counts as half a match, the next one as a quarter.
    halvings = np.cumsum((correct == 0) & (total > 0), axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precisions = np.where(correct > 0, correct, 0.5**halvings) / total
        brevity = np.where(output < reference, np.exp(1 - reference / output), 1.0)
        scores = 100 * brevity * np.exp(np.log(precisions).mean(axis=-1))
    return np.where((correct > 0).any(axis=-1) & (total > 0).all(axis=-1), scores, 0.0)


def chrf_scores(sums: Floats) -> Floats:
    """Corpus chrF of each row of summed statistics.

    Args:
        sums: (..., 3 * orders): of each order the n-grams of the output, of the reference and of both.
    """
    output, reference, match = sums[..., 0::3], sums[..., 1::3], sums[..., 2::3]
    counted = (output > 0) & (reference > 0)
    orders = np.maximum(counted.sum(axis=-1), 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(counted, match / output, 0.0).sum(axis=-1) / orders
        recall = np.where(counted, match / reference, 0.0).sum(axis=-1) / orders
        scores = 100 * (1 + CHRF_BETA**2) * precision * recall / (CHRF_BETA**2 * precision + recall)
    return np.where(precision + recall > 0, scores, 0.0)


def interval(scores: Floats) -> tuple[float, float]:
    """Bounds of the middle 95 % of resampled figures."""
    ordered = np.sort(scores)
    outside = len(ordered) // 40
    return float(ordered[outside]), float(ordered[-outside - 1])


def p_value(baseline: Floats, system: Floats, difference: float) -> float:
    """How likely a difference between two systems as large as the one found is by chance.

    Args:
        baseline: figures of one system over the resamples.
        system: figures of the other over the same resamples.
        difference: between the two systems' figures on the lines themselves.
    """
    if difference == 0 and np.array_equal(baseline, system):
        return 1.0  # sacrebleu calls equal outputs significantly different
    differences = np.abs(system - baseline)
    beyond = int(np.sum(differences - differences.mean() > abs(difference)))
    return (beyond + 1) / (len(differences) + 1)
