"""Text files that the steps exchange: plain lines, JSON lines and tab-separated tables, always in UTF-8.

All writers except `Journal` are atomic: they write to a temporary file in the same folder, which replaces the target
only when it is complete. A job that is killed therefore never leaves an incomplete file.
"""

import csv
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

# Columns of score tables, which have one row per direction and metric.
SCORE_COLUMNS = ("direction", "metric", "value", "n", "signature")


class InputError(Exception):
    """An error that the user can fix; the message is one line that names the file, key or line, and the remedy."""


@contextmanager
def atomic_write(path: Path | str) -> Iterator[TextIO]:
    """Open a temporary file for writing, which replaces `path` if the `with` block ends without an exception."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(temporary, "w", encoding="utf-8", newline="\n") as handle:
            yield handle
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


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
    return re.sub(r"\s+", " ", text).strip()


def read_text(path: Path | str) -> str:
    """Read a UTF-8 file.

    Raises:
        InputError: the file is missing or is not UTF-8.
    """
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 at byte {error.start}; convert it with `iconv`") from None


def read_lines(path: Path | str) -> list[str]:
    """Read the lines of a text file.

    Only a line feed ends a line, so that line counts agree with `wc -l` and sacrebleu.

    Raises:
        InputError: the file is missing or is not UTF-8.
    """
    text = read_text(path)
    return text.removesuffix("\n").split("\n") if text else []


def write_lines(path: Path | str, lines: Iterable[str]) -> None:
    """Write one line per item.

    Raises:
        ValueError: an item contains a line feed, which would shift all following lines.
    """
    with atomic_write(path) as handle:
        for number, line in enumerate(lines, 1):
            if "\n" in line:
                raise ValueError(f"{path}: item {number} holds a line feed")
            handle.write(line + "\n")


def read_jsonl(path: Path | str) -> list[dict[str, Any]]:
    """Read the objects of a JSON lines file.

    Raises:
        InputError: the file is missing or is not UTF-8, or a line is not a JSON object.
    """
    rows = []
    for number, line in enumerate(read_lines(path), 1):
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path}: line {number} is not JSON ({error.msg})") from None
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
        InputError: the file is missing or is not UTF-8, or a line has another number of columns than the header.
    """
    header, *lines = read_lines(path) or [""]
    names = header.split("\t")
    rows = []
    for number, line in enumerate(lines, 2):
        values = line.split("\t")
        if len(values) != len(names):
            raise InputError(f"{path}: line {number} has {len(values)} columns, the header {len(names)}")
        rows.append(dict(zip(names, values, strict=True)))
    return rows


def write_table(path: Path | str, rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> None:
    """Write a tab-separated table with a header line; each run of white space in a value becomes one space."""
    with atomic_write(path) as handle:
        writer = csv.writer(handle, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None)
        writer.writerow(columns)
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
        """Read all objects. An incomplete last line, left by a killed job, is removed from the file.

        Raises:
            InputError: another line is not JSON.
        """
        if not self.path.exists():
            return []
        text = self.path.read_text(encoding="utf-8")
        complete = text[: text.rfind("\n") + 1]
        if complete != text:
            self.path.write_text(complete, encoding="utf-8")
        rows = []
        for number, line in enumerate(complete.split("\n")[:-1], 1):
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError:
                raise InputError(f"{self.path}: line {number} is not JSON; delete it, then rerun") from None
        return rows

    def add(self, row: Mapping[Any, Any]) -> None:
        """Append one object."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "a", encoding="utf-8") as handle:
            handle.write(json.dumps(row) + "\n")


def sha256(path: Path | str) -> str:
    """SHA-256 hex digest of a file."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()
