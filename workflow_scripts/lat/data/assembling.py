"""Assemble a benchmark from published corpora: demonstrations, training samples, monolingual texts, filter counts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..files import InputError
from ..languages import split_direction
from ..runtime import log
from .corpora import Pair
from .filters import count_words, normalise
from .splits import rank

COLUMNS = ("direction", "filter", "dropped", "kept")

# Short sentences, such as the `Thank you.` at the end of every talk, are in training and test data alike; only longer
# ones show that the same text is in both.
MIN_HELD_OUT_WORDS = 4


@dataclass(frozen=True)
class Assembled:
    """Training samples and distinct training texts, ready for JSON lines, and the counts of every filter."""

    train: list[dict[str, str]]
    monolingual: list[dict[str, str]]
    counts: list[dict[str, str | int]]


def draw_demonstrations(
    corpora: Mapping[str, Sequence[Pair]], test: Mapping[str, Sequence[Pair]], size: int, seed: int
) -> dict[str, list[Pair]]:
    """Draw the demonstrations of every direction.

    Directions whose corpora have the same number of lines get the same lines, so that a corpus that is parallel in all
    languages gives the same sentences. Lines that have an empty text or a text of the test set in one of these
    directions are left out.

    Args:
        corpora: pairs by direction, one per line of the corpora.
        test: pairs of the test set by direction.
        size: number of demonstrations per direction.
        seed: determines which lines are drawn.

    Raises:
        InputError: fewer than `size` lines are left for a direction.
    """
    test_texts = {key for direction, pairs in test.items() for pair in pairs for key in _keys(direction, pair)}
    groups: dict[int, list[str]] = {}
    for direction, pairs in corpora.items():
        groups.setdefault(len(pairs), []).append(direction)
    drawn: dict[str, list[Pair]] = {}
    for lines, directions in groups.items():
        chosen: list[int] = []
        empty = in_test = 0
        for number in sorted(range(lines), key=lambda number: rank(seed, str(number))):
            if len(chosen) == size:
                break
            if not all(all(corpora[direction][number]) for direction in directions):
                empty += 1
            elif any(test_texts & _keys(direction, corpora[direction][number]) for direction in directions):
                in_test += 1
            else:
                chosen.append(number)
        if len(chosen) < size:
            raise InputError(
                f"direction {directions[0]}: {size} demonstrations wanted, {len(chosen)} pairs are there, besides"
                f" {empty} with an empty text and {in_test} of the test set; lower demonstrations or add corpora"
            )
        if in_test:
            log.info("demonstrations of %s: %d drawn lines are in the test set and were replaced", directions, in_test)
        drawn |= {direction: [corpora[direction][number] for number in chosen] for direction in directions}
    return {direction: drawn[direction] for direction in corpora}


def _keys(direction: str, pair: Pair) -> set[tuple[str, str]]:
    """Return language and normalised text of both sides of a pair; texts without letters and digits are left out."""
    keys = zip(split_direction(direction), map(normalise, pair), strict=True)
    return {(language, text) for language, text in keys if text}


def assemble(
    corpora: Mapping[str, Sequence[Pair]], held_out: Mapping[str, Sequence[Pair]], rows: int, both_ways: bool, seed: int
) -> Assembled:
    """Make the training samples of every supervised direction.

    Pairs with an empty text, repeated pairs and pairs with a held-out text of at least `MIN_HELD_OUT_WORDS` words are
    dropped.

    Args:
        corpora: training pairs by supervised direction.
        held_out: pairs of the test set and the demonstrations by direction.
        rows: number of samples per direction, drawn by the seed; 0 takes all pairs.
        both_ways: also use the pairs of the opposite direction, if it is supervised, with source and target swapped.
        seed: determines which pairs are drawn and the order of the samples.

    Raises:
        InputError: a direction has fewer than `rows` pairs left, or none.
    """
    held_out_texts = {
        (language, normalise(text))
        for direction, pairs in held_out.items()
        for pair in pairs
        for language, text in zip(split_direction(direction), pair, strict=True)
        if count_words(text) >= MIN_HELD_OUT_WORDS
    }
    train: list[dict[str, str]] = []
    counts: list[dict[str, str | int]] = []
    for direction, direction_pairs in corpora.items():
        source, target = split_direction(direction)
        pairs = list(direction_pairs)
        if both_ways:
            pairs += [Pair(pair.target, pair.source) for pair in corpora.get(f"{target}-{source}", ())]
        filled = [pair for pair in pairs if pair.source and pair.target]
        distinct = list(dict.fromkeys(filled))
        without_test = [
            pair
            for pair in distinct
            if (source, normalise(pair.source)) not in held_out_texts
            and (target, normalise(pair.target)) not in held_out_texts
        ]
        if len(without_test) < max(rows, 1):
            raise InputError(
                f"direction {direction}: {len(without_test)} training pairs are left after the filters,"
                f" {rows or 'some'} are wanted; lower train_rows or add corpora"
            )
        drawn = sorted(without_test, key=lambda pair: rank(seed, *pair))[: rows or None]
        before = pairs
        for name, after in (
            ("empty", filled),
            ("duplicate", distinct),
            ("touches_test", without_test),
            ("train_rows", drawn),
        ):
            counts.append(
                {"direction": direction, "filter": name, "dropped": len(before) - len(after), "kept": len(after)}
            )
            before = after
        train += [{"direction": direction, "source": pair.source, "target": pair.target} for pair in drawn]
    train.sort(key=lambda sample: rank(seed, *sample.values()))
    texts = dict.fromkeys(
        (language, text)
        for sample in train
        for language, text in zip(
            split_direction(sample["direction"]), (sample["source"], sample["target"]), strict=True
        )
    )
    monolingual = [{"language": language, "text": text} for language, text in texts]
    return Assembled(train, monolingual, counts)
