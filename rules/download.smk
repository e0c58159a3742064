# Downloads localisation catalogues or parallel corpora, and makes training, test and demonstration data from them.


def corpus_archive(wildcards):
    """Return the downloaded file of a corpus if it is a row of resources/sources.tsv."""
    return source_file(wildcards.corpus) if wildcards.corpus in SOURCES else []


def corpus_parts(wildcards):
    """Return the parts of a corpus that a benchmark uses; for local files, their paths."""
    parts = benchmark_config(wildcards.benchmark)["corpora"][wildcards.role][wildcards.corpus]
    return [from_repository(part) for part in parts] if wildcards.corpus == LOCAL else parts


def corpus_files(wildcards):
    """Return the local files that a benchmark uses."""
    return (
        [str(file) for part in corpus_parts(wildcards) for file in local_files(part)]
        if wildcards.corpus == LOCAL
        else []
    )


def corpus_directions(wildcards):
    """Return the directions for which a benchmark uses a corpus."""
    if wildcards.role == "train":
        return benchmark_config(wildcards.benchmark)["supervised"]
    # The lines of dev directions are from the corpora of the demonstrations.
    return directions(wildcards.benchmark) + (dev_directions(wildcards) if wildcards.role == "demonstrations" else [])


def corpus_flags(wildcards):
    """Return the parts and directions of a corpus that a benchmark uses, as flags of the script."""
    return flags(
        {
            "corpus": wildcards.corpus,
            "parts": corpus_parts(wildcards),
            "directions": corpus_directions(wildcards),
        }
    )


def mtdata_ids(wildcards):
    """Return the ids of the library mtdata that a benchmark uses as training, test or demonstration data."""
    return benchmark_config(wildcards.benchmark)["corpora"][wildcards.role][MTDATA]


def all_mtdata_ids():
    """Return the ids of the library mtdata that all benchmarks use."""
    return {
        name
        for entry in config["benchmarks"].values()
        for corpora in entry.get("corpora", {}).values()
        for name in corpora.get(MTDATA, ())
    }


def corpus_folders(role, wildcards):
    """Return the folders of the corpora that a benchmark uses as training, test or demonstration data."""
    return [
        f"results/download/corpora/{wildcards.benchmark}/{role}/{corpus}"
        for corpus in benchmark_config(wildcards.benchmark)["corpora"][role]
    ]


def filtered_folders(wildcards):
    """Return the folders with the training pairs of a benchmark: one per corpus, or the one that its filters left."""
    if "filters" in benchmark_config(wildcards.benchmark):
        return ["results/download/corpora/{benchmark}/filtered".format(benchmark=wildcards.benchmark)]
    return corpus_folders("train", wildcards)


def training_folders(wildcards):
    """Return the same without the pairs that have a text of a dev line, if the benchmark has dev directions."""
    if "dev" in benchmark_config(wildcards.benchmark):
        return ["results/download/corpora/{benchmark}/without_dev".format(benchmark=wildcards.benchmark)]
    return filtered_folders(wildcards)


def filter_counts(wildcards):
    """Return the table of what the filters of a benchmark dropped and kept; nothing if it has none."""
    if "filters" not in benchmark_config(wildcards.benchmark):
        return []
    return [f"{folder}.tsv" for folder in filtered_folders(wildcards)]


def earlier_counts(wildcards):
    """Return the table of all that was dropped from the training pairs of a benchmark before it is assembled."""
    if "dev" in benchmark_config(wildcards.benchmark):
        return ["results/download/{benchmark}/dev.tsv".format(benchmark=wildcards.benchmark)]
    return filter_counts(wildcards)


def filter_lid(wildcards):
    """Return the language identifier of a benchmark whose filters need one."""
    entry = benchmark_config(wildcards.benchmark)
    return source_file(entry["lid"]) if "lid" in entry else []


localrules:
    fetch_source,
    fetch_snapshot,
    fetch_test_sets,
    fetch_mtdata,


