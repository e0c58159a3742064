"""Bootstrap: the vectorised scores, the intervals and the p-values equal those of SacreBLEU."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest

from workflow_scripts.lat.evaluation.bootstrap import bleu_scores, chrf_scores, draw, interval, line_statistics, p_value

WORDS = "the cat sat on a mat near the old door and it was warm there".split()  # noqa: SIM905
METRICS = [(BLEU(), bleu_scores), (CHRF(word_order=2), chrf_scores)]


def corpus(seed: int, lines: int, noise: float) -> tuple[list[str], list[str]]:
    random = np.random.default_rng(seed)
    references = [" ".join(random.choice(WORDS, size=random.integers(3, 15))) for _ in range(lines)]
    hypotheses = [
        " ".join(random.choice(WORDS) if random.random() < noise else word for word in reference.split())
        for reference in references
    ]
    return hypotheses, references


@pytest.mark.parametrize(("metric", "scores"), METRICS, ids=["BLEU", "chrF"])
@settings(max_examples=60, deadline=None)
@given(pairs=st.lists(st.tuples(*[st.lists(st.sampled_from(WORDS[:5]), max_size=8).map(" ".join)] * 2), min_size=1))
def test_scores_of_summed_statistics_equal_those_of_sacrebleu(metric, scores, pairs):
    hypotheses, references = zip(*pairs, strict=True)
    sums = line_statistics(metric, hypotheses, references).sum(axis=0)
    assert scores(sums) == pytest.approx(metric.corpus_score(list(hypotheses), [list(references)]).score, abs=1e-9)


def test_outputs_without_a_match_score_zero():
    for metric, scores in METRICS:
        assert scores(line_statistics(metric, ["", "xyz"], ["a cat", "a mat"]).sum(axis=0)) == 0


def test_a_resample_draws_as_many_lines_as_the_corpus_has():
    counts = draw(37, 50, seed=3)
    assert counts.shape == (50, 37)
    assert (counts.sum(axis=1) == 37).all() and counts.max() > 1
    assert np.array_equal(counts, draw(37, 50, seed=3))
    assert not np.array_equal(counts, draw(37, 50, seed=4))


@pytest.mark.parametrize(("metric", "scores"), METRICS, ids=["BLEU", "chrF"])
@pytest.mark.parametrize("noise", [0.3, 0.36])
def test_interval_and_p_value_equal_those_of_sacrebleu(metric, scores, noise, monkeypatch):
    monkeypatch.setenv("SACREBLEU_SEED", "5")
    baseline, references = corpus(1, 80, 0.35)
    system = corpus(1, 80, noise)[0]
    named = [("baseline", baseline), ("system", system)]
    _, sacrebleu_results = PairedTest(named, {"metric": metric}, [references], test_type="bs", n_samples=1000)()
    result = next(results for name, results in sacrebleu_results.items() if name != "System")[1]

    counts = draw(80, 1000, seed=5)
    resampled = [scores(counts @ line_statistics(metric, lines, references)) for lines in (baseline, system)]
    whole = [scores(line_statistics(metric, lines, references).sum(axis=0)) for lines in (baseline, system)]
    low, high = interval(resampled[1])
    # SacreBLEU sums in single precision.
    assert (high - low) / 2 == pytest.approx(result.ci, rel=1e-4)
    assert resampled[1].mean() == pytest.approx(result.mean, rel=1e-4)
    assert p_value(*resampled, whole[1] - whole[0]) == pytest.approx(result.p_value, abs=2e-3)


def test_equal_systems_do_not_differ_and_clearly_different_ones_do():
    scores = np.random.default_rng(0).normal(20, 1, 1000)
    assert p_value(scores, scores, 0.0) == 1.0
    assert p_value(scores, scores + 9 + np.random.default_rng(1).normal(0, 0.1, 1000), 9.0) == pytest.approx(1 / 1001)
