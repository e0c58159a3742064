"""Check the section `publish`, and look up what the card of the published model says of its making."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..data.corpora import LOCAL, SACREBLEU
from ..data.mtdata_corpora import MTDATA, mtdata_version
from ..data.sources import TERMS
from ..files import InputError
from ..names import BASE
from .references import check_known, sources
from .settings import BEST, decode_settings, lower_is_better, model_of, seeds_of, step_settings, zero_shot_of

CTRANSLATE2_INT8 = "ctranslate2-int8"
FORMATS = (CTRANSLATE2_INT8,)
# What the hub calls the licences of the source table that are not in the SPDX list.
HUB_LICENCES = {"LicenseRef-Gemma": "gemma"}
# Identifiers of base models on the hub, by the row of resources/sources.tsv that has their (first) file.
HUB_IDS = {"gemma3-270m-part1": "google/gemma-3-270m"}
# Identifiers of training data on the hub, by rows of resources/sources.tsv; catalogues are not there.
HUB_DATASETS = {"iwslt17-train": "IWSLT/iwslt2017", "flores200": "facebook/flores", "alpaca": "tatsu-lab/alpaca"}
# Identifiers that the hub accepts as `license` of a model.
LICENCES = (
    "afl-3.0", "agpl-3.0", "apache-2.0", "apple-amlr", "apple-ascl", "artistic-2.0", "bigcode-openrail-m",
    "bigscience-bloom-rail-1.0", "bigscience-openrail-m", "bsd", "bsd-2-clause", "bsd-3-clause", "bsd-3-clause-clear",
    "bsl-1.0", "c-uda", "cc", "cc-by-2.0", "cc-by-2.5", "cc-by-3.0", "cc-by-4.0", "cc-by-nc-2.0", "cc-by-nc-3.0",
    "cc-by-nc-4.0", "cc-by-nc-nd-3.0", "cc-by-nc-nd-4.0", "cc-by-nc-sa-2.0", "cc-by-nc-sa-3.0", "cc-by-nc-sa-4.0",
    "cc-by-nd-4.0", "cc-by-sa-3.0", "cc-by-sa-4.0", "cc0-1.0", "cdla-permissive-1.0", "cdla-permissive-2.0",
    "cdla-sharing-1.0", "creativeml-openrail-m", "deepfloyd-if-license", "ecl-2.0", "epl-1.0", "epl-2.0",
    "etalab-2.0", "eupl-1.1", "eupl-1.2", "gemma", "gfdl", "gpl", "gpl-2.0", "gpl-3.0", "h-research",
    "intel-research", "isc", "lgpl", "lgpl-2.1", "lgpl-3.0", "lgpl-lr", "llama2", "llama3", "llama3.1", "llama3.2",
    "llama3.3", "llama4", "lppl-1.3c", "mit", "mpl-2.0", "ms-pl", "ncsa", "odbl", "odc-by", "ofl-1.1", "openrail",
    "openrail++", "osl-3.0", "other", "pddl", "postgresql", "unknown", "unlicense", "wtfpl", "zlib",
)  # fmt: skip
OTHER_LICENCE = "other"
# Settings of a training that the card lists; the others change the speed alone.
LISTED = (
    "learning_rate", "batch_size", "epochs", "steps", "max_length", "warmup_ratio", "weight_decay", "lora_rank",
    "lora_alpha", "freeze_embeddings", "alpha", "conflicts", "loss", "weight", "likelihood", "beta", "rejected",
)  # fmt: skip


class Publication(NamedTuple):
    """The model to publish, and the system with whose prompts and search it was evaluated."""

    base_model: str
    benchmark: str
    seed: int
    model: str
    system: str

    @property
    def described(self) -> str:
        """The experiment, as messages name it."""
        return f"{self.base_model} on {self.benchmark}"


def check_publish(config: Mapping[str, Any], root: Path) -> None:
    """Check the section `publish`, if the config has one.

    Args:
        config: a configuration whose other sections are checked.
        root: the folder that relative paths start from.

    Raises:
        InputError: it names what does not exist or what cannot be published, or leaves open which model is meant.
    """
    entry = config["publish"]
    if not entry:
        return
    found = publication(config)
    for name in entry.get("formats", ()):
        if name.lower().startswith("gguf"):
            raise InputError(
                "config: publish.formats: the workflow writes no GGUF; publish the folder without it, and convert it"
                " with convert_hf_to_gguf.py of llama.cpp"
            )
        check_known("publish.formats", name, FORMATS, "formats")
    if entry.get("push") and "repository" not in entry:
        raise InputError("config: publish.push needs publish.repository, such as `my-name/my-model`; add it")
    text = entry.get("licence_text")
    if text and not (root / Path(text).expanduser()).is_file():
        raise InputError(f"config: publish.licence_text: no file `{text}`; it holds the text of the licence")
    _check_licence(config, found)


def publication(config: Mapping[str, Any]) -> Publication:
    """Return what `publish` names, with what it may leave out because there is only one.

    Raises:
        InputError: there is no such model, or several.
    """
    entry = config["publish"]
    model = entry["model"]
    if model == BASE:
        raise InputError("config: publish.model: `base` is the base model, which is not trained; name a trained model")
    check_known("publish.model", model, config["models"], "models")
    experiments = config["experiments"]
    for key, what in (("base_model", "base models"), ("benchmark", "benchmarks")):
        if key in entry:
            check_known(
                f"publish.{key}", entry[key], {one[key]: None for one in experiments}, f"{what} of the experiments"
            )
            experiments = [one for one in experiments if one[key] == entry[key]]
    if not experiments:
        raise InputError(
            f"config: publish: no experiment has {entry['base_model']} on {entry['benchmark']}; change one of the two"
        )
    having = [one for one in experiments if _systems(config, one, model)]
    if not having:
        names = ", ".join(f"{one['base_model']} on {one['benchmark']}" for one in experiments)
        raise InputError(
            f"config: publish.model: no system of {names} has the model `{model}` and a plain prompt, so that it has no"
            " scores; add such a system, or name another model"
        )
    if len(having) > 1:
        names = ", ".join(f"{one['base_model']} on {one['benchmark']}" for one in having)
        raise InputError(
            f"config: publish: `{model}` is there several times ({names}); name one by `base_model` and `benchmark`"
        )
    (experiment,) = having
    described = f"{experiment['base_model']} on {experiment['benchmark']}"
    seed = _only("seed", entry, seeds_of(config, experiment), f"seeds of {described}")
    system = _only("system", entry, _systems(config, experiment, model), f"systems with `{model}` and a plain prompt")
    return Publication(experiment["base_model"], experiment["benchmark"], seed, model, system)


def _only(key: str, entry: Mapping[str, Any], values: list[Any], what: str) -> Any:
    """Return the value that `publish` names, or else the only one."""
    listed = " ".join(map(str, values))
    if key in entry:
        if entry[key] not in values:
            raise InputError(f"config: publish.{key}: `{entry[key]}` is not among the {what}; known: {listed}")
        return entry[key]
    if len(values) > 1:
        raise InputError(f"config: publish.{key} is missing, and there are several {what}; name one of {listed}")
    return values[0]


def _systems(config: Mapping[str, Any], experiment: Mapping[str, Any], model: str) -> list[str]:
    """Return the systems of an experiment that decode a model as its card says: an English prompt and no more."""
    return [
        name for name in experiment["systems"] if model_of(config, name) == model and is_plain(config["systems"][name])
    ]


def is_plain(system: Mapping[str, Any]) -> bool:
    """Return whether a system has the prompt of its training, and a greedy or beam search without additions."""
    added = any(system.get(key) for key in ("shots", "contrasts", "language_boost"))
    return not added and system.get("prompt_language", "en") == "en"


def _check_licence(config: Mapping[str, Any], found: Publication) -> None:
    entry = config["publish"]
    own, known = entry.get("licence"), licence_of(config, found.base_model)
    if own:
        check_known("publish.licence", own, LICENCES, "licences of the hub")
    elif not known:
        raise InputError(
            f"config: publish.licence is missing: the licence of base_models.{found.base_model} is not known here;"
            " name the one that you publish under by its identifier on the hub, such as apache-2.0 or llama2"
        )
    licence = own or known
    if known and known in HUB_LICENCES.values() and licence != known:
        raise InputError(
            f"config: publish.licence: {found.base_model} has terms that what is made from it keeps; leave the key out"
            f" for `{known}`"
        )
    has_terms = licence in HUB_LICENCES.values()
    if "licence_text" not in entry and (licence == OTHER_LICENCE or (has_terms and entry.get("push"))):
        reason = f"the licence {licence} must be handed on with the model" if has_terms else "others cannot know it"
        raise InputError(
            f"config: publish.licence_text is missing: {reason}; save its text in a file, and name the file"
            + (f" ({terms_of(licence)})" if has_terms else "")
        )


def licence_of(config: Mapping[str, Any], base_model: str) -> str:
    """Return what the hub calls the licence of a base model; empty if the workflow does not know it."""
    rows = [sources()[name] for name in config["base_models"][base_model].get("gguf", ()) if name in sources()]
    licences = {HUB_LICENCES.get(row.licence, row.licence.lower()) for row in rows}
    return licences.pop() if len(licences) == 1 else ""


def terms_of(licence: str) -> str:
    """Return the address of the terms of a licence that is not in the SPDX list; empty for others."""
    return next((TERMS[name] for name, hub in HUB_LICENCES.items() if hub == licence), "")


def card_facts(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the card says of the making of the published model, as values of JSON.

    Args:
        config: the checked configuration, with a section `publish`.
    """
    found, entry = publication(config), config["publish"]
    benchmark = config["benchmarks"][found.benchmark]
    experiment = next(
        one
        for one in config["experiments"]
        if (one["base_model"], one["benchmark"]) == (found.base_model, found.benchmark)
    )
    licence = entry.get("licence") or licence_of(config, found.base_model)
    base = config["base_models"][found.base_model]
    settings = decode_settings(config, found.base_model, found.benchmark, found.system)
    errors = lower_is_better(config)
    return {
        **found._asdict(),
        "seeds": len(seeds_of(config, experiment)),
        "repository": entry.get("repository"),
        "formats": entry.get("formats", []),
        "origin": _origin(base),
        "hub_id": entry.get("origin") or base.get("hub") or HUB_IDS.get(next(iter(base.get("gguf", ())), "")),
        "dtype": base.get("dtype", "bf16"),
        "licence": licence,
        "terms": terms_of(licence),
        "trainings": _trainings(config, found),
        "decoding": {
            key: settings[key] for key in ("engine", "compute_type", "beam", "early_stopping", "max_new_tokens")
        },
        "languages": benchmark["languages"],
        "supervised": benchmark["supervised"],
        "zero_shot": zero_shot_of(benchmark),
        "catalogues": "catalogues" in benchmark,
        "data": list(_data(config, found)),
        **({"lower_is_better": errors} if errors else {}),
        # What the scores are compared with: the baselines of the tests, and the base model.
        "compared": [
            name
            for name in experiment["systems"]
            if name != found.system
            and (
                name in config["significance"]["baselines"]
                or (model_of(config, name) == BASE and is_plain(config["systems"][name]))
            )
        ],
    }


