"""Manifests: the size and sha256 of every file in a folder of weights, written with it and checked when it is read.

Damaged weights may load without an error and give wrong outputs.
"""

import json
import os
from collections.abc import Iterable
from pathlib import Path

from .files import InputError, atomic_write, read_text, sha256

MANIFEST = "manifest.json"
# Environment variable. `sizes` compares only sizes: hashing takes about a second per GB, each time a model is loaded.
VERIFY = "LAT_VERIFY"


def write_manifest(folder: Path, files: Iterable[Path] | None = None) -> None:
    """Write the manifest of a complete folder.

    Args:
        folder: the folder.
        files: files to describe; by default all files directly in the folder.
    """
    described = sorted(path for path in files or folder.iterdir() if path.is_file() and path.name != MANIFEST)
    entries = {
        str(path.relative_to(folder)): {"bytes": path.stat().st_size, "sha256": sha256(path)} for path in described
    }
    with atomic_write(folder / MANIFEST) as handle:
        json.dump(entries, handle, indent=1)


def damage_of(folder: Path) -> str:
    """Return how a folder differs from its manifest; empty if it does not, or if it has no manifest.

    The environment variable LAT_VERIFY=sizes leaves out the comparison of contents.
    """
    path = folder / MANIFEST
    if not path.is_file():
        # A link into a store whose entry was deleted.
        return f"{MANIFEST} is missing" if path.is_symlink() else ""
    try:
        entries = json.loads(read_text(path))
        if not entries:
            return f"{MANIFEST} is damaged"
        for name, entry in entries.items():
            file = folder / name
            if not file.is_file():
                return f"{name} is missing"
            if file.stat().st_size != entry["bytes"]:
                return f"{name} has {file.stat().st_size} bytes instead of {entry['bytes']}"
            if os.environ.get(VERIFY) != "sizes" and sha256(file) != entry["sha256"]:
                return f"the content of {name} has changed"
    except (json.JSONDecodeError, RecursionError, AttributeError, KeyError, TypeError, InputError):
        return f"{MANIFEST} is damaged"
    return ""


def check_manifest(folder: Path) -> None:
    """Compare a folder with its manifest, if it has one.

    Raises:
        InputError: a file is missing or has changed since the folder was written.
    """
    damage = damage_of(folder)
    if damage:
        raise InputError(f"{folder}: {damage} since it was written; delete the folder and run again to make it anew")
