# Pairs each training sample with a wrong instruction, for stage 2.

# Models whose conflicts are drawn by the outputs of their stage-1 model. They have a rule of their own, since these jobs
# must wait for a training, and must not be part of a job of Slurm that the training waits for.
AFTER_STAGE1 = [
    name
    for name in STAGE_MODELS["unlikelihood"]
    if any(needs_off_targets(config, entry["base_model"], entry["benchmark"], name) for entry in config["experiments"])
]


rule conflicts:
    input:
        samples=parent_samples,
        off_targets=off_targets_of_parent,
        template=template_files,
    output:
        "results/conflicts/{base_model}/{benchmark}/{run}/{model}.jsonl",
    log:
        "results/conflicts/logs/{base_model}-{benchmark}-{run}-{model}.log",
    wildcard_constraints:
        model=any_of(name for name in STAGE_MODELS["unlikelihood"] if name not in AFTER_STAGE1),
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
                    flags({"translations_only": config["models"][wildcards.model].get("translations_only")}),
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


use rule conflicts as conflicts_by_confusion with:
    wildcard_constraints:
        model=any_of(AFTER_STAGE1),
        run=SEED_RUN,
