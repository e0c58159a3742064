"""Corpora that mtdata knows, by their real ids, from small files in the layouts of their publishers.

The library's own index says where each file is; the server of these tests, on the loopback interface, is the mirror of
all addresses.
"""

import bz2
import errno
import gzip
import json
import lzma
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.unit.configs import load_config
from tests.unit.test_corpora import tar_of, zip_of
from workflow_scripts import download
from workflow_scripts.lat.config import check_mtdata, mtdata_warnings
from workflow_scripts.lat.config.mtdata_ids import check_held_out, check_ids
from workflow_scripts.lat.data import mtdata_corpora
from workflow_scripts.lat.data.corpora import Pair
from workflow_scripts.lat.data.mtdata_corpora import (
    ENTRY,
    INDEX_FOLDER,
    REFERENCES,
    Found,
    Use,
    check_id,
    fetch_corpus,
    is_test_set,
    look_up,
    make_index,
    mtdata_version,
    stands_for,
    unknown_id,
    uses_of,
)
from workflow_scripts.lat.files import InputError, read_lines

EUROPARL = "Statmt-europarl-10-deu-eng"
TATOEBA = "OPUS-tatoeba-v20230412-deu-eng"
SGM = "Statmt-newstest_deen-2019-deu-eng"
XML = "Statmt-newstest_deen-2021-deu-eng"
ENDE = "Statmt-newstest_ende-2019-eng-deu"
FRENCH = "Statmt-commoncrawl-wmt19-fra-deu"
EESC = "Tilde-eesc-2017-deu-eng"
PARACRAWL = "ParaCrawl-paracrawl-3-eng-deu"
DCEP = "EU-dcep-1-deu-eng"
FON = "Masakhane-daily_dialogues-1-fon-fra"
JAPANESE = "TALPCo-talpco-1-jpn-eng"
GENERAL = "Statmt-generaltest-2022_refA-deu-eng"
MALAYALAM = "JoshuaDec-indian_training-1-mal-eng"
TALKS = "Neulab-tedtalks_train-1-eng-deu"
FLORES101 = "Flores-flores101_dev-1-deu-eng"
IDS = [
    EUROPARL, TATOEBA, SGM, XML, ENDE, FRENCH, EESC, PARACRAWL, DCEP, FON, JAPANESE, GENERAL, MALAYALAM, TALKS,
    FLORES101,
]  # fmt: skip


def lines_of(*texts: str) -> bytes:
    return "".join(f"{text}\n" for text in texts).encode()


def sgm(kind: str, *texts: str) -> bytes:
    segments = "".join(f'<seg id="{number}">{text}</seg>\n' for number, text in enumerate(texts, 1))
    return f'<{kind} setid="s" srclang="any">\n<doc docid="d">\n<p>\n{segments}</p>\n</doc>\n</{kind}>\n'.encode()


def tmx(first: str, second: str, *pairs: tuple[str, str]) -> bytes:
    units = "".join(
        f'<tu><tuv xml:lang="{first}"><seg>{one}</seg></tuv><tuv xml:lang="{second}"><seg>{two}</seg></tuv></tu>\n'
        for one, two in pairs
    )
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<tmx version="1.4"><body>\n{units}</body></tmx>'.encode()


WMT21 = b"""<?xml version="1.0" encoding="UTF-8"?>
<dataset id="newstest2021"><doc origlang="de" id="d">
<src lang="de"><p><seg id="1">Eins &amp; zwei.</seg><seg id="2">Drei.</seg></p></src>
<ref lang="en" translator="A"><p><seg id="1">One &amp; two.</seg><seg id="2">Three.</seg></p></ref>
</doc></dataset>
"""
TED_HEADER = ["talk_name", "en", *("x" * 14), "de"]
TED_ROWS = [
    ["t", "One.", *[""] * 14, "Eins."],
    ["t", "__NULL__", *[""] * 14, "Zwei."],
    ["t", "Three.", *[""] * 14, "Drei."],
]

