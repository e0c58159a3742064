"""Runs of the smoke experiment in temporary folders, started as a user starts them."""

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT

SEEDS = [1, 2]


@dataclass(frozen=True)
class Run:
    """A working directory of the workflow, and Snakemake calls in it."""

    folder: Path
    checkout: Path = ROOT  # of the workflow

    def snakemake(self, *arguments: str, overlay: dict | None = None, check: bool = True):
        """Start Snakemake with the smoke configuration and two seeds; the values of `overlay` override them."""
        overlays = [str(self.checkout / "configs" / "smoke.yaml")]
        path = self.folder / "overlay.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(yaml.safe_dump({"seeds": SEEDS} | (overlay or {})))
        overlays.append(str(path))
        command = [sys.executable, "-m", "snakemake", "--snakefile", str(self.checkout / "Snakefile")]
        command += ["--directory", str(self.folder), *arguments, "--configfile", *overlays]
        environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment)
        if check and done.returncode:
            pytest.fail(f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-8000:]}")
        return done

    def planned(self, overlay: dict, *options: str) -> dict[str, int]:
        """Number of jobs per rule that would run with `overlay`, and with `options` of Snakemake."""
        done = self.snakemake("--dry-run", "--cores", "2", *options, overlay=overlay)
        stats = re.search(r"Job stats:\njob +count\n[- ]+\n(.*?)\ntotal", done.stdout, re.DOTALL)
        rows = dict(line.split() for line in stats.group(1).splitlines()) if stats else {}
        return {rule: int(count) for rule, count in rows.items() if rule != "all"}

    def text(self, path: str) -> str:
        """The text of a file in `results/`."""
        return (self.folder / "results" / path).read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Run:
    """A finished smoke run."""
    run = Run(tmp_path_factory.mktemp("finished"))
    run.snakemake("--cores", "2")
    return run