rule fetch_source:
    output:
        file="results/download/sources/{source}/{file}",
    log:
        "results/download/logs/fetch-{source}-{file}.log",
    wildcard_constraints:
        source=any_of(name for name, source in SOURCES.items() if source.kind not in SNAPSHOTS),
        file="[^/]+",
    retries: 1
    conda:
        "../envs/main.yaml"
    threads: 1
    params:
        # Not used in the command: the script reads it from the table. As a parameter, it reruns the rule if it changes.
        sha256=lambda wildcards: SOURCES[wildcards.source].sha256,
    message:
        "Download: fetching {wildcards.source}"
    shell:
        "python -m workflow_scripts.download fetch --source {wildcards.source:q} --output {output.file:q}"
        ' ${{store:+--store "$store"}} 2>&1 | tee {log:q}'


rule fetch_snapshot:
    output:
        folder=directory("results/download/sources/{source}/{file}"),
    log:
        "results/download/logs/fetch-{source}-{file}.log",
    wildcard_constraints:
        source=any_of(name for name, source in SOURCES.items() if source.kind in SNAPSHOTS),
        file="[^/]+",
    retries: 2
    conda:
        "../envs/main.yaml"
    threads: 1
    params:
        # Not used in the command: the script reads it from the table. As a parameter, it reruns the rule if it changes.
        version=lambda wildcards: SOURCES[wildcards.source].version,
    message:
        "Download: fetching {wildcards.source}"
    shell:
        "python -m workflow_scripts.download fetch --source {wildcards.source:q} --output {output.folder:q}"
        ' ${{store:+--store "$store"}} 2>&1 | tee {log:q}'


rule extract_catalogue:
    input:
        archive=lambda wildcards: source_file(wildcards.source),
    output:
        rows="results/download/catalogues/{benchmark}/{source}.jsonl",
        counts="results/download/catalogues/{benchmark}/{source}.counts.tsv",
    log:
        "results/download/logs/extract-{benchmark}-{source}.log",
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(1000),
        runtime=doubled(10),
    params:
        code=code_of("download"),
        languages=lookup(dpath="benchmarks/{benchmark}/languages", within=config),
        # Not used in the command: the script reads it from the table. As a parameter, it reruns the rule if it changes.
        members=lambda wildcards: SOURCES[wildcards.source].members,
    message:
        "Download: extracting the catalogues of {wildcards.source} for {wildcards.benchmark}"
    shell:
        "python -m workflow_scripts.download extract --source {wildcards.source:q} --archive {input.archive:q}"
        " --languages {params.languages:q} --output {output.rows:q} --counts {output.counts:q} 2>&1 | tee {log:q}"


rule split_benchmark:
    input:
        catalogues=lambda wildcards: [
            f"results/download/catalogues/{{benchmark}}/{source}.jsonl"
            for source in benchmark_config(wildcards.benchmark)["catalogues"]
        ],
        lid=lambda wildcards: source_file(benchmark_config(wildcards.benchmark)["lid"]),
    output:
        pool="results/download/{benchmark}/pool.jsonl",
        monolingual="results/download/{benchmark}/monolingual.jsonl",
        test=directory("results/download/{benchmark}/test"),
        demonstrations=directory("results/download/{benchmark}/demonstrations"),
        filters="results/download/{benchmark}/filters.tsv",
    log:
        "results/download/logs/split-{benchmark}.log",
    benchmark:
        "results/download/logs/split-{benchmark}.timing.tsv"
    wildcard_constraints:
        benchmark=any_of(name for name, entry in config["benchmarks"].items() if "catalogues" in entry),
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(1000),
        runtime=doubled(20),
    params:
        code=code_of("download"),
        rows=languages_hash,
        languages=lookup(dpath="benchmarks/{benchmark}/languages", within=config),
        settings=lambda wildcards: flags(
            {
                key: benchmark_config(wildcards.benchmark).get(key)
                for key in ("min_words", "max_words", "test_rows", "test_min_words", "demonstrations")
            }
            | {"seed": split_seed(wildcards.benchmark)}
        ),
    message:
        "Download: filtering and splitting {wildcards.benchmark}"
    shell:
        "python -m workflow_scripts.download split --catalogues {input.catalogues:q} --lid {input.lid:q}"
        " --languages {params.languages:q} {params.settings} --pool {output.pool:q}"
        " --monolingual {output.monolingual:q} --test-folder {output.test:q}"
        " --demonstrations-folder {output.demonstrations:q} --filters {output.filters:q} 2>&1 | tee {log:q}"


