"""Intervals of figures and averages, and tests of systems against a baseline, from paired bootstrap resamples."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..names import AVERAGE
from .bootstrap import Floats, bleu_scores, chrf_scores, draw, interval, line_statistics, p_value
from .offtarget import Verdict
from .scores import metrics

COLUMNS = ("system", "supervision", "direction", "metric", "value", "low", "high", "p")
FROM_SUMS = {"BLEU": bleu_scores, "chrF++": chrf_scores}


class Key(NamedTuple):
    """What a figure is of; the direction is `AVG` for the mean over the directions of one kind."""

    supervision: str
    direction: str
    metric: str


@dataclass(frozen=True)
class Outputs:
    """A system's lines of one direction, their references and their verdicts."""

    hypotheses: Sequence[str]
    references: Sequence[str]
    verdicts: Sequence[str]
    learned: Mapping[str, Sequence[float]] = field(default_factory=dict)  # scores of every line by learned metric


@dataclass(frozen=True)
class Resampled:
    """A figure on the lines themselves and on every resample of them."""

    value: float
    resamples: Floats


def resampled(
    outputs: Mapping[str, Outputs], groups: Mapping[str, Sequence[str]], resamples: int, seed: int
) -> dict[Key, Resampled]:
    """BLEU, chrF++, OTR and learned metrics of every direction, and their means over the directions of each kind.

    Directions with equally many lines are resampled alike: they may be translations of one another, and then a
    resample of the test set holds the same sentences in all of them.

    Args:
        outputs: by direction.
        groups: directions by kind, `supervised` or `zero-shot`.
        resamples: how many.
        seed: of the draws; systems with the same seed are paired.
    """
    draws: dict[int, Floats] = {}
    found: dict[Key, Resampled] = {}
    for supervision, directions in groups.items():
        for direction in directions:
            its = outputs[direction]
            lines = len(its.references)
            if lines not in draws:
                draws[lines] = draw(lines, resamples, seed)
            for name, metric in metrics(direction).items():
                statistics = line_statistics(metric, its.hypotheses, its.references)
                score = FROM_SUMS[name]
                found[Key(supervision, direction, name)] = Resampled(
                    float(score(statistics.sum(axis=0))), score(draws[lines] @ statistics)
                )
            off_target = np.array([verdict != Verdict.TARGET for verdict in its.verdicts], dtype=np.float64)
            found[Key(supervision, direction, "OTR")] = Resampled(
                100 * float(off_target.mean()), 100 * (draws[lines] @ off_target) / lines
            )
            for name, scores in its.learned.items():
                found[Key(supervision, direction, name)] = Resampled(
                    float(np.mean(scores)), draws[lines] @ np.asarray(scores) / lines
                )
        for name in dict.fromkeys(key.metric for key in found):
            parts = [found[Key(supervision, direction, name)] for direction in directions]
            if parts:
                found[Key(supervision, AVERAGE, name)] = Resampled(
                    float(np.mean([part.value for part in parts])),
                    np.mean([part.resamples for part in parts], axis=0),
                )
    return found


def significance_rows(systems: Mapping[str, Mapping[Key, Resampled]], baseline: str) -> list[dict[str, Any]]:
    """A row a figure: its 95 % interval, and its p-value where the baseline is another of the systems."""
    rows = []
    for system, figures in systems.items():
        for key, figure in figures.items():
            low, high = interval(figure.resamples)
            row = {"system": system, **key._asdict(), "value": figure.value, "low": low, "high": high}
            row = {name: f"{value:.4f}" if isinstance(value, float) else value for name, value in row.items()}
            row["p"] = ""
            if baseline in systems and system != baseline:
                other = systems[baseline][key]
                row["p"] = f"{p_value(other.resamples, figure.resamples, figure.value - other.value):.4f}"
            rows.append(row)
    return rows
