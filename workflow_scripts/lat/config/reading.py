"""Read config files; duplicate keys and other mistakes that YAML libraries accept are errors.

Snakemake reads the files itself, before any code of the workflow runs, and its message about a broken file names
neither the file nor the line. `python -m workflow_scripts.lat.config FILE...` does.
"""

import json
import re
from collections.abc import Hashable, Iterable, Iterator
from pathlib import Path
from typing import Any

import yaml

from ..files import InputError, TextError, first_line, read_text

MERGE_TAG = "tag:yaml.org,2002:merge"
# YAML 1.1 takes `0100` for an octal number and `1:30` for one in base 60.
NUMBER_TAGS = ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
OTHER_BASE = re.compile(r"[-+]?0[0-7_]+|.*:.*")


def check_config_files(paths: Iterable[Path | str]) -> None:
    """Check that config files say what they seem to say; see `read_config_file`.

    Args:
        paths: YAML or JSON files.

    Raises:
        InputError: see `read_config_file`.
    """
    for path in paths:
        read_config_file(path)


def read_config_file(path: Path | str) -> dict[str, Any]:
    """Read a config file.

    Args:
        path: a file of one YAML document or JSON object.

    Raises:
        InputError: the file cannot be read, is empty, is neither YAML nor JSON, has a key twice, or has a number that
            YAML reads in another base; the message names the file and the line.
    """
    text = read_text(path)
    try:
        content = _parse_json(text) if text.lstrip().startswith("{") else None
        content = parse_yaml(text) if content is None else content
    except TextError as error:
        raise InputError(f"{path}: {error}") from None
    if content is None:
        raise InputError(f"{path}: the file is empty; write a key into it, or leave the file out")
    if not isinstance(content, dict):
        raise InputError(f"{path}: line 1: a config consists of keys with values, such as `seed: 2`")
    return content


def command_line_config(arguments: Iterable[str]) -> dict[str, Any]:
    """Read the mappings, lists, `true`, `false` and `null` among the arguments of `--config` as YAML.

    Snakemake reads these words, and the values inside mappings and lists, as text: in
    `--config 'unlikelihood={alpha: 0.1}'`, alpha is the text "0.1". The result is to be merged into the config. Other
    arguments are left to Snakemake.

    Args:
        arguments: texts of the form `key=value`.

    Raises:
        InputError: a value is not YAML.
    """
    values = {}
    for argument in arguments:
        key, _, text = argument.partition("=")
        # As in Snakemake, quotes around the value do not count.
        text = text.strip("'\"")
        if not text.lstrip().startswith(("{", "[")) and text.strip() not in ("true", "false", "null"):
            continue
        try:
            values[key] = parse_yaml(text)
        except TextError as error:
            raise InputError(f"config: --config {key}: {error}") from None
    return values


def parse_yaml(text: str) -> Any:
    """Parse a text of one YAML document.

    Raises:
        TextError: the text is not YAML, has a key twice, or has a number that YAML reads in another base.
    """
    try:
        loader = yaml.SafeLoader(text)
        document = loader.get_single_node()
        if document is None:
            return None
        for node in _nodes(document, set()):
            _check_node(loader, node)
        return loader.construct_document(document)
    except TextError:
        raise
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise TextError(f"line {line}: the character {chr(error.character)!r} is not allowed; remove it") from None
    except yaml.MarkedYAMLError as error:
        raise TextError(_explain(error)) from None
    except RecursionError:
        raise TextError("mappings and lists are nested too deeply; a config has a few levels") from None


def _explain(error: yaml.MarkedYAMLError) -> str:
    """Say in one line what is wrong with a YAML text, where, and what to do."""
    mark = error.problem_mark or error.context_mark
    problem = " ".join((error.problem or error.context or "not YAML").split())
    remedy = ""
    if "'\\t'" in problem:
        problem, remedy = "a tab", "; indent with spaces"
    elif "undefined alias" in problem:
        remedy = "; define it with `&` further up, or quote a text that begins with `*`"
    elif "another document" in problem:
        problem, remedy = "another document begins", "; a config is one document, remove the line `---`"
    elif "mapping values are not allowed" in problem:
        remedy = "; check the indentation, and quote a text with a colon"
    elif "but got '{'" in problem or "unhashable key" in problem:
        remedy = "; quote a text with a brace"
    return f"line {mark.line + 1}: {problem}{remedy}" if mark else f"{problem}{remedy}"


def _nodes(node: yaml.Node, seen: set[int]) -> Iterator[yaml.Node]:
    """Yield a node and all nodes below it, each once, even if several aliases refer to it."""
    if id(node) in seen:
        return
    seen.add(id(node))
    yield node
    for child in node.value if isinstance(node, yaml.CollectionNode) else ():
        for part in child if isinstance(child, tuple) else (child,):
            yield from _nodes(part, seen)


def _check_node(loader: yaml.SafeLoader, node: yaml.Node) -> None:
    """Check that a mapping has no duplicate keys, and that a number is what it looks like.

    A key that overrides one of a merged mapping (`<<`) is not a duplicate.

    Raises:
        TextError: the node is not what it seems.
    """
    if isinstance(node, yaml.MappingNode):
        lines: dict[Hashable, int] = {}
        for key_node, _ in node.value:
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag == MERGE_TAG:
                continue
            key, line = _value_of(loader, key_node), key_node.start_mark.line + 1
            if key in lines:
                raise TextError(f"lines {lines[key]} and {line} both have the key `{key_node.value}`; keep one")
            lines[key] = line
    elif isinstance(node, yaml.ScalarNode) and node.tag != MERGE_TAG:
        value = _value_of(loader, node)
        if node.tag in NUMBER_TAGS and OTHER_BASE.fullmatch(node.value):
            raise TextError(
                f"line {node.start_mark.line + 1}: YAML reads {node.value} as the number {value}; write {value}, or"
                " quote a text"
            )


def _value_of(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> Any:
    """Return the value of a node.

    Raises:
        TextError: there is no such value, such as the date 2024-02-31.
    """
    try:
        return loader.construct_object(node)
    except ValueError as error:
        line = node.start_mark.line + 1
        raise TextError(f"line {line}: YAML cannot read {node.value} ({first_line(error)}); quote it") from None


def _parse_json(text: str) -> Any:
    """Parse a JSON text, or return None if the text is not JSON, but perhaps YAML.

    Raises:
        TextError: an object has a key twice.
    """

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        values: dict[str, Any] = {}
        for key, value in pairs:
            if key in values:
                raise TextError(f"two values of the key `{key}` in one object; keep one")
            values[key] = value
        return values

    try:
        return json.loads(text, object_pairs_hook=unique)
    except json.JSONDecodeError:
        return None
    except TextError:
        raise
    except (ValueError, RecursionError) as error:
        raise TextError(f"a value that is too long or nested too deeply ({error}); shorten it") from None
