"""The hash of a step's code changes with what the step executes, and with nothing else."""

import shutil

import pytest

from tests.conftest import ROOT
from workflow_scripts.lat import codehash

SCRIPTS = sorted(path.stem for path in (ROOT / "workflow_scripts").glob("*.py") if path.stem != "__init__")


@pytest.fixture
def package(tmp_path, monkeypatch):
    shutil.copytree(ROOT / "workflow_scripts", tmp_path / "workflow_scripts", ignore=shutil.ignore_patterns("*.pyc"))
    monkeypatch.setattr(codehash, "PACKAGE", tmp_path / "workflow_scripts")
    return tmp_path / "workflow_scripts"


def hashes() -> dict[str, str]:
    for cached in (codehash.step_code, codehash._tree, codehash._code_of, codehash._imports_of):
        cached.cache_clear()
    return {script: codehash.step_code(script) for script in SCRIPTS}


def changed(path, old: str, new: str) -> set[str]:
    before = hashes()
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    after = hashes()
    return {script for script in SCRIPTS if before[script] != after[script]}


@pytest.mark.parametrize(
    ("path", "old", "new", "scripts"),
    [
        ("lat/training/losses.py", "return -log_one_minus_p", "return -2 * log_one_minus_p",
         {"finetune", "unlikelihood", "preference", "base_model"}),
        ("lat/reporting/charts.py", '"font.size": TEXT_SIZE', '"font.size": 11', {"figures"}),
        ("lat/prompts/prompting.py", 'f"### {wording[', 'f"## {wording[',
         {"prompts", "conflicts", "off_targets", "base_model", "decode", "select", "translate", "publish"}),
        ("convert.py", "TOLERANCE = 1e-3", "TOLERANCE = 1e-4", {"convert"}),
        ("lat/decoding/conversion.py", "PROBE_STEPS = 3", "PROBE_STEPS = 4", {"convert", "publish"}),
    ],
    ids=["losses", "charts", "prompting", "a script", "conversion"],
)  # fmt: skip
def test_a_changed_function_changes_the_steps_that_import_it(package, path, old, new, scripts):
    assert changed(package / path, old, new) == scripts


def test_off_target_measurement_changes_what_uses_it_but_no_training(package):
    found = changed(package / "lat/evaluation/offtarget.py", "CONFUSION_SCORE = 0.3", "CONFUSION_SCORE = 0.4")
    assert "detect" in found and not found & {"prompts", "finetune", "unlikelihood", "decode", "score", "download"}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""Compute the unlikelihood loss', '"""Compute the loss'),
        ("# The published floor", "# A floor"),
        ("def unlikelihood(log_probabilities: Tensor)", "def unlikelihood(\n    log_probabilities: Tensor\n)"),
    ],
    ids=["a docstring", "a comment", "formatting"],
)  # fmt: skip
def test_words_and_layout_change_nothing(package, old, new):
    assert changed(package / "lat/training/losses.py", old, new) == set()


def test_imports_inside_functions_and_packages_count(package):
    files = {path.relative_to(package).as_posix() for path in codehash.imported_files(package / "base_model.py")}
    assert {"lat/training/loop.py", "lat/training/__init__.py", "lat/__init__.py", "__init__.py"} <= files
