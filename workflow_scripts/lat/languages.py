"""Languages and directions: codes, names, scripts, labels and BLEU tokenisers, from `resources/languages.tsv`."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .files import read_table

RESOURCES = Path(__file__).resolve().parents[2] / "resources"


@dataclass(frozen=True)
class Language:
    """One row of the table; `labels` are what identifiers call the language, separated by spaces."""

    code: str
    name: str
    script: str
    labels: str
    bleu_tokenizer: str


@cache
def languages() -> dict[str, Language]:
    """Every language the workflow knows, by code."""
    return {row["code"]: Language(**row) for row in read_table(RESOURCES / "languages.tsv")}


@cache
def code_of_label() -> dict[str, str]:
    """The language code of every label that some identifier gives one of our languages."""
    return {label: language.code for language in languages().values() for label in language.labels.split()}


def split_direction(direction: str) -> tuple[str, str]:
    """Source and target code of a direction such as `it-nl`."""
    source, target = direction.split("-")
    return source, target
