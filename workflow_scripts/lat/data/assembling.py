"""A benchmark made of published corpora: what is trained on, and how many rows each filter left."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..files import InputError
from ..languages import split_direction
from .corpora import Pair
from .filters import count_words, normalise
from .splits import rank

COLUMNS = ("direction", "filter", "dropped", "kept")

# `Thank you.` ends every talk, in training as in testing; only longer sentences tell that one text is in both.
HELD_OUT_WORDS = 4


@dataclass(frozen=True)
class Assembled:
    """Training samples and distinct training texts, ready to be written, and the count of each filter."""

    train: list[dict[str, str]]
    monolingual: list[dict[str, str]]
    counts: list[dict[str, str | int]]


def assemble(
    corpora: Mapping[str, Sequence[Pair]], test: Mapping[str, Sequence[Pair]], rows: int, both_ways: bool, seed: int
) -> Assembled:
    """Training samples of every direction: no empty text, no pair twice, none with a sentence of the test set.

    Args:
        corpora: pairs by supervised direction.
        test: pairs by test direction.
        rows: of each direction, drawn by the seed; 0 takes all.
        both_ways: a direction also takes the pairs of the opposite one, turned round, where that is trained on too.
        seed: another one draws other rows, in another order.

    Raises:
        InputError: a direction has fewer than `rows`, or none.
    """
    held_out = {
        (language, normalise(text))
        for direction, pairs in test.items()
        for pair in pairs
        for language, text in zip(split_direction(direction), pair, strict=True)
        if count_words(text) >= HELD_OUT_WORDS
    }
    train: list[dict[str, str]] = []
    counts: list[dict[str, str | int]] = []
    for direction, own in corpora.items():
        source, target = split_direction(direction)
        pairs = list(own)
        if both_ways:
            pairs += [Pair(its.target, its.source) for its in corpora.get(f"{target}-{source}", ())]
        filled = [pair for pair in pairs if pair.source and pair.target]
        distinct = list(dict.fromkeys(filled))
        free = [
            pair
            for pair in distinct
            if (source, normalise(pair.source)) not in held_out and (target, normalise(pair.target)) not in held_out
        ]
        if len(free) < max(rows, 1):
            raise InputError(
                f"direction {direction}: {len(free)} training pairs are left after the filters, {rows or 'some'} are"
                " wanted; lower train_rows or add corpora"
            )
        drawn = sorted(free, key=lambda pair: rank(seed, *pair))[: rows or None]
        before = pairs
        for name, left in (("empty", filled), ("duplicate", distinct), ("touches_test", free), ("train_rows", drawn)):
            counts.append(
                {"direction": direction, "filter": name, "dropped": len(before) - len(left), "kept": len(left)}
            )
            before = left
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
