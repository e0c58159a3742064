"""Off-target scores: the parts of the OTR by verdict, the two stricter scores, and mistakes in the files."""

import math
import re
import subprocess
import sys

import pytest
from tiny_lid import SENTENCES, write_tiny_lid

from tests.conftest import ROOT
from workflow_scripts.lat.evaluation.offtarget import (
    Verdict,
    classify,
    cross_check_scores,
    leaves_out_lines,
    off_target_metrics,
    off_target_scores,
)
from workflow_scripts.lat.files import InputError, read_table
from workflow_scripts.lat.reporting.charts import OFF_TARGET_LANGUAGES
from workflow_scripts.lat.reporting.page import LETTERS, PAGE

SOURCES = ["una frase italiana di prova", "due", "tre", "quattro", "cinque", "sei", "sette", "otto"]
OUTPUTS = [
    "een Nederlandse zin om te testen",
    "an English sentence to test it",
    "tre",
    "",
    "ein deutscher Satz zum Testen hier",
    "een Nederlandse zin die niet zeker is",
    "kort maar goed",
    "  otto ",
]
PREDICTIONS = [("nl", 0.9), ("en", 0.9), ("it", 0.5), ("", 0.0), ("de", 0.8), ("nl", 0.3), ("nl", 0.2), ("it", 0.9)]


def scores(
    direction: str = "it-nl", outputs=OUTPUTS, predictions=PREDICTIONS, sources=SOURCES
) -> dict[str, tuple[float, int]]:
    lines = classify(predictions, outputs, sources, direction)
    return {score.metric: (score.value, score.n) for score in off_target_scores(lines, outputs, direction)}


def test_the_parts_of_the_otr_add_up_to_it():
    verdicts = [line.verdict for line in classify(PREDICTIONS, OUTPUTS, SOURCES, "it-nl")]
    assert verdicts == ["target", "english", "source", "empty", "other", "target", "target", "source"]
    found = scores()
    assert found["OTR"] == (62.5, 8)
    parts = [found[f"OTR-{kind}"][0] for kind in ("source", "english", "other", "empty", "no_words")]
    assert parts == [25.0, 12.5, 12.5, 12.5, 0.0]
    assert sum(parts) == found["OTR"][0]


@pytest.mark.parametrize("text", [".", "...", "123", "12:30", "???", "🙂", "</s> - 5 %", "٣٤", "。"])
def test_a_line_without_letters_has_a_verdict_of_its_own(text):
    (line,) = classify([("nl", 0.9)], [text], ["due"], "it-nl")
    assert line.verdict == "no_words"


@pytest.mark.parametrize("text", ["a.", "5 m", "猫", "д", "ª"])
def test_a_line_with_a_letter_has_words(text):
    (line,) = classify([("nl", 0.9)], [text], ["due"], "it-nl")
    assert line.verdict == "target"


def test_lines_without_words_are_counted_apart_and_leave_the_otr_as_it_is():
    outputs = ["een zin", "...", "123", "una frase", "", "</s>"]
    # Line 3 has no words, but is on target by its label.
    predictions = [("nl", 0.9), ("en", 0.1), ("nl", 0.1), ("it", 0.9), ("", 0.0), ("", 0.0)]
    found = scores("it-nl", outputs, predictions, ["a"] * 6)
    assert found["OTR"] == (pytest.approx(400 / 6), 6)
    assert found["no_words"] == (pytest.approx(200 / 6), 6)
    assert found["OTR-no_words"] == (pytest.approx(100 / 6), 6)
    assert found["OTR-empty"] == (pytest.approx(200 / 6), 6)
    assert found["OTR-english"] == (0.0, 6)
    parts = [value for metric, (value, _) in found.items() if metric.startswith("OTR-") and metric != "OTR-confusion"]
    assert sum(parts) == pytest.approx(found["OTR"][0])


def test_lines_without_words_into_english_are_seen_although_the_otr_is_zero():
    found = scores("it-en", [".", "...", "123", "🙂"], [("en", 0.2)] * 4, ["a"] * 4)
    assert found["OTR"] == found["OTR-no_words"] == (0.0, 4)
    assert found["no_words"] == (100.0, 4)


