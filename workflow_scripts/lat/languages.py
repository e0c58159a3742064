"""Languages, from CLDR (by Babel) and `resources/languages.tsv`, and directions.

A code is a language of two or three letters, such as `pt`, with a script and a territory where they matter: `pt-BR`,
`zh-TW`, `sr-Latn`, `es-419`. CLDR knows names, scripts and aliases of the codes (`nld` is `nl`); the table has what
CLDR does not know.
"""

from __future__ import annotations

import difflib
import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from .files import InputError, read_table

if TYPE_CHECKING:
    from babel import Locale

RESOURCES = Path(__file__).resolve().parents[2] / "resources"

CODE = r"[a-z]{2,3}(?:-[A-Z][a-z]{3})?(?:-(?:[A-Z]{2}|[0-9]{3}))?"
CODE_PARTS = re.compile(r"([a-z]{2,3})(?:-([A-Z][a-z]{3}))?(?:-([A-Z]{2}|[0-9]{3}))?")
DIRECTION = re.compile(f"({CODE})-({CODE})")
# A label such as `nld_Latn`: ISO 639-3 code and script, as in FLORES-200 and GlotLID.
SCRIPT_LABEL = re.compile("([a-z]{3})_([A-Z][a-z]{3})")
DEFAULT_TOKENIZER = "13a"
# Codes of CLDR that are no language: several, undetermined, and no linguistic content.
NO_LANGUAGES = ("mis", "mul", "und", "zxx")


@dataclass(frozen=True)
class Language:
    """A language.

    Attributes:
        code: code of the language in configs and directions.
        name: English name.
        script: code of the writing system (ISO 15924), such as `Latn`.
        labels: labels that language identifiers and FLORES-200 use for the language, separated by spaces.
        bleu_tokenizer: tokenizer of SacreBLEU for the language.
    """

    code: str
    name: str
    script: str
    labels: str
    bleu_tokenizer: str


@cache
def table() -> dict[str, dict[str, str]]:
    """Return the rows of `resources/languages.tsv`, by code; an empty value is taken from CLDR."""
    return {row["code"]: row for row in read_table(RESOURCES / "languages.tsv")}


def language(code: str) -> Language:
    """Return the language of a code.

    Raises:
        InputError: there is none; the message suggests another code.
    """
    found = find_language(code)
    if found is None:
        raise InputError(f"`{code}` is no code of a language; {_suggestion(code)}")
    return found


@cache
def find_language(code: str) -> Language | None:
    """Return the language of a code, or None if neither CLDR nor the table has its name and script."""
    parts = CODE_PARTS.fullmatch(code)
    if not parts or parts[1] in NO_LANGUAGES:
        return None
    name, script = language_name(code, "en"), _script(code)
    if not name or not script:
        return None
    base = table().get(parts[1], {})
    row = table().get(code, {})
    tokenizer = row.get("bleu_tokenizer") or base.get("bleu_tokenizer") or DEFAULT_TOKENIZER
    return Language(code, name, script, " ".join(_labels(code, parts[1], script)), tokenizer)


@cache
def language_name(code: str, prompt_language: str) -> str:
    """Return the name of a language in another one, such as `Brazilian Portuguese` for `pt-BR` in `en`.

    A script or territory stands in brackets if CLDR has no name for the whole: `Chinese (Taiwan)`. The result is empty
    if CLDR does not know the language; the table has only English names.
    """
    parts = CODE_PARTS.fullmatch(code)
    if not parts:
        return ""
    locale = _locale(prompt_language)
    name = locale.languages.get(code.replace("-", "_"))
    if not name and prompt_language == "en":
        name = table().get(code, {}).get("name")
    if name:
        return name
    base, script, territory = parts.groups()
    named = [(locale.scripts, script), (locale.territories, territory)]
    outside = [names.get(key, "") for names, key in named if key]
    if not outside or not all(outside):
        return ""
    # `zh-Hant-HK` is Traditional Chinese of Hong Kong.
    inner = language_name(f"{base}-{script}", prompt_language) if script and territory else ""
    if inner and "(" not in inner:
        return f"{inner} ({outside[-1]})"
    name = language_name(base, prompt_language)
    return f"{name} ({', '.join(outside)})" if name else ""


@cache
def identified_as(code: str) -> frozenset[str]:
    """Return the codes that language identifiers give to a line in a language, see `code_of_label`.

    An identifier that does not tell scripts or territories apart gives the code of the language alone, so that a line
    of the target `pt-BR` may be `pt`.
    """
    return frozenset({code, *map(code_of_label, language(code).labels.split())})


@cache
def code_of_label(label: str) -> str:
    """Return the language code of a label of an identifier.

    A label such as `nld_Latn` becomes a code, `nl`, or `nl-Cyrl` if the language is usually written in another script.
    Any other label is returned as it is.
    """
    parts = SCRIPT_LABEL.fullmatch(label)
    if not parts:
        return label
    if label in _labels_of_table():
        return _labels_of_table()[label]
    alias = _aliases().get(parts[1], parts[1])
    # Labels of languages that CLDR does not know stay labels.
    if not find_language(alias):
        return label
    return alias if _script(alias) == parts[2] else f"{alias}-{parts[2]}"


