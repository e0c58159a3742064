"""Intervals and p-values of figures and their means."""

import pytest

from workflow_scripts.lat.evaluation.scores import translation_scores
from workflow_scripts.lat.evaluation.significance import COLUMNS, Key, Outputs, resampled, significance_rows

REFERENCES = [f"zin nummer {number} over de oude kat en het huis" for number in range(40)]
GOOD = REFERENCES[:30] + ["iets heel anders dan verwacht werd hier"] * 10
BAD = ["an English line that has nothing to do with it"] * 40
GROUPS = {"supervised": ["en-nl"], "zero-shot": ["it-nl", "ro-nl"]}


def outputs(lines, verdict) -> dict[str, Outputs]:
    return {d: Outputs(lines, REFERENCES, [verdict] * 40) for listed in GROUPS.values() for d in listed}


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    mixed = outputs(GOOD, "target") | {"it-nl": Outputs(GOOD, REFERENCES, ["target"] * 20 + ["english"] * 20)}
    systems = {"MT": mixed, "Bad": outputs(BAD, "english"), "Same": mixed}
    return significance_rows({name: resampled(its, GROUPS, 200, 1) for name, its in systems.items()}, "MT")


def of(rows, system, direction, metric) -> dict:
    return next(r for r in rows if (r["system"], r["direction"], r["metric"]) == (system, direction, metric))


def test_a_row_a_figure_and_a_mean(rows):
    assert list(rows[0]) == list(COLUMNS)
    assert len(rows) == 3 * 3 * (3 + 2)
    figures = {score.metric: score.value for score in translation_scores(GOOD, REFERENCES, "it-nl")}
    for metric, value in figures.items():
        row = of(rows, "MT", "it-nl", metric)
        assert float(row["value"]) == pytest.approx(value, abs=1e-4)
        assert float(row["low"]) < value < float(row["high"])
    assert float(of(rows, "MT", "it-nl", "OTR")["value"]) == 50.0
    assert float(of(rows, "MT", "AVG", "OTR")["value"]) == 0.0  # of the supervised direction
    zero_shot = [r for r in rows if r["direction"] == "AVG" and r["supervision"] == "zero-shot"]
    assert [float(r["value"]) for r in zero_shot if r["metric"] == "OTR"] == [25.0, 100.0, 25.0]


def test_p_values_are_against_the_baseline(rows):
    assert all(row["p"] == "" for row in rows if row["system"] == "MT")
    assert float(of(rows, "Bad", "it-nl", "BLEU")["p"]) < 0.01
    assert float(of(rows, "Same", "it-nl", "OTR")["p"]) == 1.0


def test_directions_of_as_many_lines_are_resampled_alike():
    found = resampled(outputs(GOOD, "target"), GROUPS, 50, 1)
    first, second = (found[Key("zero-shot", direction, "BLEU")].resamples for direction in GROUPS["zero-shot"])
    assert (first == second).all()


def test_without_the_baseline_there_are_intervals_only():
    rows = significance_rows({"LAT": resampled(outputs(GOOD, "target"), GROUPS, 50, 1)}, "MT")
    assert all(row["p"] == "" and row["low"] for row in rows)
