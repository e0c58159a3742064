"""Tables that are damaged, cut, doubled or of another version are refused by every script that reads them."""

import json
import re
import shutil

import pytest
from tiny_results import LEARNED, LINES, RUNS, make_results, run

from workflow_scripts import figures, judge, page
from workflow_scripts.detect import COLUMNS as LINE_COLUMNS
from workflow_scripts.lat.evaluation import scores, significance
from workflow_scripts.lat.files import SCORE_COLUMNS, InputError, read_table, write_table
from workflow_scripts.lat.reporting import charts, reading
from workflow_scripts.lat.reporting.reading import (
    Experiment,
    make_experiments,
    read_all_scores,
    read_general_comparisons,
    read_line_scores,
    read_machine,
    read_score_comparisons,
    read_steps,
    rows_of,
    score_comparisons_frame,
    summary_frame,
    version_rows,
)
from workflow_scripts.lat.runtime import Machine, cpu_model
from workflow_scripts.lat.training.loop import STEP_COLUMNS, step_columns
from workflow_scripts.lat.training.pairs import PreferenceLoss

# Tables with the scripts that read them; they are read before anything is drawn or computed.
READERS = {
    "MT.2.scores.tsv": ["significance", "tables"],
    "MT.1.learned.tsv": ["significance", "tables"],
    "LAT.1.otr.tsv": ["significance", "tables"],
    "LAT.1.lines.tsv": ["significance", "page"],
    "MT.1.learned.lines.tsv": ["significance"],
    "test.otr.tsv": ["tables"],
    "significance/intervals.tsv": ["tables"],
    "significance/summary.tsv": ["tables"],
    "significance/comparisons.tsv": ["tables"],
    "scores.tsv": ["figures", "page"],
    "intervals.tsv": ["figures", "page"],
    "summary.tsv": ["figures", "page"],
    "comparisons.tsv": ["page"],
    "versions.tsv": ["page"],
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    make_results(folder)
    return folder


@pytest.fixture
def folder(finished, tmp_path, monkeypatch):
    """A copy of the results; scripts check their tables, but draw nothing."""
    for name in ("off_target_figure", "heat_map_figure", "off_target_languages_figure", "losses_figure"):
        monkeypatch.setattr(charts, name, lambda *_: None)
    monkeypatch.setattr(figures, "save", lambda *_: None)
    monkeypatch.setattr(page, "render", lambda **_: "")
    return shutil.copytree(finished, tmp_path / "copy")


def refuse(script, folder, name, **options) -> str:
    """The message of a script about a damaged table, which is one line that names the table and the remedy."""
    with pytest.raises(InputError) as error:
        run(script, folder, **options)
    message = str(error.value)
    assert message.startswith(f"{folder / name}: ") and "run again" in message and message.isprintable(), message
    assert len(message) < 1000
    return message.removeprefix(f"{folder / name}: ")


def change(path, number: int, **values: str) -> None:
    """Change values in the row on line `number` of a table."""
    rows = read_table(path)
    rows[number - 2] |= values
    write_table(path, rows, list(rows[0]))


def line_of(path, **values: str) -> int:
    """The line of a table that has these values."""
    return next(line for line, row in enumerate(read_table(path), 2) if values.items() <= row.items())


@pytest.mark.parametrize("script", ["significance", "tables", "figures", "page"])
def test_whole_tables_are_accepted_and_give_the_same_again(finished, folder, script):
    run(script, folder)
    for path in finished.rglob("*.tsv"):
        assert (folder / path.relative_to(finished)).read_text() == path.read_text()


def test_the_page_shows_all_metrics_of_the_tables_and_the_learned_ones(finished):
    titles = re.findall("<h3>(Zero-shot.*), (?:higher|lower) is better</h3>", (finished / "index.html").read_text())
    assert titles == [f"Zero-shot directions, m on b: {metric}" for metric in ("BLEU", "chrF++", LEARNED, "OTR (%)")]


def test_a_run_without_the_baseline_says_so_wherever_there_are_scores(folder, finished, monkeypatch):
    monkeypatch.undo()
    for script in ("significance", "tables", "page"):
        run(script, folder, baselines=["PTL"])
    note = "No p-values: the baseline PTL is not among the systems of this experiment."
    blocks = {"zero_shot.md": 4, "zero_shot.tex": 4, "supervised.html": 4, "index.html": 8}
    assert {name: (folder / name).read_text().count(note) for name in blocks} == blocks
    assert not any((finished / name).read_text().count("No p-values") for name in blocks)


@pytest.mark.parametrize(("name", "script"), [(name, script) for name in READERS for script in READERS[name]])
def test_a_table_without_or_with_twice_any_of_its_rows_is_refused(folder, name, script):
    path = folder / name
    header, *rows = path.read_text().splitlines(keepends=True)
    for number in {0, 1, len(rows) // 2, len(rows) - 1}:
        for remaining in (rows[:number], rows[:number] + rows[number + 1 :], rows[: number + 1] + rows[number:]):
            path.write_text("".join([header, *remaining]))
            refuse(script, folder, name)


@pytest.mark.parametrize(("name", "script"), [(name, script) for name in READERS for script in READERS[name]])
def test_a_file_that_ends_anywhere_is_refused(folder, name, script):
    path = folder / name
    content = path.read_bytes()
    for end in (0, 5, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:end])
        refuse(script, folder, name)
    path.write_bytes(b"\xff" + content[1:])
    assert "not UTF-8" in refuse(script, folder, name)
    path.unlink()
    assert "no such file" in refuse(script, folder, name)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("MT.1.scores.tsv", {"value": "nan"}, "BLEU of 6 lines cannot be nan"),
        ("MT.1.scores.tsv", {"value": "120.0000"}, "value of BLEU is 120.0000, not from 0 to 100"),
        ("MT.1.scores.tsv", {"value": "-0.1000"}, "value of BLEU is -0.1000"),
        ("MT.1.scores.tsv", {"value": "1e999"}, "value is `1e999`, not a number"),
        ("MT.1.scores.tsv", {"value": "1_0"}, "value is `1_0`, not a number"),
        ("MT.1.scores.tsv", {"value": "²"}, "value is `²`, not a number"),
        ("MT.1.scores.tsv", {"n": "5"}, "n is 5, but en-it has 6 test lines"),
        ("MT.1.scores.tsv", {"n": "7"}, "n is 7, but en-it has 6 test lines"),
        ("MT.1.scores.tsv", {"n": "6.0"}, "n is `6.0`, not a whole number"),
        ("MT.1.scores.tsv", {"n": "9" * 5000}, "n is `9999"),
        ("MT.1.scores.tsv", {"n": "6\x1b[2J"}, "n is `6?[2J`, not a whole number"),
        ("MT.1.scores.tsv", {"metric": "TER"}, "en-it, TER is no part of the experiment"),
        ("MT.1.scores.tsv", {"direction": "en-fr"}, "en-fr, BLEU is no part of the experiment"),
        ("MT.1.scores.tsv", {"signature": ""}, "signature is ``, not a text"),
        ("MT.1.learned.tsv", {"value": "nan"}, f"{LEARNED} of 6 lines cannot be nan"),
        ("LAT.1.otr.tsv", {"value": "120.0000"}, "value of OTR is 120.0000, not from 0 to 100"),
        ("LAT.1.otr.tsv", {"value": "46.6667"}, "OTR of en-it is 46.6667, but its parts add up to 16.6667"),
        ("test.otr.tsv", {"n": "5"}, "n is 6, but en-it has 5 test lines"),
        ("significance/intervals.tsv", {"low": "99.0000"}, "the 95 % interval of"),
        ("significance/intervals.tsv", {"p": ""}, "Base has no p-value against MT"),
        (
            "significance/intervals.tsv",
            {"supervision": "all"},
            "supervision is `all`, not one of supervised",
        ),
        ("significance/intervals.tsv", {"seed": "1"}, "m, b, Base, 1, supervised, en-it, BLEU is no part of"),
        ("significance/intervals.tsv", {"seed": "all"}, "seed is `all`, not a whole number or `shared`"),
        ("significance/intervals.tsv", {"seed": "01"}, "seed is `01`, not a whole number or `shared`"),
        ("significance/intervals.tsv", {"seed": "-1"}, "seed is `-1`, not a whole number or `shared`"),
    ],
)
def test_a_wrong_value_is_named_by_file_and_line(folder, name, values, message):
    change(folder / name, 2, **values)
    # The second line holds the first score; a wrong number of lines of the references shows in the next score.
    assert re.match(rf"line [23]: .*{re.escape(message)}", refuse("tables", folder, name))


