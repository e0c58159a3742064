# Checks of the configuration, wildcard constraints, and functions that several rule files use.

import atexit
import hashlib
import json
import re
import shlex
import sys
from functools import cache
from pathlib import Path, PurePosixPath

import yaml
from snakemake.exceptions import WorkflowError
from snakemake.io import is_flagged
from snakemake.settings.enums import Quietness, RerunTrigger
from snakemake.settings.types import DeploymentMethod
from snakemake.utils import update_config

# The folder of this workflow, also where another workflow uses it as a module.
ROOT = Path(workflow.current_basedir.get_path_or_uri(secret_free=True)).resolve().parent
sys.path.insert(0, str(ROOT))

from workflow_scripts.lat.codehash import step_code
from workflow_scripts.lat.config import (
    BEST,
    baseline_warnings,
    candidate_steps,
    card_facts,
    check_config,
    check_config_files,
    check_environment,
    check_licences,
    check_mtdata,
    check_nodes,
    command_line_config,
    controls_of,
    decode_settings,
    dev_sentences,
    hypotheses_files,
    keeps_weights,
    lower_is_better,
    model_of,
    mtdata_warnings,
    needs_off_targets,
    publication,
    rating_server,
    runs_of,
    saved_steps,
    seeds_of,
    server_settings,
    step_settings,
    zero_shot_of,
    used_models,
)
from workflow_scripts.lat.config.environment import SLURM, check_hub_token
from workflow_scripts.lat.config.previous import RECORD, check_replaced, config_of_run, known_configs, remember_config
from workflow_scripts.lat.config.slurm import check_status_command
from workflow_scripts.lat.data.corpora import LOCAL, SACREBLEU, local_files
from workflow_scripts.lat.data.mtdata_corpora import MTDATA, mtdata_version
from workflow_scripts.lat.credentials import secret
from workflow_scripts.lat.decoding.shards import of_shard
from workflow_scripts.lat.disk import check_disks
from workflow_scripts.lat.evaluation.further import needs_sentencepiece
from workflow_scripts.lat.files import InputError, atomic_write, read_text
from workflow_scripts.lat.languages import language_entries
from workflow_scripts.lat.prompts.prompting import prompt_entries
from workflow_scripts.lat.training.deepspeed_config import read_deepspeed_config
from workflow_scripts.lat.training.launch import training_command
from workflow_scripts.lat.data.lid import PY3LANGID
from workflow_scripts.lat.names import ALPACA, ALPACA_LINES, BASE, CHAT, SHARED
from workflow_scripts.lat.plan import BenchmarkFiles, PlannedJob, job_seconds, make_plan
from workflow_scripts.lat.progress import ESTIMATES
from workflow_scripts.lat.data.sources import CORPORA, SNAPSHOTS, read_sources
from workflow_scripts.lat.data.store import check_links

# With these settings, the allocator of glibc keeps freed memory and requests huge pages. Training allocates and frees
# thousands of small tensors, and a training step of the demo takes up to a third less time if their memory is not
# returned to the operating system and requested again.
ALLOCATOR = (
    "GLIBC_TUNABLES=glibc.malloc.hugetlb=1:glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=4294967296"
)
# Jobs use the Python that runs Snakemake, whether or not its environment is activated; with conda, Python comes from there.
PYTHON_PATH = (
    ""
    if DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
    else f"PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH"
)
# As a module of another workflow, this one gets that workflow's values alone, without its own defaults.
defaults = yaml.safe_load(read_text(ROOT / "config.yaml"))
update_config(defaults, config)
config.update(defaults)

try:
    # As a module, this workflow gets its config from another one, whose files and arguments are not its own.
    if not workflow.modifier.skip_configfile:
        check_config_files(workflow.configfiles)
        update_config(config, command_line_config(workflow.config_settings.config_args))
    check_config(config, ROOT)
    # Jobs read this file again, and need not repeat the checks and warnings of the start.
    if not (workflow.remote_exec or workflow.subprocess_exec):
        check_disks(Path.cwd())
        check_links(Path("results"))
        check_environment(config, ROOT, DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method)
        for warning in [*baseline_warnings(config), *mtdata_warnings(config)]:
            print(warning, file=sys.stderr)
except InputError as error:
    # Show the user a single line instead of a traceback.
    raise SystemExit(str(error)) from None


