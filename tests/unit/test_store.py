"""The folder of downloads that several working folders share: whole entries, made once, and links to them."""

import contextlib
import hashlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import ROOT
from workflow_scripts.lat.data import locking
from workflow_scripts.lat.data import store as store_module
from workflow_scripts.lat.data.store import (
    MODIFIED,
    check_links,
    checksum_of,
    entry_name,
    link_file,
    link_folder,
    provide,
)
from workflow_scripts.lat.files import InputError, sha256
from workflow_scripts.lat.manifest import MANIFEST, check_manifest, damage_of

NAME = entry_name("model", "owner/name", "owner/name", "commit")
FILES = {"config.json": b"{}", "model.safetensors": b"weights" * 1000, "original/params.json": b"[]"}


class Maker:
    """Writes the files of an entry, and counts how often it does."""

    def __init__(self, files: dict[str, bytes] = FILES) -> None:
        self.files, self.calls = files, 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        for name, content in self.files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True)
            path.write_bytes(content)


@pytest.fixture
def store(tmp_path) -> Path:
    return tmp_path / "shared" / "store"


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder except for its manifest, by their relative paths."""
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: content for name, content in files.items() if name != MANIFEST}


class TestNames:
    def test_every_part_of_the_identity_makes_another_name(self):
        names = {
            entry_name("source", "django", "a", "b"),
            entry_name("source", "django", "ab", ""),
            entry_name("source", "django", "a", "c"),
            entry_name("source", "django", ["a", "b"]),
            entry_name("source", "other", "a", "b"),
            entry_name("model", "django", "a", "b"),
        }
        assert len(names) == 6
        assert entry_name("source", "django", "a", "b") in names

    @pytest.mark.parametrize("label", ["owner/name", "../../etc/passwd", "a b\n$(c)", "ü" * 300, "x" * 300, ""])
    def test_a_name_is_a_safe_file_name(self, label):
        name = entry_name("model", label, label)
        assert re.fullmatch(r"model-[A-Za-z0-9_.+-]*-[0-9a-f]{16}", name)
        # With what is added to it, the name must stay within the 255 bytes of a file system.
        assert len(name) < 150


class TestProvide:
    def test_an_entry_is_made_once(self, store):
        make = Maker()
        entry = provide(store, NAME, make)
        assert entry == store / NAME and contents(entry) == FILES
        assert {name: checksum_of(entry, name) for name in FILES} == {name: sha256(entry / name) for name in FILES}
        assert provide(store, NAME, make) == entry
        assert make.calls == 1
        assert list(store.iterdir()) == [entry]

    def test_a_relative_store_gives_absolute_paths(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        assert provide(Path("store"), NAME, Maker()) == tmp_path / "store" / NAME

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda entry: (entry / "config.json").write_bytes(b"[]"), "the content of config.json has changed"),
            (lambda entry: (entry / "config.json").write_bytes(b""), "config.json has 0 bytes instead of 2"),
            (lambda entry: (entry / "original" / "params.json").unlink(), "original/params.json is missing"),
            (lambda entry: (entry / MANIFEST).unlink(), "manifest.json is missing"),
            (lambda entry: (entry / MANIFEST).write_text("{"), "manifest.json is damaged"),
            (lambda entry: (entry / MANIFEST).write_text("{}"), "manifest.json is damaged"),
        ],
    )
    def test_a_damaged_entry_is_named_and_made_again(self, store, caplog, change, message):
        make = Maker()
        entry = provide(store, NAME, make)
        for path in (entry / "config.json", entry / MANIFEST):
            path.chmod(0o644)
        change(entry)
        with caplog.at_level("WARNING"):
            provide(store, NAME, make)
        assert [record.getMessage() for record in caplog.records] == [
            f"{entry}: {message}; this entry of the shared folder is damaged and is made again"
        ]
        assert make.calls == 2
        assert contents(entry) == FILES and not damage_of(entry)
        assert list(store.iterdir()) == [entry]

    def test_a_name_in_a_manifest_leads_out_of_no_folder(self, store):
        make = Maker({"config.json": b"{}"})
        entry = provide(store, NAME, make)
        (store / "elsewhere").write_bytes(b"{}")
        (entry / MANIFEST).chmod(0o644)
        for name in ("../elsewhere", str(store / "elsewhere")):
            (entry / MANIFEST).write_text((entry / MANIFEST).read_text().replace("config.json", name))
            provide(store, NAME, make)
            assert set(contents(entry)) == {"config.json"} and checksum_of(entry, "config.json")
            (entry / MANIFEST).chmod(0o644)
        assert make.calls == 3

    def test_an_entry_that_is_consistent_but_not_the_expected_one_is_made_again(self, store):
        entry = provide(store, NAME, Maker({"a": b"other"}))
        make = Maker({"a": b"expected"})
        for _ in range(2):
            provide(store, NAME, make, {"a": hashlib.sha256(b"expected").hexdigest()})
            assert make.calls == 1 and contents(entry) == {"a": b"expected"}

    def test_a_failure_leaves_no_entry_and_keeps_what_has_arrived(self, store):
        def fail(folder: Path) -> None:
            (folder / "part").write_bytes(b"x")
            raise InputError("no network")

        with pytest.raises(InputError, match="no network"):
            provide(store, NAME, fail)
        (unfinished,) = store.iterdir()
        assert unfinished.name == f".{NAME}.{os.getuid()}.unfinished"

        def go_on(folder: Path) -> None:
            assert [path.name for path in folder.iterdir()] == ["part"]

        assert contents(provide(store, NAME, go_on)) == {"part": b"x"}
        assert [path.name for path in store.iterdir()] == [NAME]

    def test_what_does_not_resume_starts_with_an_empty_folder(self, store):
        leftover = store / f".{NAME}.{os.getuid()}.unfinished"
        leftover.mkdir(parents=True)
        (leftover / "part").write_bytes(b"x")

        def fail(folder: Path) -> None:
            assert list(folder.iterdir()) == []
            (folder / "part").write_bytes(b"x")
            raise InputError("not readable")

        with pytest.raises(InputError, match="not readable"):
            provide(store, NAME, fail, resumes=False)
        assert list(store.iterdir()) == []

    def test_a_failure_before_anything_arrives_leaves_nothing(self, store):
        def fail(folder: Path) -> None:
            raise InputError("no network")

        with pytest.raises(InputError, match="no network"):
            provide(store, NAME, fail)
        assert list(store.iterdir()) == []

    def test_a_failure_leaves_a_damaged_entry_where_it_is(self, store):
        entry = provide(store, NAME, Maker())
        (entry / "config.json").unlink()

        def fail(folder: Path) -> None:
            raise InputError("no network")

        with pytest.raises(InputError, match="no network"):
            provide(store, NAME, fail)
        assert (entry / "model.safetensors").read_bytes() == FILES["model.safetensors"]

    def test_what_killed_processes_of_all_users_have_left_is_removed_with_the_next_success(self, store):
        other = entry_name("model", "owner/other")
        kept = {f".{other}.1.unfinished", f".{NAME}.note"}
        for name in (f".{NAME}.4711.unfinished", f".{NAME}.815.damaged", *kept):
            (store / name).mkdir(parents=True)
        provide(store, NAME, Maker())
        assert {path.name for path in store.iterdir()} == {NAME, *kept}

    @pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o444), (0o027, 0o440), (0o077, 0o400)])
    def test_readers_are_decided_by_the_umask_and_nobody_may_write(self, store, umask, mode):
        def make(folder: Path) -> None:
            Maker()(folder)
            (folder / "config.json").chmod(0o600)  # as temporary files have

        before = os.umask(umask)
        try:
            entry = provide(store, NAME, make)
        finally:
            os.umask(before)
        assert {path.stat().st_mode & 0o777 for path in entry.rglob("*") if path.is_file()} == {mode}
        assert {path.stat().st_mode & 0o777 for path in (store, entry, entry / "original")} == {0o777 & ~umask}


class TestDisk:
    @pytest.fixture
    def disk(self, tmp_path) -> Iterator[Path]:
        """A disk of 64 kB, if this user may mount one."""
        folder = tmp_path / "disk"
        folder.mkdir()
        mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True)
        if mounted.returncode:
            pytest.skip("no permission to mount a small disk")
        try:
            yield folder
        finally:
            subprocess.run(["umount", str(folder)], check=True)

    def test_a_full_disk_is_one_line(self, disk):
        with pytest.raises(InputError) as error:
            provide(disk / "store", NAME, Maker({"a": bytes(100_000)}))
        assert str(error.value) == (
            f"{disk / 'store'}: no space left on the disk of the shared folder; free some, then run again"
        )

    def test_a_read_only_store_is_used_as_long_as_it_has_everything(self, disk):
        entry = provide(disk, NAME, Maker())
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        make = Maker()
        assert provide(disk, NAME, make) == entry
        other = entry_name("model", "owner/other")
        with pytest.raises(InputError) as error:
            provide(disk, other, make)
        assert str(error.value) == (
            f"{disk / f'.{other}.lock'}: the shared folder cannot be written (Read-only file system); make it writable,"
            " or set `shared` to another folder"
        )
        with pytest.raises(InputError, match=r"new: the shared folder cannot be written \(Read-only file system\)"):
            provide(disk / "new", NAME, make)
        assert make.calls == 0

    def test_a_file_is_no_store(self, tmp_path):
        (tmp_path / "file").touch()
        for place in (tmp_path / "file", tmp_path / "file" / "store"):
            with pytest.raises(InputError, match="is no folder; set `shared` to a folder"):
                provide(place, NAME, Maker())

    def test_an_entry_that_cannot_be_read_is_not_made_again(self, store, monkeypatch):
        entry = provide(store, NAME, Maker())

        def refuse(folder: Path) -> str:
            raise PermissionError(13, "Permission denied", str(folder / "config.json"))

        monkeypatch.setattr(store_module, "damage_of", refuse)
        make = Maker()
        with pytest.raises(InputError) as error:
            provide(store, NAME, make)
        assert str(error.value).startswith(
            f"{entry / 'config.json'}: this file of the shared folder cannot be read; let"
        )
        assert make.calls == 0

    def test_an_error_elsewhere_is_not_one_of_the_store(self, store, tmp_path):
        def fail(folder: Path) -> None:
            raise PermissionError(13, "Permission denied", str(tmp_path / "part.gguf"))

        with pytest.raises(PermissionError):
            provide(store, NAME, fail)


class TestLinks:
    def test_a_folder_of_links_has_the_files_and_passes_its_check(self, store, tmp_path):
        entry, folder = provide(store, NAME, Maker()), tmp_path / "results" / "model"
        link_folder(entry, folder)
        assert not folder.is_symlink() and contents(folder) == FILES
        assert all((folder / name).readlink() == entry / name for name in (*FILES, MANIFEST))
        check_manifest(folder)
        (entry / "config.json").chmod(0o644)
        (entry / "config.json").write_bytes(b"[]")
        with pytest.raises(InputError, match=r"the content of config\.json has changed"):
            check_manifest(folder)
        shutil.rmtree(entry)
        with pytest.raises(InputError, match=r"manifest\.json is missing since it was written; delete the folder"):
            check_manifest(folder)

    def test_what_is_not_in_the_manifest_is_not_linked(self, store, tmp_path):
        entry = provide(store, NAME, Maker())
        (entry / "modeling.py").write_text("x")
        link_folder(entry, tmp_path / "model")
        assert not (tmp_path / "model" / "modeling.py").exists()

    @pytest.mark.parametrize("before", ["folder", "link", "dangling"])
    def test_a_folder_of_links_replaces_what_is_there(self, store, tmp_path, before):
        entry, folder = provide(store, NAME, Maker()), tmp_path / "model"
        elsewhere = tmp_path / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "file").write_text("mine")
        if before == "folder":
            folder.mkdir()
            (folder / "link").symlink_to(elsewhere)
        else:
            folder.symlink_to(elsewhere if before == "link" else tmp_path / "nowhere")
        link_folder(entry, folder)
        assert contents(folder) == FILES and not folder.is_symlink()
        assert (elsewhere / "file").read_text() == "mine"

    @pytest.mark.parametrize("before", ["nothing", "file", "link", "dangling"])
    def test_a_link_replaces_what_is_there_and_not_where_it_leads(self, store, tmp_path, before):
        entry, link = provide(store, NAME, Maker()), tmp_path / "results" / "config.json"
        other = tmp_path / "other"
        other.write_text("mine")
        link.parent.mkdir()
        if before == "file":
            link.write_text("old")
        elif before != "nothing":
            link.symlink_to(other if before == "link" else tmp_path / "nowhere")
        link_file(entry / "config.json", link)
        assert link.readlink() == entry / "config.json"
        assert other.read_text() == "mine"
        assert list(link.parent.iterdir()) == [link]


SLOW = """
import sys, time
from pathlib import Path
from workflow_scripts.lat.data.store import provide
store, name, seconds = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
import logging; logging.basicConfig(level="INFO")
def make(folder):
    with open(store / "calls", "a") as handle: handle.write("call\\n")
    (folder / "weights").write_bytes(b"first half")
    time.sleep(seconds)
    (folder / "weights").write_bytes(b"first half and second half")
