# Trains translation models from base language models in two stages, against off-target translation, and evaluates them.
# Each file in rules/ except common.smk is one step, with one script in workflow_scripts/ (`decode` and `score` have
# three, `download` has two) and one folder in results/. The steps are included in the order of the data flow.

from snakemake.utils import min_version

min_version("9.0")


configfile: f"{workflow.basedir}/config.yaml"


report: "resources/captions/workflow.rst"


include: "rules/common.smk"
include: "rules/download.smk"
include: "rules/prompts.smk"
include: "rules/base_model.smk"
include: "rules/finetune.smk"
include: "rules/off_targets.smk"
include: "rules/conflicts.smk"
include: "rules/unlikelihood.smk"
include: "rules/rejections.smk"
include: "rules/preference.smk"
include: "rules/select.smk"
include: "rules/convert.smk"
include: "rules/decode.smk"
include: "rules/detect.smk"
include: "rules/score.smk"
include: "rules/significance.smk"
include: "rules/judge.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"
include: "rules/page.smk"
include: "rules/publish.smk"


onstart:
    # Name missing prerequisites at the start, and not after days of training.
    check_prerequisites()


rule all:
    default_target: True
    input:
        # Also what the tables are made from, so that `--rerun-triggers mtime`, which does not compare the inputs of a
        # job with those of last time, notices a system, a seed or a metric that the config has since then.
        rules.tables.input.scores,
        rules.tables.input.general,
        rules.tables.output,
        rules.figures.output,
        rules.page.output,