# With PYTHONPATH, jobs find the package from any working directory; a logged command can also be run by hand from the
# repository root, without it. Snakemake sets OMP_NUM_THREADS to the threads of the rule, but the library tokenizers
# reads only RAYON_NUM_THREADS.
shell.prefix(
    f"set -euo pipefail; export PYTHONPATH={shlex.quote(str(ROOT))} {ALLOCATOR} {PYTHON_PATH}"
    " RAYON_NUM_THREADS=$OMP_NUM_THREADS; "
    # The folder that several working folders share. It is no part of the commands, since another one reruns nothing.
    f"store={shlex.quote(str((ROOT / Path(config['shared']).expanduser()).absolute()) if config['shared'] else '')}; "
    # Slurm and Snakemake may send a signal to all processes of a job. The shell waits for the command, which may have to
    # save its state, and `tee` ignores the signal, so that the log also has what the command writes while it stops.
    "trap : TERM; "
    "tee() ( trap '' INT TERM; command tee \"$@\" ); "
)


def weights(path, kept):
    """Return an output folder with weights that is deleted after its last use unless they are kept."""
    return directory(path) if kept else temp(directory(path))


def any_of(names):
    """Return a wildcard constraint that matches exactly these names; without names, it matches nothing."""
    return "|".join(map(re.escape, names)) or "(?!)"


STAGE_MODELS = {
    stage: [name for name, model in config["models"].items() if model["stage"] == stage]
    for stage in ("finetune", "unlikelihood", "preference", "snapshot")
}
# Names of CTranslate2 for the types of base models.
COMPUTE_TYPES = {"fp32": "float32", "bf16": "bfloat16", "fp16": "float16"}
# The folder of a seed; systems on the untrained base model have the folder `shared` instead, since all seeds share them.
SEED_RUN = r"seed\d+"
# Prefix and suffix that `use rule ... as` adds to the names of the rules in another workflow.
BEFORE_RULE, AFTER_RULE = workflow.modifier.modify_rulename("*").split("*")
SOURCES = {source.name: source for source in read_sources()}


wildcard_constraints:
    base_model=any_of(config["base_models"]),
    benchmark=any_of(config["benchmarks"]),
    model=any_of(config["models"]),
    system=any_of(config["systems"]),
    run=f"{SEED_RUN}|{SHARED}",
    source=any_of(SOURCES),
    role="train|test|demonstrations",


def benchmark_config(name):
    """Return the config entry of a benchmark."""
    return config["benchmarks"][name]


def split_seed(benchmark):
    """Return the seed that draws the test set and the demonstrations of a benchmark."""
    return benchmark_config(benchmark).get("split_seed", 1)


def seed_of(wildcards):
    """Return the seed of a job that depends on one."""
    return int(wildcards.run.removeprefix("seed"))


def folder_of(seed):
    """Return the folder of a run of a system, given its value of the column `seed` in tables."""
    return seed if seed == SHARED else f"seed{seed}"


def base_model_config(name):
    """Return the config entry of a base model."""
    return config["base_models"][name]


def directions(benchmark):
    """Return all test directions of a benchmark, supervised directions first."""
    entry = benchmark_config(benchmark)
    return [*entry["supervised"], *zero_shot_of(entry)]


def sorted_directions(wildcards):
    """Return all test directions of a benchmark in alphabetical order.

    Rules whose results do not depend on the order use it, so that another order in the config does not rerun them.
    """
    return directions_in_order(wildcards.benchmark)


@cache
def directions_in_order(benchmark):
    """Return all test directions of a benchmark in alphabetical order; the caller must not change the list."""
    return sorted(directions(benchmark))


def dev_directions(wildcards):
    """Return the directions of a benchmark that choose among snapshots, in alphabetical order; none if it has no `dev`."""
    return sorted(benchmark_config(wildcards.benchmark).get("dev", {}).get("directions", []))


def training_text(benchmark, name):
    """Return a file with training text of a benchmark, `pool` or `monolingual`, from which dev lines are left out."""
    entry = benchmark_config(benchmark)
    # The pairs of corpora lose these lines before the text is made from them.
    held_out = ".without_dev" if "dev" in entry and "catalogues" in entry else ""
    return f"results/download/{benchmark}/{name}{held_out}.jsonl"


def source_file(name):
    """Return the path of the downloaded file of a row of resources/sources.tsv."""
    return f"results/download/sources/{name}/{SOURCES[name].file}"


