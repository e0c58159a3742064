"""Notice when a run with another config would replace results of the same folder.

The results of two configs that differ in an early setting have the same paths, so that running one after the other
would silently make everything again, each time. The configs that made the results of a folder are therefore remembered,
and a run that would replace results of another config stops. A run after an edit of the only config continues as usual.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..files import InputError, atomic_write

# Beside Snakemake's own records of the results, which are deleted together with it.
RECORD = Path(".snakemake") / "configs.json"
# The key of the config that permits it, and the one that changes no other result.
REPLACE, PUBLISH = "replace", "publish"


def config_of_run(files: Sequence[str | Path], arguments: Sequence[str], defaults: Path, folder: Path) -> list[str]:
    """Return what a user wrote to choose the config of a run: its files and its values on the command line.

    A file inside the folder of the run is named relative to it, so that a folder may be moved or copied.

    Args:
        files: absolute paths of all config files of the run, in the order in which they are merged.
        arguments: the values of `--config`, such as `seeds=[1,2]`.
        defaults: the file with the default values, which every run has.
        folder: the folder of the run, which contains `results`.
    """
    chosen = [Path(file).resolve() for file in files]
    here = folder.resolve()
    names = [
        str(file.relative_to(here) if file.is_relative_to(here) else file)
        for file in chosen
        if file != defaults.resolve()
    ]
    return [*names, *sorted(text for text in arguments if not text.startswith((f"{REPLACE}=", f"{PUBLISH}=")))]


def known_configs(record: Path) -> list[list[str]]:
    """Return the configs that made the results of this folder; empty if they are not known."""
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    is_valid = isinstance(found, list) and all(
        isinstance(chosen, list) and all(isinstance(text, str) for text in chosen) for chosen in found
    )
    return found if is_valid else []


def remember_config(chosen: Sequence[str], record: Path, replaces: bool) -> None:
    """Record the config of a run that begins.

    Args:
        chosen: the config of the run.
        record: the file.
        replaces: whether the run replaces results, so that those of other configs are no longer valid.
    """
    others = [] if replaces else [other for other in known_configs(record) if other != list(chosen)]
    record.parent.mkdir(exist_ok=True)
    with atomic_write(record) as handle:
        json.dump([*others, list(chosen)], handle, ensure_ascii=False)


def check_replaced(chosen: Sequence[str], known: Sequence[Sequence[str]], replaced: Mapping[str, int]) -> None:
    """Check that a run does not replace results of another config.

    Args:
        chosen: the config of this run.
        known: the configs that made the results of this folder.
        replaced: number of jobs that would replace results, by step.

    Raises:
        InputError: it would.
    """
    others = [list(other) for other in known if list(other) != list(chosen)]
    if not replaced or not others:
        return
    jobs = ", ".join(f"{step} {count}" for step, count in replaced.items())
    raise InputError(
        "config: this run would replace results that were made with another config"
        f" ({' '.join(others[-1]) or 'no overlay'}), because settings, inputs or code differ (jobs: {jobs}); keep them"
        f" by `--directory` with another folder, or add `--config {REPLACE}=true`"
    )