# Files by address without scheme, in the layouts of the publishers.
FILES = {
    # Source, target, and what else is known of the pair.
    "www.statmt.org/europarl/v10/training/europarl-v10.de-en.tsv.gz": gzip.compress(
        lines_of("Eins  und\u00a0zwei.\tOne and two.\t1\t2\t3\tName", "\tNo text.", "Drei.\tThree.\t1", "Vier.\tFour.")
    ),
    "object.pouta.csc.fi/OPUS-Tatoeba/v2023-04-12/moses/de-en.txt.zip": zip_of(
        {
            "README": b"Corpus Name: Tatoeba",
            "LICENSE": b"CC-BY 2.0 FR",
            "Tatoeba.de-en.de": lines_of("Eins\rzwei.", "Drei."),
            "Tatoeba.de-en.en": lines_of("One two.", "Three."),
            "Tatoeba.de-en.xml": b"<cesAlign/>",
        }
    ),
    "data.statmt.org/wmt19/translation-task/fr-de/bitexts/commoncrawl.fr.gz": gzip.compress(lines_of("Un.", "Deux.")),
    "data.statmt.org/wmt19/translation-task/fr-de/bitexts/commoncrawl.de.gz": gzip.compress(lines_of("Eins.", "Zwei.")),
    "tilde-model.s3-eu-west-1.amazonaws.com/EESC2017.de-en.tmx.zip": zip_of(
        {"EESC.de-en.tmx": tmx("de", "en", ("Eins &amp; zwei.", "One &amp; two."), ("Drei.", "Three."))}
    ),
    "s3.amazonaws.com/web-language-models/paracrawl/release3/en-de.bicleaner07.tmx.gz": gzip.compress(
        tmx("en", "de", ("One.", "Eins."), ("Two.", "Zwei."))
    ),
    "data.statmt.org/wmt20/translation-task/dev.tgz": tar_of(
        {
            "dev/newstest2019-deen-src.de.sgm": sgm("srcset", "Eins &amp; zwei.", "Drei."),
            "dev/newstest2019-deen-ref.en.sgm": sgm("refset", "One &amp; two.", "Three."),
            "dev/newstest2019-ende-src.en.sgm": sgm("srcset", "Alone."),
            "dev/newstest2019-ende-ref.de.sgm": sgm("refset", "Allein."),
        }
    ),
    "data.statmt.org/wmt21/translation-task/test.tgz": tar_of({"test/newstest2021.de-en.xml": WMT21}),
    "phontron.com/data/ted_talks.tar.gz": tar_of(
        {"all_talks_train.tsv": lines_of(*("\t".join(row) for row in [TED_HEADER, *TED_ROWS]))}
    ),
    "data.statmt.org/DCEP/DE-EN.tsv.xz": lzma.compress(lines_of("Eins.\tOne.", "Zwei.\tTwo.")),
    "zenodo.org/record/4432712/files/Fon_French_Parallel_Data_25377.csv": (
        b'Fon,French\n"a, b","Un, deux."\n"c ""d""","Trois\nlignes."\n'
    ),
    "raw.githubusercontent.com/matbahasa/TALPCo/master/jpn/data_jpn.txt": lines_of("1\tichi", "2\tni"),
    "raw.githubusercontent.com/matbahasa/TALPCo/master/eng/data_eng.txt": lines_of("1\tone", "2\ttwo"),
    "github.com/wmt-conference/wmt22-news-systems/archive/refs/tags/v1.2.zip": zip_of(
        {
            "wmt22-news-systems-1.2/txt/sources/generaltest2022.de-en.src.de": lines_of("Eins."),
            "wmt22-news-systems-1.2/txt/references/generaltest2022.de-en.ref.A.en": lines_of("One."),
            "wmt22-news-systems-1.2/txt/references/generaltest2022.de-en.ref.B.en": lines_of("First."),
        }
    ),
    "github.com/joshua-decoder/indian-parallel-corpora/archive/a2cd1a99.tar.gz": tar_of(
        {
            "indian-a2cd1a99/ml-en/training.ml-en.ml": lines_of("onnu"),
            "indian-a2cd1a99/ml-en/training.ml-en.en": lines_of("one"),
            "indian-a2cd1a99/old/ml-en/training.ml-en.en": lines_of("another"),
        }
    ),
}  # fmt: skip
HOSTS = sorted({address.partition("/")[0] for address in FILES})


