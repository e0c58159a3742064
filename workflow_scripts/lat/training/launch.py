"""The command that starts the processes of a training run, on one machine or on several nodes of a Slurm job."""

# Time in which a run that was asked to stop can write its checkpoint, before the launcher kills it.
SECONDS_TO_STOP = 600
PORT = 29500  # of the first node, to which the launchers connect


def training_command(nodes: int, gpus: int) -> str:
    """The shell command that starts a training module; the name of the module must follow.

    It starts one process per GPU, or a single process if there are no GPUs. With several nodes, the command must run in
    the shell of the Slurm job. `srun` then starts one launcher per node, and the launchers connect to the first node.

    Args:
        nodes: number of nodes of the job.
        gpus: number of GPUs per node.
    """
    processes = f"--nproc-per-node {max(1, gpus)} --shutdown-timeout {SECONDS_TO_STOP} --module"
    if nodes == 1:
        return f"torchrun --standalone {processes}"
    endpoint = f'"$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head --lines 1):{PORT}"'
    return (
        f"srun --nodes {nodes} --ntasks {nodes} --ntasks-per-node 1 --kill-on-bad-exit=1"
        f" torchrun --nnodes {nodes} --rdzv-id $SLURM_JOB_ID --rdzv-backend c10d --rdzv-endpoint {endpoint}"
        f" {processes}"
    )
