"""Intervals, means over seeds and comparisons of all scores of an experiment, and the script that writes them."""

import sys
from unittest.mock import patch

import numpy as np
import pytest

from workflow_scripts.detect import COLUMNS, line_rows
from workflow_scripts.lat.evaluation.bootstrap import draw, interval, p_value
from workflow_scripts.lat.evaluation.offtarget import classify, off_target_scores
from workflow_scripts.lat.evaluation.ranking import holm
from workflow_scripts.lat.evaluation.scores import translation_scores
from workflow_scripts.lat.evaluation.significance import (
    COMPARISON_COLUMNS,
    INTERVAL_COLUMNS,
    SUMMARY_COLUMNS,
    Outputs,
    RunScores,
    SignificanceTables,
    resample_scores,
)
from workflow_scripts.lat.evaluation.switching import switching_metrics
from workflow_scripts.lat.files import SCORE_COLUMNS, InputError, read_table, write_lines, write_table
from workflow_scripts.significance import check_learned, check_runs, log_limits, main, read_run

REFERENCES = [f"zin nummer {number} over de oude kat en het huis" for number in range(40)]
GOOD = REFERENCES[:30] + ["iets heel anders dan verwacht werd hier"] * 10
BETTER = REFERENCES[:35] + ["iets heel anders dan verwacht werd hier"] * 5
BAD = ["an English line that has nothing to do with it"] * 40
GROUPS = {"supervised": ["en-nl"], "zero-shot": ["it-nl", "ro-nl"]}
SEEDS = ("1", "2", "3")
RESAMPLES = 200


def find(rows, **values) -> dict:
    found = [row for row in rows if values.items() <= row.items()]
    assert len(found) == 1, (values, len(found))
    return found[0]


def outputs(lines, off_target=0) -> Outputs:
    return Outputs(lines, np.arange(40) < off_target)


@pytest.fixture(scope="module")
def tables() -> SignificanceTables:
    """Base is shared, and MT and LAT have three seeds; the OTR of MT is 50 % in it-nl, and that of its copy as well."""
    mt = [outputs(GOOD, 20), outputs(GOOD, 19), outputs([*GOOD[:-1], REFERENCES[-1]], 21)]
    lat = [outputs(BETTER, 2), outputs(BETTER, 1), outputs(BETTER, 3)]
    systems = {"Base": [outputs(BAD, 40)], "MT": mt, "Copy": mt, "LAT": lat}
    runs = {name: SEEDS[: len(of_system)] if name != "Base" else ("shared",) for name, of_system in systems.items()}
    made = SignificanceTables(runs, ["MT", "Base", "Missing"], 1)
    draws = draw(40, RESAMPLES, 1)
    for supervision, directions in GROUPS.items():
        for direction in directions:
            chosen = systems | ({"MT": lat} if direction == "ro-nl" else {})
            made.add_direction(supervision, direction, resample_scores(direction, chosen, REFERENCES, draws))
        made.add_average(supervision)
    return made


def test_the_tables_have_one_row_per_run_system_and_pair(tables):
    scores = 3 * (3 + 2)  # three metrics of three directions and two means
    assert [len(tables.intervals), len(tables.summary)] == [10 * scores, 4 * scores]
    pairs = [(row["system"], row["baseline"]) for row in tables.comparisons]
    assert {pair: pairs.count(pair) for pair in pairs} == dict.fromkeys(
        [("Base", "MT"), ("MT", "Base"), ("Copy", "MT"), ("Copy", "Base"), ("LAT", "MT"), ("LAT", "Base")], scores
    )
    assert list(dict.fromkeys((row["system"], row["seed"]) for row in tables.intervals)) == [
        ("Base", "shared"),
        *((system, seed) for system in ("MT", "Copy", "LAT") for seed in SEEDS),
    ]


