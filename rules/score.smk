# Computes BLEU, chrF++, further metrics and learned metrics of each system. A learned metric is a model, mostly in an
# environment of its own, or a language model on a server that rates translations.


# Kinds of learned metrics that need no other packages than the workflow.
IN_MAIN_ENVIRONMENT = ("metricx",)


def learned_metric(wildcards):
    """Return the config entry of a learned metric."""
    return config["score"]["learned"][wildcards.learned]


def metrics_of_kind(*kinds):
    """Return a wildcard constraint that matches the learned metrics of some kinds."""
    return any_of(name for name, metric in config["score"]["learned"].items() if metric["kind"] in kinds)


def rating_flags(wildcards):
    """Return what determines the replies of the server of a learned metric, as flags of the script."""
    metric, server = learned_metric(wildcards), rating_server(config, wildcards.learned)
    return flags(
        {"scale": metric["scale"], "reference": metric.get("reference", True)}
        | {"base_url": server["base_url"], "model": server["model"]}
        | {"request": json.dumps(server["request"], sort_keys=True)}
    )


def rating_asking_flags(wildcards):
    """Return the other settings of the server of a learned metric as flags."""
    server = rating_server(config, wildcards.learned)
    prices = server["prices"] and [server["prices"]["prompt"], server["prices"]["completion"]]
    return flags({key: server[key] for key in ("key", "max_cost", "parallel")} | {"prices": prices})


def learned_settings(wildcards):
    """Return the settings of a learned metric as flags of the script, without those that do not change its scores."""
    metric = learned_metric(wildcards)
    settings = {key: value for key, value in metric.items() if key not in ("python", "gpus")}
    if metric["kind"] == "metricx":
        settings["reference"] = metric.get("reference", True)
    return flags(settings | {"model": learned_checkpoint(wildcards) or metric["model"]})


def learned_checkpoint(wildcards):
    """Return the downloaded checkpoint of a learned metric if it is a row of resources/sources.tsv."""
    name = learned_metric(wildcards)["model"]
    return source_file(name) if name in SOURCES else []


def check_learned_environment(wildcards):
    """Check that the environment of a learned metric exists.

    Raises:
        InputError: it does not exist.
    """
    metric = learned_metric(wildcards)
    key = f"score.learned.{wildcards.learned}"
    if metric["kind"] in IN_MAIN_ENVIRONMENT:
        return
    if "python" not in metric:
        if DeploymentMethod.CONDA not in workflow.deployment_settings.deployment_method:
            raise InputError(
                f"config: {key} needs an environment of its own: run `make {metric['kind']}` and set its"
                f" `python: .venv-{metric['kind']}/bin/python`, or add --software-deployment-method conda"
            )
    elif not Path(from_repository(metric["python"])).exists():
        raise InputError(f"config: {key}.python: no file {metric['python']}; run `make {metric['kind']}`")


def learned_environment(wildcards):
    """Return the conda environment of a learned metric."""
    kind = learned_metric(wildcards)["kind"]
    return f"../envs/{'main' if kind in IN_MAIN_ENVIRONMENT else kind}.yaml"


rule score:
    input:
        hypotheses="results/decode/{base_model}/{benchmark}/{run}/{system}",
        references="results/download/{benchmark}/test",
    output:
        "results/score/{base_model}/{benchmark}/{run}/{system}.tsv",
    log:
        "results/score/logs/{base_model}-{benchmark}-{run}-{system}.log",
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(2000),
        runtime=doubled(20),
    params:
        code=code_of("score"),
        languages=languages_hash,
        directions=sorted_directions,
    message:
        "Score: BLEU and chrF++ of {wildcards.system} ({wildcards.base_model}, {wildcards.benchmark}, {wildcards.run})"
    shell:
        "python -m workflow_scripts.score --hypotheses {input.hypotheses:q} --references {input.references:q}"
        " --output {output:q} --directions {params.directions:q} 2>&1 | tee {log:q}"


