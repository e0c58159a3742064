"""Paired bootstrap resampling (Koehn 2004) of corpus scores, computed for all resamples of a system at once.

A corpus score is a function of statistics that are summed over lines. One matrix product therefore gives the sums of
all resamples: the matrix of how often each resample drew each line, times the matrix of line statistics. Draws,
intervals and p-values are the same as those of `sacrebleu --paired-bs`, which loops over the resamples instead; the
tests compare the two.
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
    """Draw lines with replacement, and count how often each resample drew each line.

    The same arguments give the same draws, so that the resamples of two systems are paired.

    Args:
        lines: number of lines.
        resamples: number of resamples.
        seed: random seed.

    Returns:
        Counts of shape (resamples, lines); every row adds up to `lines`.
    """
    chosen = np.random.default_rng(seed).choice(lines, size=(resamples, lines), replace=True)
    counts = np.zeros((resamples, lines))
    np.add.at(counts, (np.arange(resamples)[:, None], chosen), 1)
    return counts


def line_statistics(metric: BLEU | CHRF, hypotheses: Sequence[str], references: Sequence[str]) -> Floats:
    """Return the statistics of a metric for every line, of shape (lines, statistics)."""
    # SacreBLEU has no public function for this; its own significance tests call the private one as well.
    return np.asarray(metric._extract_corpus_statistics(list(hypotheses), [list(references)]), dtype=np.float64)


def bleu_scores(sums: Floats) -> Floats:
    """Compute corpus BLEU with exponential smoothing, the default of SacreBLEU, from summed line statistics.

    Args:
        sums: shape (..., 2 + 2 * order): the lengths of output and reference, then the number of matching n-grams of
            each order, then the number of all output n-grams of each order.

    Returns:
        Scores from 0 to 100, of shape (...).
    """
    output, reference = sums[..., 0], sums[..., 1]
    correct, total = sums[..., 2 : 2 + BLEU_ORDER], sums[..., 2 + BLEU_ORDER :]
    # Exponential smoothing: the first order without a match counts as 1/2 match, the second one as 1/4, and so on.
    halvings = np.cumsum((correct == 0) & (total > 0), axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        precisions = np.where(correct > 0, correct, 0.5**halvings) / total
        brevity = np.where(output < reference, np.exp(1 - reference / output), 1.0)
        scores = 100 * brevity * np.exp(np.log(precisions).mean(axis=-1))
    return np.where((correct > 0).any(axis=-1) & (total > 0).all(axis=-1), scores, 0.0)


def chrf_scores(sums: Floats) -> Floats:
    """Compute corpus chrF from summed line statistics.

    Args:
        sums: shape (..., 3 * orders): per order, the number of n-grams in the output, in the reference and in both.

    Returns:
        Scores from 0 to 100, of shape (...).
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
    """Return the lower and upper bound of the middle 95 % of resampled scores."""
    ordered = np.sort(scores)
    outside = len(ordered) // 40
    return float(ordered[outside]), float(ordered[-outside - 1])


def p_value(baseline: Floats, system: Floats, difference: float) -> float:
    """Return the probability that a difference at least as large as the observed one arises by chance.

    Args:
        baseline: scores of one system, one per resample.
        system: scores of the other system on the same resamples.
        difference: observed difference between the scores of the two systems on the original lines.
    """
    if difference == 0 and np.array_equal(baseline, system):
        return 1.0  # SacreBLEU would report equal outputs as significantly different.
    differences = np.abs(system - baseline)
    beyond = int(np.sum(differences - differences.mean() > abs(difference)))
    return (beyond + 1) / (len(differences) + 1)