def test_the_tables_notice_scores_that_disagree_with_one_another(folder):
    name = "significance/intervals.tsv"
    path = folder / name
    whole = path.read_text()
    change(path, line_of(path, system="LAT", seed="1", direction="AVG", metric="OTR"), value="40.0000")
    assert "AVG of OTR is 40.0000, but the directions have the mean 16.6667" in refuse("tables", folder, name)
    path.write_text(whole)
    # The values of two runs, each of which belongs to the other.
    first, second = (line_of(path, system="LAT", seed=seed, metric="BLEU") for seed in "12")
    rows = read_table(path)
    for column in ("value", "low", "high", "p"):
        rows[first - 2][column], rows[second - 2][column] = rows[second - 2][column], rows[first - 2][column]
    for line in (first, second):
        of_mean = line_of(path, system="LAT", seed=rows[line - 2]["seed"], direction="AVG", metric="BLEU")
        rows[of_mean - 2]["value"] = rows[line - 2]["value"]
        rows[of_mean - 2] |= {"low": "0.0000", "high": "100.0000"}
    write_table(path, rows, list(rows[0]))
    assert f"line {first}: BLEU of LAT in en-it is 100.0000, but" in refuse("tables", folder, name)
    path.write_text(whole)
    change(path, line_of(path, system="MT", seed="3"), p="0.5000")
    assert "MT has a p-value against MT" in refuse("tables", folder, name)


