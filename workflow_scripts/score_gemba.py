"""Score the outputs of one system by the ratings of a language model on a server, after GEMBA."""

import argparse
from pathlib import Path

from .lat.files import SCORE_COLUMNS, write_jsonl, write_table
from .lat.runtime import log, run_step
from .lat.server_flags import add_server_flags, prices_of, server_of
from .score_learned import read_segments


def main() -> None:
    """Parse the flags, ask the server, and write the table of scores, the table of line scores and the replies.

    Raises:
        InputError: sources, hypotheses and references of a direction differ in their number of lines, or have none, or
            the server fails.
    """
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", required=True, help="name of the metric in tables")
    parser.add_argument("--scale", choices=["da", "sqm"], required=True, help="what the numbers mean")
    parser.add_argument("--reference", action="store_true", help="show the reference to the model")
    parser.add_argument("--hypotheses", type=Path, required=True, help="folder with the files <direction>.txt")
    parser.add_argument("--test", type=Path, required=True, help="folder with the files <direction>.{src,ref}.txt")
    parser.add_argument("--directions", nargs="+", required=True)
    add_server_flags(parser)
    parser.add_argument("--lines", type=Path, required=True, help="output table, one row per output line")
    parser.add_argument("--replies", type=Path, required=True, help="output file, one rating per JSON line")
    parser.add_argument("--output", type=Path, required=True, help="output table, one row per direction")
    arguments = parser.parse_args()

    # Imported here, since the client takes a second to load, and the check of the flags does without it.
    from .lat.evaluation.gemba import rate, signature_of

    # All files are read first, so that a mistake in one of them ends the job before anything is paid for.
    segments = [
        (direction, segment)
        for direction in arguments.directions
        for segment in read_segments(arguments.test, arguments.hypotheses, direction)
    ]
    server = server_of(arguments, f"score.learned.{arguments.name}.server")
    ratings = rate(
        server,
        segments,
        arguments.scale,
        arguments.reference,
        arguments.parallel,
        prices_of(arguments),
        arguments.max_cost,
    )

    score_rows, line_rows, reply_rows = [], [], []
    for direction in arguments.directions:
        found = [rating for rating, (name, _) in zip(ratings, segments, strict=True) if name == direction]
        mean = sum(rating.score for rating in found) / len(found)
        unclear = sum(rating.is_unclear for rating in found)
        log.info("%s: mean %s %.1f over %d lines, %d unclear", direction, arguments.name, mean, len(found), unclear)
        score_rows.append(
            {"direction": direction, "metric": arguments.name, "value": f"{mean:.4f}", "n": len(found)}
            | {"signature": signature_of(arguments.model, arguments.scale, arguments.reference, unclear)}
        )
        for number, rating in enumerate(found, 1):
            line_rows.append({"direction": direction, "line": number, "score": f"{rating.score:.4f}"})
            reply_rows.append(
                {"direction": direction, "line": number, "score": rating.score, "unclear": rating.is_unclear}
                | {"reply": rating.reply}
            )
    unclear = sum(rating.is_unclear for rating in ratings)
    if unclear:
        log.warning(
            "%d of %d replies are no number from 0 to 100, and count as 0; see %s",
            unclear, sum(rating.reply is not None for rating in ratings), arguments.replies,
        )  # fmt: skip
    write_table(arguments.lines, line_rows, ("direction", "line", "score"))
    write_jsonl(arguments.replies, reply_rows)
    write_table(arguments.output, score_rows, SCORE_COLUMNS)


if __name__ == "__main__":
    run_step(main)