def test_special_tokens_count_neither_as_tokens_nor_as_english_words():
    outputs = ["<mask> это простой пример перевода <|endoftext|>", "<s> это </s> <pad> <pad>"]
    found = scores("en-ru", outputs, [("ru", 0.9)] * 2, ["a", "b"])
    assert found["WPR"][1] == found["OTR-confusion"][1] == 0
    outputs = ["<mask> это простой пример перевода текста"]
    assert scores("en-ru", outputs, [("ru", 0.9)], ["a"])["WPR"] == (100.0, 1)


def test_the_page_and_the_figure_show_every_verdict():
    assert list(LETTERS) == list(Verdict)
    options = re.findall(r'\["(.)", "', (PAGE / "page.js").read_text())
    assert options == list(LETTERS.values())
    assert list(OFF_TARGET_LANGUAGES) == [verdict for verdict in Verdict if verdict != Verdict.TARGET]


def test_english_as_the_source_language_counts_as_source():
    found = scores("en-nl")
    assert "OTR-english" in found and found["OTR-english"][0] == 0
    assert found["OTR-source"][0] == 12.5


def test_copies_equal_the_source_line_up_to_white_space():
    assert scores()["copies"] == (25.0, 8)
    assert scores(sources=[""] * 8)["copies"][0] == 0.0  # An empty line is not a copy.


def test_otr_confusion_excludes_short_lines_and_rejects_low_probabilities():
    # Lines 1, 2, 5 and 6 are long enough. Of these, only line 1 is Dutch with a probability above 0.3.
    assert scores()["OTR-confusion"] == (75.0, 4)
    assert math.isnan(scores(outputs=["kort"] * 8)["OTR-confusion"][0])
    assert scores(outputs=["a , . ! b ? - c"] * 8)["OTR-confusion"][1] == 0  # Punctuation marks are not tokens.


def test_wpr_exists_only_for_targets_in_another_script_than_latin():
    assert "WPR" not in scores()
    outputs = [
        "это простой пример перевода текста",
        "это простой example перевода текста",
        "это NASA и API для всех нас",
    ]
    found = scores("en-ru", outputs, [("ru", 0.9)] * 3, ["a", "b", "c"])
    assert found["WPR"] == (pytest.approx(200 / 3), 3)
    assert math.isnan(scores("en-ru", outputs, [("en", 0.9)] * 3, ["a", "b", "c"])["WPR"][0])


def test_chinese_and_japanese_lines_are_tokenized_without_spaces():
    assert scores("en-zh", ["我喜欢这只小猫。"], [("zh", 0.9)], ["a"])["OTR-confusion"] == (0.0, 1)
    assert scores("en-ja", ["私はこの小さな猫が好きです。"], [("ja", 0.9)], ["a"])["OTR-confusion"] == (0.0, 1)


def test_agreement_excludes_empty_lines_and_the_other_otr_includes_them():
    lines = classify(PREDICTIONS, OUTPUTS, SOURCES, "it-nl")
    labels = ["nl", "en", "nl", "", "de", "nl", "nl", "it"]
    ratio, agreement = cross_check_scores(lines, labels, "other", "it-nl")
    assert ratio == ("OTR:other", 50.0, 8)
    assert agreement == ("agreement:other", pytest.approx(600 / 7), 7)
    nothing = cross_check_scores(lines[3:4], [""], "other", "it-nl")[1]
    assert math.isnan(nothing.value) and nothing.n == 0


@pytest.mark.parametrize("direction", ["it-nl", "en-ru", "it-en", "ru-en"])
def test_the_names_of_the_scores_are_known_without_computing_them(direction):
    assert list(scores(direction)) == off_target_metrics(direction)
    lines = classify(PREDICTIONS, OUTPUTS, SOURCES, direction)
    others = [score.metric for name in ("a", "b") for score in cross_check_scores(lines, [""] * 8, name, direction)]
    assert off_target_metrics(direction, ["a", "b"]) == [*off_target_metrics(direction), *others]
    # Only these may be computed on fewer lines than there are, and thus on none.
    fewer = {metric for metric, (_, n) in scores(direction).items() if n != len(OUTPUTS)}
    assert fewer == set(filter(leaves_out_lines, off_target_metrics(direction)))


