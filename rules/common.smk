# Config access, wildcard constraints and input functions: the only place with Python logic in the rules.

import atexit
import json
import re
import shlex
import sys
from pathlib import Path, PurePosixPath

import yaml
from snakemake.exceptions import WorkflowError
from snakemake.settings.enums import Quietness
from snakemake.settings.types import DeploymentMethod

sys.path.insert(0, workflow.basedir)

from workflow_scripts.lat.config import check_config, decode_settings, step_settings
from workflow_scripts.lat.data.corpora import LOCAL, SACREBLEU, local_files
from workflow_scripts.lat.files import InputError, read_text
from workflow_scripts.lat.training.launch import training_command
from workflow_scripts.lat.data.lid import PY3LANGID
from workflow_scripts.lat.names import BASE
from workflow_scripts.lat.plan import BenchmarkFiles, PlannedJob, make_plan
from workflow_scripts.lat.runtime import secret
from workflow_scripts.lat.data.sources import CORPORA, read_sources

# Jobs find the package from any working directory, and a logged command line runs by hand from the repository root.
# The allocator keeps what it got and asks for huge pages: small tensors come and go by the thousand, and a training step
# of the demo spends up to a third less time where memory is not returned and faulted in again.
ALLOCATOR = (
    "GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=4294967296"
)
# Snakemake exports a rule's threads to the numeric libraries; the tokenizers' pool has a variable of its own.
shell.prefix(
    f"set -euo pipefail; export PYTHONPATH={shlex.quote(str(workflow.basedir))} {ALLOCATOR}"
    " RAYON_NUM_THREADS=$OMP_NUM_THREADS; "
)

try:
    check_config(config, Path(workflow.basedir))
except InputError as error:
    # One line for the user, instead of a traceback through the rules.
    raise SystemExit(str(error)) from None


def any_of(names):
    """A wildcard constraint: one of these names, or nothing at all where there are none."""
    return "|".join(map(re.escape, names)) or "(?!)"


STAGE_MODELS = {
    stage: [name for name, model in config["models"].items() if model["stage"] == stage]
    for stage in ("finetune", "unlikelihood", "snapshot")
}
SOURCES = {source.name: source for source in read_sources()}


wildcard_constraints:
    base_model=any_of(config["base_models"]),
    benchmark=any_of(config["benchmarks"]),
    model=any_of(config["models"]),
    system=any_of(config["systems"]),
    source=any_of(SOURCES),
    role="train|test|demonstrations",


def benchmark_config(name):
    """The config entry of a benchmark."""
    return config["benchmarks"][name]


def base_model_config(name):
    """The config entry of a base model."""
    return config["base_models"][name]


def directions(benchmark):
    """All test directions of a benchmark, supervised ones first."""
    entry = benchmark_config(benchmark)
    return [*entry["supervised"], *entry["zero_shot"]]


def source_file(name):
    """Where the downloaded file of a source lies."""
    return f"results/download/sources/{name}/{SOURCES[name].file}"


def flags(values):
    """Long command-line flags of a dict: lists become several values, true a bare flag, false and null nothing.

    Sorted by name: an overlay changes the order of keys, which must not look like another value.
    """
    words = []
    for name, value in sorted(values.items()):
        if value is None or value is False:
            continue
        words.append(f"--{name.replace('_', '-')}")
        if value is not True:
            words += map(str, value) if isinstance(value, list) else [str(value)]
    return " ".join(map(shlex.quote, words))


def model_settings(step, wildcards):
    """Settings of a training step for the model a path names."""
    return step_settings(config, step, wildcards.base_model, wildcards.benchmark, wildcards.model)


def training_flags(step, wildcards, without=()):
    """What determines the weights of a model, as flags of its training script."""
    entry = base_model_config(wildcards.base_model)
    settings = model_settings(step, wildcards) | {
        "dtype": entry.get("dtype", "bf16"),
        "attention": entry.get("attention", "sdpa"),
        "seed": config["seed"],
    }
    return flags({key: value for key, value in settings.items() if key not in ("threads", *without)})


def launcher(wildcards):
    """Starts the training processes of a base model."""
    return training_command(nodes(wildcards) or 1, gpus(wildcards))


def processes(wildcards):
    """Training processes on one node: one a GPU, or a single one without any."""
    return max(1, gpus(wildcards))


def from_repository(path):
    """A path of the config, relative ones starting from the repository as the config check takes them."""
    return str(Path(workflow.basedir, path))


def deepspeed_config(wildcards):
    """The DeepSpeed file of a base model."""
    return from_repository(base_model_config(wildcards.base_model)["deepspeed"])


def memory(wildcards):
    """Memory of a job that loads this base model, in MB."""
    return base_model_config(wildcards.base_model).get("mem_mb", 4000)


def gpus(wildcards):
    """GPUs a job of this base model asks the cluster for."""
    return base_model_config(wildcards.base_model).get("gpus", 0)


def nodes(wildcards):
    """Nodes of a training job, where there are several: Slurm then starts a launcher on each."""
    count = base_model_config(wildcards.base_model).get("nodes", 1)
    return count if count > 1 else None


