"""Check the keys, types and ranges of a config against its schema, whose `remedy` entries say what else to write."""

import datetime
import math
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import jsonschema
import yaml

from ..files import InputError
from ..languages import RESOURCES
from .references import hint, hub_id_in_address
from .settings import SEED_PLACE

SCHEMA = RESOURCES.parent / "rules" / "schemas" / "config.schema.yaml"

TOP_LEVEL = "the top level"
# Of a base model: texts that only its chat template reads.
FOR_TEMPLATE = ("system_message", "template_options")
SHOWN = 60  # characters of a value in a message

TYPES = {
    "integer": "a whole number",
    "number": "a number",
    "string": "text",
    "boolean": "true or false",
    "array": "a list",
    "object": "a mapping of keys to values",
    "null": "null",
}
CONTROL = re.compile("[\0-\x1f\x7f\ud800-\udfff]")
EXPONENT = re.compile(r"([-+]?)(\d*)\.?(\d*)[eE]([-+]?)(\d+)")
COMMA = re.compile(r"[-+]?\d+,\d+")


def _is_integer(_: Any, value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


# In JSON Schema, 2.0 is an integer. Here it is not, so that it is found and replaced by 2.
Validator = jsonschema.validators.extend(
    jsonschema.Draft202012Validator,
    type_checker=jsonschema.Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)


def check_schema(config: dict[str, Any]) -> None:
    """Check keys, types and ranges, and give numbers the type that the schema asks for.

    Whole numbers that are written as floats, such as `12.0` or `1.0e+3`, become integers, and the points of studies
    become numbers.

    Args:
        config: the merged configuration; it is changed in place.

    Raises:
        InputError: a key or value is not allowed; the message names it and the remedy.
    """
    _read_points(config)
    _check_values((), config)
    validator = _validator()
    for error in list(validator.iter_errors(config)):
        if error.validator == "type" and isinstance(error.instance, float) and error.instance.is_integer():
            *parents, last = error.absolute_path
            place: Any = config
            for parent in parents:
                place = place[parent]
            place[last] = int(error.instance)
    error = jsonschema.exceptions.best_match(validator.iter_errors(config))
    if error:
        raise InputError(f"config: {_explain(error)}")


@cache
def _validator() -> jsonschema.protocols.Validator:
    return Validator(yaml.safe_load(SCHEMA.read_text(encoding="utf-8")))


def _read_points(config: Mapping[str, Any]) -> None:
    """Turn the keys of all series of studies into numbers, as far as they are text: the command line has only text."""
    studies = config.get("studies")
    for name, study in studies.items() if isinstance(studies, Mapping) else ():
        all_series = study.get("series") if isinstance(study, Mapping) else None
        for series, points in all_series.items() if isinstance(all_series, Mapping) else ():
            if not isinstance(points, dict):
                continue
            read: dict[Any, Any] = {}
            for point, system in points.items():
                number = _as_number(point) if isinstance(point, str) else point
                if read.setdefault(number, system) != system:
                    raise InputError(
                        f"config: studies.{name}.series.{series}: two systems, {read[number]} and {system}, for the"
                        f" point {number}; keep one"
                    )
            points.clear()
            points.update(read)


def _as_number(text: str) -> int | float | str:
    """Return the number that a text stands for, or the text if it is not a number."""
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text


def _check_values(path: tuple[Any, ...], value: Any) -> None:
    """Check what a schema cannot express: keys are text, numbers are finite, texts are safe in commands and paths."""
    key = ".".join(map(str, path)) or TOP_LEVEL
    is_free = _is_of_request(path) or (path[:1] == ("base_models",) and path[2:3] and path[2] in FOR_TEMPLATE)
    if isinstance(value, Mapping):
        # The keys of a series of a study are its points.
        has_points = len(path) == 4 and path[::2] == ("studies", "series")
        for name, inner in value.items():
            if has_points:
                if not isinstance(name, int | float) or isinstance(name, bool) or not math.isfinite(name):
                    raise InputError(f"config: {key}: the point {_shown(name)} is not a number; write one such as 0.05")
            elif not isinstance(name, str):
                raise InputError(f"config: {key}: {_key_problem(name, inner)}")
            elif not is_free and (problem := _text_problem(name)):
                raise InputError(f"config: {key}: the name {_shown(name)} {problem}")
            _check_values((*path, name), inner)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            _check_values((*path, number), inner)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"config: {key}: {value} is not a finite number; write one")
    elif isinstance(value, str):
        # The workflow itself replaces the place of the seed, so that Snakemake never sees it.
        has_place = path[:1] == ("systems",) and path[2:] == ("hypotheses",)
        text = value.replace(SEED_PLACE, "1") if has_place else value
        if not is_free and (problem := _text_problem(text)):
            raise InputError(f"config: {key}: the text {problem}")
    elif isinstance(value, datetime.date):
        raise InputError(f'config: {key}: {value} is a date in YAML; quote it: "{value}"')
    elif value is not None and not isinstance(value, bool | int | float):
        raise InputError(f"config: {key}: {_shown(value)} is of a type that a config does not have; write text")


