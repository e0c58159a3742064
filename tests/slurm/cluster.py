"""A Slurm of two nodes on this machine, for tests: munge, slurmctld and two slurmd, which are stopped at the end.

It uses folders, ports and a munge key of its own, and leaves a Slurm that is already there alone. It needs root,
because slurmd does. A command runs in it with: `python tests/slurm/cluster.py --proctrack cgroup sinfo`
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

COMMANDS = ("sacct", "sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun")
PROGRAMS = ("setpriv", "munged", "slurmctld", "slurmd", *COMMANDS)
# Debian installs the daemons where PATH may not lead.
PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"
FREEZER = Path("/sys/fs/cgroup/freezer")  # what proctrack/cgroup needs of version 1
CONTROLLERS = Path("/sys/fs/cgroup/cgroup.controllers")  # version 2

# The nodes differ in the number of GPUs, which exist on paper only: a job is given their numbers, and no device.
SLURM_CONF = """\
ClusterName=test
SlurmctldHost=localhost
SlurmctldPort={controller_port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
ProctrackType=proctrack/{proctrack}
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
GresTypes=gpu
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
MinJobAge={min_job_age}
KillWait={kill_wait}
OverTimeLimit=0
SlurmdTimeout=15
SchedulerParameters=bf_interval=5,sched_interval=5
SlurmdParameters=config_overrides
StateSaveLocation={folder}/state
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/%n
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[0]} CPUs=2 RealMemory=16000 Gres=gpu:1
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=2 RealMemory=16000 Gres=gpu:2
PartitionName=main Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""
GRES_CONF = "NodeName=n1 Name=gpu File={folder}/gpu0\nNodeName=n2 Name=gpu File={folder}/gpu[0-1]\n"
CGROUP_CONF = "CgroupAutomount=yes\nConstrainCores=no\nConstrainRAMSpace=no\nConstrainDevices=no\n"


def missing() -> str | None:
    """Say why this machine cannot run the cluster; None if it can."""
    if os.geteuid():
        return "slurmd needs root"
    absent = [program for program in PROGRAMS if not shutil.which(program, path=PATH)]
    if absent:
        return f"not installed: {' '.join(absent)} (Debian: apt-get install slurm-wlm munge)"
    return None


def missing_for(proctrack: str) -> str | None:
    """Say why the machine cannot run the cluster with a plugin that tracks processes; None if it can."""
    if proctrack == "cgroup" and not CONTROLLERS.exists() and not os.access(FREEZER, os.W_OK):
        return f"proctrack/cgroup: neither {CONTROLLERS} nor a writable {FREEZER}"
    return missing()


@dataclass(frozen=True)
class Cluster:
    """A running cluster: its folder, and the variables with which commands use it."""

    folder: Path
    environment: Mapping[str, str]
    proctrack: str

    def __call__(self, *command: str, check: bool = True) -> str:
        """Run a command in the cluster, such as `squeue`, and return what it prints."""
        done = subprocess.run(command, env=dict(self.environment), capture_output=True, text=True)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)}: {done.stderr}")
        return done.stdout

    def idle_nodes(self) -> int:
        """Return the number of nodes that are up and have no job."""
        return self("sinfo", "--noheader", "--Node", "--format=%t", check=False).split().count("idle")

    def jobs(self) -> list[str]:
        """Return the ids of all jobs that wait or run."""
        return self("squeue", "--noheader", "--format=%A").split()

    def cancel_all(self) -> None:
        """Kill all jobs, and wait a while for their end."""
        jobs = self("squeue", "--noheader", "--format=%A", check=False).split()
        if jobs:
            self("scancel", "--signal=KILL", "--full", *jobs, check=False)
            self("scancel", *jobs, check=False)
        deadline = time.monotonic() + 15
        while self("squeue", "--noheader", check=False).strip() and time.monotonic() < deadline:
            time.sleep(0.2)

    def logs(self) -> str:
        """Return the last lines of the logs of the daemons."""
        return "\n".join(
            f"== {path.name}\n" + "\n".join(path.read_text(errors="replace").splitlines()[-8:])
            for path in sorted(self.folder.glob("*.out"))
        )


