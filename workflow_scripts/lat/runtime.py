"""How every step starts: its log, its thread count, and what becomes of an error the user can mend."""

import logging
import os
import sys
import time
from collections.abc import Callable

from .files import InputError

log = logging.getLogger("lat")


def limit_threads(threads: int) -> None:
    """Let numeric libraries use `threads` threads; call it before numpy or torch is imported.

    Two busy pools on two cores make everything several times slower, so a step takes what Snakemake granted it.
    """
    for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
        os.environ[variable] = str(threads)


def run_step(main: Callable[[], None]) -> None:
    """Run a step's `main` with logging set up; an `InputError` ends it with one line and exit status 1."""
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        main()
    except InputError as error:
        log.error("error: %s", error)
        sys.exit(1)


class Progress:
    """Says how far a long loop is, at most once in `every` seconds: count, rate and time left."""

    def __init__(self, total: int, unit: str, every: float = 5.0) -> None:
        self.total, self.unit, self.every = total, unit, every
        self.started = self.said = time.monotonic()
        self.done = 0

    def update(self, count: int = 1, note: str = "") -> None:
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
