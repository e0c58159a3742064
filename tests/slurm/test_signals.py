"""A training that Slurm stops saves its state, and its retry ends with the weights of an undisturbed training."""

import signal
import time

import torch
from safetensors.torch import load_file

from tests.slurm.conftest import folder_of, log_of

TRAINING = {"stage": "unlikelihood", "from": "mt", "steps": 1000}
OVERLAY = {
    "models": {
        "lat-whole": TRAINING,
        "lat-signal": TRAINING,
        "lat-cancel": TRAINING,
        # A time limit is a minute at least; this training lasts longer on any machine.
        "lat-limit": TRAINING | {"steps": 100_000},
    }
}
# Without cgroups, `scancel` and the time limit also signal the `srun` of Snakemake's executor, which kills its step.
STOPPED = {"cgroup": ("signal", "cancel", "limit"), "linuxproc": ("signal",)}
STATES = {"signal": "FAILED", "cancel": "CANCELLED", "limit": "TIMEOUT"}


def test_scancel_a_signal_and_the_time_limit(workflow):
    stopping = STOPPED[workflow.cluster.proctrack]
    targets = [folder_of(f"lat-{name}") for name in ("whole", *stopping)]
    process = workflow.start(*targets, "--rerun-triggers", "mtime", overlay=OVERLAY)
    jobs: dict[str, str] = {}
    stops = {
        "signal": lambda job: workflow.cluster("scancel", "--signal=TERM", job),
        "cancel": lambda job: workflow.cluster("scancel", job),
        "limit": lambda job: workflow.cluster("scontrol", "update", f"JobId={job}", "TimeLimit=1"),
    }

    def stop_those_that_train() -> bool:
        for name in set(stopping) - set(jobs):
            if " steps, " in workflow.log(log_of(f"lat-{name}")):
                jobs[name] = workflow.job_of("unlikelihood", f"lat-{name}")
                stops[name](jobs[name])
        return len(jobs) == len(stopping)

    workflow.wait_until(stop_those_that_train, process)
    stopped = {}
    for name in stopping:
        found = workflow.wait_for_text(
            log_of(f"lat-{name}"), r"stopped after step (\d+) of \d+; the same command", process
        )
        stopped[name] = found.group(1)
    for name in stopping:
        workflow.wait_for_text(log_of(f"lat-{name}"), f"continuing after step {stopped[name]} of", process)
    states = workflow.cluster(
        "squeue", "--noheader", "--states=all", f"--jobs={','.join(jobs.values())}", "--format=%T"
    )
    assert sorted(states.split()) == sorted(STATES[name] for name in stopping)
    ended = [name for name in stopping if name != "limit"]
    for name in ("whole", *ended):
        workflow.wait_until(lambda name=name: (workflow.folder / folder_of(f"lat-{name}")).exists(), process)
    whole = load_file(workflow.folder / folder_of("lat-whole") / "model.safetensors")
    for name in ended:
        found = load_file(workflow.folder / folder_of(f"lat-{name}") / "model.safetensors")
        assert all(torch.equal(found[key], weights) for key, weights in whole.items()), name
    if "limit" not in stopping:
        assert process.wait(timeout=120) == 0
        return
    # Ctrl-C cancels the jobs that still run.
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=120) != 0
    deadline = time.monotonic() + 60
    while "stopped after step" not in workflow.log(log_of("lat-limit")):
        assert time.monotonic() < deadline, workflow.story()
        time.sleep(0.2)