SUMMARY_PROBLEMS = [
    ({"system": "MT"}, {"mean": "120.0000"}, "mean of BLEU is 120.0000, not from 0 to 100"),
    ({"system": "MT"}, {"mean": "nan"}, "mean is `nan`, not a number"),
    ({"system": "MT"}, {"sd": ""}, "sd of MT is ``, but it has 3 seeds"),
    ({"system": "MT"}, {"sd": "-1.0000"}, "sd is `-1.0000`, not a number of at least 0"),
    ({"system": "Base"}, {"sd": "0.0000"}, "sd of Base is `0.0000`, but it has 1 seed"),
    ({"system": "MT"}, {"seeds": "2"}, "seeds is 2, but MT has 3"),
    ({"system": "Base"}, {"seeds": "3"}, "seeds is 3, but Base has 1"),
    ({"system": "MT"}, {"seeds": "0"}, "seeds is `0`, not a whole number of at least 1"),
    ({"system": "LAT"}, {"low": "99.0000", "high": "98.0000"}, "the 95 % interval of"),
    ({"system": "LAT", "metric": "OTR"}, {"p": "1.1000"}, "p is `1.1000`, not a number from 0 to 1"),
    ({"system": "LAT", "metric": "OTR"}, {"p_corrected": "2"}, "p_corrected is `2`, not a number from 0 to 1"),
    ({"system": "LAT", "metric": "OTR"}, {"p_corrected": "0.0001"}, "p_corrected of LAT is `0.0001`, which cannot be"),
    ({"system": "LAT", "metric": "OTR"}, {"p_corrected": ""}, "p_corrected of LAT is ``, which cannot be"),
    ({"system": "MT", "metric": "OTR"}, {"p_corrected": "1.0000"}, "p_corrected of MT is `1.0000`, which cannot be"),
    ({"system": "LAT", "direction": "AVG", "metric": "OTR"}, {"mean": "40.0000"}, "AVG of OTR is 40.0000, but the"),
    # Both of these are plausible by themselves, but are not those of the scores.
    (
        {"system": "MT", "metric": LEARNED},
        {"sd": "9.9900"},
        f"sd of {LEARNED} of MT in en-it is 9.9900, but 10.0",
    ),
    (
        {"system": "MT", "direction": "AVG", "metric": LEARNED},
        {"sd": "8"},
        "of MT in AVG is 8, but 10.0000",
    ),
]


@pytest.mark.parametrize("script", ["tables", "figures", "page"])
@pytest.mark.parametrize(("where", "values", "message"), SUMMARY_PROBLEMS)
def test_a_damaged_table_of_means_over_seeds_is_refused(folder, script, where, values, message):
    name = "significance/summary.tsv" if script == "tables" else "summary.tsv"
    line = line_of(folder / name, **where)
    change(folder / name, line, **values)
    assert re.match(rf"line {line}: .*{re.escape(message)}", refuse(script, folder, name))


@pytest.mark.parametrize("script", ["tables", "figures", "page"])
def test_means_of_other_scores_are_refused(folder, script):
    name = "significance/summary.tsv" if script == "tables" else "summary.tsv"
    path = folder / name
    for direction in ("en-it", "AVG"):
        change(path, line_of(path, system="MT", direction=direction, metric="OTR"), mean="60.0000")
    assert "mean of OTR of MT in en-it is 60.0000, but 66.6667 by the score tables" in refuse(script, folder, name)


