"""Conflicting instructions are always wrong, come from the chosen source, and depend on the seed only."""

import subprocess
import sys
from collections import Counter

import pytest

from tests.conftest import ROOT
from workflow_scripts.lat.files import InputError, read_jsonl, write_jsonl
from workflow_scripts.lat.languages import split_direction
from workflow_scripts.lat.prompts.conflicts import Instruction, count_confusion, draw_conflicts, translation
from workflow_scripts.lat.prompts.off_targets import Output

LANGUAGES = ["en", "it", "nl", "ro"]
DIRECTIONS = ["en-it", "it-en", "en-nl", "nl-en", "en-ro", "ro-en"] * 500


def draw_directions(directions, languages, draw, seed):
    conflicts = draw_conflicts(list(map(translation, directions)), languages, draw, seed)
    return [conflict.direction for conflict in conflicts]


@pytest.mark.parametrize("draw", ["instruction", "target"])
def test_every_conflict_differs_from_its_sample(draw):
    drawn = draw_directions(DIRECTIONS, LANGUAGES, draw, seed=1)
    assert len(drawn) == len(DIRECTIONS)
    assert all(conflict != direction for conflict, direction in zip(drawn, DIRECTIONS, strict=True))


def test_instruction_conflicts_come_from_the_samples_and_keep_some_target_languages():
    drawn = draw_directions(DIRECTIONS, LANGUAGES, "instruction", seed=1)
    assert set(drawn) <= set(DIRECTIONS)
    into_english = [conflict for conflict, direction in zip(drawn, DIRECTIONS, strict=True) if direction == "it-en"]
    share = sum(split_direction(conflict)[1] == "en" for conflict in into_english) / len(into_english)
    assert share == pytest.approx(2 / 5, abs=0.08)


def test_target_conflicts_keep_the_source_language_and_change_the_target_language():
    drawn = draw_directions(DIRECTIONS, LANGUAGES, "target", seed=1)
    for conflict, direction in zip(drawn, DIRECTIONS, strict=True):
        assert split_direction(conflict)[0] == split_direction(direction)[0]
        assert split_direction(conflict)[1] not in split_direction(direction)
    counts = Counter(conflict for conflict, direction in zip(drawn, DIRECTIONS, strict=True) if direction == "it-en")
    assert set(counts) == {"it-nl", "it-ro"}
    assert min(counts.values()) > 200


def test_the_seed_determines_the_conflicts():
    once, again, other = (draw_directions(DIRECTIONS, LANGUAGES, "target", seed) for seed in (1, 1, 2))
    assert once == again != other


def test_without_a_wrong_instruction_to_draw_there_is_one_clear_error():
    with pytest.raises(InputError, match="same instruction"):
        draw_directions(["en-it"] * 3, LANGUAGES, "instruction", seed=1)
    with pytest.raises(InputError, match="no wrong target for en-it"):
        draw_directions(["en-it"], ["en", "it"], "target", seed=1)


def test_general_instructions_are_drawn_and_get_conflicts_too():
    instructions = [*map(translation, DIRECTIONS), *(Instruction(f"Name {number} birds.") for number in range(3000))]
    conflicts = draw_conflicts(instructions, LANGUAGES, "instruction", seed=1)
    assert all(own.text != conflict.text for own, conflict in zip(instructions, conflicts, strict=True))
    for part in (conflicts[:3000], conflicts[3000:]):
        assert sum(conflict.direction is None for conflict in part) / 3000 == pytest.approx(1 / 2, abs=0.1)


def run_step(folder, rows, draw: str, *flags: str) -> subprocess.CompletedProcess:
    samples = folder / "samples.jsonl"
    write_jsonl(samples, rows)
    command = [sys.executable, "-m", "workflow_scripts.conflicts", "--samples", samples, "--draw", draw, "--seed", "1"]
    command += ["--languages", *LANGUAGES, "--output", folder / "conflicts.jsonl", *flags]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


GENERAL = [{"instruction": f"Name {number} birds.", "source": None} for number in range(40)]


def test_target_conflicts_of_general_instructions_alone_are_one_clear_error(tmp_path):
    done = run_step(tmp_path, GENERAL, "target")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("no sample is a translation; set `conflicts: instruction`")
    assert not (tmp_path / "conflicts.jsonl").exists()


def test_the_logged_share_is_that_of_the_conflicts_of_translations(tmp_path):
    translations = [{"direction": direction, "source": "x"} for direction in ("it-en", "nl-en")]
    done = run_step(tmp_path, [*translations * 20, *GENERAL], "instruction")
    assert done.returncode == 0, done.stderr
    conflicts = [row["conflict_direction"] for row in read_jsonl(tmp_path / "conflicts.jsonl")[:40]]
    share = 100 * sum(conflict is not None for conflict in conflicts) / 40
    assert f"{share:.1f} % of the conflicts of translations name the correct target language" in done.stderr
    assert "the correct" not in run_step(tmp_path, GENERAL, "instruction").stderr


