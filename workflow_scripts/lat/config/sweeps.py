"""Expand sweeps: a row of the config that stands for several values of a setting.

The row `lat-{alpha}: {stage: unlikelihood, from: mt, sweep: {alpha: [0.1, 0.3]}}` of `models` makes the models lat-0.1
and lat-0.3. `{alpha}` is a placeholder. It also stands for every value in the names of systems that use these models,
in the lists of systems of the experiments, and in the series of studies. After the expansion, the config has neither
sweeps nor placeholders, so the rest of the workflow does not know them.
"""

import copy
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import yaml

from ..files import InputError
from .references import check_known
from .schema import CONTROL, SCHEMA
from .settings import BEST

PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
# What names of models and systems consist of.
NAME_PART = re.compile(r"[A-Za-z0-9_.-]+")
# Definitions in the schema, by the stage of a model.
DEFINITIONS = {
    "finetune": "finetuned_model",
    "unlikelihood": "unlikelihood_model",
    "preference": "preference_model",
    "snapshot": "snapshot_model",
}
# Keys of a model that are no settings of its stage.
NO_SETTINGS = ("stage", "from", "mix", "every", "sweep")
# From this number on, Python does not write every digit of a float.
LARGE = 1e16
KNOWN = "sweeps of systems"


@dataclass(frozen=True)
class Sweep:
    """A row of `models` with a sweep.

    Attributes:
        name: name of the models, with placeholders.
        keys: the settings that have several values.
        combinations: values of these settings, one mapping per model.
    """

    name: str
    keys: tuple[str, ...]
    combinations: tuple[Mapping[str, Any], ...]

    def has_points(self, key: str) -> bool:
        """Return whether all values of a setting are numbers, which a study can show on its horizontal axis."""
        return all(_is_number(values[key]) for values in self.combinations)

    def names(self, pattern: str) -> list[str]:
        """Fill in the placeholders of a text, once for each combination of values."""
        return [fill(pattern, values) for values in self.combinations]


def expand_sweeps(config: dict[str, Any]) -> None:
    """Replace every sweep by the models, systems and points of studies that it stands for.

    A sweep without a row of `systems` gets systems with its own name, whose beginning is in upper case. A sweep over
    the numbers of one setting gets a study, unless a study already has one of its systems.

    Args:
        config: the merged configuration, which need not match the schema; it is changed in place. What is of a wrong
            type is left to the check against the schema.

    Raises:
        InputError: a sweep, or a use of its placeholders, is not valid.
    """
    rows = config.get("systems")
    if not isinstance(config.get("models"), Mapping) or not isinstance(rows, Mapping):
        return
    try:
        sweeps = _expand_models(config)
        patterns = _expand_systems(config, sweeps)
        _expand_experiments(config, patterns)
        _check_use(config, {name: sweep for name, sweep in patterns.items() if name not in rows})
        _expand_studies(config, patterns)
        _add_studies(config, sweeps, patterns)
    except InputError as error:
        # Unlike after the check against the schema, names may have line breaks here.
        raise InputError(CONTROL.sub("?", str(error))) from None


