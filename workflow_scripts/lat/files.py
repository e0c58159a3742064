"""Text files that the steps exchange: plain lines, JSON lines and tab-separated tables, always in UTF-8.

All writers except `Journal` are atomic: they write to a temporary file in the same folder, which replaces the target
only when it is complete. A job that is killed therefore never leaves an incomplete file.
"""

import csv
import hashlib
import json
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

log = logging.getLogger("lat")  # the logger of `runtime`, which imports this module

# Columns of score tables, which have one row per direction and metric.
SCORE_COLUMNS = ("direction", "metric", "value", "n", "signature")

# Characters that no text file can have: halves of a character, which JSON can write as an escape, and NUL.
FORBIDDEN = re.compile("[\0\ud800-\udfff]")
BYTE_ORDER_MARK = "\ufeff"


class InputError(Exception):
    """An error that the user can fix; the message is one line that names the file, key or line, and the remedy."""


class TextError(ValueError):
    """What is wrong with a text; the message names the line, and the caller adds the file and the remedy."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error's message, or the name of its class if there is no message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0]


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Name a temporary file to write to, which replaces `path` if the `with` block ends without an exception."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def atomic_write(path: Path | str) -> Iterator[TextIO]:
    """Open a temporary file for writing, which replaces `path` if the `with` block ends without an exception.

    Raises:
        InputError: a text has half of a character, which UTF-8 cannot express.
    """
    with replaced_file(Path(path)) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as handle:
        try:
            yield handle
        except UnicodeEncodeError as error:
            handle.flush()
            line = temporary.read_bytes().count(b"\n") + error.object.count("\n", 0, error.start) + 1
            code = ord(error.object[error.start])
            raise InputError(
                f"{path}: line {line} would hold half of a character (U+{code:04X}); find the text in the config or"
                " in the input files, and correct it"
            ) from None


@contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Create a temporary folder to write to, which replaces `folder` if the `with` block ends without an exception."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as temporary:
        partial = Path(temporary) / folder.name
        partial.mkdir()
        yield partial
        if folder.exists():
            shutil.rmtree(folder)
        os.replace(partial, folder)


def fold(text: str) -> str:
    """Replace each run of white space, including line breaks of all kinds, by one space, and strip both ends."""
    return " ".join(text.split())


def printable(text: str) -> str:
    """Replace control characters and the like by question marks, so that a text of others can be in a message."""
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)


def decode_text(content: bytes) -> str:
    """Decode the content of a UTF-8 file, without the byte order mark at its start.

    Raises:
        TextError: the content is not UTF-8, or has a NUL character, as UTF-16 and files that are no text have.
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise TextError(f"line {_line_of(content, error.start)}: not UTF-8 at byte {error.start}") from None
    if "\0" in text:
        position = content.index(b"\0")
        raise TextError(f"line {_line_of(content, position)}: a NUL character at byte {position}")
    return text.removeprefix(BYTE_ORDER_MARK)


def _line_of(content: bytes, position: int) -> int:
    return content.count(b"\n", 0, position) + 1


def split_lines(text: str) -> list[str]:
    """Split a text into lines.

    Only a line feed ends a line, with or without a carriage return before it, so that line counts agree with `wc -l`
    and sacrebleu. Other carriage returns, form feeds and the line separators of Unicode stay in the line.

    Raises:
        TextError: the text has carriage returns but no line feed, as files of old Macs have.
    """
    if "\r" in text and "\n" not in text:
        raise TextError("the lines end with carriage returns instead of line feeds")
    return text.replace("\r\n", "\n").removesuffix("\n").split("\n") if text else []


