"""Line statistics of BLEU and chrF++, equal to those of SacreBLEU and computed for many lines at once.

SacreBLEU counts the n-grams of each line in dictionaries, one line after another. Here, the n-grams of many lines are
integers in one array, whose sorting brings equal n-grams of a line together. This takes less than a tenth of the time.
"""

import string
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU

from .bootstrap import BLEU_ORDER, Floats

Integers = NDArray[np.int64]

CHARACTER_ORDER = 6
WORD_ORDER = 2

# Lines that are counted at once: enough to make the time of the calls of NumPy unimportant, and few enough for the
# arrays to stay in the cache of a processor.
BLOCK = 256
PUNCTUATION = frozenset(string.punctuation)


class Pieces(dict[str, list[int]]):
    """The numbers of the pieces of a word, which are found once for each word.

    Attributes:
        split: a function that splits a word.
        numbers: number of every piece so far.
    """

    def __init__(self, split: Callable[[str], Iterable[str]], numbers: defaultdict[str, int]) -> None:
        super().__init__()
        self.split, self.numbers = split, numbers

    def __missing__(self, word: str) -> list[int]:
        found = self[word] = [self.numbers[piece] for piece in self.split(word)]
        return found


@dataclass(frozen=True)
class Symbols:
    """The characters or words of several lines, as numbers that are not negative.

    Attributes:
        values: the numbers of all lines, one line after another.
        ends: end of each line in `values`; the first line has its start in front.
    """

    values: Integers
    ends: Integers

    @classmethod
    def of_lines(cls, lines: Sequence[Sequence[int]]) -> "Symbols":
        """Join the numbers of several lines."""
        lengths = list(map(len, lines))
        return cls(np.fromiter(chain.from_iterable(lines), np.int64, sum(lengths)), _ends(lengths))

    @classmethod
    def of_texts(cls, texts: Sequence[str]) -> "Symbols":
        """Return the characters of several lines."""
        content = "".join(texts).encode("utf-32-le", "surrogatepass")
        return cls(np.frombuffer(content, np.uint32).astype(np.int64), _ends(list(map(len, texts))))

    @property
    def lengths(self) -> Integers:
        """Number of symbols of each line."""
        return np.diff(self.ends)

    def totals(self, order: int) -> Integers:
        """Return the number of n-grams of each line, of shape (lines, order)."""
        return np.maximum(self.lengths[:, None] - np.arange(order), 0)

    def part(self, start: int, end: int) -> "Symbols":
        """Return the symbols of some of the lines."""
        ends = self.ends[start : end + 1]
        return Symbols(self.values[ends[0] : ends[-1]], ends - ends[0])


def _ends(lengths: Sequence[int]) -> Integers:
    return np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])


class Vocabulary:
    """Tokens and words of a target language, which are found once for each word of any of its lines."""

    def __init__(self, bleu: BLEU) -> None:
        """Start without words.

        Args:
            bleu: the metric with the tokenizer of the language.
        """
        self._tokenizer = bleu.tokenizer
        self._numbers: defaultdict[str, int] = defaultdict()
        self._numbers.default_factory = self._numbers.__len__
        self._tokens = Pieces(lambda word: bleu.tokenizer(word).split(), self._numbers)
        self._words = Pieces(separate_punctuation, self._numbers)

    def __len__(self) -> int:
        return len(self._words)

    def split(self, lines: Sequence[str]) -> tuple[Symbols, Symbols, Symbols]:
        """Return the tokens of BLEU, the words of chrF++, and the characters without white space."""
        words = [line.split() for line in lines]
        if self._tokenizer.signature() == "13a":
            # This tokenizer looks at no more than the characters beside a punctuation mark, and treats all white space
            # alike, so that the tokens of a line are those of its words.
            tokens = [list(chain.from_iterable(map(self._tokens.__getitem__, of_line))) for of_line in words]
        else:
            number_of = self._numbers.__getitem__
            tokens = [list(map(number_of, self._tokenizer(line.rstrip()).split())) for line in lines]
        pieces = [list(chain.from_iterable(map(self._words.__getitem__, of_line))) for of_line in words]
        return Symbols.of_lines(tokens), Symbols.of_lines(pieces), Symbols.of_texts(list(map("".join, words)))


class References:
    """The reference lines of a direction, with which the outputs of any number of systems are compared."""

    def __init__(self, lines: Sequence[str], vocabulary: Vocabulary) -> None:
        """Split the lines into tokens, words and characters.

        Args:
            lines: the reference lines.
            vocabulary: the words of the target language.
        """
        self._vocabulary = vocabulary
        self._references = vocabulary.split(lines)

    def statistics(self, hypotheses: Sequence[str]) -> dict[str, Floats]:
        """Return the statistics of the output lines of a system, of shape (lines, statistics), by metric.

        Args:
            hypotheses: the output lines, as many as there are references.
        """
        outputs = self._vocabulary.split(hypotheses)
        pairs = zip(outputs, self._references, strict=True)
        (tokens, reference_tokens), (words, reference_words), (letters, reference_letters) = pairs
        lengths = np.stack([tokens.lengths, reference_tokens.lengths], axis=1)
        matches = match_counts(tokens, reference_tokens, BLEU_ORDER)
        bleu = np.concatenate([lengths, matches, tokens.totals(BLEU_ORDER)], axis=1)
        chrf = [
            _chrf_counts(letters, reference_letters, CHARACTER_ORDER),
            _chrf_counts(words, reference_words, WORD_ORDER),
        ]
        return {"BLEU": bleu.astype(np.float64), "chrF++": np.concatenate(chrf, axis=1).astype(np.float64)}


