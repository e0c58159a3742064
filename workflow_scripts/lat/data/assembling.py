"""Assemble a benchmark from published corpora: training samples, monolingual texts and the counts of every filter."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..files import InputError
from ..languages import split_direction
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
