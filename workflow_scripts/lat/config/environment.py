"""Check that what a config asks for is installed, and that its jobs can run where Snakemake starts them.

These checks are not part of `check_config`, because every job of a cluster reads the config again.
"""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..evaluation.further import needs_sentencepiece
from ..files import InputError
from ..names import BASE
from ..training.deepspeed_config import TRACKERS
from .base_models import read_object
from .settings import decode_settings, key_of_setting, model_of, step_settings

SLURM = "slurm"
# Trackers whose packages are in the locks, and so in the conda environments.
LOCKED_TRACKERS = ("tensorboard",)
WITHOUT_JOBS = ("dryrun", "touch")  # executors of Snakemake that run no job


def check_environment(config: Mapping[str, Any], root: Path, conda: bool) -> None:
    """Check that the engines and attention implementations that the experiments use are installed.

    Args:
        config: the checked configuration.
        root: the folder that relative paths start from.
        conda: whether Snakemake installs an environment for each step.

    Raises:
        InputError: one of them is not installed, or CTranslate2 cannot convert a model.
    """
    for tracker in config["trackers"]:
        package = TRACKERS[tracker]
        if package and (tracker not in LOCKED_TRACKERS if conda else not _installed(package)):
            remedy = (
                "choose tensorboard or csv" if conda else f"run `pip install {package.replace('_', '-')}`, or remove it"
            )
            where = "which the conda environment of the workflow lacks" if conda else "which is not installed"
            raise InputError(f"config: trackers: {tracker} needs the package {package}, {where}; {remedy}")
    needing = ["score.further: spBLEU"] if needs_sentencepiece(config["score"]["further"]) else []
    needing += [
        f"score.learned.{name}" for name, entry in config["score"]["learned"].items() if entry["kind"] == "metricx"
    ]
    if needing and not conda and not _installed("sentencepiece"):
        raise InputError(
            f"config: {needing[0]} needs the package sentencepiece; run `make .venv/.installed`, or remove it"
        )
    for experiment in config["experiments"]:
        base_model, benchmark = experiment["base_model"], experiment["benchmark"]
        entry = config["base_models"][base_model]
        if entry.get("attention") == "flash_attention_2" and not conda and not _installed("flash_attn", "kernels"):
            raise InputError(
                f"config: base_models.{base_model}.attention: flash_attention_2 is not installed; run `pip install"
                " flash-attn --no-build-isolation`, or choose sdpa"
            )
        engines = {
            decode_settings(config, base_model, benchmark, system)["engine"]
            for system in experiment["systems"]
            if model_of(config, system)
        }
        key = key_of_setting(config, "decode", "engine", base_model, benchmark)
        if "vllm" in engines:
            _check_vllm(config, key, base_model, benchmark, root, conda)
        if "ctranslate2" in engines and "path" in entry:
            _check_converter(key, f"base_models.{base_model}.path", root / entry["path"])


def _check_vllm(config: Mapping[str, Any], key: str, base_model: str, benchmark: str, root: Path, conda: bool) -> None:
    """Check that the environment of vLLM exists."""
    python = step_settings(config, "decode", base_model, benchmark, BASE)["python"]
    if python and not (root / python).exists():
        key = key_of_setting(config, "decode", "python", base_model, benchmark)
        raise InputError(f"config: {key}: no file {python}; run `make vllm`")
    if not python and not conda and not _installed("vllm"):
        raise InputError(
            f"config: {key}: vllm needs an environment of its own: run `make vllm` and set `python:"
            " .venv-vllm/bin/python` beside the engine, or add --software-deployment-method conda"
        )


def _installed(*packages: str) -> bool:
    return any(importlib.util.find_spec(package) for package in packages)


def _check_converter(key: str, path_key: str, folder: Path) -> None:
    """Check that CTranslate2 has a converter for the model in a folder."""
    # Imported here, since they take seconds.
    from ctranslate2.converters.transformers import _MODEL_LOADERS
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    model_type = read_object(path_key, folder / "config.json").get("model_type")
    if CONFIG_MAPPING_NAMES.get(model_type) not in _MODEL_LOADERS:
        raise InputError(
            f"config: {key}: ctranslate2 has no converter for {model_type}, the type of the model in {path_key}; choose"
            " engine transformers"
        )


def check_hub_token() -> None:
    """Check that there is a token for uploads to the hub, without its value in any message.

    Raises:
        InputError: there is none.
    """
    # Imported here, since few runs need it.
    from huggingface_hub import get_token

    if not get_token():
        raise InputError(
            "config: publish.push: the environment variable HF_TOKEN is not set; export a token with write access to"
            " the hub, or remove `push`"
        )


def check_nodes(config: Mapping[str, Any], executor: str) -> None:
    """Check that training on several nodes is started by Slurm.

    Args:
        config: the checked configuration.
        executor: name of the executor of Snakemake.

    Raises:
        InputError: an experiment trains on several nodes, but jobs are not submitted to Slurm.
    """
    for experiment in config["experiments"]:
        nodes = config["base_models"][experiment["base_model"]].get("nodes", 1)
        if nodes > 1 and executor not in (SLURM, *WITHOUT_JOBS):
            raise InputError(
                f"config: base_models.{experiment['base_model']}.nodes is {nodes}, but the executor is `{executor}`;"
                " run snakemake with `--workflow-profile profiles/slurm`, or set `nodes: 1`"
            )