def flags(values):
    """Return a dict as long command-line flags.

    A list becomes several values, true becomes a flag without a value, and false and null are left out. The flags are
    sorted by name, since the order of keys in an overlay must not rerun jobs.
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
    """Return the settings of a training step for the model in the wildcards."""
    return step_settings(config, step, wildcards.base_model, wildcards.benchmark, wildcards.model)


# Settings of training that do not change the weights.
WITHOUT_EFFECT = ("threads", "checkpoint_every", "checkpoint_minutes")


def training_flags(step, wildcards, without=()):
    """Return all settings that affect the weights of a model, as flags of its training script."""
    entry = base_model_config(wildcards.base_model)
    settings = model_settings(step, wildcards) | {
        "dtype": entry.get("dtype", "bf16"),
        "attention": entry.get("attention", "sdpa"),
        "seed": seed_of(wildcards),
    }
    return flags({key: value for key, value in settings.items() if key not in (*WITHOUT_EFFECT, *without)})


def without_rerun(step, name):
    """Return a setting of a training step as a resource: unlike a parameter, it does not rerun a finished training."""
    return lambda wildcards: str(model_settings(step, wildcards)[name])


def launcher(wildcards):
    """Return the command that starts the training processes of a base model."""
    return training_command(nodes(wildcards), gpus(wildcards))


def processes(wildcards):
    """Return the number of training processes on each node: one per GPU, or a single one without GPUs."""
    return max(1, gpus(wildcards))


def from_repository(path):
    """Resolve a path of the config; relative paths start from the repository, as in the check of the config.

    The result is relative if Snakemake runs in the repository, so that moving it does not change any path.
    """
    return str(path) if Path.cwd() == ROOT else str(ROOT / path)


def deepspeed_flags(wildcards):
    """Return the DeepSpeed configuration of a base model as a flag of the training script.

    The flag holds the content, not the path, so that a file with other white space or in another place reruns nothing.
    """
    return deepspeed_flags_of(base_model_config(wildcards.base_model)["deepspeed"])


@cache
def deepspeed_flags_of(file):
    """Return the same for the name of the file, which is read once for all jobs."""
    return flags({"deepspeed_config": json.dumps(read_deepspeed_config(ROOT / file), sort_keys=True)})


def hash_of(entries):
    """Return a short hash of entries of a resource file, as a parameter of the rules that read the file."""
    return hashlib.sha256(json.dumps(entries, sort_keys=True).encode()).hexdigest()[:16]


def resources_hash(folder):
    """Return the hash of the files in a folder of resources/."""
    return hash_of({path.name: read_text(path) for path in sorted((ROOT / "resources" / folder).iterdir())})


def prompts_hash(wildcards):
    """Return the hash of the wordings and names of a benchmark's languages in prompts."""
    return prompts_hash_of(wildcards.benchmark)


@cache
def prompts_hash_of(benchmark):
    """Return the same for the name of a benchmark, computed once for all of its jobs."""
    return hash_of(prompt_entries(benchmark_config(benchmark)["languages"]))


def languages_hash(wildcards):
    """Return the hash of what is known of a benchmark's languages."""
    return languages_hash_of(wildcards.benchmark)


@cache
def languages_hash_of(benchmark):
    """Return the same for the name of a benchmark, computed once for all of its jobs."""
    return hash_of(language_entries(benchmark_config(benchmark)["languages"]))


def code_of(script):
    """Return the hash of what a script executes, as a parameter of its rules.

    It is a function, since Snakemake reads the rules again in each job, which needs the hash of its own step only.
    """
    return lambda wildcards: step_code(script)


def doubled(value):
    """Return a resource that a retry asks for twice, in case the first try ran out of it."""
    return lambda wildcards, attempt: value * 2 ** (attempt - 1)


def memory(wildcards, attempt):
    """Return the memory, in MB, of a job that loads this base model or a model trained from it."""
    return base_model_config(wildcards.base_model).get("mem_mb", 4000) * 2 ** (attempt - 1)


def training_memory(checkpoints):
    """Return the memory of a training as a resource, whose state is in the folder `checkpoints`.

    A retry asks for more, except where the first try has come as far as a checkpoint: then it was stopped for another
    reason, such as preemption.
    """
    return lambda wildcards, attempt: memory(
        wildcards, 1 if any(Path(checkpoints.format(**wildcards)).glob("*/step*/manifest.json")) else attempt
    )


