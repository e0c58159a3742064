"""Servers that answer with something else than a whole file, and processes that download the same file at once."""

import errno
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
import zipfile
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.unit.test_corpora import tar_of, zip_of
from tests.unit.test_sources import CONTENT, GOOD, ONE, SOURCE, Handler, Server, index, package, server, sha256
from workflow_scripts.lat.data import downloads, sources
from workflow_scripts.lat.data.sources import fetch
from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.manifest import write_manifest

assert index and package and server  # fixtures
ZIP = zip_of({"train.txt": b"text " * 1000}, zipfile.ZIP_DEFLATED)
TGZ = tar_of({"train.txt": os.urandom(5000)})
JSON = json.dumps([{"instruction": "Say hello."}] * 100).encode()
UNKNOWN = replace(SOURCE, sha256="", file="texts.zip")  # a file whose publisher states no checksum


def rest(content: bytes, start: int, **headers: str) -> tuple:
    """The answer to a request of what follows the first bytes of a content."""
    span = {"Content-Range": f"bytes {start}-{len(content) - 1}/{len(content)}"}
    return (206, content[start:], len(content) - start, span | headers)


@pytest.fixture
def raw():
    """A function that starts a server on the loopback interface and returns its address.

    It gives the server what to send to the first client, in pieces, and the pause between them; the server ends when
    the client does, or after 20 s.
    """
    listeners, sent, threads = [], [], []

    def start(pieces, pause=0.0) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)

        def serve():
            connection, _ = listener.accept()
            end = time.monotonic() + 20
            with connection:
                connection.recv(10_000)
                for piece in pieces:
                    if time.monotonic() > end:
                        return
                    try:
                        connection.sendall(piece)
                    except OSError:
                        return
                    sent.append(len(piece))
                    time.sleep(pause)

        threads.append(threading.Thread(target=serve, daemon=True))
        threads[-1].start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/model.bin"

    start.sent = sent
    yield start
    for listener in listeners:
        listener.close()


def endless(first: bytes, piece: bytes):
    yield first
    while True:
        yield piece


HEAD = b"HTTP/1.1 200 OK\r\n"


class TestSize:
    @pytest.mark.parametrize(
        ("first", "piece"),
        [
            (HEAD + b"\r\n", b"x" * 10_000),
            (HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"2710\r\n" + b"x" * 10_000 + b"\r\n"),
            (HEAD + b"Content-Length: abc\r\n\r\n", b"x" * 10_000),
        ],
    )
    def test_a_body_without_end_is_cut_at_the_size_in_the_table(self, raw, tmp_path, first, piece):
        source = replace(SOURCE, package=raw(endless(first, piece)), bytes="1000000")
        with pytest.raises(InputError, match=r"source model: .* sends more than 1000000 bytes"):
            fetch(source, tmp_path / "model.bin")
        assert list(tmp_path.iterdir()) == []
        assert sum(raw.sent) < 10_000_000

    def test_a_file_of_unknown_size_has_a_limit_too(self, raw, server, tmp_path, monkeypatch):
        monkeypatch.setattr(downloads, "MAX_BYTES", 1_000_000)
        with pytest.raises(InputError, match="sends more than 1000000 bytes"):
            fetch(replace(SOURCE, package=raw(endless(HEAD + b"\r\n", b"x" * 10_000))), tmp_path / "model.bin")
        server.answers = [GOOD]
        with pytest.raises(InputError, match=f"has {len(CONTENT)} bytes; to download so large a file, state them"):
            fetch(replace(SOURCE, package=server.address), tmp_path / "model.bin")
        assert list(tmp_path.iterdir()) == []

    def test_a_size_in_the_table_may_be_above_that_limit(self, server, tmp_path, monkeypatch):
        monkeypatch.setattr(downloads, "MAX_BYTES", 1000)
        server.answers = [GOOD]
        fetch(replace(SOURCE, package=server.address, bytes=str(len(CONTENT))), tmp_path / "model.bin")

    def test_another_size_than_in_the_table_is_refused_without_a_checksum_too(self, server, tmp_path):
        server.answers = [(200, ZIP, len(ZIP))]
        with pytest.raises(InputError, match=f"has {len(ZIP)} bytes, the source table says 5"):
            fetch(replace(UNKNOWN, package=server.address, bytes="5"), tmp_path / "texts.zip")

    @pytest.mark.parametrize("length", ["abc", "-5", "²", "9" * 5000, None])
    def test_a_length_that_is_none_is_ignored(self, server, tmp_path, length):
        server.answers = [(200, CONTENT, length), (200, ZIP, length), (200, ZIP, length)]
        fetch(replace(SOURCE, package=server.address), tmp_path / "model.bin")
        assert (tmp_path / "model.bin").read_bytes() == CONTENT
        fetch(replace(UNKNOWN, package=server.address), tmp_path / "texts.zip")
        fetch(replace(SOURCE, sha256="", package=server.address, bytes=str(len(ZIP))), tmp_path / "other.bin")
        assert (tmp_path / "texts.zip").read_bytes() == (tmp_path / "other.bin").read_bytes() == ZIP