@pytest.mark.parametrize("script", ["tables", "page"])
def test_a_p_value_must_be_that_of_the_first_baseline(folder, script):
    name = "significance/summary.tsv" if script == "tables" else "summary.tsv"
    change(folder / name, line_of(folder / name, system="LAT"), p="", p_corrected="")
    assert "LAT has no p-value against MT" in refuse(script, folder, name)
    change(folder / name, line_of(folder / name, system="LAT"), p="0.5000", p_corrected="0.9999")
    other = name.replace("summary", "comparisons")
    assert "p of LAT and MT is" in refuse(script, folder, other)


@pytest.mark.parametrize("script", ["tables", "page"])
@pytest.mark.parametrize(
    ("where", "values", "message"),
    [
        ({"system": "LAT"}, {"difference": "120.0000"}, "difference of BLEU is 120.0000, not from -100 to 100"),
        ({"system": "LAT"}, {"low": "99.0000", "high": "98.0000"}, "the 95 % interval of"),
        ({"system": "LAT"}, {"p": ""}, "p is ``, not a number from 0 to 1"),
        (
            {"system": "LAT"},
            {"p": "1.0000", "p_corrected": "0.5000"},
            "p_corrected of LAT is `0.5000`, which cannot",
        ),
        ({"system": "LAT"}, {"seeds": "1"}, "seeds is 1, but LAT and MT have 3"),
        ({"system": "Base"}, {"seeds": "1"}, "seeds is 1, but Base and MT have 3"),
        (
            {"system": "LAT", "metric": "OTR"},
            {"difference": "-49.0000"},
            "difference of LAT and MT is -49.0000, but",
        ),
        (
            {"system": "LAT", "metric": LEARNED},
            {"p": "0.0100"},
            # The correction for several tests, or the p-value of the summary, contradicts it.
            " is 0.0100, but 0.0",
        ),
        ({"system": "LAT", "metric": LEARNED}, {"p_corrected": "0.5"}, "p_corrected of LAT is 0.5, but 0.0"),
    ],
)
def test_a_damaged_table_of_comparisons_is_refused(folder, script, where, values, message):
    name = "significance/comparisons.tsv" if script == "tables" else "comparisons.tsv"
    line = line_of(folder / name, **where)
    change(folder / name, line, **values)
    assert re.match(rf"line {line}: .*{re.escape(message)}", refuse(script, folder, name))


def test_the_two_best_systems_are_compared_if_neither_is_a_baseline(folder):
    name = "significance/comparisons.tsv"
    path = folder / name
    for baseline in ("PTL", "Base"):
        for script in ("significance", "tables"):
            run(script, folder, baselines=[baseline])
        rows = read_table(path)
        best = [row for row in rows if row["baseline"] != baseline]
        assert {(row["system"], row["baseline"], row["direction"]) for row in best} == {("LAT", "MT", "AVG")}
        assert sorted(row["metric"] for row in best) == sorted(2 * ["BLEU", "chrF++", "OTR", LEARNED])
    first = best[0]
    for changed in (
        [row for row in rows if row is not first],
        [row | {"system": "MT", "baseline": "LAT"} if row is first else row for row in rows],
        [row | {"direction": "en-it"} if row is first else row for row in rows],
        [*rows, first | {"baseline": "LAT"}],
    ):
        write_table(path, changed, list(first))
        with pytest.raises(InputError, match=r"no row about m, b, LAT, MT|is no part of the experiment"):
            run("tables", folder, baselines=["Base"])
    write_table(path, [row | {"p_corrected": row["p"]} if row is first else row for row in rows], list(first))
    with pytest.raises(InputError, match=r"p_corrected of LAT is .*, but .* by all p-values"):
        run("tables", folder, baselines=["Base"])


