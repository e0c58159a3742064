# Writes a trained model as a folder that others can use, with a model card, and uploads it to the Hugging Face Hub if
# `publish.push` asks for it. `snakemake publish` starts it; no other target needs it.

PUBLICATION = publication(config) if config["publish"] else None


def published_name(key):
    """Return a wildcard constraint that matches only the name in `publish`; without a published model, nothing."""
    names = PUBLICATION._asdict() | {"run": folder_of(PUBLICATION.seed)} if PUBLICATION else {}
    return any_of([names[key]] if PUBLICATION else [])


def published(pattern):
    """Fill in `pattern` for the published model; nothing without one, of which `check_start` tells the user."""
    if not PUBLICATION:
        return []
    return [pattern.format(**PUBLICATION._asdict(), run=folder_of(PUBLICATION.seed))]


def licence_text(wildcards):
    """Return the file with the text of the licence, if the config names one."""
    text = config["publish"].get("licence_text")
    return [from_repository(Path(text).expanduser())] if text else []


rule publish_folder:
    input:
        model=lambda wildcards: model_folder(**wildcards),
        template=template_files,
        prompts=lambda wildcards: f"results/prompts/{{base_model}}/{{benchmark}}/test/{PUBLICATION.system}",
        hypotheses=lambda wildcards: f"results/decode/{{base_model}}/{{benchmark}}/{{run}}/{PUBLICATION.system}",
        test="results/download/{benchmark}/test",
        samples="results/download/{benchmark}/{run}/train.jsonl",
        intervals="results/significance/{base_model}/{benchmark}/intervals.tsv",
        summary="results/significance/{base_model}/{benchmark}/summary.tsv",
        references="results/detect/references/{benchmark}/otr.tsv",
        licence_text=licence_text,
    output:
        directory("results/publish/{base_model}/{benchmark}/{run}/{model}"),
    log:
        "results/publish/logs/{base_model}-{benchmark}-{run}-{model}.log",
    benchmark:
        "results/publish/logs/{base_model}-{benchmark}-{run}-{model}.timing.tsv"
    wildcard_constraints:
        base_model=published_name("base_model"),
        benchmark=published_name("benchmark"),
        run=published_name("run"),
        model=published_name("model"),
    conda:
        "../envs/main.yaml"
    threads: lambda wildcards: decode_settings(config, wildcards.base_model, wildcards.benchmark, PUBLICATION.system)["threads"]
    resources:
        mem_mb=memory,
        runtime=doubled(120),
        nodes=1,
        gpu=lambda wildcards: min(1, gpus(wildcards)),
    params:
        code=code_of("publish"),
        card=resources_hash("card"),
        wordings=prompts_hash,
        template=lambda wildcards: template_flags(wildcards.base_model, wildcards.model),
        facts=lambda wildcards: flags({"facts": json.dumps(card_facts(config), sort_keys=True)}),
        licence_text=lambda wildcards, input: flags(
            {"licence_text": list(input.licence_text)[0]} if input.licence_text else {}
        ),
    message:
        "Publish: writing the folder of {wildcards.model} ({wildcards.base_model}, {wildcards.benchmark}, {wildcards.run})"
    shell:
        "python -m workflow_scripts.publish write --model {input.model:q} --prompts {input.prompts:q} --test {input.test:q}"
        " --hypotheses {input.hypotheses:q} --samples {input.samples:q} --intervals {input.intervals:q}"
        " --summary {input.summary:q} --references {input.references:q} {params.facts} {params.template}"
        " {params.licence_text} --threads {threads} --output {output:q} 2>&1 | tee {log:q}"


rule push:
    input:
        "results/publish/{base_model}/{benchmark}/{run}/{model}",
    output:
        "results/publish/{base_model}/{benchmark}/{run}/{model}.pushed.json",
    log:
        "results/publish/logs/{base_model}-{benchmark}-{run}-{model}-push.log",
    wildcard_constraints:
        base_model=published_name("base_model"),
        benchmark=published_name("benchmark"),
        run=published_name("run"),
        model=published_name("model"),
    # The nodes of a cluster may have no network, and the token is in the environment of the user.
    localrule: True
    conda:
        "../envs/main.yaml"
    threads: 1
    params:
        repository=lambda wildcards: flags(
            {"repository": config["publish"]["repository"], "private": config["publish"].get("private", True)}
        ),
    message:
        "Publish: uploading {wildcards.model} to the Hugging Face Hub"
    shell:
        "python -m workflow_scripts.publish push --folder {input:q} {params.repository} --output {output:q} 2>&1 | tee {log:q}"


rule publish:
    input:
        published("results/publish/{base_model}/{benchmark}/{run}/{model}"),
        (
            published("results/publish/{base_model}/{benchmark}/{run}/{model}.pushed.json")
            if PUBLICATION and config["publish"].get("push")
            else []
        ),
