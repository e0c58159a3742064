# How sure is a figure, and is a system's difference from the baseline more than chance?


rule significance:
    input:
        hypotheses=lambda wildcards: systems_of("results/decode/{base_model}/{benchmark}/{system}", wildcards),
        verdicts=lambda wildcards: systems_of("results/detect/{base_model}/{benchmark}/{system}/lines.tsv", wildcards),
        learned=lambda wildcards: learned_scores(".lines.tsv", wildcards),
        references="results/download/{benchmark}/test",
    output:
        "results/significance/{base_model}/{benchmark}.tsv",
    log:
        "results/significance/logs/{base_model}-{benchmark}.log",
    benchmark:
        "results/significance/logs/{base_model}-{benchmark}.benchmark.tsv"
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        systems=lambda wildcards: systems(wildcards),
        supervised=lambda wildcards: benchmark_config(wildcards.benchmark)["supervised"],
        zero_shot=lambda wildcards: benchmark_config(wildcards.benchmark)["zero_shot"],
        settings=flags(
            config["significance"] | {"seed": config["seed"], "learned": list(config["score"]["learned"]) or None}
        ),
    message:
        "Significance: paired bootstrap of all systems ({wildcards.base_model}, {wildcards.benchmark})"
    shell:
        "python -m workflow_scripts.significance --decode results/decode/{wildcards.base_model}/{wildcards.benchmark}"
        " --detect results/detect/{wildcards.base_model}/{wildcards.benchmark} --references {input.references}"
        " --score results/score/{wildcards.base_model}/{wildcards.benchmark}"
        " --systems {params.systems} --supervised {params.supervised} --zero-shot {params.zero_shot} {params.settings}"
        " --output {output} 2>&1 | tee {log:q}"
