"""Corpora of the Hugging Face Hub, read from small folders and archives in the layout of their publishers."""

import io
import json
import zipfile
import zlib
from pathlib import Path

import pytest

from workflow_scripts import download
from workflow_scripts.lat.data.corpora import Pair
from workflow_scripts.lat.data.jsonl_corpora import (
    RELEASE_PASSWORD,
    WMT24PP_SETS,
    read_floresplus,
    read_wmt24pp,
    wmt24pp_set,
)
from workflow_scripts.lat.files import InputError, read_lines, write_jsonl

# Domain, document, number, low quality, English text.
SEGMENTS = [
    ("canary", "canary", 0, True, "CANARY GUID 26b5c67b"),
    ("news", "en-news.1", 1, False, "One."),
    ("social", "en-social.7", 2, True, "https://example.org"),
    ("social", "en-social.7", 3, False, "Two.\n\nThree."),
]


def write_wmt24pp(folder: Path, *names: str, **changes: object) -> None:
    """Write the files of some translations, whose texts name their language; change fields of the last segment."""
    for name in names:
        rows = [
            {
                "lp": f"en-{name}", "domain": domain, "document_id": document, "segment_id": number,
                "is_bad_source": bad, "source": english, "target": f"{name} {english}", "original_target": "first",
            }
            for domain, document, number, bad, english in SEGMENTS
        ]  # fmt: skip
        rows[-1].update(changes)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"en-{name}.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))


class TestWmt24pp:
    def test_directions_from_and_to_english_use_the_same_file(self, tmp_path):
        write_wmt24pp(tmp_path, "de_DE")
        pairs = [Pair("One.", "de_DE One."), Pair("Two. Three.", "de_DE Two. Three.")]
        assert read_wmt24pp(tmp_path, "all", "en-de") == pairs
        assert read_wmt24pp(tmp_path, "all", "de-en") == [Pair(pair.target, pair.source) for pair in pairs]
        assert read_wmt24pp(tmp_path, "news", "en-de") == pairs[:1]

    def test_other_directions_join_two_files_by_segment(self, tmp_path):
        write_wmt24pp(tmp_path, "de_DE", "pt_BR")
        file = tmp_path / "en-pt_BR.jsonl"
        file.write_text("\n".join(reversed(file.read_text().splitlines())))
        expected = [Pair("de_DE One.", "pt_BR One."), Pair("de_DE Two. Three.", "pt_BR Two. Three.")]
        assert read_wmt24pp(tmp_path, "all", "de-pt-BR") == expected

    def test_a_segment_that_one_file_marks_as_bad_is_left_out(self, tmp_path):
        write_wmt24pp(tmp_path, "de_DE")
        write_wmt24pp(tmp_path, "nl_NL", is_bad_source=True)
        for direction in ("de-nl", "nl-de", "en-nl"):
            assert len(read_wmt24pp(tmp_path, "all", direction)) == 1

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"source": "Other."}, r"en-nl_NL.jsonl: segment 3 of document en-social.7 has another English text than "),
            ({"segment_id": 9}, r"de-nl: different segments, 4 and 4; one of them lacks \('en-social.7', 3\); delete"),
            ({"segment_id": 1, "document_id": "en-news.1"}, "line 4: segment 1 of document en-news.1 is there twice"),
            ({"segment_id": "3"}, "line 4: `segment_id` is '3' instead of a whole number; delete .* and rerun"),
            ({"is_bad_source": 0}, "line 4: `is_bad_source` is 0 instead of true or false"),
            ({"target": None}, "line 4: `target` is None instead of a text"),
            ({"lp": "en-da_DK"}, "line 4 is of en-da_DK, not of en-nl_NL"),
        ],
    )
    def test_files_that_do_not_match_are_refused(self, tmp_path, changes, message):
        write_wmt24pp(tmp_path, "de_DE")
        write_wmt24pp(tmp_path, "nl_NL", **changes)
        with pytest.raises(InputError, match=message) as error:
            read_wmt24pp(tmp_path, "all", "de-nl")
        assert "\n" not in str(error.value)

    def test_a_missing_file_or_domain_is_named(self, tmp_path):
        write_wmt24pp(tmp_path, "de_DE")
        with pytest.raises(InputError, match=r"en-nl_NL\.jsonl: no such file; delete"):
            read_wmt24pp(tmp_path, "all", "de-nl")
        with pytest.raises(InputError, match="no segment of `speech` in en-de; take a domain"):
            read_wmt24pp(tmp_path, "speech", "en-de")

    def test_a_code_stands_for_the_only_translation_of_its_language_script_and_territory(self):
        assert [wmt24pp_set(name.replace("_", "-")) for name in WMT24PP_SETS] == WMT24PP_SETS
        ambiguous = {"ar", "fr", "pt", "sw"}
        for name in WMT24PP_SETS:
            if name[:2] not in ambiguous and name != "zh_TW":
                assert wmt24pp_set(name.split("_")[0]) == name
        others = {"nb": "no_NO", "tl": "fil_PH", "zh-Hans": "zh_CN", "zh-Hant": "zh_TW", "sr-Cyrl": "sr_RS"}
        assert {code: wmt24pp_set(code) for code in others} == others

    @pytest.mark.parametrize(
        ("code", "message"),
        [
            ("fr", "WMT24[+][+] has 2 translations in `fr`; write `fr-CA` or `fr-FR` in its place"),
            ("es-ES", "WMT24[+][+] has no translations in `es-ES`; write `es-MX` in its place"),
            ("sr-Latn", "no translations in `sr-Latn`; write `sr-RS` in its place"),
            ("mt", "no translations in `mt`; drop the language, or take another corpus"),
            ("en-GB", "the English side of WMT24[+][+] is called `en`; write it in place of `en-GB`"),
        ],
    )
    def test_a_code_that_stands_for_none_or_several_is_refused_with_the_remedy(self, code, message):
        with pytest.raises(InputError, match=message):
            wmt24pp_set(code)


