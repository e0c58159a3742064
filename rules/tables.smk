# Collects all scores in one table, and formats the paper's tables from it.


def every_experiment(pattern):
    """Fill in `pattern` for all experiments."""
    return [
        pattern.format(base_model=entry["base_model"], benchmark=entry["benchmark"]) for entry in config["experiments"]
    ]


def table_inputs():
    """Return the score tables of all runs and the folders of intervals and tests as flags of the script."""
    words = []
    for entry in config["experiments"]:
        pair = [entry["base_model"], entry["benchmark"]]
        for system, seed in experiment_runs(entry):
            words += ["--scores", *pair, system, seed, *all_score_tables(*pair, system, seed)]
        words += ["--significance", *pair, f"results/significance/{'/'.join(pair)}"]
    for benchmark in sorted({entry["benchmark"] for entry in config["experiments"]}):
        words += ["--reference-scores", benchmark, f"results/detect/references/{benchmark}/otr.tsv"]
    return " ".join(map(shlex.quote, words))


def direction_flags():
    """Return the directions of all benchmarks as flags of the scripts."""
    words = []
    for name in sorted({entry["benchmark"] for entry in config["experiments"]}):
        entry = benchmark_config(name)
        for supervision, tested in (("supervised", entry["supervised"]), ("zero-shot", zero_shot_of(entry))):
            words += ["--directions", name, supervision, *tested]
    return " ".join(map(shlex.quote, words))


def learned_flags():
    """Return the names of the learned and the further metrics as flags of the scripts."""
    return flags(
        {"learned": list(config["score"]["learned"]) or None, "further": config["score"]["further"] or None}
        | {"lower_is_better": lower_is_better(config) or None}
    )


def paper_flags():
    """Return the names of benchmarks, base models and systems in the paper as flags of the script."""
    words = []
    for kind, section in (("benchmark", "benchmarks"), ("base-model", "base_models"), ("system", "systems")):
        for name, entry in sorted(config[section].items()):
            words += [f"--paper-{kind}", name, entry["paper"]] if "paper" in entry else []
    return " ".join(map(shlex.quote, words))


def comparison_flags():
    """Return what the comparisons on general tasks compare, in the order of their tables, as flags of the scripts."""
    words = []
    for names in comparisons().values():
        words += ["--comparison", *names]
    return " ".join(map(shlex.quote, words))


def control_flags():
    """Return the systems with a second loss and their controls without it as flags of the script."""
    words = []
    for entry in config["experiments"]:
        for names in controls_of(config, entry):
            words += ["--control", entry["base_model"], entry["benchmark"], *names]
    return " ".join(map(shlex.quote, words))


def every_training():
    """Return the models that are trained in this run: stage, base model, benchmark, seed and name of each, in order."""
    return list(
        dict.fromkeys(
            (config["models"][model]["stage"], entry["base_model"], entry["benchmark"], str(seed), model)
            for entry in config["experiments"]
            for seed in seeds_of(config, entry)
            for model in config["models"]
            if model in used_models(config, entry["base_model"], entry["benchmark"])
            and config["models"][model]["stage"] != "snapshot"
        )
    )


rule tables:
    input:
        scores=[
            table
            for entry in config["experiments"]
            for system, seed in experiment_runs(entry)
            for table in all_score_tables(entry["base_model"], entry["benchmark"], system, seed)
        ],
        machines=[
            f"results/{stage}/{base_model}/{benchmark}/{folder_of(seed)}/{model}/machine.json"
            for stage, base_model, benchmark, seed, model in every_training()
        ],
        references=every_benchmark("results/detect/references/{benchmark}/otr.tsv"),
        intervals=every_experiment("results/significance/{base_model}/{benchmark}/intervals.tsv"),
        summaries=every_experiment("results/significance/{base_model}/{benchmark}/summary.tsv"),
        tests=every_experiment("results/significance/{base_model}/{benchmark}/comparisons.tsv"),
        general=list(comparisons()),
    output:
        scores=report(
            "results/tables/scores.tsv",
            caption="../resources/captions/scores.rst",
            category="Tables",
            labels={"table": "all scores"},
        ),
        zero_shot=report(
            "results/tables/zero_shot.html",
            caption="../resources/captions/zero_shot.rst",
            category="Tables",
            labels={"table": "zero-shot directions"},
        ),
        supervised=report(
            "results/tables/supervised.html",
            caption="../resources/captions/supervised.rst",
            category="Tables",
            labels={"table": "supervised directions"},
        ),
        intervals=report(
            "results/tables/intervals.tsv",
            caption="../resources/captions/intervals.rst",
            category="Tables",
            labels={"table": "intervals of every seed"},
        ),
        summary=report(
            "results/tables/summary.tsv",
            caption="../resources/captions/summary.rst",
            category="Tables",
            labels={"table": "means over seeds"},
        ),
        comparisons=report(
            "results/tables/comparisons.tsv",
            caption="../resources/captions/comparisons.rst",
            category="Tables",
            labels={"table": "comparisons of systems"},
        ),
        versions=report(
            "results/tables/versions.tsv",
            caption="../resources/captions/versions.rst",
            category="Provenance",
            labels={"table": "versions of the libraries"},
        ),
        texts=expand("results/tables/{table}.{suffix}", table=["zero_shot", "supervised"], suffix=["md", "tsv", "tex"]),
        paper=expand("results/tables/paper.{suffix}", suffix=["md", "tsv"]),
        further=expand("results/tables/further.{suffix}", suffix=["md", "tsv"] if config["score"]["further"] else []),
        general_texts=expand("results/tables/general.{suffix}", suffix=["md", "tsv", "tex"] if comparisons() else []),
        general=report(
            ["results/tables/general.html"] if comparisons() else [],
            caption="../resources/captions/general.rst",
            category="Tables",
            labels={"table": "general tasks"},
        ),
    log:
        "results/tables/logs/tables.log",
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(1000),
        runtime=doubled(20),
    params:
        code=code_of("tables"),
        published=resources_hash("paper"),
        inputs=table_inputs(),
        columns=direction_flags(),
        learned=learned_flags(),
        settings=flags(config["tables"] | {"baselines": config["significance"]["baselines"]}),
        paper=paper_flags(),
        general=lambda wildcards, input: flags({"general": list(input.general)}) if input.general else "",
        comparisons=comparison_flags(),
        controls=control_flags(),
    message:
        "Tables: collecting the scores of all systems"
    shell:
        "python -m workflow_scripts.tables {params.inputs} {params.columns} {params.learned} {params.settings}"
        " {params.paper} {params.general} {params.comparisons} {params.controls} --machines {input.machines:q} --output results/tables"
        " 2>&1 | tee {log:q}"
