"""Read the table of sources (`resources/sources.tsv`) and download a source as a verified file.

The table is tab-separated; `-` means that a value does not apply. Its columns are:

name
    name of the source in configs and paths; also the value of the wildcard `source`.
version
    exact version of the package or model.
kind
    `pypi`: a wheel or sdist, downloaded by pip and not installed; `url`: a single file; `hub` and `dataset`: the files
    of a model or of a data set on the Hugging Face Hub, at the commit in `version`, if there is one.
package
    the name on PyPI (`pypi`), the address of https or http (`url`) or the repository (`hub`, `dataset`).
file
    name of the resulting file, or of the folder (`hub`, `dataset`). For a `model` inside a package, the name of this
    archive member; otherwise the name of the download.
sha256, bytes
    checksum and size of the resulting file. `bytes` may be `-`; `sha256` may be `-` for an address whose publisher
    states no checksum: then that of the first download is recorded beside the file, in `<file>.sha256`, and a later
    download must have it, too. The hub's library verifies the files of `hub` and `dataset` sources.
archive_sha256
    checksum of the download if the download is not the resulting file (a model inside a wheel); otherwise `-`.
licence
    SPDX expression of the licence that the authors of the file grant.
python
    passed to pip as `--python-version`, for packages that need a newer Python than the workflow's.
format
    `gettext` or `json`: catalogues, read by `catalogues.py`; `iwslt` or `flores`: corpora, read by `corpora.py`;
    `wmt24pp` or `floresplus`: corpora, read by `jsonl_corpora.py`; `instructions`: general instructions, read by
    `instructions.py`; `model`: used as it is.
members
    the archive members to read. For catalogues: a regular expression that matches the whole path of a member.
    `{language}` in it stands for the language tag; an optional group named `catalogue` identifies a catalogue among
    those of one language. For a model in a package: the path of the member. For a data set: patterns of the names of
    the files to download, such as `dev/*.jsonl`, separated by spaces.
"""

import errno
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import NamedTuple

from ..disk import disk_problem
from ..files import InputError, atomic_write, first_line, read_table, read_text, sha256
from ..languages import RESOURCES
from ..runtime import log
from .archives import read_members
from .downloads import (
    GRACE_SECONDS,
    MAX_BYTES,
    MEGABYTE,
    MIN_BYTES_PER_SECOND,
    Download,
    address_mistake,
    validator_of,
)
from .locking import locked
from .store import entry_name, link_file, provide

TABLE = RESOURCES / "sources.tsv"
KINDS = ("pypi", "url", "hub", "dataset")
# Kinds whose result is a folder.
SNAPSHOTS = ("hub", "dataset")
CATALOGUES = ("gettext", "json")
CORPORA = ("iwslt", "flores", "wmt24pp", "floresplus")
INSTRUCTIONS = "instructions"
FORMATS = (*CATALOGUES, *CORPORA, INSTRUCTIONS, "model")
TAG = "{language}"
SHA256 = re.compile("[0-9a-f]{64}")
# Values that become a part of a path or of a command of pip, by column and what they are called.
PLAIN_VALUES = {
    "name": (r"\w[\w.+-]*", "plain name"),
    "file": (r"\w[\w .+-]*", "plain file name"),
    "version": (r"(\w[\w.!+-]*)?", "version"),
    "bytes": ("([1-9][0-9]{0,14})?", "number of bytes"),
    "python": (r"([0-9]+(\.[0-9]+)*)?", "version of Python"),
}
HUB_NAME = r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?"
PACKAGE_NAMES = {"pypi": r"[A-Za-z0-9][\w.-]*", "hub": HUB_NAME, "dataset": HUB_NAME}
# Terms of licences that are not in the SPDX list, which users must read.
TERMS = {"LicenseRef-Gemma": "https://ai.google.dev/gemma/terms"}
# pip's cache may have larger files than the package: the index of all its versions.
CACHE_BYTES = 50_000_000


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
    for column, (pattern, meaning) in PLAIN_VALUES.items():
        if not re.fullmatch(pattern, getattr(source, column)):
            return f"{column} {getattr(source, column)!r} must be a {meaning}"
    for column in ("sha256", "archive_sha256"):
        value = getattr(source, column)
        needed = column == "sha256" and source.kind == "pypi"
        if not SHA256.fullmatch(value) and (value or needed):
            return f"{column} must be 64 lower-case hexadecimal digits"
    if source.kind == "url":
        if mistake := address_mistake(source.package):
            return f"package {source.package!r} is no address ({mistake})"
    elif not re.fullmatch(PACKAGE_NAMES[source.kind], source.package, re.ASCII):
        return f"package {source.package!r} is no name of a package on {'PyPI' if source.kind == 'pypi' else 'the hub'}"
    if source.kind == "pypi" and not source.version:
        return "a package needs its exact version"
    if source.format == "model" and source.kind == "pypi" and not (source.members and source.archive_sha256):
        return "a model in a package needs members (its path there) and archive_sha256"
    if source.kind == "dataset" and not source.members:
        return "a data set needs members (patterns of the names of its files, such as *.jsonl)"
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