def test_values_are_those_of_sacrebleu_and_of_the_labels(tables):
    scores = {score.metric: score.value for score in translation_scores(GOOD, REFERENCES, "it-nl")}
    for metric, value in scores.items():
        row = find(tables.intervals, system="MT", seed="1", direction="it-nl", metric=metric)
        assert float(row["value"]) == pytest.approx(value, abs=1e-4)
        assert float(row["low"]) < value < float(row["high"])
    ratios = [row["value"] for row in tables.intervals if (row["system"], row["metric"]) == ("MT", "OTR")]
    # en-nl and its mean; it-nl, ro-nl and their mean, of the first seed and then of the second one.
    assert ratios[:10] == [f"{ratio:.4f}" for ratio in (50, 50, 50, 5, 27.5, 47.5, 47.5, 47.5, 2.5, 25)]
    row = find(tables.summary, system="MT", direction="it-nl", metric="OTR")
    assert (row["mean"], row["sd"], row["seeds"]) == ("50.0000", "2.5000", 3)
    row = find(tables.summary, system="Base", direction="it-nl", metric="OTR")
    assert (row["mean"], row["sd"], row["low"], row["high"], row["seeds"]) == (
        "100.0000",
        "",
        "100.0000",
        "100.0000",
        1,
    )


def test_the_mean_over_one_direction_is_that_direction(tables):
    for rows in (tables.intervals, tables.summary):
        chosen = [row for row in rows if row["supervision"] == "supervised"]
        single = [row for row in chosen if row["direction"] == "en-nl"]
        assert [row | {"direction": "en-nl"} for row in chosen if row["direction"] == "AVG"] == single


def random_scores(systems: dict[str, list[float]], sd: float = 1.0, resamples: int = 500) -> dict[str, RunScores]:
    random = np.random.default_rng(1)
    return {
        name: RunScores(np.array(values), np.array(values)[:, None] + random.normal(0, sd, (len(values), resamples)))
        for name, values in systems.items()
    }


def tables_of(scores: dict[str, dict[str, RunScores]], baselines=("MT",)) -> SignificanceTables:
    """Return the tables of one zero-shot direction from scores by metric and system."""
    first = next(iter(scores.values()))
    runs = {
        name: tuple(map(str, range(1, len(score.values) + 1))) if len(score.values) > 1 else ("shared",)
        for name, score in first.items()
    }
    made = SignificanceTables(runs, baselines, 1)
    by_system = {name: {metric: of_systems[name] for metric, of_systems in scores.items()} for name in first}
    made.add_direction("zero-shot", "it-nl", by_system)
    made.add_average("zero-shot")
    return made


def averages(rows) -> list[dict]:
    return [row for row in rows if row["direction"] == "AVG"]


def test_p_values_of_runs_are_against_the_run_with_the_same_seed():
    scores = random_scores({"Base": [20], "MT": [20, 25, 30], "LAT": [20.5, 25.5, 30.5]})
    rows = averages(tables_of({"BLEU": scores}).intervals)
    mt, lat = scores["MT"], scores["LAT"]
    for number, seed in enumerate(SEEDS):
        assert find(rows, system="MT", seed=seed)["p"] == ""
        expected = p_value(mt.resamples[number], lat.resamples[number], 0.5)
        assert find(rows, system="LAT", seed=seed)["p"] == f"{expected:.4f}"
    expected = p_value(mt.resamples.mean(axis=0), scores["Base"].resamples[0], -5.0)
    assert find(rows, system="Base")["p"] == f"{expected:.4f}"
    rows = averages(tables_of({"BLEU": scores}, ["Base"]).intervals)
    expected = p_value(scores["Base"].resamples[0], lat.resamples[0], 0.5)
    assert find(rows, system="LAT", seed="1")["p"] == f"{expected:.4f}"


def test_one_run_per_system_is_tested_over_sentences_alone():
    scores = random_scores({"MT": [20], "LAT": [21.5]})
    made = tables_of({"BLEU": scores})
    row = find(averages(made.summary), system="LAT")
    assert (float(row["low"]), float(row["high"])) == pytest.approx(interval(scores["LAT"].resamples[0]), abs=1e-4)
    centred = scores["LAT"].resamples[0] - scores["MT"].resamples[0]
    beyond = np.sum(np.abs(centred - centred.mean()) >= 1.5)
    assert float(row["p"]) == pytest.approx((beyond + 1) / 501, abs=1e-4)
    assert (row["sd"], row["seeds"]) == ("", 1)


