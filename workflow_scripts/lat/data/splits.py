"""Filtered rows divided into test set, demonstrations, training samples and monolingual text, with nothing in two.

Every choice is made by a hash of the seed and the row's English text instead of by a random generator, so that the
choice depends on nothing else: another source, filter or Python version moves no row that stays.
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

# A test set is no test if one program's phrases make it up.
MAX_SHARE_PER_SOURCE = 0.3

DEMONSTRATION_WORDS = (5, 12)

# Characters by which a text is found inside another one; shorter held-out texts are found by equality alone.
PROBE = 12

# Share of the words of two English texts that both have, from which on one is a variant of the other.
NEAR = 0.75
WORD_OR_NUMBER = re.compile(r"\w+")

SENTENCE_ENDS = (".", "!", "?", "。", "！", "？")


@dataclass(frozen=True)
class Sizes:
    """How much goes where; `train_rows` caps the rows of each direction, 0 is no cap."""

    test_rows: int
    test_min_words: int
    demonstrations: int
    train_rows: int


@dataclass(frozen=True)
class Splits:
    """What becomes of the rows; the samples of `train` are ready to be written."""

    test: list[CatalogueRow]
    demonstrations: list[CatalogueRow]
    train: list[dict[str, str]]
    monolingual: list[dict[str, str]]
    counts: list[Count]


def rank(seed: int, *texts: str) -> bytes:
    """A number that looks random and depends on the seed and the texts alone."""
    return hashlib.sha256("\n".join([str(seed), *texts]).encode()).digest()


def split(
    samples: Sequence[CatalogueRow], languages: Sequence[str], supervised: Sequence[str], sizes: Sizes, seed: int
) -> Splits:
    """Divide filtered rows.

    Args:
        samples: rows that passed the filters.
        languages: of the benchmark, `en` among them.
        supervised: the directions that training samples have.
        sizes: of the parts.
        seed: other seeds choose other rows.

    Raises:
        InputError: there are too few rows for the test set or the demonstrations, or no pair for a direction.
    """
    candidates = sorted(
        (sample for sample in samples if reads_like_a_sentence(sample.row, languages)),
        key=lambda sample: rank(seed, sample.row[ENGLISH]),
    )
    long_enough = [sample for sample in candidates if count_words(sample.row[ENGLISH]) >= sizes.test_min_words]
    test = draw_test(long_enough, sizes.test_rows)
    shortest, longest = DEMONSTRATION_WORDS
    demonstrations = draw_demonstrations(
        [sample for sample in candidates if shortest <= count_words(sample.row[ENGLISH]) <= longest],
        sizes.demonstrations,
        HeldOut(sample.row for sample in test),
    )
    held_out = HeldOut(sample.row for sample in [*test, *demonstrations])
    taken = {id(sample) for sample in test}
    without_test = [sample for sample in samples if id(sample) not in taken]
    taken |= {id(sample) for sample in demonstrations}
    without_both = [sample for sample in samples if id(sample) not in taken]
    rest = [sample for sample in without_both if not held_out.touches(sample.row)]
    train, used = draw_training(rest, supervised, sizes.train_rows, seed)
    counts = [
        *count(samples, without_test, "test", languages),
        *count(without_test, without_both, "demonstrations", languages),
        *count(without_both, rest, "touches_held_out", languages),
        *count(rest, used, "train", languages),
    ]
    return Splits(test, demonstrations, train, monolingual(rest, languages, seed), counts)


def reads_like_a_sentence(row: Row, languages: Sequence[str]) -> bool:
    """The row has every language, and every text begins with a letter, not a small one, and ends like a sentence."""
    return all(
        code in row
        and row[code].endswith(SENTENCE_ENDS)
        and not row[code].endswith("..")
        and row[code][0].isalpha()
        and not row[code][0].islower()
        for code in languages
    )


def draw_test(candidates: Sequence[CatalogueRow], size: int) -> list[CatalogueRow]:
    """The first `size` candidates of which none repeats another in any language, sources in proportion.

    No source has more than `MAX_SHARE_PER_SOURCE` of them, unless there is nothing else to take.

    Raises:
        InputError: there are fewer.
    """
    distinct: list[CatalogueRow] = []
    seen = HeldOut([])
    for sample in candidates:
        if not seen.touches(sample.row):
            distinct.append(sample)
            seen.add(sample.row)
    if len(distinct) < size:
        raise InputError(
            f"test_rows: {size} wanted, {len(distinct)} rows qualify; lower it or test_min_words, or add sources"
        )
    shares = apportion(Counter(sample.origin for sample in distinct), size)
    chosen = []
    for sample in distinct:
        if shares[sample.origin]:
            shares[sample.origin] -= 1
            chosen.append(sample)
    return chosen


def apportion(available: Counter[str], size: int) -> Counter[str]:
    """`size` seats among the sources in proportion to what is available, by largest remainders.

    No source gets more than is available, nor more than `MAX_SHARE_PER_SOURCE`, as long as others can fill its place.
    """
    limit = {source: min(number, max(1, int(MAX_SHARE_PER_SOURCE * size))) for source, number in available.items()}
    if sum(limit.values()) < size:
        limit = dict(available)
    seats: Counter[str] = Counter()
    total = sum(available.values())
    exact = {source: size * number / total for source, number in available.items()}
    for source in available:
        seats[source] = min(int(exact[source]), limit[source])
    # Fractions first, then whole seats that limits have left over; ties go to the source that comes first.
    while sum(seats.values()) < size:
        open_sources = [source for source in available if seats[source] < limit[source]]
        seats[max(open_sources, key=lambda source: exact[source] - seats[source])] += 1
    return seats


def draw_demonstrations(candidates: Sequence[CatalogueRow], size: int, test: "HeldOut") -> list[CatalogueRow]:
    """The first `size` candidates that touch neither the test set nor each other, from as many sources as possible.

    Raises:
        InputError: there are fewer.
    """
    chosen: list[CatalogueRow] = []
    seen = HeldOut([])
    times: Counter[str] = Counter()
    free = [sample for sample in candidates if not test.touches(sample.row)]
    while len(chosen) < size:
        free = [sample for sample in free if not seen.touches(sample.row)]
        if not free:
            raise InputError(f"demonstrations: {size} wanted, {len(chosen)} rows qualify; lower it or add sources")
        sample = min(free, key=lambda sample: times[sample.origin])
        chosen.append(sample)
        seen.add(sample.row)
        times[sample.origin] += 1
    return chosen


class HeldOut:
    """Finds the rows that say what a held-out row says.

    Such a row has, in any language, a text that repeats or contains a held-out one, whatever the case, spaces and
    punctuation; or its English text has nearly the same words as a held-out one. Programs say the same of many things
    (`This order is not paid.`, `This invoice is not paid.`), and a test of such sentences would be a test of memory.
    """

    def __init__(self, rows: Iterable[Row]) -> None:
        self._whole: set[str] = set()
        self._by_start: dict[str, list[str]] = {}
        self._by_word: dict[str, list[frozenset[str]]] = {}
        for row in rows:
            self.add(row)

    def add(self, row: Row) -> None:
        """Hold out one more row."""
        for text in map(normalise, row.values()):
            if text not in self._whole:
                self._whole.add(text)
                if len(text) >= PROBE:
                    self._by_start.setdefault(text[:PROBE], []).append(text)
        words = words_of(row[ENGLISH])
        # Texts that share at least n of m words share one of any m - n + 1 of them: it is enough to look for these
        # few, and the longest are the rarest.
        least = math.ceil(NEAR * len(words))
        for word in sorted(words, key=lambda word: (-len(word), word))[: len(words) - least + 1]:
            self._by_word.setdefault(word, []).append(words)

    def touches(self, row: Row) -> bool:
        """Whether `row` says what a held-out row says."""
        return self._is_near(words_of(row[ENGLISH])) or any(map(self._repeats, map(normalise, row.values())))

    def _is_near(self, words: frozenset[str]) -> bool:
        return any(
            len(words & other) >= NEAR * len(words | other) for word in words for other in self._by_word.get(word, ())
        )

    def _repeats(self, text: str) -> bool:
        return text in self._whole or any(
            text.startswith(held_out, start)
            for start in range(len(text) - PROBE + 1)
            for held_out in self._by_start.get(text[start : start + PROBE], ())
        )


def words_of(text: str) -> frozenset[str]:
    """The distinct words of an English text."""
    return frozenset(WORD_OR_NUMBER.findall(text.casefold()))


def draw_training(
    samples: Sequence[CatalogueRow], supervised: Sequence[str], rows: int, seed: int
) -> tuple[list[dict[str, str]], list[CatalogueRow]]:
    """The same number of training samples for every direction, as many as the scarcest direction has, at most `rows`.

    Rows with more languages come first, so that the directions share their sentences as in a multi-parallel corpus.

    Returns:
        The samples, in an order that mixes directions and sources, and the rows as far as they are in them.

    Raises:
        InputError: a direction has no pair at all.
    """
    ordered = sorted(samples, key=lambda sample: (-len(sample.row), rank(seed, sample.row[ENGLISH])))
    pairs: dict[str, list[CatalogueRow]] = {}
    for direction in supervised:
        source, target = split_direction(direction)
        pairs[direction] = [sample for sample in ordered if source in sample.row and target in sample.row]
        if not pairs[direction]:
            raise InputError(f"direction {direction}: no source has a pair for it; add sources or drop the direction")
    size = min(map(len, pairs.values()), default=0)
    if rows:
        size = min(size, rows)

    train = []
    used: dict[int, set[str]] = {}
    for direction in supervised:
        source, target = split_direction(direction)
        for sample in pairs[direction][:size]:
            used.setdefault(id(sample), {ENGLISH}).update((source, target))
            texts = {"source": sample.row[source], "target": sample.row[target]}
            train.append({"direction": direction, **texts, "origin": sample.origin})
    train.sort(key=lambda pair: rank(seed, pair["direction"], pair["source"], pair["target"]))
    used_rows = [
        CatalogueRow(sample.origin, {code: text for code, text in sample.row.items() if code in used[id(sample)]})
        for sample in samples
        if id(sample) in used
    ]
    return train, used_rows


def monolingual(samples: Sequence[CatalogueRow], languages: Sequence[str], seed: int) -> list[dict[str, str]]:
    """Every distinct text of the rows, languages mixed."""
    texts = dict.fromkeys((code, sample.row[code]) for sample in samples for code in languages if code in sample.row)
    return [
        {"language": code, "text": text} for code, text in sorted(texts, key=lambda item: rank(seed, item[0], item[1]))
    ]
