"""Check the configuration before any job starts, and look up the settings of a step in it."""

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import jsonschema
import yaml

from .data.corpora import LOCAL, SACREBLEU, local_files
from .data.lid import PY3LANGID
from .data.sources import CATALOGUES, CORPORA, INSTRUCTIONS
from .files import InputError, read_table
from .languages import RESOURCES, languages, split_direction
from .names import BASE, REFERENCE
from .prompts.prompting import translation_instruction

SCHEMA = RESOURCES.parent / "rules" / "schemas" / "config.schema.yaml"


def check_config(config: Mapping[str, Any], root: Path) -> None:
    """Check keys and types against the schema, then the references between entries and the files they name.

    Args:
        config: the merged configuration.
        root: the folder that relative paths start from.

    Raises:
        InputError: the configuration is not valid; the message names the key and the remedy.
    """
    _check_schema(config)
    _check_benchmarks(config, root)
    _check_base_models(config, root)
    _check_models(config, root)
    _check_systems(config)
    _check_experiments(config)
    _check_judge(config, root)
    _check_studies(config)
    for name in config["detect"]["lid"]:
        if name != PY3LANGID and not (root / name).is_file():
            _known("detect.lid", name, _sources("model"), f"identifiers in resources/sources.tsv, {PY3LANGID} or files")
    _known("significance.baseline", config["significance"]["baseline"], config["systems"], "systems")


def _check_schema(config: Mapping[str, Any]) -> None:
    for name, model in _entries(config, "models"):
        _known(f"models.{name}.stage", model.get("stage", ""), ("finetune", "unlikelihood", "snapshot"), "stages")
    validator = jsonschema.Draft202012Validator(yaml.safe_load(SCHEMA.read_text(encoding="utf-8")))
    error = jsonschema.exceptions.best_match(validator.iter_errors(config))
    if error is None:
        return
    key = ".".join(map(str, error.absolute_path)) or "the top level"
    if error.validator == "additionalProperties":
        allowed = error.schema["properties"]
        unknown = sorted(set(error.instance) - set(allowed))[0]
        raise InputError(f"config: unknown key `{unknown}` in {key}{_hint(unknown, allowed)}")
    if error.validator == "required":
        missing = next(name for name in error.validator_value if name not in error.instance)
        raise InputError(f"config: {key} lacks the key `{missing}`; add it")
    remedy = ""
    if (
        error.validator == "type"
        and isinstance(error.instance, str)
        and re.fullmatch(r"[\d.]+e[-+]?\d+", error.instance)
    ):
        remedy = "; YAML reads it as text, write it with a point, such as 2.0e-5 or 7.0e+9"
    if key == "judge.key":
        raise InputError(
            "config: judge.key names the environment variable that holds the key, it is not the key itself"
        )
    if key == "judge.base_url":
        remedy = "; an address begins with http:// or https://"
    elif error.validator == "pattern":
        remedy = "; a direction is two codes such as `it-nl`, a name has no spaces or slashes"
    raise InputError(f"config: {key}: {error.message.splitlines()[0]}{remedy}")


def _entries(config: Mapping[str, Any], key: str) -> Iterable[tuple[str, Mapping[str, Any]]]:
    entries = config.get(key)
    return [pair for pair in entries.items() if isinstance(pair[1], Mapping)] if isinstance(entries, Mapping) else []


def _check_benchmarks(config: Mapping[str, Any], root: Path) -> None:
    for name, benchmark in config["benchmarks"].items():
        key = f"benchmarks.{name}"
        for language in benchmark["languages"]:
            _known(f"{key}.languages", language, languages(), "languages in resources/languages.tsv")
        if ("catalogues" in benchmark) == ("corpora" in benchmark):
            raise InputError(f"config: {key} needs exactly one of `catalogues`, `corpora`")
        if "catalogues" in benchmark:
            _check_catalogues(key, benchmark)
        else:
            _check_corpora(key, benchmark, root)
        seen: set[str] = set()
        for kind in ("supervised", "zero_shot"):
            for direction in benchmark[kind]:
                for language in split_direction(direction):
                    if language not in benchmark["languages"]:
                        raise InputError(
                            f"config: {key}.{kind}: `{direction}` is outside the benchmark, whose languages are "
                            f"{' '.join(benchmark['languages'])}; drop it or add `{language}` to {key}.languages"
                        )
                if len(set(split_direction(direction))) < 2:
                    raise InputError(f"config: {key}.{kind}: `{direction}` translates a language into itself; drop it")
                if direction in seen:
                    raise InputError(f"config: {key}: `{direction}` is both supervised and zero-shot; keep one")
                seen.add(direction)
        if not benchmark["supervised"]:
            raise InputError(f"config: {key}.supervised is empty; stage 1 needs a direction to train on")
        if "paper" in benchmark:
            tables = sorted(path.stem for path in (RESOURCES / "paper").glob("*.tsv"))
            _known(f"{key}.paper", benchmark["paper"], tables, "tables in resources/paper")


