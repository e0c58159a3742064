"""Keys of servers: read them, recognise them where they do not belong, and mask them in texts that a server sends."""

import base64
import html
import os
import re
from urllib.parse import parse_qsl, urlsplit

from .files import InputError

# Shorter keys are placeholders for servers without keys, such as `EMPTY`; masking them would damage ordinary words.
SHORTEST_KEY = 6
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
SECRET_PARAMETER = re.compile("key|token|secret|password|signature|credential", re.IGNORECASE)


def check_key_variable(name: str, place: str) -> None:
    """Check that a text is the name of an environment variable and not a key, which the message does not repeat.

    Many keys, such as `gsk_...` or hexadecimal digits, could be names. Unlike names, they have long parts, parts of
    letters and digits, or both small and capital letters. A variable that is set can have any name.

    Args:
        name: the text.
        place: key of the server's settings in the config, such as `judge`.

    Raises:
        InputError: the text looks like a key.
    """
    parts = name.split("_")
    plain = VARIABLE.fullmatch(name) and (name.isupper() or name.islower())
    if name not in os.environ and not (plain and all(len(part) <= (16 if part.isalpha() else 8) for part in parts)):
        raise InputError(
            f"config: {place}.key names the environment variable that holds the key, it is not the key itself; its"
            " value looks like a key, and no variable of this name is set"
        )


def secret(variable: str | None, place: str) -> str | None:
    """Read the API key of a server from an environment variable; None if no variable is named.

    Args:
        variable: name of the variable.
        place: key of the server's settings in the config, such as `judge`.

    Raises:
        InputError: the variable is not set, its value cannot be a key, or `variable` looks like a key itself, which
            the message does not repeat.
    """
    if variable is None:
        return None
    check_key_variable(variable, place)
    value = os.environ.get(variable, "").strip()  # files with variables may leave a carriage return
    if not value:
        raise InputError(
            f"{place}: the environment variable {variable} is not set; export it with the server's key, or set"
            f" `{place}.key: null` for a server that wants none"
        )
    if not (value.isascii() and value.isprintable()):
        raise InputError(f"{place}: the environment variable {variable} holds characters that no key has; set it again")
    return value


def check_base_url(url: str, place: str) -> None:
    """Check the address of a server. It is not repeated in messages, since it may contain a password or a key.

    Args:
        url: the address.
        place: key of the server's settings in the config, such as `judge`.

    Raises:
        InputError: it is no HTTP address, or it contains a user name, a password or a key.
    """
    if "@" in url:
        raise InputError(
            f"config: {place}.base_url has a user name or a password before an `@`; remove them, and name the"
            f" environment variable that holds the key in {place}.key"
        )
    try:
        parts = urlsplit(url)
        valid = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        valid = False
    if not valid or not url.isprintable() or " " in url:
        raise InputError(f"config: {place}.base_url is not the address of a server; write it as in `https://HOST/v1`")
    if parts.fragment or any(SECRET_PARAMETER.search(name) for name, _ in parse_qsl(parts.query, True)):
        raise InputError(
            f"config: {place}.base_url has a key or a token after `?` or `#`; remove it, and name the environment"
            f" variable that holds the key in {place}.key"
        )


class Mask:
    """Replaces a key by `***` in texts, in every spelling in which a server may repeat it.

    The spellings are: as it is, with escapes of JSON, Python, HTML or URLs for any of its characters, hexadecimal, and
    Base64, also as a part of a longer text.

    Args:
        key: the key, or None, for which texts remain as they are.
    """

    def __init__(self, key: str | None) -> None:
        spellings = []
        if key and len(key) >= SHORTEST_KEY:
            plain = "".join(map(_any_spelling, key))
            spellings = [f"(?i:{plain}|{key.encode().hex()})", *map(_base64_spelling, (key.encode(),) * 3, range(3))]
        self._spellings = re.compile("|".join(spellings)) if spellings else None

    def __call__(self, text: str) -> str:
        """Return the text with the key masked."""
        return self._spellings.sub("***", text) if self._spellings else text


def _any_spelling(character: str) -> str:
    code, hexadecimal = ord(character), f"{ord(character):02x}"
    entities = rf"#(?:0{{0,4}}{code}|x0{{0,4}}{hexadecimal})|{re.escape(html.escape(character).strip('&;'))}"
    # The number of backslashes is limited, since the search would be slow in a text of backslashes.
    return (
        rf"(?:\\{{0,8}}{re.escape(character)}|\\{{1,8}}(?:u0{{0,2}}|x){hexadecimal}"
        rf"|%(?:25){{0,4}}{hexadecimal}|&(?:amp;){{0,4}}(?:{entities});)"
    )


def _base64_spelling(key: bytes, offset: int) -> str:
    """Return a pattern for the digits that depend on the key alone, if `offset` bytes of a group of 3 precede it."""
    encoded = base64.b64encode(bytes(offset) + key).decode()
    digits = encoded[-(-offset * 8 // 6) : (offset + len(key)) * 8 // 6]
    return digits.replace("+", r"(?:\+|-|%2[Bb]|\\u002[Bb])").replace("/", r"(?:\\{0,8}/|_|%2[Ff]|\\u002[Ff])")
