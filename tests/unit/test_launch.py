"""The exact command lines that start a training run."""

import subprocess

import pytest

from workflow_scripts.lat.training.launch import training_command

STEP = (
    "${SLURM_JOB_ID:+$(command -v srun > /dev/null && scontrol show config | grep '^ProctrackType.*cgroup' > /dev/null"
    " && echo srun --overlap --nodes 1 --ntasks 1 --cpus-per-task ${OMP_NUM_THREADS:-1})}"
)


@pytest.mark.parametrize("gpus", [0, 1])
def test_a_single_process_needs_no_launcher(gpus):
    assert training_command(1, gpus) == f"{STEP} python -m"


def test_the_processes_of_one_machine_meet_in_a_file():
    assert training_command(1, 8) == (
        "folder=$(mktemp --directory) && trap 'rm --recursive --force \"$folder\"' EXIT &&"
        " TMPDIR=$folder LAT_RENDEZVOUS_FILE=$folder/processes GLOO_SOCKET_IFNAME=lo NCCL_SOCKET_IFNAME=lo"
        f" TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 {STEP}"
        " torchrun --rdzv-backend c10d --rdzv-conf store_type=file --rdzv-endpoint $folder/launcher"
        " --log-dir $folder/logs --nproc-per-node 8 --shutdown-timeout 600 --module"
    )


def test_several_nodes():
    assert training_command(4, 8) == (
        "srun --nodes 4 --ntasks 4 --ntasks-per-node 1 --cpus-per-task ${OMP_NUM_THREADS:-1} --kill-on-bad-exit=1"
        " torchrun --nnodes 4 --rdzv-id $SLURM_JOB_ID --rdzv-backend c10d"
        ' --rdzv-endpoint "$(hostname):$((10000 + SLURM_JOB_ID % 20000))"'
        " --nproc-per-node 8 --shutdown-timeout 600 --module"
    )


@pytest.mark.parametrize("gpus", [1, 2])
@pytest.mark.parametrize(
    ("environment", "programs", "tracking", "step"),
    [
        ({}, ["srun"], "cgroup", ""),
        ({"SLURM_JOB_ID": "7"}, [], "cgroup", ""),  # a container without Slurm
        ({"SLURM_JOB_ID": "7"}, ["srun"], "linuxproc", ""),
        ({"SLURM_JOB_ID": "7"}, ["srun"], "cgroup", "srun --overlap --nodes 1 --ntasks 1 --cpus-per-task 3 "),
    ],
)
def test_a_training_is_a_step_of_its_own_exactly_where_slurm_would_not_signal_it_otherwise(
    tmp_path, gpus, environment, programs, tracking, step
):
    scripts = dict.fromkeys(("python", "torchrun", *programs), 'echo "$(basename "$0") $*"')
    # More than what a pipe holds, as if Slurm had many settings.
    scripts["scontrol"] = f"echo 'ProctrackType           = proctrack/{tracking}'; seq 100000"
    for name, script in scripts.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name).chmod(0o755)
    for name in ("basename", "grep", "mktemp", "rm", "seq"):
        (tmp_path / name).symlink_to(f"/usr/bin/{name}")
    done = subprocess.run(
        ["/bin/bash", "-c", f"set -euo pipefail; {training_command(1, gpus)} module"],
        env={"PATH": str(tmp_path), "OMP_NUM_THREADS": "3", "TMPDIR": str(tmp_path)} | environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith(f"{step}{'python' if gpus == 1 else 'torchrun'} -"), done.stdout
