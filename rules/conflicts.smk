# Pairs each training sample with a wrong instruction, for stage 2.


rule conflicts:
    input:
        samples=parent_samples,
        off_targets=off_target_outputs,
    output:
        "results/conflicts/{base_model}/{benchmark}/{run}/{model}.jsonl",
    log:
        "results/conflicts/logs/{base_model}-{benchmark}-{run}-{model}.log",
    wildcard_constraints:
        model=any_of(STAGE_MODELS["unlikelihood"]),
        run=SEED_RUN,
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(1000),
        runtime=doubled(20),
    params:
        code=code_of("conflicts"),
        wordings=prompts_hash,
        template=lambda wildcards, input: " ".join(
            filter(
                None,
                [
                    template_flags(wildcards.base_model, wildcards.model),
                    flags({"off_targets": input.off_targets or None}),
                ],
            )
        ),
        draw=lambda wildcards: model_settings("unlikelihood", wildcards)["conflicts"],
        languages=lookup(dpath="benchmarks/{benchmark}/languages", within=config),
        seed=seed_of,
    message:
        "Conflicts: drawing instruction-conflicting samples of {wildcards.benchmark} for {wildcards.model} ({wildcards.run})"
    shell:
        "python -m workflow_scripts.conflicts --samples {input.samples:q} --output {output:q} --draw {params.draw:q}"
        " --languages {params.languages:q} --seed {params.seed:q} {params.template} 2>&1 | tee {log:q}"
