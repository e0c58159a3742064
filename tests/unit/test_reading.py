"""Tables that are damaged, cut, doubled or of another version are refused by every script that reads them."""

import re
import shutil

import pytest
from tiny_results import LEARNED, LINES, SYSTEMS, make_results, run

from workflow_scripts import figures, page
from workflow_scripts.detect import COLUMNS as LINE_COLUMNS
from workflow_scripts.lat.evaluation import scores, significance
from workflow_scripts.lat.files import SCORE_COLUMNS, InputError, read_table, write_table
from workflow_scripts.lat.reporting import reading
from workflow_scripts.lat.reporting.reading import read_comparisons, read_line_scores, read_steps
from workflow_scripts.lat.training.loop import STEP_COLUMNS

# Tables with the scripts that read them; they are read before anything is drawn or computed.
READERS = {
    "MT.scores.tsv": ["significance", "tables"],
    "MT.learned.tsv": ["significance", "tables"],
    "LAT.otr.tsv": ["significance", "tables"],
    "LAT.lines.tsv": ["significance", "page"],
    "MT.learned.lines.tsv": ["significance"],
    "test.otr.tsv": ["tables"],
    "significance.tsv": ["tables"],
    "scores.tsv": ["figures", "page"],
    "intervals.tsv": ["figures", "page"],
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
    for name in ("off_target_figure", "heat_map_figure", "off_target_languages_figure", "losses_figure", "save"):
        monkeypatch.setattr(figures, name, lambda *_: None)
    monkeypatch.setattr(page, "render", lambda **_: "")
    return shutil.copytree(finished, tmp_path / "copy")


def refuse(script, folder, name) -> str:
    """The message of a script about a damaged table, which is one line that names the table and the remedy."""
    with pytest.raises(InputError) as error:
        run(script, folder)
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
    for path in finished.glob("*.tsv"):
        assert (folder / path.name).read_text() == path.read_text()


def test_the_page_shows_all_metrics_of_the_tables_and_the_learned_ones(finished):
    titles = re.findall("<h3>(Zero-shot.*), (?:higher|lower) is better</h3>", (finished / "index.html").read_text())
    assert titles == [f"Zero-shot directions, m on b: {metric}" for metric in ("BLEU", LEARNED, "OTR (%)", "chrF++")]


def test_a_run_without_the_baseline_says_so_wherever_there_are_scores(folder, finished, monkeypatch):
    monkeypatch.undo()
    for script in ("significance", "tables", "page"):
        run(script, folder, baseline="PTL")
    note = "No p-values: the baseline PTL is not among the systems of this experiment."
    blocks = {"zero_shot.md": 3, "zero_shot.tex": 3, "supervised.html": 3, "index.html": 8}
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
        ("MT.scores.tsv", {"value": "nan"}, "BLEU of 6 lines cannot be nan"),
        ("MT.scores.tsv", {"value": "120.0000"}, "value of BLEU is 120.0000, not from 0 to 100"),
        ("MT.scores.tsv", {"value": "-0.1000"}, "value of BLEU is -0.1000"),
        ("MT.scores.tsv", {"value": "1e999"}, "value is `1e999`, not a number"),
        ("MT.scores.tsv", {"value": "1_0"}, "value is `1_0`, not a number"),
        ("MT.scores.tsv", {"value": "²"}, "value is `²`, not a number"),
        ("MT.scores.tsv", {"n": "5"}, "n is 5, but en-it has 6 test lines"),
        ("MT.scores.tsv", {"n": "7"}, "n is 7, but en-it has 6 test lines"),
        ("MT.scores.tsv", {"n": "6.0"}, "n is `6.0`, not a whole number"),
        ("MT.scores.tsv", {"n": "9" * 5000}, "n is `9999"),
        ("MT.scores.tsv", {"n": "6\x1b[2J"}, "n is `6?[2J`, not a whole number"),
        ("MT.scores.tsv", {"metric": "TER"}, "en-it, TER is no part of the experiment"),
        ("MT.scores.tsv", {"direction": "en-fr"}, "en-fr, BLEU is no part of the experiment"),
        ("MT.scores.tsv", {"signature": ""}, "signature is ``, not a text"),
        ("MT.learned.tsv", {"value": "nan"}, f"{LEARNED} of 6 lines cannot be nan"),
        ("LAT.otr.tsv", {"value": "120.0000"}, "value of OTR is 120.0000, not from 0 to 100"),
        ("LAT.otr.tsv", {"value": "46.6667"}, "OTR of en-it is 46.6667, but its parts add up to 16.6667"),
        ("test.otr.tsv", {"n": "5"}, "n is 6, but en-it has 5 test lines"),
        ("significance.tsv", {"low": "99.0000"}, "the 95 % interval of"),
        ("significance.tsv", {"p": "0.5000"}, "MT has a p-value against MT"),
        ("significance.tsv", {"supervision": "all"}, "supervision is `all`, not one of supervised, zero-shot"),
    ],
)
def test_a_wrong_value_is_named_by_file_and_line(folder, name, values, message):
    change(folder / name, 2, **values)
    # The second line holds the first score; a wrong number of lines of the references shows in the next score.
    assert re.match(rf"line [23]: .*{re.escape(message)}", refuse("tables", folder, name))


