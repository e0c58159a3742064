"""How every step starts: its log, what becomes of an error the user can mend, and which versions are at work."""

import logging
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

from .files import InputError

log = logging.getLogger("lat")


LIBRARIES = (
    "torch",
    "transformers",
    "tokenizers",
    "deepspeed",
    "peft",
    "ctranslate2",
    "sacrebleu",
    "fasttext-numpy2",
    "pandas",
    "numpy",
    "snakemake",
)


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that determine a result."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


def git_commit() -> str | None:
    """The commit of the workflow at work, `+` added if files differ from it; None outside a git checkout."""
    root = Path(__file__).resolve().parents[2]
    found = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
        capture_output=True,
        text=True,
    )
    return found.stdout.strip() or None


def run_step(main: Callable[[], None]) -> None:
    """Run a step's `main` with logging set up; an `InputError` ends it with one line and exit status 1."""
    # Of the processes of one training, the first speaks for all.
    level = logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        main()
    except InputError as error:
        log.error("error: %s", error)
        sys.exit(1)


def secret(variable: str | None) -> str | None:
    """The key of a server that an environment variable holds; None without a variable.

    Raises:
        InputError: the variable is not set, or to what cannot be a key.
    """
    if variable is None:
        return None
    value = os.environ.get(variable, "").strip()  # files of variables end lines in many ways
    if not value:
        raise InputError(
            f"judge: the environment variable {variable} is not set; export it with the server's key, or set"
            " `judge.key: null` for a server that wants none"
        )
    if not (value.isascii() and value.isprintable()):
        raise InputError(f"judge: the environment variable {variable} holds characters that no key has; set it again")
    return value


class Progress:
    """Says how far a long loop is, at most once in `every` seconds: count, rate and time left."""

    def __init__(self, total: float, unit: str, every: float = 5.0) -> None:
        self.total, self.unit, self.every = total, unit, every
        self.started = self.said = time.monotonic()
        self.done = 0.0

    def skip(self, count: int) -> None:
        """Leave out `count` units that an earlier run did."""
        self.total -= count

    def update(self, count: float = 1, note: str = "") -> None:
        """Count `count` more units as done; `note` is appended to the line, when one is due."""
        self.done += count
        now = time.monotonic()
        if now - self.said < self.every and self.done < self.total:
            return
        self.said = now
        rate = self.done / max(now - self.started, 1e-9)
        left = (self.total - self.done) / rate if rate else float("inf")
        log.info(
            "%d/%d %s, %.1f/s, %.0f s left%s", self.done, self.total, self.unit, rate, left, f", {note}" if note else ""
        )