def test_seeds_are_paired_so_that_what_they_have_in_common_cancels_out():
    scores = random_scores(
        {"MT": [20, 30, 40], "LAT": [21.0, 31.1, 40.9], "Base": [20], "Other": [31, 20.9, 41.1]}, 0.01
    )
    rows = averages(tables_of({"BLEU": scores}).comparisons)
    paired, crossed = find(rows, system="LAT", baseline="MT"), find(rows, system="Other", baseline="MT")
    assert paired["difference"] == crossed["difference"] == "1.0000"
    assert float(paired["p"]) < 0.01 and float(crossed["p"]) > 0.5
    shared = find(rows, system="Base", baseline="MT")
    assert (shared["difference"], shared["seeds"]) == ("-10.0000", 3)
    # The t-interval of three seeds with the standard deviation 10.
    assert float(shared["high"]) - float(shared["low"]) == pytest.approx(2 * 4.30 * 10 / np.sqrt(3), rel=0.03)
    assert 0.1 < float(shared["p"]) < 0.4
    assert find(averages(tables_of({"BLEU": scores}).intervals), system="Base")["p"] == "0.0020"


def test_equal_outputs_do_not_differ(tables):
    for row in tables.comparisons:
        is_equal = (row["system"], row["baseline"]) == ("Copy", "MT") and row["direction"] in ("en-nl", "it-nl")
        is_equal |= (row["system"], row["baseline"], row["direction"]) == ("LAT", "MT", "ro-nl")
        if is_equal:
            assert (row["difference"], row["p"], row["p_corrected"]) == ("0.0000", "1.0000", "1.0000")
    assert find(tables.intervals, system="Copy", seed="1", direction="it-nl", metric="BLEU")["p"] == "1.0000"


def test_comparisons_in_both_directions_are_mirrored(tables):
    for there in tables.comparisons:
        if (there["system"], there["baseline"]) == ("Base", "MT"):
            key = {name: there[name] for name in ("supervision", "direction", "metric")}
            back = find(tables.comparisons, system="MT", baseline="Base", **key)
            assert float(back["difference"]) == -float(there["difference"])
            assert (back["p"], back["seeds"]) == (there["p"], there["seeds"]) == (back["p"], 3)


def test_the_summary_has_the_p_values_of_the_first_baseline(tables):
    for row in tables.summary:
        if row["system"] == "MT":
            assert row["p"] == row["p_corrected"] == ""
        else:
            key = {name: row[name] for name in ("system", "supervision", "direction", "metric")}
            comparison = find(tables.comparisons, baseline="MT", **key)
            assert (row["p"], row["p_corrected"]) == (comparison["p"], comparison["p_corrected"])


def test_p_values_are_corrected_for_all_systems_that_are_tested(tables):
    p_values = {"a": 0.04, "b": 0.01, "c": 0.03, "d": 0.005}
    assert holm(p_values) == pytest.approx({"d": 0.02, "b": 0.03, "c": 0.06, "a": 0.06})
    assert holm({"a": 0.6, "b": 0.9}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}
    for baseline in ("MT", "Base"):
        key = {"baseline": baseline, "direction": "it-nl", "metric": "BLEU"}
        rows = [row for row in tables.comparisons if key.items() <= row.items()]
        corrected = holm({row["system"]: float(row["p"]) for row in rows})
        assert {row["system"]: float(row["p_corrected"]) for row in rows} == pytest.approx(corrected, abs=3e-4)


def test_without_the_first_baseline_there_are_no_p_values_but_comparisons_with_the_others():
    made = tables_of({"BLEU": random_scores({"MT": [20], "LAT": [21]})}, ["Missing", "MT"])
    assert all(row["p"] == "" and row["low"] for row in (*made.intervals, *made.summary))
    assert all(row["p_corrected"] == "" for row in made.summary)
    assert {(row["system"], row["baseline"]) for row in made.comparisons} == {("LAT", "MT")}


