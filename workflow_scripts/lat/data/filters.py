"""What makes a translation out of a catalogue unfit for training, and the counts of it.

A filter never mends a text. It drops a text in one language from its row; when it drops the English text, the whole
row goes, since nothing else says what its texts mean. A row with one bad language therefore still gives pairs in the
others.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..files import fold
from ..names import ENGLISH
from .catalogues import Row
from .lid import LanguageIdentifier

# Romanian is written with a comma below; old programs and keyboards gave the cedilla, which looks nearly the same and
# would be another letter to a tokenizer and to BLEU. The comma is the standard's letter (SR 13411, Unicode since 3.0).
ROMANIAN_COMMA = str.maketrans("ŞşŢţ", "ȘșȚț")

# Invisible marks of word processors and right-to-left embedding: no reader sees them, every tokenizer does.
INVISIBLE = re.compile("[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]")

PLACEHOLDER = re.compile(
    r"[{}]"  # Python, ICU and JavaScript: {name}, {count, plural, ...}, ${name}
    r"|%\(|%%|%\d|%[-+#0]*\d*(?:\.\d+)?l*[diouxXeEfFgGcrsa](?![^\W\d_])"  # printf: %(name)s, %d, %1$s, but not `50% of`
    r"|\$[^\W\d]"  # shell and Zope: $name, but not $5
    r"|&[^\W\d]|&#"  # accelerators and entities: &File, &amp;, &#39;
    r"|_"  # accelerators and identifiers: _File, entity_id
    r"|\[%|%\]|#\d|@\w|(?<!\w):\w+:"  # templates, references, :role:
)
MARKUP = re.compile(
    r"[<>|\\`*~^=]"  # tags, Markdown, reStructuredText, formulas
    r"|\]\(|\]\[|\w\(\)|#\w"  # Markdown links, calls, headings
    r"|://|\bwww\.|\bmailto:"
    r"|(?<![^\W\d_])/\w|\w/\w+/|\w/(?=\s|$)"  # /absolute, relative/path/, folder/
    r"|[\w-]{2,}\.[a-z]{2,6}\b"  # file.name, host.name, but not `e.g.` nor `2.0`
    r"|--\w|\s-\w\s"  # command-line flags
)
OPTIONAL_ENDING = re.compile(r"\w\([^\W\d_]{1,3}\)|\w{2}/[aeiosr]\b|\w{2}\(-\w+\)")

# Below this many words, top-1 labels say more about the identifier than about the text: on these catalogues they
# miss 20 % of the Italian and 35-45 % of the Dutch and Romanian texts of up to three words, 5-10 % of those of four
# or five words, 2-4 % of those of six to nine and less than 1 % of longer ones.
LID_MIN_WORDS = 4
# For shorter texts, only a confident vote for another language of the benchmark counts: it is mostly English.
LID_SHORT_SCORE = 0.5

WORD = re.compile(r"[^\W\d_]+")
# A spelling without accents is a slip if the one with accents comes at least so often, and so many times as often.
ACCENTED_MIN = 5
ACCENTED_RATIO = 4

MIN_LETTER_SHARE = 0.75
MAX_CHARACTER_RATIO = 2.2
MAX_WORD_RATIO = 2.5


def is_wide(character: str) -> bool:
    """Whether a character is Chinese, Japanese or Korean: full-width, and not set off by spaces."""
    return unicodedata.east_asian_width(character) in "WF"


def count_wide(text: str) -> int:
    """Number of full-width characters."""
    # The first of them is a Korean letter; most texts have nothing so far up.
    return sum(map(is_wide, text)) if text and max(text) >= "\u1100" else 0


def count_words(text: str) -> int:
    """Words of a text; two Chinese, Japanese or Korean characters count as one word."""
    wide = count_wide(text)
    narrow = "".join(" " if is_wide(character) else character for character in text) if wide else text
    return len(narrow.split()) + (wide + 1) // 2


def width(text: str) -> float:
    """Length of a text in Latin characters; a Chinese, Japanese or Korean one says as much as two and a half."""
    return len(text) + 1.5 * count_wide(text)


def clean(text: str, language: str) -> str:
    """The one spelling of a text that training and tests use: NFC, no invisible marks, one kind of apostrophe.

    Romanian gets commas for cedillas.
    """
    text = fold(INVISIBLE.sub("", unicodedata.normalize("NFC", text)))
    text = text.replace("\u2018", "'").replace("\u2019", "'").replace("\u2026", "...")
    return text.translate(ROMANIAN_COMMA) if language == "ro" else text


def normalise(text: str) -> str:
    """What two texts share that a reader would call the same: letters and digits, case folded, nothing between them."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in folded if character.isalnum())


