"""Step `download`: download the sources, read their texts and write the files of a benchmark.

Benchmarks of localisation catalogues use the subcommands `fetch`, `extract`, `split` and `draw`; benchmarks of
published corpora use `fetch`, `read`, `filter`, `assemble` and `draw-pairs`, and those that the library mtdata knows
`fetch-mtdata` and `read-mtdata`. With dev directions, `hold-out-rows` or `hold-out-pairs` leaves their lines out of the
training text.
"""

import argparse
import json
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .lat.data.assembling import COLUMNS, distinct_texts, draw_demonstrations, draw_samples, filter_pairs
from .lat.data.catalogues import read_archive
from .lat.data.corpora import LOCAL, READERS, SACREBLEU, Pair, read_local, read_sacrebleu
from .lat.data.dev import draw_pairs, hold_out_rows, without_texts
from .lat.data.filters import CatalogueRow, Limits, count, run_filters
from .lat.data.hub import DATASET, OLDER_FILES, fetch_snapshot
from .lat.data.jsonl_corpora import READERS as JSONL_READERS
from .lat.data.lid import LanguageIdentifier
from .lat.data.mtdata_corpora import fetch_corpus, read_corpora
from .lat.data.pair_filters import run_pair_filters
from .lat.data.sources import fetch, find_source
from .lat.data.splits import Sizes, draw_training, monolingual, split
from .lat.files import (
    InputError,
    read_jsonl,
    read_lines,
    read_table,
    replaced_folder,
    write_jsonl,
    write_lines,
    write_table,
)
from .lat.languages import find_language, split_direction
from .lat.names import ENGLISH
from .lat.runtime import log, run_step