def parse_json(text: str, line: int = 1) -> Any:
    """Parse JSON.

    Args:
        text: JSON text.
        line: number of the first line of the text in its file.

    Raises:
        TextError: the text is not JSON.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise TextError(f"line {line + error.lineno - 1} is not JSON ({error.msg})") from None
    except (ValueError, RecursionError) as error:  # numbers of thousands of digits, and very deep nesting
        raise TextError(f"line {line} is not JSON that Python can read ({first_line(error)})") from None


def check_characters(value: Any, where: str) -> None:
    """Check that the texts of a JSON value can be written to a file, see `FORBIDDEN`.

    Args:
        value: the value, which may be nested.
        where: place of the value in its file, for the message.

    Raises:
        TextError: a text has a character that no text file can have.
    """
    values = [value]
    while values:  # no recursion, which Python limits to fewer levels than its JSON parser
        value = values.pop()
        if isinstance(value, dict):
            values += [*value.keys(), *value.values()]
        elif isinstance(value, list):
            values += value
        elif isinstance(value, str) and (found := FORBIDDEN.search(value)):
            code = ord(found[0])
            raise TextError(f"{where}: the escape \\u{code:04x} {'is half of a character' if code else 'is no text'}")


def read_text(path: Path | str) -> str:
    """Read a UTF-8 file, without a byte order mark.

    Raises:
        InputError: the file cannot be read, is not UTF-8, or has a NUL character.
    """
    try:
        return decode_text(Path(path).read_bytes())
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except TextError as error:
        raise InputError(f"{path}: {error}; convert it with `iconv -f ITS_ENCODING -t UTF-8`") from None


def read_lines(path: Path | str) -> list[str]:
    """Read the lines of a text file; `split_lines` says what ends a line.

    Raises:
        InputError: the file cannot be read, is not UTF-8, has a NUL character, or has carriage returns but no line
            feed.
    """
    try:
        return split_lines(read_text(path))
    except TextError as error:
        raise InputError(f"{path}: {error}; convert it with `tr '\\r' '\\n'`") from None


def write_lines(path: Path | str, lines: Iterable[str]) -> None:
    """Write one line per item.

    Raises:
        ValueError: an item contains a line feed, which would shift all following lines, or ends with a carriage
            return, which would become a part of the line end.
    """
    with atomic_write(path) as handle:
        for number, line in enumerate(lines, 1):
            if "\n" in line or line.endswith("\r"):
                raise ValueError(f"{path}: item {number} holds a line feed or ends with a carriage return")
            handle.write(line + "\n")


def read_jsonl(path: Path | str) -> list[dict[str, Any]]:
    """Read the objects of a JSON lines file.

    Raises:
        InputError: the file cannot be read as lines, or a line is not a JSON object or has an escape for a character
            that no text can have.
    """
    rows = []
    for number, line in enumerate(read_lines(path), 1):
        try:
            row = parse_json(line, number)
            if "\\u" in line:
                check_characters(row, f"line {number}")
        except TextError as error:
            raise InputError(f"{path}: {error}; correct or remove the line") from None
        if not isinstance(row, dict):
            raise InputError(f"{path}: line {number} is not a JSON object")
        rows.append(row)
    return rows


def write_jsonl(path: Path | str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON object per line; non-ASCII characters are not escaped, so that the text remains readable."""
    write_lines(path, (json.dumps(row, ensure_ascii=False) for row in rows))


def read_table(path: Path | str) -> list[dict[str, str]]:
    """Read the rows of a tab-separated table with a header line, without quoting; all values are text.

    Raises:
        InputError: the file cannot be read as lines, or a line has another number of columns than the header.
    """
    try:
        return parse_table(read_lines(path))[1]
    except TextError as error:
        raise InputError(f"{path}: {error}") from None


def parse_table(lines: Sequence[str]) -> tuple[list[str], list[dict[str, str]]]:
    """Return the names of the columns and the rows of the lines of a tab-separated table.

    Raises:
        TextError: a line has another number of columns than the header.
    """
    header, *body = lines or [""]
    names = header.split("\t")
    rows = []
    for number, line in enumerate(body, 2):
        values = line.split("\t")
        if len(values) != len(names):
            raise TextError(f"line {number} has {len(values)} columns, the header {len(names)}")
        rows.append(dict(zip(names, values, strict=True)))
    return names, rows


def write_table(path: Path | str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write a tab-separated table with a header line; each run of white space in a cell becomes one space."""
    with atomic_write(path) as handle:
        writer = csv.writer(handle, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None)
        writer.writerow(map(fold, columns))
        for row in rows:
            writer.writerow(fold(str(row[column])) for column in columns)


class Journal:
    """A JSON lines file to which objects are appended one by one, so that a killed job can continue after the last one.

    Attributes:
        path: the file; it is created when the first object is added.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """Read all objects.

        An incomplete last line, left by a killed job, is removed from the file. Any other line that is not a JSON
        object is damaged: it is left out, with a warning, and all others are read.
        """
        if not self.path.exists():
            return []
        *lines, last = self.path.read_bytes().split(b"\n")
        rows = []
        for number, line in enumerate(lines, 1):
            if (row := self._parse(line)) is None:
                log.warning("%s: line %d is damaged and is left out", self.path, number)
            else:
                rows.append(row)
        if (row := self._parse(last)) is not None:  # only its line feed is missing
            rows.append(row)
        elif last:
            os.truncate(self.path, self.path.stat().st_size - len(last))
        return rows

    @staticmethod
    def _parse(line: bytes) -> dict[str, Any] | None:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):  # ValueError also if the line is not UTF-8
            return None
        return row if isinstance(row, dict) else None

    def add(self, row: Mapping[Any, Any]) -> None:
        """Append one object."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab+") as handle:
            # The last line may be incomplete, since the disk was full; this one must not become a part of it.
            handle.seek(max(handle.tell() - 1, 0))
            complete = handle.read() in (b"", b"\n")
            handle.write(b"\n" * (not complete) + json.dumps(row).encode() + b"\n")


def sha256(path: Path | str) -> str:
    """SHA-256 hex digest of a file."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
