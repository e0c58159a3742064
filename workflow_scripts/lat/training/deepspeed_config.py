"""Read and check DeepSpeed configuration files, without `auto` values.

This module does not import DeepSpeed, which takes seconds, so that a mistake is found before any job starts.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ..files import InputError, read_text

# Placeholder in configuration files of Hugging Face's trainer, for values that the trainer fills in.
AUTO = "auto"
ZERO_STAGES = (0, 1, 2, 3)
# Optimizers of DeepSpeed and of torch.optim whose only required parameter is the learning rate.
OPTIMIZERS = (
    "Adam", "AdamW", "Adagrad", "Lamb", "Lion", "Muon",
    "SGD", "RMSprop", "NAdam", "RAdam", "Adamax", "Adadelta", "ASGD", "Adafactor",
)  # fmt: skip
DEFAULT_OPTIMIZER = "AdamW"
# What Hugging Face's trainer fills in for `gradient_clipping: auto`.
AUTO_CLIPPING = 1.0
# The package that each tracker needs in addition; none for CSV files.
TRACKERS = {"tensorboard": "tensorboard", "wandb": "wandb", "comet": "comet_ml", "csv": ""}
PROJECT = "language-aware-tuning"  # project of the runs on a server


def read_deepspeed_config(path: Path | str) -> dict[str, Any]:
    """Read a DeepSpeed configuration file.

    Batch sizes, learning rate, weight decay and floating-point type come from the config of the workflow, so that
    values `auto` are left out here and an absent optimizer is AdamW.

    Args:
        path: the JSON file.

    Returns:
        The configuration without values `auto`, with an `optimizer`.

    Raises:
        InputError: the file is missing, is not a JSON object, or asks for what this workflow does not support.
    """
    try:
        given = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not JSON at line {error.lineno} ({error.msg})") from None
    if not isinstance(given, dict):
        raise InputError(f"{path}: not a JSON object; see configs/deepspeed/ for examples")
    if given.get("gradient_clipping") == AUTO:
        given["gradient_clipping"] = AUTO_CLIPPING
    config: dict[str, Any] = _without_auto(given)
    config.setdefault("optimizer", {"type": DEFAULT_OPTIMIZER})
    problem = _problem_of(config)
    if problem:
        raise InputError(f"{path}: {problem}")
    config["optimizer"].setdefault("params", {})
    return config


def with_trackers(config: Mapping[str, Any], trackers: Sequence[str], folder: Path, key: str) -> dict[str, Any]:
    """Add trackers of the values of each step to a DeepSpeed configuration; what it says of a tracker itself is kept.

    Args:
        config: the configuration.
        trackers: some of `TRACKERS`.
        folder: folder of event files and CSV files.
        key: name of the run in this folder, so that a training with other settings does not continue its curves.
    """
    files = {"enabled": True, "output_path": str(folder), "job_name": key}
    settings: dict[str, dict[str, Any]] = {
        "tensorboard": files,
        "csv": files,
        "wandb": {"enabled": True, "project": PROJECT, "group": str(folder.parent)},
        "comet": {
            "enabled": True,
            "project": PROJECT,
            "experiment_name": str(folder.parent),
            "samples_log_interval": 1,
        },
    }
    found = dict(config)
    for tracker in trackers:
        name = "csv_monitor" if tracker == "csv" else tracker
        found[name] = settings[tracker] | found.get(name, {})
    return found


def _without_auto(value: Any) -> Any:
    """Return the value without the entries of mappings that are `auto`."""
    if isinstance(value, dict):
        return {key: _without_auto(inner) for key, inner in value.items() if inner != AUTO}
    return value


def _problem_of(config: dict[str, Any]) -> str:
    """Return what this workflow does not support in a configuration, or an empty text."""
    for key in ("zero_optimization", "optimizer", "bf16", "fp16"):
        if not isinstance(config.get(key, {}), dict):
            return f"{key} is not a JSON object; see configs/deepspeed/ for examples"
    if "scheduler" in config:
        return "`scheduler`: the learning rate follows the cosine schedule of the workflow; remove it"
    for key in ("amp", "torch_autocast"):
        if key in config:
            return f"`{key}`: set `dtype: bf16` or `dtype: fp32` of the base model instead; remove it"
    if config.get("fp16", {}).get("enabled"):
        return "`fp16`: set `dtype: bf16` or `dtype: fp32` of the base model instead; remove it"
    stage = config.get("zero_optimization", {}).get("stage", 0)
    if isinstance(stage, bool) or stage not in ZERO_STAGES:
        return f"`zero_optimization.stage` is {stage!r}; the stages of ZeRO are 0 to 3"
    optimizer = config["optimizer"]
    if not isinstance(optimizer.get("params", {}), dict):
        return "`optimizer.params` is not a JSON object"
    known = {name.lower(): name for name in OPTIMIZERS}
    name = optimizer.get("type", DEFAULT_OPTIMIZER)
    if str(name).lower() not in known:
        return f"`optimizer.type`: {name!r} is not supported; choose one of {', '.join(OPTIMIZERS)}"
    optimizer["type"] = known[str(name).lower()]
    return ""
