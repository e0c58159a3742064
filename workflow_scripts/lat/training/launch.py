"""The command that starts the processes of a training run, on one machine or on several nodes of a Slurm job."""

# Time in which a run that was asked to stop can write its checkpoint, before the launcher kills it.
SECONDS_TO_STOP = 600
# Ports of the first node to which the launchers of several nodes connect; the job id chooses one, so that two jobs that
# share a node do not meet. Most systems take the ports of their connections from a range above.
FIRST_PORT, PORTS = 10000, 20000

# Environment variable with the path of the file through which the processes of one machine connect.
RENDEZVOUS_FILE = "LAT_RENDEZVOUS_FILE"
# Where Slurm tracks processes by cgroups, it signals only the process that a job step starts, which is Snakemake if the
# training is no step of its own. As a step, it receives the signal of `scancel`, of preemption and of the time limit.
# Elsewhere Slurm signals all processes of a step, so that the training needs none of its own, and `srun` would answer
# the signal by killing it. Snakemake sets OMP_NUM_THREADS to the threads of the rule. A container may lack `srun`.
CPUS = "--cpus-per-task ${OMP_NUM_THREADS:-1}"
IN_JOB_STEP = (
    "${SLURM_JOB_ID:+$(command -v srun > /dev/null"
    # Without `--quiet`, `grep` reads to the end, so that its input does not fail.
    " && scontrol show config | grep '^ProctrackType.*cgroup' > /dev/null"
    f" && echo srun --overlap --nodes 1 --ntasks 1 {CPUS})}}"
)
# Temporary files are in a folder that is deleted at the end. Processes of one machine connect through files in it and
# use only the loopback interface.
ON_ONE_MACHINE = (
    "folder=$(mktemp --directory) && trap 'rm --recursive --force \"$folder\"' EXIT &&"
    f" TMPDIR=$folder {RENDEZVOUS_FILE}=$folder/processes GLOO_SOCKET_IFNAME=lo NCCL_SOCKET_IFNAME=lo"
    # The launcher would otherwise offer its processes a server on all interfaces.
    f" TORCH_DISABLE_SHARE_RDZV_TCP_STORE=1 {IN_JOB_STEP}"
    " torchrun --rdzv-backend c10d --rdzv-conf store_type=file --rdzv-endpoint $folder/launcher --log-dir $folder/logs"
)


def training_command(nodes: int, gpus: int) -> str:
    """Return the shell command that starts a training module; the name of the module must follow.

    It starts one process per GPU, or a single process if there are no GPUs. A single process needs no launcher. With
    several nodes, the command must run in the shell of the Slurm job, which is on the first node. `srun` then starts
    one launcher per node, and the launchers connect to the first node.

    Args:
        nodes: number of nodes of the job.
        gpus: number of GPUs per node.
    """
    count = max(1, gpus)
    if nodes == 1 and count == 1:
        return f"{IN_JOB_STEP} python -m"
    processes = f"--nproc-per-node {count} --shutdown-timeout {SECONDS_TO_STOP} --module"
    if nodes == 1:
        return f"{ON_ONE_MACHINE} {processes}"
    # Slurm's own list of the nodes is not passed on to the commands of a job.
    endpoint = f'"$(hostname):$(({FIRST_PORT} + SLURM_JOB_ID % {PORTS}))"'
    return (
        f"srun --nodes {nodes} --ntasks {nodes} --ntasks-per-node 1 {CPUS} --kill-on-bad-exit=1"
        f" torchrun --nnodes {nodes} --rdzv-id $SLURM_JOB_ID --rdzv-backend c10d --rdzv-endpoint {endpoint}"
        f" {processes}"
    )
