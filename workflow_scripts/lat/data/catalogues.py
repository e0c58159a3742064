"""Read the localisation catalogues in an archive into rows of translations, aligned on the English text.

A row maps language codes to texts: `{"en": "Save the file", "it": "Salva il file"}`. The English text is always
present; a language without a translation is absent. Translations of the same English text are joined into one row, so
that the same sentence of two programs, or of two dialogues of one program, becomes one row.
"""

import posixpath
import re
import struct
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polib
from babel.core import get_global

from ..files import InputError, TextError, check_characters, decode_text, first_line, fold, parse_json, printable
from ..names import ENGLISH
from .archives import list_members, read_members
from .sources import TAG, Source

# Far more than all catalogues of a program have together.
MAX_CATALOGUES_BYTES = 500_000_000

# In catalogues of Zope and Plone, message ids are symbolic and the English text is in a comment of the entry.
DEFAULT_COMMENT = re.compile(r'Default:\s*"(.*)"', re.DOTALL)
# Everything except a line feed at which Python's `splitlines`, and with it polib, would end a line.
OTHER_LINE_BREAKS = re.compile("[\v\f\r\x1c-\x1e\x85\u2028\u2029]")

# polib opens a file if the content that it is given is the path of one. No path is as long as these line breaks, which
# it ignores.
NO_PATH = b"\n" * 5000

Row = dict[str, str]


@dataclass(frozen=True)
class Translation:
    """The translation `text` of the text `english` into `language`, from one message of a catalogue.

    `key` distinguishes messages that have the same English text.
    """

    language: str
    key: tuple[str, ...]
    english: str
    text: str


def add_likely_subtags(tag: str) -> tuple[str, ...] | None:
    """Return (language, script, territory) of a language tag, with missing parts filled with the most likely ones.

    `ro`, `ro_RO` and `ro-ro` all give `("ro", "Latn", "RO")`; `zh_CN` and `zh-Hans` both give `("zh", "Hans", "CN")`.
    The result is None for any other string and for variants (`ca@valencia`, `zh_Hans_CN.utf8`), which are not taken
    for the language itself.
    """
    language, *rest = re.split(r"[-_]", tag)
    script = territory = ""
    for part in rest:
        if re.fullmatch(r"[A-Za-z]{4}", part) and not script and not territory:
            script = part.title()
        elif re.fullmatch(r"[A-Za-z]{2}|[0-9]{3}", part) and not territory:
            territory = part.upper()
        else:
            return None
    if not re.fullmatch(r"[A-Za-z]{2,3}", language):
        return None
    language = language.lower()
    likely = get_global("likely_subtags")
    for parts in ((language, script, territory), (language, script), (language, territory), (language,)):
        found = likely.get("_".join(part for part in parts if part))
        if found:
            likely_language, likely_script, likely_territory = found.split("_")[:3]
            return likely_language, script or likely_script, territory or likely_territory
    return language, script, territory


def choose_tags(tags: Sequence[str], languages: Sequence[str]) -> dict[str, str]:
    """Find, for each of `languages`, the tag of `tags` that means this language; languages without one are absent.

    If several tags do (`nl` and `nl_NL`), the one that equals the language code is chosen, otherwise the shortest.
    """
    chosen = {}
    for language in languages:
        wanted = add_likely_subtags(language)
        matching = [
            tag for tag in tags if tag == language or (wanted is not None and add_likely_subtags(tag) == wanted)
        ]
        if matching:
            chosen[language] = min(matching, key=lambda tag: (tag != language, len(tag), tag))
    return chosen


def read_archive(path: Path, source: Source, languages: Sequence[str]) -> tuple[list[Row], Counter[tuple[str, str]]]:
    """Read the rows of all catalogues in the archive of `source`.

    Args:
        path: the wheel, zip or tar archive.
        source: the archive's row of the source table, which gives the format and the paths of the catalogues.
        languages: language codes, including `en`.

    Returns:
        The rows, in the order of the catalogues' names and of the messages in them, and the number of messages by
        (language, reason); the reason is `kept` or says why the messages were left out.

    Raises:
        InputError: the archive cannot be read, has no catalogue of the languages, or a catalogue is broken.
    """
    counts: Counter[tuple[str, str]] = Counter()
    members = _find_members(sorted(set(list_members(path))), source, languages)
    if not members:
        raise InputError(
            f"{path}: no member matches {source.members} in {', '.join(languages)};"
            " correct `members` in the source table"
        )
    contents = dict(read_members(path, {member.name for member in members}.__contains__, MAX_CATALOGUES_BYTES))
    try:
        if source.format == "json":
            translations = list(_read_json_catalogues(contents, members, counts))
        else:
            translations = list(_read_gettext_catalogues(contents, members, counts))
    except _BrokenCatalogue as error:
        raise InputError(f"{path}: {error}; pin another version in the source table") from None
    return join_on_english(translations, languages), counts


def join_on_english(translations: Sequence[Translation], languages: Sequence[str]) -> list[Row]:
    """Join the translations of the same English text into rows, in the order in which the English texts first occur.

    A program may translate the same English text differently in different places. A row takes its texts from the place
    with the most languages; languages that are missing there are taken from the other places.
    """
    places: dict[str, dict[tuple[str, ...], Row]] = {}
    for translation in translations:
        row = places.setdefault(translation.english, {}).setdefault(translation.key, {})
        if translation.language != ENGLISH:
            row.setdefault(translation.language, translation.text)
    rows = []
    for english, by_key in places.items():
        merged: Row = {}
        for row in sorted(by_key.values(), key=len, reverse=True):
            for language, text in row.items():
                merged.setdefault(language, text)
        rows.append({ENGLISH: english} | {language: merged[language] for language in languages if language in merged})
    return rows


