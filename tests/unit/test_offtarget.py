"""Off-target scores: the parts of the OTR by verdict, the two stricter scores, and mistakes in the files."""

import math
import subprocess
import sys

import pytest
from tiny_lid import write_tiny_lid

from tests.conftest import ROOT
from workflow_scripts.lat.evaluation.offtarget import agreement, classify, off_target_scores
from workflow_scripts.lat.files import InputError, read_table

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
    parts = [found[f"OTR-{kind}"][0] for kind in ("source", "english", "other", "empty")]
    assert parts == [25.0, 12.5, 12.5, 12.5]
    assert sum(parts) == found["OTR"][0]


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


def test_agreement_excludes_empty_lines():
    lines = classify(PREDICTIONS, OUTPUTS, SOURCES, "it-nl")
    other = [("nl", 1.0), ("en", 1.0), ("nl", 1.0), ("", 0.0), ("de", 1.0), ("nl", 1.0), ("nl", 1.0), ("it", 1.0)]
    assert agreement(lines, other) == ("agreement", pytest.approx(600 / 7), 7)


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
