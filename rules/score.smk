# How good are the translations?


rule score:
    input:
        hypotheses="results/decode/{base_model}/{benchmark}/{system}",
        references="results/download/{benchmark}/test",
    output:
        "results/score/{base_model}/{benchmark}/{system}.tsv",
    log:
        "results/score/logs/{base_model}-{benchmark}-{system}.log",
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        directions=lambda wildcards: directions(wildcards.benchmark),
    message:
        "Score: {wildcards.system} ({wildcards.base_model}, {wildcards.benchmark})"
    shell:
        "python -m workflow_scripts.score --hypotheses {input.hypotheses} --references {input.references}"
        " --output {output} --directions {params.directions} 2>&1 | tee {log:q}"


rule score_learned:
    input:
        hypotheses="results/decode/{base_model}/{benchmark}/{system}",
        test="results/download/{benchmark}/test",
        checkpoint=learned_checkpoint,
    output:
        figures="results/score/{base_model}/{benchmark}/{system}.{learned}.tsv",
        lines="results/score/{base_model}/{benchmark}/{system}.{learned}.lines.tsv",
    log:
        "results/score/logs/{base_model}-{benchmark}-{system}-{learned}.log",
    benchmark:
        "results/score/logs/{base_model}-{benchmark}-{system}-{learned}.benchmark.tsv"
    wildcard_constraints:
        learned=any_of(config["score"]["learned"]),
    conda:
        learned_environment
    threads: config["score"]["threads"]
    resources:
        mem_mb=16000,
        runtime=4 * 60,
        gpu=lambda wildcards: learned_metric(wildcards).get("gpus", 0),
    params:
        python=lambda wildcards: (
            from_repository(learned_metric(wildcards)["python"]) if "python" in learned_metric(wildcards) else "python"
        ),
        settings=lambda wildcards: flags(
            {key: value for key, value in learned_metric(wildcards).items() if key not in ("python", "gpus")}
            | {"model": learned_checkpoint(wildcards) or learned_metric(wildcards)["model"]}
        ),
        directions=lambda wildcards: directions(wildcards.benchmark),
        # Not an output: the same lines are never scored twice, whatever made them anew.
        cache="results/score/.cache/{learned}",
    message:
        "Score: {wildcards.learned} of {wildcards.system} ({wildcards.base_model}, {wildcards.benchmark})"
    shell:
        "{params.python} -m workflow_scripts.score_learned --name {wildcards.learned} {params.settings}"
        " --hypotheses {input.hypotheses} --test {input.test} --directions {params.directions} --threads {threads}"
        " --cache {params.cache} --lines {output.lines} --output {output.figures} 2>&1 | tee {log:q}"
