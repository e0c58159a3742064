"""Assemble a benchmark from published corpora: demonstrations, training pairs, training samples, filter counts."""

from collections.abc import Callable, Mapping, Sequence

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


# How many pairs of a direction a filter dropped and kept; a row of a table with `COLUMNS`.
Count = dict[str, str | int]


def draw_demonstrations(
    corpora: Mapping[str, Sequence[Pair]], test: Mapping[str, Sequence[Pair]], size: int, seed: int | None
) -> dict[str, list[Pair]]:
    """Draw the demonstrations of every direction.

    Directions whose corpora have the same number of lines get the same lines, so that a corpus that is parallel in all
    languages gives the same sentences. Lines that have an empty text or a text of the test set in one of these
    directions are left out.

    Args:
        corpora: pairs by direction, one per line of the corpora.
        test: pairs of the test set by direction.
        size: number of demonstrations per direction.
        seed: determines which lines are drawn; None takes the first lines, in their order.

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
        for number in range(lines) if seed is None else sorted(range(lines), key=_rank_of_line(seed)):
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


def _rank_of_line(seed: int) -> Callable[[int], bytes]:
    return lambda number: rank(seed, str(number))


def _keys(direction: str, pair: Pair) -> set[tuple[str, str]]:
    """Return language and normalised text of both sides of a pair; texts without letters and digits are left out."""
    keys = zip(split_direction(direction), map(normalise, pair), strict=True)
    return {(language, text) for language, text in keys if text}


def filter_pairs(
    corpora: Mapping[str, Sequence[Pair]], held_out: Mapping[str, Sequence[Pair]], both_ways: bool
) -> tuple[dict[str, list[Pair]], list[Count]]:
    """Return the pairs of every supervised direction that training samples can be drawn from.

    Pairs with an empty text, repeated pairs and pairs with a held-out text of at least `MIN_HELD_OUT_WORDS` words are
    dropped.

    Args:
        corpora: training pairs by supervised direction.
        held_out: pairs of the test set and the demonstrations by direction.
        both_ways: also use the pairs of the opposite direction, if it is supervised, with source and target swapped.

    Returns:
        The pairs by direction, and what each filter dropped and kept.
    """
    held_out_texts = {
        (language, normalise(text))
        for direction, pairs in held_out.items()
        for pair in pairs
        for language, text in zip(split_direction(direction), pair, strict=True)
        if count_words(text) >= MIN_HELD_OUT_WORDS
    }
    kept: dict[str, list[Pair]] = {}
    counts: list[Count] = []
    for direction, direction_pairs in corpora.items():
        source, target = split_direction(direction)
        pairs = list(direction_pairs)
        if both_ways:
            pairs += [Pair(pair.target, pair.source) for pair in corpora.get(f"{target}-{source}", ())]
        filled = [pair for pair in pairs if pair.source and pair.target]
        distinct = list(dict.fromkeys(filled))
        kept[direction] = [
            pair
            for pair in distinct
            if (source, normalise(pair.source)) not in held_out_texts
            and (target, normalise(pair.target)) not in held_out_texts
        ]
        before = pairs
        for name, after in (("empty", filled), ("duplicate", distinct), ("touches_test", kept[direction])):
            counts.append(count_of(direction, name, before, after))
            before = after
    return kept, counts


def draw_samples(pairs: Mapping[str, Sequence[Pair]], rows: int, seed: int) -> tuple[list[dict[str, str]], list[Count]]:
    """Draw the training samples of every supervised direction.

    Args:
        pairs: the pairs that `filter_pairs` left, by direction.
        rows: number of samples per direction; 0 takes all pairs.
        seed: determines which pairs are drawn and the order of the samples.

    Returns:
        The samples, ready for JSON lines, and how many pairs of each direction were drawn.

    Raises:
        InputError: a direction has fewer than `rows` pairs, or none.
    """
    train: list[dict[str, str]] = []
    counts: list[Count] = []
    for direction, available in pairs.items():
        if len(available) < max(rows, 1):
            raise InputError(
                f"direction {direction}: {len(available)} training pairs are left after the filters,"
                f" {rows or 'some'} are wanted; lower train_rows or add corpora"
            )
        drawn = sorted(available, key=lambda pair: rank(seed, *pair))[: rows or None]
        counts.append(count_of(direction, "train_rows", available, drawn))
        train += [{"direction": direction, "source": pair.source, "target": pair.target} for pair in drawn]
    train.sort(key=lambda sample: rank(seed, *sample.values()))
    return train, counts


def distinct_texts(samples: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """Return every distinct text of training samples with its language, in the order of the samples."""
    texts = dict.fromkeys(
        (language, text)
        for sample in samples
        for language, text in zip(
            split_direction(sample["direction"]), (sample["source"], sample["target"]), strict=True
        )
    )
    return [{"language": language, "text": text} for language, text in texts]


def count_of(direction: str, name: str, before: Sequence[Pair], after: Sequence[Pair]) -> Count:
    """Return how many pairs of a direction a filter dropped and kept."""
    return {"direction": direction, "filter": name, "dropped": len(before) - len(after), "kept": len(after)}
