"""The ways in which zero-shot translations fail, counted and drawn from small results."""

import pytest

from workflow_scripts.lat.evaluation.offtarget import ClassifiedLine, Verdict
from workflow_scripts.lat.files import InputError, write_lines, write_table
from workflow_scripts.lat.reporting.failures import REPETITION, main, way_of

LINES = {
    "it-en": [("Ciao.", "Ciao.", "it", "source", 1)],  # A supervised direction is left out.
    "it-nl": [
        ("Il gatto | dorme.", "The cat | sleeps.", "en", "english", 0),
        ("Il gatto dorme.", "De kat slaapt.", "nl", "target", 0),
        ("Il gatto dorme.", "Il gatto dorme.", "it", "source", 1),
        ("Il gatto dorme.", "De kat kat kat kat kat kat.", "nl", "target", 0),
    ],
}


@pytest.fixture
def results(tmp_path):
    folder = tmp_path / "results"
    for direction, lines in LINES.items():
        write_lines(folder / "download/demo/test" / f"{direction}.src.txt", [line[0] for line in lines])
        write_lines(folder / "decode/base/demo/seed1/MT" / f"{direction}.txt", [line[1] for line in lines])
    rows = [
        {"direction": direction, "line": number, "label": label, "score": "0.9", "verdict": verdict, "copy": copy}
        for direction, lines in LINES.items()
        for number, (_, _, label, verdict, copy) in enumerate(lines, start=1)
    ]
    write_table(folder / "detect/base/demo/seed1/MT/lines.tsv", rows, list(rows[0]))
    summary = [
        {"base_model": "base", "benchmark": "demo", "supervision": supervision, "direction": direction}
        for supervision, direction in (("supervised", "it-en"), ("zero-shot", "it-nl"), ("zero-shot", "AVG"))
    ]
    write_table(folder / "tables/summary.tsv", summary, list(summary[0]))
    return folder


def run(results, *more):
    output = results.parent / "failures.md"
    words = ["--results", results, "--base-model", "base", "--benchmark", "demo", "--systems", "MT", "--output", output]
    main([*map(str, words), "--seeds", "1", *more])
    return output.read_text()


@pytest.mark.parametrize(
    ("verdict", "output", "copy", "expected"),
    [
        (Verdict.TARGET, "De kat slaapt, en de hond slaapt, en de muis.", False, None),
        (Verdict.TARGET, "van de van de van de van de van de", False, REPETITION),
        (Verdict.OTHER, "De e-mail e-mail e-mail e-mail e-mail e-mail", False, REPETITION),
        (Verdict.TARGET, "Hoofdstuk ........................ 12", False, None),  # a piece without a letter
        (Verdict.TARGET, "____________ -- 1010101010101010", False, None),
        (Verdict.SOURCE, "Il gatto dorme.", True, "copy"),
        (Verdict.NO_WORDS, "12:30", False, Verdict.NO_WORDS),
    ],
)
def test_a_translation_fails_in_one_way(verdict, output, copy, expected):
    assert way_of(ClassifiedLine("nl", 0.9, verdict, copy), output) == expected


def test_ways_are_counted_over_zero_shot_lines_and_have_examples(results):
    text = run(results)
    assert text.startswith(
        "# Failures in zero-shot directions: base on demo\n\nShare of the lines that fail in each way, seeds 1:\n\n"
        "| System | English (%) | copy of the source (%) | repetition (%) |\n| --- | ---: | ---: | ---: |\n"
        "| MT | 25.0 | 25.0 | 25.0 |\n\n**English**, 1 lines\n"
    )
    assert "| MT, 1 | it-nl 1 | Il gatto \\| dorme. | The cat \\| sleeps. | en |\n" in text
    assert "| MT, 1 | it-nl 4 | Il gatto dorme. | De kat kat kat kat kat kat. | nl |\n" in text
    assert "Ciao" not in text and "slaapt" not in text
    assert "it-nl 1" not in run(results, "--examples", "0")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--systems", "LAT"], "seed1/LAT: no it-nl.txt; check the names, or run the workflow first"),
        (["--seeds", "1", "2"], "seed2/MT: no it-nl.txt"),
        (["--benchmark", "other"], "summary.tsv: no zero-shot directions of base on other; check the names"),
    ],
)
def test_what_is_not_there_is_named(results, words, message):
    with pytest.raises(InputError, match=message):
        run(results, *words)