def gpus(wildcards):
    """Return the number of GPUs per node for jobs of this base model; 0 means that they run on the CPU."""
    return base_model_config(wildcards.base_model).get("gpus", 0)


def nodes(wildcards):
    """Return the number of nodes of a training job. Slurm would otherwise collect the GPUs of a job from several nodes."""
    return base_model_config(wildcards.base_model).get("nodes", 1)


def tasks(wildcards):
    """Return one task per node on several nodes; None on a single node, where Slurm need not start a launcher."""
    return nodes(wildcards) if nodes(wildcards) > 1 else None


def start_by_srun(wildcards):
    """Tell the Slurm executor that the job itself starts its processes on several nodes with `srun`."""
    return "srun" if tasks(wildcards) else None


def gpus_of_one_node(wildcards):
    """Return the GPUs of a job on a single node, for the resource `gpu`; None on several nodes."""
    return None if tasks(wildcards) else gpus(wildcards)


def gpus_of_each_node(wildcards):
    """Return the GPUs per node of a job on several nodes, for the resource `gres`; None on a single node."""
    return f"gpu:{gpus(wildcards)}" if tasks(wildcards) and gpus(wildcards) else None


def tasks_per_gpu(wildcards):
    """Return 0 on several nodes, where the launcher, not Slurm, starts the process of each GPU."""
    return 0 if tasks(wildcards) else None


def instructions_file(name):
    """Return the path of a set of general instructions: a row of resources/sources.tsv or a file of the user."""
    return source_file(name) if name in SOURCES else from_repository(name)


def comparisons():
    """Return the comparisons on general tasks as base model, benchmark, seed, system and baseline, by their tables.

    A comparison of two systems on the untrained base model is the same for all seeds.
    """
    pattern = "results/judge/{base_model}/{benchmark}/{run}/{system}-against-{baseline}.tsv"
    found = {}
    for entry in config["experiments"]:
        names = {key: entry[key] for key in ("base_model", "benchmark")}
        for pair in config["judge"]["comparisons"]:
            if set(pair.values()) <= set(entry["systems"]):
                seeds = {seed: None for system in pair.values() for seed in runs_of(config, entry, system)}
                for seed in [seed for seed in seeds if seed != SHARED] or [SHARED]:
                    path = pattern.format(**names, **pair, run=folder_of(seed))
                    found[path] = (*names.values(), seed, pair["system"], pair["baseline"])
    return found


def instruction_position(model):
    """Return the position of the instruction in a model's prompts, which is the same as in its stage-1 training."""
    if model == BASE:
        return "before"
    entry = config["models"][model]
    return instruction_position(entry["from"]) if "from" in entry else entry.get("instruction", "before")


def model_folder(base_model, benchmark, run, model):
    """Return the folder of a trained model or of the base model."""
    if model == BASE:
        return f"results/base_model/{base_model}/model"
    entry = config["models"][model]
    # A snapshot is in the folder of the step that made it.
    step = config["models"][entry["from"]]["stage"] if entry["stage"] == "snapshot" else entry["stage"]
    if entry.get("step") == BEST:
        step = "select"
    return f"results/{step}/{base_model}/{benchmark}/{run}/{model}/model"


def snapshots_of(stage):
    """Return the models that are snapshots of models of this stage after a given step."""
    return [
        name
        for name in STAGE_MODELS["snapshot"]
        if config["models"][config["models"][name]["from"]]["stage"] == stage and config["models"][name]["step"] != BEST
    ]


def snapshot_steps(wildcards):
    """Return the steps of a model after which its snapshots are saved, for the snapshots that systems use."""
    return saved_steps(config, wildcards.base_model, wildcards.benchmark, wildcards.model)


def parent_model(wildcards):
    """Return the folder of the model that a stage-2 model is trained from."""
    return model_folder(
        wildcards.base_model, wildcards.benchmark, wildcards.run, config["models"][wildcards.model]["from"]
    )


def parent_samples(wildcards):
    """Return the training samples of the model that a stage-2 model is trained from."""
    return "results/prompts/{base_model}/{benchmark}/{run}/{parent}.jsonl".format(
        **wildcards, parent=config["models"][wildcards.model]["from"]
    )