def test_a_learned_metric_can_be_an_error(folder):
    """Base has the lowest and LAT the highest score of the learned metric, and LAT the highest BLEU."""
    found = {}
    for lower_is_better in ((), (LEARNED,)):
        for script in ("significance", "tables", "figures", "page"):
            run(script, folder, baselines=["PTL"], lower_is_better=lower_is_better)
        rows = read_table(folder / "comparisons.tsv")
        pairs = {(row["metric"], row["system"], row["baseline"]) for row in rows}
        blocks = (folder / "zero_shot.md").read_text().split(f": {LEARNED}, ")
        bold = re.findall(r"^\| (\S+) \|.*\*\*", blocks[1].split(": OTR")[0], re.MULTILINE)
        found[bool(lower_is_better)] = (pairs, blocks[1][:6], bold)
    others = {(metric, "LAT", "MT") for metric in ("BLEU", "chrF++", "OTR")}
    assert found[False] == (others | {(LEARNED, "LAT", "MT")}, "higher", ["LAT"])
    assert found[True] == (others | {(LEARNED, "Base", "MT")}, "lower ", ["Base"])

    # The scripts that read the comparisons do not take the best two of the other direction for those of this one.
    for script in ("tables", "page"):
        with pytest.raises(InputError, match=rf"m, b, Base, MT, supervised, AVG, {LEARNED} is no part"):
            run(script, folder, baselines=["PTL"])


def test_a_system_that_does_not_translate_is_none_of_the_best():
    experiment = Experiment("m", "b", {"Empty": ("shared",), **RUNS}, {"it-ru": "zero-shot"})
    means = {("zero-shot", "BLEU", name): bleu for name, bleu in zip(experiment.systems, (0.9, 1, 5, 5), strict=True)}
    means |= {("zero-shot", "OTR", name): float(otr) for otr, name in enumerate(experiment.systems)}
    assert reading._best_systems(experiment, means, "zero-shot", "OTR", True) == ["Base", "MT"]
    assert reading._best_systems(experiment, means, "zero-shot", "BLEU", False) == ["MT", "LAT"]


@pytest.mark.parametrize(
    ("seeds", "note"), [(1, "One training seed: "), (2, "over 2 training seeds, which are too few")]
)
def test_with_fewer_than_three_seeds_the_tables_say_so(folder, seeds, note):
    for script in ("significance", "tables"):
        run(script, folder, seeds=seeds)
    text = (folder / "zero_shot.md").read_text()
    assert note in text and ("±" in text) == (seeds == 2) and "hierarchical" not in text
    assert f"training variance is not covered: {seeds} training seed" in text
    assert ("it-ru sd" in (folder / "zero_shot.tsv").read_text()) == (seeds == 2)


@pytest.mark.parametrize("systems", [["Base"], ["MT"]])
def test_a_single_system_is_compared_with_nothing(folder, systems):
    for script in ("significance", "tables", "figures", "page"):
        run(script, folder, systems=systems)
    header = (folder / "comparisons.tsv").read_text()
    assert header.split("\t")[:4] == ["base_model", "benchmark", "system", "baseline"] and header.count("\n") == 1
    frame = score_comparisons_frame(read_score_comparisons(folder / "comparisons.tsv", [], [LEARNED], ["MT"], []))
    assert frame.empty and "p_corrected" in frame
    (folder / "comparisons.tsv").write_text(header.rstrip("\n"))
    assert "is cut short" in refuse("page", folder, "comparisons.tsv", systems=systems)


def test_tables_of_fewer_runs_are_incomplete(folder):
    for script, name in (("figures", "scores.tsv"), ("tables", "significance/intervals.tsv")):
        path = folder / name
        rows = [row for row in read_table(path) if row["seed"] != "2"]
        write_table(path, rows, list(rows[0]))
        assert "no row about m, b, MT, 2, supervised, en-it, BLEU and" in refuse(script, folder, name)
        with pytest.raises(InputError, match="m, b, MT, 3, supervised, en-it, BLEU is no part of the experiment"):
            run(script, folder, seeds=1)


def test_a_table_with_fewer_metrics_of_an_older_version_is_one_line_also_for_the_figures(folder):
    for name, scripts in (("LAT.1.otr.tsv", ["tables", "significance"]), ("scores.tsv", ["figures", "page"])):
        rows = [row for row in read_table(folder / name) if row["metric"] not in ("OTR-no_words", "no_words")]
        write_table(folder / name, rows, list(rows[0]))
        for script in scripts:
            assert re.search(r"no row about .*en-it, OTR-no_words and \d+ more", refuse(script, folder, name))


def test_a_table_of_an_older_version_has_no_seeds(folder):
    for name, script in (("significance/intervals.tsv", "tables"), ("scores.tsv", "figures")):
        rows = read_table(folder / name)
        write_table(folder / name, rows, [column for column in rows[0] if column != "seed"])
        assert "line 1: the columns are" in refuse(script, folder, name)


