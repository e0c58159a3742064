"""Confidence intervals and tests of the scores of an experiment, over test sentences and training seeds."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from ..names import AVERAGE
from .bootstrap import (
    Floats,
    bleu_scores,
    chrf_scores,
    interval,
    p_value,
    resample_means,
    two_sided_p_value,
)
from .ranking import DEGENERATE_BLEU, holm, is_lower_better
from .scores import prepare_references

_SCORE = ("supervision", "direction", "metric")
INTERVAL_COLUMNS = ("system", "seed", *_SCORE, "value", "low", "high", "p")
SUMMARY_COLUMNS = ("system", *_SCORE, "mean", "sd", "low", "high", "p", "p_corrected", "seeds")
COMPARISON_COLUMNS = ("system", "baseline", *_SCORE, "difference", "low", "high", "p", "p_corrected", "seeds")

# The functions that compute a corpus score from summed line statistics.
CORPUS_SCORES = {"BLEU": bleu_scores, "chrF++": chrf_scores}
# Metrics from 0 to 100; learned metrics may have any scale.
PERCENTAGES = (*CORPUS_SCORES, "OTR")


class Key(NamedTuple):
    """What a score belongs to.

    `supervision` is `supervised` or `zero-shot`; `direction` is `AVG` for the mean over all directions with the same
    supervision.
    """

    supervision: str
    direction: str
    metric: str


@dataclass(frozen=True)
class Outputs:
    """The output lines of one run of a system in one direction.

    Attributes:
        hypotheses: the lines.
        off_target: whether the most probable language of a line is not the target language.
        learned: one score per line, by name of the learned metric.
    """

    hypotheses: Sequence[str]
    off_target: NDArray[np.bool_]
    learned: Mapping[str, Floats] = field(default_factory=dict)


@dataclass(frozen=True)
class RunScores:
    """A score of all runs of a system, on the original lines and on every resample of them.

    Attributes:
        values: shape (runs).
        resamples: shape (runs, resamples).
    """

    values: Floats
    resamples: Floats

    def __add__(self, other: Self) -> "RunScores":
        return RunScores(self.values + other.values, self.resamples + other.resamples)

    def __sub__(self, other: Self) -> "RunScores":
        """Subtract the scores of runs with the same seed; the only run of a shared system belongs to every seed."""
        return RunScores(self.values - other.values, self.resamples - other.resamples)

    def __truediv__(self, number: int) -> "RunScores":
        return RunScores(self.values / number, self.resamples / number)

    @property
    def mean(self) -> float:
        """Mean over the runs."""
        return float(self.values.mean())


class Comparison(NamedTuple):
    """The mean difference between two systems, its 95 % interval, its p-value, and the number of paired runs."""

    difference: float
    low: float
    high: float
    p: float
    seeds: int


def resample_scores(
    direction: str, systems: Mapping[str, Sequence[Outputs]], references: Sequence[str], draws: Floats
) -> dict[str, dict[str, RunScores]]:
    """Compute BLEU, chrF++, OTR and learned metrics of one direction, by system and metric.

    Args:
        direction: the direction.
        systems: the output lines of each run of each system.
        references: the reference lines.
        draws: how often each resample drew each line, of shape (resamples, lines). Directions with the same number of
            lines should have the same draws: their test sets may be translations of one another, and then a resample
            holds the same sentences in all of them.
    """
    prepared = prepare_references(references, direction)
    scores: dict[str, dict[str, RunScores]] = {}
    for system, runs in systems.items():
        found: dict[str, list[tuple[float, Floats]]] = {}
        for outputs in runs:
            for name, statistics in prepared.statistics(outputs.hypotheses).items():
                corpus_score = CORPUS_SCORES[name]
                score = float(corpus_score(statistics.sum(axis=0))), corpus_score(draws @ statistics)
                found.setdefault(name, []).append(score)
            for name, of_lines in {"OTR": 100.0 * outputs.off_target, **outputs.learned}.items():
                found.setdefault(name, []).append((float(of_lines.mean()), draws @ of_lines / len(references)))
        scores[system] = {
            name: RunScores(np.array([value for value, _ in of_runs]), np.stack([drawn for _, drawn in of_runs]))
            for name, of_runs in found.items()
        }
    return scores


class SignificanceTables:
    """The rows of the tables of intervals, means over seeds and comparisons of one experiment.

    Directions are added one by one, so that only the resamples of one direction, and the sums over the directions, are
    in memory.

    Attributes:
        runs: the runs of each system, as in the column `seed`, in the order of the rows.
        baselines: systems that all others are tested against; the first one is that of the column `p` of the tables of
            intervals and means. Baselines that are not among the systems are left out.
        seed: random seed of the draws of `resample_means`.
        lower_is_better: learned metrics of which lower is better, which decides which systems are the best.
    """

    def __init__(
        self,
        runs: Mapping[str, Sequence[str]],
        baselines: Sequence[str],
        seed: int,
        lower_is_better: Collection[str] = (),
    ) -> None:
        self.runs, self.baselines, self.seed = runs, tuple(dict.fromkeys(baselines)), seed
        self.lower_is_better = lower_is_better
        self._intervals: list[dict[str, Any]] = []
        self._summary: list[dict[str, Any]] = []
        self._comparisons: list[dict[str, Any]] = []
        self._sums: dict[str, dict[str, RunScores]] = {}
        self._directions = 0

    @property
    def intervals(self) -> list[dict[str, Any]]:
        """One row per run and score: the score and its interval and p-value by bootstrap over sentences alone."""
        return self._sorted(self._intervals)

    @property
    def summary(self) -> list[dict[str, Any]]:
        """One row per system and score: mean over the runs, standard deviation, interval and p-values."""
        return self._sorted(self._summary)

    @property
    def comparisons(self) -> list[dict[str, Any]]:
        """One row per system, baseline and score, and the best two systems of each mean over directions."""
        return self._sorted(self._comparisons)

    def _sorted(self, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Sort rows by system, run and baseline, and leave the order of the rows about each of them as it is."""
        systems = list(self.runs)
        baselines = list(dict.fromkeys((*self.baselines, *systems)))

        def position(row: Mapping[str, Any]) -> tuple[int, int, int]:
            system = row["system"]
            run = self.runs[system].index(row["seed"]) if "seed" in row else 0
            return systems.index(system), run, baselines.index(row["baseline"]) if "baseline" in row else 0

        return sorted(rows, key=position)

    def add_direction(self, supervision: str, direction: str, scores: Mapping[str, Mapping[str, RunScores]]) -> None:
        """Add the rows of one direction.

        Args:
            supervision: kind of the direction, which must be that of all directions since the last `add_average`.
            direction: the direction.
            scores: the scores of all systems, by system and metric.
        """
        of_metrics: dict[str, dict[str, RunScores]] = {}
        for system in self.runs:
            for metric, score in scores[system].items():
                of_metrics.setdefault(metric, {})[system] = score
        for metric, of_systems in of_metrics.items():
            self._add(Key(supervision, direction, metric), of_systems)
            sums = self._sums.setdefault(metric, {})
            for system, score in of_systems.items():
                sums[system] = sums[system] + score if system in sums else score
        self._directions += 1

    def add_average(self, supervision: str) -> None:
        """Add the rows of the means over the directions that were added since the last call."""
        means = {
            metric: {system: total / self._directions for system, total in of_systems.items()}
            for metric, of_systems in self._sums.items()
        }
        for metric, of_systems in means.items():
            # Rounded as in the table, so that the choice of the best systems can be repeated with its numbers.
            candidates = {
                system: round(score.mean, 4)
                for system, score in of_systems.items()
                if round(means["BLEU"][system].mean, 4) >= DEGENERATE_BLEU
            }
            # The sort is stable: of systems with equal scores, the one that comes first in the tables is the better.
            is_reversed = not is_lower_better(metric, self.lower_is_better)
            ranked = sorted(candidates, key=lambda system: candidates[system], reverse=is_reversed)
            self._add(Key(supervision, AVERAGE, metric), of_systems, ranked[:2])
        self._sums, self._directions = {}, 0

    def _add(self, key: Key, scores: Mapping[str, RunScores], best: Sequence[str] = ()) -> None:
        """Add the rows of one score to all tables.

        Args:
            key: what the score belongs to.
            scores: the score of each system.
            best: the best system and the runner-up, which are compared even if neither is a baseline.
        """
        comparisons: dict[tuple[str, str], Comparison] = {}
        corrected: dict[tuple[str, str], float] = {}
        for baseline in self.baselines:
            if baseline in scores:
                found = {
                    (system, baseline): self._compare(score, scores[baseline])
                    for system, score in scores.items()
                    if system != baseline
                }
                comparisons |= found
                corrected |= holm({pair: comparison.p for pair, comparison in found.items()})
        if len(best) == 2 and not set(best) & set(self.baselines):
            pair = best[0], best[1]
            comparisons[pair] = self._compare(scores[best[0]], scores[best[1]])
            # The pair was chosen by its scores, so that the test is one of those of all pairs.
            pairs = len(scores) * (len(scores) - 1) // 2
            corrected[pair] = min(1.0, pairs * comparisons[pair].p)
        for (system, baseline), comparison in comparisons.items():
            names = {"system": system, "baseline": baseline, **key._asdict()}
            numbers = comparison._asdict() | {"p_corrected": corrected[system, baseline]}
            self._comparisons.append(_formatted(names | numbers))
        for system, score in scores.items():
            pair = system, self.baselines[0]
            self._add_runs(key, system, score, None if system == pair[1] else scores.get(pair[1]))
            self._add_mean(key, system, score, comparisons.get(pair), corrected.get(pair))

    def _add_runs(self, key: Key, system: str, score: RunScores, baseline: RunScores | None) -> None:
        """Add the row of each run of a system to the table of intervals.

        The p-value compares runs with the same seed. A shared run of the baseline belongs to every seed, and a shared
        run of the system is compared with the mean over the runs of the baseline.
        """
        if baseline is not None and len(baseline.values) != len(score.values):
            baseline = RunScores(baseline.values.mean(keepdims=True), baseline.resamples.mean(axis=0, keepdims=True))
        for number, run in enumerate(self.runs[system]):
            value, (low, high) = float(score.values[number]), interval(score.resamples[number])
            p: float | str = ""
            if baseline is not None:
                other = number % len(baseline.values)
                p = p_value(baseline.resamples[other], score.resamples[number], value - float(baseline.values[other]))
            names = {"system": system, "seed": run, **key._asdict()}
            self._intervals.append(_formatted(names | {"value": value, "low": low, "high": high, "p": p}))

    def _add_mean(
        self, key: Key, system: str, score: RunScores, comparison: Comparison | None, corrected: float | None
    ) -> None:
        """Add the row of a system to the table of means over the runs.

        Args:
            key: what the score belongs to.
            system: the system.
            score: its score.
            comparison: its comparison with the first baseline, if there is one.
            corrected: the corrected p-value of this comparison.
        """
        low, high = interval(resample_means(score.values, score.resamples, self.seed))
        if key.metric in PERCENTAGES:
            low, high = max(0.0, low), min(100.0, high)
        runs = len(score.values)
        row = {"system": system, **key._asdict(), "mean": score.mean, "low": low, "high": high, "seeds": runs}
        row["sd"] = float(score.values.std(ddof=1)) if runs > 1 else ""
        row["p"] = "" if comparison is None else comparison.p
        row["p_corrected"] = "" if corrected is None else corrected
        self._summary.append(_formatted(row))

    def _compare(self, system: RunScores, baseline: RunScores) -> Comparison:
        difference = system - baseline
        resampled = resample_means(difference.values, difference.resamples, self.seed)
        p = two_sided_p_value(resampled, difference.mean)
        return Comparison(difference.mean, *interval(resampled), p, len(difference.values))


def _formatted(row: Mapping[str, Any]) -> dict[str, Any]:
    """Format the numbers of a row with four decimals, without a sign before zero."""
    return {name: f"{round(value, 4) + 0.0:.4f}" if isinstance(value, float) else value for name, value in row.items()}
