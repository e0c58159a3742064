# Decodes with each system: all directions in one job, which loads the model once, or in `decode.shards` jobs. Answers to
# general instructions are decoded in one job. Translations from outside of the workflow are only checked and copied, or
# a server is asked for them.


def system_model(wildcards):
    """Return the folder of the model of a system."""
    return model_folder(
        wildcards.base_model, wildcards.benchmark, wildcards.run, config["systems"][wildcards.system]["model"]
    )


def system_settings(wildcards):
    """Return the decoding settings of a system."""
    return decode_settings(config, wildcards.base_model, wildcards.benchmark, wildcards.system)


def boost_samples(wildcards):
    """Return the training samples that show the tokens of each language, if the system has a language boost."""
    if "language_boost" not in config["systems"][wildcards.system]:
        return []
    return f"results/download/{wildcards.benchmark}/{wildcards.run}/train.jsonl"


def decode_flags(wildcards):
    """Return the decoding settings of a system as flags of the script."""
    boost = {
        "language_boost": config["systems"][wildcards.system].get("language_boost"),
        "samples": boost_samples(wildcards) or None,
    }
    return decoding_flags(wildcards.base_model, system_settings(wildcards) | boost)


def decode_memory(wildcards, attempt):
    """Return the memory, in MB, of the decoding job of a system."""
    return decoding_memory(wildcards, attempt, system_settings(wildcards))


def decode_python(wildcards):
    """Return the interpreter of a system's decoding engine."""
    return decoding_python(system_settings(wildcards))


def decode_environment(wildcards):
    """Return the conda environment of a system's decoding engine."""
    return decoding_environment(system_settings(wildcards))


def decode_gpus(wildcards):
    """Return the number of GPUs of the decoding job of a system."""
    return decoding_gpus(wildcards, system_settings(wildcards))


def system_conversion(wildcards):
    """Return the converted model of a system if its decoding engine needs one."""
    if system_settings(wildcards)["engine"] != "ctranslate2":
        return []
    return f"results/convert/{{base_model}}/{{benchmark}}/{{run}}/{config['systems'][wildcards.system]['model']}"


def shards_of_run(base_model, benchmark, run, system):
    """Return the number of jobs that decode the directions of a run of a system.

    A finished output keeps the number that it was made with, so that another one reruns nothing.
    """
    if not model_of(config, system):
        return 1
    output = Path("results", "decode", base_model, benchmark, run, system)
    if not output.is_dir():
        return decode_settings(config, base_model, benchmark, system)["shards"]
    record = output / ".shards"
    # The benchmark may have fewer directions by now.
    return min(int(read_text(record)), len(directions(benchmark))) if record.is_file() else 1


def sharded_systems():
    """Return a wildcard constraint that matches the systems that several jobs decode, by the folders before them."""
    found = {}
    for entry in config["experiments"]:
        for system, seed in experiment_runs(entry):
            run = entry["base_model"], entry["benchmark"], folder_of(seed)
            if shards_of_run(*run, system) > 1:
                found.setdefault("/".join(run), []).append(system)
    return "|".join(f"(?<=/{re.escape(run)}/)(?:{any_of(systems)})" for run, systems in found.items()) or any_of([])


def shard_folders(wildcards):
    """Return the outputs of the jobs that decode the directions of a system."""
    count = shards_of_run(**wildcards)
    return [
        f"results/decode/.shards/{{base_model}}/{{benchmark}}/{{run}}/{{system}}/{number}-of-{count}"
        for number in range(1, count + 1)
    ]


def outside_files(wildcards):
    """Return the files with the translations of a system from outside of the workflow, by direction."""
    return {
        direction: from_repository(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)
        for direction, path in hypotheses_files(
            config, ROOT, wildcards.benchmark, wildcards.system, wildcards.run.removeprefix("seed")
        ).items()
    }


def systems_with(origin):
    """Return a wildcard constraint that matches the systems that have `model`, `hypotheses` or `server`."""
    return any_of(system for system, entry in config["systems"].items() if origin in entry)


def request_flags(wildcards):
    """Return what determines the replies of the server of a system, as flags of the script."""
    settings = server_settings(config, wildcards.benchmark, wildcards.system)
    return flags(
        {"base_url": settings["base_url"], "model": settings["model"]}
        | {"request": json.dumps(settings["request"], sort_keys=True)}
    )


