# Pairs training samples with a rejected response in a wrong language, for stage 2 with a preference loss.


rule rejections:
    input:
        samples=parent_samples,
        off_targets=off_targets_of_parent,
    output:
        "results/rejections/{base_model}/{benchmark}/{run}/{model}.jsonl",
    log:
        "results/rejections/logs/{base_model}-{benchmark}-{run}-{model}.log",
    wildcard_constraints:
        model=any_of(STAGE_MODELS["preference"]),
        run=SEED_RUN,
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(1000),
        runtime=doubled(20),
    params:
        code=code_of("rejections"),
        settings=lambda wildcards: flags(
            {key: model_settings("preference", wildcards)[key] for key in ("rejected", "min_pairs")}
            | {"seed": seed_of(wildcards)}
        ),
        off_targets=lambda wildcards, input: flags({"off_targets": input.off_targets or None}),
    message:
        "Rejections: finding rejected responses of {wildcards.benchmark} for {wildcards.model} ({wildcards.run})"
    shell:
        "python -m workflow_scripts.rejections --samples {input.samples:q} --output {output:q} {params.settings}"
        " {params.off_targets} 2>&1 | tee {log:q}"