@dataclass(frozen=True)
class Limits:
    """Lengths in words: of the English text at least `min_words`, of every text at most `max_words`."""

    min_words: int
    max_words: int


@dataclass
class CatalogueRow:
    """A row on its way through the filters, and the source it comes from."""

    origin: str
    row: Row


@dataclass(frozen=True)
class Count:
    """What one filter did to one source: English-to-other pairs dropped and kept, and rows kept in all languages."""

    source: str
    filter: str
    dropped: int
    kept: int
    complete: int


# A filter of texts judges one text, a filter of pairs a text and the English text it translates. True drops it.
TextFilter = Callable[[str, str], bool]
PairFilter = Callable[[str, str, str], bool]
Stage = Callable[[Sequence[CatalogueRow]], list[CatalogueRow]]


def has_placeholder(text: str, language: str) -> bool:
    """A part of the text is filled in, or read, by the program."""
    return bool(PLACEHOLDER.search(text))


def has_markup(text: str, language: str) -> bool:
    """A part of the text is code, an address or a path."""
    return bool(MARKUP.search(text))


def has_optional_ending(text: str, language: str) -> bool:
    """Singular and plural, or two genders, in one: `file(s)`, `utente/i`."""
    return bool(OPTIONAL_ENDING.search(text))


def is_not_prose(text: str, language: str) -> bool:
    """Mostly digits and signs, or with pictures or control characters among the letters."""
    visible = text.replace(" ", "")
    letters = sum(unicodedata.category(character)[0] in "LM" for character in visible)
    strange = any(unicodedata.category(character) in ("Cc", "Co", "Cn", "So", "Sk") for character in visible)
    return strange or letters < MIN_LETTER_SHARE * len(visible)


def is_untranslated(english: str, text: str, language: str) -> bool:
    """The translation is the English text."""
    return normalise(english) == normalise(text)


def has_other_numbers(english: str, text: str, language: str) -> bool:
    """The digits differ: the English text was changed after it had been translated, or one of the two is wrong."""
    return Counter(filter(str.isdigit, english)) != Counter(filter(str.isdigit, text))


def has_extreme_ratio(english: str, text: str, language: str) -> bool:
    """One of the two is so much longer that it cannot say the same; a few characters or words more never count."""
    characters = (width(text) + 6) / (width(english) + 6)
    words = (count_words(text) + 2) / (count_words(english) + 2)
    return not (
        1 / MAX_CHARACTER_RATIO <= characters <= MAX_CHARACTER_RATIO and 1 / MAX_WORD_RATIO <= words <= MAX_WORD_RATIO
    )


def run_filters(
    samples: Sequence[CatalogueRow], languages: Sequence[str], limits: Limits, identifier: LanguageIdentifier
) -> tuple[list[CatalogueRow], list[Count]]:
    """Run every filter, the cheap ones first.

    Args:
        samples: extracted rows, their texts as in the catalogues; sources in the order in which they take precedence.
        languages: of the benchmark, `en` among them.
        limits: shortest and longest text.
        identifier: the language identification to agree with.

    Returns:
        What is left, in the same order, and the counts by filter and source in the order in which the filters ran.
        Rows with the English text alone are kept; they are no pairs and count as nothing.
    """

    def too_short(text: str, language: str) -> bool:
        return language == ENGLISH and count_words(text) < limits.min_words

    def too_long(text: str, language: str) -> bool:
        return count_words(text) > limits.max_words

    def texts(drop: TextFilter) -> Stage:
        return lambda samples: [
            CatalogueRow(sample.origin, row)
            for sample in samples
            if ENGLISH in (row := {code: text for code, text in sample.row.items() if not drop(text, code)})
        ]

    def pairs(drop: PairFilter) -> Stage:
        def keeps(row: Row, code: str) -> bool:
            return code == ENGLISH or not drop(row[ENGLISH], row[code], code)

        return lambda samples: [
            CatalogueRow(sample.origin, {code: text for code, text in sample.row.items() if keeps(sample.row, code)})
            for sample in samples
        ]

    stages: list[tuple[str, Stage]] = [
        ("placeholder", texts(has_placeholder)),
        ("markup", texts(has_markup)),
        ("optional_ending", texts(has_optional_ending)),
        ("too_short", texts(too_short)),
        ("too_long", texts(too_long)),
        ("not_prose", texts(is_not_prose)),
        ("untranslated", pairs(is_untranslated)),
        ("numbers", pairs(has_other_numbers)),
        ("length_ratio", pairs(has_extreme_ratio)),
        ("unaccented", drop_unaccented),
        ("language", lambda samples: drop_other_languages(samples, languages, identifier)),
        ("duplicate", drop_duplicates),
    ]
    current = [
        CatalogueRow(sample.origin, {code: clean(text, code) for code, text in sample.row.items()})
        for sample in samples
    ]
    counts = count(current, current, "extracted", languages)
    for name, stage in stages:
        after = stage(current)
        counts += count(current, after, name, languages)
        current = after
    return current, counts


