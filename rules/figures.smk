# What the tables say at a glance, where off-target lines went, the studies, and how the losses fell.


rule figures:
    input:
        scores="results/tables/scores.tsv",
        intervals="results/tables/intervals.tsv",
        step_logs=list(every_steps_log()),
    output:
        off_target=report(
            "results/figures/off_target.svg",
            caption="report/off_target.rst",
            category="Figures",
            labels={"figure": "off-target ratio and BLEU"},
        ),
        instead=report(
            "results/figures/instead.svg",
            caption="report/instead.rst",
            category="Figures",
            labels={"figure": "where the off-target lines went"},
        ),
        heat_map=report(
            "results/figures/heat_map.svg",
            caption="report/heat_map.rst",
            category="Figures",
            labels={"figure": "off-target ratio by direction"},
        ),
        losses=report(
            "results/figures/losses.svg",
            caption="report/losses.rst",
            category="Figures",
            labels={"figure": "loss curves"},
        ),
        studies=report(
            expand("results/figures/study-{study}.svg", study=config["studies"]),
            caption="report/study.rst",
            category="Studies",
        ),
        others=expand("results/figures/{figure}.{suffix}", figure=figure_names(), suffix=["png", "pdf"]),
    log:
        "results/figures/logs/figures.log",
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=1000,
        runtime=20,
    params:
        titles=list(every_steps_log().values()),
        studies=study_flags(),
    message:
        "Figures: off-target ratio and BLEU, studies, loss curves"
    shell:
        "python -m workflow_scripts.figures --scores {input.scores} --intervals {input.intervals}"
        " --step-logs {input.step_logs} --titles {params.titles:q} {params.studies} --output results/figures"
        " 2>&1 | tee {log:q}"
