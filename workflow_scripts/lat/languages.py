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
    """All languages of `resources/languages.tsv`, by code."""
    return {row["code"]: Language(**row) for row in read_table(RESOURCES / "languages.tsv")}


@cache
def code_of_label() -> dict[str, str]:
    """The language code of each label in `resources/languages.tsv`, by label."""
    return {label: language.code for language in languages().values() for label in language.labels.split()}


def language_facts(codes: Iterable[str]) -> dict[str, list[str]]:
    """What the table says about some languages, by code; it changes whenever a result may."""
    return {code: list(vars(languages()[code]).values()) for code in sorted(codes)}


def split_direction(direction: str) -> tuple[str, str]:
    """Return the source and the target language of a direction such as `it-nl`."""
    source, target = direction.split("-")
    return source, target