@pytest.mark.parametrize(
    ("outputs", "sources", "message"),
    [
        ([], [], "it-nl: no output lines"),
        (["a"], ["a", "b"], "it-nl: 1 outputs for 2 sources"),
    ],
)
def test_files_that_cannot_be_classified_are_named(outputs, sources, message):
    with pytest.raises(InputError, match=message):
        classify([("", 0.0)] * len(outputs), outputs, sources, "it-nl")


def test_two_identifiers_with_the_same_name_are_refused(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        write_tiny_lid(tmp_path / folder / "lid.bin")
    write_tiny_lid(tmp_path / "label")
    command = [sys.executable, "-m", "workflow_scripts.detect", "--folder", tmp_path, "--sources", tmp_path]
    command += ["--lines", tmp_path / "lines.tsv", "--scores", tmp_path / "otr.tsv", "--directions", "it-nl"]
    for others, name in ((["a/lid.bin", "b/lid.bin"], "lid.bin"), (["label"], "label")):
        others = [tmp_path / other for other in others]
        done = subprocess.run([*command, "--lid", "py3langid", *others], capture_output=True, text=True, cwd=ROOT)
        assert done.returncode == 1 and "Traceback" not in done.stderr
        assert f"two columns of the table of lines would be called `{name}`; rename the model file" in done.stderr


@pytest.mark.parametrize(("second", "message"), [("", "every output is empty"), ("een kat", None)])
def test_an_empty_system_is_an_error_and_an_empty_direction_is_not(tmp_path, second, message):
    lid = write_tiny_lid(tmp_path / "lid.bin")
    for direction, output in (("it-nl", ""), ("en-nl", second)):
        (tmp_path / f"{direction}.txt").write_text(f"{output}\n")
        (tmp_path / f"{direction}.src.txt").write_text("una\n")
    command = [sys.executable, "-m", "workflow_scripts.detect", "--folder", tmp_path, "--sources", tmp_path]
    command += ["--lid", lid, "--lines", tmp_path / "lines.tsv", "--scores", tmp_path / "otr.tsv"]
    done = subprocess.run([*command, "--directions", "it-nl", "en-nl"], capture_output=True, text=True, cwd=ROOT)
    if message:
        assert done.returncode == 1 and message in done.stderr
        assert not (tmp_path / "otr.tsv").exists()
    else:
        assert done.returncode == 0, done.stderr
        values = {(row["direction"], row["metric"]): row["value"] for row in read_table(tmp_path / "otr.tsv")}
        assert values["it-nl", "OTR-empty"] == values["it-nl", "OTR"] == "100.0000"


def test_the_step_ignores_special_tokens_and_names_lines_without_words(tmp_path):
    lid = write_tiny_lid(tmp_path / "lid.bin")
    outputs = [f"</s> {SENTENCES['nl']}", "...", "</s>"]
    (tmp_path / "it-nl.txt").write_text("".join(f"{output}\n" for output in outputs))
    (tmp_path / "it-nl.src.txt").write_text("uno\ndue\ntre\n")
    command = [sys.executable, "-m", "workflow_scripts.detect", "--folder", tmp_path, "--sources", tmp_path]
    command += ["--lid", lid, "py3langid", "--lines", tmp_path / "lines.tsv", "--scores", tmp_path / "otr.tsv"]
    subprocess.run([*command, "--directions", "it-nl"], check=True, cwd=ROOT)
    rows = read_table(tmp_path / "lines.tsv")
    assert [row["verdict"] for row in rows] == ["target", "no_words", "empty"]
    assert [rows[number][name] for number in (0, 2) for name in ("label", "py3langid")] == ["nl", "nl", "", ""]
    assert (tmp_path / "it-nl.txt").read_text().startswith("</s>")
    values = {row["metric"]: row["value"] for row in read_table(tmp_path / "otr.tsv")}
    assert values["no_words"] == values["OTR-empty"] == "33.3333"
