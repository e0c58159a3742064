"""The whole smoke experiment on Slurm, as a user starts it."""

import time

from tests.slurm.conftest import Workflow


def test_the_scores_are_those_of_a_local_run(finished, any_cluster, tmp_path):
    workflow = Workflow(tmp_path, any_cluster)
    started = time.monotonic()
    output = workflow.run()
    print(f"\nthe smoke experiment on Slurm: {time.monotonic() - started:.0f} s")
    assert "steps (100%) done" in output
    for name in ("scores", "intervals"):
        table = f"results/tables/{name}.tsv"
        assert (tmp_path / table).read_bytes() == (finished.folder / table).read_bytes()
    states = any_cluster("squeue", "--noheader", "--states=all", "--format=%T").split()
    assert set(states) == {"COMPLETED"}