def off_targets_of_parent(wildcards):
    """Return the outputs of the stage-1 model in wrong languages, if a stage-2 model is trained with them."""
    if not needs_off_targets(config, wildcards.base_model, wildcards.benchmark, wildcards.model):
        return []
    return "results/off_targets/{base_model}/{benchmark}/{run}/{parent}/lines.jsonl".format(
        **wildcards, parent=config["models"][wildcards.model]["from"]
    )


def decoding_flags(base_model, settings):
    """Return decoding settings of a base model as flags of the script."""
    entry = base_model_config(base_model)
    dtype = entry.get("dtype", "bf16")
    settings = settings | {
        "dtype": dtype,
        "attention": entry.get("attention", "sdpa"),
        "compute_type": (
            settings["compute_type"] or COMPUTE_TYPES[dtype] if settings["engine"] == "ctranslate2" else None
        ),
    }
    return flags(
        {key: value for key, value in settings.items() if key not in ("threads", "mem_mb", "python", "shards")}
    )


def decoding_memory(wildcards, attempt, settings):
    """Return the memory, in MB, of a decoding job, which needs less than a training."""
    own = settings["mem_mb"]
    return own * 2 ** (attempt - 1) if own else memory(wildcards, attempt)


def decoding_python(settings):
    """Return the interpreter of a decoding engine."""
    if settings["engine"] == "vllm" and settings["python"]:
        return from_repository(settings["python"])
    return "python"


def decoding_environment(settings):
    """Return the conda environment of a decoding engine."""
    return "../envs/vllm.yaml" if settings["engine"] == "vllm" else "../envs/main.yaml"


def decoding_gpus(wildcards, settings):
    """Return the number of GPUs of a decoding job: vLLM divides the model among all, the other engines use one."""
    count = gpus(wildcards)
    return count if settings["engine"] == "vllm" else min(1, count)


def base_model_check(wildcards):
    """Return the result of the check of a base model that the workflow does not build itself.

    It must exist before the model is used, but a newer check reruns nothing.
    """
    if "build" in base_model_config(wildcards.base_model):
        return []
    return ancient(f"results/base_model/{wildcards.base_model}/check.txt")


def template_flags(base_model, model):
    """Return the flags for the prompt template of a model."""
    entry = base_model_config(base_model)
    template = entry.get("template", ALPACA_LINES)
    settings = {"instruction_position": instruction_position(model)}
    if template in (ALPACA, ALPACA_LINES):
        # The default is no flag, so that results from before there was a choice need not be made again.
        named = template if template != ALPACA_LINES else None
        return flags(settings | {"no_preamble": not entry.get("preamble", True), "template": named})
    return flags(
        settings
        | {
            "template": template if template == CHAT else from_repository(template),
            "tokenizer": f"results/base_model/{base_model}/model",
            "system_message": entry.get("system_message"),
            "template_options": json.dumps(entry.get("template_options", {}), sort_keys=True),
        }
    )


def template_file(wildcards):
    """Return the user's file with the template of a base model, if it has one."""
    template = base_model_config(wildcards.base_model).get("template", ALPACA_LINES)
    return [] if template in (ALPACA, ALPACA_LINES, CHAT) else [from_repository(template)]


def template_files(wildcards):
    """Return what the template of a base model needs: nothing, or the tokenizer and perhaps the user's file.

    The check of the base model is not among them: where a check runs again, Snakemake does not look for changed
    parameters in the jobs that have it as `ancient`.
    """
    template = base_model_config(wildcards.base_model).get("template", ALPACA_LINES)
    if template in (ALPACA, ALPACA_LINES):
        return []
    return [f"results/base_model/{wildcards.base_model}/model", *template_file(wildcards)]


def experiment_runs(entry):
    """Return system and seed (or `shared`) of every run of an experiment, ordered by system."""
    return [(system, seed) for system in entry["systems"] for seed in runs_of(config, entry, system)]


def every_run(pattern):
    """Fill in `pattern` for all runs of the systems of all experiments."""
    return [
        pattern.format(base_model=entry["base_model"], benchmark=entry["benchmark"], run=folder_of(seed), system=system)
        for entry in config["experiments"]
        for system, seed in experiment_runs(entry)
    ]


def experiment(wildcards):
    """Return the config entry of an experiment."""
    return next(
        entry
        for entry in config["experiments"]
        if (entry["base_model"], entry["benchmark"]) == (wildcards.base_model, wildcards.benchmark)
    )


def runs(pattern, wildcards):
    """Fill in `pattern` for the runs of the systems of one experiment."""
    return [
        pattern.format(**wildcards, run=folder_of(seed), system=system)
        for system, seed in experiment_runs(experiment(wildcards))
    ]


