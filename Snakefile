# From a base language model to a translation model that answers in the language it was asked for, and to the tables
# and figures that prove it. Data flows downwards through the includes; each is one step, one script, one results folder.

from snakemake.utils import min_version

min_version("9.0")


configfile: f"{workflow.basedir}/config.yaml"


report: "resources/captions/workflow.rst"


include: "rules/common.smk"
include: "rules/download.smk"
include: "rules/prompts.smk"
include: "rules/base_model.smk"
include: "rules/finetune.smk"
include: "rules/conflicts.smk"
include: "rules/unlikelihood.smk"
include: "rules/convert.smk"
include: "rules/decode.smk"
include: "rules/detect.smk"
include: "rules/score.smk"
include: "rules/significance.smk"
include: "rules/judge.smk"
include: "rules/tables.smk"
include: "rules/figures.smk"
include: "rules/page.smk"


onstart:
    # Now, not after days of training.
    check_prerequisites()


rule all:
    default_target: True
    input:
        rules.tables.output,
        rules.figures.output,
        rules.page.output,
