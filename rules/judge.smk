# Compares the answers of two systems to general instructions, with a language model on a server as the judge.


def judge_flags(wildcards):
    """Return the settings of the judge as flags of the script."""
    judge = config["judge"]
    settings = {key: judge[key] for key in ("base_url", "model", "key", "max_cost", "parallel")}
    prices = judge["prices"] and [judge["prices"]["prompt"], judge["prices"]["completion"]]
    return flags(settings | {"prices": prices, "request": json.dumps(judge["request"], sort_keys=True)})


def answers(wildcards, system):
    """Return the folder of the answers of a system, which may be the same for all seeds."""
    shared = model_of(config, system) == BASE
    run = SHARED if shared else wildcards.run
    return f"results/decode/{wildcards.base_model}/{wildcards.benchmark}/{run}/answers/{system}"


localrules:
    judge,


rule judge:
    input:
        instructions=instructions_file(config["judge"]["instructions"]),
        answers=lambda wildcards: answers(wildcards, wildcards.system),
        baseline_answers=lambda wildcards: answers(wildcards, wildcards.baseline),
    output:
        table="results/judge/{base_model}/{benchmark}/{run}/{system}-against-{baseline}.tsv",
        judgements="results/judge/{base_model}/{benchmark}/{run}/{system}-against-{baseline}.jsonl",
    log:
        "results/judge/logs/{base_model}-{benchmark}-{run}-{system}-against-{baseline}.log",
    wildcard_constraints:
        baseline=any_of(config["systems"]),
    conda:
        "../envs/main.yaml"
    threads: 1
    params:
        code=code_of("judge"),
        names=lambda wildcards: flags(
            {name: value for name, value in wildcards.items() if name != "run"}
            | {"seed": wildcards.run.removeprefix("seed"), "name": Path(config["judge"]["instructions"]).stem}
        ),
        settings=judge_flags,
        # This is not an output, since Snakemake would delete it before a rerun: no request is ever paid for twice.
        journal="results/judge/.journal/{base_model}/{benchmark}/{run}/{system}-against-{baseline}",
    message:
        "Judge: comparing {wildcards.system} with {wildcards.baseline} ({wildcards.base_model}, {wildcards.benchmark}, {wildcards.run})"
    shell:
        "python -m workflow_scripts.judge --instructions {input.instructions:q} --answers {input.answers:q}/answers.jsonl"
        " --baseline-answers {input.baseline_answers:q}/answers.jsonl {params.names} {params.settings}"
        " --journal {params.journal:q} --judgements {output.judgements:q} --output {output.table:q} 2>&1 | tee {log:q}"