class TestWhole:
    """Files whose publisher states no checksum."""

    @pytest.mark.parametrize(("name", "content"), [("a.zip", ZIP), ("a.tgz", TGZ), ("a.json", JSON)])
    @pytest.mark.parametrize("length", [None, "half"])
    def test_a_cut_file_is_noticed_by_its_content_or_length(self, server, tmp_path, name, content, length):
        half = content[: len(content) // 2]
        server.answers = [(200, half, length and len(content)), (200, half, length and len(half)), (200, content, None)]
        source = replace(UNKNOWN, package=server.address, file=name)
        fetch(source, tmp_path / name, wait=0)
        assert (tmp_path / name).read_bytes() == content
        assert server.requests == 3

    def test_a_file_of_another_kind_needs_a_length(self, server, raw, tmp_path):
        server.answers = [(200, b"some text", None)] * 2
        source = replace(UNKNOWN, file="a.txt")
        with pytest.raises(InputError, match=r"in 2 attempts \(the server does not state the length"):
            fetch(replace(source, package=server.address), tmp_path / "a.txt", attempts=2, wait=0)
        chunked = [HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"4\r\ntext\r\n", b"0\r\n\r\n"]
        with pytest.raises(InputError, match="IncompleteRead"):
            fetch(replace(source, package=raw(chunked[:2])), tmp_path / "a.txt", attempts=1)
        fetch(replace(source, package=raw(chunked)), tmp_path / "a.txt")
        assert (tmp_path / "a.txt").read_bytes() == b"text"

    def test_a_member_whose_content_is_damaged_is_noticed(self, server, tmp_path):
        damaged = zip_of({"train.txt": b"text"}).replace(b"text", b"texT", 1)
        server.answers = [(200, damaged, len(damaged))]
        with pytest.raises(InputError, match=r"\(member train\.txt: Bad CRC-32 for file 'train\.txt'\)"):
            fetch(replace(UNKNOWN, package=server.address), tmp_path / "texts.zip", attempts=1)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("length", [None, 0])
    def test_an_empty_file_is_none(self, server, tmp_path, length):
        server.answers = [(200, b"", length)]
        with pytest.raises(InputError, match=r"in 1 attempt \(an empty file\); check the network"):
            fetch(replace(UNKNOWN, file="a.txt", package=server.address), tmp_path / "a.txt", attempts=1)
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize(
        ("status", "body", "headers", "message"),
        [
            (200, b'{"error": "busy"}', {"Content-Type": "application/json"}, r"than an archive \(\{\"error\": \"busy"),
            (200, b"<?xml version='1.0'?><Error/>", {"Content-Type": "application/xml"}, "than an archive"),
            (200, b"\x1b]0;title\x07", {}, r"than an archive \(\?\]0;title\?\)"),
            (200, b"\n <!DOCTYPE HTML><p>", {"Content-Type": "application/zip"}, "web page instead of a file"),
            (200, ZIP, {"Content-Encoding": "gzip"}, "answers with Content-Encoding gzip, which was not asked for"),
            (200, ZIP, {"Transfer-Encoding": "gzip"}, "answers with Transfer-Encoding gzip"),
            (204, b"", {}, "answers 204 No Content instead of the file"),
            (206, ZIP, {}, "answers 206 Partial Content instead of the file"),
            (300, b"", {}, "answers 300 Multiple Choices"),
        ],
    )
    def test_what_is_not_the_file_is_refused_at_once(self, server, tmp_path, status, body, headers, message):
        server.answers = [(status, body, len(body), headers)]
        with pytest.raises(InputError, match=message):
            fetch(replace(UNKNOWN, package=server.address), tmp_path / "texts.zip")
        assert list(tmp_path.iterdir()) == []
        assert server.asked[0]["Accept-Encoding"] == "identity"

    def test_the_checksum_of_the_first_download_is_kept(self, server, tmp_path, caplog):
        source, target = replace(UNKNOWN, package=server.address), tmp_path / "texts.zip"
        other = zip_of({"train.txt": b"another text"})
        server.answers = [(200, content, len(content)) for content in (ZIP, ZIP, other, other)]
        fetch(source, target)
        record = tmp_path / "texts.zip.sha256"
        assert record.read_text() == f"{sha256(ZIP)}  texts.zip\n"
        fetch(source, target)
        assert server.requests == 1  # the file is there
        target.unlink()
        with caplog.at_level("INFO"):
            fetch(source, target)
        assert f"sha256 {sha256(ZIP)} (as recorded)" in caplog.text
        target.unlink()
        with pytest.raises(
            InputError, match=rf"{sha256(other)}, .* {sha256(ZIP)}; .* delete .*zip\.sha256 to accept it"
        ):
            fetch(source, target)
        assert list(tmp_path.iterdir()) == [record]
        record.write_text("no checksum")
        with pytest.raises(InputError, match=r"texts\.zip\.sha256: holds no sha256; delete it"):
            fetch(source, target)
        record.unlink()
        server.answers = [(200, other, len(other))]
        fetch(source, target)
        assert target.read_bytes() == other


class TestSplices:
    """Servers that continue a file, but not the one that was begun."""

    @pytest.mark.parametrize(
        ("begun", "continued"),
        [
            (ONE, {"ETag": '"two"'}),
            (ONE, {}),
            ({"Last-Modified": "Mon, 01 Jan 2024 00:00:00 GMT"}, {"Last-Modified": "Tue, 02 Jan 2024 00:00:00 GMT"}),
            (ONE, ONE | {"Content-Range": "bytes 0-9/10"}),
            (ONE, ONE | {"Content-Range": "bytes ²-9/10"}),
        ],
    )
    @pytest.mark.parametrize("checksum", ["", SOURCE.sha256])
    def test_another_file_starts_over(self, server, tmp_path, begun, continued, checksum):
        # The beginning is of another file, so that continuing it would give a file that is neither.
        server.answers = [(200, b"x" * 1000, len(CONTENT), begun), rest(CONTENT, 1000, **continued), GOOD]
        fetch(replace(SOURCE, sha256=checksum, package=server.address), tmp_path / "model.bin", wait=0)
        assert (tmp_path / "model.bin").read_bytes() == CONTENT
        assert "Range" in server.asked[1] and "Range" not in server.asked[2]

    @pytest.mark.parametrize("headers", [{}, {"ETag": 'W/"one"'}])
    def test_a_version_that_cannot_be_told_is_never_continued(self, server, tmp_path, headers):
        server.answers = [(200, b"x" * 1000, len(CONTENT), headers), GOOD]
        fetch(replace(SOURCE, package=server.address), tmp_path / "model.bin", wait=0)
        assert "Range" not in server.asked[1]
        assert (tmp_path / "model.bin").read_bytes() == CONTENT

    def test_the_same_version_is_continued(self, server, tmp_path):
        server.answers = [(200, CONTENT[:1000], len(CONTENT), ONE), rest(CONTENT, 1000, **ONE)]
        fetch(replace(SOURCE, sha256="", package=server.address), tmp_path / "model.bin", wait=0)
        assert (tmp_path / "model.bin").read_bytes() == CONTENT


class TestTime:
    @pytest.mark.parametrize("head", [HEAD + b"Content-Length: 100000\r\n\r\n", b"HTTP/1.1 200 O", HEAD + b"X-A: "])
    def test_single_bytes_do_not_arrive_forever(self, raw, tmp_path, monkeypatch, head):
        monkeypatch.setattr(downloads, "GRACE_SECONDS", 0.3)
        address = raw(endless(head, b"x"), pause=0.02)
        started = time.monotonic()
        with pytest.raises(InputError, match=r"in 1 attempt \(\d+ bytes in \d s is too slow\)"):
            fetch(replace(SOURCE, package=address), tmp_path / "model.bin", attempts=1)
        assert time.monotonic() - started < 10

    def test_a_slow_server_is_waited_for_if_the_rate_is_high_enough(self, raw, tmp_path, monkeypatch):
        monkeypatch.setattr(downloads, "GRACE_SECONDS", 0.1)
        pieces = [HEAD + b"Content-Length: 40000\r\n\r\n", *[b"x" * 4000] * 10]
        fetch(replace(SOURCE, package=raw(pieces, pause=0.05), sha256=sha256(b"x" * 40_000)), tmp_path / "model.bin")

    @pytest.mark.parametrize("seconds", ["²", "-1", "1e9", "Wed, 21 Oct 2015 07:28:00 GMT", "9" * 5000])
    def test_a_time_to_wait_that_is_none_is_ignored(self, server, tmp_path, seconds):
        server.answers = [(503, b"", 0, {"Retry-After": seconds}), GOOD]
        fetch(replace(SOURCE, package=server.address), tmp_path / "model.bin", wait=0)
        assert (tmp_path / "model.bin").read_bytes() == CONTENT


@pytest.fixture
def certificate(tmp_path_factory) -> Path:
    """A certificate of 127.0.0.1 that signs itself, with its key."""
    if not shutil.which("openssl"):
        pytest.skip("no openssl")
    path = tmp_path_factory.mktemp("tls") / "server.pem"
    words = f"req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test -keyout {path} -out {path}.crt"
    command = ["openssl", *words.split(), "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(command, check=True, capture_output=True)
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


@pytest.fixture
def encrypted(certificate):
    """A server of https on the loopback interface, whose certificate is not trusted."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    with Server() as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        server.handle_error = lambda *_: None
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()


class TestAddress:
    @pytest.mark.parametrize(
        "address",
        ["file:///etc/hosts", "ftp://127.0.0.1/a", "data:,text", "/etc/hosts", "https:///a", "http://127.0.0.1:x/", ""],
    )
    def test_only_http_and_https_are_addresses(self, tmp_path, monkeypatch, address):
        with pytest.raises(InputError, match=r"source model: .* is no address to download from"):
            fetch(replace(SOURCE, package=address), tmp_path / "model.bin")
        monkeypatch.setenv("LAT_MIRRORS", f"https://example.org/model.bin={address or 'x'}")
        with pytest.raises(InputError, match=r"source model: .* in LAT_MIRRORS is no address to download from"):
            fetch(SOURCE, tmp_path / "model.bin")
        assert list(tmp_path.iterdir()) == []

    def test_a_mirror_of_http_is_on_this_machine(self, server, tmp_path, monkeypatch):
        for host in ("example.org", "localhost.example.org", "10.0.0.1", "127.0.0.1.example.org"):
            monkeypatch.setenv("LAT_MIRRORS", f"https://example.org=http://{host}")
            with pytest.raises(InputError, match="http is only for this machine"):
                fetch(SOURCE, tmp_path / "model.bin")
        monkeypatch.setenv("LAT_MIRRORS", f"https://example.org=http://localhost:{server.server_port}")
        server.answers = [GOOD]
        fetch(SOURCE, tmp_path / "model.bin")

    @pytest.mark.parametrize("location", ["http://example.org/a", "file:///etc/hosts", "ftp://127.0.0.1/a", "http://["])
    def test_a_redirect_leads_to_no_worse_address(self, server, tmp_path, monkeypatch, location):
        monkeypatch.setenv("LAT_MIRRORS", f"https://example.org=http://127.0.0.1:{server.server_port}")
        server.answers = [(302, b"", 0, {"Location": location})]
        with pytest.raises(InputError, match=r"source model: .*(not safe to follow|302|is no address)"):
            fetch(SOURCE, tmp_path / "model.bin")
        assert server.requests == 1

    def test_a_redirect_is_followed_without_its_body(self, server, raw, tmp_path):
        server.answers = [GOOD]
        redirect = b"HTTP/1.1 302 Found\r\nLocation: %s\r\n\r\n" % server.address.encode()
        fetch(replace(SOURCE, package=raw(endless(redirect, b"x" * 10_000))), tmp_path / "model.bin")
        assert (tmp_path / "model.bin").read_bytes() == CONTENT
        assert sum(raw.sent) < 10_000_000

    def test_a_redirect_never_leads_from_https_to_http(self, encrypted, server, certificate, tmp_path, monkeypatch):
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        address = encrypted.address.replace("http:", "https:")
        encrypted.answers = [(302, b"", 0, {"Location": server.address}), (302, b"", 0, {"Location": address}), GOOD]
        with pytest.raises(InputError, match=r"leads to http://127\.0\.0\.1.*, which is not safe to follow"):
            fetch(replace(SOURCE, package=address), tmp_path / "model.bin")
        assert server.requests == 0
        fetch(replace(SOURCE, package=address), tmp_path / "model.bin")
        assert (tmp_path / "model.bin").read_bytes() == CONTENT

    def test_a_connection_that_cannot_be_trusted_is_not_tried_again(self, encrypted, server, tmp_path, monkeypatch):
        monkeypatch.setattr(sources.time, "sleep", lambda seconds: pytest.fail("waits for another attempt"))
        for one, reason in ((encrypted, "certificate verify failed: self-signed"), (server, "SSL")):
            address = one.address.replace("http:", "https:")
            with pytest.raises(InputError, match=f"no connection that can be trusted .*{reason}.*; correct the clock"):
                fetch(replace(SOURCE, package=address), tmp_path / "model.bin")
        assert list(tmp_path.iterdir()) == []


def start(source, target: Path, store: Path | None = None) -> subprocess.Popen:
    """Start a process that downloads a source."""
    code = (
        "import sys, json, logging; from pathlib import Path\n"
        "from workflow_scripts.lat.data.sources import Source, fetch\n"
        "logging.basicConfig(level='INFO')\n"
        "store = Path(sys.argv[3]) if sys.argv[3] else None\n"
        "fetch(Source(**json.loads(sys.argv[1])), Path(sys.argv[2]), wait=0.1, store=store)"
    )
    command = [sys.executable, "-c", code, json.dumps(asdict(source)), str(target), str(store or "")]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)


class HalfHandler(Handler):
    """Sends half of a file at once, and the other half when the test says so."""

    def do_GET(self):
        self.server.asked.append(dict(self.headers))
        self.send_response(200)
        self.send_header("Content-Length", str(len(ZIP)))
        self.end_headers()
        self.wfile.write(ZIP[: len(ZIP) // 2])
        self.server.go_on.wait(30)
        self.wfile.write(ZIP[len(ZIP) // 2 :])


@pytest.fixture
def halves(server):
    server.RequestHandlerClass = HalfHandler
    server.go_on = threading.Event()
    server.handle_error = lambda *_: None
    yield server
    server.go_on.set()


def start_two(server: Server, source, target: Path) -> list[subprocess.Popen]:
    """Start a process that downloads a source, and one that waits for it."""
    first = start(source, target)
    end = time.monotonic() + 30
    while not server.requests and time.monotonic() < end:
        time.sleep(0.02)
    second = start(source, target)
    assert "another process is downloading or converting it; waiting for it" in second.stderr.readline()
    return [first, second]


class TestProcesses:
    @pytest.mark.parametrize("checksum", ["", sha256(ZIP)])
    def test_two_that_download_the_same_file_download_it_once(self, halves, tmp_path, checksum):
        source, target = replace(UNKNOWN, sha256=checksum, package=halves.address), tmp_path / "shared" / "texts.zip"
        both = start_two(halves, source, target)
        halves.go_on.set()
        messages = [process.communicate(timeout=60)[1] for process in both]
        assert [process.returncode for process in both] == [0, 0], messages
        assert target.read_bytes() == ZIP
        assert halves.requests == 1
        records = set() if checksum else {"texts.zip.sha256"}
        assert {path.name for path in target.parent.iterdir()} == {"texts.zip"} | records

    def test_the_second_takes_over_if_the_first_is_killed(self, halves, tmp_path):
        source, target = replace(UNKNOWN, package=halves.address), tmp_path / "texts.zip"
        first, second = start_two(halves, source, target)
        first.send_signal(signal.SIGKILL)
        first.communicate()
        halves.go_on.set()
        _, messages = second.communicate(timeout=60)
        assert second.returncode == 0, messages
        assert target.read_bytes() == ZIP
        assert {path.name for path in tmp_path.iterdir()} == {"texts.zip", "texts.zip.sha256"}

    def test_what_a_killed_download_left_is_removed(self, server, tmp_path):
        target = tmp_path / "model.bin"
        for name in (".model.bin.abc_1234", ".model.bin.other.abc_1234", ".model.bin", "model.bin.abc_1234"):
            (tmp_path / name / "downloads").mkdir(parents=True)
        for name in (".model.bin.0123456789ab.partial", ".model.bin.0123456789ab.partial.version", ".model.bin.note"):
            (tmp_path / name).write_text("x")
        server.answers = [GOOD]
        fetch(replace(SOURCE, package=server.address), target)
        kept = {".model.bin.other.abc_1234", ".model.bin", "model.bin.abc_1234", ".model.bin.note", "model.bin"}
        assert {path.name for path in tmp_path.iterdir()} == kept


def entries(store: Path) -> list[Path]:
    """The entries of a store, which must have nothing else."""
    found = sorted(store.iterdir())
    assert all(path.is_dir() and not path.name.startswith(".") for path in found)
    return found


class TestStore:
    @pytest.fixture
    def store(self, tmp_path) -> Path:
        return tmp_path / "store"

    def test_working_folders_share_one_download(self, server, tmp_path, store, caplog):
        source = replace(SOURCE, package=server.address)
        server.answers = [GOOD]
        targets = [tmp_path / name / "sources" / "model.bin" for name in ("one", "two")]
        for target in targets:
            fetch(source, target, store=store)
        (entry,) = entries(store)
        assert entry.name.startswith("source-model-")
        assert {path.name for path in entry.iterdir()} == {"model.bin", "manifest.json"}
        for target in targets:
            assert target.readlink() == entry / "model.bin" and target.read_bytes() == CONTENT
            assert list(target.parent.iterdir()) == [target]
            target.unlink()
        assert server.requests == 1 and (entry / "model.bin").read_bytes() == CONTENT
        (tmp_path / "one" / "sources" / "model.bin").write_bytes(CONTENT)  # by hand
        with caplog.at_level("INFO"):
            fetch(source, targets[0], store=store)
        assert "model.bin: already downloaded" in caplog.text and not targets[0].is_symlink()

    def test_another_version_of_the_table_has_another_entry(self, server, tmp_path, store):
        other = CONTENT + b"!"
        server.answers = [GOOD, (200, other, len(other))]
        target = tmp_path / "model.bin"
        fetch(replace(SOURCE, package=server.address), target, store=store)
        fetch(replace(SOURCE, package=server.address, sha256=sha256(other)), target, store=store)
        assert len(entries(store)) == 2 and target.read_bytes() == other
        fetch(replace(SOURCE, package=server.address), target, store=store)
        assert server.requests == 2 and target.read_bytes() == CONTENT

    def test_what_decides_the_content_decides_the_entry(self, server, tmp_path, store):
        source = replace(UNKNOWN, package=server.address, version="1")
        changes = [
            {}, {"name": "other"}, {"file": "other.zip"}, {"version": "2"}, {"bytes": str(len(ZIP))},
            {"package": f"{server.address}?2"},
        ]  # fmt: skip
        server.answers = [(200, ZIP, len(ZIP))] * len(changes)
        for number, change in enumerate(changes):
            fetch(replace(source, **change), tmp_path / f"{number}.zip", store=store)
        assert server.requests == len(changes)
        assert len({(tmp_path / f"{number}.zip").readlink() for number in range(len(changes))}) == 3
        fetch(replace(source, licence="MIT", members="x"), tmp_path / "again.zip", store=store)
        assert server.requests == len(changes)

    @pytest.mark.parametrize("checksum", ["", sha256(ZIP)])
    def test_two_processes_download_once(self, halves, tmp_path, store, checksum):
        source = replace(UNKNOWN, sha256=checksum, package=halves.address)
        targets = [tmp_path / name / "texts.zip" for name in ("one", "two")]
        first = start(source, targets[0], store)
        end = time.monotonic() + 30
        while not halves.requests and time.monotonic() < end:
            time.sleep(0.02)
        second = start(source, targets[1], store)
        assert "another process is downloading or converting it; waiting for it" in second.stderr.readline()
        halves.go_on.set()
        messages = [process.communicate(timeout=60)[1] for process in (first, second)]
        assert [process.returncode for process in (first, second)] == [0, 0], messages
        assert [target.read_bytes() for target in targets] == [ZIP, ZIP]
        assert halves.requests == 1 and len(entries(store)) == (1 if checksum else 2)

    def test_the_second_takes_over_if_the_first_is_killed(self, halves, tmp_path, store):
        source = replace(UNKNOWN, sha256=sha256(ZIP), package=halves.address)
        first = start(source, tmp_path / "one" / "texts.zip", store)
        end = time.monotonic() + 30
        while not halves.requests and time.monotonic() < end:
            time.sleep(0.02)
        second = start(source, tmp_path / "two" / "texts.zip", store)
        assert "waiting for it" in second.stderr.readline()
        first.send_signal(signal.SIGKILL)
        first.communicate()
        halves.go_on.set()
        _, messages = second.communicate(timeout=60)
        assert second.returncode == 0, messages
        assert (tmp_path / "two" / "texts.zip").read_bytes() == ZIP
        assert len(entries(store)) == 1

    def test_a_later_run_in_another_folder_continues_an_incomplete_download(self, server, tmp_path, store):
        source = replace(SOURCE, package=server.address)
        server.answers = [(200, CONTENT[:1000], len(CONTENT), ONE)]
        with pytest.raises(InputError, match=rf"ended after 1000 .* put the file at {tmp_path}/one/model\.bin by hand"):
            fetch(source, tmp_path / "one" / "model.bin", attempts=1, store=store)
        assert not os.path.lexists(tmp_path / "one" / "model.bin")
        server.answers = [rest(CONTENT, 1000, **ONE)]
        fetch(source, tmp_path / "two" / "model.bin", store=store)
        assert server.asked[1]["Range"] == "bytes=1000-"
        assert (tmp_path / "two" / "model.bin").read_bytes() == CONTENT
        assert len(entries(store)) == 1

    def test_the_file_that_a_user_gets_by_hand_goes_to_the_working_folder(self, server, tmp_path, store):
        server.answers = [(200, b"<html>", 6, {"Content-Type": "text/html"})]
        with pytest.raises(InputError, match=rf"web page instead of a file.* at {tmp_path}/one/model\.bin by hand"):
            fetch(replace(SOURCE, package=server.address), tmp_path / "one" / "model.bin", store=store)
        assert list(store.iterdir()) == []

    def test_a_damaged_entry_is_downloaded_again(self, server, tmp_path, store, caplog):
        source, target = replace(SOURCE, package=server.address), tmp_path / "model.bin"
        server.answers = [GOOD, GOOD]
        fetch(source, target, store=store)
        (entry,) = entries(store)
        (entry / "model.bin").chmod(0o644)
        (entry / "model.bin").write_bytes(CONTENT[:-1] + b"x")
        with caplog.at_level("WARNING"):
            fetch(source, target, store=store)
        assert "the content of model.bin has changed; this entry of the shared folder is damaged" in caplog.text
        assert entries(store) == [entry] and target.read_bytes() == CONTENT

    def test_a_file_that_only_its_own_manifest_knows_is_not_used(self, server, tmp_path, store):
        source, target = replace(SOURCE, package=server.address), tmp_path / "model.bin"
        server.answers = [GOOD, GOOD]
        fetch(source, target, store=store)
        (entry,) = entries(store)
        for path in entry.iterdir():
            path.chmod(0o644)
        (entry / "model.bin").write_bytes(b"forged")
        write_manifest(entry)
        fetch(source, target, store=store)
        assert target.read_bytes() == CONTENT

    def test_the_checksum_of_the_first_download_is_kept(self, server, tmp_path, store):
        source = replace(UNKNOWN, package=server.address)
        other = zip_of({"train.txt": b"another text"})
        server.answers = [(200, content, len(content)) for content in (ZIP, other, other, other, other)]
        one, two = tmp_path / "one" / "texts.zip", tmp_path / "two" / "texts.zip"
        for target in (one, two):
            fetch(source, target, store=store)
            record = target.with_name("texts.zip.sha256")
            assert record.read_text() == f"{sha256(ZIP)}  texts.zip\n"
            assert {path.name for path in target.parent.iterdir()} == {target.name, record.name}
        assert server.requests == 1
        origin, entry = entries(store)
        assert (entry / "texts.zip").read_bytes() == ZIP

        # A damaged entry: all working folders used what it held, also those without a record of it.
        (entry / "texts.zip").unlink()
        three = tmp_path / "three" / "texts.zip"
        message = rf"is {sha256(other)}, that of the first download was {sha256(ZIP)}; .* delete %s to accept it"
        with pytest.raises(InputError, match=message % origin):
            fetch(source, three, store=store)
        assert list(three.parent.iterdir()) == []

        # A deleted store: the working folder has its own record, and its link does not lead to the new file.
        shutil.rmtree(store)
        with pytest.raises(InputError, match=message % f"{one}.sha256"):
            fetch(source, one, store=store)
        fetch(source, three, store=store)
        assert three.read_bytes() == other
        requests = server.requests
        assert not two.exists()
        with pytest.raises(InputError, match=message % f"{two}.sha256"):
            fetch(source, two, store=store)
        assert not two.exists()
        two.with_name("texts.zip.sha256").unlink()
        fetch(source, two, store=store)
        assert two.read_bytes() == other and server.requests == requests

    def test_a_checksum_that_the_table_states_later_finds_the_same_entry(self, server, tmp_path, store):
        server.answers = [(200, ZIP, len(ZIP))]
        source = replace(UNKNOWN, package=server.address)
        fetch(source, tmp_path / "one.zip", store=store)
        fetch(replace(source, sha256=sha256(ZIP)), tmp_path / "two.zip", store=store)
        assert server.requests == 1
        assert (tmp_path / "one.zip").readlink() == (tmp_path / "two.zip").readlink()

    def test_a_package_is_shared_too(self, package, index, tmp_path, store):
        fetch(package, tmp_path / "one" / package.file, store=store)
        (index / package.file).unlink()
        fetch(package, tmp_path / "two" / package.file, store=store)
        assert sha256((tmp_path / "two" / package.file).read_bytes()) == package.sha256
        assert len(entries(store)) == 1

    def test_a_full_disk_of_the_store_is_named(self, server, tmp_path, store, monkeypatch):
        def no_space(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr(downloads.Download, "_write", no_space)
        server.answers = [GOOD]
        with pytest.raises(
            InputError, match=rf"source model: {store}/.*model\.bin: no space left on this disk; free some"
        ):
            fetch(replace(SOURCE, package=server.address), tmp_path / "model.bin", store=store)


class TestPackages:
    def test_a_package_is_no_larger_than_the_table_says(self, package, tmp_path, monkeypatch):
        monkeypatch.setattr(sources, "CACHE_BYTES", 0)
        with pytest.raises(InputError, match=r"translated-program 1\.2 has more than 1000 bytes"):
            fetch(replace(package, bytes="1000"), tmp_path / "program.whl", attempts=1)
        assert list(tmp_path.glob("*program*")) == []

    def test_pip_does_not_run_forever(self, tmp_path, monkeypatch):
        monkeypatch.setattr(sources, "GRACE_SECONDS", 0.2)
        with pytest.raises(TimeoutError, match="not complete after 0 s"):
            sources._run_limited([sys.executable, "-c", "import time; time.sleep(60)"], 10)
        assert sources._run_limited([sys.executable, "-c", "import sys; sys.exit('no')"], 10**6) == (1, "no\n")