def _origin(base: Mapping[str, Any]) -> str:
    """Return where a base model comes from, without a path of this machine."""
    if "hub" in base:
        return f"{base['hub']}, revision {base.get('revision', 'main')}"
    if "gguf" in base:
        rows = [sources()[name] for name in base["gguf"] if name in sources()]
        files = [f"{row.package} {row.version}" for row in rows] or [Path(name).name for name in base["gguf"]]
        return f"dequantised from GGUF: {', '.join(files)}"
    return "trained from nothing on the text of the benchmark" if "build" in base else "a model of the publisher"


def _trainings(config: Mapping[str, Any], found: Publication) -> list[dict[str, Any]]:
    """Return name, stage and settings of each training of the model, in their order."""
    trainings = []
    model: str = found.model
    step = None
    while model != BASE:
        entry = config["models"][model]
        if entry["stage"] == "snapshot":
            step = entry["step"]
        else:
            settings = step_settings(config, entry["stage"], found.base_model, found.benchmark, model)
            settings = {key: settings[key] for key in LISTED if settings.get(key) is not None}
            if not settings.get("lora_rank"):
                settings = {key: value for key, value in settings.items() if not key.startswith("lora_")}
            training = {"model": model, "stage": entry["stage"], "settings": settings, "snapshot": step}
            if step == BEST:
                training["dev"] = config["benchmarks"][found.benchmark]["dev"]["directions"]
            trainings.append(training)
            step = None
        model = entry.get("from", BASE)
    return trainings[::-1]


