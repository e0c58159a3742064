"""A real Slurm of two nodes, and Snakemake runs of the smoke experiment on it."""

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from tests.conftest import ROOT
from tests.slurm.cluster import Cluster, missing_for, running
from tests.workflow.conftest import finished  # noqa: F401


def folder_of(model: str) -> str:
    """The folder of a stage-2 model of the smoke experiment."""
    return f"results/unlikelihood/tiny/demo/seed1/{model}/model"


def log_of(model: str) -> str:
    """The log of its training, below `results/`."""
    return f"unlikelihood/logs/tiny-demo-seed1-{model}.log"


@dataclass
class Workflow:
    """A working directory of the workflow, and Snakemake on a cluster, started as a user starts it."""

    folder: Path
    cluster: Cluster
    started: list[subprocess.Popen] = field(default_factory=list)

    def stop(self) -> None:
        """End what a test may have left: Snakemake would submit its jobs again, beside those of the next test."""
        for process in self.started:
            process.kill()
            process.wait()
        self.cluster.cancel_all()

    def start(self, *arguments: str, overlay: dict | None = None, profile: str = "slurm") -> subprocess.Popen:
        """Start Snakemake; what it prints goes to `output.log`."""
        overlays = [str(ROOT / "configs" / "smoke.yaml")]
        if overlay:
            path = self.folder / "overlay.yaml"
            path.write_text(yaml.safe_dump(overlay))
            overlays.append(str(path))
        command = [sys.executable, "-m", "snakemake", *arguments, "--snakefile", str(ROOT / "Snakefile")]
        command += ["--directory", str(self.folder), "--workflow-profile", str(ROOT / "profiles" / profile)]
        environment = dict(self.cluster.environment)
        environment["PATH"] = f"{self.cluster.folder / 'bin'}:{Path(sys.executable).parent}:{environment['PATH']}"
        with open(self.folder / "output.log", "a") as output:
            process = subprocess.Popen(
                [*command, "--configfile", *overlays],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        self.started.append(process)
        return process

    def run(self, *arguments: str, overlay: dict | None = None, check: bool = True, profile: str = "slurm") -> str:
        """Run Snakemake to its end, and return what it printed."""
        process = self.start(*arguments, overlay=overlay, profile=profile)
        try:
            code = process.wait(timeout=1800)
        finally:
            process.kill()
        if check and code:
            pytest.fail(self.story())
        return self.output()

    def output(self) -> str:
        """What Snakemake printed so far."""
        return (self.folder / "output.log").read_text()

    def log(self, path: str) -> str:
        """A log of a job, as far as it is written."""
        found = self.folder / "results" / path
        return found.read_text(errors="replace") if found.exists() else ""

    def wait_until(self, condition: Callable[[], object], process: subprocess.Popen, seconds: float = 400) -> None:
        """Wait for a condition while Snakemake runs."""
        deadline = time.monotonic() + seconds
        while not condition():
            if process.poll() is not None or time.monotonic() > deadline:
                pytest.fail(self.story())
            time.sleep(0.2)

    def wait_for_text(self, path: str, pattern: str, process: subprocess.Popen, seconds: float = 400) -> re.Match:
        """Wait until a log of a job has a text, which a retry may delete again, and return the match."""
        found: list[re.Match | None] = []
        self.wait_until(
            lambda: found.append(re.search(pattern, self.log(path))) or found[-1] is not None, process, seconds
        )
        return found[-1]

    def job_of(self, rule: str, model: str) -> str | None:
        """The id of the running job of a rule and a model; None if there is none."""
        jobs = self.cluster("squeue", "--noheader", "--states=RUNNING", "--format=%A %k").splitlines()
        found = [line.split()[0] for line in jobs if f"rule_{rule}_" in line and line.endswith(f"_{model}")]
        return found[0] if found else None

    def story(self) -> str:
        """All that helps to understand a failure."""
        logs = sorted(self.folder.glob(".snakemake/slurm_logs/**/*.log"), key=os.path.getmtime)[-3:]
        queue = self.cluster("squeue", "--states=all", check=False)
        tails = [f"== {path}\n{path.read_text(errors='replace')[-3000:]}" for path in logs]
        return "\n".join([self.output()[-6000:], queue, *tails, self.cluster.logs()])


def start_or_skip(proctrack: str, **settings: int) -> Iterator[Cluster]:
    reason = missing_for(proctrack)
    if reason:
        pytest.skip(reason)
    with running(proctrack, **settings) as cluster:
        yield cluster


@pytest.fixture(scope="session", params=["cgroup", "linuxproc"])
def cluster(request) -> Iterator[Cluster]:
    """A cluster, for each way in which Slurm tracks the processes of a job."""
    yield from start_or_skip(request.param)


@pytest.fixture(scope="session")
def any_cluster() -> Iterator[Cluster]:
    """A cluster with the usual plugin where the machine allows it."""
    yield from start_or_skip("linuxproc" if missing_for("cgroup") else "cgroup")


def copied(run, cluster: Cluster, folder: Path) -> Workflow:
    """A working directory with the results of a finished run, which is not submitted again."""
    shutil.copytree(run.folder / "results", folder / "results", symlinks=True)
    return Workflow(folder, cluster)


@pytest.fixture
def workflow(finished, cluster, tmp_path) -> Iterator[Workflow]:  # noqa: F811
    yield from until_its_end(copied(finished, cluster, tmp_path))


@pytest.fixture
def any_workflow(finished, any_cluster, tmp_path) -> Iterator[Workflow]:  # noqa: F811
    yield from until_its_end(copied(finished, any_cluster, tmp_path))


def until_its_end(workflow: Workflow) -> Iterator[Workflow]:
    """Give a test a workflow, of which nothing runs on after the test."""
    try:
        yield workflow
    finally:
        workflow.stop()
