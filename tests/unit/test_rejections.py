"""Rejected responses are in a wrong language, say the same sentence, and come from supervised training samples only."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT
from workflow_scripts.lat.files import InputError, read_jsonl, read_table, write_jsonl, write_lines
from workflow_scripts.lat.prompts.off_targets import Output, draw_sources, read_outputs
from workflow_scripts.lat.prompts.rejected import rejected_outputs, rejected_references

TEXTS = {
    "The shop is open.": {"it": "Il negozio è aperto.", "nl": "De winkel is open.", "ro": "Magazinul este deschis."},
    "The shop is closed.": {"it": "Il negozio è chiuso.", "nl": "De winkel is dicht."},
}


def sample(direction: str, english: str) -> dict[str, str]:
    source, target = direction.split("-")
    texts = TEXTS[english] | {"en": english}
    return {"direction": direction, "source": texts[source], "response": texts[target], "prompt": "..."}


ROWS = [sample(direction, english) for english, texts in TEXTS.items() for code in texts
        for direction in (f"en-{code}", f"{code}-en")]  # fmt: skip


def test_references_of_other_samples_with_the_same_sentence_are_rejected():
    found = [rejected_references(ROWS, seed) for seed in range(20)]
    for row, *drawn in zip(ROWS, *found, strict=True):
        english = row["source"] if row["direction"].startswith("en") else row["response"]
        others = set(TEXTS[english]) - set(row["direction"].split("-"))
        assert {rejected.language for rejected in drawn} == others
        assert all(rejected.text == TEXTS[english][rejected.language] for rejected in drawn)
    assert rejected_references(ROWS, 3) == found[3] != found[4]


def test_a_sentence_in_two_languages_has_no_reference_to_reject():
    rows = [sample("en-it", "The shop is open."), sample("it-en", "The shop is open."),
            sample("en-nl", "The shop is closed.")]  # fmt: skip
    assert rejected_references(rows, seed=1) == [None, None, None]
    # Samples without English say nothing about which others have the same sentence.
    assert rejected_references([{"direction": "it-nl", "source": "a", "response": "b"}], seed=1) == [None]


OPEN = "The shop is open."
OUTPUTS = [
    # Asked for Dutch, the model wrote English, and, from Romanian, Italian.
    Output("it-nl", TEXTS[OPEN]["it"], OPEN, "The store is open.", "en", 0.9),
    Output("ro-nl", TEXTS[OPEN]["ro"], OPEN, "Il negozio apre.", "it", 0.9),
    # Asked for Romanian, it was right, unsure, and wrote no words.
    Output("nl-ro", TEXTS[OPEN]["nl"], OPEN, "Magazinul e deschis.", "ro", 0.9),
    Output("it-ro", TEXTS[OPEN]["it"], OPEN, "Il negozio", "it", 0.4),
    Output("it-ro", TEXTS[OPEN]["it"], OPEN, "...", "", 0.0),
]


def test_outputs_are_rejected_that_should_have_been_in_the_target_language():
    rows = [sample("en-nl", OPEN), sample("en-ro", OPEN), sample("en-nl", "The shop is closed.")]
    drawn = [rejected_outputs(rows, OUTPUTS, seed) for seed in range(20)]
    assert {found[0].text for found in drawn} == {"The store is open.", "Il negozio apre."}
    assert all(found[1:] == [None, None] for found in drawn)
    assert rejected_outputs(rows, OUTPUTS, 5) == drawn[5]


def test_other_outputs_from_the_same_source_are_rejected_if_they_are_in_a_wrong_language():
    rows = [sample("ro-en", OPEN), sample("it-en", OPEN), sample("nl-en", OPEN)]
    # The English output is right for the second sample, and the Romanian one was no error.
    assert [found and found.text for found in rejected_outputs(rows, OUTPUTS, 1)] == ["Il negozio apre.", None, None]


def test_an_output_that_equals_the_reference_is_not_rejected():
    outputs = [Output("it-nl", TEXTS[OPEN]["it"], OPEN, TEXTS[OPEN]["nl"], "af", 0.9)]
    assert rejected_outputs([sample("en-nl", OPEN)], outputs, 1) == [None]


def test_the_same_sources_are_drawn_for_all_directions_of_a_language():
    rows = [{"direction": "it-en", "source": f"frase {n}", "response": f"sentence {n}"} for n in range(30)]
    rows += [{"direction": "en-it", "source": "sentence", "response": "frase"}, {"instruction": "Name a bird."}]
    drawn = draw_sources([*rows, *rows], ["it-nl", "it-ro", "ro-nl"], 10, seed=1)
    assert list(drawn) == ["it-nl", "it-ro"] and drawn["it-nl"] == drawn["it-ro"]
    assert len({source.text for source in drawn["it-nl"]}) == 10
    assert all(source.english == source.text.replace("frase", "sentence") for source in drawn["it-nl"])
    assert draw_sources(rows, ["it-nl"], 10, seed=2) != draw_sources(rows, ["it-nl"], 10, seed=1)
    with pytest.raises(InputError, match=r"no zero-shot direction \(ro-nl\) begins with a source language .*\(en it\)"):
        draw_sources(rows, ["ro-nl"], 10, seed=1)


def run_module(module: str, *words: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", f"workflow_scripts.{module}", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def run_rejections(folder: Path, rows, kind: str, minimum: int, *words: object) -> subprocess.CompletedProcess:
    write_jsonl(folder / "samples.jsonl", rows)
    flags = ["--samples", folder / "samples.jsonl", "--output", folder / "pairs.jsonl", "--seed", 1]
    return run_module("rejections", *flags, "--rejected", kind, "--min-pairs", minimum, *words)


def test_samples_without_a_rejected_response_are_left_out_and_counted(tmp_path):
    rows = [*ROWS, sample("en-it", OPEN) | {"source": "Other."}, {"instruction": "Name a bird.", "response": "Wren"}]
    done = run_rejections(tmp_path, rows, "reference", 10)
    assert done.returncode == 0, done.stderr
    pairs = read_jsonl(tmp_path / "pairs.jsonl")
    assert len(pairs) == len(ROWS) and all(pair["rejected_language"] not in pair["direction"] for pair in pairs)
    assert "left out 1 general instructions" in done.stderr
    assert "10 of 11 samples have a rejected response: en-it 2, en-nl 2, en-ro 1" in done.stderr


def test_too_few_rejected_responses_are_one_clear_error_with_the_counts(tmp_path):
    done = run_rejections(tmp_path, ROWS, "reference", 11)
    assert done.returncode == 1 and not (tmp_path / "pairs.jsonl").exists()
    message = done.stderr.splitlines()[-1]
    assert "10 of 10 samples have a rejected response (en-it 2, en-nl 2, en-ro 1, it-en 2, nl-en 2, ro-en 1)" in message
    assert "preference.min_pairs, 11" in message and "set `rejected: model`" in message
    write_jsonl(tmp_path / "outputs.jsonl", (output._asdict() for output in OUTPUTS))
    done = run_rejections(tmp_path, ROWS, "model", 11, "--off-targets", tmp_path / "outputs.jsonl")
    message = done.stderr.splitlines()[-1]
    assert done.returncode == 1 and "2 of the 5 outputs of the stage-1 model are off target" in message
    assert "raise off_targets.sentences" in message
    assert "needs it" in run_rejections(tmp_path, ROWS, "model", 1).stderr


def test_a_file_of_other_rows_is_one_clear_error(tmp_path):
    write_jsonl(tmp_path / "outputs.jsonl", [{"text": "x"}])
    with pytest.raises(InputError, match="not the outputs of the step off_targets"):
        read_outputs(tmp_path / "outputs.jsonl")


def test_outputs_are_collected_with_their_languages(tmp_path):
    rows = [{"direction": "it-en", "source": f"Il negozio {n} è aperto.", "response": f"Shop {n} is open."}
            for n in range(3)]  # fmt: skip
    write_jsonl(tmp_path / "samples.jsonl", rows)
    flags = ["--samples", tmp_path / "samples.jsonl", "--directions", "it-nl", "ro-nl", "--sentences", 3, "--seed", 1]
    flags += ["--no-preamble", "--instruction-position", "after", "--output", tmp_path / "prompts"]
    done = run_module("off_targets", "prompts", *flags)
    assert done.returncode == 0, done.stderr
    assert "ro-nl: no training source in this language" in done.stderr
    prompts = read_jsonl(tmp_path / "prompts/it-nl.jsonl")
    assert [path.name for path in (tmp_path / "prompts").iterdir()] == ["it-nl.jsonl"] and len(prompts) == 3
    assert all(row["prompt"].index(row["source"]) < row["prompt"].index("Italian to Dutch") for row in prompts)
    outputs = ["The shop in the old town is open on all days of the week.",
               "De winkel in de oude stad is alle dagen van de week open.", "- 1 -"]  # fmt: skip
    (tmp_path / "outputs").mkdir()
    write_lines(tmp_path / "outputs/it-nl.txt", outputs)
    flags = ["--prompts", tmp_path / "prompts", "--outputs", tmp_path / "outputs", "--lid", "py3langid"]
    done = run_module(
        "off_targets", "collect", *flags, "--lines", tmp_path / "lines.jsonl", "--counts", tmp_path / "c.tsv"
    )
    assert done.returncode == 0, done.stderr
    found = read_outputs(tmp_path / "lines.jsonl")
    assert [output.label for output in found] == ["en", "nl", ""]
    assert [output.is_off_target for output in found] == [True, False, False]
    assert [output.source for output in found] == [row["source"] for row in prompts]
    assert "it-nl: 1 of 3 outputs are off target" in done.stderr and "en in place of nl: 1" in done.stderr
    counts = {row["label"]: row["lines"] for row in read_table(tmp_path / "c.tsv")}
    assert counts == {"en": "1", "nl": "1", "none": "1"}, json.dumps(counts)
