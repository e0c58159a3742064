# How good are the translations?


rule score:
    input:
        hypotheses="results/decode/{base_model}/{benchmark}/{system}",
        references="results/download/{benchmark}/test",
    output:
        "results/score/{base_model}/{benchmark}/{system}.tsv",
    log:
        "results/score/logs/{base_model}-{benchmark}-{system}.log",
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        directions=lambda wildcards: directions(wildcards.benchmark),
    message:
        "Score: {wildcards.system} ({wildcards.base_model}, {wildcards.benchmark})"
    shell:
        "python -m workflow_scripts.score --hypotheses {input.hypotheses} --references {input.references}"
        " --output {output} --directions {params.directions} 2>&1 | tee {log:q}"
