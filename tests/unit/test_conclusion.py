"""The first sentence of the page is true whatever the scores are."""

import pandas as pd
import pytest
from made_up import make_experiment, make_results

from workflow_scripts.lat.reporting.conclusion import compared_pair, conclusion
from workflow_scripts.lat.reporting.reading import Experiment

DIRECTIONS = {"it-nl": "zero-shot", "en-it": "supervised"}


def experiment(seeds: int, *systems: str) -> Experiment:
    numbers = tuple(map(str, range(1, seeds + 1))) or ("shared",)
    return Experiment("gemma", "demo", dict.fromkeys(systems, numbers), DIRECTIONS)


def frames(scores: dict[str, tuple[float, float]], p: float):
    """Summary and comparisons with the BLEU and OTR of each system, all of whose differences have the same p-value."""
    names = {"base_model": "gemma", "benchmark": "demo", "supervision": "zero-shot", "direction": "AVG"}
    summary = [
        names | {"system": system, "metric": metric, "mean": mean, "low": mean - 0.5, "high": mean + 0.5}
        for system, values in scores.items()
        for metric, mean in zip(("BLEU", "OTR"), values, strict=True)
    ]
    comparisons = [
        names | {"system": system, "baseline": other, "metric": metric, "p_corrected": p}
        for system in scores
        for other in scores
        for metric in ("BLEU", "OTR")
        if system != other
    ]
    # A row of another direction, which must not be read.
    summary.append(summary[0] | {"direction": "it-nl", "mean": 99.0})
    columns = [*names, "system", "baseline", "metric", "p_corrected"]
    return pd.DataFrame(summary), pd.DataFrame(comparisons, columns=columns)


def test_the_best_system_is_compared_with_the_baseline_and_the_runner_up():
    found = conclusion(
        experiment(5, "MT", "Post-ins", "LAT"),
        *frames({"MT": (3.1, 59.2), "Post-ins": (6.0, 30.0), "LAT": (5.8, 0.4)}, 0.01),
        "MT",
    )
    assert found == (
        "LAT is off target in 0.4 % [-0.1, 0.9] of zero-shot lines, MT in 59.2 % [58.7, 59.7]; Post-ins has the"
        " highest zero-shot BLEU, 6.0, and LAT is next with 5.8; 5 training seeds."
    )


def test_differences_without_significance_are_said_to_be_possible_chance():
    found = conclusion(experiment(1, "MT", "LAT"), *frames({"MT": (5.7, 2.0), "LAT": (5.8, 1.5)}, 0.3), "MT")
    assert found.count("(a difference that may be chance)") == 2
    assert found.endswith("; 1 training seed, too few to tell how trainings vary.")


def test_a_baseline_that_is_the_best_is_compared_with_the_next_system():
    found = conclusion(experiment(3, "MT", "LAT"), *frames({"MT": (7.0, 1.0), "LAT": (5.0, 9.0)}, 0.01), "MT")
    assert found.startswith(
        "MT is off target in 1.0 % [0.5, 1.5] of zero-shot lines, and the next system, LAT, in 9.0 % [8.5, 9.5]; MT has"
    )


def test_systems_that_do_not_translate_do_not_count():
    scores = {"Base": (0.2, 0.0), "MT": (3.0, 50.0)}
    found = conclusion(experiment(0, *scores), *frames(scores, 0.01), "MT")
    assert found == "MT is off target in 50.0 % [49.5, 50.5] of zero-shot lines; no system is trained."
    assert conclusion(experiment(1, "Base"), *frames({"Base": (0.2, 0.0)}, 0.01), "MT") == ""


def test_without_zero_shot_directions_nothing_is_said():
    summary, comparisons = frames({"MT": (3.0, 50.0)}, 0.01)
    supervised = summary.assign(supervision="supervised")
    assert conclusion(experiment(1, "MT"), supervised, comparisons, "MT") == ""


@pytest.mark.parametrize("seeds", [1, 2, 3])
def test_scores_of_whole_runs_give_a_sentence(seeds):
    entry = make_experiment("tiny", seeds)
    results = make_results([entry])
    found = conclusion(entry, results.summary, results.comparisons, "MT")
    assert found.startswith("LAT is off target in ") and f"; {seeds} training seed" in found


def test_the_baseline_is_compared_with_the_system_that_is_off_target_least_often():
    scores = {"Base": (0.5, 0.0), "MT": (3.1, 59.2), "Post-ins": (6.0, 30.0), "LAT": (5.8, 0.4)}
    summary, _ = frames(scores, 0.01)
    assert compared_pair(experiment(5, *scores), summary, "MT") == ("MT", "LAT")
    # Without the baseline, the first other system takes its place; systems that do not translate are not the best.
    assert compared_pair(experiment(5, *scores), summary, "PTL") == ("Base", "LAT")
    best, _ = frames({"MT": (7.0, 1.0), "LAT": (5.0, 9.0)}, 0.01)
    assert compared_pair(experiment(3, "MT", "LAT"), best, "MT") == ("MT", "LAT")
    assert compared_pair(experiment(3, "MT"), best, "MT") == ()
    degenerate, _ = frames({"MT": (0.1, 1.0), "LAT": (0.2, 9.0)}, 0.01)
    assert compared_pair(experiment(3, "MT", "LAT"), degenerate, "LAT") == ("LAT", "MT")