print(provide(store, name, make))
"""


def start(store: Path, seconds: float) -> subprocess.Popen:
    """Start a process that makes an entry and takes some time for it."""
    return subprocess.Popen(
        [sys.executable, "-c", SLOW, str(store), NAME, str(seconds)],
        cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def calls(store: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return len((store / "calls").read_text().splitlines())
    return 0


def wait_for_call(store: Path) -> None:
    end = time.monotonic() + 30
    while not calls(store) and time.monotonic() < end:
        time.sleep(0.02)


class TestProcesses:
    def test_four_at_once_make_one_entry(self, store):
        processes = [start(store, 1.0) for _ in range(4)]
        answers = [process.communicate(timeout=60) for process in processes]
        assert [process.returncode for process in processes] == [0] * 4, answers
        assert {out.strip() for out, _ in answers} == {str(store / NAME)}
        assert calls(store) == 1
        assert contents(store / NAME) == {"weights": b"first half and second half"}
        assert {path.name for path in store.iterdir()} == {NAME, "calls"}

    def test_the_lock_ends_with_its_owner(self, store):
        first = start(store, 60)
        wait_for_call(store)
        second = start(store, 0)
        assert "another process is downloading or converting it; waiting for it" in second.stderr.readline()
        assert not (store / NAME).exists()
        first.send_signal(signal.SIGKILL)
        first.communicate()
        _, messages = second.communicate(timeout=60)
        assert second.returncode == 0, messages
        assert calls(store) == 2
        assert contents(store / NAME) == {"weights": b"first half and second half"}
        assert {path.name for path in store.iterdir()} == {NAME, "calls"}

    def test_the_lock_may_be_used_by_whoever_may_write_to_the_store(self, store):
        store.mkdir(parents=True)
        store.chmod(0o2770)
        before = os.umask(0o077)
        try:
            provide(store, NAME, lambda folder: (folder / "mode").write_text(oct(lock_mode(store))))
        finally:
            os.umask(before)
        assert (store / NAME / "mode").read_text() == "0o660"

    def test_a_lock_file_of_another_user_is_used_as_it_is(self, store, monkeypatch):
        def refuse(*_):
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(locking.os, "fchmod", refuse)
        assert contents(provide(store, NAME, Maker())) == FILES


def lock_mode(store: Path) -> int:
    return (store / f".{NAME}.lock").stat().st_mode & 0o777


SNAKEFILE = """
rule all:
    input: "results/scores.txt"

