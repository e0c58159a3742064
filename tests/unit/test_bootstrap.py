"""Bootstrap: results of one run are those of SacreBLEU, and error rates over several seeds are right."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.significance import PairedTest

from timing.evaluation import line_statistics
from timing.significance import CASES, simulate
from workflow_scripts.lat.evaluation.bootstrap import (
    bleu_scores,
    chrf_scores,
    draw,
    interval,
    p_value,
    resample_means,
    student_t_draws,
    two_sided_p_value,
)

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


# From a table of Student's t-distribution: the 97.5 % and 99.5 % quantiles.
@pytest.mark.parametrize(
    ("degrees", "quantiles"), [(2, (4.3027, 9.9248)), (4, (2.7764, 4.6041)), (9, (2.2622, 3.2498))]
)
def test_draws_from_the_t_distribution_have_its_quantiles(degrees, quantiles):
    draws = student_t_draws(degrees, 20_000, seed=3)
    assert np.quantile(draws, [0.975, 0.995]) == pytest.approx(quantiles, rel=0.01)
    assert draws.sum() == pytest.approx(0, abs=1e-6)
    assert not np.array_equal(draws, np.sort(draws))
    assert not np.array_equal(draws, student_t_draws(degrees, 20_000, seed=4))


def test_without_variance_of_sentences_the_interval_is_the_t_interval():
    values = np.array([10.0, 11.0, 13.0])
    resampled = resample_means(values, np.repeat(values[:, None], 20_000, axis=1), seed=1)
    half = 4.3027 * values.std(ddof=1) / np.sqrt(3)
    assert interval(resampled) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.02)


def test_without_variance_of_seeds_the_interval_is_that_over_sentences():
    one = np.random.default_rng(1).normal(20, 1, 1000)
    resampled = resample_means(np.full(4, 20.1), np.stack([one] * 4), seed=1)
    assert resampled == pytest.approx(np.concatenate([one, one]))


@pytest.mark.parametrize("seeds", [1, 2])
def test_fewer_than_three_seeds_are_resampled_over_sentences_alone(seeds):
    resamples = np.random.default_rng(1).normal(size=(seeds, 50))
    assert np.array_equal(resample_means(np.arange(seeds) * 5.0, resamples, seed=1), resamples.mean(axis=0))


def test_scores_that_never_vary_have_an_interval_without_width():
    assert interval(resample_means(np.full(3, 7.0), np.full((3, 100), 7.0), seed=1)) == (7.0, 7.0)


def test_two_sided_p_values_count_both_sides():
    differences = np.concatenate([np.full(10, 1.0), np.full(10, 5.0), np.full(80, 3.0)])
    assert two_sided_p_value(differences, 2.0) == pytest.approx(21 / 101)
    assert two_sided_p_value(differences, -2.0) == pytest.approx(21 / 101)
    assert two_sided_p_value(differences, 2.1) == pytest.approx(1 / 101)
    assert two_sided_p_value(np.zeros(100), 0.0) == 1.0
    assert two_sided_p_value(np.full(100, 0.1) * 3, 1e-16) == 1.0  # only rounding


# The standard error of these rates is 0.7 %. Where seeds and sentences have similar variances, the method is
# conservative. Case 2 fails if the part of single seeds in the variance of sentences is counted twice.
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(("number", "is_exact"), [(0, True), (1, True), (2, True), (3, False), (4, False), (7, False)])
def test_error_rates_over_seeds_and_sentences_are_right(number, is_exact, seeds):
    rates = simulate(CASES[number], seeds, ["both"], 1000)["both"]
    assert (2.8 if is_exact else 1.0) <= rates.error <= 7.2
    assert 92.8 <= rates.coverage <= (97.2 if is_exact else 99.0)


def test_error_rates_show_where_other_methods_are_wrong():
    seeds_dominate = simulate(CASES[0], 3, ["plain", "sentences"], 300)
    assert seeds_dominate["plain"].error > 15 and seeds_dominate["plain"].coverage < 85
    assert seeds_dominate["sentences"].error > 50 and seeds_dominate["sentences"].coverage < 50
    # Seeds that differ only by their sentences are no additional variance.
    assert simulate(CASES[2], 5, ["plain"], 300)["plain"].error < 1.5


def test_the_opposite_difference_has_the_opposite_interval():
    generator = np.random.default_rng(5)
    values, resamples = generator.normal(1, 2, 3), generator.normal(1, 1, (3, 500))
    one, other = (resample_means(sign * values, sign * resamples, seed=1) for sign in (1, -1))
    assert interval(one) == pytest.approx(tuple(-bound for bound in reversed(interval(other))))
    assert two_sided_p_value(one, values.mean()) == two_sided_p_value(other, -values.mean())


def test_seeds_with_equal_scores_leave_the_variance_of_the_sentences():
    """The standard error over seeds is zero, and the sentences of one seed, which differ, make the resamples vary."""
    generator = np.random.default_rng(6)
    resamples = np.stack([np.zeros(1000), np.zeros(1000), generator.normal(0, 4, 1000)])
    low, high = interval(resample_means(np.zeros(3), resamples, seed=1))
    plain_low, plain_high = interval(resamples.mean(axis=0))
    assert low <= 0 <= high
    assert high - low == pytest.approx(plain_high - plain_low, rel=0.05)