def test_stage_2_may_have_translations_alone(tmp_path):
    translations = [{"direction": direction, "source": "x"} for direction in ("it-en", "nl-en")] * 20
    done = run_step(tmp_path, [*translations, *GENERAL], "instruction", "--translations-only")
    assert "left out 40 general instructions, as translations_only says" in done.stderr
    rows = read_jsonl(tmp_path / "conflicts.jsonl")
    assert [row["direction"] for row in rows] == [row["direction"] for row in translations]
    assert {row["conflict_direction"] for row in rows} == {"it-en", "nl-en"}, "no conflict is a general instruction"


def test_conflicts_keep_the_layout_of_their_samples(tmp_path):
    rows = [
        {"direction": direction, "source": "x", "prompt": "p", "response": "r", "joined": True, "end": "<end>"}
        for direction in ("it-en", "nl-en")
    ]
    assert run_step(tmp_path, rows, "instruction", "--template", "alpaca").returncode == 0
    for row in read_jsonl(tmp_path / "conflicts.jsonl"):
        assert (row["joined"], row["end"]) == (True, "<end>")
        assert row["conflict"].endswith("### Input:\nx\n\n### Response:")


def outputs(*errors: tuple[str, str, int]) -> list[Output]:
    """Outputs of a model by direction, language of the output and number."""
    return [Output(direction, "x", "", "y", label, 0.9) for direction, label, count in errors for _ in range(count)]


ERRORS = outputs(("it-nl", "en", 30), ("it-ro", "en", 10), ("nl-ro", "it", 6), ("nl-it", "it", 50), ("it-nl", "it", 2))


def draw_by_confusion(directions, found, seed=1):
    drawn = draw_conflicts(list(map(translation, directions)), LANGUAGES, "confusion", seed, count_confusion(found))
    return [conflict.direction for conflict in drawn]


def test_confusion_draws_the_languages_that_the_model_answered_wrongly_as_often_as_it_did():
    drawn = Counter(zip(DIRECTIONS, draw_by_confusion(DIRECTIONS, ERRORS), strict=True))
    # Asked for Dutch it answered in English three times as often as when it was asked for Romanian.
    assert drawn["it-en", "it-nl"] / 500 == pytest.approx(0.75, abs=0.06)
    assert drawn["it-en", "it-nl"] + drawn["it-en", "it-ro"] == 500
    # No output has an English source: those in Italian of all sources count.
    assert drawn["en-it", "en-ro"] / 500 == pytest.approx(6 / 8, abs=0.06)
    assert drawn["en-it", "en-nl"] + drawn["en-it", "en-ro"] == 500
    # English answers from Dutch do not occur, so that those from Italian count, less those in place of the source.
    assert drawn["nl-en", "nl-ro"] == 500


def test_a_direction_without_errors_gets_a_wrong_target_as_target_draws_it():
    drawn = Counter(draw_by_confusion(["en-ro"] * 400, ERRORS))
    assert set(drawn) == {"en-it", "en-nl"} and min(drawn.values()) > 150
    assert draw_by_confusion(DIRECTIONS, []) == draw_directions(DIRECTIONS, LANGUAGES, "target", seed=1)


def test_unsure_outputs_and_those_on_target_are_no_errors():
    unsure = [Output("it-nl", "x", "", "y", "en", 0.4), Output("it-nl", "x", "", "...", "", 0.0)]
    assert count_confusion([*unsure, *outputs(("it-nl", "nl", 9))]) == {}


def test_the_seed_determines_the_conflicts_by_confusion():
    once, again, other = (draw_by_confusion(DIRECTIONS, ERRORS, seed) for seed in (1, 1, 2))
    assert once == again != other


def test_the_log_of_confusion_counts_the_samples_without_errors(tmp_path):
    found = tmp_path / "outputs.jsonl"
    write_jsonl(found, (output._asdict() for output in ERRORS))
    rows = [{"direction": direction, "source": "x"} for direction in ("it-en", "en-ro", "en-ro")]
    done = run_step(tmp_path, [*rows, *GENERAL], "confusion", "--off-targets", str(found))
    assert done.returncode == 0, done.stderr
    assert "left out 40 general instructions" in done.stderr
    assert "it-en: answers in en by the language that was asked for: nl 30, ro 10" in done.stderr
    assert "2 of 3 samples (en-ro 2) get a wrong target as `conflicts: target` draws it" in done.stderr
    assert "--draw confusion needs it" in run_step(tmp_path, rows, "confusion").stderr