rule hold_out_rows:
    input:
        pool="results/download/{benchmark}/pool.jsonl",
    output:
        dev=directory("results/download/{benchmark}/dev"),
        pool="results/download/{benchmark}/pool.without_dev.jsonl",
        monolingual="results/download/{benchmark}/monolingual.without_dev.jsonl",
        counts="results/download/{benchmark}/dev.tsv",
    log:
        "results/download/logs/dev-{benchmark}.log",
    wildcard_constraints:
        benchmark=any_of(name for name, entry in config["benchmarks"].items() if {"dev", "catalogues"} <= set(entry)),
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(1000),
        runtime=doubled(20),
    params:
        code=code_of("download"),
        languages=lookup(dpath="benchmarks/{benchmark}/languages", within=config),
        settings=lambda wildcards: flags(
            {
                "directions": dev_directions(wildcards),
                "sentences": dev_sentences(benchmark_config(wildcards.benchmark)),
                "min_words": benchmark_config(wildcards.benchmark)["test_min_words"],
                "seed": split_seed(wildcards.benchmark),
            }
        ),
    message:
        "Download: holding out the lines of the dev directions of {wildcards.benchmark}"
    shell:
        "python -m workflow_scripts.download hold-out-rows --pool {input.pool:q} --languages {params.languages:q}"
        " {params.settings} --dev {output.dev:q} --rest {output.pool:q} --monolingual {output.monolingual:q}"
        " --counts {output.counts:q} 2>&1 | tee {log:q}"


rule draw:
    input:
        pool=lambda wildcards: training_text(wildcards.benchmark, "pool"),
    output:
        train="results/download/{benchmark}/{run}/train.jsonl",
        counts="results/download/{benchmark}/{run}/train.tsv",
    log:
        "results/download/logs/draw-{benchmark}-{run}.log",
    wildcard_constraints:
        benchmark=any_of(name for name, entry in config["benchmarks"].items() if "catalogues" in entry),
        run=SEED_RUN,
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(1000),
        runtime=doubled(20),
    params:
        code=code_of("download"),
        languages=lookup(dpath="benchmarks/{benchmark}/languages", within=config),
        settings=lambda wildcards: flags(
            {key: benchmark_config(wildcards.benchmark)[key] for key in ("supervised", "train_rows")}
            | {"seed": seed_of(wildcards)}
        ),
    message:
        "Download: drawing the training samples of {wildcards.benchmark} ({wildcards.run})"
    shell:
        "python -m workflow_scripts.download draw --pool {input.pool:q} --languages {params.languages:q} {params.settings}"
        " --train {output.train:q} --counts {output.counts:q} 2>&1 | tee {log:q}"


rule read_corpus:
    input:
        archive=corpus_archive,
        local=corpus_files,
    output:
        directory("results/download/corpora/{benchmark}/{role}/{corpus}"),
    log:
        "results/download/logs/read-{benchmark}-{role}-{corpus}.log",
    wildcard_constraints:
        corpus=any_of([*(name for name, source in SOURCES.items() if source.format in CORPORA), LOCAL]),
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(4000),
        runtime=doubled(60),
    params:
        code=code_of("download"),
        flags=corpus_flags,
        archive=lambda wildcards, input: flags({"archive": input.archive or None}),
    message:
        "Download: reading {wildcards.corpus} for {wildcards.benchmark} ({wildcards.role})"
    shell:
        "python -m workflow_scripts.download read {params.archive} {params.flags} --output {output:q} 2>&1 | tee {log:q}"


rule fetch_test_sets:
    output:
        directory("results/download/corpora/{benchmark}/{role}/{corpus}"),
    log:
        "results/download/logs/read-{benchmark}-{role}-{corpus}.log",
    wildcard_constraints:
        corpus=any_of([SACREBLEU]),
    retries: 2
    conda:
        "../envs/main.yaml"
    threads: 1
    params:
        flags=corpus_flags,
    message:
        "Download: fetching test sets for {wildcards.benchmark} ({wildcards.role})"
    shell:
        "python -m workflow_scripts.download read {params.flags} --output {output:q} 2>&1 | tee {log:q}"


