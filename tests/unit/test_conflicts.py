"""Conflicting instructions: always wrong, drawn as asked, and the same for the same seed."""

from collections import Counter

import pytest

from workflow_scripts.lat.conflicts import draw_conflicts
from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.languages import split_direction

LANGUAGES = ["en", "it", "nl", "ro"]
DIRECTIONS = ["en-it", "it-en", "en-nl", "nl-en", "en-ro", "ro-en"] * 500


@pytest.mark.parametrize("draw", ["instruction", "target"])
def test_every_conflict_differs_from_its_sample(draw):
    drawn = draw_conflicts(DIRECTIONS, LANGUAGES, draw, seed=1)
    assert len(drawn) == len(DIRECTIONS)
    assert all(conflict != direction for conflict, direction in zip(drawn, DIRECTIONS, strict=True))


def test_instruction_conflicts_come_from_the_samples_and_keep_some_targets():
    drawn = draw_conflicts(DIRECTIONS, LANGUAGES, "instruction", seed=1)
    assert set(drawn) <= set(DIRECTIONS)
    into_english = [conflict for conflict, direction in zip(drawn, DIRECTIONS, strict=True) if direction == "it-en"]
    share = sum(split_direction(conflict)[1] == "en" for conflict in into_english) / len(into_english)
    assert share == pytest.approx(2 / 5, abs=0.08)


def test_target_conflicts_keep_the_source_and_miss_the_target():
    drawn = draw_conflicts(DIRECTIONS, LANGUAGES, "target", seed=1)
    for conflict, direction in zip(drawn, DIRECTIONS, strict=True):
        assert split_direction(conflict)[0] == split_direction(direction)[0]
        assert split_direction(conflict)[1] not in split_direction(direction)
    counts = Counter(conflict for conflict, direction in zip(drawn, DIRECTIONS, strict=True) if direction == "it-en")
    assert set(counts) == {"it-nl", "it-ro"}
    assert min(counts.values()) > 200


def test_the_seed_decides():
    once, again, other = (draw_conflicts(DIRECTIONS, LANGUAGES, "target", seed) for seed in (1, 1, 2))
    assert once == again != other


def test_no_wrong_instruction_to_draw_is_one_clear_error():
    with pytest.raises(InputError, match="same instruction"):
        draw_conflicts(["en-it"] * 3, LANGUAGES, "instruction", seed=1)
    with pytest.raises(InputError, match="no wrong target for en-it"):
        draw_conflicts(["en-it"], ["en", "it"], "target", seed=1)
