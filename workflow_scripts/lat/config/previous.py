"""Notice when a run with another config would replace results of the same folder.

The results of two configs that differ in an early setting have the same paths, so that running one after the other
would silently make everything again, each time. The config of the last run is therefore remembered, and a run with
another one that would replace results stops. A run after an edit of the same config continues as usual.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..files import InputError, atomic_write

# Beside Snakemake's own records of the results, which are deleted together with it.
RECORD = Path(".snakemake") / "last-config.json"
# The key of the config that permits it.
REPLACE = "replace"


def config_of_run(files: Sequence[str | Path], arguments: Sequence[str], defaults: Path) -> list[str]:
    """Return what a user wrote to choose the config of a run: its files and its values on the command line.

    Args:
        files: all config files of the run, in the order in which they are merged.
        arguments: the values of `--config`, such as `seeds=[1,2]`.
        defaults: the file with the default values, which every run has.
    """
    chosen = [str(Path(file).resolve()) for file in files if Path(file).resolve() != defaults.resolve()]
    return [*chosen, *sorted(text for text in arguments if not text.startswith(f"{REPLACE}="))]


def last_config(record: Path) -> list[str] | None:
    """Return the config of the last run in this folder, or None if it is not known."""
    try:
        found = json.loads(record.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    is_list = isinstance(found, list) and all(isinstance(text, str) for text in found)
    return found if is_list else None


def remember_config(chosen: Sequence[str], record: Path) -> None:
    """Record the config of a run that begins."""
    record.parent.mkdir(exist_ok=True)
    with atomic_write(record) as handle:
        json.dump(list(chosen), handle, ensure_ascii=False)


def check_replaced(chosen: Sequence[str], last: Sequence[str] | None, replaced: Mapping[str, int]) -> None:
    """Check that a run with another config than the last one does not replace results.

    Args:
        chosen: the config of this run.
        last: the config of the last run; None if it is not known.
        replaced: number of jobs that would replace results, by step.

    Raises:
        InputError: it would.
    """
    if not replaced or last is None or list(chosen) == list(last):
        return
    jobs = ", ".join(f"{step} {count}" for step, count in replaced.items())
    raise InputError(
        "config: this run would replace results of the last one in this folder, which had"
        f" {' '.join(last) or 'no overlay'} (jobs: {jobs}); keep them by `--directory` with another folder, or add"
        f" `--config {REPLACE}=true`"
    )