def start_by_srun(wildcards):
    """Tells the Slurm executor that the job itself starts its processes on the nodes."""
    return "srun" if nodes(wildcards) else None


def gpus_of_one_node(wildcards):
    """GPUs as Slurm counts a job's on a single node."""
    return None if nodes(wildcards) else gpus(wildcards)


def gpus_of_each_node(wildcards):
    """GPUs as Slurm counts a job's on several nodes."""
    return f"gpu:{gpus(wildcards)}" if nodes(wildcards) else None


def tasks_per_gpu(wildcards):
    """None a GPU: the launcher, not Slurm, starts a process for each."""
    return 0 if nodes(wildcards) else None


def instructions_file(name):
    """A set of general instructions: a row of the source table, or the user's own file."""
    return source_file(name) if name in SOURCES else from_repository(name)


def comparisons():
    """The tables of all comparisons of answers to general instructions."""
    return [
        "results/judge/{base_model}/{benchmark}/{system}-against-{baseline}.tsv".format(**experiment, **pair)
        for experiment in config["experiments"]
        for pair in config["judge"]["comparisons"]
        if {pair["system"], pair["baseline"]} <= set(experiment["systems"])
    ]


def instruction_position(model):
    """Where a model expects the instruction: as in its stage-1 training."""
    if model == BASE:
        return "before"
    entry = config["models"][model]
    return instruction_position(entry["from"]) if "from" in entry else entry.get("instruction", "before")


def model_folder(base_model, benchmark, model):
    """The folder of a finished model, whichever step makes it."""
    if model == BASE:
        return f"results/base_model/{base_model}/model"
    step = "finetune" if model in STAGE_MODELS["finetune"] else "unlikelihood"
    return f"results/{step}/{base_model}/{benchmark}/{model}/model"


def template_flags(base_model, model):
    """How a model's prompts are laid out."""
    return flags(
        {
            "instruction_position": instruction_position(model),
            "no_preamble": not base_model_config(base_model).get("preamble", True),
        }
    )


def every_system(pattern):
    """The files `pattern` stands for, over all systems of all experiments."""
    return [
        pattern.format(base_model=entry["base_model"], benchmark=entry["benchmark"], system=system)
        for entry in config["experiments"]
        for system in entry["systems"]
    ]


def systems(wildcards):
    """The systems of an experiment."""
    return next(
        entry["systems"]
        for entry in config["experiments"]
        if (entry["base_model"], entry["benchmark"]) == (wildcards.base_model, wildcards.benchmark)
    )


def systems_of(pattern, wildcards):
    """The files `pattern` stands for, over the systems of one experiment."""
    return [pattern.format(**wildcards, system=system) for system in systems(wildcards)]


def every_benchmark(pattern):
    """The files `pattern` stands for, over the benchmarks of all experiments."""
    return sorted({pattern.format(benchmark=entry["benchmark"]) for entry in config["experiments"]})


def check_prerequisites():
    """Look for what jobs of this run will need besides their input files.

    Raises:
        WorkflowError: it is not there.
    """
    try:
        for job in workflow.dag.needrun_jobs():
            if job.rule.name == "judge":
                secret(config["judge"]["key"])
            if job.rule.name == "score_learned":
                check_learned_environment(job.wildcards)
    except InputError as error:
        raise WorkflowError(str(error)) from None


def score_tables(base_model, benchmark, system):
    """The tables that hold the scores of a system: BLEU and chrF++, learned metrics, off-target ratio."""
    place = f"{base_model}/{benchmark}/{system}"
    return [
        f"results/score/{place}.tsv",
        *(f"results/score/{place}.{metric}.tsv" for metric in config["score"]["learned"]),
        f"results/detect/{place}/otr.tsv",
    ]


def benchmark_files():
    """Where the data of each benchmark is, once it is made."""
    folders = {name: Path(workflow.workdir_init, "results", "download", name) for name in config["benchmarks"]}
    return {name: BenchmarkFiles(folder / "train.jsonl", folder / "test") for name, folder in folders.items()}


def print_plan():
    """Ends a dry-run with what its jobs will need, where Snakemake tells their number too."""
    # Without a scheduler there is no complete graph of jobs: something was wrong, or another question was asked.
    if not workflow.dryrun or workflow.scheduler is None:
        return
    if {Quietness.PROGRESS, Quietness.ALL} & set(workflow.output_settings.quiet or ()):
        return
    steps = {rule.name: Path(rule.snakefile).stem for rule in workflow.rules if rule.name != "all"}
    jobs = [
        PlannedJob(
            steps[job.rule.name],
            job.rule.name,
            job.wildcards_dict,
            bool(job.resources.get("gpu") or job.resources.get("gres")),
        )
        # The scheduler of a dry-run has finished them all.
        for job in workflow.dag.needrun_jobs(exclude_finished=False)
        if job.rule.name in steps
    ]
    if jobs:
        print(*make_plan(config, jobs, steps.values(), benchmark_files()), sep="\n")


# Snakemake has no hook for the end of a dry-run.
atexit.register(print_plan)
