"""Rows of translations out of the localisation catalogues in an archive, aligned on the English text.

A row maps language codes to text: `{"en": "Save the file", "it": "Salva il file"}`. English is always there; a language
without a translation is absent. What joins translations into a row is the English text they translate, so that the
same sentence of two programs, or of two dialogues of one program, becomes one row.
"""

import json
import posixpath
import re
import tarfile
import zipfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polib
from babel.core import get_global

from ..files import InputError, fold
from ..names import ENGLISH
from .sources import TAG, Source

# Zope and Plone give messages symbolic ids and keep the English text in a comment of the catalogue.
DEFAULT_COMMENT = re.compile(r'Default:\s*"(.*)"', re.DOTALL)

Row = dict[str, str]


@dataclass(frozen=True)
class Translation:
    """One text of one catalogue: `english` in `language`; `key` tells apart two messages with the same English text."""

    language: str
    key: tuple[str, ...]
    english: str
    text: str


def maximise(tag: str) -> tuple[str, ...] | None:
    """(language, script, territory) of a tag, what is left unsaid filled with what is likely; None for no such tag.

    `ro`, `ro_RO` and `ro-ro` all give `("ro", "Latn", "RO")`, `zh_CN` and `zh-Hans` both `("zh", "Hans", "CN")`.
    A variant (`ca@valencia`, `zh_Hans_CN.utf8`) is a tag of its own and gives None.
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
    """The tag of `tags` that stands for each of `languages`; a language that no tag stands for is absent.

    Where several do (`nl` and `nl_NL`), the one spelt like the language wins, then the shortest.
    """
    chosen = {}
    for language in languages:
        wanted = maximise(language)
        matching = [tag for tag in tags if tag == language or (wanted is not None and maximise(tag) == wanted)]
        if matching:
            chosen[language] = min(matching, key=lambda tag: (tag != language, len(tag), tag))
    return chosen


def read_archive(path: Path, source: Source, languages: Sequence[str]) -> tuple[list[Row], Counter[tuple[str, str]]]:
    """The rows of all catalogues in the archive of `source`.

    Args:
        path: the wheel, zip or tar archive.
        source: its row of the source table: how the catalogues are written and where they lie.
        languages: language codes, `en` among them.

    Returns:
        The rows, in the order of the catalogues' names and of the messages in them, and how many messages were kept
        or left out, by language and reason.

    Raises:
        InputError: the archive cannot be read, holds no catalogue of the languages, or a catalogue is broken.
    """
    counts: Counter[tuple[str, str]] = Counter()
    with _Archive(path) as archive:
        members = _find_members(archive.names, source, languages)
        if not members:
            raise InputError(
                f"{path}: no member matches {source.members} in {', '.join(languages)};"
                " mend `members` in the source table"
            )
        try:
            if source.format == "json":
                translations = list(_read_json_catalogues(archive, members, counts))
            else:
                translations = list(_read_gettext_catalogues(archive, members, languages, counts))
        except _BrokenCatalogue as error:
            raise InputError(f"{path}: {error}; pin another version in the source table") from None
    return join_on_english(translations, languages), counts


def join_on_english(translations: Sequence[Translation], languages: Sequence[str]) -> list[Row]:
    """Rows of the translations that share their English text, in the order in which the English texts first come.

    Programs translate one English text differently in different places. A row keeps to one place, the one with most
    languages, as far as it goes, and takes what is missing there from the other places.
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
    """A catalogue that cannot be parsed; the message names the member."""


@dataclass(frozen=True)
class _Member:
    """A catalogue in an archive; `catalogue` is the same for all languages of the catalogue."""

    name: str
    language: str
    catalogue: str