FILTER_COLUMNS = ("source", "filter", "dropped", "kept", "complete")


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and run the subcommand."""
    parser = argparse.ArgumentParser(prog="python -m workflow_scripts.download", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    command = commands.add_parser("fetch", help="download and verify one source")
    command.set_defaults(run=run_fetch)
    command.add_argument("--source", required=True, help="name of the source in resources/sources.tsv")
    command.add_argument("--output", type=Path, required=True, help="path of the downloaded file or folder")
    command.add_argument("--store", type=Path, help="folder of downloads that several working folders share")

    command = commands.add_parser("extract", help="read the localisation catalogues of one source")
    command.set_defaults(run=run_extract)
    command.add_argument("--source", required=True, help="name of the source in resources/sources.tsv")
    command.add_argument("--archive", type=Path, required=True, help="downloaded file of the source")
    command.add_argument("--languages", nargs="+", required=True, help="language codes, including en")
    command.add_argument("--output", type=Path, required=True, help="extracted rows (JSON lines)")
    command.add_argument("--counts", type=Path, required=True, help="messages kept and left out, by reason (TSV)")

    command = commands.add_parser("split", help="make the files of a benchmark from catalogues")
    command.set_defaults(run=run_split)
    command.add_argument("--catalogues", type=Path, nargs="+", required=True, help="one output of `extract` per source")
    command.add_argument("--languages", nargs="+", required=True, help="language codes, including en")
    command.add_argument("--lid", type=Path, required=True, help="fastText language identification model")
    command.add_argument("--min-words", type=int, required=True, help="minimum words of an English text")
    command.add_argument("--max-words", type=int, required=True, help="maximum words of any text")
    command.add_argument("--test-rows", type=int, required=True, help="rows of the test set")
    command.add_argument("--test-min-words", type=int, required=True, help="minimum words of an English test sentence")
    command.add_argument("--demonstrations", type=int, required=True, help="rows held out as demonstrations")
    command.add_argument("--pool", type=Path, required=True, help="rows that training samples can be drawn from")
    add_benchmark_arguments(command)

    command = commands.add_parser("draw", help="draw the training samples of a benchmark of catalogues")
    command.set_defaults(run=run_draw)
    command.add_argument("--pool", type=Path, required=True, help="rows written by `split`")
    command.add_argument("--languages", nargs="+", required=True, help="language codes, including en")
    add_drawing_arguments(command)

    command = commands.add_parser("read", help="read one corpus into a pair of text files per direction")
    command.set_defaults(run=run_read)
    command.add_argument("--corpus", required=True, help="name in resources/sources.tsv, `sacrebleu` or `local`")
    command.add_argument("--archive", type=Path, help="downloaded file of a corpus in resources/sources.tsv")
    command.add_argument("--parts", nargs="+", required=True, help="such as `train`, `tst2017`, `wmt22` or a path")
    command.add_argument("--directions", nargs="+", required=True, help="directions such as en-it")
    command.add_argument("--output", type=Path, required=True, help="folder for the files <direction>.{src,ref}.txt")

    command = commands.add_parser("fetch-mtdata", help="download the files of one corpus that mtdata knows")
    command.set_defaults(run=run_fetch_mtdata)
    command.add_argument("--id", required=True, help="such as Statmt-europarl-10-deu-eng")
    command.add_argument("--output", type=Path, required=True, help="folder for the files")
    command.add_argument("--store", type=Path, help="folder of downloads that several working folders share")

    command = commands.add_parser("read-mtdata", help="read corpora of mtdata into a pair of text files per direction")
    command.set_defaults(run=run_read_mtdata)
    command.add_argument("--corpora", type=Path, nargs="+", required=True, help="folders written by `fetch-mtdata`")
    command.add_argument("--training", action="store_true", help="use each corpus in both directions")
    command.add_argument("--directions", nargs="+", required=True, help="directions such as en-it")
    command.add_argument("--output", type=Path, required=True, help="folder for the files <direction>.{src,ref}.txt")

    command = commands.add_parser("filter", help="drop unfit pairs from the training corpora of a benchmark")
    command.set_defaults(run=run_filter)
    command.add_argument("--corpora", type=Path, nargs="+", required=True, help="folders written by `read`")
    command.add_argument("--directions", nargs="+", required=True, help="directions such as en-it")
    command.add_argument("--languages", nargs="+", required=True, help="language codes of the benchmark")
    command.add_argument("--filters", type=json.loads, required=True, help="list of the filters in a config, as JSON")
    command.add_argument("--lid", type=Path, help="fastText language identification model, for the filter `language`")
    command.add_argument("--output", type=Path, required=True, help="folder for the files <direction>.{src,ref}.txt")
    command.add_argument("--counts", type=Path, required=True, help="what each filter dropped and kept (TSV)")

    command = commands.add_parser("hold-out-rows", help="hold out the lines of dev directions from catalogues")
    command.set_defaults(run=run_hold_out_rows)
    command.add_argument("--pool", type=Path, required=True, help="rows written by `split`")
    command.add_argument("--languages", nargs="+", required=True, help="language codes, including en")
    command.add_argument("--min-words", type=int, required=True, help="minimum words of an English text")
    command.add_argument(
        "--monolingual", type=Path, required=True, help="distinct texts of the other rows (JSON lines)"
    )
    add_dev_arguments(command)

    command = commands.add_parser("hold-out-pairs", help="hold out the lines of dev directions from corpora")
    command.set_defaults(run=run_hold_out_pairs)
    add_corpora_arguments(command)
    add_dev_arguments(command)

    command = commands.add_parser("assemble", help="make the files of a benchmark from corpora")
    command.set_defaults(run=run_assemble)
    add_corpora_arguments(command)
    command.add_argument("--train-rows", type=int, required=True, help="pairs of each direction; 0: all pairs")
    command.add_argument("--both-ways", action="store_true", help="use each pair in both directions")
    add_benchmark_arguments(command)

    command = commands.add_parser("draw-pairs", help="draw the training samples of a benchmark of corpora")
    command.set_defaults(run=run_draw_pairs)
    command.add_argument("--corpora", type=Path, nargs="+", required=True, help="folders written by `read`")
    command.add_argument("--test-folder", type=Path, required=True, help="test set written by `assemble`")
    command.add_argument(
        "--demonstrations-folder", type=Path, required=True, help="demonstrations written by `assemble`"
    )
    command.add_argument("--zero-shot", nargs="*", default=[], help="directions without training samples")
    command.add_argument("--both-ways", action="store_true", help="use each pair in both directions")
    add_drawing_arguments(command)

    options = parser.parse_args(arguments)
    options.run(options)


def add_benchmark_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of the subcommands that write the files of a benchmark."""
    command.add_argument("--seed", type=int, required=True, help="determines which rows are chosen")
    command.add_argument("--monolingual", type=Path, required=True, help="distinct training texts (JSON lines)")
    command.add_argument("--test-folder", type=Path, required=True, help="source and reference texts")
    command.add_argument("--demonstrations-folder", type=Path, required=True, help="demonstrations (JSON lines)")
    command.add_argument("--filters", type=Path, required=True, help="what each filter dropped and kept (TSV)")