def write_floresplus(folder: Path, **texts: list[str]) -> None:
    for label, lines in texts.items():
        rows = [
            {"id": number, "iso_639_3": label[:3], "iso_15924": label[4:8], "text": line, "topic": "x"}
            for number, line in enumerate(lines)
        ]
        write_jsonl(folder / "dev" / f"{label}.jsonl", rows)


class TestFloresplus:
    def test_sentences_with_the_same_id_are_translations(self, tmp_path):
        write_floresplus(tmp_path, eng_Latn=["One.", " Two.\n"], cmn_Hans=["一。", "二。"], cmn_Hant=["x", "y"])
        file = tmp_path / "dev" / "cmn_Hans.jsonl"
        file.write_text("\n".join(reversed(file.read_text().splitlines())))
        assert read_floresplus(tmp_path, "dev", "en-zh") == [Pair("One.", "一。"), Pair("Two.", "二。")]
        assert read_floresplus(tmp_path, "dev", "zh-TW-en") == [Pair("x", "One."), Pair("y", "Two.")]

    def test_errors_name_the_file_and_the_remedy(self, tmp_path):
        write_floresplus(
            tmp_path, eng_Latn=["One.", "Two."], nld_Latn=["Een."], twi_Latn_akua1239=[""], twi_Latn_asan1239=[""]
        )
        for direction, message in {
            "en-nl": "dev of en-nl: different segments, 2 and 1; one of them lacks 1; delete",
            "en-it": "dev: nothing in it; its labels are ita_Latn; take another language",
            "en-tw": "2 varieties of tw, twi_Latn_akua1239 and twi_Latn_asan1239; add one of them to the labels of",
        }.items():
            with pytest.raises(InputError, match=message):
                read_floresplus(tmp_path, "dev", direction)
        (tmp_path / "dev" / "ita_Latn.jsonl").write_text('{"id": 0, "text": "Uno."}\n{"id": 0, "text": "Due."}\n')
        with pytest.raises(InputError, match=r"ita_Latn\.jsonl: line 2: sentence 0 is there twice; delete"):
            read_floresplus(tmp_path, "dev", "en-it")
        (tmp_path / "devtest").mkdir()
        (tmp_path / "devtest" / "eng_Latn.parquet").write_bytes(b"PAR1")
        with pytest.raises(InputError, match="devtest: has only Parquet files, but JSON lines are read; take"):
            read_floresplus(tmp_path, "devtest", "en-nl")

    def test_a_variety_is_chosen_by_its_label(self, tmp_path, monkeypatch):
        from workflow_scripts.lat import languages

        write_floresplus(tmp_path, eng_Latn=["One."], twi_Latn_akua1239=["a"], twi_Latn_asan1239=["b"])
        row = {"code": "tw", "name": "", "script": "", "labels": "twi_Latn_asan1239", "bleu_tokenizer": ""}
        rows = languages.table() | {"tw": row}
        monkeypatch.setattr(languages, "table", lambda: rows)
        languages.find_language.cache_clear()
        try:
            assert read_floresplus(tmp_path, "dev", "en-tw") == [Pair("One.", "b")]
        finally:
            languages.find_language.cache_clear()

    def test_an_archive_of_a_release_is_read_with_its_password(self, tmp_path):
        texts = {
            "dev/dev.eng_Latn": "One.\nTwo.\n",
            "dev/dev.nld_Latn": "Een.\nTwee.\n",
            "devtest/devtest.eng_Latn": "",
        }
        archive = tmp_path / "floresp-v2.0-rc.3.zip"
        members = {f"floresp-v2.0-rc.3/{name}": text.encode() for name, text in texts.items()}
        archive.write_bytes(encrypted_zip(members, RELEASE_PASSWORD))
        assert read_floresplus(archive, "dev", "nl-en") == [Pair("Een.", "One."), Pair("Twee.", "Two.")]
        with pytest.raises(InputError, match=r"zip: devtest: nothing in nl; its labels are nld_Latn"):
            read_floresplus(archive, "devtest", "nl-en")
        archive.write_bytes(encrypted_zip(members, b"another"))
        with pytest.raises(InputError, match=r"zip: cannot be read .*Bad password"):
            read_floresplus(archive, "dev", "nl-en")