@cache
def usual_script(name: str, territory: str) -> str:
    """Return the script that a language is usually written in, in a territory if one is given; empty if unknown.

    Args:
        name: any code of the language, such as `zh` or `zho`.
        territory: such as `TW`, or empty.
    """
    base = _aliases().get(name, name)
    return _script(f"{base}-{territory}" if territory else base)


def language_entries(codes: Iterable[str]) -> dict[str, list[str]]:
    """Return what is known of some languages, by code, as a parameter of the rules that use it."""
    return {code: list(vars(language(code)).values()) for code in sorted(codes)}


@cache
def split_direction(direction: str) -> tuple[str, str]:
    """Return the source and the target language of a direction such as `it-nl` or `en-pt-BR`.

    Raises:
        InputError: the text is no direction.
    """
    parts = DIRECTION.fullmatch(direction)
    if not parts:
        raise InputError(f"`{direction}` is no direction; write two codes of languages, such as it-nl or en-pt-BR")
    return parts[1], parts[2]


@cache
def _locale(code: str) -> Locale:
    # Imported here and below, since most jobs need no names.
    from babel import Locale

    return Locale.parse(code, sep="-")


@cache
def _aliases() -> dict[str, str]:
    """Return the languages that CLDR treats as another one, such as `nld` as `nl` and `arb` as `ar`."""
    from babel.core import get_global

    return {
        alias: canonical
        for alias, canonical in get_global("language_aliases").items()
        if re.fullmatch("[a-z]{2,3}", alias) and re.fullmatch("[a-z]{2,3}", str(canonical))
    }


@cache
def _aliases_of() -> dict[str, list[str]]:
    found: dict[str, list[str]] = defaultdict(list)
    for alias, canonical in _aliases().items():
        found[canonical].append(alias)
    return dict(found)


@cache
def _script(code: str) -> str:
    """Return the script that a code names, or else the usual one of the language; empty if it is unknown."""
    from babel.core import get_global

    match = CODE_PARTS.fullmatch(code)
    if not match:
        return ""
    base, script, territory = match.groups()
    if script or (script := table().get(base, {}).get("script")):
        return script
    likely = get_global("likely_subtags")
    for key in (f"{base}_{territory}", base, str(get_global("language_aliases").get(base))):
        if key in likely:
            return likely[key].split("_")[1]
    return ""


@cache
def _labels_of_table() -> dict[str, str]:
    """Return the language of each label with a script in the table."""
    return {label: code for code, row in table().items() for label in row["labels"].split() if "_" in label}


def _labels(code: str, base: str, script: str) -> list[str]:
    """Return the labels of a language: its code, those by CLDR, and those of the table."""

    def of_table(name: str) -> list[str]:
        return table().get(name, {}).get("labels", "").split()

    # A code with labels in the table is not an alias: `als` is Alemannic in lid.176, but Albanian in ISO 639-3.
    canonical = base if of_table(base) else _aliases().get(base, base)
    names = [base, canonical, *(alias for alias in _aliases_of().get(canonical, ()) if not of_table(alias))]
    with_script = [f"{name}_{script}" for name in names if len(name) == 3]
    others = [label for label in with_script if _labels_of_table().get(label, base) == base]
    # What the table says of scripts is true of the language without a script or territory.
    return list(
        dict.fromkeys([code, *names, *others, *(own for own in of_table(base) if code == base or "_" not in own)])
    )


def _suggestion(code: str) -> str:
    """Return the end of a message about a code that is none."""
    from babel import Locale
    from babel.core import get_global

    # Upper and lower case, and `_`, are the most likely mistakes.
    parts = re.split("[-_]", code)
    written = [parts[0].lower(), *(part.upper() if len(part) == 2 else part.title() for part in parts[1:])]
    written[0] = _aliases().get(written[0], written[0])
    tidy = "-".join(written)
    if tidy != code and find_language(tidy):
        return f"write `{tidy}`"
    known = [*(name for name in Locale("en").languages if find_language(name)), *table()]
    names = {language_name(name, "en").casefold(): name for name in known}
    if code.casefold() in names:
        return f"write `{names[code.casefold()]}`"
    likely = get_global("likely_subtags").get(f"und_{code.upper()}", "").split("_")[0]
    if find_language(likely):
        return f"the language of the territory {code.upper()} is `{likely}`, {language_name(likely, 'en')}"
    close = difflib.get_close_matches(code, known, n=1)
    meant = f"did you mean `{close[0]}`, {language_name(close[0], 'en')}? Otherwise, " if close else ""
    return f"{meant}codes are those of CLDR, such as it, pt-BR or zh-TW; see docs/benchmarks.md"