def add_drawing_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of the subcommands that draw training samples."""
    command.add_argument("--supervised", nargs="+", required=True, help="directions with training samples")
    command.add_argument(
        "--train-rows", type=int, required=True, help="samples of each direction; 0: all that each has"
    )
    command.add_argument("--seed", type=int, required=True, help="determines which rows are drawn, and their order")
    command.add_argument("--train", type=Path, required=True, help="training samples (JSON lines)")
    command.add_argument("--counts", type=Path, required=True, help="rows drawn and left (TSV)")


def add_corpora_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of the subcommands that read the corpora of a benchmark."""
    for role in ("train", "test", "demonstrations"):
        command.add_argument(f"--{role}-corpora", type=Path, nargs="+", required=True, help="folders written by `read`")
    command.add_argument("--supervised", nargs="+", required=True, help="directions with training samples")
    command.add_argument("--zero-shot", nargs="*", default=[], help="zero-shot directions that are tested")
    command.add_argument("--demonstrations", type=int, required=True, help="demonstrations of each direction")
    command.add_argument(
        "--first-demonstrations", action="store_true", help="the demonstrations are the first pairs, not drawn ones"
    )
    command.add_argument("--filter-counts", type=Path, help="what `filter` dropped and kept, which made the corpora")


def add_dev_arguments(command: argparse.ArgumentParser) -> None:
    """Add the flags of the subcommands that hold out the lines of dev directions."""
    command.add_argument("--directions", nargs="+", required=True, help="the dev directions")
    command.add_argument("--sentences", type=int, required=True, help="lines of each dev direction")
    command.add_argument("--seed", type=int, required=True, help="determines which lines are drawn")
    command.add_argument("--dev", type=Path, required=True, help="folder for <direction>.{src,ref}.txt")
    command.add_argument("--rest", type=Path, required=True, help="the training text without these lines")
    command.add_argument("--counts", type=Path, required=True, help="what was dropped and kept (TSV)")


def run_fetch(options: argparse.Namespace) -> None:
    """Download one source."""
    source = find_source(options.source)
    if source.kind == "hub":
        fetch_snapshot(source.package, source.version or None, options.output, OLDER_FILES, store=options.store)
        log.info("%s: %s", options.output, source.package)
    elif source.kind == "dataset":
        patterns = source.members.split()
        fetch_snapshot(
            source.package, source.version or None, options.output, patterns, store=options.store, kind=DATASET
        )
        log.info("%s: %s", options.output, source.package)
    else:
        fetch(source, options.output, store=options.store)


def run_extract(options: argparse.Namespace) -> None:
    """Read the localisation catalogues of one source."""
    check_languages(options.languages)
    rows, counts = read_archive(options.archive, find_source(options.source), options.languages)
    write_jsonl(options.output, rows)
    table = [
        {"language": language, "reason": reason, "messages": number}
        for (language, reason), number in sorted(counts.items())
    ]
    write_table(options.counts, table, ("language", "reason", "messages"))
    complete = sum(len(row) == len(options.languages) for row in rows)
    log.info("%s: %d rows, %d of them in all %d languages", options.source, len(rows), complete, len(options.languages))


def run_split(options: argparse.Namespace) -> None:
    """Filter and divide the rows of all sources."""
    check_languages(options.languages)
    rows = [CatalogueRow(path.stem, texts) for path in options.catalogues for texts in read_jsonl(path)]
    limits = Limits(options.min_words, options.max_words)
    kept, counts = run_filters(rows, options.languages, limits, LanguageIdentifier(options.lid))
    sizes = Sizes(options.test_rows, options.test_min_words, options.demonstrations)
    splits = split(kept, options.languages, sizes, options.seed)
    texts = monolingual(splits.training, options.languages, options.seed)

    write_test(options.test_folder, splits.test, options.languages)
    write_demonstrations(options.demonstrations_folder, splits.demonstrations, options.languages)
    write_jsonl(options.pool, map(vars, splits.training))
    write_jsonl(options.monolingual, texts)
    table = [vars(entry) for entry in [*counts, *splits.counts]]
    write_table(options.filters, table, FILTER_COLUMNS)
    log.info(
        "%d training rows, %d monolingual texts, %d test rows, %d demonstrations",
        len(splits.training),
        len(texts),
        len(splits.test),
        len(splits.demonstrations),
    )


def run_draw(options: argparse.Namespace) -> None:
    """Draw the training samples of a benchmark of catalogues."""
    rows = [CatalogueRow(**row) for row in read_jsonl(options.pool)]
    samples, used = draw_training(rows, options.supervised, options.train_rows, options.seed)
    write_jsonl(options.train, samples)
    counts = count(rows, used, "train", options.languages)
    write_table(options.counts, [vars(entry) for entry in counts], FILTER_COLUMNS)
    log.info("%d training samples in %d directions", len(samples), len(options.supervised))


