"""Look up the settings of a step, and the models that an experiment needs."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..evaluation.ranking import KINDS_LOWER_IS_BETTER
from ..names import BASE, SHARED
from ..training.hyperparameters import preference_of

# Settings of the section `unlikelihood` that a preference training does not have.
UNLIKELIHOOD_ONLY = ("alpha", "conflicts")
# Maximum number of tokens of a rating, which is a number.
RATING_TOKENS = 16
# The `step` of a snapshot that is chosen in the dev directions.
BEST = "best"
# Stands for the seed in the folder of a system from outside of the workflow.
SEED_PLACE = "{seed}"
# Default of `dev.sentences`.
DEV_SENTENCES = 50


def step_settings(config: Mapping[str, Any], step: str, base_model: str, benchmark: str, model: str) -> dict[str, Any]:
    """Return the settings of a step for one model.

    The defaults of the step are overridden by the benchmark, then by the base model, then by the entry of the model.
    `preference` has the training settings of `unlikelihood`, except for those that it overrides in the same place.

    Args:
        config: the checked configuration.
        step: `finetune`, `unlikelihood`, `preference` or `decode`; for `decode`, the entry of the model is ignored.
        base_model: name of the base model.
        benchmark: name of the benchmark.
        model: name of the model.
    """
    sections = ("unlikelihood", "preference") if step == "preference" else (step,)
    places = (config, config["benchmarks"][benchmark], config["base_models"][base_model])
    settings = {
        key: value
        for place in places
        for section in sections
        for key, value in place.get(section, {}).items()
        if section == step or key not in UNLIKELIHOOD_ONLY
    }
    own = {key: value for key, value in config["models"].get(model, {}).items() if key in settings}
    return settings | (own if step != "decode" else {})


def zero_shot_of(benchmark: Mapping[str, Any]) -> list[str]:
    """Return the zero-shot directions of a benchmark that are tested: all but the dev directions, if there are any.

    Args:
        benchmark: the entry of the benchmark in the config.
    """
    held_out = benchmark.get("dev", {}).get("directions", ())
    return [direction for direction in benchmark["zero_shot"] if direction not in held_out]


def dev_sentences(benchmark: Mapping[str, Any]) -> int:
    """Return the number of lines of each dev direction of a benchmark that has some."""
    sentences: int = benchmark["dev"].get("sentences", DEV_SENTENCES)
    return sentences


def candidate_steps(config: Mapping[str, Any], base_model: str, benchmark: str, model: str) -> list[int]:
    """Return the steps that a snapshot with `step: best` is chosen from, in order; the last is that of the training.

    Args:
        config: the checked configuration.
        base_model: name of the base model.
        benchmark: name of the benchmark.
        model: name of the snapshot.
    """
    entry = config["models"][model]
    stage = config["models"][entry["from"]]["stage"]
    steps: int = step_settings(config, stage, base_model, benchmark, entry["from"])["steps"]
    return [*range(entry["every"], steps, entry["every"]), steps]


def saved_steps(config: Mapping[str, Any], base_model: str, benchmark: str, model: str) -> list[int]:
    """Return the steps of a training after which snapshots are saved, for the snapshots that systems use.

    Args:
        config: the checked configuration.
        base_model: name of the base model.
        benchmark: name of the benchmark.
        model: name of the model that is trained.
    """
    found: set[int] = set()
    for name in used_models(config, base_model, benchmark):
        entry = config["models"][name]
        if entry["stage"] == "snapshot" and entry["from"] == model:
            # The model after the last step is there in any case.
            is_best = entry["step"] == BEST
            found |= set(candidate_steps(config, base_model, benchmark, name)[:-1] if is_best else [entry["step"]])
    return sorted(found)


def needs_off_targets(config: Mapping[str, Any], base_model: str, benchmark: str, model: str) -> bool:
    """Return whether a stage-2 model is trained with what its stage-1 model writes in wrong languages."""
    stage = config["models"][model]["stage"]
    settings = step_settings(config, stage, base_model, benchmark, model)
    return {"unlikelihood": ("conflicts", "confusion"), "preference": ("rejected", "model")}[stage] in settings.items()


def key_of_setting(config: Mapping[str, Any], step: str, name: str, base_model: str, benchmark: str) -> str:
    """Return the full key from which `step_settings` takes a setting, without the entries of models."""
    for section, entry in (("base_models", base_model), ("benchmarks", benchmark)):
        if name in config[section][entry].get(step, {}):
            return f"{section}.{entry}.{step}.{name}"
    return f"{step}.{name}"


def decode_settings(config: Mapping[str, Any], base_model: str, benchmark: str, system: str) -> dict[str, Any]:
    """Return the decoding settings of a system: those of the step, with the beam size of the system if it has one."""
    settings = step_settings(config, "decode", base_model, benchmark, BASE)
    entry = config["systems"][system]
    own = {"beam": entry["beam"]} if "beam" in entry else {}
    if "contrasts" in entry:
        # Contrastive decoding combines token probabilities, which only transformers exposes. It is greedy, so early
        # stopping does not apply.
        own |= {"engine": "transformers", "early_stopping": False}
    if "language_boost" in entry:
        # The other engines do not let the workflow add to the logits.
        own |= {"engine": "transformers"}
    return settings | own


def model_of(config: Mapping[str, Any], system: str) -> str | None:
    """Return the model of a system; None if its translations come from outside of the workflow."""
    model: str | None = config["systems"][system].get("model")
    return model


def server_settings(config: Mapping[str, Any], benchmark: str, system: str) -> dict[str, Any]:
    """Return the settings of a system that a server translates with, with the default values.

    The fields of a request do not depend on the base model of an experiment, so that experiments share the replies.
    """
    entry = config["systems"][system]["server"]
    decode = {**config["decode"], **config["benchmarks"][benchmark].get("decode", {})}
    request = {"temperature": 0} | entry.get("request", {})
    # OpenAI's reasoning models have another field, and refuse requests that have both.
    if not {"max_tokens", "max_completion_tokens"} & set(request):
        request["max_tokens"] = decode["max_new_tokens"]
    return _with_server_defaults(entry, request)


def rating_server(config: Mapping[str, Any], metric: str) -> dict[str, Any]:
    """Return the settings of the server of a learned metric of the kind `gemba`, with the default values."""
    entry = config["score"]["learned"][metric]["server"]
    request = {"temperature": 0} | entry.get("request", {})
    # OpenAI's reasoning models have another field, and refuse requests that have both.
    if not {"max_tokens", "max_completion_tokens"} & set(request):
        request["max_tokens"] = RATING_TOKENS
    return _with_server_defaults(entry, request)


def lower_is_better(config: Mapping[str, Any]) -> list[str]:
    """Return the names of the learned metrics of which a lower score is the better one."""
    return [name for name, metric in config["score"]["learned"].items() if metric["kind"] in KINDS_LOWER_IS_BETTER]


def _with_server_defaults(entry: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a server, with these fields of a request; null removes one."""
    return (
        {"key": None, "parallel": 8, "prices": None, "max_cost": None}
        | dict(entry)
        | {"request": {name: value for name, value in request.items() if value is not None}}
    )


