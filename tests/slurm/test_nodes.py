"""Training on several nodes and GPUs, and nodes that fail."""

import signal

import torch
from safetensors.torch import load_file

from tests.slurm.conftest import folder_of, log_of

LIKE_LAT = {"stage": "unlikelihood", "from": "mt"}


def assert_equals_one_process(workflow, name: str) -> None:
    expected = load_file(workflow.folder / folder_of("lat") / "model.safetensors")
    found = load_file(workflow.folder / folder_of(name) / "model.safetensors")
    for key, weights in expected.items():
        torch.testing.assert_close(found[key], weights, rtol=1e-3, atol=1e-4, msg=lambda m, k=key: f"{k}: {m}")


def test_two_trainings_on_the_same_two_nodes_end_with_the_weights_of_one_process(any_workflow):
    names = ("lat-first", "lat-second")
    overlay = {"base_models": {"tiny": {"nodes": 2, "gpus": 0}}, "models": dict.fromkeys(names, LIKE_LAT)}
    any_workflow.run(*map(folder_of, names), "--rerun-triggers", "mtime", overlay=overlay)
    nodes = any_workflow.cluster("squeue", "--noheader", "--states=all", "--format=%k %D").splitlines()
    endings = tuple(f"rule_unlikelihood_wildcards_tiny_demo_seed1_{name}" for name in names)
    nodes = [line.split()[1] for line in nodes if line.split()[0] in endings]
    assert nodes == ["2", "2"]
    for name in names:
        assert_equals_one_process(any_workflow, name)


def test_gpus_of_two_nodes(any_workflow):
    overlay = {"base_models": {"tiny": {"nodes": 2, "gpus": 1}}, "models": {"lat-gres": LIKE_LAT}}
    any_workflow.run(folder_of("lat-gres"), "--rerun-triggers", "mtime", overlay=overlay)
    jobs = any_workflow.cluster("scontrol", "show", "job", "--oneliner").splitlines()
    (job,) = [line for line in jobs if "rule_unlikelihood_wildcards_tiny_demo_seed1_lat-gres" in line]
    assert "NumNodes=2" in job and "TresPerNode=gres:gpu:1" in job
    assert_equals_one_process(any_workflow, "lat-gres")


def test_gpus_of_one_node_are_not_collected_from_two(any_workflow):
    overlay = {"base_models": {"tiny": {"gpus": 2}}, "models": {"lat-gpus": LIKE_LAT}}
    any_workflow.run(folder_of("lat-gpus"), "--rerun-triggers", "mtime", overlay=overlay)
    jobs = any_workflow.cluster("squeue", "--noheader", "--states=all", "--format=%k %N").splitlines()
    assert [line.split()[-1] for line in jobs if line.split()[0].endswith("_lat-gpus")][-1] == "n2"
    assert_equals_one_process(any_workflow, "lat-gpus")
    # No node has three.
    overlay = {"base_models": {"tiny": {"gpus": 3}}, "models": {"lat-more": LIKE_LAT}}
    refused = any_workflow.run(
        folder_of("lat-more"), "--rerun-triggers", "mtime", "--retries", "0", overlay=overlay, check=False
    )
    assert "Requested node configuration is not available" in refused


def test_a_training_on_a_node_that_fails_continues_on_another(any_workflow):
    overlay = {"models": {"lat-node": LIKE_LAT | {"steps": 100_000, "checkpoint_minutes": 0.05}}}
    process = any_workflow.start(folder_of("lat-node"), "--rerun-triggers", "mtime", overlay=overlay)
    any_workflow.wait_until(lambda: list(any_workflow.folder.glob("results/**/step*/manifest.json")), process)
    job = any_workflow.job_of("unlikelihood", "lat-node")
    node = any_workflow.cluster("squeue", "--noheader", f"--jobs={job}", "--format=%N").strip()
    any_workflow.cluster("scontrol", "update", f"NodeName={node}", "State=DOWN", "Reason=test")
    try:
        any_workflow.wait_for_text(log_of("lat-node"), r"continuing after step [1-9]\d* of 100000", process)
    finally:
        # The node may have registered again by itself, and Slurm then has nothing to resume.
        any_workflow.cluster("scontrol", "update", f"NodeName={node}", "State=RESUME", check=False)
    process.send_signal(signal.SIGINT)
    process.wait(timeout=120)
