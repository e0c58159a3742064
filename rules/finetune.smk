# Stage 1: fine-tunes the base model on translation samples, with maximum likelihood.

KEPT = [name for name in STAGE_MODELS["finetune"] if keeps_weights(config, name)]


rule finetune:
    input:
        model="results/base_model/{base_model}/model",
        check=base_model_check,
        samples="results/prompts/{base_model}/{benchmark}/{run}/{model}.jsonl",
    output:
        model=directory("results/finetune/{base_model}/{benchmark}/{run}/{model}/model"),
        # The snapshots that systems use are hard links to these files.
        snapshots=weights(
            "results/finetune/{base_model}/{benchmark}/{run}/{model}/snapshots", config["keep"]["weights"] == "all"
        ),
        steps_log="results/finetune/{base_model}/{benchmark}/{run}/{model}/steps.tsv",
        machine="results/finetune/{base_model}/{benchmark}/{run}/{model}/machine.json",
    log:
        "results/finetune/logs/{base_model}-{benchmark}-{run}-{model}.log",
    benchmark:
        "results/finetune/logs/{base_model}-{benchmark}-{run}-{model}.timing.tsv"
    wildcard_constraints:
        model=any_of(KEPT),
        run=SEED_RUN,
    # This rule lies on the longest path through the job graph, so its jobs start first.
    priority: 2
    conda:
        "../envs/main.yaml"
    threads: lambda wildcards: model_settings("finetune", wildcards)["threads"] * processes(wildcards)
    resources:
        mem_mb=training_memory("results/finetune/.checkpoints/{base_model}/{benchmark}/{run}/{model}"),
        checkpoint_every=without_rerun("finetune", "checkpoint_every"),
        checkpoint_minutes=without_rerun("finetune", "checkpoint_minutes"),
        # Not a parameter either: they do not change the weights.
        trackers=",".join(config["trackers"]) or "none",
        runtime=24 * 60,
        gpu=gpus_of_one_node,
        gres=gpus_of_each_node,
        nodes=nodes,
        tasks=tasks,
        tasks_per_gpu=tasks_per_gpu,
        mpi=start_by_srun,
    params:
        code=code_of("finetune"),
        launcher=launcher,
        deepspeed_config=deepspeed_flags,
        settings=lambda wildcards: training_flags("finetune", wildcards),
        snapshot_steps=snapshot_steps,
        # This is not an output, since Snakemake deletes the outputs of a killed job before it reruns the job.
        checkpoints="results/finetune/.checkpoints/{base_model}/{benchmark}/{run}/{model}",
    message:
        "Stage 1: training {wildcards.model} from {wildcards.base_model} on {wildcards.benchmark} ({wildcards.run})"
    shell:
        "{params.launcher} workflow_scripts.finetune --model {input.model:q} --samples {input.samples:q}"
        " --output {output.model:q} --steps-log {output.steps_log:q} --machine {output.machine:q} --checkpoints {params.checkpoints:q}"
        " --snapshots {output.snapshots:q} --snapshot-steps {params.snapshot_steps:q}"
        " {params.deepspeed_config} --threads {threads} --checkpoint-every {resources.checkpoint_every}"
        " --checkpoint-minutes {resources.checkpoint_minutes} --trackers {resources.trackers}"
        " {params.settings} 2>&1 | tee {log:q}"


# The models whose weights are deleted after their last use, see `keep.weights`.
use rule finetune as finetune_temporary with:
    output:
        model=temp(directory("results/finetune/{base_model}/{benchmark}/{run}/{model}/model")),
        snapshots=weights(
            "results/finetune/{base_model}/{benchmark}/{run}/{model}/snapshots", config["keep"]["weights"] == "all"
        ),
        steps_log="results/finetune/{base_model}/{benchmark}/{run}/{model}/steps.tsv",
        machine="results/finetune/{base_model}/{benchmark}/{run}/{model}/machine.json",
    wildcard_constraints:
        model=any_of(name for name in STAGE_MODELS["finetune"] if name not in KEPT),
        run=SEED_RUN,


rule snapshot:
    input:
        lambda wildcards: "results/finetune/{base_model}/{benchmark}/{run}/{model}/snapshots".format(
            base_model=wildcards.base_model,
            benchmark=wildcards.benchmark,
            run=wildcards.run,
            model=config["models"][wildcards.model]["from"],
        ),
    output:
        weights("results/finetune/{base_model}/{benchmark}/{run}/{model}/model", config["keep"]["weights"] != "none"),
    log:
        "results/finetune/logs/{base_model}-{benchmark}-{run}-{model}.log",
    wildcard_constraints:
        model=any_of(snapshots_of("finetune")),
        run=SEED_RUN,
    localrule: True
    conda:
        "../envs/main.yaml"
    params:
        step=lookup(dpath="models/{model}/step", within=config),
    message:
        "Taking {wildcards.model} from the snapshot after {params.step} steps ({wildcards.run})"
    shell:
        "cp --recursive --link {input:q}/step{params.step:q} {output:q} 2>&1 | tee {log:q}"
