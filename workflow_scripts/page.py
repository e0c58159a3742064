"""Write the HTML page of a run, which works offline: sortable tables, figures, provenance, and all output lines."""

import argparse
from pathlib import Path

from .lat.evaluation.scores import METRICS
from .lat.files import atomic_write
from .lat.reporting.page import (
    Outputs,
    examples,
    inline_svg,
    read_texts,
    render,
    signatures,
    table_of,
    table_of_block,
)
from .lat.reporting.reading import (
    add_comparison_flag,
    add_experiment_flags,
    check_values,
    check_verdicts,
    intervals_frame,
    make_experiments,
    read_all_scores,
    read_comparisons,
    read_intervals,
    read_lines_table,
    read_versions,
    rows_of,
    scores_frame,
)
from .lat.reporting.tables import TABLES, general_table, make_blocks, table_metrics
from .lat.runtime import log, run_step


def main() -> None:
    """Parse the flags, collect the content of the page, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scores", type=Path, required=True, help="table of all scores")
    parser.add_argument("--intervals", type=Path, required=True, help="table of intervals and p-values")
    add_experiment_flags(parser)
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
    add_comparison_flag(parser)
    parser.add_argument("--output", type=Path, required=True, help="HTML file")
    arguments = parser.parse_args()

    experiments = make_experiments((names[:3] for names in arguments.outputs), arguments.directions)
    score_rows = read_all_scores(arguments.scores, experiments, arguments.learned)
    interval_rows = read_intervals(arguments.intervals, experiments, arguments.learned, arguments.baseline)
    check_values(arguments.intervals, interval_rows, score_rows)
    scores, intervals = scores_frame(score_rows), intervals_frame(interval_rows)

    metrics = list(dict.fromkeys((*table_metrics(arguments.learned), *METRICS)))
    tables = [
        table_of_block(block, heading)
        for supervision, (_, heading) in TABLES.items()
        for block in make_blocks(scores, supervision, metrics, intervals, arguments.baseline, with_intervals=True)
    ]
    if arguments.general:
        tables.append(table_of(general_table(read_comparisons([(arguments.general, arguments.comparison)]))))

    folders = {benchmark: Path(folder) for benchmark, folder in arguments.texts}
    data = []
    for experiment in experiments:
        texts = read_texts(folders[experiment.benchmark], experiment.directions)
        counts = {direction: len(sources) for direction, (sources, _) in texts.items()}
        outputs = {}
        for *names, system, folder, table in arguments.outputs:
            if names == [experiment.base_model, experiment.benchmark]:
                lines = read_lines_table(Path(table), counts)
                check_verdicts(lines, arguments.scores, rows_of(score_rows, experiment, system))
                outputs[system] = Outputs(Path(folder), lines)
        name = f"{experiment.base_model} on {experiment.benchmark}"
        data.append(examples(name, texts, outputs, experiment.directions))
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
        versions=[(row["what"], row["version"]) for row in read_versions(arguments.versions)],
        config=arguments.config,
        data=data,
    )
    with atomic_write(arguments.output) as handle:
        handle.write(page)
    log.info("%s: %.1f MB, %d examples", arguments.output, len(page.encode()) / 1e6, count)


if __name__ == "__main__":
    run_step(main)