def asking_flags(wildcards):
    """Return the other settings of the server of a system as flags."""
    settings = server_settings(config, wildcards.benchmark, wildcards.system)
    prices = settings["prices"] and [settings["prices"]["prompt"], settings["prices"]["completion"]]
    return flags({key: settings[key] for key in ("key", "max_cost", "parallel")} | {"prices": prices})


rule decode:
    input:
        check=base_model_check,
        model=system_model,
        converted=system_conversion,
        prompts="results/prompts/{base_model}/{benchmark}/test/{system}",
        samples=boost_samples,
    output:
        directory("results/decode/{base_model}/{benchmark}/{run}/{system}"),
    log:
        "results/decode/logs/{base_model}-{benchmark}-{run}-{system}.log",
    benchmark:
        "results/decode/logs/{base_model}-{benchmark}-{run}-{system}.timing.tsv"
    wildcard_constraints:
        system=systems_with("model"),
    conda:
        decode_environment
    threads: lambda wildcards: system_settings(wildcards)["threads"]
    resources:
        mem_mb=decode_memory,
        runtime=24 * 60,  # a retry continues
        nodes=1,
        gpu=decode_gpus,
    params:
        code=code_of("decode"),
        converted=lambda wildcards, input: flags({"converted": input.converted or None}),
        python=decode_python,
        directions=sorted_directions,
        wordings=prompts_hash,
        settings=decode_flags,
        # This is not an output, since Snakemake deletes the outputs of a killed job before it reruns the job.
        unfinished="results/decode/.unfinished/{base_model}/{benchmark}/{run}/{system}",
    message:
        "Decode: translating with {wildcards.system} ({wildcards.base_model}, {wildcards.benchmark}, {wildcards.run})"
    shell:
        "{params.python:q} -m workflow_scripts.decode --model {input.model:q} --prompts {input.prompts:q} --output {output:q}"
        " --unfinished {params.unfinished:q} {params.converted} --threads {threads} {params.settings}"
        " --directions {params.directions:q} 2>&1 | tee {log:q}"


use rule decode as answer with:
    input:
        check=base_model_check,
        model=system_model,
        converted=system_conversion,
        prompts="results/prompts/{base_model}/{benchmark}/instructions/{system}",
    output:
        directory("results/decode/{base_model}/{benchmark}/{run}/answers/{system}"),
    log:
        "results/decode/logs/{base_model}-{benchmark}-{run}-answers-{system}.log",
    benchmark:
        "results/decode/logs/{base_model}-{benchmark}-{run}-answers-{system}.timing.tsv"
    params:
        code=code_of("decode"),
        converted=lambda wildcards, input: flags({"converted": input.converted or None}),
        python=decode_python,
        directions="answers",
        wordings=hash_of(prompt_entries([])),
        settings=lambda wildcards: f"{decode_flags(wildcards)} --line-breaks",
        unfinished="results/decode/.unfinished/{base_model}/{benchmark}/{run}/answers/{system}",
    message:
        "Decode: answering general instructions with {wildcards.system} ({wildcards.base_model}, {wildcards.benchmark}, {wildcards.run})"


use rule decode as decode_shard with:
    output:
        temp(directory("results/decode/.shards/{base_model}/{benchmark}/{run}/{system}/{shard}-of-{shards}")),
    log:
        "results/decode/logs/{base_model}-{benchmark}-{run}-{system}-{shard}-of-{shards}.log",
    benchmark:
        "results/decode/logs/{base_model}-{benchmark}-{run}-{system}-{shard}-of-{shards}.timing.tsv"
    wildcard_constraints:
        shard=r"\d+",
        shards=r"\d+",
    params:
        code=code_of("decode"),
        converted=lambda wildcards, input: flags({"converted": input.converted or None}),
        python=decode_python,
        directions=lambda wildcards: of_shard(sorted_directions(wildcards), int(wildcards.shard), int(wildcards.shards)),
        wordings=prompts_hash,
        # The lines stay until all shards are finished, so that another number of shards in between loses nothing.
        settings=lambda wildcards: f"{decode_flags(wildcards)} --keep-unfinished",
        unfinished="results/decode/.unfinished/{base_model}/{benchmark}/{run}/{system}",
    message:
        "Decode: translating with {wildcards.system}, part {wildcards.shard} of {wildcards.shards} ({wildcards.base_model}, {wildcards.benchmark}, {wildcards.run})"


