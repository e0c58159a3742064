# Every figure in one long table, and the paper's tables from it.


rule tables:
    input:
        scores=every_system("results/score/{base_model}/{benchmark}/{system}.tsv"),
        learned=learned_scores(".tsv"),
        otr=every_system("results/detect/{base_model}/{benchmark}/{system}/otr.tsv"),
        references=every_benchmark("results/detect/references/{benchmark}/otr.tsv"),
        significance=every_experiment("results/significance/{base_model}/{benchmark}.tsv"),
        general=comparisons(),
    output:
        scores=report(
            "results/tables/scores.tsv",
            caption="report/scores.rst",
            category="Tables",
            labels={"table": "all figures"},
        ),
        zero_shot=report(
            "results/tables/zero_shot.html",
            caption="report/zero_shot.rst",
            category="Tables",
            labels={"table": "zero-shot directions"},
        ),
        supervised=report(
            "results/tables/supervised.html",
            caption="report/supervised.rst",
            category="Tables",
            labels={"table": "supervised directions"},
        ),
        intervals=report(
            "results/tables/intervals.tsv",
            caption="report/intervals.rst",
            category="Tables",
            labels={"table": "intervals and significance"},
        ),
        versions=report(
            "results/tables/versions.tsv",
            caption="report/versions.rst",
            category="Provenance",
            labels={"table": "versions of the libraries"},
        ),
        texts=expand("results/tables/{table}.{suffix}", table=["zero_shot", "supervised"], suffix=["md", "tsv", "tex"]),
        paper=expand("results/tables/paper.{suffix}", suffix=["md", "tsv"]),
        general_texts=expand("results/tables/general.{suffix}", suffix=["md", "tsv", "tex"] if comparisons() else []),
        general=report(
            ["results/tables/general.html"] if comparisons() else [],
            caption="report/general.rst",
            category="Tables",
            labels={"table": "general tasks"},
        ),
    log:
        "results/tables/logs/tables.log",
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        experiments=" ".join(
            f"--experiment {entry['base_model']} {entry['benchmark']} {' '.join(entry['systems'])}"
            for entry in config["experiments"]
        ),
        directions=" ".join(
            f"--directions {name} {supervision} {' '.join(benchmark_config(name)[key])}"
            for name in sorted({entry["benchmark"] for entry in config["experiments"]})
            for key, supervision in (("supervised", "supervised"), ("zero_shot", "zero-shot"))
        ),
        settings=flags(config["tables"] | {"learned": list(config["score"]["learned"]) or None}),
        paper=" ".join(
            f"--paper-{kind} {name} {entry['paper']}"
            for kind, section in (("benchmark", "benchmarks"), ("base-model", "base_models"))
            for name, entry in sorted(config[section].items())
            if "paper" in entry
        ),
        general=lambda wildcards, input: flags({"general": list(input.general)}) if input.general else "",
    message:
        "Tables: BLEU and off-target ratio of all systems"
    shell:
        "python -m workflow_scripts.tables {params.experiments} {params.directions} --score results/score"
        " --detect results/detect --significance results/significance {params.settings} {params.paper}"
        " {params.general}"
        " --output results/tables 2>&1 | tee {log:q}"