def encrypted_zip(members: dict[str, bytes], password: bytes) -> bytes:
    """Return a zip archive with the traditional encryption of PKZIP, which the standard library can only read."""

    def checksum(value: int, byte: int) -> int:
        return zlib.crc32(bytes([byte]), value ^ 0xFFFFFFFF) ^ 0xFFFFFFFF

    def encrypt(content: bytes) -> bytes:
        keys = [0x12345678, 0x23456789, 0x34567890]

        def update(byte: int) -> None:
            keys[0] = checksum(keys[0], byte)
            keys[1] = ((keys[1] + (keys[0] & 0xFF)) * 134775813 + 1) & 0xFFFFFFFF
            keys[2] = checksum(keys[2], keys[1] >> 24)

        for byte in password:
            update(byte)
        result = bytearray()
        for byte in bytes(11) + bytes([zlib.crc32(content) >> 24]) + content:
            state = keys[2] & 0xFFFF | 2
            result.append(byte ^ (state * (state ^ 1) >> 8) & 0xFF)
            update(byte)
        return bytes(result)

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, encrypt(content))
        # The directory at the end of the archive describes the files without their encryption.
        for info, content in zip(archive.infolist(), members.values(), strict=True):
            info.flag_bits |= 1
            info.CRC, info.file_size = zlib.crc32(content), len(content)
    return buffer.getvalue()


def test_the_step_reads_the_parts_of_a_corpus_one_after_the_other(tmp_path):
    write_wmt24pp(tmp_path / "wmt24pp", "it_IT")
    words = ["read", "--corpus", "wmt24pp", "--archive", tmp_path / "wmt24pp", "--parts", "social", "news"]
    download.main([*map(str, words), "--directions", "en-it", "it-en", "--output", str(tmp_path / "out")])
    assert read_lines(tmp_path / "out" / "en-it.src.txt") == ["Two. Three.", "One."]
    assert read_lines(tmp_path / "out" / "it-en.src.txt") == ["it_IT Two. Three.", "it_IT One."]
