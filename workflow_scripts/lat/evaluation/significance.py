"""Confidence intervals of scores and their averages, and tests against a baseline, by paired bootstrap resampling."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from ..languages import split_direction
from ..names import AVERAGE
from .bootstrap import Floats, bleu_scores, chrf_scores, draw, interval, line_statistics, p_value
from .scores import metrics

COLUMNS = ("system", "supervision", "direction", "metric", "value", "low", "high", "p")
# The functions that compute a corpus score from summed line statistics.
CORPUS_SCORES = {"BLEU": bleu_scores, "chrF++": chrf_scores}


class Key(NamedTuple):
    """What a score of one system belongs to.

    `supervision` is `supervised` or `zero-shot`; `direction` is `AVG` for the mean over all directions with the same
    supervision.
    """

    supervision: str
    direction: str
    metric: str


@dataclass(frozen=True)
class Outputs:
    """The output lines of a system in one direction, with their references, labels and learned-metric scores.

    `labels` are the most probable languages of the lines. `learned` maps the name of a learned metric to one score per
    line.
    """

    hypotheses: Sequence[str]
    references: Sequence[str]
    labels: Sequence[str]
    learned: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class ResampledScore:
    """A score on the original lines, and the same score on every resample of them (shape: resamples)."""

    value: float
    resamples: Floats


def resample_scores(
    outputs: Mapping[str, Outputs], groups: Mapping[str, Sequence[str]], resamples: int, seed: int
) -> dict[Key, ResampledScore]:
    """Compute BLEU, chrF++, OTR and learned metrics of every direction, and their means over each group of directions.

    Directions with the same number of lines use the same draws: their test sets may be translations of one another,
    and then a resample holds the same sentences in all of them.

    Args:
        outputs: the outputs of one system, by direction.
        groups: directions by supervision, `supervised` or `zero-shot`.
        resamples: number of resamples.
        seed: random seed of the draws; systems with the same seed are paired.
    """
    draws: dict[int, Floats] = {}
    scores: dict[Key, ResampledScore] = {}
    for supervision, directions in groups.items():
        for direction in directions:
            output = outputs[direction]
            lines = len(output.references)
            if lines not in draws:
                draws[lines] = draw(lines, resamples, seed)
            for name, metric in metrics(direction).items():
                statistics = line_statistics(metric, output.hypotheses, output.references)
                corpus_score = CORPUS_SCORES[name]
                scores[Key(supervision, direction, name)] = ResampledScore(
                    float(corpus_score(statistics.sum(axis=0))), corpus_score(draws[lines] @ statistics)
                )
            target = split_direction(direction)[1]
            off_target = np.array([label != target for label in output.labels], dtype=np.float64)
            scores[Key(supervision, direction, "OTR")] = ResampledScore(
                100 * float(off_target.mean()), 100 * (draws[lines] @ off_target) / lines
            )
            for name, line_scores in output.learned.items():
                scores[Key(supervision, direction, name)] = ResampledScore(
                    float(np.mean(line_scores)), draws[lines] @ np.asarray(line_scores) / lines
                )
        for name in dict.fromkeys(key.metric for key in scores):
            parts = [scores[Key(supervision, direction, name)] for direction in directions]
            if parts:
                scores[Key(supervision, AVERAGE, name)] = ResampledScore(
                    float(np.mean([part.value for part in parts])),
                    np.mean([part.resamples for part in parts], axis=0),
                )
    return scores


def significance_rows(systems: Mapping[str, Mapping[Key, ResampledScore]], baseline: str) -> list[dict[str, Any]]:
    """Return one row per system and score, with its 95 % interval and its p-value against the baseline.

    The p-value is empty for the baseline itself, and for all systems if the baseline is not among them.
    """
    rows = []
    for system, scores in systems.items():
        for key, score in scores.items():
            low, high = interval(score.resamples)
            row = {"system": system, **key._asdict(), "value": score.value, "low": low, "high": high}
            row = {name: f"{value:.4f}" if isinstance(value, float) else value for name, value in row.items()}
            row["p"] = ""
            if baseline in systems and system != baseline:
                other = systems[baseline][key]
                row["p"] = f"{p_value(other.resamples, score.resamples, score.value - other.value):.4f}"
            rows.append(row)
    return rows
