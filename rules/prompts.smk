# Writes the prompts of training samples, test data and general instructions.


def mixed_instructions(wildcards):
    """Return the sets of general instructions in the training data of a stage-1 model."""
    return [instructions_file(name) for name in config["models"][wildcards.model].get("mix", ())]


def system_prompt_flags(wildcards):
    """Return the prompt settings of a system as flags of the script."""
    system = config["systems"][wildcards.system]
    return flags(
        {
            "prompt_language": system.get("prompt_language", "en"),
            "shots": system.get("shots", 0),
            "shots_layout": "each" if system.get("shots_layout") == "each" else None,
            "contrasts": [f"{entry['target']}={entry['weight']}" for entry in system.get("contrasts", ())] or None,
        }
    )


rule train_prompts:
    input:
        samples="results/download/{benchmark}/{run}/train.jsonl",
        mix=mixed_instructions,
        template=template_files,
    output:
        "results/prompts/{base_model}/{benchmark}/{run}/{model}.jsonl",
    log:
        "results/prompts/logs/{base_model}-{benchmark}-{run}-{model}.log",
    wildcard_constraints:
        run=SEED_RUN,
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(1000),
        runtime=doubled(20),
    params:
        code=code_of("prompts"),
        wordings=prompts_hash,
        template=lambda wildcards: " ".join(
            filter(
                None,
                [
                    template_flags(wildcards.base_model, wildcards.model),
                    flags({"mix": mixed_instructions(wildcards) or None}),
                ],
            )
        ),
    message:
        "Prompts: writing training samples of {wildcards.benchmark} for {wildcards.model} ({wildcards.run})"
    shell:
        "python -m workflow_scripts.prompts train --samples {input.samples:q} --output {output:q} {params.template}"
        " 2>&1 | tee {log:q}"


rule test_prompts:
    input:
        test="results/download/{benchmark}/test",
        demonstrations="results/download/{benchmark}/demonstrations",
        template=template_files,
    output:
        directory("results/prompts/{base_model}/{benchmark}/test/{system}"),
    log:
        "results/prompts/logs/{base_model}-{benchmark}-test-{system}.log",
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(1000),
        runtime=doubled(20),
    params:
        code=code_of("prompts"),
        template=lambda wildcards: template_flags(wildcards.base_model, config["systems"][wildcards.system]["model"]),
        wordings=prompts_hash,
        system=system_prompt_flags,
        directions=sorted_directions,
    message:
        "Prompts: writing test prompts of {wildcards.benchmark} for {wildcards.system}"
    shell:
        "python -m workflow_scripts.prompts test --test {input.test:q} --demonstrations {input.demonstrations:q}"
        " --output {output:q} {params.template} {params.system} --directions {params.directions:q} 2>&1 | tee {log:q}"


# The prompts that choose among snapshots are those of a system without demonstrations and contrasts.
use rule test_prompts as dev_prompts with:
    input:
        test="results/download/{benchmark}/dev",
        # Not read, since the prompts show none.
        demonstrations="results/download/{benchmark}/dev",
        template=template_files,
    output:
        directory("results/prompts/{base_model}/{benchmark}/dev/{model}"),
    log:
        "results/prompts/logs/{base_model}-{benchmark}-dev-{model}.log",
    params:
        code=code_of("prompts"),
        template=lambda wildcards: template_flags(wildcards.base_model, wildcards.model),
        wordings=prompts_hash,
        system=flags({"shots": 0}),
        directions=dev_directions,
    message:
        "Prompts: writing the prompts of the dev directions of {wildcards.benchmark} for {wildcards.model}"


rule instruction_prompts:
    input:
        instructions=instructions_file(config["judge"]["instructions"]),
        template=template_files,
    output:
        directory("results/prompts/{base_model}/{benchmark}/instructions/{system}"),
    log:
        "results/prompts/logs/{base_model}-{benchmark}-instructions-{system}.log",
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(1000),
        runtime=doubled(20),
    params:
        code=code_of("prompts"),
        wordings=hash_of(prompt_entries([])),
        template=lambda wildcards: template_flags(wildcards.base_model, config["systems"][wildcards.system]["model"]),
    message:
        "Prompts: writing prompts of general instructions for {wildcards.system}"
    shell:
        "python -m workflow_scripts.prompts instructions --instructions {input.instructions:q}"
        " --output {output:q}/answers.jsonl {params.template}"
        " 2>&1 | tee {log:q}"
