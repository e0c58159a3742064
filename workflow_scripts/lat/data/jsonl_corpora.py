"""Read parallel corpora of the Hugging Face Hub, which are folders of JSON lines, as pairs of texts of one direction.

- `wmt24pp`: WMT24++, 55 translations of the English test set of WMT24, each in a file such as `en-de_DE.jsonl`. All
  share their English side, so that two of them are a test set between two other languages.
- `floresplus`: FLORES+, one file per language and part, such as `dev/nld_Latn.jsonl`. The releases of 2024 are archives
  with plain text and a public password, which keeps the text out of collections of training text.

Texts are paired by the identifiers of their segments.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ..files import InputError, fold, read_jsonl
from ..languages import CODE_PARTS, split_direction
from ..languages import language as language_of
from ..names import ENGLISH
from .archives import list_members
from .corpora import Pair, find_member, lines_of, paired

# The translations of WMT24++, by language and territory; the file of each is `en-<name>.jsonl`.
WMT24PP_SETS = [
    "ar_EG", "ar_SA", "bg_BG", "bn_IN", "ca_ES", "cs_CZ", "da_DK", "de_DE", "el_GR", "es_MX", "et_EE", "fa_IR",
    "fi_FI", "fil_PH", "fr_CA", "fr_FR", "gu_IN", "he_IL", "hi_IN", "hr_HR", "hu_HU", "id_ID", "is_IS", "it_IT",
    "ja_JP", "kn_IN", "ko_KR", "lt_LT", "lv_LV", "ml_IN", "mr_IN", "nl_NL", "no_NO", "pa_IN", "pl_PL", "pt_BR",
    "pt_PT", "ro_RO", "ru_RU", "sk_SK", "sl_SI", "sr_RS", "sv_SE", "sw_KE", "sw_TZ", "ta_IN", "te_IN", "th_TH",
    "tr_TR", "uk_UA", "ur_PK", "vi_VN", "zh_CN", "zh_TW", "zu_ZA",
]  # fmt: skip
# Number of segments of each domain, without those of low quality.
WMT24PP_DOMAINS = {"literary": 206, "news": 149, "social": 494, "speech": 111}
ALL_DOMAINS = "all"

# A label of FLORES-200 and FLORES+. A file of FLORES+ may have a third part, the Glottolog code of a variety.
FLORES_LABEL = re.compile("[a-z]{3}_[A-Z][a-z]{3}(_[a-z0-9]+)?")
RELEASE_PASSWORD = b"multilingual machine translation"


# Types of values in JSON, as they are called in messages.
TYPES = {str: "a text", int: "a whole number", bool: "true or false"}


class Segment(NamedTuple):
    """A segment of WMT24++ in English and in another language."""

    domain: str
    is_bad_source: bool
    english: str
    text: str


def wmt24pp_set(code: str) -> str:
    """Return the translation of WMT24++ that the code of a language stands for, such as `pt_BR`.

    It is the one of this language in the script of the code and, if the code has a territory, of this territory.

    Raises:
        InputError: there is none, or there are several.
    """
    language = language_of(code)
    parts = CODE_PARTS.fullmatch(code)
    base, territory = (parts[1], parts[3] or "") if parts else (code, "")
    if base == ENGLISH:
        raise InputError(f"the English side of WMT24++ is called `{ENGLISH}`; write it in place of `{code}`")
    # By region code, since the labels of a language have its other names, such as `no` for `nb`.
    regions = {
        name.replace("_", "-"): name
        for name in WMT24PP_SETS
        if name.partition("_")[0] in (base, *language.labels.split())
    }
    found = [
        region for region in regions if language_of(region).script == language.script and region.endswith(territory)
    ]
    if len(found) == 1:
        return regions[found[0]]
    known = " or ".join(f"`{region}`" for region in found or regions)
    remedy = f"write {known} in its place" if known else "drop the language, or take another corpus"
    raise InputError(f"WMT24++ has {len(found) or 'no'} translation{'s' * (len(found) != 1)} in `{code}`; {remedy}")


def read_wmt24pp(folder: Path, part: str, direction: str) -> list[Pair]:
    """Read the pairs of a domain, or of `all` domains.

    The reference is the text that was edited after the translation, as its publishers recommend. Segments that they
    mark as of low quality are left out.

    Raises:
        InputError: there is no translation in a language, a file is missing or damaged, the translations have different
            segments or English texts, or there is no segment of the domain.
    """
    source, target = split_direction(direction)
    files = {code: folder / f"en-{wmt24pp_set(code)}.jsonl" for code in (source, target) if code != ENGLISH}
    translations = {code: _segments_of(file, folder) for code, file in files.items()}
    first, last = (list(translations.values())[number] for number in (0, -1))
    _check_same(first, last, f"{folder}: {direction}", folder)
    pairs = []
    for key, segment in first.items():
        if segment.english != last[key].english:
            raise InputError(
                f"{files[target]}: segment {key[1]} of document {key[0]} has another English text than in"
                f" {files[source].name}; {_remedy(folder)}"
            )
        if part in (ALL_DOMAINS, segment.domain) and not (segment.is_bad_source or last[key].is_bad_source):
            texts = {code: segments[key].text for code, segments in translations.items()} | {ENGLISH: segment.english}
            pairs.append(Pair(texts[source], texts[target]))
    if not pairs:
        raise InputError(f"{folder}: no segment of `{part}` in {direction}; take a domain of the data set, or `all`")
    return pairs


@cache
def _segments_of(file: Path, folder: Path) -> Mapping[tuple[str, int], Segment]:
    """Return the segments of a file of WMT24++ by document and segment number, read once for all directions."""
    found = {}
    for where, row in _rows_of(file, folder):
        values = {
            field: _value(row, field, kind, where, folder)
            for field, kind in (
                ("lp", str), ("domain", str), ("document_id", str), ("segment_id", int),
                ("is_bad_source", bool), ("source", str), ("target", str),
            )
        }  # fmt: skip
        if values["lp"] != file.stem:
            raise InputError(f"{where} is of {values['lp']}, not of {file.stem}; {_remedy(folder)}")
        key = (values["document_id"], values["segment_id"])
        if key in found:
            raise InputError(f"{where}: segment {key[1]} of document {key[0]} is there twice; {_remedy(folder)}")
        texts = (fold(values["source"]), fold(values["target"]))
        found[key] = Segment(values["domain"], values["is_bad_source"], *texts)
    return found


def read_floresplus(place: Path, part: str, direction: str) -> list[Pair]:
    """Read the pairs of `dev` or `devtest`.

    The name of a file has the language's label, such as `nld_Latn`, which must be among the labels of the language, see
    `languages.Language`; of several, the first one counts.

    Args:
        place: folder of the data set, or the archive of a release.
        part: `dev` or `devtest`.
        direction: such as `it-nl`.

    Raises:
        InputError: a language or part is missing, a file cannot be read, or the files have different sentences.
    """
    if not place.is_dir():
        return _read_release(place, part, direction)
    names = [path.stem for path in sorted((place / part).glob("*.jsonl"))]
    if not names and any((place / part).glob("*.parquet")):
        raise InputError(
            f"{place / part}: has only Parquet files, but JSON lines are read; take a version of the data set that has"
            " them, as in resources/sources.tsv"
        )
    sides = []
    for language in split_direction(direction):
        label = _label_of(language, names, f"{place}: {part}")
        sides.append(_sentences_of(place / part / f"{label}.jsonl", place))
    sources, references = sides
    _check_same(sources, references, f"{place}: {part} of {direction}", place)
    return [Pair(text, references[number]) for number, text in sources.items()]


@cache
def _sentences_of(file: Path, folder: Path) -> Mapping[int, str]:
    """Return the sentences of a file of FLORES+ by their numbers, read once for all directions."""
    found: dict[int, str] = {}
    for where, row in _rows_of(file, folder):
        number = _value(row, "id", int, where, folder)
        if number in found:
            raise InputError(f"{where}: sentence {number} is there twice; {_remedy(folder)}")
        found[number] = fold(_value(row, "text", str, where, folder))
    return found


def _read_release(archive: Path, part: str, direction: str) -> list[Pair]:
    """Read the pairs of an archive whose files are like `dev/dev.nld_Latn`, with one sentence per line."""
    prefix = f"{part}."
    members = [PurePosixPath(path).name for path in list_members(archive)]
    names = [name.removeprefix(prefix) for name in members if name.startswith(prefix)]
    sides = []
    for language in split_direction(direction):
        label = _label_of(language, names, f"{archive}: {part}")
        member = find_member(archive, re.escape(prefix + label), RELEASE_PASSWORD)
        sides.append(lines_of(member) if member else [])
    return paired(sides, f"{archive}: {part} of {direction}")


def _label_of(language: str, names: list[str], where: str) -> str:
    """Return the first label of a language that is among the names of files.

    Raises:
        InputError: there is none.
    """
    labels = list(filter(FLORES_LABEL.fullmatch, language_of(language).labels.split()))
    for label in labels:
        if label in names:
            return label
    varieties = [name for name in names if "_".join(name.split("_")[:2]) in labels]
    if varieties:
        raise InputError(
            f"{where}: has {len(varieties)} varieties of {language}, {' and '.join(varieties)}; add one of them to the"
            f" labels of `{language}` in resources/languages.tsv"
        )
    raise InputError(f"{where}: nothing in {language}; its labels are {' '.join(labels)}; take another language")


def _rows_of(file: Path, folder: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return the place and the content of every line of a file in the folder of a data set."""
    if not file.is_file():
        raise InputError(f"{file}: no such file; {_remedy(folder)}")
    return [(f"{file}: line {number}", row) for number, row in enumerate(read_jsonl(file), 1)]


def _value(row: Mapping[str, Any], field: str, kind: type, where: str, folder: Path) -> Any:
    value = row.get(field)
    if type(value) is not kind:
        raise InputError(f"{where}: `{field}` is {value!r} instead of {TYPES[kind]}; {_remedy(folder)}")
    return value


def _check_same(sources: Mapping[Any, object], references: Mapping[Any, object], where: str, folder: Path) -> None:
    """Check that two files have the same segments, in any order.

    Raises:
        InputError: they have not.
    """
    different = sorted(sources.keys() ^ references.keys(), key=str)
    if different:
        raise InputError(
            f"{where}: different segments, {len(sources)} and {len(references)}; one of them lacks {different[0]};"
            f" {_remedy(folder)}"
        )


def _remedy(folder: Path) -> str:
    return f"delete {folder} and rerun to download it again"


# Functions that read the downloads, by `format` in the source table.
READERS: dict[str, Callable[[Path, str, str], list[Pair]]] = {"wmt24pp": read_wmt24pp, "floresplus": read_floresplus}
