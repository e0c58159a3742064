"""Off-target measurement: what a line was instead, the stricter views, and mistakes in the files."""

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
FOUND = [("nl", 0.9), ("en", 0.9), ("it", 0.5), ("", 0.0), ("de", 0.8), ("nl", 0.3), ("nl", 0.2), ("it", 0.9)]


def figures(direction: str = "it-nl", outputs=OUTPUTS, found=FOUND, sources=SOURCES) -> dict[str, tuple[float, int]]:
    lines = classify(found, outputs, sources, direction)
    return {its.metric: (its.value, its.n) for its in off_target_scores(lines, outputs, direction)}


def test_every_off_target_line_is_something_else():
    verdicts = [line.verdict for line in classify(FOUND, OUTPUTS, SOURCES, "it-nl")]
    assert verdicts == ["target", "english", "source", "empty", "other", "target", "target", "source"]
    found = figures()
    assert found["OTR"] == (62.5, 8)
    parts = [found[f"OTR-{kind}"][0] for kind in ("source", "english", "other", "empty")]
    assert parts == [25.0, 12.5, 12.5, 12.5]
    assert sum(parts) == found["OTR"][0]


def test_english_that_is_the_source_counts_as_the_source():
    found = figures("en-nl")
    assert "OTR-english" in found and found["OTR-english"][0] == 0
    assert found["OTR-source"][0] == 12.5


def test_copies_are_lines_of_the_source_whatever_the_spaces():
    assert figures()["copies"] == (25.0, 8)
    assert figures(sources=[""] * 8)["copies"][0] == 0.0  # an empty line copies nothing


def test_the_line_rule_leaves_out_short_lines_and_doubts_low_scores():
    # long: lines 1, 2, 5 and 6, of which only the first is Dutch beyond doubt
    assert figures()["OTR-confusion"] == (75.0, 4)
    assert math.isnan(figures(outputs=["kort"] * 8)["OTR-confusion"][0])
    assert figures(outputs=["a , . ! b ? - c"] * 8)["OTR-confusion"][1] == 0  # punctuation is no token


def test_english_words_are_looked_for_in_other_scripts_alone():
    assert "WPR" not in figures()
    outputs = [
        "это простой пример перевода текста",
        "это простой example перевода текста",
        "это NASA и API для всех нас",
    ]
    found = figures("en-ru", outputs, [("ru", 0.9)] * 3, ["a", "b", "c"])
    assert found["WPR"] == (pytest.approx(200 / 3), 3)
    assert math.isnan(figures("en-ru", outputs, [("en", 0.9)] * 3, ["a", "b", "c"])["WPR"][0])


def test_chinese_and_japanese_have_tokens_without_spaces():
    assert figures("en-zh", ["我喜欢这只小猫。"], [("zh", 0.9)], ["a"])["OTR-confusion"] == (0.0, 1)
    assert figures("en-ja", ["私はこの小さな猫が好きです。"], [("ja", 0.9)], ["a"])["OTR-confusion"] == (0.0, 1)


def test_agreement_is_over_lines_with_text():
    lines = classify(FOUND, OUTPUTS, SOURCES, "it-nl")
    other = [("nl", 1.0), ("en", 1.0), ("nl", 1.0), ("", 0.0), ("de", 1.0), ("nl", 1.0), ("nl", 1.0), ("it", 1.0)]
    assert agreement(lines, other) == ("agreement", pytest.approx(600 / 7), 7)


@pytest.mark.parametrize(
    ("outputs", "sources", "message"),
    [
        ([], [], "it-nl: no lines"),
        (["a"], ["a", "b"], "it-nl: 1 outputs for 2 sources"),
    ],
)
def test_files_that_cannot_be_judged_are_named(outputs, sources, message):
    with pytest.raises(InputError, match=message):
        classify([("", 0.0)] * len(outputs), outputs, sources, "it-nl")


@pytest.mark.parametrize(("second", "message"), [("", "every output is empty"), ("een kat", None)])
def test_a_system_without_a_word_is_a_mistake_and_a_direction_a_finding(tmp_path, second, message):
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
        figures = {(row["direction"], row["metric"]): row["value"] for row in read_table(tmp_path / "otr.tsv")}
        assert figures["it-nl", "OTR-empty"] == figures["it-nl", "OTR"] == "100.0000"