def pairs_of(scores: dict[str, dict[str, list[float]]], baselines=("Missing",)) -> dict[str, tuple[str, str]]:
    made = tables_of({metric: random_scores(of_systems) for metric, of_systems in scores.items()}, baselines)
    assert all(row["direction"] == "AVG" for row in made.comparisons)
    return {row["metric"]: (row["system"], row["baseline"]) for row in made.comparisons}


def test_the_best_two_systems_are_compared():
    scores = {"BLEU": {"A": [20], "B": [22], "C": [25]}, "OTR": {"A": [5], "B": [3], "C": [9]}}
    scores["COMET"] = {"A": [-1.5], "B": [-1.2], "C": [-1.3]}
    assert pairs_of(scores) == {"BLEU": ("C", "B"), "OTR": ("B", "A"), "COMET": ("B", "C")}
    made = tables_of({"BLEU": random_scores(scores["BLEU"])}, ["Missing"])
    (row,) = made.comparisons
    assert float(row["p"]) < 0.2
    assert float(row["p_corrected"]) == pytest.approx(3 * float(row["p"]), abs=3e-4)


def test_of_systems_with_equal_scores_the_first_is_the_better_one():
    assert pairs_of({"BLEU": {"A": [20], "B": [22], "C": [22.00001]}}) == {"BLEU": ("B", "C")}
    assert pairs_of({"BLEU": {"A": [20]} | {"B": [20], "C": [20]}}) == {"BLEU": ("A", "B")}


def test_a_system_that_does_not_translate_is_none_of_the_best():
    ratios = {"A": [50], "B": [30], "Empty": [0]}
    assert pairs_of({"BLEU": {"A": [20], "B": [1.0], "Empty": [0.99]}, "OTR": ratios}) == {
        "BLEU": ("A", "B"),
        "OTR": ("B", "A"),
    }
    assert pairs_of({"BLEU": {"A": [20], "B": [0.9], "Empty": [0]}, "OTR": ratios}) == {}
    assert pairs_of({"BLEU": {"A": [20]}, "OTR": {"A": [50]}}) == {}
    # The mean over seeds counts.
    assert pairs_of({"BLEU": {"A": [9, 9, 9], "B": [0, 0, 4], "C": [0, 0, 2.9]}}) == {"BLEU": ("A", "B")}


@pytest.mark.parametrize("baseline", ["A", "B"])
def test_the_best_two_systems_are_there_already_if_one_is_a_baseline(baseline):
    rows = tables_of({"BLEU": random_scores({"A": [25], "B": [22], "C": [20]})}, [baseline]).comparisons
    assert len(averages(rows)) == 2 and all(row["baseline"] == baseline for row in rows)


def test_only_percentages_end_at_0_and_100():
    values = {"A": [0.5, 1, 9], "B": [99, 99, 91]}
    made = tables_of({metric: random_scores(values, 0.01) for metric in ("BLEU", "chrF++", "OTR", "Learned")}, ["A"])
    for metric in ("BLEU", "chrF++", "OTR"):
        row = find(averages(made.summary), system="A", metric=metric)
        assert row["low"] == "0.0000" and float(row["high"]) > 9
        assert find(averages(made.summary), system="B", metric=metric)["high"] == "100.0000"
    assert float(find(averages(made.summary), system="A", metric="Learned")["low"]) < 0
    assert float(find(averages(made.summary), system="B", metric="Learned")["high"]) > 100
    assert float(find(averages(made.comparisons), system="B", metric="BLEU")["high"]) > 100


def test_directions_with_equally_many_lines_use_the_same_draws():
    draws = draw(40, 50, 1)
    first, second = (
        resample_scores(direction, {"MT": [outputs(GOOD)]}, REFERENCES, draws)["MT"]["BLEU"].resamples
        for direction in GROUPS["zero-shot"]
    )
    assert np.array_equal(first, second)


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([("MT", "1"), ("MT", "1")], "seed 1 of MT is there twice"),
        ([("Base", "shared"), ("Base", "shared")], "seed shared of Base is there twice"),
        ([("MT", "one")], "the seed of MT is `one`; give a number or `shared`"),
        ([("MT", "01")], "the seed of MT is `01`"),
        ([("MT", "1"), ("MT", "shared")], "MT has the runs 1, shared; a shared run must be the only one"),
        ([("MT", "1"), ("MT", "2"), ("LAT", "1")], "LAT has the seeds 1, but MT has 1, 2"),
        ([("MT", "1"), ("LAT", "1"), ("LAT", "2")], "LAT has the seeds 1, 2, but MT has 1"),
    ],
)
def test_every_run_is_given_once_and_all_systems_have_the_same_seeds(runs, message):
    with pytest.raises(InputError, match=message):
        check_runs(runs)


