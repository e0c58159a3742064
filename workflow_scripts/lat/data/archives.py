"""Read the members of zip and tar archives without unpacking them.

Nothing that an archive says about itself is relied upon: members are read as streams, so that their paths cannot decide
where a file is written, and only up to a limit, whatever size their headers state. Links, devices, and members that are
encrypted with an unknown password, are refused if they are wanted.
"""

import bz2
import gzip
import lzma
import posixpath
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import IO, Any, NamedTuple

from ..disk import FULL
from ..files import InputError, first_line, printable

ZIP, GZIP, BZIP2, XZ = b"PK\x03\x04", b"\x1f\x8b", b"BZh", b"\xfd7zXZ\0"
# How a file of each kind starts. A tar archive that is not compressed starts with the name of its first member.
MAGICS = {
    ".zip": ZIP, ".whl": ZIP, ".tar": b"", ".tgz": GZIP, ".tar.gz": GZIP, ".tar.bz2": BZIP2, ".tar.xz": XZ
}  # fmt: skip
ENDINGS = tuple(MAGICS)
UNPACK: dict[bytes, Callable[[IO[bytes]], Any]] = {GZIP: gzip.open, BZIP2: bz2.open, XZ: lzma.open}
CHUNK_BYTES = 1 << 16
# Archives above these limits are damaged or made to fill the memory; published ones are far below.
MAX_MEMBERS = 1_000_000
MAX_UNPACKED_BYTES = 100 << 30
MAX_HEADER_BYTES = 1 << 20


class ArchiveError(Exception):
    """What is wrong with an archive, in one line; the caller adds the file and the remedy."""


# What the standard library raises for a broken zip or tar archive. A RuntimeError means encryption, a compression that
# it does not have, or endless recursion.
ARCHIVE_ERRORS = (
    ArchiveError,
    tarfile.TarError,
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    struct.error,
    EOFError,
    LookupError,
    OSError,
    OverflowError,
    RuntimeError,
    ValueError,
)


class _Member(NamedTuple):
    """A member that is no folder; `fault` says why its content cannot be read and is empty if it can."""

    path: str
    fault: str
    chunks: Callable[[], Iterator[bytes]]


def list_members(path: Path) -> list[str]:
    """Return the paths of all members that are no folders, in the order of the archive.

    Raises:
        InputError: the file is missing or no whole archive.
    """
    with _reported(path), open(path, "rb") as handle:
        return [member.path for member in _walk(handle)]


def read_members(
    path: Path, wanted: Callable[[str], object], limit: int, nested: bool = False, password: bytes = b""
) -> list[tuple[str, bytes]]:
    """Return path and content of the wanted members, in the order of the archive.

    Args:
        path: the archive, of any of the kinds in `ENDINGS`; the content decides of which.
        wanted: tells of the path of a member whether it is wanted.
        limit: largest size of all that is read, in bytes.
        nested: also look for members in the archives that are members of this one.
        password: that of encrypted members of a zip archive; they are refused without one.

    Raises:
        InputError: the file is missing or no whole archive, or a wanted member is not a regular file, has another
            password, is damaged, or exceeds the limit.
    """
    with _reported(path), open(path, "rb") as handle:
        return list(_read(handle, wanted, limit, nested, password))


def write_members(path: Path, places: Mapping[str, Path]) -> None:
    """Write members to files, without holding any of them in the memory.

    Args:
        path: the archive, of any of the kinds in `ENDINGS`; the content decides of which.
        places: the file for each member, by its path as `list_members` returns it.

    Raises:
        InputError: the file is missing or no whole archive, or a member is not a regular file, encrypted or damaged.
    """
    with _reported(path), open(path, "rb") as handle:
        for member in _walk(handle):
            if member.path in places:
                with open(places[member.path], "wb") as file:
                    for chunk in _chunks(member):
                        file.write(chunk)


def unpack(path: Path, place: Path) -> None:
    """Write the content of a file that is compressed as in `UNPACK` to another file.

    Raises:
        InputError: the file is missing, cut or damaged, or larger than any text when unpacked.
    """
    with _reported(path), open(path, "rb") as handle, open(place, "wb") as file:
        start = handle.read(max(map(len, UNPACK)))
        handle.seek(0)
        opened = next((opened for magic, opened in UNPACK.items() if start.startswith(magic)), None)
        if opened is None:
            raise ArchiveError("not compressed by gzip, bzip2 or xz")
        stream = opened(handle)
        written = 0
        while chunk := stream.read(CHUNK_BYTES):
            written += file.write(chunk)
            if written > MAX_UNPACKED_BYTES:
                raise ArchiveError(f"more than {MAX_UNPACKED_BYTES} bytes when unpacked")


def damage_of(path: Path) -> str:
    """Read a whole archive and return what is wrong with it; the result is empty if nothing is.

    Every content is compared with its checksum, as far as the format has checksums.
    """
    try:
        with open(path, "rb") as handle:
            for member in _walk(handle):
                if not member.fault:
                    for _ in _chunks(member):
                        pass
    except ARCHIVE_ERRORS as error:
        return first_line(error)
    return ""


