"""Check that Snakemake learns of the end of its jobs on Slurm; otherwise it waits for ever without a message."""

import re
import subprocess

from ..files import InputError, first_line

# Snakemake's executor asks for the states of its jobs at intervals of up to this many seconds, see its documentation.
LONGEST_INTERVAL = 180
SQUEUE, SACCT = "squeue", "sacct"


def check_status_command(command: str | None) -> None:
    """Check that a command can tell the states of finished jobs.

    Args:
        command: `squeue` or `sacct`, the value of `--slurm-status-command`; the executor takes `sacct` for None.

    Raises:
        InputError: it cannot: without accounting `sacct` knows no jobs, and `squeue` forgets finished jobs.
    """
    if command != SQUEUE:
        problem = accounting_problem()
        if problem:
            raise InputError(
                f"`{SACCT}`, by which Snakemake would learn of the end of its jobs, fails ({problem}); add"
                f" `--slurm-status-command {SQUEUE}`"
            )
        return
    age = min_job_age()
    if age is not None and age < LONGEST_INTERVAL:
        remedy = f"add `--slurm-status-command {SACCT}`"
        if accounting_problem():
            remedy = "there is no accounting either; ask the administrators of the cluster for MinJobAge=300"
        raise InputError(
            f"`{SQUEUE}` forgets jobs {age} s after their end (MinJobAge of Slurm), but Snakemake may ask only every"
            f" {LONGEST_INTERVAL} s; {remedy}"
        )


def accounting_problem() -> str | None:
    """Say in one line why `sacct` fails; None if it works."""
    return _output([SACCT, "--noheader", "--allocations", "--format=JobID"])[1]


def min_job_age() -> int | None:
    """Return the seconds for which `squeue` knows a finished job; None if Slurm does not say."""
    output, _ = _output(["scontrol", "show", "config"])
    found = re.search(r"^MinJobAge\s*=\s*(\d+)", output, re.MULTILINE)
    return int(found.group(1)) if found else None


def _output(command: list[str]) -> tuple[str, str | None]:
    """Run a command; return what it prints, and the first line of its error, None if it succeeds."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired) as error:
        return "", first_line(error)
    problem = (done.stderr.strip() or f"exit status {done.returncode}").splitlines()[0] if done.returncode else None
    return done.stdout, problem
