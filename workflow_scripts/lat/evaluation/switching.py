"""Code-switching rates: how many lines that are on target have words of another language all the same.

The word pass rate of the Language Confusion Benchmark (Marchisio et al., arXiv 2406.20052) finds English words in
outputs that are not written in Latin script. Two measures here extend the idea to all targets: words in another script
than that of the target, and windows of some words that language identification assigns to another language. An
identifier that looks at a whole line names only the language that most of it is in (Kargaran et al., "MaskLID:
Code-Switching Language Identification through Iterative Masking", arXiv 2406.06263). Both measures leave out what is
rightly in other languages, so that references have rates near zero; docs/statistics.md has their rates.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

import regex

from ..data.lid import Identifier, readable_text
from ..files import InputError
from ..languages import language, split_direction
from .offtarget import ClassifiedLine, OffTargetScore, off_target_metrics, target_labels

SCRIPT_RATE, WORD_RATE, WINDOW_RATE = "CSR-script", "CSR-words", "CSR-window"
SWITCHING_METRICS = (SCRIPT_RATE, WORD_RATE, WINDOW_RATE)

# Scripts that CLDR names as one, and those that Unicode has in their place.
COMPOSED = {
    "Aran": ("Arab",),
    "Cyrs": ("Cyrl",),
    "Hans": ("Hani",),
    "Hant": ("Hani",),
    "Jpan": ("Hani", "Hira", "Kana"),
    "Kore": ("Hang",),  # today, Korean is written without Chinese characters
    "Latf": ("Latn",),
    "Latg": ("Latn",),
}
# Scripts without spaces between words: each letter counts as a word, and there are no windows.
UNSPACED = frozenset({"Hani", "Hira", "Kana", "Thai", "Laoo", "Khmr", "Mymr", "Tibt"})
# A Latin word of a text in another script counts if it has this many letters and no capital ones, as in the word pass
# rate; others are mostly names and units. A word in any other script has at least two letters, since single ones are
# symbols, unless its script is one of the following.
LATIN_LETTERS = 4
OTHER_LETTERS = 2
LATIN_WORD = regex.compile(r"\p{sc=Latn}[\p{sc=Latn}\p{M}]*(?:['’ʼ‑-]\p{sc=Latn}[\p{sc=Latn}\p{M}]*)*")
ONE_LETTER = regex.compile(r"[\p{Hani}\p{Hira}\p{Kana}\p{Hang}]")
# Placeholders, tags and options of commands; and what stands directly before or after a part of a file name, an address
# or a name in code.
CODE = regex.compile(r"%\([^()\s]*\)[a-zA-Z]?|\{[^{}\s]*\}|</?[a-zA-Z][^<>]*>|(?<!\S)--?[a-zA-Z][\w=-]*")
CODE_BEFORE = regex.compile(r"[\d_@/\\.#$%&=<>{}|~^*+]")
CODE_AFTER = regex.compile(r"[\d_@/\\#$%&=<>{}|~^*+]|[.:][^\s\p{P}]|\(\)|://")

# Words of a window, and the probability from which on a window is in another language. With 0.9, up to 2.4 % of the
# references in languages with close relatives, such as Slovak, have such a window, and with four words even more.
WINDOW = 6
WINDOW_SCORE = 0.95
AROUND_WORDS = '.,;:!?¿¡"()[]«»‹›„“”‚‘’…–—*`'
# A word of a window has letters alone, and hyphens and apostrophes between them.
LETTERS = regex.compile(r"[\p{L}\p{M}]+(?:['’ʼ‑-][\p{L}\p{M}]+)*")


class WordsOfLine(NamedTuple):
    """The words of a line: how many there are in all, and those in another script than that of the target."""

    total: int
    switched: list[str]


def switching_metrics(direction: str) -> list[str]:
    """Return the names of the code-switching rates of a direction, in the order of a score table."""
    return [SCRIPT_RATE, WORD_RATE, WINDOW_RATE] if has_windows(direction) else [SCRIPT_RATE, WORD_RATE]


def detection_metrics(direction: str, others: Sequence[str] = ()) -> list[str]:
    """Return the names of all scores of a direction that the step `detect` computes, in the order of its table.

    Args:
        direction: `src-tgt`.
        others: names of the identifiers that are cross-checks.
    """
    own = off_target_metrics(direction)
    return [*own, *switching_metrics(direction), *off_target_metrics(direction, others)[len(own) :]]


def has_windows(direction: str) -> bool:
    """Tell whether the script of the target language has spaces between words."""
    return UNSPACED.isdisjoint(scripts_of(split_direction(direction)[1]))


@cache
def scripts_of(code: str) -> tuple[str, ...]:
    """Return the scripts of Unicode that a language is written in.

    Raises:
        InputError: Unicode has no letters of its script.
    """
    script = language(code).script
    scripts = COMPOSED.get(script, (script,))
    try:
        regex.compile("|".join(rf"\p{{scx={name}}}" for name in scripts))
    except regex.error:
        raise InputError(f"`{code}`: Unicode has no letters of the script {script}; write another code") from None
    return scripts


def words_of(output: str, source: str, target: str) -> WordsOfLine:
    """Return the words of an output line, and which of them are in another script than that of the target.

    Args:
        output: the output line.
        source: the source line. Latin words that it has as well are not counted in another script: most are names of
            commands and products, which stay as they are.
        target: code of the target language.
    """
    scripts = scripts_of(target)
    spaced = UNSPACED.isdisjoint(scripts)
    text = CODE.sub(" ", readable_text(output))
    total, latin, others = 0, [], []
    for match in _words_pattern(scripts).finditer(text):
        word = match[0]
        if match.lastgroup == "own":
            total += 1 if spaced else len(word)
        elif not CODE_BEFORE.match(text[max(match.start() - 1, 0) : match.start()]) and not CODE_AFTER.match(
            text, match.end()
        ):
            total += 1
            if match.lastgroup == "latin" and len(word) >= LATIN_LETTERS and word.islower():
                latin.append(word)
            elif match.lastgroup == "other" and (len(word) >= OTHER_LETTERS or ONE_LETTER.match(word)):
                others.append(word)
    if latin:
        known = {_plain(word) for word in LATIN_WORD.findall(source.lower())}
        latin = [word for word in latin if _plain(word) not in known]
    return WordsOfLine(total, others + latin)


def windows_of(output: str) -> list[str]:
    """Return all windows of `WINDOW` words of an output line; other tokens, such as numbers, are left out of them."""
    words = [word for token in readable_text(output).split() if LETTERS.fullmatch(word := token.strip(AROUND_WORDS))]
    return [" ".join(words[start : start + WINDOW]) for start in range(len(words) - WINDOW + 1)]


def switched_windows(
    outputs: Sequence[str], directions: Sequence[str], identifier: Identifier
) -> list[list[tuple[str, str]] | None]:
    """Return the windows of output lines that are in another language than the target, with this language.

    Args:
        outputs: the output lines.
        directions: the direction of each line.
        identifier: the language identifier.

    Returns:
        For each line the windows and their languages; None for a line without a window.
    """
    windows = [
        windows_of(output) if has_windows(name) else [] for output, name in zip(outputs, directions, strict=True)
    ]
    # Windows of repetitive outputs occur many times.
    distinct = list(dict.fromkeys(window for of_line in windows for window in of_line))
    found = dict(zip(distinct, identifier.identify(distinct), strict=True))

    def is_switched(window: str, direction: str) -> bool:
        label, score = found[window]
        return bool(label) and label not in target_labels(direction) and score >= WINDOW_SCORE

    return [
        [(window, found[window][0]) for window in of_line if is_switched(window, direction)] if of_line else None
        for of_line, direction in zip(windows, directions, strict=True)
    ]


def switching_scores(
    lines: Sequence[ClassifiedLine],
    outputs: Sequence[str],
    sources: Sequence[str],
    direction: str,
    identifier: Identifier,
) -> list[OffTargetScore]:
    """Compute the code-switching rates of the classified output lines of a direction, in %.

    All are computed on lines that are on target, which is their most probable language.

    - `CSR-script`: share of the lines with words that have a word in another script than that of the target.
    - `CSR-words`: share of these words among all words of these lines.
    - `CSR-window`: only for targets with spaces between words: share of the lines with six or more words that have a
      window of six words whose most probable language is not the target, with a probability of 0.95 or more.

    A share of zero lines is `nan`.
    """
    target = split_direction(direction)[1]
    on_target = [number for number, line in enumerate(lines) if line.label in target_labels(direction)]
    words = [words_of(outputs[number], sources[number], target) for number in on_target]
    words = [of_line for of_line in words if of_line.total]
    switched = sum(bool(of_line.switched) for of_line in words)
    share = _share(sum(len(of_line.switched) for of_line in words), sum(of_line.total for of_line in words))
    scores = [
        OffTargetScore(SCRIPT_RATE, _share(switched, len(words)), len(words)),
        OffTargetScore(WORD_RATE, share, len(words)),
    ]
    if has_windows(direction):
        chosen = [outputs[number] for number in on_target]
        windows = [
            of_line
            for of_line in switched_windows(chosen, [direction] * len(chosen), identifier)
            if of_line is not None
        ]
        scores.append(OffTargetScore(WINDOW_RATE, _share(sum(map(bool, windows)), len(windows)), len(windows)))
    return scores


@cache
def _words_pattern(scripts: tuple[str, ...]) -> regex.Pattern[str]:
    """Return a pattern of words in some scripts (`own`), in Latin script (`latin`), and in all others (`other`)."""
    own = "".join(rf"\p{{scx={script}}}" for script in scripts)
    groups = {
        "own": rf"[\p{{L}}&&[{own}]]",
        "latin": r"[\p{L}&&\p{sc=Latn}]",
        # Letters of no script of their own, such as the mark of a long vowel, are in no other script.
        "other": rf"[\p{{L}}--[{own}\p{{sc=Latn}}\p{{sc=Zyyy}}\p{{sc=Zinh}}]]",
    }
    if "Latn" in scripts:
        del groups["latin"]
    runs = (
        rf"(?P<{name}>{letter}[{letter}\p{{M}}]*(?:['’ʼ‑-]{letter}[{letter}\p{{M}}]*)*)"
        for name, letter in groups.items()
    )
    return regex.compile("(?V1)" + "|".join(runs))


def _plain(word: str) -> str:
    """Return a word without hyphens, since `email` and `e-mail` are one word."""
    return word.replace("-", "").replace("‑", "")


def _share(part: int, whole: int) -> float:
    return 100 * part / whole if whole else float("nan")
