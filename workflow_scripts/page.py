"""Write the HTML page of a run, which works offline: sortable tables, figures, provenance, and all output lines."""

import argparse
from pathlib import Path

import pandas as pd

from .lat.files import atomic_write, read_table
from .lat.reporting.page import Outputs, examples, inline_svg, render, signatures, table_of_block, table_of_texts
from .lat.reporting.tables import TABLES, general_table, make_blocks
from .lat.runtime import log, run_step

METRICS = ("BLEU", "OTR", "chrF++")


def main() -> None:
    """Parse the flags, collect the content of the page, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scores", type=Path, required=True, help="table of all scores")
    parser.add_argument("--intervals", type=Path, required=True, help="table of intervals and p-values")
    parser.add_argument("--versions", type=Path, required=True, help="table of library versions")
    parser.add_argument(
        "--texts",
        nargs=2,
        action="append",
        required=True,
        metavar=("BENCHMARK", "FOLDER"),
        help="folder of <direction>.src.txt and <direction>.ref.txt of a benchmark; may be repeated",
    )
    parser.add_argument(
        "--outputs",
        nargs=5,
        action="append",
        required=True,
        metavar=("BASE_MODEL", "BENCHMARK", "SYSTEM", "FOLDER", "LINES"),
        help="folder of <direction>.txt of a system, and its lines.tsv with the verdicts; may be repeated",
    )
    parser.add_argument("--figures", type=Path, nargs="*", default=[], help="SVG files, in the order of the page")
    parser.add_argument("--captions", nargs="*", default=[], help="caption of each figure")
    parser.add_argument("--baseline", required=True, help="system that the other systems are tested against")
    parser.add_argument("--config", required=True, help="configuration of the run, as text")
    parser.add_argument("--general", type=Path, help="table of comparisons on general tasks")
    parser.add_argument("--output", type=Path, required=True, help="HTML file")
    arguments = parser.parse_args()

    scores = pd.DataFrame(read_table(arguments.scores)).astype({"value": float})
    rows = read_table(arguments.intervals)
    significance = pd.DataFrame(rows).replace({"p": {"": "nan"}})
    significance = significance.astype(dict.fromkeys(("value", "low", "high", "p"), float))

    tables = []
    for supervision, (_, heading) in TABLES.items():
        for block in make_blocks(scores, supervision, METRICS, significance):
            intervals = {
                (row["system"], row["direction"]): (row["low"], row["high"])
                for row in rows
                if (row["base_model"], row["benchmark"], row["supervision"], row["metric"])
                == (block.base_model, block.benchmark, supervision, block.metric)
            }
            tables.append(table_of_block(block, heading, intervals))

    if arguments.general:
        tables.append(table_of_texts(*general_table(read_table(arguments.general))))

    texts = {benchmark: Path(folder) for benchmark, folder in arguments.texts}
    data = []
    for (base_model, benchmark), experiment in scores.groupby(["base_model", "benchmark"], sort=False):
        outputs = {
            system: Outputs(Path(folder), Path(lines))
            for *names, system, folder, lines in arguments.outputs
            if names == [base_model, benchmark]
        }
        directions = dict(zip(experiment.direction, experiment.supervision, strict=True))
        data.append(examples(f"{base_model} on {benchmark}", texts[benchmark], outputs, directions))
    count = sum(len(direction["source"]) for experiment in data for direction in experiment["directions"])
    names = " and ".join(experiment["name"] for experiment in data)
    page = render(
        title=f"Language-aware tuning: {names}",
        summary=f"{count:,} test lines in {len(set(scores.direction))} directions, each translated by every system.",
        baseline=arguments.baseline,
        tables=tables,
        figures=[
            {"svg": inline_svg(path, number), "caption": caption}
            for number, (path, caption) in enumerate(zip(arguments.figures, arguments.captions, strict=True), 1)
        ],
        signatures=signatures(scores),
        versions=[(row["what"], row["version"]) for row in read_table(arguments.versions)],
        config=arguments.config,
        data=data,
    )
    with atomic_write(arguments.output) as handle:
        handle.write(page)
    log.info("%s: %.1f MB, %d examples", arguments.output, len(page.encode()) / 1e6, count)


if __name__ == "__main__":
    run_step(main)
