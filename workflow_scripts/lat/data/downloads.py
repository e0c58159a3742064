"""Download the file at an address: whole, one version of it, no larger than expected, and in a limited time.

Whatever else a server answers is told in one line. Failures that may be temporary are `OSError`s, after which another
attempt makes sense; permanent ones are `InputError`s.
"""

import functools
import http.client
import io
import ipaddress
import os
import re
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from ..files import InputError, TextError, decode_text, first_line, parse_json, printable
from ..runtime import Progress
from .archives import ENDINGS, MAGICS, damage_of

CHUNK_BYTES = 1 << 16
MEGABYTE = 1e6
# Largest size of a file whose size the source table does not state, in bytes.
MAX_BYTES = 10 * 10**9
# A response may take this long, and as much longer as its bytes take at this rate: a file of 100 MB about 5.5 hours.
GRACE_SECONDS = 60.0
MIN_BYTES_PER_SECOND = 5000.0
LONGEST_WAIT = 300.0  # seconds; limits the wait that a server asks for
CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-[0-9]{1,18}/([0-9]{1,18}|\*)")
WEB_PAGE = re.compile(rb"\s*<(!doctype html|html)\b", re.IGNORECASE)


class Download:
    """Downloads one address to a file in several attempts, each of which continues where the previous one ended.

    An attempt continues only if the server says that the rest belongs to the same version of the file.

    Attributes:
        retry_after: seconds that the server asks to wait before the next attempt.
    """

    def __init__(self, where: str, address: str, partial: Path, name: str, target: Path, timeout: float) -> None:
        """Prepare a download.

        Args:
            where: what is downloaded, for messages.
            address: the address of the source table, before mirrors.
            partial: the incomplete file, which another run may have begun.
            name: name of the file; its ending says what the content must be.
            target: where a user can put the file by hand, for messages.
            timeout: seconds without any data after which a connection counts as failed.

        Raises:
            InputError: the address or its mirror is none.
        """
        self.retry_after = 0.0
        self._where, self._partial, self._name, self._target, self._timeout = where, partial, name, target, timeout
        self._address = mirrored(address)
        plain = address.lower().startswith("http:")
        if not (mistake := address_mistake(self._address)) and not _is_safe(self._address, plain):
            mistake = "http is only for this machine, or for what the source table has as http"
        if mistake:
            origin = " in LAT_MIRRORS" if self._address != address else ""
            raise InputError(f"{where}: {self._address}{origin} is no address to download from ({mistake})")
        self._opener = _opener(where, plain)
        # Identifies the version of the file at the address that the partial file is the beginning of.
        self._validator = validator_of(partial)

    def run(self, size: int | None, verified: bool) -> Path:
        """Make one attempt and return the path of the complete file.

        Args:
            size: size of the file in bytes, if it is known.
            verified: whether the file's checksum is known. If not, the file must show that it is whole: by the length
                that the server states, or by its content.

        Raises:
            OSError: a failure that may be temporary.
            InputError: a permanent failure.
        """
        self.retry_after = 0.0
        try:
            start = self._partial.stat().st_size if self._partial.exists() and self._validator.exists() else 0
            response = self._request(start)
            if start and not self._continues(response, start):
                response.close()
                start, response = 0, self._request(0)
            with response:
                total = self._total(response, start, size)
                arrived = self._write(response, start, total, size or MAX_BYTES)
        except http.client.HTTPException as error:
            raise OSError(f"{type(error).__name__}: {error}") from None
        if total is not None and arrived != total:
            raise OSError(f"the connection ended after {arrived} of {total} bytes")
        if not verified and (damage := self._damage(known=total is not None or response.chunked)):
            self._discard()
            raise OSError(damage)
        self._validator.unlink(missing_ok=True)
        return self._partial

    def _request(self, start: int) -> http.client.HTTPResponse:
        """Ask for the file, or for what follows its first `start` bytes."""
        headers = {"User-Agent": "lat-workflow", "Accept-Encoding": "identity"}
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": self._validator.read_text(encoding="latin-1")}
        try:
            request = urllib.request.Request(self._address, headers=headers)
            response: http.client.HTTPResponse = self._opener.open(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            with error:
                raise self._failure(error) from None
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLError) and not isinstance(error.reason, ssl.SSLEOFError):
                raise self._error(
                    f"has no connection that can be trusted ({error.reason}); correct the clock or the certificates of"
                    " this machine"
                ) from None
            if isinstance(error.reason, str):
                raise self._error(f"cannot be requested ({error.reason})") from None
            raise OSError(str(error.reason) or type(error.reason).__name__) from None
        except (ValueError, http.client.InvalidURL) as error:
            raise self._error(f"is no address ({error})") from None
        if response.status not in (200, 206) or (response.status == 206 and not start):
            response.close()
            raise self._error(f"answers {response.status} {_plain(response.reason)} instead of the file")
        return response

    def _failure(self, error: urllib.error.HTTPError) -> Exception:
        if error.code == 416:  # the partial file is not the beginning of the server's file
            self._discard()
        # 408 and 429 ask for another attempt; after any other status below 500, another attempt is useless.
        elif error.code < 500 and error.code not in (408, 429):
            remedy = "; it requires an accepted licence or a token" if error.code in (401, 403) else ""
            return self._error(f"answers {error.code} {_plain(error.reason)}{remedy}")
        elif re.fullmatch("[0-9]{1,9}", seconds := error.headers.get("Retry-After") or ""):
            self.retry_after = min(float(seconds), LONGEST_WAIT)
        return OSError(f"HTTP error {error.code}: {_plain(error.reason)}")

    def _continues(self, response: http.client.HTTPResponse, start: int) -> bool:
        """Whether a response is the rest of the version of the file that the partial file is the beginning of."""
        where = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range") or "")
        return (
            response.status == 206
            and where is not None
            and int(where[1]) == start
            and _version(response) == self._validator.read_text(encoding="latin-1")
        )

    def _total(self, response: http.client.HTTPResponse, start: int, size: int | None) -> int | None:
        """Return the size of the complete file in bytes, as far as the server states it.

        Raises:
            InputError: the size is another one than expected, or the response is not the file itself.
        """
        for header, expected in (("Content-Encoding", "identity"), ("Transfer-Encoding", "chunked")):
            encoding = (response.headers.get(header) or expected).strip().lower()
            # Some servers describe a file that is compressed itself, and send it as it is.
            described = self._name.endswith((".gz", ".tgz")) and encoding in ("gzip", "x-gzip")
            if encoding != expected and not described:
                raise self._refusal(f"answers with {header} {_plain(encoding)}, which was not asked for")
        if response.headers.get_content_type() == "text/html":
            raise self._web_page()
        total = None if response.length is None else start + response.length
        where = CONTENT_RANGE.fullmatch(response.headers.get("Content-Range") or "")
        if start and where and where[2] != "*":
            total = int(where[2])
        if size is not None and total not in (None, size):
            raise self._refusal(
                f"has {total} bytes, the source table says {size}; the file was changed on its way or at its origin, do"
                " not use it"
            )
        if size is None and total is not None and total > MAX_BYTES:
            raise self._refusal(
                f"has {total} bytes; to download so large a file, state them in the source table, or put the file at"
                f" {self._target} by hand"
            )
        return size if total is None else total

    def _write(self, response: http.client.HTTPResponse, start: int, total: int | None, limit: int) -> int:
        """Append the response to the partial file, or overwrite the file if `start` is 0; return its size in bytes."""
        if not start:
            self._discard()
            if version := _version(response):
                self._validator.write_text(version, encoding="latin-1")
        progress = Progress((total - start) / MEGABYTE, "MB") if total else None
        arrived = start
        with open(self._partial, "ab") as handle:
            while chunk := response.read(CHUNK_BYTES):
                if not arrived:
                    self._check_beginning(chunk)
                arrived += len(chunk)
                if arrived > limit:
                    raise self._refusal(f"sends more than {limit} bytes; it is another file than expected, or endless")
                handle.write(chunk)
                if progress:
                    progress.update(len(chunk) / MEGABYTE)
        return arrived

    def _check_beginning(self, chunk: bytes) -> None:
        """Check that what the server sends is no error message in place of the file.

        Raises:
            InputError: it is.
        """
        if WEB_PAGE.match(chunk):
            raise self._web_page()
        magic = next((magic for ending, magic in MAGICS.items() if self._name.endswith(ending)), b"")
        if not chunk.startswith(magic):
            raise self._refusal(f"answers with something else than an archive ({_plain(chunk[:60].decode('latin-1'))})")

    def _damage(self, known: bool) -> str:
        """What shows that a file without a checksum is not whole; empty if nothing does."""
        if not self._partial.stat().st_size:
            return "an empty file"
        if self._name.endswith(ENDINGS):
            return damage_of(self._partial)
        if self._name.endswith(".json"):
            try:
                parse_json(decode_text(self._partial.read_bytes()))
            except TextError as error:
                return str(error)
        elif not known:
            return "the server does not state the length, so that a cut file could not be told from a whole one"
        return ""

    def _web_page(self) -> InputError:
        return self._refusal(
            "answers with a web page instead of a file; open it in a browser and put the file at"
            f" {self._target} by hand"
        )

    def _refusal(self, reason: str) -> InputError:
        """Delete the partial file, whose content is wrong, and return the error."""
        self._discard()
        return self._error(reason)

    def _error(self, reason: str) -> InputError:
        """Return the error of a permanent failure that says nothing about what has arrived."""
        return InputError(f"{self._where}: {self._address} {reason}")

    def _discard(self) -> None:
        self._partial.unlink(missing_ok=True)
        self._validator.unlink(missing_ok=True)


