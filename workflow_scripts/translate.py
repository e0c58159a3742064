"""Translate with a language model on a server: one request per line, and one text file per direction."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .lat.files import Journal, fold, read_lines, replaced_folder, write_lines, write_table
from .lat.runtime import log, run_step
from .lat.server_flags import add_server_flags, prices_of, server_of

if TYPE_CHECKING:
    from .lat.servers import Reply


def main() -> None:
    """Parse the flags, ask the server, and write the translations with one line per line of the test set.

    The output folder appears only when it is complete.

    Raises:
        InputError: a file cannot be read, or the server fails.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--system", required=True, help="name of the system, for messages")
    parser.add_argument("--directions", nargs="+", required=True)
    parser.add_argument("--test", type=Path, required=True, help="folder of the test set, with <direction>.src.txt")
    add_server_flags(parser)
    parser.add_argument("--output", type=Path, required=True, help="folder of <direction>.txt and counts.tsv")
    arguments = parser.parse_args()

    # Imported here, since the client takes a second to load, and the check of the flags does without it.
    from .lat.decoding.on_server import translate
    from .lat.servers import held

    lines = [
        (direction, line)
        for direction in arguments.directions
        for line in read_lines(arguments.test / f"{direction}.src.txt")
    ]
    # Experiments with other base models translate the same lines, and share the journal.
    with held(Journal(arguments.journal)):
        server = server_of(arguments, f"systems.{arguments.system}.server")
        replies = translate(server, lines, arguments.parallel, prices_of(arguments), arguments.max_cost)

    counts = []
    with replaced_folder(arguments.output) as partial:
        for direction in arguments.directions:
            found = [reply for reply, (name, _) in zip(replies, lines, strict=True) if name == direction]
            write_lines(partial / f"{direction}.txt", (fold(reply.text) for reply in found))
            counts.append({"direction": direction, **count(found)})
            log.info("%s: %d lines, %d empty, %d truncated, %d of several lines", *counts[-1].values())
        write_table(partial / "counts.tsv", counts, list(counts[0]))
    total = {name: sum(row[name] for row in counts) for name in list(counts[0])[1:]}
    log.info("%d of %d replies are empty", total["empty"], total["lines"])
    if total["truncated"]:
        log.warning(
            "%d of %d replies end at the maximum number of tokens; allow more in systems.%s.server.request",
            total["truncated"], total["lines"], arguments.system,
        )  # fmt: skip
    if total["several_lines"]:
        example = next(reply.text for reply in replies if is_of_several_lines(reply))
        log.warning(
            "%d of %d replies have several lines, which are joined by spaces, such as %r; if they hold more than the"
            " translation, change the request or the model",
            total["several_lines"], total["lines"], example[:200],
        )  # fmt: skip


def is_of_several_lines(reply: Reply) -> bool:
    """Return whether a reply has more than one line, apart from empty lines around it."""
    return len(reply.text.strip().splitlines()) > 1


def count(replies: list[Reply]) -> dict[str, int]:
    """Return the number of replies, and of those that are empty, truncated or of several lines."""
    return {
        "lines": len(replies),
        "empty": sum(not reply.text.strip() for reply in replies),
        "truncated": sum(reply.truncated for reply in replies),
        "several_lines": sum(map(is_of_several_lines, replies)),
    }


if __name__ == "__main__":
    run_step(main)
