"""Hold out the lines of the dev directions of a benchmark, and write the training text without them.

Benchmarks of localisation catalogues use the subcommand `rows`, benchmarks of published corpora `pairs`.
"""

import argparse
from pathlib import Path

from .download import FILTER_COLUMNS, read_pairs, write_pairs
from .lat.data.assembling import COLUMNS, draw_demonstrations
from .lat.data.corpora import Pair
from .lat.data.dev import draw_pairs, hold_out_rows, without_texts
from .lat.data.filters import CatalogueRow, count
from .lat.data.splits import monolingual
from .lat.files import read_jsonl, read_table, replaced_folder, write_jsonl, write_table
from .lat.languages import split_direction
from .lat.runtime import log, run_step


def main() -> None:
    """Parse the flags and run the subcommand."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = parser.add_subparsers(dest="command", required=True)

    rows = commands.add_parser("rows", help="hold out rows of catalogues")
    rows.add_argument("--pool", type=Path, required=True, help="rows written by `download split`")
    rows.add_argument("--languages", nargs="+", required=True, help="language codes, including en")
    rows.add_argument("--min-words", type=int, required=True, help="minimum words of an English text")
    rows.add_argument("--monolingual", type=Path, required=True, help="distinct texts of the other rows (JSON lines)")

    pairs = commands.add_parser("pairs", help="hold out pairs of corpora")
    for role in ("train", "test", "demonstrations"):
        pairs.add_argument(f"--{role}-corpora", type=Path, nargs="+", required=True, help="folders of `download read`")
    pairs.add_argument("--supervised", nargs="+", required=True, help="directions with training samples")
    pairs.add_argument("--zero-shot", nargs="*", default=[], help="zero-shot directions that are tested")
    pairs.add_argument("--demonstrations", type=int, required=True, help="demonstrations of each direction")
    pairs.add_argument("--first-demonstrations", action="store_true", help="the demonstrations are the first pairs")
    pairs.add_argument("--filter-counts", type=Path, help="what `download filter` dropped and kept")

    for command in (rows, pairs):
        command.add_argument("--directions", nargs="+", required=True, help="the dev directions")
        command.add_argument("--sentences", type=int, required=True, help="lines of each dev direction")
        command.add_argument("--seed", type=int, required=True, help="determines which lines are drawn")
        command.add_argument("--dev", type=Path, required=True, help="folder for <direction>.{src,ref}.txt")
        command.add_argument("--rest", type=Path, required=True, help="the training text without these lines")
        command.add_argument("--counts", type=Path, required=True, help="what was dropped and kept (TSV)")

    arguments = parser.parse_args()
    if arguments.command == "rows":
        write_rows(arguments)
    else:
        write_all_pairs(arguments)


def write_rows(arguments: argparse.Namespace) -> None:
    """Hold out rows of catalogues."""
    pool = [CatalogueRow(**row) for row in read_jsonl(arguments.pool)]
    drawn, rest = hold_out_rows(pool, arguments.directions, arguments.sentences, arguments.min_words, arguments.seed)
    with replaced_folder(arguments.dev) as partial:
        for direction in arguments.directions:
            source, target = split_direction(direction)
            write_pairs(partial, direction, [Pair(row.texts[source], row.texts[target]) for row in drawn])
    write_jsonl(arguments.rest, map(vars, rest))
    write_jsonl(arguments.monolingual, monolingual(rest, arguments.languages, arguments.seed))
    counts = count(pool, rest, "dev", arguments.languages)
    write_table(arguments.counts, [vars(entry) for entry in counts], FILTER_COLUMNS)
    log.info(
        "%d dev lines in %d directions, %d of %d training rows are left",
        len(drawn),
        len(arguments.directions),
        len(rest),
        len(pool),
    )


def write_all_pairs(arguments: argparse.Namespace) -> None:
    """Hold out pairs of the corpora of the demonstrations, after these have been drawn as `download assemble` does."""
    tested = [*arguments.supervised, *arguments.zero_shot]
    test = {direction: read_pairs(arguments.test_corpora, direction) for direction in tested}
    filled = {direction: [pair for pair in pairs if all(pair)] for direction, pairs in test.items()}
    shown = {direction: read_pairs(arguments.demonstrations_corpora, direction) for direction in tested}
    seed = None if arguments.first_demonstrations else arguments.seed
    demonstrations = draw_demonstrations(shown, filled, arguments.demonstrations, seed)
    dev = draw_pairs(
        {direction: read_pairs(arguments.demonstrations_corpora, direction) for direction in arguments.directions},
        {direction: [*filled[direction], *demonstrations[direction]] for direction in tested},
        arguments.sentences,
        arguments.seed,
    )
    train = {direction: read_pairs(arguments.train_corpora, direction) for direction in arguments.supervised}
    rest, counts = without_texts(train, dev)
    for folder, kept in ((arguments.dev, dev), (arguments.rest, rest)):
        with replaced_folder(folder) as partial:
            for direction, pairs in kept.items():
                write_pairs(partial, direction, pairs)
    earlier = read_table(arguments.filter_counts) if arguments.filter_counts else []
    write_table(arguments.counts, [*earlier, *counts], COLUMNS)
    dropped = sum(int(entry["dropped"]) for entry in counts)
    log.info("%d dev lines in each of %d directions, %d training pairs dropped", arguments.sentences, len(dev), dropped)


if __name__ == "__main__":
    run_step(main)