rule fetch_mtdata:
    output:
        folder=directory(f"results/download/sources/{MTDATA}/{{id}}"),
    log:
        "results/download/logs/fetch-mtdata-{id}.log",
    wildcard_constraints:
        id=any_of(all_mtdata_ids()),
    retries: 1
    conda:
        "../envs/main.yaml"
    threads: 1
    params:
        # Not used in the command: another version of the library may know other files.
        version=mtdata_version(),
    message:
        "Download: fetching {wildcards.id}"
    shell:
        "python -m workflow_scripts.download fetch-mtdata --id {wildcards.id:q} --output {output.folder:q}"
        ' ${{store:+--store "$store"}} 2>&1 | tee {log:q}'


rule read_mtdata:
    input:
        corpora=lambda wildcards: [f"results/download/sources/{MTDATA}/{name}" for name in mtdata_ids(wildcards)],
    output:
        directory("results/download/corpora/{benchmark}/{role}/{corpus}"),
    log:
        "results/download/logs/read-{benchmark}-{role}-{corpus}.log",
    wildcard_constraints:
        corpus=any_of([MTDATA]),
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(4000),
        runtime=doubled(60),
    params:
        code=code_of("download"),
        flags=lambda wildcards: flags(
            {"training": wildcards.role == "train", "directions": corpus_directions(wildcards)}
        ),
    message:
        "Download: reading {wildcards.corpus} for {wildcards.benchmark} ({wildcards.role})"
    shell:
        "python -m workflow_scripts.download read-mtdata --corpora {input.corpora:q} {params.flags}"
        " --output {output:q} 2>&1 | tee {log:q}"


rule filter_corpora:
    input:
        corpora=lambda wildcards: corpus_folders("train", wildcards),
        lid=filter_lid,
    output:
        filtered=directory("results/download/corpora/{benchmark}/filtered"),
        counts="results/download/corpora/{benchmark}/filtered.tsv",
    log:
        "results/download/logs/filter-{benchmark}.log",
    benchmark:
        "results/download/logs/filter-{benchmark}.timing.tsv"
    wildcard_constraints:
        benchmark=any_of(name for name, entry in config["benchmarks"].items() if "filters" in entry),
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(4000),
        runtime=doubled(60),
    params:
        code=code_of("download"),
        rows=languages_hash,
        settings=lambda wildcards, input: flags(
            {
                "directions": benchmark_config(wildcards.benchmark)["supervised"],
                "languages": sorted(benchmark_config(wildcards.benchmark)["languages"]),
                "filters": json.dumps(benchmark_config(wildcards.benchmark)["filters"], sort_keys=True),
                "lid": input.lid or None,
            }
        ),
    message:
        "Download: filtering the training pairs of {wildcards.benchmark}"
    shell:
        "python -m workflow_scripts.download filter --corpora {input.corpora:q} {params.settings}"
        " --output {output.filtered:q} --counts {output.counts:q} 2>&1 | tee {log:q}"


rule hold_out_pairs:
    input:
        train=filtered_folders,
        test=lambda wildcards: corpus_folders("test", wildcards),
        demonstrations=lambda wildcards: corpus_folders("demonstrations", wildcards),
        filter_counts=filter_counts,
    output:
        dev=directory("results/download/{benchmark}/dev"),
        train=directory("results/download/corpora/{benchmark}/without_dev"),
        counts="results/download/{benchmark}/dev.tsv",
    log:
        "results/download/logs/dev-{benchmark}.log",
    wildcard_constraints:
        benchmark=any_of(name for name, entry in config["benchmarks"].items() if {"dev", "corpora"} <= set(entry)),
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(4000),
        runtime=doubled(60),
    params:
        code=code_of("download"),
        settings=lambda wildcards: flags(
            {
                "directions": dev_directions(wildcards),
                "sentences": dev_sentences(benchmark_config(wildcards.benchmark)),
                "supervised": benchmark_config(wildcards.benchmark)["supervised"],
                "zero_shot": zero_shot_of(benchmark_config(wildcards.benchmark)),
                "demonstrations": benchmark_config(wildcards.benchmark)["demonstrations"],
                "first_demonstrations": benchmark_config(wildcards.benchmark).get("demonstration_choice") == "first",
                "filter_counts": filter_counts(wildcards) or None,
                "seed": split_seed(wildcards.benchmark),
            }
        ),
    message:
        "Download: holding out the lines of the dev directions of {wildcards.benchmark}"
    shell:
        "python -m workflow_scripts.download hold-out-pairs --train-corpora {input.train:q} --test-corpora {input.test:q}"
        " --demonstrations-corpora {input.demonstrations:q} {params.settings} --dev {output.dev:q}"
        " --rest {output.train:q} --counts {output.counts:q} 2>&1 | tee {log:q}"


