"""Published corpora, read from small archives in the formats of their publishers."""

import hashlib
import io
import random
import socket
import tarfile
import threading
import zipfile
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import sacrebleu
from sacrebleu.dataset import DATASETS
from sacrebleu.dataset.wmt_xml import WMTXMLDataset

from workflow_scripts.lat.data import corpora
from workflow_scripts.lat.data.corpora import Pair, local_files, read_flores, read_iwslt, read_local, read_sacrebleu
from workflow_scripts.lat.files import InputError

TAGS = """<url>http://www.ted.com/talks/one</url>
<keywords>talks</keywords>
<title>{language} title</title>
 {first}
{second}
<reviewer></reviewer>
"""
XML = """<?xml version="1.0" encoding="UTF-8"?>
<mteval>
<{kind} setid="tst2017" srclang="it" trglang="nl">
<doc docid="1247" genre="lectures">
<title>A talk</title>
<seg id="1"> {first} </seg>
<seg id="2"> {second} &amp; more </seg>
</doc>
</{kind}>
</mteval>
"""


def tar_of(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def zip_of(members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def training_files() -> dict[str, bytes]:
    texts = {"it": ("Buongiorno a tutti.", "Grazie."), "nl": ("Goedemorgen allemaal.", "Dank u.")}
    return {
        f"DeEnItNlRo-DeEnItNlRo/train.tags.it-nl.{language}": TAGS.format(
            language=language, first=first, second=second
        ).encode()
        for language, (first, second) in texts.items()
    }


TRAINING = [Pair("Buongiorno a tutti.", "Goedemorgen allemaal."), Pair("Grazie.", "Dank u.")]


def iwslt(folder: Path, part: str, italian: bytes, dutch: bytes) -> Path:
    """Write an archive with the two files of it-nl."""
    names = ("train.tags.it-nl.{}", "IWSLT17.TED.{part}.it-nl.{}.xml")
    name = names[0] if part == "train" else names[1].replace("{part}", part)
    path = folder / "a.zip"
    path.write_bytes(zip_of({f"D/{name.format('it')}": italian, f"D/{name.format('nl')}": dutch}))
    return path


def xml(kind: str, first: str, second: str) -> bytes:
    return XML.format(kind=kind, first=first, second=second).encode()


class TestIwslt:
    def test_training_text_without_its_tags(self, tmp_path):
        archive = tmp_path / "DeEnItNlRo-DeEnItNlRo.zip"
        # The first member is a resource fork of macOS.
        archive.write_bytes(zip_of({"x/._train.tags.it-nl.it": b"\x00\x05"} | training_files()))
        assert read_iwslt(archive, "train", "it-nl") == TRAINING

    def test_an_archive_inside_the_archive(self, tmp_path):
        inner = tar_of(training_files())
        archive = tmp_path / "2017-01-trnmted.tgz"
        archive.write_bytes(tar_of({"2017-01-trnmted/texts/DeEnItNlRo/DeEnItNlRo/DeEnItNlRo-DeEnItNlRo.tgz": inner}))
        assert read_iwslt(archive, "train", "it-nl") == TRAINING

    def test_a_test_set_with_source_and_reference_in_opposite_directions(self, tmp_path):
        name = "IWSLT17.TED.tst2017.mltlng"
        archive = tmp_path / "2017-01-mted-test.tgz"
        archive.write_bytes(
            tar_of(
                {
                    "2017-01-mted-test/texts/it/nl/it-nl.tgz": tar_of(
                        {f"it-nl/{name}.it-nl.it.xml": xml("srcset", "Uno.", "Due")}
                    ),
                    "2017-01-mted-test/texts/nl/it/nl-it.tgz": tar_of(
                        {f"nl-it/{name}.nl-it.nl.xml": xml("srcset", "Een.", "Twee")}
                    ),
                }
            )
        )
        assert read_iwslt(archive, "tst2017", "it-nl") == [Pair("Uno.", "Een."), Pair("Due & more", "Twee & more")]
        assert read_iwslt(archive, "tst2017", "nl-it") == [Pair("Een.", "Uno."), Pair("Twee & more", "Due & more")]

    def test_a_development_set_of_one_archive(self, tmp_path):
        archive = tmp_path / "a.zip"
        files = {
            f"D/IWSLT17.TED.dev2010.it-nl.{language}.xml": xml(kind, *texts)
            for language, kind, texts in (("it", "srcset", ("Uno.", "Due")), ("nl", "refset", ("Een.", "Twee")))
        }
        archive.write_bytes(zip_of(files))
        assert read_iwslt(archive, "dev2010", "it-nl")[0] == Pair("Uno.", "Een.")

    def test_an_unescaped_ampersand_is_accepted(self, tmp_path):
        archive = tmp_path / "a.zip"
        broken = xml("srcset", "R & D", "Due")
        files = {f"D/IWSLT17.TED.dev2010.it-nl.{language}.xml": broken for language in ("it", "nl")}
        archive.write_bytes(zip_of(files))
        assert [pair.source for pair in read_iwslt(archive, "dev2010", "it-nl")] == ["R & D", "Due & more"]

    def test_errors_name_the_archive(self, tmp_path):
        archive = tmp_path / "a.zip"
        archive.write_bytes(zip_of(training_files()))
        with pytest.raises(InputError, match=r"a\.zip: no training text of en-it"):
            read_iwslt(archive, "train", "en-it")
        with pytest.raises(InputError, match=r"a\.zip: no tst2017 of it-nl"):
            read_iwslt(archive, "tst2017", "it-nl")
        short = training_files() | {"DeEnItNlRo-DeEnItNlRo/train.tags.it-nl.nl": b"Een.\n"}
        archive.write_bytes(zip_of(short))
        with pytest.raises(InputError, match=r"6 lines of source, 1 of target; they must be parallel; .*near line 1"):
            read_iwslt(archive, "train", "it-nl")
        archive.write_bytes(zip_of(training_files())[:100])
        with pytest.raises(InputError, match=r"a\.zip: cannot be read .*delete it"):
            read_iwslt(archive, "train", "it-nl")
        archive.write_bytes(zip_of({name: "Città".encode("latin-1") for name in training_files()}))
        with pytest.raises(InputError, match=r"train\.tags\.it-nl\.it: line 1: not UTF-8 at byte 4; .* `local` corpus"):
            read_iwslt(archive, "train", "it-nl")

    def test_different_segments_in_source_and_reference_are_refused(self, tmp_path):
        archive = tmp_path / "a.zip"
        one, other = xml("srcset", "Uno.", "Due"), xml("refset", "Een.", "Twee").replace(b'id="2"', b'id="3"')
        names = ["D/IWSLT17.TED.dev2010.it-nl.it.xml", "D/IWSLT17.TED.dev2010.it-nl.nl.xml"]
        archive.write_bytes(zip_of(dict(zip(names, (one, other), strict=True))))
        with pytest.raises(InputError, match=r"different segments, 2 and 2; .* segment 2 of document 1247; "):
            read_iwslt(archive, "dev2010", "it-nl")
        archive.write_bytes(zip_of(dict.fromkeys(names, one[:-20])))
        with pytest.raises(InputError, match="not XML"):
            read_iwslt(archive, "dev2010", "it-nl")

    def test_lines_are_paired_before_any_is_left_out(self, tmp_path):
        archive = iwslt(tmp_path, "train", b"uno\n\ntre\nquattro\n", b"een\ntwee\n\nvier\n")
        assert read_iwslt(archive, "train", "it-nl") == [Pair("uno", "een"), Pair("quattro", "vier")]

    def test_text_may_start_like_a_tag(self, tmp_path):
        italian = "<url>u</url>\nuno\n<3 ti amo\ntre\n<title> si chiude\n<doc docid='1'>\n"
        dutch = "<url>v</url>\neen\nik hou van je\n<< drie >>\nhet sluit\n<doc docid='1'>\n"
        archive = iwslt(tmp_path, "train", italian.encode(), dutch.encode())
        assert read_iwslt(archive, "train", "it-nl") == [
            Pair("uno", "een"),
            Pair("<3 ti amo", "ik hou van je"),
            Pair("tre", "<< drie >>"),
            Pair("<title> si chiude", "het sluit"),
        ]

    def test_metadata_on_one_side_shows_that_the_files_do_not_match(self, tmp_path):
        archive = iwslt(tmp_path, "train", b"uno\n<url>u</url>\ndue\n", b"een\ntwee\n<url>u</url>\n")
        with pytest.raises(InputError, match="train of it-nl: line 2 describes the talk on one side only"):
            read_iwslt(archive, "train", "it-nl")

    def test_only_line_feeds_end_a_line(self, tmp_path):
        italian = "\ufeffuno\r\ndue\rbis\r\ntre\x0c\u2028\x85\x0bter\r\n\ufeffquattro\r\n"
        archive = iwslt(tmp_path, "train", italian.encode(), b"een\ntwee\ndrie\nvier\n")
        expected = [Pair("uno", "een"), Pair("due bis", "twee"), Pair("tre ter", "drie"), Pair("quattro", "vier")]
        assert read_iwslt(archive, "train", "it-nl") == expected

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (b"\x0b", "not XML .PCDATA invalid Char value 11, line 6"),
            (b"&nbsp;", "not XML .Entity 'nbsp' not defined, line 6"),
            (b"&#xD800;", "not XML .* invalid xmlChar value 55296, line 6"),
            (b"\0", "line 6: a NUL character"),
            (b"\xe0", "line 6: not UTF-8"),
            (b"<a>" * 100_000, "not XML .Excessive depth in document"),
        ],
    )
    def test_a_broken_text_is_named_by_file_and_line(self, tmp_path, text, message):
        archive = iwslt(tmp_path, "dev2010", xml("srcset", "Uno", "Due").replace(b"Uno", text), b"")
        with pytest.raises(InputError, match=rf"IWSLT17\.TED\.dev2010\.it-nl\.it\.xml: {message}.*; .*`local` corpus"):
            read_iwslt(archive, "dev2010", "it-nl")

    @pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
    def test_the_encoding_is_utf_8_whatever_the_declaration_says(self, tmp_path, mark):
        text = mark + xml("srcset", "Città", "Due").replace(b"UTF-8", b"ISO-8859-1")
        pairs = read_iwslt(iwslt(tmp_path, "dev2010", text, text), "dev2010", "it-nl")
        assert [pair.source for pair in pairs] == ["Città", "Due & more"]

    @pytest.mark.parametrize("name", ["a.zip", "a.tgz"])
    def test_a_damaged_archive_is_one_clear_error(self, tmp_path, name):
        text = "".join(f"riga {number * 7919}\n" for number in range(500)).encode()
        members = {f"D/train.tags.it-nl.{language}": text for language in ("it", "nl")}
        content = tar_of(members) if name == "a.tgz" else zip_of(members, zipfile.ZIP_DEFLATED)
        archive = tmp_path / name
        archive.write_bytes(content)
        assert len(read_iwslt(archive, "train", "it-nl")) == 500
        for position in range(100, 1000, 60):
            archive.write_bytes(content[:position] + bytes([content[position] ^ 0xFF]) + content[position + 1 :])
            with pytest.raises(InputError, match=rf"{name}: cannot be read .*delete it"):
                read_iwslt(archive, "train", "it-nl")

    def test_a_member_larger_than_the_corpus_is_never_read(self, tmp_path, monkeypatch):
        monkeypatch.setattr(corpora, "MAX_CORPUS_BYTES", 10)
        archive = tmp_path / "a.zip"
        archive.write_bytes(zip_of(training_files()))
        with pytest.raises(InputError, match=r"a\.zip: cannot be read \(member .*: larger than any file"):
            read_iwslt(archive, "train", "it-nl")

    def test_nothing_is_written_whatever_the_path_of_a_member(self, tmp_path):
        archive = tmp_path / "a.zip"
        files = {f"../../{Path(name).name}": content for name, content in training_files().items()}
        archive.write_bytes(zip_of(files))
        before = sorted(tmp_path.parent.rglob("*"))
        assert read_iwslt(archive, "train", "it-nl") == TRAINING
        assert sorted(tmp_path.parent.rglob("*")) == before