@pytest.mark.parametrize("missing", RUNS)
def test_a_table_without_one_of_the_systems_is_refused(folder, missing):
    for name, script in (
        ("significance/intervals.tsv", "tables"),
        ("intervals.tsv", "page"),
        ("scores.tsv", "figures"),
        ("summary.tsv", "figures"),
        ("comparisons.tsv", "page"),
    ):
        path = folder / name
        whole = path.read_text()
        rows = read_table(path)
        kept = [row for row in rows if missing not in (row["system"], row.get("baseline"))]
        write_table(path, kept or rows[:1], list(rows[0]))
        assert re.search(r"no row about m, b, .*supervised, en-it, .* and \d+ more", refuse(script, folder, name))
        path.write_text(whole)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"verdict": "dutch"}, "verdict is `dutch`, not one of target, source"),
        ({"verdict": "source"}, "the verdict of a line of en-it in the language `it` cannot be source"),
        ({"verdict": "empty"}, "in the language `it` cannot be empty"),
        ({"verdict": "no_words"}, "no_words of en-it is 0.0000 of 6 lines, but 16.6667 of 6 by"),
        ({"label": "de"}, "in the language `de` cannot be target"),
        ({"label": "de", "verdict": "other"}, "OTR of en-it is 16.6667 of 6 lines, but 33.3333 of 6 by"),
        ({"score": "1.2000"}, "score is `1.2000`, not a number from 0 to 1"),
        ({"score": "nan"}, "score is `nan`"),
        ({"copy": "1"}, "copies of en-it is 0.0000 of 6 lines, but 16.6667 of 6 by"),
        ({"copy": "2"}, "copy is `2`, not one of 0, 1"),
        ({"line": "4"}, "output line 4 of en-it stands where line 1 belongs"),
        ({"py3langid": "xx"}, "OTR:py3langid of en-it is 16.6667 of 6 lines, but 33.3333 of 6 by"),
    ],
)
@pytest.mark.parametrize("script", ["significance", "page"])
def test_lines_are_checked_one_by_one_and_against_their_scores(folder, script, values, message):
    change(folder / "LAT.1.lines.tsv", 2, **values)
    of_scores = {"significance": "LAT.1.otr.tsv", "page": "scores.tsv"}[script]
    assert message in refuse(script, folder, of_scores if " by" in message else "LAT.1.lines.tsv")


def test_an_added_line_is_noticed(folder):
    path = folder / "LAT.1.lines.tsv"
    rows = read_table(path)
    rows.insert(LINES, rows[LINES - 1] | {"line": str(LINES + 1)})
    write_table(path, rows, list(rows[0]))
    assert "7 output lines of en-it, which has 6 test lines" in refuse("page", folder, path.name)


def test_learned_scores_of_lines_are_finite_numbers(folder):
    change(folder / "MT.1.learned.lines.tsv", 3, score="nan")
    assert "line 3: score is `nan`, not a number" in refuse("significance", folder, "MT.1.learned.lines.tsv")


def test_a_learned_metric_may_have_any_scale(tmp_path):
    path = tmp_path / "lines.tsv"
    write_table(path, [{"direction": "it-nl", "line": 1, "score": "-120.5"}], ("direction", "line", "score"))
    assert read_line_scores(path, {"it-nl": 1}) == {"it-nl": [-120.5]}


STEP = {"likelihood_loss": "2.5", "unlikelihood_loss": "0.1", "learning_rate": "1e-05"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "the table has no rows"),
        ([{"step": "1"}, {"step": "3"}], "line 3: step 3 stands where step 2 belongs"),
        ([{"step": "2"}], "line 2: step 2 stands where step 1 belongs"),
        ([{"step": "1"}, {"step": "1"}], "line 3: step 1 stands where step 2 belongs"),
        ([{"step": "1", "likelihood_loss": "nan"}], "line 2: likelihood_loss is `nan`, not a number of at least 0"),
        ([{"step": "1", "unlikelihood_loss": "-1"}], "line 2: unlikelihood_loss is `-1`, not a number of at least 0"),
        ([{"step": "1", "learning_rate": "inf"}], "line 2: learning_rate is `inf`, not a number"),
        ([{"step": "one"}], "line 2: step is `one`, not a whole number"),
    ],
)
def test_step_logs_have_every_step_and_finite_losses(tmp_path, rows, message):
    path = tmp_path / "steps.tsv"
    write_table(path, [STEP | row for row in rows], ("step", *STEP))
    with pytest.raises(InputError, match=re.escape(f"{path}: {message}")) as error:
        read_steps(path)
    assert "trains the model again" in str(error.value)


