"""Type-I error and coverage of the bootstrap over seeds and sentences, in simulations whose truth is known.

    python -m timing.significance --json significance.json

A simulated experiment has two systems without any difference, several seeds, and one score per line. The score of a
line is the sum of a part of the seed, a part of the line that all seeds share, and a part of seed and line, all normal;
or it is 1 if this sum is above a threshold and otherwise 0, as the off-target ratio. Every experiment draws new seeds
and new lines. The type-I error is the share of experiments with a p-value below 0.05; the coverage is the share of
experiments whose 95 % interval contains the true mean score of a system.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from workflow_scripts.lat.evaluation.bootstrap import (
    Floats,
    draw,
    interval,
    p_value,
    resample_means,
    two_sided_p_value,
)

LINES = 200
RESAMPLES = 1000
BATCH = 20
# Lines with a higher sum are off target in the simulation of a ratio: 31 % if the sum has the standard deviation 1.
THRESHOLD = 0.5


class Case(NamedTuple):
    """Variances of the three parts.

    They are those of the mean over seeds and lines or, if lines score 0 or 1, of the sum of one line of one seed.
    """

    name: str
    of_seeds: float
    of_lines: float
    of_both: float
    is_ratio: bool = False


CASES = (
    Case("seeds dominate", 1, 0.01, 0.01),
    Case("sentences dominate, alike for all seeds", 0.01, 1, 0.01),
    Case("sentences dominate, different for each seed", 0.01, 0.01, 1),
    Case("seeds and sentences equal", 1, 1, 0.01),
    Case("all three equal", 1, 1, 1),
    Case("ratio, seeds dominate", 0.2, 0.4, 0.4, is_ratio=True),
    Case("ratio, sentences dominate", 0.001, 0.5, 0.5, is_ratio=True),
    Case("ratio, seeds and sentences equal", 0.02, 0.5, 0.5, is_ratio=True),
    Case("ratio, some seeds near 0 %, others near 100 %", 0.8, 0.1, 0.1, is_ratio=True),
)

# A method resamples the mean over seeds from the values of the seeds and their resamples over sentences.
Method = Callable[[Floats, Floats, np.random.Generator], Floats]


class Rates(NamedTuple):
    """Type-I error and coverage, in %."""

    error: float
    coverage: float


def both(values: Floats, resamples: Floats, random: np.random.Generator) -> Floats:
    """Resample over seeds and sentences as the workflow does."""
    return resample_means(values, resamples, seed=1)


def plain(values: Floats, resamples: Floats, random: np.random.Generator) -> Floats:
    """Resample over sentences, and draw seeds with replacement."""
    seeds, number = resamples.shape
    counts = random.multinomial(seeds, np.full(seeds, 1 / seeds), size=number)
    return np.sum(counts.T * resamples, axis=0) / seeds


def sentences(values: Floats, resamples: Floats, random: np.random.Generator) -> Floats:
    """Resample over sentences alone."""
    return resamples.mean(axis=0)


METHODS: dict[str, Method] = {"both": both, "plain": plain, "sentences": sentences}


def draw_scores(case: Case, seeds: int, number: int, random: np.random.Generator) -> tuple[Floats, float]:
    """Draw line scores of several systems, of shape (number, seeds, lines), and return them with the true mean."""
    parts = np.array([case.of_seeds, case.of_lines, case.of_both])
    deviations = np.sqrt(parts / parts.sum() if case.is_ratio else parts * (seeds, LINES, seeds * LINES))
    shapes = ((number, seeds, 1), (number, 1, LINES), (number, seeds, LINES))
    sums = sum(deviation * random.normal(size=shape) for deviation, shape in zip(deviations, shapes, strict=True))
    return (1.0 * (sums > THRESHOLD), 1 - NormalDist().cdf(THRESHOLD)) if case.is_ratio else (sums, 0.0)


def simulate(case: Case, seeds: int, methods: Sequence[str], experiments: int, seed: int = 1) -> dict[str, Rates]:
    """Return type-I error and coverage of several methods, measured on the same experiments."""
    random = np.random.default_rng(seed)
    draws = draw(LINES, RESAMPLES, seed)
    errors, covered = dict.fromkeys(methods, 0), dict.fromkeys(methods, 0)
    for start in range(0, experiments, BATCH):
        systems, truth = draw_scores(case, seeds, min(BATCH, experiments - start), random)
        differences = systems - draw_scores(case, seeds, len(systems), random)[0]
        # One matrix product for many experiments is much faster than one for each.
        resamples = np.stack([systems, differences]) @ draws.T / LINES
        for one, difference, of_one, of_difference in zip(systems, differences, *resamples, strict=True):
            for method in methods:
                low, high = interval(METHODS[method](one.mean(axis=1), of_one, random))
                covered[method] += low <= truth <= high
                values = difference.mean(axis=1)
                resampled = METHODS[method](values, of_difference, random)
                errors[method] += two_sided_p_value(resampled, values.mean()) < 0.05
    return {
        method: Rates(100 * errors[method] / experiments, 100 * covered[method] / experiments) for method in methods
    }


def sacrebleu_error(experiments: int, seed: int = 1) -> float:
    """Return the type-I error, in %, of SacreBLEU's p-value for one run of each system and no variance of seeds."""
    random = np.random.default_rng(seed)
    draws = draw(LINES, RESAMPLES, seed)
    errors = 0
    for _ in range(experiments):
        system, baseline = random.normal(size=(2, LINES))
        resampled = (draws @ lines / LINES for lines in (baseline, system))
        errors += p_value(*resampled, system.mean() - baseline.mean()) < 0.05
    return 100 * errors / experiments


def main() -> None:
    """Simulate all cases, print the rates, and write them to a file."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="output file; the results are printed in any case")
    parser.add_argument("--experiments", type=int, default=4000, help="number of simulated experiments of each case")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 3, 5], help="numbers of seeds")
    arguments = parser.parse_args()
    results: dict[str, object] = {"sacrebleu, one run": sacrebleu_error(arguments.experiments)}
    for case in CASES:
        for seeds in arguments.seeds:
            methods = list(METHODS) if seeds > 1 else ["sentences"]
            rates = simulate(case, seeds, methods, arguments.experiments)
            results[f"{case.name}, {seeds} seeds"] = {method: rate._asdict() for method, rate in rates.items()}
            print(
                case.name, seeds, *(f"{method} {rate.error:.1f} {rate.coverage:.1f}" for method, rate in rates.items())
            )
    print("sacrebleu", results["sacrebleu, one run"])
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