rule fetch_file:
    output: "results/file"
    resources: store=config["store"]
    shell: "{config[python]} fetch.py file {resources.store} {output}"

rule fetch_model:
    output: directory("results/model")
    resources: store=config["store"]
    shell: "{config[python]} fetch.py folder {resources.store} {output}"

rule score:
    input: "results/file", "results/model"
    output: "results/scores.txt"
    shell: "cat {input[0]} {input[1]}/weights > {output}"
"""
FETCH = """
import sys
from pathlib import Path
from workflow_scripts.lat.data.store import link_file, link_folder, provide
kind, store, output = sys.argv[1], *map(Path, sys.argv[2:])
def make(folder):
    with open(store / "calls", "a") as handle: handle.write("call\\n")
    (folder / "weights").write_text(kind)
entry = provide(store, kind, make)
if kind == "file":
    link_file(entry / "weights", output)
else:
    link_folder(entry, output)
"""


class TestChecks:
    def test_links_that_lead_nowhere_are_named_with_the_remedy(self, store, tmp_path):
        results = tmp_path / "results"
        check_links(results)
        file, model = results / "download" / "sources" / "lid" / "lid.bin", results / "base_model" / "big" / "model"
        other = entry_name("source", "lid")
        link_file(provide(store, other, Maker()) / "config.json", file)
        link_folder(provide(store, NAME, Maker()), model)
        (results / "download" / "sources" / "lid" / "lid.bin.sha256").write_text("x")
        check_links(results)
        (store / NAME / "config.json").unlink()
        with pytest.raises(InputError) as error:
            check_links(results)
        assert str(error.value) == (
            f"{model / 'config.json'}: leads to {store / NAME / 'config.json'}, which is missing; make it available"
            f" again, or delete {model}, and what is needed is fetched again"
        )
        shutil.rmtree(model)
        model.symlink_to(tmp_path / "nowhere")
        with pytest.raises(
            InputError, match=rf"model: leads to .*nowhere, which is missing; .* or delete {model}, and"
        ):
            check_links(results)
        model.unlink()
        shutil.rmtree(store / other)
        with pytest.raises(
            InputError, match=rf"lid.bin: leads to .* \(`find {file.parents[1]} -xtype l -delete`\), and"
        ):
            check_links(results)
        subprocess.run(["find", str(file.parents[1]), "-xtype", "l", "-delete"], check=True)
        check_links(results)
        assert [path.name for path in file.parent.iterdir()] == ["lid.bin.sha256"]


class TestSnakemake:
    """Snakemake deletes outputs before a rerun, sets their times, and compares those with the times of link targets."""

    def run(self, folder: Path, store: Path, *words: str) -> set[str]:
        """Run the workflow in a working folder, and return the names of the rules that were run."""
        (folder / "Snakefile").write_text(SNAKEFILE)
        (folder / "fetch.py").write_text(FETCH)
        command = [sys.executable, "-m", "snakemake", "--cores", "1", *words]
        command += ["--config", f"store={store}", f"python={sys.executable}"]
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=120,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return set(re.findall(r"^(?:local)?rule (\w+):", done.stdout + done.stderr, re.MULTILINE)) - {"all"}

    def test_two_working_folders_share_a_store(self, tmp_path, store):
        one, two = tmp_path / "one", tmp_path / "two"
        for folder in (one, two, store):
            folder.mkdir(parents=True)
        everything = {"fetch_file", "fetch_model", "score"}
        assert self.run(one, store) == everything
        assert self.run(two, store) == everything
        assert calls(store) == 2
        assert (two / "results" / "scores.txt").read_text() == "filefolder"
        assert (two / "results" / "model" / ".snakemake_timestamp").exists()
        files = [path for path in store.rglob("*") if path.is_file() and path.name != "calls"]
        assert {int(path.stat().st_mtime) for path in files} == {MODIFIED}
        before = {path: path.read_bytes() for path in files}

        # Snakemake deletes the outputs, which leaves the store as it is; only the damaged entry is made again, and that
        # reruns nothing in the other working folder.
        (store / "file" / "weights").chmod(0o644)
        (store / "file" / "weights").write_text("damaged")
        assert self.run(two, store, "--forceall") == everything
        assert {path: path.read_bytes() for path in files} == before and calls(store) == 3
        assert self.run(one, store) == set()
        shutil.rmtree(two / "results")
        assert {path: path.read_bytes() for path in files} == before