class TestFlores:
    @pytest.fixture
    def archive(self, tmp_path):
        path = tmp_path / "flores200_dataset.tar.gz"
        texts = {"eng_Latn": "One.\nTwo.\n", "zho_Hans": "一。\n二。\n", "nld_Latn": "Een.\n"}
        path.write_bytes(tar_of({f"./flores200_dataset/dev/{code}.dev": text.encode() for code, text in texts.items()}))
        return path

    def test_lines_are_translations_of_one_another(self, archive):
        assert read_flores(archive, "dev", "en-zh") == [Pair("One.", "一。"), Pair("Two.", "二。")]

    def test_the_first_label_of_a_language_counts_whatever_the_order_of_the_archive(self, tmp_path):
        archive = tmp_path / "flores200_dataset.tar.gz"
        texts = {"zho_Hant": "貓。\n", "zho_Hans": "猫。\n", "eng_Latn": "A cat.\n"}
        archive.write_bytes(tar_of({f"dev/{code}.dev": text.encode() for code, text in texts.items()}))
        assert read_flores(archive, "dev", "en-zh") == [Pair("A cat.", "猫。")]
        assert read_flores(archive, "dev", "en-zh-TW") == [Pair("A cat.", "貓。")]

    def test_lines_end_with_line_feeds_alone_and_have_no_mark(self, tmp_path):
        archive = tmp_path / "flores200_dataset.tar.gz"
        texts = {"eng": "\ufeffOne\rmore.\r\nTwo.\n", "nld": "Een\u2028meer.\nTwee.\n", "ron": "Unu.\rDoi.\r"}
        archive.write_bytes(tar_of({f"dev/{code}_Latn.dev": text.encode() for code, text in texts.items()}))
        assert read_flores(archive, "dev", "en-nl") == [Pair("One more.", "Een meer."), Pair("Two.", "Twee.")]
        with pytest.raises(InputError, match=r"ron_Latn\.dev: the lines end with carriage returns instead"):
            read_flores(archive, "dev", "en-ro")

    def test_errors_name_the_missing_part(self, archive):
        with pytest.raises(InputError, match="no dev in ro"):
            read_flores(archive, "dev", "en-ro")
        with pytest.raises(InputError, match="no devtest in en"):
            read_flores(archive, "devtest", "en-zh")
        with pytest.raises(InputError, match="2 lines of source, 1 of target"):
            read_flores(archive, "dev", "en-nl")


