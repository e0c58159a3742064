"""Jobs that run on after Snakemake was killed."""

import signal

from tests.slurm.conftest import folder_of, log_of


def test_a_second_job_of_a_training_stops_while_the_first_one_is_alive(any_workflow):
    overlay = {"models": {"lat-orphan": {"stage": "unlikelihood", "from": "mt", "steps": 100_000}}}
    target = folder_of("lat-orphan"), "--rerun-triggers", "mtime"
    killed = any_workflow.start(*target, overlay=overlay)
    any_workflow.wait_for_text(log_of("lat-orphan"), r"\d+/100000 steps, ", killed)
    orphan = any_workflow.job_of("unlikelihood", "lat-orphan")
    killed.kill()
    killed.wait()
    any_workflow.run(*target, "--unlock", overlay=overlay)
    second = any_workflow.start(*target, overlay=overlay)
    found = any_workflow.wait_for_text(
        log_of("lat-orphan"),
        rf"error: .*in use by process \d+ on .*, Slurm job {orphan}, .*`(scancel {orphan})`",
        second,
    )
    # What the line says helps: the orphan saves its state, and a retry continues.
    any_workflow.cluster(*found.group(1).split())
    any_workflow.wait_for_text(log_of("lat-orphan"), r"continuing after step [1-9]\d* of 100000", second)
    second.send_signal(signal.SIGINT)
    second.wait(timeout=120)
