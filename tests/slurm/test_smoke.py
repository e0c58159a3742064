"""The whole smoke experiment on Slurm, as a user starts it."""

import time

from tests.slurm.conftest import Workflow


def test_the_scores_are_those_of_a_local_run(finished, any_cluster, tmp_path):
    workflow = Workflow(tmp_path, any_cluster)
    started = time.monotonic()
    output = workflow.run()
    # Identification and scores of a system are one job of Slurm.
    comments = any_cluster("squeue", "--noheader", "--states=all", "--format=%k").split()
    assert [comment for comment in comments if "evaluate-tiny-demo-seed1-MT" in comment]
    assert not [comment for comment in comments if comment.startswith(("rule_detect_w", "rule_score_w"))]
    print(f"\nthe smoke experiment on Slurm: {time.monotonic() - started:.0f} s")
    assert "steps (100%) done" in output
    # The local run has another seed in addition.
    expected = [line for line in finished.text("tables/scores.tsv").splitlines() if line.split("\t")[3] != "2"]
    assert (tmp_path / "results/tables/scores.tsv").read_text().splitlines() == expected
