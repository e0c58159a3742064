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
from workflow_scripts.lat.files import InputError
from workflow_scripts.lat.training.launch import training_command
from workflow_scripts.lat.data.lid import PY3LANGID
from workflow_scripts.lat.names import BASE
from workflow_scripts.lat.plan import PlannedJob, make_plan
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
CORPUS_SOURCES = [name for name, source in SOURCES.items() if source.format in CORPORA]


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


def built(wildcards):
    """How a base model is built, where the workflow builds it."""
    return base_model_config(wildcards.base_model)["build"]


def directions(benchmark):
    """All test directions of a benchmark, supervised ones first."""
    entry = benchmark_config(benchmark)
    return [*entry["supervised"], *entry["zero_shot"]]


def source_file(name):
    """Where the downloaded file of a source lies."""
    return f"results/download/sources/{name}/{SOURCES[name].file}"


def corpus_archive(wildcards):
    """The downloaded file of a corpus, where it is a row of the source table."""
    return source_file(wildcards.corpus) if wildcards.corpus in SOURCES else []


def corpus_parts(wildcards):
    """What a benchmark wants of a corpus; the user's own files as paths from the repository."""
    parts = benchmark_config(wildcards.benchmark)["corpora"][wildcards.role][wildcards.corpus]
    return [from_repository(part) for part in parts] if wildcards.corpus == LOCAL else parts


def corpus_files(wildcards):
    """The user's own files that a benchmark reads."""
    return (
        [str(file) for part in corpus_parts(wildcards) for file in local_files(part)]
        if wildcards.corpus == LOCAL
        else []
    )


def corpus_flags(wildcards):
    """Which texts of a corpus a benchmark reads, as flags of the script."""
    benchmark = benchmark_config(wildcards.benchmark)
    wanted = benchmark["supervised"] if wildcards.role == "train" else directions(wildcards.benchmark)
    return flags({"corpus": wildcards.corpus, "parts": corpus_parts(wildcards), "directions": wanted})


def corpus_folders(role, wildcards):
    """The corpora a benchmark is made of, read."""
    return [
        f"results/download/corpora/{wildcards.benchmark}/{role}/{corpus}"
        for corpus in benchmark_config(wildcards.benchmark)["corpora"][role]
    ]


def lid_files():
    """The files of the configured language identifiers; a library has none."""
    return [
        source_file(name) if name in SOURCES else from_repository(name)
        for name in config["detect"]["lid"]
        if name != PY3LANGID
    ]


def lid_names():
    """The configured language identifiers as the script takes them: files, or the name of a library."""
    files = iter(lid_files())
    return [name if name == PY3LANGID else next(files) for name in config["detect"]["lid"]]


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


def snapshot_steps(wildcards):
    """Steps of a stage-2 run after which the config wants the model kept."""
    return sorted(
        config["models"][name]["step"]
        for name in STAGE_MODELS["snapshot"]
        if config["models"][name]["from"] == wildcards.model
    )


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


def mixed_instructions(wildcards):
    """The sets of general instructions that a stage-1 model is trained on as well."""
    return [instructions_file(name) for name in config["models"][wildcards.model].get("mix", ())]


def comparisons():
    """The tables of all comparisons of answers to general instructions."""
    return [
        "results/judge/{base_model}/{benchmark}/{system}-against-{baseline}.tsv".format(**experiment, **pair)
        for experiment in config["experiments"]
        for pair in config["judge"]["comparisons"]
        if {pair["system"], pair["baseline"]} <= set(experiment["systems"])
    ]


def judge_flags(wildcards):
    """Whom to ask for a judgement and how, as flags of the script."""
    judge = config["judge"]
    settings = {key: judge[key] for key in ("base_url", "model", "key", "max_cost", "parallel")}
    prices = judge["prices"] and [judge["prices"]["prompt"], judge["prices"]["completion"]]
    return flags(settings | {"prices": prices, "request": json.dumps(judge["request"], sort_keys=True)})


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


def system_model(wildcards):
    """The model a system decodes with."""
    return model_folder(wildcards.base_model, wildcards.benchmark, config["systems"][wildcards.system]["model"])


def system_settings(wildcards):
    """How a system decodes."""
    return decode_settings(config, wildcards.base_model, wildcards.benchmark, wildcards.system)


def decode_flags(wildcards):
    """How a system decodes, as flags of the script."""
    entry = base_model_config(wildcards.base_model)
    settings = system_settings(wildcards) | {
        "dtype": entry.get("dtype", "bf16"),
        "attention": entry.get("attention", "sdpa"),
    }
    return flags({key: value for key, value in settings.items() if key != "threads"})


def decode_environment(wildcards):
    """The environment of the engine a system decodes with."""
    return "../envs/vllm.yaml" if system_settings(wildcards)["engine"] == "vllm" else "../envs/main.yaml"


def system_conversion(wildcards):
    """The converted model of a system, where its engine needs one."""
    if system_settings(wildcards)["engine"] != "ctranslate2":
        return []
    return f"results/convert/{{base_model}}/{{benchmark}}/{config['systems'][wildcards.system]['model']}"


def template_flags(base_model, model):
    """How a model's prompts are laid out."""
    return flags(
        {
            "instruction_position": instruction_position(model),
            "no_preamble": not base_model_config(base_model).get("preamble", True),
        }
    )