def validator_of(partial: Path) -> Path:
    """Return the path of the file that identifies the version of a partial file."""
    return partial.with_name(f"{partial.name}.version")


def _version(response: http.client.HTTPResponse) -> str:
    """Return what identifies the version of a file at its address: strong ETag or time; empty if nothing does."""
    tag = response.headers.get("ETag") or ""
    return tag if tag and not tag.startswith("W/") else response.headers.get("Last-Modified") or ""


def _plain(text: str) -> str:
    """Return the beginning of a text of a server as it can be shown on a terminal."""
    return printable(text[:200])


def mirrored(address: str) -> str:
    """Replace the beginning of an address by its mirror in the environment variable `LAT_MIRRORS`, if there is one.

    The variable is a list of entries `address=mirror`, separated by spaces; the first entry that applies is used.

    Raises:
        InputError: the variable is malformed.
    """
    for entry in os.environ.get("LAT_MIRRORS", "").split():
        # The address of a mirror, or the original one, may have parameters with an equals sign of their own.
        parts = re.fullmatch(r"(.+?)=(\w+://.+)", entry) or re.fullmatch("(.+?)=(.+)", entry)
        if not parts:
            raise InputError(f"LAT_MIRRORS: {entry!r} is not of the form https://address=https://mirror")
        original, mirror = parts.groups()
        if address.startswith(original):
            return mirror + address[len(original) :]
    return address