def fetch(
    source: Source,
    target: Path,
    attempts: int = 4,
    wait: float = 2.0,
    timeout: float = 60.0,
    store: Path | None = None,
) -> None:
    """Download `source` to `target`, which appears only once it is complete and has the expected sha256, if any.

    If the download of an address fails, the next attempt continues it from a hidden file beside the target. A later run
    continues it, too, if the source table has the file's sha256. Only one process at a time downloads to a target.
    Proxies are taken from the usual environment variables, mirrors from `LAT_MIRRORS` (see `mirrored`).

    With a store, the file is downloaded there, unless the store has it, and the target is a symbolic link to it.

    Args:
        source: the source to download.
        target: path of the resulting file; its folder is created. A file with the right sha256 is not downloaded again.
        attempts: largest number of attempts if failures may be temporary (network, server).
        wait: seconds before the second attempt; doubled before every further one, and longer if the server asks for it.
        timeout: seconds without any data after which a connection counts as failed.
        store: folder of downloads that several working folders share, see `store.py`.

    Raises:
        InputError: the file or version does not exist, the file is not the expected one, it cannot be written, or
            every attempt failed.
    """
    if _is_there(source, target):
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with locked(target) as waited:
        if waited and _is_there(source, target):
            return
        if store:
            _link(source, target, store, Attempts(attempts, wait, timeout))
        else:
            _download(source, target, target, _first(source, target), Attempts(attempts, wait, timeout))


class Record(NamedTuple):
    """The sha256 of the first download of a file, empty if there was none, and what to delete to accept another one."""

    sha256: str
    path: Path


class Attempts(NamedTuple):
    """How often a download is tried, see `fetch`."""

    number: int
    wait: float
    timeout: float


def _link(source: Source, target: Path, store: Path, attempts: Attempts) -> None:
    """Make the target a link to the file of a source in a store, which has it already or gets it now."""
    record = Record(source.sha256, TABLE)
    if not source.sha256:
        record = _first_in_store(source, target, store, attempts)
        first = _first(source, target)
        if first.sha256 and first.sha256 != record.sha256:
            raise InputError(
                f"source {source.name}: the sha256 of {source.file} in {store} is {record.sha256}, that of the first"
                f" download was {first.sha256}; the publisher has changed the file: delete {first.path} to accept it"
            )

    def make(folder: Path) -> None:
        if not _is_there(replace(source, sha256=record.sha256), folder / source.file):
            _download(source, folder / source.file, target, record, attempts)

    entry = provide(store, _entry_name(source, record.sha256), make, {source.file: record.sha256})
    if not source.sha256:
        _remember(target, record.sha256)
    link_file(entry / source.file, target)
    log.info("%s: a link to %s", target, entry)


def _entry_name(source: Source, checksum: str) -> str:
    """Return the name of the entry of a store that has the file of a source."""
    return entry_name("source", source.name, source.file, checksum)


