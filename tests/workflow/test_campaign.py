"""Kills at random moments, full disks and damaged files: nothing is lost, and what cannot go on says why in one line.

`make campaign` runs many kills at moments that a printed seed decides; the test suite runs one.
"""

import contextlib
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.conftest import ROOT
from tests.workflow.conftest import Run

KILLS = int(os.environ.get("LAT_CAMPAIGN_KILLS", "1"))
SEED = int(os.environ.get("LAT_CAMPAIGN_SEED", "1"))


@pytest.fixture(scope="module")
def copy(finished, tmp_path_factory) -> Run:
    """A copy of the finished run that a test may damage and repair."""
    folder = tmp_path_factory.mktemp("campaign") / "run"
    shutil.copytree(finished.folder, folder, symlinks=True)
    return Run(folder)


def start(run: Run, *words: str) -> psutil.Popen:
    command = [
        sys.executable,
        "-m",
        "snakemake",
        "--snakefile",
        str(ROOT / "Snakefile"),
        "--directory",
        str(run.folder),
    ]
    command += [*words, "--cores", "2", "--configfile", str(ROOT / "configs" / "smoke.yaml")]
    log = open(run.folder / "log.txt", "a")  # noqa: SIM115, the process writes to it until it is killed
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return psutil.Popen(command, stdout=log, stderr=log, env=environment)


def kill(process: psutil.Popen) -> None:
    """Kill Snakemake and all its jobs at once, as a machine that loses its power would."""
    for each in [process, *process.children(recursive=True)]:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()


def test_a_run_that_is_killed_at_random_moments_ends_like_an_undisturbed_one(finished, tmp_path):
    print(f"LAT_CAMPAIGN_SEED={SEED} LAT_CAMPAIGN_KILLS={KILLS}")
    moments = random.Random(SEED)
    run = Run(tmp_path)
    (tmp_path / "results" / "download").mkdir(parents=True)
    (tmp_path / "results" / "download" / "sources").symlink_to(finished.folder / "results" / "download" / "sources")
    for _ in range(KILLS):
        process = start(run)
        try:
            process.wait(moments.uniform(5, 60))
        except psutil.TimeoutExpired:
            kill(process)
        run.snakemake("--unlock")
    run.snakemake("--cores", "2", overlay={"seeds": [1]})
    expected = [line for line in finished.text("tables/scores.tsv").splitlines() if line.split("\t")[3] != "2"]
    assert run.text("tables/scores.tsv").splitlines() == expected
    hypotheses = [path.relative_to(run.folder) for path in run.folder.glob("results/decode/tiny/demo/*/*/*.txt")]
    assert len(hypotheses) == 8 * 12
    for path in hypotheses:
        assert (run.folder / path).read_bytes() == (finished.folder / path).read_bytes(), path


# A result of each kind, and the folder that is full when it is made.
FULL = {
    "results/conflicts/tiny/demo/seed1/lat.jsonl": "results/conflicts",
    "results/decode/tiny/demo/seed1/MT": "results/decode",
    "results/detect/tiny/demo/seed1/MT/lines.tsv": "results/detect",
    "results/figures/off_target.svg": "results/figures",
}


@pytest.mark.parametrize("target", FULL)
def test_a_full_disk_is_said_to_be_one(copy, target):
    folder = copy.folder / FULL[target]
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True)
    if mounted.returncode:
        pytest.skip("only root may mount a small disk")
    try:
        filler = folder / "filler"
        with pytest.raises(OSError), open(filler, "wb", buffering=0) as handle:
            while True:
                handle.write(bytes(4096))
        done = copy.snakemake(target, "--cores", "2", "--rerun-triggers", "mtime", check=False)
        said = done.stdout + done.stderr
        assert done.returncode != 0
        (line,) = {line.split("error: ")[1] for line in said.splitlines() if " error: " in line}
        assert "no space left" in line, line
        assert "Traceback" not in said
    finally:
        subprocess.run(["umount", str(folder)], check=True)
    if target == next(iter(FULL)):
        # Once there is space, the same command goes on.
        copy.snakemake(target, "--cores", "2", "--rerun-triggers", "mtime")


# A job that fails leaves no output, so that no target is the input of one further below.
@pytest.mark.parametrize(
    ("damaged", "target", "message"),
    [
        ("detect/tiny/demo/seed1/MT/lines.tsv", "significance/tiny/demo/intervals.tsv", "MT/lines.tsv"),
        ("download/sources/lid.176.ftz/lid.176.ftz", "detect/tiny/demo/seed1/LAT/otr.tsv", "lid.176.ftz"),
        ("prompts/tiny/demo/seed1/mt.jsonl", "conflicts/tiny/demo/seed1/lat.jsonl", "line 1 is not JSON"),
        ("convert/tiny/demo/seed1/mt/model.bin", "decode/tiny/demo/seed1/MT", "the content of model.bin has changed"),
        (
            "finetune/tiny/demo/seed1/mt/model/model.safetensors",
            "convert/tiny/demo/seed1/mt",
            "model.safetensors has changed",
        ),
    ],
)
def test_a_damaged_file_is_named_by_the_step_that_reads_it(copy, damaged, target, message):
    file = copy.folder / "results" / damaged
    original, times = file.read_bytes(), file.stat()
    content = bytearray(original)
    if file.suffix in (".tsv", ".jsonl"):
        content = content[: len(content) // 2] if file.suffix == ".tsv" else b"{" + content[1:].replace(b":", b";", 1)
    else:
        content[len(content) // 2] ^= 1
    file.write_bytes(content)
    # As damage on a disk, which leaves the time of the file.
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
    try:
        done = copy.snakemake(f"results/{target}", "--cores", "2", "--force", check=False)
        said = done.stdout + done.stderr
        assert done.returncode != 0
        lines = {line.split("error: ")[1] for line in said.splitlines() if " error: " in line}
        assert len(lines) == 1 and message in lines.pop(), said[-3000:]
        assert "Traceback" not in said
    finally:
        file.write_bytes(original)
        os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))
