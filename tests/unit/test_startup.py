"""The flags of every step are checked before any large library is loaded, and `--help` loads none."""

import subprocess
import sys

import pytest

from tests.conftest import ROOT
from workflow_scripts.lat.codehash import imported_files

PACKAGE = ROOT / "workflow_scripts"
SCRIPTS = sorted(path.stem for path in PACKAGE.glob("*.py") if path.stem != "__init__")
# Modules that take from a tenth of a second to several seconds to load.
LARGE = (
    "accelerate", "comet", "bleurt_pytorch", "ctranslate2", "deepspeed", "fasttext", "httpx2",
    "huggingface_hub", "itables", "jinja2", "jsonschema", "matplotlib", "numpy", "openai", "pandas", "peft",
    "psutil", "py3langid", "sacrebleu", "safetensors", "snakemake", "tokenizers", "torch", "transformers", "vllm",
)  # fmt: skip
HELP = """
import runpy, sys
script, *large = sys.argv[1:]
sys.argv[1:] = ["--help"]
try:
    runpy.run_module(f"workflow_scripts.{script}", run_name="__main__", alter_sys=True)
except SystemExit as end:
    assert not end.code
print("loaded:", *(name for name in large if name in sys.modules))
"""


@pytest.mark.parametrize("script", SCRIPTS)
def test_help_loads_no_large_library(script):
    words = [sys.executable, "-c", HELP, script, *LARGE]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    usage, _, loaded = done.stdout.rpartition("loaded:")
    assert usage.startswith("usage: ")
    assert loaded.split() == []


@pytest.mark.parametrize(
    ("script", "file"),
    [
        ("convert", "lat/models.py"),
        ("decode", "lat/decoding/transformers_engine.py"),
        ("decode", "lat/decoding/vllm_engine.py"),
        ("figures", "lat/reporting/charts.py"),
        ("finetune", "lat/training/loop.py"),
        ("judge", "lat/evaluation/judging.py"),
        ("judge", "lat/servers.py"),
        ("score", "lat/evaluation/statistics.py"),
        ("significance", "lat/evaluation/bootstrap.py"),
        ("translate", "lat/decoding/on_server.py"),
        ("translate", "lat/servers.py"),
        ("unlikelihood", "lat/training/losses.py"),
    ],
)
def test_what_is_loaded_later_is_a_part_of_the_code_of_a_step(script, file):
    """Otherwise, a change of it would not rerun the step."""
    assert PACKAGE / file in imported_files(PACKAGE / f"{script}.py")
