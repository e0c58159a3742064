"""The locks pin every package with hashes, `make` checks these hashes, and the conda files list the same versions."""

import importlib.util
import os
import re
import subprocess

import pytest
import yaml
from packaging.requirements import Requirement

from tests.conftest import ROOT

ENVS = ROOT / "envs"
LOCKED = sorted(path.stem for path in ENVS.glob("*.in"))
ENVIRONMENTS = ("main", "bleurt", "comet")
PACKAGE = re.compile(r"([a-z0-9-]+)==([^\s;]+)((?: \\\n {4}--hash=sha256:[0-9a-f]{64})*)")
CUDA = re.compile(r"torch|triton|(cuda|nvidia)-.*")


def read_lock(name):
    """Return the version and the number of hashes of each package; the test fails at anything else in the lock."""
    header, *packages = re.split(r"\n(?=\S)", (ENVS / f"{name}.txt").read_text().rstrip("\n"))
    assert header == f"# Made from {name}.in by `make lock`."
    matches = [PACKAGE.fullmatch(package) for package in packages]
    assert all(matches), "a line is neither a pin nor a hash, such as the address of an index"
    assert len({match[1] for match in matches}) == len(matches)
    return {match[1]: (match[2], match[3].count("--hash")) for match in matches}


def read_pins(name):
    return [f"{package}=={version}" for package, (version, _) in read_lock(name).items()]


def test_every_environment_is_locked():
    assert {*ENVIRONMENTS, "vllm", "vllm-gpu", "trl", "torch", "build", "uv"} == set(LOCKED)


@pytest.mark.parametrize("name", LOCKED)
def test_every_package_has_a_version_and_hashes(name):
    lock = read_lock(name)
    assert lock
    assert [package for package, (_, hashes) in lock.items() if not hashes] == []


@pytest.mark.parametrize("name", LOCKED)
def test_lock_has_the_direct_dependencies(name):
    lock = read_lock(name)
    for line in (ENVS / f"{name}.in").read_text().splitlines():
        if line == "-r torch.in" or line.startswith("#"):
            continue
        wanted = Requirement(line)
        assert wanted.name in lock
        assert wanted.specifier.contains(lock[wanted.name][0])


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_conda_file_lists_the_locked_versions(name):
    conda = yaml.safe_load((ENVS / f"{name}.yaml").read_text())
    torch = f"torch=={read_lock('torch')['torch'][0]}"
    assert conda["dependencies"][-1]["pip"] == sorted([*read_pins(name), torch])


def test_only_the_lock_of_torch_has_torch_and_cuda():
    """Another build of torch, such as the one for CPUs, then needs no package of PyPI's build."""
    for name in set(LOCKED) - {"vllm-gpu"}:
        assert {bool(CUDA.fullmatch(package)) for package in read_lock(name)} == {name == "torch"}


TARGETS = [f".venv{name}/.installed" for name in ("", "-bleurt", "-comet", "-vllm")]


@pytest.mark.parametrize("target", [*TARGETS, "lock"])
def test_make_checks_hashes(target):
    make = ["make", "--dry-run", "--always-make", target]
    # Without the flags of `make test`.
    environment = {name: value for name, value in os.environ.items() if name != "MAKEFLAGS"}
    commands = subprocess.run(make, cwd=ROOT, env=environment, capture_output=True, text=True, check=True).stdout
    installs = re.findall(r"pip install[^;\n]*", commands)
    # The only exception is a build of torch that is not on PyPI.
    checked = [command for command in installs if not command.endswith("$other")]
    assert checked
    for command in checked:
        assert "--require-hashes" in command and "--no-build-isolation" in command
        assert (ROOT / command.split()[-1]).suffix == ".txt"


@pytest.fixture
def lock_script(tmp_path, monkeypatch):
    """`envs/lock.py`, which reads and writes the requirements in `tmp_path`."""
    spec = importlib.util.spec_from_file_location("lock", ENVS / "lock.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "__file__", str(tmp_path / "lock.py"))
    for name in ("main", "torch", "vllm-gpu"):
        (tmp_path / f"{name}.in").write_text("")
        (tmp_path / f"{name}.txt").write_text("old")
    return module


def test_lock_script_separates_torch(lock_script, tmp_path, monkeypatch):
    compiled = "".join(
        f"{package}==1.0 \\\n    --hash=sha256:{'a' * 64}\n" for package in ("nvidia-nccl-cu13", "six", "torch")
    )
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, compiled))
    lock_script.main()
    everything = ["nvidia-nccl-cu13", "six", "torch"]
    for name, expected in (("main", ["six"]), ("torch", ["nvidia-nccl-cu13", "torch"]), ("vllm-gpu", everything)):
        lock = (tmp_path / f"{name}.txt").read_text()
        assert re.findall("^(.*)==", lock, re.MULTILINE) == expected
        assert lock.count("--hash") == len(expected) and lock.endswith("a\n")


def test_lock_script_changes_nothing_if_one_file_cannot_be_resolved(lock_script, tmp_path, monkeypatch):
    def run(command, **_):
        return subprocess.CompletedProcess(command, int("torch" in str(command[-1])), "six==1.0\n")

    monkeypatch.setattr(subprocess, "run", run)
    with pytest.raises(SystemExit, match=r"torch\.in: could not be resolved; no lock was changed"):
        lock_script.main()
    assert [path.read_text() for path in sorted(tmp_path.glob("*.txt"))] == ["old"] * 3
