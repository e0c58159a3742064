"""Made-up scores of whole runs, in the frames that figures and the page are made of."""

import itertools
import math
import random
import statistics
from collections.abc import Mapping, Sequence

import pandas as pd

from workflow_scripts.lat.names import AVERAGE, REFERENCE, SHARED
from workflow_scripts.lat.reporting.charts import OFF_TARGET_LANGUAGES
from workflow_scripts.lat.reporting.page import Results
from workflow_scripts.lat.reporting.reading import Experiment

LANGUAGES = ("en", "it", "nl", "ro")
DIRECTIONS = {
    f"{source}-{target}": "supervised" if "en" in (source, target) else "zero-shot"
    for source, target in itertools.permutations(LANGUAGES, 2)
}
# Off-target ratio of zero-shot directions, and whether the system is trained.
SYSTEMS = {
    "Base": (88, False),
    "MT": (60, True),
    "Post-ins": (45, True),
    "PTL": (12, True),
    "1-shot": (72, False),
    "5-shot": (70, False),
    "C_src+lang": (30, True),
    "LAT": (4, True),
}
METRICS = ("BLEU", "chrF++", "OTR")
PARTS = [f"OTR-{kind}" for kind in OFF_TARGET_LANGUAGES]
SCORE = ["base_model", "benchmark", "system", "seed", "supervision", "direction", "metric", "value"]
MEAN = ["base_model", "benchmark", "system", "supervision", "direction", "metric"]


def make_experiment(base_model: str, seeds: int, benchmark: str = "demo") -> Experiment:
    """Return an experiment with all systems and the seeds 1, 2, ..."""
    numbers = tuple(str(seed) for seed in range(1, seeds + 1))
    runs = {system: numbers if is_trained else (SHARED,) for system, (_, is_trained) in SYSTEMS.items()}
    return Experiment(base_model, benchmark, runs, DIRECTIONS)


def make_results(experiments: Sequence[Experiment], shift: Mapping[str, float] | None = None) -> Results:
    """Return scores of all runs of some experiments.

    Args:
        experiments: the experiments.
        shift: what is added to the BLEU of some systems.
    """
    generator = random.Random(1)
    rows = []
    for entry in experiments:
        names = (entry.base_model, entry.benchmark)
        for system, runs in entry.runs.items():
            for seed in runs:
                noise = generator.gauss(0, 2)
                for direction, kind in entry.directions.items():
                    ratio = (SYSTEMS[system][0] if kind == "zero-shot" else 10) + noise + generator.gauss(0, 1)
                    ratio = min(100.0, max(0.0, ratio))
                    bleu = max(0.0, 30 - ratio / 4 + generator.gauss(0, 1) + (shift or {}).get(system, 0))
                    values = {"BLEU": bleu, "chrF++": bleu + 20, "OTR": ratio, **_split(ratio)}
                    rows += [(*names, system, seed, kind, direction, *score) for score in values.items()]
        for direction, kind in entry.directions.items():
            values = {"OTR": 1.0, **_split(1.0)}
            rows += [(*names, REFERENCE, SHARED, kind, direction, *score) for score in values.items()]
    scores = pd.DataFrame(rows, columns=SCORE).assign(n="240", signature="s")
    intervals = _make_intervals(scores)
    summary = _make_summary(intervals)
    return Results(experiments, scores, intervals, summary, _make_comparisons(summary), METRICS, "MT")


def _split(ratio: float) -> dict[str, float]:
    return dict(zip(PARTS, (ratio * share for share in (0.4, 0.3, 0.2, 0.05, 0.05)), strict=True))


def _make_intervals(scores: pd.DataFrame) -> pd.DataFrame:
    resampled = scores[scores.metric.isin(METRICS) & (scores.system != REFERENCE)][SCORE]
    names = [name for name in SCORE if name not in ("direction", "value")]
    means = resampled.groupby(names, sort=False, as_index=False).value.mean().assign(direction=AVERAGE)
    intervals = pd.concat([resampled, means], ignore_index=True)
    p = [math.nan if system == "MT" else 0.03 if system == "PTL" else 0.2 for system in intervals.system]
    return intervals.assign(low=(intervals.value - 1).clip(lower=0), high=intervals.value + 1, p=p)


def _make_summary(intervals: pd.DataFrame) -> pd.DataFrame:
    rows = []
    for names, of_runs in intervals.groupby(MEAN, sort=False):
        values = list(of_runs.value)
        mean, runs = statistics.fmean(values), len(values)
        sd = statistics.stdev(values) if runs > 1 else math.nan
        p = math.nan if names[2] == "MT" else 0.001
        corrected = math.nan if names[2] == "MT" else 0.004 if names[2] == "LAT" else 0.3
        rows.append((*names, mean, sd, max(0.0, mean - 1.5), mean + 1.5, p, corrected, runs))
    return pd.DataFrame(rows, columns=[*MEAN, "mean", "sd", "low", "high", "p", "p_corrected", "seeds"])


def _make_comparisons(summary: pd.DataFrame) -> pd.DataFrame:
    """Compare all pairs, as a run whose baselines are all of its systems does."""
    rows = []
    averages = summary[summary.direction == AVERAGE]
    columns = [name for name in MEAN if name != "system"]
    for names, of_systems in averages.groupby(columns, sort=False):
        means = dict(zip(of_systems.system, of_systems["mean"], strict=True))
        # Only one order of each pair, so that readers have to look for the other one too.
        for system, baseline in itertools.combinations(means, 2):
            difference = means[system] - means[baseline]
            row = dict(zip(columns, names, strict=True)) | {"system": system, "baseline": baseline}
            numbers = {"difference": difference, "low": difference - 1, "high": difference + 2}
            rows.append(row | numbers | {"p": 0.0002, "p_corrected": 0.028, "seeds": 3})
    return pd.DataFrame(rows)
