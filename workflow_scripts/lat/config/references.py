"""Check that a name in the config exists, and suggest the one that is probably meant."""

import difflib
import re
from collections.abc import Iterable
from functools import cache

from ..data.sources import Source, read_sources
from ..files import InputError
from ..languages import language

HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+", re.ASCII)
HUB_ADDRESS = re.compile(
    rf"(?:https?://)?(?:www\.)?(?:huggingface\.co|hf\.co)/({HUB_ID.pattern})(?:[/?#].*)?", re.ASCII
)


def check_known(key: str, value: str, known: Iterable[str], what: str) -> None:
    """Check that a value is one of some names.

    Args:
        key: key of the value, for the message.
        value: the value.
        known: the names.
        what: what the names are, for the message.

    Raises:
        InputError: it is not.
    """
    known = list(known)
    if value not in known:
        raise InputError(f"config: {key}: `{value}` is not among the {what}{hint(value, known)}")


def check_language(key: str, code: str) -> None:
    """Check that a value is the code of a language.

    Args:
        key: key of the value, for the message.
        code: the value.

    Raises:
        InputError: it is not.
    """
    try:
        language(code)
    except InputError as error:
        raise InputError(f"config: {key}: {error}") from None


def hint(value: str, known: Iterable[str]) -> str:
    """Return the end of a message that names the known value that is closest to an unknown one, or else all of them."""
    known = list(known)
    close = difflib.get_close_matches(value, known, n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; known: {' '.join(known) or 'none'}"


def hub_id_in_address(value: str) -> str:
    """Return the id of a repository in its web address on huggingface.co; empty for other texts."""
    found = HUB_ADDRESS.fullmatch(value)
    return found[1] if found else ""


@cache
def sources() -> dict[str, Source]:
    """Return the rows of resources/sources.tsv, by name.

    Raises:
        InputError: the table is not valid.
    """
    return {source.name: source for source in read_sources()}


def sources_of(*formats: str) -> list[str]:
    """Return the names of all rows of resources/sources.tsv with one of these formats."""
    return [name for name, source in sources().items() if source.format in formats]
