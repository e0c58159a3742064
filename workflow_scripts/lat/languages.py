"""Languages and directions: codes, names, identifier labels and BLEU tokenisers, from `resources/languages.tsv`."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from .files import read_table

RESOURCES = Path(__file__).resolve().parents[2] / "resources"


@dataclass(frozen=True)
class Language:
    """One row of the table: ISO code, English name, fastText label, SacreBLEU tokeniser."""

    code: str
    name: str
    lid: str
    bleu_tokenizer: str


@cache
def languages() -> dict[str, Language]:
    """Every language the workflow knows, by code."""
    return {row["code"]: Language(**row) for row in read_table(RESOURCES / "languages.tsv")}


def split_direction(direction: str) -> tuple[str, str]:
    """Source and target code of a direction such as `it-nl`."""
    source, target = direction.split("-")
    return source, target