rule assemble_benchmark:
    input:
        train=training_folders,
        test=lambda wildcards: corpus_folders("test", wildcards),
        demonstrations=lambda wildcards: corpus_folders("demonstrations", wildcards),
        filter_counts=earlier_counts,
    output:
        monolingual="results/download/{benchmark}/monolingual.jsonl",
        test=directory("results/download/{benchmark}/test"),
        demonstrations=directory("results/download/{benchmark}/demonstrations"),
        filters="results/download/{benchmark}/filters.tsv",
    log:
        "results/download/logs/assemble-{benchmark}.log",
    benchmark:
        "results/download/logs/assemble-{benchmark}.timing.tsv"
    wildcard_constraints:
        benchmark=any_of(name for name, entry in config["benchmarks"].items() if "corpora" in entry),
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(4000),
        runtime=doubled(60),
    params:
        code=code_of("download"),
        settings=lambda wildcards: flags(
            {
                key: benchmark_config(wildcards.benchmark).get(key)
                for key in ("supervised", "train_rows", "both_ways", "demonstrations")
            }
            | {"zero_shot": zero_shot_of(benchmark_config(wildcards.benchmark))}
            | {"first_demonstrations": benchmark_config(wildcards.benchmark).get("demonstration_choice") == "first"}
            | {"filter_counts": earlier_counts(wildcards) or None}
            | {"seed": split_seed(wildcards.benchmark)}
        ),
    message:
        "Download: assembling {wildcards.benchmark}"
    shell:
        "python -m workflow_scripts.download assemble --train-corpora {input.train:q} --test-corpora {input.test:q}"
        " --demonstrations-corpora {input.demonstrations:q} {params.settings}"
        " --monolingual {output.monolingual:q} --test-folder {output.test:q}"
        " --demonstrations-folder {output.demonstrations:q} --filters {output.filters:q} 2>&1 | tee {log:q}"


rule draw_pairs:
    input:
        corpora=training_folders,
        test="results/download/{benchmark}/test",
        demonstrations="results/download/{benchmark}/demonstrations",
    output:
        train="results/download/{benchmark}/{run}/train.jsonl",
        counts="results/download/{benchmark}/{run}/train.tsv",
    log:
        "results/download/logs/draw-{benchmark}-{run}.log",
    wildcard_constraints:
        benchmark=any_of(name for name, entry in config["benchmarks"].items() if "corpora" in entry),
        run=SEED_RUN,
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(4000),
        runtime=doubled(60),
    params:
        code=code_of("download"),
        settings=lambda wildcards: flags(
            {key: benchmark_config(wildcards.benchmark).get(key) for key in ("supervised", "train_rows", "both_ways")}
            | {"zero_shot": zero_shot_of(benchmark_config(wildcards.benchmark))}
            | {"seed": seed_of(wildcards)}
        ),
    message:
        "Download: drawing the training samples of {wildcards.benchmark} ({wildcards.run})"
    shell:
        "python -m workflow_scripts.download draw-pairs --corpora {input.corpora:q} --test-folder {input.test:q}"
        " --demonstrations-folder {input.demonstrations:q} {params.settings}"
        " --train {output.train:q} --counts {output.counts:q} 2>&1 | tee {log:q}"