def every_benchmark(pattern):
    """Fill in `pattern` for the benchmarks of all experiments."""
    return sorted({pattern.format(benchmark=entry["benchmark"]) for entry in config["experiments"]})


def rule_name(job):
    """Return the name of the rule of a job as it stands in this workflow."""
    return job.rule.name.removeprefix(BEFORE_RULE).removesuffix(AFTER_RULE)


# The working folder, which Snakemake has left when it prints the plan.
WORKING_FOLDER = Path.cwd()
# What Linux allows for one argument, which a command of a shell is, less what Snakemake puts before it.
LONGEST_COMMAND = 128 * 1024 - 2048
# The steps that collect results; another config makes them again in any case, in seconds.
COLLECTING = ("significance", "tables", "figures", "page")


def chosen_config():
    """Return what the user wrote to choose the config of this run."""
    arguments = workflow.config_settings.config_args or ()
    return config_of_run(workflow.configfiles, arguments, ROOT / "config.yaml", WORKING_FOLDER)


def replaced_results(jobs):
    """Return the number of jobs by step that would replace results, without the steps that collect them."""
    steps = [
        Path(job.rule.snakefile).stem
        for job in jobs
        if any((WORKING_FOLDER / file).exists() and not is_flagged(file, "temp") for file in job.output)
    ]
    return {step: steps.count(step) for step in dict.fromkeys(steps) if step not in COLLECTING}


def check_command_lengths(jobs):
    """Check that the commands of the steps that collect results are not too long for Linux.

    Raises:
        InputError: there are too many runs or directions.
    """
    for job in jobs:
        if Path(job.rule.snakefile).stem in COLLECTING:
            length = len(job.shellcmd.encode())
            if length > LONGEST_COMMAND:
                raise InputError(
                    f"config: the command of `{rule_name(job)}` would have {length:,} bytes, but Linux allows"
                    f" {LONGEST_COMMAND:,}; divide the seeds, experiments or directions among several folders"
                    " (--directory), which can share downloads and base models (`shared`)"
                )


def unseen_changes(jobs):
    """Return the jobs that this run leaves out although their parameters, input or code changed.

    Snakemake does not look for changes in a job if another job runs whose output it has as input. With `ancient` input
    it then leaves the job out (snakemake.dag, `update_needrun`), as if nothing had changed.

    Args:
        jobs: the jobs of the run.
    """
    dag, recorded, triggers = workflow.dag, workflow.persistence, workflow.rerun_triggers
    checks = [job for job in jobs if rule_name(job) == "check_base_model"]
    left_out = set(dag.bfs(dag.depending, *checks)) - set(jobs) if checks else set()
    kinds = {
        RerunTrigger.PARAMS: lambda job: recorded.params_changed(job),
        RerunTrigger.INPUT: lambda job: any(recorded.input_changed(job)),
        RerunTrigger.CODE: lambda job: any(recorded.code_changed(job)),
    }
    return [
        job
        for job in left_out
        if not job.rule.norun and any(changed(job) for kind, changed in kinds.items() if kind in triggers)
    ]


def check_changes(jobs):
    """Check that the run makes all results again that the changed config requires.

    Raises:
        InputError: a base model is checked again, and Snakemake would therefore overlook other changes.
    """
    unseen = unseen_changes(jobs)
    if unseen:
        files = sorted(str(job.output[0]) for job in unseen)
        raise InputError(
            f"the base model has to be checked again, and this run would not make {files[0]}"
            + (f" and {len(files) - 1} more outputs" if len(files) > 1 else "")
            + " again, although their settings changed; run the same command with `--until check_base_model` first"
        )


def check_start(jobs):
    """Check what also a dry-run can tell: lengths of commands, unseen changes, licences and replaced results.

    Args:
        jobs: the jobs of the run.

    Returns:
        The number of jobs by step that replace results.

    Raises:
        InputError: a command is too long, or the run would overlook changes, download weights whose licence is not
            accepted, or replace results of another config.
    """
    check_command_lengths(jobs)
    if not config["publish"] and any(rule_name(job) == "publish" for job in jobs):
        raise InputError(
            "config: publish is null; name the model, such as `make publish MODEL=lat` or `--config 'publish={model: lat}'`"
        )
    check_changes(jobs)
    check_licences(config, [job.wildcards.source for job in jobs if rule_name(job) == "fetch_source"])
    if mtdata_version() or DeploymentMethod.CONDA not in workflow.deployment_settings.deployment_method:
        check_mtdata(config, [job.wildcards.id for job in jobs if rule_name(job) == "fetch_mtdata"])
    replaced = replaced_results(jobs)
    if not config["replace"]:
        check_replaced(chosen_config(), known_configs(WORKING_FOLDER / RECORD), replaced)
    return replaced


