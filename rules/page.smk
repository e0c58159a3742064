# Writes the HTML page with all results of a run, which works offline.


def figure_captions():
    """Return the SVG files of the page, in their order, with their captions."""
    captions = ROOT / "resources" / "captions"
    return {
        f"results/figures/{name}.svg": read_text(
            captions / f"{'study' if name.startswith('study-') else name}.rst"
        ).strip()
        for name in figure_names()
    }


def page_inputs():
    """Return the texts of all benchmarks and the outputs of all systems as flags of the script."""
    words = []
    for benchmark in sorted({entry["benchmark"] for entry in config["experiments"]}):
        words += ["--texts", benchmark, f"results/download/{benchmark}/test"]
    for entry in config["experiments"]:
        for system, seed in experiment_runs(entry):
            path = f"{entry['base_model']}/{entry['benchmark']}/{folder_of(seed)}/{system}"
            words += ["--outputs", entry["base_model"], entry["benchmark"], system, seed]
            words += [f"results/decode/{path}", f"results/detect/{path}/lines.tsv"]
    return " ".join(map(shlex.quote, words))


class ConfigDumper(yaml.SafeDumper):
    """Writes all kinds of dictionaries in the same way; those of a config in JSON are of another class."""


ConfigDumper.add_multi_representer(dict, lambda dumper, entries: dumper.represent_dict(entries.items()))


# Directions of a benchmark that the configuration on the page lists. The list of more directions, which the tables of the
# page have in any case, would make the command longer than Linux allows.
LISTED_DIRECTIONS = 1000


def listed(benchmark):
    """Return the config entry of a benchmark, with the number of its directions in place of a very long list."""
    counts = {key: len(benchmark[key]) for key in ("supervised", "zero_shot")}
    return benchmark | {
        key: f"{count} directions, the columns of the tables"
        for key, count in counts.items()
        if count > LISTED_DIRECTIONS
    }


def config_text():
    """Return the configuration of this run as text, without `parameters` and `publish`, which change no result."""
    benchmarks = {name: listed(entry) for name, entry in config["benchmarks"].items()}
    base_models = {
        name: {key: value for key, value in entry.items() if key != "parameters"}
        for name, entry in config["base_models"].items()
    }
    entries = {key: value for key, value in config.items() if key != "publish"}
    entries |= {"base_models": base_models, "benchmarks": benchmarks}
    return yaml.dump(entries, Dumper=ConfigDumper, sort_keys=False, allow_unicode=True)


rule page:
    input:
        figures=list(figure_captions()),
        scores="results/tables/scores.tsv",
        intervals="results/tables/intervals.tsv",
        summary="results/tables/summary.tsv",
        comparisons="results/tables/comparisons.tsv",
        versions="results/tables/versions.tsv",
        hypotheses=every_run("results/decode/{base_model}/{benchmark}/{run}/{system}"),
        verdicts=every_run("results/detect/{base_model}/{benchmark}/{run}/{system}/lines.tsv"),
        texts=every_benchmark("results/download/{benchmark}/test"),
        general=["results/tables/general.tsv"] if comparisons() else [],
    output:
        page=report(
            "results/page/index.html",
            caption="../resources/captions/page.rst",
            category="Examples",
            labels={"page": "tables, figures and all output lines"},
        ),
        # The output lines of a large run; otherwise, they are in the page, and this folder is empty.
        examples=directory("results/page/examples"),
    log:
        "results/page/logs/page.log",
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(2000),
        runtime=doubled(20),
    params:
        code=code_of("page"),
        template=resources_hash("page"),
        inputs=page_inputs(),
        columns=direction_flags(),
        learned=learned_flags(),
        captions=list(figure_captions().values()),
        baselines=config["significance"]["baselines"],
        # A function, since Snakemake would read braces in a plain text as wildcards.
        config=lambda wildcards: config_text(),
        general=lambda wildcards, input: flags({"general": list(input.general)}) if input.general else "",
        comparisons=comparison_flags(),
    message:
        "Page: writing {output.page}"
    shell:
        "python -m workflow_scripts.page --scores {input.scores:q} --intervals {input.intervals:q}"
        " --summary {input.summary:q} --comparisons {input.comparisons:q} --versions {input.versions:q} {params.inputs}"
        " {params.columns} {params.learned} --figures {input.figures:q} --captions {params.captions:q}"
        " --baselines {params.baselines:q} --config {params.config:q} {params.general} {params.comparisons}"
        " --output {output.page:q} --examples {output.examples:q}"
        " 2>&1 | tee {log:q}"
