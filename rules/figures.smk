# What the tables say at a glance, and how the losses fell.


rule figures:
    input:
        scores="results/tables/scores.tsv",
        step_logs=list(every_steps_log()),
    output:
        off_target=report(
            "results/figures/off_target.svg",
            caption="report/off_target.rst",
            category="Figures",
            labels={"figure": "off-target ratio and BLEU"},
        ),
        losses=report(
            "results/figures/losses.svg",
            caption="report/losses.rst",
            category="Figures",
            labels={"figure": "loss curves"},
        ),
        others=expand("results/figures/{figure}.{suffix}", figure=["off_target", "losses"], suffix=["png", "pdf"]),
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
    message:
        "Figures: off-target ratio and BLEU, loss curves"
    shell:
        "python -m workflow_scripts.figures --scores {input.scores} --step-logs {input.step_logs} --titles"
        " {params.titles:q} --output results/figures 2>&1 | tee {log:q}"
