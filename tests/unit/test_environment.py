"""The conda file and the lock file of each environment list the same versions."""

import pytest
import yaml

from tests.conftest import ROOT

LOCKED = sorted(path.stem for path in (ROOT / "envs").glob("*.in"))


def test_every_environment_is_locked():
    assert {"main", "bleurt", "comet"} <= set(LOCKED)


@pytest.mark.parametrize("name", LOCKED)
def test_conda_file_lists_the_locked_versions(name):
    lock = (ROOT / "envs" / f"{name}.txt").read_text().split()
    conda = yaml.safe_load((ROOT / "envs" / f"{name}.yaml").read_text())
    assert conda["dependencies"][-1]["pip"] == lock
    assert all("==" in line for line in lock)