class _Archive:
    """Member names and contents of a zip or tar archive."""

    def __init__(self, path: Path) -> None:
        self._file: zipfile.ZipFile | tarfile.TarFile
        try:
            if zipfile.is_zipfile(path):
                self._file = zipfile.ZipFile(path)
                self.names = sorted(self._file.namelist())
            else:
                self._file = tarfile.open(path)  # noqa: SIM115, closed by __exit__
                self.names = sorted(self._file.getnames())
        except FileNotFoundError:
            raise InputError(f"{path}: no such file; fetch the source first") from None
        except (tarfile.TarError, zipfile.BadZipFile, OSError):
            raise InputError(f"{path}: neither a zip nor a tar archive; delete it and fetch the source again") from None

    def __enter__(self) -> "_Archive":
        return self

    def __exit__(self, *exception: object) -> None:
        self._file.close()

    def read(self, name: str) -> bytes:
        if isinstance(self._file, zipfile.ZipFile):
            return self._file.read(name)
        handle = self._file.extractfile(name)
        return handle.read() if handle else b""


def _find_members(names: Sequence[str], source: Source, languages: Sequence[str]) -> list[_Member]:
    """The members that are catalogues of `languages`, in name order."""
    # A tag is letters and digits in parts; `@` sets off variants, which must be seen in order to be passed over.
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
    archive: _Archive, members: Sequence[_Member], languages: Sequence[str], counts: Counter[tuple[str, str]]
) -> Iterator[Translation]:
    """Translations of `.po` and `.mo` catalogues; what translates no single plain text is only counted."""
    for member in members:
        # The English catalogue of a program in English repeats the message ids or is empty.
        if member.language == ENGLISH:
            continue
        for entry in _parse_gettext(archive.read(member.name), member.name):
            english = fold(_english_of(entry))
            text = fold(entry.msgstr)
            if getattr(entry, "obsolete", False):
                reason = "obsolete"
            elif entry.msgid_plural or entry.msgstr_plural:
                reason = "plural"
            elif not english:
                reason = "no_english"
            else:
                # The English text is training text even where the translation is none.
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
            return polib.mofile(content)
        return polib.pofile(content.decode("utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise _BrokenCatalogue(f"{name} is no gettext catalogue in UTF-8 ({fold(str(error))})") from None


def _english_of(entry: Any) -> str:
    """The English text of a gettext entry: the default text of a symbolic id, or the id itself."""
    default = DEFAULT_COMMENT.search(entry.comment or "")
    return default[1].replace("\\n", "\n").replace('\\"', '"') if default else entry.msgid


def _read_json_catalogues(
    archive: _Archive, members: Sequence[_Member], counts: Counter[tuple[str, str]]
) -> Iterator[Translation]:
    """Translations of nested JSON catalogues; a key leads to the English text through the English catalogue."""
    english = {}
    for member in members:
        if member.language == ENGLISH:
            for key, text in _parse_json(archive.read(member.name), member.name):
                if text:
                    english[member.catalogue, key] = text
                    yield Translation(ENGLISH, (member.catalogue, key), text, text)
                counts[ENGLISH, "kept" if text else "untranslated"] += 1
    for member in members:
        if member.language != ENGLISH:
            for key, text in _parse_json(archive.read(member.name), member.name):
                place = (member.catalogue, key)
                reason = "no_english" if place not in english else "kept" if text else "untranslated"
                if reason == "kept":
                    yield Translation(member.language, place, english[place], text)
                counts[member.language, reason] += 1


def _parse_json(content: bytes, name: str) -> Iterator[tuple[str, str]]:
    """(key, text) pairs; the keys of nested objects are joined with dots."""

    def walk(value: Any, key: str) -> Iterator[tuple[str, str]]:
        if isinstance(value, dict):
            for part, inner in value.items():
                yield from walk(inner, f"{key}.{part}" if key else part)
        elif isinstance(value, str):
            yield key, fold(value)

    try:
        catalogue = json.loads(content)
    except ValueError as error:
        raise _BrokenCatalogue(f"{name} is no JSON catalogue ({error})") from None
    yield from walk(catalogue, "")