def separate_punctuation(word: str) -> list[str]:
    """Separate the last or else the first character of a word if it is a punctuation mark, as chrF++ does."""
    if len(word) > 1 and word[-1] in PUNCTUATION:
        return [word[:-1], word[-1]]
    if len(word) > 1 and word[0] in PUNCTUATION:
        return [word[0], word[1:]]
    return [word]


def _chrf_counts(outputs: Symbols, references: Symbols, order: int) -> Integers:
    """Return the statistics of chrF++ of one kind of symbols: per order, n-grams of output, reference and both."""
    of_references = references.totals(order)
    # SacreBLEU does not count an output n-gram if the reference has none of its order.
    of_outputs = np.where(of_references > 0, outputs.totals(order), 0)
    counts = np.stack([of_outputs, of_references, match_counts(outputs, references, order)], axis=2)
    return counts.reshape(len(counts), 3 * order)


def match_counts(outputs: Symbols, references: Symbols, order: int) -> Integers:
    """Count the n-grams that output lines have in common with their references.

    An n-gram that both have several times counts as often as the one that has it less often.

    Args:
        outputs: symbols of the output lines.
        references: symbols of the reference lines.
        order: length of the longest n-grams.

    Returns:
        Counts of shape (lines, order).
    """
    starts = range(0, len(outputs.lengths), BLOCK)
    counts = [_count(outputs.part(s, s + BLOCK), references.part(s, s + BLOCK), order) for s in starts]
    return np.concatenate([np.zeros((0, order), dtype=np.int64), *counts])


def _count(outputs: Symbols, references: Symbols, order: int) -> Integers:
    """Count as `match_counts` does, for few lines."""
    lines = len(outputs.lengths)
    lengths = np.concatenate([outputs.lengths, references.lengths])
    values = np.concatenate([outputs.values, references.values])
    counts = np.zeros((lines, order), dtype=np.int64)
    if not len(values):
        return counts
    # Symbols are counted from 1, in an array in which `order` zeros follow each line.
    starts = np.cumsum(lengths) - lengths + order * np.arange(len(lengths))
    positions = np.arange(len(values)) + np.repeat(order * np.arange(len(lengths)), lengths)
    line_of = np.repeat(np.arange(len(lengths)), lengths)
    is_output = line_of < lines
    line_of %= lines
    symbols, largest = _renumber(values, line_of, lines, order)
    padded = np.zeros(starts[-1] + lengths[-1] + order, dtype=np.int64)
    padded[positions] = symbols

    bits = int(largest).bit_length()
    if 1 + lines.bit_length() + order * bits > 63:
        return _count_long(padded, positions, line_of, is_output, counts)
    keys = padded[: len(padded) - order]
    for shift in range(1, order):
        keys = (keys << bits) | padded[shift : len(padded) - order + shift]
    keys = keys[positions] | (line_of << (order * bits))
    keys = (keys << 1) | is_output
    keys.sort()
    for length in range(1, order + 1):
        # Sorted n-grams of the longest order are sorted by those of all others, too.
        grams = keys >> (1 + bits * (order - length))
        firsts = np.append(0, np.flatnonzero(grams[1:] != grams[:-1]) + 1)
        ends = np.append(firsts[1:], len(keys))
        outputs_before = np.append(0, np.cumsum(keys & 1))
        of_outputs = outputs_before[ends] - outputs_before[firsts]
        grams = grams[firsts]
        # Behind the end of a line, there are zeros.
        common = np.minimum(of_outputs, ends - firsts - of_outputs) * ((grams & ((1 << bits) - 1)) != 0)
        is_common = common > 0
        counts[:, length - 1] = np.bincount(grams[is_common] >> (bits * length), common[is_common], lines)
        # A longer n-gram that both have begins with one that both have.
        keys = keys[np.repeat(is_common, ends - firsts)]
        if not len(keys):
            break
    return counts


def _renumber(values: Integers, line_of: Integers, lines: int, order: int) -> tuple[Integers, int]:
    """Number the symbols of all lines or, if these are too many, of each line from 1.

    Returns:
        The new numbers, which are different for different symbols of a line, and the largest one.
    """
    numbers = np.zeros(values.max() + 1, dtype=np.int64)
    numbers[values] = 1
    numbers = np.cumsum(numbers, out=numbers)
    if 1 + lines.bit_length() + order * int(numbers[-1]).bit_length() <= 63:
        return numbers[values], int(numbers[-1])
    of_lines, found = np.unique((line_of << 32) | values, return_inverse=True)
    firsts = np.searchsorted(of_lines, np.arange(lines) << 32)
    numbers = found - firsts[line_of] + 1
    return numbers, int(numbers.max())


def _count_long(
    padded: Integers, positions: Integers, line_of: Integers, is_output: NDArray[np.bool_], counts: Integers
) -> Integers:
    """Count the n-grams of lines with very many different symbols, of which several do not fit into an integer."""
    order = counts.shape[1]
    columns = [padded[positions + shift] for shift in range(order)]
    ranked = np.lexsort([*columns[::-1], line_of])
    is_first = np.append(True, np.diff(line_of[ranked]) != 0)
    for length, column in enumerate(columns, 1):
        is_first[1:] |= np.diff(column[ranked]) != 0
        firsts = np.flatnonzero(is_first)
        sizes = np.diff(firsts, append=len(ranked))
        of_outputs = np.add.reduceat(is_output[ranked].astype(np.int64), firsts)
        common = np.where(column[ranked][firsts], np.minimum(of_outputs, sizes - of_outputs), 0)
        counts[:, length - 1] = np.bincount(line_of[ranked][firsts], common, len(counts))
    return counts