def _check_catalogues(key: str, benchmark: Mapping[str, Any]) -> None:
    if "en" not in benchmark["languages"]:
        raise InputError(f"config: {key}.languages lacks `en`, on which catalogues are aligned; add it")
    if benchmark["min_words"] > benchmark["max_words"]:
        raise InputError(f"config: {key}.min_words is above max_words; no row would be left")
    if "both_ways" in benchmark:
        raise InputError(f"config: {key}.both_ways is for `corpora`; catalogues give every direction anyway; drop it")
    for source in benchmark["catalogues"]:
        _known(f"{key}.catalogues", source, _sources(*CATALOGUES), "catalogues in resources/sources.tsv")
    _known(f"{key}.lid", benchmark["lid"], _sources("model"), "identifiers in resources/sources.tsv")


def _check_corpora(key: str, benchmark: Mapping[str, Any], root: Path) -> None:
    catalogue_keys = {"lid", "min_words", "max_words", "test_rows", "test_min_words"}
    for name in benchmark:
        if name in catalogue_keys:
            raise InputError(f"config: {key}.{name} is for `catalogues`; corpora are taken as they are; drop it")
    for role, corpora in benchmark["corpora"].items():
        for corpus, parts in corpora.items():
            role_key = f"{key}.corpora.{role}"
            known = [*_sources(*CORPORA), SACREBLEU, LOCAL]
            _known(role_key, corpus, known, f"corpora in resources/sources.tsv, `{SACREBLEU}` or `{LOCAL}`")
            directions = [*benchmark["supervised"], *(() if role == "train" else benchmark["zero_shot"])]
            for part in parts if corpus == SACREBLEU else ():
                _check_test_set(role_key, part, directions)
            for part in parts if corpus == LOCAL else ():
                if not local_files(str(root / part)):
                    raise InputError(
                        f"config: {role_key}.{LOCAL}: no files `{part}.*`; see docs/benchmarks.md for their names"
                    )


def _check_test_set(key: str, part: str, directions: Iterable[str]) -> None:
    from sacrebleu.dataset import DATASETS

    _known(f"{key}.{SACREBLEU}", part, DATASETS, "test sets of SacreBLEU (`sacrebleu --list`)")
    for direction in directions:
        _known(f"{key}.{SACREBLEU}", direction, sorted(DATASETS[part].langpairs), f"directions of {part}")


def _check_base_models(config: Mapping[str, Any], root: Path) -> None:
    for name, model in config["base_models"].items():
        key = f"base_models.{name}"
        if sum(kind in model for kind in ("build", "hub", "path", "gguf")) != 1:
            raise InputError(f"config: {key} needs exactly one of `build`, `hub`, `path`, `gguf`")
        _check_gguf(key, model, root)
        if "build" in model:
            _known(f"{key}.build.benchmark", model["build"]["benchmark"], config["benchmarks"], "benchmarks")
            known = config["benchmarks"][model["build"]["benchmark"]]["languages"]
            for language in model["build"]["languages"]:
                _known(f"{key}.build.languages", language, known, f"languages of {model['build']['benchmark']}")
            if model["build"]["hidden"] % (2 * model["build"]["heads"]):
                raise InputError(f"config: {key}.build.hidden must be a multiple of 2 * heads")
        if "paper" in model:
            _known(f"{key}.paper", model["paper"], _paper_names("base_model"), "paper's models")
        if "path" in model and not (root / model["path"] / "config.json").is_file():
            raise InputError(f"config: {key}.path: `{model['path']}` is no transformers model folder (no config.json)")
        if not (root / model["deepspeed"]).is_file():
            raise InputError(f"config: {key}.deepspeed: no file `{model['deepspeed']}`; see configs/deepspeed/")


def _check_gguf(key: str, model: Mapping[str, Any], root: Path) -> None:
    licences = {row["name"]: row["licence"] for row in read_table(RESOURCES / "sources.tsv")}
    for name in model.get("gguf", ()):
        if not (root / name).is_file():
            _known(f"{key}.gguf", name, _sources("model"), "files, or models in resources/sources.tsv")
        licence = licences.get(name, "")
        # In SPDX, this prefix marks a licence that is not in the SPDX list, so users must read its terms.
        if licence.startswith("LicenseRef-") and model.get("accept_licence") != licence:
            raise InputError(
                f"config: {key}.gguf: `{name}` is under terms of its own; read them (docs/base-models.md) and, if you"
                f" accept them, add `accept_licence: {licence}`"
            )


