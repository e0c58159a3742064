"""The rules as Snakemake sees them: lint, and use as a module of another workflow."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import yaml

from tests.conftest import ROOT

# A function that one rule file alone uses stands beside its rules, where a reader looks for it.
ACCEPTED = {"Mixed rules and functions in same snakefile."}


def snakemake(folder: Path, *words: str) -> subprocess.CompletedProcess:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", "snakemake", *words]
    return subprocess.run(command, capture_output=True, text=True, env=environment, cwd=folder)


def test_lint_finds_nothing_else():
    done = snakemake(ROOT, "--lint")
    titles = re.findall(r"^ +\* (.+?):?$", done.stdout + done.stderr, re.MULTILINE)
    assert "Mixed rules and functions in same snakefile." in titles
    assert set(titles) <= ACCEPTED


def test_the_workflow_is_a_module_of_another_one(tmp_path):
    (tmp_path / "Snakefile").write_text(
        f"""
module lat:
    snakefile: {str(ROOT / "Snakefile")!r}
    config: config["lat"]

use rule * from lat as lat_*

rule all:
    default_target: True
    input: rules.lat_all.input
"""
    )
    tiny = yaml.safe_load((ROOT / "configs" / "tiny.yaml").read_text(encoding="utf-8"))
    overlay = {"lat": tiny | {"base_models": {"tiny": {"finetune": {"epochs": 2}}}, "seeds": [3, 4]}}
    (tmp_path / "config.json").write_text(json.dumps(overlay))
    done = snakemake(tmp_path, "--dry-run", "--configfile", "config.json", "--printshellcmds")
    assert done.returncode == 0, done.stderr[-3000:]
    assert "lat_finetune" in done.stdout and "--epochs 2" in done.stdout and "--seed 3" in done.stdout
    # The plan of a dry-run counts the jobs of the module by the names they have in this workflow.
    assert "\nfinetune         2" in done.stdout.partition("Plan: ")[2]
