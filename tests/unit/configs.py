"""Configs for the tests: the default one, and changes to it."""

import copy
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import yaml
from snakemake.utils import update_config

from tests.conftest import ROOT

Change = Callable[[dict[str, Any]], None]


@cache
def _read(path: Path) -> dict[str, Any]:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def load_config(*names: str) -> dict[str, Any]:
    """Return the default config, with overlays of configs/ on top; without names, with the one of `make tiny`."""
    config = copy.deepcopy(_read(ROOT / "config.yaml"))
    for name in names or ("tiny",):
        update_config(config, copy.deepcopy(_read(ROOT / "configs" / f"{name}.yaml")))
    return config


def overlay(text: str) -> Change:
    """Return a change that merges an overlay into a config, as Snakemake does."""
    return lambda config: update_config(config, yaml.safe_load(text))


def put(key: str, value: Any) -> Change:
    """Return a change that sets one key, such as `decode.beam`."""

    def change(config: dict[str, Any]) -> None:
        *parents, last = key.split(".")
        for parent in parents:
            config = config[parent]
        config[last] = value

    return change


def drop(key: str) -> Change:
    """Return a change that removes one key."""

    def change(config: dict[str, Any]) -> None:
        *parents, last = key.split(".")
        for parent in parents:
            config = config[parent]
        del config[last]

    return change
