"""profiles/generic on a batch system that a script imitates: `qsub`, `qstat` and `qdel` as PBS has them."""

import os
import shutil

import pytest

from tests.conftest import ROOT
from tests.workflow.conftest import Run

pytest.importorskip("snakemake_executor_plugin_cluster_generic")

QSUB = """\
#!/bin/bash
jobs={folder}/jobs; mkdir -p $jobs
id=$(mktemp $jobs/XXXXXX); id=${{id##*/}}
echo "$*" > $jobs/$id
# The first job is killed by the batch system, as at its limit of memory.
if [ "$(ls $jobs | grep -c -v -F .)" = 1 ]; then echo 265 > $jobs/$id.status
else ( bash "${{@: -1}}" > $jobs/$id.log 2>&1; echo $? > $jobs/$id.status ) > /dev/null 2>&1 & fi
echo $id
"""
QSTAT = """\
#!/bin/bash
id=${{@: -1}}
[ -e {folder}/jobs/$id ] || {{ echo "qstat: Unknown Job Id $id" >&2; exit 153; }}
echo "Job Id: $id"
if [ -e {folder}/jobs/$id.status ]
then echo "    job_state = F"; echo "    Exit_status = $(cat {folder}/jobs/$id.status)"; echo "    queue = main"
else echo "    job_state = R"; fi
"""


@pytest.fixture
def pbs(tmp_path, monkeypatch):
    """A folder with the commands of the batch system, and with its jobs."""
    folder = tmp_path / "pbs"
    folder.mkdir()
    for name, script in {"qsub": QSUB, "qstat": QSTAT, "qdel": "#!/bin/bash\n"}.items():
        (folder / name).write_text(script.format(folder=folder))
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def test_jobs_are_submitted_with_their_resources_and_a_killed_one_is_retried(finished, pbs, tmp_path):
    folder = tmp_path / "work"
    folder.mkdir()
    shutil.copytree(finished.folder / "results", folder / "results", symlinks=True)
    # As in the root of the repository, where the profile's script is looked for.
    (folder / "profiles").symlink_to(ROOT / "profiles")
    run = Run(folder)
    shutil.rmtree(folder / "results/score/tiny")
    found = finished.folder.glob("results/score/tiny/demo/seed1/LAT*.tsv")
    targets = [str(path.relative_to(finished.folder)) for path in found]
    profile = ["--workflow-profile", str(ROOT / "profiles/generic"), "--seconds-between-status-checks", "1"]
    done = run.snakemake(*targets, *profile, "--rerun-triggers", "mtime")
    assert "Trying to restart job" in done.stderr
    for target in targets:
        assert (folder / target).read_text() == (finished.folder / target).read_text()
    submitted = [path.read_text() for path in (pbs / "jobs").iterdir() if not path.suffix]
    assert len(submitted) == len(targets) + 1
    memory = sorted(line.split(":mem=")[1].split(":")[0] for line in submitted)
    assert memory == ["2000mb", "4000mb"]
    assert all("-N score" in line and "ncpus=1:" in line and ":ngpus=0" in line for line in submitted)
