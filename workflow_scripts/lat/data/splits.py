"""Divide filtered rows into a test set, demonstrations and training rows that do not overlap, and draw from the latter.

Rows are chosen by a hash of the seed and the row's English text, not by a random generator: another source, filter or
Python version does not change the order of the remaining rows. One seed divides the rows; another one, of which there
may be several, draws the training samples.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..files import InputError
from ..languages import split_direction
from ..names import ENGLISH
from .catalogues import Row
from .filters import CatalogueRow, Count, count, count_words, normalise

# Largest share of one source in the test set: a test set made up of one program's phrases would not be a real test.
MAX_SHARE_PER_SOURCE = 0.3

# Shortest and longest demonstration, in words of the English text.
DEMONSTRATION_WORDS = (5, 12)

# A held-out text is found inside other texts by its first characters, of which there are this many; shorter held-out
# texts are only compared with whole texts.
PREFIX_CHARACTERS = 12

# English texts whose sets of words have at least this Jaccard similarity are variants of each other.
MIN_JACCARD = 0.75
WORD_OR_NUMBER = re.compile(r"\w+")

SENTENCE_ENDS = (".", "!", "?", "。", "！", "？")


@dataclass(frozen=True)
class Sizes:
    """Numbers of rows in the parts, and the number of English words in the shortest test sentence."""

    test_rows: int
    test_min_words: int
    demonstrations: int


@dataclass(frozen=True)
class Splits:
    """The parts; `training` has the rows that samples can be drawn from."""

    test: list[CatalogueRow]
    demonstrations: list[CatalogueRow]
    training: list[CatalogueRow]
    counts: list[Count]


def rank(seed: int, *texts: str) -> bytes:
    """Return a pseudo-random sort key that depends only on the seed and the texts."""
    return hashlib.sha256("\n".join([str(seed), *texts]).encode()).digest()


def split(rows: Sequence[CatalogueRow], languages: Sequence[str], sizes: Sizes, seed: int) -> Splits:
    """Divide filtered rows into test set, demonstrations and training rows.

    Rows that say the same as a row of the test set or a demonstration (see `HeldOut`) are dropped.

    Args:
        rows: rows that passed the filters.
        languages: language codes of the benchmark, including `en`.
        sizes: sizes of the parts.
        seed: determines which rows are chosen.

    Raises:
        InputError: there are too few rows for the test set or the demonstrations.
    """
    candidates = sorted(
        (row for row in rows if reads_like_a_sentence(row.texts, languages)),
        key=lambda row: rank(seed, row.texts[ENGLISH]),
    )
    long_enough = [row for row in candidates if count_words(row.texts[ENGLISH]) >= sizes.test_min_words]
    test = draw_test(long_enough, sizes.test_rows)
    shortest, longest = DEMONSTRATION_WORDS
    demonstrations = draw_demonstrations(
        [row for row in candidates if shortest <= count_words(row.texts[ENGLISH]) <= longest],
        sizes.demonstrations,
        HeldOut(row.texts for row in test),
    )
    held_out = HeldOut(row.texts for row in [*test, *demonstrations])
    taken = {id(row) for row in test}
    without_test = [row for row in rows if id(row) not in taken]
    taken |= {id(row) for row in demonstrations}
    without_both = [row for row in rows if id(row) not in taken]
    rest = [row for row in without_both if not held_out.touches(row.texts)]
    counts = [
        *count(rows, without_test, "test", languages),
        *count(without_test, without_both, "demonstrations", languages),
        *count(without_both, rest, "touches_held_out", languages),
    ]
    return Splits(test, demonstrations, rest, counts)


def reads_like_a_sentence(texts: Row, languages: Sequence[str]) -> bool:
    """Whether all languages are there and each text starts with a letter (not lower case) and ends like a sentence."""
    return all(
        code in texts
        and texts[code].endswith(SENTENCE_ENDS)
        and not texts[code].endswith("..")
        and texts[code][0].isalpha()
        and not texts[code][0].islower()
        for code in languages
    )


def draw_test(candidates: Sequence[CatalogueRow], size: int) -> list[CatalogueRow]:
    """Draw the first `size` candidates that do not touch each other (see `HeldOut`), in proportion to the sources.

    No source gets more than the share `MAX_SHARE_PER_SOURCE`, unless the other sources have too few rows.

    Raises:
        InputError: fewer than `size` candidates qualify.
    """
    distinct: list[CatalogueRow] = []
    seen = HeldOut([])
    for row in candidates:
        if not seen.touches(row.texts):
            distinct.append(row)
            seen.add(row.texts)
    if len(distinct) < size:
        raise InputError(
            f"test_rows: {size} wanted, {len(distinct)} rows qualify; lower it or test_min_words, or add sources"
        )
    remaining = apportion(Counter(row.origin for row in distinct), size)
    chosen = []
    for row in distinct:
        if remaining[row.origin]:
            remaining[row.origin] -= 1
            chosen.append(row)
    return chosen


def apportion(available: Counter[str], size: int) -> Counter[str]:
    """Distribute `size` rows over the sources in proportion to their available rows (largest remainder method).

    No source gets more rows than are available, nor more than the share `MAX_SHARE_PER_SOURCE` unless the other sources
    have too few rows.
    """
    limit = {source: min(number, max(1, int(MAX_SHARE_PER_SOURCE * size))) for source, number in available.items()}
    if sum(limit.values()) < size:
        limit = dict(available)
    numbers: Counter[str] = Counter()
    total = sum(available.values())
    exact = {source: size * number / total for source, number in available.items()}
    for source in available:
        numbers[source] = min(int(exact[source]), limit[source])
    # First the largest remainders, then the rows that the limits of other sources leave; the first source wins a tie.
    while sum(numbers.values()) < size:
        open_sources = [source for source in available if numbers[source] < limit[source]]
        numbers[max(open_sources, key=lambda source: exact[source] - numbers[source])] += 1
    return numbers


def draw_demonstrations(candidates: Sequence[CatalogueRow], size: int, test: "HeldOut") -> list[CatalogueRow]:
    """Draw the first `size` candidates that touch neither the test set nor each other (see `HeldOut`).

    They come from as many sources as possible.

    Raises:
        InputError: fewer than `size` candidates qualify.
    """
    chosen: list[CatalogueRow] = []
    seen = HeldOut([])
    chosen_of: Counter[str] = Counter()
    available = [row for row in candidates if not test.touches(row.texts)]
    while len(chosen) < size:
        available = [row for row in available if not seen.touches(row.texts)]
        if not available:
            raise InputError(f"demonstrations: {size} wanted, {len(chosen)} rows qualify; lower it or add sources")
        row = min(available, key=lambda row: chosen_of[row.origin])
        chosen.append(row)
        seen.add(row.texts)
        chosen_of[row.origin] += 1
    return chosen


class HeldOut:
    """Finds the rows that touch a held-out row, that is, say the same or nearly the same.

    A row touches a held-out row if a text in any language equals or contains a held-out text, without regard to case,
    spaces and punctuation, or if the words of its English text have a Jaccard similarity of at least `MIN_JACCARD` with
    those of a held-out one. Programs use the same sentence for many things (`This order is not paid.`, `This invoice is
    not paid.`); a test set of sentences with such variants in the training data would only test memorisation.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._whole: set[str] = set()
        self._by_prefix: dict[str, list[str]] = {}
        self._by_word: dict[str, list[frozenset[str]]] = {}
        for texts in rows:
            self.add(texts)

    def add(self, texts: Row) -> None:
        """Hold out one more row."""
        for text in map(normalise, texts.values()):
            if text not in self._whole:
                self._whole.add(text)
                if len(text) >= PREFIX_CHARACTERS:
                    self._by_prefix.setdefault(text[:PREFIX_CHARACTERS], []).append(text)
        words = words_of(texts[ENGLISH])
        # A text that has at least n of these m words has at least one of any m - n + 1 of them, so that an index of so
        # few words is enough. Long words are chosen because they are rare.
        least = math.ceil(MIN_JACCARD * len(words))
        for word in sorted(words, key=lambda word: (-len(word), word))[: len(words) - least + 1]:
            self._by_word.setdefault(word, []).append(words)

    def touches(self, texts: Row) -> bool:
        """Whether the row with these texts touches a held-out row."""
        return self._is_variant(words_of(texts[ENGLISH])) or any(map(self._repeats, map(normalise, texts.values())))

    def _is_variant(self, words: frozenset[str]) -> bool:
        return any(
            len(words & other) >= MIN_JACCARD * len(words | other)
            for word in words
            for other in self._by_word.get(word, ())
        )

    def _repeats(self, text: str) -> bool:
        return text in self._whole or any(
            text.startswith(held_out, start)
            for start in range(len(text) - PREFIX_CHARACTERS + 1)
            for held_out in self._by_prefix.get(text[start : start + PREFIX_CHARACTERS], ())
        )