def _is_of_request(path: tuple[Any, ...]) -> bool:
    """Return whether a place is in the fields of a request, which can be any text: they are meant for a server."""
    return path[:2] == ("judge", "request") or _in_server(path)[:1] == ("request",)


def _in_server(path: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the end of a place that is in the settings of a server of a system or a metric; empty for others."""
    if path[:1] == ("systems",) and path[2:3] == ("server",):
        return path[3:]
    return path[4:] if path[:2] == ("score", "learned") and path[3:4] == ("server",) else ()


def _key_problem(name: Any, value: Any) -> str:
    """Say why a key is not text, and what to write."""
    if isinstance(name, bool):
        return f"the name {_shown(name)} is not text: {_boolean_remedy(name)}"
    if name is None:
        return 'a name is empty or null; write it, or quote it: "null"'
    if isinstance(name, int | float):
        if value is None:
            return _comma_problem(str(name))
        return f'the name {name} is a number in YAML; quote it: "{name}"'
    if isinstance(name, datetime.date):
        return f'the name {name} is a date in YAML; quote it: "{name}"'
    return f"the name {_shown(name)} is not text; write text"


def _comma_problem(name: str) -> str:
    """Say how YAML reads `{alpha: 0,05}`, and what to write."""
    return f"the key {name} has no value; a comma begins another key, so write decimals with a point, such as 0.05"


def _boolean_remedy(value: bool) -> str:
    """Say which texts YAML 1.1 reads as true or as false, and what to write, with the most frequent mistake."""
    if value:
        return 'YAML reads on and yes as true; put it in quotes, such as "on"'
    return 'YAML reads no and off as false; put it in quotes, such as "no"'


def _text_problem(text: str) -> str:
    """Say why a text cannot be used in paths, commands and wildcards; the result is empty if it can."""
    if not text:
        return "is empty; write it, or leave the key out"
    if CONTROL.search(text):
        return "has a line break or another control character; remove it"
    if text.startswith("-") and isinstance(_as_number(text), str):
        return "begins with `-`, like a flag of a program; begin it with something else"
    if "{" in text or "}" in text:
        return "has a brace, which Snakemake takes for a wildcard; remove it"
    return ""


def _explain(error: jsonschema.ValidationError) -> str:
    """Say in one line what is wrong, where, and what to do."""
    key = ".".join(map(str, error.absolute_path)) or TOP_LEVEL
    value: Any = error.instance
    schema: Any = error.schema
    allowed: Any = error.validator_value  # what the schema demands by this rule
    rule = error.validator
    path = tuple(error.absolute_path)
    if rule == "pattern" and (path == ("judge", "key") or _in_server(path) == ("key",)):
        # The value may be a secret.
        return f"{key} names the environment variable that holds the key, it is not the key itself"
    if rule == "additionalProperties":
        unknown = sorted(set(value) - set(schema["properties"]))[0]
        if value[unknown] is None and unknown.isdigit():
            return f"{key}: {_comma_problem(unknown)}"
        return f"unknown key `{unknown}` in {key}{hint(unknown, schema['properties'])}"
    if rule == "required":
        missing = next(name for name in allowed if name not in value)
        return f"{key} lacks the key `{missing}`; add it"
    if rule == "type":
        return f"{key}: {_type_problem(value, allowed)}"
    if rule == "enum":
        return f"{key}: {_shown(value)} is not among the allowed values{hint(str(value), allowed)}"
    if rule == "uniqueItems":
        twice = next(item for number, item in enumerate(value) if item in value[:number])
        return f"{key}: {_shown(twice)} occurs twice; keep one"
    if rule in ("minItems", "minProperties", "minLength"):
        return (
            f"{key} is empty; add an entry" if not value else f"{key}: {_shown(value)} has fewer than {allowed} entries"
        )
    remedy = schema.get("remedy", "")
    if rule == "pattern":
        if hub_id := hub_id_in_address(value):
            remedy = f"write the id alone: {hub_id}"
        what = "the name " if "propertyNames" in error.absolute_schema_path else ""
        return f"{key}: {what}{_shown(value)} is not allowed; {remedy}"
    return f"{key}: {error.message.splitlines()[0]}{'; ' * bool(remedy)}{remedy}"


def _type_problem(value: Any, types: str | Sequence[str]) -> str:
    """Say why a value has the wrong type, and what to write."""
    types = (types,) if isinstance(types, str) else tuple(types)
    wanted = " or ".join(TYPES[name] for name in types)
    if value is None:
        return f"has no value; write {wanted}, or leave the key out"
    if "string" in types and isinstance(value, bool):
        return f"{_shown(value)} is not text: {_boolean_remedy(value)}"
    if "string" in types and isinstance(value, int | float):
        return f'{value} is a number in YAML; quote it: "{value}"'
    if isinstance(value, str):
        if {"integer", "number"} & set(types):
            return _number_problem(value, wanted)
        if "array" in types:
            return f"{_shown(value)} is not a list; write it in brackets: [{_cut(value)}]"
        if "boolean" in types and value.lower() in ("true", "false", "yes", "no", "on", "off"):
            return f"{_shown(value)} is text; write {wanted} without quotes"
    return f"{_shown(value)} is not {wanted}"


def _number_problem(text: str, wanted: str) -> str:
    """Say why a text is not a number, and how to write the number that is probably meant."""
    stripped = text.strip()
    if COMMA.fullmatch(stripped):
        if wanted == TYPES["integer"]:
            return f"{_shown(text)} is text; write {stripped.replace(',', '')} without a comma"
        return f"{_shown(text)} is text; write {stripped.replace(',', '.')} with a point"
    if (parts := EXPONENT.fullmatch(stripped)) and (parts[2] or parts[3]):
        written = f"{parts[1]}{parts[2] or '0'}.{parts[3] or '0'}e{parts[4] or '+'}{parts[5]}"
        return f"YAML reads {_cut(text)} as text; write it with a point and a sign: {written}"
    number = _as_number(stripped)
    if not isinstance(number, str) and math.isfinite(number):
        return f"{_shown(text)} is text; write {stripped} without quotes"
    return f"{_shown(text)} is text, not {wanted}"


def _shown(value: Any) -> str:
    """Return a value as it is written in a config, on one line and not too long."""
    if isinstance(value, str):
        return f"`{_cut(value)}`"
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return _cut(str(value))


def _cut(text: str) -> str:
    text = "".join(character if character.isprintable() else "?" for character in text)
    return text if len(text) <= SHOWN else text[:SHOWN] + "..."