def _check_models(config: Mapping[str, Any], root: Path) -> None:
    if BASE in config["models"]:
        raise InputError(f"config: models.{BASE} is reserved for the base model itself; choose another name")
    for name, model in config["models"].items():
        for instructions in model.get("mix", ()):
            _check_instructions(f"models.{name}.mix", instructions, root)
        if model["stage"] == "unlikelihood":
            stage1 = [other for other, entry in config["models"].items() if entry["stage"] == "finetune"]
            _known(f"models.{name}.from", model["from"], stage1, "stage-1 models")
        if model["stage"] == "snapshot":
            stage2 = [other for other, entry in config["models"].items() if entry["stage"] == "unlikelihood"]
            _known(f"models.{name}.from", model["from"], stage2, "stage-2 models")


def _check_systems(config: Mapping[str, Any]) -> None:
    for name, system in config["systems"].items():
        if name == "answers":
            raise InputError("config: systems.answers is reserved for answers to general instructions; rename it")
        if name == REFERENCE:
            raise InputError(f"config: systems.{REFERENCE} is reserved for the reference translations; rename it")
        if "contrasts" in system and system.get("beam") != 1:
            raise InputError(f"config: systems.{name}: contrastive decoding is greedy; set its `beam: 1`")
        _known(f"systems.{name}.model", system["model"], [BASE, *config["models"]], "models")
        if "paper" in system:
            _known(f"systems.{name}.paper", system["paper"], _paper_names("system"), "paper's systems")
        for contrast in system.get("contrasts", ()):
            _known(f"systems.{name}.contrasts", contrast["target"], ["source", *languages()], "languages, or `source`")


def _check_experiments(config: Mapping[str, Any]) -> None:
    seen = set()
    for number, experiment in enumerate(config["experiments"]):
        key = f"experiments.{number}"
        _known(f"{key}.base_model", experiment["base_model"], config["base_models"], "base models")
        _known(f"{key}.benchmark", experiment["benchmark"], config["benchmarks"], "benchmarks")
        for system in experiment["systems"]:
            _known(f"{key}.systems", system, config["systems"], "systems")
        pair = (experiment["base_model"], experiment["benchmark"])
        if pair in seen:
            raise InputError(f"config: {key}: a second entry for {pair[0]} on {pair[1]}; put all systems in one")
        seen.add(pair)
        benchmark = config["benchmarks"][experiment["benchmark"]]
        _check_training(config, key, experiment)
        in_target = any(
            config["systems"][system].get("prompt_language") == "target" for system in experiment["systems"]
        )
        for direction in (*benchmark["supervised"], *benchmark["zero_shot"]):
            # Raises an InputError if resources/prompts.yaml has no wording for the direction.
            for prompt_language in ("en", *([split_direction(direction)[1]] if in_target else [])):
                translation_instruction(direction, prompt_language)
        decode = step_settings(config, "decode", *pair, BASE)
        supported = {"ctranslate2": True, "vllm": False}.get(decode["engine"], decode["early_stopping"])
        if decode["early_stopping"] != supported:
            raise InputError(
                f"config: {key}: decode.early_stopping is {str(not supported).lower()}, but engine {decode['engine']}"
                f" supports only {str(supported).lower()}; set it, or choose engine transformers"
            )
        shots = max(config["systems"][system].get("shots", 0) for system in experiment["systems"])
        if shots > benchmark.get("demonstrations", 0):
            raise InputError(
                f"config: benchmarks.{pair[1]}.demonstrations is {benchmark.get('demonstrations', 0)}, but a system "
                f"shows {shots}; raise it"
            )


def _check_judge(config: Mapping[str, Any], root: Path) -> None:
    judge = config["judge"]
    if not judge["comparisons"]:
        return
    _check_instructions("judge.instructions", judge["instructions"], root)
    if judge["max_cost"] is not None and judge["prices"] is None:
        raise InputError("config: judge.max_cost needs judge.prices to be compared with; set them")
    for number, comparison in enumerate(judge["comparisons"]):
        key = f"judge.comparisons.{number}"
        for role, system in comparison.items():
            _known(f"{key}.{role}", system, config["systems"], "systems")
            for setting in ("shots", "contrasts", "prompt_language"):
                if config["systems"][system].get(setting, "en") not in ("en", 0):
                    raise InputError(
                        f"config: {key}.{role}: `{system}` has `{setting}`, which is for translations; take another"
                    )
        pair = comparison["system"], comparison["baseline"]
        if len(set(pair)) < 2:
            raise InputError(f"config: {key} compares `{pair[0]}` with itself; name two systems")
        if not any(set(pair) <= set(experiment["systems"]) for experiment in config["experiments"]):
            raise InputError(f"config: {key}: no experiment has both `{pair[0]}` and `{pair[1]}`; add them to one")


