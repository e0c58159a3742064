"""Which scores are better, which systems count, and the correction for several tests: what all tables agree on."""

from collections.abc import Collection, Hashable, Mapping
from typing import TypeVar

# The only other metrics of which lower is better are learned metrics of these kinds, whatever their names are.
LOWER_IS_BETTER = frozenset({"OTR"})
KINDS_LOWER_IS_BETTER = frozenset({"metricx"})
# A system with a lower BLEU does not translate. Its off-target ratio may be low nevertheless, and means nothing.
DEGENERATE_BLEU = 1.0
# With fewer seeds, the variation between them cannot be estimated in a useful way: the 95 % t-interval of two seeds
# extends 12.7 standard errors to each side.
MINIMUM_SEEDS = 3

Name = TypeVar("Name", bound=Hashable)


def is_lower_better(metric: str, learned: Collection[str]) -> bool:
    """Return whether a lower score of a metric is the better one.

    Args:
        metric: name of the metric.
        learned: names of the learned metrics of which lower is better.
    """
    return metric in LOWER_IS_BETTER or metric in learned


def holm(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Correct the p-values of several tests by the method of Holm (1979)."""
    corrected = {}
    highest = 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        highest = max(highest, min(1.0, (len(p_values) - rank) * p))
        corrected[name] = highest
    return corrected