@pytest.mark.parametrize("columns", [STEP_COLUMNS, step_columns(PreferenceLoss.columns)], ids=["LAT", "preference"])
def test_the_step_log_of_a_training_run_is_accepted(tmp_path, columns):
    path = tmp_path / "steps.tsv"
    write_table(path, [dict.fromkeys(columns, "1")], columns)
    assert list(read_steps(path).columns) == list(columns)


def test_a_step_log_with_a_negative_preference_loss_is_damaged(tmp_path):
    path, columns = tmp_path / "steps.tsv", step_columns(PreferenceLoss.columns)
    write_table(path, [dict.fromkeys(columns, "1") | {"preference_loss": "-1"}], columns)
    with pytest.raises(InputError, match="line 2: preference_loss is `-1`, not a number of at least 0"):
        read_steps(path)


COMPARISON = {"base_model": "m", "benchmark": "b", "seed": "1", "system": "LAT", "baseline": "MT"}
COMPARISON |= {"instructions": "set"}
COMPARISON |= {"judge": "j", "n": "12", "win": "5", "tie": "4", "lose": "1", "unclear": "2", "p": "0.21875"}
KEY = tuple(COMPARISON.values())[:5]


def compare(folder, *rows: dict[str, str], expected=(KEY,)) -> list[dict[str, str]]:
    paths = []
    for number, row in enumerate(rows):
        paths.append(folder / f"{number}.tsv")
        write_table(paths[-1], [COMPARISON | row], list(COMPARISON))
    return read_general_comparisons(zip(paths, ([key] for key in expected), strict=True))


def test_comparisons_on_general_tasks_are_those_of_the_config(tmp_path):
    assert compare(tmp_path, {}) == [COMPARISON]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"win": "6"}], "0.tsv: line 2: n is 12, but there are 13 outcomes"),
        ([{"win": "-5"}], "0.tsv: line 2: win is `-5`, not a whole number"),
        ([{"win": "4", "lose": "2"}], "0.tsv: line 2: p is 0.21875, but 0.6875 by the wins and losses"),
        ([{"p": "1.5"}], "0.tsv: line 2: p is `1.5`, not a number from 0 to 1"),
        ([{"system": "PTL"}], "0.tsv: line 2: m, b, 1, PTL, MT is no part of the experiment"),
        ([{"seed": "2"}], "0.tsv: line 2: m, b, 2, LAT, MT is no part of the experiment"),
        ([{"seed": "seed1"}], "0.tsv: line 2: seed is `seed1`, not a whole number or `shared`"),
        ([{}, {"judge": "other"}], "1.tsv: line 2: judge is `other`, but `j` in another comparison"),
    ],
)
def test_damaged_comparisons_on_general_tasks_are_refused(tmp_path, rows, message):
    with pytest.raises(InputError, match=re.escape(message)):
        compare(tmp_path, *rows, expected=[KEY] * len(rows))


def test_the_schemas_are_those_of_the_writers():
    assert tuple(reading.SCORES.columns) == SCORE_COLUMNS
    of_experiment = [tuple(schema.columns) for schema in reading.SIGNIFICANCE.values()]
    assert of_experiment == [
        significance.INTERVAL_COLUMNS,
        significance.SUMMARY_COLUMNS,
        significance.COMPARISON_COLUMNS,
    ]
    for schema, columns in zip(
        (reading.INTERVALS, reading.SUMMARY, reading.SCORE_COMPARISONS), of_experiment, strict=True
    ):
        assert tuple(schema.columns) == ("base_model", "benchmark", *columns)
    assert tuple(reading.GENERAL_COMPARISONS.columns) == judge.COLUMNS
    assert tuple(reading.LINES.columns) == LINE_COLUMNS
    assert tuple(scores.metrics("it-nl")) == scores.METRICS


DIRECTIONS = [["b", "supervised", "en-it"], ["b", "zero-shot", "it-ru"]]


