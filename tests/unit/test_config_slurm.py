"""A Slurm on which Snakemake would wait for ever is refused before the first job."""

import pytest

from workflow_scripts.lat.config.slurm import check_status_command
from workflow_scripts.lat.files import InputError


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Return a function that sets what the commands of Slurm do."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    def put(accounting: bool, age: int) -> None:
        scripts = {
            "sacct": "exit 0" if accounting else "echo Slurm accounting storage is disabled >&2; exit 1",
            "scontrol": f"echo 'MinJobAge               = {age} sec'",
        }
        for name, script in scripts.items():
            (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
            (tmp_path / name).chmod(0o755)

    return put


@pytest.mark.parametrize(
    ("command", "accounting", "age"), [("squeue", False, 300), ("squeue", True, 300), ("sacct", True, 5)]
)
def test_a_command_that_tells_the_states_is_accepted(slurm, command, accounting, age):
    slurm(accounting, age)
    check_status_command(command)


@pytest.mark.parametrize(
    ("command", "accounting", "age", "message"),
    [
        ("sacct", False, 300, r"fails \(Slurm accounting storage is disabled\); add `--slurm-status-command squeue`"),
        (None, False, 300, "add `--slurm-status-command squeue`"),
        ("squeue", True, 60, r"forgets jobs 60 s after their end .* add `--slurm-status-command sacct`"),
        ("squeue", False, 60, "ask the administrators of the cluster for MinJobAge=300"),
    ],
)
def test_a_command_that_does_not_is_one_clear_error(slurm, command, accounting, age, message):
    slurm(accounting, age)
    with pytest.raises(InputError, match=message):
        check_status_command(command)


def test_a_missing_command_is_one_clear_error(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="No such file or directory: 'sacct'"):
        check_status_command("sacct")
