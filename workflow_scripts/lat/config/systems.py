"""Check models, systems and experiments of a config, and the sections that refer to them: judge, studies, metrics."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..data.lid import FASTTEXT_MAGIC, PY3LANGID
from ..data.sources import INSTRUCTIONS
from ..evaluation.further import FURTHER_METRICS
from ..evaluation.switching import SWITCHING_METRICS
from ..files import InputError
from ..languages import language, split_direction
from ..names import ALPACA, ALPACA_LINES, BASE, EXTERNAL, REFERENCE
from ..prompts.prompting import Template, translation_instruction
from ..training.hyperparameters import preference_of
from .base_models import begins_with
from .benchmarks import identifiers
from .references import HUB_ID, check_known, check_language, hint, hub_id_in_address, sources, sources_of
from .settings import (
    BEST,
    SEED_PLACE,
    candidate_steps,
    key_of_setting,
    model_of,
    needs_off_targets,
    runs_of,
    step_settings,
    used_models,
    zero_shot_of,
)

# The stages of the models that those of a stage are made from, with a name for them.
PARENTS = {
    "unlikelihood": (("finetune",), "stage-1 models"),
    "preference": (("finetune",), "stage-1 models"),
    "snapshot": (("finetune", "unlikelihood", "preference"), "trained models"),
}
# What the translations of a system come from.
ORIGINS = ("model", "hypotheses", "server")
# Fields that the workflow itself writes into each request to a server, or that would change the form of the reply.
RESERVED_FIELDS = ("model", "messages", "stream", "n")
# Metrics that the tables have anyway; so are all names that begin with OTR.
RESERVED_METRICS = ("BLEU", "chrF++", *FURTHER_METRICS, "WPR", *SWITCHING_METRICS, "copies", "no_words", "agreement")
# The settings of learned metrics by kind: those that are needed, and those that may be given.
SETTINGS_OF_KINDS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "bleurt": (("model",), ("revision", "shape", "batch_tokens", "python", "gpus")),
    "comet": (("model",), ("batch_tokens", "python", "gpus")),
    "metricx": (
        ("model",),
        ("revision", "tokenizer", "tokenizer_revision", "reference", "dtype", "batch_tokens", "gpus"),
    ),
    "gemba": (("scale", "server"), ("reference",)),
}
# A checkpoint of each kind of metric that has one.
CHECKPOINTS = {
    "bleurt": "lucadiliello/BLEURT-20",
    "comet": "Unbabel/wmt22-comet-da",
    "metricx": "google/metricx-24-hybrid-large-v2p6",
}
# The entry of the base model `external`, which has no model.
NO_MODEL = {"deepspeed": "none"}
# Separates the two names in the files of a comparison.
AGAINST = "-against-"


def add_systems(config: Mapping[str, Any]) -> None:
    """Add the systems of `add_systems` to every experiment that does not have them.

    Args:
        config: a configuration that matches the schema; its experiments are changed in place.

    Raises:
        InputError: there is no such system.
    """
    added = config.get("add_systems", [])
    for system in added:
        check_known("add_systems", system, config["systems"], "systems")
    for experiment in config["experiments"]:
        # A new list, since experiments may share one by a YAML alias.
        experiment["systems"] = list(dict.fromkeys([*experiment["systems"], *added]))


def add_external(config: Mapping[str, Any]) -> None:
    """Give every experiment without a base model the base model `external`, which has no model.

    Args:
        config: a configuration that matches the schema; it is changed in place.

    Raises:
        InputError: the config has another base model of this name, or a system of such an experiment needs a model.
    """
    if config["base_models"].get(EXTERNAL, NO_MODEL) != NO_MODEL:
        raise InputError(
            f"config: base_models.{EXTERNAL} is reserved for experiments without a base model; choose another name"
        )
    for number, experiment in enumerate(config["experiments"]):
        if experiment.setdefault("base_model", EXTERNAL) != EXTERNAL:
            continue
        for system in experiment["systems"]:
            if system in config["systems"] and model_of(config, system):
                raise InputError(
                    f"config: experiments.{number}.base_model is missing, and `{system}` needs one; add it, or use only"
                    " systems with `hypotheses` or `server`"
                )
        config["base_models"][EXTERNAL] = dict(NO_MODEL)


def check_models(config: Mapping[str, Any], root: Path) -> None:
    """Check the models.

    Args:
        config: a configuration that matches the schema.
        root: the folder that relative paths start from.

    Raises:
        InputError: a model is trained from one that does not exist, or a snapshot is beyond the end of its training.
    """
    models = config["models"]
    if BASE in models:
        raise InputError(f"config: models.{BASE} is reserved for the base model itself; choose another name")
    for name, model in models.items():
        for instructions in model.get("mix", ()):
            _check_instructions(f"models.{name}.mix", instructions, root)
        stage = model["stage"]
        if stage == "finetune":
            continue
        parents, what = PARENTS[stage]
        known = [other for other, entry in models.items() if entry["stage"] in parents]
        check_known(f"models.{name}.from", model["from"], known, what)
        if stage == "snapshot":
            _check_choice(config, name)
            _check_step(config, name)


def _check_choice(config: Mapping[str, Any], name: str) -> None:
    """Check that a snapshot is after a given step, or the best of every so many steps of stage 2."""
    model = config["models"][name]
    if model["step"] != BEST:
        if "every" in model:
            raise InputError(f"config: models.{name}.every is for `step: {BEST}`; remove it")
        return
    if config["models"][model["from"]]["stage"] == "finetune":
        raise InputError(
            f"config: models.{name}: `step: {BEST}` is for snapshots of stage 2, and `{model['from']}` is a model of"
            " stage 1; write a number of steps"
        )
    if "every" not in model:
        raise InputError(
            f"config: models.{name}: `step: {BEST}` needs the number of steps between the snapshots that are compared;"
            " add it, such as `every: 10`"
        )


def _check_step(config: Mapping[str, Any], name: str) -> None:
    """Check that some training of the config has the step of a snapshot, whether or not a system uses the snapshot.

    The number of steps of stage 1 follows from its samples, so that the training itself checks its snapshots.
    """
    model = config["models"][name]
    stage = config["models"][model["from"]]["stage"]
    if stage == "finetune":
        return
    steps = [
        step_settings(config, stage, base_model, benchmark, model["from"])["steps"]
        for base_model in config["base_models"]
        for benchmark in config["benchmarks"]
    ]
    if model["step"] == BEST:
        if steps and model["every"] >= max(steps):
            raise InputError(
                f"config: models.{name}.every: {model['every']} leaves only the last step of `{model['from']}`, which"
                f" has {max(steps)} steps; lower it"
            )
        return
    most = max(steps, default=model["step"])
    if model["step"] > most:
        raise InputError(
            f"config: models.{name}.step: {model['step']} is beyond the end of `{model['from']}`, which has {most}"
            " steps; lower it"
        )


def check_systems(config: Mapping[str, Any], paper_names: list[str]) -> None:
    """Check the systems.

    Args:
        config: a configuration that matches the schema.
        paper_names: what the tables of the paper call its systems.

    Raises:
        InputError: a system contradicts itself, has a reserved name, or names what does not exist.
    """
    for name, system in config["systems"].items():
        if name == "answers":
            raise InputError("config: systems.answers is reserved for answers to general instructions; rename it")
        if name == REFERENCE:
            raise InputError(f"config: systems.{REFERENCE} is reserved for the reference translations; rename it")
        origins = [origin for origin in ORIGINS if origin in system]
        if len(origins) != 1:
            raise InputError(f"config: systems.{name} needs exactly one of {', '.join(f'`{x}`' for x in ORIGINS)}")
        if "model" not in system:
            for setting in ("prompt_language", "shots", "shots_layout", "beam", "contrasts", "language_boost"):
                if setting in system:
                    raise InputError(
                        f"config: systems.{name}.{setting} is for systems that the workflow decodes; remove it, or"
                        f" replace `{origins[0]}` by `model`"
                    )
        if "server" in system:
            _check_server(f"systems.{name}.server", system["server"])
        if "contrasts" in system and system.get("beam") != 1:
            raise InputError(f"config: systems.{name}: contrastive decoding is greedy; set its `beam: 1`")
        if "language_boost" in system:
            if "contrasts" in system:
                raise InputError(
                    f"config: systems.{name} has both `contrasts` and `language_boost`; make two systems of it"
                )
            if system.get("model") == BASE:
                raise InputError(
                    f"config: systems.{name}.language_boost: the base model has no training text that shows the tokens"
                    " of each language; choose a trained model"
                )
        if "model" in system:
            check_known(f"systems.{name}.model", system["model"], [BASE, *config["models"]], "models")
        if "paper" in system:
            check_known(f"systems.{name}.paper", system["paper"], paper_names, "paper's systems")
        for contrast in system.get("contrasts", ()):
            if contrast["target"] != "source":
                check_language(f"systems.{name}.contrasts", contrast["target"])
    _check_score_files(config)


def _check_score_files(config: Mapping[str, Any]) -> None:
    """Check that the scores of no two systems and metrics are in the same file."""
    owners: dict[str, str] = {}
    for system in config["systems"]:
        files = {system: f"system {system}"}
        if config["score"]["further"]:
            files[f"{system}.further"] = f"the further metrics of system {system}"
        for metric in config["score"]["learned"]:
            if config["score"]["further"] and metric == "further":
                raise InputError("config: score.learned.further: its scores have the file of score.further; rename it")
            files |= dict.fromkeys((f"{system}.{metric}", f"{system}.{metric}.lines"), f"{metric} of system {system}")
        for file, owner in files.items():
            other = owners.setdefault(file, owner)
            if other != owner:
                raise InputError(f"config: systems: {other} and {owner} have the same file {file}.tsv; rename a system")


def check_experiments(config: Mapping[str, Any]) -> None:
    """Check the experiments, with the settings that result for each of them.

    Raises:
        InputError: an experiment names what does not exist, or its settings contradict each other.
    """
    seen = set()
    for number, experiment in enumerate(config["experiments"]):
        key = f"experiments.{number}"
        base_model, benchmark = experiment["base_model"], experiment["benchmark"]
        check_known(f"{key}.base_model", base_model, config["base_models"], "base models")
        check_known(f"{key}.benchmark", benchmark, config["benchmarks"], "benchmarks")
        for system in experiment["systems"]:
            check_known(f"{key}.systems", system, config["systems"], "systems")
        if (base_model, benchmark) in seen:
            raise InputError(f"config: {key}: a second entry for {base_model} on {benchmark}; put all systems in one")
        seen.add((base_model, benchmark))
        used = used_models(config, base_model, benchmark)
        for model in (name for name in config["models"] if name in used):
            _check_training(config, key, base_model, benchmark, model)
        systems = [config["systems"][system] for system in experiment["systems"]]
        _check_prompts(config, base_model, benchmark, systems)
        _check_decoding(config, base_model, benchmark)
        shots = max(system.get("shots", 0) for system in systems)
        demonstrations = config["benchmarks"][benchmark]["demonstrations"]
        if shots > demonstrations:
            raise InputError(
                f"config: benchmarks.{benchmark}.demonstrations is {demonstrations}, but a system shows {shots};"
                " raise it"
            )


def hypotheses_files(config: Mapping[str, Any], root: Path, benchmark: str, system: str, run: str) -> dict[str, Path]:
    """Return the files with the translations of a system from outside of the workflow, by direction.

    They are in the folder of the system or, where that exists, in its subfolder with the name of the benchmark.

    Args:
        config: a configuration that matches the schema.
        root: the folder that relative paths start from.
        benchmark: a benchmark of an experiment with the system.
        system: a system with `hypotheses`.
        run: a seed as text, which stands in the place of `{seed}` in the name of the folder, or `shared`.
    """
    folder = root / _hypotheses_folder(config, system, run)
    if (folder / benchmark).is_dir():
        folder /= benchmark
    entry = config["benchmarks"][benchmark]
    directions = sorted((*entry["supervised"], *zero_shot_of(entry)))
    return {direction: folder / f"{direction}.txt" for direction in directions}


def _hypotheses_folder(config: Mapping[str, Any], system: str, run: str) -> Path:
    return Path(config["systems"][system]["hypotheses"].replace(SEED_PLACE, run)).expanduser()


def check_hypotheses(config: Mapping[str, Any], root: Path) -> None:
    """Check that the systems with `hypotheses` have a file for each seed and direction of their benchmarks.

    Args:
        config: a configuration that matches the schema.
        root: the folder that relative paths start from.

    Raises:
        InputError: a folder or file is missing.
    """
    for experiment in config["experiments"]:
        for system in experiment["systems"]:
            if "hypotheses" not in config["systems"][system]:
                continue
            key = f"systems.{system}.hypotheses"
            for run in runs_of(config, experiment, system):
                folder = _hypotheses_folder(config, system, run)
                if not (root / folder).is_dir():
                    raise InputError(
                        f"config: {key}: no folder `{folder}`; it holds a file <direction>.txt per direction"
                    )
                files = hypotheses_files(config, root, experiment["benchmark"], system, run)
                missing = [path for path in files.values() if not path.is_file()]
                if missing:
                    raise InputError(
                        f"config: {key}: {len(missing)} of the {len(files)} directions of {experiment['benchmark']}"
                        f" have no file, such as {missing[0]}; add them, one translation per line of the test set"
                    )


def _check_training(config: Mapping[str, Any], key: str, base_model: str, benchmark: str, model: str) -> None:
    entry = config["models"][model]
    if entry["stage"] == "snapshot":
        parent = entry["from"]
        if entry["step"] == BEST:
            _check_dev_directions(config, key, base_model, benchmark, model)
            return
        # The number of steps of stage 1 follows from its samples.
        steps = step_settings(config, config["models"][parent]["stage"], base_model, benchmark, parent).get("steps")
        if steps is not None and entry["step"] > steps:
            raise InputError(
                f"config: {key}: `{model}` is step {entry['step']} of `{parent}`, which has {steps}; lower it"
            )
        return
    settings = step_settings(config, entry["stage"], base_model, benchmark, model)
    # Number of possible instructions, including the correct one; a conflict needs another one.
    directions = config["benchmarks"][benchmark]["supervised"]
    others = len(config["benchmarks"][benchmark]["languages"]) - 1
    instructions = {"target": others, "confusion": others}.get(settings.get("conflicts", ""), len(directions))
    if entry["stage"] == "unlikelihood" and instructions < 2:
        raise InputError(
            f"config: {key}: `{model}` finds no conflicting instruction; `conflicts: instruction` needs two "
            "supervised directions, `conflicts: target` and `conflicts: confusion` three languages"
        )
    if entry["stage"] == "preference":
        _check_preference(f"{key}: `{model}`", settings, config["benchmarks"][benchmark])
    if entry["stage"] != "finetune" and needs_off_targets(config, base_model, benchmark, model):
        sources = {split_direction(direction)[0] for direction in directions}
        if not any(
            split_direction(direction)[0] in sources for direction in zero_shot_of(config["benchmarks"][benchmark])
        ):
            setting = "conflicts: confusion" if entry["stage"] == "unlikelihood" else "rejected: model"
            raise InputError(
                f"config: {key}: `{model}` has `{setting}`, but no zero-shot direction of {benchmark} begins with a"
                f" source language of the training ({' '.join(sorted(sources))}); add one to"
                f" benchmarks.{benchmark}.zero_shot, or change the setting"
            )


def _check_dev_directions(config: Mapping[str, Any], key: str, base_model: str, benchmark: str, model: str) -> None:
    """Check that a snapshot with `step: best` has directions to choose by, and several steps to choose from."""
    if "dev" not in config["benchmarks"][benchmark]:
        example = next(iter(config["benchmarks"][benchmark]["zero_shot"]), "it-nl")
        raise InputError(
            f"config: {key}: `{model}` has `step: {BEST}`, but benchmarks.{benchmark} has no directions to choose by;"
            f" hold zero-shot directions out, such as `dev: {{directions: [{example}]}}`"
        )
    steps = candidate_steps(config, base_model, benchmark, model)
    if len(steps) < 2:
        entry = config["models"][model]
        raise InputError(
            f"config: {key}: `{model}` has `every: {entry['every']}`, but `{entry['from']}` has only {steps[-1]} steps"
            f" there; lower it"
        )


def _check_preference(key: str, settings: Mapping[str, Any], benchmark: Mapping[str, Any]) -> None:
    """Check that a preference training has a loss, and languages for rejected responses."""
    objective = preference_of(settings["loss"], settings["weight"], settings["likelihood"])
    if not objective.weight and not objective.likelihood:
        raise InputError(
            f"config: {key} has `weight: 0` and `likelihood: 0` (dpo's published one), so that nothing is trained; set"
            " `likelihood: 1` to train on the chosen responses alone"
        )
    if settings["rejected"] == "reference" and len(benchmark["languages"]) < 3:
        raise InputError(
            f"config: {key} finds no rejected response in a third language; add a language, or set `rejected: model`"
        )


def _check_prompts(
    config: Mapping[str, Any], base_model: str, benchmark: str, systems: Sequence[Mapping[str, Any]]
) -> None:
    """Check that resources/prompts.yaml and languages.tsv have what the prompts and scores of all directions need."""
    from sacrebleu.metrics.bleu import BLEU

    model = config["base_models"][base_model]
    in_alpaca = model.get("template", ALPACA_LINES) in (ALPACA, ALPACA_LINES)
    in_target = any(system.get("prompt_language") == "target" for system in systems)
    contrasts = {contrast["target"] for system in systems for contrast in system.get("contrasts", ())} - {"source"}
    entry = config["benchmarks"][benchmark]
    for direction in (*entry["supervised"], *entry["zero_shot"]):
        source, target = split_direction(direction)
        for contrast in contrasts:
            translation_instruction(f"{source}-{contrast}")
        for prompt_language in dict.fromkeys(("en", target) if in_target else ("en",)):
            instruction = translation_instruction(direction, prompt_language)
            try:
                if in_alpaca:  # chats have no headers
                    Template(preamble=model.get("preamble", True)).render(instruction, "", (), prompt_language)
            except KeyError as error:
                raise InputError(f"resources/prompts.yaml: {prompt_language}: no entry {error}; add it") from None
        tokenizer = language(target).bleu_tokenizer
        if tokenizer not in BLEU.TOKENIZERS:
            raise InputError(
                f"resources/languages.tsv: {target}: SacreBLEU has no tokenizer `{tokenizer}`"
                f"{hint(tokenizer, BLEU.TOKENIZERS)}"
            )


def _check_decoding(config: Mapping[str, Any], base_model: str, benchmark: str) -> None:
    entry = config["base_models"][base_model]
    if entry.get("attention") == "flash_attention_2" and (not entry.get("gpus") or entry.get("dtype") == "fp32"):
        raise InputError(
            f"config: base_models.{base_model}.attention: flash_attention_2 needs a GPU (`gpus: 1`) and `dtype: bf16`;"
            " set them, or choose sdpa"
        )
    settings = step_settings(config, "decode", base_model, benchmark, BASE)
    engine, early = settings["engine"], settings["early_stopping"]
    if engine == "ctranslate2" and not early:
        key = key_of_setting(config, "decode", "early_stopping", base_model, benchmark)
        raise InputError(
            f"config: {key} is false, but engine ctranslate2 supports only true; set it, or choose engine transformers"
        )
    tested = config["benchmarks"][benchmark]
    count = len(tested["supervised"]) + len(zero_shot_of(tested))
    if settings["shards"] > count:
        key = key_of_setting(config, "decode", "shards", base_model, benchmark)
        raise InputError(
            f"config: {key} is {settings['shards']}, but {benchmark} has {count} directions to share among the jobs;"
            f" set it to {count} or less"
        )


def check_judge(config: Mapping[str, Any], root: Path) -> None:
    """Check the judge and its comparisons, if there are any.

    Args:
        config: a configuration that matches the schema.
        root: the folder that relative paths start from.

    Raises:
        InputError: a comparison is not possible, or a setting overrides what the workflow sets itself.
    """
    judge = config["judge"]
    _check_request("judge.request", judge["request"])
    if not judge["comparisons"]:
        return
    _check_instructions("judge.instructions", judge["instructions"], root)
    _check_max_cost("judge", judge)
    for name in config["systems"]:
        if AGAINST in name:
            raise InputError(f"config: systems.{name}: `{AGAINST}` stands between two systems in file names; rename it")
    for number, comparison in enumerate(judge["comparisons"]):
        key = f"judge.comparisons.{number}"
        for role, system in comparison.items():
            check_known(f"{key}.{role}", system, config["systems"], "systems")
            if not model_of(config, system):
                raise InputError(f"config: {key}.{role}: `{system}` has translations, but no answers; take another")
            for setting in ("shots", "contrasts", "prompt_language", "language_boost"):
                if config["systems"][system].get(setting, "en") not in ("en", 0):
                    raise InputError(
                        f"config: {key}.{role}: `{system}` has `{setting}`, which is for translations; take another"
                    )
        pair = comparison["system"], comparison["baseline"]
        if len(set(pair)) < 2:
            raise InputError(f"config: {key} compares `{pair[0]}` with itself; name two systems")
        if not any(set(pair) <= set(experiment["systems"]) for experiment in config["experiments"]):
            raise InputError(f"config: {key}: no experiment has both `{pair[0]}` and `{pair[1]}`; add them to one")


def _check_server(key: str, server: Mapping[str, Any]) -> None:
    """Check the settings of a server of a system or a metric."""
    _check_request(f"{key}.request", server.get("request", {}))
    _check_max_cost(key, server)


def _check_request(key: str, request: Mapping[str, Any]) -> None:
    for field in request:
        if field in RESERVED_FIELDS:
            remedy = f"set {key.removesuffix('.request')}.model" if field == "model" else "remove it"
            raise InputError(f"config: {key}.{field}: the workflow sets this field itself; {remedy}")


def _check_max_cost(key: str, server: Mapping[str, Any]) -> None:
    if server.get("max_cost") is not None and server.get("prices") is None:
        raise InputError(f"config: {key}.max_cost needs {key}.prices to be compared with; set them")


def _check_instructions(key: str, name: str, root: Path) -> None:
    if not (root / name).is_file():
        check_known(key, name, sources_of(INSTRUCTIONS), "sets of instructions in resources/sources.tsv, nor a file")


def check_studies(config: Mapping[str, Any]) -> None:
    """Check that the points of all studies are systems of the experiments.

    Raises:
        InputError: a point is not.
    """
    known = [
        f"{entry['base_model']}/{entry['benchmark']}/{system}"
        for entry in config["experiments"]
        for system in entry["systems"]
    ]
    for name, study in config["studies"].items():
        for series, points in study["series"].items():
            for value, system in points.items():
                key = f"studies.{name}.series.{series}.{value}"
                if "/" in system:
                    check_known(key, system, known, "systems of the experiments")
                else:
                    check_known(key, system, config["experiments"][0]["systems"], "systems of the first experiment")


def check_metrics(config: Mapping[str, Any], root: Path) -> None:
    """Check language identifiers, learned metrics and the baselines of the significance tests.

    Args:
        config: a configuration that matches the schema.
        root: the folder that relative paths start from.

    Raises:
        InputError: one of them does not exist, or is of another kind.
    """
    for name in config["detect"]["lid"]:
        if name in (PY3LANGID, *identifiers()):
            continue
        if not (root / name).is_file():
            what = f"identifiers in resources/sources.tsv, {PY3LANGID} or files"
            check_known("detect.lid", name, (*identifiers(), PY3LANGID), what)
        if not begins_with("detect.lid", root / name, FASTTEXT_MAGIC):
            raise InputError(f"config: detect.lid: `{name}` is no fastText model; use lid.176.ftz or lid.176.bin")
    for name, metric in config["score"]["learned"].items():
        if name in RESERVED_METRICS or name.startswith("OTR"):
            raise InputError(f"config: score.learned.{name} is the name of another metric of the tables; rename it")
        _check_learned(f"score.learned.{name}", metric, root)
    for baseline in config["significance"]["baselines"]:
        check_known("significance.baselines", baseline, config["systems"], "systems")


def _check_learned(key: str, metric: Mapping[str, Any], root: Path) -> None:
    kind = metric["kind"]
    required, allowed = SETTINGS_OF_KINDS[kind]
    for setting in required:
        if setting not in metric:
            raise InputError(f"config: {key} lacks the key `{setting}`, which `kind: {kind}` needs; add it")
    for setting in metric:
        if setting not in ("kind", *required, *allowed):
            kinds = " or ".join(other for other, settings in SETTINGS_OF_KINDS.items() if setting in sum(settings, ()))
            raise InputError(f"config: {key}.{setting} is for `kind: {kinds}`, not for {kind}; remove it")
    if kind == "gemba":
        _check_server(f"{key}.server", metric["server"])
        return
    model = metric["model"]
    checkpoints = [name for name in sources_of("model") if sources()[name].kind == "hub"] if kind == "bleurt" else []
    if model in sources() and model not in checkpoints:
        raise InputError(
            f"config: {key}.model: the row `{model}` of resources/sources.tsv is no {kind} checkpoint; change it"
        )
    if model not in checkpoints:
        _check_place(f"{key}.model", model, root, checkpoints, CHECKPOINTS[kind])
    if "tokenizer" in metric:
        _check_place(f"{key}.tokenizer", metric["tokenizer"], root, (), "google/mt5-xl")


def _check_place(key: str, place: str, root: Path, checkpoints: Sequence[str], example: str) -> None:
    """Check that the value of a key is a path or, as the example, an id of the hub."""
    if hub_id := hub_id_in_address(place):
        raise InputError(f"config: {key}: `{place}` is an address; write the id alone: {hub_id}")
    if (root / place).exists() or HUB_ID.fullmatch(place):
        return
    if checkpoints:
        what = f"checkpoints in resources/sources.tsv, nor a hub id such as {example} or a path"
        check_known(key, place, checkpoints, what)
    raise InputError(f"config: {key}: `{place}` is neither a hub id such as {example} nor a path; change it")


def baseline_warnings(config: Mapping[str, Any]) -> list[str]:
    """Return one line for each experiment that lacks a baseline, since its tables have no p-values against it.

    Args:
        config: the checked configuration.
    """
    return [
        f"config: significance.baselines: `{baseline}` is not among the systems of {entry['base_model']} on"
        f" {entry['benchmark']}, whose scores therefore get no p-values against it; add it, or choose another baseline"
        for baseline in config["significance"]["baselines"]
        for entry in config["experiments"]
        if baseline not in entry["systems"]
    ]
