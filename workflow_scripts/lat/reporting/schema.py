"""What the tables of a run look like, row by row: columns, values and keys.

Rows keep their values as text, so that they can be written to other tables unchanged.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..files import InputError, TextError, decode_text, parse_table, printable, split_lines
from ..names import SHARED

NUMBER = re.compile(r"-?\d+(\.\d+)?(e[-+]?\d+)?", re.ASCII)
WHOLE_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
MESSAGE_CHARACTERS = 400

# A check of a value returns what the value must be, or nothing if it is that.
Check = Callable[[str], str]


class Row(dict[str, str]):
    """A row of a table: its values by column, and the number of its line in the file."""

    # A table may have hundreds of thousands of rows.
    __slots__ = ("line",)

    def __init__(self, values: Mapping[str, str], line: int) -> None:
        super().__init__(values)
        self.line = line


@dataclass(frozen=True)
class Schema:
    """What a table must look like.

    Attributes:
        columns: check of the values of each column.
        key: columns that together are different in every row; empty if the reader checks this otherwise.
        others: check of the values in all other columns; None if there must be no others.
        remedy: what the user can do about a table that does not look like this.
        may_be_empty: whether there may be no rows.
    """

    columns: Mapping[str, Check]
    key: tuple[str, ...] = ()
    others: Check | None = None
    remedy: str = "delete it and run again"
    may_be_empty: bool = False


def any_text(value: str) -> str:
    """Accept every text."""
    return ""


def some_text(value: str) -> str:
    """Accept every text but an empty one."""
    return "" if value else "a text"


def one_of(words: Iterable[str]) -> Check:
    """Return a check that accepts some words."""
    allowed = tuple(words)
    return lambda value: "" if value in allowed else f"one of {', '.join(allowed)}"


def number(low: float = -math.inf, high: float = math.inf, alternative: str | None = None) -> Check:
    """Return a check that accepts finite numbers.

    Args:
        low: the smallest number.
        high: the largest number.
        alternative: a text that is accepted as well.
    """
    expected = "a number"
    if math.isfinite(low):
        expected = f"a number from {low:g} to {high:g}" if math.isfinite(high) else f"a number of at least {low:g}"

    def check(value: str) -> str:
        is_number = NUMBER.fullmatch(value) and low <= (found := float(value)) <= high and math.isfinite(found)
        return "" if is_number or value == alternative else expected

    return check


def whole_number(low: int = 0) -> Check:
    """Return a check that accepts whole numbers.

    Args:
        low: the smallest number.
    """

    def check(value: str) -> str:
        is_whole = WHOLE_NUMBER.fullmatch(value) and int(value) >= low
        return "" if is_whole else f"a whole number of at least {low}"

    return check


def seed_or_shared(value: str) -> str:
    """Accept the seed of a training run, or the word for a run that all seeds share."""
    # A number has one spelling only, so that equal seeds are equal texts.
    is_seed = WHOLE_NUMBER.fullmatch(value) and str(int(value)) == value
    return "" if is_seed or value == SHARED else f"a whole number or `{SHARED}`"


def read_rows(path: Path, schema: Schema) -> list[Row]:
    """Read a table and check columns, values and keys.

    Raises:
        InputError: the file cannot be read, or its content does not match the schema.
    """
    rows = [Row(values, line) for line, values in enumerate(_read_table(path, schema), 2)]
    # Most values occur in many rows, and are checked once: what each wrong value should be, by column.
    wrong: dict[str, dict[str, str]] = {}
    for column in rows[0] if rows else ():
        check = schema.columns.get(column, schema.others or any_text)
        found = {value: check(value) for value in {row[column] for row in rows}}
        if any(found.values()):
            wrong[column] = found
    seen: dict[tuple[str, ...], int] = {}
    for row in rows if wrong or schema.key else ():
        for column, found in wrong.items():
            if expected := found[row[column]]:
                raise damaged(path, schema, f"line {row.line}: {column} is `{row[column]}`, not {expected}")
        key = tuple(row[column] for column in schema.key)
        if key and seen.setdefault(key, row.line) != row.line:
            raise damaged(path, schema, f"lines {seen[key]} and {row.line} are both about {', '.join(key)}")
    return rows


def _read_table(path: Path, schema: Schema) -> list[dict[str, str]]:
    try:
        text = decode_text(path.read_bytes())
        columns, rows = parse_table(split_lines(text))
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; run again") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except TextError as error:
        raise damaged(path, schema, str(error)) from None
    if not text:
        raise damaged(path, schema, "the file is empty")
    missing, others = schema.columns.keys() - set(columns), set(columns) - schema.columns.keys()
    if missing or (others and schema.others is None) or len(set(columns)) < len(columns):
        raise damaged(path, schema, f"line 1: the columns are {', '.join(columns)}, not {', '.join(schema.columns)}")
    if not rows and not schema.may_be_empty:
        raise damaged(path, schema, "the table has no rows")
    if not text.endswith("\n"):
        raise damaged(path, schema, f"line {len(rows) + 1} is cut short")
    return rows


def damaged(path: Path, schema: Schema, problem: str) -> InputError:
    """Return the error about a damaged table: the file, the problem and the remedy."""
    # A problem repeats values of the file, which may be anything.
    return InputError(f"{path}: {printable(problem[:MESSAGE_CHARACTERS])}; {schema.remedy}")


def check_complete(
    path: Path, schema: Schema, rows: Iterable[Row], columns: Sequence[str], expected: Sequence[tuple[str, ...]]
) -> None:
    """Check that the rows of a table are those that there must be.

    Args:
        path: the file.
        schema: what the table looks like.
        rows: its rows, with a key that is different in each.
        columns: columns of the key.
        expected: the keys that there must be.

    Raises:
        InputError: a row is missing, or there is another one.
    """
    wanted = set(expected)
    found = set()
    for row in rows:
        key = tuple(row[column] for column in columns)
        if key not in wanted:
            raise damaged(path, schema, f"line {row.line}: {', '.join(key)} is no part of the experiment")
        found.add(key)
    missing = [key for key in expected if key not in found]
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise damaged(path, schema, f"no row about {', '.join(missing[0])}{more}")
