"""Localisation catalogues, read from small archives."""

import io
import json
import struct
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import polib
import pytest

from workflow_scripts.lat.data import catalogues
from workflow_scripts.lat.data.catalogues import (
    Translation,
    add_likely_subtags,
    choose_tags,
    join_on_english,
    read_archive,
)
from workflow_scripts.lat.data.sources import Source
from workflow_scripts.lat.files import InputError

GETTEXT = Source(
    name="program",
    version="1",
    kind="pypi",
    package="program",
    file="program.whl",
    sha256="0" * 64,
    bytes="",
    archive_sha256="",
    licence="MIT",
    python="",
    format="gettext",
    members=r"program/(?P<catalogue>.+)/locale/{language}/LC_MESSAGES/\w+\.[pm]o",
)
JSON = replace(GETTEXT, format="json", members=r"program/(?P<catalogue>\w+)/{language}-[0-9a-f]{4}\.json")
LANGUAGES = ["en", "it", "nl", "ro"]


def po(*entries: polib.POEntry) -> polib.POFile:
    catalogue = polib.POFile()
    catalogue.metadata = {"Content-Type": "text/plain; charset=UTF-8"}
    catalogue.extend(entries)
    return catalogue


def entry(msgid: str, msgstr: str, **more) -> polib.POEntry:
    return polib.POEntry(msgid=msgid, msgstr=msgstr, **more)


COMPILED = po(entry("Save the file", "Salva il file"), entry("Close", "Chiudi")).to_binary()


def compiled_with(content: bytes, count: int) -> bytes:
    """A compiled catalogue that says it has `count` entries."""
    return content[:8] + struct.pack("<I", count) + content[12:]


# 5000 entries, all with the same long text.
SHARED = struct.pack("<7I", 0x950412DE, 0, 5000, 28, 28, 0, 0) + struct.pack("<2I", 10_000, 28) * 5000


def write_zip(path: Path, members: Mapping[str, str | bytes]) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


class TestTags:
    @pytest.mark.parametrize(
        ("tag", "parts"),
        [
            ("ro", ("ro", "Latn", "RO")),
            ("ro_RO", ("ro", "Latn", "RO")),
            ("ro-ro", ("ro", "Latn", "RO")),
            ("zh_CN", ("zh", "Hans", "CN")),
            ("zh-Hans", ("zh", "Hans", "CN")),
            ("zh_Hans_CN", ("zh", "Hans", "CN")),
            ("zh_TW", ("zh", "Hant", "TW")),
            ("zh-hant", ("zh", "Hant", "TW")),
            ("nl_BE", ("nl", "Latn", "BE")),
            ("uk_UA", ("uk", "Cyrl", "UA")),
            ("ca@valencia", None),
            ("", None),
        ],
    )
    def test_missing_parts_are_filled_in(self, tag, parts):
        assert add_likely_subtags(tag) == parts

    def test_every_language_of_the_benchmarks_is_found_in_each_spelling(self):
        tags = ["cs_CZ", "de", "en_US", "fr_FR", "it_IT", "ja-JP", "ko", "nl_NL", "ro_RO", "ru", "uk_UA", "zh_CN"]
        languages = ["cs", "de", "en", "fr", "it", "ja", "ko", "nl", "ro", "ru", "uk", "zh"]
        assert choose_tags(tags, languages) == dict(zip(languages, tags, strict=True))

    def test_other_countries_and_scripts_are_other_languages(self):
        assert choose_tags(["nl_BE", "zh_Hant", "zh_TW", "pt", "ro_MD", "en_GB"], [*LANGUAGES, "zh"]) == {}

    def test_the_tag_like_the_language_code_is_chosen_or_the_shortest(self):
        assert choose_tags(["nl_NL", "nl-nl", "nl", "zh_CN", "zh_Hans"], ["nl", "zh"]) == {"nl": "nl", "zh": "zh_CN"}