def test_an_experiment_has_the_runs_of_each_system_in_the_order_of_the_rows():
    runs = [("m", "b", "Base", "shared"), *(("m", "b", system, seed) for system in ("MT", "LAT") for seed in "37")]
    (experiment,) = make_experiments(runs, DIRECTIONS)
    assert experiment == Experiment("m", "b", RUNS | dict.fromkeys(("MT", "LAT"), ("3", "7")), experiment.directions)
    assert experiment.systems == ("Base", "MT", "LAT") and experiment.seeds == ("3", "7")
    assert experiment.directions == {"en-it": "supervised", "it-ru": "zero-shot"}
    pairs = [("Base", "MT"), ("LAT", "MT"), ("Base", "Base")]
    assert [experiment.paired_seeds(*pair) for pair in pairs] == [2, 2, 1]
    assert make_experiments(runs[:1], DIRECTIONS)[0].seeds == ()


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        (["MT 1", "MT 1"], "m on b: the system MT has the seed 1 twice"),
        (["MT one"], "m on b: the system MT has the seed `one`, not a whole number or `shared`"),
        (
            ["MT 1", "MT 2", "LAT 1"],
            "the system LAT has the seeds 1, but MT has 1, 2; give all trained",
        ),
        (["MT 1", "MT shared"], "the system MT has the seeds 1, shared; `shared` must be the only one"),
    ],
)
def test_unusable_runs_are_refused(runs, message):
    with pytest.raises(InputError, match=re.escape(message)):
        make_experiments((("m", "b", *run.split()) for run in runs), DIRECTIONS)


def test_rows_are_found_by_system_and_seed(finished):
    experiment = Experiment("m", "b", RUNS, {"en-it": "supervised", "it-ru": "zero-shot"})
    rows = read_all_scores(finished / "scores.tsv", [experiment], [LEARNED])
    of_run = rows_of(rows, experiment, "MT", "2")
    assert {(row["system"], row["seed"]) for row in of_run} == {("MT", "2")}
    assert len(rows_of(rows, experiment, "MT")) == 3 * len(of_run)
    assert {row["system"] for row in rows_of(rows, experiment, seed="shared")} == {"Base", "reference"}
    assert not rows_of(rows, Experiment("other", "b", RUNS, {}))


def test_frames_have_numbers_and_nothing_where_nothing_was_computed(finished):
    summary = summary_frame(read_table(finished / "summary.tsv")).set_index("system")
    assert summary.loc["Base", "sd"].isna().all() and summary.loc["LAT", "sd"].notna().all()
    assert summary.loc["MT", "p_corrected"].isna().all() and (summary.loc["LAT", "p_corrected"] <= 1).all()
    assert set(summary.seeds) == {1, 3}
    comparisons = score_comparisons_frame(read_table(finished / "comparisons.tsv"))
    assert (comparisons.p_corrected >= comparisons.p).all() and (comparisons.seeds == 3).all()


MACHINE = {"cpu": "a CPU", "gpus": ["a GPU", "a GPU"], "processes": 2, "threads": 4}


def test_versions_have_the_processors_of_all_trainings(tmp_path):
    path = tmp_path / "machine.json"
    path.write_text(json.dumps(MACHINE))
    machine = read_machine(path)
    assert machine == Machine("a CPU", ("a GPU", "a GPU"), 2, 4)
    rows = {row["what"]: row["version"] for row in version_rows([machine, Machine("b", (), 1, 2), machine])}
    assert rows["training: CPU"] == "a CPU (2 models), b (1 model)"
    assert rows["training: GPU"] == "2 x a GPU (2 models), none (1 model)"
    assert rows["training: processes x threads"] == "2 x 4 (2 models), 1 x 2 (1 model)"
    assert rows["tables: CPU"] == cpu_model() and rows["python"]
    assert {row["version"] for row in version_rows([])[-4:-1]} == {"no model was trained"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1 is not JSON"),
        (json.dumps(MACHINE)[:-1], "line 1 is not JSON"),
        ("[]", "this is no object with cpu, gpus, processes and threads"),
        (json.dumps(MACHINE | {"cpu": " "}), "this is no object"),
        (json.dumps(MACHINE | {"gpus": "a GPU"}), "this is no object"),
        (json.dumps(MACHINE | {"gpus": [1]}), "this is no object"),
        (json.dumps(MACHINE | {"threads": 0}), "this is no object"),
        (json.dumps(MACHINE | {"threads": True}), "this is no object"),
        (json.dumps(MACHINE | {"processes": 1.5}), "this is no object"),
        (json.dumps(MACHINE | {"more": 1}), "this is no object"),
        (json.dumps(MACHINE | {"cpu": "\ud800"}), "is half of a character"),
    ],
)
def test_damaged_files_of_processors_are_refused(folder, text, message):
    path = folder / "lat.machine.json"
    path.write_text(text)
    assert message in refuse("tables", folder, path.name)
    path.unlink()
    assert "no such file" in refuse("tables", folder, path.name)