def system_prompt_flags(wildcards):
    """How a system fills the template."""
    system = config["systems"][wildcards.system]
    return flags(
        {
            "prompt_language": system.get("prompt_language", "en"),
            "shots": system.get("shots", 0),
            "contrasts": [f"{its['target']}={its['weight']}" for its in system.get("contrasts", ())] or None,
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


def every_experiment(pattern):
    """The files `pattern` stands for, over all experiments."""
    return [
        pattern.format(base_model=entry["base_model"], benchmark=entry["benchmark"]) for entry in config["experiments"]
    ]


def every_benchmark(pattern):
    """The files `pattern` stands for, over the benchmarks of all experiments."""
    return sorted({pattern.format(benchmark=entry["benchmark"]) for entry in config["experiments"]})


def every_steps_log():
    """Step logs of all models that some experiment's systems need, stage-1 parents and built base models included."""
    logs = {}
    for entry in config["experiments"]:
        base_model, benchmark = entry["base_model"], entry["benchmark"]
        if base_model_config(base_model).get("build", {}).get("epochs"):
            logs[f"results/base_model/{base_model}/steps.tsv"] = f"{base_model}: language model"
        for system in entry["systems"]:
            model = config["systems"][system]["model"]
            while model != BASE:
                stage = config["models"][model]["stage"]
                if stage != "snapshot":
                    logs[f"results/{stage}/{base_model}/{benchmark}/{model}/steps.tsv"] = (
                        f"{base_model} {benchmark}: {model}"
                    )
                model = config["models"][model].get("from", BASE)
    return logs


def figure_names():
    """The figures of a run."""
    return ["off_target", "instead", "heat_map", "losses", *(f"study-{name}" for name in config["studies"])]


def study_flags():
    """The studies' points, as flags of the script that draws them."""
    first = config["experiments"][0]
    words = []
    for name, study in config["studies"].items():
        words += ["--study", name, study["label"]]
        for series, points in study["series"].items():
            for value, system in points.items():
                elsewhere = len(PurePosixPath(system).parts) > 1
                place = system if elsewhere else f"{first['base_model']}/{first['benchmark']}/{system}"
                words.append(f"{series}={value}={place}")
    return " ".join(map(shlex.quote, words))


def figure_captions():
    """The drawings of the page, in its order, and what it says below each."""
    captions = {
        "off_target": "Off-target ratio and BLEU of every system, means over directions. Dotted lines: the references' own"
        " off-target ratio, the identifier's error floor.",
        "instead": "What the lines in another language than asked for were instead, as a share of all lines. Where English"
        " is the source, it counts as the source language.",
        "heat_map": "Off-target ratio of every direction, a panel a system.",
        "losses": "Losses of every training by step, in nats a response token; thin lines as logged, thick a running mean.",
    }
    study = (
        "Off-target ratio and BLEU over the values of one setting; bands are 95 % intervals over the test sentences."
    )
    return {f"results/figures/{name}.svg": captions.get(name, study) for name in figure_names()}


def config_text():
    """All values of this run, to be shown; without those of the plan, which change no result."""
    base_models = {
        name: {key: value for key, value in entry.items() if key != "parameters"}
        for name, entry in config["base_models"].items()
    }
    return yaml.safe_dump(config | {"base_models": base_models}, sort_keys=False, allow_unicode=True)


def learned_metric(wildcards):
    """The config entry of a learned metric."""
    return config["score"]["learned"][wildcards.learned]


def learned_checkpoint(wildcards):
    """The downloaded checkpoint of a learned metric, where it is a row of the source table."""
    name = learned_metric(wildcards)["model"]
    return source_file(name) if name in SOURCES else []


def check_surroundings():
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


def check_learned_environment(wildcards):
    """Look for the environment of a learned metric.

    Raises:
        InputError: there is none.
    """
    metric = learned_metric(wildcards)
    key = f"score.learned.{wildcards.learned}"
    if "python" not in metric:
        if DeploymentMethod.CONDA not in workflow.deployment_settings.deployment_method:
            raise InputError(
                f"config: {key} needs an environment of its own: run `make {metric['kind']}` and set its"
                f" `python: .venv-{metric['kind']}/bin/python`, or add --software-deployment-method conda"
            )
    elif not Path(from_repository(metric["python"])).exists():
        raise InputError(f"config: {key}.python: no file {metric['python']}; run `make {metric['kind']}`")


def learned_environment(wildcards):
    """The environment of a learned metric's library."""
    return f"../envs/{learned_metric(wildcards)['kind']}.yaml"


def learned_scores(suffix, wildcards=None):
    """The tables of all learned metrics: of one experiment, or of all."""
    patterns = [
        f"results/score/{{base_model}}/{{benchmark}}/{{system}}.{name}{suffix}" for name in config["score"]["learned"]
    ]
    return [
        path
        for pattern in patterns
        for path in (every_system(pattern) if wildcards is None else systems_of(pattern, wildcards))
    ]


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
        results = Path(workflow.workdir_init, "results")
        print(*make_plan(config, jobs, steps.values(), results), sep="\n")


# Snakemake has no hook for the end of a dry-run.
atexit.register(print_plan)
