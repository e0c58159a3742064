"""Logging, user-facing errors, library versions and processors."""

import logging
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from .disk import disk_problem
from .files import InputError, fold

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
    """Versions of Python and of the libraries that affect the results, by name."""
    return {"python": platform.python_version()} | {name: version(name) for name in LIBRARIES}


@dataclass(frozen=True)
class Machine:
    """The processors that a model was trained on.

    Attributes:
        cpu: name of the CPU model.
        gpus: name of the GPU model of each GPU; empty if the model was trained on CPUs.
        processes: number of training processes.
        threads: CPU threads per process.
    """

    cpu: str
    gpus: tuple[str, ...]
    processes: int
    threads: int


def cpu_model() -> str:
    """Return the name of the CPU model or, if the operating system does not tell it, of the architecture."""
    try:
        content = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:  # only Linux has this file
        content = ""
    found = re.search(r"^model name[ \t]*:(.*)", content, re.MULTILINE)
    return fold(found[1] if found else "") or fold(platform.processor()) or platform.machine() or "unknown"


def gpu_models() -> list[str]:
    """Return the name of the model of each GPU that this process can use.

    PyTorch is asked only if it has been imported, since importing it takes seconds and many steps do without it.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_available():
        return []
    return [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]


def git_commit() -> str | None:
    """Commit of the workflow, with `+` appended if files differ from it; None outside a git checkout."""
    root = Path(__file__).resolve().parents[2]
    found = subprocess.run(
        ["git", "-C", str(root), "describe", "--always", "--abbrev=40", "--dirty=+", "--exclude=*"],
        capture_output=True,
        text=True,
    )
    return found.stdout.strip() or None


def run_step(main: Callable[[], None]) -> None:
    """Set up logging and run the `main` function of a step.

    What the user can correct, an `InputError` or a problem of a disk, is logged in one line and ends the step with
    status 1.
    """
    # If several processes train one model, only the first one logs its progress.
    level = logging.INFO if os.environ.get("RANK", "0") == "0" else logging.WARNING
    logging.basicConfig(level=level, stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        main()
    except InputError as error:
        log.error("error: %s", error)
        sys.exit(1)
    except OSError as error:
        problem = disk_problem(error)
        if not problem:
            raise
        log.error("error: %s", problem)
        sys.exit(1)


class Progress:
    """Logs the progress of a long loop: count, rate and remaining time.

    Attributes:
        total: number of units of the whole loop.
        unit: name of the units, such as `lines`.
        every: minimum number of seconds between two messages.
    """

    def __init__(self, total: float, unit: str, every: float = 5.0) -> None:
        self.total, self.unit, self.every = total, unit, every
        self.started = self.logged = time.monotonic()
        self.done = 0.0

    def skip(self, count: int) -> None:
        """Exclude `count` units that were done before, so that they do not affect the rate."""
        self.total -= count

    def update(self, count: float = 1, note: str = "") -> None:
        """Add `count` units to those done, and log the progress if it is time; `note` is appended to the message."""
        self.done += count
        now = time.monotonic()
        if now - self.logged < self.every and self.done < self.total:
            return
        self.logged = now
        rate = self.done / max(now - self.started, 1e-9)
        left = (self.total - self.done) / rate if rate else float("inf")
        log.info(
            "%d/%d %s, %.1f/s, %.0f s left%s", self.done, self.total, self.unit, rate, left, f", {note}" if note else ""
        )
