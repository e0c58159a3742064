"""The exact command lines that start a training run."""

import pytest

from workflow_scripts.lat.training.launch import training_command


@pytest.mark.parametrize(("gpus", "processes"), [(0, 1), (1, 1), (8, 8)])
def test_one_machine(gpus, processes):
    assert training_command(1, gpus) == (
        f"torchrun --standalone --nproc-per-node {processes} --shutdown-timeout 600 --module"
    )


def test_several_nodes():
    assert training_command(4, 8) == (
        "srun --nodes 4 --ntasks 4 --ntasks-per-node 1 --kill-on-bad-exit=1 torchrun --nnodes 4"
        " --rdzv-id $SLURM_JOB_ID --rdzv-backend c10d"
        ' --rdzv-endpoint "$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head --lines 1):29500"'
        " --nproc-per-node 8 --shutdown-timeout 600 --module"
    )
