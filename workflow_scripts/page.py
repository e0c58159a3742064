"""Write the HTML page of a run, which works offline: sortable tables, figures, provenance, and all output lines.

The output lines of a large run are in a folder beside the page.
"""

import argparse
from pathlib import Path
from typing import Any

from .lat.evaluation.scores import METRICS
from .lat.files import atomic_write, replaced_folder
from .lat.reporting.conclusion import compared_pair, conclusion
from .lat.reporting.page import (
    EXAMPLES,
    EXAMPLES_IN_PAGE,
    Outputs,
    Results,
    describe_experiment,
    example_packs,
    first_sentence,
    inline_svg,
    read_texts,
    render,
    signatures,
    table_of,
    table_packs,
    text_bytes,
    write_examples,
)
from .lat.reporting.reading import (
    add_comparison_flag,
    add_experiment_flags,
    check_summary,
    check_values,
    check_verdicts,
    intervals_frame,
    make_experiments,
    read_all_scores,
    read_general_comparisons,
    read_intervals,
    read_lines_table,
    read_score_comparisons,
    read_summary,
    read_versions,
    rows_of,
    score_comparisons_frame,
    scores_frame,
    summary_frame,
)
from .lat.reporting.tables import general_table, table_metrics
from .lat.runtime import log, run_step


def main() -> None:
    """Parse the flags, collect the content of the page, and write it."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scores", type=Path, required=True, help="table of all scores")
    parser.add_argument("--intervals", type=Path, required=True, help="table of intervals and p-values of every run")
    parser.add_argument("--summary", type=Path, required=True, help="table of means over seeds")
    parser.add_argument("--comparisons", type=Path, required=True, help="table of differences between systems")
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
        nargs=6,
        action="append",
        required=True,
        metavar=("BASE_MODEL", "BENCHMARK", "SYSTEM", "SEED", "FOLDER", "LINES"),
        help="a run of a system: its seed, or `shared`, its folder of <direction>.txt, and its lines.tsv with the"
        " verdicts; repeat in the order of the rows",
    )
    parser.add_argument("--figures", type=Path, nargs="*", default=[], help="SVG files, in the order of the page")
    parser.add_argument("--captions", nargs="*", default=[], help="caption of each figure")
    parser.add_argument(
        "--baselines",
        nargs="+",
        required=True,
        help="systems that the other systems are tested against; the marks refer to the first one",
    )
    parser.add_argument("--config", required=True, help="configuration of the run, as text")
    parser.add_argument("--general", type=Path, help="table of comparisons on general tasks")
    add_comparison_flag(parser)
    parser.add_argument("--output", type=Path, required=True, help="HTML file")
    parser.add_argument(
        "--examples",
        type=Path,
        required=True,
        help=f"folder for the output lines of a large run, called `{EXAMPLES}` and beside the HTML file",
    )
    arguments = parser.parse_args()

    experiments = make_experiments((names[:4] for names in arguments.outputs), arguments.directions)
    learned, baselines = arguments.learned, arguments.baselines
    score_rows = read_all_scores(arguments.scores, experiments, learned, arguments.further)
    interval_rows = read_intervals(arguments.intervals, experiments, learned, baselines)
    check_values(arguments.intervals, interval_rows, score_rows)
    summary_rows = read_summary(arguments.summary, experiments, learned, baselines)
    check_summary(arguments.summary, summary_rows, score_rows)
    comparison_rows = read_score_comparisons(
        arguments.comparisons, experiments, learned, baselines, summary_rows, arguments.lower_is_better
    )
    results = Results(
        experiments,
        scores_frame(score_rows),
        intervals_frame(interval_rows),
        summary_frame(summary_rows),
        score_comparisons_frame(comparison_rows),
        list(dict.fromkeys((*table_metrics(learned), *METRICS))),
        baselines[0],
        arguments.lower_is_better,
    )
    tables = table_packs(results)
    general = []
    if arguments.general:
        general.append(table_of(general_table(read_general_comparisons([(arguments.general, arguments.comparison)]))))

    folders = {benchmark: Path(folder) for benchmark, folder in arguments.texts}
    hypotheses = {tuple(names): Path(folder) for *names, folder, _ in arguments.outputs}
    size = sum(
        text_bytes(
            folders[experiment.benchmark],
            experiment.directions,
            [
                hypotheses[experiment.base_model, experiment.benchmark, system, run]
                for system, runs in experiment.runs.items()
                for run in runs
            ],
        )
        for experiment in experiments
    )
    is_beside = size > EXAMPLES_IN_PAGE
    packs: dict[str, Any] = {
        "experiments": [
            describe_experiment(experiment, is_beside, compared_pair(experiment, results.summary, results.baseline))
            for experiment in experiments
        ]
    }
    count = 0
    with replaced_folder(arguments.examples) as examples:
        for number, experiment in enumerate(experiments):
            test = folders[experiment.benchmark]
            counts = {name: len(read_texts(test, [name])[name][0]) for name in experiment.directions}
            count += sum(counts.values())
            scores_of_experiment = rows_of(score_rows, experiment)
            outputs = {}
            for *names, system, seed, folder, table in arguments.outputs:
                if names == [experiment.base_model, experiment.benchmark]:
                    lines = read_lines_table(Path(table), counts)
                    check_verdicts(lines, arguments.scores, rows_of(scores_of_experiment, experiment, system, seed))
                    outputs[system, seed] = Outputs.of_lines(Path(folder), lines)
            if is_beside:
                write_examples(examples, number, experiment, test, outputs)
            else:
                packs |= example_packs(str(number), experiment, read_texts(test, experiment.directions), outputs)
    seeds = results.seeds
    names = " and ".join(experiment["name"] for experiment in packs["experiments"])
    page = render(
        title=f"Language-aware tuning: {names}",
        summary=f"{count:,} test lines in {len(set(results.scores.direction))} directions, each translated by every"
        f" system{f' with {len(seeds)} training seeds' if len(seeds) > 1 else ''}.",
        conclusions=[
            f"{experiment.base_model} on {experiment.benchmark}: {text}" if len(experiments) > 1 else text
            for experiment in experiments
            if (text := conclusion(experiment, results.summary, results.comparisons, results.baseline))
        ],
        seeds=seeds,
        notes=tables["tables-mean"]["notes"],
        tables=tables["tables-mean"]["tables"] + general,
        figures=[
            {"name": (name := first_sentence(caption)), "svg": inline_svg(path, number, name), "caption": caption}
            for number, (path, caption) in enumerate(zip(arguments.figures, arguments.captions, strict=True), 1)
        ],
        signatures=signatures(results.scores),
        versions=[(row["what"], row["version"]) for row in read_versions(arguments.versions)],
        config=arguments.config,
        is_beside=is_beside,
        packs=packs | (tables if len(seeds) > 1 else {}),
    )
    with atomic_write(arguments.output) as handle:
        handle.write(page)
    log.info(
        "%s: %.1f MB, %d examples%s",
        arguments.output,
        len(page.encode()) / 1e6,
        count,
        f" in {arguments.examples}" if is_beside else "",
    )


if __name__ == "__main__":
    run_step(main)