def free_ports(count: int) -> list[int]:
    """Return ports of the loopback interface that nothing listens on."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
    finally:
        for each in sockets:
            each.close()


@contextmanager
def running(proctrack: str = "linuxproc", kill_wait: int = 30, min_job_age: int = 300) -> Iterator[Cluster]:
    """Start a cluster, and stop it with all of its jobs when the `with` block ends, however it ends.

    Args:
        proctrack: plugin that tracks the processes of a job: `cgroup` or `linuxproc`.
        kill_wait: seconds between SIGTERM and SIGKILL at a time limit or `scancel`.
        min_job_age: seconds for which `squeue` knows a finished job.

    Raises:
        RuntimeError: a daemon does not start.
    """
    # A test run that is terminated, such as by `timeout`, stops the cluster too.
    before = signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # The folder is in the system's own place: munge accepts no folder that others than root may write to.
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    folder.chmod(0o755)
    controller, *ports = free_ports(3)
    (folder / "slurm.conf").write_text(
        SLURM_CONF.format(
            folder=folder,
            host=socket.gethostname(),
            proctrack=proctrack,
            kill_wait=kill_wait,
            min_job_age=min_job_age,
            controller_port=controller,
            ports=ports,
        )
    )
    (folder / "gres.conf").write_text(GRES_CONF.format(folder=folder))
    for number in (0, 1):
        (folder / f"gpu{number}").touch()
    (folder / "cgroup.conf").write_text(CGROUP_CONF)
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    for name in ("bin", "state", "n1", "n2"):
        (folder / name).mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("SLURM_", "SBATCH_"))}
    environment |= {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": f"{folder / 'bin'}:{PATH}"}
    # Snakemake's executor drops the variable SLURM_CONF in jobs, where the commands would then look in /etc.
    for name in COMMANDS:
        wrapper = folder / "bin" / name
        wrapper.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which(name, path=PATH)} "$@"\n')
        wrapper.chmod(0o755)
    cluster = Cluster(folder, environment, proctrack)
    munge = ("socket", "key-file", "pid-file", "log-file", "seed-file")
    daemons: list[subprocess.Popen[bytes]] = []

    def start(name: str, *command: str) -> None:
        # `setpriv` ends the daemon also where this process is killed.
        words = ["setpriv", "--pdeathsig=TERM", *command]
        with open(folder / f"{name}.out", "w") as output:
            daemons.append(
                subprocess.Popen(words, env=environment, stdout=output, stderr=output, start_new_session=True)
            )

    try:
        start("munged", "munged", "--foreground", *(f"--{name}={folder}/munge.{name.split('-')[0]}" for name in munge))
        await_condition((folder / "munge.socket").exists, 10, "munged does not start", cluster)
        start("slurmctld", "slurmctld", "-D", "-c")
        for node in ("n1", "n2"):
            start(node, "slurmd", "-D", "-c", "-N", node)
        await_condition(lambda: cluster.idle_nodes() == 2, 60, "the nodes do not start", cluster)
        yield cluster
    finally:
        if len(daemons) > 1:
            cluster.cancel_all()
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in reversed(daemons):
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()
        shutil.rmtree(folder, ignore_errors=True)
        signal.signal(signal.SIGTERM, before)


def await_condition(condition: Callable[[], object], seconds: float, failure: str, cluster: Cluster) -> None:
    """Wait until a condition holds.

    Raises:
        RuntimeError: it does not hold in time.
    """
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise RuntimeError(f"{failure}\n{cluster('squeue', '--states=all', check=False)}\n{cluster.logs()}")
        time.sleep(0.2)


def main() -> int:
    """Run a command in a cluster of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--proctrack", choices=("cgroup", "linuxproc"), default="linuxproc")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    reason = missing_for(arguments.proctrack)
    if reason:
        sys.exit(f"no Slurm here: {reason}")
    with running(arguments.proctrack) as cluster:
        return subprocess.run(arguments.command, env=dict(cluster.environment)).returncode


if __name__ == "__main__":
    sys.exit(main())