class TestGettext:
    def test_only_finished_translations_of_single_texts_are_read(self, tmp_path):
        italian = po(
            entry("Save the file", "Salva il file"),
            entry("Save all\nfiles ", "Salva tutti\n  i file"),
            entry("Guessed", "Indovinato", flags=["fuzzy"]),
            entry("Old", "Vecchio", obsolete=True),
            entry("Missing", ""),
            entry("label_close", "Chiudi la finestra", comment='Default: "Close the \\"window\\""'),
            polib.POEntry(msgid="%d file", msgid_plural="%d files", msgstr_plural={0: "%d file", 1: "%d file"}),
        )
        dutch = po(entry("Save the file", "Bewaar het bestand"), entry("Missing", "Ontbrekend"))
        archive = write_zip(
            tmp_path / "program.whl",
            {
                "program/app/locale/it/LC_MESSAGES/app.po": str(italian),
                "program/app/locale/nl_NL/LC_MESSAGES/app.po": str(dutch),
                "program/app/locale/de/LC_MESSAGES/app.po": "not read at all",
                "program/app/locale/README.po": "nor this",
            },
        )
        rows, counts = read_archive(archive, GETTEXT, LANGUAGES)
        assert rows == [
            {"en": "Save the file", "it": "Salva il file", "nl": "Bewaar het bestand"},
            {"en": "Save all files", "it": "Salva tutti i file"},
            {"en": "Guessed"},
            {"en": "Missing", "nl": "Ontbrekend"},
            {"en": 'Close the "window"', "it": "Chiudi la finestra"},
        ]
        assert counts == {
            ("it", "kept"): 3,
            ("it", "fuzzy"): 1,
            ("it", "obsolete"): 1,
            ("it", "untranslated"): 1,
            ("it", "plural"): 1,
            ("nl", "kept"): 2,
        }

    def test_compiled_catalogues_give_the_same(self, tmp_path):
        catalogue = po(
            entry("Save the file", "Salvează fișierul"),
            entry("May", "Mai", msgctxt="month"),
            entry("Guessed", "Ghicit", flags=["fuzzy"]),
            polib.POEntry(msgid="%d file", msgid_plural="%d files", msgstr_plural={0: "%d fișier", 1: "%d fișiere"}),
        )
        archive = write_zip(
            tmp_path / "program.whl", {"program/app/locale/ro_RO/LC_MESSAGES/app.mo": catalogue.to_binary()}
        )
        rows, counts = read_archive(archive, GETTEXT, LANGUAGES)
        # A compiled catalogue is sorted and has no fuzzy entries.
        assert sorted(rows, key=lambda row: row["en"]) == [
            {"en": "May", "ro": "Mai"},
            {"en": "Save the file", "ro": "Salvează fișierul"},
        ]
        assert counts == {("ro", "kept"): 2, ("ro", "plural"): 1}

    @pytest.mark.parametrize("name", ["app.po", "app.mo"])
    def test_a_catalogue_is_never_taken_for_a_path(self, tmp_path, monkeypatch, name):
        """The content of the member is the name of a file in the working folder, which holds a good catalogue."""
        monkeypatch.chdir(tmp_path)
        good = po(entry("Save the file", "Salva il file"))
        (tmp_path / "good").write_bytes(good.to_binary() if name == "app.mo" else str(good).encode())
        archive = write_zip(tmp_path / "program.whl", {f"program/app/locale/it/LC_MESSAGES/{name}": b"good"})
        with pytest.raises(InputError, match=f"{name} is no gettext catalogue"):
            read_archive(archive, GETTEXT, LANGUAGES)

    def test_the_last_entry_is_read_whatever_follows_it(self, tmp_path):
        for end in ("", "\n", "\n\n \n", "\n# comment\n"):
            content = f'msgid "Save"\nmsgstr "Salva"{end}'
            archive = write_zip(tmp_path / "program.whl", {"program/app/locale/it/LC_MESSAGES/app.po": content})
            assert read_archive(archive, GETTEXT, LANGUAGES)[0] == [{"en": "Save", "it": "Salva"}]

    def test_source_distributions_are_read_too(self, tmp_path):
        content = str(po(entry("Save the file", "Salva il file"))).encode()
        with tarfile.open(tmp_path / "program.tar.gz", "w:gz") as archive:
            member = tarfile.TarInfo("program/app/locale/it/LC_MESSAGES/app.po")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        rows, _ = read_archive(tmp_path / "program.tar.gz", GETTEXT, LANGUAGES)
        assert rows == [{"en": "Save the file", "it": "Salva il file"}]

    def test_only_line_feeds_end_a_line(self, tmp_path):
        texts = [f"Salva{mark}il file" for mark in "\r\x0b\x0c\x1e\x85\u2028\u2029"]
        catalogue = "".join(f'#. a{text}\r\nmsgid "Save {text}"\r\nmsgstr "{text}"\r\n\r\n' for text in texts)
        content = f"\ufeff{catalogue}".encode()
        archive = write_zip(tmp_path / "program.whl", {"program/app/locale/it/LC_MESSAGES/app.po": content})
        rows, counts = read_archive(archive, GETTEXT, LANGUAGES)
        assert rows == [{"en": "Save Salva il file", "it": "Salva il file"}]
        assert counts == {("it", "kept"): len(texts)}


