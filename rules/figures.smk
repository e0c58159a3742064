# Draws the figures: scores, languages of off-target lines, studies, and training losses.


def every_step_log():
    """Return the step logs of all models that are trained in this run, with the titles of their panels and the seeds."""
    logs = {}
    for base_model in dict.fromkeys(entry["base_model"] for entry in config["experiments"]):
        if base_model_config(base_model).get("build", {}).get("epochs"):
            logs[f"results/base_model/{base_model}/steps.tsv"] = f"{base_model}: language model", SHARED
    for stage, base_model, benchmark, seed, model in every_training():
        path = f"results/{stage}/{base_model}/{benchmark}/{folder_of(seed)}/{model}/steps.tsv"
        logs[path] = f"{base_model} on {benchmark}: {model}", seed
    return logs


def figure_names():
    """Return the names of all figures of a run."""
    return [
        "off_target",
        "off_target_languages",
        "heat_map",
        "losses",
        *(["select"] if every_selection() else []),
        *(f"study-{name}" for name in config["studies"]),
    ]


def study_flags():
    """Return the points of all studies as flags of the script."""
    first = config["experiments"][0]
    words = []
    for name, study in config["studies"].items():
        series = {}
        for label, points in study["series"].items():
            for value, system in points.items():
                is_path = len(PurePosixPath(system).parts) > 1
                path = system if is_path else f"{first['base_model']}/{first['benchmark']}/{system}"
                series.setdefault(label, {})[str(value)] = path
        # One word of JSON, since a label may begin with a hyphen, as flags do.
        words += ["--study", json.dumps({"name": name, "label": study["label"], "series": series})]
    return " ".join(map(shlex.quote, words))


def run_flags():
    """Return the runs of the systems of all experiments as flags of the script."""
    words = []
    for entry in config["experiments"]:
        for system, seed in experiment_runs(entry):
            words += ["--run", entry["base_model"], entry["benchmark"], system, seed]
    return " ".join(map(shlex.quote, words))


def step_log_flags():
    """Return the step logs of all trainings as flags of the script."""
    words = []
    for path, (title, seed) in every_step_log().items():
        words += ["--step-log", title, seed, path]
    return " ".join(map(shlex.quote, words))


def every_selection_result():
    """Return the scores of all compared snapshots and the chosen step of each, by title of the panels and seed."""
    return {
        (f"{base_model} on {benchmark}: {model}", seed): [
            f"results/select/{base_model}/{benchmark}/{folder_of(seed)}/{model}/{file}"
            for file in ("curve.tsv", "choice.json")
        ]
        for base_model, benchmark, seed, model in every_selection()
    }


def selection_flags():
    """Return the scores of all compared snapshots as flags of the script."""
    words = []
    for (title, seed), files in every_selection_result().items():
        words += ["--selection", title, seed, *files]
    return " ".join(map(shlex.quote, words))


rule figures:
    input:
        scores="results/tables/scores.tsv",
        intervals="results/tables/intervals.tsv",
        summary="results/tables/summary.tsv",
        step_logs=list(every_step_log()),
        selections=[file for files in every_selection_result().values() for file in files],
    output:
        off_target=report(
            "results/figures/off_target.svg",
            caption="../resources/captions/off_target.rst",
            category="Figures",
            labels={"figure": "off-target ratio and BLEU"},
        ),
        off_target_languages=report(
            "results/figures/off_target_languages.svg",
            caption="../resources/captions/off_target_languages.rst",
            category="Figures",
            labels={"figure": "languages of off-target lines"},
        ),
        heat_map=report(
            "results/figures/heat_map.svg",
            caption="../resources/captions/heat_map.rst",
            category="Figures",
            labels={"figure": "off-target ratio by direction"},
        ),
        losses=report(
            "results/figures/losses.svg",
            caption="../resources/captions/losses.rst",
            category="Figures",
            labels={"figure": "loss curves"},
        ),
        select=report(
            ["results/figures/select.svg"] if every_selection() else [],
            caption="../resources/captions/select.rst",
            category="Figures",
            labels={"figure": "snapshots in the dev directions"},
        ),
        studies=report(
            expand("results/figures/study-{study}.svg", study=config["studies"]),
            caption="../resources/captions/study.rst",
            category="Studies",
        ),
        others=expand("results/figures/{figure}.{suffix}", figure=figure_names(), suffix=["png", "pdf"]),
    log:
        "results/figures/logs/figures.log",
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(1000),
        runtime=doubled(20),
    params:
        code=code_of("figures"),
        step_logs=step_log_flags(),
        selections=selection_flags(),
        # A function, since Snakemake would read the braces of JSON as wildcards.
        studies=lambda wildcards: study_flags(),
        runs=run_flags(),
        columns=direction_flags(),
        learned=learned_flags(),
    message:
        "Figures: scores, languages of off-target lines, studies and training losses"
    shell:
        "python -m workflow_scripts.figures --scores {input.scores:q} --intervals {input.intervals:q}"
        " --summary {input.summary:q} {params.runs} {params.columns} {params.learned} {params.step_logs}"
        " {params.selections} {params.studies} --output results/figures"
        " 2>&1 | tee {log:q}"
