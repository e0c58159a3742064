# Converts a model to the format of CTranslate2, once for all systems that decode with it.


rule convert:
    input:
        check=base_model_check,
        model=lambda wildcards: model_folder(wildcards.base_model, wildcards.benchmark, wildcards.run, wildcards.model),
    output:
        weights("results/convert/{base_model}/{benchmark}/{run}/{model}", config["keep"]["weights"] == "all"),
    log:
        "results/convert/logs/{base_model}-{benchmark}-{run}-{model}.log",
    benchmark:
        "results/convert/logs/{base_model}-{benchmark}-{run}-{model}.timing.tsv"
    wildcard_constraints:
        model=any_of([BASE, *config["models"]]),
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=memory,
        runtime=doubled(60),
    params:
        code=code_of("convert"),
    message:
        "Convert: {wildcards.model} of {wildcards.base_model} ({wildcards.run}) to the format of CTranslate2"
    shell:
        "python -m workflow_scripts.convert --model {input.model:q} --output {output:q} 2>&1 | tee {log:q}"