def test_the_tables_notice_scores_that_disagree_with_one_another(folder):
    path = folder / "significance.tsv"
    change(path, line_of(path, system="LAT", direction="AVG", metric="OTR", supervision="zero-shot"), value="40.0000")
    assert "AVG of OTR is 40.0000, but the directions have the mean 16.6667" in refuse("tables", folder, path.name)
    shutil.copy(folder / "intervals.tsv", path)
    rows = [{k: v for k, v in row.items() if k not in ("base_model", "benchmark")} for row in read_table(path)]
    write_table(path, rows, significance.COLUMNS)
    change(folder / "MT.scores.tsv", 2, value="11.0000")
    assert "BLEU of MT in en-it is" in refuse("tables", folder, path.name)
    change(path, line_of(path, system="LAT", metric="BLEU"), p="")
    assert "LAT has no p-value against MT" in refuse("tables", folder, path.name)


def test_a_table_with_fewer_metrics_of_an_older_version_is_one_line_also_for_the_figures(folder):
    for name, scripts in (("LAT.otr.tsv", ["tables", "significance"]), ("scores.tsv", ["figures", "page"])):
        rows = [row for row in read_table(folder / name) if row["metric"] not in ("OTR-no_words", "no_words")]
        write_table(folder / name, rows, list(rows[0]))
        for script in scripts:
            assert re.search(r"no row about .*en-it, OTR-no_words and \d+ more", refuse(script, folder, name))


@pytest.mark.parametrize("missing", SYSTEMS)
def test_a_table_without_one_of_the_systems_is_refused(folder, missing):
    for name, script in (("significance.tsv", "tables"), ("intervals.tsv", "page"), ("scores.tsv", "figures")):
        rows = [row for row in read_table(folder / name) if row["system"] != missing]
        write_table(folder / name, rows, list(rows[0]))
        assert f", {missing}, supervised, en-it, BLEU and" in refuse(script, folder, name)


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
    change(folder / "LAT.lines.tsv", 2, **values)
    of_scores = {"significance": "LAT.otr.tsv", "page": "scores.tsv"}[script]
    assert message in refuse(script, folder, of_scores if " by" in message else "LAT.lines.tsv")


def test_an_added_line_is_noticed(folder):
    path = folder / "LAT.lines.tsv"
    rows = read_table(path)
    rows.insert(LINES, rows[LINES - 1] | {"line": str(LINES + 1)})
    write_table(path, rows, list(rows[0]))
    assert "7 output lines of en-it, which has 6 test lines" in refuse("page", folder, path.name)


def test_learned_scores_of_lines_are_finite_numbers(folder):
    change(folder / "MT.learned.lines.tsv", 3, score="nan")
    assert "line 3: score is `nan`, not a number" in refuse("significance", folder, "MT.learned.lines.tsv")


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


def test_the_step_log_of_a_training_run_is_accepted(tmp_path):
    path = tmp_path / "steps.tsv"
    write_table(path, [dict.fromkeys(STEP_COLUMNS, "1")], STEP_COLUMNS)
    assert list(read_steps(path).columns) == list(STEP_COLUMNS)


COMPARISON = {"base_model": "m", "benchmark": "b", "system": "LAT", "baseline": "MT", "instructions": "set"}
COMPARISON |= {"judge": "j", "n": "12", "win": "5", "tie": "4", "lose": "1", "unclear": "2", "p": "0.21875"}
KEY = tuple(COMPARISON.values())[:4]


def compare(folder, *rows: dict[str, str], expected=(KEY,)) -> list[dict[str, str]]:
    paths = []
    for number, row in enumerate(rows):
        paths.append(folder / f"{number}.tsv")
        write_table(paths[-1], [COMPARISON | row], list(COMPARISON))
    return read_comparisons(zip(paths, ([key] for key in expected), strict=True))


def test_comparisons_are_those_of_the_config(tmp_path):
    assert compare(tmp_path, {}) == [COMPARISON]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([{"win": "6"}], "0.tsv: line 2: n is 12, but there are 13 outcomes"),
        ([{"win": "-5"}], "0.tsv: line 2: win is `-5`, not a whole number"),
        ([{"win": "4", "lose": "2"}], "0.tsv: line 2: p is 0.21875, but 0.6875 by the wins and losses"),
        ([{"p": "1.5"}], "0.tsv: line 2: p is `1.5`, not a number from 0 to 1"),
        ([{"system": "PTL"}], "0.tsv: line 2: m, b, PTL, MT is no part of the experiment"),
        ([{}, {"judge": "other"}], "1.tsv: line 2: judge is `other`, but `j` in another comparison"),
    ],
)
def test_damaged_comparisons_are_refused(tmp_path, rows, message):
    with pytest.raises(InputError, match=re.escape(message)):
        compare(tmp_path, *rows, expected=[KEY] * len(rows))


def test_the_schemas_are_those_of_the_writers():
    assert tuple(reading.SCORES.columns) == SCORE_COLUMNS
    assert tuple(reading.SIGNIFICANCE.columns) == significance.COLUMNS
    assert tuple(reading.LINES.columns) == LINE_COLUMNS
    assert tuple(scores.metrics("it-nl")) == scores.METRICS
