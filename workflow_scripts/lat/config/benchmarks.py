"""Check the benchmarks of a config: languages, directions, and the text that they are made of."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ..data.corpora import LOCAL, SACREBLEU, find_local, local_files, no_local_text, read_local
from ..data.jsonl_corpora import ALL_DOMAINS, FLORES_LABEL, WMT24PP_DOMAINS, wmt24pp_set
from ..data.mtdata_corpora import MTDATA
from ..data.pair_filters import FILTERS, LANGUAGE, MAX_LENGTH, filter_named
from ..data.sources import CATALOGUES, CORPORA
from ..files import InputError
from ..languages import RESOURCES, identified_as, split_direction
from ..languages import language as language_of
from ..names import ENGLISH
from .mtdata_ids import check_held_out, check_ids
from .references import check_known, check_language, sources, sources_of
from .settings import dev_sentences, zero_shot_of

RESERVED = ("catalogues", "corpora", "logs", "sources")
CATALOGUE_KEYS = ("lid", "min_words", "max_words", "test_rows", "test_min_words")
FASTTEXT_SUFFIXES = (".bin", ".ftz")
# Parts of the corpora, by format, and of the rows of resources/sources.tsv that have fewer parts.
FORMAT_PARTS = {
    "flores": ("dev", "devtest"),
    "floresplus": ("dev", "devtest"),
    "wmt24pp": (ALL_DOMAINS, *WMT24PP_DOMAINS),
    "iwslt": ("train", *(f"{kind}20{year}" for kind in ("dev", "tst") for year in range(10, 18))),
}
PARTS = {"iwslt17-train": ("train", "dev2010", "tst2010"), "iwslt17-test": ("tst2017",)}
# Languages of the multilingual task of IWSLT17, to which both rows belong.
IWSLT17_LANGUAGES = ("de", "en", "it", "nl", "ro")


def check_benchmarks(config: Mapping[str, Any], root: Path) -> None:
    """Check all benchmarks.

    Args:
        config: a configuration that matches the schema.
        root: the folder that relative paths start from.

    Raises:
        InputError: a benchmark contradicts itself, or needs what does not exist.
    """
    for name, benchmark in config["benchmarks"].items():
        key = f"benchmarks.{name}"
        if name in RESERVED:
            raise InputError(f"config: {key} is the name of a folder in results/download; rename it")
        for language in benchmark["languages"]:
            check_language(f"{key}.languages", language)
        if ("catalogues" in benchmark) == ("corpora" in benchmark):
            raise InputError(f"config: {key} needs exactly one of `catalogues`, `corpora`")
        if "catalogues" in benchmark:
            _check_catalogues(key, benchmark)
        _check_directions(key, benchmark)
        if "corpora" in benchmark:
            _check_corpora(key, benchmark, root)
        if "dev" in benchmark:
            _check_dev(key, benchmark, root)
        if "paper" in benchmark:
            tables = sorted(path.stem for path in (RESOURCES / "paper").glob("*.tsv"))
            check_known(f"{key}.paper", benchmark["paper"], tables, "tables in resources/paper")


def identifiers() -> list[str]:
    """Return the rows of resources/sources.tsv that are fastText models."""
    return [name for name in sources_of("model") if sources()[name].file.endswith(FASTTEXT_SUFFIXES)]


def _check_directions(key: str, benchmark: Mapping[str, Any]) -> None:
    seen: set[str] = set()
    for kind in ("supervised", "zero_shot"):
        for direction in benchmark[kind]:
            for language in split_direction(direction):
                if language not in benchmark["languages"]:
                    raise InputError(
                        f"config: {key}.{kind}: `{direction}` is outside the benchmark, whose languages are "
                        f"{' '.join(benchmark['languages'])}; drop it or add `{language}` to {key}.languages"
                    )
            source, target = split_direction(direction)
            if source == target:
                raise InputError(f"config: {key}.{kind}: `{direction}` translates a language into itself; drop it")
            if identified_as(source) & identified_as(target):
                raise InputError(
                    f"config: {key}.{kind}: `{direction}` has two codes of one language for language identification,"
                    " which could not tell translations from copies; drop it"
                )
            if direction in seen:
                raise InputError(f"config: {key}: `{direction}` is both supervised and zero-shot; keep one")
            seen.add(direction)
    if not benchmark["supervised"]:
        raise InputError(f"config: {key}.supervised is empty; stage 1 needs a direction to train on")


def _check_dev(key: str, benchmark: Mapping[str, Any], root: Path) -> None:
    """Check the directions that are held out, and that local demonstration corpora have enough lines for them."""
    for direction in benchmark["dev"]["directions"]:
        check_known(f"{key}.dev.directions", direction, benchmark["zero_shot"], f"zero-shot directions of {key}")
    if not zero_shot_of(benchmark):
        raise InputError(
            f"config: {key}.dev.directions holds out all zero-shot directions, so that none is tested; leave one out"
        )
    corpora = benchmark.get("corpora", {}).get("demonstrations", {})
    if list(corpora) != [LOCAL]:
        return  # The number of lines is known when the text is read.
    wanted = benchmark["demonstrations"] + dev_sentences(benchmark)
    for direction in benchmark["dev"]["directions"]:
        lines = sum(len(read_local(str(root / part), direction)) for part in corpora[LOCAL])
        if lines < wanted:
            raise InputError(
                f"config: {key}.dev.sentences: {benchmark['demonstrations']} demonstrations and"
                f" {dev_sentences(benchmark)} dev lines are wanted, but {key}.corpora.demonstrations has {lines} lines"
                f" of {direction}; lower the numbers, or add lines"
            )


def _check_catalogues(key: str, benchmark: Mapping[str, Any]) -> None:
    if ENGLISH not in benchmark["languages"]:
        raise InputError(f"config: {key}.languages lacks `{ENGLISH}`, on which catalogues are aligned; add it")
    if benchmark["min_words"] > benchmark["max_words"]:
        raise InputError(f"config: {key}.min_words is above max_words; no row would be left")
    if benchmark["test_min_words"] > benchmark["max_words"]:
        raise InputError(f"config: {key}.test_min_words is above max_words; no test row would be left")
    if "demonstration_choice" in benchmark:
        raise InputError(f"config: {key}.demonstration_choice is for `corpora`; rows of catalogues are drawn; drop it")
    if "both_ways" in benchmark:
        raise InputError(f"config: {key}.both_ways is for `corpora`; catalogues give every direction anyway; drop it")
    if "filters" in benchmark:
        raise InputError(f"config: {key}.filters is for `corpora`; catalogues always have all filters; drop it")
    for source in benchmark["catalogues"]:
        check_known(f"{key}.catalogues", source, sources_of(*CATALOGUES), "catalogues in resources/sources.tsv")
    check_known(f"{key}.lid", benchmark["lid"], identifiers(), "identifiers in resources/sources.tsv")


def _check_corpora(key: str, benchmark: Mapping[str, Any], root: Path) -> None:
    needs_lid = _check_filters(f"{key}.filters", benchmark.get("filters", ()))
    if needs_lid and "lid" not in benchmark:
        raise InputError(
            f"config: {key}.filters: `{LANGUAGE}` needs a language identifier; add `lid: lid.176.ftz` to {key}"
        )
    for name in benchmark:
        if name == "lid" and needs_lid:
            check_known(f"{key}.lid", benchmark["lid"], identifiers(), "identifiers in resources/sources.tsv")
        elif name in CATALOGUE_KEYS:
            use = f"`catalogues` or the filter `{LANGUAGE}`" if name == "lid" else "`catalogues`"
            raise InputError(f"config: {key}.{name} is for {use}; corpora are taken as they are; drop it")
    check_held_out(f"{key}.corpora", benchmark["corpora"])
    for role, corpora in benchmark["corpora"].items():
        # The lines of dev directions are drawn from the corpora of the demonstrations.
        zero_shot = {"train": [], "test": zero_shot_of(benchmark), "demonstrations": benchmark["zero_shot"]}[role]
        directions = [*benchmark["supervised"], *zero_shot]
        for corpus, parts in corpora.items():
            role_key = f"{key}.corpora.{role}"
            known = [*sources_of(*CORPORA), SACREBLEU, MTDATA, LOCAL]
            others = f"`{SACREBLEU}`, `{MTDATA}` or `{LOCAL}`"
            check_known(role_key, corpus, known, f"corpora in resources/sources.tsv, {others}")
            role_key += f".{corpus}"
            if corpus == SACREBLEU:
                _check_test_sets(role_key, parts, directions)
            elif corpus == MTDATA:
                check_ids(role_key, parts, directions, training=role == "train", alone=len(corpora) == 1)
            elif corpus == LOCAL:
                for part in parts:
                    if not local_files(str(root / part)):
                        raise InputError(
                            f"config: {role_key}: no files `{part}.*`; see docs/benchmarks.md for their names"
                        )
                    for direction in directions:
                        if not find_local(str(root / part), direction):
                            raise InputError(f"config: {role_key}: {no_local_text(part, direction)}")
            else:
                _check_archive(role_key, corpus, parts, directions)


def _check_filters(key: str, filters: Iterable[str | Mapping[str, Mapping[str, Any]]]) -> bool:
    """Check the filters of a benchmark, and return whether one of them needs a language identifier."""
    names = []
    for number, entry in enumerate(filters):
        if not isinstance(entry, str) and len(entry) > 1:
            raise InputError(
                f"config: {key}.{number} has {len(entry)} filters, {' and '.join(entry)}; begin each with a dash"
            )
        name, thresholds = filter_named(entry)
        check_known(key, name, FILTERS, "filters")
        highest = thresholds.get("max_length", MAX_LENGTH)
        if thresholds.get("min_length", 1) > highest:
            raise InputError(
                f"config: {key}.{number}: min_length is above max_length, which is {highest}; no pair would be left"
            )
        names.append(name)
    return LANGUAGE in names


def _check_test_sets(key: str, parts: Iterable[str], directions: Iterable[str]) -> None:
    from sacrebleu.dataset import DATASETS

    for part in parts:
        check_known(key, part, DATASETS, "test sets of SacreBLEU (`sacrebleu --list`)")
        for direction in directions:
            check_known(key, direction, sorted(DATASETS[part].langpairs), f"directions of {part}")


def _check_archive(key: str, corpus: str, parts: Iterable[str], directions: Iterable[str]) -> None:
    """Check that a corpus of resources/sources.tsv has the parts and the languages of the directions."""
    kind = sources()[corpus].format
    known = PARTS.get(corpus, FORMAT_PARTS[kind])
    for part in parts:
        if part not in known:
            others = [name for name, parts in PARTS.items() if part in parts]
            remedy = f"it is in {others[0]}" if others else "choose one of them"
            raise InputError(f"config: {key}: {corpus} has the parts {', '.join(known)}, not `{part}`; {remedy}")
    for direction in directions:
        for language in split_direction(direction):
            if corpus in PARTS and language not in IWSLT17_LANGUAGES:
                raise InputError(
                    f"config: {key}: no `{direction}` in {corpus}, whose languages are {' '.join(IWSLT17_LANGUAGES)};"
                    " drop the direction, or take another corpus"
                )
            if kind == "wmt24pp" and language != ENGLISH:
                try:
                    wmt24pp_set(language)
                except InputError as error:
                    raise InputError(f"config: {key}: {error}") from None
            labels = language_of(language).labels.split()
            if kind in ("flores", "floresplus") and not any(map(FLORES_LABEL.fullmatch, labels)):
                name = "FLORES-200" if kind == "flores" else "FLORES+"
                raise InputError(
                    f"config: {key}: `{language}` has no label of {name}, such as nld_Latn; add it to the column"
                    " `labels` of resources/languages.tsv"
                )
