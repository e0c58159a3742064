"""Off-target scores: the off-target ratio (OTR) of Zan et al. (2024), its parts by verdict, and two stricter scores.

The two stricter scores are the line and word pass rates of the Language Confusion Benchmark (Marchisio et al.,
"Understanding and Mitigating Language Confusion in LLMs", arXiv 2406.20052). The benchmark counts tokens with a word
segmenter for each language; SacreBLEU's tokenizers replace the segmenters here, so that a Chinese character counts as
one token.
"""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Sequence
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from ..data.lid import readable_text
from ..files import InputError, fold
from ..languages import identified_as, language, split_direction
from ..names import ENGLISH

if TYPE_CHECKING:
    from sacrebleu.metrics.bleu import BLEU


class Verdict(StrEnum):
    """What language identification says of one output line.

    English is `TARGET` or `SOURCE` in directions to or from English, and `ENGLISH` only in all other directions.
    `EMPTY` is a line without text besides special tokens. `NO_WORDS` is a line with text but without letters, such as
    `...` or `12:30`, whose label says nothing about its language.
    """

    TARGET = "target"
    SOURCE = "source"
    ENGLISH = "english"
    OTHER = "other"
    EMPTY = "empty"
    NO_WORDS = "no_words"


# Thresholds of the Language Confusion Benchmark: the minimum number of tokens of a line, the probability up to which
# its language counts as unknown, and the minimum number of letters of an English word.
CONFUSION_TOKENS = 5
CONFUSION_SCORE = 0.3
ENGLISH_WORD_LETTERS = 4

_NO_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation) | {"—": " ", "،": None})


class ClassifiedLine(NamedTuple):
    """An output line after language identification.

    `label` is the most probable language, empty for a line without text, `score` is the probability of that language,
    and `copy` is true if the line repeats the source line.
    """

    label: str
    score: float
    verdict: Verdict
    copy: bool


class OffTargetScore(NamedTuple):
    """A score of one direction by language identification, in %, and the number of lines it was computed on.

    `Score` in `scores.py` is the score of one direction by a SacreBLEU metric and has the signature of that metric. An
    `OffTargetScore` has no signature; the caller adds the signature of the language identifier.
    """

    metric: str
    value: float
    n: int


def classify(
    predictions: Sequence[tuple[str, float]], outputs: Sequence[str], sources: Sequence[str], direction: str
) -> list[ClassifiedLine]:
    """Assign a verdict to every output line of a direction.

    Args:
        predictions: (language, probability) from the language identifier for every output line.
        outputs: the output lines.
        sources: the source lines.
        direction: `src-tgt`.

    Raises:
        InputError: there are no output lines, or their number differs from the number of source lines.
    """
    if not outputs:
        raise InputError(f"{direction}: no output lines; the test set is empty")
    if len(outputs) != len(sources):
        raise InputError(f"{direction}: {len(outputs)} outputs for {len(sources)} sources; decode it again")
    verdicts = language_verdicts(direction)

    def verdict(label: str, text: str) -> Verdict:
        if not text:
            return Verdict.EMPTY
        return verdicts.get(label, Verdict.OTHER) if any(map(str.isalpha, text)) else Verdict.NO_WORDS

    folded = zip(predictions, outputs, map(fold, outputs), map(fold, sources), strict=True)
    return [
        ClassifiedLine(label, score, verdict(label, readable_text(output)), bool(text) and text == source)
        for (label, score), output, text, source in folded
    ]


def language_verdicts(direction: str) -> dict[str, Verdict]:
    """Return the verdicts of lines with words by their most probable language; all other languages are `OTHER`."""
    source, target = split_direction(direction)
    return (
        {ENGLISH: Verdict.ENGLISH}
        | dict.fromkeys(identified_as(source), Verdict.SOURCE)
        | dict.fromkeys(identified_as(target), Verdict.TARGET)
    )


def target_labels(direction: str) -> frozenset[str]:
    """Return the languages of output lines that count as the target language of a direction."""
    return identified_as(split_direction(direction)[1])


def off_target_metrics(direction: str, others: Sequence[str] = ()) -> list[str]:
    """Return the names of all scores of a direction by language identification, in the order of a score table.

    Args:
        direction: `src-tgt`.
        others: names of the identifiers that are cross-checks.
    """
    parts = [f"OTR-{name}" for name in Verdict if name != Verdict.TARGET]
    stricter = ["OTR-confusion", "WPR"] if has_word_pass_rate(direction) else ["OTR-confusion"]
    checks = [f"{metric}:{name}" for name in others for metric in ("OTR", "agreement")]
    return ["OTR", *parts, "no_words", "copies", *stricter, *checks]


def has_word_pass_rate(direction: str) -> bool:
    """Tell whether the target language of a direction is written in another script than Latin."""
    return language(split_direction(direction)[1]).script != "Latn"