ruleorder: merge_shards > decode


rule use_hypotheses:
    input:
        hypotheses=lambda wildcards: list(outside_files(wildcards).values()),
        test="results/download/{benchmark}/test",
    output:
        directory("results/decode/{base_model}/{benchmark}/{run}/{system}"),
    log:
        "results/decode/logs/{base_model}-{benchmark}-{run}-{system}.log",
    wildcard_constraints:
        system=systems_with("hypotheses"),
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(1000),
        runtime=doubled(10),
    params:
        code=code_of("hypotheses"),
        directions=lambda wildcards: list(outside_files(wildcards)),
    message:
        "Decode: taking the translations of {wildcards.system} ({wildcards.benchmark})"
    shell:
        "python -m workflow_scripts.hypotheses --hypotheses {input.hypotheses:q} --test {input.test:q} --output {output:q}"
        " --directions {params.directions:q} 2>&1 | tee {log:q}"


rule translate_on_server:
    input:
        "results/download/{benchmark}/test",
    output:
        directory("results/decode/{base_model}/{benchmark}/{run}/{system}"),
    log:
        "results/decode/logs/{base_model}-{benchmark}-{run}-{system}.log",
    wildcard_constraints:
        run=SHARED,
        system=systems_with("server"),
    # The nodes of a cluster may have no network, and the key is in the environment of the user.
    localrule: True
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        # Not a parameter: these settings do not change the text.
        asking=asking_flags,
    params:
        code=code_of("translate"),
        directions=sorted_directions,
        wordings=prompts_hash,
        request=request_flags,
        # This is not an output, since Snakemake would delete it before a rerun: no request is ever paid for twice. The
        # experiments of all base models share it.
        journal="results/decode/.journal/{benchmark}/{system}",
    message:
        "Decode: translating with {wildcards.system} on its server ({wildcards.benchmark})"
    shell:
        "python -m workflow_scripts.translate --system {wildcards.system:q} {params.request} {resources.asking}"
        " --test {input:q} --directions {params.directions:q} --journal {params.journal:q} --output {output:q} 2>&1 | tee {log:q}"


rule merge_shards:
    input:
        shard_folders,
    output:
        directory("results/decode/{base_model}/{benchmark}/{run}/{system}"),
    log:
        "results/decode/logs/{base_model}-{benchmark}-{run}-{system}.log",
    wildcard_constraints:
        system=sharded_systems(),
    # A job on a node would find another number of shards, once the output that is replaced is gone.
    localrule: True
    conda:
        "../envs/main.yaml"
    params:
        # What changes the text, as in the jobs of the shards, whose outputs are deleted.
        code=code_of("decode"),
        directions=sorted_directions,
        wordings=prompts_hash,
        settings=decode_flags,
        unfinished="results/decode/.unfinished/{base_model}/{benchmark}/{run}/{system}",
        shards="results/decode/.shards/{base_model}/{benchmark}/{run}/{system}",
        number=lambda wildcards, input: len(input),
    message:
        "Decode: collecting {params.number} parts of {wildcards.system} ({wildcards.base_model}, {wildcards.benchmark}, {wildcards.run})"
    # The number of shards is written first, since an output without it counts as that of a single job.
    shell:
        "{{ mkdir {output:q}; echo {params.number} > {output:q}/.shards;"
        ' for shard in {input:q}; do cp --recursive --link --force "$shard/." {output:q}; done;'
        " rm {output:q}/counts.tsv; tables=({input:q});"
        " awk 'NR == 1 || FNR > 1' \"${{tables[@]/%//counts.tsv}}\" > {output:q}/counts.tsv;"
        " rm --recursive --force {params.unfinished:q};"
        " find {params.shards:q} -mindepth 1 -maxdepth 1 ! -name '*-of-{params.number}' -exec rm --recursive {{}} +;"
        " }} 2>&1 | tee {log:q}"