def check_prerequisites():
    """Check what the jobs of this run need besides their input files: Slurm, keys of servers, environments of metrics.

    Raises:
        WorkflowError: something is missing, or one of the errors of `check_start`.
    """
    try:
        jobs = list(workflow.dag.needrun_jobs())
        replaced = check_start(jobs)
        check_nodes(config, workflow.executor_plugin.name)
        if workflow.executor_plugin.name == SLURM:
            check_status_command(workflow.executor_settings.status_command)
        for job in jobs:
            if rule_name(job) == "judge":
                secret(config["judge"]["key"], "judge")
            if rule_name(job) == "translate_on_server":
                system = job.wildcards.system
                secret(config["systems"][system]["server"].get("key"), f"systems.{system}.server")
            if rule_name(job) == "push":
                check_hub_token()
            if rule_name(job) == "score_learned":
                check_learned_environment(job.wildcards)
            if rule_name(job) == "score_gemba":
                metric = job.wildcards.learned
                secret(rating_server(config, metric)["key"], f"score.learned.{metric}.server")
        remember_config(chosen_config(), WORKING_FOLDER / RECORD, bool(replaced))
        files, counted = benchmark_files(), {}
        seconds = {job.jobid: job_seconds(config, rule_name(job), job.wildcards_dict, files, counted) for job in jobs}
        with atomic_write(WORKING_FOLDER / ESTIMATES) as handle:
            json.dump(seconds, handle)
    except InputError as error:
        raise WorkflowError(str(error)) from None


def score_tables(base_model, benchmark, system, seed):
    """Return the score tables of a run of a system: BLEU and chrF++, then learned metrics, then off-target ratio."""
    path = f"{base_model}/{benchmark}/{folder_of(seed)}/{system}"
    return [
        f"results/score/{path}.tsv",
        *(f"results/score/{path}.{metric}.tsv" for metric in config["score"]["learned"]),
        f"results/detect/{path}/otr.tsv",
    ]


def all_score_tables(base_model, benchmark, system, seed):
    """Return the score tables of a run of a system, and last the one of further metrics if there are any."""
    further = f"results/score/{base_model}/{benchmark}/{folder_of(seed)}/{system}.further.tsv"
    return score_tables(base_model, benchmark, system, seed) + ([further] if config["score"]["further"] else [])


def benchmark_files():
    """Return the paths of the data of each benchmark, which may not exist yet."""
    folders = {name: Path(workflow.workdir_init, "results", "download", name) for name in config["benchmarks"]}
    return {name: BenchmarkFiles(folder, folder / "test") for name, folder in folders.items()}


def print_plan():
    """Print the plan at the end of a dry-run, unless Snakemake was told to be quiet about its jobs."""
    # Without a scheduler there are no jobs to plan: an error occurred, or another command, such as --dag, was given.
    if not workflow.dryrun or workflow.scheduler is None:
        return
    if {Quietness.PROGRESS, Quietness.ALL} & set(workflow.output_settings.quiet or ()):
        return
    files = {known.name: Path(known.snakefile) for known in workflow.rules}
    steps = {name: path.stem for name, path in files.items() if path.parent == ROOT / "rules"}
    jobs = [
        PlannedJob(
            steps[job.rule.name],
            rule_name(job).removesuffix("_temporary"),
            job.wildcards_dict,
            bool(job.resources.get("gpu") or job.resources.get("gres")),
        )
        # The scheduler of a dry-run marks all jobs as finished.
        for job in workflow.dag.needrun_jobs(exclude_finished=False)
        if job.rule.name in steps
    ]
    if jobs:
        print(*make_plan(config, jobs, steps.values(), benchmark_files()), sep="\n")
    try:
        check_start(list(workflow.dag.needrun_jobs(exclude_finished=False)))
    except InputError as error:
        print(f"This run would stop: {error}")


# Snakemake has no handler for the end of a dry-run.
atexit.register(print_plan)