def run_read(options: argparse.Namespace) -> None:
    """Read every direction of one corpus, with the parts one after the other."""
    with tempfile.TemporaryDirectory() as cache, replaced_folder(options.output) as partial:
        for direction in options.directions:
            pairs = []
            for part in options.parts:
                if options.corpus == LOCAL:
                    pairs += read_local(part, direction)
                elif options.corpus == SACREBLEU:
                    pairs += read_sacrebleu(part, direction, Path(cache))
                else:
                    read = (READERS | JSONL_READERS)[find_source(options.corpus).format]
                    pairs += read(options.archive, part, direction)
            write_pairs(partial, direction, pairs)
            log.info("%s %s: %d pairs", options.corpus, direction, len(pairs))


def run_fetch_mtdata(options: argparse.Namespace) -> None:
    """Download the files of one corpus that mtdata knows."""
    fetch_corpus(options.id, options.output, options.store)


def run_read_mtdata(options: argparse.Namespace) -> None:
    """Read every direction of some corpora that mtdata knows, one corpus after the other."""
    read_corpora(options.corpora, options.directions, options.training, options.output)


def run_filter(options: argparse.Namespace) -> None:
    """Drop unfit pairs from the training corpora."""
    corpora = {direction: read_pairs(options.corpora, direction) for direction in options.directions}
    identifier = LanguageIdentifier(options.lid) if options.lid else None
    kept, counts = run_pair_filters(corpora, options.filters, options.languages, identifier)
    with replaced_folder(options.output) as partial:
        for direction, pairs in kept.items():
            write_pairs(partial, direction, pairs)
            log.info("%s: %d of %d pairs are left", direction, len(pairs), len(corpora[direction]))
    write_table(options.counts, counts, COLUMNS)


def run_hold_out_rows(options: argparse.Namespace) -> None:
    """Hold out rows of catalogues."""
    pool = [CatalogueRow(**row) for row in read_jsonl(options.pool)]
    drawn, rest = hold_out_rows(pool, options.directions, options.sentences, options.min_words, options.seed)
    with replaced_folder(options.dev) as partial:
        for direction in options.directions:
            source, target = split_direction(direction)
            write_pairs(partial, direction, [Pair(row.texts[source], row.texts[target]) for row in drawn])
    write_jsonl(options.rest, map(vars, rest))
    write_jsonl(options.monolingual, monolingual(rest, options.languages, options.seed))
    counts = count(pool, rest, "dev", options.languages)
    write_table(options.counts, [vars(entry) for entry in counts], FILTER_COLUMNS)
    log.info(
        "%d dev lines in %d directions, %d of %d training rows are left",
        len(drawn),
        len(options.directions),
        len(rest),
        len(pool),
    )


def run_hold_out_pairs(options: argparse.Namespace) -> None:
    """Hold out pairs of the corpora of the demonstrations, after these have been drawn as `assemble` does."""
    tested = [*options.supervised, *options.zero_shot]
    test = {direction: read_pairs(options.test_corpora, direction) for direction in tested}
    filled = {direction: [pair for pair in pairs if all(pair)] for direction, pairs in test.items()}
    shown = {direction: read_pairs(options.demonstrations_corpora, direction) for direction in tested}
    seed = None if options.first_demonstrations else options.seed
    demonstrations = draw_demonstrations(shown, filled, options.demonstrations, seed)
    dev = draw_pairs(
        {direction: read_pairs(options.demonstrations_corpora, direction) for direction in options.directions},
        {direction: [*filled[direction], *demonstrations[direction]] for direction in tested},
        options.sentences,
        options.seed,
    )
    train = {direction: read_pairs(options.train_corpora, direction) for direction in options.supervised}
    rest, counts = without_texts(train, dev)
    for folder, kept in ((options.dev, dev), (options.rest, rest)):
        with replaced_folder(folder) as partial:
            for direction, pairs in kept.items():
                write_pairs(partial, direction, pairs)
    earlier = read_table(options.filter_counts) if options.filter_counts else []
    write_table(options.counts, [*earlier, *counts], COLUMNS)
    dropped = sum(int(entry["dropped"]) for entry in counts)
    log.info("%d dev lines in each of %d directions, %d training pairs dropped", options.sentences, len(dev), dropped)