class TestJson:
    def test_a_byte_order_mark_is_no_part_of_the_catalogue(self, tmp_path):
        members = {f"program/light/{code}-0000.json": f'\ufeff{{"on": "{code}"}}'.encode() for code in ("en", "it")}
        rows, _ = read_archive(write_zip(tmp_path / "program.whl", members), JSON, LANGUAGES)
        assert rows == [{"en": "en", "it": "it"}]

    def test_the_english_text_is_found_by_the_key(self, tmp_path):
        archive = write_zip(
            tmp_path / "program.whl",
            {
                "program/light/en-0a1b.json": json.dumps({"menu": {"on": "Turn on", "off": "Turn off"}, "number": 3}),
                "program/light/it-ffff.json": json.dumps({"menu": {"on": "Accendi", "gone": "Sparito", "off": ""}}),
                "program/radio/en-0a1b.json": json.dumps({"menu": {"on": "Switch on"}}),
                "program/radio/nl-1234.json": json.dumps({"menu": {"on": "Zet aan"}}),
                "program/radio/en-GB-1234.json": json.dumps({"menu": {"on": "Colour"}}),
            },
        )
        rows, counts = read_archive(archive, JSON, LANGUAGES)
        assert rows == [
            {"en": "Turn on", "it": "Accendi"},
            {"en": "Turn off"},
            {"en": "Switch on", "nl": "Zet aan"},
        ]
        assert counts == {
            ("en", "kept"): 3,
            ("it", "kept"): 1,
            ("it", "no_english"): 1,
            ("it", "untranslated"): 1,
            ("nl", "kept"): 1,
        }


class TestJoin:
    def test_a_row_takes_the_texts_of_one_place_first(self):
        rows = join_on_english(
            [
                Translation("it", ("menu",), "Open", "Apri"),
                Translation("it", ("state",), "Open", "Aperto"),
                Translation("nl", ("state",), "Open", "Geopend"),
                Translation("ro", ("door",), "Open", "Deschisă"),
                Translation("en", ("door",), "Open", "Open"),
            ],
            LANGUAGES,
        )
        assert rows == [{"en": "Open", "it": "Aperto", "nl": "Geopend", "ro": "Deschisă"}]
        assert list(rows[0]) == LANGUAGES