class Mirror(ThreadingHTTPServer):
    """A server of files by their address without scheme; `requests` counts what was asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files = dict(FILES)
        self.requests: Counter[str] = Counter()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        address = urlsplit(self.path).path.removeprefix("/")
        self.server.requests[address] += 1
        body = self.server.files.get(address)
        self.send_response(404 if body is None else 200)
        self.send_header("Content-Length", str(len(body or b"")))
        self.end_headers()
        self.wfile.write(body or b"")

    def log_message(self, *arguments):
        pass


@pytest.fixture
def mirror(monkeypatch):
    with Mirror() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        here = f"http://127.0.0.1:{server.server_port}"
        entries = [f"{scheme}://{host}={here}/{host}" for host in HOSTS for scheme in ("https", "http")]
        monkeypatch.setenv("LAT_MIRRORS", " ".join(entries))
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def index_alone(tmp_path, mtdata_index) -> Path:
    """The folder `results/download/sources/mtdata`, with the index."""
    folder = tmp_path / "results" / "download" / "sources" / "mtdata"
    folder.mkdir(parents=True)
    (folder / INDEX_FOLDER).symlink_to(mtdata_index)
    return folder


@pytest.fixture(scope="session")
def entries(mtdata_index) -> Found:
    """What the index says of the corpora of these tests; one look-up takes seconds."""
    return look_up(IDS, mtdata_index.parent)


@pytest.fixture
def sources(index_alone, entries, monkeypatch) -> Path:
    """The same folder, where look-ups are answered with what the index has said before."""
    monkeypatch.setattr(mtdata_corpora, "look_up", lambda ids, folder: entries)
    return index_alone


def read(sources: Path, ids: list[str], direction: str, training: bool = True) -> list[Pair]:
    """Fetch corpora and read one direction by the commands of the step `download`."""
    for name in ids:
        if not (sources / name).exists():
            download.main(["fetch-mtdata", "--id", name, "--output", str(sources / name)])
    output = sources.parents[1] / "corpora" / "mine" / "train" / "mtdata"
    folders = [str(sources / name) for name in ids]
    flags = ["--training"] if training else []
    download.main(["read-mtdata", "--corpora", *folders, *flags, "--directions", direction, "--output", str(output)])
    return download.read_pairs([output], direction)


class TestLayouts:
    @pytest.mark.parametrize(
        ("name", "direction", "pairs"),
        [
            (EUROPARL, "de-en", [("Eins und zwei.", "One and two."), ("Drei.", "Three."), ("Vier.", "Four.")]),
            (TATOEBA, "de-en", [("Eins zwei.", "One two."), ("Drei.", "Three.")]),
            (TATOEBA, "en-de", [("One two.", "Eins zwei."), ("Three.", "Drei.")]),
            (FRENCH, "fr-de", [("Un.", "Eins."), ("Deux.", "Zwei.")]),
            (EESC, "de-en", [("Eins & zwei.", "One & two."), ("Drei.", "Three.")]),
            (PARACRAWL, "de-en", [("Eins.", "One."), ("Zwei.", "Two.")]),
            (SGM, "de-en", [("Eins & zwei.", "One & two."), ("Drei.", "Three.")]),
            (XML, "de-en", [("Eins & zwei.", "One & two."), ("Drei.", "Three.")]),
            (DCEP, "de-en", [("Eins.", "One."), ("Zwei.", "Two.")]),
            (FON, "fon-fr", [("a, b", "Un, deux."), ('c "d"', "Trois lignes.")]),
            (JAPANESE, "en-ja", [("one", "ichi"), ("two", "ni")]),
            (GENERAL, "de-en", [("Eins.", "One.")]),
            (MALAYALAM, "ml-en", [("onnu", "one")]),
        ],
    )
    def test_the_pairs_are_read(self, mirror, sources, name, direction, pairs):
        assert read(sources, [name], direction) == [Pair(*pair) for pair in pairs]

    def test_a_marker_of_missing_text_is_left_out(self, mirror, sources):
        """The talks have `__NULL__` in place of a missing text, which the library knows; the header is a pair."""
        found = read(sources, [TALKS], "en-de")
        assert found == [Pair("en", "de"), Pair("One.", "Eins."), Pair("Three.", "Drei.")]

    def test_several_corpora_follow_each_other(self, mirror, sources):
        found = read(sources, [TATOEBA, EUROPARL], "en-de")
        assert [pair.source for pair in found] == ["One two.", "Three.", "One and two.", "Three.", "Four."]
        output = sources.parents[1] / "corpora" / "mine" / "train" / "mtdata"
        references = (output / REFERENCES).read_text()
        assert references.index(f"% {TATOEBA}\n@inproceedings{{tiedemann2012parallel,") < references.index(EUROPARL)

    def test_bytes_that_are_no_text_are_counted_and_left_out(self, mirror, sources, caplog):
        address = "www.statmt.org/europarl/v10/training/europarl-v10.de-en.tsv.gz"
        mirror.files[address] = gzip.compress(b"Gr\xfcn.\tGreen.\nNull\0.\tNul.\nRot.\tRed.\n")
        assert read(sources, [EUROPARL], "de-en") == [Pair("Rot.", "Red.")]
        assert f"{EUROPARL}: pairs with bytes that are no text in UTF-8, which are left out: 2" in caplog.text

    @pytest.mark.parametrize("compress", [gzip.compress, bz2.compress, lzma.compress])
    def test_what_is_compressed_otherwise_than_its_name_says_is_read(self, mirror, sources, compress):
        address = "data.statmt.org/DCEP/DE-EN.tsv.xz"
        mirror.files[address] = compress(b"Eins.\tOne.\n")
        assert read(sources, [DCEP], "de-en") == [Pair("Eins.", "One.")]


class TestTests:
    def test_a_direction_prefers_a_test_set_in_its_own_order(self, mirror, sources):
        ids = [SGM, ENDE]
        assert read(sources, ids, "en-de", training=False) == [Pair("Alone.", "Allein.")]
        assert len(read(sources, ids, "de-en", training=False)) == 2
        assert len(read(sources, ids, "en-de", training=True)) == 3
        # Both are in one archive, which was downloaded once.
        assert mirror.requests["data.statmt.org/wmt20/translation-task/dev.tgz"] == 1

    def test_the_opposite_direction_uses_the_only_test_set(self):
        assert uses_of([SGM], "en-de", training=False) == [Use(SGM, reversed=True)]
        assert uses_of([SGM, XML], "de-en", training=False) == [Use(SGM, False), Use(XML, False)]
        assert uses_of([SGM], "en-fr", training=False) == []


class TestDownload:
    def test_what_was_downloaded_is_recorded(self, mirror, sources):
        fetch_corpus(TATOEBA, sources / TATOEBA)
        facts = json.loads((sources / TATOEBA / ENTRY).read_text())
        assert (facts["id"], facts["mtdata"]) == (TATOEBA, mtdata_version())
        (file,) = facts["files"]
        assert file["url"] == "https://object.pouta.csc.fi/OPUS-Tatoeba/v2023-04-12/moses/de-en.txt.zip"
        content = FILES[file["url"].removeprefix("https://")]
        assert (file["bytes"], file["sha256"]) == (len(content), mtdata_corpora.hashlib.sha256(content).hexdigest())
        assert (sources / TATOEBA / file["file"]).read_bytes() == content

    def test_a_changed_file_is_refused_until_its_record_is_deleted(self, mirror, sources):
        fetch_corpus(TATOEBA, sources / TATOEBA)
        (place,) = (sources / "files").glob("*/tatoeba.zip")
        place.unlink()
        address = "object.pouta.csc.fi/OPUS-Tatoeba/v2023-04-12/moses/de-en.txt.zip"
        mirror.files[address] = zip_of({"T.de": b"Neu.\n", "T.en": b"New.\n"})
        with pytest.raises(
            InputError, match=rf"^{TATOEBA}: .*that of the first download was .* delete .*\.sha256 to acc"
        ):
            fetch_corpus(TATOEBA, sources / TATOEBA)
        place.with_name(f"{place.name}.sha256").unlink()
        fetch_corpus(TATOEBA, sources / TATOEBA)
        assert read(sources, [TATOEBA], "de-en") == [Pair("Neu.", "New.")]

    def test_a_file_that_was_put_there_by_hand_is_used(self, mirror, sources, monkeypatch):
        mirror.files.clear()
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        with pytest.raises(InputError, match=rf"{TATOEBA}: source mtdata: http.*/de-en.txt.zip answers 404"):
            fetch_corpus(TATOEBA, sources / TATOEBA)
        (folder,) = (sources / "files").iterdir()
        (folder / "tatoeba.zip").write_bytes(zip_of({"T.de": b"Hand.\n", "T.en": b"Hands.\n"}))
        fetch_corpus(TATOEBA, sources / TATOEBA)
        assert read(sources, [TATOEBA], "de-en") == [Pair("Hand.", "Hands.")]

    def test_without_a_network_one_line_says_where_a_file_belongs(self, sources, monkeypatch):
        monkeypatch.setenv("LAT_MIRRORS", "https://object.pouta.csc.fi=http://127.0.0.1:9")
        monkeypatch.setattr("time.sleep", lambda seconds: None)
        with pytest.raises(InputError) as error:
            fetch_corpus(TATOEBA, sources / TATOEBA)
        message = str(error.value)
        assert message.startswith(f"{TATOEBA}: source mtdata: https://object.pouta.csc.fi/OPUS-Tatoeba/")
        assert "check the network, or put the file at" in message and message.endswith("/tatoeba.zip by hand")
        assert "\n" not in message and not (sources / TATOEBA).exists()

    def test_working_folders_share_the_files_of_a_store(self, mirror, sources, tmp_path):
        for folder in (sources, tmp_path / "other" / "mtdata"):
            folder.mkdir(parents=True, exist_ok=True)
            if folder != sources:
                (folder / INDEX_FOLDER).symlink_to((sources / INDEX_FOLDER).resolve())
            fetch_corpus(TATOEBA, folder / TATOEBA, store=tmp_path / "store")
            assert read(folder, [TATOEBA], "de-en")
        assert mirror.requests.total() == 1

    @pytest.mark.parametrize("damage", ["other", "missing"])
    def test_a_damaged_download_is_told_before_it_is_read(self, mirror, sources, damage):
        fetch_corpus(TATOEBA, sources / TATOEBA)
        place = (sources / TATOEBA / "tatoeba.zip").resolve()
        place.write_bytes(b"other") if damage == "other" else place.unlink()
        with pytest.raises(
            InputError, match=r"tatoeba.zip: is (missing|not the file .*); delete .* and rerun to download"
        ):
            read(sources, [TATOEBA], "de-en")
        fetch_corpus(TATOEBA, sources / TATOEBA)
        assert len(read(sources, [TATOEBA], "de-en")) == 2

    @pytest.mark.parametrize(
        ("name", "address", "content", "message"),
        [
            (TATOEBA, "object.pouta.csc.fi/OPUS-Tatoeba/v2023-04-12/moses/de-en.txt.zip", zip_of({"T.de": b"A\n"}),
             r"tatoeba.zip has no members \*\.en, where mtdata expects one; take another id"),
            (TATOEBA, "object.pouta.csc.fi/OPUS-Tatoeba/v2023-04-12/moses/de-en.txt.zip",
             zip_of({"a/T.de": b"A\n", "b/T.de": b"A\n", "T.en": b"A\n"}), r"has 2 members \*\.de"),
            (TATOEBA, "object.pouta.csc.fi/OPUS-Tatoeba/v2023-04-12/moses/de-en.txt.zip",
             zip_of({"T.de": b"A\nB\n", "T.en": b"A\n"}), r"unequal number of segments; 0-T.de and 1-T.en cannot be"),
            (EUROPARL, "www.statmt.org/europarl/v10/training/europarl-v10.de-en.tsv.gz",
             gzip.compress(b"A\tB\n" * 1000)[:-9], r"europarl.tsv.gz: cannot be read \(.*ended before"),
            (EUROPARL, "www.statmt.org/europarl/v10/training/europarl-v10.de-en.tsv.gz",
             gzip.compress(b"A without a translation\n"), r"0-unpacked-europarl.tsv cannot be read as mtdata expects"),
            (EUROPARL, "www.statmt.org/europarl/v10/training/europarl-v10.de-en.tsv.gz", gzip.compress(b"\t\n"),
             "no pair is in its files; take another id"),
            (EESC, "tilde-model.s3-eu-west-1.amazonaws.com/EESC2017.de-en.tmx.zip",
             zip_of({"E.tmx": b"<tmx><body><tu>"}), r"E.tmx cannot be read as mtdata expects"),
            (EESC, "tilde-model.s3-eu-west-1.amazonaws.com/EESC2017.de-en.tmx.zip",
             zip_of({"E.tmx": tmx("de", "fr", ("Eins.", "Un."))}), r"Nothing for deu-eng in TMX"),
        ],
    )  # fmt: skip
    def test_files_that_are_otherwise_than_expected_are_refused(self, mirror, sources, name, address, content, message):
        mirror.files[address] = content
        with pytest.raises(InputError, match=message) as error:
            read(sources, [name], "de-en")
        assert "\n" not in str(error.value)
        assert not [path for path in sources.iterdir() if path.name.startswith(".unpacked")]

    def test_an_error_of_flores_101_in_the_index_reads_no_other_languages(self, mirror, sources):
        """Version 0.5.1 looks for the last languages of FLORES-200, whatever the id says."""
        mirror.files["dl.fbaipublicfiles.com/flores101/dataset/flores101_dataset.tar.gz"] = tar_of(
            {f"flores101_dataset/dev/{code}.dev": b"Text.\n" for code in ("deu", "eng", "zul")}
        )
        mirrors = mtdata_corpora.os.environ["LAT_MIRRORS"]
        here = f"http://127.0.0.1:{mirror.server_port}/dl.fbaipublicfiles.com"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("LAT_MIRRORS", f"{mirrors} https://dl.fbaipublicfiles.com={here}")
            with pytest.raises(InputError, match="has no members flores101_dataset/dev/"):
                read(sources, [FLORES101], "de-en")

    def test_a_full_disk_is_no_fault_of_the_files(self, mirror, sources, tmp_path):
        fetch_corpus(TATOEBA, sources / TATOEBA)
        text = tmp_path / "text"
        text.write_text("A line.\n" * 10_000)
        with pytest.raises(OSError) as error:
            mtdata_corpora._run(tmp_path, "read", str(sources / TATOEBA / ENTRY), *["/dev/full"] * 2, *[str(text)] * 2)
        assert error.value.errno == errno.ENOSPC


class TestIndex:
    def test_an_unknown_id_names_the_nearest(self, index_alone):
        wanted = {
            "Statmt-europarl-11-deu-eng": "Statmt-europarl-10-deu-eng",
            "Statmt-europral-10-deu-eng": "Statmt-europarl-10-deu-eng",
            "Statmt-europarl-10-de-en": "Statmt-europarl-10-deu-eng",
            "Statmt-europarl-10-eng-deu": "Statmt-europarl-10-deu-eng",
            "Opus-tatoeba-v20230412-deu-eng": TATOEBA,
            "Statmt-europarl-10-deu-jpn": "Statmt-europarl-10-deu-",
        }
        found = look_up([*wanted, "Nothing-of_this-1-deu-eng", EUROPARL], index_alone)
        assert list(found.entries) == [EUROPARL]
        for name, meant in wanted.items():
            assert found.nearest[name][0].startswith(meant), name
            assert all(mtdata_corpora.ID.fullmatch(other) for other in found.nearest[name])
            assert f"has no `{name}`; did you mean `{found.nearest[name][0]}`" in unknown_id(name, found.nearest[name])
        name = "Nothing-of_this-1-deu-eng"
        assert "`mtdata list --langs deu-eng --id`" in unknown_id(name, found.nearest[name])

    def test_a_config_is_checked_before_anything_is_downloaded(self, index_alone):
        config = load_config()
        config["benchmarks"] = {"mine": {"corpora": {"train": {"mtdata": ["Statmt-europarl-11-deu-eng"]}}}}
        with pytest.raises(InputError, match=r"config: benchmarks.mine.corpora.train.mtdata: mtdata .* did you mean"):
            check_mtdata(config, ["Statmt-europarl-11-deu-eng"], index_alone)
        name = "Google-wmt24pp-1-eng-ara_EG"
        config["benchmarks"]["mine"]["corpora"]["train"]["mtdata"] = [name]
        with pytest.raises(
            InputError, match=rf"train.mtdata: `{name}` is a data set of the Hugging Face Hub that needs"
        ):
            check_mtdata(config, [name], index_alone)
        check_mtdata(config, [], index_alone / "no-index")

    def test_an_interrupted_index_is_made_again(self, tmp_path, monkeypatch):
        """The library would take the beginning of an index for the whole."""
        made = []

        def run(index, command, *arguments):
            made.append(command)
            if command == "make_index":
                (index / f"mtdata.index.{mtdata_version()}.pkl").write_bytes(b"x")
                if len(made) == 1:
                    raise KeyboardInterrupt
            return {}

        monkeypatch.setattr(mtdata_corpora, "_run", run)
        with pytest.raises(KeyboardInterrupt):
            make_index(tmp_path)
        for _ in range(2):
            assert make_index(tmp_path) == tmp_path / INDEX_FOLDER
        assert made == ["make_index", "make_index"]

    def test_a_damaged_index_is_told(self, tmp_path):
        index = tmp_path / INDEX_FOLDER
        index.mkdir()
        (index / f"mtdata.index.{mtdata_version()}.pkl").write_bytes(b"x")
        with pytest.raises(InputError, match=r"mtdata: .*; delete .*/index and rerun, which makes the index again"):
            look_up([EUROPARL], tmp_path)

    def test_a_library_that_is_not_installed_is_told(self, index_alone, monkeypatch):
        monkeypatch.setenv("PYTHONPATH", str(index_alone / "lib"))
        (index_alone / "lib" / "mtdata").mkdir(parents=True)
        (index_alone / "lib" / "mtdata" / "__init__.py").write_text(
            "raise ModuleNotFoundError(\"No module named 'mtdata'\")"
        )
        with pytest.raises(InputError, match=r"mtdata: No module named 'mtdata'; run `make .venv/.installed`"):
            look_up(["Statmt-europarl-99-deu-eng"], index_alone)

    def test_the_index_is_asked_for_an_id_once(self, index_alone, monkeypatch):
        first = look_up([EUROPARL], index_alone)
        monkeypatch.setattr(mtdata_corpora, "make_index", None)
        assert look_up([EUROPARL], index_alone) == first


class TestLanguages:
    @pytest.mark.parametrize(
        ("tag", "code"),
        [
            ("deu", "de"), ("deu_AT", "de"), ("por", "pt"), ("por_BR", "pt"), ("por_BR", "pt-BR"), ("por", "pt-BR"),
            ("zho", "zh"), ("zho_CN", "zh"), ("cmn", "zh"), ("zho_TW", "zh-TW"), ("zho_Hant", "zh-TW"),
            ("zho_TW", "zh-Hant"), ("srp", "sr"), ("srp_Latn", "sr-Latn"), ("nor", "no"), ("nob", "no"), ("nob", "nb"),
            ("est", "et"), ("ekk", "et"), ("sqi", "sq"), ("als", "sq"), ("gsw", "als"), ("ara", "ar"), ("arb", "ar"),
            ("tgl", "fil"), ("fil", "fil"), ("ast", "ast"), ("eng_GB", "en"), ("spa_419", "es-419"), ("yue", "yue"),
        ],
    )  # fmt: skip
    def test_languages_of_ids_stand_for_those_of_benchmarks(self, tag, code):
        assert stands_for(tag, code)

    @pytest.mark.parametrize(
        ("tag", "code"),
        [
            ("deu", "en"), ("por_PT", "pt-BR"), ("zho_TW", "zh"), ("zho", "zh-TW"), ("srp", "sr-Latn"),
            ("srp_Latn", "sr"), ("als", "als"), ("nno", "nb"), ("hrv", "sr-Latn"), ("de", "de"), ("mul", "en"),
        ],
    )  # fmt: skip
    def test_other_languages_do_not(self, tag, code):
        assert not stands_for(tag, code)


class TestIds:
    @pytest.mark.parametrize("name", [EUROPARL, "Statmt-europarl-10-de-en", "ELRC-www.spain.info-1-deu_DE-eng_GB"])
    def test_ids_have_five_parts(self, name):
        check_id(name)

    @pytest.mark.parametrize(
        ("name", "message"),
        [
            ("Statmt-news_crawl-2022-deu", "has text in one language only"),
            ("europarl", "is no id of mtdata; ids are like"),
            ("../../x-y-1-deu-eng", "is no id of mtdata"),
            ("a/b-c-1-deu-eng", "is no id of mtdata"),
            ("a b-c-1-deu-eng", "is no id of mtdata"),
            ("", "is no id of mtdata"),
        ],
    )
    def test_other_texts_are_refused(self, name, message):
        with pytest.raises(InputError, match=message):
            check_id(name)

    @pytest.mark.parametrize(
        ("ids", "directions", "training", "message"),
        [
            ([EUROPARL], ["de-fr"], True, "has the languages of none of the directions de-fr; drop it or add"),
            ([EUROPARL], ["de-en", "en-fr"], True, "no id has the languages of `en-fr`; add one"),
            (["x"], ["de-en"], True, "key: `x` is no id of mtdata"),
            ([SGM, ENDE], ["en-de"], False, f"`{SGM}` is not used, since en-de has an id"),
        ],
    )
    def test_ids_that_do_not_fit_are_refused(self, ids, directions, training, message):
        with pytest.raises(InputError, match=message):
            check_ids("key", ids, directions, training, alone=True)

    def test_other_corpora_may_have_the_other_directions(self):
        check_ids("key", [EUROPARL], ["de-en", "en-de", "en-fr"], training=True, alone=False)
        check_ids("key", [EUROPARL, TATOEBA], ["de-en", "en-de"], training=True, alone=True)

    def test_an_id_is_not_both_training_and_test_text(self):
        corpora = {"train": {"mtdata": [EUROPARL]}, "test": {"local": ["x"]}, "demonstrations": {"mtdata": [EUROPARL]}}
        with pytest.raises(InputError, match=r"c.demonstrations.mtdata: `.*` is in c.train.mtdata, too"):
            check_held_out("c", corpora)
        check_held_out("c", corpora | {"demonstrations": {"mtdata": [TATOEBA]}})

    @pytest.mark.parametrize(
        ("name", "expected"),
        [
            (SGM, True), ("Flores-flores200_devtest-1-deu-eng", True), (GENERAL, True),
            ("StanfordNLP-newstest2013-1-eng-deu", True), ("ELRC-cyber_mt_test_set-1-deu-eng", True),
            ("Statmt-newstestb_deen-2020-deu-eng", True), ("AI4Bharath-wat_test-2021-ben-eng", True),
            (EUROPARL, False), ("OPUS-elrc_www.visitestonia.com-v1-eng-est", False),
            ("OPUS-opus100_train-1-deu-eng", False),
        ],
    )  # fmt: skip
    def test_published_test_sets_are_recognised(self, name, expected):
        assert is_test_set(name) == expected

    def test_training_on_a_test_set_is_warned_of(self):
        config = {
            "experiments": [{"benchmark": "mine"}],
            "benchmarks": {
                name: {"corpora": {"train": {"mtdata": [EUROPARL, SGM]}, "test": {"mtdata": [XML]}}}
                for name in ("mine", "unused")
            },
        }
        (warning,) = mtdata_warnings(config)
        assert warning.startswith(f"config: benchmarks.mine.corpora.train.mtdata: `{SGM}` is a published test set")


def test_the_empty_directions_of_a_folder_are_empty_files(mirror, sources):
    """Another corpus may have the text of a direction."""
    fetch_corpus(TATOEBA, sources / TATOEBA)
    mtdata_corpora.read_corpora([sources / TATOEBA], ["de-en", "en-fr"], True, sources / "out")
    assert [len(read_lines(sources / "out" / f"{name}.txt")) for name in ("de-en.src", "en-fr.src", "en-fr.ref")] == [
        2,
        0,
        0,
    ]