def words_of(text: str) -> frozenset[str]:
    """Return the distinct case-folded words of an English text."""
    return frozenset(WORD_OR_NUMBER.findall(text.casefold()))


def draw_training(
    rows: Sequence[CatalogueRow], supervised: Sequence[str], size: int, seed: int
) -> tuple[list[dict[str, str]], list[CatalogueRow]]:
    """Draw the same number of training samples for every direction.

    Every direction gets `size` samples, or if this is 0, as many as the direction with the fewest pairs has. Rows with
    more languages are drawn first, so that the directions share sentences as in a multi-parallel corpus.

    Args:
        rows: the training rows of `split`.
        supervised: directions with training samples.
        size: number of samples of each direction; 0 means as many as the direction with the fewest has.
        seed: determines which rows are drawn, and the order of the samples.

    Returns:
        The samples, in an order that mixes directions and sources, and the rows that the samples come from, each with
        only its English text and the texts that are in a sample.

    Raises:
        InputError: a direction has no pair, or fewer than `size`.
    """
    ordered = sorted(rows, key=lambda row: (-len(row.texts), rank(seed, row.texts[ENGLISH])))
    pairs: dict[str, list[CatalogueRow]] = {}
    for direction in supervised:
        source, target = split_direction(direction)
        pairs[direction] = [row for row in ordered if source in row.texts and target in row.texts]
        if not pairs[direction]:
            raise InputError(f"direction {direction}: no source has a pair for it; add sources or drop the direction")
    fewest = min(pairs, key=lambda direction: len(pairs[direction]))
    available = len(pairs[fewest])
    if size > available:
        raise InputError(
            f"train_rows: {size} wanted, {available} pairs are left for {fewest}; lower it to {available} or less"
            " (0: as many as every direction has), or add sources"
        )
    size = size or available

    train = []
    used: dict[int, set[str]] = {}
    for direction in supervised:
        source, target = split_direction(direction)
        for row in pairs[direction][:size]:
            used.setdefault(id(row), {ENGLISH}).update((source, target))
            texts = {"source": row.texts[source], "target": row.texts[target]}
            train.append({"direction": direction, **texts, "origin": row.origin})
    train.sort(key=lambda sample: rank(seed, sample["direction"], sample["source"], sample["target"]))
    used_rows = [
        CatalogueRow(row.origin, {code: text for code, text in row.texts.items() if code in used[id(row)]})
        for row in rows
        if id(row) in used
    ]
    return train, used_rows


def monolingual(rows: Sequence[CatalogueRow], languages: Sequence[str], seed: int) -> list[dict[str, str]]:
    """Return every distinct text of the rows with its language, in an order that mixes the languages."""
    texts = dict.fromkeys((code, row.texts[code]) for row in rows for code in languages if code in row.texts)
    return [
        {"language": code, "text": text} for code, text in sorted(texts, key=lambda item: rank(seed, item[0], item[1]))
    ]