class _BrokenCatalogue(Exception):
    """Raised if a catalogue cannot be parsed; the message names the archive member."""


@dataclass(frozen=True)
class _Member:
    """The file of a catalogue in one language; `catalogue` is the same for all languages of the catalogue."""

    name: str
    language: str
    catalogue: str


def _find_members(names: Sequence[str], source: Source, languages: Sequence[str]) -> list[_Member]:
    """Return the members that are catalogues in one of `languages`, in the order of `names`."""
    # The parts of a tag are letters and digits. Variants (`@`) must match, too, so that `choose_tags` can reject them.
    pattern = re.compile(source.members.replace(TAG, r"(?P<language>[A-Za-z]{2,3}(?:[-_@][A-Za-z0-9]+)*)"))
    matches = [match for match in map(pattern.fullmatch, names) if match]
    tags = choose_tags(sorted({match["language"] for match in matches}), languages)
    language_of = {tag: language for language, tag in tags.items()}
    members = []
    for match in matches:
        if match["language"] not in language_of:
            continue
        if "catalogue" in pattern.groupindex:
            catalogue = match["catalogue"] or ""
        else:
            catalogue = match.string[: match.start("language")] + match.string[match.end("language") :]
        members.append(_Member(match.string, language_of[match["language"]], catalogue))
    return members


def _read_gettext_catalogues(
    contents: Mapping[str, bytes], members: Sequence[_Member], counts: Counter[tuple[str, str]]
) -> Iterator[Translation]:
    """Yield the translations in `.po` and `.mo` catalogues; entries without a usable translation are only counted."""
    for member in members:
        # The programs are written in English, so that an English catalogue repeats the message ids or is empty.
        if member.language == ENGLISH:
            continue
        for entry in _parse_gettext(contents[member.name], member.name):
            english = fold(_english_of(entry))
            text = fold(entry.msgstr)
            if getattr(entry, "obsolete", False):
                reason = "obsolete"
            elif entry.msgid_plural or entry.msgstr_plural:
                reason = "plural"
            elif not english:
                reason = "no_english"
            else:
                # The English text serves as monolingual training text even if it has no usable translation.
                key = (member.catalogue, entry.msgctxt or "", entry.msgid)
                yield Translation(ENGLISH, key, english, english)
                if getattr(entry, "fuzzy", False):
                    reason = "fuzzy"
                elif not text:
                    reason = "untranslated"
                else:
                    reason = "kept"
                    yield Translation(member.language, key, english, text)
            counts[member.language, reason] += 1


def _parse_gettext(content: bytes, name: str) -> Any:
    try:
        if posixpath.splitext(name)[1] in (".mo", ".gmo"):
            _check_compiled(content)
            return polib.mofile(content + NO_PATH, encoding="utf-8")
        return polib.pofile(OTHER_LINE_BREAKS.sub(" ", decode_text(content)) + NO_PATH.decode(), encoding="utf-8")
    except (OSError, ValueError, struct.error) as error:
        raise _BrokenCatalogue(f"{name} is no gettext catalogue in UTF-8 ({fold(first_line(error))})") from None


def _check_compiled(content: bytes) -> None:
    """Check that the texts of a compiled catalogue are in the file, and are no longer than it, as if entries share one.

    Raises:
        ValueError: they are not.
        struct.error: the file ends within its tables.
    """
    order = "<" if content[:1] == b"\xde" else ">"
    count, *tables = struct.unpack_from(f"{order}3I", content, 8)
    for table in tables:
        places = struct.unpack_from(f"{order}{2 * count}I", content, table)
        lengths, ends = places[::2], map(sum, zip(places[::2], places[1::2], strict=True))
        if sum(lengths) > len(content) or max(ends, default=0) > len(content):
            raise ValueError("its texts are longer than the file")


def _english_of(entry: Any) -> str:
    """Return the English text of a gettext entry: the default text of a symbolic id, or the id itself."""
    default = DEFAULT_COMMENT.search(entry.comment or "")
    return default[1].replace("\\n", "\n").replace('\\"', '"') if default else entry.msgid


def _read_json_catalogues(
    contents: Mapping[str, bytes], members: Sequence[_Member], counts: Counter[tuple[str, str]]
) -> Iterator[Translation]:
    """Yield the translations in nested JSON catalogues; the English catalogue gives the English text of every key."""
    english = {}
    for member in members:
        if member.language == ENGLISH:
            for key, text in _parse_json(contents[member.name], member.name):
                if text:
                    english[member.catalogue, key] = text
                    yield Translation(ENGLISH, (member.catalogue, key), text, text)
                counts[ENGLISH, "kept" if text else "untranslated"] += 1
    for member in members:
        if member.language != ENGLISH:
            for key, text in _parse_json(contents[member.name], member.name):
                place = (member.catalogue, key)
                reason = "no_english" if place not in english else "kept" if text else "untranslated"
                if reason == "kept":
                    yield Translation(member.language, place, english[place], text)
                counts[member.language, reason] += 1


def _parse_json(content: bytes, name: str) -> Iterator[tuple[str, str]]:
    """Yield (key, text) pairs; the keys of nested objects are joined with dots."""
    try:
        text = decode_text(content)
        escapes = "\\u" in text  # only they can be characters that no text file can have
        entries = [("", parse_json(text))]
        while entries:
            key, value = entries.pop()
            if escapes:
                check_characters([key, value] if isinstance(value, str) else key, printable(key))
            if isinstance(value, dict):
                entries += [(f"{key}.{part}" if key else part, inner) for part, inner in reversed(value.items())]
            elif isinstance(value, str):
                yield key, fold(value)
    except TextError as error:
        raise _BrokenCatalogue(f"{name} is no JSON catalogue ({error})") from None
