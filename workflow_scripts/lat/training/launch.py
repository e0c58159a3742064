"""The command that starts the processes of a training, on one machine or on several nodes of a Slurm job."""

# What a run that was asked to stop may take to write its checkpoint before the launcher kills it.
SECONDS_TO_STOP = 600
PORT = 29500


def training_command(nodes: int, gpus: int) -> str:
    """The shell words before the name of a training module: one process a GPU, or a single one without any.

    Several nodes meet at the first of the Slurm job, in whose shell the command is to run; `srun` starts one launcher
    on each.

    Args:
        nodes: machines of the job.
        gpus: of each machine.
    """
    processes = f"--nproc-per-node {max(1, gpus)} --shutdown-timeout {SECONDS_TO_STOP} --module"
    if nodes == 1:
        return f"torchrun --standalone {processes}"
    meeting_point = f'"$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head --lines 1):{PORT}"'
    return (
        f"srun --nodes {nodes} --ntasks {nodes} --ntasks-per-node 1 --kill-on-bad-exit=1"
        f" torchrun --nnodes {nodes} --rdzv-id $SLURM_JOB_ID --rdzv-backend c10d --rdzv-endpoint {meeting_point}"
        f" {processes}"
    )