def address_mistake(address: str) -> str:
    """Describe why an address is none of http or https; the result is empty if it is one."""
    try:
        parts = urlsplit(address)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        return first_line(error)
    if parts.scheme not in ("https", "http"):
        return "it must start with https:// or http://"
    if not host or not address.isprintable() or " " in address:
        return "it must be like https://host/path"
    return ""


def _is_safe(address: str, plain: bool) -> bool:
    """Whether an address is of https or on this machine; any other address of http only if `plain`."""
    parts = urlsplit(address)
    if parts.scheme == "https" or plain:
        return True
    try:
        return parts.hostname == "localhost" or ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return False


def _opener(where: str, plain: bool) -> urllib.request.OpenerDirector:
    """Return an opener of addresses of http and https alone, directly or through the proxies of the environment."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        _SteadyHandler(),
        _Redirects(where, plain),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects, but never from https to http, nor to http on another machine unless `plain`."""

    def __init__(self, where: str, plain: bool) -> None:
        self._where, self._plain = where, plain

    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        # The body of a redirect is not read, since it may be endless.
        fp.close()
        safe = not address_mistake(newurl) and _is_safe(newurl, self._plain)
        if not safe or (req.full_url.startswith("https:") and not newurl.startswith("https:")):
            raise InputError(f"{self._where}: {req.full_url} leads to {_plain(newurl)}, which is not safe to follow")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _SteadyHandler(urllib.request.AbstractHTTPHandler):
    """Opens addresses of http and https; the responses fail if they take too long as a whole, see `_Steady`."""

    http_request = https_request = urllib.request.AbstractHTTPHandler.do_request_

    def http_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(functools.partial(_connection, http.client.HTTPConnection), request)

    def https_open(self, request: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(functools.partial(_connection, http.client.HTTPSConnection), request)


def _connection(kind: type[http.client.HTTPConnection], host: str, **options: Any) -> http.client.HTTPConnection:
    connection = kind(host, **options)
    connection.response_class = _SteadyResponse
    return connection


class _SteadyResponse(http.client.HTTPResponse):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.fp = io.BufferedReader(_Steady(self.fp.detach()))


class _Steady(io.RawIOBase):
    """The bytes of a response, headers included, which must keep to a minimum rate.

    The timeout of a socket applies to every piece of data, so that single bytes could arrive forever.
    """

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw, self._bytes, self._started = raw, 0, time.monotonic()

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        seconds = time.monotonic() - self._started
        if seconds > GRACE_SECONDS + self._bytes / MIN_BYTES_PER_SECOND:
            raise TimeoutError(f"{self._bytes} bytes in {seconds:.0f} s is too slow")
        count = self._raw.readinto(buffer)
        self._bytes += count or 0
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()
