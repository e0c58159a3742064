# Identifies the language of each output line and of each reference translation, and computes off-target scores.


def lid_files():
    """Return the files of the configured language identifiers; py3langid is a library and has none."""
    return [
        source_file(name) if name in SOURCES else from_repository(name)
        for name in config["detect"]["lid"]
        if name != PY3LANGID
    ]


def lid_names():
    """Return the configured language identifiers as arguments of the script: paths of files, or `py3langid`."""
    files = iter(lid_files())
    return [name if name == PY3LANGID else next(files) for name in config["detect"]["lid"]]


rule detect:
    input:
        outputs="results/decode/{base_model}/{benchmark}/{run}/{system}",
        sources="results/download/{benchmark}/test",
        lid=lid_files(),
    output:
        lines="results/detect/{base_model}/{benchmark}/{run}/{system}/lines.tsv",
        scores="results/detect/{base_model}/{benchmark}/{run}/{system}/otr.tsv",
    log:
        "results/detect/logs/{base_model}-{benchmark}-{run}-{system}.log",
    conda:
        "../envs/main.yaml"
    threads: 1
    resources:
        mem_mb=doubled(2000),
        runtime=doubled(20),
    params:
        code=code_of("detect"),
        directions=sorted_directions,
        languages=languages_hash,
        suffix=".txt",
        lid=lid_names(),
    message:
        "Detect: identifying output languages of {wildcards.system} ({wildcards.base_model}, {wildcards.benchmark}, {wildcards.run})"
    shell:
        "python -m workflow_scripts.detect --folder {input.outputs:q} --suffix {params.suffix:q}"
        " --sources {input.sources:q} --lid {params.lid:q} --lines {output.lines:q} --scores {output.scores:q}"
        " --directions {params.directions:q} 2>&1 | tee {log:q}"


use rule detect as detect_references with:
    input:
        outputs="results/download/{benchmark}/test",
        sources="results/download/{benchmark}/test",
        lid=lid_files(),
    output:
        lines="results/detect/references/{benchmark}/lines.tsv",
        scores="results/detect/references/{benchmark}/otr.tsv",
    log:
        "results/detect/logs/references-{benchmark}.log",
    params:
        code=code_of("detect"),
        directions=sorted_directions,
        languages=languages_hash,
        suffix=".ref.txt",
        lid=lid_names(),
    message:
        "Detect: identifying languages of the reference translations of {wildcards.benchmark}"