def test_runs_are_paired_by_their_seeds_whatever_their_order():
    runs = [("Base", "shared"), ("MT", "3"), ("MT", "1"), ("LAT", "1"), ("LAT", "3")]
    assert check_runs(runs) == {"Base": ("shared",), "MT": ("3", "1"), "LAT": ("3", "1")}
    assert check_runs([("Base", "shared")]) == {"Base": ("shared",)}


def test_every_run_has_the_same_learned_metrics():
    runs = {"Base": ("shared",), "MT": ("1", "2")}
    given = [("Base", "shared", "M"), ("MT", "1", "M"), ("MT", "2", "M")]
    assert check_learned(runs, given) == ["M"] and check_learned(runs, []) == []
    with pytest.raises(InputError, match="0 tables of M for seed 2 of MT, which has 1 such runs"):
        check_learned(runs, given[:2])
    with pytest.raises(InputError, match="2 tables of M for seed 1 of MT"):
        check_learned(runs, [*given, given[1]])
    with pytest.raises(InputError, match="1 tables of M for seed 3 of MT, which has 0 such runs"):
        check_learned(runs, [*given, ("MT", "3", "M")])


def test_too_few_resamples_for_the_corrected_p_values_are_a_warning(caplog):
    runs = {f"S{number}": ("1", "2", "3") for number in range(8)}
    log_limits(runs, ["S1"], 1000)
    assert not caplog.records
    log_limits(runs, ["S1", "Missing"], 100)
    comparisons, pairs = (record.getMessage() for record in caplog.records)
    assert "7 comparisons with S1" in comparisons and "at least 140" in comparisons
    assert "28 pairs of systems" in pairs and "at least 560" in pairs


@pytest.fixture
def folder(tmp_path):
    """Output lines, labels and score tables of Base, and of MT and LAT with three seeds, in two directions."""
    labels = ["nl", "nl", "en", "en", ""]
    references = [f"dit is zin nummer {number}" for number in range(5)]
    counts = {"it-nl": 5, "en-nl": 4}
    for direction, count in counts.items():
        write_lines(tmp_path / f"test/{direction}.ref.txt", references[:count])
    for system, seeds in {"Base": ["shared"], "MT": SEEDS, "LAT": SEEDS}.items():
        right = {"Base": 0, "MT": 1, "LAT": 3}[system]
        hypotheses = [*references[:right], *["dit was zin nummer negen", "...", "123", "one line", ""][right:]]
        for number, seed in enumerate(seeds):
            path = tmp_path / seed / system
            rows, ratios, scores, learned, means = [], [], [], [], []
            for direction, count in counts.items():
                chosen = hypotheses[:count]
                write_lines(path / f"{direction}.txt", chosen)
                lines = classify([(label, 0.5) for label in labels[:count]], chosen, ["a"] * count, direction)
                rows += line_rows(direction, lines, [])
                ratios += [
                    (direction, score.metric, f"{score.value:.4f}", score.n, "lid")
                    for score in off_target_scores(lines, chosen, direction)
                ]
                ratios += [(direction, metric, "0.0000", count, "lid") for metric in switching_metrics(direction)]
                scores += [
                    (direction, score.metric, f"{score.value:.4f}", count, score.signature)
                    for score in translation_scores(chosen, references[:count], direction)
                ]
                of_lines = [right - number - line for line in range(1, count + 1)]
                learned += [(direction, line, f"{score:.1f}") for line, score in enumerate(of_lines, 1)]
                means.append((direction, "M", f"{sum(of_lines) / count:.4f}", count, "m"))
            (path / "lines.tsv").write_text("\t".join(COLUMNS) + "\n" + "".join(rows))
            tables = {"otr": ratios, "score": scores, "learned": means, "learned.lines": learned}
            for name, found in tables.items():
                columns = ("direction", "line", "score") if name == "learned.lines" else SCORE_COLUMNS
                write_table(path / f"{name}.tsv", [dict(zip(columns, row, strict=True)) for row in found], columns)
    return tmp_path


