"""The exact command lines that start a training run."""

import pytest

from workflow_scripts.lat.training.launch import training_command


@pytest.mark.parametrize("gpus", [0, 1])
def test_a_single_process_needs_no_launcher(gpus):
    assert training_command(1, gpus) == "python -m"


def test_the_processes_of_one_machine_meet_in_a_file():
    assert training_command(1, 8) == (
        "folder=$(mktemp --directory) && trap 'rm --recursive --force \"$folder\"' EXIT &&"
        " TMPDIR=$folder LAT_RENDEZVOUS_FILE=$folder/processes GLOO_SOCKET_IFNAME=lo NCCL_SOCKET_IFNAME=lo"
        " TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1"
        " torchrun --rdzv-backend c10d --rdzv-conf store_type=file --rdzv-endpoint $folder/launcher"
        " --log-dir $folder/logs --nproc-per-node 8 --shutdown-timeout 600 --module"
    )


def test_several_nodes():
    assert training_command(4, 8) == (
        "srun --nodes 4 --ntasks 4 --ntasks-per-node 1 --kill-on-bad-exit=1 torchrun --nnodes 4"
        " --rdzv-id $SLURM_JOB_ID --rdzv-backend c10d"
        ' --rdzv-endpoint "$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head --lines 1):29500"'
        " --nproc-per-node 8 --shutdown-timeout 600 --module"
    )
