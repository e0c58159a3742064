"""Off-target measurement: the ratio of the paper, what the lines were instead, and two stricter views of them.

Line and word pass rates follow Marchisio et al., "Understanding and Mitigating Language Confusion in LLMs"
(arXiv 2406.20052), whose counts of tokens come from a word segmenter of each language; here SacreBLEU's tokenisers
stand in for them, so that a Chinese character counts as a token.
"""

import string
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from typing import NamedTuple

from sacrebleu.metrics.bleu import BLEU

from ..files import InputError, fold
from ..languages import languages, split_direction
from ..names import ENGLISH


class Verdict(StrEnum):
    """What language identification says of one output line; `SOURCE` if English is the source language."""

    TARGET = "target"
    SOURCE = "source"
    ENGLISH = "english"
    OTHER = "other"
    EMPTY = "empty"


# Of the Language Confusion Benchmark.
CONFUSION_TOKENS = 5
CONFUSION_SCORE = 0.3
ENGLISH_WORD_LETTERS = 4

_NO_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation) | {"—": " ", "،": None})


class Line(NamedTuple):
    """What became of one line: its language, the identifier's probability of it, whether it repeats the source."""

    label: str
    score: float
    verdict: Verdict
    copy: bool


class OffTargetScore(NamedTuple):
    """A figure of one direction, in %, and how many lines it is of."""

    metric: str
    value: float
    n: int


def classify(
    found: Sequence[tuple[str, float]], outputs: Sequence[str], sources: Sequence[str], direction: str
) -> list[Line]:
    """What became of each output of a direction, given the identifier's (language, probability) of it.

    Raises:
        InputError: there are no lines, or the outputs are not as many as the sources.
    """
    if not outputs:
        raise InputError(f"{direction}: no output lines; the test set is empty")
    if len(outputs) != len(sources):
        raise InputError(f"{direction}: {len(outputs)} outputs for {len(sources)} sources; decode it again")
    source, target = split_direction(direction)
    kinds = {target: Verdict.TARGET, source: Verdict.SOURCE}
    if ENGLISH not in kinds:
        kinds[ENGLISH] = Verdict.ENGLISH
    return [
        Line(
            label,
            score,
            kinds.get(label, Verdict.OTHER) if fold(output) else Verdict.EMPTY,
            bool(fold(output)) and fold(output) == fold(original),
        )
        for (label, score), output, original in zip(found, outputs, sources, strict=True)
    ]


def off_target_scores(lines: Sequence[Line], outputs: Sequence[str], direction: str) -> list[OffTargetScore]:
    """All scores of a direction's judged outputs.

    - `OTR`: share of lines whose most probable language is not the target (Zan et al. 2024); empty lines count.
    - `OTR-source`, `OTR-english`, `OTR-other`, `OTR-empty`: what these were instead; they add up to `OTR`.
    - `copies`: share of lines that repeat the source word for word.
    - `OTR-confusion`: 100 - line pass rate: lines of five tokens or more, and a language the identifier gives no more
      than 0.3 is unknown and so not the target.
    - `WPR`, only for targets in another script than Latin: of the lines that pass, the share without an English word.

    A share of no lines at all is `nan`.
    """
    count = len(lines)
    shares = {kind: 100 * sum(line.verdict == kind for line in lines) / count for kind in Verdict}
    scores = [OffTargetScore("OTR", 100 - shares[Verdict.TARGET], count)]
    scores += [OffTargetScore(f"OTR-{kind}", shares[kind], count) for kind in Verdict if kind != Verdict.TARGET]
    scores.append(OffTargetScore("copies", 100 * sum(line.copy for line in lines) / count, count))

    language = languages()[split_direction(direction)[1]]
    tokens = [_tokens(output, language.bleu_tokenizer) for output in outputs]
    long = [number for number in range(count) if len(tokens[number]) >= CONFUSION_TOKENS]
    passed = [n for n in long if lines[n].verdict == Verdict.TARGET and lines[n].score > CONFUSION_SCORE]
    scores.append(OffTargetScore("OTR-confusion", _share(len(long) - len(passed), len(long)), len(long)))
    if language.script != "Latin":
        english = sum(any(token in english_words() for token in tokens[number]) for number in passed)
        scores.append(OffTargetScore("WPR", _share(len(passed) - english, len(passed)), len(passed)))
    return scores


def agreement(first: Sequence[Line], second: Sequence[tuple[str, float]]) -> OffTargetScore:
    """Share of lines with text on which two identifiers name the same language."""
    pairs = [(line.label, label) for line, (label, _) in zip(first, second, strict=True) if line.label]
    return OffTargetScore("agreement", _share(sum(one == other for one, other in pairs), len(pairs)), len(pairs))


@cache
def english_words() -> frozenset[str]:
    """Lower-case words of four letters or more in Webster's Second, the list of the Language Confusion Benchmark."""
    # Imported here: reading the list takes a fifth of a second, and most targets are written in Latin script.
    from english_words import get_english_words_set

    words = get_english_words_set(["web2"])
    return frozenset(word for word in words if word.islower() and len(word) >= ENGLISH_WORD_LETTERS)


def _tokens(line: str, tokenizer: str) -> list[str]:
    bare = line.translate(_NO_PUNCTUATION)
    # Their rule for languages that put spaces between words.
    return bare.split() if tokenizer in ("13a", "ko-mecab") else _bleu(tokenizer).tokenizer(bare).split()


@cache
def _bleu(tokenizer: str) -> BLEU:
    return BLEU(tokenize=tokenizer)


def _share(part: int, whole: int) -> float:
    return 100 * part / whole if whole else float("nan")
