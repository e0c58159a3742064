# Provides each base model as a model folder: builds, downloads or links it, or converts it from GGUF.


def build_settings(wildcards):
    """Return the settings of a base model that the workflow builds."""
    return base_model_config(wildcards.base_model)["build"]


def tokenizer_samples(wildcards):
    """Return the training prompts that the tokenizer of a base model is trained on, which all seeds share."""
    benchmark = build_settings(wildcards)["benchmark"]
    model = STAGE_MODELS["finetune"][0]
    return f"results/prompts/{wildcards.base_model}/{benchmark}/seed{split_seed(benchmark)}/{model}.jsonl"


def local_model_files(wildcards):
    """Return names, sizes and times of the files of a base model in a local folder."""
    path = base_model_config(wildcards.base_model).get("path")
    files = sorted(Path(from_repository(path)).iterdir()) if path else []
    return [f"{file.name} {file.stat().st_size} {file.stat().st_mtime_ns}" for file in files]


def has_own_template(wildcards):
    """Return whether prompts are written with the chat template that a base model has."""
    return base_model_config(wildcards.base_model).get("template") == CHAT


def used_engines(wildcards):
    """Return the decoding engines of all systems with a base model."""
    return sorted(
        {
            decode_settings(config, entry["base_model"], entry["benchmark"], system)["engine"]
            for entry in config["experiments"]
            if entry["base_model"] == wildcards.base_model
            for system in entry["systems"]
            if model_of(config, system)
        }
    )


rule build_base_model:
    input:
        monolingual=lambda wildcards: training_text(build_settings(wildcards)["benchmark"], "monolingual"),
        samples=tokenizer_samples,
    output:
        model=directory("results/base_model/{base_model}/model"),
        steps_log="results/base_model/{base_model}/steps.tsv",
    log:
        "results/base_model/logs/{base_model}.log",
    benchmark:
        "results/base_model/logs/{base_model}.timing.tsv"
    wildcard_constraints:
        base_model=any_of(name for name, entry in config["base_models"].items() if "build" in entry),
    conda:
        "../envs/main.yaml"
    threads: lambda wildcards: build_settings(wildcards).get("processes", 1)
    resources:
        mem_mb=training_memory("results/base_model/.checkpoints/{base_model}"),
        runtime=doubled(60),
    params:
        code=code_of("base_model"),
        deepspeed_config=deepspeed_flags,
        # The tokenizer has tokens for the template, and documents name their languages.
        wordings=lambda wildcards: hash_of(
            [
                entries(benchmark_config(build_settings(wildcards)["benchmark"])["languages"])
                for entries in (prompt_entries, language_entries)
            ]
        ),
        launcher=lambda wildcards: training_command(1, build_settings(wildcards).get("processes", 1)),
        settings=lambda wildcards: flags(
            {"seed": 1}
            | {key: value for key, value in build_settings(wildcards).items() if key not in ("benchmark", "processes")}
        ),
        # This is not an output, since Snakemake deletes the outputs of a killed job before it reruns the job.
        checkpoints="results/base_model/.checkpoints/{base_model}",
    message:
        "Base model: training {wildcards.base_model} from scratch"
    shell:
        "{params.launcher} workflow_scripts.base_model build --monolingual {input.monolingual:q}"
        " --samples {input.samples:q} --output {output.model:q} --steps-log {output.steps_log:q}"
        " --checkpoints {params.checkpoints:q} {params.deepspeed_config} --threads {threads} {params.settings} 2>&1 | tee {log:q}"


localrules:
    fetch_base_model,


rule fetch_base_model:
    output:
        model=directory("results/base_model/{base_model}/model"),
    log:
        "results/base_model/logs/{base_model}.log",
    wildcard_constraints:
        base_model=any_of(name for name, entry in config["base_models"].items() if {"hub", "path"} & set(entry)),
    retries: 2
    conda:
        "../envs/main.yaml"
    threads: 1
    params:
        # A local model that changes is linked again, so that what was made from it is made again.
        files=local_model_files,
        origin=lambda wildcards: flags(
            {key: base_model_config(wildcards.base_model).get(key) for key in ("hub", "revision")}
            | {"chat_template": has_own_template(wildcards) and "hub" in base_model_config(wildcards.base_model)}
            | {
                key: from_repository(value)
                for key, value in base_model_config(wildcards.base_model).items()
                if key == "path"
            }
        ),
    message:
        "Base model: fetching {wildcards.base_model}"
    shell:
        "python -m workflow_scripts.base_model fetch {params.origin} --output {output.model:q}"
        ' ${{store:+--store "$store"}} 2>&1 | tee {log:q}'


localrules:
    check_base_model,


rule check_base_model:
    input:
        model="results/base_model/{base_model}/model",
        template=template_file,
    output:
        "results/base_model/{base_model}/check.txt",
    log:
        "results/base_model/logs/{base_model}-check.log",
    conda:
        "../envs/main.yaml"
    threads: 1
    params:
        code=code_of("base_model"),
        attention=lambda wildcards: base_model_config(wildcards.base_model).get("attention", "sdpa"),
        engines=used_engines,
        template=lambda wildcards: template_flags(wildcards.base_model, BASE),
    message:
        "Base model: checking that {wildcards.base_model} can be trained and decoded"
    shell:
        "python -m workflow_scripts.base_model check --model {input.model:q} --attention {params.attention:q}"
        " --engines {params.engines:q} {params.template} --output {output:q} 2>&1 | tee {log:q}"


rule dequantise_base_model:
    input:
        lambda wildcards: [
            source_file(name) if name in SOURCES else from_repository(name)
            for name in base_model_config(wildcards.base_model)["gguf"]
        ],
    output:
        model=directory("results/base_model/{base_model}/model"),
    log:
        "results/base_model/logs/{base_model}.log",
    wildcard_constraints:
        base_model=any_of(name for name, entry in config["base_models"].items() if "gguf" in entry),
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=memory,
        runtime=doubled(60),
    params:
        code=code_of("base_model"),
    message:
        "Base model: dequantising the GGUF file of {wildcards.base_model}"
    shell:
        "python -m workflow_scripts.base_model gguf --parts {input:q} --output {output.model:q} --threads {threads}"
        ' ${{store:+--store "$store"}} 2>&1 | tee {log:q}'
