# Everything a run found, on one page that needs no network.


rule page:
    input:
        figures=list(figure_captions()),
        scores="results/tables/scores.tsv",
        intervals="results/tables/intervals.tsv",
        versions="results/tables/versions.tsv",
        hypotheses=every_system("results/decode/{base_model}/{benchmark}/{system}"),
        verdicts=every_system("results/detect/{base_model}/{benchmark}/{system}/lines.tsv"),
        texts=every_benchmark("results/download/{benchmark}/test"),
        general=["results/tables/general.tsv"] if comparisons() else [],
    output:
        report(
            "results/report/index.html",
            caption="report/page.rst",
            category="Examples",
            labels={"page": "tables, figures and every line"},
        ),
    log:
        "results/report/logs/report.log",
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=2000,
        runtime=20,
    params:
        captions=list(figure_captions().values()),
        baseline=config["significance"]["baseline"],
        # As a function: braces of a value are no wildcards.
        config=lambda wildcards: config_text(),
        general=lambda wildcards, input: flags({"general": list(input.general)}) if input.general else "",
    message:
        "Report: {output}"
    shell:
        "python -m workflow_scripts.report --results results --figures {input.figures} --captions {params.captions:q}"
        " --baseline {params.baseline} --config {params.config:q} {params.general} --output {output}"
        " 2>&1 | tee {log:q}"