class TestLocal:
    def test_each_way_of_naming_the_files(self, tmp_path):
        for name, text in {
            "train.it-nl.it": "Uno.\n",
            "train.it-nl.nl": "Een.\n",
            "test.it": "Due.\n",
            "test.nl": "Twee.\n",
        }.items():
            (tmp_path / name).write_text(text, encoding="utf-8")
        assert read_local(f"{tmp_path}/train", "it-nl") == [Pair("Uno.", "Een.")]
        assert read_local(f"{tmp_path}/train", "nl-it") == [Pair("Een.", "Uno.")]
        assert read_local(f"{tmp_path}/test", "nl-it") == [Pair("Twee.", "Due.")]
        assert [path.name for path in local_files(f"{tmp_path}/train")] == ["train.it-nl.it", "train.it-nl.nl"]
        # Names with dots, as in MMCR4NLP.
        (tmp_path / "train.5lingual.v1.it-nl.it").write_text("Tre.\n", encoding="utf-8")
        (tmp_path / "train.5lingual.v1.it-nl.nl").write_text("Drie.\n", encoding="utf-8")
        assert read_local(f"{tmp_path}/train.5lingual.v1", "nl-it") == [Pair("Drie.", "Tre.")]

    def test_only_line_feeds_end_a_line(self, tmp_path):
        (tmp_path / "train.en").write_bytes(b"\xef\xbb\xbfone a\rone b\r\ntwo\nthree\n")
        (tmp_path / "train.it").write_bytes(b"uno\ndue\ntre a\rtre b\n")
        assert read_local(f"{tmp_path}/train", "en-it") == [
            Pair("one a one b", "uno"), Pair("two", "due"), Pair("three", "tre a tre b")
        ]  # fmt: skip

    def test_the_place_where_files_part_is_found_by_the_lengths(self, tmp_path):
        generator = random.Random(0)
        lines = ["word " * generator.randint(1, 30) for _ in range(400)]
        # One pair is wrong from the beginning, and line 300 is missing on one side.
        other = ["x", *lines[1:299], *lines[300:]]
        for language, side in (("en", lines), ("it", other)):
            (tmp_path / f"train.{language}").write_text("".join(f"{line}\n" for line in side))
        with pytest.raises(InputError, match=r"400 lines of source, 399 of target; .* part near line 3") as error:
            read_local(f"{tmp_path}/train", "en-it")
        assert 298 <= int(str(error.value).split()[-1]) <= 320

    def test_errors_name_the_expected_files(self, tmp_path):
        with pytest.raises(InputError, match=r"train\.en-it\.en and .*train\.en-it\.it"):
            read_local(f"{tmp_path}/train", "en-it")
        (tmp_path / "train.en").write_text("One.\nTwo.\n")
        (tmp_path / "train.it").write_text("Uno.\n")
        with pytest.raises(InputError, match="2 lines of source, 1 of target"):
            read_local(f"{tmp_path}/train", "en-it")


