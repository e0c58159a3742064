"""The configurations that the documentation shows are accepted."""

import re
import shlex
import subprocess
import sys

import pytest
import yaml
from snakemake.utils import update_config

from tests.conftest import ROOT
from tests.unit.configs import load_config
from workflow_scripts.lat.config import check_config

# The examples of sweeps do not all build on one another; test_sweeps.py has tests of them.
PAGES = {
    page.name: [
        text
        for text in re.findall(r"^```yaml\n(.*?)^```", page.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
        if "{alpha}" not in text and "{step}" not in text
    ]
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
EXAMPLES = [(name, number) for name, blocks in PAGES.items() for number in range(len(blocks))]


@pytest.fixture
def root(tmp_path):
    """A repository with the data of the user that docs/benchmarks.md assumes."""
    for name in ("configs", "resources"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / "data" / "mine").mkdir(parents=True)
    for part in ("train", "test", "dev"):
        for language in ("en", "de", "fr"):
            (tmp_path / "data" / "mine" / f"{part}.{language}").write_text("a line\n")
    # The translations of docs/outside-systems.md.
    demo = load_config()["benchmarks"]["demo"]
    for folder in ("nllb", "other-run/results/decode/gemma3-270m/demo/seed1/LAT"):
        (tmp_path / "data" / folder).mkdir(parents=True)
        for direction in demo["supervised"] + demo["zero_shot"]:
            (tmp_path / "data" / folder / f"{direction}.txt").write_text("a line\n")
    return tmp_path


@pytest.mark.parametrize(("page", "number"), EXAMPLES)
def test_an_example_is_accepted(root, page, number):
    config = load_config()
    # Examples of a page build on one another.
    for text in PAGES[page][: number + 1]:
        update_config(config, yaml.safe_load(text))
    # Settings are checked only for base models that an experiment uses.
    used = {experiment.get("base_model") for experiment in config["experiments"]}
    for name in set(yaml.safe_load(PAGES[page][number]).get("base_models", {})) - used:
        config["experiments"].append({"base_model": name, "benchmark": "demo", "systems": ["MT", "LAT"]})
    check_config(config, root)


def test_there_are_examples():
    assert len(EXAMPLES) >= 5


@pytest.mark.parametrize("page", ["stage2-rivals", "second-run", "stage1"])
def test_the_command_of_the_results_is_one_of_a_run(tmp_path, page):
    text = (ROOT / f"docs/results/{page}.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"```\n(snakemake .*?)```", text, re.DOTALL)
    words = shlex.split(command.replace("\\\n", " "))
    words += ["--dry-run", "--quiet", "all", "--directory", str(tmp_path)]
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr
