"""The two descriptions of the environment agree."""

import yaml

from tests.conftest import ROOT


def test_conda_file_lists_the_locked_versions():
    lock = (ROOT / "envs" / "main.txt").read_text().split()
    conda = yaml.safe_load((ROOT / "envs" / "main.yaml").read_text())
    assert conda["dependencies"][-1]["pip"] == lock
    assert all("==" in line for line in lock)
