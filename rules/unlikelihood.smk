# Stage 2: trains with the likelihood of each sample and the unlikelihood of its instruction-conflicting sample.


rule unlikelihood:
    input:
        model=parent_model,
        samples="results/conflicts/{base_model}/{benchmark}/{run}/{model}.jsonl",
    output:
        model=weights(
            "results/unlikelihood/{base_model}/{benchmark}/{run}/{model}/model", config["keep"]["weights"] != "none"
        ),
        # The snapshots that systems use are hard links to these files.
        snapshots=weights(
            "results/unlikelihood/{base_model}/{benchmark}/{run}/{model}/snapshots", config["keep"]["weights"] == "all"
        ),
        steps_log="results/unlikelihood/{base_model}/{benchmark}/{run}/{model}/steps.tsv",
        machine="results/unlikelihood/{base_model}/{benchmark}/{run}/{model}/machine.json",
    log:
        "results/unlikelihood/logs/{base_model}-{benchmark}-{run}-{model}.log",
    benchmark:
        "results/unlikelihood/logs/{base_model}-{benchmark}-{run}-{model}.timing.tsv"
    wildcard_constraints:
        model=any_of(STAGE_MODELS["unlikelihood"]),
        run=SEED_RUN,
    # This rule lies on the longest path through the job graph, so its jobs start first.
    priority: 3
    conda:
        "../envs/main.yaml"
    threads: lambda wildcards: model_settings("unlikelihood", wildcards)["threads"] * processes(wildcards)
    resources:
        mem_mb=training_memory("results/unlikelihood/.checkpoints/{base_model}/{benchmark}/{run}/{model}"),
        checkpoint_every=without_rerun("unlikelihood", "checkpoint_every"),
        checkpoint_minutes=without_rerun("unlikelihood", "checkpoint_minutes"),
        # Not a parameter either: they do not change the weights.
        trackers=",".join(config["trackers"]) or "none",
        runtime=4 * 60,
        gpu=gpus_of_one_node,
        gres=gpus_of_each_node,
        nodes=nodes,
        tasks=tasks,
        tasks_per_gpu=tasks_per_gpu,
        mpi=start_by_srun,
    params:
        code=code_of("unlikelihood"),
        launcher=launcher,
        deepspeed_config=deepspeed_flags,
        settings=lambda wildcards: training_flags("unlikelihood", wildcards, without=["conflicts"]),
        snapshot_steps=snapshot_steps,
        # This is not an output, since Snakemake deletes the outputs of a killed job before it reruns the job.
        checkpoints="results/unlikelihood/.checkpoints/{base_model}/{benchmark}/{run}/{model}",
    message:
        "Stage 2: training {wildcards.model} from {wildcards.base_model} on {wildcards.benchmark} ({wildcards.run})"
    shell:
        "{params.launcher} workflow_scripts.unlikelihood --model {input.model:q} --samples {input.samples:q}"
        " --output {output.model:q} --steps-log {output.steps_log:q} --machine {output.machine:q} --checkpoints {params.checkpoints:q}"
        " --snapshots {output.snapshots:q} --snapshot-steps {params.snapshot_steps:q}"
        " {params.deepspeed_config} --threads {threads} --checkpoint-every {resources.checkpoint_every}"
        " --checkpoint-minutes {resources.checkpoint_minutes} --trackers {resources.trackers}"
        " {params.settings} 2>&1 | tee {log:q}"


use rule snapshot as unlikelihood_snapshot with:
    input:
        lambda wildcards: "results/unlikelihood/{base_model}/{benchmark}/{run}/{model}/snapshots".format(
            base_model=wildcards.base_model,
            benchmark=wildcards.benchmark,
            run=wildcards.run,
            model=config["models"][wildcards.model]["from"],
        ),
    output:
        weights(
            "results/unlikelihood/{base_model}/{benchmark}/{run}/{model}/model", config["keep"]["weights"] != "none"
        ),
    log:
        "results/unlikelihood/logs/{base_model}-{benchmark}-{run}-{model}.log",
    wildcard_constraints:
        model=any_of(snapshots_of("unlikelihood")),
        run=SEED_RUN,