def drop_unaccented(samples: Sequence[CatalogueRow]) -> list[CatalogueRow]:
    """Drop the texts that were typed on a keyboard without the language's accents, `fara` for `fără`.

    Which words that shows on, the texts themselves tell: those that they spell with accents far more often.
    """
    spelt: dict[str, Counter[str]] = {}
    accented: dict[str, Counter[str]] = {}
    for sample in samples:
        for code, text in sample.row.items():
            words = WORD.findall(text.casefold())
            spelt.setdefault(code, Counter()).update(words)
            # Letters of other scripts are no ASCII either way, so that й is not taken for an accented и.
            stripped = [strip_accents(word) for word in words if not word.isascii()]
            accented.setdefault(code, Counter()).update(word for word in stripped if word.isascii())

    def is_unaccented(code: str, text: str) -> bool:
        if code == ENGLISH or strip_accents(text) != text:
            return False
        return any(
            accented[code][word] >= max(ACCENTED_MIN, ACCENTED_RATIO * spelt[code][word])
            for word in WORD.findall(text.casefold())
        )

    return [
        CatalogueRow(sample.origin, {code: text for code, text in sample.row.items() if not is_unaccented(code, text)})
        for sample in samples
    ]


def strip_accents(text: str) -> str:
    """The text without accents, cedillas and the like."""
    decomposed = unicodedata.normalize("NFD", text)
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def drop_other_languages(
    samples: Sequence[CatalogueRow], languages: Sequence[str], identifier: LanguageIdentifier
) -> list[CatalogueRow]:
    """Drop the texts that language identification does not take for their language; see `LID_MIN_WORDS`."""
    places = [(number, code) for number, sample in enumerate(samples) for code in sample.row]
    found = identifier.identify([samples[number].row[code] for number, code in places])
    kept: list[Row] = [{} for _ in samples]
    for (number, code), (label, score) in zip(places, found, strict=True):
        text = samples[number].row[code]
        if count_words(text) >= LID_MIN_WORDS:
            agrees = label == code
        else:
            agrees = label == code or label not in languages or score < LID_SHORT_SCORE
        if agrees:
            kept[number][code] = text
    return [CatalogueRow(sample.origin, row) for sample, row in zip(samples, kept, strict=True) if ENGLISH in row]


def drop_duplicates(samples: Sequence[CatalogueRow]) -> list[CatalogueRow]:
    """Of the rows with the same English text keep the one with most languages, and of those the first."""
    best: dict[str, int] = {}
    for number, sample in enumerate(samples):
        key = normalise(sample.row[ENGLISH])
        if key not in best or len(sample.row) > len(samples[best[key]].row):
            best[key] = number
    return [samples[number] for number in sorted(best.values())]


def count(
    before: Sequence[CatalogueRow], after: Sequence[CatalogueRow], name: str, languages: Sequence[str]
) -> list[Count]:
    """One count for each source, in the order in which they come, and one for `all` of them."""
    pairs_before: Counter[str] = Counter()
    pairs_after: Counter[str] = Counter()
    complete: Counter[str] = Counter()
    for sample in before:
        for source in (sample.origin, "all"):
            pairs_before[source] += len(sample.row) - 1
    for sample in after:
        for source in (sample.origin, "all"):
            pairs_after[source] += len(sample.row) - 1
            complete[source] += len(sample.row) == len(languages)
    sources = [*dict.fromkeys(sample.origin for sample in before), "all"]
    return [
        Count(source, name, pairs_before[source] - pairs_after[source], pairs_after[source], complete[source])
        for source in sources
    ]