WMT = """<dataset id="t"><doc origlang="cs" id="d">
<src lang="cs"><p><seg id="1">Ano. </seg><seg id="2">Ne.</seg></p></src>
<ref lang="en" translator="A"><p><seg id="1">Aye.</seg><seg id="2">Nay.</seg></p></ref>
<ref lang="en" translator="B"><p><seg id="1">Yes.</seg><seg id="2">No.</seg></p></ref></doc></dataset>"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments):
        pass


class TestSacrebleu:
    @pytest.fixture
    def served(self, tmp_path, monkeypatch):
        """Serve a test set in the format of WMT22 on the loopback interface."""
        folder = tmp_path / "web"
        folder.mkdir()
        content = tar_of({"set/wmttest.cs-en.all.xml": WMT.encode()})
        (folder / "set.tgz").write_bytes(content)
        monkeypatch.chdir(folder)
        with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
            thread = threading.Thread(target=server.serve_forever, args=(0.05,))
            thread.start()

            def add(address: str = "set.tgz", md5: str = hashlib.md5(content).hexdigest()) -> None:
                pairs = {"cs-en": {"path": "set/wmttest.cs-en.all.xml", "refs": ["B"]}}
                url = f"http://127.0.0.1:{server.server_port}/{address}"
                monkeypatch.setitem(DATASETS, "wmt99", WMTXMLDataset("wmt99", [url], md5=[md5], langpairs=pairs))

            yield add
            server.shutdown()
            thread.join()

    def test_the_reference_is_the_one_that_sacrebleu_scores_against(self, served, tmp_path):
        served()
        assert read_sacrebleu("wmt99", "cs-en", tmp_path / "cache") == [Pair("Ano.", "Yes."), Pair("Ne.", "No.")]

    def test_texts_have_no_byte_order_mark(self, served, tmp_path, monkeypatch):
        served()
        monkeypatch.setattr(WMTXMLDataset, "source", lambda self, direction: iter(["\ufeffAno.", "Ne."]))
        assert read_sacrebleu("wmt99", "cs-en", tmp_path / "cache")[0] == Pair("Ano.", "Yes.")

    def test_errors_are_one_line(self, served, tmp_path):
        served(address="nothing.tgz")
        with pytest.raises(InputError, match=r"wmt99: SacreBLEU could not download it .*404"):
            read_sacrebleu("wmt99", "cs-en", tmp_path / "one")
        served(md5="0" * 32)
        with pytest.raises(InputError, match="the checksum is wrong"):
            read_sacrebleu("wmt99", "cs-en", tmp_path / "two")
        (tmp_path / "web" / "set.tgz").write_bytes(b"no archive")
        served(md5="")
        with pytest.raises(InputError, match=r"wmt99: SacreBLEU could not download it \(.+\)"):
            read_sacrebleu("wmt99", "cs-en", tmp_path / "three")
        with pytest.raises(InputError, match="wmt99: has no en-de; it has cs-en"):
            read_sacrebleu("wmt99", "en-de", tmp_path)
        with pytest.raises(InputError, match="wmt0: no test set of SacreBLEU"):
            read_sacrebleu("wmt0", "en-de", tmp_path)

    def test_a_server_that_does_not_answer_is_not_waited_for_forever(self, served, tmp_path, monkeypatch):
        monkeypatch.setattr(corpora, "SACREBLEU_TIMEOUT", 0.2)
        before = socket.getdefaulttimeout()
        with socket.create_server(("127.0.0.1", 0)) as silent:
            served()
            monkeypatch.setattr(DATASETS["wmt99"], "data", [f"http://127.0.0.1:{silent.getsockname()[1]}/set.tgz"])
            with pytest.raises(InputError, match=r"wmt99: SacreBLEU could not download it \(.*timed out"):
                read_sacrebleu("wmt99", "cs-en", tmp_path / "cache")
        assert socket.getdefaulttimeout() == before

    def test_a_download_without_text_or_with_lines_missing_is_refused(self, served, tmp_path, monkeypatch):
        served()
        for lines, message in (
            (["", ""], "cs-en: SacreBLEU read no text"),
            (["Ano."], "1 lines of source, 2 of target"),
        ):
            monkeypatch.setattr(WMTXMLDataset, "source", lambda self, direction, lines=lines: iter(lines))
            with pytest.raises(InputError, match=f"wmt99 of .*{message}"):
                read_sacrebleu("wmt99", "cs-en", tmp_path / "cache")

    @pytest.mark.parametrize("content", [b"<dataset><doc>", b"", b"<dataset/>", WMT.encode()[:-30], b"\xff"])
    def test_a_broken_test_set_is_one_line(self, served, tmp_path, content):
        archive = tar_of({"set/wmttest.cs-en.all.xml": content})
        (tmp_path / "web" / "set.tgz").write_bytes(archive)
        served(md5=hashlib.md5(archive).hexdigest())
        with pytest.raises(InputError, match="wmt99") as error:
            read_sacrebleu("wmt99", "cs-en", tmp_path / "cache")
        assert "\n" not in str(error.value)

    def test_nothing_is_unpacked_outside_the_cache(self, served, tmp_path):
        archive = tar_of({"set/wmttest.cs-en.all.xml": WMT.encode(), "../../../outside": b"text"})
        (tmp_path / "web" / "set.tgz").write_bytes(archive)
        served(md5=hashlib.md5(archive).hexdigest())
        with pytest.raises(InputError, match="outside"):
            read_sacrebleu("wmt99", "cs-en", tmp_path / "cache")
        assert not (tmp_path / "outside").exists()

    @pytest.mark.parametrize(("name", "kind"), [("../../../outside", tarfile.REGTYPE), ("outside", tarfile.SYMTYPE)])
    def test_older_versions_of_python_unpack_nothing_outside_the_cache(self, served, tmp_path, monkeypatch, name, kind):
        monkeypatch.setattr(sacrebleu.utils, "extract_tarball", sacrebleu.utils.extract_tarball)
        monkeypatch.setattr(tarfile.TarFile, "extraction_filter", None, raising=False)
        monkeypatch.delattr(tarfile, "data_filter", raising=False)
        served()
        assert read_sacrebleu("wmt99", "cs-en", tmp_path / "cache") == [Pair("Ano.", "Yes."), Pair("Ne.", "No.")]
        content = io.BytesIO()
        with tarfile.open(fileobj=content, mode="w:gz") as archive:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, "../.."
            archive.addfile(member)
        (tmp_path / "web" / "set.tgz").write_bytes(content.getvalue())
        served(md5=hashlib.md5(content.getvalue()).hexdigest())
        with pytest.raises(InputError, match="could be written outside the destination"):
            read_sacrebleu("wmt99", "cs-en", tmp_path / "other")
        assert not list(tmp_path.rglob("outside"))

    @pytest.mark.parametrize(
        ("direction", "references"), [("cs-en", ["ref:B"]), ("en-cs", ["ref:B"]), ("de-en", ["ref:A"])]
    )
    def test_wmt22_is_scored_against_the_references_of_the_paper(self, direction, references):
        assert DATASETS["wmt22"]._get_langpair_allowed_refs(direction) == references