@contextmanager
def _reported(path: Path) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; fetch the source first") from None
    except ARCHIVE_ERRORS as error:
        # A full disk says nothing about the archive.
        if isinstance(error, OSError) and error.errno in FULL:
            raise
        raise InputError(
            f"{path}: cannot be read ({first_line(error)}); delete it, then rerun to download it again"
        ) from None


def _read(
    handle: IO[bytes], wanted: Callable[[str], object], limit: int, nested: bool, password: bytes
) -> Iterator[tuple[str, bytes]]:
    for member in _walk(handle, password):
        inner = nested and member.path.endswith(ENDINGS)
        if not inner and not wanted(member.path):
            continue
        content = bytearray()
        for chunk in _chunks(member):
            content += chunk
            if len(content) > limit:
                raise ArchiveError(f"member {member.path}: larger than any file that belongs in this archive")
        limit -= len(content)
        if not inner:
            yield member.path, bytes(content)
            continue
        try:
            yield from _read(BytesIO(content), wanted, limit, nested=False, password=password)
        except ARCHIVE_ERRORS as error:
            raise ArchiveError(f"member {member.path}: {first_line(error)}") from None


def _chunks(member: _Member) -> Iterator[bytes]:
    """Yield the content of a member in pieces; errors name the member."""
    if member.fault:
        raise ArchiveError(f"member {member.path}: {member.fault}")
    try:
        yield from member.chunks()
    except ARCHIVE_ERRORS as error:
        raise ArchiveError(f"member {member.path}: {first_line(error)}") from None


def _walk(handle: IO[bytes], password: bytes = b"") -> Iterator[_Member]:
    """Yield the members; the content of each must be read before the next one is asked for."""
    start = handle.read(max(map(len, UNPACK)))
    handle.seek(0)
    if start.startswith(ZIP):
        members = _walk_zip(handle, password)
    else:
        unpacked = next((unpack(handle) for magic, unpack in UNPACK.items() if start.startswith(magic)), handle)
        members = _walk_tar(unpacked)
    for number, member in enumerate(members):
        if number == MAX_MEMBERS:
            raise ArchiveError(f"more than {MAX_MEMBERS} members")
        # Archives made on macOS have, for every file, a second one with the prefix `._` for its resource fork.
        if not posixpath.basename(member.path).startswith("._"):
            yield member._replace(path=printable(member.path))


def _walk_zip(handle: IO[bytes], password: bytes) -> Iterator[_Member]:
    with zipfile.ZipFile(handle) as archive:
        for info in archive.infolist():
            if not info.is_dir():
                opened = partial(archive.open, info, pwd=password or None)
                yield _Member(info.filename, _fault_of(info, password), partial(_pieces, opened))


def _fault_of(info: zipfile.ZipInfo, password: bytes) -> str:
    if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG):
        return "a link or device, not a file"
    if info.flag_bits & 1 and not password:
        return "encrypted"
    # The library cannot limit how much it unpacks at once by other methods.
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"compressed by method {info.compress_type}; only deflate is read"
    return ""


def _walk_tar(stream: IO[bytes]) -> Iterator[_Member]:
    forward = _Forward(stream)
    try:
        tar = tarfile.open(fileobj=forward, mode="r:")  # type: ignore[call-overload]  # noqa: SIM115, it has no handle
    except tarfile.ReadError:
        raise ArchiveError("neither a zip nor a tar archive") from None
    name = "none"
    while member := tar.next():
        tar.members.clear()
        name = member.name
        if not member.isdir():
            fault = "" if member.isreg() and not member.issparse() else "a link or device, not a file"
            yield _Member(name, fault, partial(_pieces, partial(tar.extractfile, member)))
    # The library takes a damaged header for the end; a whole archive has a block of zeros there.
    if forward.last != bytes(tarfile.BLOCKSIZE):
        raise ArchiveError(f"cut or damaged after member {name}")
    # The checksum of a compressed archive is verified where it ends.
    while chunk := forward.read(CHUNK_BYTES):
        if chunk.strip(b"\0"):
            raise ArchiveError(f"damaged after member {name}: more data follow the end of the archive")


def _pieces(opened: Callable[[], IO[bytes]]) -> Iterator[bytes]:
    with opened() as content:
        while piece := content.read(CHUNK_BYTES):
            yield piece


class _Forward:
    """A stream that `tarfile` may read forwards only, in small pieces, and up to a total size.

    A header may state any size, also a negative one; without these limits, some archives are read without end or as a
    whole into the memory.

    Attributes:
        last: what the last call of `read` returned.
    """

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.last = b""

    def tell(self) -> int:
        return self._stream.tell()

    def seek(self, position: int) -> int:
        if position < self.tell():
            raise ArchiveError("a header leads backwards")
        self._check(position)
        return self._stream.seek(position)

    def read(self, size: int) -> bytes:
        if not 0 <= size <= MAX_HEADER_BYTES:
            raise ArchiveError(f"a header of {size} bytes")
        self._check(self.tell() + size)
        self.last = self._stream.read(size)
        return self.last

    @staticmethod
    def _check(position: int) -> None:
        if position > MAX_UNPACKED_BYTES:
            raise ArchiveError(f"more than {MAX_UNPACKED_BYTES} bytes when unpacked")