def _check_instructions(key: str, name: str, root: Path) -> None:
    if not (root / name).is_file():
        _known(key, name, _sources(INSTRUCTIONS), "sets of instructions in resources/sources.tsv, nor a file")


def _check_studies(config: Mapping[str, Any]) -> None:
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
                    _known(key, system, known, "systems of the experiments")
                else:
                    _known(key, system, config["experiments"][0]["systems"], "systems of the first experiment")


def _check_training(config: Mapping[str, Any], key: str, experiment: Mapping[str, Any]) -> None:
    base_model, benchmark = experiment["base_model"], experiment["benchmark"]
    processes = max(1, config["base_models"][base_model].get("gpus", 0)) * config["base_models"][base_model].get(
        "nodes", 1
    )
    for system in experiment["systems"]:
        model = config["systems"][system]["model"]
        while model != BASE:
            entry = config["models"][model]
            if entry["stage"] == "snapshot":
                parent = entry["from"]
                steps = step_settings(config, "unlikelihood", base_model, benchmark, parent)["steps"]
                if entry["step"] > steps:
                    raise InputError(
                        f"config: {key}: `{model}` is step {entry['step']} of `{parent}`, which has {steps}; lower it"
                    )
                model = parent
                continue
            settings = step_settings(config, entry["stage"], base_model, benchmark, model)
            if settings["batch_size"] % processes:
                raise InputError(
                    f"config: {key}: batch_size {settings['batch_size']} of `{model}` is not a multiple of the "
                    f"{processes} processes of `{base_model}`; change one of them"
                )
            # Number of possible instructions, including the correct one; a conflict needs another one.
            instructions = {"target": len(config["benchmarks"][benchmark]["languages"]) - 1}.get(
                settings.get("conflicts", ""), len(config["benchmarks"][benchmark]["supervised"])
            )
            if entry["stage"] == "unlikelihood" and instructions < 2:
                raise InputError(
                    f"config: {key}: `{model}` finds no conflicting instruction; `conflicts: instruction` needs two "
                    "supervised directions, `conflicts: target` three languages"
                )
            model = entry.get("from", BASE)


def step_settings(config: Mapping[str, Any], step: str, base_model: str, benchmark: str, model: str) -> dict[str, Any]:
    """Return the settings of a step for one model.

    The defaults of the step are overridden by the benchmark, then by the base model, then by the entry of the model.

    Args:
        config: the checked configuration.
        step: `finetune`, `unlikelihood` or `decode`; for `decode`, the entry of the model is ignored.
        base_model: name of the base model.
        benchmark: name of the benchmark.
        model: name of the model.
    """
    own = {key: value for key, value in config["models"].get(model, {}).items() if key in config[step]}
    return {
        **config[step],
        **config["benchmarks"][benchmark].get(step, {}),
        **config["base_models"][base_model].get(step, {}),
        **(own if step != "decode" else {}),
    }


def decode_settings(config: Mapping[str, Any], base_model: str, benchmark: str, system: str) -> dict[str, Any]:
    """Return the decoding settings of a system: those of the step, with the beam size of the system if it has one."""
    settings = step_settings(config, "decode", base_model, benchmark, BASE)
    entry = config["systems"][system]
    own = {"beam": entry["beam"]} if "beam" in entry else {}
    if "contrasts" in entry:
        # Contrastive decoding combines token probabilities, which only transformers exposes. It is greedy, so early
        # stopping does not apply.
        own |= {"engine": "transformers", "early_stopping": False}
    return settings | own


def _paper_names(column: str) -> list[str]:
    rows = [row for path in sorted((RESOURCES / "paper").glob("*.tsv")) for row in read_table(path)]
    return list(dict.fromkeys(row[column] for row in rows))


def _sources(*formats: str) -> list[str]:
    return [row["name"] for row in read_table(RESOURCES / "sources.tsv") if row["format"] in formats]


def _known(key: str, value: str, known: Iterable[str], what: str) -> None:
    known = list(known)
    if value not in known:
        raise InputError(f"config: {key}: `{value}` is not among the {what}{_hint(value, known)}")


def _hint(value: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(value, known, n=1)
    return f"; did you mean `{close[0]}`?" if close else f"; known: {' '.join(known)}"
