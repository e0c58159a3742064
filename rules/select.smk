# Chooses among the snapshots of a stage-2 training: all translate the dev directions, and the best one becomes a model.

# The models that are chosen in this way.
BEST_MODELS = [name for name in STAGE_MODELS["snapshot"] if config["models"][name]["step"] == BEST]


def compared_training(wildcards):
    """Return the folder of the results of the training whose snapshots are compared."""
    trained = config["models"][wildcards.model]["from"]
    names = wildcards.base_model, wildcards.benchmark, wildcards.run, trained
    return str(Path(model_folder(*names)).parent)


def untrained_candidate(wildcards):
    """Return the folder of the stage-1 model that the training starts from."""
    trained = config["models"][wildcards.model]["from"]
    names = wildcards.base_model, wildcards.benchmark, wildcards.run
    return model_folder(*names, config["models"][trained]["from"])


def select_settings(wildcards):
    """Return the decoding settings with which snapshots are compared: the search is greedy, by transformers."""
    settings = step_settings(config, "decode", wildcards.base_model, wildcards.benchmark, BASE)
    return settings | {"engine": "transformers", "beam": 1}


def select_flags(wildcards):
    """Return what determines the outputs of the snapshots as flags of the script."""
    settings, entry = select_settings(wildcards), base_model_config(wildcards.base_model)
    return flags(
        {key: settings[key] for key in ("max_new_tokens", "batch_tokens")}
        | {"dtype": entry.get("dtype", "bf16"), "attention": entry.get("attention", "sdpa")}
        | {"steps": candidate_steps(config, wildcards.base_model, wildcards.benchmark, wildcards.model)}
    )


def every_selection():
    """Return base model, benchmark, seed and name of each model of this run that is chosen among snapshots, in order."""
    return list(
        dict.fromkeys(
            (entry["base_model"], entry["benchmark"], str(seed), model)
            for entry in config["experiments"]
            for model in BEST_MODELS
            if model in used_models(config, entry["base_model"], entry["benchmark"])
            for seed in seeds_of(config, entry)
        )
    )


rule select:
    input:
        check=base_model_check,
        stage1=untrained_candidate,
        snapshots=lambda wildcards: f"{compared_training(wildcards)}/snapshots",
        trained=lambda wildcards: f"{compared_training(wildcards)}/model",
        prompts="results/prompts/{base_model}/{benchmark}/dev/{model}",
        dev="results/download/{benchmark}/dev",
        lid=lambda wildcards: off_target_lid(),
    output:
        curve="results/select/{base_model}/{benchmark}/{run}/{model}/curve.tsv",
        choice="results/select/{base_model}/{benchmark}/{run}/{model}/choice.json",
        outputs=directory("results/select/{base_model}/{benchmark}/{run}/{model}/outputs"),
        # Hard links to the files of the snapshot.
        model=weights(
            "results/select/{base_model}/{benchmark}/{run}/{model}/model", config["keep"]["weights"] != "none"
        ),
    log:
        "results/select/logs/{base_model}-{benchmark}-{run}-{model}.log",
    benchmark:
        "results/select/logs/{base_model}-{benchmark}-{run}-{model}.timing.tsv"
    wildcard_constraints:
        model=any_of(BEST_MODELS),
        run=SEED_RUN,
    # This rule lies on the longest path through the job graph, so its jobs start first.
    priority: 3
    conda:
        "../envs/main.yaml"
    threads: lambda wildcards: select_settings(wildcards)["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: decoding_memory(wildcards, attempt, select_settings(wildcards)),
        runtime=12 * 60,  # a retry continues
        nodes=1,
        gpu=lambda wildcards: min(1, gpus(wildcards)),
    params:
        code=code_of("select"),
        wordings=prompts_hash,
        languages=languages_hash,
        settings=select_flags,
        directions=dev_directions,
        lid=lambda wildcards, input: input.lid or PY3LANGID,
        # This is not an output, since Snakemake deletes the outputs of a killed job before it reruns the job.
        unfinished="results/select/.unfinished/{base_model}/{benchmark}/{run}/{model}",
    message:
        "Select: comparing snapshots for {wildcards.model} ({wildcards.base_model}, {wildcards.benchmark}, {wildcards.run})"
    shell:
        "python -m workflow_scripts.select --stage1 {input.stage1:q} --snapshots {input.snapshots:q}"
        " --trained {input.trained:q} --prompts {input.prompts:q} --dev {input.dev:q} --lid {params.lid:q}"
        " --directions {params.directions:q} {params.settings} --threads {threads} --unfinished {params.unfinished:q}"
        " --curve {output.curve:q} --choice {output.choice:q} --outputs {output.outputs:q} --model {output.model:q}"
        " 2>&1 | tee {log:q}"
