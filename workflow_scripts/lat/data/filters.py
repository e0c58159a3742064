"""Filters that drop texts unfit for training, and the counts of what they drop from catalogues.

A filter never changes a text. It drops the text of one language from a row, so that the row still gives pairs in the
other languages. If a filter drops the English text, the whole row is dropped, since no other text says what the row
means.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from ..files import fold
from ..languages import identified_as
from ..names import ENGLISH
from .catalogues import Row
from .lid import Identifier

# Romanian is written with a comma below (SR 13411; in Unicode since 3.0). Old programs and keyboards produce a cedilla
# instead, which looks nearly the same but is another letter for a tokenizer and for BLEU.
ROMANIAN_COMMA = str.maketrans("ŞşŢţ", "ȘșȚț")

# Invisible characters of word processors and of right-to-left embedding, which tokenizers would see.
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

# For shorter texts, language identification is unreliable. On these catalogues, the most probable language is wrong for
# 20 % of the Italian and 35-45 % of the Dutch and Romanian texts of up to three words, for 5-10 % of texts of four or
# five words, for 2-4 % of texts of six to nine words and for less than 1 % of longer texts.
LID_MIN_WORDS = 4
# A shorter text is dropped only if another language of the benchmark (mostly English) has at least this probability.
LID_SHORT_PROBABILITY = 0.5

WORD = re.compile(r"[^\W\d_]+")
# A word without accents is a misspelling if its spelling with accents occurs at least ACCENTED_MIN times and at least
# ACCENTED_RATIO times as often as the one without.
ACCENTED_MIN = 5
ACCENTED_RATIO = 4

MIN_LETTER_SHARE = 0.75
MAX_CHARACTER_RATIO = 2.2
MAX_WORD_RATIO = 2.5


def is_wide(character: str) -> bool:
    """Whether a character is full-width, that is, Chinese, Japanese or Korean."""
    return unicodedata.east_asian_width(character) in "WF"


def count_wide(text: str) -> int:
    """Return the number of full-width characters in a text."""
    # For speed: the first full-width character is a Korean letter (U+1100), and most texts have only lower characters.
    return sum(map(is_wide, text)) if text and max(text) >= "\u1100" else 0


def count_words(text: str) -> int:
    """Return the number of words in a text; two full-width characters count as one word."""
    wide = count_wide(text)
    narrow = "".join(" " if is_wide(character) else character for character in text) if wide else text
    return len(narrow.split()) + (wide + 1) // 2


def width(text: str) -> float:
    """Return the length of a text in Latin characters; a full-width character counts as two and a half."""
    return len(text) + 1.5 * count_wide(text)


def clean(text: str, language: str) -> str:
    """Return a text in the standard spelling that training and test data use.

    The text is in NFC and in one line, without invisible characters, with straight apostrophes and three dots for an
    ellipsis; Romanian has letters with commas instead of cedillas.
    """
    text = fold(INVISIBLE.sub("", unicodedata.normalize("NFC", text)))
    text = text.replace("\u2018", "'").replace("\u2019", "'").replace("\u2026", "...")
    return text.translate(ROMANIAN_COMMA) if language == "ro" else text


def normalise(text: str) -> str:
    """Return the case-folded letters and digits of a text, which are equal for texts that a reader calls the same."""
    folded = unicodedata.normalize("NFKC", text).casefold()
    return "".join(character for character in folded if character.isalnum())


@dataclass(frozen=True)
class Limits:
    """Limits of length in words: at least `min_words` in the English text, at most `max_words` in every text."""

    min_words: int
    max_words: int


@dataclass
class CatalogueRow:
    """The texts of a row by language code, and the name of the source that they come from."""

    origin: str
    texts: Row


@dataclass(frozen=True)
class Count:
    """English-to-other pairs of one source that one filter dropped and kept, and kept rows that have all languages."""

    source: str
    filter: str
    dropped: int
    kept: int
    complete: int


# Called with (text, language); True drops the text.
TextFilter = Callable[[str, str], bool]
# Called with (English text, its translation, language of the translation); True drops the translation.
PairFilter = Callable[[str, str, str], bool]
RowFilter = Callable[[Sequence[CatalogueRow]], list[CatalogueRow]]


def has_placeholder(text: str, language: str) -> bool:
    """Whether the program replaces or interprets a part of the text."""
    return bool(PLACEHOLDER.search(text))


def has_markup(text: str, language: str) -> bool:
    """Whether a part of the text is code, an address or a path."""
    return bool(MARKUP.search(text))


def has_optional_ending(text: str, language: str) -> bool:
    """Whether a word is singular and plural, or of two genders, at once: `file(s)`, `utente/i`."""
    return bool(OPTIONAL_ENDING.search(text))


def is_not_prose(text: str, language: str, letters: float = MIN_LETTER_SHARE) -> bool:
    """Whether a text is mostly digits and signs, or has pictographs or control characters among the letters.

    Args:
        text: the text.
        language: its language, which makes no difference.
        letters: smallest share of letters among its visible characters.
    """
    visible = text.replace(" ", "")
    found = sum(unicodedata.category(character)[0] in "LM" for character in visible)
    strange = any(unicodedata.category(character) in ("Cc", "Co", "Cn", "So", "Sk") for character in visible)
    return strange or found < letters * len(visible)


def is_untranslated(english: str, text: str, language: str) -> bool:
    """Whether the translation repeats the English text."""
    return normalise(english) == normalise(text)


def has_other_numbers(english: str, text: str, language: str) -> bool:
    """Whether the digits differ: the English text was changed after its translation, or one of the two is wrong."""
    return Counter(filter(str.isdigit, english)) != Counter(filter(str.isdigit, text))


def has_extreme_ratio(
    english: str,
    text: str,
    language: str,
    characters: float = MAX_CHARACTER_RATIO,
    words: float = MAX_WORD_RATIO,
) -> bool:
    """Whether one of the two texts is so much longer that they cannot say the same.

    Constants are added to the lengths, so that a few more characters or words never suffice.

    Args:
        english: one of the texts.
        text: the other one.
        language: its language, which makes no difference.
        characters: largest ratio of their lengths in characters.
        words: largest ratio of their lengths in words.
    """
    of_characters = (width(text) + 6) / (width(english) + 6)
    of_words = (count_words(text) + 2) / (count_words(english) + 2)
    return not (1 / characters <= of_characters <= characters and 1 / words <= of_words <= words)


def run_filters(
    rows: Sequence[CatalogueRow], languages: Sequence[str], limits: Limits, identifier: Identifier
) -> tuple[list[CatalogueRow], list[Count]]:
    """Clean the texts and run every filter, the cheap ones first.

    Args:
        rows: extracted rows, with texts as in the catalogues. Among duplicates with equally many languages, the first
            is kept.
        languages: language codes of the benchmark, including `en`.
        limits: limits of length in words.
        identifier: identifies the language of the texts.

    Returns:
        The remaining rows, in the same order, and the counts by filter and source, in the order in which the filters
        ran. Rows that have only the English text are kept; they have no pairs and add nothing to the counts.
    """

    def too_short(text: str, language: str) -> bool:
        return language == ENGLISH and count_words(text) < limits.min_words

    def too_long(text: str, language: str) -> bool:
        return count_words(text) > limits.max_words

    def filter_texts(drop: TextFilter) -> RowFilter:
        return lambda rows: [
            CatalogueRow(row.origin, texts)
            for row in rows
            if ENGLISH in (texts := {code: text for code, text in row.texts.items() if not drop(text, code)})
        ]

    def filter_pairs(drop: PairFilter) -> RowFilter:
        def keeps(texts: Row, code: str) -> bool:
            return code == ENGLISH or not drop(texts[ENGLISH], texts[code], code)

        return lambda rows: [
            CatalogueRow(row.origin, {code: text for code, text in row.texts.items() if keeps(row.texts, code)})
            for row in rows
        ]

    row_filters: list[tuple[str, RowFilter]] = [
        ("placeholder", filter_texts(has_placeholder)),
        ("markup", filter_texts(has_markup)),
        ("optional_ending", filter_texts(has_optional_ending)),
        ("too_short", filter_texts(too_short)),
        ("too_long", filter_texts(too_long)),
        ("not_prose", filter_texts(is_not_prose)),
        ("untranslated", filter_pairs(is_untranslated)),
        ("numbers", filter_pairs(has_other_numbers)),
        ("length_ratio", filter_pairs(has_extreme_ratio)),
        ("unaccented", drop_unaccented),
        ("language", lambda rows: drop_other_languages(rows, languages, identifier)),
        ("duplicate", drop_duplicates),
    ]
    current = [CatalogueRow(row.origin, {code: clean(text, code) for code, text in row.texts.items()}) for row in rows]
    counts = count(current, current, "extracted", languages)
    for name, row_filter in row_filters:
        after = row_filter(current)
        counts += count(current, after, name, languages)
        current = after
    return current, counts


def drop_unaccented(rows: Sequence[CatalogueRow]) -> list[CatalogueRow]:
    """Drop the texts that were typed without the accents of their language, see `Accents`."""
    accents = Accents((code, text) for row in rows for code, text in row.texts.items())
    return [
        CatalogueRow(row.origin, {code: text for code, text in row.texts.items() if not accents.lack(text, code)})
        for row in rows
    ]


class Accents:
    """Finds texts that were typed without the accents of their language, such as `fara` for `fără`.

    Such a text has a word that the given texts spell with accents far more often, see `ACCENTED_RATIO`.
    """

    def __init__(
        self, texts: Iterable[tuple[str, str]], occurrences: int = ACCENTED_MIN, ratio: float = ACCENTED_RATIO
    ) -> None:
        """Count the words of texts.

        Args:
            texts: pairs of a language and a text.
            occurrences: how often the spelling with accents must occur at least.
            ratio: how often it must occur at least for each time that the other one does.
        """
        self._least, self._ratio = occurrences, ratio
        self._occurrences: dict[str, Counter[str]] = {}
        self._accented: dict[str, Counter[str]] = {}
        for code, text in texts:
            words = WORD.findall(text.casefold())
            self._occurrences.setdefault(code, Counter()).update(words)
            # Only words that become ASCII are counted; in other scripts, й is a letter of its own, not an accented и.
            stripped = [strip_accents(word) for word in words if not word.isascii()]
            self._accented.setdefault(code, Counter()).update(word for word in stripped if word.isascii())

    def lack(self, text: str, language: str) -> bool:
        """Whether one of these texts was typed without accents."""
        if language == ENGLISH or strip_accents(text) != text:
            return False
        return any(
            self._accented[language][word] >= max(self._least, self._ratio * self._occurrences[language][word])
            for word in WORD.findall(text.casefold())
        )


def strip_accents(text: str) -> str:
    """Return the text without accents, cedillas and other diacritics."""
    decomposed = unicodedata.normalize("NFD", text)
    return "".join(character for character in decomposed if not unicodedata.combining(character))


def drop_other_languages(
    rows: Sequence[CatalogueRow], languages: Sequence[str], identifier: Identifier
) -> list[CatalogueRow]:
    """Drop the texts whose language is identified as another one, see `find_other_languages`."""
    places = [(number, code) for number, row in enumerate(rows) for code in row.texts]
    others = find_other_languages([(code, rows[number].texts[code]) for number, code in places], languages, identifier)
    kept: list[Row] = [{} for _ in rows]
    for (number, code), is_other in zip(places, others, strict=True):
        if not is_other:
            kept[number][code] = rows[number].texts[code]
    return [CatalogueRow(row.origin, texts) for row, texts in zip(rows, kept, strict=True) if ENGLISH in texts]


def find_other_languages(
    texts: Sequence[tuple[str, str]],
    languages: Sequence[str],
    identifier: Identifier,
    min_words: int = LID_MIN_WORDS,
    probability: float = LID_SHORT_PROBABILITY,
) -> list[bool]:
    """Tell of each text whether its language is identified as another one.

    Args:
        texts: pairs of a language and a text.
        languages: all languages of the benchmark.
        identifier: identifies the language of the texts.
        min_words: a text of fewer words counts as of another language only if it is identified as another language of
            the benchmark with at least this probability.
        probability: this probability.
    """
    found = identifier.identify([text for _, text in texts])
    labels = {code: identified_as(code) for code in languages}
    known = frozenset().union(*labels.values())
    return [
        label not in labels[code] and (count_words(text) >= min_words or (label in known and certainty >= probability))
        for (code, text), (label, certainty) in zip(texts, found, strict=True)
    ]


def drop_duplicates(rows: Sequence[CatalogueRow]) -> list[CatalogueRow]:
    """Keep one of the rows with the same English text: the one with the most languages, and of several, the first."""
    best: dict[str, int] = {}
    for number, row in enumerate(rows):
        key = normalise(row.texts[ENGLISH])
        if key not in best or len(row.texts) > len(rows[best[key]].texts):
            best[key] = number
    return [rows[number] for number in sorted(best.values())]


def count(
    before: Sequence[CatalogueRow], after: Sequence[CatalogueRow], name: str, languages: Sequence[str]
) -> list[Count]:
    """Return one count per source, in the order of the rows, and one for `all` sources together."""
    pairs_before: Counter[str] = Counter()
    pairs_after: Counter[str] = Counter()
    complete: Counter[str] = Counter()
    for row in before:
        for source in (row.origin, "all"):
            pairs_before[source] += len(row.texts) - 1
    for row in after:
        for source in (row.origin, "all"):
            pairs_after[source] += len(row.texts) - 1
            complete[source] += len(row.texts) == len(languages)
    sources = [*dict.fromkeys(row.origin for row in before), "all"]
    return [
        Count(source, name, pairs_before[source] - pairs_after[source], pairs_after[source], complete[source])
        for source in sources
    ]