def leaves_out_lines(metric: str) -> bool:
    """Tell whether a score is the share of some lines only, so that their number may be zero and the score `nan`."""
    return metric in ("OTR-confusion", "WPR") or metric.startswith("agreement:") or metric.endswith("-on-target")


def off_target_scores(lines: Sequence[ClassifiedLine], outputs: Sequence[str], direction: str) -> list[OffTargetScore]:
    """Compute all off-target scores of the classified output lines of a direction, in %.

    - `OTR`: share of lines whose most probable language is not the target (Zan et al. 2024), whatever their verdict is.
      Empty lines are included.
    - `OTR-source`, `OTR-english`, `OTR-other`, `OTR-empty`, `OTR-no_words`: the parts of `OTR` by verdict; they add up
      to `OTR`. A line without words is among them only if its label is not the target language.
    - `no_words`: share of lines without words among all lines, including those whose label is the target language.
    - `copies`: share of lines that repeat the source word for word.
    - `OTR-confusion`: 100 - line pass rate, computed on lines of five or more tokens. A line passes if the target is
      its most probable language, with a probability above 0.3; a language with a lower probability counts as unknown.
    - `WPR`: word pass rate, only for target languages that are not written in Latin script: among the lines that pass,
      the share without an English word.

    A share of zero lines is `nan`.
    """
    scores = verdict_scores(lines, direction)
    target = target_labels(direction)
    tokenizer = language(split_direction(direction)[1]).bleu_tokenizer
    tokens = [_tokens(readable_text(output), tokenizer) for output in outputs]
    long = [number for number in range(len(lines)) if len(tokens[number]) >= CONFUSION_TOKENS]
    passed = [number for number in long if lines[number].label in target and lines[number].score > CONFUSION_SCORE]
    scores.append(OffTargetScore("OTR-confusion", _share(len(long) - len(passed), len(long)), len(long)))
    if has_word_pass_rate(direction):
        english = sum(not english_words().isdisjoint(tokens[number]) for number in passed)
        scores.append(OffTargetScore("WPR", _share(len(passed) - english, len(passed)), len(passed)))
    return scores


def verdict_scores(lines: Sequence[ClassifiedLine], direction: str) -> list[OffTargetScore]:
    """Compute the scores of a direction that need no text, in %: `OTR`, its parts, `no_words` and `copies`."""
    count = len(lines)
    target = target_labels(direction)
    off_target = Counter(line.verdict for line in lines if line.label not in target)
    counts = {f"OTR-{name}": off_target[name] for name in Verdict if name != Verdict.TARGET}
    counts["no_words"] = sum(line.verdict == Verdict.NO_WORDS for line in lines)
    counts["copies"] = sum(line.copy for line in lines)
    shares = [OffTargetScore(metric, _share(part, count), count) for metric, part in counts.items()]
    return [_off_target_ratio("OTR", count - off_target.total(), count), *shares]


def cross_check_scores(
    lines: Sequence[ClassifiedLine], labels: Sequence[str], name: str, direction: str
) -> list[OffTargetScore]:
    """Compute the OTR by another identifier, and its agreement with the first one, in %.

    - `OTR:<name>`: share of lines whose most probable language is not the target.
    - `agreement:<name>`: share of the lines with a language to which both identifiers assign the same language.

    Args:
        lines: the output lines, as the first identifier classified them.
        labels: the most probable language of each line by the other identifier.
        name: name of the other identifier.
        direction: `src-tgt`.
    """
    target = target_labels(direction)
    pairs = [(line.label, label) for line, label in zip(lines, labels, strict=True) if line.label]
    on_target = sum(label in target for label in labels)
    same = sum(one == other for one, other in pairs)
    return [
        _off_target_ratio(f"OTR:{name}", on_target, len(labels)),
        OffTargetScore(f"agreement:{name}", _share(same, len(pairs)), len(pairs)),
    ]


def _off_target_ratio(metric: str, on_target: int, lines: int) -> OffTargetScore:
    return OffTargetScore(metric, 100 - 100 * on_target / lines, lines)


@cache
def english_words() -> frozenset[str]:
    """Return the English words of the Language Confusion Benchmark.

    They are the lower-case words of Webster's Second with four or more letters.
    """
    # Imported here, since loading the list takes 0.2 s and is not needed for target languages in Latin script.
    from english_words import get_english_words_set

    words = get_english_words_set(["web2"])
    return frozenset(word for word in words if word.islower() and len(word) >= ENGLISH_WORD_LETTERS)


def _tokens(line: str, tokenizer: str) -> list[str]:
    bare = line.translate(_NO_PUNCTUATION)
    # As in the Language Confusion Benchmark, languages that put spaces between words are split at white space.
    return bare.split() if tokenizer in ("13a", "ko-mecab") else _bleu(tokenizer).tokenizer(bare).split()


@cache
def _bleu(tokenizer: str) -> BLEU:
    from sacrebleu.metrics.bleu import BLEU

    return BLEU(tokenize=tokenizer)


def _share(part: int, whole: int) -> float:
    return 100 * part / whole if whole else float("nan")
