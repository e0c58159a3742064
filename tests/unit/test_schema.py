"""The config schema describes every key, and docs/config.md is generated from it."""

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import yaml

from tests.conftest import ROOT

SCHEMA = yaml.safe_load((ROOT / "rules" / "schemas" / "config.schema.yaml").read_text(encoding="utf-8"))


def nodes(node: Any, path: str) -> Iterator[tuple[str, dict]]:
    """Every mapping of the schema with its path."""
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            yield from nodes(value, f"{path}.{key}")
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from nodes(value, f"{path}.{number}")


def test_every_key_has_a_description():
    for path, node in nodes(SCHEMA, "schema"):
        # The `stage` of a model is described for each stage below $defs.
        if path.endswith("models.additionalProperties") or ".if" in path:
            continue
        for key, value in node.get("properties", {}).items():
            assert value.get("description", "").endswith("."), (
                f"{path}.{key} lacks a description that ends in a full stop"
            )


def test_no_comma_cuts_a_description_short():
    # In a YAML flow mapping, an unquoted comma begins another key, whose value is null.
    assert not [path for path, node in nodes(SCHEMA, "schema") if None in node.values()]


def test_the_reference_of_the_config_is_up_to_date():
    command = [sys.executable, str(ROOT / "rules" / "schemas" / "describe.py")]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert (ROOT / "docs" / "config.md").read_text(encoding="utf-8") == made, "run `make docs`"


def test_the_defaults_of_every_step_are_in_the_config():
    config = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    for section in ("finetune", "unlikelihood", "decode"):
        assert set(config[section]) == set(SCHEMA["$defs"][section]["properties"])