def used_models(config: Mapping[str, Any], base_model: str, benchmark: str) -> set[str]:
    """Return the models that the systems of an experiment need, including the models that these are trained from.

    Args:
        config: the checked configuration.
        base_model: name of the base model.
        benchmark: name of the benchmark.

    Returns:
        Keys of `models`; empty if the config has no such experiment.
    """
    found: set[str] = set()
    for experiment in config["experiments"]:
        if (experiment["base_model"], experiment["benchmark"]) != (base_model, benchmark):
            continue
        for system in experiment["systems"]:
            model = model_of(config, system) or BASE
            while model != BASE:
                found.add(model)
                model = config["models"][model].get("from", BASE)
    return found


def keeps_weights(config: Mapping[str, Any], model: str) -> bool:
    """Return whether the weights of a model remain after a run, by `keep.weights`."""
    keep = config["keep"]["weights"]
    used = {
        name for entry in config["experiments"] for name in used_models(config, entry["base_model"], entry["benchmark"])
    }
    trained_from = {
        config["models"][name].get("from") for name in used if config["models"][name]["stage"] != "snapshot"
    }
    return keep == "all" or (keep == "final" and model not in trained_from)


def controls_of(config: Mapping[str, Any], experiment: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return the systems of an experiment whose second loss can be judged by a system that lacks it alone.

    The control of a stage-2 model is the model from the same stage-1 model, with the same settings, and with the weight
    0 of the unlikelihood or preference loss, so that it is trained on as many of the same samples.

    Args:
        config: the checked configuration.
        experiment: one of its experiments.

    Returns:
        For each such system, in the order of the rows: `unlikelihood` or `preference`, the system, and its control.
    """
    names = experiment["base_model"], experiment["benchmark"]
    found = []
    for system in experiment["systems"]:
        entry = _stage2(config, *names, system)
        if entry and entry.weight:
            controls = (_stage2(config, *names, other) for other in experiment["systems"])
            pairs = zip(experiment["systems"], controls, strict=True)
            same = [name for name, other in pairs if other and not other.weight and other.shared == entry.shared]
            found += [(entry.stage, system, same[0])] if same else []
    return found


class _Stage2(NamedTuple):
    """A system with a stage-2 model: its stage, the weight of its second loss, and what its control shares with it."""

    stage: str
    weight: float
    shared: dict[str, Any]


# Settings without effect on a control, which has no second loss, or without effect on any weights.
OWN_SETTINGS = {"unlikelihood": ("alpha", "conflicts"), "preference": ("weight", "beta", "loss", "likelihood")}
WITHOUT_EFFECT = ("micro_batch_size", "gradient_checkpointing", "checkpoint_every", "checkpoint_minutes", "threads")


def _stage2(config: Mapping[str, Any], base_model: str, benchmark: str, system: str) -> _Stage2 | None:
    entry = config["systems"][system]
    # A system from outside of the workflow has no model.
    model = config["models"].get(entry.get("model"), {"stage": BASE})
    stage = model["stage"]
    if stage not in OWN_SETTINGS:
        return None
    settings = step_settings(config, stage, base_model, benchmark, entry["model"])
    weight = settings["alpha"] if stage == "unlikelihood" else 0.0
    # General instructions have conflicts of one kind only, so that the samples depend on it.
    kept = ("conflicts",) if "mix" in config["models"][model["from"]] else ()
    if stage == "preference":
        objective = preference_of(settings["loss"], settings["weight"], settings["likelihood"])
        weight = objective.weight
        # DPO has no likelihood loss that a control would have alone.
        kept = ("likelihood",) if objective.likelihood != 1 else ()
    left_out = {*WITHOUT_EFFECT, *OWN_SETTINGS[stage]} - set(kept)
    shared = {key: value for key, value in settings.items() if key not in left_out}
    prompting = {key: value for key, value in entry.items() if key not in ("model", "paper")}
    return _Stage2(stage, weight, {"stage": stage, "from": model["from"], **shared, "prompting": prompting})


def seeds_of(config: Mapping[str, Any], experiment: Mapping[str, Any]) -> list[int]:
    """Return the seeds of an experiment: its own, or else those of the config."""
    return list(experiment.get("seeds", config["seeds"]))


def has_seeds(config: Mapping[str, Any], system: str) -> bool:
    """Return whether a system from outside of the workflow has translations of its own for each seed."""
    return SEED_PLACE in config["systems"][system].get("hypotheses", "")


def runs_of(config: Mapping[str, Any], experiment: Mapping[str, Any], system: str) -> list[str]:
    """Return the runs of a system in an experiment: its seeds as text, or only `shared` if all seeds share it.

    These are systems on the untrained base model, and systems from outside of the workflow whose translations are not
    those of several seeds.
    """
    if model_of(config, system) in (BASE, None) and not has_seeds(config, system):
        return [SHARED]
    return [str(seed) for seed in seeds_of(config, experiment)]
