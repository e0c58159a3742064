"""Conflicting instructions are always wrong, come from the chosen source, and depend on the seed only."""

import subprocess
import sys
from collections import Counter

import pytest

from tests.conftest import ROOT
from workflow_scripts.lat.files import InputError, read_jsonl, write_jsonl
from workflow_scripts.lat.languages import split_direction
from workflow_scripts.lat.prompts.conflicts import Instruction, draw_conflicts, translation

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