rule score_further:
    input:
        hypotheses="results/decode/{base_model}/{benchmark}/{run}/{system}",
        references="results/download/{benchmark}/test",
        lines="results/detect/{base_model}/{benchmark}/{run}/{system}/lines.tsv",
        sentencepiece=source_file("flores200-spm") if needs_sentencepiece(config["score"]["further"]) else [],
    output:
        "results/score/{base_model}/{benchmark}/{run}/{system}.further.tsv",
    log:
        "results/score/logs/{base_model}-{benchmark}-{run}-{system}-further.log",
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(2000),
        runtime=doubled(20),
    params:
        code=code_of("score_further"),
        languages=languages_hash,
        metrics=config["score"]["further"],
        sentencepiece=lambda wildcards, input: flags({"sentencepiece": input.sentencepiece or None}),
        directions=sorted_directions,
    message:
        "Score: further metrics of {wildcards.system} ({wildcards.base_model}, {wildcards.benchmark}, {wildcards.run})"
    shell:
        "python -m workflow_scripts.score_further --metrics {params.metrics:q} --hypotheses {input.hypotheses:q}"
        " --references {input.references:q} --lines {input.lines:q} {params.sentencepiece} --output {output:q}"
        " --directions {params.directions:q} 2>&1 | tee {log:q}"


rule score_learned:
    input:
        hypotheses="results/decode/{base_model}/{benchmark}/{run}/{system}",
        test="results/download/{benchmark}/test",
        checkpoint=learned_checkpoint,
    output:
        scores="results/score/{base_model}/{benchmark}/{run}/{system}.{learned}.tsv",
        lines="results/score/{base_model}/{benchmark}/{run}/{system}.{learned}.lines.tsv",
    log:
        "results/score/logs/{base_model}-{benchmark}-{run}-{system}-{learned}.log",
    benchmark:
        "results/score/logs/{base_model}-{benchmark}-{run}-{system}-{learned}.timing.tsv"
    wildcard_constraints:
        learned=metrics_of_kind("bleurt", "comet", "metricx"),
    conda:
        learned_environment
    threads: config["score"]["threads"]
    resources:
        mem_mb=doubled(16000),
        runtime=4 * 60,  # a retry continues
        nodes=1,
        gpu=lookup(dpath="score/learned/{learned}/gpus", within=config, default=0),
    params:
        code=code_of("score_learned"),
        python=lambda wildcards: (
            from_repository(learned_metric(wildcards)["python"]) if "python" in learned_metric(wildcards) else "python"
        ),
        settings=learned_settings,
        directions=sorted_directions,
        # This is not an output, since Snakemake would delete it before a rerun: no line is ever scored twice.
        cache="results/score/.cache/{learned}",
    message:
        "Score: {wildcards.learned} of {wildcards.system} ({wildcards.base_model}, {wildcards.benchmark}, {wildcards.run})"
    shell:
        "{params.python:q} -m workflow_scripts.score_learned --name {wildcards.learned:q} {params.settings}"
        " --hypotheses {input.hypotheses:q} --test {input.test:q} --directions {params.directions:q} --threads {threads}"
        " --cache {params.cache:q} --lines {output.lines:q} --output {output.scores:q} 2>&1 | tee {log:q}"


rule score_gemba:
    input:
        hypotheses="results/decode/{base_model}/{benchmark}/{run}/{system}",
        test="results/download/{benchmark}/test",
    output:
        scores="results/score/{base_model}/{benchmark}/{run}/{system}.{learned}.tsv",
        lines="results/score/{base_model}/{benchmark}/{run}/{system}.{learned}.lines.tsv",
        replies="results/score/{base_model}/{benchmark}/{run}/{system}.{learned}.replies.jsonl",
    log:
        "results/score/logs/{base_model}-{benchmark}-{run}-{system}-{learned}.log",
    wildcard_constraints:
        learned=metrics_of_kind("gemba"),
    # The nodes of a cluster may have no network, and the key is in the environment of the user.
    localrule: True
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        # Not a parameter: these settings do not change the replies.
        asking=rating_asking_flags,
    params:
        code=code_of("score_gemba"),
        languages=languages_hash,
        directions=sorted_directions,
        request=rating_flags,
        # This is not an output, since Snakemake would delete it before a rerun: no request is ever paid for twice.
        journal="results/score/.journal/{learned}/{base_model}/{benchmark}/{run}/{system}",
    message:
        "Score: {wildcards.learned} of {wildcards.system} ({wildcards.base_model}, {wildcards.benchmark}, {wildcards.run})"
    shell:
        "python -m workflow_scripts.score_gemba --name {wildcards.learned:q} {params.request} {resources.asking}"
        " --hypotheses {input.hypotheses:q} --test {input.test:q} --directions {params.directions:q}"
        " --journal {params.journal:q} --lines {output.lines:q} --replies {output.replies:q} --output {output.scores:q}"
        " 2>&1 | tee {log:q}"