def run_assemble(options: argparse.Namespace) -> None:
    """Make training samples, test set and demonstrations from corpora written by `read`."""
    directions = [*options.supervised, *options.zero_shot]
    test = {}
    for direction in directions:
        pairs = read_pairs(options.test_corpora, direction)
        test[direction] = [pair for pair in pairs if pair.source and pair.target]
        if not test[direction]:
            raise InputError(f"direction {direction}: the test corpora have no pair; choose others")
    shown = {direction: read_pairs(options.demonstrations_corpora, direction) for direction in directions}
    demonstrations = draw_demonstrations(
        shown, test, options.demonstrations, None if options.first_demonstrations else options.seed
    )
    corpora = {direction: read_pairs(options.train_corpora, direction) for direction in options.supervised}
    held_out = {direction: [*test[direction], *demonstrations[direction]] for direction in directions}
    kept, counts = filter_pairs(corpora, held_out, options.both_ways)
    samples, _ = draw_samples(kept, options.train_rows, options.seed)

    with replaced_folder(options.test_folder) as partial:
        for direction, pairs in test.items():
            write_pairs(partial, direction, pairs)
    with replaced_folder(options.demonstrations_folder) as partial:
        for direction, pairs in demonstrations.items():
            write_jsonl(partial / f"{direction}.jsonl", (pair._asdict() for pair in pairs))
    write_jsonl(options.monolingual, distinct_texts(samples))
    earlier = read_table(options.filter_counts) if options.filter_counts else []
    write_table(options.filters, [*earlier, *counts], COLUMNS)
    log.info("%d test pairs in %d directions", sum(map(len, test.values())), len(test))


def run_draw_pairs(options: argparse.Namespace) -> None:
    """Draw the training samples of a benchmark of corpora."""
    held_out = {}
    for direction in (*options.supervised, *options.zero_shot):
        shown = read_jsonl(options.demonstrations_folder / f"{direction}.jsonl")
        held_out[direction] = [*read_pairs([options.test_folder], direction), *(Pair(**pair) for pair in shown)]
    corpora = {direction: read_pairs(options.corpora, direction) for direction in options.supervised}
    pairs, _ = filter_pairs(corpora, held_out, options.both_ways)
    samples, counts = draw_samples(pairs, options.train_rows, options.seed)
    write_jsonl(options.train, samples)
    write_table(options.counts, counts, COLUMNS)
    log.info("%d training samples in %d directions", len(samples), len(options.supervised))


def write_pairs(folder: Path, direction: str, pairs: Sequence[Pair]) -> None:
    """Write the source texts and the reference texts of a direction."""
    write_lines(folder / f"{direction}.src.txt", (pair.source for pair in pairs))
    write_lines(folder / f"{direction}.ref.txt", (pair.target for pair in pairs))


def read_pairs(folders: Sequence[Path], direction: str) -> list[Pair]:
    """Read the pairs of a direction from the folders of several corpora."""
    pairs = []
    for folder in folders:
        sides = [read_lines(folder / f"{direction}.{side}.txt") for side in ("src", "ref")]
        pairs += [Pair(*lines) for lines in zip(*sides, strict=True)]
    return pairs


def check_languages(languages: Sequence[str]) -> None:
    """Check that the languages are known and distinct and include English, on which the rows are aligned.

    Raises:
        InputError: a language is unknown or repeated, English is missing, or there are fewer than two languages.
    """
    for language in languages:
        if not find_language(language):
            raise InputError(f"languages: `{language}` is no code of a language; write one such as it or pt-BR")
    if ENGLISH not in languages or len(languages) < 2 or len(set(languages)) < len(languages):
        raise InputError(f"languages: {' '.join(languages)} must be distinct, at least two, and en one of them")


def directions_of(languages: Sequence[str]) -> list[tuple[str, str]]:
    """Return every ordered pair of different languages."""
    return [(source, target) for source in languages for target in languages if source != target]


def write_test(folder: Path, test: Sequence[CatalogueRow], languages: Sequence[str]) -> None:
    """Write the source and reference texts of every direction, with the same rows in the same order in each."""
    with replaced_folder(folder) as partial:
        for source, target in directions_of(languages):
            write_lines(partial / f"{source}-{target}.src.txt", (row.texts[source] for row in test))
            write_lines(partial / f"{source}-{target}.ref.txt", (row.texts[target] for row in test))


def write_demonstrations(folder: Path, demonstrations: Sequence[CatalogueRow], languages: Sequence[str]) -> None:
    """Write the demonstrations of every direction, with the same rows in the same order in each."""
    with replaced_folder(folder) as partial:
        for source, target in directions_of(languages):
            pairs = ({"source": row.texts[source], "target": row.texts[target]} for row in demonstrations)
            write_jsonl(partial / f"{source}-{target}.jsonl", pairs)


if __name__ == "__main__":
    run_step(main)
