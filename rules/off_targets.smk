# Collects what a stage-1 model writes in wrong languages: it translates training sources in zero-shot directions. Stage 2
# uses these outputs as rejected responses, or draws its conflicts by them.


def off_target_settings(wildcards):
    """Return the decoding settings of a stage-1 model."""
    return step_settings(config, "decode", wildcards.base_model, wildcards.benchmark, BASE)


def off_target_directions(wildcards):
    """Return the tested zero-shot directions that begin with a source language of the training, in order."""
    benchmark = benchmark_config(wildcards.benchmark)
    sources = {direction.partition("-")[0] for direction in benchmark["supervised"]}
    return sorted(direction for direction in zero_shot_of(benchmark) if direction.partition("-")[0] in sources)


def off_target_conversion(wildcards):
    """Return the converted stage-1 model if its decoding engine needs one."""
    if off_target_settings(wildcards)["engine"] != "ctranslate2":
        return []
    return "results/convert/{base_model}/{benchmark}/{run}/{model}"


def off_target_lid():
    """Return the file of the identifier that determines the off-target ratio; py3langid is a library and has none."""
    return lid_files()[:1] if config["detect"]["lid"][0] != PY3LANGID else []


rule off_target_prompts:
    input:
        samples="results/prompts/{base_model}/{benchmark}/{run}/{model}.jsonl",
        template=template_files,
    output:
        directory("results/off_targets/{base_model}/{benchmark}/{run}/{model}/prompts"),
    log:
        "results/off_targets/logs/{base_model}-{benchmark}-{run}-{model}-prompts.log",
    wildcard_constraints:
        model=any_of(STAGE_MODELS["finetune"]),
        run=SEED_RUN,
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(1000),
        runtime=doubled(20),
    params:
        code=code_of("off_targets"),
        wordings=prompts_hash,
        template=lambda wildcards: template_flags(wildcards.base_model, wildcards.model),
        directions=off_target_directions,
        sentences=config["off_targets"]["sentences"],
        seed=seed_of,
    message:
        "Off-targets: drawing training sources of {wildcards.benchmark} for {wildcards.model} ({wildcards.run})"
    shell:
        "python -m workflow_scripts.off_targets prompts --samples {input.samples:q} --directions {params.directions:q}"
        " --sentences {params.sentences} --seed {params.seed:q} --output {output:q} {params.template} 2>&1 | tee {log:q}"


rule off_target_outputs:
    input:
        check=base_model_check,
        model=lambda wildcards: model_folder(wildcards.base_model, wildcards.benchmark, wildcards.run, wildcards.model),
        converted=off_target_conversion,
        prompts="results/off_targets/{base_model}/{benchmark}/{run}/{model}/prompts",
    output:
        directory("results/off_targets/{base_model}/{benchmark}/{run}/{model}/outputs"),
    log:
        "results/off_targets/logs/{base_model}-{benchmark}-{run}-{model}-outputs.log",
    benchmark:
        "results/off_targets/logs/{base_model}-{benchmark}-{run}-{model}.timing.tsv"
    wildcard_constraints:
        model=any_of(STAGE_MODELS["finetune"]),
        run=SEED_RUN,
    # This rule lies on the longest path through the job graph, so its jobs start first.
    priority: 2
    conda:
        lambda wildcards: decoding_environment(off_target_settings(wildcards))
    threads: lambda wildcards: off_target_settings(wildcards)["threads"]
    resources:
        mem_mb=lambda wildcards, attempt: decoding_memory(wildcards, attempt, off_target_settings(wildcards)),
        runtime=24 * 60,  # a retry continues
        nodes=1,
        gpu=lambda wildcards: decoding_gpus(wildcards, off_target_settings(wildcards)),
    params:
        code=code_of("decode"),
        converted=lambda wildcards, input: flags({"converted": input.converted or None}),
        python=lambda wildcards: decoding_python(off_target_settings(wildcards)),
        wordings=prompts_hash,
        settings=lambda wildcards: decoding_flags(wildcards.base_model, off_target_settings(wildcards)),
        # This is not an output, since Snakemake deletes the outputs of a killed job before it reruns the job.
        unfinished="results/off_targets/.unfinished/{base_model}/{benchmark}/{run}/{model}",
    message:
        "Off-targets: translating training sources with {wildcards.model} ({wildcards.base_model}, {wildcards.benchmark}, {wildcards.run})"
    # Only the directions that have training sources have a file of prompts.
    shell:
        "directions=$(cd {input.prompts:q} && ls *.jsonl);"
        " {params.python:q} -m workflow_scripts.decode --model {input.model:q} --prompts {input.prompts:q} --output {output:q}"
        " --unfinished {params.unfinished:q} {params.converted} --threads {threads} {params.settings}"
        " --directions ${{directions//.jsonl/}} 2>&1 | tee {log:q}"


rule off_targets:
    input:
        prompts="results/off_targets/{base_model}/{benchmark}/{run}/{model}/prompts",
        outputs="results/off_targets/{base_model}/{benchmark}/{run}/{model}/outputs",
        lid=lambda wildcards: off_target_lid(),
    output:
        lines="results/off_targets/{base_model}/{benchmark}/{run}/{model}/lines.jsonl",
        counts="results/off_targets/{base_model}/{benchmark}/{run}/{model}/counts.tsv",
    log:
        "results/off_targets/logs/{base_model}-{benchmark}-{run}-{model}.log",
    wildcard_constraints:
        model=any_of(STAGE_MODELS["finetune"]),
        run=SEED_RUN,
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(2000),
        runtime=doubled(20),
    params:
        code=code_of("off_targets"),
        languages=languages_hash,
        lid=lambda wildcards, input: input.lid or PY3LANGID,
    message:
        "Off-targets: identifying the languages of the outputs of {wildcards.model} ({wildcards.base_model}, {wildcards.benchmark}, {wildcards.run})"
    shell:
        "python -m workflow_scripts.off_targets collect --prompts {input.prompts:q} --outputs {input.outputs:q}"
        " --lid {params.lid:q} --lines {output.lines:q} --counts {output.counts:q} 2>&1 | tee {log:q}"