def value_name(value: Any) -> str:
    """Return a value as it stands in names: 0.1 for 0.10, 1 for 1.0, 2e-6 for 2.0e-6, true for a boolean."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        if value.is_integer() and abs(value) < LARGE:
            return str(int(value))
        mantissa, letter, exponent = repr(value).partition("e")
        # Neither the sign nor the leading zero of an exponent: a plus is not allowed in names of models.
        return f"{mantissa}e{int(exponent)}" if letter else mantissa
    return str(value)


def fill(text: str, values: Mapping[str, Any]) -> str:
    """Replace the placeholders of a text by values; placeholders without a value stay."""
    return PLACEHOLDER.sub(lambda found: value_name(values[found[1]]) if found[1] in values else found[0], text)


def placeholders(text: Any) -> list[str]:
    """Return the names of the placeholders of a text, without duplicates; other values have none."""
    return list(dict.fromkeys(PLACEHOLDER.findall(text))) if isinstance(text, str) else []


def _expand_models(config: dict[str, Any]) -> list[Sweep]:
    """Replace the rows of `models` with a sweep by one row per model, and return the sweeps."""
    models = config["models"]
    sweeps: list[Sweep] = []
    expanded: dict[Any, Any] = {}
    rows: dict[str, str] = {name: f"models.{name}" for name in models}
    for name, row in models.items():
        if not placeholders(name) and not (isinstance(row, Mapping) and "sweep" in row and isinstance(name, str)):
            expanded[name] = row
            continue
        sweep = _read_sweep(name, row)
        own = {key: value for key, value in row.items() if key != "sweep"}
        for model, values in zip(sweep.names(name), sweep.combinations, strict=True):
            if model in rows:
                raise InputError(f"config: models.{name}: its model {model} is also that of {rows[model]}; rename one")
            rows[model] = f"models.{name}"
            expanded[model] = {**copy.deepcopy(own), **values}
        sweeps.append(sweep)
    known = {sweep.name: sweep for sweep in sweeps}
    for name, row in models.items():
        if isinstance(row, Mapping) and isinstance(row.get("from"), str) and row["from"] in known:
            parents = known[row["from"]]
            raise InputError(
                f"config: models.{name}.from: `{parents.name}` is a sweep; name one of its models, such as"
                f" {parents.names(parents.name)[0]}"
            )
    if sweeps:
        config["models"] = expanded
    return sweeps


def _read_sweep(name: str, row: Any) -> Sweep:
    """Check a row of `models` whose name has placeholders or that has a `sweep`."""
    key = f"config: models.{name}"
    found = placeholders(name)
    if not isinstance(row, Mapping) or "sweep" not in row:
        example = f"{{{found[0]}: [...]}}"
        raise InputError(f"{key} has the placeholder {{{found[0]}}}, but no `sweep`; add `sweep: {example}`")
    if "stage" not in row:
        raise InputError(f"{key} lacks the key `stage`; add it")
    check_known(f"models.{name}.stage", str(row["stage"]), DEFINITIONS, "stages")
    sweep = row["sweep"]
    if not isinstance(sweep, Mapping) or not sweep:
        raise InputError(f"{key}.sweep needs a list of values for each setting, such as {{alpha: [0.1, 0.3]}}")
    for setting in sweep:
        if setting in ("from", "mix"):
            raise InputError(f"{key}.sweep: `{setting}` is no setting with single values; write one row per model")
        settings = _settings(row["stage"])
        check_known(f"models.{name}.sweep", str(setting), settings, f"settings of the stage {row['stage']}")
        if setting in row:
            raise InputError(f"{key} has `{setting}` itself and in its `sweep`; keep one")
        _check_list(f"{key}.sweep.{setting}", sweep[setting])
        if BEST in sweep[setting] and row["stage"] == "snapshot":
            raise InputError(
                f"{key}.sweep.{setting}: `{BEST}` is not one of several steps; write a row of its own for it"
            )
        if setting not in found:
            raise InputError(
                f"{key}: its models differ in {setting}, but not in their names; write the placeholder {{{setting}}}"
                f" into the name, such as `{name}-{{{setting}}}`"
            )
    for placeholder in found:
        if placeholder not in sweep:
            raise InputError(
                f"{key}: `sweep` has no values for the placeholder {{{placeholder}}}; add"
                f" `{placeholder}: [...]` to it, or remove the placeholder"
            )
    combinations = [dict(zip(sweep, values, strict=True)) for values in itertools.product(*sweep.values())]
    names = [fill(name, values) for values in combinations]
    for number, model in enumerate(names):
        if model in names[:number]:
            raise InputError(f"{key}: two combinations of values have the name {model}; separate the placeholders")
    return Sweep(name, tuple(sweep), tuple(combinations))


def _check_list(key: str, values: Any) -> None:
    """Check the values of one setting of a sweep; whether the setting can have them is checked with the schema."""
    if not isinstance(values, list):
        raise InputError(f"{key} is not a list; write the values in brackets, such as [0.1, 0.3]")
    if not values:
        raise InputError(f"{key} is empty; add a value")
    names: dict[str, int] = {}
    for number, value in enumerate(values):
        if not isinstance(value, bool | int | float | str):
            raise InputError(f"{key}.{number} is not a single value; write a number, a text, true or false")
        if isinstance(value, str) and not NAME_PART.fullmatch(value):
            raise InputError(
                f"{key}.{number}: the text `{value}` cannot be part of a name; write a number with a point, or a text"
                " of the letters A-Z and a-z, digits, and _ . -"
            )
        name = value_name(value)
        if name in names:
            raise InputError(f"{key}: the entries {names[name]} and {number} are the same value, {name}; keep one")
        names[name] = number


@cache
def _settings(stage: str) -> list[str]:
    """Return the settings of a model of this stage that can have several values."""
    schema = yaml.safe_load(SCHEMA.read_text(encoding="utf-8"))
    return [name for name in schema["$defs"][DEFINITIONS[stage]]["properties"] if name not in NO_SETTINGS]


def _expand_systems(config: dict[str, Any], sweeps: Sequence[Sweep]) -> dict[str, Sweep]:
    """Replace the rows of `systems` whose model is a sweep by one row per model.

    A sweep that no row uses gets systems with its name.

    Returns:
        The sweeps, by the names of their systems with placeholders.
    """
    systems = config["systems"]
    known = {sweep.name: sweep for sweep in sweeps}
    patterns: dict[str, Sweep] = {}
    for name, row in systems.items():
        model = row.get("model") if isinstance(row, Mapping) else None
        if placeholders(name) or placeholders(model):
            patterns[name] = _sweep_of_system(name, model, known)
    used = {sweep.name for sweep in patterns.values()}
    rows = dict(systems)
    for sweep in (sweep for sweep in sweeps if sweep.name not in used):
        name = _system_name(sweep.name)
        if name in rows:
            raise InputError(_twice(f"models.{sweep.name}", name, f"systems.{name}"))
        rows[name] = {"model": sweep.name}
        patterns[name] = sweep

    expanded: dict[Any, Any] = {}
    owners = {name: f"systems.{name}" for name in systems}
    for name, row in rows.items():
        if name not in patterns:
            expanded[name] = row
            continue
        sweep = patterns[name]
        owner = f"systems.{name}" if name in systems else f"models.{sweep.name}"
        for system, model in zip(sweep.names(name), sweep.names(sweep.name), strict=True):
            if system in owners:
                raise InputError(_twice(owner, system, owners[system]))
            owners[system] = owner
            expanded[system] = {**copy.deepcopy(row), "model": model}
    if patterns:
        config["systems"] = expanded
    return patterns


def _twice(owner: str, system: str, other: str) -> str:
    """Say that two rows of the config make a system of the same name, and what to do."""
    remedy = "rename one" if owner.startswith("systems.") else "add a row of `systems` with another name for the sweep"
    return f"config: {owner}: its system `{system}` is also that of {other}; {remedy}"


def _check_use(config: Mapping[str, Any], automatic: Mapping[str, Sweep]) -> None:
    """Check that a sweep whose systems have no row of their own is used, since otherwise nothing is trained.

    Args:
        config: the config with expanded experiments.
        automatic: sweeps, by the names of the systems that are made for them.

    Raises:
        InputError: no experiment has a system of the sweep, and no model is trained from one of its models.
    """
    experiments = _experiments(config)
    used = [system for entry in experiments.values() for system in _systems_of(config, entry)]
    parents = [row.get("from") for row in config["models"].values() if isinstance(row, Mapping)]
    listed = config.get("experiments")
    if not isinstance(listed, list) or len(experiments) < len(listed):
        # The check against the schema has a better message.
        return
    for name, sweep in automatic.items():
        is_used = any(system in used for system in sweep.names(name))
        if not is_used and not any(model in parents for model in sweep.names(sweep.name)):
            raise InputError(
                f"config: models.{sweep.name}: no experiment has its systems; add `{name}` to `add_systems`, or to the"
                " systems of an experiment"
            )


def _sweep_of_system(name: Any, model: Any, known: Mapping[str, Sweep]) -> Sweep:
    """Return the sweep that a row of `systems` uses, and check that its name has the same placeholders."""
    found = placeholders(name)
    if not placeholders(model):
        what = "it has no model" if model is None else "its model is no sweep"
        raise InputError(
            f"config: systems.{name} has the placeholder {{{found[0]}}}, but {what}; name a sweep of `models` as its"
            " model"
        )
    check_known(f"systems.{name}.model", model, known, "sweeps of models")
    sweep = known[model]
    if set(found) != set(sweep.keys):
        wanted = " ".join(f"{{{key}}}" for key in sweep.keys)
        raise InputError(
            f"config: systems.{name}: the name of systems that use the sweep `{model}` needs its placeholders {wanted},"
            f" and no others, such as `{_system_name(model)}`"
        )
    return sweep


def _system_name(model: str) -> str:
    """Return the name of the systems of a sweep: that of its models, in upper case up to the first placeholder."""
    stem, brace, rest = model.partition("{")
    return stem.upper() + brace + rest


def _expand_experiments(config: dict[str, Any], patterns: Mapping[str, Sweep]) -> None:
    """Replace the systems of sweeps in the experiments and in `add_systems` by one system per value.

    Raises:
        InputError: there is no such sweep.
    """
    if isinstance(config.get("add_systems"), list):
        config["add_systems"] = _expand_list("add_systems", config["add_systems"], patterns)
    for number, experiment in _experiments(config).items():
        # A new list, since experiments may share one by a YAML alias.
        experiment["systems"] = _expand_list(f"experiments.{number}.systems", experiment["systems"], patterns)


def _experiments(config: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    """Return the experiments that have a list of systems, by their numbers."""
    experiments = config.get("experiments")
    return {
        number: entry
        for number, entry in enumerate(experiments if isinstance(experiments, list) else ())
        if isinstance(entry, dict) and isinstance(entry.get("systems"), list)
    }


def _expand_list(key: str, systems: Iterable[Any], patterns: Mapping[str, Sweep]) -> list[Any]:
    expanded: list[Any] = []
    for system in systems:
        if not placeholders(system):
            expanded.append(system)
            continue
        check_known(key, system, patterns, KNOWN)
        expanded += patterns[system].names(system)
    return expanded


def _systems_of(config: Mapping[str, Any], experiment: Mapping[str, Any]) -> list[Any]:
    added = config.get("add_systems")
    return [*experiment["systems"], *(added if isinstance(added, list) else ())]


def _expand_studies(config: dict[str, Any], patterns: Mapping[str, Sweep]) -> None:
    """Replace the points of sweeps in the series of all studies."""
    studies = config.get("studies")
    for name, study in studies.items() if isinstance(studies, Mapping) else ():
        all_series = study.get("series") if isinstance(study, Mapping) else None
        if isinstance(study, dict) and isinstance(all_series, Mapping):
            study["series"] = _expand_all_series(f"studies.{name}.series", all_series, patterns)


def _expand_all_series(key: str, all_series: Mapping[Any, Any], patterns: Mapping[str, Sweep]) -> dict[Any, Any]:
    """Return the series of a study; a series whose name has placeholders becomes one series per value."""
    expanded: dict[Any, Any] = {}
    for name, points in all_series.items():
        has_sweep = isinstance(points, Mapping) and any(map(placeholders, points.values()))
        found = _expand_series(f"{key}.{name}", str(name), points, patterns) if has_sweep else {name: points}
        for series, filled in found.items():
            if series in expanded:
                raise InputError(f"config: {key}: two series have the name {series}; rename one")
            expanded[series] = filled
    return expanded


def _expand_series(
    key: str, name: str, points: Mapping[Any, Any], patterns: Mapping[str, Sweep]
) -> dict[str, dict[Any, str]]:
    """Return the points of the series that one series with sweeps stands for, by the names of these series."""
    expanded: dict[str, dict[Any, str]] = {}
    for point, system in points.items():
        if not placeholders(system):
            continue
        pattern = system.rpartition("/")[2]
        check_known(f"{key}.{point}", pattern, patterns, KNOWN)
        sweep = patterns[pattern]
        axis = _axis(f"{key}.{point}", name, point, system, sweep)
        for values in sweep.combinations:
            _add_point(key, expanded.setdefault(fill(name, values), {}), _point(values[axis]), fill(system, values))
    # All other points belong to each of these series.
    for point, system in points.items():
        for series in expanded.values() if not placeholders(system) else ():
            _add_point(key, series, point, system)
    return expanded


def _axis(key: str, name: str, point: Any, system: str, sweep: Sweep) -> str:
    """Return the setting on the horizontal axis, and check that the name of the series has all others of the sweep."""
    example = f'`"{{{sweep.keys[0]}}}": {system}`'
    found = placeholders(point)
    if len(found) != 1 or point != f"{{{found[0]}}}" or found[0] not in sweep.keys:
        raise InputError(
            f"config: {key}: the points of the sweep `{system}` are the values of a setting; write {example}"
        )
    (axis,) = found
    if not sweep.has_points(axis):
        raise InputError(f"config: {key}: not all values of `{axis}` are numbers, as the horizontal axis needs")
    others = [f"{{{other}}}" for other in sweep.keys if other != axis]
    unknown = [f"{{{other}}}" for other in placeholders(name) if f"{{{other}}}" not in others]
    missing = [other for other in others if other not in name]
    if unknown:
        raise InputError(f"config: {key}: the name of the series has the placeholder {unknown[0]}; remove it")
    if missing:
        raise InputError(
            f"config: {key}: each value of {missing[0]} needs a series of its own; write this placeholder into the name"
            f" of the series, such as `{name} {missing[0]}`"
        )
    return axis


def _add_point(key: str, points: dict[Any, str], point: Any, system: str) -> None:
    if points.setdefault(point, system) != system:
        raise InputError(f"config: {key}: two systems, {points[point]} and {system}, for the point {point}; keep one")


def _add_studies(config: dict[str, Any], sweeps: Sequence[Sweep], patterns: Mapping[str, Sweep]) -> None:
    """Add a study for each sweep over the numbers of one setting, unless a study already has one of its systems."""
    studies = config.get("studies")
    if not isinstance(studies, Mapping):
        return
    shown = _systems_of_studies(studies)
    for sweep in sweeps:
        names = [name for name, other in patterns.items() if other is sweep]
        if (
            len(sweep.keys) != 1
            or not sweep.has_points(sweep.keys[0])
            or not shown.isdisjoint(itertools.chain(*map(sweep.names, names)))
        ):
            continue
        series = _series_of_first_experiment(config, sweep, names)
        study = PLACEHOLDER.sub(r"\1", sweep.name)
        if series and study in studies:
            raise InputError(
                f"config: studies.{study} has the name of the study of models.{sweep.name}; rename it, or add the"
                f' points `"{{{sweep.keys[0]}}}": {names[0]}` to it'
            )
        if series:
            config["studies"] = studies = {
                **studies,
                study: {"label": sweep.keys[0].replace("_", " "), "series": series},
            }


def _series_of_first_experiment(
    config: Mapping[str, Any], sweep: Sweep, names: Iterable[str]
) -> dict[str, dict[Any, str]]:
    """Return the series of the study of a sweep, in the first experiment that has one of its systems."""
    for number, experiment in _experiments(config).items():
        systems = _systems_of(config, experiment)
        # Without a path, the system of a point is one of the first experiment.
        path = f"{experiment.get('base_model')}/{experiment.get('benchmark')}/" if number else ""
        series = {
            PLACEHOLDER.sub(r"\1", name): {
                _point(values[sweep.keys[0]]): f"{path}{fill(name, values)}"
                for values in sweep.combinations
                if fill(name, values) in systems
            }
            for name in names
        }
        if any(series.values()):
            return {name: points for name, points in series.items() if points}
    return {}


def _systems_of_studies(studies: Mapping[Any, Any]) -> set[str]:
    """Return the systems of all points of all studies, without their base models and benchmarks."""
    found: set[str] = set()
    for study in studies.values():
        all_series = study.get("series") if isinstance(study, Mapping) else None
        for points in all_series.values() if isinstance(all_series, Mapping) else ():
            systems = points.values() if isinstance(points, Mapping) else ()
            found |= {system.rpartition("/")[2] for system in systems if isinstance(system, str)}
    return found


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _point(value: int | float) -> int | float:
    """Return a number as the point of a study: a whole number is an integer, like the points that users write."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