def _first_in_store(source: Source, target: Path, store: Path, attempts: Attempts) -> Record:
    """Return the sha256 of the first download to a store of a file whose publisher states none.

    The file itself has an entry that is named by its sha256, like all others: if the publisher changes the file, no
    link of another working folder leads to the new one. The entry of the origin has the sha256 alone.
    """

    def make(folder: Path) -> None:
        file = folder / source.file
        _download(source, file, target, _first(source, target), attempts)
        checksum = sha256(file)
        name = _entry_name(source, checksum)
        provide(store, name, lambda place: os.replace(file, place / source.file), {source.file: checksum})
        file.unlink(missing_ok=True)
        _remember(file, checksum)

    origin = (source.file, source.kind, source.package, source.version, source.bytes)
    entry = provide(store, entry_name("origin", source.name, *origin), make)
    return Record(_recorded(entry / source.file), entry)


def _download(source: Source, place: Path, target: Path, record: Record, attempts: Attempts) -> None:
    """Download a source to a file that this process has locked.

    Args:
        source: the source.
        place: the file, which is the target or in a store.
        target: file of the working folder, for messages.
        record: sha256 that the file must have if the source table has none.
        attempts: how often the download is tried.
    """
    unfinished = place.with_name(f".{place.name}.{source.sha256[:12] or 'unverified'}.partial")
    # Without a checksum, a later run does not continue the file of an earlier one.
    _remove_leftovers(place, kept=(unfinished, validator_of(unfinished)) if source.sha256 else ())
    # The temporary folder is beside the file, so that the final rename stays on one file system.
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}.") as folder:
        partial = _attempt(source, unfinished, target, Path(folder), attempts)
        _verify(source, partial, target, record)
        os.replace(partial, place)


def _is_there(source: Source, target: Path) -> bool:
    """Whether the target is there and has the expected or the recorded sha256."""
    if not target.is_file():
        return False
    expected = source.sha256 or _recorded(target)
    found = bool(expected) and sha256(target) == expected
    if found:
        log.info("%s: already downloaded", target)
    return found


def _remove_leftovers(target: Path, kept: Sequence[Path]) -> None:
    """Remove what killed downloads left beside a target that this process has locked, except the files `kept`."""
    name = re.escape(target.name)
    for path in target.parent.iterdir():
        if path in kept:
            continue
        if path.is_dir() and re.fullmatch(rf"\.{name}\.[a-z0-9_]{{8}}", path.name):
            shutil.rmtree(path, ignore_errors=True)
        elif re.fullmatch(rf"\.{name}\.([0-9a-f]{{12}}|unverified)\.partial(\.version)?", path.name):
            path.unlink(missing_ok=True)


def _attempt(source: Source, unfinished: Path, target: Path, folder: Path, attempts: Attempts) -> Path:
    """Download a source in several attempts, and return the path of the complete file."""
    where = f"source {source.name}"
    size = int(source.bytes) if source.bytes else None
    number, wait, timeout = attempts
    download = None
    if source.kind == "url":
        download = Download(where, source.package, unfinished, source.file, target, timeout)
    for attempt in range(1, number + 1):
        try:
            return download.run(size, bool(source.sha256)) if download else _download_package(source, folder)
        except OSError as error:
            reason = first_line(error)
            error.filename = error.filename or str(unfinished.parent / source.file)
            if problem := disk_problem(error):
                raise InputError(f"{where}: {problem}") from None
            if attempt == number:
                raise InputError(
                    f"{where}: {source.package} could not be downloaded in {number} attempt{'s' * (number > 1)}"
                    f" ({reason}); check the network, or put the file at {target} by hand"
                    + ("; `make tiny` needs no weights" if source.licence in TERMS else "")
                ) from None
            pause = max(wait, download.retry_after if download else 0.0)
            log.info("%s: attempt %d failed (%s); next attempt in %g s", where, attempt, reason, pause)
            time.sleep(pause)
            wait *= 2
    raise AssertionError("the last attempt returns or raises")