def run_script(folder) -> list[list[dict[str, str]]]:
    words = ["significance", "--references", folder / "test", "--baselines", "MT", "Base", "--resamples", "200"]
    for system, seeds in {"Base": ["shared"], "MT": SEEDS, "LAT": ["3", "1", "2"]}.items():
        for seed in seeds:
            path = folder / seed / system
            files = [path / f"{name}.tsv" for name in ("lines", "score", "learned", "otr")]
            words += ["--system", system, seed, path, *files]
            words += ["--learned", system, seed, "M", path / "learned.lines.tsv"]
    words += ["--supervised", "en-nl", "--zero-shot", "it-nl"]
    names = ("intervals", "summary", "comparisons")
    for name in names:
        words += [f"--{name}", folder / f"out/{name}.tsv"]
    with patch.object(sys, "argv", list(map(str, words))):
        main()
    return [read_table(folder / f"out/{name}.tsv") for name in names]


def test_the_script_writes_the_three_tables(folder):
    intervals, summary, comparisons = run_script(folder)
    assert list(intervals[0]) == list(INTERVAL_COLUMNS)
    assert list(summary[0]) == list(SUMMARY_COLUMNS)
    assert list(comparisons[0]) == list(COMPARISON_COLUMNS)
    assert [len(intervals), len(summary), len(comparisons)] == [7 * 16, 3 * 16, 4 * 16]
    # LAT was given other seeds first.
    learned = [row["value"] for row in intervals if (row["system"], row["metric"]) == ("LAT", "M")]
    of_first_seed = np.array([0.5, 0.5, 0, 0])
    assert learned == [f"{value:.4f}" for seed in range(3) for value in of_first_seed - seed]
    row = find(summary, system="LAT", direction="AVG", supervision="zero-shot", metric="M")
    assert (row["mean"], row["sd"], row["seeds"]) == ("-1.0000", "1.0000", "3")
    assert find(comparisons, system="LAT", baseline="MT", direction="it-nl", metric="M")["difference"] == "2.0000"
    assert find(summary, system="MT", direction="it-nl", metric="OTR")["mean"] == "60.0000"


def test_runs_of_the_script_give_the_same_tables(folder):
    assert run_script(folder) == run_script(folder)


def test_score_tables_of_other_outputs_are_refused(folder):
    path = folder / "2/LAT/score.tsv"
    text = path.read_text(encoding="utf-8")
    value = text.splitlines()[1].split("\t")[2]
    path.write_text(text.replace(value, "12.3456", 1), encoding="utf-8")
    with pytest.raises(InputError, match=r"2/LAT/score\.tsv: line 2: BLEU of it-nl is 12\.3456, but its lines score"):
        run_script(folder)
    assert not (folder / "out").exists()


def test_outputs_are_as_many_as_the_references(folder):
    path = folder / "3/MT/it-nl.txt"
    write_lines(path, ["een zin"])
    with pytest.raises(InputError, match=r"3/MT/it-nl\.txt: 1 hypotheses for 5 references; decode and detect it again"):
        run_script(folder)


def test_the_otr_is_that_of_the_score_table_whatever_the_verdicts_are(folder):
    path = folder / "shared/Base"
    run = read_run("Base", "shared", [path, path / "lines.tsv"], {}, {"it-nl": 5, "en-nl": 4})
    assert "no_words" in (path / "lines.tsv").read_text(encoding="utf-8")
    scores = resample_scores("it-nl", {"Base": [run.outputs("it-nl", 5)]}, ["a"] * 5, draw(5, 5, 1))["Base"]
    table = {(row["direction"], row["metric"]): row["value"] for row in read_table(path / "otr.tsv")}
    assert f"{scores['OTR'].values[0]:.4f}" == table["it-nl", "OTR"] == "60.0000"
