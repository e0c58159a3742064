"""Decoding by several jobs: the same outputs as one job, and no rerun for another number of jobs."""

import shutil

import pytest

from tests.workflow.conftest import Run

SHARDS = {"decode": {"shards": 3}}
# ctranslate2 with a beam, and contrastive decoding with transformers
RUNS = ["shared/Base", "seed1/MT", "seed2/LAT", "seed1/C_src+lang"]


@pytest.fixture
def run(finished, tmp_path) -> Run:
    """A finished run, of which some outputs of decoding are gone."""
    run = Run(tmp_path)
    shutil.copytree(finished.folder, run.folder, symlinks=True, dirs_exist_ok=True)
    for name in RUNS:
        shutil.rmtree(run.folder / "results/decode/tiny/demo" / name)
    return run


def files(run: Run, name: str) -> dict[str, bytes]:
    folder = run.folder / "results/decode/tiny/demo" / name
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def decoded(run: Run, log: str) -> int:
    """The number of directions that a job decoded, and did not find finished."""
    return run.text(f"decode/logs/tiny-demo-{log}.log").count(": 12 lines, ")


def test_three_jobs_write_what_one_job_writes(finished, run):
    # The plan counts the jobs that decode, and those that collect what these wrote.
    planned = run.planned(SHARDS)
    assert (planned["decode_shard"], planned["merge_shards"]) == (3 * len(RUNS), len(RUNS))
    assert "decode" not in planned
    targets = [f"results/decode/tiny/demo/{name}" for name in RUNS]
    first = "results/decode/.shards/tiny/demo/seed1/MT/1-of-3"
    run.snakemake(first, "--cores", "2", "--notemp", overlay=SHARDS)
    assert decoded(run, "seed1-MT-1-of-3") == 4
    # Another number of jobs in between finds the lines of the first one.
    run.snakemake(targets[1], "--cores", "2", overlay={"decode": {"shards": 2}})
    assert (decoded(run, "seed1-MT-1-of-2"), decoded(run, "seed1-MT-2-of-2")) == (2, 6)
    run.snakemake(*targets, "--cores", "2", overlay=SHARDS)
    for name in RUNS:
        found = files(run, name)
        assert found.pop(".shards") == (b"2\n" if name == "seed1/MT" else b"3\n")
        assert found == files(finished, name)
    assert not list((run.folder / "results/decode").glob(".*/**/*of*"))
    assert not list((run.folder / "results/decode/.unfinished").glob("**/*.txt"))
    # Another number of jobs decodes nothing again. Where another setting does, each output keeps its number of jobs.
    for shards in (1, 5):
        planned = run.planned({"decode": {"shards": shards}})
        assert not {"decode", "decode_shard", "merge_shards"} & set(planned)
    planned = run.planned({"base_models": {"tiny": {"decode": {"max_new_tokens": 9}}}})
    found = {rule: planned[rule] for rule in ("decode", "decode_shard", "merge_shards")}
    assert found == {"decode": 15 - len(RUNS), "decode_shard": 2 + 3 * 3, "merge_shards": len(RUNS)}
