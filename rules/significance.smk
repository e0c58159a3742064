# Computes 95 % intervals and tests of all scores, by bootstrap over test sentences and seeds.


def significance_inputs(wildcards):
    """Return the files of all runs of an experiment as flags of the script."""
    words = []
    for system, seed in experiment_runs(experiment(wildcards)):
        path = f"{wildcards.base_model}/{wildcards.benchmark}/{folder_of(seed)}/{system}"
        words += ["--system", system, seed, f"results/decode/{path}", f"results/detect/{path}/lines.tsv"]
        words += score_tables(wildcards.base_model, wildcards.benchmark, system, seed)
        for metric in config["score"]["learned"]:
            words += ["--learned", system, seed, metric, f"results/score/{path}.{metric}.lines.tsv"]
    return " ".join(map(shlex.quote, words))


rule significance:
    input:
        hypotheses=lambda wildcards: runs("results/decode/{base_model}/{benchmark}/{run}/{system}", wildcards),
        verdicts=lambda wildcards: runs("results/detect/{base_model}/{benchmark}/{run}/{system}/lines.tsv", wildcards),
        scores=lambda wildcards: [
            table
            for system, seed in experiment_runs(experiment(wildcards))
            for table in score_tables(wildcards.base_model, wildcards.benchmark, system, seed)
        ],
        learned=lambda wildcards: [
            table
            for metric in config["score"]["learned"]
            for table in runs(
                f"results/score/{{base_model}}/{{benchmark}}/{{run}}/{{system}}.{metric}.lines.tsv", wildcards
            )
        ],
        references="results/download/{benchmark}/test",
    output:
        intervals="results/significance/{base_model}/{benchmark}/intervals.tsv",
        summary="results/significance/{base_model}/{benchmark}/summary.tsv",
        comparisons="results/significance/{base_model}/{benchmark}/comparisons.tsv",
    log:
        "results/significance/logs/{base_model}-{benchmark}.log",
    benchmark:
        "results/significance/logs/{base_model}-{benchmark}.timing.tsv"
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(4000),
        runtime=doubled(30),
    params:
        code=code_of("significance"),
        languages=languages_hash,
        systems=significance_inputs,
        supervised=lookup(dpath="benchmarks/{benchmark}/supervised", within=config),
        zero_shot=lambda wildcards: zero_shot_of(benchmark_config(wildcards.benchmark)),
        settings=flags({"seed": 1, "lower_is_better": lower_is_better(config) or None} | config["significance"]),
    message:
        "Significance: bootstrap of all systems ({wildcards.base_model}, {wildcards.benchmark})"
    shell:
        "python -m workflow_scripts.significance --references {input.references:q} {params.systems}"
        " --supervised {params.supervised:q} --zero-shot {params.zero_shot:q} {params.settings}"
        " --intervals {output.intervals:q} --summary {output.summary:q} --comparisons {output.comparisons:q}"
        " 2>&1 | tee {log:q}"