def _data(config: Mapping[str, Any], found: Publication) -> Iterable[dict[str, str]]:
    """Yield the data of the training and of the test set, with its licence and what it is used for."""
    benchmark = config["benchmarks"][found.benchmark]
    for name in benchmark.get("catalogues", ()):
        yield _source("training, test", name)
    for role, what in (("train", "training"), ("test", "test")):
        for name, parts in benchmark.get("corpora", {}).get(role, {}).items():
            if name == LOCAL:
                yield {"use": what, "name": "text of the publisher", "origin": "", "licence": "not stated"}
            elif name == SACREBLEU:
                listed = ", ".join(map(str, parts))
                yield {"use": what, "name": listed, "origin": "SacreBLEU", "licence": "that of the shared tasks"}
            elif name == MTDATA:
                for corpus in parts:
                    origin = f"mtdata {mtdata_version()}".strip()
                    yield {
                        "use": what,
                        "name": corpus,
                        "origin": origin,
                        "licence": "that of the publisher of the text",
                    }
            else:
                yield _source(what, name)
    model = found.model
    while model != BASE:
        for name in config["models"][model].get("mix", ()):
            if name in sources():
                yield _source("training", name)
            else:
                yield {"use": "training", "name": Path(name).name, "origin": "", "licence": "not stated"}
        model = config["models"][model].get("from", BASE)


def _source(use: str, name: str) -> dict[str, str]:
    row = sources()[name]
    origin = f"{row.package} {row.version} (PyPI)" if row.kind == "pypi" else row.package
    found = {"use": use, "name": name, "origin": origin, "licence": row.licence or "not stated"}
    return found | ({"hub": HUB_DATASETS[name]} if name in HUB_DATASETS else {})