class TestMistakes:
    def test_a_missing_file(self, tmp_path):
        with pytest.raises(InputError, match=r"program\.whl: no such file; fetch the source first"):
            read_archive(tmp_path / "program.whl", GETTEXT, LANGUAGES)

    def test_a_file_that_is_not_an_archive(self, tmp_path):
        path = tmp_path / "program.whl"
        path.write_bytes(b"<html>")
        with pytest.raises(InputError, match="neither a zip nor a tar archive"):
            read_archive(path, GETTEXT, LANGUAGES)

    def test_no_catalogue(self, tmp_path):
        archive = write_zip(tmp_path / "program.whl", {"program/app/locale/de/LC_MESSAGES/app.po": ""})
        with pytest.raises(InputError, match=r"no member matches .* in en, it, nl, ro"):
            read_archive(archive, GETTEXT, LANGUAGES)

    @pytest.mark.parametrize(
        ("source", "name", "content"),
        [
            (GETTEXT, "program/app/locale/it/LC_MESSAGES/app.po", b'msgid "open"\nmsgstr "a"b"'),
            (GETTEXT, "program/app/locale/it/LC_MESSAGES/app.po", 'msgid "a"\nmsgstr "è"'.encode("latin-1")),
            (GETTEXT, "program/app/locale/it/LC_MESSAGES/app.po", b'msgid "a"\nmsgstr "\0"'),
            (GETTEXT, "program/app/locale/it/LC_MESSAGES/app.mo", b"no catalogue"),
            (GETTEXT, "program/app/locale/it/LC_MESSAGES/app.mo", b"\xde\x12\x04\x95 cut off"),
            (GETTEXT, "program/app/locale/it/LC_MESSAGES/app.mo", COMPILED[:-10]),
            (GETTEXT, "program/app/locale/it/LC_MESSAGES/app.mo", compiled_with(COMPILED, 2**32 - 1)),
            (GETTEXT, "program/app/locale/it/LC_MESSAGES/app.mo", SHARED),
            (JSON, "program/app/it-0000.json", b'{"open": '),
            (JSON, "program/app/it-0000.json", b'{"open": "\xe0"}'),
            (JSON, "program/app/it-0000.json", b'{"menu": {"open": "\\ud83d"}}'),
            (JSON, "program/app/it-0000.json", b"[" * 100_000),
            (JSON, "program/app/it-0000.json", b'{"a":' * 100_000),
            (JSON, "program/app/it-0000.json", b'{"a":' + b"9" * 5000 + b"}"),
            (JSON, "program/app/it-0000.json", b'{"\\ud83d": "Apri"}'),
        ],
    )
    def test_a_broken_catalogue_is_named(self, tmp_path, source, name, content):
        archive = write_zip(tmp_path / "program.whl", {name: content})
        with pytest.raises(InputError) as error:
            read_archive(archive, source, LANGUAGES)
        assert "program.whl" in str(error.value) and name in str(error.value)
        assert "\n" not in str(error.value)

    def test_nesting_that_the_parser_can_read_is_read(self, tmp_path):
        for depth in range(900, 1000, 3):
            content = '{"a":' * depth + '"text"' + "}" * depth
            archive = write_zip(
                tmp_path / "program.whl", {f"program/app/{code}-0000.json": content for code in ("en", "it")}
            )
            try:
                assert read_archive(archive, JSON, LANGUAGES)[0] == [{"en": "text", "it": "text"}]
            except InputError as error:
                assert "is no JSON catalogue" in str(error)

    def test_catalogues_have_a_limit_in_all(self, tmp_path, monkeypatch):
        members = {f"program/app/{code}-0000.json": '{"open": "Apri"}' for code in ("en", "it")}
        archive = write_zip(tmp_path / "program.whl", members)
        monkeypatch.setattr(catalogues, "MAX_CATALOGUES_BYTES", 31)
        with pytest.raises(InputError, match=r"program\.whl: .*member program/app/it-0000\.json: larger than any file"):
            read_archive(archive, JSON, LANGUAGES)

    def test_half_a_character_is_named_by_its_key(self, tmp_path):
        archive = write_zip(tmp_path / "program.whl", {"program/app/it-0000.json": r'{"menu": {"open": "\ud83d"}}'})
        with pytest.raises(InputError, match=r"it-0000\.json is no .*menu\.open: the escape \\ud83d is half of a char"):
            read_archive(archive, JSON, LANGUAGES)

    def test_a_damaged_archive(self, tmp_path):
        path = write_zip(tmp_path / "program.whl", {"program/app/it-0000.json": '{"open": "Apri"}'})
        path.write_bytes(path.read_bytes().replace(b"Apri", b"Apro"))
        with pytest.raises(
            InputError, match=r"program\.whl: cannot be read .*CRC.*; delete it, then rerun to download"
        ):
            read_archive(path, JSON, LANGUAGES)
