# Computes 95 % intervals of all scores, and p-values of the differences from the baseline, with paired bootstrap.


def significance_inputs(wildcards):
    """Return the files of all systems of an experiment as flags of the script."""
    words = []
    for system in systems(wildcards):
        path = f"{wildcards.base_model}/{wildcards.benchmark}/{system}"
        words += ["--system", system, f"results/decode/{path}", f"results/detect/{path}/lines.tsv"]
        words += score_tables(wildcards.base_model, wildcards.benchmark, system)
        for metric in config["score"]["learned"]:
            words += ["--learned", system, metric, f"results/score/{path}.{metric}.lines.tsv"]
    return " ".join(map(shlex.quote, words))


rule significance:
    input:
        hypotheses=lambda wildcards: systems_of("results/decode/{base_model}/{benchmark}/{system}", wildcards),
        verdicts=lambda wildcards: systems_of("results/detect/{base_model}/{benchmark}/{system}/lines.tsv", wildcards),
        scores=lambda wildcards: [
            table
            for system in systems(wildcards)
            for table in score_tables(wildcards.base_model, wildcards.benchmark, system)
        ],
        learned=lambda wildcards: [
            table
            for metric in config["score"]["learned"]
            for table in systems_of(
                f"results/score/{{base_model}}/{{benchmark}}/{{system}}.{metric}.lines.tsv", wildcards
            )
        ],
        references="results/download/{benchmark}/test",
    output:
        "results/significance/{base_model}/{benchmark}.tsv",
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
        code=step_code("significance"),
        languages=languages_hash,
        systems=significance_inputs,
        supervised=lookup(dpath="benchmarks/{benchmark}/supervised", within=config),
        zero_shot=lookup(dpath="benchmarks/{benchmark}/zero_shot", within=config),
        settings=flags(config["significance"] | {"seed": config["seed"]}),
    message:
        "Significance: paired bootstrap of all systems ({wildcards.base_model}, {wildcards.benchmark})"
    shell:
        "python -m workflow_scripts.significance --references {input.references:q} {params.systems}"
        " --supervised {params.supervised:q} --zero-shot {params.zero_shot:q} {params.settings} --output {output:q}"
        " 2>&1 | tee {log:q}"
