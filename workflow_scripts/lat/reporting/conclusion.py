"""One sentence that says what the scores of an experiment show, whatever they are.

It names the system that is off target least often in zero-shot directions and the baseline, with their intervals, and
then the system with the highest zero-shot BLEU and the runner-up. A difference that is not significant is said to be
one. The sentence is made from the tables alone, so that it claims nothing that they do not show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..evaluation.ranking import DEGENERATE_BLEU, MINIMUM_SEEDS
from ..names import AVERAGE, SHARED
from .reading import Experiment
from .tables import SIGNIFICANT

if TYPE_CHECKING:
    import pandas as pd

ZERO_SHOT = "zero-shot"


def conclusion(experiment: Experiment, summary: pd.DataFrame, comparisons: pd.DataFrame, baseline: str) -> str:
    """Return the sentence; empty if the experiment has no zero-shot directions or no system that translates.

    Systems with a mean zero-shot BLEU below `DEGENERATE_BLEU` do not count: an output without any translation may be in
    the requested language.

    Args:
        experiment: the experiment.
        summary: means over seeds, with intervals.
        comparisons: differences between them.
        baseline: the system that the others are tested against; it may be absent from the experiment.
    """
    candidates, otr, bleu = _zero_shot(experiment, summary)
    if not candidates or not otr:
        return ""
    tests = {
        (row["metric"], *sorted((row["system"], row["baseline"]))): row for row in _averages(comparisons, experiment)
    }
    parts = [_off_target(candidates, otr, tests, baseline), _quality(candidates, bleu, tests)]
    return f"{'; '.join(part for part in parts if part)}; {_seeds(experiment)}."


def compared_pair(experiment: Experiment, summary: pd.DataFrame, baseline: str) -> tuple[str, ...]:
    """Return the two systems whose outputs are compared first; empty if the experiment has one system.

    They are the baseline and the system that is off target least often in zero-shot directions, as in the sentence.
    Where one of them is missing, the first other system of the experiment takes its place.

    Args:
        experiment: the experiment.
        summary: means over seeds.
        baseline: the system that the others are tested against; it may be absent from the experiment.
    """
    candidates, otr, _ = _zero_shot(experiment, summary)
    ranked = sorted(candidates, key=lambda system: otr[system]["mean"]) if otr else []
    others = [system for system in (*ranked, *experiment.systems) if system != baseline]
    if len(experiment.systems) < 2:
        return ()
    first = (
        baseline if baseline in experiment.systems else next(name for name in experiment.systems if name != others[0])
    )
    return first, others[0]


def _zero_shot(
    experiment: Experiment, summary: pd.DataFrame
) -> tuple[list[str], dict[str, Mapping[str, Any]], dict[str, Mapping[str, Any]]]:
    """Return the systems that translate, and the rows of the mean zero-shot OTR and BLEU by system."""
    otr: dict[str, Mapping[str, Any]] = {}
    bleu: dict[str, Mapping[str, Any]] = {}
    for row in _averages(summary, experiment):
        if row["metric"] in ("OTR", "BLEU"):
            (otr if row["metric"] == "OTR" else bleu)[row["system"]] = row
    candidates = [system for system in experiment.systems if system in bleu and bleu[system]["mean"] >= DEGENERATE_BLEU]
    return candidates, otr, bleu


def _averages(frame: pd.DataFrame, experiment: Experiment) -> list[dict[Any, Any]]:
    """Return the rows of an experiment about the mean over its zero-shot directions."""
    values = {"base_model": experiment.base_model, "benchmark": experiment.benchmark}
    values |= {"supervision": ZERO_SHOT, "direction": AVERAGE}
    return frame[(frame[list(values)] == list(values.values())).all(axis=1)].to_dict("records")


def _off_target(
    candidates: Sequence[str],
    otr: Mapping[str, Mapping[str, Any]],
    tests: Mapping[tuple[str, ...], Mapping[str, Any]],
    baseline: str,
) -> str:
    best = min(candidates, key=lambda system: otr[system]["mean"])
    text = f"{best} is off target in {_percent(otr[best])} of zero-shot lines"
    if baseline in otr and baseline != best:
        text += f", {baseline} in {_percent(otr[baseline])}"
        text += _by_chance(tests.get(("OTR", *sorted((best, baseline)))))
    elif len(candidates) > 1:
        second = min((system for system in candidates if system != best), key=lambda system: otr[system]["mean"])
        text += f", and the next system, {second}, in {_percent(otr[second])}"
        text += _by_chance(tests.get(("OTR", *sorted((best, second)))))
    return text


def _quality(
    candidates: Sequence[str],
    bleu: Mapping[str, Mapping[str, Any]],
    tests: Mapping[tuple[str, ...], Mapping[str, Any]],
) -> str:
    ranked = sorted(candidates, key=lambda system: -bleu[system]["mean"])
    if len(ranked) < 2:
        return ""
    first, second = ranked[:2]
    text = f"{first} has the highest zero-shot BLEU, {bleu[first]['mean']:.1f}, and {second} is next with"
    return f"{text} {bleu[second]['mean']:.1f}" + _by_chance(tests.get(("BLEU", *sorted((first, second)))))


def _percent(row: Mapping[str, Any]) -> str:
    return f"{row['mean']:.1f} % [{row['low']:.1f}, {row['high']:.1f}]"


def _by_chance(test: Mapping[str, Any] | None) -> str:
    """Return a remark if a difference may be chance; nothing without a test."""
    return " (a difference that may be chance)" if test is not None and not test["p_corrected"] < SIGNIFICANT else ""


def _seeds(experiment: Experiment) -> str:
    """Say on how many trainings the scores rest, and if they are too few to tell how trainings vary."""
    count = len({seed for runs in experiment.runs.values() for seed in runs} - {SHARED})
    if not count:
        return "no system is trained"
    few = "" if count >= MINIMUM_SEEDS else ", too few to tell how trainings vary"
    return f"{count} training seed{'s' * (count > 1)}{few}"
