"""Languages, from `resources/languages.tsv`, and directions."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .files import read_table

RESOURCES = Path(__file__).resolve().parents[2] / "resources"


@dataclass(frozen=True)
class Language:
    """One row of `resources/languages.tsv`.

    Attributes:
        code: code of the language in configs and directions.
        name: English name.
        script: writing system.
        labels: labels that language identifiers use for the language, separated by spaces.
        bleu_tokenizer: tokenizer of SacreBLEU for the language.
    """

    code: str
    name: str
    script: str
    labels: str
    bleu_tokenizer: str


@cache
def languages() -> dict[str, Language]:
    """Return all languages of `resources/languages.tsv`, by code."""
    return {row["code"]: Language(**row) for row in read_table(RESOURCES / "languages.tsv")}


@cache
def code_of_label() -> dict[str, str]:
    """Return the language code of each label in `resources/languages.tsv`."""
    return {label: language.code for language in languages().values() for label in language.labels.split()}


def language_entries(codes: Iterable[str]) -> dict[str, list[str]]:
    """Return the rows of some languages, by code, as a parameter of the rules that read the table."""
    return {code: list(vars(languages()[code]).values()) for code in sorted(codes)}


def split_direction(direction: str) -> tuple[str, str]:
    """Return the source and the target language of a direction such as `it-nl`."""
    source, target = direction.split("-")
    return source, target
