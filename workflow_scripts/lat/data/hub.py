"""Download models and data sets from the Hugging Face Hub, with error messages that name a remedy."""

import functools
import json
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..disk import disk_problem
from ..files import InputError, TextError, first_line, parse_json, read_text
from ..runtime import log
from .locking import locked
from .store import entry_name, link_folder, provide

# Configuration and tokenizer.
SMALL_FILES = ("*.json", "*.model", "*.txt")
# Weights in a single format, configuration and tokenizer.
FILES = (*SMALL_FILES, "*.safetensors")
# Chat templates, which models of older versions have in their configuration.
TEMPLATES = ("*.jinja",)
# The weights of BLEURT's checkpoints are in the older PyTorch format.
OLDER_FILES = (*FILES, "*.bin")
CONFIG = "config.json"
TIMEOUT = 60.0  # seconds
INDEX = "model.safetensors.index.json"
COMMIT = re.compile("[0-9a-f]{40}")
# What a repository of the hub is, in its interface and in messages.
MODEL, DATASET = "model", "dataset"
NOUNS = {MODEL: "model", DATASET: "data set"}
# Where the hub's library keeps what it needs to continue a download.
HUB_FOLDER = ".cache"


def fetch_snapshot(
    hub: str,
    revision: str | None,
    folder: Path,
    patterns: Sequence[str] = FILES,
    base_model: bool = False,
    store: Path | None = None,
    kind: str = MODEL,
) -> None:
    """Download the files of a model or of a data set into a folder, which appears only once it is complete.

    Until then, the files are in a hidden folder beside it, since Snakemake deletes the output folder before a rerun.
    All files are of one commit, also if the branch moves meanwhile or between two runs.

    With a store, the files are downloaded there, unless the store has this commit, and those in the folder are symbolic
    links to them. Then the folder has a manifest, too. If the revision is a commit, the hub is not asked for it.

    Args:
        hub: repository on the hub, such as `meta-llama/Llama-2-7b-hf`.
        revision: commit, tag or branch; None for the main branch.
        folder: folder for the files.
        patterns: patterns of the names of the files to download.
        base_model: check that the workflow can use the model as a base model, before its weights are downloaded.
        store: folder of downloads that several working folders share, see `store.py`.
        kind: `MODEL` or `DATASET`.

    Raises:
        InputError: the repository is gated, private or does not exist, its name is no name of the hub, the hub cannot
            be reached, or the workflow cannot use the model.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with locked(folder) as waited, _explained(hub, revision, folder, kind):
        if folder.is_dir() and any(folder.iterdir()):
            if waited:
                return
            raise InputError(f"{folder}: is there already; delete it to download {hub} again")
        if store is None:
            commit, names = _files_at(hub, revision, kind)
            unfinished = folder.with_name(f".{folder.name}.{commit[:12]}.unfinished")
            _remove_other(unfinished, folder)
            _download(hub, commit, names, unfinished, patterns, base_model, kind)
            unfinished.rename(folder)
            return
        commit = revision if revision and COMMIT.fullmatch(revision) else _files_at(hub, revision, kind)[0]

        def make(place: Path) -> None:
            _download(hub, commit, _files_at(hub, commit, kind)[1], place, patterns, base_model, kind)
            shutil.rmtree(place / HUB_FOLDER, ignore_errors=True)

        name = entry_name(kind, f"{hub}-{commit[:12]}", hub, commit, sorted(patterns))
        entry = provide(store, name, make)
        link_folder(entry, folder)
        log.info("%s: links to %s", folder, entry)


def _files_at(hub: str, revision: str | None, kind: str) -> tuple[str, list[str]]:
    """Return the commit of a revision of a repository, and the names of its files."""
    from huggingface_hub import HfApi

    ask = HfApi().dataset_info if kind == DATASET else HfApi().model_info
    info = ask(hub, revision=revision, timeout=TIMEOUT)
    if not info.sha:
        raise OSError("the hub names no commit")
    return info.sha, [file.rfilename for file in info.siblings or ()]


def _download(
    hub: str, commit: str, names: Sequence[str], folder: Path, patterns: Sequence[str], base_model: bool, kind: str
) -> None:
    """Download the files of a commit into a folder, and continue with those that are there."""
    from huggingface_hub import snapshot_download

    get = functools.partial(snapshot_download, hub, revision=commit, repo_type=kind, local_dir=folder)
    if base_model:
        check_files(hub, names)
        get(allow_patterns=list(SMALL_FILES))
        check_config(hub, folder, names)
    get(allow_patterns=list(patterns))


def _remove_other(unfinished: Path, folder: Path) -> None:
    """Remove the unfinished downloads of a folder that are not of the commit of `unfinished`."""
    pattern = rf"\.{re.escape(folder.name)}(\.[0-9a-f]{{12}})?\.unfinished"
    for path in folder.parent.iterdir():
        if path != unfinished and re.fullmatch(pattern, path.name):
            shutil.rmtree(path)


def check_files(hub: str, names: Sequence[str]) -> None:
    """Check by the names of its files that a model has a configuration and weights that the workflow can read.

    Raises:
        InputError: it has not.
    """
    if CONFIG not in names:
        raise InputError(f"{hub}: has no {CONFIG}; choose a model in the format of transformers")
    if not any(name.endswith(".safetensors") and "/" not in name for name in names):
        raise InputError(
            f"{hub}: has no weights in safetensors files; choose a revision that has them, or convert the model with"
            " transformers (`save_pretrained`) and set `path` instead of `hub`"
        )


def check_config(hub: str, folder: Path, names: Sequence[str]) -> None:
    """Check by its configuration that transformers can load a model, and that no file of its weights is missing.

    Args:
        hub: what the user calls the model, for messages.
        folder: folder with its configuration.
        names: names of all its files.

    Raises:
        InputError: the configuration is damaged or names no architecture, the model needs code of its own, or a file
            of its weights is missing.
    """
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING_NAMES

    config = _read_object(hub, folder / CONFIG)
    kind, architectures = config.get("model_type"), config.get("architectures")
    if not (architectures and isinstance(architectures, list) and all(isinstance(name, str) for name in architectures)):
        raise InputError(f"{hub}: {CONFIG} names no `architectures`; choose a model in the format of transformers")
    if not isinstance(kind, str) or kind not in CONFIG_MAPPING_NAMES:
        own = ", and code of the model's own (`auto_map`) is never run" if "auto_map" in config else ""
        raise InputError(f"{hub}: transformers has no model type {kind!r}{own}; choose another base model")
    if INDEX in names:
        index = _read_object(hub, folder / INDEX).get("weight_map")
        if not isinstance(index, dict):
            raise InputError(f"{hub}: {INDEX} has no `weight_map`; choose another revision")
        if missing := sorted(set(map(str, index.values())) - set(names)):
            raise InputError(f"{hub}: {INDEX} names {missing[0]}, which is not there; choose another revision")


def _read_object(hub: str, path: Path) -> dict[str, Any]:
    try:
        value = parse_json(read_text(path))
    except TextError as error:
        raise InputError(f"{hub}: {path.name}: {error}; choose another revision") from None
    if not isinstance(value, dict):
        raise InputError(f"{hub}: {path.name} is no JSON object; choose another revision")
    return value


@contextmanager
def _explained(hub: str, revision: str | None, folder: Path, kind: str) -> Iterator[None]:
    """Turn the errors of the hub's library into errors that name a remedy."""
    from httpx2 import HTTPError
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    place = f"datasets/{hub}" if kind == DATASET else hub
    try:
        yield
    except GatedRepoError:
        raise InputError(
            f"{hub}: gated; accept its licence at https://huggingface.co/{place} and set HF_TOKEN"
        ) from None
    except RepositoryNotFoundError:
        raise InputError(
            f"{hub}: the hub has no such {NOUNS[kind]}, or it is private; correct its name, or set HF_TOKEN"
        ) from None
    except RevisionNotFoundError:
        raise InputError(f"{hub}: has no revision `{revision}`; correct `revision`") from None
    except HFValidationError:
        raise InputError(
            f"{hub}: no name of a {NOUNS[kind]} on the hub; write it as owner/name, without an address"
        ) from None
    # Network errors and errors of the library itself; the first line of their message names the cause.
    except (OSError, HTTPError, json.JSONDecodeError) as error:
        if isinstance(error, OSError) and (problem := disk_problem(error)):
            raise InputError(f"{hub}: {problem}") from None
        raise InputError(
            f"{hub}: could not be downloaded ({first_line(error)}); check the network and rerun, finished files are"
            f" kept, or put a copy at {folder}"
        ) from None
