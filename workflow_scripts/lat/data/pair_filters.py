"""Filters that drop pairs unfit for training from corpora, on request: the filters of catalogues, with thresholds.

A filter never changes a text. It drops a pair if one of its texts is unfit, or if they do not fit together. A filter
that OpusFilter has, too, has its name there (https://github.com/Helsinki-NLP/OpusFilter).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..languages import split_direction
from .assembling import Count, count_of
from .corpora import Pair
from .filters import (
    Accents,
    PairFilter,
    TextFilter,
    count_words,
    find_other_languages,
    has_extreme_ratio,
    has_markup,
    has_optional_ending,
    has_other_numbers,
    has_placeholder,
    is_not_prose,
    is_untranslated,
)
from .lid import Identifier

Corpora = Mapping[str, Sequence[Pair]]
# Called with (pair, direction); True drops the pair.
Drops = Callable[[Pair, str], bool]
# The filter that needs a language identifier.
LANGUAGE = "language"
WORD = "word"
MAX_LENGTH = 100  # of LengthFilter, as in OpusFilter


@dataclass(frozen=True)
class Context:
    """What some filters look at besides a pair.

    Attributes:
        corpora: all pairs that the filters before have left, by direction.
        languages: languages of the benchmark.
        identifier: identifies languages; None if no filter needs it.
    """

    corpora: Corpora
    languages: Sequence[str]
    identifier: Identifier | None

    def texts(self) -> list[tuple[str, str]]:
        """Return all distinct texts with their languages."""
        return list(
            dict.fromkeys(
                side
                for direction, pairs in self.corpora.items()
                for pair in pairs
                for side in zip(split_direction(direction), pair, strict=True)
            )
        )


def _of_texts(unfit: TextFilter) -> Drops:
    """Return a filter that drops a pair if one of its texts is unfit."""
    return lambda pair, direction: any(map(unfit, pair, split_direction(direction)))


def _of_pairs(unfit: PairFilter) -> Drops:
    """Return a filter that drops a pair if its texts do not fit together."""
    return lambda pair, direction: unfit(*pair, split_direction(direction)[1])


def _placeholder(context: Context) -> Drops:
    return _of_texts(has_placeholder)


def _markup(context: Context) -> Drops:
    return _of_texts(has_markup)


def _optional_ending(context: Context) -> Drops:
    return _of_texts(has_optional_ending)


def _untranslated(context: Context) -> Drops:
    return _of_pairs(is_untranslated)


def _numbers(context: Context) -> Drops:
    return _of_pairs(has_other_numbers)


def _length(context: Context, min_length: int = 1, max_length: int = MAX_LENGTH, unit: str = WORD) -> Drops:
    measure = count_words if unit == WORD else len
    return _of_texts(lambda text, language: not min_length <= measure(text) <= max_length)


def _not_prose(context: Context, **thresholds: float) -> Drops:
    return _of_texts(lambda text, language: is_not_prose(text, language, **thresholds))


def _length_ratio(context: Context, **thresholds: float) -> Drops:
    return _of_pairs(lambda source, target, language: has_extreme_ratio(source, target, language, **thresholds))


def _unaccented(context: Context, **thresholds: Any) -> Drops:
    return _of_texts(Accents(context.texts(), **thresholds).lack)


def _language(context: Context, **thresholds: Any) -> Drops:
    assert context.identifier, "the check of the config asks for an identifier"
    texts = context.texts()
    others = find_other_languages(texts, context.languages, context.identifier, **thresholds)
    unfit = {text for text, is_other in zip(texts, others, strict=True) if is_other}
    return _of_texts(lambda text, language: (language, text) in unfit)


# By name in a config. The thresholds of each are in the schema of the config, with the default values here.
FILTERS: dict[str, Callable[..., Drops]] = {
    "placeholder": _placeholder,
    "markup": _markup,
    "optional_ending": _optional_ending,
    "LengthFilter": _length,
    "not_prose": _not_prose,
    "untranslated": _untranslated,
    "numbers": _numbers,
    "length_ratio": _length_ratio,
    "unaccented": _unaccented,
    LANGUAGE: _language,
}


def filter_named(entry: str | Mapping[str, Mapping[str, Any]]) -> tuple[str, Mapping[str, Any]]:
    """Return name and thresholds of a filter of a config, such as `markup` or `{LengthFilter: {max_length: 80}}`."""
    if isinstance(entry, str):
        return entry, {}
    ((name, thresholds),) = entry.items()
    return name, thresholds


def run_pair_filters(
    corpora: Corpora,
    filters: Sequence[str | Mapping[str, Mapping[str, Any]]],
    languages: Sequence[str],
    identifier: Identifier | None,
) -> tuple[dict[str, list[Pair]], list[Count]]:
    """Run filters one after the other.

    Args:
        corpora: pairs by direction.
        filters: filters of the config, see `filter_named`.
        languages: languages of the benchmark.
        identifier: identifies the language of texts, for the filter of this name.

    Returns:
        The pairs that are left, and how many pairs of each direction were read, and how many each filter dropped and
        kept.
    """
    current = {direction: list(pairs) for direction, pairs in corpora.items()}
    counts = [count_of(direction, "read", pairs, pairs) for direction, pairs in current.items()]
    for entry in filters:
        name, thresholds = filter_named(entry)
        drops = FILTERS[name](Context(current, languages, identifier), **thresholds)
        after = {
            direction: [pair for pair in pairs if not drops(pair, direction)] for direction, pairs in current.items()
        }
        counts += [count_of(direction, name, pairs, after[direction]) for direction, pairs in current.items()]
        current = after
    return current, counts