def _verify(source: Source, partial: Path, target: Path, record: Record) -> None:
    """Compare a download with the sha256 of the source table or, without one, with that of the first download.

    The sha256 of a first download is recorded beside the target.

    Raises:
        InputError: it has another one.
    """
    found = sha256(partial)
    if source.sha256:
        if found != source.sha256:
            partial.unlink()
            raise InputError(
                f"source {source.name}: the sha256 of {source.file} is {found}, the source table says {source.sha256};"
                " the file was changed on its way or at its origin, do not use it"
            )
        checksum = "as expected"
    else:
        if record.sha256 and found != record.sha256:
            partial.unlink()
            raise InputError(
                f"source {source.name}: the sha256 of {source.file} is {found}, that of the first download was"
                f" {record.sha256}; the publisher has changed the file, or it was changed on its way: delete"
                f" {record.path} to accept it"
            )
        if not record.sha256:
            _remember(target, found)
        checksum = f"{found} ({'as recorded' if record.sha256 else 'not verified: the publisher states none'})"
    log.info("%s: %.1f MB, sha256 %s", target, partial.stat().st_size / MEGABYTE, checksum)


def _record(target: Path) -> Path:
    return target.with_name(f"{target.name}.sha256")


def _first(source: Source, target: Path) -> Record:
    """Return what is recorded of the first download of a source; nothing is recorded if its checksum is published."""
    return Record("" if source.sha256 else _recorded(target), _record(target))


def _remember(target: Path, checksum: str) -> None:
    """Record the sha256 of the first download of a target."""
    with atomic_write(_record(target)) as handle:
        print(f"{checksum}  {target.name}", file=handle)  # as `sha256sum --check` reads it


def _recorded(target: Path) -> str:
    """Return the sha256 that was recorded at the first download of a target; empty if there was none.

    Raises:
        InputError: the record is damaged.
    """
    if not _record(target).exists():
        return ""
    value = read_text(_record(target)).partition(" ")[0].strip()
    if not SHA256.fullmatch(value):
        raise InputError(f"{_record(target)}: holds no sha256; delete it to download the file anew")
    return value


def adopt(target: Path) -> None:
    """Record the sha256 of a file, if a user has put it in the place of a download whose publisher states none."""
    if target.is_file() and not _record(target).exists():
        _remember(target, sha256(target))
        log.warning("%s: was not downloaded; its sha256 is recorded as that of the first download", target)


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
    size = int(source.bytes) if source.bytes and source.format != "model" else MAX_BYTES
    status, errors = _run_limited(command, size)
    if "Errno 28" in errors:
        raise OSError(errno.ENOSPC, "no space left")
    if "Errno 27" in errors:
        raise InputError(
            f"source {source.name}: {source.package} {source.version} has more than {size} bytes; it is another file"
            " than expected, or endless"
        )
    if "DO NOT MATCH THE HASHES" in errors:
        raise InputError(
            f"source {source.name}: no file of {source.package} {source.version} has the sha256 {archive_sha256}"
            " of the source table; it was changed on its way or at its origin, do not use it"
        )
    if status:
        reasons = [line.removeprefix("ERROR: ") for line in errors.splitlines() if line.startswith("ERROR: ")]
        raise OSError(reasons[-1] if reasons else f"pip ended with status {status}")
    (archive,) = downloads.iterdir()
    if source.format != "model":
        return archive
    contents = read_members(archive, source.members.__eq__, int(source.bytes or MAX_BYTES))
    if not contents:
        raise InputError(f"source {source.name}: {archive.name} has no member {source.members}")
    partial = folder / f"{source.file}.partial"
    partial.write_bytes(contents[-1][1])
    return partial


def _run_limited(command: Sequence[str], size: int) -> tuple[int, str]:
    """Run a download that may write files of at most `size` bytes and may take as long as that takes.

    Returns:
        The exit status and the error messages.

    Raises:
        TimeoutError: it took longer.
    """
    seconds = GRACE_SECONDS + min(size, MAX_BYTES) / MIN_BYTES_PER_SECOND
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        limit = size + CACHE_BYTES
        if hard in (resource.RLIM_INFINITY, max(hard, limit)):
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, hard))
        try:
            _, errors = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.kill()
            raise TimeoutError(f"not complete after {seconds:.0f} s") from None
    return process.returncode, errors
