"""Intervals and p-values of scores and of their means."""

import pytest

from workflow_scripts.detect import line_row
from workflow_scripts.lat.evaluation.offtarget import classify, off_target_scores
from workflow_scripts.lat.evaluation.scores import translation_scores
from workflow_scripts.lat.evaluation.significance import COLUMNS, Key, Outputs, resample_scores, significance_rows
from workflow_scripts.lat.files import InputError, write_lines, write_table
from workflow_scripts.lat.reporting.reading import Lines, read_lines_table
from workflow_scripts.significance import read_outputs

REFERENCES = [f"zin nummer {number} over de oude kat en het huis" for number in range(40)]
GOOD = REFERENCES[:30] + ["iets heel anders dan verwacht werd hier"] * 10
BAD = ["an English line that has nothing to do with it"] * 40
GROUPS = {"supervised": ["en-nl"], "zero-shot": ["it-nl", "ro-nl"]}


def outputs(lines, label) -> dict[str, Outputs]:
    return {direction: Outputs(lines, REFERENCES, [label] * 40) for group in GROUPS.values() for direction in group}


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    mixed = outputs(GOOD, "nl") | {"it-nl": Outputs(GOOD, REFERENCES, ["nl"] * 20 + ["en"] * 20)}
    systems = {"MT": mixed, "Bad": outputs(BAD, "en"), "Same": mixed}
    return significance_rows({name: resample_scores(system, GROUPS, 200, 1) for name, system in systems.items()}, "MT")


def find(rows, system, direction, metric) -> dict:
    return next(row for row in rows if (row["system"], row["direction"], row["metric"]) == (system, direction, metric))


def test_every_score_and_every_mean_has_one_row(rows):
    assert list(rows[0]) == list(COLUMNS)
    assert len(rows) == 3 * 3 * (3 + 2)
    scores = {score.metric: score.value for score in translation_scores(GOOD, REFERENCES, "it-nl")}
    for metric, value in scores.items():
        row = find(rows, "MT", "it-nl", metric)
        assert float(row["value"]) == pytest.approx(value, abs=1e-4)
        assert float(row["low"]) < value < float(row["high"])
    assert float(find(rows, "MT", "it-nl", "OTR")["value"]) == 50.0
    assert float(find(rows, "MT", "AVG", "OTR")["value"]) == 0.0  # The mean over the only supervised direction.
    zero_shot = [row for row in rows if row["direction"] == "AVG" and row["supervision"] == "zero-shot"]
    assert [float(row["value"]) for row in zero_shot if row["metric"] == "OTR"] == [25.0, 100.0, 25.0]


def test_p_values_are_against_the_baseline(rows):
    assert all(row["p"] == "" for row in rows if row["system"] == "MT")
    assert float(find(rows, "Bad", "it-nl", "BLEU")["p"]) < 0.01
    assert float(find(rows, "Same", "it-nl", "OTR")["p"]) == 1.0


def test_directions_with_equally_many_lines_use_the_same_draws():
    scores = resample_scores(outputs(GOOD, "nl"), GROUPS, 50, 1)
    first, second = (scores[Key("zero-shot", direction, "BLEU")].resamples for direction in GROUPS["zero-shot"])
    assert (first == second).all()


def test_without_the_baseline_there_are_intervals_only():
    rows = significance_rows({"LAT": resample_scores(outputs(GOOD, "nl"), GROUPS, 50, 1)}, "MT")
    assert all(row["p"] == "" and row["low"] for row in rows)


def test_outputs_are_as_many_as_the_references(tmp_path):
    write_lines(tmp_path / "it-nl.txt", ["een zin"])
    with pytest.raises(InputError, match="MT it-nl: 1 hypotheses for 2 references; decode and detect it again"):
        read_outputs("MT", tmp_path, Lines(tmp_path, {"it-nl": []}, {}), {}, {"it-nl": ["a", "b"]})


def test_the_otr_is_that_of_the_score_table_whatever_the_verdicts_are(tmp_path):
    hypotheses = ["een zin", "...", "123", "an English line", ""]
    labels = ["nl", "nl", "en", "en", ""]
    lines = classify([(label, 0.5) for label in labels], hypotheses, ["a"] * 5, "it-nl")
    rows = [line_row("it-nl", number, line) for number, line in enumerate(lines)]
    write_table(tmp_path / "lines.tsv", rows, list(rows[0]))
    write_lines(tmp_path / "it-nl.txt", hypotheses)
    table = read_lines_table(tmp_path / "lines.tsv", {"it-nl": 5})
    read = read_outputs("MT", tmp_path, table, {}, {"it-nl": hypotheses})
    score = resample_scores(read, {"zero-shot": ["it-nl"]}, 5, 1)[Key("zero-shot", "it-nl", "OTR")]
    assert [line.verdict for line in lines].count("no_words") == 2
    assert score.value == off_target_scores(lines, hypotheses, "it-nl")[0].value == 60.0
