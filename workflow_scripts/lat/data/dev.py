"""Hold out the lines of the dev directions of a benchmark, which choose among the snapshots of a training.

They are neither in the test set nor among the demonstrations. Rows and pairs that say the same as one of them are left
out of the training text.
"""

from collections.abc import Iterable, Mapping, Sequence

from ..files import InputError
from ..languages import split_direction
from ..names import ENGLISH
from .assembling import MIN_HELD_OUT_WORDS, Count, count_of
from .corpora import Pair
from .filters import CatalogueRow, count_words, normalise
from .splits import HeldOut, draw_test, rank, reads_like_a_sentence

REMEDY = "lower `sentences` of the benchmark's `dev`"


def hold_out_rows(
    rows: Sequence[CatalogueRow], directions: Sequence[str], sentences: int, min_words: int, seed: int
) -> tuple[list[CatalogueRow], list[CatalogueRow]]:
    """Draw the rows of the dev directions like those of a test set (see `splits.py`), the same for all directions.

    Args:
        rows: rows that training samples could be drawn from, none of which touches the test set or a demonstration.
        directions: the dev directions.
        sentences: number of rows.
        min_words: minimum number of words of their English text.
        seed: determines which rows are drawn.

    Returns:
        The drawn rows, and the rows that touch none of them, see `HeldOut`.

    Raises:
        InputError: too few rows qualify.
    """
    languages = sorted({ENGLISH, *_languages(directions)})
    distinct: list[CatalogueRow] = []
    seen = HeldOut([])
    for row in sorted(rows, key=lambda row: rank(seed, row.texts[ENGLISH])):
        is_candidate = reads_like_a_sentence(row.texts, languages) and count_words(row.texts[ENGLISH]) >= min_words
        if is_candidate and not seen.touches(row.texts):
            distinct.append(row)
            seen.add(row.texts)
    if len(distinct) < sentences:
        raise InputError(
            f"dev directions {' '.join(directions)}: {sentences} rows wanted, {len(distinct)} rows in"
            f" {' '.join(languages)} qualify; {REMEDY}, or add sources"
        )
    drawn = draw_test(distinct, sentences)
    taken, held_out = {id(row) for row in drawn}, HeldOut(row.texts for row in drawn)
    return drawn, [row for row in rows if id(row) not in taken and not held_out.touches(row.texts)]


def draw_pairs(
    corpora: Mapping[str, Sequence[Pair]], others: Mapping[str, Sequence[Pair]], sentences: int, seed: int
) -> dict[str, list[Pair]]:
    """Draw the pairs of each dev direction; corpora with the same number of lines give the same lines.

    Args:
        corpora: pairs by dev direction, one per line of the corpora of the demonstrations.
        others: pairs of the test set and of the demonstrations by direction, whose texts are left out.
        sentences: number of pairs of each direction.
        seed: determines which pairs are drawn.

    Raises:
        InputError: too few pairs are left for a direction.
    """
    # A text without letters and digits says nothing that could be the same.
    taken = {
        text for direction, pairs in others.items() for pair in pairs for text in _texts(direction, pair) if text[1]
    }
    drawn: dict[str, list[Pair]] = {}
    for direction, pairs in corpora.items():
        left = [
            number
            for number, pair in enumerate(pairs)
            if pair.source and pair.target and taken.isdisjoint(_texts(direction, pair))
        ]
        if len(left) < sentences:
            raise InputError(
                f"dev direction {direction}: {sentences} pairs wanted, {len(left)} of the {len(pairs)} pairs in the"
                " corpora of the demonstrations are left, without empty texts and texts of the test set and the"
                f" demonstrations; {REMEDY}, or add corpora"
            )
        drawn[direction] = [
            pairs[number] for number in sorted(left, key=lambda number: rank(seed, str(number)))[:sentences]
        ]
    return drawn


def without_texts(
    corpora: Mapping[str, Sequence[Pair]], dev: Mapping[str, Sequence[Pair]]
) -> tuple[dict[str, list[Pair]], list[Count]]:
    """Drop the training pairs with a text of the dev directions that has at least `MIN_HELD_OUT_WORDS` words.

    Args:
        corpora: training pairs by supervised direction.
        dev: the drawn pairs by dev direction.

    Returns:
        The other pairs by direction, and how many of each direction were dropped and kept.
    """
    held_out = {
        text
        for direction, pairs in dev.items()
        for pair in pairs
        for text, side in zip(_texts(direction, pair), pair, strict=True)
        if count_words(side) >= MIN_HELD_OUT_WORDS
    }
    kept = {
        direction: [pair for pair in pairs if held_out.isdisjoint(_texts(direction, pair))]
        for direction, pairs in corpora.items()
    }
    counts = [count_of(direction, "touches_dev", pairs, kept[direction]) for direction, pairs in corpora.items()]
    return kept, counts


def _texts(direction: str, pair: Pair) -> list[tuple[str, str]]:
    """Return language and normalised text of both sides of a pair."""
    return list(zip(split_direction(direction), map(normalise, pair), strict=True))


def _languages(directions: Iterable[str]) -> set[str]:
    return {language for direction in directions for language in split_direction(direction)}
